#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "recorder_fixture.h"

#include <inttypes.h>

static int group_set_up(void **state)
{
    (void)state;
    must(gas_calendar_init(&calendar, "Asia/Shanghai", 360, &failure));
    start_ms = period_end(&calendar, SPAN_DAY, clock_floor_ms());
    return 0;
}

// --- rounds ---

static void test_readings_are_kept(void **state)
{
    (void)state;
    struct config *config = config_make(METERS, 60, 15);
    clock_start(T0);
    stream_make(config, T0, 50);
    struct recorder *recorder = recorder_must_start(config);
    atomic_store(&commits_seen, 0);
    offer_range(recorder, config, 0, stream_count);
    settle(recorder);
    struct recorder_status status;
    recorder_status(recorder, &status);
    assert_true(status.clock_known);
    assert_int_equal(status.readings, stream_count);
    assert_int_equal(status.refused, 0);
    assert_string_equal(status.error, "");
    assert_int_equal(status.last_commit_ms, atomic_load(&wall_ms));
    assert_true(atomic_load(&commits_seen) > 0);
    // a reading for the live view only is not kept
    struct reading *live = sample_reading(config, &stream[0]);
    live->due_ms = 0;
    assert_true(recorder_offer(recorder, live));
    char stream_id[UUID_SIZE];
    (void)snprintf(stream_id, sizeof stream_id, "%s", recorder_stream(recorder));
    recorder_stop(recorder);
    assert_int_equal(readings_stored(), stream_count);
    struct store *store = store_must_read();
    char value[64];
    assert_string_equal(store_stream(store), stream_id);
    assert_int_equal(store_setting_get(store, "clean_stop", value, sizeof value, NULL), 1);
    assert_string_equal(value, "yes");
    assert_int_equal(store_setting_get(store, "gateway", value, sizeof value, NULL), 1);
    assert_string_equal(value, "site-042");
    store_close(store);
    store_must_verify();
    config_drop(config);
}

struct built {
    int count;
    struct period list[500];
};

static void build(void *context, const struct period *period)
{
    struct built *built = context;
    assert_true(built->count < 500);
    built->list[built->count++] = *period;
}

static void check_built(const struct config *config, int meter, const struct built *built,
                        const struct snapshot *stored)
{
    int next = 0;
    for (int i = 0; i < stored->periods; i++) {
        const struct stored_period *period = &stored->period[i];
        if (period->period.span != SPAN_15MIN ||
            strcmp(period->meter, config->meters[meter].id) != 0)
            continue;
        assert_true(next < built->count);
        struct buf left;
        struct buf right;
        buf_init(&left, 65536);
        buf_init(&right, 65536);
        period_encode(&period->period, &left);
        period_encode(&built->list[next++], &right);
        assert_int_equal(left.length, right.length);
        assert_memory_equal(left.data, right.data, left.length);
        buf_release(&left);
        buf_release(&right);
    }
    assert_int_equal(next, built->count);
}

// The stored periods are those that the builder alone makes of the same readings.
static void test_periods_are_those_of_the_readings(void **state)
{
    (void)state;
    struct config *config = config_make(METERS, 60, 15);
    clock_start(T0);
    stream_make(config, T0, 200);
    struct recorder *recorder = recorder_must_start(config);
    offer_range(recorder, config, 0, stream_count);
    settle(recorder);
    recorder_stop(recorder);
    struct snapshot stored;
    snapshot_take(&stored);
    for (int meter = 0; meter < METERS; meter++) {
        static struct built built;
        built.count = 0;
        struct schedule schedule = schedule_for(config, meter);
        struct period_builder *builder =
            period_builder_new(&config->meters[meter], &schedule, &calendar, T0);
        for (int i = 0; i < stream_count; i++) {
            if (stream[i].meter == meter) {
                struct reading *reading = sample_reading(config, &stream[i]);
                period_builder_feed(builder, reading, build, &built);
                reading_free(reading);
            }
        }
        period_builder_expire(builder, atomic_load(&wall_ms), build, &built);
        period_builder_free(builder);
        assert_true(built.count > 5);
        check_built(config, meter, &built, &stored);
    }
    snapshot_free(&stored);
    config_drop(config);
}

