#include "bus_fixture.h"

#include <stdatomic.h>

// A task that reads register 10 of unit 17 once a step.
struct work {
    int steps_wanted;
    int pause_ms; // between steps
    atomic_int steps, answers, without_wire, released;
    int64_t last_ms[3]; // boot clock of the newest steps, newest first
};

static int64_t work_step(void *context, struct wire *wire, int64_t now_boot_ms)
{
    struct work *work = context;
    work->last_ms[2] = work->last_ms[1];
    work->last_ms[1] = work->last_ms[0];
    work->last_ms[0] = now_boot_ms;
    if (wire == NULL) {
        (void)atomic_fetch_add(&work->without_wire, 1);
    } else {
        struct request request = {.unit = 17, .function = 3, .first = 10, .count = 1};
        struct reply reply;
        wire_transact(wire, &request, &reply);
        if (reply.why == WHY_NONE && reply.words[0] >> 8 == 10)
            (void)atomic_fetch_add(&work->answers, 1);
    }
    int steps = atomic_fetch_add(&work->steps, 1) + 1;
    return steps == work->steps_wanted ? -1 : now_boot_ms + work->pause_ms;
}

static void work_release(void *context)
{
    struct work *work = context;
    (void)atomic_fetch_add(&work->released, 1);
}

static int add(struct work *work, int step_ms, struct err *err)
{
    struct bus_task task = {work_step, work_release, work, step_ms};
    return bus_add_task(site.bus, &task, err);
}

static void wait_until(atomic_int *figure, int least)
{
    int64_t limit_ms = clock_boot_ms(&clock_system) + 15000;
    while (atomic_load(figure) < least && clock_boot_ms(&clock_system) < limit_ms)
        (void)nanosleep(&(struct timespec){.tv_nsec = 2000000}, NULL);
    if (atomic_load(figure) < least)
        fail_msg("only %d of %d came", atomic_load(figure), least);
}

static void stop_bus(void)
{
    bus_stop(site.bus);
    site.bus = NULL;
}

// Two tasks share the time that polls leave; every poll stays on time.
static void test_between_polls(void **state)
{
    (void)state;
    start(FAKE_TCP, 2, 1, NULL, NULL);
    start_bus(&clock_system);
    struct work first = {.steps_wanted = 20, .pause_ms = 40};
    struct work second = {.steps_wanted = 20, .pause_ms = 40};
    struct err err;
    assert_int_equal(add(&first, 10, &err), 0);
    assert_int_equal(add(&second, 10, &err), 0);
    wait_until(&first.released, 1);
    wait_until(&second.released, 1);
    wait_for(4, 0);
    stop_bus();
    assert_int_equal(atomic_load(&first.answers), 20);
    assert_int_equal(atomic_load(&second.answers), 20);
    assert_int_equal(atomic_load(&first.released), 1);
    assert_true(first.last_ms[0] - first.last_ms[1] >= 40);
    for (int i = 0; i < taken.count; i++)
        assert_true(taken.list[i]->answered);
    assert_int_equal(link_figure("late"), 0);
    end();
}

static int64_t advanced_wall_ms(void *context)
{
    atomic_llong *by_ms = context;
    return clock_wall_ms(&clock_system) + atomic_load(by_ms);
}

static int64_t advanced_boot_ns(void *context)
{
    atomic_llong *by_ms = context;
    return clock_boot_ns(&clock_system) + atomic_load(by_ms) * 1000000;
}

// A task that needs more time than polls ever leave waits, but not for ever.
static void test_starved(void **state)
{
    (void)state;
    atomic_llong by_ms = 0;
    struct clock clock = {advanced_boot_ns, advanced_wall_ms, &by_ms};
    start(FAKE_TCP, 1, 1, NULL, NULL);
    start_bus(&clock);
    wait_for(1, 0);
    struct work work = {.steps_wanted = 2};
    struct err err;
    int64_t added_ms = clock_boot_ms(&clock);
    assert_int_equal(add(&work, 1500, &err), 0);
    wait_for(4, 0);
    assert_int_equal(atomic_load(&work.steps), 0);
    atomic_store(&by_ms, TASK_STARVED_MS);
    wait_until(&work.steps, 1);
    wait_for(6, 0);
    assert_int_equal(atomic_load(&work.steps), 1);
    assert_true(work.last_ms[0] - added_ms >= TASK_STARVED_MS);
    stop_bus();
    assert_int_equal(atomic_load(&work.released), 1);
    end();
}

static void test_link_down(void **state)
{
    (void)state;
    start(FAKE_TCP, 1, 1, NULL, NULL);
    fake_unplug(site.fake);
    start_bus(&clock_system);
    struct work work = {.steps_wanted = 2, .pause_ms = 10};
    struct err err;
    assert_int_equal(add(&work, 10, &err), 0);
    wait_until(&work.released, 1);
    stop_bus();
    assert_int_equal(atomic_load(&work.without_wire), 2);
    assert_int_equal(atomic_load(&work.released), 1);
    end();
}

static void test_too_many(void **state)
{
    (void)state;
    start(FAKE_TCP, 1, 3600, NULL, NULL);
    start_bus(&clock_system);
    struct work works[TASKS_MAX + 1] = {0};
    struct err err = {""};
    for (int i = 0; i < TASKS_MAX; i++) {
        works[i].pause_ms = 20;
        assert_int_equal(add(&works[i], 10, &err), 0);
    }
    assert_int_equal(add(&works[TASKS_MAX], 10, &err), -1);
    assert_non_null(strstr(err.text, "hall-1"));
    for (int i = 0; i < TASKS_MAX; i++)
        wait_until(&works[i].steps, 3);
    stop_bus();
    for (int i = 0; i < TASKS_MAX; i++)
        assert_int_equal(atomic_load(&works[i].released), 1);
    assert_int_equal(atomic_load(&works[TASKS_MAX].released), 0);
    end();
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_teardown(test_between_polls, tear_down),
        cmocka_unit_test_teardown(test_starved, tear_down),
        cmocka_unit_test_teardown(test_link_down, tear_down),
        cmocka_unit_test_teardown(test_too_many, tear_down),
    };
    return cmocka_run_group_tests_name("poll/bus_tasks", tests, set_up, NULL);
}
