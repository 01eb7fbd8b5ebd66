// Alerts: one row for the life of each, one row that never changes for every change of it.
#include "store/chain.h"

#include <string.h>

struct life {
    int64_t number;
    char id[UUID_SIZE];
};

static int life_find(struct store *store, const struct alert_change *change, struct life *out,
                     struct err *err)
{
    struct query query;
    if (query_begin(&query, store, SLOT_ALERT_FIND,
                    "SELECT number, id FROM alert WHERE of_link = ?1 AND subject = ?2 AND kind = ?3"
                    " AND closed_ms IS NULL",
                    err) != 0)
        return -1;
    query_int(&query, change->of_link);
    query_text(&query, change->subject);
    query_int(&query, change->kind);
    int found = query_row(&query, err);
    if (found == 1) {
        out->number = query_get_int(&query, 0);
        query_get_text(&query, 1, out->id, sizeof out->id);
        query_end(&query);
    }
    return found;
}

static int life_open(struct store *store, const struct alert_change *change, struct life *out,
                     struct err *err)
{
    struct query query;
    if (query_begin(&query, store, SLOT_ALERT_OPEN,
                    "INSERT INTO alert(id, of_link, subject, kind, since_ms, last_change)"
                    " VALUES (?1, ?2, ?3, ?4, ?5, 0)",
                    err) != 0)
        return -1;
    uuid_make(out->id);
    query_text(&query, out->id);
    query_int(&query, change->of_link);
    query_text(&query, change->subject);
    query_int(&query, change->kind);
    query_int(&query, change->since_ms);
    if (query_run(&query, err) != 0)
        return -1;
    out->number = sqlite3_last_insert_rowid(store->db);
    return 0;
}

static int change_insert(struct store *store, const struct alert_change *change, int64_t number,
                         int64_t seq, int64_t *row, struct err *err)
{
    const struct evidence *evidence = &change->evidence;
    struct query query;
    if (query_begin(&query, store, SLOT_ALERT_CHANGE,
                    "INSERT INTO alert_change(alert, severity, state, at_ms, reason, observed,"
                    " expected_low, expected_high, unit, rule, from_ms, to_ms, why, lane, seq)"
                    " VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?13, ?14, ?15)",
                    err) != 0)
        return -1;
    query_int(&query, number);
    query_int(&query, change->severity);
    query_int(&query, change->state);
    query_int(&query, change->at_ms);
    query_text(&query, change->reason);
    query_real(&query, evidence->observed);
    query_real(&query, evidence->expected_low);
    query_real(&query, evidence->expected_high);
    query_text(&query, evidence->unit);
    query_text(&query, evidence->rule);
    query_int(&query, evidence->from_ms);
    query_int(&query, evidence->to_ms);
    query_int(&query, evidence->why);
    query_int_or_null(&query, seq != 0, LANE_ALERT);
    query_int_or_null(&query, seq != 0, seq);
    if (query_run(&query, err) != 0)
        return -1;
    *row = sqlite3_last_insert_rowid(store->db);
    return 0;
}

static int life_touch(struct store *store, const struct alert_change *change, int64_t number,
                      int64_t row, struct err *err)
{
    struct query query;
    if (query_begin(&query, store, SLOT_ALERT_TOUCH,
                    "UPDATE alert SET last_change = ?2, closed_ms = ?3 WHERE number = ?1",
                    err) != 0)
        return -1;
    query_int(&query, number);
    query_int(&query, row);
    query_int_or_null(&query, change->state == ALERT_CLOSED, change->at_ms);
    return query_run(&query, err);
}

int store_alert_add(struct store *store, const struct alert_change *change, bool send,
                    char id[static UUID_SIZE], struct err *err)
{
    struct life life;
    int found = life_find(store, change, &life, err);
    if (found < 0)
        return -1;
    bool opens = change->state == ALERT_OPEN;
    if (opens == (found == 1)) {
        return err_set(err, "alert %s of %s is %s", alert_kind_text(change->kind), change->subject,
                       opens ? "open already" : "not open");
    }
    int64_t seq = 0;
    int64_t row;
    if ((opens && life_open(store, change, &life, err) != 0) ||
        (send && outbox_give(store, LANE_ALERT, &seq, err) != 0) ||
        change_insert(store, change, life.number, seq, &row, err) != 0 ||
        chain_add(store, CHAINED_CHANGE, row, err) != 0 ||
        life_touch(store, change, life.number, row, err) != 0 ||
        (send && outbox_point(store, LANE_ALERT, seq, MESSAGE_ALERT, row, change->at_ms, err) != 0))
        return -1;
    memcpy(id, life.id, UUID_SIZE);
    return 0;
}

