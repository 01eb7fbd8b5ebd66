#include "store/chain.h"

#include <inttypes.h>
#include <openssl/evp.h>
#include <stdio.h>
#include <string.h>

static const char *const names[CHAINS_END] = {
    [SPAN_1MIN] = "period-1min",   [SPAN_5MIN] = "period-5min",  [SPAN_15MIN] = "period-15min",
    [SPAN_30MIN] = "period-30min", [SPAN_HOUR] = "period-hour",  [SPAN_DAY] = "period-day",
    [SPAN_MONTH] = "period-month", [CHAIN_ALERT] = "alert",      [CHAIN_GAP] = "gap",
    [CHAIN_READING] = "reading",   [CHAIN_REMOVED] = "removed",  [CHAIN_LEDGER] = "ledger",
    [CHAIN_REVISION] = "revision", [CHAIN_REGISTER] = "register"};

// Columns that a later step of the schema adds are not covered: old rows have them too.
const struct chained chained_tables[CHAINED_TABLES] = {
    [CHAINED_PERIOD] = {"period", "period",
                        "SELECT id, span, link, hash, meter, from_ms, version, to_ms, at_ms, lane,"
                        " seq, replaces_lane, replaces_seq, alert_mark, lacks, body FROM period",
                        SLOT_CHAIN_PERIOD, SLOT_CHAIN_PERIOD_PUT},
    [CHAINED_CHANGE] = {"alert_change", "alert change",
                        "SELECT c.id, 8, c.link, c.hash, c.alert, c.severity, c.state, c.at_ms,"
                        " c.reason, c.observed, c.expected_low, c.expected_high, c.unit, c.rule,"
                        " c.from_ms, c.to_ms, c.why, c.lane, c.seq, a.id, a.of_link, a.subject,"
                        " a.kind, a.since_ms FROM alert_change AS c LEFT JOIN alert AS a"
                        " ON a.number = c.alert",
                        SLOT_CHAIN_CHANGE, SLOT_CHAIN_CHANGE_PUT},
    [CHAINED_GAP] = {"gap", "gap",
                     "SELECT id, 9, link, hash, of_lane, first, last, reason, from_ms, to_ms,"
                     " at_ms, lane, seq FROM gap",
                     SLOT_CHAIN_GAP, SLOT_CHAIN_GAP_PUT},
    [CHAINED_LEDGER] = {"ledger", "ledger",
                        "SELECT id, 12, link, hash, meter, from_ms, version, to_ms, at_ms, lane,"
                        " seq, replaces_lane, replaces_seq, last_alert, last_live, last_backfill,"
                        " body FROM ledger",
                        SLOT_CHAIN_LEDGER, SLOT_CHAIN_LEDGER_PUT},
    [CHAINED_REVISION] = {"revision", "revision",
                          "SELECT number, 13, link, hash, revision, text, who, at_ms FROM revision",
                          SLOT_CHAIN_REVISION, SLOT_CHAIN_REVISION_PUT}};

const char *chain_text(int chain)
{
    return chain > 0 && chain < CHAINS_END ? names[chain] : NULL;
}

int chain_find(const char *name)
{
    for (int chain = 1; chain < CHAINS_END; chain++)
        if (strcmp(names[chain], name) == 0)
            return chain;
    return 0;
}

bool store_chain_is_known(const char *name)
{
    return strcmp(name, "audit") == 0 || chain_find(name) != 0;
}

// --- hashes ---

static void add_number(EVP_MD_CTX *digest, uint64_t value)
{
    uint8_t bytes[8];
    for (int i = 7; i >= 0; i--, value >>= 8)
        bytes[i] = (uint8_t)value;
    (void)EVP_DigestUpdate(digest, bytes, sizeof bytes);
}

// Kind, then eight bytes of a number or length and bytes: no two rows have the same bytes.
static void add_column(EVP_MD_CTX *digest, sqlite3_stmt *statement, int column)
{
    int type = sqlite3_column_type(statement, column);
    uint8_t kind = (uint8_t)type;
    (void)EVP_DigestUpdate(digest, &kind, 1);
    if (type == SQLITE_INTEGER) {
        add_number(digest, (uint64_t)sqlite3_column_int64(statement, column));
    } else if (type == SQLITE_FLOAT) {
        double number = sqlite3_column_double(statement, column);
        uint64_t bits;
        memcpy(&bits, &number, sizeof bits);
        add_number(digest, bits);
    } else if (type != SQLITE_NULL) {
        const void *bytes = sqlite3_column_blob(statement, column);
        size_t length = (size_t)sqlite3_column_bytes(statement, column);
        add_number(digest, length);
        (void)EVP_DigestUpdate(digest, bytes, length);
    }
}

