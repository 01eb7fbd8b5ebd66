// Verify: periods join, alerts agree with their changes.
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

static int periods_walk(struct verify *verify, struct chain pair[static 2], struct err *err)
{
    struct query query;
    if (query_begin(&query, verify->store, SLOT_ONCE,
                    "SELECT id, meter, span, from_ms, to_ms, version, body FROM period AS p"
                    " WHERE version = (SELECT max(version) FROM period WHERE meter = p.meter"
                    " AND span = p.span AND from_ms = p.from_ms) ORDER BY meter, span, from_ms",
                    err) != 0)
        return -1;
    int more;
    while ((more = query_row(&query, err)) == 1)
        period_check(verify, &query, &pair[0], &pair[1]);
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
