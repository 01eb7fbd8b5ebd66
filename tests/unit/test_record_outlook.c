#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "base/timetext.h"
#include "office/outbox.h"
#include "record/outlook.h"
#include "recorder_fixture.h"

#define DAY (24 * HOUR)

static int group_set_up(void **state)
{
    (void)state;
    must(gas_calendar_init(&calendar, "Asia/Shanghai", 360, &failure));
    start_ms = period_end(&calendar, SPAN_DAY, clock_floor_ms());
    stream_is_calm = true;
    return 0;
}

// --- what the recorder makes ---

// Whether the newest forecast of each meter begins at *context.
static int all_begin(struct store *store, void *context, struct err *err)
{
    for (int number = 1; number <= METERS; number++) {
        int64_t from_ms = 0;
        if (store_outlook_newest(store, number, &from_ms, err) != 1 ||
            from_ms != *(int64_t *)context)
            return err_set(err, "not yet");
    }
    return 0;
}

static void wait_for_all(struct recorder *recorder, int64_t from_ms)
{
    time_t end = time(NULL) + PATIENCE_S;
    while (recorder_run(recorder, all_begin, &from_ms, NULL) != 0) {
        if (time(NULL) > end)
            fail_msg("no forecast from %lld", (long long)from_ms);
        atomic_fetch_add(&wall_ms, 250);
        settle(recorder);
    }
}

static void check_parts(const struct outlook_part *parts, int count, int64_t from_ms,
                        int64_t length_ms, int64_t most)
{
    for (int i = 0; i < count; i++) {
        assert_int_equal(parts[i].from_ms, from_ms + i * length_ms);
        assert_int_equal(parts[i].to_ms, parts[i].from_ms + length_ms);
        assert_true(parts[i].low >= 0 && parts[i].low <= parts[i].value);
        assert_true(parts[i].value <= parts[i].high);
        assert_true(parts[i].value > 0 && parts[i].value <= most);
    }
}

// The outbox's forecasts: rendered, each with its row behind it. Returns how many.
static int check_messages(struct store *store, int64_t newest_ms)
{
    static const struct feed_origin origin = {.gateway = "site-042", .stream = "s"};
    struct outbox_entry entries[64];
    struct outbox_message message = {.schema = NULL};
    int forecasts = 0, count;
    buf_init(&message.payload, 65536);
    for (enum lane lane = LANE_ALERT; lane < LANES_END; lane++)
        for (int64_t after = 0;
             (count = store_outbox_next(store, lane, after, entries, 64, &failure)) > 0;
             after = entries[count - 1].seq)
            for (int i = 0; i < count; i++) {
                struct stored_outlook stored;
                if (entries[i].kind != MESSAGE_FORECAST)
                    continue;
                assert_int_equal(
                    outbox_render(store, &origin, "p/site-042", &entries[i], &message, &failure),
                    1);
                assert_int_equal(store_outlook_get(store, entries[i].row, &stored, &failure), 1);
                assert_string_equal(message.schema, "forecast/1");
                assert_true(strncmp(message.topic, "p/site-042/forecast/m", 21) == 0);
                assert_string_equal(message.topic + 20, stored.meter);
                assert_non_null(strstr(message.payload.data, "\"channel\":\"volume_base\""));
                assert_int_equal(stored.seq, entries[i].seq);
                assert_int_equal(stored.outlook.hour_count, 24);
                assert_int_equal(stored.outlook.to_ms, stored.outlook.from_ms + 7 * DAY);
                // each hour of the stream counts 2 m3 at most; an expected one may pass the
                // largest seen, as a day's level and the hour's share in it multiply
                check_parts(stored.outlook.hours, 24, stored.outlook.from_ms, HOUR, 4000000);
                check_parts(stored.outlook.days, 7, stored.outlook.from_ms, DAY, 48000000);
                forecasts += stored.outlook.from_ms == newest_ms;
            }
    assert_int_equal(count, 0);
    buf_release(&message.payload);
    return forecasts;
}

static void test_each_gas_day_has_one(void **state)
{
    (void)state;
    struct config *config = config_make(METERS, 3600, 60);
    clock_start(T0);
    stream_make(config, T0, 74);
    struct recorder *recorder = recorder_must_start(config);
    offer_range(recorder, config, 0, stream_count);
    settle(recorder);
    wait_for_all(recorder, T0 + 3 * DAY);
    recorder_stop(recorder);
    struct store *store = store_must_read();
    assert_int_equal(check_messages(store, T0 + 3 * DAY), METERS);
    store_close(store);
    // another start makes no second one
    recorder = recorder_must_start(config);
    for (int i = 0; i < 20; i++) {
        atomic_fetch_add(&wall_ms, 31000);
        settle(recorder);
        assert_int_equal(recorder_run(recorder, do_nothing, NULL, &failure), 0);
    }
    recorder_stop(recorder);
    store = store_must_read();
    assert_int_equal(check_messages(store, T0 + 3 * DAY), METERS);
    store_close(store);
    store_must_verify();
    config_drop(config);
}

