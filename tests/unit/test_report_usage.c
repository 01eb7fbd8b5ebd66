// What a report says of meters: figures out of periods, and nothing out of what is missing.
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "base/decimal.h"
#include "report/energy.h"
#include "report/usage.h"

#include "property.h"

#include <math.h>
#include <string.h>

#define H INT64_C(3600000)
#define DAY (24 * H)
#define FROM INT64_C(1793484000000) // 2026-11-01 06:00 in Shanghai, a Sunday

static struct gas_calendar calendar;

static int calendar_setup(void **state)
{
    struct err err;
    (void)state;
    return gas_calendar_init(&calendar, "Asia/Shanghai", 360, &err);
}

static struct period *period_of(enum span span, int64_t from_ms, int64_t to_ms, int64_t start,
                                int64_t end)
{
    static struct period period;
    period = (struct period){.span = span,
                             .version = 1,
                             .from_ms = from_ms,
                             .to_ms = to_ms,
                             .expected = 60,
                             .good = 60,
                             .channel_count = 1};
    struct period_channel *channel = &period.channels[0];
    *channel = (struct period_channel){.kind = CHANNEL_COUNTER,
                                       .start_known = start >= 0,
                                       .end_known = end >= 0,
                                       .start_quality = start >= 0 ? 0 : QUALITY_MISSING,
                                       .end_quality = end >= 0 ? 0 : QUALITY_MISSING,
                                       .start_micro = start,
                                       .end_micro = end};
    strcpy(channel->name, "volume_base");
    period_judge(&period);
    return &period;
}

// The sum of a month is that of its days, whatever they are, and that of its known hours.
static void test_sums_are_exact(void **state)
{
    (void)state;
    for (int run = 0; run < 20; run++) {
        struct usage usage;
        int64_t index = random_between(0, INT64_C(9000000000000000000));
        int64_t begin = index;
        int64_t peak = -1;
        int64_t peak_ms = 0;
        static struct period days[30];
        static struct period hours[720];
        usage_init(&usage, &calendar, SPAN_DAY, FROM, FROM + 30 * DAY);
        for (int day = 0; day < 30; day++) {
            int64_t of_day = index;
            for (int hour = 0; hour < 24; hour++) {
                int64_t step = random_between(0, INT64_C(200000000));
                int64_t from = FROM + day * DAY + hour * H;
                hours[24 * day + hour] = *period_of(SPAN_HOUR, from, from + H, index, index + step);
                index += step;
                if (step > peak) {
                    peak = step;
                    peak_ms = from;
                }
            }
            days[day] =
                *period_of(SPAN_DAY, FROM + day * DAY, FROM + (day + 1) * DAY, of_day, index);
        }
        if (run % 2 == 0)
            usage_add(&usage, period_of(SPAN_MONTH, FROM, FROM + 30 * DAY, begin, index), true);
        for (int i = 0; i < 30; i++)
            usage_add(&usage, &days[i], false);
        for (int i = 0; i < 720; i++)
            usage_add(&usage, &hours[i], false);
        assert_true(usage.closed && !usage.holes && usage.counters[0].known);
        assert_int_equal(usage.counters[0].volume_micro, index - begin);
        assert_int_equal(usage.hours.micro, index - begin);
        assert_int_equal(usage.hours.known, 720);
        assert_int_equal(usage.hours.peak_micro, peak);
        assert_int_equal(usage.hours.peak_from_ms, peak_ms);
        int64_t by_hour = 0;
        int64_t by_weekday = 0;
        int64_t by_part = 0;
        for (int i = 0; i < 24; i++) {
            by_hour += usage.of_hour[i].micro;
            assert_int_equal(usage.of_hour[i].known, 30);
        }
        for (int i = 0; i < 7; i++) {
            by_weekday += usage.of_weekday[i].micro;
            assert_int_equal(usage.of_weekday[i].known, i == 0 || i == 6 ? 5 : 4);
        }
        for (int i = 0; i < usage.part_count; i++)
            by_part += usage.parts[i].counters[0].micro;
        assert_int_equal(by_hour, index - begin);
        assert_int_equal(by_weekday, index - begin);
        assert_int_equal(by_part, index - begin);
    }
}

static void test_an_open_month_reaches_its_newest_hour(void **state)
{
    (void)state;
    struct usage usage;
    usage_init(&usage, &calendar, SPAN_DAY, FROM, FROM + 30 * DAY);
    usage_add(&usage, period_of(SPAN_DAY, FROM, FROM + DAY, 100, 500), false);
    for (int hour = 0; hour < 24; hour++)
        usage_add(&usage, period_of(SPAN_HOUR, FROM + hour * H, FROM + (hour + 1) * H, 100, 100),
                  false);
    usage_add(&usage, period_of(SPAN_HOUR, FROM + DAY, FROM + DAY + H, 500, 512), false);
    usage_add(&usage, period_of(SPAN_HOUR, FROM + DAY + H, FROM + DAY + 2 * H, 512, 530), false);
    assert_false(usage.closed);
    assert_int_equal(usage.reached_ms, FROM + DAY + 2 * H);
    assert_true(usage.counters[0].known);
    assert_int_equal(usage.counters[0].start_micro, 100);
    assert_int_equal(usage.counters[0].end_micro, 530);
    assert_int_equal(usage.counters[0].volume_micro, 430);
    assert_int_equal(usage.expected, 180); // the day and two hours: no read twice
    assert_int_equal(usage.part_count, 1);
}

