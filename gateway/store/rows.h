// Rows in memory, in the order that they were added, with their words.
#ifndef METERGATE_STORE_ROWS_H
#define METERGATE_STORE_ROWS_H

#include "base/err.h"
#include "store/row.h"

struct rows_entry {
    int64_t number, at_ms, due_ms, seq;
    int32_t decoder, flags;
    uint32_t place; // of its words in bytes, the marks behind them
    uint16_t meter, word_bytes, mark_bytes;
    uint8_t lane;
};
struct rows {
    struct rows_entry *list;
    int count, size;
    int64_t whole; // the segment that these are all rows of, for whoever keeps them; 0 none
    struct buf bytes;
};

void rows_init(struct rows *rows);
void rows_release(struct rows *rows); // may be used again
void rows_clear(struct rows *rows);
// Adds a sound row; its words are copied. -1 without memory.
int rows_add(struct rows *rows, const struct row *row, struct err *err);
// Its words stay where they are until the next rows_add.
struct row rows_get(const struct rows *rows, int index);
// Those of [first, end) in the order of meter, then number; all in the order of number.
void rows_sort_by_meter(struct rows *rows, int first, int end);
void rows_sort_by_number(struct rows *rows);

#endif
