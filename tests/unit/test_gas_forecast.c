#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "gas/forecast.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

#define HOUR_S 3600
#define DAY_S 86400
#define MONDAY_S INT64_C(1735516800) // 2024-12-30 00:00

static struct forecast state, other_state;
static struct forecast_model model, other_model;

// A value of a slot of the week, whole numbers so that floats hold them exactly; some are zero.
static double weekly(int64_t wall_s, int step_s)
{
    int64_t slot = (wall_s - MONDAY_S) / step_s % (7 * DAY_S / step_s);
    uint64_t mixed = ((uint64_t)slot + 17) * UINT64_C(0x9E3779B97F4A7C15) >> 40;
    return mixed % 4 == 0 ? 0 : (double)(mixed % 1000);
}

static void push_weeks(struct forecast *forecast, int step_s, int weeks, double factor,
                       double shift)
{
    forecast_init(forecast, step_s, MONDAY_S);
    for (int64_t at = MONDAY_S; at < MONDAY_S + (int64_t)weeks * 7 * DAY_S; at += step_s)
        assert_int_equal(forecast_push(forecast, at, factor * weekly(at, step_s) + shift), 0);
}

static void assert_near(double seen, double wanted, double tolerance)
{
    if (!(fabs(seen - wanted) <= tolerance))
        fail_msg("%.9g where %.9g was wanted", seen, wanted);
}

static void constant_stays_constant(void **context)
{
    (void)context;
    static const double values[] = {0, 12.5, 1e6};
    for (int mean = 0; mean < 2; mean++)
        for (int i = 0; i < 3; i++) {
            forecast_init(&state, HOUR_S, MONDAY_S);
            for (int k = 0; k < 500; k++)
                assert_int_equal(forecast_push(&state, MONDAY_S + k * HOUR_S, values[i]), 0);
            forecast_learn(&state, mean == 1, &model);
            for (int ahead = 1; ahead < 400; ahead++) {
                struct forecast_point point = forecast_predict(&state, &model, ahead);
                assert_near(point.value, values[i], 1e-6 * values[i]);
                assert_near(point.low, values[i], 1e-6 * values[i] + 1e-6);
                assert_near(point.high, values[i], 1e-6 * values[i] + 1e-6);
            }
        }
}

// What repeats by the week exactly is forecast exactly, from any phase, at any lead, in any step
// of which the state holds two weeks.
static void weekly_is_exact(void **context)
{
    (void)context;
    static const int steps[] = {600, 900, 1800, 3600, 7200, 21600, 86400};
    for (unsigned i = 0; i < sizeof steps / sizeof *steps; i++)
        for (int mean = 0; mean < 2; mean++) {
            push_weeks(&state, steps[i], 9, 1, 0);
            forecast_learn(&state, mean == 1, &model);
            for (int ahead = 1; ahead <= 8 * DAY_S / steps[i]; ahead++) {
                int64_t at = forecast_time(&state, ahead);
                // a mean cuts the largest values to the next ones
                double wanted = fmin(weekly(at, steps[i]), mean ? model.cut[1] : INFINITY);
                assert_near(forecast_predict(&state, &model, ahead).value, wanted, 1e-3);
            }
        }
}

static void scale_goes_through(void **context)
{
    (void)context;
    for (int mean = 0; mean < 2; mean++) {
        uint64_t random = 42;
        forecast_init(&state, HOUR_S, MONDAY_S);
        forecast_init(&other_state, HOUR_S, MONDAY_S);
        for (int k = 0; k < 1500; k++) {
            random = random * UINT64_C(6364136223846793005) + 1442695040888963407;
            double value = weekly(MONDAY_S + k * HOUR_S, HOUR_S) + (double)(random >> 56);
            assert_int_equal(forecast_push(&state, MONDAY_S + k * HOUR_S, value), 0);
            assert_int_equal(forecast_push(&other_state, MONDAY_S + k * HOUR_S, 64 * value), 0);
        }
        forecast_learn(&state, mean == 1, &model);
        forecast_learn(&other_state, mean == 1, &other_model);
        for (int ahead = 1; ahead <= 168; ahead++) {
            struct forecast_point small = forecast_predict(&state, &model, ahead);
            struct forecast_point large = forecast_predict(&other_state, &other_model, ahead);
            assert_near(large.value, 64 * small.value, 1e-4 * large.value + 1e-6);
            assert_near(large.high, 64 * small.high, 1e-4 * large.high + 1e-6);
            assert_true(small.low <= small.value && small.value <= small.high);
            assert_true(small.low >= 0);
        }
    }
}

