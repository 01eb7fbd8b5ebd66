// Closed periods: every version stays, the newest counts.
#include "store/chain.h"
#include "store/period_find.h"

#include <inttypes.h>

// The version before: 0 when there is none.
struct before {
    int64_t version;
    int64_t lane, seq;
};

static int before_find(struct store *store, int meter_number, const struct period *period,
                       struct before *out, struct err *err)
{
    struct query query;
    if (query_begin(&query, store, SLOT_PERIOD_BEFORE,
                    "SELECT version, lane, seq FROM period WHERE meter = ?1 AND span = ?2"
                    " AND from_ms = ?3 ORDER BY version DESC LIMIT 1",
                    err) != 0)
        return -1;
    query_int(&query, meter_number);
    query_int(&query, period->span);
    query_int(&query, period->from_ms);
    int found = query_row(&query, err);
    if (found == 1) {
        *out = (struct before){.version = query_get_int(&query, 0),
                               .lane = query_get_int(&query, 1),
                               .seq = query_get_int(&query, 2)};
        query_end(&query);
    }
    return found < 0 ? -1 : 0;
}

static int period_insert(struct store *store, int meter_number, const struct period *period,
                         int64_t at_ms, const struct before *before, enum lane lane, int64_t seq,
                         struct err *err)
{
    struct query query;
    if (query_begin(&query, store, SLOT_PERIOD_ADD,
                    "INSERT INTO period(meter, span, from_ms, version, to_ms, at_ms, lane, seq,"
                    " replaces_lane, replaces_seq, alert_mark, body, lacks) VALUES (?1, ?2, ?3, ?4,"
                    " ?5, ?6, ?7, ?8, ?9, ?10, (SELECT coalesce(max(number), 0) FROM alert), ?11,"
                    " ?12)",
                    err) != 0)
        return -1;
    query_int(&query, meter_number);
    query_int(&query, period->span);
    query_int(&query, period->from_ms);
    query_int(&query, period->version);
    query_int(&query, period->to_ms);
    query_int(&query, at_ms);
    query_int_or_null(&query, lane != 0, lane);
    query_int_or_null(&query, lane != 0, seq);
    query_int_or_null(&query, before->lane != 0, before->lane);
    query_int_or_null(&query, before->lane != 0, before->seq);
    query_blob(&query, store->body.data, store->body.length);
    query_int(&query,
              period_lacks(period) && (period->span == SPAN_HOUR || period->span == SPAN_DAY));
    return query_run(&query, err);
}

// Where the newest period of the meter and span begins: readers and retention would look for it
// through all that began since.
static int newest_put(struct store *store, int meter_number, const struct period *period,
                      struct err *err)
{
    struct query query;
    if (query_begin(&query, store, SLOT_PERIOD_NEWEST,
                    "INSERT INTO period_newest VALUES (?1, ?2, ?3) ON CONFLICT DO UPDATE"
                    " SET from_ms = excluded.from_ms WHERE excluded.from_ms > from_ms",
                    err) != 0)
        return -1;
    query_int(&query, period->span);
    query_int(&query, meter_number);
    query_int(&query, period->from_ms);
    return query_run(&query, err);
}

int store_period_add(struct store *store, int meter_number, const struct period *period,
                     int64_t at_ms, enum lane lane, enum message_kind message, struct err *err)
{
    struct before before = {.version = 0};
    if (before_find(store, meter_number, period, &before, err) != 0)
        return -1;
    if (period->version != before.version + 1) {
        return err_set(err, "a period has version %d, but version %" PRId64 " is stored",
                       period->version, before.version);
    }
    buf_clear(&store->body);
    period_encode(period, &store->body);
    if (store->body.failed)
        return err_set(err, "out of memory for a period");
    enum lane sent = message == 0 ? (enum lane)0 : lane;
    int64_t seq = 0;
    if ((sent != 0 && outbox_give(store, sent, &seq, err) != 0) ||
        period_insert(store, meter_number, period, at_ms, &before, sent, seq, err) != 0)
        return -1;
    int64_t row = sqlite3_last_insert_rowid(store->db);
    if (chain_add(store, CHAINED_PERIOD, row, err) != 0 ||
        newest_put(store, meter_number, period, err) != 0)
        return -1;
    return sent == 0 ? 0 : outbox_point(store, sent, seq, message, row, at_ms, err);
}

