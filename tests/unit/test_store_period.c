#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "store_fixture.h"

#include <math.h>

#define QUARTER (15 * 60000)

static struct period make_period(enum span span, int64_t from_ms, int64_t length_ms, int version)
{
    struct period period = {.span = span,
                            .version = version,
                            .from_ms = from_ms,
                            .to_ms = from_ms + length_ms,
                            .expected = 15,
                            .good = 14,
                            .missing = 1,
                            .quality = QUALITY_GOOD,
                            .channel_count = 1};
    strcpy(period.channels[0].name, "volume_base");
    period.channels[0].kind = CHANNEL_COUNTER;
    period.channels[0].start_known = period.channels[0].end_known = true;
    period.channels[0].start_micro = from_ms;
    period.channels[0].end_micro = period.to_ms;
    return period;
}

static int meter_number(struct store *store, const char *id)
{
    int number;
    int64_t configured_ms;
    must(store_meter(store, id, T0, &number, &configured_ms, &failure));
    return number;
}

struct seen {
    int count, stop_after;
    struct stored_period last;
};

static bool see_period(void *context, const struct stored_period *period)
{
    struct seen *seen = context;
    assert_true(seen->count == 0 || period->period.from_ms >= seen->last.period.from_ms);
    seen->last = *period;
    return ++seen->count != seen->stop_after;
}

static int count_periods(struct store *store, const char *meter, enum span span, int64_t from_ms,
                         int64_t to_ms)
{
    static struct seen seen;
    seen = (struct seen){.count = 0};
    must(store_periods(store, meter, span, from_ms, to_ms, see_period, &seen, &failure));
    return seen.count;
}

static void test_periods_by_meter_span_and_time(void **state)
{
    (void)state;
    struct store *store = store_must_open();
    must(store_round_begin(store, &failure));
    int one = meter_number(store, "m1");
    int two = meter_number(store, "m2");
    for (int i = 0; i < 700; i++) { // more than two pages
        struct period period = make_period(SPAN_15MIN, T0 + i * QUARTER, QUARTER, 1);
        must(store_period_add(store, one, &period, period.to_ms + 7, LANE_LIVE, MESSAGE_SUMMARY,
                              &failure));
        must(store_period_add(store, two, &period, period.to_ms + 7, LANE_LIVE, 0, &failure));
        if (i % 4 == 3) {
            period = make_period(SPAN_HOUR, T0 + (i - 3) * QUARTER, 4 * QUARTER, 1);
            must(store_period_add(store, one, &period, period.to_ms + 7, LANE_LIVE, 0, &failure));
        }
    }
    must(store_round_commit(store, &failure));
    store_close(store);
    store = store_must_read();
    assert_int_equal(count_periods(store, "m1", SPAN_15MIN, 0, INT64_MAX), 700);
    assert_int_equal(count_periods(store, "m2", SPAN_15MIN, 0, INT64_MAX), 700);
    assert_int_equal(count_periods(store, "m1", SPAN_HOUR, 0, INT64_MAX), 175);
    assert_int_equal(count_periods(store, "m2", SPAN_HOUR, 0, INT64_MAX), 0);
    assert_int_equal(count_periods(store, "m1", 0, 0, INT64_MAX), 875);
    assert_int_equal(count_periods(store, NULL, 0, 0, INT64_MAX), 1575);
    assert_int_equal(count_periods(store, NULL, SPAN_HOUR, 0, INT64_MAX), 175);
    assert_int_equal(count_periods(store, "m3", 0, 0, INT64_MAX), 0);
    // [from, to) of the period's start
    assert_int_equal(count_periods(store, "m1", SPAN_15MIN, T0 + QUARTER, T0 + 3 * QUARTER), 2);
    assert_int_equal(count_periods(store, "m1", SPAN_15MIN, T0 + QUARTER + 1, T0 + 3 * QUARTER + 1),
                     2);
    assert_int_equal(count_periods(store, NULL, 0, T0 + QUARTER, T0 + 2 * QUARTER), 2);
    static struct seen seen;
    seen = (struct seen){.stop_after = 3};
    must(store_periods(store, NULL, 0, 0, INT64_MAX, see_period, &seen, &failure));
    assert_int_equal(seen.count, 3);

    struct period last;
    assert_int_equal(store_period_last(store, one, SPAN_15MIN, &last, NULL), 1);
    assert_int_equal(last.from_ms, T0 + 699 * QUARTER);
    assert_int_equal(store_period_last(store, one, SPAN_DAY, &last, NULL), 0);
    store_close(store);
}

