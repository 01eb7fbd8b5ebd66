#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "poll/load.h"

#include <math.h>

// Links at 9600 8N1, meters of one request of 14 registers: 8 + 33 bytes and 7 characters of
// silence at 10 bits are 50 ms, and the meter's own time.
#define POLL_MS (50 + COST_TURNAROUND_MS)

static struct profile short_profile = {
    .limits = {.max_registers = 60, .max_gap = 8},
    .field_count = 1,
    .fields = {{.function = 3, .first = 16, .words = 14}},
};
// 20 requests of one register each: 8 + 7 bytes and 7 characters of silence.
static struct profile long_profile = {.limits = {.max_registers = 60, .max_gap = 8}};

static struct config_link links[2];
static struct meter meters[40];
static struct config config = {.links = links, .link_count = 2, .meters = meters};

static struct meter *add_meter(int link, struct profile *profile, int interval_s)
{
    struct meter *meter = &meters[config.meter_count++];
    *meter = (struct meter){.link = link, .profile = profile, .interval_s = interval_s};
    return meter;
}

static int set_up(void **state)
{
    (void)state;
    config.meter_count = 0;
    for (int i = 0; i < 2; i++) {
        links[i] =
            (struct config_link){.url = {.kind = LINK_RTU, .baud = 9600, .parity = 'N', .stop = 1}};
    }
    long_profile.field_count = 20;
    for (int i = 0; i < 20; i++)
        long_profile.fields[i] =
            (struct field){.function = 3, .first = (uint16_t)(100 * i), .words = 1};
    return 0;
}

static void expect_near(double got, double expected)
{
    if (fabs(got - expected) > expected * 1e-5 + 1e-9)
        fail_msg("%g, not %g", got, expected);
}

static void test_share(void **state)
{
    (void)state;
    struct link_load load;
    assert_int_equal(load_of_link(&config, 0, &load), 0);
    assert_int_equal(load.meters, 0);
    assert_int_equal(load.longest, -1);
    for (int i = 0; i < 10; i++)
        (void)add_meter(0, &short_profile, 1);
    (void)add_meter(1, &short_profile, 60);
    assert_int_equal(load_of_link(&config, 0, &load), 0);
    assert_int_equal(load.meters, 10);
    expect_near(load.share, 10 * POLL_MS / 1000.0);
    expect_near((double)load.longest_ns, POLL_MS * 1e6);
    assert_int_equal(load_of_link(&config, 1, &load), 0);
    expect_near(load.share, POLL_MS / 60000.0);
    for (int i = 0; i < 10; i++)
        (void)add_meter(0, &short_profile, 1);
    assert_int_equal(load_of_link(&config, 0, &load), 0);
    assert_true(load.share > 1);
}

// The longer of the two pauses counts, before each request.
static void test_pause(void **state)
{
    (void)state;
    struct meter_load load;
    struct profile slow = short_profile;
    struct meter *meter = add_meter(0, &slow, 60);
    slow.limits.pause_ms = 15;
    links[0].pause_ms = 10;
    assert_int_equal(load_of_meter(&links[0], meter, &load), 0);
    assert_int_equal(load.requests, 1);
    expect_near((double)load.poll_ns, (POLL_MS + 15) * 1e6);
    slow.limits.pause_ms = 0;
    assert_int_equal(load_of_meter(&links[0], meter, &load), 0);
    expect_near((double)load.poll_ns, (POLL_MS + 10) * 1e6);
    slow.limits.max_registers = 13;
    assert_int_equal(load_of_meter(&links[0], meter, &load), -1);
}

// A meter that has to be woken costs the wait for that, where it rests long enough to sleep.
static void test_wake(void **state)
{
    (void)state;
    struct profile sleeper = short_profile;
    struct meter_load load;
    sleeper.limits.wake_request = true;
    sleeper.limits.wake_after_s = 10;
    sleeper.limits.wake_wait_ms = 300;
    struct meter *meter = add_meter(0, &sleeper, 9);
    assert_int_equal(load_of_meter(&links[0], meter, &load), 0);
    assert_int_equal(load.requests, 1);
    expect_near((double)load.poll_ns, POLL_MS * 1e6);
    meter->interval_s = 10;
    assert_int_equal(load_of_meter(&links[0], meter, &load), 0);
    assert_int_equal(load.requests, 2);
    assert_in_range(load.poll_ns, (POLL_MS + 300) * INT64_C(1000000),
                    (POLL_MS + 300 + 50) * INT64_C(1000000));
}

// Enough time in all, and yet too late each time the long poll is in the way.
static void test_long_neighbour(void **state)
{
    (void)state;
    struct link_load load;
    struct meter_load longest;
    struct meter *long_meter = add_meter(0, &long_profile, 60);
    (void)add_meter(0, &short_profile, 60);
    assert_int_equal(load_of_link(&config, 0, &load), 0);
    assert_int_equal(load.late, -1);
    (void)add_meter(0, &short_profile, 1);
    assert_int_equal(load_of_meter(&links[0], long_meter, &longest), 0);
    assert_int_equal(longest.requests, 20);
    // 20 x (22 characters + the meter's time) is 0.86 s and fits beside 70 ms; at 4800 it does not.
    assert_int_equal(load_of_link(&config, 0, &load), 0);
    assert_int_equal(load.late, -1);
    links[0].url.baud = 4800;
    assert_int_equal(load_of_link(&config, 0, &load), 0);
    assert_true(load.share < 1);
    assert_int_equal(load.longest, 0);
    assert_int_equal(load.late, 2);
}

static void test_baud_needed(void **state)
{
    (void)state;
    links[0].url.baud = 1200;
    for (int i = 0; i < 8; i++)
        (void)add_meter(0, &short_profile, 1);
    // 48 characters of 10 bits each and 20 ms: 0.12 s at 4800, 0.07 s at 9600.
    assert_int_equal(load_baud_needed(&config, 0, 1), 4800);
    assert_int_equal(load_baud_needed(&config, 0, 0.7), 9600);
    for (int i = 0; i < 30; i++)
        (void)add_meter(0, &short_profile, 1);
    assert_int_equal(load_baud_needed(&config, 0, 0.7), 0); // 38 x 20 ms alone are more
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup(test_share, set_up),
        cmocka_unit_test_setup(test_pause, set_up),
        cmocka_unit_test_setup(test_wake, set_up),
        cmocka_unit_test_setup(test_long_neighbour, set_up),
        cmocka_unit_test_setup(test_baud_needed, set_up),
    };
    return cmocka_run_group_tests_name("poll/load", tests, NULL, NULL);
}