static int alerts_find(struct store *store, struct stored_period *period, int64_t mark,
                       struct err *err)
{
    struct query query;
    if (query_begin(&query, store, SLOT_PERIOD_ALERTS,
                    "SELECT id FROM alert WHERE of_link = 0 AND subject = ?1 AND since_ms < ?2"
                    " AND (closed_ms IS NULL OR closed_ms > ?3) AND number <= ?4"
                    " ORDER BY number LIMIT ?5",
                    err) != 0)
        return -1;
    query_text(&query, period->meter);
    query_int(&query, period->period.to_ms);
    query_int(&query, period->period.from_ms);
    query_int(&query, mark);
    query_int(&query, PERIOD_ALERTS_MAX);
    int more;
    period->alert_count = 0;
    while ((more = query_row(&query, err)) == 1)
        query_get_text(&query, 0, period->alerts[period->alert_count++], UUID_SIZE);
    return more;
}

// As store_period_get; *damaged tells a row that cannot be decoded from a query that failed.
static int period_get(struct store *store, int64_t row, struct stored_period *out, bool *damaged,
                      struct err *err)
{
    struct query query;
    int found =
        query_find(&query, store, SLOT_PERIOD_GET,
                   "SELECT meter.id, at_ms, lane, seq, replaces_lane, replaces_seq, alert_mark,"
                   " body FROM period JOIN meter ON number = meter WHERE period.id = ?1",
                   row, err);
    if (found != 1)
        return found;
    out->row = row;
    query_get_text(&query, 0, out->meter, sizeof out->meter);
    out->at_ms = query_get_int(&query, 1);
    out->lane = (enum lane)query_get_int(&query, 2);
    out->seq = query_get_int(&query, 3);
    out->replaces_lane = (enum lane)query_get_int(&query, 4);
    out->replaces_seq = query_get_int(&query, 5);
    int64_t mark = query_get_int(&query, 6);
    *damaged = period_decode(sqlite3_column_blob(query.statement, 7),
                             (size_t)sqlite3_column_bytes(query.statement, 7), &out->period) != 0;
    query_end(&query);
    if (*damaged)
        return err_set(err, "period %" PRId64 " of %s is damaged", row, out->meter);
    return alerts_find(store, out, mark, err) == 0 ? 1 : -1;
}

int store_period_get(struct store *store, int64_t row, struct stored_period *out, struct err *err)
{
    struct stored_period period;
    bool damaged;
    int found = period_get(store, row, &period, &damaged, err);
    if (found == 1)
        *out = period;
    return found;
}

int store_period_last(struct store *store, int meter_number, enum span span, struct period *out,
                      struct err *err)
{
    struct query query;
    if (query_begin(&query, store, SLOT_PERIOD_LAST,
                    "SELECT id FROM period WHERE meter = ?1 AND span = ?2 AND from_ms ="
                    " (SELECT from_ms FROM period_newest WHERE meter = ?1 AND span = ?2)"
                    " ORDER BY version DESC LIMIT 1",
                    err) != 0)
        return -1;
    query_int(&query, meter_number);
    query_int(&query, span);
    int found = query_row(&query, err);
    if (found != 1)
        return found;
    int64_t row = query_get_int(&query, 0);
    query_end(&query);
    struct stored_period period;
    found = store_period_get(store, row, &period, err);
    if (found == 1)
        *out = period.period;
    return found;
}

int store_periods_lacking(struct store *store, int meter_number, enum span span, int64_t from_ms,
                          int64_t *starts, int max, struct err *err)
{
    struct query query;
    if (query_begin(&query, store, SLOT_PERIOD_LACKING,
                    "SELECT from_ms FROM period AS p WHERE lacks = 1 AND meter = ?1 AND span = ?2"
                    " AND from_ms >= ?3 AND" PERIOD_NEWEST " ORDER BY from_ms LIMIT ?4",
                    err) != 0)
        return -1;
    query_int(&query, meter_number);
    query_int(&query, span);
    query_int(&query, from_ms);
    query_int(&query, max);
    int count = 0;
    int more;
    while ((more = query_row(&query, err)) == 1)
        starts[count++] = query_get_int(&query, 0);
    return more == 0 ? count : -1;
}

