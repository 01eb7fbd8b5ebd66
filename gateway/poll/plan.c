#include "poll/plan.h"

#include <stdlib.h>
#include <string.h>

// The profile's fields in the order of function and register, and where they may be parted. Any
// plan can be brought into this order without a longer request (parts that overlap are uncrossed or
// swallowed), so the best way to part this row is the best plan.
struct row {
    const struct profile *profile;
    int count;
    uint8_t fields[PROFILE_FIELDS_MAX];
    bool bound[PROFILE_FIELDS_MAX];  // to the field before, by a group
    bool parted[PROFILE_FIELDS_MAX]; // from the field before: what lies between may not be read
};

static const struct field *field_at(const struct row *row, int position)
{
    return &row->profile->fields[row->fields[position]];
}

// Whether two fields could stand in one request.
static bool same_kind(const struct field *a, const struct field *b)
{
    return a->function == b->function && a->register_size == b->register_size;
}

static bool comes_before(const struct field *a, const struct field *b)
{
    if (a->function != b->function)
        return a->function < b->function;
    if (a->register_size != b->register_size)
        return a->register_size < b->register_size;
    return a->first != b->first ? a->first < b->first : field_end(a) < field_end(b);
}

static void sort_fields(struct row *row)
{
    const struct field *fields = row->profile->fields;
    row->count = 0;
    for (int i = 0; i < row->profile->field_count; i++) {
        int at = row->count++;
        for (; at > 0 && comes_before(&fields[i], field_at(row, at - 1)); at--)
            row->fields[at] = row->fields[at - 1];
        row->fields[at] = (uint8_t)i;
    }
}

static bool is_touched(const struct field *field, const struct profile_together *group)
{
    return field->first <= group->last && field_end(field) > group->first;
}

// From the first to the last field of one function that a group touches, none may be parted.
static void bind_group(struct row *row, const struct profile_together *group)
{
    int last = -1;
    for (int i = 0; i < row->count; i++) {
        const struct field *field = field_at(row, i);
        if (!is_touched(field, group))
            continue;
        bool joined = last >= 0 && same_kind(field_at(row, last), field);
        for (int j = last + 1; joined && j <= i; j++)
            row->bound[j] = true;
        last = i;
    }
}

static bool is_refused(const struct refusals *refusals, int field)
{
    return refusals != NULL && refusals->why[field] != WHY_NONE;
}

// Leaves out what is refused, and parts what may not be spanned: gaps that are too wide, registers
// that were refused, refused joins.
static void part_row(struct row *row, const struct refusals *refusals)
{
    const struct field *last = NULL; // kept
    int kept = 0;
    int end = 0;
    bool hole = false;
    bool bound = true;
    for (int i = 0; i < row->count; i++) {
        const struct field *field = field_at(row, i);
        bool first = last == NULL || !same_kind(last, field);
        bound = bound && row->bound[i];
        if (is_refused(refusals, row->fields[i])) {
            hole = hole || (!first && field_end(field) > end);
            continue;
        }
        bool wide = !first && field->first - end > row->profile->limits.max_gap;
        bool joined = first || refusals == NULL || !refusals_part(refusals, last, field);
        row->fields[kept] = row->fields[i];
        row->bound[kept] = !first && bound;
        row->parted[kept++] = first || (!bound && (wide || hole || !joined));
        end = first || field_end(field) > end ? field_end(field) : end;
        last = field;
        hole = false;
        bound = true;
    }
    row->count = kept;
}

static void row_init(struct row *row, const struct profile *profile,
                     const struct refusals *refusals)
{
    *row = (struct row){.profile = profile};
    sort_fields(row);
    for (int i = 0; i < profile->together_count; i++)
        bind_group(row, &profile->together[i]);
    part_row(row, refusals);
}

// The block of the fields [from, to).
static struct plan_block block_of(const struct row *row, int from, int to)
{
    int first = field_at(row, from)->first;
    int end = 0;
    for (int i = from; i < to; i++)
        end = field_end(field_at(row, i)) > end ? field_end(field_at(row, i)) : end;
    return (struct plan_block){
        .function = field_at(row, from)->function,
        .register_size = field_at(row, from)->register_size,
        .field_first = (uint8_t)from,
        .field_count = (uint8_t)(to - from),
        .first = (uint16_t)first,
        .count = (uint16_t)(end - first),
    };
}

struct step {
    int64_t cost_ns; // of all requests up to here, -1: there is no way to here
    int from;        // first field of the last of them
};