// Two months of quarter-hourly readings: every longer period is the sum of its parts, and the
// counter's advance is in the deltas to the last digit.
static void test_longer_periods(void **state)
{
    (void)state;
    struct config *config = config_make(1, 1800, 30);
    config->detect = (struct config_detect){0};
    int64_t start = period_start(&calendar, SPAN_MONTH, T0);
    clock_start(start);
    struct recorder *recorder = recorder_must_start(config);
    struct schedule schedule = schedule_for(config, 0);
    stream_count = 0;
    int64_t due = start;
    for (int i = 0; i < 62 * 48; i++) {
        due = schedule_next(&schedule, &calendar, i == 0 ? start - 1 : due);
        stream[stream_count++] = (struct sample){.due_ms = due,
                                                 .at_ms = due + 100,
                                                 .answered = true,
                                                 .volume = 5000 + i * 1234,
                                                 .flow = i % 100};
    }
    offer_range(recorder, config, 0, stream_count);
    settle(recorder);
    recorder_stop(recorder);
    struct snapshot stored;
    snapshot_take(&stored);
    int64_t sum[SPAN_MONTH + 1] = {0};
    int64_t reads[SPAN_MONTH + 1] = {0};
    int count[SPAN_MONTH + 1] = {0};
    int64_t month_to = period_end(&calendar, SPAN_MONTH, start);
    for (int i = 0; i < stored.periods; i++) {
        const struct period *period = &stored.period[i].period;
        assert_int_equal(period->quality, QUALITY_GOOD);
        if (period->to_ms <= month_to) {
            count[period->span]++;
            reads[period->span] += period->good;
            sum[period->span] += period->channels[0].end_micro - period->channels[0].start_micro;
        }
        bool sent = stored.period[i].lane != 0;
        assert_int_equal(sent, period->span != SPAN_HOUR); // 30min is what summary/METER reports
    }
    const int days = (int)((month_to - start) / (24 * HOUR));
    assert_int_equal(count[SPAN_30MIN], 48 * days);
    assert_int_equal(count[SPAN_HOUR], 24 * days);
    assert_int_equal(count[SPAN_DAY], days);
    assert_int_equal(count[SPAN_MONTH], 1);
    assert_int_equal(count[SPAN_15MIN], 0);
    for (int span = SPAN_30MIN; span <= SPAN_MONTH; span++) {
        assert_int_equal(sum[span], INT64_C(123400) * 48 * days);
        assert_int_equal(reads[span], 48 * days);
    }
    snapshot_free(&stored);
    store_must_verify();
    config_drop(config);
}

// --- kill -9 ---

// Offers stream[from..to) in parts. The clock moves on only when a part is kept: a row that is
// stamped later than a reading which this life loses would have the next life find its period over,
// and no clock goes back to have that reading taken again.
static void offer_in_parts(struct recorder *recorder, struct config *config, int from, int to)
{
    while (from < to) {
        int part = (int)random_between(1, 60);
        part = part < to - from ? part : to - from;
        for (int i = from; i < from + part; i++)
            if (!recorder_offer(recorder, sample_reading(config, &stream[i])))
                fail_msg("the queue is full");
        from += part;
        if (from < to || to == stream_count) {
            settle(recorder);
            atomic_store(&wall_ms, stream[from - 1].at_ms);
        }
    }
}

// One life of the program: goes on where the store stands, ends by SIGKILL or, at the end of the
// stream, as it should.
static void live_once(struct config *config)
{
    int done = 0;
    int64_t now_ms = T0; // no power cut sets a clock back behind what was stored
    struct store *store = NULL;
    if (store_open_reader(folder, &store, &failure) == 0) {
        must(store_readings(store, NULL, 0, INT64_MAX, count_row, &done, &failure));
        now_ms = store_newest_ms(store) > T0 ? store_newest_ms(store) : T0;
        store_close(store);
    }
    clock_start(now_ms);
    struct recorder *recorder = recorder_must_start(config);
    int left = stream_count - done;
    int part = (int)random_between(0, left < 150 ? left : 150);
    offer_in_parts(recorder, config, done, done + part);
    struct recorder_status status;
    for (int64_t looks = random_between(0, 3000); looks > 0; looks--) // it works meanwhile
        recorder_status(recorder, &status);
    if (done + part < stream_count)
        (void)kill(getpid(), SIGKILL);
    recorder_stop(recorder);
    _exit(0);
}

