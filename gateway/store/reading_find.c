#include "store/reading_find.h"

#include "store/query.h"
#include "store/segment.h"
#include "store/tail.h"

#include <stdlib.h>

static struct rows *seen_of(struct store *store, struct err *err)
{
    if (store->seen == NULL) {
        store->seen = calloc(1, sizeof *store->seen);
        if (store->seen == NULL)
            (void)err_set(err, "out of memory");
        else
            rows_init(store->seen);
    }
    return store->seen;
}

void readings_forget(struct store *store)
{
    if (store->seen != NULL)
        rows_release(store->seen);
    free(store->seen);
    store->seen = NULL;
}

static int rows_search(const struct rows *rows, int64_t number)
{
    int low = 0;
    int high = rows->count;
    while (low < high) {
        int middle = low + (high - low) / 2;
        if (rows->list[middle].number < number)
            low = middle + 1;
        else
            high = middle;
    }
    return low < rows->count && rows->list[low].number == number ? low : -1;
}

// --- by row ---

static int tail_load(struct store *store, int64_t begins, int64_t number, struct rows *rows,
                     struct err *err)
{
    struct tail_page page;
    int slot = tail_slot_of_number(store, begins, number, err);
    int found = slot < 0 ? slot + 1 : tail_page(store, slot, begins, &page, err);
    if (found != 1)
        return found < 0 ? -1 : 0;
    struct err why = {.text = ""};
    if (tail_page_rows(&page, rows, &why) != 0)
        store_row_damaged(store, "page of the readings' tail", slot, &why);
    return 0;
}

static int around_load(struct store *store, int64_t number, int meter, struct rows *rows,
                       struct err *err)
{
    int64_t begins;
    int64_t segment;
    rows_clear(rows);
    if (tail_begins(store, &begins, err) != 0)
        return -1;
    if (number >= begins)
        return tail_load(store, begins, number, rows, err);
    int found = segment_of_number(store, number, &segment, err);
    return found == 1 ? segment_rows(store, segment, meter, rows, NULL, err) : found;
}

int reading_find(struct store *store, int64_t id, struct row *out, struct err *err)
{
    struct rows *rows = seen_of(store, err);
    int64_t number = id >> 16;
    int meter = (int)(id & ROW_METER_MAX);
    if (rows == NULL)
        return -1;
    if (number < 1 || number >= ROW_NUMBER_MAX || meter == 0)
        return 0;
    int index = rows_search(rows, number);
    if (index < 0) {
        if (store->in_round && tail_flush(store, err) != 0)
            return -1;
        bool began = store_glance_begin(store);
        int result = around_load(store, number, meter, rows, err);
        store_glance_end(store, began);
        if (result != 0)
            return -1;
        index = rows_search(rows, number);
    }
    if (index < 0 || rows->list[index].meter != meter)
        return 0;
    *out = rows_get(rows, index);
    return 1;
}

// --- by lane and seq ---

struct wanted {
    enum lane lane;
    int64_t after;
    struct outbox_entry *entries;
    int count, max;
    int64_t at_ms; // of the first
};

static void list_rows(struct wanted *wanted, const struct rows *rows)
{
    for (int i = 0; i < rows->count && wanted->count < wanted->max; i++) {
        const struct rows_entry *row = &rows->list[i];
        if (row->lane != wanted->lane || row->seq <= wanted->after)
            continue;
        wanted->at_ms = wanted->count == 0 ? row->at_ms : wanted->at_ms;
        wanted->after = row->seq;
        wanted->entries[wanted->count++] =
            (struct outbox_entry){.lane = wanted->lane,
                                  .seq = row->seq,
                                  .kind = MESSAGE_READING,
                                  .row = reading_id(row->number, row->meter)};
    }
}

// What is in memory already is that segment's: it never changes.
static bool holds(const struct rows *rows, int64_t segment)
{
    return rows->whole == segment && rows->count > 0;
}

static int list_segments(struct store *store, struct wanted *wanted, struct rows *rows,
                         struct err *err)
{
    int64_t segment;
    int found = 1;
    int64_t before = 0;
    while (wanted->count < wanted->max &&
           (found = segment_of_seq(store, wanted->lane, wanted->after, before, &segment, err)) ==
               1 &&
           segment > before) {
        if (!holds(rows, segment)) {
            rows_clear(rows);
            if (segment_rows(store, segment, 0, rows, NULL, err) != 0)
                return -1;
            rows_sort_by_number(rows);
            rows->whole = segment;
        }
        list_rows(wanted, rows);
        before = segment; // its last message may be among rows that are damaged
    }
    return found < 0 ? -1 : 0;
}

static int list_tail(struct store *store, struct wanted *wanted, struct rows *rows, struct err *err)
{
    int64_t begins;
    struct tail_page page;
    if (tail_begins(store, &begins, err) != 0)
        return -1;
    int slot = tail_slot_of_seq(store, begins, wanted->lane, wanted->after, err);
    if (slot < -1)
        return -1;
    if (rows->whole != 0)
        rows_release(rows); // a backlog is behind us: its memory is not needed any more
    int found = 1;
    for (slot = slot < 0 ? 0 : slot;
         wanted->count < wanted->max && (found = tail_page(store, slot, begins, &page, err)) == 1;
         slot++) {
        struct err why = {.text = ""};
        rows_clear(rows);
        if (tail_page_rows(&page, rows, &why) == 0)
            list_rows(wanted, rows);
        else
            store_row_damaged(store, "page of the readings' tail", slot, &why);
    }
    return found < 0 ? -1 : 0;
}

int readings_next(struct store *store, enum lane lane, int64_t after, struct outbox_entry *entries,
                  int max, int64_t *at_ms, struct err *err)
{
    struct wanted wanted = {.lane = lane, .after = after, .entries = entries, .max = max};
    struct rows *rows = seen_of(store, err);
    if (rows == NULL || (store->in_round && tail_flush(store, err) != 0))
        return -1;
    bool began = store_glance_begin(store);
    int result = list_segments(store, &wanted, rows, err) != 0 ||
                         (wanted.count < max && list_tail(store, &wanted, rows, err) != 0)
                     ? -1
                     : 0;
    store_glance_end(store, began);
    if (at_ms != NULL)
        *at_ms = wanted.at_ms;
    return result == 0 ? wanted.count : -1;
}
