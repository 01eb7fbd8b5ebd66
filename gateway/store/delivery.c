// What becomes of a message after the broker has taken it: how far head office says that its own
// database has it, what may therefore go, and what can still be sent again.
#include "store/query.h"

#include <inttypes.h>
#include <string.h>

// The word of the configuration's office.acknowledge that is in force.
#define POLICY_SETTING "acknowledge"
#define POLICY_OFFICE "office"
#define POLICY_PUBACK "puback"

int store_outbox_confirm(struct store *store, enum lane lane, int64_t seq, struct err *err)
{
    struct query query;
    if (outbox_flush(store, err) != 0)
        return -1;
    if (query_begin(&query, store, SLOT_LANE_CONFIRM,
                    "UPDATE lane SET confirmed = max(confirmed, ?2) WHERE lane = ?1 AND last >= ?2",
                    err) != 0)
        return -1;
    query_int(&query, lane);
    query_int(&query, seq);
    if (query_run(&query, err) != 0)
        return -1;
    if (sqlite3_changes(store->db) != 1)
        return err_set(err, "message %" PRId64 " of lane %s was never given", seq, lane_text(lane));
    return 0;
}

int store_keep_unconfirmed(struct store *store, bool keep, struct err *err)
{
    return store_setting_put(store, POLICY_SETTING, keep ? POLICY_OFFICE : POLICY_PUBACK, err);
}

int store_lane_kept(struct store *store, enum lane lane, int64_t *seq, struct err *err)
{
    struct query query;
    int found =
        query_find(&query, store, SLOT_LANE_KEPT,
                   "SELECT CASE (SELECT value FROM setting WHERE key = '" POLICY_SETTING "')"
                   " WHEN '" POLICY_OFFICE "' THEN min(acknowledged, confirmed)"
                   " ELSE acknowledged END FROM lane WHERE lane = ?1",
                   lane, err);
    if (found != 1)
        return found < 0 ? -1 : err_set(err, "%s has no lane %d", store->path, (int)lane);
    *seq = query_get_int(&query, 0);
    query_end(&query);
    return 0;
}

int store_outbox_range(struct store *store, enum lane lane, int64_t first, int64_t last,
                       struct outbox_entry *entries, int max, struct err *err)
{
    int count = first < 1 || last < first
                    ? 0
                    : store_outbox_next(store, lane, first - 1, entries, max, err);
    while (count > 0 && entries[count - 1].seq > last)
        count--;
    return count;
}
