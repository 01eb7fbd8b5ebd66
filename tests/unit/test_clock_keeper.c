// Jumps of the machine's clock: which are followed, which are doubted.
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "base/clock_keeper.h"
#include "property.h"

#define HOUR (INT64_C(3600) * 1000)
#define YEAR (INT64_C(365) * 24 * HOUR)

static int64_t true_ms, boot_start_ms, wrong_ms; // the wall clock says true + wrong
static bool vouched;

static int64_t tell_boot_ns(void *context)
{
    (void)context;
    return (true_ms - boot_start_ms) * 1000000;
}
static int64_t tell_wall_ms(void *context)
{
    (void)context;
    return true_ms + wrong_ms;
}
static bool tell_vouched(void *context)
{
    (void)context;
    return vouched;
}
static const struct clock hands = {
    .boot_ns = tell_boot_ns, .wall_ms = tell_wall_ms, .synchronized = tell_vouched};

static struct clock_keeper keeper;

static int start(void **state)
{
    (void)state;
    true_ms = clock_floor_ms() + 400 * 24 * HOUR;
    boot_start_ms = true_ms - 5000;
    wrong_ms = 0;
    vouched = false;
    clock_keeper_init(&keeper, &hands);
    return 0;
}

static int end(void **state)
{
    (void)state;
    clock_keeper_release(&keeper);
    return 0;
}

static int64_t error_ms(void)
{
    return clock_wall_ms(&keeper.clock) - true_ms;
}

static bool doubts(void)
{
    int64_t raw;
    bool result = clock_doubts(&keeper.clock, &raw);
    assert_int_equal(raw, true_ms + wrong_ms);
    return result;
}

static void test_small_steps_are_followed(void **state)
{
    (void)state;
    static const int64_t steps[] = {0, 1, -1, HOUR, -HOUR, 24 * HOUR, 0, -25 * HOUR, 0};
    for (size_t i = 0; i < sizeof steps / sizeof steps[0]; i++) {
        wrong_ms = steps[i];
        true_ms += 1000;
        assert_int_equal(error_ms(), steps[i]);
        assert_false(doubts());
    }
}

static void test_far_jumps_are_doubted(void **state)
{
    (void)state;
    const int64_t jumps[] = {10 * YEAR, -10 * YEAR, 26 * HOUR, -26 * HOUR, -true_ms, -true_ms + 1};
    for (size_t i = 0; i < sizeof jumps / sizeof jumps[0]; i++) {
        wrong_ms = 0;
        assert_int_equal(error_ms(), 0);
        wrong_ms = jumps[i];
        true_ms += 77 * HOUR; // however long it lasts
        assert_int_equal(error_ms(), 0);
        assert_true(doubts());
        true_ms += 1;
        assert_int_equal(error_ms(), 0);
        wrong_ms = 1500; // corrected: followed again
        assert_int_equal(error_ms(), 1500);
        assert_false(doubts());
    }
}

// What the kernel vouches for is believed, but not a time before this program was made.
static void test_vouched_jumps_are_followed(void **state)
{
    (void)state;
    vouched = true;
    assert_int_equal(error_ms(), 0);
    wrong_ms = 10 * YEAR;
    assert_int_equal(error_ms(), 10 * YEAR);
    wrong_ms = 0;
    assert_int_equal(error_ms(), 0);
    wrong_ms = -true_ms;
    assert_int_equal(error_ms(), 0);
    assert_true(doubts());
}

// A machine without a battery: nothing to keep before the first credible time.
static void test_boot_in_1970(void **state)
{
    (void)state;
    wrong_ms = 1000 - true_ms;
    for (int i = 0; i < 5; i++) {
        true_ms += HOUR;
        assert_int_equal(error_ms(), wrong_ms);
        assert_false(doubts());
    }
    wrong_ms = 0;
    assert_int_equal(error_ms(), 0);
    wrong_ms = 1000 - true_ms;
    assert_int_equal(error_ms(), 0);
}

// The ends of counters of 32 bits: of milliseconds since boot, and of seconds since 1970.
static void test_ends_of_small_counters(void **state)
{
    (void)state;
    const int64_t ends[] = {boot_start_ms + INT64_C(0x7fffffff),
                            boot_start_ms + INT64_C(0xffffffff), INT64_C(0x7fffffff) * 1000,
                            INT64_C(0xffffffff) * 1000};
    for (size_t i = 0; i < sizeof ends / sizeof ends[0]; i++) {
        true_ms = ends[i] - 3;
        int64_t before = clock_wall_ms(&keeper.clock);
        for (int k = 0; k < 6; k++) {
            true_ms++;
            int64_t now = clock_wall_ms(&keeper.clock);
            assert_int_equal(now, before + 1);
            before = now;
            assert_int_equal(clock_boot_ms(&keeper.clock), true_ms - boot_start_ms);
        }
    }
}

// Against a model in words: the error that is shown is that of the newest credible clock.
static void test_random_histories(void **state)
{
    (void)state;
    int64_t shown = 0;
    assert_int_equal(error_ms(), 0);
    for (int i = 0; i < 200000; i++) {
        true_ms += random_between(0, HOUR);
        if (random_between(0, 3) == 0)
            wrong_ms = random_between(0, 1) == 0 ? 0 : random_between(-60, 60) * HOUR;
        int64_t away = wrong_ms > shown ? wrong_ms - shown : shown - wrong_ms;
        if (away <= 25 * HOUR)
            shown = wrong_ms;
        assert_int_equal(error_ms(), shown);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_small_steps_are_followed, start, end),
        cmocka_unit_test_setup_teardown(test_far_jumps_are_doubted, start, end),
        cmocka_unit_test_setup_teardown(test_vouched_jumps_are_followed, start, end),
        cmocka_unit_test_setup_teardown(test_boot_in_1970, start, end),
        cmocka_unit_test_setup_teardown(test_ends_of_small_counters, start, end),
        cmocka_unit_test_setup_teardown(test_random_histories, start, end),
    };
    random_start("test_clock_keeper");
    return cmocka_run_group_tests_name("base/clock_keeper", tests, NULL, NULL);
}