// --- the pure part ---

static struct outlook_work work;

// Hours that count 1, 2, 3 … m3 around the clock on the wall.
static void take_days(const struct gas_calendar *zone, int64_t from_ms, int days)
{
    int64_t index = 0;
    outlook_begin(&work, zone);
    for (int64_t at = from_ms, end; at < from_ms + days * DAY; at = end) {
        end = period_end(zone, SPAN_HOUR, at);
        struct period hour = {.span = SPAN_HOUR, .from_ms = at, .to_ms = end, .channel_count = 1};
        struct period_channel *counter = &hour.channels[0];
        strcpy(counter->name, "volume_base");
        counter->kind = CHANNEL_COUNTER;
        counter->start_known = counter->end_known = true;
        counter->start_micro = index;
        index += (1 + wall_clock_s(zone, at) / 3600 % 24) * INT64_C(1000000);
        counter->end_micro = index;
        outlook_hour(&work, &hour);
    }
}

static void check_day(const struct gas_calendar *zone, int64_t from_ms, int hours)
{
    struct outlook outlook;
    int64_t sum = 0;
    assert_true(outlook_make(&work, from_ms, &outlook));
    assert_int_equal(outlook.hour_count, hours);
    for (int i = 0; i < hours; i++) {
        int64_t wanted = 1 + wall_clock_s(zone, outlook.hours[i].from_ms) / 3600 % 24;
        assert_int_equal(outlook.hours[i].value, wanted * 1000000);
        sum += outlook.hours[i].value;
    }
    assert_int_equal(outlook.hours[hours - 1].to_ms, outlook.days[0].to_ms);
    assert_int_equal(outlook.days[0].value, sum);
    assert_int_equal(outlook.days[0].to_ms - outlook.days[0].from_ms, hours * HOUR);
}

// A gas day of 23 and of 25 hours: its hours and their sum, none doubled or lost.
static void test_daylight_saving(void **state)
{
    (void)state;
    struct gas_calendar zone;
    int64_t spring, autumn;
    must(gas_calendar_init(&zone, "Europe/Berlin", 360, &failure));
    must(time_parse("2026-03-28T05:00:00Z", &spring));
    must(time_parse("2026-10-24T04:00:00Z", &autumn));
    take_days(&zone, spring - 40 * DAY, 40);
    check_day(&zone, spring, 23);
    take_days(&zone, autumn - 40 * DAY, 40);
    check_day(&zone, autumn, 25);
    must(gas_calendar_init(&calendar, "Asia/Shanghai", 360, &failure));
}

static void test_too_few_hours_make_none(void **state)
{
    (void)state;
    struct outlook outlook;
    outlook_begin(&work, &calendar);
    assert_false(outlook_make(&work, T0, &outlook));
    take_days(&calendar, T0 - DAY, 1);
    assert_true(outlook_make(&work, T0, &outlook));
    work.forecast.value[0] = NAN;
    for (int i = 0; i < FORECAST_SLOTS; i += 3)
        work.forecast.value[i] = NAN;
    assert_false(outlook_make(&work, T0, &outlook));
}

static void test_bytes_come_back(void **state)
{
    (void)state;
    struct outlook outlook, again;
    struct buf bytes;
    memset(&again, 0, sizeof again);
    take_days(&calendar, T0 - 30 * DAY, 30);
    assert_true(outlook_make(&work, T0, &outlook));
    buf_init(&bytes, 65536);
    outlook_encode(&outlook, &bytes);
    assert_int_equal(outlook_decode(bytes.data, bytes.length, &again), 0);
    assert_memory_equal(&outlook, &again, sizeof outlook);
    for (size_t length = 0; length < bytes.length; length++)
        assert_int_equal(outlook_decode(bytes.data, length, &again), -1);
    assert_memory_equal(&outlook, &again, sizeof outlook);
    for (size_t i = 0; i < bytes.length; i++) { // any byte another: an answer, never a crash
        bytes.data[i] = (char)~bytes.data[i];
        (void)outlook_decode(bytes.data, bytes.length, &again);
        bytes.data[i] = (char)~bytes.data[i];
    }
    buf_release(&bytes);
}

int main(void)
{
    random_start("test_record_outlook");
#define IN_FOLDER(test) cmocka_unit_test_setup_teardown(test, folder_make, folder_remove)
    const struct CMUnitTest tests[] = {
        IN_FOLDER(test_each_gas_day_has_one),
        cmocka_unit_test(test_daylight_saving),
        cmocka_unit_test(test_too_few_hours_make_none),
        cmocka_unit_test(test_bytes_come_back),
    };
    return cmocka_run_group_tests(tests, group_set_up, NULL);
}
