// What follows from a period's figures: its quality, and the longer periods summed from it.
#include "record/period.h"

#include "base/decimal.h"

#include <string.h>

static enum quality worst(uint8_t a, uint8_t b)
{
    return quality_worst((enum quality)a, (enum quality)b);
}

// --- quality ---

static uint16_t index_why(enum quality quality)
{
    switch (quality) {
    case QUALITY_ARCHIVE: return WHY_READ_BACK;
    case QUALITY_ESTIMATED: return WHY_INTERPOLATED;
    case QUALITY_SUSPECT: return WHY_UNVERIFIED;
    default: return WHY_NONE;
    }
}

bool period_delta(const struct period_channel *channel, int64_t *delta_micro)
{
    int64_t delta = 0;
    if (!channel->start_known || !channel->end_known ||
        (channel->exchanged && !channel->jump_known) ||
        micro_subtract(channel->end_micro, channel->start_micro, &delta) != 0 ||
        micro_subtract(delta, channel->jump_micro, &delta) != 0)
        return false;
    *delta_micro = delta;
    return true;
}

const struct period_channel *period_counter(const struct period *period, const char *name)
{
    for (int i = 0; i < period->channel_count; i++)
        if (period->channels[i].kind == CHANNEL_COUNTER &&
            strcmp(period->channels[i].name, name) == 0)
            return &period->channels[i];
    return NULL;
}

bool period_lacks(const struct period *period)
{
    for (int i = 0; i < period->channel_count; i++) {
        const struct period_channel *channel = &period->channels[i];
        if (channel->kind == CHANNEL_COUNTER &&
            (!channel->end_known || channel->end_quality == QUALITY_ESTIMATED))
            return true;
    }
    return false;
}

static void judge_counter(struct period_channel *channel)
{
    int64_t delta = 0;
    bool reversed = channel->why == WHY_REVERSED; // inside, seen by a part
    if (!channel->start_known || !channel->end_known) {
        channel->quality = QUALITY_MISSING;
        channel->why = channel->why != WHY_NONE ? channel->why : WHY_NOT_POLLED;
        return;
    }
    enum quality quality = worst(channel->start_quality, channel->end_quality);
    channel->quality = (uint8_t)quality;
    channel->why = index_why(quality);
    bool counted = period_delta(channel, &delta);
    if (!counted || delta < 0 || reversed || channel->exchanged)
        channel->quality = QUALITY_SUSPECT;
    if (channel->exchanged)
        channel->why = WHY_EXCHANGED;
    else if (!counted)
        channel->why = WHY_OUT_OF_RANGE;
    else if (delta < 0 || reversed)
        channel->why = WHY_REVERSED;
}

static void judge_gauge(struct period_channel *channel)
{
    if (channel->weight_ms > 0) {
        channel->why = index_why((enum quality)channel->quality);
    } else {
        channel->quality = QUALITY_MISSING;
        channel->why = channel->why != WHY_NONE ? channel->why : WHY_NOT_POLLED;
    }
}

void period_judge(struct period *period)
{
    // A meter without counters and gauges has its reads alone.
    bool any = period->channel_count > 0 || period->good + period->suspect > 0;
    uint8_t quality = any ? QUALITY_GOOD : QUALITY_MISSING;
    if (period->channel_count == 0 && period->good == 0 && period->suspect > 0)
        quality = QUALITY_SUSPECT;
    for (int i = 0; i < period->channel_count; i++) {
        struct period_channel *channel = &period->channels[i];
        if (channel->kind == CHANNEL_COUNTER)
            judge_counter(channel);
        else
            judge_gauge(channel);
        quality = (uint8_t)worst(quality, channel->quality);
    }
    period->quality = quality;
}

// --- sums ---

void period_count(struct period *period, int64_t due)
{
    int64_t made = period->good + period->suspect;
    int64_t missed = reasons_total(&period->reasons, QUALITY_MISSING);
    period->expected = due > made + missed ? due : made + missed;
    period->missing = period->expected - made;
    reasons_add(&period->reasons, QUALITY_MISSING, WHY_NOT_POLLED, period->missing - missed);
}

