#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "drivers/channel.h"
#include "drivers/simulator/channel_source.h"

#include "property.h"

#include <math.h>
#include <string.h>

#define HOUR_MS INT64_C(3600000)
#define DAY_MS (24 * HOUR_MS)
// Monday, 2026-11-23, 00:00 at +08:00.
#define MONDAY_MS (INT64_C(1795392000000) - 8 * HOUR_MS)

static struct model_calendar calendar = {.utc_offset_min = 480};

static struct model_settings settings_of(uint64_t seed, enum pattern pattern)
{
    return (struct model_settings){
        .seed = seed,
        .pattern = pattern,
        .capacity = 160,
        .load = 0.7,
        .supply_kpa = 300,
        .base_pressure_kpa = 101.325,
        .base_temperature_c = 20,
        .calendar = &calendar,
    };
}

static struct model_values values_at(const struct model_settings *settings, int64_t at_ms)
{
    struct model_state state;
    struct model_values values;
    model_start(&state, MONDAY_MS, 0, 0);
    model_values(settings, &state, at_ms, &values);
    return values;
}

static double flow_at(const struct model_settings *settings, int64_t at_ms)
{
    return (double)values_at(settings, at_ms).flow_measured_micro / 1e6;
}

// The counter is the sum of flow x time, to the last micro unit.
static void test_counter_is_the_integral(void **state)
{
    (void)state;
    for (int round = 0; round < 20; round++) {
        struct model_settings settings = settings_of(random_u64(), PATTERN_TWO_SHIFT);
        struct model_state meter;
        int64_t from_ms = MONDAY_MS + random_between(0, 7 * DAY_MS);
        model_start(&meter, from_ms, 5000000, 7000000);
        int64_t seconds = random_between(1, 4000);
        int64_t measured = 0; // micro x ms / h
        int64_t base = 0;
        int64_t at_ms = from_ms;
        int64_t end_ms = from_ms + seconds * 1000;
        while (at_ms < end_ms) {
            int64_t next_ms = (at_ms / 1000 + 1) * 1000;
            next_ms = next_ms < end_ms ? next_ms : end_ms;
            struct model_values values = values_at(&settings, at_ms);
            measured += values.flow_measured_micro * (next_ms - at_ms);
            base += values.flow_base_micro * (next_ms - at_ms);
            at_ms = next_ms;
        }
        model_advance(&settings, &meter, end_ms);
        assert_int_equal(meter.measured.micro, 5000000 + measured / HOUR_MS);
        assert_int_equal(meter.base.micro, 7000000 + base / HOUR_MS);
        assert_true(measured > 0);
    }
}

// How often somebody asks changes nothing.
static void test_steps_do_not_matter(void **state)
{
    (void)state;
    struct model_settings settings = settings_of(42, PATTERN_TWO_SHIFT);
    struct model_state once;
    struct model_state often;
    int64_t from_ms = MONDAY_MS + 9 * HOUR_MS + 123;
    model_start(&once, from_ms, 0, 0);
    model_start(&often, from_ms, 0, 0);
    for (int64_t at_ms = from_ms; at_ms < from_ms + HOUR_MS;) {
        at_ms += random_between(-500, 2500); // backwards too: time that does not pass
        model_advance(&settings, &often, at_ms);
    }
    model_advance(&settings, &once, often.at_ms);
    assert_int_equal(once.measured.micro, often.measured.micro);
    assert_int_equal(once.measured.rest, often.measured.rest);
    assert_int_equal(once.base.micro, often.base.micro);
}

static void test_constant_flow_is_exact(void **state)
{
    (void)state;
    struct model_settings settings = settings_of(1, PATTERN_CONSTANT);
    struct model_state meter;
    model_start(&meter, MONDAY_MS, 0, 0);
    model_advance(&settings, &meter, MONDAY_MS + 90 * 60000);
    assert_int_equal(meter.measured.micro, INT64_C(168000000)); // 112 m3/h x 1.5 h
    meter.reverse = true;
    model_advance(&settings, &meter, MONDAY_MS + 120 * 60000);
    assert_int_equal(meter.measured.micro, INT64_C(112000000));
    meter.reverse = false;
    meter.flow_measured = 0;
    model_advance(&settings, &meter, MONDAY_MS + DAY_MS);
    assert_int_equal(meter.measured.micro, INT64_C(112000000));
}

