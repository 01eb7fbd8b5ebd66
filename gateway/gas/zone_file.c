#include "gas/zone_file.h"

#include "base/buf.h"
#include "base/timetext.h"

#include <ctype.h>
#include <stdbool.h>
#include <string.h>

#define HOUR_S 3600
#define DAY_S INT64_C(86400)
#define LAST_YEAR 2199
#define TYPE_SIZE 6
#define TYPES_MAX 256
#define FILE_COUNT_MAX 65536 // of anything in a file: what it says of more is not believed
#define RULE_MAX 128         // characters; the longest there is has 45

// --- the table ---

// Appends a change. One at the same instant takes its place; one that changes no clock is left out.
static bool add_change(struct zone_table *table, int64_t at_s, int64_t offset_s)
{
    if (offset_s <= -ZONE_OFFSET_MAX_S || offset_s >= ZONE_OFFSET_MAX_S)
        return false;
    if (table->count > 0 && table->changes[table->count - 1].at_s == at_s)
        table->count--;
    if (table->count > 0 && table->changes[table->count - 1].at_s > at_s)
        return false;
    if (table->count > 0 && table->changes[table->count - 1].offset_s == offset_s)
        return true;
    if (table->count == ZONE_CHANGES_MAX)
        return false;
    table->changes[table->count++] = (struct zone_change){at_s, (int32_t)offset_s};
    return true;
}

// --- the rule behind the table ---

struct rule_day {
    enum { MONTH_WEEK_DAY, JULIAN, ZERO_BASED } form;
    int month, week, day;
    int64_t time_s; // after midnight, by the clock that goes until then
};

struct rule {
    int64_t standard_s, summer_s; // ahead of UTC
    bool has_summer;
    struct rule_day begins, ends;
};

static bool take(const char **at, char wanted)
{
    if (**at != wanted)
        return false;
    (*at)++;
    return true;
}

static bool take_number(const char **at, int least, int most, int *out)
{
    int value = 0;
    const char *from = *at;
    while (isdigit((unsigned char)**at) != 0 && *at - from < 4)
        value = value * 10 + (*(*at)++ - '0');
    *out = value;
    return *at > from && value >= least && value <= most;
}

static bool take_name(const char **at)
{
    const char *from = *at;
    if (take(at, '<')) {
        while (isalnum((unsigned char)**at) != 0 || **at == '+' || **at == '-')
            (*at)++;
        return take(at, '>');
    }
    while (isalpha((unsigned char)**at) != 0)
        (*at)++;
    return *at - from >= 3;
}

// [+-]hh[:mm[:ss]]
static bool take_time(const char **at, int64_t *out)
{
    int64_t sign = take(at, '-') ? -1 : 1;
    if (sign > 0)
        (void)take(at, '+');
    int hours;
    int minutes = 0;
    int seconds = 0;
    if (!take_number(at, 0, 167, &hours) || (take(at, ':') && !take_number(at, 0, 59, &minutes)) ||
        (take(at, ':') && !take_number(at, 0, 59, &seconds)))
        return false;
    *out = sign * (hours * INT64_C(3600) + minutes * INT64_C(60) + seconds);
    return true;
}

static bool take_day(const char **at, struct rule_day *out)
{
    *out = (struct rule_day){.time_s = 2 * HOUR_S};
    if (take(at, 'M')) {
        if (!take_number(at, 1, 12, &out->month) || !take(at, '.') ||
            !take_number(at, 1, 5, &out->week) || !take(at, '.') ||
            !take_number(at, 0, 6, &out->day))
            return false;
    } else {
        out->form = take(at, 'J') ? JULIAN : ZERO_BASED;
        if (!take_number(at, out->form == JULIAN ? 1 : 0, 365, &out->day))
            return false;
    }
    return !take(at, '/') || take_time(at, &out->time_s);
}

// "CET-1CEST,M3.5.0,M10.5.0/3": here offsets count to the west.
static bool read_rule(const char *text, struct rule *out)
{
    *out = (struct rule){.has_summer = false};
    if (!take_name(&text) || !take_time(&text, &out->standard_s))
        return false;
    out->standard_s = -out->standard_s;
    if (*text == '\0')
        return true;
    out->has_summer = true;
    out->summer_s = out->standard_s + HOUR_S;
    if (!take_name(&text))
        return false;
    if (*text != ',') {
        if (!take_time(&text, &out->summer_s))
            return false;
        out->summer_s = -out->summer_s;
    }
    return take(&text, ',') && take_day(&text, &out->begins) && take(&text, ',') &&
           take_day(&text, &out->ends) && *text == '\0';
}

// Midnight of a rule's day in a year, plus its time: as the clock on the wall counts.
static int64_t rule_local_s(const struct rule_day *rule, int year)
{
    int64_t first = days_from_civil(year, 1, 1);
    bool is_leap = days_from_civil(year, 3, 1) - first == 60;
    int64_t day = first + rule->day;
    if (rule->form == JULIAN)
        day -= is_leap && rule->day >= 60 ? 0 : 1; // 29 February has no number
    if (rule->form == MONTH_WEEK_DAY) {
        int64_t month = days_from_civil(year, rule->month, 1);
        int64_t next = rule->month == 12 ? days_from_civil(year + 1, 1, 1)
                                         : days_from_civil(year, rule->month + 1, 1);
        int64_t weekday = ((month + 4) % 7 + 7) % 7; // 1970-01-01 was a Thursday
        day = month + (rule->day - weekday + 7) % 7 + (rule->week - 1) * INT64_C(7);
        while (day >= next)
            day -= 7; // week 5: the last one
    }
    return day * DAY_S + rule->time_s;
}

