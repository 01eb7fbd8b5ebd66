#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "poll/plan.h"

#include "property.h"

static struct profile profile; // too large for some stacks

static struct plan *plan;

// At 9600 baud 8N1.
static bool make(void)
{
    struct link_cost cost;
    link_cost_of(&(struct link_url){.kind = LINK_RTU, .baud = 9600, .parity = 'N', .stop = 1}, 0,
                 &cost);
    free(plan);
    plan = plan_new(&profile, &cost);
    return plan != NULL;
}

static int release(void **state)
{
    (void)state;
    free(plan);
    plan = NULL;
    return 0;
}

static void add_field(int function, int first, int words)
{
    profile.fields[profile.field_count++] = (struct field){
        .function = (uint8_t)function, .first = (uint16_t)first, .words = (uint8_t)words};
}

static void start(int max_registers, int max_gap)
{
    profile = (struct profile){
        .limits = {.max_registers = (uint16_t)max_registers, .max_gap = (uint16_t)max_gap}};
}

static void expect_block(const struct plan_block *block, int function, int first, int count,
                         int fields)
{
    assert_int_equal(block->function, function);
    assert_int_equal(block->first, first);
    assert_int_equal(block->count, count);
    assert_int_equal(block->field_count, fields);
}

static void fuxin(void)
{
    static const int rows[][2] = {{18, 3}, {23, 3}, {16, 2}, {21, 2}, {26, 2}, {28, 2}};
    for (int i = 0; i < 6; i++)
        add_field(3, rows[i][0], rows[i][1]);
}

static void test_one_request(void **state)
{
    (void)state;
    start(60, 8);
    fuxin();
    assert_true(make());
    assert_int_equal(plan->block_count, 1);
    expect_block(&plan->blocks[0], 3, 16, 14, 6);
}

static void test_limits_split(void **state)
{
    (void)state;
    start(5, 8);
    fuxin();
    assert_true(make());
    assert_int_equal(plan->block_count, 3);
    expect_block(&plan->blocks[0], 3, 16, 5, 2);
    expect_block(&plan->blocks[1], 3, 21, 5, 2);
    expect_block(&plan->blocks[2], 3, 26, 4, 2);
}

static void test_gaps_and_functions(void **state)
{
    (void)state;
    start(60, 3);
    add_field(3, 10, 2);
    add_field(3, 15, 2); // gap of 3
    add_field(3, 21, 1); // gap of 4
    add_field(4, 12, 2);
    add_field(1, 12, 1);
    assert_true(make());
    assert_int_equal(plan->block_count, 4);
    expect_block(&plan->blocks[0], 1, 12, 1, 1);
    expect_block(&plan->blocks[1], 3, 10, 7, 2);
    expect_block(&plan->blocks[2], 3, 21, 1, 1);
    expect_block(&plan->blocks[3], 4, 12, 2, 1);
}

static void test_together_beats_gap(void **state)
{
    (void)state;
    start(60, 0);
    add_field(3, 10, 2);
    add_field(3, 40, 2);
    add_field(3, 70, 1);
    profile.together[profile.together_count++] = (struct profile_together){10, 41};
    assert_true(make());
    assert_int_equal(plan->block_count, 2);
    expect_block(&plan->blocks[0], 3, 10, 32, 2);

    profile.limits.max_registers = 31;
    assert_false(make());
}

static void add_wide(int first, int words)
{
    add_field(3, first, words);
    profile.fields[profile.field_count - 1].register_size = 4;
}

// Registers of four bytes: a request counts numbers, its reply is twice as long, and the two kinds
// of register never share one.
static void test_wide_registers(void **state)
{
    (void)state;
    start(62, 8);
    add_wide(7001, 2);
    add_wide(7002, 2);
    add_wide(7012, 4); // 7012 and 7013, after a gap of 9
    add_wide(7014, 2);
    add_field(3, 7015, 1);
    assert_true(make());
    assert_int_equal(plan->block_count, 3);
    expect_block(&plan->blocks[0], 3, 7015, 1, 1);
    expect_block(&plan->blocks[1], 3, 7001, 2, 2);
    expect_block(&plan->blocks[2], 3, 7012, 3, 2);
    struct request request = plan_request(&plan->blocks[2]);
    assert_int_equal(frame_data_size(&request), 12);
    struct plan_block both[2];
    assert_false(plan_cut(plan, &profile, &plan->blocks[2], 7013, both));
    assert_true(plan_cut(plan, &profile, &plan->blocks[2], 7014, both));
    expect_block(&both[0], 3, 7012, 2, 1);

    // 63 numbers are more than a reply holds, whatever the profile says.
    start(125, 8);
    for (int i = 0; i < 63; i++)
        add_wide(7001 + i, 2);
    assert_true(make());
    assert_int_equal(plan->block_count, 2);
}

static void random_profile(void)
{
    start((int)random_between(1, 125), (int)random_between(0, 20));
    int count = (int)random_between(1, PROFILE_FIELDS_MAX);
    for (int i = 0; i < count; i++) {
        int function = (int)random_between(1, 4);
        int words = function < 3 ? 1 : (int)random_between(1, 4);
        add_field(function, (int)random_between(0, 400), words);
    }
    count = (int)random_between(0, 4);
    for (int i = 0; i < count; i++) {
        int first = (int)random_between(0, 400);
        profile.together[profile.together_count++] =
            (struct profile_together){(uint16_t)first, (uint16_t)(first + random_between(0, 20))};
    }
}

