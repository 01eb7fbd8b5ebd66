// flow-mismatch and sensor-stuck: counters against their flow, sensors that stand still.
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "detect/detect.h"

#include "property.h"

#include <inttypes.h>
#include <math.h>
#include <string.h>

#define T0 INT64_C(1795420800000)
#define MINUTE_MS INT64_C(60000)
#define HOUR_MS (60 * MINUTE_MS)
#define DAY_MINUTES (24 * 60)

enum { VOLUME, FLOW, PRESSURE, TEMPERATURE, CHANNELS };

static struct profile floats, coarse, base_only, bare;
static struct meter meter;
static struct config_link site_link;
static struct config config;

static void add_channel(struct profile *profile, const char *name, int8_t exponent, uint8_t type)
{
    struct profile_channel *channel = &profile->channels[profile->channel_count++];
    channel->channel = channel_find(name);
    assert_non_null(channel->channel);
    profile->fields[profile->field_count].type = type;
    channel->part_count = 1;
    channel->parts[0] = (struct part){
        .field = (uint8_t)profile->field_count++, .scale = {1, exponent}, .scale_field = -1};
    channel->conversion.factor = (struct decimal){1, 0};
}

static int set_up(void **state)
{
    (void)state;
    add_channel(&floats, "volume_measured", -2, RAW_U32); // a count is 0.01 m3
    add_channel(&floats, "flow_measured", 0, RAW_F32);
    add_channel(&floats, "pressure", 0, RAW_F32);
    add_channel(&floats, "temperature", 0, RAW_F32);
    add_channel(&coarse, "volume_measured", -2, RAW_U32);
    add_channel(&coarse, "flow_measured", 0, RAW_F32);
    add_channel(&coarse, "pressure", 0, RAW_U16);     // 1 kPa: may well stand still
    add_channel(&coarse, "temperature", -1, RAW_I16); // 0.1 degC: a 3,000th of what it measures
    add_channel(&base_only, "volume_base", -2, RAW_U32);
    add_channel(&base_only, "flow_base", 0, RAW_F32);
    add_channel(&bare, "volume_base", -2, RAW_U32);
    strcpy(meter.id, "m1");
    meter.interval_s = 60;
    meter.gas.altitude_m = (double)NAN;
    config = (struct config){.references = 1000000,
                             .links = &site_link,
                             .link_count = 1,
                             .meters = &meter,
                             .meter_count = 1,
                             .detect = {.flow_mismatch = true, .sensor_stuck = true}};
    return 0;
}

// ---- a meter ------------------------------------------------------------------------------------

// What a simulated one does, minute by minute.
struct shown {
    int64_t at_ms;
    double volume; // m3, as it counts inside
    double flow;   // m3/h, true and shown
    double counts; // share of it that is counted
    double kpa, celsius;
    bool noise_kpa, noise_celsius; // in the last digits
    bool begins, no_flow;          // another meter; the flow is missing
};

static struct {
    int count;
    struct alert_change list[64];
} seen;

static void record_change(void *context, const struct alert_change *change)
{
    assert_ptr_equal(context, &seen);
    assert_true(seen.count < 64);
    seen.list[seen.count++] = *change;
}

static void feed(struct detect *detect, struct shown *shown)
{
    struct reading *reading = calloc(1, sizeof *reading + CHANNELS * sizeof(struct value));
    assert_non_null(reading);
    reading->meter = &meter;
    reading->due_ms = reading->at_ms = shown->at_ms;
    reading->answered = true;
    reading->begins = shown->begins;
    reading->value_count = meter.profile->channel_count;
    for (int i = 0; i < CHANNELS; i++)
        reading->values[i].present = i != FLOW || !shown->no_flow;
    shown->kpa += shown->noise_kpa ? 0.01 * (double)random_between(-5, 5) + 0.003 : 0;
    shown->celsius += shown->noise_celsius ? 0.01 * (double)random_between(-5, 5) + 0.003 : 0;
    reading->values[VOLUME].micro = (int64_t)floor(shown->volume * 100) * 10000;
    reading->values[FLOW].number = shown->flow;
    reading->values[PRESSURE].number = shown->kpa;
    reading->values[TEMPERATURE].number = shown->celsius;
    detect_feed(detect, 0, reading, record_change, &seen);
    free(reading);
}

