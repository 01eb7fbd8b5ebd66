// A site for the recorder: four meters on two links, a clock that the test sets, a stream of
// readings in the order in which the meters are read, and what a store says about them.
#ifndef METERGATE_TESTS_UNIT_RECORDER_FIXTURE_H
#define METERGATE_TESTS_UNIT_RECORDER_FIXTURE_H

#include "record/recorder.h"

#include "store_fixture.h"

#include <math.h>
#include <signal.h>
#include <stdatomic.h>
#include <sys/wait.h>
#include <time.h>

#define MINUTE INT64_C(60000)
#define HOUR (60 * MINUTE)
#define PATIENCE_S 60

enum { METERS = 4, STREAM_MAX = 12000 };

// --- time ---

// A gas day that this build's clock can believe in.
#undef T0
#define T0 start_ms
static int64_t start_ms;

static atomic_llong wall_ms, boot_offset_ms; // boot = wall - offset

static int64_t fake_wall_ms(void *context)
{
    (void)context;
    return atomic_load(&wall_ms);
}

static int64_t fake_boot_ns(void *context)
{
    (void)context;
    return (atomic_load(&wall_ms) - atomic_load(&boot_offset_ms)) * 1000000;
}

static const struct clock fake_clock = {.boot_ns = fake_boot_ns, .wall_ms = fake_wall_ms};

static inline void clock_start(int64_t at_ms)
{
    atomic_store(&wall_ms, at_ms);
    atomic_store(&boot_offset_ms, at_ms - 5000);
}

// --- configuration ---

static struct gas_calendar calendar;

// Not shared by reference count: nobody frees it but config_drop.
static inline struct config *config_make(int meter_count, int interval_s, int summary_minutes)
{
    struct config *config = calloc(1, sizeof *config);
    config->references = 1000000;
    strcpy(config->gateway_id, "site-042");
    config->link_count = 2;
    config->links = calloc(2, sizeof *config->links);
    strcpy(config->links[0].id, "hall-1");
    strcpy(config->links[1].id, "hall-2");
    config->meter_count = meter_count;
    config->meters = calloc((size_t)meter_count, sizeof *config->meters);
    for (int i = 0; i < meter_count; i++) {
        char id[ID_SIZE];
        (void)snprintf(id, sizeof id, "m%d", i + 1);
        struct meter *meter = fixture_meter(id);
        config->meters[i] = *meter;
        free(meter);
        config->meters[i].link = i % 2;
        config->meters[i].interval_s = interval_s;
        config->meters[i].qmax_m3_h = 100;
    }
    config->office.present = true;
    config->office.summary_minutes = summary_minutes;
    config->detect = (struct config_detect){true, true, true, true};
    config->store_raw_days = 3650;
    config->store_max_size_mb = 4096;
    config->store_commit_ms = 1000;
    return config;
}

static inline void config_drop(struct config *config)
{
    for (int i = 0; i < config->meter_count; i++)
        profile_free(config->meters[i].profile);
    free(config->meters);
    free(config->links);
    free(config);
}

// --- readings ---

struct sample {
    int meter;
    int64_t due_ms, at_ms;
    bool answered;
    int64_t volume; // 0.0001 m3
    double flow;
};

static struct sample stream[STREAM_MAX];
static int stream_count;
static bool stream_is_calm; // every due time answered in its range

static inline void bcd_put(uint16_t *words, int count, int64_t number)
{
    for (int i = count - 1; i >= 0; i--) {
        words[i] = 0;
        for (int digit = 0; digit < 4; digit++) {
            words[i] = (uint16_t)(words[i] | (number % 10) << (4 * digit));
            number /= 10;
        }
    }
}

static inline void float_put(uint16_t *words, double number)
{
    float single = (float)number;
    uint32_t bits;
    memcpy(&bits, &single, sizeof bits);
    words[0] = (uint16_t)(bits >> 16);
    words[1] = (uint16_t)bits;
}

static inline struct reading *sample_reading(struct config *config, const struct sample *sample)
{
    const struct meter *meter = &config->meters[sample->meter];
    struct reading *reading = reading_new(config, meter);
    assert_non_null(reading);
    reading->due_ms = sample->due_ms;
    reading->at_ms = sample->at_ms;
    reading->boot_ms = sample->at_ms - atomic_load(&boot_offset_ms);
    if (!sample->answered) {
        reading_refuse(reading, WHY_TIMEOUT);
        return reading;
    }
    reading->answered = true;
    const int64_t values[] = {sample->volume, 0, 0};
    for (int i = 0; i < meter->profile->field_count; i++) {
        const struct field *field = &meter->profile->fields[i];
        reading->image.why[i] = WHY_NONE;
        if (field->type == RAW_BCD)
            bcd_put(reading->image.words + field->place, field->words, values[0]);
        else
            float_put(reading->image.words + field->place, sample->flow);
    }
    image_decode(meter->profile, &reading->image, meter->unverified, reading->values);
    return reading;
}

