#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "base/catalogue.h"
#include "detect/detect.h"

#include "property.h"

#include <inttypes.h>
#include <math.h>
#include <string.h>

#define T0 INT64_C(1795420800000)
#define SECOND INT64_C(1000)
#define MINUTE (60 * SECOND)
#define HOUR (60 * MINUTE)

// --- a site: three meters on hall-1, one on yard, two on east ---

enum { METERS = 6, LINKS = 3, CHANNELS = 3 };

static struct profile measured_profile; // flow_measured
static struct profile base_profile;     // flow_base and conversion_factor
static struct profile bare_profile;     // flow_base alone
static struct meter meters[METERS];
static struct config_link links[LINKS];
static struct config config;

static void add_channel(struct profile *profile, const char *name)
{
    profile->channels[profile->channel_count++].channel = channel_find(name);
    profile->field_count = 1;
}

static int set_up(void **state)
{
    (void)state;
    add_channel(&measured_profile, "pressure");
    add_channel(&measured_profile, "flow_base");
    add_channel(&measured_profile, "flow_measured");
    add_channel(&base_profile, "flow_base");
    add_channel(&base_profile, "pressure");
    add_channel(&base_profile, "conversion_factor");
    add_channel(&bare_profile, "flow_base");
    static const char *const link_ids[] = {"hall-1", "yard", "east"};
    static const int link_of[] = {0, 0, 0, 1, 2, 2};
    for (int i = 0; i < LINKS; i++)
        strcpy(links[i].id, link_ids[i]);
    for (int i = 0; i < METERS; i++) {
        (void)snprintf(meters[i].id, sizeof meters[i].id, "m%d", i);
        meters[i].link = link_of[i];
        meters[i].interval_s = 60;
        meters[i].qmax_m3_h = 100;
        meters[i].profile = i == 3 ? &base_profile : &measured_profile;
    }
    config = (struct config){.references = 1000000,
                             .links = links,
                             .link_count = LINKS,
                             .meters = meters,
                             .meter_count = METERS,
                             .detect = {true, true, true, true}};
    return 0;
}

#define NO_FLOW (-1.0) // it answers, but not with a flow
#define SILENT (-2.0)

static struct reading *reading_of(int meter, int64_t at_ms, double flow)
{
    struct reading *reading = calloc(1, sizeof *reading + CHANNELS * sizeof(struct value));
    assert_non_null(reading);
    reading->meter = &meters[meter];
    reading->due_ms = reading->at_ms = at_ms;
    reading->answered = flow != SILENT;
    reading->image.why[0] = flow == SILENT ? WHY_CRC : WHY_NONE;
    reading->value_count = CHANNELS;
    for (int i = 0; i < CHANNELS; i++) {
        reading->values[i] = (struct value){.quality = QUALITY_MISSING, .why = WHY_TIMEOUT};
        if (flow >= 0)
            reading->values[i] = (struct value){.present = true, .number = flow};
    }
    if (meters[meter].profile == &base_profile && flow >= 0) {
        reading->values[0].number = flow * 4;
        reading->values[2].number = 4;
    }
    return reading;
}

// --- what came out ---

#define CHANGES_MAX 20000
static struct {
    int count;
    struct alert_change list[CHANGES_MAX];
} seen;

static void record_change(void *context, const struct alert_change *change)
{
    assert_ptr_equal(context, &seen);
    assert_true(seen.count < CHANGES_MAX);
    seen.list[seen.count++] = *change;
}

static void feed(struct detect *detect, int meter, int64_t at_ms, double flow)
{
    struct reading *reading = reading_of(meter, at_ms, flow);
    detect_feed(detect, meter, reading, record_change, &seen);
    free(reading);
}

static struct detect *detect_start(void)
{
    seen.count = 0;
    struct detect *detect = detect_new(&config);
    assert_non_null(detect);
    return detect;
}

// "no-answer m1 open minor" of change number `i`, "" past the end.
static const char *seen_text(int i)
{
    static char text[128];
    text[0] = '\0';
    if (i < seen.count) {
        const struct alert_change *change = &seen.list[i];
        (void)snprintf(text, sizeof text, "%s %s %s %s%s%s", alert_kind_text(change->kind),
                       change->subject, alert_state_text(change->state),
                       alert_severity_text(change->severity), change->reason[0] != '\0' ? " " : "",
                       change->reason);
    }
    return text;
}