static void run(struct detect *detect, struct shown *shown, int minutes)
{
    for (int i = 0; i < minutes; i++) {
        shown->volume += shown->flow / 60 * shown->counts;
        shown->at_ms += MINUTE_MS;
        feed(detect, shown);
    }
}

static struct shown shown_at(double flow)
{
    return (struct shown){.at_ms = T0,
                          .volume = 1000,
                          .flow = flow,
                          .counts = 1,
                          .kpa = 301.5,
                          .celsius = 15,
                          .noise_kpa = true,
                          .noise_celsius = true};
}

static struct detect *start(struct profile *profile)
{
    meter.profile = profile;
    seen.count = 0;
    struct detect *detect = detect_new(&config);
    assert_non_null(detect);
    return detect;
}

static void expect(int i, enum alert_kind kind, enum alert_state state,
                   enum alert_severity severity)
{
    assert_true(i < seen.count);
    assert_int_equal(seen.list[i].kind, kind);
    assert_int_equal(seen.list[i].state, state);
    assert_int_equal(seen.list[i].severity, severity);
    assert_string_equal(seen.list[i].subject, "m1");
}

// ---- counter against flow -----------------------------------------------------------------------

static void test_flow_life(void **state)
{
    (void)state;
    struct profile *const profiles[] = {&floats, &base_only};
    for (int i = 0; i < 2; i++) {
        struct detect *detect = start(profiles[i]);
        struct shown shown = shown_at(120);
        shown.counts = 0.9; // a lost pulse in ten
        feed(detect, &shown);
        run(detect, &shown, 59);
        assert_int_equal(seen.count, 0);
        run(detect, &shown, 1);
        expect(0, ALERT_FLOW_MISMATCH, ALERT_OPEN, SEVERITY_MINOR);
        const struct evidence *evidence = &seen.list[0].evidence;
        assert_true(fabs(evidence->observed - 108) < 0.02);
        assert_true(fabs(evidence->expected_low - 114) < 1e-6);
        assert_true(fabs(evidence->expected_high - 126) < 1e-6);
        assert_string_equal(evidence->rule,
                            i == 0 ? "volume_measured by flow_measured 120 m3: -10.0 % in 1 h"
                                   : "volume_base by flow_base 120 m3: -10.0 % in 1 h");
        shown.counts = 0; // and then none at all
        run(detect, &shown, 60);
        expect(1, ALERT_FLOW_MISMATCH, ALERT_UPDATED, SEVERITY_MAJOR);
        shown.counts = 1;
        run(detect, &shown, 60);
        expect(2, ALERT_FLOW_MISMATCH, ALERT_CLOSED, SEVERITY_MAJOR);
        assert_int_equal(seen.count, 3);
        detect_free(detect);
    }
}

static void test_flow_severities(void **state)
{
    (void)state;
    static const struct {
        double counts;
        int severity; // 0: no alert
    } rows[] = {{1, 0},
                {0.96, 0},
                {1.04, 0},
                {0.93, SEVERITY_MINOR},
                {1.07, SEVERITY_MINOR},
                {0.7, SEVERITY_MAJOR},
                {10, SEVERITY_MAJOR}};
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        struct detect *detect = start(&floats);
        struct shown shown = shown_at(300);
        shown.counts = rows[i].counts;
        feed(detect, &shown);
        run(detect, &shown, 60);
        assert_int_equal(seen.count, rows[i].severity != 0);
        if (rows[i].severity != 0)
            expect(0, ALERT_FLOW_MISMATCH, ALERT_OPEN, (enum alert_severity)rows[i].severity);
        detect_free(detect);
    }
}