static void test_nothing_missing_is_zero(void **state)
{
    (void)state;
    struct usage usage;
    usage_init(&usage, &calendar, SPAN_HOUR, FROM, FROM + DAY);
    assert_int_equal(usage_load_factor(&usage.hours), -1);
    usage_add(&usage, period_of(SPAN_HOUR, FROM, FROM + H, 100, -1), false);
    assert_int_equal(usage.hours.unknown, 1);
    assert_int_equal(usage.hours.known, 0);
    assert_false(usage.parts[0].counters[0].known);
    assert_false(usage.counters[0].known);
    usage_add(&usage, period_of(SPAN_HOUR, FROM + H, FROM + 2 * H, -1, 180), false);
    assert_true(usage.counters[0].known); // both ends are: 80 flowed, in which hour is not known
    assert_int_equal(usage.counters[0].volume_micro, 80);
    assert_int_equal(usage.hours.unknown, 2);
    assert_int_equal(usage.hours.of_quality[QUALITY_MISSING], 2);
    assert_int_equal(usage_load_factor(&usage.hours), -1);
    // an hour is not in the store: what the counters did in it nobody knows
    usage_add(&usage, period_of(SPAN_HOUR, FROM + 3 * H, FROM + 4 * H, 200, 210), false);
    assert_true(usage.holes);
    assert_false(usage.counters[0].known);
}

static void test_an_exchange_is_no_gas(void **state)
{
    (void)state;
    struct usage usage;
    usage_init(&usage, &calendar, SPAN_HOUR, FROM, FROM + DAY);
    struct period hour = *period_of(SPAN_HOUR, FROM, FROM + H, 900000, 30);
    hour.channels[0].exchanged = hour.channels[0].jump_known = true;
    hour.channels[0].jump_micro = 5 - 900100; // 100 on the old one, 5 to 30 on the new one
    usage_add(&usage, &hour, false);
    usage_add(&usage, period_of(SPAN_HOUR, FROM + H, FROM + 2 * H, 30, 35), false);
    assert_true(usage.counters[0].known && usage.counters[0].exchanged);
    assert_int_equal(usage.counters[0].volume_micro, 100 + 25 + 5);
    assert_int_equal(usage.hours.peak_micro, 125);
}

static void test_load_factor_is_rounded_half_to_even(void **state)
{
    (void)state;
    const struct usage_hours even = {.known = 1, .micro = 1, .length_ms = H, .peak_micro = 20000};
    assert_int_equal(usage_load_factor(&even), 0); // 0.5
    const struct usage_hours up = {.known = 1, .micro = 3, .length_ms = H, .peak_micro = 20000};
    assert_int_equal(usage_load_factor(&up), 2); // 1.5
    const struct usage_hours large = {.known = 2,
                                      .micro = INT64_C(9000000000000000000),
                                      .length_ms = 2 * H,
                                      .peak_micro = INT64_C(9000000000000000000)};
    assert_int_equal(usage_load_factor(&large), 5000);
    const struct usage_hours none = {.known = 5, .length_ms = 5 * H};
    assert_int_equal(usage_load_factor(&none), -1);
}

static void test_a_site_peaks_together(void **state)
{
    (void)state;
    struct usage_total site = {.counter = "volume_base"};
    struct usage meters[2];
    // 10 + 1, 2 + 8, 9 + unknown
    const int64_t steps[3][2] = {{10, 1}, {2, 8}, {9, -1}};
    int64_t index[2] = {1000, 5000};
    for (int m = 0; m < 2; m++)
        usage_init(&meters[m], &calendar, SPAN_HOUR, FROM, FROM + DAY);
    for (int hour = 0; hour < 3; hour++)
        for (int m = 0; m < 2; m++) {
            bool known = steps[hour][m] >= 0;
            const struct period *period =
                period_of(SPAN_HOUR, FROM + hour * H, FROM + (hour + 1) * H, index[m],
                          known ? index[m] + steps[hour][m] : -1);
            index[m] += known ? steps[hour][m] : 0;
            usage_add(&meters[m], period, false);
            usage_total_hour(&site, period, &period->channels[0]);
        }
    for (int m = 0; m < 2; m++)
        usage_total_meter(&site, &meters[m]);
    usage_total_end(&site);
    assert_int_equal(site.hours.peak_micro, 11);
    assert_int_equal(site.hours.peak_from_ms, FROM);
    assert_int_equal(site.hours.known, 2);
    assert_int_equal(site.hours.unknown, 1);
    assert_int_equal(site.hours.micro, 21);
    assert_int_equal(site.open, 2);
    assert_int_equal(site.sums[0].known, 1); // of the other one the end is not known
    assert_int_equal(site.sums[0].unknown, 1);
    assert_int_equal(site.sums[0].micro, 21);
    assert_int_equal(site.expected, 6 * 60);
    assert_int_equal(site.of_hour[6].micro, 11); // FROM is at 06:00
    assert_int_equal(site.of_hour[8].micro, 9);  // of one meter, and one more that is not known
    assert_int_equal(site.of_hour[8].unknown, 1);
}

