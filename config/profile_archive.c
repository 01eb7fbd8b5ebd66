// The meter's own logs in a profile.
#include "config/profile_build.h"

#include <stdlib.h>
#include <string.h>

// Whether some of `count` registers from `first` on are the same as some of the others.
static bool overlaps(int first, int count, int other_first, int other_count)
{
    return first < other_first + other_count && other_first < first + count;
}

// A record's values lie beside each other and its time, and each is one that the profile reads: by
// that the record is judged.
static void archive_value_check(struct build *build, const struct archive_entry *archive,
                                const struct archive_value_entry *entry, int time_words)
{
    const struct archive_value_entry *values = archive->values.items;
    const struct node *node = place_of(entry->node, "offset");
    int words = type_forms[entry->type].words;
    if (profile_channel_find(build->profile, entry->node->key) < 0) {
        TELL_KEY(build, entry->node, "the profile has no channel '%s' to compare a record with",
                 entry->node->key);
    }
    if (archive->time_offset >= 0 &&
        overlaps(entry->offset, words, archive->time_offset, time_words)) {
        TELL(build, node, "the value overlaps the record's time (registers %d to %d)",
             archive->time_offset, archive->time_offset + time_words - 1);
    }
    for (const struct archive_value_entry *other = values; other < entry; other++) {
        if (other->offset >= 0 && other->type >= 0 &&
            overlaps(entry->offset, words, other->offset, type_forms[other->type].words)) {
            TELL(build, node, "the value overlaps that of %s (registers %d to %d)",
                 other->node->key, other->offset,
                 other->offset + type_forms[other->type].words - 1);
        }
    }
}

static void archive_value_take(struct build *build, const struct archive_entry *archive,
                               const struct archive_value_entry *entry, int time_words,
                               struct archive_value *out)
{
    if (entry->offset < 0 || entry->type < 0)
        return; // told
    archive_value_check(build, archive, entry, time_words);
    const struct type_form *form = &type_forms[entry->type];
    if (form->type == RAW_STRING)
        TELL(build, place_of(entry->node, "type"), "text is no quantity; allowed: a number's type");
    if (entry->scale.mantissa == 0) {
        TELL(build, place_of(entry->node, "scale"),
             "a scale of 0 leaves nothing; allowed: any "
             "other");
    }
    if (entry->value == 1 && channel_find(entry->node->key)->kind != CHANNEL_COUNTER) {
        TELL(build, place_of(entry->node, "value"),
             "only a counter has increments; allowed for %s: no such key", entry->node->key);
    }
    if (archive->record_registers > 0 && entry->offset + form->words > archive->record_registers) {
        TELL(build, place_of(entry->node, "offset"),
             "the value ends outside the record of %d "
             "registers",
             archive->record_registers);
    }
    *out = (struct archive_value){.channel = channel_find(entry->node->key),
                                  .offset = (uint16_t)entry->offset,
                                  .words = (uint8_t)form->words,
                                  .type = (uint8_t)form->type,
                                  .increment = entry->value == 1,
                                  .scale = entry->scale};
    (void)order_take(build, entry->node, entry->order, form->words, form->type == RAW_STRING,
                     &out->order);
    unit_take(build, entry->node, out->channel, entry->unit, false, out->unit, &out->conversion);
}

static void archive_check(struct build *build, const struct archive_entry *entry, int time_words)
{
    if (entry->first + entry->records * entry->record_registers > 65536) {
        TELL(build, place_of(entry->node, "records"),
             "the archive ends after register 65535; allowed: fewer records");
    }
    if (entry->record_registers > build->draft->max_registers) {
        TELL(build, place_of(entry->node, "record_registers"),
             "a record is read in one request of %d registers, limits.max_registers is %d",
             entry->record_registers, build->draft->max_registers);
    }
    if (entry->time_offset >= 0 && entry->time_offset + time_words > entry->record_registers) {
        TELL(build, place_of(node_find(entry->node, "time"), "offset"),
             "the time ends outside the record of %d registers", entry->record_registers);
    }
}

static void archive_take(struct build *build, const struct archive_entry *entry,
                         struct profile_archive *out)
{
    const struct node *time = node_find(entry->node, "time");
    int time_words = entry->time_type == 1 ? 3 : 2;
    if (entry->first >= 0 && entry->record_registers > 0 && entry->records > 0)
        archive_check(build, entry, time_words);
    *out = (struct profile_archive){.span = entry->span == 1 ? ARCHIVE_DAY : ARCHIVE_HOUR,
                                    .function = (uint8_t)entry->function,
                                    .first_register = (uint16_t)entry->first,
                                    .record_registers = (uint16_t)entry->record_registers,
                                    .records = (uint16_t)entry->records,
                                    .oldest_first = entry->direction == 1,
                                    .time_offset = (uint16_t)entry->time_offset,
                                    .time_type = entry->time_type == 1 ? RAW_BCD : RAW_U32,
                                    .time_is_start = entry->time_marks == 1,
                                    .time_is_utc = entry->time_zone >= 0 ? entry->time_zone == 1
                                                                         : entry->time_type != 1};
    memcpy(out->name, entry->name, sizeof out->name);
    if (entry->time_type >= 0)
        (void)order_take(build, time, entry->time_order, time_words, false, &out->time_order);
    const struct archive_value_entry *values = entry->values.items;
    for (int i = 0; i < entry->values.count; i++)
        archive_value_take(build, entry, &values[i], time_words, &out->values[out->value_count++]);
}

void archives_take(struct build *build)
{
    const struct archive_entry *entries = build->draft->archives.items;
    int count = build->draft->archives.count;
    if (count == 0)
        return;
    build->profile->archives = calloc((size_t)count, sizeof build->profile->archives[0]);
    if (build->profile->archives == NULL) {
        TELL(build, build->draft->node, "there is not enough memory");
        return;
    }
    for (int i = 0; i < count; i++) {
        for (int j = 0; j < i; j++) {
            if (entries[i].name[0] != '\0' && strcmp(entries[i].name, entries[j].name) == 0) {
                TELL(build, place_of(entries[i].node, "name"),
                     "the name '%s' is taken by "
                     "archives[%d]",
                     entries[i].name, j);
            }
        }
        archive_take(build, &entries[i], &build->profile->archives[i]);
    }
    build->profile->archive_count = count;
}