// A flow register that stands at zero while the counter moves.
static void test_flow_register_dead(void **state)
{
    (void)state;
    struct detect *detect = start(&floats);
    struct shown shown = shown_at(0);
    feed(detect, &shown);
    for (int i = 0; i < 60; i++) {
        shown.volume += 1;
        run(detect, &shown, 1);
    }
    expect(0, ALERT_FLOW_MISMATCH, ALERT_OPEN, SEVERITY_MAJOR);
    detect_free(detect);
}

// Honest meters whose flow wanders, stops and starts at any moment between two polls, at intervals
// of a minute or more, with rests and missing flows: no alert ever.
static void test_flow_honest(void **state)
{
    (void)state;
    for (int life = 0; life < 100; life++) {
        struct detect *detect = start(&floats);
        struct shown shown = shown_at(100);
        double flow = 100;
        meter.interval_s = (int)random_between(1, 5) * 60;
        feed(detect, &shown);
        for (int i = 0; i < 3 * DAY_MINUTES * 6; i++) { // true flow in steps of 10 s
            if (random_between(0, 20) == 0)
                flow = random_between(0, 3) == 0 ? 0 : (double)random_between(1, 300);
            shown.volume += flow / 360;
            shown.at_ms += 10000;
            if ((shown.at_ms - T0) % (1000 * (int64_t)meter.interval_s) != 0 ||
                random_between(0, 40) == 0)
                continue;
            shown.flow = flow;
            shown.no_flow = random_between(0, 50) == 0;
            feed(detect, &shown);
        }
        for (int i = 0; i < seen.count; i++)
            print_error("life %d: %s %s\n", life, alert_kind_text(seen.list[i].kind),
                        seen.list[i].evidence.rule);
        assert_int_equal(seen.count, 0);
        detect_free(detect);
    }
    meter.interval_s = 60;
}

// An exchange, a counter that stands lower, a rest: what they do to the index is no flow.
static void test_flow_breaks(void **state)
{
    (void)state;
    struct detect *detect = start(&floats);
    struct shown shown = shown_at(60);
    feed(detect, &shown);
    for (int i = 0; i < 200; i++) {
        run(detect, &shown, 20);
        switch (i % 3) {
        case 0: shown.volume += 5000, shown.begins = true; break;
        case 1: shown.volume -= 300; break;
        default: shown.volume += 700, shown.at_ms += 6 * MINUTE_MS; break;
        }
        shown.at_ms += MINUTE_MS;
        feed(detect, &shown);
        shown.begins = false;
    }
    assert_int_equal(seen.count, 0);
    detect_free(detect);
}

// ---- a sensor that stands still -----------------------------------------------------------------

static void test_stuck_life(void **state)
{
    (void)state;
    struct detect *detect = start(&floats);
    struct shown shown = shown_at(50);
    shown.noise_kpa = false;
    feed(detect, &shown);
    run(detect, &shown, DAY_MINUTES - 1);
    assert_int_equal(seen.count, 0);
    run(detect, &shown, 1);
    expect(0, ALERT_SENSOR_STUCK, ALERT_OPEN, SEVERITY_MINOR);
    const struct evidence *evidence = &seen.list[0].evidence;
    assert_true(evidence->observed == 301.5);
    assert_string_equal(evidence->unit, "kPa");
    assert_string_equal(evidence->rule, "pressure unchanged for 24 h with flow");
    assert_int_equal(evidence->from_ms, T0);
    shown.noise_celsius = false;
    run(detect, &shown, DAY_MINUTES);
    assert_int_equal(seen.count, 2);
    expect(1, ALERT_SENSOR_STUCK, ALERT_UPDATED, SEVERITY_MAJOR);
    assert_string_equal(seen.list[1].evidence.rule,
                        "pressure and temperature unchanged for 48 h with flow");
    shown.noise_kpa = shown.noise_celsius = true;
    run(detect, &shown, 2);
    assert_int_equal(seen.count, 3);
    expect(2, ALERT_SENSOR_STUCK, ALERT_CLOSED, SEVERITY_MAJOR);
    detect_free(detect);
}

