// Forecasts that went out: one row for each meter and gas day. A row never changes, so its message
// reads the same for ever.
#include "store/leave.h"
#include "store/query.h"

#include <inttypes.h>

int store_outlook_put(struct store *store, int meter_number, const struct outlook *outlook,
                      int64_t at_ms, enum lane lane, struct err *err)
{
    struct query query;
    int64_t seq = 0;
    buf_clear(&store->body);
    outlook_encode(outlook, &store->body);
    if (store->body.failed)
        return err_set(err, "out of memory for a forecast");
    if (outbox_give(store, lane, &seq, err) != 0 ||
        query_begin(&query, store, SLOT_OUTLOOK_ADD,
                    "INSERT INTO outlook(meter, from_ms, at_ms, lane, seq, body)"
                    " VALUES (?1, ?2, ?3, ?4, ?5, ?6)",
                    err) != 0)
        return -1;
    query_int(&query, meter_number);
    query_int(&query, outlook->from_ms);
    query_int(&query, at_ms);
    query_int(&query, lane);
    query_int(&query, seq);
    query_blob(&query, store->body.data, store->body.length);
    if (query_run(&query, err) != 0)
        return -1;
    return outbox_point(store, lane, seq, MESSAGE_FORECAST, sqlite3_last_insert_rowid(store->db),
                        at_ms, err);
}

int store_outlook_get(struct store *store, int64_t row, struct stored_outlook *out, struct err *err)
{
    struct query query;
    struct stored_outlook stored = {.row = row};
    int found = query_find(&query, store, SLOT_OUTLOOK_GET,
                           "SELECT meter.id, at_ms, lane, seq, body FROM outlook"
                           " JOIN meter ON number = meter WHERE outlook.id = ?1",
                           row, err);
    if (found != 1)
        return found;
    query_get_text(&query, 0, stored.meter, sizeof stored.meter);
    stored.at_ms = query_get_int(&query, 1);
    stored.lane = (enum lane)query_get_int(&query, 2);
    stored.seq = query_get_int(&query, 3);
    int damaged = outlook_decode(sqlite3_column_blob(query.statement, 4),
                                 (size_t)sqlite3_column_bytes(query.statement, 4), &stored.outlook);
    query_end(&query);
    if (damaged != 0)
        return err_set(err, "forecast %" PRId64 " of %s is damaged", row, stored.meter);
    *out = stored;
    return 1;
}

int store_outlook_newest(struct store *store, int meter_number, int64_t *from_ms, struct err *err)
{
    struct query query;
    int found =
        query_find(&query, store, SLOT_OUTLOOK_NEWEST,
                   "SELECT from_ms FROM outlook WHERE meter = ?1 ORDER BY from_ms DESC LIMIT 1",
                   meter_number, err);
    if (found == 1) {
        *from_ms = query_get_int(&query, 0);
        query_end(&query);
    }
    return found;
}

// --- retention ---

struct old {
    int64_t row, lane, seq, from_ms;
};

#define OLD_MAX 200

static int old_find(struct store *store, const struct leaving *leaving, int64_t before_ms,
                    struct old list[static OLD_MAX], int max, struct err *err)
{
    struct query query;
    if (query_begin(&query, store, SLOT_OUTLOOK_OLD,
                    "SELECT id, lane, seq, from_ms FROM outlook WHERE from_ms < ?1"
                    " AND NOT " LEAVE_STAYS("lane", "seq", "?3", "?4", "?5", "?6", "?7",
                                            "?8") " ORDER BY from_ms, meter LIMIT ?2",
                    err) != 0)
        return -1;
    query_int(&query, before_ms);
    query_int(&query, max);
    leave_bind(&query, leaving);
    int count = 0;
    int more;
    while ((more = query_row(&query, err)) == 1 && count < OLD_MAX)
        list[count++] = (struct old){query_get_int(&query, 0), query_get_int(&query, 1),
                                     query_get_int(&query, 2), query_get_int(&query, 3)};
    return more == 0 ? count : -1;
}

static int remove_one(struct store *store, struct leaving *leaving, const struct old *old,
                      struct err *err)
{
    if (query_do(store, SLOT_OUTLOOK_REMOVE, "DELETE FROM outlook WHERE id = ?1",
                 (const int64_t[]){old->row}, 1, err) != 0)
        return -1;
    return leave_message(store, leaving, old->lane, old->seq, old->from_ms, err);
}

int store_outlook_retain(struct store *store, int64_t before_ms, int max, struct err *err)
{
    struct leaving leaving;
    struct old list[OLD_MAX];
    if (before_ms <= 0 || max <= 0)
        return 0;
    if (leave_begin(store, false, 0, &leaving, err) != 0)
        return -1;
    int count = old_find(store, &leaving, before_ms, list, max < OLD_MAX ? max : OLD_MAX, err);
    for (int i = 0; i < count; i++)
        if (remove_one(store, &leaving, &list[i], err) != 0)
            count = -1;
    if (count >= 0 && leave_end(store, &leaving, err) < 0)
        count = -1;
    leave_release(&leaving);
    return count;
}
