// One stored reading as bytes, told as what differs from the row before it. Pure.
//
// The same form serves the pages of the tail (rows as they came) and the packs (rows of one meter,
// where the words too are told as differences). Numbers are those of insertion: 1, 2, 3 …, never
// given twice.
#ifndef METERGATE_STORE_ROW_H
#define METERGATE_STORE_ROW_H

#include "base/buf.h"
#include "store/store.h"

#define ROW_WORDS_MAX 3072 // bytes: every field of a profile as long as a field can be
#define ROW_MARKS_MAX 512
#define ROW_ENCODED_MAX (ROW_WORDS_MAX + ROW_MARKS_MAX + 80) // of an encoded row
#define ROW_NUMBER_MAX (INT64_C(1) << 46)
#define ROW_METER_MAX 65535

struct row {
    int64_t number;
    int meter;             // number of the meter
    int64_t at_ms, due_ms; // due_ms 0: it answers none
    int64_t decoder, flags;
    enum lane lane; // 0 without
    int64_t seq;
    const uint8_t *words, *marks; // as in pack.h
    size_t word_bytes, mark_bytes;
};

// The row before, in memory of its own.
struct row_before {
    struct row row;                                  // words and marks point nowhere
    int64_t step_ms;                                 // between the due times of the two rows before
    int64_t seqs[LANES_END], seq_numbers[LANES_END]; // newest message of each lane, and its row
    uint8_t words[ROW_WORDS_MAX], marks[ROW_MARKS_MAX];
};

// What stands before the first of some rows: `number` the row's before them, `meter` 0 where they
// are of any.
void row_before_init(struct row_before *before, int64_t number, int meter);

// Whether a row can be told at all; the functions below take no other.
bool row_is_sound(const struct row *row);

// Adds a sound row, and makes it the one before.
void row_put(struct buf *out, struct row_before *before, const struct row *row);
// Takes the next row; its words and marks stand in `before` until the next call. -1 for bytes that
// row_put did not write, then `before` is of no use any more.
int row_get(struct cursor *cursor, struct row_before *before, struct row *out);

// Of what is written to the disk: a page or pack that was damaged gives no row at all.
uint32_t row_checksum(const void *bytes, size_t length);

#endif
