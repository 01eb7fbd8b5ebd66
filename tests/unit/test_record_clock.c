// Random histories of a wall clock that is set about, of restarts and of boots in 1970: what the
// store says afterwards is held against what was offered. HISTORIES=N in the environment: how many.
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "recorder_fixture.h"

#define POLLS 120 // of each meter in one history
#define OFFERED_MAX (2 * POLLS)
#define STEP_MAX_MS (2 * HOUR)

static int64_t true_ms;                      // what an honest clock would say
static int64_t offered[METERS][OFFERED_MAX]; // volumes, in order: each names its reading
static int offered_count[METERS];

static int make_calendar(void **state)
{
    (void)state;
    must(gas_calendar_init(&calendar, "Asia/Shanghai", 360, &failure));
    start_ms = period_end(&calendar, SPAN_DAY, clock_floor_ms());
    return 0;
}

// In the recorder's thread: both clocks change at one moment.
static int step_clock(struct store *store, void *argument, struct err *err)
{
    const int64_t *step = argument;
    (void)store;
    (void)err;
    atomic_fetch_add(&boot_offset_ms, *step);
    atomic_fetch_add(&wall_ms, *step);
    return 0;
}

static void set_clock(struct recorder *recorder, int64_t wrong_ms)
{
    int64_t step = true_ms + wrong_ms - atomic_load(&wall_ms);
    must(recorder_run(recorder, step_clock, &step, &failure));
}

static void pass(int64_t ms)
{
    true_ms += ms;
    atomic_fetch_add(&wall_ms, ms);
}

static void poll_all(struct recorder *recorder, struct config *config, int64_t *volume)
{
    pass(MINUTE);
    int64_t now = atomic_load(&wall_ms);
    for (int i = 0; i < config->meter_count; i++) {
        volume[i] += random_between(1, 20000);
        struct sample sample = {.meter = i,
                                .due_ms = now - now % MINUTE,
                                .at_ms = now + random_between(1, 400),
                                .answered = true,
                                .volume = volume[i],
                                .flow = 10};
        assert_true(recorder_offer(recorder, sample_reading(config, &sample)));
        offered[i][offered_count[i]++] = volume[i];
    }
}

// The gateway is away for a while; the clock may have been changed, or lost.
static struct recorder *restart(struct recorder *recorder, struct config *config)
{
    recorder_stop(recorder);
    pass(random_between(0, 30 * MINUTE));
    int64_t step = random_between(0, 2) == 0 ? 240 * HOUR - atomic_load(&wall_ms)
                                             : random_between(-STEP_MAX_MS, STEP_MAX_MS);
    atomic_fetch_add(&boot_offset_ms, step);
    atomic_fetch_add(&wall_ms, step);
    return recorder_must_start(config);
}

static void live_through(struct config *config)
{
    int64_t volume[METERS];
    struct recorder_status status;
    true_ms = start_ms + random_between(0, HOUR);
    clock_start(true_ms);
    struct recorder *recorder = recorder_must_start(config);
    for (int i = 0; i < METERS; i++) {
        offered_count[i] = 0;
        volume[i] = random_between(1, 1000000);
    }
    for (int poll = 0; poll < POLLS; poll++) {
        poll_all(recorder, config, volume);
        if (random_between(0, 11) == 0)
            set_clock(recorder, random_between(-STEP_MAX_MS, STEP_MAX_MS));
        if (random_between(0, 24) == 0)
            recorder = restart(recorder, config);
    }
    // In the end somebody sets it right, and time passes until all is in order again.
    set_clock(recorder, 0);
    for (int poll = 0; poll < 20; poll++)
        poll_all(recorder, config, volume);
    wait_until(recorder, status, status.clock_known && status.undated == 0);
    settle(recorder);
    recorder_stop(recorder);
}

// --- what must hold ---

struct seen {
    int64_t volume, at_ms;
    bool marked;
};
static struct seen seen[METERS][OFFERED_MAX];
static int seen_count[METERS];

static bool collect(void *context, const struct stored_reading *reading)
{
    (void)context;
    int meter = reading->meter[1] - '1';
    int place = profile_channel_find(reading->profile, "volume_base");
    const struct value *value = &reading->values[place];
    assert_true(meter >= 0 && meter < METERS && seen_count[meter] < OFFERED_MAX);
    assert_true(value->present);
    bool marked = value->quality == QUALITY_SUSPECT && value->why == WHY_CLOCK_BACK;
    assert_true(marked || value->quality == QUALITY_GOOD);
    seen[meter][seen_count[meter]++] =
        (struct seen){.volume = value->micro / 100, .at_ms = reading->at_ms, .marked = marked};
    return true;
}

