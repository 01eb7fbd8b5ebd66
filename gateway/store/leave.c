#include "store/leave.h"

#include "store/chain.h"

#include <stdlib.h>
#include <string.h>

int leave_begin(struct store *store, bool unsent, int64_t now_ms, struct leaving *leaving,
                struct err *err)
{
    *leaving = (struct leaving){.unsent = unsent, .now_ms = now_ms};
    for (enum lane lane = LANE_ALERT; lane < LANES_END; lane++) {
        struct outbox_state state;
        if (store_lane_kept(store, lane, &leaving->kept[lane], err) != 0 ||
            store_outbox_state(store, lane, &state, err) != 0)
            return -1;
        leaving->flying[lane] = unsent ? state.acknowledged + LEAVE_FLYING_MAX : INT64_MAX;
    }
    return 0;
}

void leave_release(struct leaving *leaving)
{
    free(leaving->lost);
    leaving->lost = NULL;
}

bool leave_may(const struct leaving *leaving, int64_t lane, int64_t seq)
{
    if (lane < LANE_ALERT || lane >= LANES_END)
        return lane == 0; // a row of a lane that there is not is damage: it stays for verify
    return seq <= leaving->kept[lane] || seq > leaving->flying[lane];
}

void leave_bind(struct query *query, const struct leaving *leaving)
{
    for (enum lane lane = LANE_ALERT; lane < LANES_END; lane++)
        query_int(query, leaving->kept[lane]);
    for (enum lane lane = LANE_ALERT; lane < LANES_END; lane++)
        query_int(query, leaving->flying[lane]);
}

static int is_in_gap(struct store *store, int64_t lane, int64_t seq, struct err *err)
{
    struct query query;
    if (query_begin(&query, store, SLOT_GAP_COVERS,
                    "SELECT 1 FROM gap WHERE of_lane = ?1 AND ?2 BETWEEN first AND last LIMIT 1",
                    err) != 0)
        return -1;
    query_int(&query, lane);
    query_int(&query, seq);
    int found = query_row(&query, err);
    if (found == 1)
        query_end(&query);
    return found;
}

static int lost_add(struct leaving *leaving, int64_t lane, int64_t seq, int64_t at_ms,
                    struct err *err)
{
    if (leaving->lost_count == leaving->lost_room) {
        int room = leaving->lost_room > 0 ? 2 * leaving->lost_room : 256;
        struct lost *grown = reallocarray(leaving->lost, (size_t)room, sizeof *grown);
        if (grown == NULL)
            return err_set(err, "out of memory");
        leaving->lost = grown;
        leaving->lost_room = room;
    }
    leaving->lost[leaving->lost_count++] = (struct lost){(enum lane)lane, seq, at_ms};
    return 0;
}

int leave_message(struct store *store, struct leaving *leaving, int64_t lane, int64_t seq,
                  int64_t at_ms, struct err *err)
{
    if (lane == 0)
        return 0;
    struct query query;
    if (query_begin(&query, store, SLOT_OUTBOX_LEAVE,
                    "DELETE FROM outbox WHERE lane = ?1 AND seq = ?2", err) != 0)
        return -1;
    query_int(&query, lane);
    query_int(&query, seq);
    int named = query_run(&query, err) != 0 ? -1 : is_in_gap(store, lane, seq, err);
    if (named < 0)
        return -1;
    if (named == 0 && seq > leaving->kept[lane])
        return lost_add(leaving, lane, seq, at_ms, err);
    leaving->counted[lane] += named == 0;
    leaving->high[lane] = seq > leaving->high[lane] ? seq : leaving->high[lane];
    return 0;
}

// The lane keeps count of what left it and stands in no gap, so that verify can tell it from a
// loss.
static int count_lane(struct store *store, const struct leaving *leaving, int lane, struct err *err)
{
    struct query query;
    if (leaving->high[lane] == 0)
        return 0;
    if (query_begin(&query, store, SLOT_LANE_LEAVE,
                    "UPDATE lane SET retained_high = max(retained_high, ?2),"
                    " retained_count = retained_count + ?3 WHERE lane = ?1",
                    err) != 0)
        return -1;
    query_int(&query, lane);
    query_int(&query, leaving->high[lane]);
    query_int(&query, leaving->counted[lane]);
    return query_run(&query, err);
}

