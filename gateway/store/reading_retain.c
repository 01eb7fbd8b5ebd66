// Retention: raw readings that are old and need not be sent any more, and those that make room.
#include "store/leave.h"

#include <stdlib.h>

struct old {
    int64_t row, lane, seq;
};

static int old_find(struct store *store, const struct leaving *leaving, int64_t before_ms,
                    struct old *list, int max, struct err *err)
{
    struct query query;
    if (query_begin(
            &query, store, SLOT_RETAIN_PAGE,
            "SELECT id, lane, seq FROM reading WHERE id < ?1 AND (seq IS NULL OR NOT " LEAVE_STAYS(
                "lane", "seq", "?3", "?4", "?5", "?6", "?7", "?8") ")"
                                                                   " ORDER BY id LIMIT ?2",
            err) != 0)
        return -1;
    query_int(&query, reading_id(before_ms, 0));
    query_int(&query, max);
    leave_bind(&query, leaving);
    int count = 0;
    int more;
    while ((more = query_row(&query, err)) == 1) {
        list[count++] = (struct old){query_get_int(&query, 0), query_get_int(&query, 1),
                                     query_get_int(&query, 2)};
    }
    return more == 0 ? count : -1;
}

static int reading_remove(struct store *store, const struct old *old, struct leaving *leaving,
                          struct err *err)
{
    struct query query;
    if (leave_message(store, leaving, old->lane, old->seq, old->row >> 16, err) != 0 ||
        query_begin(&query, store, SLOT_RETAIN_REMOVE, "DELETE FROM reading WHERE id = ?1", err) !=
            0)
        return -1;
    query_int(&query, old->row);
    return query_run(&query, err);
}

// How many went, -1; messages that were never acknowledged are added to *named.
static int readings_remove(struct store *store, struct leaving *leaving, int64_t before_ms, int max,
                           int64_t *named, struct err *err)
{
    struct old *list = calloc((size_t)max, sizeof *list);
    if (list == NULL)
        return err_set(err, "out of memory");
    before_ms = before_ms < READING_AT_MAX ? before_ms : READING_AT_MAX;
    int count = old_find(store, leaving, before_ms, list, max, err);
    int result = count;
    for (int i = 0; i < count && result >= 0; i++)
        if (reading_remove(store, &list[i], leaving, err) != 0)
            result = -1;
    free(list);
    int lost = result < 0 ? -1 : leave_end(store, leaving, err);
    if (lost < 0)
        return -1;
    *named += lost;
    return result;
}

int store_reading_retain(struct store *store, int64_t before_ms, int max, struct err *err)
{
    struct store_shed shed = {.before_ms = before_ms, .max = max};
    return store_reading_shed(store, &shed, err);
}

int store_reading_shed(struct store *store, struct store_shed *shed, struct err *err)
{
    struct leaving leaving;
    if (shed->before_ms <= 0 || shed->max <= 0)
        return 0;
    if (leave_begin(store, shed->unsent, shed->now_ms, &leaving, err) != 0)
        return -1;
    int count = readings_remove(store, &leaving, shed->before_ms, shed->max, &shed->messages, err);
    leave_release(&leaving);
    return count;
}
