// conversion-mismatch: a corrector that converts otherwise than its pressure and temperature say.
// The honest factor is computed here from the textbook formula with Z of a fixed ratio, or from a
// published conversion (ISO gas 1, vb_vectors.csv), not by the code under test.
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
#define RATIO 0.98 // Z/Zb
#define CHANNELS 5

enum { MEASURED, BASE, TEMPERATURE, PRESSURE, ATMOSPHERE };

static struct profile absolute_profile, gauge_profile, air_profile, bare_profile;
static struct meter meter;
static struct config_link site_link;
static struct config config;

static void add_channel(struct profile *profile, const char *name)
{
    struct profile_channel *channel = &profile->channels[profile->channel_count++];
    channel->channel = channel_find(name);
    assert_non_null(channel->channel);
    if (channel->channel->kind != CHANNEL_COUNTER)
        return;
    channel->part_count = 1; // a count is 0.01 m3
    channel->parts[0] = (struct part){.scale = {1, -2}, .scale_field = -1};
    channel->conversion.factor = (struct decimal){1, 0};
}

static void make_profile(struct profile *profile, const char *pressure, bool air)
{
    profile->field_count = 1;
    profile->fields[0].type = RAW_U32;
    add_channel(profile, "volume_measured");
    add_channel(profile, "volume_base");
    add_channel(profile, "temperature");
    if (pressure != NULL)
        add_channel(profile, pressure);
    if (air)
        add_channel(profile, "atmospheric_pressure");
}

static int set_up(void **state)
{
    (void)state;
    make_profile(&absolute_profile, "pressure", false);
    make_profile(&gauge_profile, "pressure_gauge", false);
    make_profile(&air_profile, "pressure_gauge", true);
    make_profile(&bare_profile, NULL, false);
    strcpy(meter.id, "m1");
    meter.interval_s = 60;
    config = (struct config){.references = 1000000,
                             .links = &site_link,
                             .link_count = 1,
                             .meters = &meter,
                             .meter_count = 1,
                             .detect = {.conversion_mismatch = true}};
    return 0;
}

static struct config_gas fixed_gas(void)
{
    return (struct config_gas){.method = GAS_FIXED,
                               .base_pressure_kpa = 101.325,
                               .base_temperature_c = 20,
                               .compressibility_ratio = RATIO,
                               .heating_value_reference = "25/0",
                               .altitude_m = (double)NAN};
}

// ---- a corrector --------------------------------------------------------------------------------

// What a simulated one shows.
struct corrected {
    int64_t at_ms;
    double measured, base; // m3, as it counts inside
    double kpa, celsius;   // as it shows them
    double air_kpa;
    double error; // of its factor: 0.02 is 2 % too much
    bool begins;
};

static double honest(double kpa, double celsius)
{
    return kpa / 101.325 * 293.15 / (celsius + 273.15) / RATIO;
}

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

static void feed(struct detect *detect, const struct corrected *shown, bool stored)
{
    struct reading *reading = calloc(1, sizeof *reading + CHANNELS * sizeof(struct value));
    assert_non_null(reading);
    reading->meter = &meter;
    reading->due_ms = reading->at_ms = shown->at_ms;
    reading->answered = true;
    reading->begins = shown->begins;
    reading->value_count = meter.profile->channel_count;
    for (int i = 0; i < CHANNELS; i++)
        reading->values[i].present = true;
    reading->values[MEASURED].micro = (int64_t)floor(shown->measured * 100) * 10000;
    reading->values[BASE].micro = (int64_t)floor(shown->base * 100) * 10000;
    reading->values[TEMPERATURE].number = shown->celsius;
    reading->values[PRESSURE].number = shown->kpa;
    reading->values[ATMOSPHERE].number = shown->air_kpa;
    detect_feed(detect, 0, reading, stored ? NULL : record_change, &seen);
    free(reading);
}

// Runs it for `minutes` with a flow at line conditions.
static void run(struct detect *detect, struct corrected *shown, int minutes, double flow_m3_h)
{
    for (int i = 0; i < minutes; i++) {
        double volume = flow_m3_h / 60;
        double absolute = shown->kpa + shown->air_kpa;
        shown->measured += volume;
        shown->base += volume * honest(absolute, shown->celsius) * (1 + shown->error);
        shown->at_ms += MINUTE_MS;
        feed(detect, shown, false);
    }
}

static struct corrected corrected_at(double kpa, double celsius, double error)
{
    return (struct corrected){.at_ms = T0,
                              .measured = 1000,
                              .base = 4000,
                              .kpa = kpa,
                              .celsius = celsius,
                              .error = error};
}

static struct detect *start(const struct profile *profile, struct config_gas gas)
{
    meter.profile = (struct profile *)(uintptr_t)profile;
    meter.gas = gas;
    seen.count = 0;
    struct detect *detect = detect_new(&config);
    assert_non_null(detect);
    return detect;
}

