// Readings: raw words in, decoded when they are read back.
#include "store/pack.h"
#include "store/query.h"

#include <inttypes.h>
#include <string.h>

#define TIES_MAX 10000 // milliseconds that a reading may move on to find a free instant

// One row to be: what differs between a poll and a record of the meter's own log.
struct row {
    const char *meter;
    int number, decoder;
    int64_t at_ms, due_ms; // due_ms 0: it answers none
    int64_t flags;
    enum lane lane; // 0: nothing for the outbox
};

// 1 kept, 0 the id is taken, -1.
static int row_insert(struct store *store, const struct row *row, int64_t at_ms, int64_t seq,
                      struct err *err)
{
    struct query query;
    if (query_begin(&query, store, SLOT_READING_ADD,
                    "INSERT INTO reading VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8)"
                    " ON CONFLICT DO NOTHING",
                    err) != 0)
        return -1;
    query_int(&query, reading_id(at_ms, row->number));
    query_int_or_null(&query, row->due_ms != 0, at_ms - row->due_ms);
    query_int(&query, row->decoder);
    query_int(&query, row->flags);
    query_blob(&query, store->words.data, store->words.length);
    if (store->marks.length > 0)
        query_blob(&query, store->marks.data, store->marks.length);
    else
        query_int_or_null(&query, false, 0);
    query_int_or_null(&query, row->lane != 0, row->lane);
    query_int_or_null(&query, row->lane != 0, seq);
    if (query_run(&query, err) != 0)
        return -1;
    return sqlite3_changes(store->db);
}

// Adds the row whose words and marks are packed already; row->at_ms becomes where it lies.
static int row_add(struct store *store, struct row *row, struct err *err)
{
    if (row->at_ms < 0 || row->at_ms >= READING_AT_MAX - TIES_MAX) {
        return err_set(err, "a reading of %s has the time %" PRId64 ", which no clock shows",
                       row->meter, row->at_ms);
    }
    if (store->words.failed || store->marks.failed)
        return err_set(err, "out of memory for a reading of %s", row->meter);
    int64_t seq = 0;
    if (row->lane != 0 && outbox_give(store, row->lane, &seq, err) != 0)
        return -1;
    int64_t at_ms = row->at_ms;
    int kept = 0;
    while (kept == 0 && at_ms < row->at_ms + TIES_MAX) {
        kept = row_insert(store, row, at_ms, seq, err);
        at_ms += kept == 0 ? 1 : 0;
    }
    if (kept == 0) {
        store->round_broken = true; // the seq is given, but has no row
        return err_set(err, "%d readings of %s have the same second: the clock stands still",
                       TIES_MAX, row->meter);
    }
    if (kept < 0 ||
        (row->lane != 0 && outbox_point(store, row->lane, seq, MESSAGE_READING,
                                        reading_id(at_ms, row->number), at_ms, err) != 0))
        return -1;
    row->at_ms = at_ms;
    return 0;
}

int store_reading_add(struct store *store, int meter_number, int decoder, struct reading *reading,
                      enum lane lane, struct err *err)
{
    struct row row = {.meter = reading->meter->id,
                      .number = meter_number,
                      .decoder = decoder,
                      .at_ms = reading->at_ms,
                      .due_ms = reading->due_ms,
                      .flags = (reading->answered ? READING_ANSWERED : 0) |
                               (reading->meter->unverified ? READING_UNVERIFIED : 0) |
                               (reading->begins ? READING_BEGINS : 0),
                      .lane = lane};
    image_pack(reading->meter->profile, &reading->image, &store->words, &store->marks);
    if (row_add(store, &row, err) != 0)
        return -1;
    reading->at_ms = row.at_ms;
    return 0;
}

int store_archive_add(struct store *store, int meter_number, int decoder,
                      const struct archive_words *words, enum lane lane, struct err *err)
{
    struct row row = {.meter = words->meter->id,
                      .number = meter_number,
                      .decoder = decoder,
                      .at_ms = words->at_ms,
                      .flags = READING_ANSWERED | READING_ARCHIVE |
                               (int64_t)words->archive << READING_ARCHIVE_SHIFT |
                               (words->meter->unverified ? READING_UNVERIFIED : 0),
                      .lane = lane};
    const struct profile *record = store_record(store, decoder, words->archive, err);
    if (record == NULL)
        return -1;
    struct image image = {.why = {0}};
    memcpy(image.words, words->words, record->word_count * sizeof image.words[0]);
    image_pack(record, &image, &store->words, &store->marks);
    return row_add(store, &row, err);
}

