// A backup becomes the state again. All of it is made beside the present state, in restore.new; the
// renaming of that folder to restore.ready decides; then one file after the other changes places,
// in an order that can be gone on with after a power cut.
//
// Rows keep their lane and seq, under the new stream. What the backup knows as acknowledged was
// received under the old one: a gap for each lane says that it will not come again under the new
// one; what waited then is sent (it may have been sent in the meantime, under the old stream).
#include "store/backup.h"

#include "base/file.h"
#include "base/log.h"
#include "base/timetext.h"
#include "store/query.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#define PATH_SIZE 4096
#define FRESH "restore.new"
#define READY "restore.ready"
#define ASIDE "aside" // in READY: the name of the folder for the present state
#define ORIGIN_SETTING "origin"
#define TREE_DEPTH_MAX 4

static int join(char path[static PATH_SIZE], const char *folder, const char *name, struct err *err)
{
    if ((size_t)snprintf(path, PATH_SIZE, "%s/%s", folder, name) < PATH_SIZE)
        return 0;
    return err_set(err, "%s/%s: the path is too long", folder, name);
}

// Takes away what an attempt left: folders of our own making only.
static void tree_remove(int parent, const char *name, int depth)
{
    int folder = openat(parent, name, O_RDONLY | O_DIRECTORY | O_CLOEXEC | O_NOFOLLOW);
    DIR *dir = folder >= 0 ? fdopendir(folder) : NULL;
    if (dir == NULL) {
        if (folder >= 0)
            (void)close(folder);
        return;
    }
    for (const struct dirent *entry; (entry = readdir(dir)) != NULL;) {
        if (strcmp(entry->d_name, ".") == 0 || strcmp(entry->d_name, "..") == 0)
            continue;
        if (unlinkat(folder, entry->d_name, 0) != 0 && depth < TREE_DEPTH_MAX)
            tree_remove(folder, entry->d_name, depth + 1);
    }
    (void)closedir(dir);
    (void)unlinkat(parent, name, AT_REMOVEDIR);
}

static bool exists(const char *folder, const char *name)
{
    char path[PATH_SIZE];
    struct stat status;
    return join(path, folder, name, NULL) == 0 && lstat(path, &status) == 0;
}

bool store_restore_waits(const char *directory)
{
    return exists(directory, READY);
}

// --- the copy ---

