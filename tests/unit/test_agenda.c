#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "poll/agenda.h"

#include "drivers/value.h"

#include "property.h"

#include <stdio.h>
#include <string.h>

#define SECOND INT64_C(1000)
#define MINUTE (60 * SECOND)
#define HOUR (60 * MINUTE)
#define METERS_MAX 40
#define TIMEOUT_MS 500
#define BOOT_LESS_MS 1700000000000 // the boot clock counts from elsewhere

static struct gas_calendar calendar;
static const int64_t begin_ms = 1795392000000; // 2026-11-23T00:00:00Z

// ---- a link on virtual time ---------------------------------------------------------------------

struct sim_meter {
    int service_ms;
    int lost_ms;               // what a request that it does not answer costs
    int64_t dead_ms, alive_ms; // does not answer in [dead, alive)
    // What was seen:
    int64_t expected_ms; // the due time that comes up next
    int64_t asked_ms;    // the newest request
    int64_t gap_ms;      // the longest between two requests
    int64_t late_ms;     // the most that an answered poll began after its due time
    int requests, good, missing, overload, looks;
};

struct sim {
    int64_t now_ms; // wall clock
    struct agenda agenda;
    struct agenda_entry entries[METERS_MAX];
    struct share shares[METERS_MAX];
    struct sim_meter meters[METERS_MAX];
    int64_t count_from_ms; // figures of due times before are left out
    int lost_before_poll;  // lost requests in a row while a poll waited: the most seen
    int lost_row;
};

static struct sim sim;

static void reset(void)
{
    memset(&sim, 0, sizeof sim);
    sim.now_ms = begin_ms;
    sim.agenda = (struct agenda){.calendar = &calendar,
                                 .retries = 1,
                                 .retry_ms = TIMEOUT_MS,
                                 .timeout_ms = TIMEOUT_MS,
                                 .entries = sim.entries,
                                 .shares = sim.shares};
}

static struct sim_meter *add(int interval_s, int phase_ms, int service_ms, int priority)
{
    int index = sim.agenda.count++;
    int64_t interval_ms = interval_s * SECOND;
    enum span span = interval_s <= 900 ? SPAN_15MIN : SPAN_HOUR;
    sim.entries[index].schedule = (struct schedule){span, interval_ms, phase_ms};
    sim.shares[index].priority = priority;
    sim.meters[index] = (struct sim_meter){.service_ms = service_ms,
                                           .lost_ms = TIMEOUT_MS,
                                           .dead_ms = INT64_MAX,
                                           .alive_ms = INT64_MAX};
    return &sim.meters[index];
}

static int64_t boot_ms(void)
{
    return sim.now_ms - BOOT_LESS_MS;
}

// Every due time comes up once, in order.
static void take_due(struct sim_meter *meter, const struct agenda_entry *entry, int64_t due_ms)
{
    if (meter->expected_ms != 0)
        assert_int_equal(due_ms, meter->expected_ms);
    meter->expected_ms = schedule_next(&entry->schedule, &calendar, due_ms);
    assert_true(due_ms <= sim.now_ms);
}

static bool poll_waits(void)
{
    for (int i = 0; i < sim.agenda.count; i++)
        if (sim.entries[i].due.at_ms <= sim.now_ms && sim.entries[i].probe.misses == 0 &&
            !sim.entries[i].dropped)
            return true;
    return false;
}

static void ask(const struct turn *turn)
{
    struct sim_meter *meter = &sim.meters[turn->entry];
    bool dead = sim.now_ms >= meter->dead_ms && sim.now_ms < meter->alive_ms;
    bool counted = turn->due_ms >= sim.count_from_ms;
    if (counted && meter->asked_ms != 0 && sim.now_ms - meter->asked_ms > meter->gap_ms)
        meter->gap_ms = sim.now_ms - meter->asked_ms;
    meter->asked_ms = sim.now_ms;
    meter->requests++;
    meter->looks += turn->due_ms == 0 ? 1 : 0;
    int64_t late_ms = sim.now_ms - turn->due_ms;
    int took_ms = dead ? meter->lost_ms : meter->service_ms;
    sim.now_ms += took_ms;
    struct outcome outcome = {.answered = !dead,
                              .asked = true,
                              .why = dead ? WHY_TIMEOUT : WHY_NONE,
                              .took_us = took_ms * INT64_C(1000)};
    if (agenda_done(&sim.agenda, turn, &outcome, boot_ms())) {
        take_due(meter, &sim.entries[turn->entry], turn->due_ms);
        meter->good += counted && !dead ? 1 : 0;
        meter->missing += counted && dead ? 1 : 0;
        if (counted && !dead && late_ms > meter->late_ms)
            meter->late_ms = late_ms;
    }
    sim.lost_row = dead ? sim.lost_row + 1 : 0;
    if (poll_waits() && sim.now_ms > sim.count_from_ms && sim.lost_row > sim.lost_before_poll)
        sim.lost_before_poll = sim.lost_row;
    if (!poll_waits())
        sim.lost_row = 0;
}

