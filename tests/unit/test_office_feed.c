// The feed's texts against golden messages (tests/data/feed), which
// tests/integration/test_schemas.py holds against the JSON Schemas.
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "base/file.h"
#include "base/timetext.h"
#include "office/feed_state.h"
#include "property.h"

#include <jansson.h>
#include <math.h>
#include <stdio.h>
#include <string.h>

#define STREAM "6f1c2a34-5b6d-4e7f-8a9b-0c1d2e3f4a5b"
#define ALERT_A "11111111-2222-4333-8444-555555555555"
#define ALERT_B "aaaaaaaa-bbbb-4ccc-8ddd-eeeeeeeeeeee"

static const struct feed_origin origin = {.gateway = "site-042", .stream = STREAM};

struct page {
    struct buf out;
    struct writer writer;
};

static void page_init(struct page *page)
{
    buf_init(&page->out, 65536);
    writer_init(&page->writer, &page->out);
}

static int64_t instant(const char *text)
{
    int64_t at = 0;
    assert_int_equal(time_parse(text, &at), 0);
    return at;
}

// The written text equals the golden file's (which ends with a newline), and parses.
static void check_golden(struct page *page, const char *name)
{
    char path[128];
    struct buf golden;
    struct err err;
    assert_false(page->out.failed);
    (void)snprintf(path, sizeof path, "tests/data/feed/%s.json", name);
    buf_init(&golden, 65536);
    if (file_read(path, &golden, &err) != 0)
        fail_msg("%s; the message is\n%s", err.text, page->out.data);
    buf_add_text(&page->out, "\n");
    assert_string_equal(page->out.data, golden.data);
    json_error_t error;
    json_t *parsed = json_loads(page->out.data, JSON_REJECT_DUPLICATES, &error);
    assert_non_null(parsed);
    json_decref(parsed);
    buf_release(&golden);
    buf_release(&page->out);
}

static struct stored_period contract_period(void)
{
    struct stored_period stored = {
        .meter = "boiler-1",
        .at_ms = instant("2026-11-23T08:15:00.412Z"),
        .lane = LANE_LIVE,
        .seq = 912,
        .period = {.span = SPAN_15MIN,
                   .version = 1,
                   .from_ms = instant("2026-11-23T08:00:00.000Z"),
                   .to_ms = instant("2026-11-23T08:15:00.000Z"),
                   .expected = 15,
                   .good = 15,
                   .quality = QUALITY_GOOD,
                   .channel_count = 2,
                   .channels = {{.name = "volume_base",
                                 .kind = CHANNEL_COUNTER,
                                 .start_known = true,
                                 .end_known = true,
                                 .start_micro = 1234567890100,
                                 .end_micro = 1234581220400},
                                {.name = "pressure",
                                 .kind = CHANNEL_GAUGE,
                                 .weight_ms = 900000,
                                 .min = 301.1,
                                 .mean = 301.4,
                                 .max = 301.9}}},
    };
    return stored;
}

static void test_period_of_the_contract(void **state)
{
    (void)state;
    struct page page;
    struct stored_period stored = contract_period();
    page_init(&page);
    feed_period(&page.writer, &origin, "summary/1", &stored);
    check_golden(&page, "summary");
}