static struct period_channel *channel_of(struct period *period, const struct period_channel *like)
{
    for (int i = 0; i < period->channel_count; i++) {
        struct period_channel *channel = &period->channels[i];
        if (strcmp(channel->name, like->name) == 0 && channel->kind == like->kind)
            return channel;
    }
    if (period->channel_count == PERIOD_CHANNELS_MAX)
        return NULL; // profiles of two revisions: what does not fit is only in the parts
    struct period_channel *channel = &period->channels[period->channel_count++];
    memset(channel, 0, sizeof *channel);
    memcpy(channel->name, like->name, sizeof channel->name);
    channel->kind = like->kind;
    channel->start_quality = channel->end_quality = QUALITY_MISSING;
    return channel;
}

static void add_counter(struct period_channel *sum, const struct period_channel *part,
                        bool is_start, bool is_end)
{
    if (is_start) {
        sum->start_known = part->start_known;
        sum->start_quality = part->start_quality;
        sum->start_micro = part->start_micro;
    }
    if (is_end) {
        sum->end_known = part->end_known;
        sum->end_quality = part->end_quality;
        sum->end_micro = part->end_micro;
    }
    if (part->exchanged || part->jump_known) {
        bool added = (!sum->exchanged || sum->jump_known) &&
                     (!part->exchanged || part->jump_known) &&
                     micro_add(sum->jump_micro, part->jump_micro, &sum->jump_micro) == 0;
        sum->exchanged = sum->exchanged || part->exchanged;
        sum->jump_known = added;
    }
    sum->last_ms = part->last_ms;
    sum->last_micro = part->last_micro;
    sum->last_quality = part->last_quality;
    bool reversed = sum->why == WHY_REVERSED || part->why == WHY_REVERSED;
    if (reversed)
        sum->why = WHY_REVERSED;
    else if (part->quality == QUALITY_MISSING)
        sum->why = part->why; // the newest reason of a missing index
}

static void add_gauge(struct period_channel *sum, const struct period_channel *part)
{
    if (part->weight_ms == 0) {
        sum->why = part->why;
        return;
    }
    bool is_first = sum->weight_ms == 0;
    int64_t weight = sum->weight_ms + part->weight_ms;
    // A step towards the part's mean: equal means give exactly the same mean again.
    double share = (double)part->weight_ms / (double)weight;
    sum->mean = is_first ? part->mean : sum->mean + (part->mean - sum->mean) * share;
    sum->min = is_first || part->min < sum->min ? part->min : sum->min;
    sum->max = is_first || part->max > sum->max ? part->max : sum->max;
    sum->quality = is_first ? part->quality : (uint8_t)worst(sum->quality, part->quality);
    sum->weight_ms = weight;
}

static void add_part(struct period *sum, const struct period *part, bool is_start, bool is_end)
{
    sum->good += part->good;
    sum->suspect += part->suspect;
    reasons_merge(&sum->reasons, &part->reasons);
    for (int i = 0; i < part->channel_count; i++) {
        const struct period_channel *channel = &part->channels[i];
        struct period_channel *into = channel_of(sum, channel);
        if (into != NULL && channel->kind == CHANNEL_COUNTER)
            add_counter(into, channel, is_start, is_end);
        else if (into != NULL)
            add_gauge(into, channel);
    }
}

void period_sum(const struct period *parts, int count, enum span span, int64_t from_ms,
                int64_t to_ms, int64_t expected, struct period *out)
{
    memset(out, 0, sizeof *out);
    out->span = span;
    out->version = 1;
    out->from_ms = from_ms;
    out->to_ms = to_ms;
    for (int i = 0; i < count; i++) {
        const struct period *part = &parts[i];
        out->first = out->first || part->first;
        add_part(out, part, part->from_ms == from_ms || part->first, part->to_ms == to_ms);
    }
    period_count(out, expected);
    period_judge(out);
}