static void test_versions_replace(void **state)
{
    (void)state;
    struct store *store = store_must_open();
    must(store_round_begin(store, &failure));
    int one = meter_number(store, "m1");
    struct period period = make_period(SPAN_DAY, T0, 86400000, 1);
    must(store_period_add(store, one, &period, T0 + 1, LANE_LIVE, MESSAGE_DAY, &failure));
    assert_int_equal(store_period_add(store, one, &period, T0 + 2, LANE_LIVE, MESSAGE_DAY, NULL),
                     -1); // the same version twice
    period.version = 3;
    assert_int_equal(store_period_add(store, one, &period, T0 + 2, LANE_LIVE, MESSAGE_DAY, NULL),
                     -1); // one left out
    period.version = 2;
    period.channels[0].end_micro += 5;
    must(store_period_add(store, one, &period, T0 + 3, LANE_BACKFILL, MESSAGE_DAY, &failure));
    must(store_round_commit(store, &failure));

    static struct seen seen;
    seen = (struct seen){.count = 0};
    must(store_periods(store, "m1", SPAN_DAY, 0, INT64_MAX, see_period, &seen, &failure));
    assert_int_equal(seen.count, 1);
    assert_int_equal(seen.last.period.version, 2);
    assert_int_equal(seen.last.period.channels[0].end_micro, period.channels[0].end_micro);
    assert_int_equal(seen.last.lane, LANE_BACKFILL);
    assert_int_equal(seen.last.seq, 1);
    assert_int_equal(seen.last.replaces_lane, LANE_LIVE);
    assert_int_equal(seen.last.replaces_seq, 1);
    assert_int_equal(seen.last.at_ms, T0 + 3);
    // The first version still stands behind its own message.
    struct outbox_entry entry;
    static struct stored_period first;
    assert_int_equal(store_outbox_next(store, LANE_LIVE, 0, &entry, 1, NULL), 1);
    assert_int_equal(entry.kind, MESSAGE_DAY);
    assert_int_equal(store_period_get(store, entry.row, &first, NULL), 1);
    assert_int_equal(first.period.version, 1);
    assert_int_equal(first.replaces_lane, 0);
    assert_int_equal(store_period_get(store, 999, &first, NULL), 0);
    store_close(store);
}

static struct alert_change make_change(const char *subject, enum alert_kind kind,
                                       enum alert_state alert_state, int64_t at_ms)
{
    struct alert_change change = {.kind = kind,
                                  .severity = SEVERITY_MAJOR,
                                  .state = alert_state,
                                  .at_ms = at_ms,
                                  .since_ms = at_ms,
                                  .evidence = {.observed = 4.25,
                                               .expected_low = (double)NAN,
                                               .expected_high = 0.3,
                                               .unit = "m3/h",
                                               .rule = "flow_measured > 1.2 x qmax",
                                               .from_ms = at_ms - 5,
                                               .to_ms = at_ms,
                                               .why = WHY_TIMEOUT}};
    (void)snprintf(change.subject, sizeof change.subject, "%s", subject);
    return change;
}

static void add_change(struct store *store, const char *subject, enum alert_kind kind,
                       enum alert_state alert_state, int64_t at_ms, char id[static UUID_SIZE])
{
    struct alert_change change = make_change(subject, kind, alert_state, at_ms);
    must(store_alert_add(store, &change, true, id, &failure));
}

struct alerts {
    int count;
    struct stored_alert list[1000];
};

static bool see_alert(void *context, const struct stored_alert *alert)
{
    struct alerts *alerts = context;
    alerts->list[alerts->count++] = *alert;
    return alerts->count < 1000;
}