static void expect_seen(const char *const *texts, int count)
{
    for (int i = 0; i < count; i++)
        assert_string_equal(seen_text(i), texts[i]);
    assert_string_equal(seen_text(count), "");
    seen.count = 0;
}

#define EXPECT(...)                                                                                \
    do {                                                                                           \
        static const char *const texts[] = {__VA_ARGS__};                                          \
        expect_seen(texts, (int)(sizeof texts / sizeof texts[0]));                                 \
    } while (0)
#define EXPECT_NOTHING() expect_seen(NULL, 0)

// --- no-answer ---

static void test_no_answer_life(void **state)
{
    (void)state;
    struct detect *detect = detect_start();
    int64_t at = T0;
    feed(detect, 3, at, 5);
    feed(detect, 3, at + MINUTE, SILENT);
    feed(detect, 3, at + 2 * MINUTE, SILENT);
    EXPECT_NOTHING();
    feed(detect, 3, at + 3 * MINUTE, SILENT);
    assert_int_equal(seen.list[0].since_ms, at + 3 * MINUTE);
    assert_int_equal(seen.list[0].at_ms, at + 3 * MINUTE);
    assert_false(seen.list[0].of_link);
    const struct evidence *evidence = &seen.list[0].evidence;
    assert_true(evidence->observed == 2);
    assert_true(isnan(evidence->expected_high) && isnan(evidence->expected_low));
    assert_string_equal(evidence->unit, "min");
    assert_int_equal(evidence->why, WHY_CRC);
    assert_int_equal(evidence->from_ms, at + MINUTE);
    assert_int_equal(evidence->to_ms, at + 3 * MINUTE);
    EXPECT("no-answer m3 open minor");
    for (int minute = 4; minute <= 62; minute++)
        feed(detect, 3, at + minute * MINUTE, SILENT);
    EXPECT_NOTHING();
    feed(detect, 3, at + 63 * MINUTE, SILENT);
    assert_true(seen.list[0].evidence.observed == 62);
    assert_int_equal(seen.list[0].since_ms, at + 3 * MINUTE);
    EXPECT("no-answer m3 updated major");
    feed(detect, 3, at + 3 * MINUTE + 24 * HOUR - 1, SILENT);
    EXPECT_NOTHING();
    feed(detect, 3, at + 3 * MINUTE + 24 * HOUR, SILENT);
    EXPECT("no-answer m3 updated critical");
    feed(detect, 3, at + 50 * HOUR, SILENT);
    EXPECT_NOTHING();
    feed(detect, 3, at + 51 * HOUR, NO_FLOW);
    assert_int_equal(seen.list[0].evidence.to_ms, at + 51 * HOUR);
    assert_true(seen.list[0].evidence.observed == 51 * 60 - 1);
    EXPECT("no-answer m3 closed critical");
    feed(detect, 3, at + 52 * HOUR, 5);
    EXPECT_NOTHING();
    detect_free(detect);
}

// Two misses never open; three of four open and close once in four due times.
static void test_no_answer_flaps(void **state)
{
    (void)state;
    struct detect *detect = detect_start();
    for (int i = 0; i < 1000; i++)
        feed(detect, 3, T0 + i * MINUTE, i % 3 == 0 ? 5 : SILENT);
    EXPECT_NOTHING();
    for (int i = 0; i < 1000; i++)
        feed(detect, 3, T0 + (1000 + i) * MINUTE, i % 4 == 0 ? 5 : SILENT);
    assert_int_equal(seen.count, 499); // 250 openings, 249 closings: the bound that detect.h names
    detect_free(detect);
}

// --- link-down ---

