// Lives of a recorder with outages, beside a meter that keeps a log: whatever the outages, the
// stored periods end as the meter truly stood, their volumes add up to the index difference, and
// nothing that was measured is another. The meter's index is known at every instant.
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "recorder_fixture.h"

#include "drivers/archive.h"
#include "record/desk.h"

#define DAY (24 * HOUR)
#define MINUTES_MAX (60 * 24 * 8)
#define OUTAGES_MAX 4

// ---- a meter ------------------------------------------------------------------------------------

static const char log_profile[] =
    "model: Test meter with logs\n"
    "source: tests/unit/test_record_backfill.c\n"
    "verified: true\n"
    "medium: gas\n"
    "channels:\n"
    "  volume_base: {register: 0, function: 3, type: bcd12, scale: 0.0001, unit: m3}\n"
    "  flow_base: {register: 3, function: 3, type: f32, unit: m3/h}\n"
    "archives:\n"
    "  - {name: hours, span: hour, first_register: 100, record_registers: 5, records: 500,\n"
    "     order: newest-first, time: {offset: 0, type: u32},\n"
    "     channels: {volume_base: {offset: 2, type: bcd12, scale: 0.0001, unit: m3}}}\n"
    "  - {name: sums, span: day, first_register: 5000, record_registers: 4, records: 50,\n"
    "     order: oldest-first, time: {offset: 0, type: u32},\n"
    "     channels: {volume_base: {offset: 2, type: u32, scale: 0.0001, unit: m3,\n"
    "                              value: increment}}}\n";

static void meter_take_profile(struct meter *meter)
{
    struct faults *faults = calloc(1, sizeof *faults);
    assert_non_null(faults);
    profile_free(meter->profile);
    if (profile_load_text("log.yaml", log_profile, sizeof log_profile - 1, &meter->profile,
                          faults) != 0)
        fail_msg("%s: %s", faults->list[0].path, faults->list[0].message);
    memset(meter->units, 0, sizeof meter->units);
    free(faults);
}

// Its index in counts of 0.0001 m3, each minute from `begin_ms` on.
struct model {
    int64_t begin_ms;
    int minutes;
    int64_t index[MINUTES_MAX + 1];
};

static void model_make(struct model *model, int64_t begin_ms, int minutes)
{
    assert_true(minutes <= MINUTES_MAX);
    model->begin_ms = begin_ms;
    model->minutes = minutes;
    model->index[0] = random_between(0, 1000000);
    int64_t rate = 0;
    for (int i = 0; i < minutes; i++) {
        if (i % 20 == 0)
            rate = random_between(0, 3) == 0 ? 0 : random_between(0, 50000);
        model->index[i + 1] = model->index[i] + rate;
    }
}

static int64_t model_at(const struct model *model, int64_t at_ms)
{
    int64_t minute = (at_ms - model->begin_ms) / MINUTE;
    assert_in_range(minute, 0, model->minutes);
    if (minute == model->minutes)
        return model->index[minute];
    int64_t low = model->index[minute];
    return low + (model->index[minute + 1] - low) * ((at_ms - model->begin_ms) % MINUTE) / MINUTE;
}

// ---- a life -------------------------------------------------------------------------------------

struct life {
    struct model model;
    struct config *config;
    int64_t end_ms;
    int64_t outages[OUTAGES_MAX][2];
    bool stopped[OUTAGES_MAX]; // the gateway was; else the meter was silent
    int outage_count;
    bool has_hours, has_days; // what the log keeps
    int64_t lie;              // added to each index of the log
    int asks, rows;
};

static int outage_at(const struct life *life, int64_t at_ms)
{
    for (int i = 0; i < life->outage_count; i++)
        if (at_ms >= life->outages[i][0] && at_ms < life->outages[i][1])
            return i;
    return -1;
}

static void put_record(const struct life *life, const struct profile_archive *archive,
                       int64_t from_ms, int64_t to_ms, uint16_t *words)
{
    archive_stamp_put(archive, to_ms / 1000, words);
    if (archive->span == ARCHIVE_HOUR) {
        bcd_put(words + 2, 3, model_at(&life->model, to_ms) + life->lie);
    } else {
        int64_t added = model_at(&life->model, to_ms) - model_at(&life->model, from_ms);
        words[2] = (uint16_t)(added >> 16);
        words[3] = (uint16_t)added;
    }
}

