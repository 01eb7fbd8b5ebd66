#include "gas/gasday.h"

#include "base/timetext.h"

#define SECONDS_PER_DAY INT64_C(86400)

// --- the calendar ---

int gas_calendar_init(struct gas_calendar *out, const char *timezone, int start_minutes,
                      struct err *err)
{
    if (start_minutes < 0 || start_minutes >= 24 * 60) {
        return err_set(err, "a gas day starts between 00:00 and 23:45, not at minute %d",
                       start_minutes);
    }
    const struct zone *zone = zone_find(timezone, err);
    if (zone == NULL)
        return -1;
    *out = (struct gas_calendar){.start_minutes = start_minutes, .zone = zone};
    return 0;
}

// --- local time ---

static int64_t floor_divide(int64_t a, int64_t b)
{
    return a / b - (a % b != 0 && (a ^ b) < 0 ? 1 : 0);
}

int64_t wall_clock_s(const struct gas_calendar *calendar, int64_t at_ms)
{
    int64_t at_s = floor_divide(at_ms, 1000);
    return at_s + zone_offset_s(calendar->zone, at_s);
}

// --- periods ---

// Start of the gas day of a civil date, given in days since 1970-01-01.
static int64_t day_start_ms(const struct gas_calendar *calendar, int64_t day)
{
    int64_t local_s = day * SECONDS_PER_DAY + calendar->start_minutes * INT64_C(60);
    return 1000 * zone_first_instant_s(calendar->zone, local_s);
}

struct range {
    int64_t from_ms, to_ms;
};

// The gas day that holds an instant. A date that a zone skipped (Samoa, 2011-12-30) is an empty
// day: the loops walk over it.
static struct range day_of(const struct gas_calendar *calendar, int64_t at_ms, int64_t *day_out)
{
    int64_t start_s = calendar->start_minutes * INT64_C(60);
    int64_t day = floor_divide(wall_clock_s(calendar, at_ms) - start_s, SECONDS_PER_DAY);
    while (day_start_ms(calendar, day) > at_ms)
        day--;
    struct range range = {day_start_ms(calendar, day), day_start_ms(calendar, day + 1)};
    while (range.to_ms <= at_ms) {
        day++;
        range.from_ms = range.to_ms;
        range.to_ms = day_start_ms(calendar, day + 1);
    }
    *day_out = day;
    return range;
}

static struct range month_of(const struct gas_calendar *calendar, int64_t at_ms)
{
    int64_t gas_day = 0;
    (void)day_of(calendar, at_ms, &gas_day);
    int year;
    int month;
    int day;
    civil_from_days(gas_day, &year, &month, &day);
    int64_t first = days_from_civil(year, month, 1);
    int64_t next =
        month == 12 ? days_from_civil(year + 1, 1, 1) : days_from_civil(year, month + 1, 1);
    return (struct range){day_start_ms(calendar, first), day_start_ms(calendar, next)};
}

static struct range period_of(const struct gas_calendar *calendar, enum span span, int64_t at_ms)
{
    if (span == SPAN_MONTH)
        return month_of(calendar, at_ms);
    int64_t gas_day = 0;
    struct range day = day_of(calendar, at_ms, &gas_day);
    if (span == SPAN_DAY)
        return day;
    int64_t length = span_nominal_ms(span);
    int64_t from = at_ms - (at_ms - day.from_ms) % length;
    int64_t to = from + length;
    return (struct range){from, to < day.to_ms ? to : day.to_ms};
}

int64_t period_start(const struct gas_calendar *calendar, enum span span, int64_t at_ms)
{
    return period_of(calendar, span, at_ms).from_ms;
}

int64_t period_end(const struct gas_calendar *calendar, enum span span, int64_t at_ms)
{
    return period_of(calendar, span, at_ms).to_ms;
}

// --- spans ---

static const struct {
    const char *text;
    int64_t minutes;
} spans_known[] = {
    [SPAN_1MIN] = {"1min", 1},
    [SPAN_5MIN] = {"5min", 5},
    [SPAN_15MIN] = {"15min", 15},
    [SPAN_30MIN] = {"30min", 30},
    [SPAN_HOUR] = {"hour", 60},
    [SPAN_DAY] = {"day", 24L * 60},
    [SPAN_MONTH] = {"month", 30L * 24 * 60},
};

int64_t span_nominal_ms(enum span span)
{
    return spans_known[span].minutes * 60000;
}

const char *span_text(enum span span)
{
    return spans_known[span].text;
}

enum span span_of_minutes(int minutes)
{
    for (enum span span = SPAN_1MIN; span < SPAN_HOUR; span++)
        if (spans_known[span].minutes >= minutes)
            return span;
    return SPAN_HOUR;
}

int spans_of_meter(int summary_minutes, int interval_s, enum span spans[static SPANS_MAX])
{
    enum span summary = span_of_minutes(summary_minutes);
    int count = 0;
    for (enum span span = SPAN_1MIN; span <= SPAN_MONTH; span++) {
        bool wanted = span == summary || span == SPAN_15MIN || span >= SPAN_HOUR;
        // A month is kept whatever the interval: something must tile the time of every meter.
        bool long_enough =
            span == SPAN_MONTH || span_nominal_ms(span) >= interval_s * INT64_C(1000);
        if (wanted && long_enough)
            spans[count++] = span;
    }
    return count;
}

enum span span_reported(int summary_minutes, int interval_s)
{
    enum span spans[SPANS_MAX];
    int count = spans_of_meter(summary_minutes, interval_s, spans);
    for (int i = 0; i < count && spans[i] <= SPAN_HOUR; i++)
        if (spans[i] >= span_of_minutes(summary_minutes))
            return spans[i];
    return (enum span)0;
}
