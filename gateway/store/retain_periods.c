// Retention of closed periods: all versions of one go together, and only when none of them has to
// be sent any more. The newest of each meter and span stays, however old: what follows joins on it.
#include "store/leave.h"
#include "store/query.h"

#include <stdlib.h>

struct place {
    int64_t meter, from_ms;
};

static int places_find(struct store *store, const struct leaving *leaving, enum span span,
                       int64_t before_ms, struct place *list, int max, struct err *err)
{
    struct query query;
    if (query_begin(&query, store, SLOT_PERIOD_OLD,
                    "SELECT p.meter, p.from_ms FROM meter CROSS JOIN period AS p"
                    " ON p.meter = number AND p.span = ?1 AND p.from_ms < ?2"
                    " WHERE p.version = 1 AND p.from_ms < (SELECT max(from_ms) FROM period"
                    " WHERE meter = p.meter AND span = p.span)"
                    " AND NOT EXISTS (SELECT 1 FROM period AS v WHERE v.meter = p.meter"
                    " AND v.span = p.span AND v.from_ms = p.from_ms AND v.seq > " LEAVE_KEPT(
                        "v.lane", "?4", "?5", "?6") ") LIMIT ?3",
                    err) != 0)
        return -1;
    query_int(&query, span);
    query_int(&query, before_ms);
    query_int(&query, max);
    leave_bind(&query, leaving);
    int count = 0;
    int more;
    while ((more = query_row(&query, err)) == 1)
        list[count++] = (struct place){query_get_int(&query, 0), query_get_int(&query, 1)};
    return more == 0 ? count : -1;
}

// 1 one version removed, 0 there is none (left), -1.
static int version_remove(struct store *store, enum span span, const struct place *place,
                          struct leaving *leaving, struct err *err)
{
    struct query query;
    if (query_begin(&query, store, SLOT_PERIOD_REMOVE,
                    "DELETE FROM period WHERE id = (SELECT id FROM period WHERE meter = ?1"
                    " AND span = ?2 AND from_ms = ?3 ORDER BY version DESC LIMIT 1)"
                    " RETURNING lane, seq",
                    err) != 0)
        return -1;
    query_int(&query, place->meter);
    query_int(&query, span);
    query_int(&query, place->from_ms);
    int found = query_row(&query, err);
    if (found != 1)
        return found;
    int64_t lane = query_get_int(&query, 0);
    int64_t seq = query_get_int(&query, 1);
    if (query_run(&query, err) != 0 || leave_message(store, leaving, lane, seq, err) != 0)
        return -1;
    return 1;
}

int store_period_retain(struct store *store, enum span span, int64_t before_ms, int max,
                        struct err *err)
{
    struct leaving leaving;
    if (before_ms <= 0 || max <= 0)
        return 0;
    struct place *list = calloc((size_t)max, sizeof *list);
    if (list == NULL)
        return err_set(err, "out of memory");
    int count = leave_begin(store, &leaving, err) != 0
                    ? -1
                    : places_find(store, &leaving, span, before_ms, list, max, err);
    int removed = 1;
    for (int i = 0; i < count && removed >= 0; i++)
        do
            removed = version_remove(store, span, &list[i], &leaving, err);
        while (removed == 1);
    free(list);
    if (count < 0 || removed < 0 || leave_end(store, &leaving, err) != 0)
        return -1;
    return count;
}
