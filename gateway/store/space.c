// How large the store is, and giving back what is free in it.
#include "store/leave.h"

#include <assert.h>
#include <stdio.h>
#include <sys/stat.h>

#define PAGE 4096

int store_space(struct store *store, struct store_space *out, struct err *err)
{
    int64_t pages;
    int64_t unused;
    int64_t size;
    char path[sizeof store->path + 8];
    struct stat status = {.st_size = 0};
    if (store_ask(store, "PRAGMA page_count", &pages, err) != 0 ||
        store_ask(store, "PRAGMA freelist_count", &unused, err) != 0 ||
        store_ask(store, "PRAGMA page_size", &size, err) != 0)
        return -1;
    (void)snprintf(path, sizeof path, "%s-wal", store->path);
    bool has_log = stat(path, &status) == 0;
    *out = (struct store_space){.file_bytes = pages * size,
                                .free_bytes = unused * size,
                                .log_bytes = has_log ? (int64_t)status.st_size : 0};
    return 0;
}

int store_vacuum(struct store *store, int pages, struct err *err)
{
    char sql[64];
    assert(!store->in_round && pages > 0);
    (void)snprintf(sql, sizeof sql, "PRAGMA incremental_vacuum(%d)", pages);
    return store_execute(store, sql, err);
}

int store_limit(struct store *store, int64_t bytes, struct err *err)
{
    char sql[64];
    (void)snprintf(sql, sizeof sql, "PRAGMA max_page_count = %lld", (long long)(bytes / PAGE));
    return store_execute(store, sql, err);
}

int store_bring_home(struct store *store, bool keep_file, struct err *err)
{
    int mode = keep_file ? SQLITE_CHECKPOINT_RESTART : SQLITE_CHECKPOINT_TRUNCATE;
    assert(!store->in_round);
    (void)sqlite3_busy_timeout(store->db, 0); // a reader goes on: nobody waits for it
    int code = sqlite3_wal_checkpoint_v2(store->db, NULL, mode, NULL, NULL);
    (void)sqlite3_busy_timeout(store->db, STORE_BUSY_MS);
    if ((code & 0xFF) == SQLITE_BUSY)
        return 1;
    return code == SQLITE_OK ? 0 : store_failed(store, err);
}

bool store_is_full(const struct store *store)
{
    return store->is_full;
}

int store_shed_messages(struct store *store, int64_t *messages, struct err *err)
{
    return store_ask(store,
                     "SELECT coalesce(sum(last - first + 1), 0) FROM gap"
                     " WHERE reason = '" LEAVE_REASON "'",
                     messages, err);
}
