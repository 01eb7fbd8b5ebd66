// Retention of everything but readings: what goes, what stays, and that verify stays clean.
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "pack_fixture.h"

#define QUARTER (15 * INT64_C(60000))
#define PERIODS 200

static void see_fault(void *context, const char *text)
{
    (void)context;
    print_error("verify: %s\n", text);
}

static void must_be_clean(struct store *store)
{
    assert_int_equal(store_verify(store, see_fault, NULL, &failure), 0);
}

static int meter_make(struct store *store, const char *id)
{
    int number;
    int64_t configured_ms;
    must(store_meter(store, id, T0, &number, &configured_ms, &failure));
    return number;
}

static void add_period(struct store *store, int meter, enum span span, int64_t from_ms, int version,
                       enum lane lane)
{
    struct period period = {.span = span,
                            .version = version,
                            .from_ms = from_ms,
                            .to_ms = from_ms + QUARTER,
                            .expected = 15,
                            .good = 15,
                            .channel_count = 0};
    must(store_period_add(store, meter, &period, period.to_ms, lane != 0 ? lane : LANE_LIVE,
                          lane != 0 ? MESSAGE_SUMMARY : (enum message_kind)0, &failure));
}

static int count_of(enum span span)
{
    char sql[96];
    (void)snprintf(sql, sizeof sql, "SELECT count(*) FROM period WHERE span = %d", (int)span);
    return (int)sql_ask(sql);
}

static int step(struct store *store, enum span span, int64_t before_ms, int max)
{
    must(store_round_begin(store, &failure));
    int gone = store_period_retain(store, span, before_ms, max, &failure);
    must(gone);
    must(store_round_commit(store, &failure));
    return gone;
}

// Random versions, lanes and acknowledgements, against a plain rule worked out here.
static void test_periods_by_age(void **state)
{
    (void)state;
    struct store *store = store_must_open();
    int meters[3];
    int versions[3][PERIODS];
    int64_t newest_seq[3][PERIODS]; // of lane live; 0: not sent
    int64_t seq = 0;
    must(store_round_begin(store, &failure));
    for (int m = 0; m < 3; m++) {
        char id[4] = {'m', (char)('1' + m), '\0'};
        meters[m] = meter_make(store, id);
    }
    for (int i = 0; i < PERIODS; i++) {
        for (int m = 0; m < 3; m++) {
            versions[m][i] = random_between(0, 9) == 0 ? 2 : 1;
            newest_seq[m][i] = 0;
            for (int version = 1; version <= versions[m][i]; version++) {
                bool sent = m != 2;
                add_period(store, meters[m], SPAN_15MIN, T0 + i * QUARTER, version,
                           sent ? LANE_LIVE : (enum lane)0);
                newest_seq[m][i] = sent ? ++seq : 0;
            }
        }
        add_period(store, meters[0], SPAN_HOUR, T0 + i * QUARTER, 1, LANE_BACKFILL);
    }
    int64_t acknowledged = seq / 2;
    must(store_outbox_acknowledge(store, LANE_LIVE, acknowledged, &failure));
    must(store_round_commit(store, &failure));
    must_be_clean(store);

    const int64_t before = T0 + 150 * QUARTER;
    int stays = 0;
    for (int m = 0; m < 3; m++)
        for (int i = 0; i < PERIODS; i++)
            if (i >= 150 || newest_seq[m][i] > acknowledged)
                stays += versions[m][i];
    int gone;
    int all = 0;
    while ((gone = step(store, SPAN_15MIN, before, 37)) > 0) {
        assert_true(gone <= 37);
        must_be_clean(store);
        all += gone;
    }
    assert_true(all > 100);
    assert_int_equal(count_of(SPAN_15MIN), stays);
    assert_int_equal(count_of(SPAN_HOUR), PERIODS);

    // All acknowledged and old: the newest of each meter and span stays, with all of its versions.
    must(store_round_begin(store, &failure));
    must(store_outbox_acknowledge(store, LANE_LIVE, seq, &failure));
    must(store_outbox_acknowledge(store, LANE_BACKFILL, PERIODS, &failure));
    must(store_round_commit(store, &failure));
    while (step(store, SPAN_15MIN, INT64_MAX, 50) > 0 || step(store, SPAN_HOUR, INT64_MAX, 50) > 0)
        continue;
    assert_int_equal(count_of(SPAN_15MIN), versions[0][PERIODS - 1] + versions[1][PERIODS - 1] +
                                               versions[2][PERIODS - 1]);
    assert_int_equal(count_of(SPAN_HOUR), 1);
    must_be_clean(store);
    struct period last;
    assert_int_equal(store_period_last(store, meters[1], SPAN_15MIN, &last, &failure), 1);
    assert_int_equal(last.from_ms, T0 + (PERIODS - 1) * QUARTER);
    // what comes next joins on, under the next seq
    must(store_round_begin(store, &failure));
    add_period(store, meters[1], SPAN_15MIN, T0 + PERIODS * QUARTER, 1, LANE_LIVE);
    must(store_round_commit(store, &failure));
    struct outbox_state lane;
    must(store_outbox_state(store, LANE_LIVE, &lane, &failure));
    assert_int_equal(lane.last, seq + 1);
    must_be_clean(store);
    store_close(store);
}

