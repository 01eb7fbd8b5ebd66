// The register (chain.h): one hash over the small tables whose rows change in place.
#include "store/chain.h"

#include "base/log.h"

#include <string.h>

// Columns as chain_hash takes them: the second names the row, the third and fourth are not covered.
static const char rows[] =
    "SELECT 1, name, 0, 0, role, hash, NULL, NULL FROM account UNION ALL"
    " SELECT 2, key, 0, 0, value, NULL, NULL, NULL FROM setting UNION ALL"
    " SELECT 3, number, 0, 0, id, configured_ms, NULL, NULL FROM meter UNION ALL"
    " SELECT 4, revision, 0, 0, hash, name, profile, units FROM decoder UNION ALL"
    " SELECT 5, meter, 0, 0, from_ms, serial, NULL, NULL FROM series UNION ALL"
    " SELECT 6, ?1, 0, 0, NULL, NULL, NULL, NULL ORDER BY 1, 2, 5";

int register_hash(struct store *store, int64_t number, uint8_t hash[static AUDIT_HASH_SIZE],
                  struct err *err)
{
    struct query query;
    if (query_begin(&query, store, SLOT_REGISTER, rows, err) != 0)
        return -1;
    query_int(&query, number);
    memset(hash, 0, AUDIT_HASH_SIZE);
    int64_t place = 0;
    int more;
    while ((more = query_row(&query, err)) == 1) {
        if (chain_hash(&query, ++place, hash, err) != 0) {
            query_end(&query);
            return -1;
        }
    }
    return more;
}

// 1 the tables agree with their hash, 0 not, -1.
static int register_agrees(struct store *store, struct chain_state *state, struct err *err)
{
    uint8_t hash[AUDIT_HASH_SIZE];
    int found = chain_read(store, CHAIN_REGISTER, state, err);
    if (found == 1 && register_hash(store, state->number, hash, err) != 0)
        return -1;
    return found == 1 ? memcmp(hash, state->hash, sizeof hash) == 0 : found;
}

int register_change(struct store *store, struct err *err)
{
    struct chain_state state;
    if (!store->has_register || store->register_changed)
        return 0;
    int agrees = register_agrees(store, &state, err);
    if (agrees < 0)
        return -1;
    if (agrees == 0 && !store->register_complained)
        log_warn("store",
                 "%s: accounts, settings, meters or decoders were changed from outside: "
                 "'metergate verify' says so until the store is put back from a backup",
                 store->path);
    store->register_complained = agrees == 0;
    store->register_changed = agrees == 1;
    return 0;
}

int register_commit(struct store *store, struct err *err)
{
    struct chain_state state;
    if (!store->register_changed)
        return 0;
    int found = chain_read(store, CHAIN_REGISTER, &state, err);
    if (found != 1)
        return found < 0 ? -1
                         : err_set(err, "%s: the head of the register is damaged", store->path);
    if (register_hash(store, ++state.number, state.hash, err) != 0 ||
        chain_move(store, CHAIN_REGISTER, &state, err) != 0)
        return -1;
    store->register_changed = false;
    return 0;
}
