// An office thread on a real store, with a recorder that only writes what the office asks for, and
// a clock that can run ahead.
#ifndef METERGATE_TESTS_UNIT_OFFICE_RIG_H
#define METERGATE_TESTS_UNIT_OFFICE_RIG_H

#include "store_fixture.h"

#include "office/office.h"

#include <pthread.h>
#include <stdatomic.h>
#include <time.h>

// --- clock: boot time runs `rig_speed` times as fast as the machine's ---

static _Atomic int64_t rig_ahead_ms;
static int64_t rig_speed = 1;
static int64_t rig_zero_ns;
static atomic_int rig_looks; // how often somebody looked at the clock

static inline int64_t rig_real_ns(void)
{
    struct timespec now;
    (void)clock_gettime(CLOCK_MONOTONIC, &now);
    return (int64_t)now.tv_sec * 1000000000 + now.tv_nsec;
}

static inline int64_t rig_boot_ns(void *context)
{
    (void)context;
    (void)atomic_fetch_add(&rig_looks, 1);
    return rig_zero_ns + (rig_real_ns() - rig_zero_ns) * rig_speed +
           atomic_load(&rig_ahead_ms) * 1000000;
}

static inline int64_t rig_wall_ms(void *context)
{
    return clock_system.wall_ms(context);
}

static const struct clock rig_clock = {.boot_ns = rig_boot_ns, .wall_ms = rig_wall_ms};

// --- recorder: the writing connection, and what it was told ---

struct recorder {
    pthread_mutex_t mutex;
    struct store *store;
    int64_t acknowledged[LANES_END];
    bool live;
    bool clock_known;
};
static struct recorder rig_recorder = {.mutex = PTHREAD_MUTEX_INITIALIZER};

int recorder_run(struct recorder *recorder, recorder_task *task, void *argument, struct err *err)
{
    (void)pthread_mutex_lock(&recorder->mutex);
    int result = store_round_begin(recorder->store, err);
    if (result == 0) {
        result = task(recorder->store, argument, err);
        if (result == 0)
            result = store_round_commit(recorder->store, err);
        else
            store_round_cancel(recorder->store);
    }
    (void)pthread_mutex_unlock(&recorder->mutex);
    return result;
}

struct rig_cursor {
    enum lane lane;
    int64_t seq;
};

static inline int rig_acknowledge(struct store *store, void *argument, struct err *err)
{
    const struct rig_cursor *cursor = argument;
    return store_outbox_acknowledge(store, cursor->lane, cursor->seq, err);
}

void recorder_acknowledge(struct recorder *recorder, enum lane lane, int64_t seq)
{
    struct rig_cursor cursor = {lane, seq};
    struct err err = {.text = ""};
    if (recorder_run(recorder, rig_acknowledge, &cursor, &err) != 0) {
        print_error("recorder_acknowledge: %s\n", err.text);
        abort();
    }
    (void)pthread_mutex_lock(&recorder->mutex);
    recorder->acknowledged[lane] = seq;
    (void)pthread_mutex_unlock(&recorder->mutex);
}

void recorder_set_live(struct recorder *recorder, bool live)
{
    (void)pthread_mutex_lock(&recorder->mutex);
    recorder->live = live;
    (void)pthread_mutex_unlock(&recorder->mutex);
}

void recorder_status(struct recorder *recorder, struct recorder_status *out)
{
    (void)pthread_mutex_lock(&recorder->mutex);
    *out = (struct recorder_status){.clock_known = recorder->clock_known};
    (void)pthread_mutex_unlock(&recorder->mutex);
}

static inline bool rig_live(void)
{
    (void)pthread_mutex_lock(&rig_recorder.mutex);
    bool live = rig_recorder.live;
    (void)pthread_mutex_unlock(&rig_recorder.mutex);
    return live;
}

static inline int64_t rig_acknowledged(enum lane lane)
{
    (void)pthread_mutex_lock(&rig_recorder.mutex);
    int64_t seq = rig_recorder.acknowledged[lane];
    (void)pthread_mutex_unlock(&rig_recorder.mutex);
    return seq;
}

// The meters of these tests tell no serial number.
bool live_serial(struct live *live, const struct config *config, int meter,
                 char serial[static VALUE_TEXT_MAX])
{
    (void)live;
    (void)config;
    (void)meter;
    (void)serial;
    return false;
}

// --- configuration, in place of one from a file ---

static struct config_link rig_link = {.id = "hall-1"};
static struct meter rig_meter = {.id = "boiler-1", .name = "Boiler house 1", .interval_s = 60};
static struct config rig_config = {.references = 1000, // never freed
                                   .gateway_id = "site-042",
                                   .revision = "0123456789abcdef",
                                   .link_count = 1,
                                   .links = &rig_link,
                                   .meter_count = 1,
                                   .meters = &rig_meter};

// --- the rig ---

struct rig {
    struct office *office;
    int meter;   // its number in the store
    int periods; // rows that were put in
};

