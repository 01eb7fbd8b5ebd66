// Closing a segment, and its rows read back.
#include "store/segment.h"

#include "store/query.h"
#include "store/reading_chain.h"
#include "store/tail.h"

#include <inttypes.h>

#define PACK_BYTES (8 * 1024)            // then the next meter's rows go to another one
#define PACK_BYTES_MAX (4 * 1024 * 1024) // more than the whole tail

// --- packs ---

// checksum; of each meter count, rows. Packs of one meter, as they were before version 14, tell it
// by their id alone.
static void pack_begin(struct buf *out)
{
    buf_clear(out);
    buf_add(out, "\0\0\0", 4);
}

static int meter_end(const struct rows *rows, int first, int end)
{
    int next = first + 1;
    while (next < end && rows->list[next].meter == rows->list[first].meter)
        next++;
    return next;
}

// The rows of one meter.
static void pack_add(struct buf *out, const struct rows *rows, int first, int end, int64_t segment)
{
    struct row_before before;
    buf_add_varint(out, (uint64_t)(end - first));
    row_before_init(&before, segment - 1, 0);
    for (int i = first; i < end; i++) {
        struct row row = rows_get(rows, i);
        row_put(out, &before, &row);
    }
}

static void pack_end(struct buf *out)
{
    if (out->failed)
        return;
    uint32_t sum = row_checksum(out->data + 4, out->length - 4);
    for (int i = 3; i >= 0; i--, sum >>= 8)
        out->data[i] = (char)sum;
}

void pack_make(const struct rows *rows, int first, int end, int64_t segment, struct buf *out)
{
    pack_begin(out);
    for (int next; first < end; first = next) {
        next = meter_end(rows, first, end);
        pack_add(out, rows, first, next, segment);
    }
    pack_end(out);
}

static bool pack_is_whole(const uint8_t *bytes, size_t length)
{
    uint32_t sum = 0;
    for (size_t i = 0; length > 4 && i < 4; i++)
        sum = sum << 8 | bytes[i];
    return length > 4 && sum == row_checksum(bytes + 4, length - 4);
}

// What is read of a pack: rows of one meter, or of all (0).
struct unpacking {
    int64_t segment;
    int last, meter;
    int newest; // meter that was read newest
    struct rows *rows;
};

// 1 a meter's rows are read, 0 they are damaged, -1.
static int pack_read(struct unpacking *unpacking, struct cursor *cursor, struct err *err)
{
    struct row_before before;
    struct row row;
    uint64_t count = cursor_varint(cursor);
    row_before_init(&before, unpacking->segment - 1, unpacking->last);
    for (uint64_t i = 0; i < count; i++) {
        if (row_get(cursor, &before, &row) != 0)
            return 0;
        if (i == 0 ? row.meter <= unpacking->newest : row.meter != unpacking->newest)
            return 0;
        unpacking->newest = row.meter;
        if ((unpacking->meter == 0 || row.meter == unpacking->meter) &&
            rows_add(unpacking->rows, &row, err) != 0)
            return -1;
    }
    return count > 0 && !cursor->failed;
}

int pack_rows(int64_t segment, int last, int meter, const void *bytes, size_t length,
              struct rows *rows, struct err *err)
{
    int kept = rows->count;
    struct unpacking unpacking = {segment, last, meter, 0, rows};
    int good = pack_is_whole(bytes, length);
    if (good) {
        struct cursor cursor = cursor_of((const uint8_t *)bytes + 4, length - 4);
        while (good == 1 && cursor.at != cursor.end)
            good = pack_read(&unpacking, &cursor, err);
    }
    if (good < 0 || (good == 1 && unpacking.newest == last))
        return good < 0 ? -1 : 0;
    rows->count = kept;
    return err_set(err, "its bytes are not those that were written");
}

// --- close ---

static int pack_insert(struct store *store, int64_t segment, int meter, const struct buf *pack,
                       struct err *err)
{
    struct query query;
    if (pack->failed)
        return err_set(err, "out of memory for a pack of readings");
    if (query_begin(&query, store, SLOT_PACK_ADD, "INSERT INTO pack VALUES (?1, ?2)", err) != 0)
        return -1;
    query_int(&query, segment << 16 | meter);
    query_blob(&query, pack->data, pack->length);
    return query_run(&query, err);
}

