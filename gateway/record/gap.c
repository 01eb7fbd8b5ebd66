#include "record/gap.h"

#include "drivers/value.h"

#include <stddef.h>

bool gap_is_settled(bool known, uint8_t quality)
{
    return known && quality != QUALITY_ESTIMATED;
}

static bool is_anchor(const struct gap_slot *slot)
{
    return gap_is_settled(slot->known, slot->quality);
}

static bool wants(const struct gap_slot *slot)
{
    return !gap_is_settled(slot->known, slot->quality);
}

// ---- tolerances ---------------------------------------------------------------------------------

static const struct gap_slot *first_wanted(const struct gap *gap)
{
    for (int i = 1; i < gap->count; i++)
        if (wants(&gap->slots[i]))
            return &gap->slots[i];
    return NULL;
}

// What flowed in GAP_CLOCK_MS at the mean rate of the gap.
static int64_t clock_slack(const struct gap *gap)
{
    __extension__ typedef __int128 wide;
    const struct gap_slot *first = first_wanted(gap);
    int64_t elapsed = gap->after.at_ms - first->before.at_ms;
    wide rise = (wide)gap->after.micro - first->before.micro;
    if (rise <= 0 || elapsed <= 0)
        return 0;
    return (int64_t)(rise * (elapsed < GAP_CLOCK_MS ? elapsed : GAP_CLOCK_MS) / elapsed);
}

static int64_t tolerance_of(const struct gap *gap)
{
    return gap->resolution + clock_slack(gap);
}

// How far our index at an anchor may be from what the meter held at that very instant: it is a
// reading from after it.
static int64_t anchor_width(const struct gap_slot *slot)
{
    return slot->before.at_ms != 0 && slot->micro > slot->before.micro
               ? slot->micro - slot->before.micro
               : 0;
}

// What we know next after a slot's end: a reading of ours, an anchor, or what stands after the gap.
static struct gap_point point_after(const struct gap *gap, int at)
{
    for (int i = at; i < gap->count; i++) {
        const struct gap_slot *slot = &gap->slots[i];
        if (i > at && is_anchor(slot))
            return (struct gap_point){slot->end_ms, slot->micro, slot->quality};
        if (slot->next.at_ms != 0)
            return slot->next;
    }
    return gap->after;
}

// ---- indices ------------------------------------------------------------------------------------

enum agreement { AGREES, DISAGREES, UNKNOWN };

static enum agreement anchor_agrees(const struct gap *gap, const struct gap_slot *slot)
{
    if (!slot->has || !is_anchor(slot))
        return UNKNOWN;
    int64_t tolerance = tolerance_of(gap);
    int64_t low = slot->micro - anchor_width(slot) - tolerance;
    return slot->log >= low && slot->log <= slot->micro + tolerance ? AGREES : DISAGREES;
}

static enum agreement indices_agree(const struct gap *gap)
{
    enum agreement result = UNKNOWN;
    int64_t tolerance = tolerance_of(gap);
    const struct gap_slot *previous = NULL;
    for (int i = 0; i < gap->count; i++) {
        const struct gap_slot *slot = &gap->slots[i];
        if (!slot->has)
            continue;
        enum agreement anchor = anchor_agrees(gap, slot);
        bool outside = slot->log < slot->before.micro - tolerance ||
                       slot->log > point_after(gap, i).micro + tolerance;
        if (anchor == DISAGREES || (previous != NULL && slot->log < previous->log) ||
            (wants(slot) && outside))
            return DISAGREES;
        result = anchor == AGREES ? AGREES : result;
        previous = slot;
    }
    return result;
}

// Between what stands before and after it: a log that is coarser than our own readings must not
// make a volume negative.
static int64_t clamp_index(const struct gap *gap, int at, int64_t least, int64_t micro)
{
    const struct gap_slot *slot = &gap->slots[at];
    int64_t most = point_after(gap, at).micro;
    least = slot->before.at_ms != 0 && slot->before.micro > least ? slot->before.micro : least;
    micro = micro > most ? most : micro;
    return micro < least ? least : micro;
}

static bool fill(const struct gap *gap, struct gap_slot *slot, int64_t micro)
{
    slot->changed = true;
    slot->known = true;
    slot->quality = gap->quality;
    slot->micro = micro;
    return true;
}

static enum gap_verdict fill_indices(struct gap *gap)
{
    bool any = false;
    int64_t least = gap->slots[0].known ? gap->slots[0].micro : INT64_MIN;
    for (int i = 1; i < gap->count; i++) {
        struct gap_slot *slot = &gap->slots[i];
        if (wants(slot) && slot->has)
            any = fill(gap, slot, clamp_index(gap, i, least, slot->log));
        least = slot->known && slot->micro > least ? slot->micro : least;
    }
    return any ? GAP_FILLED : GAP_NOTHING;
}

// ---- increments ---------------------------------------------------------------------------------

static int next_anchor(const struct gap *gap, int from)
{
    for (int i = from; i < gap->count; i++)
        if (is_anchor(&gap->slots[i]))
            return i;
    return -1;
}

