// Retention of alerts and gaps. An alert goes with all of its changes, when it has been closed for
// long and the office has all of them. A gap that goes leaves its count with its lane. The newest
// of both stays, so that no number comes twice.
#include "store/chain.h"
#include "store/leave.h"
#include "store/reading_find.h"

#include <stdlib.h>

struct kind {
    enum slot slot;
    const char *sql; // ?1: before, ?2: how many, ?3 to ?8: leave_bind
    int (*remove)(struct store *store, int64_t number, struct leaving *leaving, struct err *err);
};

static int numbers_find(struct store *store, const struct leaving *leaving, const struct kind *kind,
                        int64_t before_ms, int64_t *list, int max, struct err *err)
{
    struct query query;
    if (query_begin(&query, store, kind->slot, kind->sql, err) != 0)
        return -1;
    query_int(&query, before_ms);
    query_int(&query, max);
    leave_bind(&query, leaving);
    int count = 0;
    int more;
    while ((more = query_row(&query, err)) == 1)
        list[count++] = query_get_int(&query, 0);
    return more == 0 ? count : -1;
}

// How many went, -1.
static int step_do(struct store *store, const struct kind *kind, int64_t before_ms, int max,
                   struct leaving *leaving, struct err *err)
{
    int64_t *list = calloc((size_t)max, sizeof *list);
    if (list == NULL)
        return err_set(err, "out of memory");
    int count = numbers_find(store, leaving, kind, before_ms, list, max, err);
    int result = count;
    for (int i = 0; i < count && result >= 0; i++)
        if (kind->remove(store, list[i], leaving, err) != 0)
            result = -1;
    free(list);
    return result;
}

static int retain(struct store *store, const struct kind *kind, int64_t before_ms, int max,
                  struct err *err)
{
    struct leaving leaving;
    if (before_ms <= 0 || max <= 0)
        return 0;
    if (leave_begin(store, false, 0, &leaving, err) != 0)
        return -1;
    int count = step_do(store, kind, before_ms, max, &leaving, err);
    if (count >= 0 && leave_end(store, &leaving, err) < 0)
        count = -1;
    leave_release(&leaving);
    return count;
}

// --- alerts ---

static int alert_remove(struct store *store, int64_t number, struct leaving *leaving,
                        struct err *err)
{
    struct query query;
    if (query_begin(&query, store, SLOT_ALERT_CHANGES_REMOVE,
                    "DELETE FROM alert_change WHERE alert = ?1"
                    " RETURNING lane, seq, at_ms, link, hash",
                    err) != 0)
        return -1;
    query_int(&query, number);
    int more;
    while ((more = query_row(&query, err)) == 1) {
        if (leave_message(store, leaving, query_get_int(&query, 0), query_get_int(&query, 1),
                          query_get_int(&query, 2), err) != 0 ||
            chain_leave_row(&query, CHAIN_ALERT, 3, err) != 0) {
            query_end(&query);
            return -1;
        }
    }
    if (more < 0 || query_begin(&query, store, SLOT_ALERT_REMOVE,
                                "DELETE FROM alert WHERE number = ?1", err) != 0)
        return -1;
    query_int(&query, number);
    return query_run(&query, err);
}

static const struct kind alerts = {
    SLOT_ALERT_OLD,
    "SELECT number FROM alert WHERE closed_ms < ?1 AND number < (SELECT max(number) FROM alert)"
    " AND NOT EXISTS (SELECT 1 FROM alert_change AS c WHERE c.alert = number AND " LEAVE_STAYS(
        "lane", "seq", "?3", "?4", "?5", "?6", "?7", "?8") ") ORDER BY number LIMIT ?2",
    alert_remove};

int store_alert_retain(struct store *store, int64_t before_ms, int max, struct err *err)
{
    return retain(store, &alerts, before_ms, max, err);
}

int store_alert_shed(struct store *store, struct store_shed *shed, struct err *err)
{
    struct leaving leaving;
    if (shed->max <= 0)
        return 0;
    if (leave_begin(store, shed->unsent, shed->now_ms, &leaving, err) != 0)
        return -1;
    int count = step_do(store, &alerts, shed->before_ms, shed->max, &leaving, err);
    int named = count < 0 ? -1 : leave_end(store, &leaving, err);
    leave_release(&leaving);
    if (named < 0)
        return -1;
    shed->messages += named;
    return count;
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
    if (query_begin(&query, store, SLOT_GAP_COUNT,
                    "SELECT of_lane, first, last, last - first + 1 - (SELECT count(*) FROM outbox"
                    " WHERE lane = of_lane AND seq BETWEEN first AND last) FROM gap WHERE id = ?1",
                    err) != 0)
        return -1;
    query_int(&query, row);
    int found = query_row(&query, err);
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
    struct query query;
    if (gap_count(store, row, leaving, err) != 0 ||
        query_begin(&query, store, SLOT_GAP_REMOVE,
                    "DELETE FROM gap WHERE id = ?1 RETURNING lane, seq, at_ms, link, hash",
                    err) != 0)
        return -1;
    query_int(&query, row);
    int found = query_row(&query, err);
    if (found != 1)
        return found;
    int64_t lane = query_get_int(&query, 0);
    int64_t seq = query_get_int(&query, 1);
    int64_t at_ms = query_get_int(&query, 2);
    if (chain_leave_row(&query, CHAIN_GAP, 3, err) != 0) {
        query_end(&query);
        return -1;
    }
    return query_run(&query, err) != 0 ? -1 : leave_message(store, leaving, lane, seq, at_ms, err);
}

// Gaps that overlap stay, both of them: what each explains alone could not be told.
static const struct kind gaps = {
    SLOT_GAP_OLD,
    "SELECT id FROM gap AS g WHERE at_ms < ?1 AND NOT " LEAVE_STAYS(
        "lane", "seq", "?3", "?4", "?5", "?6", "?7",
        "?8") " AND id < (SELECT max(id) FROM gap) AND NOT EXISTS (SELECT 1 FROM gap AS o"
              " WHERE o.of_lane = g.of_lane AND o.id <> g.id AND o.first <= g.last"
              " AND o.last >= g.first) ORDER BY id LIMIT ?2",
    gap_remove};

int store_gap_retain(struct store *store, int64_t before_ms, int max, struct err *err)
{
    return retain(store, &gaps, before_ms, max, err);
}