static void add_alert(struct store *store, int64_t at_ms, bool closes, const char *subject)
{
    char id[UUID_SIZE];
    struct alert_change change = {.kind = ALERT_NO_ANSWER,
                                  .severity = SEVERITY_MAJOR,
                                  .state = ALERT_OPEN,
                                  .at_ms = at_ms,
                                  .since_ms = at_ms};
    (void)snprintf(change.subject, sizeof change.subject, "%s", subject);
    must(store_alert_add(store, &change, true, id, &failure));
    change.state = closes ? ALERT_CLOSED : ALERT_UPDATED;
    change.at_ms = at_ms + 1000;
    must(store_alert_add(store, &change, true, id, &failure));
}

static void test_alerts_by_age(void **state)
{
    (void)state;
    struct store *store = store_must_open();
    must(store_round_begin(store, &failure));
    add_alert(store, T0, false, "open");
    for (int i = 0; i < 50; i++)
        add_alert(store, T0 + i * 60000, true, "m1");
    must(store_outbox_acknowledge(store, LANE_ALERT, 42, &failure)); // 20 of m1 whole
    must(store_round_commit(store, &failure));
    must(store_round_begin(store, &failure));
    assert_int_equal(store_alert_retain(store, INT64_MAX, 8, &failure), 8);
    must(store_round_commit(store, &failure));
    must_be_clean(store);
    must(store_round_begin(store, &failure));
    assert_int_equal(store_alert_retain(store, INT64_MAX, 100, &failure), 12);
    must(store_outbox_acknowledge(store, LANE_ALERT, 102, &failure));
    assert_int_equal(store_alert_retain(store, T0 + 25 * 60000, 100, &failure), 5);
    assert_int_equal(store_alert_retain(store, INT64_MAX, 100, &failure), 24); // but the newest
    must(store_round_commit(store, &failure));
    assert_int_equal(sql_ask("SELECT count(*) FROM alert"), 2);
    assert_int_equal(sql_ask("SELECT count(*) FROM alert_change"), 4);
    must_be_clean(store);
    store_close(store);
}

static void add_gap(struct store *store, enum lane lane, int64_t first, int64_t last, int64_t at_ms)
{
    struct stored_gap gap = {
        .lane = lane, .first = first, .last = last, .reason = "refused", .at_ms = at_ms};
    must(store_gap_add(store, &gap, &failure));
}

// A gap that goes leaves its count: of messages that stand in the outbox still, and of those that
// went before it.
static void test_gaps_by_age(void **state)
{
    (void)state;
    struct store *store = store_must_open();
    must(store_round_begin(store, &failure));
    int meter = meter_make(store, "m1");
    for (int i = 0; i < 100; i++)
        add_period(store, meter, SPAN_15MIN, T0 + i * QUARTER, 1, LANE_LIVE);
    add_gap(store, LANE_LIVE, 5, 9, T0);       // its rows go first
    add_gap(store, LANE_LIVE, 60, 64, T0 + 1); // its rows go after it
    add_gap(store, LANE_LIVE, 70, 75, T0 + 2); // overlap: both stay
    add_gap(store, LANE_LIVE, 74, 80, T0 + 3);
    add_gap(store, LANE_LIVE, 90, 90, T0 + 4); // not acknowledged, and the newest
    must(store_outbox_acknowledge(store, LANE_LIVE, 95, &failure));
    must(store_outbox_acknowledge(store, LANE_ALERT, 4, &failure));
    assert_int_equal(store_period_retain(store, SPAN_15MIN, T0 + 20 * QUARTER, 100, &failure), 20);
    must(store_round_commit(store, &failure));
    must_be_clean(store);
    assert_int_equal(sql_ask("SELECT retained_count FROM lane WHERE lane = 2"), 15);
    must(store_round_begin(store, &failure));
    assert_int_equal(store_gap_retain(store, INT64_MAX, 100, &failure), 2);
    must(store_round_commit(store, &failure));
    must_be_clean(store);
    assert_int_equal(sql_ask("SELECT retained_count FROM lane WHERE lane = 2"), 20);
    assert_int_equal(sql_ask("SELECT count(*) FROM gap"), 3);
    while (step(store, SPAN_15MIN, INT64_MAX, 30) > 0)
        continue;
    must_be_clean(store);
    store_close(store);
}