// Rows [first, end), which become one segment: numbers from `segment` on.
struct closing {
    struct rows *rows;
    int first, end;
    int64_t segment, count;
};

static int packs_insert(struct store *store, const struct closing *part, struct buf *pack,
                        struct err *err)
{
    const struct rows *rows = part->rows;
    rows_sort_by_meter(part->rows, part->first, part->end);
    pack_begin(pack);
    for (int first = part->first, end; first < part->end; first = end) {
        end = meter_end(rows, first, part->end);
        pack_add(pack, rows, first, end, part->segment);
        if (end < part->end && pack->length < PACK_BYTES)
            continue;
        pack_end(pack);
        if (pack_insert(store, part->segment, rows->list[first].meter, pack, err) != 0)
            return -1;
        pack_begin(pack);
    }
    return 0;
}

static int segment_insert(struct store *store, const struct closing *part, struct err *err)
{
    int64_t from_ms = INT64_MAX;
    int64_t to_ms = 0;
    for (int i = part->first; i < part->end; i++) {
        int64_t at_ms = part->rows->list[i].at_ms;
        from_ms = at_ms < from_ms ? at_ms : from_ms;
        to_ms = at_ms > to_ms ? at_ms : to_ms;
    }
    struct query query;
    if (query_begin(&query, store, SLOT_SEGMENT_ADD,
                    "INSERT INTO segment VALUES (?1, ?2, ?3, ?4, 1)", err) != 0)
        return -1;
    query_int(&query, part->segment);
    query_int(&query, part->count);
    query_int(&query, from_ms);
    query_int(&query, to_ms);
    return query_run(&query, err);
}

static int lane_insert(struct store *store, const struct closing *part, int lane, struct err *err)
{
    int64_t first = INT64_MAX;
    int64_t last = 0;
    int64_t count = 0;
    for (int i = part->first; i < part->end; i++) {
        const struct rows_entry *row = &part->rows->list[i];
        if (row->lane != lane)
            continue;
        first = row->seq < first ? row->seq : first;
        last = row->seq > last ? row->seq : last;
        count++;
    }
    struct query query;
    if (count == 0)
        return 0;
    if (query_begin(&query, store, SLOT_SEGMENT_LANE_ADD,
                    "INSERT INTO segment_lane VALUES (?1, ?2, ?3, ?4, ?5)", err) != 0)
        return -1;
    query_int(&query, lane);
    query_int(&query, last);
    query_int(&query, first);
    query_int(&query, count);
    query_int(&query, part->segment);
    return query_run(&query, err);
}

static int part_close(struct store *store, const struct closing *part, struct err *err)
{
    struct buf pack;
    buf_init(&pack, PACK_BYTES_MAX);
    // The chain goes along numbers: before packs are made in the order of meters.
    int result =
        reading_chain_segment(store, part->rows, part->first, part->end, part->segment, err) != 0 ||
                segment_insert(store, part, err) != 0
            ? -1
            : packs_insert(store, part, &pack, err);
    buf_release(&pack);
    for (int lane = LANE_ALERT; lane < LANES_END && result == 0; lane++)
        result = lane_insert(store, part, lane, err);
    return result;
}

// A segment goes as a whole, so one of many days (of a small site whose old store was brought here)
// would keep its first days too long.
static int parts_close(struct store *store, struct rows *rows, int64_t begins, struct err *err)
{
    struct closing part = {.rows = rows, .segment = begins};
    while (part.first < rows->count) {
        int64_t end_ms = rows->list[part.first].at_ms + SEGMENT_SPAN_MS;
        part.end = part.first + 1;
        while (part.end < rows->count && rows->list[part.end].at_ms < end_ms)
            part.end++;
        int64_t next = part.end < rows->count ? rows->list[part.end].number
                                              : rows->list[rows->count - 1].number + 1;
        part.count = next - part.segment;
        if (part_close(store, &part, err) != 0)
            return -1;
        part.segment = next;
        part.first = part.end;
    }
    return 0;
}

