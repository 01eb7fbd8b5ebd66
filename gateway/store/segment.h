// Segments: the rows of a whole tail, closed for ever, packed meter by meter.
//
// segment: number of its first row, how many follow each other from there, from when to when they
// are. pack: (segment's number << 16 | last meter), rows as in row.h, meter by meter; each holds as
// many meters as fill some pages, because a row of the table that is little longer than half a page
// has a page of its own. A meter is in the first pack that does not end before it. segment_lane:
// the messages that are in it, so that an outbox pointer of its own is needed for none of them.
// A segment that retention took leaves its row behind (kept = 0), so that numbers have no hole that
// is not explained.
#ifndef METERGATE_STORE_SEGMENT_H
#define METERGATE_STORE_SEGMENT_H

#include "store/query.h"
#include "store/rows.h"

// Rows of a segment are not further apart, but for those that came late.
#define SEGMENT_SPAN_MS (6 * INT64_C(3600000))

// Makes a segment of the tail, or several of a long time, inside the open round. Without rows it
// does nothing.
int segment_close(struct store *store, struct err *err);

// First number of the kept segment that holds a row. 1 found, 0 not, -1.
int segment_of_number(struct store *store, int64_t number, int64_t *segment, struct err *err);
// Of the first one behind segment `after` that holds messages of the lane above `seq`. 1 found, 0
// not, -1.
int segment_of_seq(struct store *store, enum lane lane, int64_t seq, int64_t after,
                   int64_t *segment, struct err *err);
// The first kept one behind *segment that may hold instants in [from, to). 1 found, 0 not, -1.
int segment_overlapping(struct store *store, int64_t from_ms, int64_t to_ms, int64_t *segment,
                        struct err *err);
// Adds the rows of one meter, or of all (0), in the order of meter and number. A pack that is
// damaged is named and left out; *damaged (NULL is fine) counts them.
int segment_rows(struct store *store, int64_t segment, int meter, struct rows *rows, int *damaged,
                 struct err *err);

// Stands on the packs of a segment (columns id, body), or on the one that may hold a meter's rows.
int packs_begin(struct query *query, struct store *store, int64_t segment, int meter,
                struct err *err);
// Bytes of a pack to rows: of one meter alone, or of all (0). `last` is the meter in its id. -1 for
// a damaged one: then none are added. Pure.
int pack_rows(int64_t segment, int last, int meter, const void *bytes, size_t length,
              struct rows *rows, struct err *err);
// Rows [first, end), in the order of meters, to a pack, in `out`.
void pack_make(const struct rows *rows, int first, int end, int64_t segment, struct buf *out);

#endif