// A second version: one index is not known, another one estimated, a gauge has no good reading.
static void test_period_with_holes(void **state)
{
    (void)state;
    struct page page;
    struct stored_period stored = contract_period();
    struct period *period = &stored.period;
    stored.lane = LANE_BACKFILL;
    stored.seq = 77;
    stored.replaces_lane = LANE_LIVE;
    stored.replaces_seq = 912;
    stored.alert_count = 2;
    memcpy(stored.alerts[0], ALERT_A, UUID_SIZE);
    memcpy(stored.alerts[1], ALERT_B, UUID_SIZE);
    period->version = 2;
    period->good = 3;
    period->suspect = 2;
    period->missing = 10;
    period->quality = QUALITY_MISSING;
    period->channels[0].end_known = false;
    period->channels[0].quality = QUALITY_MISSING;
    period->channels[0].why = WHY_TIMEOUT;
    period->channels[1] = (struct period_channel){.name = "pressure",
                                                  .kind = CHANNEL_GAUGE,
                                                  .quality = QUALITY_MISSING,
                                                  .why = WHY_EXCEPTION + 2};
    period->channels[2] = (struct period_channel){.name = "volume_measured",
                                                  .kind = CHANNEL_COUNTER,
                                                  .start_known = true,
                                                  .end_known = true,
                                                  .start_micro = INT64_C(9007199254740993000),
                                                  .end_micro = INT64_C(9007199254740992000),
                                                  .quality = QUALITY_ESTIMATED,
                                                  .why = WHY_INTERPOLATED};
    period->channels[3] = (struct period_channel){.name = "balance",
                                                  .kind = CHANNEL_EXACT,
                                                  .weight_ms = 1,
                                                  .min = 1234567.891,
                                                  .mean = 1234567.892,
                                                  .max = 1234567.893};
    period->channel_count = 4;
    page_init(&page);
    feed_period(&page.writer, &origin, "summary/1", &stored);
    check_golden(&page, "summary-holes");
}

static void test_day_and_month(void **state)
{
    (void)state;
    struct page page;
    struct stored_period stored = contract_period();
    stored.period.from_ms = instant("2026-11-21T22:00:00.000Z");
    stored.period.to_ms = instant("2026-11-22T22:00:00.000Z");
    page_init(&page);
    feed_period(&page.writer, &origin, "day/1", &stored);
    check_golden(&page, "day");
    stored.period.to_ms = instant("2026-12-21T22:00:00.000Z");
    page_init(&page);
    feed_period(&page.writer, &origin, "month/1", &stored);
    check_golden(&page, "month");
}

// A profile with one channel of each kind.
static struct profile *profile_of_kinds(void)
{
    static struct profile profile = {
        .status_count = 3,
        .status = {{.name = "power-fail"}, {.name = "tamper"}, {.name = "low-battery"}}};
    static const char *const names[] = {"volume_base", "pressure", "flow_base",
                                        "balance",     "status",   "serial_number"};
    profile.channel_count = sizeof names / sizeof names[0];
    for (int i = 0; i < profile.channel_count; i++) {
        profile.channels[i].channel = channel_find(names[i]);
        assert_non_null(profile.channels[i].channel);
    }
    return &profile;
}

static struct stored_reading reading_of_kinds(void)
{
    struct stored_reading reading = {
        .meter = "boiler-1",
        .at_ms = instant("2026-11-23T08:14:58.120Z"),
        .answered = true,
        .lane = LANE_LIVE,
        .seq = 9120,
        .profile = profile_of_kinds(),
        .value_count = 6,
        .values = {{.present = true, .micro = 1234581220400},
                   {.quality = QUALITY_MISSING, .why = WHY_EXCEPTION + 2},
                   {.quality = QUALITY_SUSPECT, .why = WHY_NOT_A_NUMBER},
                   {.present = true, .number = 1234.5678901},
                   {.present = true, .bits = 5},
                   {.present = true, .text = "FX-2209\"1"}},
    };
    return reading;
}

static void test_reading(void **state)
{
    (void)state;
    struct page page;
    struct stored_reading reading = reading_of_kinds();
    page_init(&page);
    feed_reading(&page.writer, &origin, &reading);
    check_golden(&page, "reading");
    struct feed_origin export = {.gateway = "site-042"};
    page_init(&page);
    feed_reading(&page.writer, &export, &reading);
    check_golden(&page, "reading-export");
}

static struct stored_alert over_range(void)
{
    struct stored_alert alert = {
        .id = ALERT_A,
        .lane = LANE_ALERT,
        .seq = 41,
        .change = {.kind = ALERT_OVER_RANGE,
                   .severity = SEVERITY_MAJOR,
                   .state = ALERT_OPEN,
                   .subject = "boiler-1",
                   .at_ms = instant("2026-11-23T08:20:00.000Z"),
                   .since_ms = instant("2026-11-23T08:15:00.000Z"),
                   .evidence = {.observed = 171.25,
                                .expected_low = (double)NAN,
                                .expected_high = 160,
                                .unit = "m3/h",
                                .rule = "flow_measured > qmax for 5 min",
                                .from_ms = instant("2026-11-23T08:15:00.000Z"),
                                .to_ms = instant("2026-11-23T08:20:00.000Z")}},
    };
    return alert;
}

