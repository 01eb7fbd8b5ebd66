// Retention of readings, and making room: whole segments, when all that is in them may go.
#include "store/leave.h"
#include "store/reading_find.h"
#include "store/segment.h"

// The oldest kept segment before an instant of which no message has to stay. 1 found, 0 none, -1.
static int old_find(struct store *store, const struct leaving *leaving, int64_t before_ms,
                    int64_t *segment, int64_t *count, struct err *err)
{
    struct query query;
    // The seqs of a lane in it are a range: part of it may stay where only its ends may go.
    if (query_begin(&query, store, SLOT_SEGMENT_OLD,
                    "SELECT first, count FROM segment WHERE kept = 1 AND to_ms < ?1 AND NOT EXISTS"
                    " (SELECT 1 FROM segment_lane AS s WHERE s.segment = segment.first AND"
                    " s.last > CASE s.lane WHEN 1 THEN ?2 WHEN 2 THEN ?3 ELSE ?4 END AND"
                    " s.first <= CASE s.lane WHEN 1 THEN ?5 WHEN 2 THEN ?6 ELSE ?7 END)"
                    " ORDER BY to_ms LIMIT 1",
                    err) != 0)
        return -1;
    query_int(&query, before_ms);
    leave_bind(&query, leaving);
    int found = query_row(&query, err);
    if (found == 1) {
        *segment = query_get_int(&query, 0);
        *count = query_get_int(&query, 1);
        query_end(&query);
    }
    return found;
}

// --- its messages ---

struct messages {
    int64_t first, last, count;
};

static int lanes_read(struct store *store, int64_t segment,
                      struct messages messages[static LANES_END], struct err *err)
{
    struct query query;
    if (query_begin(&query, store, SLOT_SEGMENT_LANES,
                    "SELECT lane, first, last, count FROM segment_lane WHERE segment = ?1"
                    " AND lane BETWEEN 1 AND 3",
                    err) != 0)
        return -1;
    query_int(&query, segment);
    int more;
    while ((more = query_row(&query, err)) == 1) {
        messages[query_get_int(&query, 0)] = (struct messages){
            query_get_int(&query, 1), query_get_int(&query, 2), query_get_int(&query, 3)};
    }
    return more;
}

static int gaps_touch(struct store *store, int lane, const struct messages *messages,
                      struct err *err)
{
    struct query query;
    if (query_begin(&query, store, SLOT_GAP_TOUCHES,
                    "SELECT 1 FROM gap WHERE of_lane = ?1 AND first <= ?3 AND last >= ?2 LIMIT 1",
                    err) != 0)
        return -1;
    query_int(&query, lane);
    query_int(&query, messages->first);
    query_int(&query, messages->last);
    int found = query_row(&query, err);
    if (found == 1)
        query_end(&query);
    return found;
}

static int one_by_one(struct store *store, int64_t segment, int lane, struct leaving *leaving,
                      struct err *err)
{
    struct rows rows;
    rows_init(&rows);
    int result = segment_rows(store, segment, 0, &rows, NULL, err);
    for (int i = 0; i < rows.count && result == 0; i++) {
        const struct rows_entry *row = &rows.list[i];
        if (row->lane == lane)
            result = leave_message(store, leaving, lane, row->seq, row->at_ms, err);
    }
    rows_release(&rows);
    return result;
}

// Each message is looked at only where some may stand in a gap, or have to be named in one.
static int messages_leave(struct store *store, int64_t segment, struct leaving *leaving,
                          struct err *err)
{
    struct messages messages[LANES_END] = {{0}};
    if (lanes_read(store, segment, messages, err) != 0)
        return -1;
    for (int lane = LANE_ALERT; lane < LANES_END; lane++) {
        const struct messages *of_lane = &messages[lane];
        if (of_lane->count == 0)
            continue;
        int touch = gaps_touch(store, lane, of_lane, err);
        if (touch < 0)
            return -1;
        if (touch == 1 || of_lane->last > leaving->kept[lane]) {
            if (one_by_one(store, segment, lane, leaving, err) != 0)
                return -1;
            continue;
        }
        leaving->counted[lane] += of_lane->count;
        if (of_lane->last > leaving->high[lane])
            leaving->high[lane] = of_lane->last;
    }
    return 0;
}

// --- remove ---

static int run(struct store *store, enum slot slot, const char *sql, int64_t first, int64_t last,
               struct err *err)
{
    struct query query;
    if (query_begin(&query, store, slot, sql, err) != 0)
        return -1;
    query_int(&query, first);
    query_int(&query, last);
    return query_run(&query, err);
}

static int segment_remove(struct store *store, int64_t segment, struct err *err)
{
    return run(store, SLOT_PACK_REMOVE, "DELETE FROM pack WHERE id BETWEEN ?1 AND ?2",
               segment << 16, segment << 16 | ROW_METER_MAX, err) != 0 ||
                   run(store, SLOT_SEGMENT_LANE_REMOVE,
                       "DELETE FROM segment_lane WHERE segment BETWEEN ?1 AND ?2", segment, segment,
                       err) != 0 ||
                   run(store, SLOT_SEGMENT_GONE,
                       "UPDATE segment SET kept = 0 WHERE first BETWEEN ?1 AND ?2", segment,
                       segment, err) != 0
               ? -1
               : 0;
}

#define SEGMENTS_AT_ONCE 64 // of one step, however few readings are in them

static int segments_remove(struct store *store, struct leaving *leaving,
                           const struct store_shed *shed, struct err *err)
{
    int64_t gone = 0;
    int found = 1;
    for (int i = 0; i < SEGMENTS_AT_ONCE && gone < shed->max && found == 1; i++) {
        int64_t segment;
        int64_t count;
        found = old_find(store, leaving, shed->before_ms, &segment, &count, err);
        if (found == 1 && (messages_leave(store, segment, leaving, err) != 0 ||
                           segment_remove(store, segment, err) != 0))
            return -1;
        gone += found == 1 ? count : 0;
        store->chain_left += found == 1 ? count : 0;
    }
    return found < 0 ? -1 : gone < INT32_MAX ? (int)gone : INT32_MAX;
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
    readings_forget(store);
    if (leave_begin(store, shed->unsent, shed->now_ms, &leaving, err) != 0)
        return -1;
    int count = segments_remove(store, &leaving, shed, err);
    int named = count < 0 ? -1 : leave_end(store, &leaving, err);
    leave_release(&leaving);
    if (named < 0)
        return -1;
    shed->messages += named;
    return count;
}