static void test_link_down_replaces(void **state)
{
    (void)state;
    struct detect *detect = detect_start();
    for (int i = 0; i < 3; i++) {
        feed(detect, 0, T0 + i * MINUTE, SILENT);
        feed(detect, 1, T0 + i * MINUTE, i == 0 ? 5 : SILENT);
        feed(detect, 2, T0 + i * MINUTE, SILENT);
    }
    EXPECT("no-answer m0 open minor", "no-answer m2 open minor");
    feed(detect, 1, T0 + 3 * MINUTE, SILENT);
    assert_true(seen.list[2].of_link);
    assert_int_equal(seen.list[2].evidence.from_ms, T0 + MINUTE); // m1 was the last to fall silent
    EXPECT("no-answer m0 closed minor link-down", "no-answer m2 closed minor link-down",
           "link-down hall-1 open major");
    for (int i = 4; i < 24 * 60 + 3; i++)
        feed(detect, i % 3, T0 + i * MINUTE, SILENT);
    EXPECT_NOTHING();
    for (int i = 24 * 60 + 3; i < 26 * 60; i++)
        feed(detect, i % 3, T0 + i * MINUTE, SILENT);
    assert_int_equal(seen.list[0].at_ms, T0 + 3 * MINUTE + 24 * HOUR);
    EXPECT("link-down hall-1 updated critical");
    // one answers: the others open their own again
    feed(detect, 1, T0 + 26 * HOUR, 5);
    EXPECT("link-down hall-1 closed critical");
    feed(detect, 0, T0 + 26 * HOUR + MINUTE, SILENT);
    feed(detect, 2, T0 + 26 * HOUR + MINUTE, 5);
    EXPECT("no-answer m0 open minor");
    feed(detect, 0, T0 + 26 * HOUR + 2 * MINUTE, 5);
    EXPECT("no-answer m0 closed minor");
    detect_free(detect);
}

static void test_link_with_one_meter(void **state)
{
    (void)state;
    struct detect *detect = detect_start();
    for (int i = 0; i < 10; i++)
        feed(detect, 3, T0 + i * MINUTE, SILENT);
    EXPECT("no-answer m3 open minor");
    detect_free(detect);
}

static void test_rules_switched_off(void **state)
{
    (void)state;
    config.detect = (struct config_detect){.link_down = true};
    struct detect *detect = detect_start();
    for (int i = 0; i < 10; i++) {
        feed(detect, 4, T0 + i * MINUTE, SILENT);
        feed(detect, 5, T0 + i * MINUTE, i < 4 ? 500 : SILENT);
    }
    EXPECT("link-down east open major");
    detect_free(detect);
    config.detect = (struct config_detect){.no_answer = true};
    detect = detect_start();
    for (int i = 0; i < 10; i++) {
        feed(detect, 4, T0 + i * MINUTE, SILENT);
        feed(detect, 5, T0 + i * MINUTE, SILENT);
    }
    EXPECT("no-answer m4 open minor", "no-answer m5 open minor");
    detect_free(detect);
    config.detect = (struct config_detect){true, true, true, true};
}

// --- over-range ---

struct flow_step {
    int second;
    double flow;
    const char *change; // "" for none
};

static void run_steps(int meter, const struct flow_step *steps, size_t count)
{
    struct detect *detect = detect_start();
    for (size_t i = 0; i < count; i++) {
        feed(detect, meter, T0 + steps[i].second * SECOND, steps[i].flow);
        char wanted[64] = "";
        if (steps[i].change[0] != '\0')
            (void)snprintf(wanted, sizeof wanted, "over-range m%d %s", meter, steps[i].change);
        assert_string_equal(seen_text(0), wanted);
        seen.count = 0;
    }
    detect_free(detect);
}
#define STEPS(meter, ...)                                                                          \
    do {                                                                                           \
        static const struct flow_step steps[] = {__VA_ARGS__};                                     \
        run_steps(meter, steps, sizeof steps / sizeof steps[0]);                                   \
    } while (0)