static void shift_goes_through(void **context)
{
    (void)context;
    push_weeks(&state, HOUR_S, 9, 1, 0);
    push_weeks(&other_state, HOUR_S, 9, 1, -500); // also below zero
    forecast_learn(&state, false, &model);
    forecast_learn(&other_state, false, &other_model);
    for (int ahead = 1; ahead <= 168; ahead++)
        assert_near(forecast_predict(&other_state, &other_model, ahead).value,
                    forecast_predict(&state, &model, ahead).value - 500, 1e-2);
}

static void spike_counts_little(void **context)
{
    (void)context;
    for (int mean = 0; mean < 2; mean++) {
        forecast_init(&state, HOUR_S, MONDAY_S);
        for (int k = 0; k < 1344; k++) {
            double value = 100 + (k * 7) % 11; // 100 to 110
            assert_int_equal(forecast_push(&state, MONDAY_S + k * HOUR_S, k == 1300 ? 1e7 : value),
                             0);
        }
        forecast_learn(&state, mean == 1, &model);
        for (int ahead = 1; ahead <= 168; ahead++) {
            double value = forecast_predict(&state, &model, ahead).value;
            assert_true(value > 90 && value < 120);
        }
    }
}

// Production halves (or doubles) ten days ago: the total of the next week follows.
static void level_is_followed(void **context)
{
    (void)context;
    for (int twice = 0; twice < 2; twice++) {
        double factor = twice ? 2 : 0.5, wanted = 0;
        forecast_init(&state, HOUR_S, MONDAY_S);
        for (int k = 0; k < 66 * 24; k++) {
            int64_t at = MONDAY_S + k * HOUR_S;
            double value = weekly(at, HOUR_S) * (k < 56 * 24 ? 1 : factor);
            assert_int_equal(forecast_push(&state, at, value), 0);
        }
        forecast_learn(&state, true, &model);
        for (int ahead = 1; ahead <= 168; ahead++)
            wanted += factor * weekly(forecast_time(&state, ahead), HOUR_S);
        struct forecast_point week = forecast_total(&state, &model, 1, 168);
        assert_near(week.value, wanted, 0.15 * wanted);
    }
}

static void nothing_is_invented(void **context)
{
    (void)context;
    forecast_init(&state, HOUR_S, MONDAY_S);
    assert_false(forecast_ready(&state));
    for (int k = 0; k < 40; k++) {
        assert_int_equal(forecast_push(&state, MONDAY_S + k * HOUR_S, k < 20 ? (double)NAN : k), 0);
        assert_false(forecast_ready(&state));
    }
    for (int k = 40; k < 44; k++)
        assert_int_equal(forecast_push(&state, MONDAY_S + k * HOUR_S, k), 0);
    assert_true(forecast_ready(&state));
    forecast_learn(&state, false, &model);
    for (int ahead = 1; ahead <= 60; ahead++) {
        struct forecast_point point = forecast_predict(&state, &model, ahead);
        assert_true(point.value >= 20 && point.value <= 43); // only what was seen
    }
}

// Gaps, also of weeks, and infinity in place of values: the forecast is still exact, or at least
// within what was seen.
static void gaps_are_passed(void **context)
{
    (void)context;
    forecast_init(&state, HOUR_S, MONDAY_S);
    for (int k = 0; k < 9 * 168; k++) {
        int64_t at = MONDAY_S + k * HOUR_S;
        if (k % 13 == 5 || (k > 700 && k < 720))
            continue;
        double value = k % 29 == 3 ? INFINITY : weekly(at, HOUR_S);
        assert_int_equal(forecast_push(&state, at, value), 0);
    }
    forecast_learn(&state, false, &model);
    for (int ahead = 1; ahead <= 168; ahead++)
        assert_near(forecast_predict(&state, &model, ahead).value,
                    weekly(forecast_time(&state, ahead), HOUR_S), 1e-3);
    int64_t late = forecast_time(&state, FORECAST_SLOTS + 50);
    assert_int_equal(forecast_push(&state, late, 5), 0); // nothing older is left
    assert_false(forecast_ready(&state));
}

