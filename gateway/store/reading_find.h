// Readings by their row, and by lane and seq, wherever they lie.
#ifndef METERGATE_STORE_READING_FIND_H
#define METERGATE_STORE_READING_FIND_H

#include "store/database.h"
#include "store/rows.h"

// The row of that id; its words stay until the next call of these functions. 1 found, 0 not, -1.
int reading_find(struct store *store, int64_t id, struct row *out, struct err *err);

// A row's values. -1 with a message where its words do not fit what decodes them.
int reading_decode(struct store *store, const struct row *row, struct stored_reading *out,
                   struct err *err);

// The next readings of a lane with seq above `after`, in order; returns how many, -1. `at_ms` (NULL
// is fine) receives the first one's instant. Of a segment all rows are kept in memory meanwhile, so
// that a backlog is unpacked once.
int readings_next(struct store *store, enum lane lane, int64_t after, struct outbox_entry *entries,
                  int max, int64_t *at_ms, struct err *err);
// Lets go of what is kept.
void readings_forget(struct store *store);

#endif
