// Gaps of the stored periods that a meter's own log could fill.
#include "record/book_inside.h"

#include "base/log.h"
#include "record/gap.h"

#include <string.h>

static const struct profile_archive *archive_at(const struct tracked *tracked, int archive)
{
    return &tracked->meter->profile->archives[archive];
}

static bool keeps_span(const struct tracked *tracked, enum span span)
{
    for (int i = 0; i < tracked->span_count; i++)
        if (tracked->spans[i] == span)
            return true;
    return false;
}

static bool has_increments(const struct profile_archive *archive)
{
    for (int i = 0; i < archive->value_count; i++)
        if (archive->values[i].increment)
            return true;
    return false;
}

// A run of hours or gas days whose ends lack an index.
struct stretch {
    const struct profile_archive *archive;
    int64_t from_ms, to_ms; // to_ms: the last end that lacks one; 0: none yet
    int count, most;
    int64_t right_ms; // end of the one behind it, where that is known; 0
};

static bool lacks(const struct profile_archive *archive, const struct period *period)
{
    for (int i = 0; i < archive->value_count; i++) {
        const struct period_channel *channel =
            period_counter(period, archive->values[i].channel->name);
        if (channel != NULL && !gap_is_settled(channel->end_known, channel->end_quality))
            return true;
    }
    return false;
}

static bool add_to_stretch(void *context, const struct stored_period *stored)
{
    struct stretch *stretch = context;
    const struct period *period = &stored->period;
    bool wanted = lacks(stretch->archive, period);
    if (stretch->count == 0 && !wanted)
        return true;
    if (stretch->count > 0 && period->from_ms != stretch->to_ms)
        return false;
    if (!wanted || stretch->count == stretch->most) {
        stretch->right_ms = wanted ? 0 : period->to_ms;
        return false;
    }
    if (stretch->count++ == 0)
        stretch->from_ms = period->from_ms;
    stretch->to_ms = period->to_ms;
    return true;
}

// Whether the meter has been read since `at_ms`.
static bool is_back(const struct tracked *tracked, const struct profile_archive *archive,
                    int64_t at_ms)
{
    for (int i = 0; i < archive->value_count; i++) {
        int64_t last_ms;
        int64_t micro;
        uint8_t quality;
        if (period_builder_last(tracked->builder, archive->values[i].channel->name, &last_ms,
                                &micro, &quality) &&
            last_ms >= at_ms)
            return true;
    }
    return false;
}

// 1: a stretch that can be read back now; 0; -1. *any: there are some that may be later.
static int find_stretch(struct book *book, struct tracked *tracked, int number, int64_t now_ms,
                        struct stretch *out, bool *any, struct err *err)
{
    const struct profile_archive *archive = archive_at(tracked, number);
    enum span span = archive_span(archive);
    int64_t oldest = now_ms - (archive->records + 1) * span_nominal_ms(span);
    int64_t judged = tracked->archives[number].judged_to_ms;
    int64_t first;
    int found = store_periods_lacking(book->store, tracked->number, span,
                                      oldest > judged ? oldest : judged, &first, 1, err);
    if (found <= 0 || !keeps_span(tracked, span))
        return found < 0 ? -1 : 0;
    *any = true;
    if (!is_back(tracked, archive, period_end(&book->calendar, span, first)))
        return 0;
    bool sums = has_increments(archive);
    *out = (struct stretch){.archive = archive, .most = sums ? RUN_MAX : RUN_OF_INDICES_MAX};
    if (store_periods(book->store, tracked->meter->id, span, first, now_ms, add_to_stretch, out,
                      err) != 0)
        return -1;
    if (out->count == 0 || !is_back(tracked, archive, out->to_ms))
        return 0;
    bool is_whole = out->count < out->most;
    if (sums && !is_whole) {
        log_warn("recorder", "%s: %d %ss without an index are too many for a log of increments",
                 tracked->meter->id, out->count, span_text(span));
        tracked->archives[number].judged_to_ms = out->to_ms;
        return 0;
    }
    bool waits = sums || (tracked->archives[number].needs_right && is_whole);
    return out->right_ms != 0 || !waits;
}

static int meter_asks(struct book *book, struct tracked *tracked, int64_t now_ms,
                      struct archive_ask *ask, struct err *err)
{
    bool any = false;
    int found = 0;
    for (int i = 0; i < tracked->meter->profile->archive_count && found == 0; i++) {
        struct stretch stretch;
        found = find_stretch(book, tracked, i, now_ms, &stretch, &any, err);
        if (found == 1) {
            *ask = (struct archive_ask){.archive = i,
                                        .from_ms = stretch.from_ms,
                                        .to_ms = stretch.right_ms != 0 ? stretch.right_ms
                                                                       : stretch.to_ms};
            memcpy(ask->meter, tracked->meter->id, sizeof ask->meter);
        }
    }
    tracked->gaps = any;
    return found;
}

int book_asks(struct book *book, int64_t now_ms, struct archive_ask *asks, int max, struct err *err)
{
    int count = 0;
    for (int i = 0; i < book->config->meter_count && count < max; i++) {
        struct tracked *tracked = &book->tracked[i];
        if (tracked->meter->profile->archive_count == 0 || !tracked->gaps)
            continue;
        int found = meter_asks(book, tracked, now_ms, &asks[count], err);
        if (found < 0)
            return -1;
        count += found;
    }
    return count;
}