static void test_over_range_tables(void **state)
{
    (void)state;
    for (int meter = 0; meter <= 3; meter += 3) { // measured, and base by conversion
        // five minutes above, to the second; then five below 95
        STEPS(meter, {0, 100, ""}, {60, 100.1, ""}, {120, 101, ""}, {180, 110, ""}, {240, 119, ""},
              {300, 105, ""}, {359, 105, ""}, {360, 101, "open major"}, {420, 119.9, ""},
              {480, 94.9, ""}, {540, 90, ""}, {779, 90, ""}, {780, 0, "closed major"},
              {840, 0, ""});
        // above 1.2 x qmax at once, also over an open one
        STEPS(meter, {0, 120, ""}, {60, 120.1, "open critical"}, {120, 200, ""}, {180, 110, ""});
        STEPS(meter, {0, 101, ""}, {300, 101, "open major"}, {360, 130, "updated critical"},
              {420, 140, ""}, {480, 50, ""}, {780, 50, "closed critical"},
              {840, 121, "open critical"});
        // a dip to qmax begins the five minutes anew; so does one to 95 for the closing
        STEPS(meter, {0, 101, ""}, {240, 100, ""}, {300, 101, ""}, {599, 101, ""},
              {600, 101, "open major"}, {660, 94, ""}, {900, 95, ""}, {960, 94, ""}, {1200, 94, ""},
              {1260, 94, "closed major"});
        // without flows nothing opens and nothing closes
        STEPS(meter, {0, 101, ""}, {60, 101, ""}, {120, NO_FLOW, ""}, {360, NO_FLOW, ""},
              {361, 101, ""}, {600, NO_FLOW, ""}, {661, 101, "open major"}, {700, 50, ""},
              {760, NO_FLOW, ""}, {999, NO_FLOW, ""}, {1000, 50, "closed major"});
        // and a long rest is not five minutes above
        STEPS(meter, {0, 101, ""}, {60, NO_FLOW, ""}, {301, 101, ""}, {601, 101, "open major"},
              {700, 50, ""}, {1001, 50, ""}, {1200, 50, ""}, {1301, 50, "closed major"});
    }
}

static void test_over_range_evidence(void **state)
{
    (void)state;
    struct detect *detect = detect_start();
    feed(detect, 0, T0, 101);
    feed(detect, 0, T0 + 2 * MINUTE, 117.5);
    feed(detect, 0, T0 + 5 * MINUTE, 102);
    feed(detect, 0, T0 + 6 * MINUTE, 119);
    feed(detect, 0, T0 + 7 * MINUTE, 131);
    feed(detect, 0, T0 + 8 * MINUTE, 150);
    feed(detect, 0, T0 + 9 * MINUTE, 10);
    feed(detect, 0, T0 + 14 * MINUTE, 10);
    assert_int_equal(seen.count, 3);
    static const double observed[] = {117.5, 131, 150};
    for (int i = 0; i < 3; i++) {
        const struct alert_change *change = &seen.list[i];
        assert_true(change->evidence.observed == observed[i]);
        assert_true(change->evidence.expected_high == 100 && isnan(change->evidence.expected_low));
        assert_string_equal(change->evidence.unit, "m3/h");
        assert_int_equal(change->since_ms, T0 + 5 * MINUTE);
        assert_int_equal(change->evidence.from_ms, T0);
        assert_int_equal(change->evidence.to_ms, change->at_ms);
    }
    assert_string_equal(seen.list[0].evidence.rule, "flow_measured > qmax (100 m3/h) for 5 min");
    assert_string_equal(seen.list[1].evidence.rule, "flow_measured > 1.2 x qmax (120 m3/h)");
    EXPECT("over-range m0 open major", "over-range m0 updated critical",
           "over-range m0 closed critical");
    feed(detect, 3, T0, 121);
    assert_string_equal(seen.list[0].evidence.rule,
                        "flow_base/conversion_factor > 1.2 x qmax (120 m3/h)");
    detect_free(detect);
}

// A flow that swings around qmax every reading, and one around 95 while the alert is open.
static void test_over_range_flaps(void **state)
{
    (void)state;
    struct detect *detect = detect_start();
    for (int i = 0; i < 1000; i++)
        feed(detect, 0, T0 + i * MINUTE, i % 2 == 0 ? 119 : 60);
    EXPECT_NOTHING();
    for (int i = 0; i < 1000; i++) // this one is dangerous at once, and never calm for long
        feed(detect, 0, T0 + (1000 + i) * MINUTE, i % 2 == 0 ? 121 : 60);
    EXPECT("over-range m0 open critical");
    detect_free(detect);
}