// As a link would: fetches what is wanted, reads it from the meter's log, hands it in.
static bool serve_log(struct life *life, struct recorder *recorder)
{
    struct archive_desk desk = recorder_archives(recorder);
    struct archive_ask ask;
    if (!desk.ask(desk.context, "m1", &ask))
        return false;
    const struct meter *meter = &life->config->meters[0];
    const struct profile_archive *archive = &meter->profile->archives[ask.archive];
    enum span span = archive_span(archive);
    size_t size = archive->record_registers;
    struct archive_rows *rows =
        calloc(1, sizeof *rows + ARCHIVE_SLOTS_MAX * size * sizeof rows->words[0]);
    assert_non_null(rows);
    rows->config = config_ref(life->config);
    rows->meter = meter;
    rows->ask = ask;
    bool keeps = archive->span == ARCHIVE_HOUR ? life->has_hours : life->has_days;
    for (int64_t at = ask.from_ms; at <= ask.to_ms; at = period_end(&calendar, span, at)) {
        int64_t start = period_start(&calendar, span, at - 1);
        assert_true(rows->count < ARCHIVE_SLOTS_MAX);
        assert_true(at <= atomic_load(&wall_ms)); // nothing of the future is asked for
        rows->ends_ms[rows->count] = at;
        rows->has[rows->count] = keeps && start >= life->model.begin_ms;
        if (rows->has[rows->count])
            put_record(life, archive, start, at, rows->words + (size_t)rows->count * size);
        life->rows += rows->has[rows->count++];
    }
    life->asks++;
    assert_true(desk.deliver(desk.context, rows));
    return true;
}

static struct reading *life_reading(const struct life *life, int64_t due_ms)
{
    struct sample sample = {
        .due_ms = due_ms, .at_ms = due_ms + 7, .answered = outage_at(life, due_ms) < 0, .flow = 1};
    if (sample.answered)
        sample.volume = model_at(&life->model, sample.at_ms);
    return sample_reading(life->config, &sample);
}

// Lets the recorder look for what is missing, and serves it, until it has nothing more to ask.
static void serve_all(struct life *life, struct recorder *recorder)
{
    for (int idle = 0; idle < 5;) {
        atomic_store(&wall_ms, atomic_load(&wall_ms) + DESK_LOOK_MS + 1);
        must(recorder_run(recorder, do_nothing, NULL, &failure)); // its thread went round once
        idle = serve_log(life, recorder) ? 0 : idle + 1;
    }
}

// From its start to its end; while the gateway is stopped time goes on.
static void live(struct life *life)
{
    struct schedule schedule = schedule_for(life->config, 0);
    struct recorder *recorder = NULL;
    clock_start(life->model.begin_ms);
    int64_t due = life->model.begin_ms;
    while ((due = schedule_next(&schedule, &calendar, due)) < life->end_ms) {
        int outage = outage_at(life, due);
        if (outage >= 0 && life->stopped[outage]) {
            recorder_stop(recorder);
            recorder = NULL;
            continue;
        }
        atomic_store(&wall_ms, due + 7);
        recorder = recorder == NULL ? recorder_must_start(life->config) : recorder;
        assert_true(recorder_offer(recorder, life_reading(life, due)));
        if (random_between(0, 19) == 0) {
            settle(recorder);
            (void)serve_log(life, recorder);
        }
    }
    serve_all(life, recorder);
    recorder_stop(recorder);
}

static void life_begin(struct life *life, int interval_s, int days)
{
    memset(life, 0, sizeof *life);
    life->config = config_make(1, interval_s, 15);
    meter_take_profile(&life->config->meters[0]);
    life->config->office.raw_readings = true;
    int64_t begin = T0 + 2 * HOUR + 20 * MINUTE;
    life->end_ms = begin + days * DAY;
    model_make(&life->model, begin, days * 24 * 60 + 60);
    life->has_hours = life->has_days = true;
}

// Outages anywhere but in the first and the last few hours.
static void add_outages(struct life *life, int count, int hours_most)
{
    int64_t room = (life->end_ms - life->model.begin_ms) / MINUTE - 8 * 60;
    for (int i = 0; i < count; i++) {
        int64_t from = life->model.begin_ms + (180 + random_between(0, room - 1)) * MINUTE;
        int64_t to = from + random_between(2, 60 * hours_most) * MINUTE;
        int64_t last = life->end_ms - 4 * HOUR;
        life->outages[life->outage_count][0] = from;
        life->outages[life->outage_count][1] = to < last ? to : last;
        life->stopped[life->outage_count++] = random_between(0, 1) == 1;
    }
}

static void life_end(struct life *life)
{
    config_drop(life->config);
    int (*const again[])(void **) = {folder_remove, folder_make};
    assert_int_equal(again[0](NULL), 0);
    assert_int_equal(again[1](NULL), 0);
}

// ---- what must hold -----------------------------------------------------------------------------

