// The copy of a backup, its files and its name. restore.c takes it back.
#include "store/backup.h"

#include "base/file.h"
#include "base/timetext.h"
#include "store/database.h"

#include <errno.h>
#include <fcntl.h>
#include <libgen.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <unistd.h>

#define PATH_SIZE 4096
#define ROOM_MIN (INT64_C(16) * 1024 * 1024) // that a backup leaves on the disk

struct store_backup {
    char path[PATH_SIZE], part[PATH_SIZE + 8];
    sqlite3 *db; // the copy
    sqlite3_backup *copy;
    bool whole, finished;
};

static int failed(const struct store_backup *backup, const char *what, struct err *err)
{
    const char *text = backup->db != NULL ? sqlite3_errmsg(backup->db) : "out of memory";
    return err_set(err, "%s: %s: %s", backup->path, what, text);
}

static int execute(struct store_backup *backup, const char *sql, struct err *err)
{
    return sqlite3_exec(backup->db, sql, NULL, NULL, NULL) == SQLITE_OK
               ? 0
               : failed(backup, "the backup cannot be written", err);
}

static int open_copy(struct store_backup *backup, struct err *err)
{
    if (sqlite3_open_v2(backup->part, &backup->db, SQLITE_OPEN_READWRITE | SQLITE_OPEN_NOMUTEX,
                        NULL) != SQLITE_OK)
        return failed(backup, "the backup cannot be opened", err);
    return 0;
}

// The copy needs what the store has, and the files; polling must find room behind it.
static int check_room(const struct store *store, const char *path, struct err *err)
{
    struct stat size;
    struct statvfs disk;
    char copy[PATH_SIZE];
    (void)snprintf(copy, sizeof copy, "%s", path);
    const char *folder = dirname(copy);
    if (stat(store->path, &size) != 0 || statvfs(folder, &disk) != 0)
        return err_set(err, "%s: %s", folder, strerror(errno));
    int64_t room = (int64_t)disk.f_bavail * (int64_t)disk.f_frsize;
    int64_t need = (int64_t)size.st_size + ROOM_MIN;
    if (room >= need)
        return 0;
    return err_set(err, "%s has %lld MiB of room, the backup needs %lld: make room", folder,
                   (long long)(room >> 20), (long long)(need >> 20));
}

