#include "poll/confirm.h"

#include <math.h>
#include <string.h>

#define MICRO INT64_C(1000000)

void doubt_note(struct doubt *doubt, uint16_t why)
{
    if (why == WHY_CRC || why == WHY_FRAME)
        doubt->requests_left = DOUBT_REQUESTS;
    else if (doubt->requests_left > 0)
        doubt->requests_left--;
}

bool doubt_holds(const struct doubt *doubt)
{
    return doubt->requests_left > 0;
}

static int64_t advance_micro(int64_t apart_ms)
{
    return (apart_ms + CONFIRM_UPDATE_MS) * (CONFIRM_PACE * MICRO / 1000);
}

static bool counters_agree(int64_t first, int64_t second, int64_t apart_ms)
{
    int64_t advance = 0;
    return !__builtin_sub_overflow(second, first, &advance) && advance >= 0 &&
           advance <= advance_micro(apart_ms);
}

static bool gauges_agree(double first, double second)
{
    double larger = fmax(fabs(first), fabs(second));
    return fabs(second - first) <= fmax(CONFIRM_GAUGE_SHARE * larger, CONFIRM_GAUGE_LEAST);
}

bool confirm_agrees(enum channel_kind kind, const struct value *first, const struct value *second,
                    int64_t apart_ms)
{
    if (!first->present || !second->present)
        return first->present == second->present && first->quality == second->quality &&
               first->why == second->why;
    switch (kind) {
    case CHANNEL_COUNTER: return counters_agree(first->micro, second->micro, apart_ms);
    case CHANNEL_GAUGE: return gauges_agree(first->number, second->number);
    case CHANNEL_EXACT:
        return fabs(second->number - first->number) <=
               (double)advance_micro(apart_ms) / (double)MICRO;
    case CHANNEL_BITS: return first->bits == second->bits;
    case CHANNEL_IDENTITY: return strcmp(first->text, second->text) == 0;
    }
    return false;
}

// ---- fields -------------------------------------------------------------------------------------

// Two replies and what they make of the channels.
struct pair {
    const struct profile *profile;
    const struct image *first, *second;
    int64_t apart_ms;
    bool listed[PROFILE_FIELDS_MAX];   // fields that are to be settled
    bool refuted[PROFILE_FIELDS_MAX];  // of those
    bool advanced[PROFILE_FIELDS_MAX]; // of a counter that did, and agrees
    struct value first_values[PROFILE_CHANNELS_MAX], second_values[PROFILE_CHANNELS_MAX];
};

struct members {
    int count;
    uint8_t fields[PROFILE_STATUS_MAX];
};

static void members_of(const struct profile *profile, const struct profile_channel *channel,
                       struct members *out)
{
    out->count = 0;
    if (channel->channel->kind == CHANNEL_BITS) {
        for (int i = 0; i < profile->status_count; i++)
            out->fields[out->count++] = profile->status[i].field;
        return;
    }
    for (int i = 0; i < channel->part_count; i++) {
        out->fields[out->count++] = channel->parts[i].field;
        if (channel->parts[i].scale_field >= 0)
            out->fields[out->count++] = (uint8_t)channel->parts[i].scale_field;
    }
}

static bool same_words(const struct pair *pair, int index)
{
    const struct field *field = &pair->profile->fields[index];
    return memcmp(pair->first->words + field->place, pair->second->words + field->place,
                  field->words * sizeof(uint16_t)) == 0;
}

// Refutes the listed fields of a channel on which the replies do not agree.
static void settle_channel(struct pair *pair, int index)
{
    const struct profile_channel *channel = &pair->profile->channels[index];
    struct members members;
    members_of(pair->profile, channel, &members);
    bool whole = true;
    for (int i = 0; i < members.count; i++)
        whole = whole && pair->listed[members.fields[i]];
    bool agree = whole && confirm_agrees(channel->channel->kind, &pair->first_values[index],
                                         &pair->second_values[index], pair->apart_ms);
    for (int i = 0; i < members.count; i++) {
        int field = members.fields[i];
        if (!agree && (whole || !same_words(pair, field)))
            pair->refuted[field] = true;
        if (agree && channel->channel->kind == CHANNEL_COUNTER &&
            pair->first_values[index].micro != pair->second_values[index].micro)
            pair->advanced[field] = true;
    }
}

static void decode_undoubted(const struct profile *profile, const struct image *image,
                             struct value *values)
{
    struct image plain = *image;
    for (int i = 0; i < profile->field_count; i++)
        if (why_is_doubt(plain.why[i]))
            plain.why[i] = WHY_NONE;
    image_decode(profile, &plain, false, values);
}

static uint16_t settle_field(const struct pair *pair, int index, struct image *now, bool *moved)
{
    const struct field *field = &pair->profile->fields[index];
    bool third = moved[index];
    moved[index] = false;
    if (pair->refuted[index])
        return WHY_UNCONFIRMED;
    if (!pair->advanced[index])
        return WHY_NONE;
    if (!third) {
        moved[index] = true;
        return WHY_UNCONFIRMED;
    }
    memcpy(now->words + field->place, pair->first->words + field->place,
           field->words * sizeof now->words[0]);
    return WHY_NONE;
}

void confirm_fields(const struct profile *profile, const uint8_t *fields, int field_count,
                    const struct image *earlier, struct image *now, int64_t apart_ms, bool *moved)
{
    struct pair pair = {.profile = profile, .first = earlier, .second = now, .apart_ms = apart_ms};
    decode_undoubted(profile, earlier, pair.first_values);
    decode_undoubted(profile, now, pair.second_values);
    for (int i = 0; i < field_count; i++) {
        uint16_t why = earlier->why[fields[i]];
        pair.listed[fields[i]] = true;
        pair.refuted[fields[i]] = why != WHY_NONE && why != WHY_UNCONFIRMED;
    }
    for (int i = 0; i < profile->channel_count; i++)
        settle_channel(&pair, i);
    for (int i = 0; i < field_count; i++)
        now->why[fields[i]] = settle_field(&pair, fields[i], now, moved);
}
