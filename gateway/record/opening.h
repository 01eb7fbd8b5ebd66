// Opens the gateway's store at its start, whatever state the disk and the file are in.
#ifndef METERGATE_RECORD_OPENING_H
#define METERGATE_RECORD_OPENING_H

#include "store/store.h"

#define OPENING_RETRY_MS 1000 // while the disk takes nothing

// When the last runs ended because the disk failed them, the store is left alone for so long for
// each of them, at most for 5 minutes: meters are polled meanwhile, and no run ends at once again.
#define OPENING_HOLD_MS 10000
#define OPENING_HOLD_RUNS 3 // from so many in a row on

struct opening {
    const char *directory;
    const char *gateway; // id; another gateway's store is put aside under that one's name
    int64_t started_boot_ms;
};

// 0: `store` is open. 1: the disk takes nothing now (read-only, full, failing), try again; the
// message says why. -1: what only a person can mend.
int opening_try(const struct opening *opening, int64_t boot_ms, int64_t wall_ms,
                struct store **store, struct err *err);

#endif