static int run_until_done(struct config *config)
{
    for (int lives = 1; lives < 10000; lives++) {
        uint64_t seed = random_u64();
        pid_t child = fork();
        assert_true(child >= 0);
        if (child == 0) {
            for (int i = 0; i < 3; i++)
                random_state[i] = (unsigned short)(seed >> (16 * i));
            live_once(config);
        }
        int status = 0;
        assert_int_equal(waitpid(child, &status, 0), child);
        if (WIFEXITED(status)) {
            assert_int_equal(WEXITSTATUS(status), 0);
            return lives;
        }
        assert_int_equal(WTERMSIG(status), SIGKILL);
    }
    fail_msg("it never came to the end");
    return 0;
}

// Every message of a lane is there, from 1 on.
static void check_lanes(void)
{
    struct store *store = store_must_read();
    for (int lane = LANE_ALERT; lane < LANES_END; lane++) {
        struct outbox_state outbox;
        must(store_outbox_state(store, (enum lane)lane, &outbox, &failure));
        int64_t seq = 0;
        struct outbox_entry entries[64];
        int count;
        while ((count = store_outbox_next(store, (enum lane)lane, seq, entries, 64, &failure)) > 0)
            for (int i = 0; i < count; i++)
                assert_int_equal(entries[i].seq, ++seq);
        assert_int_equal(count, 0);
        assert_int_equal(seq, outbox.last);
    }
    store_close(store);
}

static void test_killed_at_random(void **state)
{
    (void)state;
    static const int summaries[] = {1, 5, 15, 30, 60};
    int lives = 0;
    for (int round = 0; round < 3; round++) {
        struct config *config =
            config_make(METERS, 60 * (int)random_between(1, 3), summaries[random_between(0, 4)]);
        config->store_commit_ms = (int)random_between(100, 400000);
        config->office.raw_readings = random_between(0, 1) == 0;
        stream_make(config, T0, 300);
        assert_int_equal(folder_remove(NULL), 0);
        assert_int_equal(folder_make(NULL), 0);
        clock_start(T0);
        struct recorder *recorder = recorder_must_start(config);
        offer_range(recorder, config, 0, stream_count);
        settle(recorder);
        recorder_stop(recorder);
        struct snapshot whole;
        snapshot_take(&whole);
        assert_true(whole.periods > 20 && whole.changes > 0);

        assert_int_equal(folder_remove(NULL), 0);
        assert_int_equal(folder_make(NULL), 0);
        lives += run_until_done(config);
        struct snapshot killed;
        snapshot_take(&killed);
        assert_int_equal(readings_stored(), stream_count);
        assert_same_periods(&whole, &killed);
        assert_same_changes(&whole, &killed);
        check_lanes();
        store_must_verify();
        snapshot_free(&whole);
        snapshot_free(&killed);
        config_drop(config);
    }
    print_message("%d lives\n", lives);
    assert_true(lives > 20);
}

// --- the office ---

static int64_t lane_last(enum lane lane)
{
    struct store *store = store_must_read();
    struct outbox_state outbox;
    must(store_outbox_state(store, lane, &outbox, &failure));
    store_close(store);
    return outbox.last;
}

static int64_t lane_acknowledged(enum lane lane)
{
    struct store *store = store_must_read();
    struct outbox_state outbox;
    must(store_outbox_state(store, lane, &outbox, &failure));
    store_close(store);
    return outbox.acknowledged;
}

