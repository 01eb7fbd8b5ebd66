#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "drivers/channel.h"

#include <math.h>
#include <string.h>

static void test_contract_channels(void **state)
{
    (void)state;
    static const struct channel expected[] = {
        {"volume_base", "m3", CHANNEL_COUNTER},
        {"volume_measured", "m3", CHANNEL_COUNTER},
        {"volume_base_computed", "m3", CHANNEL_COUNTER},
        {"volume_disturbed", "m3", CHANNEL_COUNTER},
        {"flow_base", "m3/h", CHANNEL_GAUGE},
        {"flow_measured", "m3/h", CHANNEL_GAUGE},
        {"pressure", "kPa", CHANNEL_GAUGE},
        {"temperature", "degC", CHANNEL_GAUGE},
        {"air_temperature", "degC", CHANNEL_GAUGE},
        {"compressibility_ratio", "1", CHANNEL_GAUGE},
        {"conversion_factor", "1", CHANNEL_GAUGE},
        {"battery", "%", CHANNEL_GAUGE},
        {"balance", "m3", CHANNEL_EXACT},
        {"status", "", CHANNEL_BITS},
        {"meter_clock", "s", CHANNEL_EXACT},
        {"serial_number", "", CHANNEL_IDENTITY},
        {"energy_import", "kWh", CHANNEL_COUNTER},
        {"power", "kW", CHANNEL_GAUGE},
        {"water_volume", "m3", CHANNEL_COUNTER},
        {"heat_energy", "kWh", CHANNEL_COUNTER},
        {"steam_mass", "kg", CHANNEL_COUNTER},
        {"water_volume_net", "m3", CHANNEL_EXACT}, // falls with reverse flow: no counter
    };
    for (size_t i = 0; i < sizeof expected / sizeof expected[0]; i++) {
        const struct channel *channel = channel_find(expected[i].name);
        assert_non_null(channel);
        assert_string_equal(channel->unit, expected[i].unit);
        assert_int_equal(channel->kind, expected[i].kind);
    }
    assert_null(channel_find("volume"));
    assert_null(channel_find(""));
}

static void test_walk_finds_each_once(void **state)
{
    (void)state;
    int count = 0;
    for (; channel_at(count) != NULL; count++)
        assert_ptr_equal(channel_find(channel_at(count)->name), channel_at(count));
    assert_true(count > 40);
    assert_null(channel_at(-1));
    assert_null(channel_at(count));
}

static double convert(const char *channel, const char *unit, double value)
{
    struct unit_conversion conversion;
    if (channel_unit_conversion(channel_find(channel), unit, &conversion) != 0)
        return NAN;
    return value * decimal_to_double(conversion.factor) + decimal_to_double(conversion.offset);
}

static void check(const char *channel, const char *unit, double value, double expected)
{
    double got = convert(channel, unit, value);
    if (!(fabs(got - expected) <= 1e-12 * (1 + fabs(expected)))) {
        print_error("%s: %g %s gave %.17g, expected %.17g\n", channel, value, unit, got, expected);
        fail();
    }
}

static void test_gauge_units(void **state)
{
    (void)state;
    check("pressure", "kPa", 301.1, 301.1);
    check("pressure", "bar", 3.011, 301.1);
    check("pressure", "mbar", 1013.25, 101.325);
    check("pressure", "MPa", 0.4, 400);
    check("pressure", "psi", 14.5037737730209215, 100);
    check("pressure", "kgf/cm2", 1, 98.0665);
    check("temperature", "K", 293.15, 20);
    check("temperature", "degF", 68, 20);
    check("temperature", "degF", -40, -40);
    check("flow_base", "m3/s", 0.5, 1800);
    check("flow_base", "m3/d", 24, 1);
    check("flow_base", "l/s", 10, 36);
    check("flow_base", "l/min", 1000, 60);
    check("flow_base", "ft3/h", 1000, 28.316846592);
    check("flow_base", "ft3/min", 1, 1.69901079552);
    check("velocity", "km/h", 36, 10);
    check("power", "W", 2300, 2.3);
    check("power_factor", "%", 97, 0.97);
    check("battery", "1", 0.5, 50);
    check("frequency", "mHz", 50000, 50);
    check("steam_flow", "t/h", 1.5, 1500);
    check("mass_flow", "kg/s", 0.5, 1800);
    check("pressure_gauge", "bar", 7.25, 725);
    check("base_density", "g/m3", 717.5, 0.7175);
    assert_true(isnan(convert("pressure", "m3", 1)));
    assert_true(isnan(convert("pressure", "furlong", 1)));
    assert_true(isnan(convert("pressure", "", 1)));
    assert_true(isnan(convert("status", "", 1)));
    assert_true(isnan(convert("serial_number", "1", 1)));
}

// A counter is an exact decimal: its units are powers of ten of its own.
static void test_counter_units(void **state)
{
    (void)state;
    check("volume_base", "l", 1234, 1.234);
    check("volume_base", "km3", 2, 2000);
    check("energy_import", "Wh", 1500, 1.5);
    check("energy_import", "MWh", 1.5, 1500);
    check("steam_mass", "t", 1, 1000);
    assert_true(isnan(convert("volume_base", "ft3", 1)));
    assert_int_equal(isnan(convert("balance", "ft3", 1)) != 0, 0); // an exact gauge is no counter
    assert_true(isnan(convert("heat_energy", "GJ", 1)));
    for (int i = 0; channel_at(i) != NULL; i++) {
        const struct channel *channel = channel_at(i);
        int count = 0;
        for (; channel_unit_at(channel, count) != NULL; count++) {
            struct unit_conversion conversion;
            const char *unit = channel_unit_at(channel, count);
            assert_int_equal(channel_unit_conversion(channel, unit, &conversion), 0);
            assert_true(conversion.factor.mantissa > 0);
            assert_in_range(conversion.factor.exponent + 18, 0, 36);
            if (channel->kind == CHANNEL_COUNTER) {
                assert_int_equal(conversion.factor.mantissa, 1);
                assert_int_equal(conversion.offset.mantissa, 0);
            }
        }
        assert_int_equal(count > 0, channel->unit[0] != '\0');
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_contract_channels),
        cmocka_unit_test(test_walk_finds_each_once),
        cmocka_unit_test(test_gauge_units),
        cmocka_unit_test(test_counter_units),
    };
    return cmocka_run_group_tests_name("drivers/channel", tests, NULL, NULL);
}
