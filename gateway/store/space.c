// How large the store is, and giving back what is free in it.
#include "store/query.h"

#include <assert.h>
#include <stdio.h>
#include <sys/stat.h>

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
