#include "base/timetext.h"

#include <stdbool.h>

#define DAY_MS INT64_C(86400000)
#define FIRST_MS INT64_C(-62167219200000) // 0000-01-01T00:00:00.000Z
#define LAST_MS INT64_C(253402300799999)  // 9999-12-31T23:59:59.999Z

// Years are counted from March here, so that the leap day is the last day of its year.
#define DAYS_400_YEARS 146097
#define MARCH_0000 (-719468) // 0000-03-01 in days since 1970-01-01

static const int month_start[12] = {0, 31, 61, 92, 122, 153, 184, 214, 245, 275, 306, 337};

static int64_t floor_divide(int64_t a, int64_t b)
{
    int64_t quotient = a / b;
    return a % b < 0 ? quotient - 1 : quotient;
}

static int64_t days_before_year(int64_t year)
{
    return year * 365 + floor_divide(year, 4) - floor_divide(year, 100) + floor_divide(year, 400);
}

int64_t days_from_civil(int year, int month, int day)
{
    int64_t march_year = (int64_t)year - (month < 3 ? 1 : 0);
    int march_month = (month + 9) % 12;
    return MARCH_0000 + days_before_year(march_year) + month_start[march_month] + day - 1;
}

void civil_from_days(int64_t days, int *year, int *month, int *day)
{
    int64_t since = days - MARCH_0000;
    int64_t cycle = floor_divide(since, DAYS_400_YEARS);
    int64_t rest = since - cycle * DAYS_400_YEARS;
    int64_t in_cycle = rest / 366; // at most two years too early
    while (days_before_year(in_cycle + 1) <= rest)
        in_cycle++;
    rest -= days_before_year(in_cycle);
    int march_month = 11;
    while (month_start[march_month] > rest)
        march_month--;
    *month = (march_month + 2) % 12 + 1;
    *day = (int)(rest - month_start[march_month]) + 1;
    *year = (int)(cycle * 400 + in_cycle + (*month < 3 ? 1 : 0));
}

static char *put_digits(char *at, int value, int count, char after)
{
    for (int i = count - 1; i >= 0; i--) {
        at[i] = (char)('0' + value % 10);
        value /= 10;
    }
    at[count] = after;
    return at + count + 1;
}

size_t time_print(int64_t wall_ms, char text[static TIME_TEXT_MAX])
{
    int64_t at_ms = wall_ms < FIRST_MS ? FIRST_MS : wall_ms;
    at_ms = at_ms > LAST_MS ? LAST_MS : at_ms;
    int64_t days = floor_divide(at_ms, DAY_MS);
    int in_day = (int)(at_ms - days * DAY_MS);
    int year = 0;
    int month = 0;
    int day = 0;
    civil_from_days(days, &year, &month, &day);

    char *at = put_digits(text, year, 4, '-');
    at = put_digits(at, month, 2, '-');
    at = put_digits(at, day, 2, 'T');
    at = put_digits(at, in_day / 3600000, 2, ':');
    at = put_digits(at, in_day / 60000 % 60, 2, ':');
    at = put_digits(at, in_day / 1000 % 60, 2, '.');
    at = put_digits(at, in_day % 1000, 3, 'Z');
    *at = '\0';
    return (size_t)(at - text);
}

// Reads exactly `count` digits of a number low..high.
static bool take_number(const char **at, int count, int low, int high, int *out)
{
    int value = 0;
    for (int i = 0; i < count; i++, ++*at) {
        if (**at < '0' || **at > '9')
            return false;
        value = value * 10 + (**at - '0');
    }
    *out = value;
    return value >= low && value <= high;
}

static bool take(const char **at, char expected)
{
    if (**at != expected)
        return false;
    ++*at;
    return true;
}

static bool take_date(const char **at, int64_t *days)
{
    int year = 0;
    int month = 0;
    int day = 0;
    if (!take_number(at, 4, 0, 9999, &year) || !take(at, '-') ||
        !take_number(at, 2, 1, 12, &month) || !take(at, '-') || !take_number(at, 2, 1, 31, &day))
        return false;
    *days = days_from_civil(year, month, day);
    int real_year = 0;
    int real_month = 0;
    int real_day = 0;
    civil_from_days(*days, &real_year, &real_month, &real_day);
    return real_month == month; // 30 February is a day of March
}

// ".412" and any number of digits; those beyond the millisecond are cut off.
static bool take_fraction(const char **at, int *ms)
{
    *ms = 0;
    if (!take(at, '.'))
        return true;
    const char *start = *at;
    int weight = 100;
    for (; **at >= '0' && **at <= '9'; ++*at) {
        *ms += (**at - '0') * weight;
        weight /= 10;
    }
    return *at != start;
}

static bool take_offset(const char **at, int64_t *offset_ms)
{
    *offset_ms = 0;
    if (take(at, 'Z'))
        return true;
    bool west = **at == '-';
    int hours = 0;
    int minutes = 0;
    if (!take(at, west ? '-' : '+') || !take_number(at, 2, 0, 23, &hours) || !take(at, ':') ||
        !take_number(at, 2, 0, 59, &minutes))
        return false;
    *offset_ms = (hours * 60 + minutes) * INT64_C(60000) * (west ? -1 : 1);
    return true;
}

static bool take_time(const char **at, int64_t *in_day_ms)
{
    int hour = 0;
    int minute = 0;
    int second = 0;
    int ms = 0;
    int64_t offset = 0;
    if (!take_number(at, 2, 0, 23, &hour) || !take(at, ':') ||
        !take_number(at, 2, 0, 59, &minute) || !take(at, ':') ||
        !take_number(at, 2, 0, 59, &second) || !take_fraction(at, &ms) || !take_offset(at, &offset))
        return false;
    *in_day_ms = ((hour * 60 + minute) * 60 + second) * INT64_C(1000) + ms - offset;
    return true;
}

int time_parse(const char *text, int64_t *wall_ms)
{
    const char *at = text;
    int64_t days = 0;
    int64_t in_day_ms = 0;
    if (!take_date(&at, &days))
        return -1;
    if (*at != '\0' && (!take(&at, 'T') || !take_time(&at, &in_day_ms)))
        return -1;
    if (*at != '\0')
        return -1;
    *wall_ms = days * DAY_MS + in_day_ms;
    return 0;
}
