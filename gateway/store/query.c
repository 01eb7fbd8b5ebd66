#include "store/query.h"

#include "base/log.h"

#include <assert.h>
#include <math.h>
#include <string.h>
#include <unistd.h>

static bool is_disk_error(int code)
{
    if (code == SQLITE_IOERR_NOMEM)
        return false;
    int primary = code & 0xFF;
    return primary == SQLITE_IOERR || primary == SQLITE_CORRUPT || primary == SQLITE_NOTADB;
}

int store_failed(struct store *store, struct err *err)
{
    int code = sqlite3_extended_errcode(store->db);
    const char *text = sqlite3_errmsg(store->db);
    store->round_broken = store->in_round;
    store->is_full = (code & 0xFF) == SQLITE_FULL;
    if (is_disk_error(code)) {
        int primary = code & 0xFF;
        store->saw_damage = true;
        store->disk_failed = primary == SQLITE_IOERR;
        store->is_damaged = primary == SQLITE_CORRUPT || primary == SQLITE_NOTADB;
        if (store->disk_error_ends) {
            log_error("store",
                      "%s: %s (SQLite %d): the disk or the file is failing; ending, so "
                      "that the file is checked before anything more is written",
                      store->path, text, code);
            doubt_write(store->path, code);
            _exit(STORE_EXIT_DISK);
        }
        return err_set(
            err,
            "%s: %s (SQLite %d): the file is damaged or is not a store; keep it, move it "
            "away and start again, or put a backup in its place",
            store->path, text, code);
    }
    switch (code == SQLITE_IOERR_NOMEM ? SQLITE_NOMEM : code & 0xFF) {
    case SQLITE_TOOBIG: // nothing so long is ever written
        store->saw_damage = store->is_damaged = true;
        return err_set(err,
                       "%s: it says that a value is longer than any that it was given: the file is "
                       "damaged; put a backup in its place",
                       store->path);
    case SQLITE_FULL:
        return err_set(err, "%s: the disk is full: make room in its folder", store->path);
    case SQLITE_BUSY:
    case SQLITE_LOCKED:
        return err_set(err, "%s: another program holds the store: try again when it has ended",
                       store->path);
    case SQLITE_READONLY:
    case SQLITE_CANTOPEN:
    case SQLITE_PERM:
    case SQLITE_AUTH:
        return err_set(err, "%s: %s: check the rights of the file and of its folder", store->path,
                       text);
    case SQLITE_INTERRUPT: return err_set(err, "%s: took too long and was stopped", store->path);
    case SQLITE_NOMEM: return err_set(err, "%s: out of memory", store->path);
    default:
        store->saw_damage = true; // our own SQL does not fit the tables that are there
        return err_set(err, "%s: %s (SQLite %d)", store->path, text, code);
    }
}

int query_begin(struct query *query, struct store *store, enum slot slot, const char *sql,
                struct err *err)
{
    sqlite3_stmt **kept = &store->slots[slot];
    if (slot == SLOT_ONCE) {
        (void)sqlite3_finalize(*kept);
        *kept = NULL;
    }
    if (*kept == NULL &&
        sqlite3_prepare_v3(store->db, sql, -1, SQLITE_PREPARE_PERSISTENT, kept, NULL) != SQLITE_OK)
        return store_failed(store, err);
    assert(!sqlite3_stmt_busy(*kept));
    if (!sqlite3_stmt_readonly(*kept)) {
        assert(store->in_round);
        // A full disk may have rolled the transaction back: a write now would commit alone.
        if (store->round_broken || sqlite3_get_autocommit(store->db) != 0) {
            store->round_broken = true;
            return err_set(err, "%s: an earlier write of this round failed", store->path);
        }
    }
    *query = (struct query){.store = store, .statement = *kept};
    return 0;
}

static void bound(struct query *query, int code)
{
    if (query->code == SQLITE_OK)
        query->code = code;
}

void query_int(struct query *query, int64_t value)
{
    bound(query, sqlite3_bind_int64(query->statement, ++query->place, value));
}

void query_int_or_null(struct query *query, bool present, int64_t value)
{
    query->place++;
    bound(query, present ? sqlite3_bind_int64(query->statement, query->place, value)
                         : sqlite3_bind_null(query->statement, query->place));
}

void query_real(struct query *query, double value)
{
    bound(query, sqlite3_bind_double(query->statement, ++query->place, value));
}

void query_text(struct query *query, const char *text)
{
    bound(query, sqlite3_bind_text(query->statement, ++query->place, text, -1, SQLITE_TRANSIENT));
}

void query_text_part(struct query *query, const char *text, size_t length)
{
    bound(query, sqlite3_bind_text64(query->statement, ++query->place, text, length,
                                     SQLITE_TRANSIENT, SQLITE_UTF8));
}

void query_blob(struct query *query, const void *bytes, size_t length)
{
    query->place++;
    if (length == 0) {
        bound(query, sqlite3_bind_zeroblob(query->statement, query->place, 0));
    } else {
        bound(query,
              sqlite3_bind_blob64(query->statement, query->place, bytes, length, SQLITE_TRANSIENT));
    }
}

int query_row(struct query *query, struct err *err)
{
    int code = query->code == SQLITE_OK ? sqlite3_step(query->statement) : query->code;
    if (code == SQLITE_ROW)
        return 1;
    int result = code == SQLITE_DONE ? 0 : store_failed(query->store, err);
    query_end(query);
    return result;
}

int query_run(struct query *query, struct err *err)
{
    int more;
    do {
        more = query_row(query, err);
    } while (more == 1);
    return more;
}

int query_find(struct query *query, struct store *store, enum slot slot, const char *sql,
               int64_t value, struct err *err)
{
    if (query_begin(query, store, slot, sql, err) != 0)
        return -1;
    query_int(query, value);
    return query_row(query, err);
}

int query_do(struct store *store, enum slot slot, const char *sql, const int64_t *values, int count,
             struct err *err)
{
    struct query query = {.store = store};
    if (query_begin(&query, store, slot, sql, err) != 0)
        return -1;
    for (int i = 0; i < count; i++)
        query_int(&query, values[i]);
    return query_run(&query, err);
}

void query_end(struct query *query)
{
    (void)sqlite3_reset(query->statement); // repeats the error of the step, which was taken there
    (void)sqlite3_clear_bindings(query->statement);
}

int64_t query_get_int(const struct query *query, int column)
{
    return sqlite3_column_int64(query->statement, column);
}

bool query_get_hash(const struct query *query, int column, uint8_t hash[static AUDIT_HASH_SIZE])
{
    bool whole = sqlite3_column_bytes(query->statement, column) == AUDIT_HASH_SIZE;
    if (whole)
        memcpy(hash, sqlite3_column_blob(query->statement, column), AUDIT_HASH_SIZE);
    return whole;
}

bool query_is_null(const struct query *query, int column)
{
    return sqlite3_column_type(query->statement, column) == SQLITE_NULL;
}

double query_get_real(const struct query *query, int column)
{
    return query_is_null(query, column) ? (double)NAN
                                        : sqlite3_column_double(query->statement, column);
}

void query_get_text(const struct query *query, int column, char *out, size_t size)
{
    const unsigned char *text = sqlite3_column_text(query->statement, column);
    if (text == NULL)
        text = (const unsigned char *)"";
    size_t length = strlen((const char *)text);
    if (length >= size) {
        length = size - 1;
        while (length > 0 && (text[length] & 0xC0U) == 0x80U)
            length--; // not in the middle of a character
    }
    memcpy(out, text, length);
    out[length] = '\0';
}
