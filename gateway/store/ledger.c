// The completeness ledger: one row for each meter, gas day and version. A row never changes, so its
// message reads the same for ever.
#include "store/chain.h"
#include "store/leave.h"

#include <inttypes.h>
#include <string.h>

// The version before: 0 when there is none.
struct before {
    int64_t version;
    int64_t lane, seq;
    bool same; // it says the same
};

static int before_find(struct store *store, int meter_number, int64_t from_ms, struct before *out,
                       struct err *err)
{
    struct query query;
    if (query_begin(&query, store, SLOT_LEDGER_BEFORE,
                    "SELECT version, lane, seq, body FROM ledger WHERE meter = ?1 AND from_ms = ?2"
                    " ORDER BY version DESC LIMIT 1",
                    err) != 0)
        return -1;
    query_int(&query, meter_number);
    query_int(&query, from_ms);
    int found = query_row(&query, err);
    if (found == 1) {
        size_t length = (size_t)sqlite3_column_bytes(query.statement, 3);
        const void *body = sqlite3_column_blob(query.statement, 3);
        *out = (struct before){.version = query_get_int(&query, 0),
                               .lane = query_get_int(&query, 1),
                               .seq = query_get_int(&query, 2),
                               .same = length == store->body.length && length > 0 &&
                                       memcmp(body, store->body.data, length) == 0};
        query_end(&query);
    }
    return found;
}

static int ledger_insert(struct store *store, int meter_number, const struct ledger *ledger,
                         int64_t at_ms, const struct before *before, enum lane lane, int64_t seq,
                         const int64_t last[static LANES_END], struct err *err)
{
    struct query query;
    if (query_begin(&query, store, SLOT_LEDGER_ADD,
                    "INSERT INTO ledger(meter, from_ms, version, to_ms, at_ms, lane, seq,"
                    " replaces_lane, replaces_seq, last_alert, last_live, last_backfill, body)"
                    " VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?13)",
                    err) != 0)
        return -1;
    query_int(&query, meter_number);
    query_int(&query, ledger->from_ms);
    query_int(&query, before->version + 1);
    query_int(&query, ledger->to_ms);
    query_int(&query, at_ms);
    query_int_or_null(&query, lane != 0, lane);
    query_int_or_null(&query, lane != 0, seq);
    query_int_or_null(&query, before->lane != 0, before->lane);
    query_int_or_null(&query, before->lane != 0, before->seq);
    for (int i = LANE_ALERT; i < LANES_END; i++)
        query_int(&query, last[i]);
    query_blob(&query, store->body.data, store->body.length);
    return query_run(&query, err);
}

static int lanes_read(struct store *store, int64_t last[static LANES_END], struct err *err)
{
    struct query query;
    if (outbox_flush(store, err) != 0)
        return -1;
    if (query_begin(&query, store, SLOT_LEDGER_LANES, "SELECT lane, last FROM lane", err) != 0)
        return -1;
    int more;
    while ((more = query_row(&query, err)) == 1) {
        int64_t lane = query_get_int(&query, 0);
        if (lane > 0 && lane < LANES_END)
            last[lane] = query_get_int(&query, 1);
    }
    return more;
}

int store_ledger_put(struct store *store, int meter_number, const struct ledger *ledger,
                     int64_t at_ms, enum lane lane, bool send, struct err *err)
{
    struct before before = {.version = 0};
    buf_clear(&store->body);
    ledger_encode(ledger, &store->body);
    if (store->body.failed)
        return err_set(err, "out of memory for a ledger");
    int found = before_find(store, meter_number, ledger->from_ms, &before, err);
    if (found < 0 || before.same)
        return found < 0 ? -1 : 0;
    int64_t last[LANES_END] = {0};
    int64_t seq = 0;
    lane = send ? lane : (enum lane)0;
    if (lanes_read(store, last, err) != 0 || (send && outbox_give(store, lane, &seq, err) != 0) ||
        ledger_insert(store, meter_number, ledger, at_ms, &before, lane, seq, last, err) != 0)
        return -1;
    int64_t row = sqlite3_last_insert_rowid(store->db);
    if (chain_add(store, CHAINED_LEDGER, row, err) != 0)
        return -1;
    if (send && outbox_point(store, lane, seq, MESSAGE_COMPLETENESS, row, at_ms, err) != 0)
        return -1;
    return 1;
}

// As store_ledger_get; *damaged tells a row that cannot be decoded from a query that failed.
static int ledger_get(struct store *store, int64_t row, struct stored_ledger *out, bool *damaged,
                      struct err *err)
{
    struct query query;
    int found =
        query_find(&query, store, SLOT_LEDGER_GET,
                   "SELECT meter.id, version, at_ms, lane, seq, replaces_lane, replaces_seq,"
                   " last_alert, last_live, last_backfill, body FROM ledger"
                   " JOIN meter ON number = meter WHERE ledger.id = ?1",
                   row, err);
    if (found != 1)
        return found;
    out->row = row;
    query_get_text(&query, 0, out->meter, sizeof out->meter);
    out->version = (int)query_get_int(&query, 1);
    out->at_ms = query_get_int(&query, 2);
    out->lane = (enum lane)query_get_int(&query, 3);
    out->seq = query_get_int(&query, 4);
    out->replaces_lane = (enum lane)query_get_int(&query, 5);
    out->replaces_seq = query_get_int(&query, 6);
    for (int i = LANE_ALERT; i < LANES_END; i++)
        out->lane_last[i] = query_get_int(&query, 6 + i);
    *damaged = ledger_decode(sqlite3_column_blob(query.statement, 10),
                             (size_t)sqlite3_column_bytes(query.statement, 10), &out->ledger) != 0;
    query_end(&query);
    if (*damaged)
        return err_set(err, "ledger %" PRId64 " of %s is damaged", row, out->meter);
    return 1;
}