static void test_lanes_and_acknowledgements(void **state)
{
    (void)state;
    struct config *config = config_make(2, 60, 15);
    config->office.raw_readings = true;
    clock_start(T0);
    stream_is_calm = true;
    stream_make(config, T0, 30);
    stream_is_calm = false;
    struct recorder *recorder = recorder_must_start(config);
    offer_range(recorder, config, 0, 10);
    settle(recorder);
    assert_int_equal(lane_last(LANE_BACKFILL), 10);
    assert_int_equal(lane_last(LANE_LIVE), 0);
    recorder_set_live(recorder, true);
    offer_range(recorder, config, 10, stream_count);
    settle(recorder);
    assert_int_equal(lane_last(LANE_BACKFILL), 10);
    // the readings, and a summary of each meter
    assert_int_equal(lane_last(LANE_LIVE), stream_count - 10 + 2);
    assert_int_equal(lane_last(LANE_ALERT), 0);

    recorder_acknowledge(recorder, LANE_BACKFILL, 7);
    recorder_acknowledge(recorder, LANE_BACKFILL, 4);   // late: never back
    recorder_acknowledge(recorder, LANE_LIVE, 1000000); // never given
    struct recorder_status status;
    atomic_fetch_add(&wall_ms, 1000);
    wait_until(recorder, status, lane_acknowledged(LANE_BACKFILL) == 7);
    assert_int_equal(lane_acknowledged(LANE_LIVE), 0);
    recorder_status(recorder, &status);
    assert_string_equal(status.error, "");
    recorder_acknowledge(recorder, LANE_LIVE, 3);
    recorder_stop(recorder);
    assert_int_equal(lane_acknowledged(LANE_LIVE), 3);

    // without an office nothing enters the outbox
    config->office.present = false;
    int64_t before = lane_last(LANE_LIVE) + lane_last(LANE_BACKFILL);
    recorder = recorder_must_start(config);
    stream_make(config, atomic_load(&wall_ms), 40);
    for (int i = 0; i < stream_count; i++)
        stream[i].answered = false;
    offer_range(recorder, config, 0, stream_count);
    settle(recorder);
    recorder_stop(recorder);
    assert_int_equal(lane_last(LANE_LIVE) + lane_last(LANE_BACKFILL), before);
    assert_int_equal(lane_last(LANE_ALERT), 0);
    struct snapshot stored;
    snapshot_take(&stored);
    assert_true(stored.changes > 0);
    snapshot_free(&stored);
    config_drop(config);
}

// --- tasks ---

static int put_setting(struct store *store, void *argument, struct err *err)
{
    return store_setting_put(store, "task", argument, err);
}

static int put_and_fail(struct store *store, void *argument, struct err *err)
{
    must(store_setting_put(store, "task", argument, err));
    return err_set(err, "the task says no");
}

static void test_tasks(void **state)
{
    (void)state;
    struct config *config = config_make(1, 60, 15);
    clock_start(T0);
    struct recorder *recorder = recorder_must_start(config);
    struct err err = {.text = ""};
    assert_int_equal(recorder_run(recorder, put_setting, "one", &err), 0);
    assert_int_equal(recorder_run(recorder, put_and_fail, "two", &err), -1);
    assert_string_equal(err.text, "the task says no");
    struct store *store = store_must_read(); // durable before recorder_run returned
    char value[16];
    assert_int_equal(store_setting_get(store, "task", value, sizeof value, NULL), 1);
    assert_string_equal(value, "one");
    store_close(store);
    recorder_stop(recorder);
    config_drop(config);
}

// --- another configuration ---

static const struct stored_alert *find_change(const struct snapshot *stored, const char *subject,
                                              enum alert_state change)
{
    for (int i = 0; i < stored->changes; i++)
        if (strcmp(stored->change[i].change.subject, subject) == 0 &&
            stored->change[i].change.state == change)
            return &stored->change[i];
    return NULL;
}