static void test_alert(void **state)
{
    (void)state;
    struct page page;
    struct stored_alert alert = over_range();
    page_init(&page);
    feed_alert(&page.writer, &origin, &alert);
    check_golden(&page, "alert");
}

// A link's alert with no figures, closed because its link was taken out of the configuration.
static void test_alert_of_a_link(void **state)
{
    (void)state;
    struct page page;
    struct stored_alert alert = over_range();
    alert.change.kind = ALERT_LINK_DOWN;
    alert.change.severity = SEVERITY_CRITICAL;
    alert.change.state = ALERT_CLOSED;
    alert.change.of_link = true;
    memcpy(alert.change.subject, "hall-1", sizeof "hall-1");
    memcpy(alert.change.reason, "removed", sizeof "removed");
    alert.change.evidence.observed = (double)NAN;
    alert.change.evidence.expected_high = (double)NAN;
    alert.change.evidence.unit[0] = '\0';
    alert.change.evidence.why = WHY_TIMEOUT;
    memcpy(alert.change.evidence.rule, "all silent", sizeof "all silent");
    page_init(&page);
    feed_alert(&page.writer, &origin, &alert);
    check_golden(&page, "alert-link");
}

// Every kind in every state has its own words, and no slot of them stays empty.
static void test_alert_texts(void **state)
{
    (void)state;
    for (int kind = ALERT_NO_ANSWER; kind < ALERT_KINDS; kind++) {
        for (int life = ALERT_OPEN; life <= ALERT_CLOSED; life++) {
            for (enum language language = 0; language < LANGUAGE_COUNT; language++) {
                struct stored_alert alert = over_range();
                struct buf text;
                alert.change.kind = (enum alert_kind)kind;
                alert.change.state = (enum alert_state)life;
                alert.change.evidence.why = WHY_EXCEPTION + 11;
                buf_init(&text, 1000);
                feed_alert_text(&text, language, &alert.change);
                assert_false(text.failed);
                assert_null(strchr(text.data, '{'));
                assert_null(strstr(text.data, "alert."));
                assert_true(text.length > 20);
                buf_release(&text);
            }
        }
    }
}

static void test_gap(void **state)
{
    (void)state;
    struct page page;
    struct stored_gap gap = {.seq = 42,
                             .lane = LANE_LIVE,
                             .first = 100,
                             .last = 104,
                             .reason = "refused",
                             .from_ms = instant("2026-11-23T08:15:00.000Z"),
                             .to_ms = instant("2026-11-23T08:16:00.000Z"),
                             .at_ms = instant("2026-11-23T08:20:00.000Z")};
    page_init(&page);
    feed_gap(&page.writer, &origin, &gap);
    check_golden(&page, "gap");
}