static bool holds(const struct plan_block *block, const struct field *field)
{
    return field->function == block->function && field->first >= block->first &&
           field->first + field->words <= block->first + block->count;
}

static bool in_group(const struct field *field, const struct profile_together *group)
{
    return field->first <= group->last && field->first + field->words > group->first;
}

// Which block each field is in; fails unless it is exactly one, that holds it whole.
static void check_cover(const struct plan_block *blocks, int count, int *block_of)
{
    for (int i = 0; i < profile.field_count; i++)
        block_of[i] = -1;
    for (int b = 0; b < count; b++) {
        assert_in_range(blocks[b].count, 1, profile.limits.max_registers);
        for (int i = 0; i < blocks[b].field_count; i++) {
            int field = plan->fields[blocks[b].field_first + i];
            assert_in_range(field, 0, profile.field_count - 1);
            assert_int_equal(block_of[field], -1);
            assert_true(holds(&blocks[b], &profile.fields[field]));
            block_of[field] = b;
        }
    }
}

static void check_groups(const int *block_of)
{
    for (int g = 0; g < profile.together_count; g++) {
        for (int i = 0; i < profile.field_count; i++) {
            for (int j = 0; j < i; j++) {
                const struct field *a = &profile.fields[i];
                const struct field *b = &profile.fields[j];
                if (a->function == b->function && in_group(a, &profile.together[g]) &&
                    in_group(b, &profile.together[g]))
                    assert_int_equal(block_of[i], block_of[j]);
            }
        }
    }
}

// Longest run of registers that no field uses, in one block.
static int widest_gap(const struct plan_block *block)
{
    int widest = 0;
    int run = 0;
    for (int at = block->first; at < block->first + block->count; at++) {
        bool used = false;
        for (int i = 0; i < block->field_count; i++) {
            const struct field *field = &profile.fields[plan->fields[block->field_first + i]];
            used = used || (at >= field->first && at < field->first + field->words);
        }
        run = used ? 0 : run + 1;
        widest = run > widest ? run : widest;
    }
    return widest;
}

static void check_cuts(void)
{
    const struct plan_block *block = &plan->blocks[random_between(0, plan->block_count - 1)];
    for (int at = block->first; at <= block->first + block->count; at++) {
        struct plan_block both[2];
        if (!plan_cut(plan, &profile, block, at, both))
            continue;
        int block_of[PROFILE_FIELDS_MAX];
        check_cover(both, 2, block_of);
        assert_int_equal(both[0].field_count + both[1].field_count, block->field_count);
        assert_true(both[0].first + both[0].count <= at && both[1].first >= at);
        for (int i = 0; i < profile.field_count; i++)
            block_of[i] = block_of[i] < 0 ? 2 : block_of[i];
        check_groups(block_of);
    }
}

static void test_random_profiles(void **state)
{
    (void)state;
    int made = 0;
    for (int round = 0; round < 20000; round++) {
        random_profile();
        if (!make())
            continue;
        made++;
        int block_of[PROFILE_FIELDS_MAX];
        check_cover(plan->blocks, plan->block_count, block_of);
        for (int i = 0; i < profile.field_count; i++)
            assert_int_not_equal(block_of[i], -1);
        check_groups(block_of);
        check_cuts();
        for (int b = 0; b < plan->block_count && profile.together_count == 0; b++)
            assert_true(widest_gap(&plan->blocks[b]) <= profile.limits.max_gap);
    }
    assert_in_range(made, 5000, 20000);
}

static void test_cut_refuses(void **state)
{
    (void)state;
    start(60, 8);
    fuxin();
    profile.together[profile.together_count++] = (struct profile_together){18, 22};
    assert_true(make());
    struct plan_block both[2];
    const struct plan_block *block = &plan->blocks[0];
    assert_false(plan_cut(plan, &profile, block, 16, both)); // nothing before
    assert_false(plan_cut(plan, &profile, block, 17, both)); // in a field
    assert_false(plan_cut(plan, &profile, block, 21, both)); // in a group
    assert_false(plan_cut(plan, &profile, block, 30, both)); // nothing after
    assert_true(plan_cut(plan, &profile, block, 18, both));
    expect_block(&both[0], 3, 16, 2, 1);
    expect_block(&both[1], 3, 18, 12, 5);
    assert_true(plan_cut(plan, &profile, block, 26, both));
    expect_block(&both[0], 3, 16, 10, 4);
    expect_block(&both[1], 3, 26, 4, 2);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_one_request),        cmocka_unit_test(test_limits_split),
        cmocka_unit_test(test_gaps_and_functions), cmocka_unit_test(test_together_beats_gap),
        cmocka_unit_test(test_wide_registers),     cmocka_unit_test(test_random_profiles),
        cmocka_unit_test(test_cut_refuses),
    };
    random_start("test_plan");
    return cmocka_run_group_tests_name("poll/plan", tests, NULL, release);
}