static void expect(int i, enum alert_state state, enum alert_severity severity)
{
    assert_true(i < seen.count);
    assert_int_equal(seen.list[i].kind, ALERT_CONVERSION_MISMATCH);
    assert_int_equal(seen.list[i].state, state);
    assert_int_equal(seen.list[i].severity, severity);
    assert_string_equal(seen.list[i].subject, "m1");
}

// ---- the tests ----------------------------------------------------------------------------------

static void test_life(void **state)
{
    (void)state;
    struct detect *detect = start(&absolute_profile, fixed_gas());
    struct corrected shown = corrected_at(301.5, 15, 0.02);
    feed(detect, &shown, false);
    run(detect, &shown, 59, 100);
    assert_int_equal(seen.count, 0);
    run(detect, &shown, 1, 100);
    assert_int_equal(seen.count, 1);
    expect(0, ALERT_OPEN, SEVERITY_MAJOR);
    const struct evidence *evidence = &seen.list[0].evidence;
    double due = honest(301.5, 15);
    assert_true(fabs(evidence->observed - 1.02 * due) < 0.001 * due);
    assert_true(fabs(evidence->expected_low - 0.995 * due) < 1e-4);
    assert_true(fabs(evidence->expected_high - 1.005 * due) < 1e-4);
    assert_int_equal(evidence->from_ms, T0);
    assert_int_equal(evidence->to_ms, T0 + HOUR_MS);
    assert_non_null(strstr(evidence->rule, "Vb/Vm 3.15"));
    assert_non_null(strstr(evidence->rule, ", from p, T and gas 3.089: +"));
    assert_non_null(strstr(evidence->rule, " % in 1 h"));
    run(detect, &shown, 60, 100); // no second one
    assert_int_equal(seen.count, 1);
    shown.error = 0;
    run(detect, &shown, 60, 100);
    assert_int_equal(seen.count, 2);
    expect(1, ALERT_CLOSED, SEVERITY_MAJOR);
    detect_free(detect);
}

static void test_severities(void **state)
{
    (void)state;
    static const struct {
        double error;
        int severity; // 0: no alert
    } rows[] = {{0, 0},
                {0.0045, 0},
                {-0.0045, 0},
                {0.007, SEVERITY_MINOR},
                {-0.007, SEVERITY_MINOR},
                {0.013, SEVERITY_MAJOR},
                {-0.013, SEVERITY_MAJOR}};
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        struct detect *detect = start(&absolute_profile, fixed_gas());
        struct corrected shown = corrected_at(500, 5, rows[i].error);
        feed(detect, &shown, false);
        run(detect, &shown, 60, 200);
        assert_int_equal(seen.count, rows[i].severity != 0);
        if (rows[i].severity != 0)
            expect(0, ALERT_OPEN, (enum alert_severity)rows[i].severity);
        detect_free(detect);
    }
    struct detect *detect = start(&absolute_profile, fixed_gas());
    struct corrected shown = corrected_at(500, 5, 0.007);
    feed(detect, &shown, false);
    run(detect, &shown, 60, 200);
    shown.error = 0.03;
    run(detect, &shown, 60, 200);
    assert_int_equal(seen.count, 2);
    expect(1, ALERT_UPDATED, SEVERITY_MAJOR);
    detect_free(detect);
}

// Less than 100 counts in an hour: only the day says something, and only a day closes it.
static void test_small_flow(void **state)
{
    (void)state;
    struct detect *detect = start(&absolute_profile, fixed_gas());
    struct corrected shown = corrected_at(301.5, 15, 0.05);
    feed(detect, &shown, false);
    run(detect, &shown, 24 * 60 - 1, 0.9);
    assert_int_equal(seen.count, 0);
    run(detect, &shown, 1, 0.9);
    assert_int_equal(seen.count, 1);
    expect(0, ALERT_OPEN, SEVERITY_MAJOR);
    assert_non_null(strstr(seen.list[0].evidence.rule, "in 24 h"));
    struct alert_change open = seen.list[0];
    shown.error = 0;
    run(detect, &shown, 120, 100);
    assert_int_equal(seen.count, 1);
    run(detect, &shown, 22 * 60, 100);
    assert_int_equal(seen.count, 2);
    expect(1, ALERT_CLOSED, SEVERITY_MAJOR);
    detect_free(detect);
    // the same after a restart
    detect = start(&absolute_profile, fixed_gas());
    assert_true(detect_watches(detect, &open));
    detect_restore(detect, &open);
    feed(detect, &shown, true);
    run(detect, &shown, 24 * 60 - 1, 100);
    assert_int_equal(seen.count, 0);
    run(detect, &shown, 1, 100);
    expect(0, ALERT_CLOSED, SEVERITY_MAJOR);
    assert_int_equal(seen.list[0].since_ms, open.since_ms);
    detect_free(detect);
}