static int64_t day_total(struct model_settings *settings, int day)
{
    struct model_state meter;
    model_start(&meter, MONDAY_MS + day * DAY_MS, 0, 0);
    model_advance(settings, &meter, MONDAY_MS + (day + 1) * DAY_MS);
    return meter.measured.micro;
}

static void test_weekend_and_holidays_are_lower(void **state)
{
    (void)state;
    struct model_settings settings = settings_of(7, PATTERN_TWO_SHIFT);
    int64_t wednesday = day_total(&settings, 2);
    int64_t saturday = day_total(&settings, 5);
    int64_t sunday = day_total(&settings, 6);
    assert_true(saturday < wednesday / 3);
    assert_true(sunday < saturday / 2);
    assert_true(sunday > 0);
    calendar.holiday_count = 1;
    calendar.holidays[0] = (MONDAY_MS + 2 * DAY_MS + 8 * HOUR_MS) / DAY_MS;
    int64_t holiday = day_total(&settings, 2);
    int64_t thursday = day_total(&settings, 3);
    calendar.holiday_count = 0;
    assert_true(holiday < wednesday / 10);
    assert_true(thursday > wednesday / 2);
}

static void test_shifts_and_lunch(void **state)
{
    (void)state;
    struct model_settings settings = settings_of(9, PATTERN_TWO_SHIFT);
    double night = flow_at(&settings, MONDAY_MS + 3 * HOUR_MS);
    double morning = flow_at(&settings, MONDAY_MS + 10 * HOUR_MS);
    double lunch = flow_at(&settings, MONDAY_MS + 12 * HOUR_MS);
    double evening = flow_at(&settings, MONDAY_MS + 20 * HOUR_MS);
    double late = flow_at(&settings, MONDAY_MS + 23 * HOUR_MS);
    assert_true(night < 0.1 * morning);
    assert_true(late < 0.1 * morning);
    assert_true(lunch < 0.6 * morning && lunch > 0.4 * morning);
    assert_true(evening > 0.7 * morning);
    assert_true(morning < 160 && morning > 100);
    // It never leaves the range of the meter.
    for (int64_t at_ms = MONDAY_MS; at_ms < MONDAY_MS + 7 * DAY_MS; at_ms += 60000) {
        double flow = flow_at(&settings, at_ms);
        assert_true(flow >= 0 && flow < 0.7 * 160 * 1.05);
    }
}

static void test_pressure_dips_with_flow(void **state)
{
    (void)state;
    struct model_settings settings = settings_of(11, PATTERN_TWO_SHIFT);
    double idle = 0;
    double busy = 0;
    for (int minute = 0; minute < 60; minute++) {
        idle += values_at(&settings, MONDAY_MS + 2 * HOUR_MS + minute * 60000).pressure_kpa / 60;
        busy += values_at(&settings, MONDAY_MS + 9 * HOUR_MS + minute * 60000).pressure_kpa / 60;
    }
    assert_true(idle > 300 && idle < 306);
    assert_true(busy < 294 && busy > 285);
}

static void test_temperature_follows_day_and_season(void **state)
{
    (void)state;
    struct model_settings settings = settings_of(13, PATTERN_OFF);
    int64_t july_ms = MONDAY_MS - 130 * DAY_MS;
    int64_t january_ms = MONDAY_MS + 55 * DAY_MS;
    double july = values_at(&settings, july_ms + 12 * HOUR_MS).temperature_c;
    double january = values_at(&settings, january_ms + 12 * HOUR_MS).temperature_c;
    assert_true(july > january + 9);
    assert_true(january > 5 && july < 25);
    double dawn = values_at(&settings, july_ms + 4 * HOUR_MS).air_temperature_c;
    double afternoon = values_at(&settings, july_ms + 15 * HOUR_MS).air_temperature_c;
    assert_true(afternoon > dawn + 3);
}