static int by_volume(const void *a, const void *b)
{
    int64_t x = ((const struct seen *)a)->volume;
    int64_t y = ((const struct seen *)b)->volume;
    return x < y ? -1 : x > y;
}

// Each reading once; each instant once; marked where time came a second time, and nowhere else.
static int check_readings(void)
{
    int marks = 0;
    struct store *store = store_must_read();
    memset(seen_count, 0, sizeof seen_count);
    must(store_readings(store, NULL, 0, INT64_MAX, collect, NULL, &failure));
    store_close(store);
    for (int i = 0; i < METERS; i++) {
        assert_int_equal(seen_count[i], offered_count[i]);
        for (int k = 1; k < seen_count[i]; k++) // they come in the order of `at`
            assert_true(seen[i][k].at_ms > seen[i][k - 1].at_ms);
        qsort(seen[i], (size_t)seen_count[i], sizeof seen[i][0], by_volume);
        int64_t newest = INT64_MIN;
        for (int k = 0; k < seen_count[i]; k++) {
            assert_int_equal(seen[i][k].volume, offered[i][k]);
            assert_int_equal(seen[i][k].marked, seen[i][k].at_ms < newest);
            newest = seen[i][k].at_ms > newest ? seen[i][k].at_ms : newest;
            marks += seen[i][k].marked;
        }
    }
    return marks;
}

struct walk {
    int64_t to_ms[METERS];
    bool known[METERS];
    int64_t end[METERS], highest[METERS];
    int count;
};

static void rises(struct walk *walk, int meter, int64_t index)
{
    assert_true(index >= walk->highest[meter]); // else a volume would count twice
    walk->highest[meter] = index;
}

// No span of time twice, no index that falls, each start the end before it.
static bool check_period(void *context, const struct stored_period *stored)
{
    struct walk *walk = context;
    const struct period *period = &stored->period;
    int meter = stored->meter[1] - '1';
    const struct period_channel *channel = period_counter(period, "volume_base");
    assert_non_null(channel);
    assert_true(period->from_ms >= walk->to_ms[meter]);
    if (walk->to_ms[meter] == period->from_ms) {
        assert_int_equal(channel->start_known, walk->known[meter]);
        if (channel->start_known)
            assert_int_equal(channel->start_micro, walk->end[meter]);
    }
    if (channel->start_known)
        rises(walk, meter, channel->start_micro);
    if (channel->end_known)
        rises(walk, meter, channel->end_micro);
    assert_true(channel->end_micro <= 100 * offered[meter][offered_count[meter] - 1]);
    walk->to_ms[meter] = period->to_ms;
    walk->known[meter] = channel->end_known;
    walk->end[meter] = channel->end_micro;
    walk->count++;
    return true;
}

static int check_periods(void)
{
    struct walk walk = {.count = 0};
    struct store *store = store_must_read();
    must(store_periods(store, NULL, SPAN_15MIN, 0, INT64_MAX, check_period, &walk, &failure));
    store_close(store);
    return walk.count;
}

static void test_histories(void **state)
{
    (void)state;
    const char *wanted = getenv("HISTORIES");
    long histories = wanted != NULL ? strtol(wanted, NULL, 10) : 6;
    int readings = 0;
    int marks = 0;
    int periods = 0;
    for (long i = 0; i < histories; i++) {
        assert_int_equal(folder_make(state), 0);
        struct config *config = config_make(METERS, 60, 15);
        live_through(config);
        config_drop(config);
        marks += check_readings();
        periods += check_periods();
        for (int k = 0; k < METERS; k++)
            readings += offered_count[k];
        store_must_verify();
        assert_int_equal(folder_remove(state), 0);
    }
    print_message("%ld histories: %d readings, each once, %d of them in time that came twice; %d "
                  "periods\n",
                  histories, readings, marks, periods);
    assert_true(marks > 0 && periods > 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_histories)};
    random_start("test_record_clock");
    return cmocka_run_group_tests_name("record/clock", tests, make_calendar, NULL);
}