// The file is made by us, so that nobody else can read it before the first byte is in it.
static int make_part(struct store_backup *backup, struct err *err)
{
    (void)unlink(backup->part); // of a backup that was cut off
    int file = open(backup->part, O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
    if (file < 0)
        return err_set(err, "%s: cannot be made: %s", backup->part, strerror(errno));
    (void)close(file);
    return 0;
}

int store_backup_begin(struct store *store, const char *path, struct store_backup **out,
                       struct err *err)
{
    struct store_backup *backup = calloc(1, sizeof *backup);
    if (backup == NULL)
        return err_set(err, "out of memory for a backup");
    int length = snprintf(backup->path, sizeof backup->path, "%s", path);
    (void)snprintf(backup->part, sizeof backup->part, "%s.part", backup->path);
    int result = (size_t)length < sizeof backup->path ? check_room(store, path, err)
                                                      : err_set(err, "the path is too long");
    // No journal and no sync: a cut in between leaves a part that nobody takes for a backup.
    if (result != 0 || make_part(backup, err) != 0 || open_copy(backup, err) != 0 ||
        execute(backup, "PRAGMA journal_mode = OFF; PRAGMA synchronous = OFF", err) != 0) {
        store_backup_free(backup);
        return -1;
    }
    backup->copy = sqlite3_backup_init(backup->db, "main", store->db, "main");
    if (backup->copy == NULL) {
        (void)failed(backup, "the backup cannot begin", err);
        store_backup_free(backup);
        return -1;
    }
    *out = backup;
    return 0;
}

int store_backup_step(struct store_backup *backup, int pages, int *done, int *all, struct err *err)
{
    int code = sqlite3_backup_step(backup->copy, pages);
    int count = sqlite3_backup_pagecount(backup->copy);
    if (all != NULL)
        *all = count;
    if (done != NULL)
        *done = count - sqlite3_backup_remaining(backup->copy);
    if (code == SQLITE_OK || code == SQLITE_BUSY || code == SQLITE_LOCKED)
        return 1;
    if (code != SQLITE_DONE) {
        return err_set(err, "%s: the backup cannot be written: %s", backup->path,
                       sqlite3_errstr(code));
    }
    code = sqlite3_backup_finish(backup->copy);
    backup->copy = NULL;
    backup->whole = code == SQLITE_OK;
    return backup->whole ? 0 : failed(backup, "the backup cannot be written", err);
}

// --- what stands beside the store ---

static int note(struct store_backup *backup, const char *key, const char *value, struct err *err)
{
    sqlite3_stmt *statement = NULL;
    bool done = sqlite3_prepare_v2(backup->db, "INSERT INTO backup_note VALUES (?1, ?2)", -1,
                                   &statement, NULL) == SQLITE_OK &&
                sqlite3_bind_text(statement, 1, key, -1, SQLITE_STATIC) == SQLITE_OK &&
                sqlite3_bind_text(statement, 2, value, -1, SQLITE_STATIC) == SQLITE_OK &&
                sqlite3_step(statement) == SQLITE_DONE;
    int result = done ? 0 : failed(backup, "the backup cannot be written", err);
    (void)sqlite3_finalize(statement);
    return result;
}

static int add_file(struct store_backup *backup, const struct backup_file *file, struct err *err)
{
    sqlite3_stmt *statement = NULL;
    bool done = sqlite3_prepare_v2(backup->db, "INSERT INTO backup_file VALUES (?1, ?2, ?3)", -1,
                                   &statement, NULL) == SQLITE_OK &&
                sqlite3_bind_text(statement, 1, file->name, -1, SQLITE_STATIC) == SQLITE_OK &&
                sqlite3_bind_text(statement, 2, file->origin, -1, SQLITE_STATIC) == SQLITE_OK &&
                sqlite3_bind_blob64(statement, 3, file->length > 0 ? file->bytes : "", file->length,
                                    SQLITE_STATIC) == SQLITE_OK &&
                sqlite3_step(statement) == SQLITE_DONE;
    int result = done ? 0 : failed(backup, "the backup cannot be written", err);
    (void)sqlite3_finalize(statement);
    return result;
}

// The copy's header says WAL, as the store's does: it becomes one file by itself first.
static int add_about(struct store_backup *backup, const struct backup_about *about, struct err *err)
{
    char at[TIME_TEXT_MAX];
    (void)time_print(about->at_ms, at);
    if (execute(backup,
                "PRAGMA journal_mode = DELETE; PRAGMA synchronous = OFF; BEGIN;"
                "CREATE TABLE backup_note(key TEXT PRIMARY KEY, value TEXT NOT NULL) STRICT;"
                "CREATE TABLE backup_file(name TEXT PRIMARY KEY, origin TEXT NOT NULL,"
                " bytes BLOB NOT NULL) STRICT",
                err) != 0 ||
        note(backup, "format", "1", err) != 0 || note(backup, "at", at, err) != 0 ||
        note(backup, "gateway", about->gateway, err) != 0 ||
        note(backup, "software", about->software, err) != 0 ||
        note(backup, "left_out", about->left_out, err) != 0)
        return -1;
    // The configuration in force and the newest text of each profile stand in the store itself.
    if (execute(backup,
                "INSERT INTO backup_file SELECT 'config.yaml', 'revision ' || revision,"
                " CAST(text AS BLOB) FROM revision ORDER BY number DESC LIMIT 1;"
                "INSERT OR IGNORE INTO backup_file SELECT 'profiles/' || name || '.yaml',"
                " 'decoder ' || revision, CAST(profile AS BLOB) FROM decoder"
                " ORDER BY revision DESC",
                err) != 0)
        return -1;
    for (int i = 0; i < about->file_count; i++)
        if (add_file(backup, &about->files[i], err) != 0)
            return -1;
    return execute(backup, "COMMIT", err);
}

static int close_copy(struct store_backup *backup, struct err *err)
{
    int code = sqlite3_close(backup->db);
    backup->db = NULL;
    return code == SQLITE_OK ? 0 : err_set(err, "%s: cannot be closed", backup->part);
}

static int seal(struct store_backup *backup, struct backup_summary *out, struct err *err)
{
    struct stat status;
    int file = open(backup->part, O_RDWR | O_CLOEXEC);
    if (file < 0)
        return err_set(err, "%s: %s", backup->part, strerror(errno));
    int result = seal_add(file, backup->path, out->sum, err);
    if (result == 0 && fstat(file, &status) == 0)
        out->bytes = (int64_t)status.st_size;
    if (close(file) != 0 && result == 0)
        result = err_set(err, "%s: cannot be written: %s", backup->path, strerror(errno));
    return result;
}

// What bears the name already stays.
static int give_name(struct store_backup *backup, struct err *err)
{
    char copy[PATH_SIZE];
    (void)snprintf(copy, sizeof copy, "%s", backup->path);
    if (renameat2(AT_FDCWD, backup->part, AT_FDCWD, backup->path, RENAME_NOREPLACE) != 0 &&
        (errno != EINVAL || link(backup->part, backup->path) != 0 || unlink(backup->part) != 0))
        return err_set(err, "%s: cannot be made: %s", backup->path, strerror(errno));
    return folder_sync(dirname(copy), err) == 0 ? 0 : err_add(err, "%s: written", backup->path);
}

int store_backup_finish(struct store_backup *backup, const struct backup_about *about,
                        struct backup_summary *out, struct err *err)
{
    if (!backup->whole)
        return err_set(err, "%s: the copy is not whole", backup->path);
    // A connection of its own: the first one knows the copy as it was when it was empty.
    if (close_copy(backup, err) != 0 || open_copy(backup, err) != 0 ||
        add_about(backup, about, err) != 0 || close_copy(backup, err) != 0 ||
        seal(backup, out, err) != 0 || give_name(backup, err) != 0)
        return -1;
    backup->finished = true;
    return 0;
}

void store_backup_free(struct store_backup *backup)
{
    if (backup == NULL)
        return;
    if (backup->copy != NULL)
        (void)sqlite3_backup_finish(backup->copy);
    (void)sqlite3_close(backup->db);
    if (!backup->finished)
        (void)unlink(backup->part);
    free(backup);
}