static int digest_end(EVP_MD_CTX *digest, bool begun, uint8_t hash[static AUDIT_HASH_SIZE],
                      struct err *err)
{
    bool done = begun && EVP_DigestFinal_ex(digest, hash, NULL) == 1;
    EVP_MD_CTX_free(digest);
    return done ? 0 : err_set(err, "out of memory for a check sum");
}

int chain_hash(const struct query *query, int64_t link, uint8_t hash[static AUDIT_HASH_SIZE],
               struct err *err)
{
    EVP_MD_CTX *digest = EVP_MD_CTX_new();
    bool begun = digest != NULL && EVP_DigestInit_ex(digest, EVP_sha256(), NULL) == 1;
    if (begun) {
        (void)EVP_DigestUpdate(digest, hash, AUDIT_HASH_SIZE);
        add_number(digest, (uint64_t)link);
        add_column(digest, query->statement, 0);
        add_column(digest, query->statement, 1);
        for (int i = 4; i < sqlite3_column_count(query->statement); i++)
            add_column(digest, query->statement, i);
    }
    return digest_end(digest, begun, hash, err);
}

int chain_origin(const char *stream, int chain, int64_t begun, uint8_t hash[static AUDIT_HASH_SIZE],
                 struct err *err)
{
    char text[UUID_SIZE + 64];
    int length = snprintf(text, sizeof text, "%s\n%s\n%" PRId64, stream, chain_text(chain), begun);
    return EVP_Digest(text, (size_t)length, hash, NULL, EVP_sha256(), NULL) == 1
               ? 0
               : err_set(err, "out of memory for a check sum");
}

// --- heads ---

int chain_read(struct store *store, int chain, struct chain_state *out, struct err *err)
{
    struct query query;
    int found = query_find(&query, store, SLOT_CHAIN_READ,
                           "SELECT number, begun, hash FROM chain WHERE chain = ?1", chain, err);
    if (found != 1)
        return found;
    out->number = query_get_int(&query, 0);
    out->begun = query_get_int(&query, 1);
    bool whole = query_get_hash(&query, 2, out->hash);
    query_end(&query);
    return whole;
}

int chain_move(struct store *store, int chain, const struct chain_state *state, struct err *err)
{
    struct query query;
    if (query_begin(&query, store, SLOT_CHAIN_MOVE,
                    "UPDATE chain SET number = ?2, hash = ?3 WHERE chain = ?1", err) != 0)
        return -1;
    query_int(&query, chain);
    query_int(&query, state->number);
    query_blob(&query, state->hash, AUDIT_HASH_SIZE);
    return query_run(&query, err);
}

static int state_read(struct store *store, int chain, struct chain_state *state, struct err *err)
{
    int found = chain_read(store, chain, state, err);
    if (found == 0) {
        return err_set(err, "%s: the head of the chain %s is damaged", store->path,
                       chain_text(chain));
    }
    return found < 0 ? -1 : 0;
}

// --- rows ---

// Columns of the row as `chained->rows`; *chain receives which one it is in.
static int row_hash(struct store *store, const struct chained *chained, int64_t id, int *chain,
                    struct chain_state *state, struct err *err)
{
    struct query query;
    char sql[512];
    (void)snprintf(sql, sizeof sql, "%s WHERE %srowid = ?1", chained->rows,
                   chained == &chained_tables[CHAINED_CHANGE] ? "c." : "");
    if (query_begin(&query, store, chained->one, sql, err) != 0)
        return -1;
    query_int(&query, id);
    int found = query_row(&query, err);
    if (found != 1)
        return found < 0 ? -1 : err_set(err, "the row for a chain is not there");
    *chain = (int)query_get_int(&query, 1);
    int result = chain_text(*chain) == NULL ? err_set(err, "there is no chain %d", *chain)
                                            : state_read(store, *chain, state, err);
    if (result == 0)
        result = chain_hash(&query, ++state->number, state->hash, err);
    query_end(&query);
    return result;
}