static void test_life_of_an_alert(void **state)
{
    (void)state;
    static struct alerts alerts;
    char id[UUID_SIZE];
    char again[UUID_SIZE];
    struct store *store = store_must_open();
    must(store_round_begin(store, &failure));
    add_change(store, "m1", ALERT_NO_ANSWER, ALERT_OPEN, T0, id);
    add_change(store, "m1", ALERT_NO_ANSWER, ALERT_UPDATED, T0 + 10, again);
    assert_string_equal(again, id);
    add_change(store, "m1", ALERT_OVER_RANGE, ALERT_OPEN, T0 + 15, again);
    assert_string_not_equal(again, id);
    struct alert_change link = make_change("m1", ALERT_NO_ANSWER, ALERT_OPEN, T0 + 16);
    link.of_link = true; // a link may have a meter's name
    must(store_alert_add(store, &link, false, again, &failure));
    must(store_round_commit(store, &failure));
    store_close(store);
    store = store_must_open();

    struct alert_change change = make_change("m1", ALERT_NO_ANSWER, ALERT_OPEN, T0 + 20);
    must(store_round_begin(store, &failure));
    assert_int_equal(store_alert_add(store, &change, true, again, NULL), -1); // is open
    change.state = ALERT_CLOSED;
    change.since_ms = 5; // of no use: the opening counts
    strcpy(change.reason, "removed");
    must(store_alert_add(store, &change, true, again, &failure));
    assert_string_equal(again, id);
    assert_int_equal(store_alert_add(store, &change, true, again, NULL), -1); // is not open
    must(store_round_commit(store, &failure));

    alerts.count = 0;
    must(store_alerts_open(store, see_alert, &alerts, &failure));
    assert_int_equal(alerts.count, 2);
    assert_int_equal(alerts.list[0].change.kind, ALERT_OVER_RANGE);
    assert_true(alerts.list[1].change.of_link);
    alerts.count = 0;
    must(store_alerts(store, "m1", T0, T0 + 20, see_alert, &alerts, &failure));
    assert_int_equal(alerts.count, 4);
    alerts.count = 0;
    must(store_alerts(store, NULL, T0 + 20, INT64_MAX, see_alert, &alerts, &failure));
    assert_int_equal(alerts.count, 1);
    const struct stored_alert *closed = &alerts.list[0];
    assert_string_equal(closed->id, id);
    assert_int_equal(closed->lane, LANE_ALERT);
    assert_int_equal(closed->seq, 4);
    assert_int_equal(closed->change.state, ALERT_CLOSED);
    assert_int_equal(closed->change.severity, SEVERITY_MAJOR);
    assert_int_equal(closed->change.since_ms, T0);
    assert_int_equal(closed->change.at_ms, T0 + 20);
    assert_string_equal(closed->change.reason, "removed");
    assert_string_equal(closed->change.evidence.rule, "flow_measured > 1.2 x qmax");
    assert_string_equal(closed->change.evidence.unit, "m3/h");
    assert_true(closed->change.evidence.observed == 4.25);
    assert_true(isnan(closed->change.evidence.expected_low));
    assert_int_equal(closed->change.evidence.why, WHY_TIMEOUT);
    // The next one is another alert.
    must(store_round_begin(store, &failure));
    add_change(store, "m1", ALERT_NO_ANSWER, ALERT_OPEN, T0 + 30, again);
    assert_string_not_equal(again, id);
    must(store_round_commit(store, &failure));
    store_close(store);
}