static void run(int64_t until_ms)
{
    if (sim.now_ms == begin_ms)
        agenda_init(&sim.agenda, sim.now_ms, boot_ms());
    int idle = 0;
    while (sim.now_ms < until_ms) {
        struct turn turn = agenda_next(&sim.agenda, sim.now_ms, boot_ms());
        struct sim_meter *meter = &sim.meters[turn.entry];
        if (turn.kind == TURN_ASK) {
            ask(&turn);
        } else if (turn.kind == TURN_MISS) {
            take_due(meter, &sim.entries[turn.entry], turn.due_ms);
            if (turn.due_ms >= sim.count_from_ms)
                *(turn.why == WHY_OVERLOAD ? &meter->overload : &meter->missing) += 1;
        } else {
            assert_true(turn.wait_ms > 0); // a wait that is none would spin
            sim.now_ms +=
                turn.wait_ms < until_ms - sim.now_ms ? turn.wait_ms : until_ms - sim.now_ms;
        }
        idle = turn.kind == TURN_MISS ? idle + 1 : 0;
        assert_true(idle < 100000);
    }
}

// ---- enough time --------------------------------------------------------------------------------

// Jeffay, Stanat and Martel 1991: when a set of polls that cannot be cut short meets all deadlines.
// With every due time at its boundary (no phases), so that deadlines are the next due times.
static bool is_feasible(void)
{
    int64_t used_ppm = 0;
    for (int i = 0; i < sim.agenda.count; i++)
        used_ppm +=
            sim.meters[i].service_ms * INT64_C(1000000) / sim.entries[i].schedule.interval_ms;
    if (used_ppm >= 1000000)
        return false;
    for (int i = 0; i < sim.agenda.count; i++) {
        // Within one gap before the longer interval, no blocked shorter one may come too late. It
        // is enough to look at the multiples of the shorter intervals.
        for (int j = 0; j < sim.agenda.count; j++) {
            int64_t step_ms = sim.entries[j].schedule.interval_ms;
            for (int64_t at = step_ms; at < sim.entries[i].schedule.interval_ms; at += step_ms) {
                int64_t demand_ms = sim.meters[i].service_ms;
                for (int k = 0; k < sim.agenda.count; k++)
                    if (k != i &&
                        sim.entries[k].schedule.interval_ms <= sim.entries[i].schedule.interval_ms)
                        demand_ms +=
                            at / sim.entries[k].schedule.interval_ms * sim.meters[k].service_ms;
                if (demand_ms >= at)
                    return false;
            }
        }
    }
    return true;
}

static void add_random_meters(int count, int least_permille, int most_permille, int longest_ms)
{
    static const int intervals[] = {1, 2, 5, 10, 15, 30, 60};
    int longest = (int)random_between(0, 6);
    int permille = (int)random_between(least_permille, most_permille);
    for (int i = 0; i < count; i++) {
        int interval_s = intervals[random_between(0, longest)];
        int most_ms = interval_s * 2 * permille / count;
        most_ms = most_ms < longest_ms ? most_ms : longest_ms;
        (void)add(interval_s, 0, (int)random_between(1, most_ms > 1 ? most_ms : 1),
                  (int)random_between(1, PRIORITY_MOST));
    }
}

// Below 100 % nobody misses a period.
static void test_all_keep_their_period(void **state)
{
    (void)state;
    int tried = 0;
    int full = 0;
    for (int round = 0; round < 1000; round++) {
        reset();
        add_random_meters((int)random_between(1, 30), 300, 1000, (int)random_between(20, 500));
        if (!is_feasible())
            continue;
        run(begin_ms + 16 * MINUTE);
        tried++;
        full += sim.agenda.load_permille > 800 ? 1 : 0;
        assert_false(sim.agenda.overloaded);
        for (int i = 0; i < sim.agenda.count; i++) {
            assert_int_equal(sim.meters[i].overload, 0);
            assert_int_equal(sim.meters[i].missing, 0);
            assert_true(sim.meters[i].late_ms < sim.entries[i].schedule.interval_ms);
        }
    }
    assert_true(tried >= 50);
    assert_true(full >= 3);
}

