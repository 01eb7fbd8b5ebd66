#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "record/care.h"

#define MINUTE INT64_C(60000)
#define DAY (24 * 60 * MINUTE)
#define NOW INT64_C(1795420800000)

static struct care_facts facts_at(int64_t boot_ms)
{
    return (struct care_facts){.boot_ms = boot_ms, .wall_ms = NOW + boot_ms, .raw_days = 90};
}

// Takes every step that is due; `gone` of each. Returns how many, and what they were.
static int take_all(struct care *care, const struct care_facts *facts, struct care_task *tasks,
                    int max)
{
    int count = 0;
    struct care_task task;
    while ((task = care_next(care, facts)).kind != CARE_NOTHING) {
        assert_true(count < max);
        tasks[count++] = task;
        care_done(care, &task, 0, facts->boot_ms);
    }
    return count;
}

static void test_spans_of_time(void **state)
{
    (void)state;
    struct care care;
    struct care_task tasks[20];
    care_init(&care, 5000);
    struct care_facts facts = facts_at(5000);
    assert_int_equal(care_next(&care, &facts).kind, CARE_NOTHING); // not in the first minute
    facts = facts_at(5000 + MINUTE);
    assert_int_equal(care_due_ms(&care), facts.boot_ms);
    assert_int_equal(take_all(&care, &facts, tasks, 20), 12);
    static const int days[SPAN_MONTH + 1] = {
        [SPAN_1MIN] = 400,  [SPAN_5MIN] = 400, [SPAN_15MIN] = 400, [SPAN_30MIN] = 400,
        [SPAN_HOUR] = 1096, [SPAN_DAY] = 3653, [SPAN_MONTH] = 3653};
    int seen[CARE_VACUUM + 1] = {0};
    for (int i = 0; i < 12; i++) {
        int64_t age = facts.wall_ms - tasks[i].before_ms;
        seen[tasks[i].kind]++;
        if (tasks[i].kind == CARE_READINGS)
            assert_int_equal(age, 90 * DAY);
        else if (tasks[i].kind == CARE_PERIODS)
            assert_int_equal(age, days[tasks[i].span] * DAY);
        else if (tasks[i].kind == CARE_LEDGERS)
            assert_int_equal(age, 3684 * DAY);
        else if (tasks[i].kind == CARE_OUTLOOKS)
            assert_int_equal(age, 62 * DAY);
        else
            assert_int_equal(age, 4018 * DAY);
    }
    assert_int_equal(seen[CARE_READINGS], 1);
    assert_int_equal(seen[CARE_PERIODS], 7);
    assert_int_equal(seen[CARE_ALERTS], 1);
    assert_int_equal(seen[CARE_GAPS], 1);
    assert_int_equal(seen[CARE_LEDGERS], 1);
    assert_int_equal(seen[CARE_OUTLOOKS], 1);
    // readings each minute, the others each hour
    facts = facts_at(5000 + 2 * MINUTE);
    assert_int_equal(take_all(&care, &facts, tasks, 20), 1);
    assert_int_equal(tasks[0].kind, CARE_READINGS);
    facts = facts_at(5000 + 61 * MINUTE);
    assert_int_equal(take_all(&care, &facts, tasks, 20), 12);
}

static void test_a_full_step_is_due_again_at_once(void **state)
{
    (void)state;
    struct care care;
    care_init(&care, 0);
    struct care_facts facts = facts_at(MINUTE);
    for (int i = 0; i < 5; i++) {
        struct care_task task = care_next(&care, &facts);
        assert_int_equal(task.kind, CARE_READINGS);
        care_done(&care, &task, task.max, facts.boot_ms);
        assert_int_equal(care_due_ms(&care), facts.boot_ms);
    }
    struct care_task task = care_next(&care, &facts);
    care_done(&care, &task, -1, facts.boot_ms); // failed: not again at once
    assert_int_not_equal(care_next(&care, &facts).kind, CARE_READINGS);
}

static bool vacuums(struct care *care, struct care_facts *facts, int64_t free_bytes)
{
    struct care_task tasks[20];
    facts->boot_ms += 60 * MINUTE;
    facts->file_bytes = INT64_C(160) << 20;
    facts->free_bytes = free_bytes;
    int count = take_all(care, facts, tasks, 20);
    return tasks[count - 1].kind == CARE_VACUUM;
}

// From an eighth of the file on, down to a sixteenth.
static void test_vacuum_has_two_thresholds(void **state)
{
    (void)state;
    struct care care;
    care_init(&care, 0);
    struct care_facts facts = facts_at(0);
    assert_false(vacuums(&care, &facts, INT64_C(15) << 20));
    assert_true(vacuums(&care, &facts, INT64_C(21) << 20));
    assert_true(vacuums(&care, &facts, INT64_C(15) << 20));
    assert_true(vacuums(&care, &facts, INT64_C(11) << 20));
    assert_false(vacuums(&care, &facts, INT64_C(9) << 20));
    assert_false(vacuums(&care, &facts, INT64_C(15) << 20));
    facts.file_bytes = 2 << 20; // a small store is left alone
    facts.free_bytes = 1 << 19;
    facts.boot_ms += 60 * MINUTE;
    struct care_task tasks[20];
    assert_int_equal(take_all(&care, &facts, tasks, 20), 12);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_spans_of_time),
        cmocka_unit_test(test_a_full_step_is_due_again_at_once),
        cmocka_unit_test(test_vacuum_has_two_thresholds),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