// Without gas a closed pipe may well keep its pressure to the last bit; and then hours with gas add
// up.
static void test_stuck_needs_flow(void **state)
{
    (void)state;
    struct detect *detect = start(&floats);
    struct shown shown = shown_at(0);
    shown.noise_kpa = shown.noise_celsius = false;
    feed(detect, &shown);
    run(detect, &shown, 5 * DAY_MINUTES);
    assert_int_equal(seen.count, 0);
    shown.flow = 20;
    run(detect, &shown, 8 * 60 - 1);
    assert_int_equal(seen.count, 0);
    run(detect, &shown, 1);
    expect(0, ALERT_SENSOR_STUCK, ALERT_OPEN, SEVERITY_MAJOR);
    detect_free(detect);
}

static void test_stuck_coarse(void **state)
{
    (void)state;
    struct detect *detect = start(&coarse);
    struct shown shown = shown_at(50);
    shown.noise_kpa = false;
    feed(detect, &shown);
    run(detect, &shown, 3 * DAY_MINUTES);
    assert_int_equal(seen.count, 0);
    shown.noise_celsius = false;
    run(detect, &shown, 1 + DAY_MINUTES);
    assert_int_equal(seen.count, 1);
    expect(0, ALERT_SENSOR_STUCK, ALERT_OPEN, SEVERITY_MINOR);
    assert_string_equal(seen.list[0].evidence.unit, "degC");
    detect_free(detect);
}

// After a restart an open one goes on, and closes with the first other value.
static void test_stuck_restart(void **state)
{
    (void)state;
    struct detect *detect = start(&floats);
    struct shown shown = shown_at(50);
    shown.noise_celsius = false;
    feed(detect, &shown);
    run(detect, &shown, DAY_MINUTES);
    expect(0, ALERT_SENSOR_STUCK, ALERT_OPEN, SEVERITY_MINOR);
    struct alert_change open = seen.list[0];
    detect_free(detect);
    detect = start(&floats);
    assert_true(detect_watches(detect, &open));
    detect_restore(detect, &open);
    run(detect, &shown, 100);
    assert_int_equal(seen.count, 0);
    shown.celsius += 0.01;
    run(detect, &shown, 1);
    expect(0, ALERT_SENSOR_STUCK, ALERT_CLOSED, SEVERITY_MINOR);
    assert_int_equal(seen.list[0].since_ms, open.since_ms);
    detect_free(detect);
}

static void test_off(void **state)
{
    (void)state;
    struct alert_change open = {.kind = ALERT_FLOW_MISMATCH, .subject = "m1"};
    struct detect *detect = start(&bare);
    assert_false(detect_watches(detect, &open));
    assert_non_null(strstr(detect_flow_off(&meter), "no flow"));
    open.kind = ALERT_SENSOR_STUCK;
    assert_false(detect_watches(detect, &open));
    assert_non_null(strstr(detect_stuck_off(&meter), "pressure"));
    detect_free(detect);
    detect = start(&floats);
    assert_string_equal(detect_flow_off(&meter), "");
    assert_string_equal(detect_stuck_off(&meter), "");
    config.detect.sensor_stuck = false;
    assert_false(detect_watches(detect, &open));
    config.detect.sensor_stuck = true;
    detect_free(detect);
}

int main(void)
{
    random_start("test_detect_sensors");
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_flow_life),          cmocka_unit_test(test_flow_severities),
        cmocka_unit_test(test_flow_register_dead), cmocka_unit_test(test_flow_honest),
        cmocka_unit_test(test_flow_breaks),        cmocka_unit_test(test_stuck_life),
        cmocka_unit_test(test_stuck_needs_flow),   cmocka_unit_test(test_stuck_coarse),
        cmocka_unit_test(test_stuck_restart),      cmocka_unit_test(test_off),
    };
    return cmocka_run_group_tests(tests, set_up, NULL);
}
