// What the recorder knows of the times in which it did not run, for the ledger. Both functions need
// an open round.
#ifndef METERGATE_RECORD_DOWNTIME_H
#define METERGATE_RECORD_DOWNTIME_H

#include "store/store.h"

// Keeps the time from the end of the last run to this start as an outage. Before the store's state
// of a clean stop is overwritten.
int downtime_begin(struct store *store, int64_t started_ms, struct err *err);
// Notes when this run was stopped.
int downtime_stop(struct store *store, int64_t now_ms, struct err *err);

#endif