static void test_a_change_is_rounded_or_not_told(void **state)
{
    (void)state;
    int64_t change = 77;
    assert_true(usage_change(150, 100, &change) && change == 5000);
    assert_true(usage_change(97, 100, &change) && change == -300);
    assert_true(usage_change(0, 100, &change) && change == -10000);
    assert_true(usage_change(20001, 20000, &change) && change == 0);  // 0.5
    assert_true(usage_change(20003, 20000, &change) && change == 2);  // 1.5
    assert_true(usage_change(19997, 20000, &change) && change == -2); // -1.5
    int64_t large = INT64_C(9000000000000000000);
    assert_true(usage_change(large, large / 3, &change) && change == 20000);
    change = 77;
    assert_false(usage_change(5, 0, &change)); // nothing before: no percentage
    assert_false(usage_change(large, 1, &change));
    assert_int_equal(change, 77);
}

static void test_energy_is_exact_but_for_one_rounding(void **state)
{
    (void)state;
    int64_t energy = 77;
    assert_true(energy_of(INT64_C(1000000), INT64_C(37863215), &energy) && energy == 37863215);
    assert_true(energy_of(1, 500000, &energy) && energy == 0); // 0.5
    assert_true(energy_of(3, 500000, &energy) && energy == 2); // 1.5
    assert_true(energy_of(-3, 500000, &energy) && energy == -2);
    assert_true(energy_of(1, 500001, &energy) && energy == 1);
    // 9007199254.740993 m3 x 40.123457 MJ/m3 = 361403971950.5…: by hand in parts
    int64_t volume = INT64_C(9007199254740993);
    int64_t value = 40123457;
    assert_true(energy_of(volume, value, &energy));
    int64_t whole = volume / 1000000 * value;
    int64_t rest = volume % 1000000 * value;
    assert_true(llabs(energy - whole - rest / 1000000) <= 1);
    energy = 77;
    assert_false(energy_of(MICRO_LIMIT - 1, 40660000, &energy));
    assert_int_equal(energy, 77);
}

static void test_the_heating_value_follows_the_base_conditions(void **state)
{
    (void)state;
    const struct sgerg_input gas = {
        .heating_value_mj_m3 = 40.66, .relative_density = 0.581, .co2_mol_percent = 0.6};
    struct err err;
    struct sgerg ready;
    int64_t value = 0;
    double z_normal;
    double z_base;
    struct conversion_input input = {.method = CONVERSION_SGERG88,
                                     .base_pressure_kpa = 101.325,
                                     .base_temperature_c = 0,
                                     .gas = gas};
    assert_int_equal(energy_heating_value(&input, 40.66, 0, &value, &err), 0);
    assert_int_equal(value, 40660000); // its own conditions
    input.base_temperature_c = 20;
    assert_int_equal(energy_heating_value(&input, 37.81, 20, &value, &err), 0);
    assert_int_equal(value, 37810000); // they are 20 degC as well
    assert_int_equal(energy_heating_value(&input, 40.66, 0, &value, &err), 0);
    assert_int_equal(sgerg_init(&ready, &gas, &err), 0);
    assert_int_equal(sgerg_z(&ready, 101.325, 0, &z_normal, &err), 0);
    assert_int_equal(sgerg_z(&ready, 101.325, 20, &z_base, &err), 0);
    double expected = 40.66 * 273.15 / 293.15 * z_normal / z_base;
    assert_true(fabs(1e-6 * (double)value - expected) < 1e-6);
    assert_true(value > 37850000 && value < 37880000); // an ideal gas: 37.886
    input.gas.relative_density = 0.4;
    value = 77;
    assert_int_equal(energy_heating_value(&input, 40.66, 0, &value, &err), -1);
    assert_int_equal(value, 77);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_sums_are_exact),
        cmocka_unit_test(test_an_open_month_reaches_its_newest_hour),
        cmocka_unit_test(test_nothing_missing_is_zero),
        cmocka_unit_test(test_an_exchange_is_no_gas),
        cmocka_unit_test(test_load_factor_is_rounded_half_to_even),
        cmocka_unit_test(test_a_site_peaks_together),
        cmocka_unit_test(test_a_change_is_rounded_or_not_told),
        cmocka_unit_test(test_energy_is_exact_but_for_one_rounding),
        cmocka_unit_test(test_the_heating_value_follows_the_base_conditions),
    };
    random_start("test_report_usage");
    return cmocka_run_group_tests(tests, calendar_setup, NULL);
}