static void test_apply(void **state)
{
    (void)state;
    struct config *both = config_make(3, 60, 15);
    struct config *fewer = config_make(2, 60, 15);
    clock_start(T0);
    stream_is_calm = true;
    stream_make(both, T0 - 1, 20);
    stream_is_calm = false;
    for (int i = 0; i < stream_count; i++)
        stream[i].answered = stream[i].meter == 0;
    struct recorder *recorder = recorder_must_start(both);
    offer_range(recorder, both, 0, 30);
    must(recorder_apply(recorder, fewer, &failure)); // without m3
    assert_int_equal(readings_stored(), 30);
    // a bus that the change left alone goes on with the old configuration
    offer_range(recorder, both, 30, stream_count);
    settle(recorder);
    recorder_stop(recorder);
    struct snapshot stored;
    snapshot_take(&stored);
    const struct stored_alert *closed = find_change(&stored, "m3", ALERT_CLOSED);
    assert_non_null(closed);
    assert_string_equal(closed->change.reason, "removed");
    assert_non_null(find_change(&stored, "m2", ALERT_OPEN));
    assert_null(find_change(&stored, "m2", ALERT_CLOSED));
    int kept = 30;
    for (int i = 30; i < stream_count; i++)
        kept += stream[i].meter != 2;
    assert_int_equal(readings_stored(), kept);
    bool whole = false;
    for (int i = 0; i < stored.periods; i++) {
        const struct stored_period *period = &stored.period[i];
        whole = whole || (strcmp(period->meter, "m1") == 0 &&
                          period->period.good == period->period.expected);
    }
    assert_true(whole); // no read of m1 was lost over the change
    snapshot_free(&stored);
    store_must_verify();
    config_drop(both);
    config_drop(fewer);
}

// Other summaries and another cadence: time stays tiled, nothing closes twice.
static void test_apply_other_spans(void **state)
{
    (void)state;
    static const int minutes[] = {15, 5, 60, 1, 30};
    static const int intervals[] = {60, 300, 60, 60, 1200};
    clock_start(T0);
    struct config *configs[5];
    struct recorder *recorder = NULL;
    for (int i = 0; i < 5; i++) {
        configs[i] = config_make(2, intervals[i], minutes[i]);
        if (recorder == NULL)
            recorder = recorder_must_start(configs[i]);
        else
            must(recorder_apply(recorder, configs[i], &failure));
        stream_make(configs[i], atomic_load(&wall_ms), 200 * 60 / intervals[i]);
        offer_range(recorder, configs[i], 0, stream_count);
        settle(recorder);
    }
    recorder_stop(recorder);
    struct snapshot stored;
    snapshot_take(&stored);
    store_must_verify();
    for (int i = 0; i < stored.periods; i++) {
        const struct period *period = &stored.period[i].period;
        assert_int_equal(period->expected, period->good + period->suspect + period->missing);
        // hours are kept under all five: they follow one another
        for (int k = i + 1; period->span == SPAN_HOUR && k < stored.periods; k++) {
            const struct stored_period *next = &stored.period[k];
            if (next->period.span == SPAN_HOUR &&
                strcmp(next->meter, stored.period[i].meter) == 0) {
                assert_int_equal(next->period.from_ms, period->to_ms);
                break;
            }
        }
    }
    snapshot_free(&stored);
    for (int i = 0; i < 5; i++)
        config_drop(configs[i]);
}

// --- the clock ---

// Each under the instant at which it was read.
static bool is_of_stream(void *context, const struct stored_reading *reading)
{
    int *next = context;
    assert_int_equal(reading->at_ms, stream[*next].at_ms);
    ++*next;
    return true;
}

