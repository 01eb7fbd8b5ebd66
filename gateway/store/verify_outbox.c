// Verify: every seq of a lane has its message, or it is known why not; pointer and row name each
// other.
#include "store/query.h"

#include <stdlib.h>

struct range {
    int64_t first, last;
};

struct lane_check {
    struct verify *verify;
    enum lane lane;
    int64_t last, acknowledged, retained_high, retained_count;
    struct range *gaps; // in order of first
    int gap_count;
    int64_t missing; // seqs up to retained_high that neither stand in the outbox nor in a gap
};

// 1 read, 0 there is no such lane, -1.
static int lane_read(struct lane_check *check, struct err *err)
{
    struct query query;
    if (query_begin(&query, check->verify->store, SLOT_ONCE,
                    "SELECT last, acknowledged, retained_high, retained_count FROM lane"
                    " WHERE lane = ?1",
                    err) != 0)
        return -1;
    query_int(&query, check->lane);
    int found = query_row(&query, err);
    if (found == 1) {
        check->last = query_get_int(&query, 0);
        check->acknowledged = query_get_int(&query, 1);
        check->retained_high = query_get_int(&query, 2);
        check->retained_count = query_get_int(&query, 3);
        query_end(&query);
    }
    if (found == 0)
        verify_fault(check->verify, "outbox: lane %s is not there", lane_text(check->lane));
    return found;
}

static int gaps_read(struct lane_check *check, struct err *err)
{
    struct query query;
    if (query_begin(&query, check->verify->store, SLOT_ONCE,
                    "SELECT first, last FROM gap WHERE of_lane = ?1 ORDER BY first", err) != 0)
        return -1;
    query_int(&query, check->lane);
    int more;
    while ((more = query_row(&query, err)) == 1) {
        struct range *grown =
            reallocarray(check->gaps, (size_t)check->gap_count + 1, sizeof *grown);
        if (grown == NULL) {
            query_end(&query);
            return err_set(err, "out of memory");
        }
        check->gaps = grown;
        check->gaps[check->gap_count++] =
            (struct range){query_get_int(&query, 0), query_get_int(&query, 1)};
    }
    return more;
}

// [first, last] is in no gap: retention took it, or it is lost.
static void part_missing(struct lane_check *check, int64_t first, int64_t last)
{
    if (last > check->retained_high) {
        verify_fault(check->verify,
                     "outbox: lane %s has no message %lld to %lld, and no gap says why",
                     lane_text(check->lane),
                     (long long)(first > check->retained_high ? first : check->retained_high + 1),
                     (long long)last);
        last = check->retained_high;
    }
    if (first <= last)
        check->missing += last - first + 1;
}

static void hole(struct lane_check *check, int64_t first, int64_t last)
{
    for (int i = 0; i < check->gap_count && first <= last; i++) {
        const struct range *gap = &check->gaps[i];
        if (gap->last < first || gap->first > last)
            continue;
        if (gap->first > first)
            part_missing(check, first, gap->first - 1);
        first = gap->last + 1;
    }
    if (first <= last)
        part_missing(check, first, last);
}

#define WALK_AT_ONCE 256

static void message_see(struct lane_check *check, int64_t seq, int64_t *before)
{
    if (seq > check->last) {
        verify_fault(check->verify, "outbox: lane %s has message %lld, which was never given",
                     lane_text(check->lane), (long long)seq);
        return;
    }
    if (seq == *before) {
        verify_fault(check->verify, "outbox: lane %s has message %lld twice",
                     lane_text(check->lane), (long long)seq);
    }
    hole(check, *before + 1, seq - 1);
    *before = seq;
}

// Pointers and readings together, in the order of seq.
static int messages_walk(struct lane_check *check, struct err *err)
{
    struct outbox_entry entries[WALK_AT_ONCE];
    int64_t before = 0;
    int64_t after = 0;
    int count;
    do {
        count =
            store_outbox_next(check->verify->store, check->lane, after, entries, WALK_AT_ONCE, err);
        int64_t end = after;
        for (int i = 0; i < count; i++) {
            message_see(check, entries[i].seq, &before);
            after = entries[i].seq;
        }
        if (count > 0 && after <= end) { // of a damaged table: it would never end
            verify_fault(check->verify, "outbox: lane %s stands out of order",
                         lane_text(check->lane));
            return 0;
        }
    } while (count == WALK_AT_ONCE);
    if (count >= 0)
        hole(check, before + 1, check->last);
    return count < 0 ? -1 : 0;
}

static int lane_check(struct verify *verify, enum lane lane, struct err *err)
{
    struct lane_check check = {.verify = verify, .lane = lane};
    int found = lane_read(&check, err);
    if (found != 1)
        return found;
    int result = gaps_read(&check, err) != 0 || messages_walk(&check, err) != 0 ? -1 : 0;
    free(check.gaps);
    if (result == 0 && check.acknowledged > check.last) {
        verify_fault(verify, "outbox: lane %s is acknowledged beyond its last message",
                     lane_text(lane));
    }
    if (result == 0 && check.missing != check.retained_count) {
        verify_fault(verify, "outbox: lane %s misses %lld old messages, retention took %lld",
                     lane_text(lane), (long long)check.missing, (long long)check.retained_count);
    }
    return result;
}

