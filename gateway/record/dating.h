// Readings from before the clock was known: kept in the store by boot id and boot time, and made
// readings again, with dates, once it is known. What another boot left is dated by nobody: nothing
// ties its boot time to the wall. Part of the recorder's thread.
#ifndef METERGATE_RECORD_DATING_H
#define METERGATE_RECORD_DATING_H

#include "base/clock.h"
#include "config/config.h"
#include "store/store.h"

struct dating {
    char boot[BOOT_ID_SIZE];          // of this boot
    bool loads;                       // rows of this boot may be left
    int64_t after;                    // row handed out last
    int64_t dated, first_ms, last_ms; // since the clock is known, and their dates
    int64_t waiting;                  // rows of this boot
    int64_t lost;                     // rows of other boots, and those that fit no meter
};

// Counts what is there. Between rounds.
int dating_open(struct dating *dating, struct store *store, struct err *err);
// Boot time of the oldest row of this boot, `otherwise` without any.
int64_t dating_first_boot_ms(const struct dating *dating, struct store *store, int64_t otherwise);
// Keeps `count` readings, undated, in a round of its own: all of them are durable, or none.
int dating_keep(struct dating *dating, struct store *store, struct reading *const *readings,
                int count, struct err *err);
// The next rows of this boot as readings, at most `max`: at = boot time + offset. They are the
// caller's; who commits one removes its row (reading.undated) in the same round. Returns how many.
// When there are no more, writes what was dated into the audit chain.
int dating_load(struct dating *dating, struct store *store, struct config *config,
                int64_t offset_ms, int64_t now_ms, struct reading **readings, int max,
                struct err *err);

#endif