static void test_audit(void **state)
{
    (void)state;
    struct page page;
    struct audit_record record = {
        .number = 57,
        .at_ms = instant("2026-11-23T08:00:00.000Z"),
        .hash = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"};
    page_init(&page);
    feed_audit(&page.writer, &origin, LANE_ALERT, 43, &record);
    check_golden(&page, "audit");
}

// A short day: a whole hour, one with a hole that the log filled, one in which the gateway was
// down.
static void test_ledger(void **state)
{
    (void)state;
    struct page page;
    static struct stored_ledger stored = {.meter = "boiler-1",
                                          .version = 2,
                                          .lane = LANE_BACKFILL,
                                          .seq = 77,
                                          .replaces_lane = LANE_LIVE,
                                          .replaces_seq = 900,
                                          .lane_last = {0, 41, 1200, 76}};
    struct ledger *ledger = &stored.ledger;
    int64_t from = instant("2026-11-21T22:00:00.000Z");
    stored.at_ms = instant("2026-11-22T22:03:00.500Z");
    *ledger = (struct ledger){.from_ms = from, .to_ms = from + 3 * 3600000, .hour_count = 3};
    for (int i = 0; i < 3; i++)
        ledger->hours[i] = (struct ledger_hour){.from_ms = from + i * INT64_C(3600000),
                                                .to_ms = from + (i + 1) * INT64_C(3600000),
                                                .good = 60};
    ledger->hours[1].good = 54;
    ledger->hours[1].suspect = 1;
    ledger->hours[1].missing = 5;
    ledger->hours[1].index = QUALITY_ARCHIVE;
    reasons_add(&ledger->hours[1].reasons, QUALITY_MISSING, WHY_TIMEOUT, 3);
    reasons_add(&ledger->hours[1].reasons, QUALITY_MISSING, WHY_EXCEPTION + 2, 2);
    reasons_add(&ledger->hours[1].reasons, QUALITY_SUSPECT, WHY_UNCONFIRMED, 1);
    ledger->hours[2].good = 40;
    ledger->hours[2].missing = 20;
    ledger->hours[2].index = QUALITY_ESTIMATED;
    reasons_add(&ledger->hours[2].reasons, QUALITY_MISSING, WHY_GATEWAY_DOWN, 20);
    ledger->outage_count = 1;
    ledger->outage_ms = 1200250;
    ledger->outages[0] = (struct outage){from + 2 * 3600000 + 600000, from + 2 * 3600000 + 1800250,
                                         WHY_GATEWAY_DOWN};
    page_init(&page);
    feed_ledger(&page.writer, &origin, &stored);
    check_golden(&page, "completeness");
}

static struct outlook_part part_at(int64_t from_ms, int hours, int64_t value)
{
    return (struct outlook_part){.from_ms = from_ms,
                                 .to_ms = from_ms + hours * INT64_C(3600000),
                                 .value = value,
                                 .low = value / 2000 * 1000,
                                 .high = 2 * value};
}

// A gas day of 23 hours, then whole ones.
static void test_forecast(void **state)
{
    (void)state;
    struct page page;
    static struct stored_outlook stored = {.meter = "boiler-1", .lane = LANE_LIVE, .seq = 913};
    struct outlook *outlook = &stored.outlook;
    int64_t at = instant("2026-03-28T05:00:00.000Z");
    stored.at_ms = instant("2026-03-28T05:02:00.250Z");
    strcpy(outlook->channel, "volume_base");
    outlook->from_ms = at;
    outlook->known = 2010;
    outlook->hour_count = 23;
    for (int i = 0; i < outlook->hour_count; i++)
        outlook->hours[i] = part_at(at + i * INT64_C(3600000), 1, i * INT64_C(1250000));
    for (int i = 0; i < OUTLOOK_DAYS; i++) {
        outlook->days[i] = part_at(at, i == 0 ? 23 : 24, 310500000 + i * INT64_C(1000));
        at = outlook->days[i].to_ms;
    }
    outlook->to_ms = at;
    page_init(&page);
    feed_forecast(&page.writer, &origin, &stored);
    check_golden(&page, "forecast");
}

static bool serial_of(void *context, int meter, char text[static VALUE_TEXT_MAX])
{
    const struct config *config = context;
    bool told = strcmp(config->meters[meter].id, "boiler-1") == 0;
    if (told)
        (void)snprintf(text, VALUE_TEXT_MAX, "FX-22091");
    return told;
}

static void test_state(void **state)
{
    (void)state;
    struct page page;
    struct feed_state now = {
        .at_ms = instant("2026-11-23T08:20:00.000Z"),
        .online = true,
        .software = "1.0.0-gabc",
        .boot = ALERT_B,
        .clock_known = true,
        .revision = "0123456789abcdef",
        .office = "no-subscriber",
        .lanes = {[LANE_ALERT] = {.last = 41, .acknowledged = 40, .confirmed = 20},
                  [LANE_LIVE] = {.last = 912, .acknowledged = 912, .confirmed = 456},
                  [LANE_BACKFILL] = {.last = 7, .acknowledged = 0}}};
    page_init(&page);
    feed_state(&page.writer, &origin, &now);
    check_golden(&page, "state");
}

static void test_meters(void **state)
{
    (void)state;
    struct page page;
    struct config_link link = {.id = "hall-1"};
    struct profile *profile = profile_of_kinds();
    (void)snprintf(profile->name, sizeof profile->name, "fuxin-totalizer");
    (void)snprintf(profile->model, sizeof profile->model, "Fuxin gas totalizer");
    struct meter meters[] = {
        {.id = "boiler-1", .name = "Boiler house 1", .profile = profile, .interval_s = 60},
        {.id = "boiler-2",
         .name = "锅炉房 2",
         .profile = profile,
         .interval_s = 1,
         .unverified = true},
    };
    struct config config = {.link_count = 1, .links = &link, .meter_count = 2, .meters = meters};
    page_init(&page);
    feed_meters(&page.writer, &origin, instant("2026-11-23T08:20:00.000Z"), &config, serial_of,
                &config);
    check_golden(&page, "meters");
}

static void test_health(void **state)
{
    (void)state;
    struct page page;
    const struct store_heads heads = {
        .count = 2,
        .list = {{"audit", 57, "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"},
                 {"period-hour", 31,
                  "9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08"}}};
    struct feed_health health = {
        .at_ms = instant("2026-11-23T08:20:00.000Z"),
        .uptime_s = 3600,
        .memory_bytes = 9437184,
        .store_bytes = 1048576,
        .disk_free_bytes = INT64_C(9007199254740993),
        .readings = 60000,
        .rounds = 3600,
        .refused = 0,
        .waiting = 3,
        .published = 1000,
        .acknowledged = 990,
        .reconnects = 1,
        .lanes = {[LANE_LIVE] = {.last = 912, .acknowledged = 902, .confirmed = 451}},
        .heads = &heads};
    page_init(&page);
    feed_health(&page.writer, &origin, &health);
    check_golden(&page, "health");
}

// Whatever the figures, the message is JSON, and counters come back digit by digit.
static void test_any_figures(void **state)
{
    (void)state;
    random_start("test_office_feed");
    for (int round = 0; round < 2000; round++) {
        struct page page;
        struct stored_period stored = contract_period();
        struct period_channel *counter = &stored.period.channels[0];
        struct period_channel *gauge = &stored.period.channels[1];
        counter->start_micro = random_between(-MICRO_LIMIT / 2, MICRO_LIMIT / 2 - 1);
        counter->end_micro = random_between(-MICRO_LIMIT / 2, MICRO_LIMIT / 2 - 1);
        uint64_t bits = random_u64();
        memcpy(&gauge->mean, &bits, sizeof bits);
        page_init(&page);
        feed_period(&page.writer, &origin, "summary/1", &stored);
        assert_false(page.out.failed);
        json_t *parsed = json_loads(page.out.data, JSON_REJECT_DUPLICATES, NULL);
        assert_non_null(parsed);
        char expected[64] = "\"start\":";
        size_t length = strlen(expected);
        length += micro_print(counter->start_micro, expected + length);
        expected[length] = ',';
        expected[length + 1] = '\0';
        assert_non_null(strstr(page.out.data, expected));
        json_decref(parsed);
        buf_release(&page.out);
    }
}

// A buffer that is too small is reported, not overrun.
static void test_bound(void **state)
{
    (void)state;
    struct buf out;
    struct writer writer;
    struct stored_period stored = contract_period();
    buf_init(&out, 100);
    writer_init(&writer, &out);
    feed_period(&writer, &origin, "summary/1", &stored);
    assert_true(out.failed);
    assert_true(out.length <= 100);
    buf_release(&out);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_period_of_the_contract),
        cmocka_unit_test(test_period_with_holes),
        cmocka_unit_test(test_day_and_month),
        cmocka_unit_test(test_reading),
        cmocka_unit_test(test_alert),
        cmocka_unit_test(test_alert_of_a_link),
        cmocka_unit_test(test_alert_texts),
        cmocka_unit_test(test_gap),
        cmocka_unit_test(test_audit),
        cmocka_unit_test(test_ledger),
        cmocka_unit_test(test_forecast),
        cmocka_unit_test(test_state),
        cmocka_unit_test(test_meters),
        cmocka_unit_test(test_health),
        cmocka_unit_test(test_any_figures),
        cmocka_unit_test(test_bound),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