// Each statement answers (lane, seq) of what is wrong.
static const struct {
    const char *text, *sql;
} checks[] = {
    {"its row is not there or names another message",
     "SELECT lane, seq FROM outbox WHERE kind = 1 UNION ALL " // readings have none
     "SELECT o.lane, o.seq FROM outbox AS o LEFT JOIN period AS r ON r.id = o.row"
     " AND r.lane = o.lane AND r.seq = o.seq WHERE o.kind IN (2, 3, 4) AND r.id IS NULL UNION ALL "
     "SELECT o.lane, o.seq FROM outbox AS o LEFT JOIN alert_change AS r ON r.id = o.row"
     " AND r.lane = o.lane AND r.seq = o.seq WHERE o.kind = 5 AND r.id IS NULL UNION ALL "
     "SELECT o.lane, o.seq FROM outbox AS o LEFT JOIN gap AS r ON r.id = o.row"
     " AND r.lane = o.lane AND r.seq = o.seq WHERE o.kind = 6 AND r.id IS NULL UNION ALL "
     "SELECT o.lane, o.seq FROM outbox AS o LEFT JOIN audit AS r ON r.number = o.row"
     " AND r.action = '" SEAL_ACTION "' AND r.subject = 'alert ' || o.seq"
     " WHERE o.kind = 9 AND (o.lane <> 1 OR r.number IS NULL) UNION ALL "
     "SELECT o.lane, o.seq FROM outbox AS o LEFT JOIN ledger AS r ON r.id = o.row"
     " AND r.lane = o.lane AND r.seq = o.seq WHERE o.kind = 8 AND r.id IS NULL UNION ALL "
     "SELECT o.lane, o.seq FROM outbox AS o LEFT JOIN outlook AS r ON r.id = o.row"
     " AND r.lane = o.lane AND r.seq = o.seq WHERE o.kind = 10 AND r.id IS NULL UNION ALL "
     "SELECT lane, seq FROM outbox WHERE kind NOT IN (1, 2, 3, 4, 5, 6, 8, 9, 10)"},
    {"it is no message that was ever given", "SELECT lane, seq FROM outbox WHERE seq < 1"},
    {"a row names it, but the outbox does not point back",
     "SELECT r.lane, r.seq FROM period AS r LEFT JOIN outbox AS o ON o.lane = r.lane"
     " AND o.seq = r.seq AND o.row = r.id AND o.kind IN (2, 3, 4)"
     " WHERE (r.lane IS NOT NULL OR r.seq IS NOT NULL) AND o.seq IS NULL UNION ALL "
     "SELECT r.lane, r.seq FROM alert_change AS r LEFT JOIN outbox AS o ON o.lane = r.lane"
     " AND o.seq = r.seq AND o.row = r.id AND o.kind = 5"
     " WHERE (r.lane IS NOT NULL OR r.seq IS NOT NULL) AND o.seq IS NULL UNION ALL "
     "SELECT r.lane, r.seq FROM ledger AS r LEFT JOIN outbox AS o ON o.lane = r.lane"
     " AND o.seq = r.seq AND o.row = r.id AND o.kind = 8"
     " WHERE (r.lane IS NOT NULL OR r.seq IS NOT NULL) AND o.seq IS NULL UNION ALL "
     "SELECT r.lane, r.seq FROM outlook AS r LEFT JOIN outbox AS o ON o.lane = r.lane"
     " AND o.seq = r.seq AND o.row = r.id AND o.kind = 10 WHERE o.seq IS NULL UNION ALL "
     "SELECT r.lane, r.seq FROM gap AS r LEFT JOIN outbox AS o ON o.lane = r.lane"
     " AND o.seq = r.seq AND o.row = r.id AND o.kind = 6 WHERE o.seq IS NULL"},
};

static int pointers_check(struct verify *verify, size_t index, struct err *err)
{
    struct query query;
    if (query_begin(&query, verify->store, SLOT_ONCE, checks[index].sql, err) != 0)
        return -1;
    int more;
    while ((more = query_row(&query, err)) == 1) {
        verify_fault(verify, "outbox: message %lld of lane %s: %s",
                     (long long)query_get_int(&query, 1),
                     lane_text((enum lane)query_get_int(&query, 0)), checks[index].text);
    }
    return more;
}

int verify_outbox(struct verify *verify, struct err *err)
{
    for (int lane = LANE_ALERT; lane < LANES_END; lane++)
        if (lane_check(verify, (enum lane)lane, err) != 0)
            return -1;
    for (size_t i = 0; i < sizeof checks / sizeof checks[0]; i++)
        if (pointers_check(verify, i, err) != 0)
            return -1;
    return 0;
}