int store_alert_get(struct store *store, int64_t row, struct stored_alert *out, struct err *err)
{
    struct query query;
    int found =
        query_find(&query, store, SLOT_ALERT_GET,
                   "SELECT a.id, lane, seq, kind, severity, state, of_link, subject, at_ms,"
                   " since_ms, reason, observed, expected_low, expected_high, unit, rule, from_ms,"
                   " to_ms, why FROM alert_change AS c JOIN alert AS a ON a.number = c.alert"
                   " WHERE c.id = ?1",
                   row, err);
    if (found != 1)
        return found;
    *out = (struct stored_alert){.row = row};
    struct alert_change *change = &out->change;
    struct evidence *evidence = &change->evidence;
    query_get_text(&query, 0, out->id, sizeof out->id);
    out->lane = (enum lane)query_get_int(&query, 1);
    out->seq = query_get_int(&query, 2);
    change->kind = (enum alert_kind)query_get_int(&query, 3);
    change->severity = (enum alert_severity)query_get_int(&query, 4);
    change->state = (enum alert_state)query_get_int(&query, 5);
    change->of_link = query_get_int(&query, 6) != 0;
    query_get_text(&query, 7, change->subject, sizeof change->subject);
    change->at_ms = query_get_int(&query, 8);
    change->since_ms = query_get_int(&query, 9);
    query_get_text(&query, 10, change->reason, sizeof change->reason);
    evidence->observed = query_get_real(&query, 11);
    evidence->expected_low = query_get_real(&query, 12);
    evidence->expected_high = query_get_real(&query, 13);
    query_get_text(&query, 14, evidence->unit, sizeof evidence->unit);
    query_get_text(&query, 15, evidence->rule, sizeof evidence->rule);
    evidence->from_ms = query_get_int(&query, 16);
    evidence->to_ms = query_get_int(&query, 17);
    evidence->why = (uint16_t)query_get_int(&query, 18);
    query_end(&query);
    return 1;
}

struct page {
    int64_t at_ms, row; // of the last change seen; the next one is after it
    int64_t to_ms;
    int64_t alert; // of open alerts: number of the last one seen
    bool last;
    int count;
    int64_t rows[STORE_PAGE];
};

static int page_fill(struct store *store, const char *subject, struct page *page, struct err *err)
{
    struct query query;
    if (query_begin(&query, store, SLOT_ALERT_PAGE,
                    "SELECT c.id, at_ms FROM alert_change AS c JOIN alert AS a ON a.number ="
                    " c.alert WHERE (at_ms, c.id) > (?1, ?2) AND at_ms < ?3"
                    " AND (?4 IS NULL OR subject = ?4) ORDER BY at_ms, c.id LIMIT ?5",
                    err) != 0)
        return -1;
    query_int(&query, page->at_ms);
    query_int(&query, page->row);
    query_int(&query, page->to_ms);
    query_text(&query, subject); // NULL binds NULL
    query_int(&query, STORE_PAGE);
    page->count = 0;
    int more;
    while ((more = query_row(&query, err)) == 1) {
        page->row = query_get_int(&query, 0);
        page->at_ms = query_get_int(&query, 1);
        page->rows[page->count++] = page->row;
    }
    page->last = page->count < STORE_PAGE;
    return more;
}

static int page_fill_open(struct store *store, struct page *page, struct err *err)
{
    struct query query;
    if (query_begin(&query, store, SLOT_ALERT_PAGE_OPEN,
                    "SELECT number, last_change FROM alert INDEXED BY alert_open WHERE closed_ms "
                    "IS NULL AND number > ?1"
                    " ORDER BY number LIMIT ?2",
                    err) != 0)
        return -1;
    query_int(&query, page->alert);
    query_int(&query, STORE_PAGE);
    page->count = 0;
    int more;
    while ((more = query_row(&query, err)) == 1) {
        page->alert = query_get_int(&query, 0);
        page->rows[page->count++] = query_get_int(&query, 1);
    }
    page->last = page->count < STORE_PAGE;
    return more;
}

// 1 go on, 0 the visitor has enough, -1.
static int page_visit(struct store *store, const struct page *page, stored_alert_visit *visit,
                      void *context, struct err *err)
{
    struct stored_alert alert;
    for (int i = 0; i < page->count; i++) {
        int found = store_alert_get(store, page->rows[i], &alert, err);
        if (found < 0)
            return -1;
        if (found == 1 && !visit(context, &alert))
            return 0;
    }
    return 1;
}

int store_alerts_open(struct store *store, stored_alert_visit *visit, void *context,
                      struct err *err)
{
    struct page page = {.alert = 0};
    int found = 1;
    while (found == 1 && !page.last) {
        found = page_fill_open(store, &page, err) != 0
                    ? -1
                    : page_visit(store, &page, visit, context, err);
    }
    return found < 0 ? -1 : 0;
}

int store_alerts(struct store *store, const char *subject, int64_t from_ms, int64_t to_ms,
                 stored_alert_visit *visit, void *context, struct err *err)
{
    struct page page = {.at_ms = from_ms, .to_ms = to_ms};
    int found = 1;
    while (found == 1 && !page.last) {
        found = page_fill(store, subject, &page, err) != 0
                    ? -1
                    : page_visit(store, &page, visit, context, err);
    }
    return found < 0 ? -1 : 0;
}