static inline struct schedule schedule_for(const struct config *config, int meter)
{
    enum span spans[SPANS_MAX];
    const struct meter *entry = &config->meters[meter];
    (void)spans_of_meter(config->office.summary_minutes, entry->interval_s, spans);
    int64_t interval = entry->interval_s * INT64_C(1000);
    return (struct schedule){spans[0], interval, schedule_phase_ms(entry->id, interval)};
}

// `ticks` due times of each meter from `begin_ms` on, with silences, missed due times and high
// flows; in order of at, and never two at one instant.
static inline void stream_make(const struct config *config, int64_t begin_ms, int ticks)
{
    static int64_t due[METERS];
    static int64_t volume[METERS];
    static int mood[METERS];
    for (int i = 0; i < config->meter_count; i++) {
        struct schedule schedule = schedule_for(config, i);
        due[i] = schedule_next(&schedule, &calendar, begin_ms);
        volume[i] = random_between(0, 100000000);
        mood[i] = 0;
    }
    stream_count = 0;
    int64_t last = begin_ms;
    while (stream_count < ticks * config->meter_count && stream_count < STREAM_MAX) {
        int next = 0;
        for (int i = 1; i < config->meter_count; i++)
            next = due[i] < due[next] ? i : next;
        mood[next] = random_between(0, 14) == 0 ? (int)random_between(0, 4) : mood[next];
        mood[next] = stream_is_calm ? 0 : mood[next];
        struct sample *sample = &stream[stream_count++];
        volume[next] += random_between(0, 20000);
        *sample = (struct sample){.meter = next,
                                  .due_ms = due[next],
                                  .at_ms = due[next],
                                  .answered = mood[next] != 1,
                                  .volume = volume[next],
                                  .flow = (double)random_between(0, mood[next] == 2 ? 130 : 90)};
        if (sample->answered)
            sample->at_ms += random_between(5, 400);
        sample->at_ms = sample->at_ms > last ? sample->at_ms : last + 1;
        last = sample->at_ms;
        struct schedule schedule = schedule_for(config, next);
        int64_t after = sample->at_ms > due[next] ? sample->at_ms : due[next];
        if (mood[next] == 3 && random_between(0, 3) == 0)
            after += random_between(0, 12) * schedule.interval_ms; // nobody polled
        due[next] = schedule_next(&schedule, &calendar, after);
    }
}

// --- running ---

static atomic_int commits_seen;

static inline void count_commit(void *context)
{
    assert_ptr_equal(context, &commits_seen);
    atomic_fetch_add(&commits_seen, 1);
}

static inline struct recorder *recorder_must_start(struct config *config)
{
    const struct recorder_settings settings = {.directory = folder,
                                               .config = config,
                                               .calendar = calendar,
                                               .clock = &fake_clock,
                                               .committed = count_commit,
                                               .context = &commits_seen};
    struct recorder *recorder = recorder_start(&settings, &failure);
    if (recorder == NULL)
        fail_msg("recorder_start: %s", failure.text);
    return recorder;
}

// Offers stream[from..to) with the clock at each one's instant.
static inline void offer_range(struct recorder *recorder, struct config *config, int from, int to)
{
    for (int i = from; i < to; i++) {
        struct reading *reading = sample_reading(config, &stream[i]);
        if (stream[i].at_ms > atomic_load(&wall_ms))
            atomic_store(&wall_ms, stream[i].at_ms);
        if (!recorder_offer(recorder, reading))
            fail_msg("the queue is full");
    }
}

static inline int do_nothing(struct store *store, void *argument, struct err *err)
{
    (void)store;
    (void)argument;
    (void)err;
    return 0;
}

// Waits until a condition of the status holds.
#define wait_until(recorder, status, condition)                                                    \
    do {                                                                                           \
        time_t end = time(NULL) + PATIENCE_S;                                                      \
        recorder_status(recorder, &(status));                                                      \
        while (!(condition)) {                                                                     \
            if (time(NULL) > end)                                                                  \
                fail_msg("%s: never; waiting %d, error '%s'", #condition, (status).waiting,        \
                         (status).error);                                                          \
            (void)recorder_run(recorder, do_nothing, NULL, NULL);                                  \
            recorder_status(recorder, &(status));                                                  \
        }                                                                                          \
    } while (0)

// Everything that was offered is durable.
static inline void settle(struct recorder *recorder)
{
    struct recorder_status status;
    wait_until(recorder, status, status.waiting == 0);
}

// --- what a store holds ---

