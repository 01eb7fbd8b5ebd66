#include "drivers/archive.h"

#include "base/timetext.h"

#include <stdlib.h>
#include <string.h>

#define CENTURY 2000
#define DAY_S 86400
#define TIME_WORDS_MAX 3

static void add_value(struct profile *record, const struct archive_value *value, bool as_channel)
{
    uint8_t number = record->field_count++;
    record->fields[number] = (struct field){.first = value->offset,
                                            .function = 3,
                                            .words = value->words,
                                            .place = value->offset,
                                            .type = value->type,
                                            .order = value->order};
    if (!as_channel)
        return;
    struct profile_channel *channel = &record->channels[record->channel_count++];
    channel->channel = value->channel;
    channel->part_count = 1;
    channel->parts[0] = (struct part){.field = number, .scale = value->scale, .scale_field = -1};
    channel->conversion = value->conversion;
    memcpy(channel->unit, value->unit, sizeof channel->unit);
}

static uint8_t time_words(const struct profile_archive *archive)
{
    return archive->time_type == RAW_BCD ? TIME_WORDS_MAX : 2;
}

struct profile *archive_record(const struct profile *profile, int archive, bool increments)
{
    const struct profile_archive *from = &profile->archives[archive];
    struct profile *record = calloc(1, sizeof *record);
    if (record == NULL)
        return NULL;
    memcpy(record->name, profile->name, sizeof record->name);
    record->verified = profile->verified;
    record->word_count = from->record_registers;
    record->fields[record->field_count++] = (struct field){.first = from->time_offset,
                                                           .function = 3,
                                                           .words = time_words(from),
                                                           .place = from->time_offset,
                                                           .type = from->time_type,
                                                           .order = from->time_order};
    for (int i = 0; i < from->value_count; i++)
        add_value(record, &from->values[i], increments || !from->values[i].increment);
    return record;
}

int archive_register(const struct profile_archive *archive, int age)
{
    int place = archive->oldest_first ? age : archive->records - 1 - age;
    return archive->first_register + place * archive->record_registers;
}

// ---- time ---------------------------------------------------------------------------------------

// Place on the wire of the i-th word, most significant first, and whether its bytes are swapped.
static int word_place(const struct profile_archive *archive, int i, bool *swapped)
{
    int order = archive->time_order;
    *swapped = order == ORDER_BADC || order == ORDER_DCBA;
    bool last_first = order == ORDER_CDAB || order == ORDER_DCBA;
    return archive->time_offset + (last_first ? time_words(archive) - 1 - i : i);
}

static uint64_t bits_get(const struct profile_archive *archive, const uint16_t *words)
{
    uint64_t bits = 0;
    for (int i = 0; i < time_words(archive); i++) {
        bool swapped;
        uint16_t word = words[word_place(archive, i, &swapped)];
        word = (uint16_t)(swapped ? word >> 8 | word << 8 : word);
        bits = bits << 16 | word;
    }
    return bits;
}

// The i-th of six pairs of digits, the year first; -1 for a digit above 9.
static int pair_get(uint64_t bits, int i)
{
    unsigned pair = bits >> (40 - 8 * i) & 0xFF;
    return pair >> 4 > 9 || (pair & 0xF) > 9 ? -1 : (int)((pair >> 4) * 10 + (pair & 0xF));
}

static int wall_stamp(uint64_t bits, int64_t *clock_s)
{
    int of[6];
    for (int i = 0; i < 6; i++) {
        of[i] = pair_get(bits, i);
        if (of[i] < 0)
            return -1;
    }
    // 24:00:00 is how some clocks name the end of a day
    bool midnight = of[3] == 24 && of[4] == 0 && of[5] == 0;
    if (of[1] < 1 || of[1] > 12 || of[2] < 1 || of[2] > 31 || (of[3] > 23 && !midnight) ||
        of[4] > 59 || of[5] > 59)
        return -1;
    int64_t days = days_from_civil(CENTURY + of[0], of[1], of[2]);
    int year;
    int month;
    int day;
    civil_from_days(days, &year, &month, &day);
    if (month != of[1] || day != of[2]) // 30 February
        return -1;
    *clock_s = days * DAY_S + of[3] * INT64_C(3600) + of[4] * INT64_C(60) + of[5];
    return 0;
}

int archive_stamp(const struct profile_archive *archive, const uint16_t *words, int64_t *clock_s)
{
    uint64_t bits = bits_get(archive, words);
    if (archive->time_type == RAW_BCD)
        return wall_stamp(bits, clock_s);
    if (bits == 0 || bits == UINT32_MAX)
        return -1;
    *clock_s = (int64_t)bits;
    return 0;
}

static uint64_t wall_bits(int64_t clock_s)
{
    int of[6];
    int year;
    civil_from_days(clock_s / DAY_S, &year, &of[1], &of[2]);
    int rest = (int)(clock_s % DAY_S);
    of[0] = year - CENTURY;
    of[3] = rest / 3600;
    of[4] = rest / 60 % 60;
    of[5] = rest % 60;
    uint64_t bits = 0;
    for (int i = 0; i < 6; i++)
        bits = bits << 8 | (uint64_t)(of[i] / 10 % 10) << 4 | (uint64_t)(of[i] % 10);
    return bits;
}

void archive_stamp_put(const struct profile_archive *archive, int64_t clock_s, uint16_t *words)
{
    uint64_t bits = archive->time_type == RAW_BCD ? wall_bits(clock_s) : (uint64_t)clock_s;
    int count = time_words(archive);
    for (int i = 0; i < count; i++) {
        bool swapped;
        int place = word_place(archive, i, &swapped);
        uint16_t word = (uint16_t)(bits >> (16 * (count - 1 - i)));
        words[place] = (uint16_t)(swapped ? word >> 8 | word << 8 : word);
    }
}