static void test_over_range_off(void **state)
{
    (void)state;
    struct meter meter = meters[0];
    assert_string_equal(detect_over_range_off(&meter), "");
    assert_string_equal(detect_over_range_off(&meters[3]), "");
    meter.profile = &bare_profile;
    assert_non_null(strstr(detect_over_range_off(&meter), "conversion_factor"));
    meter = meters[0];
    meter.qmax_m3_h = (double)NAN;
    assert_non_null(strstr(detect_over_range_off(&meter), "qmax_m3_h"));
    // an unverified profile's flow counts, one that is doubted otherwise does not
    struct detect *detect = detect_start();
    struct reading *reading = reading_of(0, T0, 500);
    reading->values[2].quality = QUALITY_SUSPECT;
    reading->values[2].why = WHY_OUT_OF_RANGE;
    detect_feed(detect, 0, reading, record_change, &seen);
    EXPECT_NOTHING();
    reading->values[2].why = WHY_UNVERIFIED;
    detect_feed(detect, 0, reading, record_change, &seen);
    EXPECT("over-range m0 open critical");
    free(reading);
    // a conversion factor that cannot be
    reading = reading_of(3, T0, 500);
    reading->values[2].number = 0;
    detect_feed(detect, 3, reading, record_change, &seen);
    EXPECT_NOTHING();
    free(reading);
    detect_free(detect);
}

// --- meter-exchanged ---

static struct profile serial_profile;

static void feed_serial(struct detect *detect, int64_t at_ms, const char *serial, bool begins)
{
    struct reading *reading = calloc(1, sizeof *reading + sizeof reading->values[0]);
    assert_non_null(reading);
    reading->meter = &meters[1];
    reading->due_ms = reading->at_ms = at_ms;
    reading->answered = true;
    reading->begins = begins;
    reading->value_count = 1;
    reading->values[0] = (struct value){.present = true};
    (void)snprintf(reading->values[0].text, VALUE_TEXT_MAX, "%s", serial);
    detect_feed(detect, 1, reading, record_change, &seen);
    free(reading);
}

static void test_meter_exchanged(void **state)
{
    (void)state;
    serial_profile.channel_count = 1;
    serial_profile.channels[0].channel = channel_find("serial_number");
    meters[1].profile = &serial_profile;
    struct detect *detect = detect_start();
    feed_serial(detect, T0, "A1", false);
    feed_serial(detect, T0 + 2 * MINUTE, "B2", true);
    const struct evidence *evidence = &seen.list[0].evidence;
    assert_string_equal(evidence->rule, "serial_number B2, before A1");
    assert_int_equal(evidence->from_ms, T0);
    assert_int_equal(evidence->to_ms, T0 + 2 * MINUTE);
    assert_true(isnan(evidence->observed));
    struct alert_change open = seen.list[0];
    EXPECT("meter-exchanged m1 open major");
    feed_serial(detect, T0 + 3 * MINUTE, "B2", false);
    EXPECT_NOTHING();
    detect_free(detect);
    // after a restart
    detect = detect_start();
    detect_restore(detect, &open);
    feed_serial(detect, T0 + 4 * MINUTE, "C3", true);
    assert_string_equal(seen.list[0].evidence.rule, "serial_number C3, before ?");
    EXPECT("meter-exchanged m1 updated major");
    feed_serial(detect, T0 + 2 * MINUTE + 24 * HOUR - 1, "C3", false);
    EXPECT_NOTHING();
    feed_serial(detect, T0 + 2 * MINUTE + 24 * HOUR, "C3", false);
    EXPECT("meter-exchanged m1 closed major");
    config.detect.meter_exchanged = false;
    feed_serial(detect, T0 + 26 * HOUR, "D4", true);
    EXPECT_NOTHING();
    config.detect.meter_exchanged = true;
    detect_free(detect);
    meters[1].profile = &measured_profile;
}

