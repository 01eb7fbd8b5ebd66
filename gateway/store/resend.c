// Messages that head office asked for again: each request is a range of one lane and how far it
// has come, so that a restart goes on where it was. And the naming of what cannot come any more.
#include "store/query.h"

#include <inttypes.h>

int store_resend_add(struct store *store, struct stored_resend *resend, struct err *err)
{
    struct query query;
    int64_t open = 0;
    if (store_ask(store, "SELECT count(*) FROM resend WHERE state = 0", &open, err) != 0)
        return -1;
    if (open >= STORE_RESENDS_OPEN_MAX) {
        return err_set(err, "%d requests to send again wait already: cancel one, or wait",
                       STORE_RESENDS_OPEN_MAX);
    }
    if (query_begin(&query, store, SLOT_RESEND_ADD,
                    "INSERT INTO resend(lane, first, last, from_ms, to_ms, next, sent, expired,"
                    " state, who, at_ms) VALUES (?1, ?2, ?3, ?4, ?5, ?2, 0, 0, 0, ?6, ?7)",
                    err) != 0)
        return -1;
    query_int(&query, resend->lane);
    query_int(&query, resend->first);
    query_int(&query, resend->last);
    query_int(&query, resend->from_ms);
    query_int(&query, resend->to_ms);
    query_text(&query, resend->who);
    query_int(&query, resend->at_ms);
    if (query_run(&query, err) != 0)
        return -1;
    resend->id = sqlite3_last_insert_rowid(store->db);
    if (query_begin(&query, store, SLOT_RESEND_FORGET,
                    "DELETE FROM resend WHERE state <> 0 AND id <= ?1", err) != 0)
        return -1;
    query_int(&query, resend->id - STORE_RESENDS_MAX);
    return query_run(&query, err);
}

#define COLUMNS "id, lane, first, last, from_ms, to_ms, next, sent, expired, state, who, at_ms"

static void row_read(const struct query *query, struct stored_resend *out)
{
    *out = (struct stored_resend){.id = query_get_int(query, 0),
                                  .lane = (enum lane)query_get_int(query, 1),
                                  .first = query_get_int(query, 2),
                                  .last = query_get_int(query, 3),
                                  .from_ms = query_get_int(query, 4),
                                  .to_ms = query_get_int(query, 5),
                                  .next = query_get_int(query, 6),
                                  .sent = query_get_int(query, 7),
                                  .expired = query_get_int(query, 8),
                                  .state = (enum resend_state)query_get_int(query, 9),
                                  .at_ms = query_get_int(query, 11)};
    query_get_text(query, 10, out->who, sizeof out->who);
}

static int one_read(struct query *query, struct stored_resend *out, struct err *err)
{
    int found = query_row(query, err);
    if (found == 1) {
        row_read(query, out);
        query_end(query);
    }
    return found;
}

int store_resend_get(struct store *store, int64_t id, struct stored_resend *out, struct err *err)
{
    struct query query;
    if (query_begin(&query, store, SLOT_RESEND_GET, "SELECT " COLUMNS " FROM resend WHERE id = ?1",
                    err) != 0)
        return -1;
    query_int(&query, id);
    return one_read(&query, out, err);
}

int store_resend_open(struct store *store, struct stored_resend *out, struct err *err)
{
    struct query query;
    if (query_begin(&query, store, SLOT_RESEND_OPEN,
                    "SELECT " COLUMNS " FROM resend WHERE state = 0 ORDER BY id LIMIT 1", err) != 0)
        return -1;
    return one_read(&query, out, err);
}

int store_resends(struct store *store, struct stored_resend *list, int max, struct err *err)
{
    struct query query;
    if (query_begin(&query, store, SLOT_RESEND_PAGE,
                    "SELECT " COLUMNS " FROM resend ORDER BY id DESC LIMIT ?1", err) != 0)
        return -1;
    query_int(&query, max);
    int count = 0;
    int more;
    while ((more = query_row(&query, err)) == 1)
        row_read(&query, &list[count++]);
    return more == 0 ? count : -1;
}

int store_resend_move(struct store *store, const struct stored_resend *resend, struct err *err)
{
    return query_do(
        store, SLOT_RESEND_MOVE,
        "UPDATE resend SET next = ?2, sent = ?3, expired = ?4,"
        " state = CASE state WHEN 0 THEN ?5 ELSE state END WHERE id = ?1",
        (const int64_t[]){resend->id, resend->next, resend->sent, resend->expired, resend->state},
        5, err);
}

int store_resend_cancel(struct store *store, int64_t id, struct err *err)
{
    struct query query;
    if (query_begin(&query, store, SLOT_RESEND_CANCEL,
                    "UPDATE resend SET state = 2 WHERE id = ?1 AND state = 0", err) != 0)
        return -1;
    query_int(&query, id);
    if (query_run(&query, err) != 0)
        return -1;
    return sqlite3_changes(store->db);
}

// --- what is gone ---

// The first gap of the lane that names something in [first, last]. 1, 0, -1.
static int gap_find(struct store *store, enum lane lane, int64_t first, int64_t last,
                    int64_t found[static 2], struct err *err)
{
    struct query query;
    if (query_begin(&query, store, SLOT_GAP_WITHIN,
                    "SELECT first, last FROM gap WHERE of_lane = ?1 AND first <= ?3 AND last >= ?2"
                    " ORDER BY first LIMIT 1",
                    err) != 0)
        return -1;
    query_int(&query, lane);
    query_int(&query, first);
    query_int(&query, last);
    int more = query_row(&query, err);
    if (more != 1)
        return more;
    found[0] = query_get_int(&query, 0);
    found[1] = query_get_int(&query, 1);
    query_end(&query);
    return 1;
}

// The lane counts what retention took and no gap names: what is named now is counted no more.
static int name_one(struct store *store, const struct stored_gap *gap, int64_t *named,
                    struct err *err)
{
    struct query query;
    if (store_gap_add(store, gap, err) != 0 ||
        query_begin(&query, store, SLOT_LANE_NAMED,
                    "UPDATE lane SET retained_count = retained_count"
                    " - max(0, min(?3, retained_high) - ?2 + 1) WHERE lane = ?1",
                    err) != 0)
        return -1;
    query_int(&query, gap->lane);
    query_int(&query, gap->first);
    query_int(&query, gap->last);
    *named += gap->last - gap->first + 1;
    return query_run(&query, err);
}

int store_gap_expired(struct store *store, const struct stored_gap *gap, int64_t *named,
                      struct err *err)
{
    struct stored_gap part = *gap;
    int64_t at = gap->first;
    // Nothing in the store tells of anything before its first meter.
    if (gap->from_ms == 0 && store_meters_since(store, &part.from_ms, err) != 0)
        return -1;
    part.from_ms = part.from_ms < gap->to_ms ? part.from_ms : gap->to_ms;
    while (at <= gap->last) {
        int64_t known[2] = {0, 0};
        int found = gap_find(store, gap->lane, at, gap->last, known, err);
        if (found < 0)
            return -1;
        part.first = at;
        part.last = found == 1 ? known[0] - 1 : gap->last;
        if (part.first <= part.last && name_one(store, &part, named, err) != 0)
            return -1;
        at = found == 1 ? known[1] + 1 : gap->last + 1;
    }
    return 0;
}