// At an hour the polls that end the hour's index go before one that has all its interval left.
static void test_boundary_first(void **state)
{
    (void)state;
    reset();
    struct sim_meter *ordinary = add(240, 100, 400, 5); // due in the middle of its 15 minutes, too
    struct sim_meter *boundary = add(300, 700, 400, 1);
    run(begin_ms + 10 * SECOND); // both at the boundary: both have a minute
    assert_int_equal(ordinary->late_ms, 0);
    reset();
    ordinary = add(900, 0, 400, 5);
    boundary = add(60, 0, 400, 1);
    sim.entries[0].schedule.span = SPAN_DAY;
    sim.entries[0].schedule.interval_ms = 50 * MINUTE; // 00:00, 00:50 … of the gas day
    run(begin_ms + 20 * HOUR);
    // Both due at once on the hour: the ordinary poll, of the higher priority, waits.
    assert_int_equal(ordinary->late_ms, 400);
    assert_int_equal(boundary->late_ms, 0);
    assert_int_equal(boundary->overload + ordinary->overload, 0);
}

// ---- not enough time ----------------------------------------------------------------------------

// Those of the highest priority keep their period, the lowest is polled less often, nobody never.
static void test_overload_by_priority(void **state)
{
    (void)state;
    reset();
    for (int i = 0; i < 30; i++)
        (void)add(1, 999 - 33 * i, 50, i < 10 ? 5 : i < 20 ? 3 : 1); // 150 %
    sim.count_from_ms = begin_ms + MINUTE;
    run(begin_ms + 61 * MINUTE);
    assert_true(sim.agenda.overloaded);
    assert_in_range(sim.agenda.load_permille, 1490, 1510);
    int good[3] = {0};
    for (int i = 0; i < 30; i++)
        good[i / 10] += sim.meters[i].good;
    for (int i = 0; i < 10; i++) {
        assert_int_equal(sim.meters[i].overload, 0);
        assert_true(sim.meters[i].good >= 3599);
    }
    // 50 % is taken by the highest, 45 % are left over: the middle keeps most, the lowest some.
    assert_in_range(good[1], 30000, 36000);
    assert_true(good[2] < good[1] / 2);
    for (int i = 0; i < 30; i++) {
        assert_true(sim.meters[i].good >= 1);
        assert_in_range(sim.meters[i].good + sim.meters[i].overload, 3599, 3601);
        assert_int_equal(sim.meters[i].missing, 0);
    }
    assert_true(agenda_stretched(&sim.agenda) >= 10);
    // What is left of the link's time is used.
    assert_true(good[0] + good[1] + good[2] >= 36000 * 19 / 10 * 95 / 100);
}

static void test_random_overload(void **state)
{
    (void)state;
    for (int round = 0; round < 60; round++) {
        reset();
        int count = (int)random_between(5, METERS_MAX);
        int highest = 0;
        int64_t highest_us = 0;
        add_random_meters(count, 1100, 3000, 2000);
        for (int i = 0; i < count; i++)
            highest = sim.shares[i].priority > highest ? sim.shares[i].priority : highest;
        for (int i = 0; i < count; i++)
            highest_us += sim.shares[i].priority == highest
                              ? sim.meters[i].service_ms * INT64_C(1000) /
                                    (sim.entries[i].schedule.interval_ms / 1000)
                              : 0;
        int longest_ms = 0;
        for (int i = 0; i < count; i++)
            longest_ms =
                sim.meters[i].service_ms > longest_ms ? sim.meters[i].service_ms : longest_ms;
        sim.count_from_ms = begin_ms + 3 * MINUTE;
        run(begin_ms + 70 * MINUTE);
        if (!sim.agenda.overloaded)
            continue;
        for (int i = 0; i < count; i++) {
            assert_true(sim.meters[i].good >= 1);
            // One poll cannot be cut short: that is what the shortest interval may have to wait.
            bool keeps = sim.shares[i].priority == highest && highest_us < 800000 &&
                         longest_ms < sim.entries[i].schedule.interval_ms / 20;
            if (keeps)
                assert_int_equal(sim.meters[i].overload, 0);
        }
    }
}

