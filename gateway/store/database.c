// Opening, checking and closing the file.
#include "store/database.h"

#include "base/file.h"
#include "base/log.h"
#include "store/backup.h"
#include "store/query.h"
#include "store/reading_chain.h"
#include "store/reading_find.h"
#include "store/tail.h"

#include <assert.h>
#include <errno.h>
#include <fcntl.h>
#include <libgen.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <time.h>
#include <unistd.h>

#define QUICK_CHECK_LIMIT_MS 10000  // of the check at start; a larger store is checked in part
#define WHOLE_CHECK_LIMIT_MS 120000 // after a run that met damage
#define DOUBT_RUNS_MAX 3            // ended by damage in a row, though each check was passed
#define CHECK_STEPS 10000           // virtual machine steps between two looks at the clock
#define LENGTH_MAX (32 * 1024 * 1024)
#define ROW_BYTES_MAX 65536 // words, marks or body of one row

static int folder_make(const char *path, struct err *err)
{
    if (mkdir(path, 0700) == 0) {
        char copy[4096];
        (void)snprintf(copy, sizeof copy, "%s", path);
        return folder_sync(dirname(copy), err);
    }
    if (errno != EEXIST)
        return err_set(err, "%s: %s: cannot make the state folder", path, strerror(errno));
    return 0;
}