static void clock_may_go_back_an_hour(void **context)
{
    (void)context;
    push_weeks(&state, HOUR_S, 1, 0, 10);
    int64_t newest = forecast_time(&state, 0);
    assert_int_equal(forecast_push(&state, newest, 30), 0); // the hour that is there twice
    assert_near(state.value[state.newest % FORECAST_SLOTS], 20, 1e-6);
    other_state = state;
    assert_int_equal(forecast_push(&state, newest - HOUR_S, 7), -1);
    assert_memory_equal(&state, &other_state, sizeof state);
    assert_int_equal(forecast_time(&state, 0), newest);
    push_weeks(&state, 900, 1, 0, 10);
    newest = forecast_time(&state, 0);
    assert_int_equal(forecast_push(&state, newest - 2700, 30), 0);
    assert_int_equal(forecast_push(&state, newest - 3600, 30), -1);
}

// A state made anew from the newest values forecasts the same: nothing else is remembered.
static void state_is_its_values(void **context)
{
    (void)context;
    forecast_init(&state, HOUR_S, MONDAY_S);
    forecast_init(&other_state, HOUR_S, MONDAY_S);
    for (int k = 0; k < 3000; k++) {
        int64_t at = MONDAY_S + k * HOUR_S;
        double value = weekly(at, HOUR_S) + k % 31;
        assert_int_equal(forecast_push(&state, at, value), 0);
        if (k >= 3000 - FORECAST_SLOTS)
            assert_int_equal(forecast_push(&other_state, at, value), 0);
    }
    forecast_learn(&state, false, &model);
    forecast_learn(&other_state, false, &other_model);
    for (int ahead = 1; ahead <= 200; ahead++)
        assert_true(forecast_predict(&state, &model, ahead).value ==
                    forecast_predict(&other_state, &other_model, ahead).value);
}

// Four of five values lie in the band, on a noise that the forecast cannot know.
static void band_holds_what_it_says(void **context)
{
    (void)context;
    uint64_t random = 7;
    int inside = 0, all = 0;
    forecast_init(&state, HOUR_S, MONDAY_S);
    for (int k = 0; k < 3000; k++) {
        int64_t at = MONDAY_S + k * HOUR_S;
        double noise = 0;
        for (int i = 0; i < 4; i++) {
            random = random * UINT64_C(6364136223846793005) + 1442695040888963407;
            noise += (double)(random >> 33) / 2147483648.0 - 0.5;
        }
        double value = 1000 + weekly(at, HOUR_S) + 200 * noise;
        if (k >= 2000 && k % 25 == 0) {
            forecast_learn(&state, false, &model);
            struct forecast_point point = forecast_predict(&state, &model, 1);
            inside += value >= point.low && value <= point.high;
            all++;
        }
        assert_int_equal(forecast_push(&state, at, value), 0);
    }
    printf("%d of %d in the band\n", inside, all);
    assert_true(inside >= all * 60 / 100 && inside < all);
}

static void only_some_steps(void **context)
{
    (void)context;
    assert_true(forecast_step_valid(300) && forecast_step_valid(3600) &&
                forecast_step_valid(86400));
    assert_false(forecast_step_valid(60) || forecast_step_valid(420) || forecast_step_valid(0) ||
                 forecast_step_valid(-3600) || forecast_step_valid(172800));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(constant_stays_constant),   cmocka_unit_test(weekly_is_exact),
        cmocka_unit_test(scale_goes_through),        cmocka_unit_test(shift_goes_through),
        cmocka_unit_test(spike_counts_little),       cmocka_unit_test(level_is_followed),
        cmocka_unit_test(nothing_is_invented),       cmocka_unit_test(gaps_are_passed),
        cmocka_unit_test(clock_may_go_back_an_hour), cmocka_unit_test(state_is_its_values),
        cmocka_unit_test(band_holds_what_it_says),   cmocka_unit_test(only_some_steps),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