// Those that are read less often take turns, so that no second has them all.
static void test_overload_without_bursts(void **state)
{
    (void)state;
    reset();
    for (int i = 0; i < 8; i++)
        (void)add(1, 120 * i, 200, i >= 6 ? 5 : 1); // 160 %
    sim.count_from_ms = begin_ms + MINUTE;
    run(begin_ms + 21 * MINUTE);
    for (int i = 0; i < 8; i++) {
        assert_true(sim.meters[i].good >= (i >= 6 ? 1199 : 300));
        if (i >= 6)
            assert_int_equal(sim.meters[i].overload, 0);
        assert_true(sim.meters[i].gap_ms <= (i >= 6 ? SECOND + 400 : 4 * SECOND));
    }
}

// A link that has time again polls everyone.
static void test_overload_ends(void **state)
{
    (void)state;
    reset();
    for (int i = 0; i < 4; i++)
        (void)add(1, 200 * i, 300, 3);
    run(begin_ms + 2 * MINUTE);
    assert_true(sim.agenda.overloaded);
    assert_true(agenda_stretched(&sim.agenda) > 0);
    for (int i = 0; i < 4; i++)
        sim.meters[i].service_ms = 100;
    run(begin_ms + 6 * MINUTE);
    assert_false(sim.agenda.overloaded);
    assert_int_equal(agenda_stretched(&sim.agenda), 0);
    sim.count_from_ms = sim.now_ms + SECOND;
    run(begin_ms + 7 * MINUTE);
    for (int i = 0; i < 4; i++)
        assert_true(sim.meters[i].good >= 58);
}

// ---- meters that do not answer ------------------------------------------------------------------

// One dead and one dripping meter among 30: the others keep their period, but for one lost request.
static void test_dead_and_dripping(void **state)
{
    (void)state;
    for (int interval_s = 1; interval_s <= 60; interval_s = interval_s == 1 ? 5 : interval_s * 3) {
        reset();
        for (int i = 0; i < 30; i++)
            (void)add(interval_s, (int)random_between(0, 999), 10, 3);
        int64_t back_ms = begin_ms + 20 * MINUTE + random_between(0, 60000);
        sim.meters[7].dead_ms = sim.meters[19].dead_ms = 0;
        sim.meters[7].alive_ms = back_ms;
        sim.meters[19].lost_ms = TIMEOUT_MS + 20;
        sim.count_from_ms = begin_ms + MINUTE;
        run(back_ms);
        int64_t burst_ms = INT64_C(28) * 10; // all of them due together
        for (int i = 0; i < 30; i++) {
            if (i == 7 || i == 19) {
                assert_int_equal(sim.meters[i].good, 0);
                // Retries, then pauses of 0.5, 1, 2 … 32, 60, 60 … s over 20 minutes.
                assert_in_range(sim.meters[i].requests, 24, 32);
                continue;
            }
            assert_int_equal(sim.meters[i].missing + sim.meters[i].overload, 0);
            assert_false(sim.agenda.overloaded);
            assert_true(sim.meters[i].late_ms <= TIMEOUT_MS + 20 + burst_ms);
            assert_true(sim.meters[i].gap_ms <= interval_s * SECOND + TIMEOUT_MS + 20 + burst_ms);
        }
        assert_true(sim.lost_before_poll <= 1);
        // Back: the first probe after its return finds it.
        int requests = sim.meters[7].requests;
        while (sim.meters[7].requests == requests)
            run(sim.now_ms + 1);
        assert_true(sim.meters[7].asked_ms - back_ms <= PROBE_MOST_MS + PROBE_PATIENCE_MS + SECOND);
        assert_int_equal(sim.entries[7].probe.misses, 0);
        sim.count_from_ms = sim.now_ms + interval_s * SECOND;
        run(sim.now_ms + 3 * interval_s * SECOND);
        assert_true(sim.meters[7].good >= 1);
        assert_int_equal(sim.meters[19].good, 0);
    }
}

// Noise on the line, which many meters have to be asked again for, is no lack of time.
static void test_noise_is_no_overload(void **state)
{
    (void)state;
    reset();
    for (int i = 0; i < 20; i++) {
        (void)add(5, 45 * i, 20, 3);
        sim.meters[i].dead_ms = begin_ms + (20 + i) * SECOND;
        sim.meters[i].alive_ms = sim.meters[i].dead_ms + 5 * SECOND;
    }
    for (int s = 1; s < 80; s++) {
        run(begin_ms + s * SECOND);
        assert_false(sim.agenda.overloaded);
    }
    for (int i = 0; i < 20; i++)
        assert_int_equal(sim.meters[i].overload, 0);
}

