// What the recorder puts into the audit chain by itself: each start and stop of the program and
// whether the one before ended cleanly, another boot of the machine, a new store, steps of the wall
// clock; and the hourly seal over all chains. Part of the recorder's thread.
#ifndef METERGATE_RECORD_WATCH_H
#define METERGATE_RECORD_WATCH_H

#include "base/clock.h"
#include "store/store.h"

#define CLOCK_STEP_MS 1000            // the wall clock moved so much against the boot clock at once
#define CLOCK_STEPS_HOUR_MAX 20       // steps recorded singly; more are counted
#define WATCH_RETRY_MS INT64_C(60000) // after the store refused a record

struct watch {
    const struct clock *clock;
    char was_clean[8];       // what the last run left: "yes", "no", "" on a new store
    char boot[BOOT_ID_SIZE]; // of this boot
    bool began;              // the start is recorded
    int64_t offset_ms;       // wall - boot, when last looked; valid while the clock is known
    bool offset_known;
    int64_t step_ms; // seen and not recorded yet: sum, and how many
    int steps;
    bool doubting, told_doubt; // the machine's clock cannot be true; whether that is recorded
    int64_t doubted_ms;        // what it said
    int64_t steps_hour;        // hour of the clock, and how many were recorded in it
    int steps_in_hour;
    int64_t sealed_hour; // hour of the clock of the newest seal
    int64_t retry_boot_ms;
};

// Reads what the last run left. Before the store's state of a clean stop is overwritten.
int watch_open(struct watch *watch, struct store *store, const struct clock *clock,
               struct err *err);
// Looks at the clocks. At each step of the recorder, once the time is known.
void watch_look(struct watch *watch);
// Writes what is to be recorded, in a round of its own; without an open round. `sends`: head office
// gets the seals. True when something for it was written.
bool watch_write(struct watch *watch, struct store *store, bool sends);
// The record of a clean stop, in the open round.
int watch_stop(struct watch *watch, struct store *store, struct err *err);

#endif
