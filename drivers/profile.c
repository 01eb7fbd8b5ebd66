#include "drivers/profile.h"

#include <string.h>

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

int profile_channel_find(const struct profile *profile, const char *name)
{
    for (int i = 0; i < profile->channel_count; i++)
        if (strcmp(profile->channels[i].channel->name, name) == 0)
            return i;
    return -1;
}
