// What retention leaves behind in a chain: a hole with the hash of its last row.
#include "store/chain.h"

#include <openssl/evp.h>
#include <string.h>

int chain_hole_find(struct store *store, int chain, int64_t first, struct chain_hole *out,
                    struct err *err)
{
    struct query query;
    if (query_begin(&query, store, SLOT_HOLE_FIND,
                    "SELECT first, last, hash FROM chain_hole WHERE chain = ?1 AND first <= ?2"
                    " ORDER BY first DESC LIMIT 1",
                    err) != 0)
        return -1;
    query_int(&query, chain);
    query_int(&query, first);
    int found = query_row(&query, err);
    if (found != 1)
        return found;
    out->first = query_get_int(&query, 0);
    out->last = query_get_int(&query, 1);
    bool whole = query_get_hash(&query, 2, out->hash);
    query_end(&query);
    return whole;
}

static int hole_put(struct store *store, int chain, const struct chain_hole *hole, struct err *err)
{
    struct query query;
    if (query_begin(&query, store, SLOT_HOLE_PUT,
                    "INSERT INTO chain_hole VALUES (?1, ?2, ?3, ?4) ON CONFLICT DO UPDATE SET"
                    " last = excluded.last, hash = excluded.hash",
                    err) != 0)
        return -1;
    query_int(&query, chain);
    query_int(&query, hole->first);
    query_int(&query, hole->last);
    query_blob(&query, hole->hash, AUDIT_HASH_SIZE);
    return query_run(&query, err);
}

static int hole_drop(struct store *store, int chain, int64_t first, struct err *err)
{
    return query_do(store, SLOT_HOLE_DROP, "DELETE FROM chain_hole WHERE chain = ?1 AND first = ?2",
                    (const int64_t[]){chain, first}, 2, err);
}

int chain_leave(struct store *store, int chain, int64_t first, int64_t last,
                const uint8_t hash[static AUDIT_HASH_SIZE], struct err *err)
{
    struct chain_hole hole = {.first = first, .last = last};
    struct chain_hole next = {.first = 0};
    struct chain_hole before = {.first = 0};
    memcpy(hole.hash, hash, AUDIT_HASH_SIZE);
    int found = chain_hole_find(store, chain, last + 1, &next, err);
    if (found == 1 && next.first == last + 1) {
        hole.last = next.last;
        memcpy(hole.hash, next.hash, AUDIT_HASH_SIZE);
        if (hole_drop(store, chain, next.first, err) != 0)
            return -1;
    }
    if (found >= 0)
        found = chain_hole_find(store, chain, first, &before, err);
    if (found == 1 && before.last == first - 1)
        hole.first = before.first;
    store->chain_left += last - first + 1;
    return found < 0 ? -1 : hole_put(store, chain, &hole, err);
}

int chain_leave_row(struct query *query, int chain, int link_column, struct err *err)
{
    int64_t link = query_get_int(query, link_column);
    uint8_t hash[AUDIT_HASH_SIZE];
    if (link == 0 || !query_get_hash(query, link_column + 1, hash))
        return 0; // older than the chains, or damaged: verify says so then
    return chain_leave(query->store, chain, link, link, hash, err);
}

// The number, where each chain begins, holes, and segments of readings that went.
int chain_removed_hash(struct store *store, int64_t number, uint8_t hash[static AUDIT_HASH_SIZE],
                       struct err *err)
{
    struct query query;
    if (query_begin(&query, store, SLOT_HOLES,
                    "SELECT chain, first, 0, 0, last, hash, NULL, NULL FROM chain_hole UNION ALL"
                    " SELECT -1, first, 0, 0, count, hash, from_ms, to_ms FROM segment LEFT JOIN"
                    " reading_chain ON segment = first WHERE kept = 0 UNION ALL"
                    " SELECT -2, chain, 0, 0, begun, NULL, NULL, NULL FROM chain UNION ALL"
                    " SELECT -3, ?1, 0, 0, 0, NULL, NULL, NULL ORDER BY 1, 2",
                    err) != 0)
        return -1;
    query_int(&query, number);
    memset(hash, 0, AUDIT_HASH_SIZE);
    int more;
    int64_t place = 0;
    while ((more = query_row(&query, err)) == 1) {
        if (chain_hash(&query, ++place, hash, err) != 0) {
            query_end(&query);
            return -1;
        }
    }
    return more;
}

int chain_count_removed(struct store *store, int64_t count, struct err *err)
{
    struct chain_state state;
    int found = chain_read(store, CHAIN_REMOVED, &state, err);
    if (found != 1)
        return found < 0 ? -1
                         : err_set(err, "%s: the account of what went is damaged", store->path);
    state.number += count;
    if (chain_removed_hash(store, state.number, state.hash, err) != 0)
        return -1;
    return chain_move(store, CHAIN_REMOVED, &state, err);
}

int chain_left(struct store *store, struct err *err)
{
    int64_t count = store->chain_left;
    store->chain_left = 0;
    return count == 0 ? 0 : chain_count_removed(store, count, err);
}
