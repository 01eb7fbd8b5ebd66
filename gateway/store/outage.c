// Times in which the gateway could not know better, for the ledger; and which meters are known.
#include "store/query.h"

static void bind_meter(struct query *query, int meter_number)
{
    query_int_or_null(query, meter_number != 0, meter_number);
}

// 1 an older row reaches to this one and is longer now, 0 there is none, -1.
static int outage_extend(struct store *store, int meter_number, const struct outage *outage,
                         struct err *err)
{
    struct query query;
    if (query_begin(&query, store, SLOT_OUTAGE_EXTEND,
                    "UPDATE outage SET to_ms = max(to_ms, ?4) WHERE id = (SELECT id FROM outage"
                    " WHERE meter IS ?1 ORDER BY to_ms DESC LIMIT 1)"
                    " AND why = ?2 AND from_ms <= ?3 AND to_ms >= ?3",
                    err) != 0)
        return -1;
    bind_meter(&query, meter_number);
    query_int(&query, outage->why);
    query_int(&query, outage->from_ms);
    query_int(&query, outage->to_ms);
    return query_run(&query, err) != 0 ? -1 : sqlite3_changes(store->db) > 0;
}

int store_outage_add(struct store *store, int meter_number, const struct outage *outage,
                     struct err *err)
{
    if (outage->to_ms <= outage->from_ms)
        return 0;
    int found = outage_extend(store, meter_number, outage, err);
    if (found != 0)
        return found < 0 ? -1 : 0;
    struct query query;
    if (query_begin(&query, store, SLOT_OUTAGE_ADD,
                    "INSERT INTO outage(meter, from_ms, to_ms, why) VALUES (?1, ?2, ?3, ?4)",
                    err) != 0)
        return -1;
    bind_meter(&query, meter_number);
    query_int(&query, outage->from_ms);
    query_int(&query, outage->to_ms);
    query_int(&query, outage->why);
    return query_run(&query, err);
}

int store_outage_end(struct store *store, int meter_number, int64_t to_ms, struct err *err)
{
    struct query query;
    if (query_begin(&query, store, SLOT_OUTAGE_END,
                    "UPDATE outage SET to_ms = max(from_ms, ?2) WHERE meter IS ?1 AND to_ms = ?3",
                    err) != 0)
        return -1;
    bind_meter(&query, meter_number);
    query_int(&query, to_ms);
    query_int(&query, OUTAGE_GOES_ON);
    return query_run(&query, err);
}

int store_outage_last(struct store *store, int64_t *to_ms, struct err *err)
{
    return store_ask(store, "SELECT coalesce(max(to_ms), 0) FROM outage WHERE meter IS NULL", to_ms,
                     err);
}

int store_outages(struct store *store, int meter_number, int64_t from_ms, int64_t to_ms,
                  outage_visit *visit, void *context, struct err *err)
{
    struct query query;
    if (query_begin(&query, store, SLOT_OUTAGE_LIST,
                    "SELECT from_ms, to_ms, why FROM outage WHERE from_ms < ?3 AND to_ms > ?2"
                    " AND (meter IS NULL OR meter = ?1) ORDER BY from_ms, id",
                    err) != 0)
        return -1;
    query_int(&query, meter_number);
    query_int(&query, from_ms);
    query_int(&query, to_ms);
    int more;
    while ((more = query_row(&query, err)) == 1) {
        struct outage outage = {query_get_int(&query, 0), query_get_int(&query, 1),
                                (uint16_t)query_get_int(&query, 2)};
        if (!visit(context, &outage)) {
            query_end(&query);
            return 0;
        }
    }
    return more;
}

int store_meters_since(struct store *store, int64_t *at_ms, struct err *err)
{
    return store_ask(store, "SELECT coalesce(min(configured_ms), 0) FROM meter", at_ms, err);
}

int store_meters(struct store *store, store_meter_visit *visit, void *context, struct err *err)
{
    struct query query;
    if (query_begin(&query, store, SLOT_METER_LIST,
                    "SELECT number, id, EXISTS (SELECT 1 FROM outage WHERE outage.meter = number"
                    " AND to_ms = ?1) FROM meter ORDER BY number",
                    err) != 0)
        return -1;
    query_int(&query, OUTAGE_GOES_ON);
    int more;
    while ((more = query_row(&query, err)) == 1) {
        char id[ID_SIZE];
        query_get_text(&query, 1, id, sizeof id);
        if (!visit(context, (int)query_get_int(&query, 0), id, query_get_int(&query, 2) != 0)) {
            query_end(&query);
            return 0;
        }
    }
    return more;
}