// Honest ones whose pressure and temperature move, at flows whose counts are few: no alert ever.
static void test_honest(void **state)
{
    (void)state;
    for (int life = 0; life < 200; life++) {
        struct detect *detect = start(&absolute_profile, fixed_gas());
        struct corrected shown = corrected_at(150 + (double)random_between(0, 3000), 10, 0);
        feed(detect, &shown, false);
        for (int i = 0; i < 300; i++) {
            shown.kpa *= 1 + 0.002 * (double)random_between(-10, 10) / 10;
            shown.celsius += 0.1 * (double)random_between(-10, 10) / 10;
            run(detect, &shown, 1, (double)random_between(0, 300) / 10);
        }
        assert_int_equal(seen.count, 0);
        detect_free(detect);
    }
}

// What must not count: an exchange, a counter that stands lower, a rest, a state outside the range.
static void test_breaks(void **state)
{
    (void)state;
    struct detect *detect = start(&absolute_profile, fixed_gas());
    struct corrected shown = corrected_at(301.5, 15, 0);
    feed(detect, &shown, false);
    for (int i = 0; i < 200; i++) {
        run(detect, &shown, 10, 60);
        switch (i % 4) {
        case 0: shown.base += 500, shown.begins = true; break;
        case 1: shown.base -= 50, shown.measured -= 1; break;
        case 2: shown.base += 70, shown.at_ms += 6 * MINUTE_MS; break;
        default: shown.base += 30, shown.kpa = -5; break;
        }
        shown.at_ms += MINUTE_MS;
        feed(detect, &shown, false);
        shown.begins = false;
        shown.kpa = 301.5;
        if (i % 4 == 3) { // the way out of it counts as little as the way in
            shown.base += 20;
            shown.at_ms += MINUTE_MS;
            feed(detect, &shown, false);
        }
    }
    assert_int_equal(seen.count, 0);
    detect_free(detect);
}

static void test_gauge(void **state)
{
    (void)state;
    struct config_gas gas = fixed_gas();
    struct detect *detect = start(&gauge_profile, gas);
    struct alert_change open = {.kind = ALERT_CONVERSION_MISMATCH, .subject = "m1"};
    assert_false(detect_watches(detect, &open)); // nobody says how much air there is
    assert_non_null(strstr(detect_conversion_off(&meter), "altitude_m"));
    detect_free(detect);
    gas.altitude_m = 253;
    for (int i = 0; i < 2; i++) {
        detect = start(i == 0 ? &gauge_profile : &air_profile, gas);
        assert_true(detect_watches(detect, &open));
        assert_string_equal(detect_conversion_off(&meter), "");
        struct corrected shown = corrected_at(200, 15, 0);
        shown.air_kpa = 98.564;
        feed(detect, &shown, false);
        run(detect, &shown, 60, 100);
        assert_int_equal(seen.count, 0);
        shown.error = 0.02;
        run(detect, &shown, 60, 100);
        expect(0, ALERT_OPEN, SEVERITY_MAJOR);
        detect_free(detect);
    }
    detect = start(&bare_profile, gas);
    assert_false(detect_watches(detect, &open));
    assert_non_null(strstr(detect_conversion_off(&meter), "pressure"));
    detect_free(detect);
}

// ISO gas 1 at 4 bar and 25 degC: C is 3.9029696 at 20 degC and 3.6346601 at 0 degC, a corrector
// whose base temperature is wrong.
static void test_published(void **state)
{
    (void)state;
    static const double factors[] = {3.9029696, 3.6346601};
    struct config_gas gas = {.base_pressure_kpa = 101.325,
                             .base_temperature_c = 20,
                             .heating_value_mj_m3 = 40.66,
                             .heating_value_reference = "25/0",
                             .relative_density = 0.581,
                             .co2_mol_percent = 0.6};
    for (int i = 0; i < 2; i++) {
        struct detect *detect = start(&absolute_profile, gas);
        struct corrected shown = corrected_at(400, 25, factors[i] / honest(400, 25) - 1);
        feed(detect, &shown, false);
        run(detect, &shown, 60, 100);
        assert_int_equal(seen.count, i);
        if (i == 1) {
            expect(0, ALERT_OPEN, SEVERITY_MAJOR);
            assert_non_null(strstr(seen.list[0].evidence.rule, ": -6.8"));
        }
        detect_free(detect);
    }
}

int main(void)
{
    random_start("test_detect_corrector");
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_life),       cmocka_unit_test(test_severities),
        cmocka_unit_test(test_small_flow), cmocka_unit_test(test_honest),
        cmocka_unit_test(test_breaks),     cmocka_unit_test(test_gauge),
        cmocka_unit_test(test_published),
    };
    return cmocka_run_group_tests(tests, set_up, NULL);
}