static void test_watches(void **state)
{
    (void)state;
    struct detect *detect = detect_start();
    const struct {
        enum alert_kind kind;
        const char *subject;
        bool watched;
    } rows[] = {
        {ALERT_NO_ANSWER, "m5", true},     {ALERT_NO_ANSWER, "m6", false},
        {ALERT_OVER_RANGE, "m5", true},    {ALERT_OVER_RANGE, "hall-1", false},
        {ALERT_LINK_DOWN, "hall-1", true}, {ALERT_LINK_DOWN, "m1", false},
        {ALERT_LINK_DOWN, "yard", false},
    };
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        struct alert_change open = {.kind = rows[i].kind, .severity = SEVERITY_MAJOR};
        strcpy(open.subject, rows[i].subject);
        assert_int_equal(detect_watches(detect, &open), rows[i].watched);
        detect_restore(detect, &open);
    }
    config.detect.over_range = false;
    struct alert_change open = {.kind = ALERT_OVER_RANGE, .subject = "m5"};
    assert_false(detect_watches(detect, &open));
    config.detect.over_range = true;
    detect_free(detect);
}

// Each change of each kind has its text in both languages.
static void test_texts(void **state)
{
    (void)state;
    static const char *const states[] = {"open", "closed", "updated", "removed"};
    for (int kind = ALERT_NO_ANSWER; kind < ALERT_KINDS; kind++) {
        // No configuration removes the store; that it is another one does not get worse.
        int count = kind > ALERT_STORE_FULL ? 2 : kind == ALERT_STORE_FULL ? 3 : 4;
        for (int i = 0; i < count; i++) {
            char key[64];
            (void)snprintf(key, sizeof key, "alert.%s.%s", alert_kind_text((enum alert_kind)kind),
                           states[i]);
            assert_non_null(catalogue_text(key, LANGUAGE_EN));
            assert_non_null(catalogue_text(key, LANGUAGE_ZH));
        }
    }
    assert_non_null(catalogue_text("alert.no-answer.link-down", LANGUAGE_ZH));
    for (uint16_t why = WHY_TIMEOUT; why <= WHY_REVERSED; why++) {
        char code[WHY_TEXT_MAX];
        char key[64];
        (void)snprintf(key, sizeof key, "why.%s", why_text(why, code));
        assert_non_null(catalogue_text(key, LANGUAGE_EN));
    }
}

// --- a restart changes nothing ---

#define FEEDS_MAX 6000
static struct {
    int meter;
    int64_t at_ms;
    double flow;
} feeds[FEEDS_MAX];
static int feed_count;

static double random_flow(int mood)
{
    switch (mood) {
    case 0: return SILENT;
    case 1: return random_between(0, 2) == 0 ? SILENT : 50;
    case 2: return (double)random_between(90, 125);
    case 3: return (double)random_between(98, 110);
    case 4: return random_between(0, 3) == 0 ? NO_FLOW : (double)random_between(95, 140);
    default: return (double)random_between(0, 94);
    }
}

static void feeds_make(void)
{
    int mood[METERS];
    for (int i = 0; i < METERS; i++)
        mood[i] = (int)random_between(0, 5);
    feed_count = 0;
    int64_t at = T0;
    while (feed_count + METERS < FEEDS_MAX) {
        at += random_between(0, 300) == 0 ? random_between(0, 20 * HOUR) : MINUTE;
        for (int i = 0; i < METERS; i++) {
            if (random_between(0, 15) == 0)
                mood[i] = (int)random_between(0, 5);
            if (random_between(0, 200) == 0) // the whole site at once
                mood[0] = mood[1] = mood[2] = mood[4] = mood[5] = 0;
            feeds[feed_count].meter = i;
            feeds[feed_count].at_ms = at + i;
            feeds[feed_count].flow = random_flow(mood[i]);
            feed_count++;
        }
    }
}

