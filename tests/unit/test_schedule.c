#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "poll/schedule.h"

#include "property.h"

#define MINUTE INT64_C(60000)
#define HOUR (60 * MINUTE)

static struct gas_calendar calendar;

// Around the changes of the clock of 2026 in Germany, and a plain day.
static const int64_t around[] = {1774742400000, 1792886400000, 1795392000000};

static struct schedule random_schedule(void)
{
    enum span span = (enum span)random_between(SPAN_1MIN, SPAN_DAY);
    int64_t interval = random_between(1, span_nominal_ms(span) / 1000) * 1000;
    return (struct schedule){span, interval, random_between(0, interval < 1000 ? interval : 999)};
}

// Walking from due time to due time meets the same grid as looking for the next one each time.
static void test_following_is_next(void **state)
{
    (void)state;
    for (int round = 0; round < 300; round++) {
        struct schedule schedule = random_schedule();
        int64_t after = around[random_between(0, 2)] + random_between(-24 * HOUR, 24 * HOUR);
        struct due due = schedule_due(&schedule, &calendar, after);
        for (int i = 0; i < 300; i++) {
            assert_int_equal(due.at_ms, schedule_next(&schedule, &calendar, after));
            assert_int_equal(due.from_ms, period_start(&calendar, schedule.span, due.at_ms));
            assert_int_equal(due.to_ms, period_end(&calendar, schedule.span, due.at_ms));
            after = due.at_ms;
            due = schedule_following(&schedule, &calendar, &due);
        }
    }
}

// A poll is wanted before the next one; at a boundary, within the window of the index.
static void test_deadline(void **state)
{
    (void)state;
    for (int round = 0; round < 300; round++) {
        struct schedule schedule = random_schedule();
        int64_t after = around[random_between(0, 2)] + random_between(-24 * HOUR, 24 * HOUR);
        struct due due = schedule_due(&schedule, &calendar, after);
        for (int i = 0; i < 300; i++) {
            struct due next = schedule_following(&schedule, &calendar, &due);
            int64_t deadline = schedule_deadline_ms(&schedule, &due);
            bool boundary = due.at_ms - due.from_ms < schedule.interval_ms;
            if (boundary) {
                int64_t window = schedule.interval_ms < MINUTE ? schedule.interval_ms : MINUTE;
                assert_int_equal(deadline, due.from_ms + window);
            } else {
                assert_int_equal(deadline, next.at_ms);
            }
            due = next;
        }
    }
}

// Numbers count up from 0 at each gas day; every hour begins with a multiple of the hour's number.
static void test_number(void **state)
{
    (void)state;
    for (int round = 0; round < 300; round++) {
        struct schedule schedule = random_schedule();
        int64_t after = around[random_between(0, 2)] + random_between(-24 * HOUR, 24 * HOUR);
        struct due due = schedule_due(&schedule, &calendar, after);
        int per_hour = schedule_per_hour(&schedule);
        assert_int_equal(per_hour == 0, schedule.span > SPAN_HOUR);
        for (int i = 0; i < 300; i++) {
            int64_t day = period_start(&calendar, SPAN_DAY, due.at_ms);
            int64_t number = schedule_number(&schedule, &calendar, &due);
            assert_int_equal(number, schedule_count(&schedule, &calendar, day, due.at_ms));
            int64_t hour = period_start(&calendar, SPAN_HOUR, due.at_ms);
            if (per_hour > 0 && due.at_ms == hour + schedule.phase_ms)
                assert_int_equal(number % per_hour, 0);
            due = schedule_following(&schedule, &calendar, &due);
        }
    }
}

static int set_up(void **state)
{
    (void)state;
    struct err err;
    return gas_calendar_init(&calendar, "Europe/Berlin", 360, &err);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_following_is_next),
        cmocka_unit_test(test_deadline),
        cmocka_unit_test(test_number),
    };
    random_start("test_schedule");
    return cmocka_run_group_tests_name("poll/schedule", tests, set_up, NULL);
}