// What the meter's log says is never as good as what was read at its time.
static void mark_archive(struct stored_reading *reading)
{
    for (int i = 0; i < reading->value_count; i++) {
        if (reading->values[i].quality == QUALITY_GOOD) {
            reading->values[i].quality = QUALITY_ARCHIVE;
            reading->values[i].why = WHY_READ_BACK;
        }
    }
}

static int reading_decode(struct store *store, struct query *query, struct stored_reading *out,
                          struct err *err)
{
    out->at_ms = out->row >> 16;
    out->due_ms = query_is_null(query, 0) ? 0 : out->at_ms - query_get_int(query, 0);
    int64_t flags = query_get_int(query, 2);
    out->answered = (flags & READING_ANSWERED) != 0;
    out->begins = (flags & READING_BEGINS) != 0;
    out->lane = (enum lane)query_get_int(query, 5);
    out->seq = query_get_int(query, 6);
    query_get_text(query, 7, out->meter, sizeof out->meter);
    out->profile = store_row_profile(store, query_get_int(query, 1), flags, err);
    if (out->profile == NULL)
        return -1;
    const void *words = sqlite3_column_blob(query->statement, 3);
    const void *marks = sqlite3_column_blob(query->statement, 4);
    if (image_unpack(out->profile, words, (size_t)sqlite3_column_bytes(query->statement, 3), marks,
                     (size_t)sqlite3_column_bytes(query->statement, 4), &out->image) != 0) {
        return err_set(err,
                       "reading %" PRId64 " of %s is damaged: its words do not fit its profile",
                       out->row, out->meter);
    }
    out->value_count = out->profile->channel_count;
    image_decode(out->profile, &out->image, (flags & READING_UNVERIFIED) != 0, out->values);
    if ((flags & READING_ARCHIVE) != 0)
        mark_archive(out);
    return 0;
}

// As store_reading_get; *damaged tells a row that cannot be decoded from a query that failed.
static int reading_get(struct store *store, int64_t row, struct stored_reading *out, bool *damaged,
                       struct err *err)
{
    struct query query;
    if (query_begin(&query, store, SLOT_READING_GET,
                    "SELECT due, decoder, flags, words, marks, lane, seq, meter.id FROM reading"
                    " JOIN meter ON number = reading.id & 65535 WHERE reading.id = ?1",
                    err) != 0)
        return -1;
    query_int(&query, row);
    int found = query_row(&query, err);
    if (found != 1)
        return found;
    out->row = row;
    *damaged = reading_decode(store, &query, out, err) != 0;
    query_end(&query);
    return *damaged ? -1 : 1;
}

int store_reading_get(struct store *store, int64_t row, struct stored_reading *out, struct err *err)
{
    bool damaged = false;
    struct stored_reading reading;
    int found = reading_get(store, row, &reading, &damaged, err);
    if (found == 1)
        *out = reading;
    return found;
}

struct page {
    int64_t next, end; // ids still to look at: [next, end)
    int64_t meter;     // 0: all
    int count;
    int64_t rows[STORE_PAGE];
};

// Fills the next page; false at the end is a page without rows and next == end.
static int page_fill(struct store *store, struct page *page, struct err *err)
{
    struct query query;
    page->count = 0;
    if (query_begin(&query, store, SLOT_READING_PAGE,
                    "SELECT id FROM reading WHERE id >= ?1 AND id < ?2 ORDER BY id LIMIT ?3",
                    err) != 0)
        return -1;
    query_int(&query, page->next);
    query_int(&query, page->end);
    query_int(&query, STORE_SCAN);
    int more;
    int seen = 0;
    while ((more = query_row(&query, err)) == 1) {
        int64_t row = query_get_int(&query, 0);
        page->next = row + 1;
        seen++;
        if (page->meter == 0 || (row & 0xFFFF) == page->meter)
            page->rows[page->count++] = row;
        if (page->count == STORE_PAGE) {
            query_end(&query);
            return 0;
        }
    }
    if (more == 0 && seen < STORE_SCAN)
        page->next = page->end;
    return more;
}

