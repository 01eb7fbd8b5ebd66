// The outbox: pointers to rows by lane and seq, a cursor for what is acknowledged, and gaps.
#include "store/chain.h"
#include "store/reading_find.h"

#include <inttypes.h>

#define SEQ_MAX (INT64_C(1) << 62) // no lane has so many: there is room to count on

const char *lane_text(enum lane lane)
{
    switch (lane) {
    case LANE_ALERT: return "alert";
    case LANE_LIVE: return "live";
    case LANE_BACKFILL: return "backfill";
    }
    return "";
}

static int last_read(struct store *store, enum lane lane, int64_t *last, struct err *err)
{
    struct query query;
    int found = query_find(&query, store, SLOT_LANE_LAST, "SELECT last FROM lane WHERE lane = ?1",
                           lane, err);
    if (found != 1)
        return found < 0 ? -1 : err_set(err, "%s has no lane %d", store->path, (int)lane);
    int64_t read = query_get_int(&query, 0);
    query_end(&query);
    if (read < 0 || read > SEQ_MAX)
        return err_set(err, "%s counts %" PRId64 " messages in lane %s: it is damaged", store->path,
                       read, lane_text(lane));
    *last = read;
    return 0;
}

int outbox_give(struct store *store, enum lane lane, int64_t *seq, struct err *err)
{
    struct lane_given *given = &store->given[lane];
    if (given->last == 0 && last_read(store, lane, &given->last, err) != 0) {
        store->round_broken = true;
        return -1;
    }
    *seq = ++given->last;
    given->moved = true;
    return 0;
}

