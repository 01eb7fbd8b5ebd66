// Verify: periods join, alerts agree with their changes.
#include "store/period_find.h"
#include "store/query.h"

#include <stdlib.h>
#include <string.h>

struct chain {
    int64_t meter;
    struct period period;
};

static bool same_index(const struct period_channel *end, const struct period_channel *start)
{
    return end->end_known == start->start_known &&
           (!end->end_known || end->end_micro == start->start_micro);
}

static void compare_periods(struct verify *verify, int64_t row, const struct period *before,
                            const struct period *period)
{
    if (before->to_ms > period->from_ms)
        verify_fault(verify, "period %lld begins before the one before it ends", (long long)row);
    for (int i = 0; before->to_ms == period->from_ms && i < period->channel_count; i++) {
        const struct period_channel *channel = &period->channels[i];
        for (int j = 0; channel->kind == CHANNEL_COUNTER && j < before->channel_count; j++) {
            const struct period_channel *other = &before->channels[j];
            if (other->kind == CHANNEL_COUNTER && strcmp(other->name, channel->name) == 0 &&
                !same_index(other, channel)) {
                verify_fault(verify, "period %lld: %s does not start where the one before it ends",
                             (long long)row, channel->name);
            }
        }
    }
}

// Columns id, meter, span, from_ms, to_ms, version, body.
static void period_check(struct verify *verify, const struct query *query, struct chain *before,
                         struct chain *now)
{
    int64_t row = query_get_int(query, 0);
    struct period *period = &now->period;
    now->meter = query_get_int(query, 1);
    if (period_decode(sqlite3_column_blob(query->statement, 6),
                      (size_t)sqlite3_column_bytes(query->statement, 6), period) != 0) {
        verify_fault(verify, "period %lld cannot be read", (long long)row);
        before->meter = 0;
        return;
    }
    if (period->span != (enum span)query_get_int(query, 2) ||
        period->from_ms != query_get_int(query, 3) || period->to_ms != query_get_int(query, 4) ||
        period->version != query_get_int(query, 5))
        verify_fault(verify, "period %lld is not the one that its row names", (long long)row);
    if (reasons_total(&period->reasons, QUALITY_MISSING) != period->missing ||
        reasons_total(&period->reasons, QUALITY_SUSPECT) != period->suspect)
        verify_fault(verify, "period %lld has more or fewer reasons than reads that are not good",
                     (long long)row);
    if (before->meter == now->meter && before->period.span == period->span)
        compare_periods(verify, row, &before->period, period);
    *before = *now;
}

static int history_walk(struct verify *verify, int64_t meter, enum span span,
                        struct chain pair[static 2], struct err *err)
{
    struct query query;
    if (query_begin(
            &query, verify->store, SLOT_VERIFY_PERIODS,
            PERIOD_STARTS("?2", "?3",
                          "?4") " SELECT p.id, p.meter, p.span, p.from_ms,"
                                " p.to_ms, p.version, p.body FROM start CROSS JOIN period AS p"
                                " WHERE p.span = ?2 AND p.from_ms = start_ms AND p.meter = ?1"
                                " AND" PERIOD_NEWEST,
            err) != 0)
        return -1;
    query_int(&query, meter);
    query_int(&query, span);
    query_int(&query, INT64_MIN);
    query_int(&query, INT64_MAX);
    int more;
    while ((more = query_row(&query, err)) == 1)
        period_check(verify, &query, &pair[0], &pair[1]);
    return more;
}

static int periods_walk(struct verify *verify, struct chain pair[static 2], struct err *err)
{
    struct query meters;
    if (query_begin(&meters, verify->store, SLOT_ONCE, "SELECT number FROM meter", err) != 0)
        return -1;
    int more;
    while ((more = query_row(&meters, err)) == 1) {
        for (enum span span = SPAN_1MIN; span <= SPAN_MONTH; span++) {
            if (history_walk(verify, query_get_int(&meters, 0), span, pair, err) != 0) {
                query_end(&meters);
                return -1;
            }
        }
    }
    return more;
}

static int verify_periods(struct verify *verify, struct err *err)
{
    struct chain *pair = calloc(2, sizeof *pair);
    if (pair == NULL)
        return err_set(err, "out of memory");
    int result = periods_walk(verify, pair, err);
    free(pair);
    return result;
}

static const struct verify_relation relations[] = {
    {"period", "does not replace the version before it",
     "SELECT p.id FROM period AS p LEFT JOIN period AS b ON b.meter = p.meter AND b.span = p.span"
     " AND b.from_ms = p.from_ms AND b.version = p.version - 1"
     " WHERE p.version < 1 OR (p.version > 1 AND b.id IS NULL)"
     " OR b.lane IS NOT p.replaces_lane OR b.seq IS NOT p.replaces_seq"},
    {"period", "is of no meter or no span",
     "SELECT id FROM period WHERE span NOT BETWEEN 1 AND 7"
     " OR meter NOT IN (SELECT number FROM meter)"},
    {"period", "is newer than the one that counts as its meter's newest",
     "SELECT id FROM period AS p WHERE NOT EXISTS (SELECT 1 FROM period_newest AS n"
     " WHERE n.span = p.span AND n.meter = p.meter AND n.from_ms >= p.from_ms)"},
    {"meter", "has no such period as counts as its newest",
     "SELECT meter FROM period_newest AS n WHERE NOT EXISTS (SELECT 1 FROM period"
     " WHERE span = n.span AND from_ms = n.from_ms AND meter = n.meter)"},
    {"alert", "does not agree with its changes",
     "SELECT number FROM alert LEFT JOIN alert_change AS c ON c.id = last_change"
     " LEFT JOIN (SELECT alert, max(id) AS newest FROM alert_change GROUP BY alert) AS n"
     " ON n.alert = number"
     " WHERE c.alert IS NOT number OR CASE c.state WHEN 4 THEN c.at_ms END IS NOT closed_ms"
     " OR newest IS NOT last_change"},
};

int verify_rows(struct verify *verify, struct err *err)
{
    if (verify_periods(verify, err) != 0)
        return -1;
    return verify_relations(verify, relations, sizeof relations / sizeof relations[0], err);
}
