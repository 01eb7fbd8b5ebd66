// The tail: readings as they came, in pages that lie each in one page of the file and are written
// over and over, so that a commit writes little more than its readings. When it is long or old, a
// segment is made of it (segment.h) and it begins anew at its first page.
//
// A page: checksum, count of rows, bytes in use, number of the first row, newest seq of each lane
// before it, rows as in row.h. A page of an earlier round through the tail has an older number than
// the tail's first row: it is not there any more.
#ifndef METERGATE_STORE_TAIL_H
#define METERGATE_STORE_TAIL_H

#include "store/database.h"
#include "store/rows.h"

#define TAIL_PAGE_BYTES 4048 // with SQLite's own bytes one page of the file, and no more
#define TAIL_PAGE_HEAD 40

struct tail_page {
    bool damaged; // only `first` can be told, if that
    int64_t first;
    int count;
    size_t used;
    int64_t seqs[LANES_END];
    uint8_t bytes[TAIL_PAGE_BYTES];
};

// --- the writer's side, inside the open round ---
// Gives the row the next number and adds it. It may close a segment, where the tail is as long as
// it may be.
int tail_add(struct store *store, struct row *row, struct err *err);
// First instant from at_ms on, less than `reach` ms later, at which the meter has no reading. 1
// found, 0 there is none, -1.
int tail_free_instant(struct store *store, int meter, int64_t at_ms, int reach, int64_t *out,
                      struct err *err);
// What has been added stands in the file: before anything of the tail is read, and at the commit.
int tail_flush(struct store *store, struct err *err);
void tail_committed(struct store *store);
void tail_forget(struct store *store); // the round was cancelled
void tail_free(struct store *store);
// A segment was made of all of it.
void tail_begin_anew(struct store *store);

// --- reading, by any connection, within one view of the store ---
// Number of the first row that is in the tail, or would be.
int tail_begins(struct store *store, int64_t *number, struct err *err);
// 1 the page, 0 there is none in that slot, -1. Slots count from 0 without a hole.
int tail_page(struct store *store, int slot, int64_t begins, struct tail_page *page,
              struct err *err);
// The last slot whose page begins at or before a number; the last one that begins at or before the
// message after `seq` of the lane. -1 none, -2 failed.
int tail_slot_of_number(struct store *store, int64_t begins, int64_t number, struct err *err);
int tail_slot_of_seq(struct store *store, int64_t begins, enum lane lane, int64_t seq,
                     struct err *err);
// Adds the page's rows; -1 with a message where it is damaged (then none) or memory is short.
int tail_page_rows(const struct tail_page *page, struct rows *rows, struct err *err);
// Adds all rows of the tail that `wanted` takes; pages that are damaged are named and left out.
typedef bool tail_wanted(const void *context, const struct row *row);
int tail_rows(struct store *store, tail_wanted *wanted, const void *context, struct rows *rows,
              struct err *err);

#endif
