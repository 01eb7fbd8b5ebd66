// The writer's side of the tail.
#include "store/tail.h"

#include "store/reading_chain.h"
#include "store/segment.h"

#include <stdlib.h>
#include <string.h>

// Where it is long enough for a segment, and where one is made of it at once.
#define TAIL_RIPE_SLOTS 512 // 2 MiB
#define TAIL_RIPE_ROWS 32768
#define TAIL_SLOTS_MAX 1024
#define TAIL_ROWS_MAX 65536

// The newest instants of a meter that are known to be taken: all of [run_ms, newest_ms]. Nothing of
// it is newer.
struct taken {
    int64_t run_ms, newest_ms;
};

struct tail {
    bool loaded;
    bool dirty;           // `page` is not as in the file
    bool touched;         // something of this round is in here
    int64_t begins, next; // numbers
    int slot;             // of `page`, -1 without
    struct tail_page page;
    struct row_before before;
    int64_t seqs[LANES_END]; // newest message of each lane
    int64_t oldest_ms;       // at of its oldest row
    int64_t newest_ms;       // of all readings that are packed
    struct taken *meters;    // by number
    int meter_count;
    struct buf scratch;
};

static void number_put(uint8_t *out, uint64_t number, int bytes)
{
    for (int i = bytes - 1; i >= 0; i--, number >>= 8)
        out[i] = (uint8_t)number;
}

// --- what is taken ---

static struct taken *taken_of(struct tail *tail, int meter, struct err *err)
{
    if (meter >= tail->meter_count) {
        int count = meter + 64;
        struct taken *grown = reallocarray(tail->meters, (size_t)count, sizeof *grown);
        if (grown == NULL) {
            (void)err_set(err, "out of memory for %d meters", count);
            return NULL;
        }
        for (int i = tail->meter_count; i < count; i++)
            grown[i] = (struct taken){tail->newest_ms + 1, tail->newest_ms};
        tail->meters = grown;
        tail->meter_count = count;
    }
    return &tail->meters[meter];
}

static int take(struct tail *tail, int meter, int64_t at_ms, struct err *err)
{
    struct taken *taken = taken_of(tail, meter, err);
    if (taken == NULL)
        return -1;
    if (at_ms > taken->newest_ms) {
        if (at_ms > taken->newest_ms + 1 || taken->run_ms > taken->newest_ms)
            taken->run_ms = at_ms;
        taken->newest_ms = at_ms;
    }
    tail->oldest_ms = at_ms < tail->oldest_ms ? at_ms : tail->oldest_ms;
    return 0;
}

// --- load ---

static int load_page(struct tail *tail, const struct tail_page *page, int slot, struct err *err)
{
    struct cursor cursor = cursor_of(page->bytes + TAIL_PAGE_HEAD, page->used - TAIL_PAGE_HEAD);
    struct row row;
    row_before_init(&tail->before, page->first - 1, 0);
    memcpy(tail->seqs, page->seqs, sizeof tail->seqs);
    for (int i = 0; i < page->count; i++) {
        if (row_get(&cursor, &tail->before, &row) != 0 ||
            take(tail, row.meter, row.at_ms, err) != 0)
            return -1;
        tail->seqs[row.lane] = row.seq;
    }
    tail->slot = slot;
    tail->page = *page;
    return 0;
}

// Pages that are damaged keep their numbers and their slots; what follows begins a page of its own.
static int load_pages(struct store *store, struct tail *tail, struct err *err)
{
    struct tail_page page;
    int found;
    for (int slot = 0; (found = tail_page(store, slot, tail->begins, &page, err)) == 1; slot++) {
        struct err why = {.text = "it is damaged"};
        if (!page.damaged && load_page(tail, &page, slot, &why) == 0) {
            tail->next = page.first + page.count;
            continue;
        }
        store_row_damaged(store, "page of the readings' tail", slot, &why);
        tail->slot = slot;
        tail->page = (struct tail_page){.used = TAIL_PAGE_BYTES}; // full
        tail->next += TAIL_PAGE_BYTES;                            // more than any page holds
    }
    return found;
}