int store_ledger_get(struct store *store, int64_t row, struct stored_ledger *out, struct err *err)
{
    struct stored_ledger ledger = {.row = 0};
    bool damaged;
    int found = ledger_get(store, row, &ledger, &damaged, err);
    if (found == 1)
        *out = ledger;
    return found;
}

// --- walking ---

struct page {
    int64_t from_ms, meter; // of the last row seen; the next one is after it
    int count;
    int64_t rows[STORE_PAGE];
};

static int page_fill(struct store *store, int meter_number, int64_t to_ms, struct page *page,
                     struct err *err)
{
    struct query query;
    if (query_begin(&query, store, SLOT_LEDGER_PAGE,
                    "SELECT id, from_ms, meter FROM ledger AS l WHERE (from_ms, meter) > (?1, ?2)"
                    " AND from_ms < ?3 AND ?4 IN (0, meter) AND version = (SELECT max(version)"
                    " FROM ledger WHERE meter = l.meter AND from_ms = l.from_ms)"
                    " ORDER BY from_ms, meter LIMIT ?5",
                    err) != 0)
        return -1;
    query_int(&query, page->from_ms);
    query_int(&query, page->meter);
    query_int(&query, to_ms);
    query_int(&query, meter_number);
    query_int(&query, STORE_PAGE);
    page->count = 0;
    int more;
    while ((more = query_row(&query, err)) == 1) {
        page->rows[page->count++] = query_get_int(&query, 0);
        page->from_ms = query_get_int(&query, 1);
        page->meter = query_get_int(&query, 2);
    }
    return more;
}

// 1 go on, 0 the visitor has enough, -1.
static int page_visit(struct store *store, const struct page *page, stored_ledger_visit *visit,
                      void *context, struct err *err)
{
    struct stored_ledger ledger;
    for (int i = 0; i < page->count; i++) {
        bool damaged = false;
        struct err why = {.text = ""};
        int found = ledger_get(store, page->rows[i], &ledger, &damaged, &why);
        if (found < 0 && damaged)
            store_row_damaged(store, "ledger", page->rows[i], &why);
        else if (found < 0)
            return err_set(err, "%s", why.text);
        else if (found == 1 && !visit(context, &ledger))
            return 0;
    }
    return 1;
}

int store_ledgers(struct store *store, const char *meter, int64_t from_ms, int64_t to_ms,
                  stored_ledger_visit *visit, void *context, struct err *err)
{
    struct page page = {.from_ms = from_ms};
    int number = 0;
    int found = meter == NULL ? 1 : store_meter_find(store, meter, &number, err);
    do {
        if (found == 1 && page_fill(store, number, to_ms, &page, err) != 0)
            return -1;
        if (found == 1)
            found = page_visit(store, &page, visit, context, err);
    } while (found == 1 && page.count == STORE_PAGE);
    return found < 0 ? -1 : 0;
}

// --- retention ---

static int ledger_remove(struct store *store, int64_t row, struct leaving *leaving, struct err *err)
{
    return leave_rows(store, leaving, SLOT_LEDGER_REMOVE,
                      "DELETE FROM ledger WHERE id = ?1 RETURNING lane, seq, from_ms, link, hash",
                      row, CHAIN_LEDGER, err);
}

// Rows of days that have no version which must still be sent; the newest day of a meter stays.
static const struct leaving_kind ledgers = {
    SLOT_LEDGER_OLD,
    "SELECT id FROM ledger AS l WHERE from_ms < ?1"
    " AND from_ms < (SELECT max(from_ms) FROM ledger WHERE meter = l.meter)"
    " AND NOT EXISTS (SELECT 1 FROM ledger AS v WHERE v.meter = l.meter"
    " AND v.from_ms = l.from_ms AND " LEAVE_STAYS(
        "v.lane", "v.seq", "?3", "?4", "?5", "?6", "?7",
        "?8") ")"
              " ORDER BY from_ms, meter, version DESC LIMIT ?2",
    ledger_remove};

int store_ledger_retain(struct store *store, int64_t before_ms, int max, struct err *err)
{
    int count = leave_old(store, &ledgers, before_ms, max, err);
    if (count > 0 && query_do(store, SLOT_OUTAGE_REMOVE, "DELETE FROM outage WHERE to_ms < ?1",
                              (const int64_t[]){before_ms}, 1, err) != 0)
        return -1;
    return count;
}
