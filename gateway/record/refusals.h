// Due times whose readings found no room in the recorder's queue. They are kept as runs, one for
// each meter and time that the queue was full, and become readings again (`missing`, `store-full`)
// behind the readings that had room, when the store takes rows. No locks of its own.
#ifndef METERGATE_RECORD_REFUSALS_H
#define METERGATE_RECORD_REFUSALS_H

#include "config/config.h"
#include "gas/gasday.h"
#include "poll/reading.h"

#define REFUSAL_RUNS_MAX 8192 // a further one is counted only: its reads are missing, not-polled

struct refusal_run {
    char meter[ID_SIZE];
    int64_t first_ms, last_ms; // due times
    int64_t offset_ms;         // wall less boot clock, as the readings had it
    uint64_t position;         // readings that were offered before it
};

struct refusals {
    struct refusal_run *runs; // in order of position
    int count, room;
};

void refusals_release(struct refusals *refusals);
// Notes a reading that is refused after `position` readings.
void refusals_add(struct refusals *refusals, const struct reading *reading, uint64_t position);
// Whether due times stand before the reading after `position`.
bool refusals_wait(const struct refusals *refusals, uint64_t position);
// The next of them as a reading of this configuration, which the caller owns; NULL when there is
// none (any more).
struct reading *refusals_next(struct refusals *refusals, uint64_t position, struct config *config,
                              const struct gas_calendar *calendar);

#endif