static int compare_lost(const void *a, const void *b)
{
    const struct lost *left = a;
    const struct lost *right = b;
    if (left->lane != right->lane)
        return left->lane < right->lane ? -1 : 1;
    return (left->seq > right->seq) - (left->seq < right->seq);
}

static int name_lost(struct store *store, struct leaving *leaving, struct err *err)
{
    if (leaving->lost_count > 0)
        qsort(leaving->lost, (size_t)leaving->lost_count, sizeof leaving->lost[0], compare_lost);
    for (int i = 0; i < leaving->lost_count;) {
        const struct lost *first = &leaving->lost[i];
        struct stored_gap gap = {.lane = first->lane,
                                 .first = first->seq,
                                 .last = first->seq,
                                 .reason = LEAVE_REASON,
                                 .from_ms = first->at_ms,
                                 .to_ms = first->at_ms,
                                 .at_ms = leaving->now_ms};
        for (i++; i < leaving->lost_count && leaving->lost[i].lane == gap.lane &&
                  leaving->lost[i].seq == gap.last + 1;
             i++) {
            int64_t at = leaving->lost[i].at_ms;
            gap.last++;
            gap.from_ms = at < gap.from_ms ? at : gap.from_ms;
            gap.to_ms = at > gap.to_ms ? at : gap.to_ms;
        }
        if (store_gap_add(store, &gap, err) != 0)
            return -1;
    }
    return leaving->lost_count;
}

int leave_end(struct store *store, struct leaving *leaving, struct err *err)
{
    for (int lane = LANE_ALERT; lane < LANES_END; lane++)
        if (count_lane(store, leaving, lane, err) != 0)
            return -1;
    return chain_left(store, err) != 0 ? -1 : name_lost(store, leaving, err);
}

int leave_rows(struct store *store, struct leaving *leaving, enum slot slot, const char *sql,
               int64_t key, int chain, struct err *err)
{
    struct query query;
    if (query_begin(&query, store, slot, sql, err) != 0)
        return -1;
    query_int(&query, key);
    int more;
    while ((more = query_row(&query, err)) == 1) {
        if (leave_message(store, leaving, query_get_int(&query, 0), query_get_int(&query, 1),
                          query_get_int(&query, 2), err) != 0 ||
            chain_leave_row(&query, chain, 3, err) != 0) {
            query_end(&query);
            return -1;
        }
    }
    return more;
}

// --- a step ---

static int numbers_find(struct store *store, const struct leaving *leaving,
                        const struct leaving_kind *kind, int64_t before_ms, int64_t *list, int max,
                        struct err *err)
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

static int step_do(struct store *store, const struct leaving_kind *kind,
                   const struct store_shed *shed, struct leaving *leaving, struct err *err)
{
    int64_t *list = calloc((size_t)shed->max, sizeof *list);
    if (list == NULL)
        return err_set(err, "out of memory");
    int count = numbers_find(store, leaving, kind, shed->before_ms, list, shed->max, err);
    int result = count;
    for (int i = 0; i < count && result >= 0; i++)
        if (kind->remove(store, list[i], leaving, err) != 0)
            result = -1;
    free(list);
    return result;
}

int leave_shed(struct store *store, const struct leaving_kind *kind, struct store_shed *shed,
               struct err *err)
{
    struct leaving leaving;
    if (shed->max <= 0)
        return 0;
    if (leave_begin(store, shed->unsent, shed->now_ms, &leaving, err) != 0)
        return -1;
    int count = step_do(store, kind, shed, &leaving, err);
    int named = count < 0 ? -1 : leave_end(store, &leaving, err);
    leave_release(&leaving);
    if (named < 0)
        return -1;
    shed->messages += named;
    return count;
}

int leave_old(struct store *store, const struct leaving_kind *kind, int64_t before_ms, int max,
              struct err *err)
{
    struct store_shed kept = {.unsent = false, .before_ms = before_ms, .max = max};
    return before_ms <= 0 ? 0 : leave_shed(store, kind, &kept, err);
}
