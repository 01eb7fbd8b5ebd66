#include "poll/plan.h"

#include <stdlib.h>
#include <string.h>

// Fields that must be read together: registers first..last of one function.
struct item {
    uint8_t function;
    int first, last;
    int field_count;
    uint8_t fields[PROFILE_FIELDS_MAX];
};

static int field_last(const struct field *field)
{
    return field->first + field->words - 1;
}

static void item_join(struct item *item, const struct item *other)
{
    item->first = item->first < other->first ? item->first : other->first;
    item->last = item->last > other->last ? item->last : other->last;
    memcpy(item->fields + item->field_count, other->fields, (size_t)other->field_count);
    item->field_count += other->field_count;
}

// Joins all items of one function that a group touches. Returns how many items are left.
static int join_group(struct item *items, int count, const struct profile_together *group)
{
    for (int i = 0; i < count; i++) {
        if (items[i].first > group->last || items[i].last < group->first)
            continue;
        for (int j = count - 1; j > i; j--) {
            if (items[j].function == items[i].function && items[j].first <= group->last &&
                items[j].last >= group->first) {
                item_join(&items[i], &items[j]);
                items[j] = items[--count];
            }
        }
    }
    return count;
}

static int compare_items(const void *left, const void *right)
{
    const struct item *a = left;
    const struct item *b = right;
    if (a->function != b->function)
        return a->function - b->function;
    return a->first != b->first ? a->first - b->first : a->last - b->last;
}

static int make_items(const struct profile *profile, struct item *items)
{
    int count = 0;
    for (int i = 0; i < profile->field_count; i++) {
        const struct field *field = &profile->fields[i];
        items[count++] = (struct item){field->function, field->first, field_last(field), 1, {0}};
        items[i].fields[0] = (uint8_t)i;
    }
    for (int i = 0; i < profile->together_count; i++)
        count = join_group(items, count, &profile->together[i]);
    qsort(items, (size_t)count, sizeof items[0], compare_items);
    return count;
}

static bool block_takes(const struct plan_block *block, const struct item *item,
                        const struct profile_limits *limits)
{
    int end = block->first + block->count;
    int span = item->last + 1 - block->first;
    return item->function == block->function && item->first - end <= limits->max_gap &&
           span <= limits->max_registers;
}

static void block_add(struct plan_block *block, const struct item *item)
{
    int span = item->last + 1 - block->first;
    block->count = (uint16_t)(span > block->count ? span : block->count);
    memcpy(block->fields + block->field_count, item->fields, (size_t)item->field_count);
    block->field_count = (uint8_t)(block->field_count + item->field_count);
}

static int join_items(const struct item *items, int count, const struct profile_limits *limits,
                      struct plan *plan)
{
    plan->block_count = 0;
    struct plan_block *block = NULL;
    for (int i = 0; i < count; i++) {
        if (items[i].last - items[i].first >= limits->max_registers)
            return -1;
        if (block == NULL || !block_takes(block, &items[i], limits)) {
            block = &plan->blocks[plan->block_count++];
            *block = (struct plan_block){
                .function = items[i].function,
                .first = (uint16_t)items[i].first,
            };
        }
        block_add(block, &items[i]);
    }
    return 0;
}

int plan_make(const struct profile *profile, struct plan *out)
{
    struct item *items = calloc(PROFILE_FIELDS_MAX, sizeof *items); // too large for a link's stack
    struct plan *plan = calloc(1, sizeof *plan);
    int result = -1;
    if (items != NULL && plan != NULL)
        result = join_items(items, make_items(profile, items), &profile->limits, plan);
    if (result == 0)
        *out = *plan;
    free(plan);
    free(items);
    return result;
}

static bool group_crosses(const struct profile *profile, const struct plan_block *block, int at)
{
    for (int i = 0; i < profile->together_count; i++) {
        const struct profile_together *group = &profile->together[i];
        bool left = false;
        bool right = false;
        for (int j = 0; j < block->field_count; j++) {
            const struct field *field = &profile->fields[block->fields[j]];
            bool touches = field->first <= group->last && field_last(field) >= group->first;
            left = left || (touches && field->first < at);
            right = right || (touches && field->first >= at);
        }
        if (left && right)
            return true;
    }
    return false;
}

bool plan_cut(const struct profile *profile, const struct plan_block *block, int at,
              struct plan_block parts[2])
{
    struct plan_block cut[2] = {{.function = block->function}, {.function = block->function}};
    int first[2] = {UINT16_MAX, UINT16_MAX};
    int last[2] = {-1, -1};
    for (int i = 0; i < block->field_count; i++) {
        const struct field *field = &profile->fields[block->fields[i]];
        if (field->first < at && field_last(field) >= at)
            return false;
        int side = field->first < at ? 0 : 1;
        cut[side].fields[cut[side].field_count++] = block->fields[i];
        first[side] = field->first < first[side] ? field->first : first[side];
        last[side] = field_last(field) > last[side] ? field_last(field) : last[side];
    }
    if (last[0] < 0 || last[1] < 0 || group_crosses(profile, block, at))
        return false;
    for (int side = 0; side < 2; side++) {
        cut[side].first = (uint16_t)first[side];
        cut[side].count = (uint16_t)(last[side] - first[side] + 1);
    }
    parts[0] = cut[0];
    parts[1] = cut[1];
    return true;
}