// What retention frees is given back in steps, and the file gets smaller.
static void test_vacuum_in_steps(void **state)
{
    (void)state;
    struct store *store = store_must_open();
    must(store_round_begin(store, &failure));
    int meter = meter_make(store, "m1");
    for (int i = 0; i < 5000; i++)
        add_period(store, meter, SPAN_15MIN, T0 + i * QUARTER, 1, (enum lane)0);
    must(store_round_commit(store, &failure));
    struct store_space full;
    must(store_space(store, &full, &failure));
    while (step(store, SPAN_15MIN, INT64_MAX, 1000) > 0)
        continue;
    struct store_space space;
    must(store_space(store, &space, &failure));
    assert_int_equal(space.file_bytes, full.file_bytes);
    assert_true(space.free_bytes > full.file_bytes / 2);
    int64_t before = space.free_bytes;
    int steps = 0;
    while (space.free_bytes > 0) {
        must(store_vacuum(store, 16, &failure));
        must(store_space(store, &space, &failure));
        assert_true(before - space.free_bytes > 0 && before - space.free_bytes <= 16 * 4096);
        before = space.free_bytes;
        steps++;
    }
    assert_true(steps > 3);
    assert_true(space.file_bytes < full.file_bytes / 2);
    must_be_clean(store);
    store_close(store);
}

// --- making room ---

static void add_readings(struct store *store, int count)
{
    struct meter *meter = fixture_meter("m1");
    int number = meter_make(store, "m1");
    int decoder;
    must(store_decoder(store, meter, &decoder, &failure));
    for (int i = 0; i < count; i++) {
        struct reading *reading = fixture_reading(meter, T0 + i * 1000);
        must(store_reading_add(store, number, decoder, reading, LANE_LIVE, &failure));
        free(reading);
        if (i % 100 == 99)
            must(store_reading_pack(store, &failure));
        if (i % 15 == 14)
            add_period(store, number, SPAN_15MIN, T0 + i / 15 * QUARTER, 1, LANE_LIVE);
        if (i % 60 == 59) {
            struct period hour = {.span = SPAN_HOUR,
                                  .version = 1,
                                  .from_ms = T0 + i / 60 * 4 * QUARTER,
                                  .to_ms = T0 + (i / 60 + 1) * 4 * QUARTER};
            must(store_period_add(store, number, &hour, hour.to_ms, LANE_LIVE, 0, &failure));
        }
    }
    fixture_meter_free(meter);
}

// Each seq of the lane can still be sent, is in one gap, or was acknowledged; none is two of them.
static void must_balance(struct store *store, int64_t messages)
{
    assert_int_equal(sql_ask("SELECT coalesce(sum(last - first + 1), 0) FROM gap"), messages);
    assert_int_equal(sql_ask("SELECT count(*) FROM gap AS a JOIN gap AS b ON a.of_lane = b.of_lane"
                             " AND a.id < b.id AND a.first <= b.last AND a.last >= b.first"),
                     0);
    int64_t gaps = sql_ask("SELECT coalesce(max(id), 0) FROM gap");
    for (int64_t row = 1; row <= gaps; row++) {
        struct stored_gap gap;
        struct outbox_entry entry;
        if (store_gap_get(store, row, &gap, &failure) == 1) {
            assert_int_equal(
                store_outbox_range(store, gap.lane, gap.first, gap.last, &entry, 1, &failure), 0);
        }
    }
    assert_int_equal(sql_ask("SELECT last - retained_count FROM lane WHERE lane = 2") -
                         messages_of(store, LANE_LIVE, 0, (enum message_kind)0),
                     messages);
}

static int shed_readings(struct store *store, struct store_shed *shed)
{
    must(store_round_begin(store, &failure));
    int gone = store_reading_shed(store, shed, &failure);
    must(gone);
    must(store_round_commit(store, &failure));
    must_be_clean(store);
    must_balance(store, shed->messages);
    return gone;
}

