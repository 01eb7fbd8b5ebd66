// Verify: every row stands in its chain as it was written, and what is not there went by retention.
#include "store/chain.h"
#include "store/verify_heads.h"

#include <inttypes.h>
#include <string.h>

// Where the walk along one chain stands.
struct walk {
    bool known; // its head could be read
    struct chain_state head;
    int64_t number;
    uint8_t hash[AUDIT_HASH_SIZE];
    int64_t holes; // passed
};

static int walks_begin(struct verify *verify, struct walk walks[static CHAINS_END], struct err *err)
{
    for (int chain = 1; chain < CHAINS_END; chain++) {
        struct walk *walk = &walks[chain];
        int found = chain_read(verify->store, chain, &walk->head, err);
        if (found < 0)
            return -1;
        walk->known = found == 1;
        if (!walk->known) {
            verify_fault(verify, "chain %s: its head is damaged", chain_text(chain));
            walk->head = (struct chain_state){.number = 0};
        }
        if (chain_origin(verify->store->origin, chain, walk->head.begun, walk->hash, err) != 0)
            return -1;
    }
    return 0;
}

// Goes over what retention took, up to the row before `link`.
static int holes_pass(struct verify *verify, int chain, struct walk *walk, int64_t link,
                      struct err *err)
{
    struct chain_hole hole;
    int found = chain_hole_find(verify->store, chain, walk->number + 1, &hole, err);
    if (found == 1 && hole.first == walk->number + 1 && hole.last >= hole.first) {
        walk->number = hole.last;
        memcpy(walk->hash, hole.hash, AUDIT_HASH_SIZE);
        walk->holes++;
        heads_pass(verify->heads, chain, hole.last, walk->hash);
    }
    if (found >= 0 && walk->number + 1 < link) {
        verify_fault(verify, "%s: rows %" PRId64 " to %" PRId64 " of the chain are not there",
                     chain_text(chain), walk->number + 1, link - 1);
    }
    return found < 0 ? -1 : 0;
}

static int row_check(struct verify *verify, const struct chained *chained, struct query *query,
                     struct walk walks[static CHAINS_END], struct err *err)
{
    int64_t id = query_get_int(query, 0);
    int64_t number = query_get_int(query, 1);
    int64_t link = query_get_int(query, 2);
    int chain = number > 0 && number < CHAINS_END ? (int)number : 0;
    struct walk *walk = &walks[chain];
    if (chain == 0 || (query_is_null(query, 2) && id > walk->head.begun)) {
        verify_fault(verify, "%s %" PRId64 " stands in no chain", chained->row, id);
        return 0;
    }
    if (query_is_null(query, 2) && query_is_null(query, 3))
        return 0; // older than the chains
    if (link > walk->number + 1 && holes_pass(verify, chain, walk, link, err) != 0)
        return -1;
    if (link <= walk->number) {
        verify_fault(verify, "%s %" PRId64 " stands at the wrong place, or twice", chained->row,
                     id);
        return 0;
    }
    uint8_t hash[AUDIT_HASH_SIZE];
    memcpy(hash, walk->hash, sizeof hash);
    if (chain_hash(query, link, hash, err) != 0)
        return -1;
    const void *stored = sqlite3_column_blob(query->statement, 3);
    bool whole = sqlite3_column_bytes(query->statement, 3) == AUDIT_HASH_SIZE;
    if (!whole || memcmp(stored, hash, AUDIT_HASH_SIZE) != 0) {
        verify_fault(verify, "%s %" PRId64 " was changed, or the one before it in the chain",
                     chained->row, id);
    }
    if (whole) // go on from what is stored, so that one change is one fault
        memcpy(walk->hash, stored, AUDIT_HASH_SIZE);
    walk->number = link;
    heads_pass(verify->heads, chain, link, walk->hash);
    return 0;
}

