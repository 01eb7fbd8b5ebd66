// The plan against every other way to ask for the same fields: random small profiles and links, the
// fields parted into requests in each possible way, by the letter of the rules and nothing else.
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "poll/plan.h"

#include "property.h"

#include <stdlib.h>
#include <string.h>

#define FIELDS_MAX 9
#define SPACE 70 // registers used are 0..SPACE - 1
#define ROUNDS 20000

static struct profile profile; // too large for some stacks

static void random_field(int space)
{
    int function = random_between(0, 2) > 0 ? 3 : (int)random_between(1, 4);
    int words = function <= 2 ? 1 : (int)random_between(1, 4);
    bool wide = function >= 3 && words % 2 == 0 && random_between(0, 9) == 0;
    int registers = wide ? words / 2 : words;
    profile.fields[profile.field_count++] = (struct field){
        .function = (uint8_t)function,
        .first = (uint16_t)random_between(0, space - registers),
        .words = (uint8_t)words,
        .register_size = wide ? 4 : 2,
    };
}

static void random_profile(void)
{
    int space = (int)random_between(8, SPACE);
    profile = (struct profile){.limits = {.max_registers = (uint16_t)random_between(3, 30),
                                          .max_gap = (uint16_t)random_between(0, 25)}};
    for (int i = (int)random_between(1, FIELDS_MAX); i > 0; i--)
        random_field(space);
    for (int i = (int)random_between(-2, 2); i > 0; i--) {
        int first = (int)random_between(0, space - 1);
        profile.together[profile.together_count++] =
            (struct profile_together){(uint16_t)first, (uint16_t)(first + random_between(1, 8))};
    }
}

static void random_link(struct link_cost *cost)
{
    static const int bauds[] = {300, 1200, 9600, 19200, 38400, 115200};
    struct link_url url = {
        .kind = (enum link_kind)random_between(0, 2),
        .baud = bauds[random_between(0, 5)],
        .parity = "NEO"[random_between(0, 2)],
        .stop = (int)random_between(1, 2),
    };
    link_cost_of(&url, (int)random_between(0, 1) * (int)random_between(0, 100), cost);
}

// ---- the rules ----------------------------------------------------------------------------------

static bool alike(const struct field *a, const struct field *b)
{
    return a->function == b->function && a->register_size == b->register_size;
}

static bool touches(const struct field *field, const struct profile_together *group)
{
    return field->first <= group->last && field_end(field) > group->first;
}

// Marks the registers that may be read whatever max_gap says: those of values, and between values
// that must be read together.
static void mark_readable(const struct field *like, bool readable[SPACE])
{
    memset(readable, 0, SPACE * sizeof readable[0]);
    for (int i = 0; i < profile.field_count; i++) {
        const struct field *a = &profile.fields[i];
        for (int at = a->first; alike(a, like) && at < field_end(a); at++)
            readable[at] = true;
        for (int j = 0; j < profile.field_count; j++) {
            const struct field *b = &profile.fields[j];
            bool grouped = false;
            for (int g = 0; g < profile.together_count; g++) {
                grouped = grouped ||
                          (touches(a, &profile.together[g]) && touches(b, &profile.together[g]));
            }
            for (int at = a->first; grouped && alike(a, like) && alike(b, like) && at < b->first;
                 at++)
                readable[at] = true;
        }
    }
}

static bool splits_a_group(unsigned set)
{
    for (int g = 0; g < profile.together_count; g++)
        for (int i = 0; i < profile.field_count; i++)
            for (int j = 0; j < profile.field_count; j++)
                if ((set >> i & 1) != 0 && (set >> j & 1) == 0 &&
                    alike(&profile.fields[i], &profile.fields[j]) &&
                    touches(&profile.fields[i], &profile.together[g]) &&
                    touches(&profile.fields[j], &profile.together[g]))
                    return true;
    return false;
}

// Time of one request for a set of fields, -1 where it is against the rules.
static int64_t request_cost(unsigned set, const struct link_cost *cost)
{
    const struct field *one = NULL;
    int first = SPACE;
    int end = 0;
    for (int i = 0; i < profile.field_count; i++) {
        const struct field *field = &profile.fields[i];
        if ((set >> i & 1) == 0)
            continue;
        if (one != NULL && !alike(one, field))
            return -1;
        one = field;
        first = field->first < first ? field->first : first;
        end = field_end(field) > end ? field_end(field) : end;
    }
    if (end - first > profile.limits.max_registers || splits_a_group(set))
        return -1;
    bool readable[SPACE];
    mark_readable(one, readable);
    for (int at = first, run = 0; at < end; at++) {
        run = readable[at] ? 0 : run + 1;
        if (run > profile.limits.max_gap)
            return -1;
    }
    struct request request = {.function = one->function,
                              .count = (uint16_t)(end - first),
                              .register_size = one->register_size};
    return cost_request_ns(cost, &request);
}

// The least time over all ways to part the fields, -1 where there is none.
static int64_t least_cost(const struct link_cost *cost)
{
    static int64_t alone[1 << FIELDS_MAX];
    static int64_t best[1 << FIELDS_MAX];
    unsigned all = 1U << profile.field_count;
    for (unsigned set = 1; set < all; set++)
        alone[set] = request_cost(set, cost);
    best[0] = 0;
    for (unsigned set = 1; set < all; set++) {
        best[set] = -1;
        for (unsigned part = set; part > 0; part = (part - 1) & set) {
            if (alone[part] < 0 || best[set & ~part] < 0)
                continue;
            int64_t sum = alone[part] + best[set & ~part];
            best[set] = best[set] < 0 || sum < best[set] ? sum : best[set];
        }
    }
    return best[all - 1];
}

// ---- the plan -----------------------------------------------------------------------------------

// Time of a plan's requests; fails where one is against the rules or a field is not in just one.
static int64_t plan_cost(const struct plan *plan, const struct link_cost *cost)
{
    int64_t sum = 0;
    unsigned seen = 0;
    for (int b = 0; b < plan->block_count; b++) {
        const struct plan_block *block = &plan->blocks[b];
        unsigned set = 0;
        for (int i = 0; i < block->field_count; i++)
            set |= 1U << plan->fields[block->field_first + i];
        assert_int_equal(set & seen, 0);
        seen |= set;
        struct request request = plan_request(block);
        assert_true(request_cost(set, cost) == cost_request_ns(cost, &request));
        sum += cost_request_ns(cost, &request);
    }
    assert_int_equal(seen, (1U << profile.field_count) - 1);
    return sum;
}

static void test_nothing_is_better(void **state)
{
    (void)state;
    int made = 0;
    int joined = 0;
    for (int round = 0; round < ROUNDS; round++) {
        struct link_cost cost;
        random_profile();
        random_link(&cost);
        int64_t least = least_cost(&cost);
        struct plan *plan = plan_new(&profile, &cost);
        assert_int_equal(plan == NULL, least < 0);
        if (plan == NULL)
            continue;
        made++;
        joined += plan->block_count < profile.field_count ? 1 : 0;
        int64_t took = plan_cost(plan, &cost);
        if (took != least) {
            fail_msg("round %d: %lld ns, the best takes %lld", round, (long long)took,
                     (long long)least);
        }
        free(plan);
    }
    // The rounds were about something.
    assert_true(made > ROUNDS / 2 && joined > ROUNDS / 2);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_nothing_is_better)};
    random_start("test_plan_best");
    return cmocka_run_group_tests_name("poll/plan best", tests, NULL, NULL);
}
