// Retention of closed periods: all versions of one go together. The newest of each meter and span
// stays, however old: what follows joins on it.
#include "store/chain.h"
#include "store/leave.h"

#include <stdlib.h>

struct place {
    int64_t meter, from_ms;
};

// What one step is about.
struct step {
    enum span span;
    enum span longer; // only what such a period covers; 0: whatever is old
    int64_t before_ms;
    int max;
};

#define STAYS                                                                                      \
    "EXISTS (SELECT 1 FROM period AS v WHERE v.meter = p.meter AND v.span = p.span"                \
    " AND v.from_ms = p.from_ms AND " LEAVE_STAYS("v.lane", "v.seq", "?4", "?5", "?6", "?7", "?8", \
                                                  "?9") ")"
#define OLD                                                                                        \
    "SELECT p.meter, p.from_ms FROM period AS p WHERE p.span = ?1 AND p.from_ms < ?2"              \
    " AND p.version = 1 AND p.from_ms < (SELECT from_ms FROM period_newest WHERE span = ?1"        \
    " AND meter = p.meter) AND NOT " STAYS

// By age, and to make room: the oldest first, of all meters; to make room only as far as a longer
// period has what they say.
static const char by_age[] = OLD " ORDER BY p.from_ms LIMIT ?3";
static const char by_room[] =
    OLD " AND (SELECT to_ms FROM period WHERE span = ?10 AND meter = p.meter AND from_ms <="
        " p.from_ms AND from_ms > p.from_ms - ?11 ORDER BY from_ms DESC LIMIT 1) > p.from_ms"
        " ORDER BY p.from_ms LIMIT ?3";

// No period of the span is as long.
static int64_t longest_ms(enum span span)
{
    const int64_t hour_ms = 3600000;
    return span == SPAN_MONTH ? 32 * 24 * hour_ms : span == SPAN_DAY ? 26 * hour_ms : 2 * hour_ms;
}

static int places_find(struct store *store, const struct leaving *leaving, const struct step *step,
                       struct place *list, struct err *err)
{
    struct query query;
    bool room = step->longer != 0;
    if (query_begin(&query, store, room ? SLOT_PERIOD_ROOM : SLOT_PERIOD_OLD,
                    room ? by_room : by_age, err) != 0)
        return -1;
    query_int(&query, step->span);
    query_int(&query, step->before_ms);
    query_int(&query, step->max);
    leave_bind(&query, leaving);
    if (room) {
        query_int(&query, step->longer);
        query_int(&query, longest_ms(step->longer));
    }
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
                    " RETURNING lane, seq, link, hash",
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
    if (chain_leave_row(&query, (int)span, 2, err) != 0) {
        query_end(&query);
        return -1;
    }
    if (query_run(&query, err) != 0 ||
        leave_message(store, leaving, lane, seq, place->from_ms, err) != 0)
        return -1;
    return 1;
}

// How many periods went, -1.
static int step_do(struct store *store, const struct step *step, struct leaving *leaving,
                   struct err *err)
{
    struct place *list = calloc((size_t)step->max, sizeof *list);
    if (list == NULL)
        return err_set(err, "out of memory");
    int count = places_find(store, leaving, step, list, err);
    int removed = 1;
    for (int i = 0; i < count && removed >= 0; i++)
        do
            removed = version_remove(store, step->span, &list[i], leaving, err);
        while (removed == 1);
    free(list);
    return removed < 0 ? -1 : count;
}

int store_period_retain(struct store *store, enum span span, int64_t before_ms, int max,
                        struct err *err)
{
    const struct step step = {.span = span, .before_ms = before_ms, .max = max};
    struct leaving leaving;
    if (before_ms <= 0 || max <= 0)
        return 0;
    if (leave_begin(store, false, 0, &leaving, err) != 0)
        return -1;
    int count = step_do(store, &step, &leaving, err);
    if (count >= 0 && leave_end(store, &leaving, err) < 0)
        count = -1;
    leave_release(&leaving);
    return count;
}

int store_period_shed(struct store *store, enum span span, enum span longer,
                      struct store_shed *shed, struct err *err)
{
    const struct step step = {span, longer, shed->before_ms, shed->max};
    struct leaving leaving;
    if (shed->max <= 0)
        return 0;
    if (leave_begin(store, shed->unsent, shed->now_ms, &leaving, err) != 0)
        return -1;
    int count = step_do(store, &step, &leaving, err);
    int named = count < 0 ? -1 : leave_end(store, &leaving, err);
    leave_release(&leaving);
    if (named < 0)
        return -1;
    shed->messages += named;
    return count;
}