static int load(struct store *store, struct tail *tail, struct err *err)
{
    tail->slot = -1;
    tail->dirty = tail->touched = false;
    tail->oldest_ms = INT64_MAX;
    tail->meter_count = 0;
    memset(tail->seqs, 0, sizeof tail->seqs);
    if (store_ask(store, "SELECT coalesce(max(to_ms), -1) FROM segment", &tail->newest_ms, err) !=
            0 ||
        tail_begins(store, &tail->begins, err) != 0)
        return -1;
    tail->next = tail->begins;
    if (load_pages(store, tail, err) != 0)
        return -1;
    tail->loaded = true;
    return 0;
}

static struct tail *tail_of(struct store *store, struct err *err)
{
    if (store->tail == NULL) {
        store->tail = calloc(1, sizeof *store->tail);
        if (store->tail == NULL) {
            (void)err_set(err, "out of memory");
            return NULL;
        }
        buf_init(&store->tail->scratch, ROW_ENCODED_MAX);
    }
    return store->tail->loaded || load(store, store->tail, err) == 0 ? store->tail : NULL;
}

void tail_free(struct store *store)
{
    if (store->tail == NULL)
        return;
    free(store->tail->meters);
    buf_release(&store->tail->scratch);
    free(store->tail);
    store->tail = NULL;
}

// --- write ---

static void page_seal(struct tail_page *page)
{
    uint8_t *head = page->bytes;
    memset(head + page->used, 0, TAIL_PAGE_BYTES - page->used);
    number_put(head + 4, (uint64_t)page->count, 2);
    number_put(head + 6, (uint64_t)page->used, 2);
    number_put(head + 8, (uint64_t)page->first, 8);
    for (int lane = LANE_ALERT; lane < LANES_END; lane++)
        number_put(head + 8 * (size_t)(lane + 1), (uint64_t)page->seqs[lane], 8);
    number_put(head, row_checksum(head + 4, page->used - 4), 4);
}

int tail_flush(struct store *store, struct err *err)
{
    struct tail *tail = store->tail;
    if (tail == NULL || !tail->dirty)
        return 0;
    struct query query;
    if (query_begin(&query, store, SLOT_TAIL_PUT,
                    "INSERT INTO tail VALUES (?1, ?2)"
                    " ON CONFLICT(slot) DO UPDATE SET body = excluded.body",
                    err) != 0)
        return -1;
    page_seal(&tail->page);
    query_int(&query, tail->slot);
    query_blob(&query, tail->page.bytes, TAIL_PAGE_BYTES);
    if (query_run(&query, err) != 0)
        return -1;
    tail->dirty = false;
    return 0;
}

static void page_begin(struct tail *tail)
{
    tail->slot++;
    tail->page.damaged = false;
    tail->page.first = tail->next;
    tail->page.count = 0;
    tail->page.used = TAIL_PAGE_HEAD;
    memcpy(tail->page.seqs, tail->seqs, sizeof tail->seqs);
    row_before_init(&tail->before, tail->next - 1, 0);
}

// Leaves the page that is full for the next one.
static int page_turn(struct store *store, struct tail *tail, struct err *err)
{
    if (tail_flush(store, err) != 0)
        return -1;
    if ((tail->slot + 1 >= TAIL_SLOTS_MAX || tail->next - tail->begins >= TAIL_ROWS_MAX) &&
        segment_close(store, err) != 0)
        return -1;
    page_begin(tail);
    return 0;
}

static int encode(struct tail *tail, const struct row *row, struct err *err)
{
    buf_clear(&tail->scratch);
    row_put(&tail->scratch, &tail->before, row);
    return tail->scratch.failed ? err_set(err, "out of memory for a reading") : 0;
}

