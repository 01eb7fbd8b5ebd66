// When a meter is due. Pure; wall clock, Unix milliseconds.
//
// The grid of a meter counts from each boundary of its shortest period: boundary + phase + k x
// interval, so that every period holds the same due times whatever happened before, and a restart
// changes none of them. So every meter is due at the boundary of each of its periods, aligned with
// the clock.
//
// That is why the phase is no more than a second and not spread over the interval: a meter whose
// phase were half a minute would have its index half a minute after the boundary, or needed a
// further due time there, which the expected number of readings does not know. At a boundary, and
// at each interval after it, the meters of a link are thus due together. Which of them goes first
// is decided by deadlines (poll/agenda.h): each poll has until the meter's next due time, and one
// at a boundary no longer than the boundary's index may wait.
#ifndef METERGATE_POLL_SCHEDULE_H
#define METERGATE_POLL_SCHEDULE_H

#include "gas/gasday.h"

struct schedule {
    enum span span; // the meter's shortest period
    int64_t interval_ms;
    int64_t phase_ms; // less than the interval and than 1 s: spreads the meters of a site
};

// The index at a boundary is the first good reading in [boundary, boundary + min(interval, this)).
#define SCHEDULE_INDEX_MS 60000

// A due time, and the period of the schedule's span that holds it.
struct due {
    int64_t at_ms, from_ms, to_ms;
};

// Phase of a meter, by a hash of its id: spread over min(interval, 1 s), and the same whatever
// other meters there are, so that a restart or a reload moves no due time.
int64_t schedule_phase_ms(const char *meter_id, int64_t interval_ms);
// The first due time strictly after `after_ms`.
int64_t schedule_next(const struct schedule *schedule, const struct gas_calendar *calendar,
                      int64_t after_ms);
// The same with its period; and the one that follows a due time, for the price of an addition
// while the period lasts.
struct due schedule_due(const struct schedule *schedule, const struct gas_calendar *calendar,
                        int64_t after_ms);
struct due schedule_following(const struct schedule *schedule, const struct gas_calendar *calendar,
                              const struct due *due);
// Until when a meter due at `due` should have been asked: its next due time or, at a boundary, the
// end of the window for the index. (The first due time of a later period is taken to be at its
// boundary + phase, which it is.)
int64_t schedule_deadline_ms(const struct schedule *schedule, const struct due *due);
// How many due times of its gas day come before it (of its period, where that is a day or longer):
// it does not depend on when the program was started.
int64_t schedule_number(const struct schedule *schedule, const struct gas_calendar *calendar,
                        const struct due *due);
// Due times in an hour; 0 where the shortest period is longer.
int schedule_per_hour(const struct schedule *schedule);
// The number of due times in [from, to).
int64_t schedule_count(const struct schedule *schedule, const struct gas_calendar *calendar,
                       int64_t from_ms, int64_t to_ms);

#endif