static int year_of(int64_t at_s)
{
    int year;
    int month;
    int day;
    civil_from_days(at_s / DAY_S, &year, &month, &day);
    return year;
}

// The two changes of a year, as far as they come after the table; of two at the same instant that
// to summer time counts: some zones keep it all the year that way.
static bool add_year(struct zone_table *table, const struct rule *rule, int year, int64_t after_s)
{
    struct zone_change summer = {rule_local_s(&rule->begins, year) - rule->standard_s,
                                 (int32_t)rule->summer_s};
    struct zone_change standard = {rule_local_s(&rule->ends, year) - rule->summer_s,
                                   (int32_t)rule->standard_s};
    bool summer_first = summer.at_s < standard.at_s;
    const struct zone_change *both[] = {summer_first ? &summer : &standard,
                                        summer_first ? &standard : &summer};
    for (int i = 0; i < 2; i++)
        if (both[i]->at_s > after_s && !add_change(table, both[i]->at_s, both[i]->offset_s))
            return false;
    return true;
}

static bool follow_rule(struct zone_table *table, const struct rule *rule, int64_t after_s)
{
    int year = after_s > 0 ? year_of(after_s) : 1970;
    if (!rule->has_summer)
        return true; // the last offset stays
    for (; year <= LAST_YEAR; year++)
        if (!add_year(table, rule, year, after_s))
            return false;
    return true;
}

// --- the file ---

struct header {
    uint8_t version;
    uint32_t ut_count, standard_count, leap_count, time_count, type_count, name_count;
};

static int64_t take_big_endian(struct cursor *cursor, int size)
{
    uint64_t value = 0;
    for (int i = 0; i < size; i++)
        value = value << 8 | cursor_byte(cursor);
    return size == 4 ? (int32_t)(uint32_t)value : (int64_t)value;
}

static bool take_header(struct cursor *cursor, struct header *out)
{
    const uint8_t *magic = cursor_bytes(cursor, 4);
    out->version = cursor_byte(cursor);
    (void)cursor_bytes(cursor, 15);
    uint32_t *const counts[] = {&out->ut_count,   &out->standard_count, &out->leap_count,
                                &out->time_count, &out->type_count,     &out->name_count};
    for (int i = 0; i < 6; i++) {
        *counts[i] = (uint32_t)take_big_endian(cursor, 4);
        if (*counts[i] > FILE_COUNT_MAX)
            return false;
    }
    return !cursor->failed && memcmp(magic, "TZif", 4) == 0;
}

// The table of the file, with times of eight bytes. Returns its last instant through `last_s`.
static bool read_table(struct cursor *cursor, const struct header *header, struct zone_table *out,
                       int64_t *last_s)
{
    const uint8_t *times = cursor_bytes(cursor, (size_t)header->time_count * 8);
    const uint8_t *kinds = cursor_bytes(cursor, header->time_count);
    int64_t offsets[TYPES_MAX];
    for (uint32_t i = 0; i < header->type_count; i++) {
        offsets[i] = take_big_endian(cursor, 4);
        (void)cursor_bytes(cursor, TYPE_SIZE - 4);
    }
    (void)cursor_bytes(cursor, header->name_count);
    (void)cursor_bytes(cursor, header->standard_count);
    (void)cursor_bytes(cursor, header->ut_count);
    if (cursor->failed || !add_change(out, INT64_MIN, offsets[0]))
        return false;
    struct cursor at = cursor_of(times, (size_t)header->time_count * 8);
    for (uint32_t i = 0; i < header->time_count; i++) {
        int64_t at_s = take_big_endian(&at, 8);
        if (kinds[i] >= header->type_count || (i > 0 && at_s <= *last_s) ||
            !add_change(out, at_s, offsets[kinds[i]]))
            return false;
        *last_s = at_s;
    }
    return true;
}

// "\nRULE\n" at the file's end; an empty one says nothing.
static bool read_footer(struct cursor *cursor, struct zone_table *out, int64_t last_s)
{
    char text[RULE_MAX];
    size_t length = (size_t)(cursor->end - cursor->at);
    if (length < 2 || length - 2 >= sizeof text || cursor->at[0] != '\n' ||
        cursor->at[length - 1] != '\n')
        return false;
    memcpy(text, cursor->at + 1, length - 2);
    text[length - 2] = '\0';
    struct rule rule;
    return text[0] == '\0' || (read_rule(text, &rule) && follow_rule(out, &rule, last_s));
}

int zone_file_read(const void *bytes, size_t length, struct zone_table *out)
{
    struct cursor cursor = cursor_of(bytes, length);
    struct header header;
    if (!take_header(&cursor, &header) || header.version < '2')
        return -1;
    // first the same with times of four bytes, for readers of version 1
    (void)cursor_bytes(&cursor, (size_t)header.time_count * 5 +
                                    (size_t)header.type_count * TYPE_SIZE + header.name_count +
                                    (size_t)header.leap_count * 8 + header.standard_count +
                                    header.ut_count);
    if (!take_header(&cursor, &header) || header.leap_count != 0 || header.type_count == 0 ||
        header.type_count > TYPES_MAX)
        return -1;
    int64_t last_s = INT64_MIN;
    out->count = 0;
    return read_table(&cursor, &header, out, &last_s) && read_footer(&cursor, out, last_s) ? 0 : -1;
}
