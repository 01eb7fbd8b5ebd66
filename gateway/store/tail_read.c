// The tail as it stands in the file.
#include "store/tail.h"

#include "store/query.h"

#include <string.h>

static uint64_t number_get(const uint8_t *bytes, int count)
{
    uint64_t number = 0;
    for (int i = 0; i < count; i++)
        number = number << 8 | bytes[i];
    return number;
}

int tail_begins(struct store *store, int64_t *number, struct err *err)
{
    struct query query;
    if (query_begin(&query, store, SLOT_TAIL_BEGINS,
                    "SELECT first + count FROM segment ORDER BY first DESC LIMIT 1", err) != 0)
        return -1;
    int found = query_row(&query, err);
    *number = found == 1 ? query_get_int(&query, 0) : 1;
    if (found == 1)
        query_end(&query);
    return found < 0 ? -1 : 0;
}

static int slots_count(struct store *store, int64_t *count, struct err *err)
{
    struct query query;
    if (query_begin(&query, store, SLOT_TAIL_SLOTS, "SELECT coalesce(max(slot) + 1, 0) FROM tail",
                    err) != 0 ||
        query_row(&query, err) != 1)
        return -1;
    *count = query_get_int(&query, 0);
    query_end(&query);
    return 0;
}

static bool head_get(const uint8_t *bytes, size_t length, struct tail_page *page)
{
    if (length != TAIL_PAGE_BYTES)
        return false;
    page->count = (int)number_get(bytes + 4, 2);
    page->used = (size_t)number_get(bytes + 6, 2);
    page->first = (int64_t)number_get(bytes + 8, 8);
    for (size_t lane = LANE_ALERT; lane < LANES_END; lane++)
        page->seqs[lane] = (int64_t)number_get(bytes + 8 * (lane + 1), 8);
    return page->used >= TAIL_PAGE_HEAD && page->used <= TAIL_PAGE_BYTES && page->first >= 1 &&
           page->first < ROW_NUMBER_MAX &&
           number_get(bytes, 4) == row_checksum(bytes + 4, page->used - 4);
}

int tail_page(struct store *store, int slot, int64_t begins, struct tail_page *page,
              struct err *err)
{
    struct query query;
    int found = query_find(&query, store, SLOT_TAIL_PAGE, "SELECT body FROM tail WHERE slot = ?1",
                           slot, err);
    if (found != 1)
        return found;
    const void *body = sqlite3_column_blob(query.statement, 0);
    size_t length = (size_t)sqlite3_column_bytes(query.statement, 0);
    page->first = 0;
    page->damaged = body == NULL || !head_get(body, length, page);
    if (!page->damaged)
        memcpy(page->bytes, body, TAIL_PAGE_BYTES);
    query_end(&query);
    return page->damaged || page->first >= begins;
}

// Number and seqs of a page, its rows unseen. 1, 0 there is none, -1.
static int head_read(struct store *store, int slot, int64_t begins, struct tail_page *page,
                     struct err *err)
{
    struct query query;
    int found = query_find(&query, store, SLOT_TAIL_HEAD,
                           "SELECT substr(body, 1, 40) FROM tail WHERE slot = ?1", slot, err);
    if (found != 1)
        return found;
    const uint8_t *body = sqlite3_column_blob(query.statement, 0);
    found = body != NULL && sqlite3_column_bytes(query.statement, 0) == TAIL_PAGE_HEAD;
    if (found == 1) {
        page->first = (int64_t)number_get(body + 8, 8);
        for (size_t lane = LANE_ALERT; lane < LANES_END; lane++)
            page->seqs[lane] = (int64_t)number_get(body + 8 * (lane + 1), 8);
        found = page->first >= begins;
    }
    query_end(&query);
    return found;
}

static int slot_find(struct store *store, int64_t begins, enum lane lane, int64_t most,
                     struct err *err)
{
    int64_t slots;
    if (slots_count(store, &slots, err) != 0)
        return -2;
    int low = -1; // begins at or before; from high on none does
    int high = slots > INT32_MAX ? INT32_MAX : (int)slots;
    while (high - low > 1) {
        int middle = low + (high - low) / 2;
        struct tail_page at;
        int found = head_read(store, middle, begins, &at, err);
        if (found < 0)
            return -2;
        if (found == 1 && (lane == 0 ? at.first : at.seqs[lane]) <= most)
            low = middle;
        else
            high = middle;
    }
    return low;
}

int tail_slot_of_number(struct store *store, int64_t begins, int64_t number, struct err *err)
{
    return slot_find(store, begins, (enum lane)0, number, err);
}

int tail_slot_of_seq(struct store *store, int64_t begins, enum lane lane, int64_t seq,
                     struct err *err)
{
    return slot_find(store, begins, lane, seq, err);
}

struct page_walk {
    tail_wanted *wanted;
    const void *context;
};

static int page_walk(const struct tail_page *page, const struct page_walk *walk, struct rows *rows,
                     struct err *err)
{
    struct cursor cursor = cursor_of(page->bytes + TAIL_PAGE_HEAD, page->used - TAIL_PAGE_HEAD);
    struct row_before before;
    struct row row;
    int kept = rows->count;
    row_before_init(&before, page->first - 1, 0);
    for (int i = 0; i < page->count; i++) {
        if (row_get(&cursor, &before, &row) != 0 || row.number != page->first + i) {
            rows->count = kept;
            return err_set(err, "it is damaged");
        }
        if ((walk->wanted == NULL || walk->wanted(walk->context, &row)) &&
            rows_add(rows, &row, err) != 0)
            return -1;
    }
    if (cursor.at == cursor.end)
        return 0;
    rows->count = kept;
    return err_set(err, "it is damaged");
}

int tail_page_rows(const struct tail_page *page, struct rows *rows, struct err *err)
{
    return page->damaged ? err_set(err, "it is damaged")
                         : page_walk(page, &(struct page_walk){NULL, NULL}, rows, err);
}

int tail_rows(struct store *store, tail_wanted *wanted, const void *context, struct rows *rows,
              struct err *err)
{
    struct page_walk walk = {wanted, context};
    struct tail_page page;
    int64_t begins;
    int found;
    if (tail_begins(store, &begins, err) != 0)
        return -1;
    for (int slot = 0; (found = tail_page(store, slot, begins, &page, err)) == 1; slot++) {
        struct err why = {.text = "it is damaged"};
        if (!page.damaged && page_walk(&page, &walk, rows, &why) == 0)
            continue;
        if (rows->bytes.failed)
            return err_set(err, "%s", why.text);
        store_row_damaged(store, "page of the readings' tail", slot, &why);
    }
    return found;
}
