#include "poll/ask.h"

#include "base/log.h"

#include <stdlib.h>

// A refused block on the way to its refused registers.
struct narrow {
    struct pass *pass;
    struct refusals *found;
    int *asks_left;
    bool added;
    int todo_count;
    struct plan_block todo[PROFILE_FIELDS_MAX]; // refused, and not yet looked into
    int cut_count;
    struct refused_join cuts[PROFILE_FIELDS_MAX]; // that were tried
};

// WHY_NONE, a refusal, or anything else: then narrowing has to wait for a better moment.
static uint16_t probe(struct narrow *narrow, const struct plan_block *part)
{
    if (*narrow->asks_left == 0 || !may_ask(narrow->pass, part, 0))
        return WHY_NOT_POLLED;
    --*narrow->asks_left;
    uint16_t why = ask(narrow->pass, part, 0);
    return why == WHY_UNCONFIRMED ? WHY_NONE : why; // answered, which is what matters here
}

static bool is_settled(uint16_t why)
{
    return why == WHY_NONE || refusal_kind_of(why) == REFUSAL_REGISTERS;
}

static const struct field *block_field(const struct narrow *narrow, const struct plan_block *block,
                                       int index)
{
    const struct pass *pass = narrow->pass;
    return &pass->meter->profile->fields[pass->plan->fields[block->field_first + index]];
}

// How far from a good place a cut is: at a gap if there is one, since that is what a meter most
// likely refuses, and near the middle.
static int cut_distance(const struct plan_block *block, const struct plan_block parts[2])
{
    bool gap = parts[0].first + parts[0].count < parts[1].first;
    int left = parts[0].field_count;
    int middle = block->field_count - left > left ? block->field_count - 2 * left
                                                  : 2 * left - block->field_count;
    return middle + (gap ? 0 : PROFILE_FIELDS_MAX);
}

static bool cut_well(const struct narrow *narrow, const struct plan_block *block,
                     struct plan_block parts[2])
{
    bool found = false;
    for (int i = 1; i < block->field_count; i++) {
        struct plan_block cut[2];
        if (!plan_cut(narrow->pass->plan, narrow->pass->meter->profile, block,
                      block_field(narrow, block, i)->first, cut))
            continue;
        if (!found || cut_distance(block, cut) < cut_distance(block, parts)) {
            parts[0] = cut[0];
            parts[1] = cut[1];
            found = true;
        }
    }
    return found;
}

// What cannot be cut further is refused when it says so twice: one exception may be a late answer
// to something else.
static bool settle_whole(struct narrow *narrow, const struct plan_block *part)
{
    uint16_t why = probe(narrow, part);
    if (refusal_kind_of(why) != REFUSAL_REGISTERS)
        return why == WHY_NONE;
    const uint8_t *fields = narrow->pass->plan->fields + part->field_first;
    for (int i = 0; i < part->field_count; i++)
        narrow->found->why[fields[i]] = why;
    refuse_fields(narrow->pass, part, why);
    narrow->added = true;
    log_warn(narrow->pass->meter->id,
             "the meter refuses %d register%s from %d on of function %d with exception %d: its "
             "values are missing, it is asked again from time to time",
             part->count, part->count == 1 ? "" : "s", part->first, part->function,
             why - WHY_EXCEPTION);
    return true;
}

// Both parts are answered. When the whole is still refused, they must not be joined.
static bool settle_join(struct narrow *narrow, const struct plan_block *whole,
                        struct refused_join join)
{
    uint16_t why = probe(narrow, whole);
    if (refusal_kind_of(why) != REFUSAL_REGISTERS)
        return why == WHY_NONE;
    refusals_add_join(narrow->found, join);
    narrow->added = true;
    log_info(narrow->pass->meter->id,
             "the meter refuses %d registers from %d on of function %d in one request, but answers "
             "two that meet at %d: the profile's max_gap or max_registers is too high for it",
             whole->count, whole->first, whole->function, join.at);
    return true;
}

// Looks into one refused part. False when narrowing has to stop.
static bool look_into(struct narrow *narrow, const struct plan_block *part)
{
    struct plan_block parts[2];
    if (!cut_well(narrow, part, parts))
        return settle_whole(narrow, part);
    struct refused_join join = {part->function, part->register_size, parts[1].first, false};
    narrow->cuts[narrow->cut_count++] = join;
    uint16_t why[2] = {probe(narrow, &parts[0]), WHY_NOT_POLLED};
    if (is_settled(why[0]))
        why[1] = probe(narrow, &parts[1]);
    if (!is_settled(why[0]) || !is_settled(why[1]))
        return false;
    if (why[0] == WHY_NONE && why[1] == WHY_NONE)
        return settle_join(narrow, part, join);
    for (int i = 0; i < 2; i++)
        if (why[i] != WHY_NONE)
            narrow->todo[narrow->todo_count++] = parts[i];
    return true;
}

bool narrow_down(struct pass *pass, const struct plan_block *block, int *asks_left,
                 struct refusals **refusals)
{
    struct refusals *found = *refusals != NULL ? *refusals : calloc(1, sizeof *found);
    if (found == NULL)
        return false;
    *refusals = found;
    struct narrow narrow = {.pass = pass, .found = found, .asks_left = asks_left};
    narrow.todo[narrow.todo_count++] = *block;
    while (narrow.todo_count > 0) {
        struct plan_block part = narrow.todo[--narrow.todo_count];
        if (look_into(&narrow, &part))
            continue;
        // Not through: the next poll goes on where this one ended, with smaller blocks.
        for (int i = 0; *asks_left == 0 && i < narrow.cut_count; i++) {
            narrow.cuts[i].tentative = true;
            refusals_add_join(found, narrow.cuts[i]);
            narrow.added = true;
        }
        break;
    }
    return narrow.added;
}
