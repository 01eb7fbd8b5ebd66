// Readings of the versions before 10: a row of table reading each (id = at << 16 | meter, due = at
// - due time or NULL, decoder, flags, words, marks, lane, seq), and a pointer in the outbox for
// those that were sent.
#include "store/query.h"
#include "store/tail.h"

#include <stdio.h>

#define COLUMNS "r.id, r.due, r.decoder, r.flags, r.words, r.marks, r.lane, r.seq"

// Lane after lane in the order of seq, because numbers and seqs must rise together; then those that
// nothing points at, whether they were sent or not.
static const char *const passes[] = {
    "SELECT " COLUMNS " FROM outbox AS o CROSS JOIN reading AS r ON r.id = o.row AND"
    " r.lane = o.lane AND r.seq = o.seq WHERE o.lane = 1 AND o.kind = 1 ORDER BY o.seq",
    "SELECT " COLUMNS " FROM outbox AS o CROSS JOIN reading AS r ON r.id = o.row AND"
    " r.lane = o.lane AND r.seq = o.seq WHERE o.lane = 2 AND o.kind = 1 ORDER BY o.seq",
    "SELECT " COLUMNS " FROM outbox AS o CROSS JOIN reading AS r ON r.id = o.row AND"
    " r.lane = o.lane AND r.seq = o.seq WHERE o.lane = 3 AND o.kind = 1 ORDER BY o.seq",
    "SELECT r.id, r.due, r.decoder, r.flags, r.words, r.marks, NULL, NULL FROM reading AS r"
    " WHERE NOT EXISTS (SELECT 1 FROM outbox AS o WHERE o.lane = r.lane AND o.seq = r.seq"
    " AND o.row = r.id AND o.kind = 1) ORDER BY r.id",
};

static size_t shorter(int length, size_t max)
{
    return (size_t)length < max ? (size_t)length : max;
}

// More bytes than a row can have are damage: they are cut, and the row stays one that cannot be
// decoded.
static struct row row_of(const struct query *query)
{
    int64_t id = query_get_int(query, 0);
    int64_t at_ms = id >> 16;
    return (struct row){
        .meter = (int)(id & ROW_METER_MAX),
        .at_ms = at_ms,
        .due_ms = query_is_null(query, 1) ? 0 : at_ms - query_get_int(query, 1),
        .decoder = query_get_int(query, 2),
        .flags = query_get_int(query, 3),
        .words = sqlite3_column_blob(query->statement, 4),
        .word_bytes = shorter(sqlite3_column_bytes(query->statement, 4), ROW_WORDS_MAX),
        .marks = sqlite3_column_blob(query->statement, 5),
        .mark_bytes = shorter(sqlite3_column_bytes(query->statement, 5), ROW_MARKS_MAX),
        .lane = (enum lane)query_get_int(query, 6),
        .seq = query_get_int(query, 7)};
}

static int pass_run(struct store *store, const char *sql, struct err *err)
{
    struct query query;
    if (query_begin(&query, store, SLOT_ONCE, sql, err) != 0)
        return -1;
    int more;
    while ((more = query_row(&query, err)) == 1) {
        struct row row = row_of(&query);
        row.number = 1; // sound but for its number, which comes now
        struct err why = {.text = "it has a meter, a time or a decoder that there cannot be"};
        if (!row_is_sound(&row)) {
            store_row_damaged(store, "reading", query_get_int(&query, 0), &why);
        } else if (tail_add(store, &row, err) != 0) {
            query_end(&query);
            return -1;
        }
    }
    return more;
}

static int passes_run(struct store *store, struct err *err)
{
    for (size_t i = 0; i < sizeof passes / sizeof passes[0]; i++)
        if (pass_run(store, passes[i], err) != 0)
            return -1;
    return tail_flush(store, err);
}

// The chain over readings comes with a later version: its table is not there yet, and what is
// moved here is older than its beginning.
int migrate_readings(struct store *store, struct err *err)
{
    store->readings_unchained = true;
    int result = passes_run(store, err);
    store->readings_unchained = false;
    if (result != 0)
        return -1;
    return store_execute(store, "DELETE FROM outbox WHERE kind = 1; DROP TABLE reading", err);
}
