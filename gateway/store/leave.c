#include "store/leave.h"

#include "store/query.h"

int leave_begin(struct store *store, struct leaving *leaving, struct err *err)
{
    *leaving = (struct leaving){.kept = {0}};
    for (enum lane lane = LANE_ALERT; lane < LANES_END; lane++)
        if (store_lane_kept(store, lane, &leaving->kept[lane], err) != 0)
            return -1;
    return 0;
}

void leave_bind(struct query *query, const struct leaving *leaving)
{
    for (enum lane lane = LANE_ALERT; lane < LANES_END; lane++)
        query_int(query, leaving->kept[lane]);
}

bool leave_may(const struct leaving *leaving, int64_t lane, int64_t seq)
{
    if (lane < LANE_ALERT || lane >= LANES_END)
        return lane == 0; // a row of a lane that there is not is damage: it stays for verify
    return seq <= leaving->kept[lane];
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

int leave_message(struct store *store, struct leaving *leaving, int64_t lane, int64_t seq,
                  struct err *err)
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
    leaving->counted[lane] += named == 0;
    leaving->high[lane] = seq > leaving->high[lane] ? seq : leaving->high[lane];
    return 0;
}

// The lane keeps count of what left it and stands in no gap, so that verify can tell it from a
// loss.
int leave_end(struct store *store, const struct leaving *leaving, struct err *err)
{
    for (int lane = LANE_ALERT; lane < LANES_END; lane++) {
        struct query query;
        if (leaving->high[lane] == 0)
            continue;
        if (query_begin(&query, store, SLOT_LANE_LEAVE,
                        "UPDATE lane SET retained_high = max(retained_high, ?2),"
                        " retained_count = retained_count + ?3 WHERE lane = ?1",
                        err) != 0)
            return -1;
        query_int(&query, lane);
        query_int(&query, leaving->high[lane]);
        query_int(&query, leaving->counted[lane]);
        if (query_run(&query, err) != 0)
            return -1;
    }
    return 0;
}