// What the store would know: the newest change of each alert that is open.
static struct detect *restart(struct detect *detect, int next_feed)
{
    detect_free(detect);
    detect = detect_new(&config);
    int64_t from = feeds[next_feed - 1].at_ms - detect_lookback_ms(&meters[0]);
    for (int i = 0; i < seen.count; i++) {
        const struct alert_change *change = &seen.list[i];
        bool newest = change->state != ALERT_CLOSED;
        for (int k = i + 1; k < seen.count && newest; k++) {
            newest = seen.list[k].kind != change->kind ||
                     strcmp(seen.list[k].subject, change->subject) != 0;
        }
        if (newest) {
            detect_restore(detect, change);
            from = change->at_ms < from ? change->at_ms : from;
        }
    }
    int changes = seen.count;
    for (int i = 0; i < next_feed; i++) {
        if (feeds[i].at_ms >= from) {
            struct reading *reading = reading_of(feeds[i].meter, feeds[i].at_ms, feeds[i].flow);
            detect_feed(detect, feeds[i].meter, reading, NULL, NULL);
            free(reading);
        }
    }
    assert_int_equal(seen.count, changes);
    return detect;
}

static bool same_number(double a, double b)
{
    return a == b || (isnan(a) && isnan(b));
}

static void assert_same_change(const struct alert_change *a, const struct alert_change *b)
{
    assert_int_equal(a->kind, b->kind);
    assert_int_equal(a->severity, b->severity);
    assert_int_equal(a->state, b->state);
    assert_int_equal(a->of_link, b->of_link);
    assert_string_equal(a->subject, b->subject);
    assert_int_equal(a->at_ms, b->at_ms);
    assert_int_equal(a->since_ms, b->since_ms);
    assert_string_equal(a->reason, b->reason);
    assert_true(same_number(a->evidence.observed, b->evidence.observed));
    assert_true(same_number(a->evidence.expected_high, b->evidence.expected_high));
    assert_string_equal(a->evidence.rule, b->evidence.rule);
    assert_int_equal(a->evidence.from_ms, b->evidence.from_ms);
    assert_int_equal(a->evidence.to_ms, b->evidence.to_ms);
    assert_int_equal(a->evidence.why, b->evidence.why);
}

static void test_restart_changes_nothing(void **state)
{
    (void)state;
    static struct alert_change whole[CHANGES_MAX];
    int total = 0;
    for (int round = 0; round < 20; round++) {
        feeds_make();
        struct detect *detect = detect_start();
        for (int i = 0; i < feed_count; i++)
            feed(detect, feeds[i].meter, feeds[i].at_ms, feeds[i].flow);
        detect_free(detect);
        int count = seen.count;
        memcpy(whole, seen.list, (size_t)count * sizeof whole[0]);

        detect = detect_start();
        for (int i = 0; i < feed_count; i++) {
            feed(detect, feeds[i].meter, feeds[i].at_ms, feeds[i].flow);
            if (random_between(0, 100) == 0)
                detect = restart(detect, i + 1);
        }
        detect_free(detect);
        assert_int_equal(seen.count, count);
        for (int i = 0; i < count; i++)
            assert_same_change(&seen.list[i], &whole[i]);
        // each alert opens before it changes, and closes before it opens again
        for (int i = 0; i < count; i++) {
            bool open = false;
            for (int k = 0; k < i; k++)
                if (whole[k].kind == whole[i].kind &&
                    strcmp(whole[k].subject, whole[i].subject) == 0)
                    open = whole[k].state != ALERT_CLOSED;
            assert_int_equal(open, whole[i].state != ALERT_OPEN);
        }
        total += count;
    }
    print_message("%d changes compared\n", total);
    assert_true(total > 500);
}

int main(void)
{
    random_start("test_detect");
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_no_answer_life),
        cmocka_unit_test(test_no_answer_flaps),
        cmocka_unit_test(test_link_down_replaces),
        cmocka_unit_test(test_link_with_one_meter),
        cmocka_unit_test(test_rules_switched_off),
        cmocka_unit_test(test_over_range_tables),
        cmocka_unit_test(test_over_range_evidence),
        cmocka_unit_test(test_over_range_flaps),
        cmocka_unit_test(test_over_range_off),
        cmocka_unit_test(test_meter_exchanged),
        cmocka_unit_test(test_watches),
        cmocka_unit_test(test_texts),
        cmocka_unit_test(test_restart_changes_nothing),
    };
    return cmocka_run_group_tests(tests, set_up, NULL);
}