// Random alerts of a meter against a plain list: a period names those open at any time in it, and
// goes on to name the same ones whatever happens later.
static void test_alerts_of_periods(void **state)
{
    (void)state;
    enum { PERIODS = 60 };
    static struct stored_period first[PERIODS];
    char id[UUID_SIZE];
    struct store *store = store_must_open();
    must(store_round_begin(store, &failure));
    int one = meter_number(store, "m1");
    bool open[ALERT_KINDS] = {false};
    char open_id[ALERT_KINDS][UUID_SIZE];
    for (int i = 0; i < PERIODS; i++) {
        char expected[PERIOD_ALERTS_MAX][UUID_SIZE];
        int count = 0;
        for (int kind = 1; kind < ALERT_KINDS; kind++)
            if (open[kind])
                strcpy(expected[count++], open_id[kind]);
        for (int n = 0; n < 5; n++) {
            int kind = (int)random_between(1, ALERT_KINDS - 1);
            add_change(store, "m1", (enum alert_kind)kind, open[kind] ? ALERT_CLOSED : ALERT_OPEN,
                       T0 + i * QUARTER + n + 1, id);
            if (!open[kind]) {
                strcpy(expected[count++], id);
                strcpy(open_id[kind], id);
            }
            open[kind] = !open[kind];
        }
        struct period period = make_period(SPAN_15MIN, T0 + i * QUARTER, QUARTER, 1);
        must(store_period_add(store, one, &period, period.to_ms, LANE_LIVE, MESSAGE_SUMMARY,
                              &failure));
        struct outbox_entry entry;
        assert_int_equal(store_outbox_next(store, LANE_LIVE, i, &entry, 1, NULL), 1);
        assert_int_equal(store_period_get(store, entry.row, &first[i], NULL), 1);
        assert_int_equal(first[i].alert_count, count);
        for (int a = 0; a < count; a++) {
            int found = 0;
            for (int b = 0; b < count; b++)
                found += strcmp(expected[a], first[i].alerts[b]) == 0;
            assert_int_equal(found, 1);
        }
    }
    // A late opening that reaches back into all of them.
    add_change(store, "m2", ALERT_NO_ANSWER, ALERT_OPEN, T0, id);
    add_change(store, "m1", ALERT_OVER_RANGE, open[ALERT_OVER_RANGE] ? ALERT_CLOSED : ALERT_OPEN,
               T0 + PERIODS * QUARTER, id);
    must(store_round_commit(store, &failure));
    for (int i = 0; i < PERIODS; i++) {
        struct stored_period now;
        assert_int_equal(store_period_get(store, first[i].row, &now, NULL), 1);
        assert_int_equal(now.alert_count, first[i].alert_count);
        for (int a = 0; a < now.alert_count; a++)
            assert_string_equal(now.alerts[a], first[i].alerts[a]);
    }
    store_close(store);
}

static void test_gaps(void **state)
{
    (void)state;
    struct store *store = store_must_open();
    struct stored_gap gap = {.lane = LANE_BACKFILL,
                             .first = 3,
                             .last = 9,
                             .reason = "refused",
                             .from_ms = T0,
                             .to_ms = T0 + 5,
                             .at_ms = T0 + 9};
    must(store_round_begin(store, &failure));
    must(store_gap_add(store, &gap, &failure));
    struct stored_gap wrong = gap;
    wrong.last = 2;
    assert_int_equal(store_gap_add(store, &wrong, NULL), -1);
    must(store_round_commit(store, &failure));
    struct outbox_entry entry;
    assert_int_equal(store_outbox_next(store, LANE_ALERT, 0, &entry, 1, NULL), 1);
    assert_int_equal(entry.kind, MESSAGE_GAP);
    struct stored_gap back;
    assert_int_equal(store_gap_get(store, entry.row, &back, NULL), 1);
    assert_int_equal(back.seq, 1);
    assert_int_equal(back.lane, LANE_BACKFILL);
    assert_int_equal(back.first, 3);
    assert_int_equal(back.last, 9);
    assert_string_equal(back.reason, "refused");
    assert_int_equal(back.from_ms, T0);
    assert_int_equal(back.to_ms, T0 + 5);
    assert_int_equal(back.at_ms, T0 + 9);
    assert_int_equal(store_gap_get(store, 77, &back, NULL), 0);
    store_close(store);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
#define IN_FOLDER(test) cmocka_unit_test_setup_teardown(test, folder_make, folder_remove)
        IN_FOLDER(test_periods_by_meter_span_and_time),
        IN_FOLDER(test_versions_replace),
        IN_FOLDER(test_life_of_an_alert),
        IN_FOLDER(test_alerts_of_periods),
        IN_FOLDER(test_gaps),
    };
    random_start("test_store_period");
    return cmocka_run_group_tests_name("store/period", tests, NULL, NULL);
}