struct page {
    int64_t from_ms, meter, span; // of the last row seen; the next one is after it
    int64_t to_ms;
    bool last;
    int count;
    int64_t rows[STORE_PAGE];
};

// Of one meter and span, from start to start.
static const char page_of_meter[] = PERIOD_STARTS(
    "?5", "?1", "?6") " SELECT p.id, p.from_ms, p.meter, p.span FROM start CROSS JOIN period AS p"
                      " WHERE p.span = ?5 AND p.from_ms = start_ms AND p.meter = ?4"
                      " AND (start_ms, ?4, ?5) > (?1, ?2, ?3) AND start_ms < ?6"
                      " AND" PERIOD_NEWEST " LIMIT ?7";

// Of all meters or spans: those of each span are in order, and SQLite merges them.
#define PAGE_OF_SPAN(span)                                                                         \
    "SELECT id, from_ms, meter, span FROM period AS p WHERE span = " span                          \
    " AND (from_ms, meter, " span ") > (?1, ?2, ?3) AND from_ms >= ?1 AND from_ms < ?6"            \
    " AND ?4 IN (0, meter) AND ?5 IN (0, " span ") AND" PERIOD_NEWEST
static const char
    page_of_time[] = PAGE_OF_SPAN("1") " UNION ALL " PAGE_OF_SPAN("2") " UNION ALL " PAGE_OF_SPAN("3") " UNION ALL " PAGE_OF_SPAN(
        "4") " UNION ALL " PAGE_OF_SPAN("5") " UNION ALL " PAGE_OF_SPAN("6") " UNION "
                                                                             "ALL " PAGE_OF_SPAN(
                                                                                 "7") " ORDER BY "
                                                                                      "from_ms, "
                                                                                      "meter, span "
                                                                                      "LIMIT ?7";

static int page_begin(struct query *query, struct store *store, int meter_number, enum span span,
                      const struct page *page, struct err *err)
{
    bool of_meter = meter_number != 0 && span != 0;
    if (query_begin(query, store, of_meter ? SLOT_PERIOD_PAGE_METER : SLOT_PERIOD_PAGE_TIME,
                    of_meter ? page_of_meter : page_of_time, err) != 0)
        return -1;
    query_int(query, page->from_ms);
    query_int(query, page->meter);
    query_int(query, page->span);
    query_int(query, meter_number);
    query_int(query, span);
    query_int(query, page->to_ms);
    query_int(query, STORE_PAGE);
    return 0;
}

static int page_fill(struct store *store, int meter_number, enum span span, struct page *page,
                     struct err *err)
{
    struct query query;
    if (page_begin(&query, store, meter_number, span, page, err) != 0)
        return -1;
    page->count = 0;
    int more;
    while ((more = query_row(&query, err)) == 1) {
        page->rows[page->count++] = query_get_int(&query, 0);
        page->from_ms = query_get_int(&query, 1);
        page->meter = query_get_int(&query, 2);
        page->span = query_get_int(&query, 3);
    }
    page->last = page->count < STORE_PAGE;
    return more;
}

// 1 go on, 0 the visitor has enough, -1.
static int page_visit(struct store *store, const struct page *page, stored_period_visit *visit,
                      void *context, struct err *err)
{
    struct stored_period period;
    for (int i = 0; i < page->count; i++) {
        bool damaged = false;
        struct err why = {.text = ""};
        int found = period_get(store, page->rows[i], &period, &damaged, &why);
        if (found < 0 && damaged)
            store_row_damaged(store, "period", page->rows[i], &why);
        else if (found < 0)
            return err_set(err, "%s", why.text);
        else if (found == 1 && !visit(context, &period))
            return 0;
    }
    return 1;
}

int store_periods(struct store *store, const char *meter, enum span span, int64_t from_ms,
                  int64_t to_ms, stored_period_visit *visit, void *context, struct err *err)
{
    struct page page = {.from_ms = from_ms, .to_ms = to_ms};
    int number = 0;
    int found = meter == NULL ? 1 : store_meter_find(store, meter, &number, err);
    while (found == 1 && !page.last) {
        found = page_fill(store, number, span, &page, err) != 0
                    ? -1
                    : page_visit(store, &page, visit, context, err);
    }
    return found < 0 ? -1 : 0;
}