static int copy_store(const struct restore_settings *settings, const char *fresh, struct err *err)
{
    char path[PATH_SIZE];
    int64_t bytes;
    if (mkdir(fresh, 0700) != 0)
        return err_set(err, "%s: cannot be made: %s", fresh, strerror(errno));
    if (join(path, fresh, STORE_FILE, err) != 0)
        return -1;
    int file = open(path, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
    if (file < 0)
        return err_set(err, "%s: cannot be made: %s", path, strerror(errno));
    int result = seal_copy(settings->path, file, &bytes, err);
    (void)close(file);
    return result;
}

static int read_note(struct store *store, const char *key, char *value, size_t size,
                     struct err *err)
{
    struct query query;
    if (query_begin(&query, store, SLOT_ONCE, "SELECT value FROM backup_note WHERE key = ?1",
                    err) != 0)
        return -1;
    query_text(&query, key);
    int found = query_row(&query, err);
    if (found != 1)
        return found < 0 ? -1 : err_set(err, "the backup lacks its '%s'", key);
    query_get_text(&query, 0, value, size);
    query_end(&query);
    return 0;
}

static int read_notes(struct store *store, struct restore_report *report, struct err *err)
{
    char format[8];
    char at[TIME_TEXT_MAX];
    if (read_note(store, "format", format, sizeof format, err) != 0 ||
        read_note(store, "at", at, sizeof at, err) != 0 ||
        read_note(store, "gateway", report->gateway, sizeof report->gateway, err) != 0)
        return -1;
    if (strcmp(format, "1") != 0 || time_parse(at, &report->backup_ms) != 0) {
        return err_set(err, "the backup has form %s of %s: use the program that made it", format,
                       at);
    }
    memcpy(report->old_stream, store_stream(store), UUID_SIZE);
    return 0;
}

// A backup of one gateway must not become another one's history. A present store that cannot be
// read is no hindrance: then a backup is needed most.
static int check_owner(const char *directory, const struct restore_report *report, struct err *err)
{
    struct store *store = NULL;
    struct err why;
    char owner[ID_SIZE] = "";
    if (!exists(directory, STORE_FILE))
        return 0;
    if (store_open_reader(directory, &store, &why) != 0) {
        log_warn("restore", "the present store cannot be read: %s", why.text);
        return 0;
    }
    int found = store_setting_get(store, "gateway", owner, sizeof owner, &why);
    store_close(store);
    if (found != 1 || strcmp(owner, report->gateway) == 0)
        return 0;
    return err_set(err, "the backup is of gateway '%s', %s belongs to '%s': name another folder",
                   report->gateway, directory, owner);
}

// --- files of the backup ---

// Names in a backup are of our own form: "config.yaml", "profiles/NAME.yaml". Another one must not
// reach out of the folder.
static bool is_safe_name(const char *name)
{
    int slashes = 0;
    for (const char *at = name; *at != '\0'; at++) {
        bool letter = (*at >= 'a' && *at <= 'z') || (*at >= 'A' && *at <= 'Z') ||
                      (*at >= '0' && *at <= '9') || strchr("-_.", *at) != NULL;
        slashes += *at == '/';
        if (!letter && *at != '/')
            return false;
    }
    return name[0] != '\0' && name[0] != '/' && name[0] != '.' && slashes <= 1 &&
           strstr(name, "/.") == NULL && strlen(name) < 256;
}

static int write_file(const char *folder, const char *name, const void *bytes, size_t length,
                      struct err *err)
{
    char path[PATH_SIZE];
    if (!is_safe_name(name)) {
        log_warn("restore", "a file of the backup is left out, its name is '%.64s'", name);
        return 0;
    }
    if (join(path, folder, name, err) != 0)
        return -1;
    char *slash = strrchr(path, '/');
    *slash = '\0';
    if (mkdir(path, 0700) != 0 && errno != EEXIST)
        return err_set(err, "%s: cannot be made: %s", path, strerror(errno));
    *slash = '/';
    return file_write(path, bytes, length, 0600, err);
}

static int write_files(struct store *store, const char *fresh, struct err *err)
{
    char folder[PATH_SIZE];
    struct query query;
    if (join(folder, fresh, RESTORED_FOLDER, err) != 0)
        return -1;
    if (mkdir(folder, 0700) != 0)
        return err_set(err, "%s: cannot be made: %s", folder, strerror(errno));
    if (query_begin(&query, store, SLOT_ONCE, "SELECT name, bytes FROM backup_file", err) != 0)
        return -1;
    int more;
    while ((more = query_row(&query, err)) == 1) {
        const char *name = (const char *)sqlite3_column_text(query.statement, 0);
        const void *bytes = sqlite3_column_blob(query.statement, 1);
        size_t length = (size_t)sqlite3_column_bytes(query.statement, 1);
        if (write_file(folder, name != NULL ? name : "", bytes, length, err) != 0) {
            query_end(&query);
            return -1;
        }
    }
    return more;
}

// --- a new stream ---

static int bound_times(struct store *store, enum lane lane, int64_t last, struct stored_gap *gap,
                       struct err *err)
{
    struct query query;
    if (query_begin(
            &query, store, SLOT_ONCE,
            "SELECT min(a), max(b) FROM (SELECT min(at_ms) AS a, max(at_ms) AS b FROM outbox"
            " WHERE lane = ?1 AND seq <= ?2 UNION ALL SELECT min(from_ms), max(to_ms)"
            " FROM segment AS s JOIN segment_lane AS l ON l.segment = s.first"
            " WHERE l.lane = ?1 AND l.first <= ?2)",
            err) != 0)
        return -1;
    query_int(&query, lane);
    query_int(&query, last);
    int found = query_row(&query, err);
    if (found != 1)
        return found < 0 ? -1 : err_set(err, "%s: no answer", store->path);
    if (!query_is_null(&query, 0)) {
        gap->from_ms = query_get_int(&query, 0);
        gap->to_ms = query_get_int(&query, 1);
    }
    query_end(&query);
    return 0;
}

// What was acknowledged does not come under the new stream.
static int name_acknowledged(struct store *store, int64_t now_ms, struct restore_report *report,
                             struct err *err)
{
    struct outbox_state states[LANES_END];
    for (int lane = LANE_ALERT; lane < LANES_END; lane++)
        if (store_outbox_state(store, (enum lane)lane, &states[lane], err) != 0)
            return -1;
    for (int lane = LANE_ALERT; lane < LANES_END; lane++) {
        const struct outbox_state *state = &states[lane];
        struct stored_gap gap = {.lane = (enum lane)lane,
                                 .first = 1,
                                 .last = state->acknowledged,
                                 .reason = "restored",
                                 .from_ms = report->backup_ms,
                                 .to_ms = report->backup_ms,
                                 .at_ms = now_ms};
        report->waiting += state->last - state->acknowledged;
        if (state->acknowledged > 0 &&
            (bound_times(store, (enum lane)lane, state->acknowledged, &gap, err) != 0 ||
             store_gap_add(store, &gap, err) != 0))
            return -1;
    }
    // What retention took before stands in these gaps now.
    return store_execute(store, "UPDATE lane SET retained_high = 0, retained_count = 0", err);
}

// The audit chain goes on from the first stream's name: a restore is a record of it, not its end.
static int begin_stream(struct store *store, struct restore_report *report, struct err *err)
{
    char origin[UUID_SIZE];
    int found = store_setting_get(store, ORIGIN_SETTING, origin, sizeof origin, err);
    if (found < 0 ||
        (found == 0 && store_setting_put(store, ORIGIN_SETTING, report->old_stream, err) != 0))
        return -1;
    uuid_make(report->stream);
    return store_setting_put(store, "stream", report->stream, err);
}

// An alert that is over as soon as it is there: it tells, and nothing has to be watched.
static int raise_alert(struct store *store, const struct restore_report *report, int64_t now_ms,
                       bool send, struct err *err)
{
    char id[UUID_SIZE];
    char at[TIME_TEXT_MAX];
    struct alert_change change = {.kind = ALERT_STORE_RESTORED,
                                  .severity = SEVERITY_MAJOR,
                                  .state = ALERT_OPEN,
                                  .subject = ALERT_GATEWAY,
                                  .at_ms = now_ms,
                                  .since_ms = now_ms,
                                  .evidence = {.observed = (double)NAN,
                                               .expected_low = (double)NAN,
                                               .expected_high = (double)NAN,
                                               .from_ms = report->backup_ms,
                                               .to_ms = now_ms}};
    (void)time_print(report->backup_ms, at);
    (void)snprintf(change.evidence.rule, sizeof change.evidence.rule, "%s, stream %.8s", at,
                   report->old_stream);
    if (store_alert_add(store, &change, send, id, err) != 0)
        return -1;
    change.state = ALERT_CLOSED;
    return store_alert_add(store, &change, send, id, err);
}

static int was_sent(struct store *store, bool *send, struct err *err)
{
    int64_t given = 0;
    if (store_ask(store, "SELECT sum(last) FROM lane", &given, err) != 0)
        return -1;
    *send = given > 0; // without an office nothing enters the outbox
    return 0;
}

static int say_so(struct store *store, const struct restore_settings *settings,
                  const struct restore_report *report, struct err *err)
{
    char at[TIME_TEXT_MAX];
    char setting[128];
    char detail[256];
    const char *name = strrchr(settings->path, '/');
    (void)time_print(report->backup_ms, at);
    (void)snprintf(setting, sizeof setting, "%s %s", report->old_stream, at);
    (void)snprintf(detail, sizeof detail,
                   "state of %s, stream %s; new stream %s; %lld messages are sent again", at,
                   report->old_stream, report->stream, (long long)report->waiting);
    return store_setting_put(store, RESTORE_SETTING, setting, err) != 0
               ? -1
               : store_audit_add(store, settings->now_ms, settings->who, "restore",
                                 name != NULL ? name + 1 : settings->path, "done", detail, err);
}

static int renew(struct store *store, const struct restore_settings *settings,
                 struct restore_report *report, struct err *err)
{
    bool send;
    if (was_sent(store, &send, err) != 0 || store_round_begin(store, err) != 0)
        return -1;
    if (store_execute(store, "DROP TABLE backup_note; DROP TABLE backup_file", err) != 0 ||
        name_acknowledged(store, settings->now_ms, report, err) != 0 ||
        begin_stream(store, report, err) != 0 ||
        store_command_forget_before(store, settings->now_ms, err) != 0 ||
        raise_alert(store, report, settings->now_ms, send, err) != 0 ||
        say_so(store, settings, report, err) != 0) {
        store_round_cancel(store);
        return -1;
    }
    return store_round_commit(store, err);
}

static void count_fault(void *context, const char *text)
{
    (void)context;
    log_warn("restore", "the backup's store: %s", text);
}

static int make_fresh(const struct restore_settings *settings, const char *fresh,
                      struct restore_report *report, struct err *err)
{
    struct store *store = NULL;
    if (copy_store(settings, fresh, err) != 0)
        return -1;
    if (store_open(fresh, &store, err) != 0)
        return err_add(err, "%s", settings->path);
    int result = -1;
    if (read_notes(store, report, err) == 0 && check_owner(settings->directory, report, err) == 0 &&
        write_files(store, fresh, err) == 0 && renew(store, settings, report, err) == 0) {
        report->faults = store_verify(store, count_fault, NULL, err);
        result = report->faults < 0 ? -1 : 0;
    }
    store_close(store); // brings its log home: the file stands alone
    return result;
}

// --- deciding, and changing places ---

static int decide(const char *directory, const char *fresh, const struct restore_report *report,
                  struct err *err)
{
    char path[PATH_SIZE];
    char ready[PATH_SIZE];
    if (join(path, fresh, ASIDE, err) != 0 || join(ready, directory, READY, err) != 0 ||
        file_write(path, report->aside, strlen(report->aside), 0600, err) != 0 ||
        folder_sync(fresh, err) != 0)
        return -1;
    if (rename(fresh, ready) != 0)
        return err_set(err, "%s: cannot become %s: %s", fresh, ready, strerror(errno));
    return folder_sync(directory, err);
}

static int name_aside(const char *directory, int64_t now_ms, struct restore_report *report,
                      struct err *err)
{
    int64_t second = now_ms / 1000;
    for (int i = 0; i < 1000; i++) {
        (void)snprintf(report->aside, sizeof report->aside, "before-restore-%lld",
                       (long long)second + i);
        if (!exists(directory, report->aside))
            return 0;
    }
    return err_set(err, "%s: holds too many folders of earlier restores", directory);
}

// One at a time: the folder itself is the lock, because DIR/lock may be the running gateway's.
static int lock_folder(const char *directory, struct err *err)
{
    if (mkdir(directory, 0700) != 0 && errno != EEXIST)
        return err_set(err, "%s: cannot be made: %s", directory, strerror(errno));
    int lock = open(directory, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (lock < 0)
        return err_set(err, "%s: cannot be opened: %s", directory, strerror(errno));
    if (flock(lock, LOCK_EX | LOCK_NB) == 0)
        return lock;
    (void)close(lock);
    return err_set(err, "%s: another restore is under way: wait for its end", directory);
}

static int prepare(const struct restore_settings *settings, struct restore_report *out,
                   struct err *err)
{
    char fresh[PATH_SIZE];
    struct restore_report report = {.waiting = 0};
    if (join(fresh, settings->directory, FRESH, err) != 0)
        return -1;
    if (store_restore_waits(settings->directory))
        return err_set(err, "a restore is decided already: start the gateway, it takes it over");
    tree_remove(AT_FDCWD, fresh, 0);
    if (name_aside(settings->directory, settings->now_ms, &report, err) != 0 ||
        make_fresh(settings, fresh, &report, err) != 0 ||
        decide(settings->directory, fresh, &report, err) != 0) {
        tree_remove(AT_FDCWD, fresh, 0);
        return -1;
    }
    *out = report;
    return 0;
}

int store_restore(const struct restore_settings *settings, struct restore_report *out,
                  struct err *err)
{
    int lock = lock_folder(settings->directory, err);
    if (lock < 0)
        return -1;
    int result = prepare(settings, out, err);
    (void)close(lock);
    return result;
}

// Moves folder/name into aside. What is not there was moved before.
static int move(const char *from, const char *to, const char *name, struct err *err)
{
    char old[PATH_SIZE];
    char new[PATH_SIZE];
    if (join(old, from, name, err) != 0 || join(new, to, name, err) != 0)
        return -1;
    if (rename(old, new) != 0 && errno != ENOENT)
        return err_set(err, "%s: cannot become %s: %s", old, new, strerror(errno));
    return 0;
}

static int read_aside(const char *ready, char name[static 64], struct err *err)
{
    char path[PATH_SIZE];
    struct buf text;
    buf_init(&text, 63);
    int result = join(path, ready, ASIDE, err) != 0 ? -1 : file_read(path, &text, err);
    if (result == 0 && strchr(text.data, '/') != NULL)
        result = err_set(err, "%s: is damaged", path);
    if (result == 0)
        (void)snprintf(name, 64, "%s", text.data);
    buf_release(&text);
    return result;
}

// The store's file goes last away and first in: while it is missing nobody reads anything, and as
// long as the new one lies in `ready`, what lies in the state directory is the old one.
static int change_places(const char *directory, const char *ready, const char *aside,
                         struct err *err)
{
    static const char *const old[] = {STORE_FILE, STORE_FILE "-wal", STORE_FILE "-shm"};
    for (size_t i = 0; exists(ready, STORE_FILE) && i < sizeof old / sizeof old[0]; i++)
        if (move(directory, aside, old[i], err) != 0)
            return -1;
    if (exists(ready, RESTORED_FOLDER) && move(directory, aside, RESTORED_FOLDER, err) != 0)
        return -1;
    if (move(ready, directory, RESTORED_FOLDER, err) != 0 || folder_sync(aside, err) != 0 ||
        folder_sync(directory, err) != 0)
        return -1;
    return move(ready, directory, STORE_FILE, err) != 0 ? -1 : folder_sync(directory, err);
}

// Under its first name what is left decides nothing any more, however far its removal comes.
static void clear_ready(const char *directory, const char *ready)
{
    char fresh[PATH_SIZE];
    if (join(fresh, directory, FRESH, NULL) != 0)
        return;
    tree_remove(AT_FDCWD, fresh, 0);
    if (rename(ready, fresh) == 0)
        tree_remove(AT_FDCWD, fresh, 0);
}

int store_restore_finish(const char *directory, struct err *err)
{
    char ready[PATH_SIZE];
    char aside[PATH_SIZE];
    char name[64];
    if (!store_restore_waits(directory))
        return 0;
    if (join(ready, directory, READY, err) != 0 || read_aside(ready, name, err) != 0 ||
        join(aside, directory, name, err) != 0)
        return -1;
    if (mkdir(aside, 0700) != 0 && errno != EEXIST)
        return err_set(err, "%s: cannot be made: %s", aside, strerror(errno));
    if (change_places(directory, ready, aside, err) != 0)
        return err_add(err, "taking over the restored state");
    clear_ready(directory, ready);
    log_warn("store", "the restored state is in force; the one before is kept in %s", aside);
    return 0;
}
