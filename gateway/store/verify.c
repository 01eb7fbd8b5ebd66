// `metergate verify`: what the store promises, looked at row by row.
#include "store/reading_find.h"
#include "store/tail.h"
#include "store/verify_heads.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#define FAULTS_NAMED_MAX 1000 // more are counted only

void verify_fault(struct verify *verify, const char *format, ...)
{
    verify->count++;
    if (verify->count > FAULTS_NAMED_MAX)
        return;
    char text[ERR_TEXT_MAX];
    va_list arguments;
    va_start(arguments, format);
    (void)vsnprintf(text, sizeof text, format, arguments);
    va_end(arguments);
    verify->fault(verify->context, text);
}

static int verify_file(struct verify *verify, struct err *err)
{
    struct query query;
    if (query_begin(&query, verify->store, SLOT_ONCE, "PRAGMA integrity_check(100)", err) != 0)
        return -1;
    int more;
    while ((more = query_row(&query, err)) == 1) {
        char text[ERR_TEXT_MAX / 2];
        query_get_text(&query, 0, text, sizeof text);
        if (strcmp(text, "ok") != 0)
            verify_fault(verify, "file: %s", text);
    }
    if (more < 0 ||
        query_begin(&query, verify->store, SLOT_ONCE, "PRAGMA foreign_key_check", err) != 0)
        return -1;
    while ((more = query_row(&query, err)) == 1) {
        char table[64];
        char parent[64];
        query_get_text(&query, 0, table, sizeof table);
        query_get_text(&query, 2, parent, sizeof parent);
        verify_fault(verify, "%s %lld names a %s that is not there", table,
                     (long long)query_get_int(&query, 1), parent);
    }
    return more;
}

int verify_relations(struct verify *verify, const struct verify_relation *relations, size_t count,
                     struct err *err)
{
    for (size_t i = 0; i < count; i++) {
        struct query query;
        if (query_begin(&query, verify->store, SLOT_ONCE, relations[i].sql, err) != 0)
            return -1;
        int more;
        while ((more = query_row(&query, err)) == 1) {
            verify_fault(verify, "%s %lld %s", relations[i].table,
                         (long long)query_get_int(&query, 0), relations[i].text);
        }
        if (more < 0)
            return -1;
    }
    return 0;
}

static int verify_parts(struct verify *verify, struct err *err)
{
    static int (*const parts[])(struct verify *, struct err *) = {
        verify_file,     verify_audit, verify_chains, verify_outbox,
        verify_readings, verify_rows,  verify_ledgers};
    for (size_t i = 0; i < sizeof parts / sizeof parts[0]; i++) {
        struct err why = {.text = ""};
        if (parts[i](verify, &why) == 0)
            continue;
        if (!verify->store->saw_damage)
            return err_set(err, "%s", why.text);
        verify_fault(verify, "%s", why.text);
    }
    return 0;
}

// All of it in one view of the store.
static int verify_view(struct verify *verify, const struct chain_head *published, int count,
                       struct err *err)
{
    verify->heads = heads_new(verify->store, published, count, err);
    if (verify->heads == NULL && !verify->store->saw_damage)
        return -1;
    if (verify->heads == NULL) { // the audit chain cannot be read: the parts say more of it
        verify_fault(verify, "%s", err->text);
        verify->heads = heads_new(NULL, NULL, 0, err);
    }
    int result = verify->heads == NULL ? -1 : verify_parts(verify, err);
    if (result == 0)
        result = heads_check(verify->heads, verify, err);
    heads_free(verify->heads);
    return result;
}

int store_verify_published(struct store *store, const struct chain_head *published, int count,
                           void (*fault)(void *context, const char *text), void *context,
                           struct err *err)
{
    struct verify verify = {.store = store, .fault = fault, .context = context};
    if (store->in_round && (tail_flush(store, err) != 0 || register_commit(store, err) != 0))
        return -1;
    readings_forget(store);
    bool ends = store->disk_error_ends;
    bool begins = !store->in_round; // one view of the whole store
    store->disk_error_ends = false; // damage is what is looked for
    store->saw_damage = false;
    int result = begins ? store_execute(store, "BEGIN", err) : 0;
    if (result == 0) {
        result = verify_view(&verify, published, count, err);
        if (begins && sqlite3_get_autocommit(store->db) == 0 &&
            store_execute(store, "ROLLBACK", NULL) != 0)
            verify_fault(&verify, "file: %s", sqlite3_errmsg(store->db));
    }
    store->disk_error_ends = ends;
    return result == 0 ? verify.count : -1;
}

int store_verify(struct store *store, void (*fault)(void *context, const char *text), void *context,
                 struct err *err)
{
    return store_verify_published(store, NULL, 0, fault, context, err);
}