static enum agreement sum_agrees(const struct gap *gap, int from, int to)
{
    const struct gap_slot *left = &gap->slots[from];
    const struct gap_slot *right = &gap->slots[to];
    int64_t sum = 0;
    for (int i = from + 1; i <= to; i++) {
        if (!gap->slots[i].has)
            return UNKNOWN;
        if (gap->slots[i].log < 0 || __builtin_add_overflow(sum, gap->slots[i].log, &sum))
            return DISAGREES;
    }
    int64_t tolerance = gap->resolution * (to - from) + 2 * clock_slack(gap) + anchor_width(left) +
                        anchor_width(right);
    int64_t difference = right->micro - left->micro;
    int64_t error = sum > difference ? sum - difference : difference - sum;
    return error <= tolerance ? AGREES : DISAGREES;
}

// From one anchor to the next; the rest that the log does not see falls to the last slot.
static bool fill_increments(struct gap *gap, int from, int to)
{
    bool any = false;
    int64_t micro = gap->slots[from].micro;
    int64_t least = micro;
    for (int i = from + 1; i < to; i++) {
        struct gap_slot *slot = &gap->slots[i];
        micro += slot->log;
        int64_t index = clamp_index(gap, i, least, micro);
        any = fill(gap, slot, index) || any;
        least = index;
    }
    return any;
}

// ---- estimates ----------------------------------------------------------------------------------

static int64_t floor_to(int64_t micro, int64_t resolution)
{
    int64_t rest = micro % resolution;
    return micro - (rest < 0 ? rest + resolution : rest);
}

// Linear between two points, rounded down.
static int64_t between(const struct gap_point *before, const struct gap_point *after, int64_t at_ms,
                       int64_t resolution)
{
    __extension__ typedef __int128 wide;
    wide rise = (wide)after->micro - before->micro;
    wide step = rise * (at_ms - before->at_ms) / (after->at_ms - before->at_ms);
    int64_t micro = floor_to((int64_t)(before->micro + step), resolution);
    return micro < before->micro ? before->micro : micro;
}

static enum gap_verdict estimate(struct gap *gap)
{
    for (int i = 1; i < gap->count; i++) {
        struct gap_slot *slot = &gap->slots[i];
        const struct gap_slot *previous = &gap->slots[i - 1];
        struct gap_point before = slot->before;
        struct gap_point after = point_after(gap, i);
        if (previous->known && previous->end_ms > before.at_ms)
            before = (struct gap_point){previous->end_ms, previous->micro, previous->quality};
        if (slot->known || before.at_ms == 0 || after.micro < before.micro ||
            after.at_ms <= before.at_ms)
            continue;
        enum quality quality =
            quality_worst((enum quality)before.quality, (enum quality)after.quality);
        slot->micro = between(&before, &after, slot->end_ms, gap->counter_resolution);
        slot->quality = (uint8_t)quality_worst(QUALITY_ESTIMATED, quality);
        slot->known = slot->changed = true;
    }
    return GAP_ESTIMATED;
}

// ---- all ----------------------------------------------------------------------------------------

static enum gap_verdict close_increments(struct gap *gap, bool is_last)
{
    enum gap_verdict verdict = GAP_NOTHING;
    int from = next_anchor(gap, 0);
    int to;
    while (from >= 0 && (to = next_anchor(gap, from + 1)) >= 0) {
        enum agreement agreement = to > from + 1 ? sum_agrees(gap, from, to) : UNKNOWN;
        if (agreement == DISAGREES)
            return estimate(gap);
        if (agreement == AGREES && fill_increments(gap, from, to))
            verdict = GAP_FILLED;
        from = to;
    }
    bool open = from < 0 || from < gap->count - 1; // no anchor on the right of the last slots
    return verdict == GAP_NOTHING && open && !is_last ? GAP_WAITS : verdict;
}

static bool can_be_judged(const struct gap *gap)
{
    const struct gap_slot *first = first_wanted(gap);
    return first != NULL && first->before.at_ms != 0 && gap->after.at_ms > first->before.at_ms;
}

bool gap_is_telling(const struct gap *gap)
{
    if (gap->increments || !can_be_judged(gap))
        return false;
    for (int i = 0; i < gap->count; i++) {
        const struct gap_slot *slot = &gap->slots[i];
        if (anchor_agrees(gap, slot) == AGREES && anchor_width(slot) >= gap->resolution)
            return true;
    }
    return false;
}

enum gap_verdict gap_close(struct gap *gap, bool is_last)
{
    if (!can_be_judged(gap))
        return GAP_NOTHING;
    if (gap->increments)
        return close_increments(gap, is_last);
    switch (indices_agree(gap)) {
    case AGREES: return is_last || gap_is_telling(gap) ? fill_indices(gap) : GAP_WAITS;
    case DISAGREES: return estimate(gap);
    case UNKNOWN: break;
    }
    return is_last ? GAP_NOTHING : GAP_WAITS;
}
