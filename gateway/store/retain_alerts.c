// Retention of alerts and gaps. An alert goes with all of its changes, when it has been closed for
// long and the office has all of them. A gap that goes leaves its count with its lane. The newest
// of both stays, so that no number comes twice.
#include "store/chain.h"
#include "store/leave.h"
#include "store/reading_find.h"

// --- alerts ---

static int alert_remove(struct store *store, int64_t number, struct leaving *leaving,
                        struct err *err)
{
    if (leave_rows(store, leaving, SLOT_ALERT_CHANGES_REMOVE,
                   "DELETE FROM alert_change WHERE alert = ?1"
                   " RETURNING lane, seq, at_ms, link, hash",
                   number, CHAIN_ALERT, err) != 0)
        return -1;
    return query_do(store, SLOT_ALERT_REMOVE, "DELETE FROM alert WHERE number = ?1",
                    (const int64_t[]){number}, 1, err);
}

static const struct leaving_kind alerts = {
    SLOT_ALERT_OLD,
    "SELECT number FROM alert WHERE closed_ms < ?1 AND number < (SELECT max(number) FROM alert)"
    " AND NOT EXISTS (SELECT 1 FROM alert_change AS c WHERE c.alert = number AND " LEAVE_STAYS(
        "lane", "seq", "?3", "?4", "?5", "?6", "?7", "?8") ") ORDER BY number LIMIT ?2",
    alert_remove};

int store_alert_retain(struct store *store, int64_t before_ms, int max, struct err *err)
{
    return leave_old(store, &alerts, before_ms, max, err);
}

int store_alert_shed(struct store *store, struct store_shed *shed, struct err *err)
{
    return leave_shed(store, &alerts, shed, err);
}

// --- gaps ---

// Readings of a lane with seq in [first, last] that are still there.
static int64_t readings_count(struct store *store, enum lane lane, int64_t first, int64_t last,
                              struct err *err)
{
    struct outbox_entry entries[64];
    int64_t total = 0;
    int64_t after = first - 1;
    int count;
    do {
        count = readings_next(store, lane, after, entries, 64, NULL, err);
        for (int i = 0; i < count && entries[i].seq <= last; i++)
            total++;
        after = count > 0 ? entries[count - 1].seq : last;
    } while (count == 64 && after < last);
    return count < 0 ? -1 : total;
}

// Messages that only this gap explains: those that are not in the outbox.
static int gap_count(struct store *store, int64_t row, struct leaving *leaving, struct err *err)
{
    struct query query;
    int found =
        query_find(&query, store, SLOT_GAP_COUNT,
                   "SELECT of_lane, first, last, last - first + 1 - (SELECT count(*) FROM outbox"
                   " WHERE lane = of_lane AND seq BETWEEN first AND last) FROM gap WHERE id = ?1",
                   row, err);
    if (found != 1)
        return found;
    int64_t lane = query_get_int(&query, 0);
    int64_t first = query_get_int(&query, 1);
    int64_t last = query_get_int(&query, 2);
    int64_t count = query_get_int(&query, 3);
    query_end(&query);
    if (lane < LANE_ALERT || lane >= LANES_END)
        return 0;
    int64_t readings = readings_count(store, (enum lane)lane, first, last, err);
    if (readings < 0)
        return -1;
    leaving->counted[lane] += count - readings;
    leaving->high[lane] = last > leaving->high[lane] ? last : leaving->high[lane];
    return 0;
}

static int gap_remove(struct store *store, int64_t row, struct leaving *leaving, struct err *err)
{
    if (gap_count(store, row, leaving, err) != 0)
        return -1;
    return leave_rows(store, leaving, SLOT_GAP_REMOVE,
                      "DELETE FROM gap WHERE id = ?1 RETURNING lane, seq, at_ms, link, hash", row,
                      CHAIN_GAP, err);
}

// Gaps that overlap stay, both of them: what each explains alone could not be told.
static const struct leaving_kind gaps = {
    SLOT_GAP_OLD,
    "SELECT id FROM gap AS g WHERE at_ms < ?1 AND NOT " LEAVE_STAYS(
        "lane", "seq", "?3", "?4", "?5", "?6", "?7",
        "?8") " AND id < (SELECT max(id) FROM gap) AND NOT EXISTS (SELECT 1 FROM gap AS o"
              " WHERE o.of_lane = g.of_lane AND o.id <> g.id AND o.first <= g.last"
              " AND o.last >= g.first) ORDER BY id LIMIT ?2",
    gap_remove};

int store_gap_retain(struct store *store, int64_t before_ms, int max, struct err *err)
{
    return leave_old(store, &gaps, before_ms, max, err);
}