// Opens an empty store in a fresh folder; the office is started by rig_start.
static inline void rig_open(struct rig *rig, const char *url)
{
    int64_t configured_ms;
    *rig = (struct rig){0};
    assert_int_equal(folder_make(NULL), 0);
    rig_speed = 1;
    rig_zero_ns = rig_real_ns();
    atomic_store(&rig_ahead_ms, 0);
    rig_recorder.store = store_must_open();
    rig_recorder.live = false;
    rig_recorder.clock_known = true;
    memset(rig_recorder.acknowledged, 0, sizeof rig_recorder.acknowledged);
    must(store_round_begin(rig_recorder.store, &failure));
    must(store_meter(rig_recorder.store, "boiler-1", T0, &rig->meter, &configured_ms, &failure));
    must(store_round_commit(rig_recorder.store, &failure));
    struct meter *meter = fixture_meter("boiler-1");
    rig_meter.profile = meter->profile;
    free(meter);
    rig_config.office = (struct config_office){.present = true, .prefix = "metergate/v1"};
    (void)snprintf(rig_config.office.url, sizeof rig_config.office.url, "%s", url);
}

static inline void rig_start(struct rig *rig)
{
    struct office_settings settings = {
        .config = &rig_config, .directory = folder, .clock = &rig_clock, .recorder = &rig_recorder};
    struct err err = {.text = ""};
    rig->office = office_start(&settings, &err);
    if (rig->office == NULL)
        print_error("office_start: %s\n", err.text);
    assert_non_null(rig->office);
}

static inline void rig_close(struct rig *rig)
{
    office_stop(rig->office);
    store_close(rig_recorder.store);
    profile_free(rig_meter.profile);
    assert_int_equal(folder_remove(NULL), 0);
}

struct rig_fill {
    struct rig *rig;
    enum lane lane;
    int count;
};

static inline int rig_add_rows(struct store *store, void *argument, struct err *err)
{
    struct rig_fill *fill = argument;
    for (int i = 0; i < fill->count; i++) {
        int64_t from = T0 + (int64_t)fill->rig->periods++ * 60000;
        struct period period = {.span = SPAN_1MIN,
                                .version = 1,
                                .from_ms = from,
                                .to_ms = from + 60000,
                                .expected = 1,
                                .good = 1,
                                .channel_count = 1};
        strcpy(period.channels[0].name, "volume_base");
        period.channels[0].start_known = period.channels[0].end_known = true;
        period.channels[0].start_micro = from;
        period.channels[0].end_micro = from + 60000;
        struct stored_gap gap = {.lane = LANE_LIVE,
                                 .first = 1,
                                 .last = 1,
                                 .reason = "test",
                                 .from_ms = from,
                                 .to_ms = from,
                                 .at_ms = from};
        if (fill->lane == LANE_ALERT
                ? store_gap_add(store, &gap, err) != 0
                : store_period_add(store, fill->rig->meter, &period, rig_wall_ms(NULL), fill->lane,
                                   MESSAGE_SUMMARY, err) != 0)
            return -1;
    }
    return 0;
}

// Puts rows into a lane in one round, and wakes the office if it runs.
static inline void rig_fill(struct rig *rig, enum lane lane, int count)
{
    struct rig_fill fill = {rig, lane, count};
    must(recorder_run(&rig_recorder, rig_add_rows, &fill, &failure));
    if (rig->office != NULL)
        office_wake(rig->office);
}

// Waits for a condition, at most so long; the time a test can lose is bounded, not slept away.
#define rig_wait(condition, seconds)                                                               \
    do {                                                                                           \
        int64_t until_ = rig_real_ns() + (int64_t)(seconds)*1000000000;                            \
        while (!(condition)) {                                                                     \
            if (rig_real_ns() > until_) {                                                          \
                struct office_status status_;                                                      \
                office_status(rig.office, &status_);                                               \
                print_error("office: %s, %s\n", office_state_text(status_.state), status_.error);  \
                fail_msg("not within %d s: %s", seconds, #condition);                              \
            }                                                                                      \
            (void)usleep(2000);                                                                    \
        }                                                                                          \
    } while (0)

// Moves the boot clock on, and waits until the office has seen it: a turn looks at the clock a few
// times.
#define RIG_LOOKS 20
#define rig_advance(ms)                                                                            \
    do {                                                                                           \
        (void)atomic_fetch_add(&rig_ahead_ms, ms);                                                 \
        int looks_ = atomic_load(&rig_looks) + RIG_LOOKS;                                          \
        rig_wait((office_wake(rig.office), atomic_load(&rig_looks) >= looks_), 20);                \
    } while (0)

static inline enum office_state rig_state(const struct rig *rig)
{
    struct office_status status;
    office_status(rig->office, &status);
    return status.state;
}

static inline const char *rig_error(const struct rig *rig)
{
    static struct office_status status;
    office_status(rig->office, &status);
    return status.error;
}

#endif
