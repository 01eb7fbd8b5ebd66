// Readings in the order of time, slice by slice: a slice is taken out of the store in one view, and
// visited when that has ended.
#include "store/query.h"
#include "store/reading_find.h"
#include "store/segment.h"
#include "store/tail.h"

#include <stdlib.h>
#include <string.h>

struct walk {
    int64_t from_ms, to_ms; // still to come: [from, to)
    int64_t end_ms;         // of the slice
    int64_t tail_ms;        // oldest instant of the tail when the walk began
    int meter;              // 0: all
    struct rows rows;       // of the slice
};

static bool in_slice(const void *context, const struct row *row)
{
    const struct walk *walk = context;
    return row->at_ms >= walk->from_ms && row->at_ms < walk->end_ms &&
           (walk->meter == 0 || row->meter == walk->meter);
}

static bool note_oldest(const void *context, const struct row *row)
{
    struct walk *walk = *(struct walk *const *)context;
    walk->tail_ms = row->at_ms < walk->tail_ms ? row->at_ms : walk->tail_ms;
    return false; // seen is enough
}

static int walk_begin(struct store *store, struct walk *walk, struct err *err)
{
    walk->tail_ms = INT64_MAX;
    return tail_rows(store, note_oldest, &walk, &walk->rows, err);
}

// The slice ends with the segment that ends first, and before the tail's oldest row where that
// comes earlier: so most slices are one segment's.
static int slice_end(struct store *store, struct walk *walk, struct err *err)
{
    struct query query;
    int found = query_find(&query, store, SLOT_SEGMENT_NEXT,
                           "SELECT to_ms FROM segment WHERE kept = 1 AND to_ms >= ?1 ORDER BY to_ms"
                           " LIMIT 1",
                           walk->from_ms, err);
    walk->end_ms = walk->to_ms;
    if (found == 1) {
        int64_t next_ms = query_get_int(&query, 0) + 1;
        walk->end_ms = next_ms < walk->to_ms ? next_ms : walk->to_ms;
        query_end(&query);
    }
    if (walk->tail_ms > walk->from_ms && walk->tail_ms < walk->end_ms)
        walk->end_ms = walk->tail_ms;
    if (found >= 0 && walk->end_ms <= walk->from_ms)
        return err_set(err, "%s: its table of segments is damaged", store->path);
    return found < 0 ? -1 : 0;
}

// Keeps what lies in the slice, from row `first` on.
static void rows_choose(const struct walk *walk, struct rows *rows, int first)
{
    int kept = first;
    for (int i = first; i < rows->count; i++)
        if (rows->list[i].at_ms >= walk->from_ms && rows->list[i].at_ms < walk->end_ms)
            rows->list[kept++] = rows->list[i];
    rows->count = kept;
}

static int slice_segments(struct store *store, struct walk *walk, struct err *err)
{
    int64_t after = 0;
    for (;;) {
        int first = walk->rows.count;
        int found = segment_overlapping(store, walk->from_ms, walk->end_ms, &after, err);
        if (found != 1)
            return found;
        if (segment_rows(store, after, walk->meter, &walk->rows, NULL, err) != 0)
            return -1;
        rows_choose(walk, &walk->rows, first);
    }
}

static int slice_load(struct store *store, struct walk *walk, struct err *err)
{
    rows_clear(&walk->rows);
    if (slice_end(store, walk, err) != 0 || slice_segments(store, walk, err) != 0)
        return -1;
    return walk->end_ms <= walk->tail_ms ? 0 : tail_rows(store, in_slice, walk, &walk->rows, err);
}

// --- order ---

static int compare_entries(const void *a, const void *b, void *context)
{
    const struct rows_entry *one = a;
    const struct rows_entry *other = b;
    if (one->at_ms != other->at_ms)
        return one->at_ms < other->at_ms ? -1 : 1;
    struct store *store = context;
    struct err err; // a meter that is not there: its rows cannot be decoded either
    const char *name = store_meter_name(store, one->meter, &err);
    char copy[ID_SIZE] = "";
    memcpy(copy, name == NULL ? copy : name, name == NULL ? 0 : ID_SIZE);
    name = store_meter_name(store, other->meter, &err);
    int order = strcmp(copy, name == NULL ? "" : name);
    return order != 0 ? order : one->number < other->number ? -1 : one->number > other->number;
}

// 1 go on, 0 the visitor has enough.
static int slice_visit(struct store *store, struct walk *walk, stored_reading_visit *visit,
                       void *context)
{
    struct stored_reading reading;
    if (walk->rows.count > 1)
        qsort_r(walk->rows.list, (size_t)walk->rows.count, sizeof *walk->rows.list, compare_entries,
                store);
    for (int i = 0; i < walk->rows.count; i++) {
        struct err why = {.text = ""};
        struct row row = rows_get(&walk->rows, i);
        if (reading_decode(store, &row, &reading, &why) != 0)
            store_row_damaged(store, "reading", row.number, &why);
        else if (!visit(context, &reading))
            return 0;
    }
    return 1;
}

static int slice_step(struct store *store, struct walk *walk, struct err *err)
{
    if (store->in_round && tail_flush(store, err) != 0)
        return -1;
    bool began = store_glance_begin(store);
    int result = slice_load(store, walk, err);
    store_glance_end(store, began);
    return result;
}

static int64_t clamp_at(int64_t at_ms)
{
    return at_ms < 0 ? 0 : at_ms > READING_AT_MAX ? READING_AT_MAX : at_ms;
}

int store_readings(struct store *store, const char *meter, int64_t from_ms, int64_t to_ms,
                   stored_reading_visit *visit, void *context, struct err *err)
{
    struct walk walk = {.from_ms = clamp_at(from_ms), .to_ms = clamp_at(to_ms)};
    int found = meter == NULL ? 1 : store_meter_find(store, meter, &walk.meter, err);
    rows_init(&walk.rows);
    if (found == 1 &&
        ((store->in_round && tail_flush(store, err) != 0) || walk_begin(store, &walk, err) != 0))
        found = -1;
    while (found == 1 && walk.from_ms < walk.to_ms) {
        found = slice_step(store, &walk, err) != 0 ? -1 : slice_visit(store, &walk, visit, context);
        walk.from_ms = walk.end_ms;
    }
    rows_release(&walk.rows);
    return found < 0 ? -1 : 0;
}