int tail_add(struct store *store, struct row *row, struct err *err)
{
    struct tail *tail = tail_of(store, err);
    if (tail == NULL)
        return -1;
    tail->touched = true;
    row->number = tail->next;
    if (!row_is_sound(row))
        return err_set(err, "a reading of meter %d has words or a time that no row can hold",
                       row->meter);
    if (reading_chain_add(store, row, err) != 0)
        return -1;
    if ((tail->slot < 0 && page_turn(store, tail, err) != 0) || encode(tail, row, err) != 0)
        return -1;
    if (tail->page.used + tail->scratch.length > TAIL_PAGE_BYTES) {
        // It goes to another page, where another row stands before it.
        if (page_turn(store, tail, err) != 0 || encode(tail, row, err) != 0)
            return -1;
    }
    memcpy(tail->page.bytes + tail->page.used, tail->scratch.data, tail->scratch.length);
    tail->page.used += tail->scratch.length;
    tail->page.count++;
    tail->seqs[row->lane] = row->seq; // that of lane 0 is not looked at
    tail->dirty = true;
    tail->next++;
    return take(tail, row->meter, row->at_ms, err);
}

void tail_committed(struct store *store)
{
    if (store->tail != NULL)
        store->tail->touched = false;
}

void tail_forget(struct store *store)
{
    if (store->tail == NULL || !store->tail->touched)
        return;
    store->tail->loaded = false;
    store->tail->dirty = false; // what it holds was never kept
}

void tail_begin_anew(struct store *store)
{
    struct tail *tail = store->tail;
    if (tail == NULL || !tail->loaded)
        return; // it is read when it is needed
    for (int i = 0; i < tail->meter_count; i++)
        if (tail->meters[i].newest_ms > tail->newest_ms)
            tail->newest_ms = tail->meters[i].newest_ms;
    tail->touched = true;
    tail->begins = tail->next;
    tail->slot = -1;
    tail->dirty = false;
    tail->oldest_ms = INT64_MAX;
}

// A tail that cannot be read now is asked again later.
bool store_reading_ripe(struct store *store, int64_t now_ms)
{
    struct err err;
    struct tail *tail = tail_of(store, &err);
    return tail != NULL && tail->next > tail->begins &&
           (tail->slot >= TAIL_RIPE_SLOTS || tail->next - tail->begins >= TAIL_RIPE_ROWS ||
            tail->oldest_ms < now_ms - SEGMENT_SPAN_MS);
}

// --- free instants ---

struct search {
    int meter;
    int64_t from_ms, to_ms;
};

static bool in_search(const void *context, const struct row *row)
{
    const struct search *search = context;
    return row->meter == search->meter && row->at_ms >= search->from_ms &&
           row->at_ms < search->to_ms;
}

static int segments_search(struct store *store, const struct search *search, struct rows *rows,
                           struct err *err)
{
    int64_t segment = 0;
    int found;
    while ((found = segment_overlapping(store, search->from_ms, search->to_ms, &segment, err)) == 1)
        if (segment_rows(store, segment, search->meter, rows, NULL, err) != 0)
            return -1;
    return found;
}

static int search_free(const struct search *search, const struct rows *rows, int64_t *out)
{
    for (int64_t at_ms = search->from_ms; at_ms < search->to_ms; at_ms++) {
        bool is_taken = false;
        for (int i = 0; i < rows->count && !is_taken; i++)
            is_taken = rows->list[i].at_ms == at_ms;
        if (!is_taken) {
            *out = at_ms;
            return 1;
        }
    }
    return 0;
}

int tail_free_instant(struct store *store, int meter, int64_t at_ms, int reach, int64_t *out,
                      struct err *err)
{
    struct tail *tail = tail_of(store, err);
    const struct taken *taken = tail == NULL ? NULL : taken_of(tail, meter, err);
    if (taken == NULL)
        return -1;
    if (at_ms > taken->newest_ms || at_ms >= taken->run_ms) {
        *out = at_ms > taken->newest_ms ? at_ms : taken->newest_ms + 1;
        return *out - at_ms < reach;
    }
    struct search search = {meter, at_ms, at_ms + reach};
    struct rows rows;
    rows_init(&rows);
    int found = tail_flush(store, err) != 0 || segments_search(store, &search, &rows, err) != 0 ||
                        tail_rows(store, in_search, &search, &rows, err) != 0
                    ? -1
                    : search_free(&search, &rows, out);
    rows_release(&rows);
    return found;
}
