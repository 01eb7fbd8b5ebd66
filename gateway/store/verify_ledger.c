// Verify: ledgers can be read, follow one another, and agree with the stored gas days and hours.
#include "store/period_find.h"
#include "store/query.h"

#include <stdlib.h>

struct ledger_row {
    int64_t row, meter, from_ms;
    struct ledger ledger;
    struct period period; // one of the stored ones that it is compared with
};

static void compare_day(struct verify *verify, const struct ledger_row *row)
{
    struct ledger_sum sum = ledger_sum(&row->ledger);
    const struct period *day = &row->period;
    if (day->to_ms == row->ledger.to_ms && sum.good == day->good && sum.suspect == day->suspect &&
        sum.missing == day->missing)
        return;
    verify_fault(verify,
                 "ledger %lld: its hours add up to %lld good, %lld suspect, %lld missing, but its "
                 "day has %lld, %lld and %lld",
                 (long long)row->row, (long long)sum.good, (long long)sum.suspect,
                 (long long)sum.missing, (long long)day->good, (long long)day->suspect,
                 (long long)day->missing);
}

static void compare_hour(struct verify *verify, const struct ledger_row *row)
{
    const struct period *period = &row->period;
    for (int i = 0; i < row->ledger.hour_count; i++) {
        const struct ledger_hour *hour = &row->ledger.hours[i];
        if (hour->from_ms != period->from_ms || hour->to_ms != period->to_ms)
            continue;
        if (hour->good != period->good || hour->suspect != period->suspect ||
            hour->missing != period->missing)
            verify_fault(verify,
                         "ledger %lld: its hour %d does not have the reads of the stored one",
                         (long long)row->row, i + 1);
        if (hour->index != ledger_index(period))
            verify_fault(verify,
                         "ledger %lld: its hour %d does not have the index of the stored one",
                         (long long)row->row, i + 1);
        return;
    }
}

// The newest versions of the stored gas day (or longer) and hours in it.
static int compare_periods(struct verify *verify, struct ledger_row *row, struct err *err)
{
    struct query query;
    if (query_begin(
            &query, verify->store, SLOT_VERIFY_LEDGER,
            PERIOD_STARTS(
                "5", "?2",
                "?3") " SELECT p.span, p.body FROM start"
                      " CROSS JOIN period AS p WHERE p.span = 5 AND p.from_ms = start_ms"
                      " AND p.meter = ?1 AND start_ms < ?3 AND" PERIOD_NEWEST " UNION ALL"
                      " SELECT p.span, p.body FROM period AS p WHERE p.span IN (6, 7)"
                      " AND p.from_ms = ?2 AND p.meter = ?1 AND p.to_ms = ?3 AND" PERIOD_NEWEST,
            err) != 0)
        return -1;
    query_int(&query, row->meter);
    query_int(&query, row->ledger.from_ms);
    query_int(&query, row->ledger.to_ms);
    int more;
    while ((more = query_row(&query, err)) == 1) {
        if (period_decode(sqlite3_column_blob(query.statement, 1),
                          (size_t)sqlite3_column_bytes(query.statement, 1), &row->period) != 0)
            continue; // named by verify_rows
        if (query_get_int(&query, 0) == SPAN_HOUR)
            compare_hour(verify, row);
        else
            compare_day(verify, row);
    }
    return more;
}

// Columns id, meter, from_ms, to_ms, body, whether it is the newest version.
static int ledger_check(struct verify *verify, const struct query *query, struct ledger_row *row,
                        struct err *err)
{
    row->row = query_get_int(query, 0);
    row->meter = query_get_int(query, 1);
    if (ledger_decode(sqlite3_column_blob(query->statement, 4),
                      (size_t)sqlite3_column_bytes(query->statement, 4), &row->ledger) != 0) {
        verify_fault(verify, "ledger %lld cannot be read", (long long)row->row);
        return 0;
    }
    if (row->ledger.from_ms != query_get_int(query, 2) ||
        row->ledger.to_ms != query_get_int(query, 3)) {
        verify_fault(verify, "ledger %lld is not the one that its row names", (long long)row->row);
        return 0;
    }
    return query_get_int(query, 5) != 0 ? compare_periods(verify, row, err) : 0;
}

static int ledgers_walk(struct verify *verify, struct ledger_row *row, struct err *err)
{
    struct query query;
    if (query_begin(&query, verify->store, SLOT_ONCE,
                    "SELECT id, meter, from_ms, to_ms, body, version = (SELECT max(version)"
                    " FROM ledger WHERE meter = l.meter AND from_ms = l.from_ms) FROM ledger AS l",
                    err) != 0)
        return -1;
    int more;
    while ((more = query_row(&query, err)) == 1) {
        if (ledger_check(verify, &query, row, err) != 0) {
            query_end(&query);
            return -1;
        }
    }
    return more;
}

static const struct verify_relation relations[] = {
    {"ledger", "does not replace the version before it",
     "SELECT p.id FROM ledger AS p LEFT JOIN ledger AS b ON b.meter = p.meter"
     " AND b.from_ms = p.from_ms AND b.version = p.version - 1"
     " WHERE p.version < 1 OR (p.version > 1 AND b.id IS NULL)"
     " OR b.lane IS NOT p.replaces_lane OR b.seq IS NOT p.replaces_seq"},
    {"period", "is a gas day without a ledger, though its meter had one before",
     "SELECT p.id FROM period AS p WHERE span = 6 AND version = 1"
     " AND NOT EXISTS (SELECT 1 FROM ledger AS l"
     " WHERE l.meter = p.meter AND l.from_ms <= p.from_ms AND l.to_ms >= p.to_ms)"
     " AND EXISTS (SELECT 1 FROM ledger AS l WHERE l.meter = p.meter AND l.from_ms <= p.from_ms)"},
    {"outage", "ends before it begins", "SELECT id FROM outage WHERE to_ms < from_ms"},
};

int verify_ledgers(struct verify *verify, struct err *err)
{
    struct ledger_row *row = calloc(1, sizeof *row);
    if (row == NULL)
        return err_set(err, "out of memory");
    int result = ledgers_walk(verify, row, err);
    free(row);
    if (result != 0)
        return -1;
    return verify_relations(verify, relations, sizeof relations / sizeof relations[0], err);
}