// A lost request is repeated for the same due time, after the polls that wait.
static void test_retry(void **state)
{
    (void)state;
    reset();
    struct sim_meter *lossy = add(10, 0, 20, 3);
    struct sim_meter *other = add(10, 100, 20, 3);
    lossy->dead_ms = begin_ms + 30 * SECOND;
    lossy->alive_ms = begin_ms + 30 * SECOND + 400;
    run(begin_ms + 39 * SECOND);
    assert_int_equal(lossy->good, 3); // the first due time is after the start
    assert_int_equal(lossy->missing, 0);
    assert_int_equal(lossy->looks, 1);
    assert_int_equal(lossy->requests, 5);
    assert_int_equal(lossy->late_ms, TIMEOUT_MS + TIMEOUT_MS);
    assert_int_equal(other->late_ms, TIMEOUT_MS - 100);
}

// All fall silent and come back: the first answer brings the others back at once.
static void test_all_back_together(void **state)
{
    (void)state;
    reset();
    for (int i = 0; i < 10; i++) {
        (void)add(60, 90 * i, 20, 3);
        sim.meters[i].dead_ms = begin_ms + 5 * MINUTE;
        sim.meters[i].alive_ms = begin_ms + 60 * MINUTE + 20 * SECOND;
    }
    run(begin_ms + 60 * MINUTE + 19 * SECOND);
    for (int i = 0; i < 10; i++)
        assert_int_equal(sim.entries[i].probe.pause_ms, PROBE_MOST_MS);
    bool any = false;
    while (!any) {
        run(sim.now_ms + 10);
        for (int i = 0; i < 10; i++)
            any = any || sim.entries[i].probe.misses == 0;
    }
    run(sim.now_ms + 300);
    for (int i = 0; i < 10; i++)
        assert_int_equal(sim.entries[i].probe.misses, 0);
}

static void test_link_back(void **state)
{
    (void)state;
    reset();
    struct sim_meter *meter = add(900, 0, 20, 3);
    meter->dead_ms = begin_ms;
    run(begin_ms + 10 * MINUTE);
    assert_int_equal(sim.entries[0].probe.pause_ms, PROBE_MOST_MS);
    meter->alive_ms = sim.now_ms;
    agenda_link_back(&sim.agenda, boot_ms());
    int requests = meter->requests;
    run(sim.now_ms + 100);
    assert_int_equal(meter->requests, requests + 1);
    assert_int_equal(sim.entries[0].probe.misses, 0);
}

// ---- time that was lost -------------------------------------------------------------------------

// Behind by a little, each due time is missing once; behind by an hour, they are given up.
static void test_stall(void **state)
{
    (void)state;
    reset();
    struct sim_meter *meter = add(1, 0, 20, 3);
    run(begin_ms + 10 * SECOND);
    sim.now_ms += 60 * SECOND;
    run(sim.now_ms + SECOND);
    assert_in_range(meter->overload, 58, 60);
    sim.now_ms += HOUR;
    meter->expected_ms = 0;
    run(sim.now_ms + 10 * SECOND);
    assert_in_range(meter->overload, 58, 60);
    assert_in_range(meter->good, 19, 22);
}

static void test_clock_set(void **state)
{
    (void)state;
    reset();
    struct sim_meter *meter = add(10, 0, 20, 3);
    run(begin_ms + 30 * SECOND);
    int64_t boot = boot_ms();
    for (int i = 0; i < 2; i++) {
        int64_t set_ms = begin_ms + (i == 0 ? -HOUR : HOUR) + 5 * SECOND;
        agenda_restart(&sim.agenda, set_ms);
        struct turn turn = agenda_next(&sim.agenda, set_ms, boot);
        assert_int_equal(turn.kind, TURN_WAIT);
        assert_int_equal(turn.wait_ms, 5 * SECOND);
    }
    assert_int_equal(meter->overload, 0);
}

static int set_up(void **state)
{
    (void)state;
    struct err err;
    return gas_calendar_init(&calendar, "UTC", 0, &err);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_all_keep_their_period),
        cmocka_unit_test(test_boundary_first),
        cmocka_unit_test(test_overload_by_priority),
        cmocka_unit_test(test_random_overload),
        cmocka_unit_test(test_overload_without_bursts),
        cmocka_unit_test(test_overload_ends),
        cmocka_unit_test(test_dead_and_dripping),
        cmocka_unit_test(test_noise_is_no_overload),
        cmocka_unit_test(test_retry),
        cmocka_unit_test(test_all_back_together),
        cmocka_unit_test(test_link_back),
        cmocka_unit_test(test_stall),
        cmocka_unit_test(test_clock_set),
    };
    random_start("test_agenda");
    return cmocka_run_group_tests_name("poll/agenda", tests, set_up, NULL);
}