static void test_room_is_made_of_the_oldest(void **state)
{
    (void)state;
    struct store *store = store_must_open();
    must(store_round_begin(store, &failure));
    add_readings(store, 6000);
    const int64_t acknowledged = 500;
    must(store_outbox_acknowledge(store, LANE_LIVE, acknowledged, &failure));
    must(store_round_commit(store, &failure));
    struct store_shed shed = {
        .before_ms = T0 + 5000 * 1000, .now_ms = T0 + 7000 * 1000, .max = 700};
    int gone = 0;
    int step;
    while ((step = shed_readings(store, &shed)) > 0)
        gone += step;
    assert_int_equal(shed.messages, 0); // what is acknowledged first
    assert_int_equal(gone, 400);        // 469 of 500 messages are readings: four segments whole
    shed.unsent = true;
    while ((step = shed_readings(store, &shed)) > 0)
        gone += step;
    // what may be on its way stays, what is younger too, and so do the periods between
    struct outbox_entry entry;
    assert_int_equal(store_outbox_next(store, LANE_LIVE, 426, &entry, 1, &failure), 1);
    assert_int_equal(entry.seq, 427);
    assert_int_equal(messages_of(store, LANE_LIVE, 0, MESSAGE_READING), 6000 - gone);
    assert_int_equal(messages_of(store, LANE_LIVE, 426, MESSAGE_READING) -
                         messages_of(store, LANE_LIVE, 1493, MESSAGE_READING),
                     1000);
    assert_int_equal(shed.messages, gone - 400);
    assert_int_equal(gone, 400 + 3500); // segments 15 to 49: behind what may fly, and old
    assert_int_equal(sql_ask("SELECT count(*) FROM outbox WHERE lane = 2 AND kind = 2"), 400);
    assert_int_equal(sql_ask("SELECT count(*) FROM gap WHERE reason <> 'size-limit' OR to_ms <"
                             " from_ms OR to_ms - from_ms <> (last - first) * 1000"),
                     0);
    int64_t named;
    must(store_shed_messages(store, &named, &failure));
    assert_int_equal(named, shed.messages);
    store_close(store);
}

static void test_quarter_hours_are_thinned(void **state)
{
    (void)state;
    struct store *store = store_must_open();
    must(store_round_begin(store, &failure));
    add_readings(store, 60 * 100); // 400 quarter hours in 100 hours, all sent
    int two = meter_make(store, "m2");
    for (int i = 0; i < 100; i++) // no hour has these
        add_period(store, two, SPAN_15MIN, T0 + i * QUARTER, 1, (enum lane)0);
    must(store_outbox_acknowledge(store, LANE_LIVE, 640, &failure)); // 40 periods
    struct store_shed shed = {.before_ms = T0 + 300 * QUARTER, .now_ms = T0, .max = 30};
    assert_int_equal(store_period_shed(store, SPAN_15MIN, SPAN_HOUR, &shed, &failure), 30);
    assert_int_equal(store_period_shed(store, SPAN_15MIN, SPAN_HOUR, &shed, &failure), 10);
    assert_int_equal(store_period_shed(store, SPAN_15MIN, SPAN_HOUR, &shed, &failure), 0);
    assert_int_equal(shed.messages, 0);
    shed.unsent = true;
    int gone = 0;
    int step;
    while ((step = store_period_shed(store, SPAN_15MIN, SPAN_HOUR, &shed, &failure)) > 0)
        gone += step;
    must(step);
    must(store_round_commit(store, &failure));
    assert_int_equal(shed.messages, gone);
    must_be_clean(store);
    must_balance(store, gone);
    assert_int_equal(sql_ask("SELECT count(*) FROM period WHERE meter = 1 AND span = 5"), 100);
    assert_int_equal(sql_ask("SELECT count(*) FROM period WHERE meter = 2"), 100);
    assert_int_equal(sql_ask("SELECT count(*) FROM period WHERE meter = 1 AND span = 3"),
                     400 - 40 - gone);
    store_close(store);
}

int main(void)
{
    random_start("test_store_retain");
#define IN_FOLDER(test) cmocka_unit_test_setup_teardown(test, folder_make, folder_remove)
    const struct CMUnitTest tests[] = {
        IN_FOLDER(test_periods_by_age),
        IN_FOLDER(test_alerts_by_age),
        IN_FOLDER(test_gaps_by_age),
        IN_FOLDER(test_vacuum_in_steps),
        IN_FOLDER(test_room_is_made_of_the_oldest),
        IN_FOLDER(test_quarter_hours_are_thinned),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