int chain_add(struct store *store, enum chain_table table, int64_t id, struct err *err)
{
    const struct chained *chained = &chained_tables[table];
    struct chain_state state = {.number = 0};
    struct query query;
    int chain = 0;
    char sql[128];
    if (row_hash(store, chained, id, &chain, &state, err) != 0)
        return -1;
    (void)snprintf(sql, sizeof sql, "UPDATE %s SET link = ?2, hash = ?3 WHERE rowid = ?1",
                   chained->table);
    if (query_begin(&query, store, chained->put, sql, err) != 0)
        return -1;
    query_int(&query, id);
    query_int(&query, state.number);
    query_blob(&query, state.hash, AUDIT_HASH_SIZE);
    if (query_run(&query, err) != 0)
        return -1;
    return chain_move(store, chain, &state, err);
}

// --- the schema ---

static int begin_one(struct store *store, const char *stream, int chain, const char *begun_sql,
                     struct err *err)
{
    struct chain_state state = {.number = 0};
    struct query query;
    if ((begun_sql != NULL && store_ask(store, begun_sql, &state.begun, err) != 0) ||
        chain_origin(stream, chain, state.begun, state.hash, err) != 0 ||
        query_begin(&query, store, SLOT_ONCE, "INSERT INTO chain VALUES (?1, 0, ?2, ?3)", err) != 0)
        return -1;
    query_int(&query, chain);
    query_int(&query, state.begun);
    query_blob(&query, state.hash, AUDIT_HASH_SIZE);
    return query_run(&query, err);
}

int chain_stream(struct store *store, char stream[static UUID_SIZE], struct err *err)
{
    int found = store_setting_get(store, "origin", stream, UUID_SIZE, err);
    if (found == 0)
        found = store_setting_get(store, "stream", stream, UUID_SIZE, err);
    if (found == 0)
        return err_set(err, "%s has no stream", store->path);
    return found < 0 ? -1 : 0;
}

int chain_begin_all(struct store *store, struct err *err)
{
    static const char period[] = "SELECT coalesce(max(id), 0) FROM period";
    static const char change[] = "SELECT coalesce(max(id), 0) FROM alert_change";
    static const char gap[] = "SELECT coalesce(max(id), 0) FROM gap";
    static const char *const begun[CHAINS_END] = {
        [SPAN_1MIN] = period,  [SPAN_5MIN] = period,   [SPAN_15MIN] = period,
        [SPAN_30MIN] = period, [SPAN_HOUR] = period,   [SPAN_DAY] = period,
        [SPAN_MONTH] = period, [CHAIN_ALERT] = change, [CHAIN_GAP] = gap};
    char stream[UUID_SIZE];
    if (chain_stream(store, stream, err) != 0)
        return -1;
    for (int chain = 1; chain <= CHAIN_REMOVED; chain++)
        if (begin_one(store, stream, chain, begun[chain], err) != 0)
            return -1;
    return 0;
}

// Ledgers that are there already stand in no chain, like other rows before; revisions are few, and
// all of them go into theirs. What was said of the account of what went holds no more.
int chain_begin_ledgers(struct store *store, struct err *err)
{
    static const char ledger[] = "SELECT coalesce(max(id), 0) FROM ledger";
    char stream[UUID_SIZE];
    struct chain_state state = {.number = 0};
    int64_t revisions = 0;
    if (chain_stream(store, stream, err) != 0 ||
        begin_one(store, stream, CHAIN_LEDGER, ledger, err) != 0 ||
        begin_one(store, stream, CHAIN_REVISION, NULL, err) != 0 ||
        begin_one(store, stream, CHAIN_REGISTER, NULL, err) != 0 ||
        store_ask(store, "SELECT coalesce(max(number), 0) FROM revision", &revisions, err) != 0)
        return -1;
    for (int64_t number = 1; number <= revisions; number++)
        if (chain_add(store, CHAINED_REVISION, number, err) != 0)
            return -1;
    if (state_read(store, CHAIN_REMOVED, &state, err) != 0 ||
        chain_count_removed(store, state.number > 0, err) != 0 ||
        state_read(store, CHAIN_REGISTER, &state, err) != 0 ||
        register_hash(store, ++state.number, state.hash, err) != 0)
        return -1;
    return chain_move(store, CHAIN_REGISTER, &state, err);
}