int segment_close(struct store *store, struct err *err)
{
    struct rows rows;
    int64_t begins;
    rows_init(&rows);
    int result = tail_flush(store, err) != 0 || tail_begins(store, &begins, err) != 0 ||
                         tail_rows(store, NULL, NULL, &rows, err) != 0 ||
                         parts_close(store, &rows, begins, err) != 0
                     ? -1
                     : 0;
    if (result == 0 && rows.count > 0)
        tail_begin_anew(store);
    rows_release(&rows);
    return result;
}

int store_reading_pack(struct store *store, struct err *err)
{
    return segment_close(store, err);
}

// --- read ---

static int segment_ask(struct query *query, int64_t *segment, struct err *err)
{
    int found = query_row(query, err);
    if (found == 1) {
        *segment = query_get_int(query, 0);
        query_end(query);
    }
    return found;
}

int segment_of_number(struct store *store, int64_t number, int64_t *segment, struct err *err)
{
    struct query query;
    if (query_begin(&query, store, SLOT_SEGMENT_OF_NUMBER,
                    "SELECT first FROM segment WHERE first = (SELECT max(first) FROM segment"
                    " WHERE first <= ?1) AND first + count > ?1 AND kept = 1",
                    err) != 0)
        return -1;
    query_int(&query, number);
    return segment_ask(&query, segment, err);
}

int segment_of_seq(struct store *store, enum lane lane, int64_t seq, int64_t after,
                   int64_t *segment, struct err *err)
{
    struct query query;
    if (query_begin(&query, store, SLOT_SEGMENT_OF_SEQ,
                    "SELECT segment FROM segment_lane WHERE lane = ?1 AND last > ?2"
                    " AND segment > ?3 ORDER BY last LIMIT 1",
                    err) != 0)
        return -1;
    query_int(&query, lane);
    query_int(&query, seq);
    query_int(&query, after);
    return segment_ask(&query, segment, err);
}

int packs_begin(struct query *query, struct store *store, int64_t segment, int meter,
                struct err *err)
{
    if (query_begin(query, store, SLOT_PACK_ROWS,
                    "SELECT id, body FROM pack WHERE id BETWEEN ?1 AND ?2 ORDER BY id LIMIT ?3",
                    err) != 0)
        return -1;
    query_int(query, segment << 16 | meter);
    query_int(query, segment << 16 | ROW_METER_MAX);
    query_int(query, meter != 0 ? 1 : -1);
    return 0;
}

int segment_rows(struct store *store, int64_t segment, int meter, struct rows *rows, int *damaged,
                 struct err *err)
{
    struct query query;
    if (packs_begin(&query, store, segment, meter, err) != 0)
        return -1;
    int more;
    while ((more = query_row(&query, err)) == 1) {
        struct err why = {.text = ""};
        int64_t id = query_get_int(&query, 0);
        const void *bytes = sqlite3_column_blob(query.statement, 1);
        if (pack_rows(segment, (int)(id & ROW_METER_MAX), meter, bytes,
                      (size_t)sqlite3_column_bytes(query.statement, 1), rows, &why) == 0)
            continue;
        if (rows->bytes.failed) {
            query_end(&query);
            return err_set(err, "%s", why.text);
        }
        store_row_damaged(store, "pack", id, &why);
        if (damaged != NULL)
            ++*damaged;
    }
    return more;
}

int segment_overlapping(struct store *store, int64_t from_ms, int64_t to_ms, int64_t *segment,
                        struct err *err)
{
    struct query query;
    if (query_begin(&query, store, SLOT_SEGMENT_OVERLAP,
                    "SELECT first FROM segment WHERE kept = 1 AND to_ms >= ?1 AND from_ms < ?2"
                    " AND first > ?3 ORDER BY first LIMIT 1",
                    err) != 0)
        return -1;
    query_int(&query, from_ms);
    query_int(&query, to_ms);
    query_int(&query, *segment);
    int64_t next = 0;
    int found = segment_ask(&query, &next, err);
    if (found != 1)
        return found;
    if (next <= *segment)
        return err_set(err, "%s: its table of segments is damaged", store->path);
    *segment = next;
    return 1;
}