static inline void print_fault(void *context, const char *text)
{
    (void)context;
    print_error("verify: %s\n", text);
}

static inline void store_must_verify(void)
{
    struct store *store = store_must_read();
    assert_int_equal(store_verify(store, print_fault, NULL, &failure), 0);
    store_close(store);
}

#define PERIODS_MAX 20000
struct snapshot {
    int periods, changes, full_alerts;
    struct stored_period *period;
    struct stored_alert *change;
};

static inline bool keep_period(void *context, const struct stored_period *period)
{
    struct snapshot *snapshot = context;
    assert_true(snapshot->periods < PERIODS_MAX);
    snapshot->period[snapshot->periods++] = *period;
    return true;
}

static inline bool keep_change(void *context, const struct stored_alert *alert)
{
    struct snapshot *snapshot = context;
    assert_true(snapshot->changes < PERIODS_MAX);
    if (alert->change.kind == ALERT_STORE_FULL) { // of the disk, not of the readings
        snapshot->full_alerts++;
        return true;
    }
    snapshot->change[snapshot->changes++] = *alert;
    return true;
}

static inline void snapshot_take(struct snapshot *snapshot)
{
    snapshot->periods = snapshot->changes = snapshot->full_alerts = 0;
    snapshot->period = calloc(PERIODS_MAX, sizeof *snapshot->period);
    snapshot->change = calloc(PERIODS_MAX, sizeof *snapshot->change);
    assert_non_null(snapshot->period);
    assert_non_null(snapshot->change);
    struct store *store = store_must_read();
    must(store_periods(store, NULL, (enum span)0, 0, INT64_MAX, keep_period, snapshot, &failure));
    must(store_alerts(store, NULL, 0, INT64_MAX, keep_change, snapshot, &failure));
    store_close(store);
}

static inline void snapshot_free(struct snapshot *snapshot)
{
    free(snapshot->period);
    free(snapshot->change);
}

static inline void print_period(const char *title, const struct stored_period *stored)
{
    const struct period *period = &stored->period;
    print_error("%s %s %s from %lld: reads %lld = %lld + %lld + %lld, quality %d, first %d\n",
                title, stored->meter, span_text(period->span),
                (long long)(period->from_ms - T0) / 1000, (long long)period->expected,
                (long long)period->good, (long long)period->suspect, (long long)period->missing,
                period->quality, period->first);
    for (int i = 0; i < period->channel_count; i++) {
        const struct period_channel *channel = &period->channels[i];
        print_error("  %s quality %d why %d: %d %lld %d %lld last %lld; weight %lld mean %.17g\n",
                    channel->name, channel->quality, channel->why, channel->start_known,
                    (long long)channel->start_micro, channel->end_known,
                    (long long)channel->end_micro, (long long)(channel->last_ms - T0),
                    (long long)channel->weight_ms, channel->mean);
    }
}

static inline void assert_same_periods(const struct snapshot *a, const struct snapshot *b)
{
    assert_int_equal(a->periods, b->periods);
    for (int i = 0; i < a->periods; i++) {
        struct buf left;
        struct buf right;
        buf_init(&left, 65536);
        buf_init(&right, 65536);
        period_encode(&a->period[i].period, &left);
        period_encode(&b->period[i].period, &right);
        if (left.length != right.length || memcmp(left.data, right.data, left.length) != 0) {
            print_period("this", &a->period[i]);
            print_period("that", &b->period[i]);
        }
        assert_string_equal(a->period[i].meter, b->period[i].meter);
        assert_int_equal(left.length, right.length);
        assert_memory_equal(left.data, right.data, left.length);
        buf_release(&left);
        buf_release(&right);
    }
}

static inline void assert_same_changes(const struct snapshot *a, const struct snapshot *b)
{
    assert_int_equal(a->changes, b->changes);
    for (int i = 0; i < a->changes; i++) {
        const struct alert_change *left = &a->change[i].change;
        const struct alert_change *right = &b->change[i].change;
        assert_string_equal(left->subject, right->subject);
        assert_int_equal(left->kind, right->kind);
        assert_int_equal(left->state, right->state);
        assert_int_equal(left->severity, right->severity);
        assert_int_equal(left->at_ms, right->at_ms);
        assert_int_equal(left->since_ms, right->since_ms);
        assert_true(left->evidence.observed == right->evidence.observed);
    }
}

static inline bool count_row(void *context, const struct stored_reading *reading)
{
    (void)reading;
    ++*(int *)context;
    return true;
}

static inline int readings_stored(void)
{
    int count = 0;
    struct store *store = store_must_read();
    must(store_readings(store, NULL, 0, INT64_MAX, count_row, &count, &failure));
    store_close(store);
    return count;
}

#endif
