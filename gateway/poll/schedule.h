// When a meter is due. Pure; wall clock, Unix milliseconds.
//
// The grid of a meter counts from each boundary of its shortest period: boundary + phase + k x
// interval, so that every period holds the same due times whatever happened before, and a restart
// changes none of them.
#ifndef METERGATE_POLL_SCHEDULE_H
#define METERGATE_POLL_SCHEDULE_H

#include "gas/gasday.h"

struct schedule {
    enum span span; // the meter's shortest period
    int64_t interval_ms;
    int64_t phase_ms; // less than the interval and than 1 s: spreads the meters of a site
};

// Phase of a meter, by a hash of its id: spread over min(interval, 1 s), and the same whatever
// other meters there are, so that a restart or a reload moves no due time.
int64_t schedule_phase_ms(const char *meter_id, int64_t interval_ms);
// The first due time strictly after `after_ms`.
int64_t schedule_next(const struct schedule *schedule, const struct gas_calendar *calendar,
                      int64_t after_ms);
// The number of due times in [from, to).
int64_t schedule_count(const struct schedule *schedule, const struct gas_calendar *calendar,
                       int64_t from_ms, int64_t to_ms);

#endif