// Makes the file with mode 0600 before SQLite does; its -wal and -shm take the same mode. Opens no
// file that exists: closing it again would drop another connection's locks.
static int file_make(const char *directory, const char *path, struct err *err)
{
    int file = open(path, O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
    if (file >= 0) {
        (void)close(file);
        return folder_sync(directory, err);
    }
    if (errno != EEXIST)
        return err_set(err, "%s: %s: cannot make the store", path, strerror(errno));
    if (chmod(path, 0600) != 0)
        return err_set(err, "%s: %s: the store is not this user's", path, strerror(errno));
    return 0;
}

int store_execute(struct store *store, const char *sql, struct err *err)
{
    return sqlite3_exec(store->db, sql, NULL, NULL, NULL) == SQLITE_OK ? 0
                                                                       : store_failed(store, err);
}

int store_ask(struct store *store, const char *sql, int64_t *out, struct err *err)
{
    sqlite3_stmt *statement = NULL;
    if (sqlite3_prepare_v2(store->db, sql, -1, &statement, NULL) != SQLITE_OK)
        return store_failed(store, err);
    int result = 0;
    if (sqlite3_step(statement) == SQLITE_ROW)
        *out = sqlite3_column_int64(statement, 0);
    else
        result = store_failed(store, err);
    (void)sqlite3_finalize(statement);
    return result;
}

// The file may be hostile (a card that was swapped): nothing of its schema is executed. What is
// deleted is overwritten with zeros in pages that are written anyway; a page that becomes free as a
// whole is not written for that alone: it would cost the flash a page twice for each page of
// readings that retention takes.
static int harden(struct store *store, struct err *err)
{
    static const struct {
        int option, value;
    } options[] = {
        {SQLITE_DBCONFIG_DEFENSIVE, 1},      {SQLITE_DBCONFIG_TRUSTED_SCHEMA, 0},
        {SQLITE_DBCONFIG_ENABLE_TRIGGER, 0}, {SQLITE_DBCONFIG_ENABLE_VIEW, 0},
        {SQLITE_DBCONFIG_DQS_DML, 0},        {SQLITE_DBCONFIG_DQS_DDL, 0},
        {SQLITE_DBCONFIG_ENABLE_FKEY, 1},    {SQLITE_DBCONFIG_ENABLE_LOAD_EXTENSION, 0},
    };
    for (size_t i = 0; i < sizeof options / sizeof options[0]; i++)
        if (sqlite3_db_config(store->db, options[i].option, options[i].value, NULL) != SQLITE_OK)
            return store_failed(store, err);
    (void)sqlite3_limit(store->db, SQLITE_LIMIT_LENGTH, LENGTH_MAX);
    (void)sqlite3_busy_timeout(store->db, STORE_BUSY_MS);
    return store_execute(store,
                         "PRAGMA cell_size_check = ON; PRAGMA mmap_size = 0;"
                         "PRAGMA temp_store = MEMORY; PRAGMA secure_delete = FAST",
                         err);
}

static int wal_grew(void *context, sqlite3 *db, const char *name, int pages)
{
    (void)db;
    (void)name;
    ((struct store *)context)->wal_pages = pages;
    return SQLITE_OK;
}

// auto_vacuum and page_size count only before the first table, and before WAL. Where there is one,
// asking for it would write a page before the file has been checked.
static int prepare_empty(struct store *store, struct err *err)
{
    int64_t pages = 0;
    if (store_ask(store, "PRAGMA page_count", &pages, err) != 0)
        return -1;
    return pages > 0 ? 0
                     : store_execute(
                           store, "PRAGMA page_size = 4096; PRAGMA auto_vacuum = INCREMENTAL", err);
}

static int prepare_writer(struct store *store, struct err *err)
{
    if (prepare_empty(store, err) != 0 ||
        store_execute(store,
                      "PRAGMA journal_mode = WAL; PRAGMA synchronous = FULL;"
                      "PRAGMA journal_size_limit = 8388608; PRAGMA cache_size = -1024",
                      err) != 0)
        return -1;
    int64_t synchronous = 0;
    sqlite3_stmt *statement = NULL;
    bool wal =
        sqlite3_prepare_v2(store->db, "PRAGMA journal_mode", -1, &statement, NULL) == SQLITE_OK &&
        sqlite3_step(statement) == SQLITE_ROW &&
        strcmp((const char *)sqlite3_column_text(statement, 0), "wal") == 0;
    (void)sqlite3_finalize(statement);
    if (store_ask(store, "PRAGMA synchronous", &synchronous, err) != 0)
        return -1;
    if (!wal || synchronous != 2) {
        return err_set(err, "%s: this file system cannot hold a write-ahead log: use a local disk",
                       store->path);
    }
    // SQLite's own checkpoint after a commit hides its errors; ours does not (round.c).
    (void)sqlite3_wal_hook(store->db, wal_grew, store);
    return 0;
}

struct deadline {
    struct timespec end;
    bool passed;
};

static int is_late(void *context)
{
    struct deadline *deadline = context;
    struct timespec now;
    (void)clock_gettime(CLOCK_MONOTONIC, &now);
    deadline->passed = now.tv_sec > deadline->end.tv_sec ||
                       (now.tv_sec == deadline->end.tv_sec && now.tv_nsec >= deadline->end.tv_nsec);
    return deadline->passed;
}

// After a run that met damage the check is the whole one, and takes its time.
static int quick_check(struct store *store, struct err *err)
{
    struct deadline deadline = {.passed = false};
    struct store_doubt doubt;
    doubt_read(store->path, &doubt);
    bool whole = doubt.runs > 0 && doubt.damage;
    if (whole && doubt.runs >= DOUBT_RUNS_MAX) {
        store->is_damaged = true;
        return err_set(err, "%s: damage of the file ended %d runs in a row", store->path,
                       doubt.runs);
    }
    (void)clock_gettime(CLOCK_MONOTONIC, &deadline.end);
    deadline.end.tv_sec += (whole ? WHOLE_CHECK_LIMIT_MS : QUICK_CHECK_LIMIT_MS) / 1000;
    sqlite3_stmt *statement = NULL;
    const char *sql = whole ? "PRAGMA integrity_check(1)" : "PRAGMA quick_check(1)";
    if (sqlite3_prepare_v2(store->db, sql, -1, &statement, NULL) != SQLITE_OK)
        return store_failed(store, err);
    sqlite3_progress_handler(store->db, CHECK_STEPS, is_late, &deadline);
    int code = sqlite3_step(statement);
    int result = 0;
    if (code == SQLITE_ROW) {
        const char *text = (const char *)sqlite3_column_text(statement, 0);
        if (text == NULL || strcmp(text, "ok") != 0) {
            store->is_damaged = true;
            result = err_set(err,
                             "%s is damaged (%s): keep it, move it away and start again, or put a "
                             "backup in its place",
                             store->path, text == NULL ? "" : text);
        }
    } else if (deadline.passed) {
        log_warn("store", "%s is large: checked for %d s only; 'metergate verify' checks all of it",
                 store->path, QUICK_CHECK_LIMIT_MS / 1000);
    } else {
        result = store_failed(store, err);
    }
    sqlite3_progress_handler(store->db, 0, NULL, NULL);
    (void)sqlite3_finalize(statement);
    return result;
}

static struct store *store_new(const char *directory, struct err *err)
{
    struct store *store = calloc(1, sizeof *store);
    if (store == NULL) {
        (void)err_set(err, "out of memory");
        return NULL;
    }
    buf_init(&store->words, ROW_BYTES_MAX);
    buf_init(&store->marks, ROW_BYTES_MAX);
    buf_init(&store->body, ROW_BYTES_MAX);
    (void)snprintf(store->directory, sizeof store->directory, "%s", directory);
    int length = snprintf(store->path, sizeof store->path, "%s/%s", directory, STORE_FILE);
    if (length < 0 || (size_t)length >= sizeof store->path) {
        (void)err_set(err, "the path of the state folder is too long");
        free(store);
        return NULL;
    }
    return store;
}

static int open_file(struct store *store, const char *name, int flags, struct err *err)
{
    int code = sqlite3_open_v2(name, &store->db, flags | SQLITE_OPEN_NOMUTEX, NULL);
    if (store->db == NULL)
        return err_set(err, "out of memory");
    if (code != SQLITE_OK)
        return store_failed(store, err);
    (void)sqlite3_extended_result_codes(store->db, 1);
    return harden(store, err);
}

// A disk that is read-only has no room for the files that a reader shares with others: then the
// file is read as it was when its log was last brought home. Nobody can change it meanwhile.
static int open_to_read(struct store *store, struct err *err)
{
    struct statvfs disk;
    int64_t tables;
    if (open_file(store, store->path, SQLITE_OPEN_READONLY, err) == 0 &&
        store_ask(store, "SELECT count(*) FROM sqlite_schema", &tables, err) == 0)
        return 0;
    if (statvfs(store->directory, &disk) != 0 || (disk.f_flag & ST_RDONLY) == 0)
        return -1;
    char name[3 * sizeof store->path + 32] = "file:";
    size_t at = strlen(name);
    for (const char *c = store->path; *c != '\0'; c++)
        at += (size_t)snprintf(name + at, sizeof name - at,
                               strchr("%?#", *c) != NULL ? "%%%02X" : "%c", (unsigned char)*c);
    (void)snprintf(name + at, sizeof name - at, "?immutable=1");
    (void)sqlite3_close(store->db);
    store->db = NULL;
    return open_file(store, name, SQLITE_OPEN_READONLY | SQLITE_OPEN_URI, err);
}

static int load_stream(struct store *store, struct err *err)
{
    char stream[UUID_SIZE];
    int found = store_setting_get(store, "stream", stream, sizeof stream, err);
    store->is_damaged =
        store->is_damaged || found == 0 || (found == 1 && strlen(stream) != UUID_SIZE - 1);
    if (found == 0 || (found == 1 && strlen(stream) != UUID_SIZE - 1))
        return err_set(err, "%s is damaged: it has no stream", store->path);
    if (found != 1)
        return -1;
    memcpy(store->stream, stream, sizeof stream);
    memcpy(store->origin, stream, sizeof stream);
    return store_setting_get(store, "origin", store->origin, sizeof store->origin, err) < 0 ? -1
                                                                                            : 0;
}

int store_open(const char *directory, struct store **out, struct err *err)
{
    struct store_fault fault;
    return store_open_judged(directory, out, &fault, err);
}

int store_open_judged(const char *directory, struct store **out, struct store_fault *fault,
                      struct err *err)
{
    struct store *store = store_new(directory, err);
    *fault = (struct store_fault){.damaged = false};
    if (store == NULL)
        return -1;
    if (folder_make(directory, err) != 0 || store_restore_finish(directory, err) != 0 ||
        file_make(directory, store->path, err) != 0 ||
        open_file(store, store->path, SQLITE_OPEN_READWRITE, err) != 0 ||
        prepare_writer(store, err) != 0 || quick_check(store, err) != 0 ||
        store_migrate(store, err) != 0 || load_stream(store, err) != 0) {
        *fault = (struct store_fault){store->is_damaged, store->disk_failed};
        store_close(store);
        return -1;
    }
    store->disk_error_ends = true;
    *out = store;
    return 0;
}

int store_open_reader(const char *directory, struct store **out, struct err *err)
{
    struct store *store = store_new(directory, err);
    if (store == NULL)
        return -1;
    store->reader = true;
    if (access(store->path, F_OK) != 0) {
        (void)err_set(err, "%s: %s: name the state folder of a gateway that has run", store->path,
                      strerror(errno));
        store_close(store);
        return -1;
    }
    if (open_to_read(store, err) != 0 ||
        sqlite3_db_config(store->db, SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, 1, NULL) != SQLITE_OK ||
        store_execute(store,
                      "PRAGMA query_only = ON; PRAGMA wal_autocheckpoint = 0;"
                      "PRAGMA cache_size = -512",
                      err) != 0 ||
        store_check_version(store, err) != 0 || load_stream(store, err) != 0) {
        store_close(store);
        return -1;
    }
    *out = store;
    return 0;
}

struct store *store_open_damaged(const char *path, struct err *err)
{
    struct store *store = store_new("", err);
    if (store == NULL)
        return NULL;
    store->reader = true;
    (void)snprintf(store->path, sizeof store->path, "%s", path);
    if (open_file(store, store->path, SQLITE_OPEN_READONLY, err) == 0)
        return store;
    store_close(store);
    return NULL;
}

void store_close(struct store *store)
{
    if (store == NULL)
        return;
    if (store->in_round)
        store_round_cancel(store);
    for (size_t i = 0; i < SLOTS; i++)
        (void)sqlite3_finalize(store->slots[i]);
    if (store->disk_error_ends) {
        // The last close checkpoints too, but would keep its error for itself.
        int code =
            sqlite3_wal_checkpoint_v2(store->db, NULL, SQLITE_CHECKPOINT_PASSIVE, NULL, NULL);
        if (code != SQLITE_OK && (code & 0xFF) != SQLITE_BUSY) {
            struct err err;
            (void)store_failed(store, &err);
            log_warn("store", "%s", err.text);
        }
    }
    (void)sqlite3_close(store->db);
    store_profiles_free(store);
    store_meters_forget(store);
    tail_free(store);
    reading_chain_free(store);
    readings_forget(store);
    buf_release(&store->words);
    buf_release(&store->marks);
    buf_release(&store->body);
    free(store);
}

// A view that cannot be had is none: each read then has its own.
void store_view_begin(struct store *store)
{
    assert(store->reader);
    (void)sqlite3_exec(store->db, "BEGIN", NULL, NULL, NULL);
}

void store_view_end(struct store *store)
{
    if (sqlite3_get_autocommit(store->db) == 0)
        (void)sqlite3_exec(store->db, "COMMIT", NULL, NULL, NULL);
}

bool store_glance_begin(struct store *store)
{
    bool begins = sqlite3_get_autocommit(store->db) != 0;
    return begins && sqlite3_exec(store->db, "BEGIN", NULL, NULL, NULL) == SQLITE_OK;
}

void store_glance_end(struct store *store, bool began)
{
    if (began && sqlite3_get_autocommit(store->db) == 0)
        (void)sqlite3_exec(store->db, "COMMIT", NULL, NULL, NULL);
}

const char *store_directory(const struct store *store)
{
    return store->directory;
}

const char *store_stream(const struct store *store)
{
    return store->stream;
}

int64_t store_damaged(const struct store *store)
{
    return store->damaged;
}

void store_row_damaged(struct store *store, const char *table, int64_t row, const struct err *why)
{
    store->damaged++;
    log_warn("store", "%s %lld cannot be read and is left out: %s", table, (long long)row,
             why->text);
}

// Newest by each table's own order; the clock's floor needs no more.
int64_t store_newest_ms(struct store *store)
{
    struct query query;
    int64_t newest = 0;
    if (query_begin(&query, store, SLOT_NEWEST,
                    "SELECT max("
                    "coalesce((SELECT at_ms FROM period ORDER BY id DESC LIMIT 1), 0),"
                    " coalesce((SELECT max(at_ms) FROM alert_change), 0),"
                    " coalesce((SELECT at_ms FROM audit ORDER BY number DESC LIMIT 1), 0))",
                    NULL) == 0 &&
        query_row(&query, NULL) == 1) {
        newest = query_get_int(&query, 0);
        query_end(&query);
    }
    int64_t reading = 0;
    if (store_reading_newest(store, &reading, NULL) != 0)
        return newest;
    return reading > newest ? reading : newest;
}