int outbox_flush(struct store *store, struct err *err)
{
    for (int lane = LANE_ALERT; lane < LANES_END; lane++) {
        struct lane_given *given = &store->given[lane];
        struct query query;
        if (!given->moved)
            continue;
        if (query_begin(&query, store, SLOT_LANE_PUT, "UPDATE lane SET last = ?2 WHERE lane = ?1",
                        err) != 0)
            return -1;
        query_int(&query, lane);
        query_int(&query, given->last);
        if (query_run(&query, err) != 0)
            return -1;
        given->moved = false;
    }
    return 0;
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

// Those that have a pointer of their own: all but readings.
static int pointers_next(struct store *store, enum lane lane, int64_t after,
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

// Both in order of seq, into the first one, which has room for all of them.
static int merge(struct outbox_entry *entries, int count, const struct outbox_entry *others,
                 int other_count, int max)
{
    int total = count + other_count;
    int one = count - 1;
    int other = other_count - 1;
    for (int place = total - 1; place >= 0;
         place--) { // from the end, so that nothing is in the way
        bool take_other = other >= 0 && (one < 0 || others[other].seq > entries[one].seq);
        entries[place] = take_other ? others[other--] : entries[one--];
    }
    return total < max ? total : max;
}

// 64 at a time: each part is asked for as many, so that the first of both are the first of all.
#define NEXT_AT_ONCE 64

int store_outbox_next(struct store *store, enum lane lane, int64_t after,
                      struct outbox_entry *entries, int max, struct err *err)
{
    int count = 0;
    bool more = true;
    bool began = store_glance_begin(store);
    while (count >= 0 && more && count < max) {
        struct outbox_entry both[2 * NEXT_AT_ONCE];
        struct outbox_entry readings[NEXT_AT_ONCE];
        int wanted = max - count < NEXT_AT_ONCE ? max - count : NEXT_AT_ONCE;
        int pointers = pointers_next(store, lane, after, both, wanted, err);
        int others =
            pointers < 0 ? -1 : readings_next(store, lane, after, readings, wanted, NULL, err);
        int found = others < 0 ? -1 : merge(both, pointers, readings, others, wanted);
        more = found == wanted;
        for (int i = 0; i < found; i++)
            entries[count + i] = both[i];
        after = found > 0 ? both[found - 1].seq : after;
        count = found < 0 ? -1 : count + found;
    }
    store_glance_end(store, began);
    return count;
}

int store_outbox_acknowledge(struct store *store, enum lane lane, int64_t seq, struct err *err)
{
    struct query query;
    if (outbox_flush(store, err) != 0)
        return -1;
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

static int lane_read(struct store *store, enum lane lane, struct outbox_state *out,
                     int64_t *pointer_seq, struct err *err)
{
    struct query query;
    if (outbox_flush(store, err) != 0)
        return -1;
    int found = query_find(&query, store, SLOT_LANE_STATE,
                           "SELECT last, acknowledged, confirmed, o.at_ms, o.seq FROM lane AS l"
                           " LEFT JOIN outbox AS o ON o.lane = l.lane AND o.seq = (SELECT min(seq)"
                           " FROM outbox WHERE lane = ?1 AND seq > acknowledged) WHERE l.lane = ?1",
                           lane, err);
    if (found != 1)
        return found < 0 ? -1 : err_set(err, "%s has no lane %d", store->path, (int)lane);
    *out = (struct outbox_state){.last = query_get_int(&query, 0),
                                 .acknowledged = query_get_int(&query, 1),
                                 .confirmed = query_get_int(&query, 2),
                                 .oldest_at_ms = query_get_int(&query, 3)};
    *pointer_seq = query_is_null(&query, 4) ? INT64_MAX : query_get_int(&query, 4);
    query_end(&query);
    return 0;
}

int store_outbox_state(struct store *store, enum lane lane, struct outbox_state *out,
                       struct err *err)
{
    struct outbox_state state = {.last = 0};
    struct outbox_entry reading = {.seq = 0};
    int64_t pointer_seq = 0;
    int64_t at_ms = 0;
    bool began = store_glance_begin(store);
    int count = lane_read(store, lane, &state, &pointer_seq, err);
    if (count == 0 && state.last > state.acknowledged)
        count = readings_next(store, lane, state.acknowledged, &reading, 1, &at_ms, err);
    store_glance_end(store, began);
    if (count < 0)
        return -1;
    if (count == 1 && reading.seq < pointer_seq)
        state.oldest_at_ms = at_ms;
    *out = state;
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

static void gap_read(struct query *query, struct stored_gap *out)
{
    *out = (struct stored_gap){.row = query_get_int(query, 0),
                               .seq = query_get_int(query, 1),
                               .lane = (enum lane)query_get_int(query, 2),
                               .first = query_get_int(query, 3),
                               .last = query_get_int(query, 4),
                               .from_ms = query_get_int(query, 6),
                               .to_ms = query_get_int(query, 7),
                               .at_ms = query_get_int(query, 8)};
    query_get_text(query, 5, out->reason, sizeof out->reason);
}

#define GAP_COLUMNS "SELECT id, seq, of_lane, first, last, reason, from_ms, to_ms, at_ms FROM gap"

int store_gap_get(struct store *store, int64_t row, struct stored_gap *out, struct err *err)
{
    struct query query;
    int found = query_find(&query, store, SLOT_GAP_GET, GAP_COLUMNS " WHERE id = ?1", row, err);
    if (found != 1)
        return found;
    gap_read(&query, out);
    query_end(&query);
    return 1;
}

int store_gaps(struct store *store, int64_t from_ms, int64_t to_ms, gap_visit *visit, void *context,
               struct err *err)
{
    struct query query;
    if (query_begin(&query, store, SLOT_GAP_LIST,
                    GAP_COLUMNS " WHERE from_ms < ?2 AND (to_ms > ?1 OR from_ms >= ?1)"
                                " ORDER BY id",
                    err) != 0)
        return -1;
    query_int(&query, from_ms);
    query_int(&query, to_ms);
    int more;
    while ((more = query_row(&query, err)) == 1) {
        struct stored_gap gap;
        gap_read(&query, &gap);
        if (!visit(context, &gap)) {
            query_end(&query);
            return 0;
        }
    }
    return more;
}
