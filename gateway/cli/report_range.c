// Which gas day, month or year a report is of.
#include "cli/cli.h"
#include "cli/report.h"

#include "base/timetext.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

#define DAY_MS (INT64_C(24) * 3600 * 1000)
#define HOUR_MS INT64_C(3600000)

static int64_t local_day(const struct report *report, int64_t at_ms)
{
    return wall_clock_s(&report->calendar, at_ms) / 86400;
}

// Start of the gas day that begins on a local date, given as midnight UTC of that date.
static int64_t day_of_date(const struct report *report, int64_t date_ms)
{
    int64_t from = period_start(&report->calendar, SPAN_DAY, date_ms + DAY_MS + 14 * HOUR_MS);
    while (local_day(report, from) > date_ms / DAY_MS)
        from = period_start(&report->calendar, SPAN_DAY, from - 1);
    return from;
}

static int64_t year_start(const struct report *report, int year)
{
    return day_of_date(report, days_from_civil(year, 1, 1) * DAY_MS);
}

static int year_of(const struct report *report, int64_t at_ms)
{
    int year;
    int month;
    int day;
    civil_from_days(local_day(report, period_start(&report->calendar, SPAN_MONTH, at_ms)), &year,
                    &month, &day);
    return year;
}

static void set_range(struct report *report, int64_t at_ms)
{
    if (report->span != 0) {
        report->from_ms = period_start(&report->calendar, report->span, at_ms);
        report->to_ms = period_end(&report->calendar, report->span, at_ms);
    } else {
        int year = year_of(report, at_ms);
        report->from_ms = year_start(report, year);
        report->to_ms = year_start(report, year + 1);
    }
    char text[20];
    int length = report->span == SPAN_DAY ? 10 : report->span == SPAN_MONTH ? 7 : 4;
    (void)snprintf(report->date, sizeof report->date, "%.*s", length,
                   report_time(report, report->from_ms, text));
}

// "2026-11-23"; of a month also "2026-11", of a year also "2026".
static int date_parse(enum span span, const char *date, int64_t *at_ms)
{
    static const char rest[] = "0000-01-01";
    char whole[11];
    size_t length = strlen(date);
    if (length != 10 && !(length == 7 && span != SPAN_DAY) && !(length == 4 && span == 0))
        return -1;
    (void)snprintf(whole, sizeof whole, "%s%s", date, rest + length);
    return time_parse(whole, at_ms);
}

int report_range(struct report *report, const char *what, const char *date)
{
    int64_t at_ms;
    report->span = strcmp(what, "month") == 0  ? SPAN_MONTH
                   : strcmp(what, "year") == 0 ? (enum span)0
                                               : SPAN_DAY;
    if (date == NULL) {
        struct timespec now;
        (void)clock_gettime(CLOCK_REALTIME, &now);
        set_range(report, (int64_t)now.tv_sec * 1000);
        set_range(report, report->from_ms - 1);
        return EXIT_DONE;
    }
    if (date_parse(report->span, date, &at_ms) != 0)
        return cli_usage("report", "--date: '%s' is no date; write %s", date,
                         report->span == SPAN_DAY     ? "2026-11-23"
                         : report->span == SPAN_MONTH ? "2026-11"
                                                      : "2026");
    set_range(report, day_of_date(report, at_ms));
    return EXIT_DONE;
}

bool report_range_last(const struct report *report, struct report *out)
{
    *out = *report;
    set_range(out, report->from_ms - 1);
    return true;
}

bool report_range_year_ago(const struct report *report, struct report *out)
{
    int year;
    int month;
    int day;
    civil_from_days(local_day(report, report->from_ms), &year, &month, &day);
    if (report->span == 0 || (month == 2 && day == 29))
        return false;
    *out = *report;
    set_range(out, day_of_date(report, days_from_civil(year - 1, month, day) * DAY_MS));
    return true;
}