// Every span tiles, every known index rises, and an index that is measured or read back is what the
// meter held. Returns how many indices were read back.
static int must_be_true(const struct life *life, const struct snapshot *stored, enum span span)
{
    const struct period_channel *before = NULL;
    int read_back = 0;
    for (int i = 0; i < stored->periods; i++) {
        const struct period *period = &stored->period[i].period;
        if (period->span != span)
            continue;
        const struct period_channel *channel = &period->channels[0];
        assert_string_equal(channel->name, "volume_base");
        if (before != NULL) {
            assert_int_equal(before->end_known, channel->start_known);
            assert_true(!before->end_known || before->end_micro == channel->start_micro);
        }
        int64_t delta = 0;
        if (period_delta(channel, &delta))
            if (delta < 0) {
                print_period("before", &stored->period[i > 0 ? i - 1 : 0]);
                print_period("negative", &stored->period[i]);
                fail();
            }
        if (channel->end_known && channel->end_quality == QUALITY_ARCHIVE) {
            read_back++;
            assert_int_equal(channel->end_micro, model_at(&life->model, period->to_ms) * 100);
        } else if (channel->end_known && channel->end_quality == QUALITY_GOOD) {
            // the first reading after the boundary: at most a minute later
            assert_true(channel->end_micro >= model_at(&life->model, period->to_ms) * 100);
            assert_true(channel->end_micro <= model_at(&life->model, period->to_ms + MINUTE) * 100);
        }
        if (stored->period[i].period.version > 1)
            assert_int_equal(stored->period[i].lane == 0 ? LANE_BACKFILL : stored->period[i].lane,
                             LANE_BACKFILL);
        before = channel;
    }
    return read_back;
}

// What was measured is the same as in the first version of its period.
static void measured_must_stand(void)
{
    int64_t replaced = sql_ask("SELECT count(*) FROM period WHERE version > 1");
    struct store *store = store_must_read();
    for (int64_t n = 0; n < replaced; n++) {
        char sql[200];
        (void)snprintf(sql, sizeof sql,
                       "SELECT id FROM period WHERE version > 1 ORDER BY id LIMIT 1 OFFSET %lld",
                       (long long)n);
        int64_t row = sql_ask(sql);
        (void)snprintf(sql, sizeof sql,
                       "SELECT b.id FROM period AS a JOIN period AS b USING (meter, span, from_ms)"
                       " WHERE a.id = %lld AND b.version = a.version - 1",
                       (long long)row);
        static struct stored_period now;
        static struct stored_period was;
        assert_int_equal(store_period_get(store, row, &now, &failure), 1);
        assert_int_equal(store_period_get(store, sql_ask(sql), &was, &failure), 1);
        assert_int_equal(now.replaces_seq, was.seq);
        assert_int_equal(now.period.to_ms, was.period.to_ms);
        assert_int_equal(now.period.good, was.period.good);
        for (int i = 0; i < now.period.channel_count; i++) {
            const struct period_channel *a = &now.period.channels[i];
            const struct period_channel *b = &was.period.channels[i];
            if (b->kind == CHANNEL_COUNTER && b->end_known && b->end_quality == QUALITY_GOOD)
                assert_true(a->end_micro == b->end_micro && a->end_quality == b->end_quality);
            if (b->kind == CHANNEL_COUNTER && b->start_known && b->start_quality == QUALITY_GOOD)
                assert_true(a->start_micro == b->start_micro);
            if (b->kind != CHANNEL_COUNTER)
                assert_true(a->weight_ms == b->weight_ms && a->quality == b->quality);
        }
    }
    store_close(store);
}

static bool check_row(void *context, const struct stored_reading *reading)
{
    struct life *life = context;
    if (reading->due_ms != 0)
        return true;
    assert_int_equal(reading->value_count, 1);
    assert_int_equal(reading->values[0].quality, QUALITY_ARCHIVE);
    assert_int_equal(reading->values[0].micro, model_at(&life->model, reading->at_ms) * 100);
    assert_int_equal(reading->lane, LANE_BACKFILL);
    life->rows++;
    return true;
}

static int count_of(const struct snapshot *stored, enum span span, bool known)
{
    int count = 0;
    for (int i = 0; i < stored->periods; i++)
        count += stored->period[i].period.span == span &&
                 stored->period[i].period.channels[0].end_known == known;
    return count;
}

// ---- tests --------------------------------------------------------------------------------------

static struct life life;

static void test_any_life_with_a_log_of_hours(void **state)
{
    (void)state;
    int total = 0;
    for (int round = 0; round < 8; round++) {
        life_begin(&life, 60, 3);
        add_outages(&life, (int)random_between(1, OUTAGES_MAX), 14);
        live(&life);
        store_must_verify();
        struct snapshot stored;
        snapshot_take(&stored);
        for (enum span span = SPAN_15MIN; span <= SPAN_DAY; span++)
            total += span == SPAN_30MIN ? 0 : must_be_true(&life, &stored, span);
        // every hour that has ended has its index, and so has every gas day
        assert_int_equal(count_of(&stored, SPAN_HOUR, false), 0);
        assert_int_equal(count_of(&stored, SPAN_DAY, false), 0);
        assert_true(count_of(&stored, SPAN_HOUR, true) >= 70);
        snapshot_free(&stored);
        measured_must_stand();
        life.rows = 0;
        struct store *store = store_must_read();
        must(store_readings(store, NULL, 0, INT64_MAX, check_row, &life, &failure));
        store_close(store);
        total += life.rows;
        life_end(&life);
    }
    print_message("%d boundaries and records read back\n", total);
    assert_true(total > 100);
}