static void test_clock_unknown(void **state)
{
    (void)state;
    struct config *config = config_make(1, 60, 15);
    clock_start(T0);
    stream_is_calm = true;
    stream_make(config, T0, 40);
    stream_is_calm = false;
    // the battery is empty: the clock starts in 1970
    int64_t wrong = T0 - 100000;
    clock_start(T0 - wrong);
    struct recorder *recorder = recorder_must_start(config);
    struct recorder_status status;
    recorder_status(recorder, &status);
    assert_false(status.clock_known);
    assert_non_null(strstr(status.error, "time"));
    for (int i = 0; i < 20; i++) {
        struct sample sample = stream[i];
        sample.due_ms -= wrong;
        sample.at_ms -= wrong;
        atomic_store(&wall_ms, sample.at_ms);
        assert_true(recorder_offer(recorder, sample_reading(config, &sample)));
    }
    must(recorder_run(recorder, do_nothing, NULL, &failure)); // commands work meanwhile
    recorder_status(recorder, &status);
    assert_int_equal(status.waiting + status.undated, 20);
    assert_int_equal(status.readings, 0);
    assert_int_equal(readings_stored(), 0);
    // The process may end meanwhile: they are kept, undated, under this boot.
    recorder_stop(recorder);
    assert_int_equal(sql_ask("SELECT count(*) FROM undated"), 20);
    sql_run("INSERT INTO undated SELECT NULL, 'another boot', meter, boot_ms, late_ms, decoder,"
            " answered, words, marks FROM undated LIMIT 3");
    recorder = recorder_must_start(config);
    recorder_status(recorder, &status);
    assert_false(status.clock_known);
    assert_int_equal(status.undated, 20);
    assert_int_equal(status.undated_lost, 3);
    // somebody sets it: boot time goes on, wall time jumps
    atomic_fetch_add(&boot_offset_ms, wrong);
    atomic_fetch_add(&wall_ms, wrong);
    wait_until(recorder, status, status.clock_known && status.undated == 0);
    settle(recorder);
    recorder_status(recorder, &status);
    assert_true(status.clock_known);
    assert_string_equal(status.error, "");
    offer_range(recorder, config, 20, stream_count);
    settle(recorder);
    recorder_stop(recorder);
    struct snapshot stored;
    snapshot_take(&stored);
    assert_true(stored.periods > 0);
    assert_int_equal(stored.period[0].period.missing, 0); // as if the clock had been right
    assert_int_equal(stored.period[0].period.channels[0].start_micro, stream[0].volume * 100);
    assert_int_equal(readings_stored(), stream_count);
    int next = 0;
    struct store *store = store_must_read();
    must(store_readings(store, NULL, 0, INT64_MAX, is_of_stream, &next, &failure));
    store_close(store);
    assert_int_equal(next, stream_count);
    assert_int_equal(sql_ask("SELECT count(*) FROM undated"), 3); // of another boot
    assert_int_equal(sql_ask("SELECT count(*) FROM audit WHERE action = 'dated'"), 1);
    snapshot_free(&stored);
    store_must_verify();
    config_drop(config);
}

// --- retention ---

static void test_retention(void **state)
{
    (void)state;
    struct config *config = config_make(METERS, 60, 15);
    config->store_raw_days = 1;
    clock_start(T0);
    stream_make(config, T0, 1000);
    struct recorder *recorder = recorder_must_start(config);
    offer_range(recorder, config, 0, stream_count);
    settle(recorder);
    int before = readings_stored();
    assert_int_equal(before, stream_count);
    struct recorder_status status;
    atomic_fetch_add(&wall_ms, 23 * HOUR);
    int64_t oldest = atomic_load(&wall_ms) - 24 * HOUR;
    int young = 0;
    int stays = 0; // old, but of the same six hours as young ones
    for (int i = 0; i < stream_count; i++) {
        young += stream[i].at_ms >= oldest;
        stays += stream[i].at_ms >= oldest - 6 * HOUR && stream[i].at_ms < oldest;
    }
    assert_in_range(young, 1, stream_count - 2000); // more than one step of retention
    wait_until(recorder, status, readings_stored() <= young + stays);
    assert_true(readings_stored() >= young);
    recorder_stop(recorder);
    config_drop(config);
}

int main(void)
{
    random_start("test_record_recorder");
#define IN_FOLDER(test) cmocka_unit_test_setup_teardown(test, folder_make, folder_remove)
    const struct CMUnitTest tests[] = {
        IN_FOLDER(test_readings_are_kept),
        IN_FOLDER(test_periods_are_those_of_the_readings),
        IN_FOLDER(test_longer_periods),
        IN_FOLDER(test_killed_at_random),
        IN_FOLDER(test_lanes_and_acknowledgements),
        IN_FOLDER(test_tasks),
        IN_FOLDER(test_apply),
        IN_FOLDER(test_apply_other_spans),
        IN_FOLDER(test_clock_unknown),
        IN_FOLDER(test_retention),
    };
    return cmocka_run_group_tests(tests, group_set_up, NULL);
}