// The cheapest last request of those that end before field `to`.
static struct step best_step(const struct row *row, const struct step *steps, int to,
                             const struct link_cost *cost)
{
    struct step best = {-1, 0};
    for (int from = to - 1; from >= 0; from--) {
        struct plan_block block = block_of(row, from, to);
        struct request request = plan_request(&block);
        if (block.count > row->profile->limits.max_registers ||
            frame_word_count(&request) > FRAME_WORDS_MAX)
            break; // and so is every longer one
        int64_t cost_ns = steps[from].cost_ns + cost_request_ns(cost, &request);
        if (!row->bound[from] && steps[from].cost_ns >= 0 &&
            (best.cost_ns < 0 || cost_ns <= best.cost_ns))
            best = (struct step){cost_ns, from};
        if (row->parted[from])
            break;
    }
    return best;
}

static struct plan *plan_of(const struct row *row, const struct step *steps)
{
    int count = 0;
    for (int to = row->count; to > 0; to = steps[to].from)
        count++;
    struct plan *plan =
        calloc(1, sizeof *plan + (size_t)count * sizeof plan->blocks[0] + (size_t)row->count);
    if (plan == NULL)
        return NULL;
    uint8_t *fields = (uint8_t *)&plan->blocks[count];
    if (row->count > 0)
        memcpy(fields, row->fields, (size_t)row->count);
    plan->fields = fields;
    plan->block_count = count;
    for (int to = row->count; to > 0; to = steps[to].from)
        plan->blocks[--count] = block_of(row, steps[to].from, to);
    return plan;
}

struct plan *plan_new_without(const struct profile *profile, const struct link_cost *cost,
                              const struct refusals *refusals)
{
    struct row row;
    row_init(&row, profile, refusals);
    struct step steps[PROFILE_FIELDS_MAX + 1] = {{0, 0}};
    for (int to = 1; to <= row.count; to++)
        steps[to] = best_step(&row, steps, to, cost);
    return steps[row.count].cost_ns < 0 ? NULL : plan_of(&row, steps);
}

struct plan *plan_new(const struct profile *profile, const struct link_cost *cost)
{
    return plan_new_without(profile, cost, NULL);
}

struct request plan_request(const struct plan_block *block)
{
    return (struct request){.function = block->function,
                            .first = block->first,
                            .count = block->count,
                            .register_size = block->register_size};
}

// ---- cuts ---------------------------------------------------------------------------------------

static bool group_crosses(const struct profile *profile, const struct field *left,
                          const struct field *right)
{
    for (int i = 0; i < profile->together_count; i++)
        if (is_touched(left, &profile->together[i]) && is_touched(right, &profile->together[i]))
            return true;
    return false;
}

static bool cut_is_clean(const struct plan *plan, const struct profile *profile,
                         const struct plan_block *block, int left_count, int at)
{
    const uint8_t *fields = plan->fields + block->field_first;
    for (int i = 0; i < left_count; i++) {
        const struct field *left = &profile->fields[fields[i]];
        if (field_end(left) > at)
            return false;
        for (int j = left_count; j < block->field_count; j++)
            if (group_crosses(profile, left, &profile->fields[fields[j]]))
                return false;
    }
    return true;
}

static struct plan_block part_of(const struct plan *plan, const struct profile *profile,
                                 const struct plan_block *block, int from, int to)
{
    const uint8_t *fields = plan->fields + block->field_first;
    struct plan_block part = *block;
    int end = 0;
    for (int i = from; i < to; i++) {
        const struct field *field = &profile->fields[fields[i]];
        end = field_end(field) > end ? field_end(field) : end;
    }
    part.first = profile->fields[fields[from]].first;
    part.count = (uint16_t)(end - part.first);
    part.field_first = (uint8_t)(block->field_first + from);
    part.field_count = (uint8_t)(to - from);
    return part;
}

bool plan_cut(const struct plan *plan, const struct profile *profile,
              const struct plan_block *block, int at, struct plan_block parts[2])
{
    const uint8_t *fields = plan->fields + block->field_first;
    int left = 0;
    while (left < block->field_count && profile->fields[fields[left]].first < at)
        left++;
    if (left == 0 || left == block->field_count || !cut_is_clean(plan, profile, block, left, at))
        return false;
    parts[0] = part_of(plan, profile, block, 0, left);
    parts[1] = part_of(plan, profile, block, left, block->field_count);
    return true;
}