static int table_walk(struct verify *verify, const struct chained *chained,
                      struct walk walks[static CHAINS_END], struct err *err)
{
    struct query query;
    char sql[512];
    (void)snprintf(sql, sizeof sql, "%s ORDER BY 1", chained->rows);
    if (query_begin(&query, verify->store, SLOT_ONCE, sql, err) != 0)
        return -1;
    int more;
    while ((more = query_row(&query, err)) == 1) {
        if (row_check(verify, chained, &query, walks, err) != 0) {
            query_end(&query);
            return -1;
        }
    }
    return more;
}

static int chain_end(struct verify *verify, int chain, struct walk *walk, struct err *err)
{
    struct query query;
    const char *name = chain_text(chain);
    if (walk->number < walk->head.number &&
        holes_pass(verify, chain, walk, walk->head.number + 1, err) != 0)
        return -1;
    if (walk->known && (walk->number != walk->head.number ||
                        memcmp(walk->hash, walk->head.hash, AUDIT_HASH_SIZE) != 0)) {
        verify_fault(verify, "%s: the chain ends at row %" PRId64 ", its head says %" PRId64, name,
                     walk->number, walk->head.number);
    }
    if (query_begin(&query, verify->store, SLOT_ONCE,
                    "SELECT count(*) FROM chain_hole WHERE chain = ?1", err) != 0)
        return -1;
    query_int(&query, chain);
    int found = query_row(&query, err);
    if (found != 1)
        return -1;
    if (query_get_int(&query, 0) != walk->holes)
        verify_fault(verify, "%s: rows are there that are said to have gone by retention", name);
    query_end(&query);
    heads_end(verify->heads, chain, walk->number);
    return 0;
}

// What is no chain: its hash is that of what the store holds now.
static int state_check(struct verify *verify, const struct walk *walk, int chain,
                       int (*compute)(struct store *store, int64_t number,
                                      uint8_t hash[static AUDIT_HASH_SIZE], struct err *err),
                       const char *what, struct err *err)
{
    uint8_t hash[AUDIT_HASH_SIZE];
    if (compute(verify->store, walk->head.number, hash, err) != 0)
        return -1;
    if (walk->known && memcmp(hash, walk->head.hash, AUDIT_HASH_SIZE) != 0)
        verify_fault(verify, "%s: %s", chain_text(chain), what);
    heads_pass(verify->heads, chain, walk->head.number, hash);
    heads_end(verify->heads, chain, walk->head.number);
    return 0;
}

static int strangers_check(struct verify *verify, struct err *err)
{
    int64_t strangers;
    if (store_ask(verify->store,
                  "SELECT (SELECT count(*) FROM chain WHERE chain NOT BETWEEN 1 AND 14)"
                  " + (SELECT count(*) FROM chain_hole WHERE chain NOT BETWEEN 1 AND 10"
                  " AND chain NOT BETWEEN 12 AND 13)",
                  &strangers, err) != 0)
        return -1;
    if (strangers != 0)
        verify_fault(verify, "chain: %" PRId64 " rows name no chain", strangers);
    return 0;
}

int verify_chains(struct verify *verify, struct err *err)
{
    struct walk walks[CHAINS_END] = {{.known = false}};
    if (walks_begin(verify, walks, err) != 0)
        return -1;
    for (int table = 0; table < CHAINED_TABLES; table++)
        if (table_walk(verify, &chained_tables[table], walks, err) != 0)
            return -1;
    for (int chain = 1; chain < CHAINS_END; chain++)
        if (chain != CHAIN_READING && !chain_is_state(chain) &&
            chain_end(verify, chain, &walks[chain], err) != 0)
            return -1;
    if (state_check(verify, &walks[CHAIN_REMOVED], CHAIN_REMOVED, chain_removed_hash,
                    "the account of what retention took was changed", err) != 0 ||
        state_check(verify, &walks[CHAIN_REGISTER], CHAIN_REGISTER, register_hash,
                    "an account, a setting, a meter, a decoder or a series was changed", err) != 0)
        return -1;
    return strangers_check(verify, err);
}
