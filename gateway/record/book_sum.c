// Longer periods from the stored shorter ones.
#include "record/book_inside.h"

// Adds a period after the others. Of two that begin together the longer one stays; what lies
// within another, or goes too far, is left out.
static bool add_part(void *context, const struct stored_period *stored)
{
    struct parts *parts = context;
    const struct period *period = &stored->period;
    struct period *last = parts->count > 0 ? &parts->list[parts->count - 1] : NULL;
    if (period->to_ms > parts->to_ms)
        return true;
    if (last != NULL && last->from_ms == period->from_ms)
        *last = period->to_ms > last->to_ms ? *period : *last;
    else if ((last == NULL || period->from_ms >= last->to_ms) && parts->count < PARTS_MAX)
        parts->list[parts->count++] = *period;
    return true;
}

// Fills [from, to), where the next shorter span has no period, with still shorter ones: there are
// such after a change of summary_minutes or of the interval.
static int fill_hole(struct book *book, const struct tracked *tracked, int64_t from_ms,
                     int64_t to_ms, struct err *err)
{
    if (from_ms >= to_ms)
        return 0;
    book->parts.to_ms = to_ms;
    return store_periods(book->store, tracked->meter->id, (enum span)0, from_ms, to_ms, add_part,
                         &book->parts, err);
}

// All parts of [from, to) into book->parts.
static int collect(struct book *book, const struct tracked *tracked, enum span shorter,
                   int64_t from_ms, int64_t to_ms, struct err *err)
{
    struct parts *usual = &book->shorter;
    usual->count = book->parts.count = 0;
    usual->to_ms = to_ms;
    if (store_periods(book->store, tracked->meter->id, shorter, from_ms, to_ms, add_part, usual,
                      err) != 0)
        return -1;
    int64_t at = from_ms;
    for (int i = 0; i < usual->count; i++) {
        if (fill_hole(book, tracked, at, usual->list[i].from_ms, err) != 0)
            return -1;
        if (book->parts.count < PARTS_MAX)
            book->parts.list[book->parts.count++] = usual->list[i];
        at = usual->list[i].to_ms;
    }
    return fill_hole(book, tracked, at, to_ms, err);
}

// Due times in [from, to): what the parts expected, and the schedule where there is none.
static int64_t expected_of(const struct book *book, const struct tracked *tracked, int64_t from_ms,
                           int64_t to_ms)
{
    int64_t expected = 0;
    int64_t at = from_ms > tracked->configured_ms ? from_ms : tracked->configured_ms;
    for (int i = 0; i < book->parts.count; i++) {
        const struct period *part = &book->parts.list[i];
        expected += schedule_count(&tracked->schedule, &book->calendar, at, part->from_ms);
        expected += part->expected;
        at = part->to_ms > at ? part->to_ms : at;
    }
    return expected + schedule_count(&tracked->schedule, &book->calendar, at, to_ms);
}

int book_sum(struct book *book, const struct tracked *tracked, enum span span,
             const struct period *part, struct period *out, struct err *err)
{
    int64_t from = period_start(&book->calendar, span, part->from_ms);
    int64_t to = period_end(&book->calendar, span, part->from_ms);
    if (part->to_ms < to)
        return 0;
    if (collect(book, tracked, part->span, from, to, err) != 0)
        return -1;
    period_sum(book->parts.list, book->parts.count, span, from, to,
               expected_of(book, tracked, from, to), out);
    return 1;
}