// The log keeps no hours: gas days come from increments, between two measured gas days.
static void test_a_log_of_increments_of_days(void **state)
{
    (void)state;
    life_begin(&life, 900, 7);
    life.has_hours = false;
    // over two ends of gas days
    int64_t day = period_end(&calendar, SPAN_DAY, life.model.begin_ms);
    life.outages[0][0] = day + DAY + 20 * HOUR;
    life.outages[0][1] = day + 3 * DAY + 5 * HOUR;
    life.stopped[0] = true;
    life.outage_count = 1;
    live(&life);
    store_must_verify();
    struct snapshot stored;
    snapshot_take(&stored);
    int found = 0;
    for (int i = 0; i < stored.periods; i++) {
        const struct period *period = &stored.period[i].period;
        const struct period_channel *channel = &period->channels[0];
        if (period->span != SPAN_DAY || channel->end_quality != QUALITY_ARCHIVE)
            continue;
        found++;
        // from a measured index on, which stands up to a minute after its boundary
        int64_t error = channel->end_micro - model_at(&life.model, period->to_ms) * 100;
        assert_true(error >= 0 && error <= 50000 * 100);
        assert_int_equal(period->version, 2);
        assert_int_equal(stored.period[i].lane, LANE_BACKFILL);
    }
    assert_int_equal(found, 2);
    assert_int_equal(count_of(&stored, SPAN_DAY, false), 0);
    snapshot_free(&stored);
    measured_must_stand();
    life_end(&life);
}

// A log that lies: the difference of our own readings stands, its split is estimated.
static void test_a_lying_log(void **state)
{
    (void)state;
    for (int round = 0; round < 3; round++) {
        life_begin(&life, 60, 2);
        add_outages(&life, 2, 10);
        life.lie = random_between(0, 1) == 0 ? 400000000 : 1;
        life.lie += 60000; // more than a minute's flow
        life.has_days = false;
        live(&life);
        store_must_verify();
        struct snapshot stored;
        snapshot_take(&stored);
        for (int i = 0; i < stored.periods; i++) {
            const struct period_channel *channel = &stored.period[i].period.channels[0];
            assert_int_not_equal(channel->end_quality, QUALITY_ARCHIVE);
            if (stored.period[i].period.span == SPAN_HOUR && channel->end_known &&
                channel->end_quality == QUALITY_ESTIMATED)
                assert_int_equal(channel->quality, QUALITY_ESTIMATED);
        }
        (void)must_be_true(&life, &stored, SPAN_HOUR);
        assert_int_equal(count_of(&stored, SPAN_HOUR, false), 0);
        snapshot_free(&stored);
        measured_must_stand();
        life_end(&life);
    }
}

// A log that keeps nothing is asked about a gap once, not for ever; after a restart once more.
static void test_an_empty_log(void **state)
{
    (void)state;
    life_begin(&life, 60, 2);
    life.has_hours = life.has_days = false;
    life.outages[0][0] = life.model.begin_ms + 10 * HOUR;
    life.outages[0][1] = life.model.begin_ms + 14 * HOUR;
    life.outage_count = 1;
    live(&life);
    assert_in_range(life.asks, 1, 3); // at once, and when the hour after the gap is known
    int64_t versions = sql_ask("SELECT count(*) FROM period WHERE version > 1");
    assert_int_equal(versions, 0);
    life.asks = 0;
    struct recorder *recorder = recorder_must_start(life.config);
    serve_all(&life, recorder);
    recorder_stop(recorder);
    assert_in_range(life.asks, 1, 2);
    life_end(&life);
}

static int group_set_up(void **state)
{
    (void)state;
    must(gas_calendar_init(&calendar, "Asia/Shanghai", 360, &failure));
    start_ms = period_end(&calendar, SPAN_DAY, clock_floor_ms());
    return 0;
}

#define IN_FOLDER(test) cmocka_unit_test_setup_teardown(test, folder_make, folder_remove)

int main(void)
{
    const struct CMUnitTest tests[] = {
        IN_FOLDER(test_any_life_with_a_log_of_hours),
        IN_FOLDER(test_a_log_of_increments_of_days),
        IN_FOLDER(test_a_lying_log),
        IN_FOLDER(test_an_empty_log),
    };
    random_start("test_record_backfill");
    return cmocka_run_group_tests(tests, group_set_up, NULL);
}
