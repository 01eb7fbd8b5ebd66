#include "store/rows.h"

#include <stdlib.h>

#define ROWS_BYTES_MAX ((size_t)64 * 1024 * 1024)
#define ROWS_FIRST 128

void rows_init(struct rows *rows)
{
    *rows = (struct rows){.list = NULL};
    buf_init(&rows->bytes, ROWS_BYTES_MAX);
}

void rows_release(struct rows *rows)
{
    free(rows->list);
    rows->list = NULL;
    rows->count = rows->size = 0;
    rows->whole = 0;
    buf_release(&rows->bytes);
}

void rows_clear(struct rows *rows)
{
    rows->count = 0;
    rows->whole = 0;
    buf_clear(&rows->bytes);
}

int rows_add(struct rows *rows, const struct row *row, struct err *err)
{
    if (rows->count == rows->size) {
        int size = rows->size == 0 ? ROWS_FIRST : rows->size * 2;
        struct rows_entry *grown = reallocarray(rows->list, (size_t)size, sizeof *grown);
        if (grown == NULL)
            return err_set(err, "out of memory for %d readings", size);
        rows->list = grown;
        rows->size = size;
    }
    size_t place = rows->bytes.length;
    buf_add(&rows->bytes, row->words, row->word_bytes);
    buf_add(&rows->bytes, row->marks, row->mark_bytes);
    if (rows->bytes.failed)
        return err_set(err, "out of memory for %d readings", rows->count);
    rows->list[rows->count++] = (struct rows_entry){.number = row->number,
                                                    .at_ms = row->at_ms,
                                                    .due_ms = row->due_ms,
                                                    .seq = row->seq,
                                                    .decoder = (int32_t)row->decoder,
                                                    .flags = (int32_t)row->flags,
                                                    .place = (uint32_t)place,
                                                    .meter = (uint16_t)row->meter,
                                                    .word_bytes = (uint16_t)row->word_bytes,
                                                    .mark_bytes = (uint16_t)row->mark_bytes,
                                                    .lane = (uint8_t)row->lane};
    return 0;
}

struct row rows_get(const struct rows *rows, int index)
{
    const struct rows_entry *entry = &rows->list[index];
    const uint8_t *bytes = (const uint8_t *)rows->bytes.data;
    const uint8_t *words = bytes == NULL ? NULL : bytes + entry->place;
    return (struct row){.number = entry->number,
                        .meter = entry->meter,
                        .at_ms = entry->at_ms,
                        .due_ms = entry->due_ms,
                        .decoder = entry->decoder,
                        .flags = entry->flags,
                        .lane = (enum lane)entry->lane,
                        .seq = entry->seq,
                        .words = words,
                        .marks = words == NULL ? NULL : words + entry->word_bytes,
                        .word_bytes = entry->word_bytes,
                        .mark_bytes = entry->mark_bytes};
}

static int compare_numbers(const void *a, const void *b)
{
    const struct rows_entry *one = a;
    const struct rows_entry *other = b;
    return one->number < other->number ? -1 : one->number > other->number;
}

static int compare_meters(const void *a, const void *b)
{
    const struct rows_entry *one = a;
    const struct rows_entry *other = b;
    return one->meter != other->meter ? one->meter - other->meter : compare_numbers(a, b);
}

void rows_sort_by_meter(struct rows *rows, int first, int end)
{
    if (end - first > 1)
        qsort(&rows->list[first], (size_t)(end - first), sizeof *rows->list, compare_meters);
}

void rows_sort_by_number(struct rows *rows)
{
    if (rows->count > 1)
        qsort(rows->list, (size_t)rows->count, sizeof *rows->list, compare_numbers);
}
