// Small state by key, and the revisions of the configuration.
#include "store/chain.h"

int store_setting_put(struct store *store, const char *key, const char *value, struct err *err)
{
    struct query query;
    if (register_change(store, err) != 0 ||
        query_begin(&query, store, SLOT_SETTING_PUT,
                    "INSERT INTO setting VALUES (?1, ?2) ON CONFLICT DO UPDATE SET value = ?2",
                    err) != 0)
        return -1;
    query_text(&query, key);
    query_text(&query, value);
    return query_run(&query, err);
}

int store_setting_get(struct store *store, const char *key, char *value, size_t size,
                      struct err *err)
{
    struct query query;
    if (query_begin(&query, store, SLOT_SETTING_GET, "SELECT value FROM setting WHERE key = ?1",
                    err) != 0)
        return -1;
    query_text(&query, key);
    int found = query_row(&query, err);
    if (found == 1) {
        query_get_text(&query, 0, value, size);
        query_end(&query);
    }
    return found;
}

int store_revision_add(struct store *store, const char *revision, const char *text, size_t length,
                       const char *who, int64_t at_ms, struct err *err)
{
    struct query query;
    if (query_begin(&query, store, SLOT_REVISION_ADD,
                    "INSERT INTO revision(revision, text, who, at_ms)"
                    " SELECT ?1, CAST(?2 AS TEXT), ?3, ?4 WHERE ?1 IS NOT"
                    " (SELECT revision FROM revision ORDER BY number DESC LIMIT 1)",
                    err) != 0)
        return -1;
    query_text(&query, revision);
    query_blob(&query, text, length);
    query_text(&query, who);
    query_int(&query, at_ms);
    if (query_run(&query, err) != 0)
        return -1;
    return sqlite3_changes(store->db) == 0
               ? 0
               : chain_add(store, CHAINED_REVISION, sqlite3_last_insert_rowid(store->db), err);
}

int store_revision_is_newest(struct store *store, const char *revision, struct err *err)
{
    struct query query;
    if (query_begin(&query, store, SLOT_ONCE,
                    "SELECT revision = ?1 FROM revision ORDER BY number DESC LIMIT 1", err) != 0)
        return -1;
    query_text(&query, revision);
    int found = query_row(&query, err);
    if (found == 1) {
        found = query_get_int(&query, 0) != 0;
        query_end(&query);
    }
    return found;
}
