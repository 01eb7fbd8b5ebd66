// The outbox: pointers to rows by lane and seq, a cursor for what is acknowledged, and gaps.
#include "store/chain.h"

#include <inttypes.h>

const char *lane_text(enum lane lane)
{
    switch (lane) {
    case LANE_ALERT: return "alert";
    case LANE_LIVE: return "live";
    case LANE_BACKFILL: return "backfill";
    }
    return "";
}

int outbox_give(struct store *store, enum lane lane, int64_t *seq, struct err *err)
{
    struct query query;
    if (query_begin(&query, store, SLOT_LANE_NEXT,
                    "UPDATE lane SET last = last + 1 WHERE lane = ?1 RETURNING last", err) != 0)
        return -1;
    query_int(&query, lane);
    int found = query_row(&query, err);
    if (found != 1) {
        store->round_broken = true;
        return found < 0 ? -1 : err_set(err, "%s has no lane %d", store->path, (int)lane);
    }
    *seq = query_get_int(&query, 0);
    return query_run(&query, err);
}

int outbox_point(struct store *store, enum lane lane, int64_t seq, enum message_kind kind,
                 int64_t row, int64_t at_ms, struct err *err)
{
    struct query query;
    if (query_begin(&query, store, SLOT_OUTBOX_ADD,
                    "INSERT INTO outbox VALUES (?1, ?2, ?3, ?4, ?5)", err) != 0)
        return -1;
    query_int(&query, lane);
    query_int(&query, seq);
    query_int(&query, kind);
    query_int(&query, row);
    query_int(&query, at_ms);
    return query_run(&query, err);
}

int store_outbox_next(struct store *store, enum lane lane, int64_t after,
                      struct outbox_entry *entries, int max, struct err *err)
{
    struct query query;
    if (query_begin(&query, store, SLOT_OUTBOX_PAGE,
                    "SELECT seq, kind, row FROM outbox WHERE lane = ?1 AND seq > ?2 ORDER BY seq"
                    " LIMIT ?3",
                    err) != 0)
        return -1;
    query_int(&query, lane);
    query_int(&query, after);
    query_int(&query, max);
    int count = 0;
    int more;
    while ((more = query_row(&query, err)) == 1) {
        entries[count++] =
            (struct outbox_entry){.lane = lane,
                                  .seq = query_get_int(&query, 0),
                                  .kind = (enum message_kind)query_get_int(&query, 1),
                                  .row = query_get_int(&query, 2)};
    }
    return more == 0 ? count : -1;
}

int store_outbox_acknowledge(struct store *store, enum lane lane, int64_t seq, struct err *err)
{
    struct query query;
    if (query_begin(&query, store, SLOT_LANE_ACKNOWLEDGE,
                    "UPDATE lane SET acknowledged = max(acknowledged, ?2) WHERE lane = ?1"
                    " AND last >= ?2",
                    err) != 0)
        return -1;
    query_int(&query, lane);
    query_int(&query, seq);
    if (query_run(&query, err) != 0)
        return -1;
    if (sqlite3_changes(store->db) != 1) {
        return err_set(err, "message %" PRId64 " of lane %s was acknowledged but never given", seq,
                       lane_text(lane));
    }
    return 0;
}

int store_outbox_state(struct store *store, enum lane lane, struct outbox_state *out,
                       struct err *err)
{
    struct query query;
    if (query_begin(
            &query, store, SLOT_LANE_STATE,
            "SELECT last, acknowledged, confirmed, (SELECT at_ms FROM outbox WHERE lane = ?1"
            " AND seq > acknowledged ORDER BY seq LIMIT 1) FROM lane WHERE lane = ?1",
            err) != 0)
        return -1;
    query_int(&query, lane);
    int found = query_row(&query, err);
    if (found != 1)
        return found < 0 ? -1 : err_set(err, "%s has no lane %d", store->path, (int)lane);
    *out = (struct outbox_state){.last = query_get_int(&query, 0),
                                 .acknowledged = query_get_int(&query, 1),
                                 .confirmed = query_get_int(&query, 2),
                                 .oldest_at_ms = query_get_int(&query, 3)};
    query_end(&query);
    return 0;
}

static int gap_insert(struct store *store, const struct stored_gap *gap, int64_t seq,
                      struct err *err)
{
    struct query query;
    if (query_begin(
            &query, store, SLOT_GAP_ADD,
            "INSERT INTO gap(of_lane, first, last, reason, from_ms, to_ms, at_ms, lane, seq)"
            " VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9)",
            err) != 0)
        return -1;
    query_int(&query, gap->lane);
    query_int(&query, gap->first);
    query_int(&query, gap->last);
    query_text(&query, gap->reason);
    query_int(&query, gap->from_ms);
    query_int(&query, gap->to_ms);
    query_int(&query, gap->at_ms);
    query_int(&query, LANE_ALERT);
    query_int(&query, seq);
    return query_run(&query, err);
}

int store_gap_add(struct store *store, const struct stored_gap *gap, struct err *err)
{
    if (gap->first < 1 || gap->last < gap->first) {
        return err_set(err, "a gap from %" PRId64 " to %" PRId64 " names no message", gap->first,
                       gap->last);
    }
    int64_t seq = 0;
    if (outbox_give(store, LANE_ALERT, &seq, err) != 0 || gap_insert(store, gap, seq, err) != 0)
        return -1;
    int64_t row = sqlite3_last_insert_rowid(store->db);
    if (chain_add(store, CHAINED_GAP, row, err) != 0)
        return -1;
    return outbox_point(store, LANE_ALERT, seq, MESSAGE_GAP, row, gap->at_ms, err);
}

int store_gap_get(struct store *store, int64_t row, struct stored_gap *out, struct err *err)
{
    struct query query;
    if (query_begin(&query, store, SLOT_GAP_GET,
                    "SELECT seq, of_lane, first, last, reason, from_ms, to_ms, at_ms FROM gap"
                    " WHERE id = ?1",
                    err) != 0)
        return -1;
    query_int(&query, row);
    int found = query_row(&query, err);
    if (found != 1)
        return found;
    *out = (struct stored_gap){.row = row,
                               .seq = query_get_int(&query, 0),
                               .lane = (enum lane)query_get_int(&query, 1),
                               .first = query_get_int(&query, 2),
                               .last = query_get_int(&query, 3),
                               .from_ms = query_get_int(&query, 5),
                               .to_ms = query_get_int(&query, 6),
                               .at_ms = query_get_int(&query, 7)};
    query_get_text(&query, 4, out->reason, sizeof out->reason);
    query_end(&query);
    return 1;
}