static int64_t instant_of(int64_t row)
{
    return row >> 16;
}

// Leaves the last instant of a full page to the next one, so that no page ends within an instant.
// One that fills a whole page (STORE_PAGE readings in a millisecond) is ordered page by page.
static void page_trim(struct page *page)
{
    if (page->count < STORE_PAGE)
        return;
    int first = page->count - 1;
    while (first > 0 && instant_of(page->rows[first - 1]) == instant_of(page->rows[first]))
        first--;
    if (first > 0) {
        page->next = page->rows[first];
        page->count = first;
    }
}

// Orders rows of one instant by their meters' ids: numbers are in the order of first sight.
static int order_instant(struct store *store, int64_t *rows, int count, struct err *err)
{
    struct query query;
    int64_t ordered[STORE_PAGE];
    if (query_begin(&query, store, SLOT_READING_INSTANT,
                    "SELECT reading.id FROM reading JOIN meter ON number = reading.id & 65535"
                    " WHERE reading.id >= ?1 AND reading.id <= ?2 ORDER BY meter.id",
                    err) != 0)
        return -1;
    query_int(&query, rows[0]);
    query_int(&query, rows[count - 1]);
    int found = 0;
    int more;
    while ((more = query_row(&query, err)) == 1 && found < count)
        ordered[found++] = query_get_int(&query, 0);
    if (more == 1)
        query_end(&query);
    if (more == 0 && found == count) // else some were deleted meanwhile: the visit will find so
        memcpy(rows, ordered, (size_t)count * sizeof *rows);
    return more < 0 ? -1 : 0;
}

static int page_order(struct store *store, struct page *page, struct err *err)
{
    int end = 0;
    for (int first = 0; first < page->count; first = end) {
        end = first + 1;
        while (end < page->count && instant_of(page->rows[end]) == instant_of(page->rows[first]))
            end++;
        if (end - first > 1 && order_instant(store, &page->rows[first], end - first, err) != 0)
            return -1;
    }
    return 0;
}

// 1 go on, 0 the visitor has enough, -1.
static int page_visit(struct store *store, const struct page *page, stored_reading_visit *visit,
                      void *context, struct err *err)
{
    struct stored_reading reading;
    for (int i = 0; i < page->count; i++) {
        bool damaged = false;
        struct err why = {.text = ""};
        int found = reading_get(store, page->rows[i], &reading, &damaged, &why);
        if (found < 0 && damaged)
            store_row_damaged(store, "reading", page->rows[i], &why);
        else if (found < 0)
            return err_set(err, "%s", why.text);
        else if (found == 1 && !visit(context, &reading))
            return 0;
    }
    return 1;
}

static int64_t clamp_at(int64_t at_ms)
{
    return at_ms < 0 ? 0 : at_ms > READING_AT_MAX ? READING_AT_MAX : at_ms;
}

int store_readings(struct store *store, const char *meter, int64_t from_ms, int64_t to_ms,
                   stored_reading_visit *visit, void *context, struct err *err)
{
    struct page page = {.next = reading_id(clamp_at(from_ms), 0),
                        .end = reading_id(clamp_at(to_ms), 0)};
    int number = 0;
    int found = meter == NULL ? 1 : store_meter_find(store, meter, &number, err);
    page.meter = number;
    while (found == 1 && page.next < page.end) {
        if (page_fill(store, &page, err) != 0)
            return -1;
        page_trim(&page);
        found =
            page_order(store, &page, err) != 0 ? -1 : page_visit(store, &page, visit, context, err);
    }
    return found < 0 ? -1 : 0;
}

int store_reading_newest(struct store *store, int64_t *at_ms, struct err *err)
{
    return store_ask(store, "SELECT coalesce(max(id) >> 16, 0) FROM reading", at_ms, err);
}
