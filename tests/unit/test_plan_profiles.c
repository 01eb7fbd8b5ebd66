// What planning is worth on the profiles that ship: bus time of a poll at 9600 Bd 8N1 against the
// obvious plan, one request for each contiguous run of needed registers. tests/bench/plan_frames.py
// counts the same from frames on a wire.
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "base/file.h"
#include "config/config.h"
#include "poll/plan.h"

#include <glob.h>
#include <stdio.h>
#include <stdlib.h>

#define SAVED_BAR 25 // percent of the obvious plans' time, over all profiles

struct run {
    int function, register_size;
    int first, end;
};

static bool in_run(const struct field *field, const struct run *run)
{
    return field->function == run->function && field->register_size == run->register_size &&
           field->first >= run->first && field_end(field) <= run->end;
}

static bool touches(const struct field *field, int first, int end)
{
    return field->first < end && field_end(field) > first;
}

// Where a group or a value that begins before `end` of this run goes on to.
static int must_reach(const struct profile *profile, const struct run *run, int end)
{
    for (bool grown = true; grown;) {
        grown = false;
        for (int i = 0; i < profile->field_count; i++) {
            const struct field *field = &profile->fields[i];
            if (!in_run(field, run) || field->first >= end || field_end(field) <= end)
                continue;
            end = field_end(field);
            grown = true;
        }
        for (int i = 0; i < profile->together_count; i++) {
            const struct profile_together *group = &profile->together[i];
            for (int j = 0; j < profile->field_count; j++) {
                const struct field *field = &profile->fields[j];
                bool cut = group->first < end && group->last >= end && in_run(field, run) &&
                           touches(field, group->first, group->last + 1) && field_end(field) > end;
                end = cut ? field_end(field) : end;
                grown = grown || cut;
            }
        }
    }
    return end;
}

// Requests of a run, each as long as the meter bears without cutting a value or a group.
static int run_requests(const struct profile *profile, const struct run *run,
                        const struct link_cost *cost, int64_t *cost_ns)
{
    int count = 0;
    int most = profile->limits.max_registers;
    if (most * run->register_size > 250)
        most = 250 / run->register_size;
    for (int from = run->first; from < run->end;) {
        int to = from;
        while (to < run->end && must_reach(profile, run, to + 1) - from <= most)
            to = must_reach(profile, run, to + 1);
        assert_true(to > from);
        struct request request = {.function = (uint8_t)run->function,
                                  .count = (uint16_t)(to - from),
                                  .register_size = (uint8_t)run->register_size};
        *cost_ns += cost_request_ns(cost, &request);
        count++;
        from = to;
    }
    return count;
}

static bool is_needed(const struct profile *profile, const struct run *like, int at)
{
    for (int i = 0; i < profile->field_count; i++) {
        const struct field *field = &profile->fields[i];
        if (field->function != like->function || field->register_size != like->register_size)
            continue;
        if (touches(field, at, at + 1))
            return true;
        // Between two values of one group.
        for (int g = 0; g < profile->together_count; g++) {
            const struct profile_together *group = &profile->together[g];
            if (at >= group->first && at <= group->last && field->first >= group->first &&
                field_end(field) - 1 <= group->last && at < field->first && at > group->first)
                return true;
        }
    }
    return false;
}

static int obvious_plan(const struct profile *profile, const struct link_cost *cost,
                        int64_t *cost_ns)
{
    int count = 0;
    *cost_ns = 0;
    for (int kind = 0; kind < 8; kind++) {
        struct run run = {.function = 1 + kind / 2, .register_size = kind % 2 == 0 ? 2 : 4};
        for (int at = 0; at < 65536; at = run.end + 1) {
            run.first = at;
            while (run.first < 65536 && !is_needed(profile, &run, run.first))
                run.first++;
            run.end = run.first;
            while (run.end < 65536 && is_needed(profile, &run, run.end))
                run.end++;
            if (run.end > run.first)
                count += run_requests(profile, &run, cost, cost_ns);
        }
    }
    return count;
}

static struct profile *load(const char *path)
{
    struct buf text;
    struct err err;
    static struct faults faults;
    struct profile *profile = NULL;
    buf_init(&text, CONFIG_TEXT_MAX);
    assert_int_equal(file_read(path, &text, &err), 0);
    faults.count = 0;
    if (profile_load_text(path, text.data, text.length, &profile, &faults) != 0)
        fail_msg("%s: %s", path, faults.list[0].message);
    buf_release(&text);
    return profile;
}

// Adds a profile's two times, in ns.
static void compare(const struct profile *profile, const struct link_cost *cost, bool print,
                    int64_t sums[2])
{
    struct plan *plan = plan_new(profile, cost);
    assert_non_null(plan);
    int64_t obvious_ns = 0;
    int64_t ours_ns = 0;
    int obvious = obvious_plan(profile, cost, &obvious_ns);
    for (int i = 0; i < plan->block_count; i++) {
        struct request request = plan_request(&plan->blocks[i]);
        ours_ns += cost_request_ns(cost, &request);
    }
    if (print) {
        (void)fprintf(
            stderr, "  %-24s %2d requests %6.1f ms, obvious %2d requests %6.1f ms, %4.1f %% less\n",
            profile->name, plan->block_count, (double)ours_ns / 1e6, obvious,
            (double)obvious_ns / 1e6, 100 - 100.0 * (double)ours_ns / (double)obvious_ns);
    }
    assert_true(ours_ns <= obvious_ns);
    sums[0] += ours_ns;
    sums[1] += obvious_ns;
    free(plan);
}

static double saved_at(const glob_t *found, const char *url_text, int turnaround_ms, bool print)
{
    struct link_url url;
    struct link_cost cost;
    struct err err;
    int64_t sums[2] = {0, 0};
    assert_int_equal(link_url_parse(url_text, &url, &err), 0);
    link_cost_of(&url, 0, &cost);
    cost.request_ns += (turnaround_ms - COST_TURNAROUND_MS) * INT64_C(1000000);
    for (size_t i = 0; i < found->gl_pathc; i++) {
        struct profile *profile = load(found->gl_pathv[i]);
        compare(profile, &cost, print, sums);
        profile_free(profile);
    }
    double saved = 100 - 100.0 * (double)sums[0] / (double)sums[1];
    (void)fprintf(stderr, "%s, meters that take %d ms: %.1f %% less bus time\n", url_text,
                  turnaround_ms, saved);
    return saved;
}

static void test_shipped_profiles(void **state)
{
    (void)state;
    glob_t found;
    assert_int_equal(glob("drivers/profiles/*.yaml", 0, NULL, &found), 0);
    assert_true(found.gl_pathc >= 4);
    const char *url = "rtu:///dev/ttyS0?baud=9600&parity=N&stop=1";
    double saved = saved_at(&found, url, COST_TURNAROUND_MS, true);
    // How much hangs on what a meter takes: never worse with any.
    (void)saved_at(&found, url, 5, false);
    (void)saved_at(&found, url, 60, false);
    (void)saved_at(&found, "rtu:///dev/ttyS0?baud=1200&parity=E&stop=1", COST_TURNAROUND_MS, false);
    (void)saved_at(&found, "rtu:///dev/ttyS0?baud=38400&parity=N&stop=1", COST_TURNAROUND_MS,
                   false);
    globfree(&found);
    assert_true(saved >= SAVED_BAR);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_shipped_profiles)};
    return cmocka_run_group_tests_name("poll/plan profiles", tests, NULL, NULL);
}
