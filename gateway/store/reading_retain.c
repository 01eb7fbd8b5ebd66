// Retention: raw readings that are old and need not be sent any more.
#include "store/query.h"

#include <stdlib.h>

struct old {
    int64_t row, lane, seq;
};

static int old_find(struct store *store, int64_t before_ms, struct old *list, int max,
                    struct err *err)
{
    struct query query;
    if (query_begin(&query, store, SLOT_RETAIN_PAGE,
                    "SELECT id, r.lane, seq FROM reading AS r LEFT JOIN lane ON lane.lane = r.lane"
                    " WHERE id < ?1 AND (seq IS NULL OR seq <= acknowledged) ORDER BY id LIMIT ?2",
                    err) != 0)
        return -1;
    query_int(&query, reading_id(before_ms, 0));
    query_int(&query, max);
    int count = 0;
    int more;
    while ((more = query_row(&query, err)) == 1) {
        list[count++] = (struct old){query_get_int(&query, 0), query_get_int(&query, 1),
                                     query_get_int(&query, 2)};
    }
    return more == 0 ? count : -1;
}

// The lane keeps count of what left it and stands in no gap, so that verify can tell it from a
// loss.
static int message_remove(struct store *store, const struct old *old, struct err *err)
{
    struct query query;
    if (query_begin(&query, store, SLOT_OUTBOX_REMOVE,
                    "DELETE FROM outbox WHERE lane = ?1 AND seq = ?2", err) != 0)
        return -1;
    query_int(&query, old->lane);
    query_int(&query, old->seq);
    if (query_run(&query, err) != 0 ||
        query_begin(&query, store, SLOT_LANE_RETAIN,
                    "UPDATE lane SET retained_high = max(retained_high, ?2),"
                    " retained_count = retained_count + NOT EXISTS (SELECT 1 FROM gap"
                    " WHERE of_lane = ?1 AND ?2 BETWEEN first AND last) WHERE lane = ?1",
                    err) != 0)
        return -1;
    query_int(&query, old->lane);
    query_int(&query, old->seq);
    return query_run(&query, err);
}

static int reading_remove(struct store *store, const struct old *old, struct err *err)
{
    if (old->seq != 0 && message_remove(store, old, err) != 0)
        return -1;
    struct query query;
    if (query_begin(&query, store, SLOT_RETAIN_REMOVE, "DELETE FROM reading WHERE id = ?1", err) !=
        0)
        return -1;
    query_int(&query, old->row);
    return query_run(&query, err);
}

int store_reading_retain(struct store *store, int64_t before_ms, int max, struct err *err)
{
    if (before_ms <= 0 || max <= 0)
        return 0;
    struct old *list = calloc((size_t)max, sizeof *list);
    if (list == NULL)
        return err_set(err, "out of memory");
    int count =
        old_find(store, before_ms < READING_AT_MAX ? before_ms : READING_AT_MAX, list, max, err);
    int result = count;
    for (int i = 0; i < count && result >= 0; i++)
        if (reading_remove(store, &list[i], err) != 0)
            result = -1;
    free(list);
    return result;
}
