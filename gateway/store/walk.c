// What a report reads: very many rows, and little of each.
#include "store/walk.h"

#include "store/query.h"

#define DAY_MS INT64_C(86400000)
#define STEP_HOURS_MS DAY_MS       // of hours: 24 rows for each meter in one transaction
#define STEP_LONG_MS (31 * DAY_MS) // of gas days and months

static int walk_begin(struct query *query, struct store *store, int meter_number, enum span span,
                      int64_t from_ms, int64_t to_ms, struct err *err)
{
    if (query_begin(query, store, meter_number != 0 ? SLOT_PERIOD_WALK_METER : SLOT_PERIOD_WALK,
                    meter_number != 0
                        ? "SELECT id, meter, from_ms, body FROM period INDEXED BY period_of_span"
                          " WHERE span = ?1 AND from_ms >= ?2 AND from_ms < ?3 AND meter = ?4"
                          " ORDER BY from_ms, meter, version"
                        : "SELECT id, meter, from_ms, body FROM period INDEXED BY period_of_span"
                          " WHERE span = ?1 AND from_ms >= ?2 AND from_ms < ?3"
                          " ORDER BY from_ms, meter, version",
                    err) != 0)
        return -1;
    query_int(query, span);
    query_int(query, from_ms);
    query_int(query, to_ms);
    if (meter_number != 0)
        query_int(query, meter_number);
    return 0;
}

struct newest {
    int64_t row, meter, from_ms; // row 0: none yet
    bool readable;
    struct period period;
};

static void newest_take(struct newest *newest, struct store *store, const struct query *query)
{
    struct err why = {.text = "its bytes are damaged"};
    newest->row = query_get_int(query, 0);
    newest->meter = query_get_int(query, 1);
    newest->from_ms = query_get_int(query, 2);
    newest->readable =
        period_decode(sqlite3_column_blob(query->statement, 3),
                      (size_t)sqlite3_column_bytes(query->statement, 3), &newest->period) == 0;
    if (!newest->readable)
        store_row_damaged(store, "period", newest->row, &why);
}

// 1 go on, 0 the visitor has enough, -1.
static int walk_step(struct store *store, int meter_number, enum span span, int64_t from_ms,
                     int64_t to_ms, store_walk_visit *visit, void *context, struct err *err)
{
    struct query query;
    struct newest newest = {.row = 0};
    if (walk_begin(&query, store, meter_number, span, from_ms, to_ms, err) != 0)
        return -1;
    int more;
    while ((more = query_row(&query, err)) == 1) {
        bool other = newest.row != 0 && (newest.meter != query_get_int(&query, 1) ||
                                         newest.from_ms != query_get_int(&query, 2));
        if (other && newest.readable && !visit(context, (int)newest.meter, &newest.period)) {
            query_end(&query);
            return 0;
        }
        newest_take(&newest, store, &query);
    }
    if (more < 0)
        return -1;
    return newest.row == 0 || !newest.readable || visit(context, (int)newest.meter, &newest.period);
}

int store_walk_periods(struct store *store, int meter_number, enum span span, int64_t from_ms,
                       int64_t to_ms, store_walk_visit *visit, void *context, struct err *err)
{
    int64_t step_ms = span >= SPAN_DAY ? STEP_LONG_MS : STEP_HOURS_MS;
    int more = 1;
    for (int64_t at_ms = from_ms; at_ms < to_ms && more == 1; at_ms += step_ms) {
        int64_t end_ms = at_ms + step_ms < to_ms ? at_ms + step_ms : to_ms;
        more = walk_step(store, meter_number, span, at_ms, end_ms, visit, context, err);
    }
    return more < 0 ? -1 : 0;
}

int store_walk_alerts(struct store *store, const char *meter, int64_t from_ms, int64_t to_ms,
                      store_walk_alert *visit, void *context, struct err *err)
{
    struct query query;
    if (query_begin(&query, store, SLOT_ALERT_WALK,
                    "SELECT id, subject, kind, since_ms, closed_ms, (SELECT max(severity) FROM"
                    " alert_change WHERE alert = number) FROM alert WHERE of_link = 0"
                    " AND since_ms < ?2 AND (closed_ms IS NULL OR closed_ms > ?1)"
                    " AND (?3 IS NULL OR subject = ?3) ORDER BY since_ms, number",
                    err) != 0)
        return -1;
    query_int(&query, from_ms);
    query_int(&query, to_ms);
    query_text(&query, meter);
    int more;
    while ((more = query_row(&query, err)) == 1) {
        struct walked_alert alert = {.kind = (enum alert_kind)query_get_int(&query, 2),
                                     .since_ms = query_get_int(&query, 3),
                                     .closed = !query_is_null(&query, 4),
                                     .closed_ms = query_get_int(&query, 4),
                                     .severity = (enum alert_severity)query_get_int(&query, 5)};
        query_get_text(&query, 0, alert.id, sizeof alert.id);
        query_get_text(&query, 1, alert.meter, sizeof alert.meter);
        if (!visit(context, &alert)) {
            query_end(&query);
            return 0;
        }
    }
    return more;
}

int store_walk_revision(struct store *store, struct buf *text, int64_t *at_ms, struct err *err)
{
    struct query query;
    if (query_begin(&query, store, SLOT_ONCE,
                    "SELECT text, at_ms FROM revision ORDER BY number DESC LIMIT 1", err) != 0)
        return -1;
    int found = query_row(&query, err);
    if (found != 1)
        return found;
    buf_clear(text);
    buf_add(text, sqlite3_column_text(query.statement, 0),
            (size_t)sqlite3_column_bytes(query.statement, 0));
    *at_ms = query_get_int(&query, 1);
    query_end(&query);
    return text->failed ? err_set(err, "out of memory for the configuration") : 1;
}
