// What the recorder does for the store when no round is open: a small step at a time of keeping
// only what is still wanted, and of giving free space back. Pure: what and when, not how.
//
// What is kept: raw readings store.raw_days; periods shorter than an hour 400 days, hours 3 years,
// gas days and months 10 years, ledgers a month more; forecasts 62 days; alerts and gaps 11 years
// (longer than any period that names them). The audit chain is kept for ever. Nothing goes by age
// that the office has not acknowledged.
//
// Free pages are filled again before the file grows, so they are given back only when they are
// many: from an eighth of the file on, down to a sixteenth.
#ifndef METERGATE_RECORD_CARE_H
#define METERGATE_RECORD_CARE_H

#include "gas/gasday.h"

enum care_kind {
    CARE_NOTHING,
    CARE_READINGS, // remove readings before before_ms, at most `max` of them
    CARE_PERIODS,  // of `span`
    CARE_ALERTS,
    CARE_GAPS,
    CARE_LEDGERS,
    CARE_OUTLOOKS,
    CARE_VACUUM // give back at most `max` pages
};

struct care_task {
    enum care_kind kind;
    enum span span;
    int64_t before_ms;
    int max;
    int job; // which of them it is: for care_done
};

#define CARE_JOBS 13
struct care {
    int64_t due_boot_ms[CARE_JOBS];
    bool vacuuming;
};

// What the store is now. An instant of boot and of wall clock, the store's pages.
struct care_facts {
    int64_t boot_ms, wall_ms;
    int raw_days;
    int64_t file_bytes, free_bytes;
};

// The first steps come a minute after the start.
void care_init(struct care *care, int64_t boot_ms);
// The boot time at which a step is due.
int64_t care_due_ms(const struct care *care);
// The step that is due now; CARE_NOTHING when none is.
struct care_task care_next(struct care *care, const struct care_facts *facts);
// What came of a step: how many rows or pages went, -1 when it failed. One that went to its limit
// is due again at once.
void care_done(struct care *care, const struct care_task *task, int gone, int64_t boot_ms);

#endif
