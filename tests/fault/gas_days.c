// Walks the gas days of 1970 to 2037 by the product's calendar, for gasdays.py, which knows them
// from elsewhere.
//
// stdin: lines "ZONE MINUTES". stdout, for each: "zone ZONE MINUTES"; "day FROM TO HOURS QUARTERS"
// for each gas day that has not 24 hours, and each 97th besides; "month FROM TO"; "days COUNT".
// Unix seconds. Exits 1 where days, hours or quarter hours leave a hole or overlap.
#include "base/timetext.h"
#include "gas/gasday.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define DAY_MS INT64_C(86400000)
#define LINE_MAX_BYTES 128

static int fail(const char *what, int64_t at_ms)
{
    (void)fprintf(stderr, "gas_days: %s at %" PRId64 "\n", what, at_ms / 1000);
    return -1;
}

// How many periods of a span tile [from, to); -1 where they do not.
static int count_tiles(const struct gas_calendar *calendar, enum span span, int64_t from,
                       int64_t to)
{
    int count = 0;
    for (int64_t at = from; at < to; count++) {
        int64_t end = period_end(calendar, span, at);
        if (end <= at || end > to || end - at > span_nominal_ms(span))
            return fail("a period leaves its day", at);
        if (period_start(calendar, span, at) != at || period_start(calendar, span, end - 1) != at ||
            period_end(calendar, span, end - 1) != end)
            return fail("a period is another one at its end", at);
        at = end;
    }
    return count;
}

static int tell_day(const struct gas_calendar *calendar, int64_t from, int64_t to)
{
    int hours = count_tiles(calendar, SPAN_HOUR, from, to);
    int quarters = count_tiles(calendar, SPAN_15MIN, from, to);
    if (hours < 0 || quarters < 0)
        return -1;
    printf("day %" PRId64 " %" PRId64 " %d %d\n", from / 1000, to / 1000, hours, quarters);
    return 0;
}

static int walk(const struct gas_calendar *calendar, int64_t from, int64_t until)
{
    int64_t month_end = INT64_MIN;
    int days = 0;
    for (int64_t at = from; at < until; days++) {
        int64_t to = period_end(calendar, SPAN_DAY, at);
        if (to <= at || period_start(calendar, SPAN_DAY, at) != at ||
            period_start(calendar, SPAN_DAY, to - 1) != at)
            return fail("a gas day is another one at its end", at);
        bool is_odd = to - at != DAY_MS || days % 97 == 0;
        if (is_odd && tell_day(calendar, at, to) != 0)
            return -1;
        if (period_start(calendar, SPAN_MONTH, at) == at) {
            if (month_end != INT64_MIN && month_end != at)
                return fail("a month begins before the one before has ended", at);
            month_end = period_end(calendar, SPAN_MONTH, at);
            printf("month %" PRId64 " %" PRId64 "\n", at / 1000, month_end / 1000);
        }
        at = to;
    }
    printf("days %d\n", days);
    return 0;
}

static int walk_line(char *line)
{
    struct gas_calendar calendar;
    struct err err = {""};
    char *space = strchr(line, ' ');
    if (space == NULL)
        return fail("a line without a start", 0);
    *space = '\0';
    if (gas_calendar_init(&calendar, line, (int)strtol(space + 1, NULL, 10), &err) != 0) {
        (void)fprintf(stderr, "gas_days: %s\n", err.text);
        return -1;
    }
    printf("zone %s %d\n", line, calendar.start_minutes);
    int64_t from = period_start(&calendar, SPAN_DAY, days_from_civil(1970, 1, 2) * DAY_MS);
    return walk(&calendar, from, days_from_civil(2038, 1, 1) * DAY_MS);
}

int main(void)
{
    char line[LINE_MAX_BYTES];
    while (fgets(line, sizeof line, stdin) != NULL)
        if (walk_line(line) != 0)
            return 1;
    return 0;
}