static void test_heating_follows_the_cold(void **state)
{
    (void)state;
    struct model_settings settings = settings_of(17, PATTERN_HEATING);
    double july = flow_at(&settings, MONDAY_MS - 130 * DAY_MS + 15 * HOUR_MS);
    double january = flow_at(&settings, MONDAY_MS + 55 * DAY_MS + 4 * HOUR_MS);
    assert_true(january > 5 * july);
}

// flow_base is flow_measured x conversion factor, and the factor is the one of the equation.
static void test_conversion(void **state)
{
    (void)state;
    struct model_settings settings = settings_of(19, PATTERN_TWO_SHIFT);
    for (int round = 0; round < 1000; round++) {
        struct model_values values =
            values_at(&settings, MONDAY_MS + random_between(0, 365 * DAY_MS));
        double factor = values.pressure_kpa / 101.325 * 293.15 / (values.temperature_c + 273.15) /
                        values.compressibility_ratio;
        assert_true(fabs(values.conversion_factor - factor) < 1e-12);
        double base = (double)values.flow_measured_micro * values.conversion_factor;
        assert_true(fabs((double)values.flow_base_micro - base) <= 1);
        assert_true(values.compressibility_ratio > 0.98 && values.compressibility_ratio < 1.001);
    }
}

static void test_seed_decides(void **state)
{
    (void)state;
    struct model_settings a = settings_of(1, PATTERN_TWO_SHIFT);
    struct model_settings b = settings_of(2, PATTERN_TWO_SHIFT);
    int64_t at_ms = MONDAY_MS + 10 * HOUR_MS;
    struct model_values one = values_at(&a, at_ms);
    struct model_values same = values_at(&a, at_ms);
    assert_memory_equal(&one, &same, sizeof one);
    assert_int_not_equal(one.flow_measured_micro, values_at(&b, at_ms).flow_measured_micro);
}

// Every number channel that a profile can have shows something, and electricity fits together.
static void test_every_channel_has_a_source(void **state)
{
    (void)state;
    const struct channel *channel = NULL;
    int count = 0;
    for (int i = 0; (channel = channel_at(i)) != NULL; i++) {
        if (channel->kind != CHANNEL_BITS && channel->kind != CHANNEL_IDENTITY &&
            !source_knows(channel->name))
            fail_msg("%s has no row in channel_source.c", channel->name);
        count++;
    }
    assert_true(count > 20);
    struct model_settings settings = settings_of(3, PATTERN_CONSTANT);
    struct model_state meter;
    model_start(&meter, MONDAY_MS, 0, 0);
    model_advance(&settings, &meter, MONDAY_MS + HOUR_MS);
    struct model_values values = values_at(&settings, MONDAY_MS);
    double power = source_gauge("power_l1", &settings, &meter, &values, MONDAY_MS);
    double volts = source_gauge("voltage_l1", &settings, &meter, &values, MONDAY_MS);
    double amperes = source_gauge("current_l1", &settings, &meter, &values, MONDAY_MS);
    double factor = source_gauge("power_factor_l1", &settings, &meter, &values, MONDAY_MS);
    assert_true(fabs(volts * amperes * factor / 1000 - power) < 1e-9 * power);
    int64_t phases = source_counter("energy_import_l1", &meter) +
                     source_counter("energy_import_l2", &meter) +
                     source_counter("energy_import_l3", &meter);
    assert_int_equal(source_counter("energy_import", &meter), INT64_C(112000000));
    assert_true(llabs(phases - INT64_C(112000000)) <= 3);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_counter_is_the_integral),
        cmocka_unit_test(test_steps_do_not_matter),
        cmocka_unit_test(test_constant_flow_is_exact),
        cmocka_unit_test(test_weekend_and_holidays_are_lower),
        cmocka_unit_test(test_shifts_and_lunch),
        cmocka_unit_test(test_pressure_dips_with_flow),
        cmocka_unit_test(test_temperature_follows_day_and_season),
        cmocka_unit_test(test_heating_follows_the_cold),
        cmocka_unit_test(test_conversion),
        cmocka_unit_test(test_seed_decides),
        cmocka_unit_test(test_every_channel_has_a_source),
    };
    random_start("test_simulator_model");
    return cmocka_run_group_tests_name("simulator/site_model", tests, NULL, NULL);
}
