// Gas days and the periods inside them. Pure: each calendar has its own zone, of which nothing
// changes once it was read, and any thread may ask.
//
// A gas day runs from the start hour, local time, to the same hour of the next day: 23, 24 or 25
// hours. Shorter periods count from its start; the last one ends where the gas day ends. A month
// runs from its 1st gas day's start to the next month's.
#ifndef METERGATE_GAS_GASDAY_H
#define METERGATE_GAS_GASDAY_H

#include "base/err.h"
#include "gas/zone.h"

#include <stdbool.h>
#include <stdint.h>

// The numbers are stored: never change one.
enum span {
    SPAN_1MIN = 1,
    SPAN_5MIN = 2,
    SPAN_15MIN = 3,
    SPAN_30MIN = 4,
    SPAN_HOUR = 5,
    SPAN_DAY = 6,
    SPAN_MONTH = 7
};

struct gas_calendar {
    int start_minutes;       // of the gas day after local midnight: 0 to 1425
    const struct zone *zone; // NULL: UTC
};

// A calendar of the zone `timezone` (IANA), read from the machine's files. -1 with a message when
// the machine has no such zone, or the gas day starts at no minute of a day.
int gas_calendar_init(struct gas_calendar *out, const char *timezone, int start_minutes,
                      struct err *err);

// Start of the period of `span` that holds `at_ms`, and start of the next one. Unix milliseconds.
int64_t period_start(const struct gas_calendar *calendar, enum span span, int64_t at_ms);
int64_t period_end(const struct gas_calendar *calendar, enum span span, int64_t at_ms);

// What a clock on the wall of the calendar's zone shows, in seconds since 1970 as it counts them.
int64_t wall_clock_s(const struct gas_calendar *calendar, int64_t at_ms);

// Nominal length in milliseconds (a day has 24 h, a month 30 days): for comparing spans, not for
// arithmetic on time.
int64_t span_nominal_ms(enum span span);
const char *span_text(enum span span); // "1min" … "hour", "day", "month"

// The span of summary_minutes 1, 5, 15, 30, 60.
enum span span_of_minutes(int minutes);

#define SPANS_MAX 7
// The periods kept for a meter, shortest first: of {summary_minutes, quarter hour, hour, day,
// month} those not shorter than its interval, so that each holds a due time. Returns how many.
int spans_of_meter(int summary_minutes, int interval_s, enum span spans[static SPANS_MAX]);
// The one of them that `summary/METER` reports: the shortest that is at least summary_minutes and
// the interval, 0 when only day and month are left.
enum span span_reported(int summary_minutes, int interval_s);

#endif
