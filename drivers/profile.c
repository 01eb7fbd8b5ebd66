#include "drivers/profile.h"

#include <string.h>

#define RESOLUTION_MAX (MICRO_PER_UNIT * 1000000) // coarser than this is taken as not known

const char *const word_order_names[] = {"ABCD", "CDAB", "BADC", "DCBA", NULL};

int word_order_find(const char *name)
{
    for (int i = 0; word_order_names[i] != NULL; i++)
        if (strcmp(word_order_names[i], name) == 0)
            return i;
    return -1;
}

static bool has_order(int words, int type)
{
    return (words == 2 || words == 4) && type != RAW_STRING;
}

static bool archive_set_order(struct profile_archive *archive, enum word_order order)
{
    bool changed = false;
    for (int i = 0; i < archive->value_count; i++) {
        struct archive_value *value = &archive->values[i];
        if (!has_order(value->words, value->type))
            continue;
        value->order = (uint8_t)order;
        changed = true;
    }
    if (archive->time_type == RAW_BCD)
        return changed; // three registers have one order
    archive->time_order = (uint8_t)order;
    return true;
}

bool profile_set_word_order(struct profile *profile, enum word_order order)
{
    bool changed = false;
    for (int i = 0; i < profile->field_count; i++) {
        struct field *field = &profile->fields[i];
        if (!has_order(field->words, field->type))
            continue;
        field->order = (uint8_t)order;
        changed = true;
    }
    for (int i = 0; i < profile->archive_count; i++)
        changed = archive_set_order(&profile->archives[i], order) || changed;
    return changed;
}

int64_t profile_count_worth(const struct profile *profile, const struct profile_channel *channel,
                            const struct part *part)
{
    uint8_t type = profile->fields[part->field].type;
    struct decimal factor = channel->conversion.factor;
    struct decimal step = {0, part->scale.exponent + factor.exponent};
    int64_t micro = 0;
    if (type == RAW_F32 || type == RAW_F64 || part->scale_field >= 0 || step.exponent < -18 ||
        step.exponent > 18 ||
        __builtin_mul_overflow(part->scale.mantissa, factor.mantissa, &step.mantissa) ||
        step.mantissa <= 0 ||
        micro_from_integer(false, (uint64_t)step.mantissa, (struct decimal){1, step.exponent},
                           &micro) != 0 ||
        micro <= 0)
        return 0;
    return micro;
}

int64_t profile_resolution(const struct profile *profile, const struct profile_channel *channel)
{
    if (channel->part_count == 0)
        return 1;
    const struct part *least = &channel->parts[channel->part_count - 1];
    int64_t micro = profile_count_worth(profile, channel, least);
    return micro > 0 && micro <= RESOLUTION_MAX ? micro : 1;
}

int profile_channel_find(const struct profile *profile, const char *name)
{
    for (int i = 0; i < profile->channel_count; i++)
        if (strcmp(profile->channels[i].channel->name, name) == 0)
            return i;
    return -1;
}
