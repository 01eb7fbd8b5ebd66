// A store that is damaged beyond use is put aside and a new one begins. What can be read of the old
// one's accounts and settings is taken over; the file itself is never changed or deleted.
#include "store/query.h"

#include "base/log.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define ACCOUNTS_MAX 1000
#define VALUE_MAX 512
#define WHO "gateway"

// Settings that hold for another stream too.
static const char *const kept_settings[] = {"gateway", "claim", "acknowledge"};

// --- aside ---

static int move(const char *from, const char *to, struct err *err)
{
    if (rename(from, to) == 0 || errno == ENOENT)
        return 0;
    return err_set(err, "%s: cannot be put aside as %s: %s", from, to, strerror(errno));
}

// The log before the file: a file without its log is still what it was at the last checkpoint, a
// log beside another file is not.
static int put_aside(const char *path, const char *aside, struct err *err)
{
    static const char *const ends[] = {"-wal", "-shm", ""};
    for (size_t i = 0; i < sizeof ends / sizeof ends[0]; i++) {
        char from[4200];
        char to[4300];
        (void)snprintf(from, sizeof from, "%s%s", path, ends[i]);
        (void)snprintf(to, sizeof to, "%s%s", aside, ends[i]);
        if (move(from, to, err) != 0)
            return -1;
    }
    return 0;
}

// A name that is free: "metergate.db.bad-1795420800", or with one more digit.
static void name_aside(const char *path, int64_t now_ms, char *aside, size_t size)
{
    (void)snprintf(aside, size, "%s.bad-%lld", path, (long long)(now_ms / 1000));
    for (int i = 1; i < 1000 && access(aside, F_OK) == 0; i++)
        (void)snprintf(aside, size, "%s.bad-%lld-%d", path, (long long)(now_ms / 1000), i);
}

// --- what can be read ---

struct salvage {
    struct store *to;
    int accounts;
    bool failed;
    struct err *err;
};

static bool keep_account(void *context, const struct account *account)
{
    struct salvage *salvage = context;
    bool sane = account->name[0] != '\0' && account->role != ROLE_NONE &&
                strncmp(account->hash, "scrypt$", 7) == 0;
    if (!sane)
        return true;
    salvage->failed = store_account_put(salvage->to, account, salvage->err) != 0;
    return !salvage->failed && ++salvage->accounts < ACCOUNTS_MAX;
}

static int keep_settings(struct store *from, struct store *to, struct err *err)
{
    struct err why;
    for (size_t i = 0; i < sizeof kept_settings / sizeof kept_settings[0]; i++) {
        char value[VALUE_MAX];
        if (store_setting_get(from, kept_settings[i], value, sizeof value, &why) == 1 &&
            store_setting_put(to, kept_settings[i], value, err) != 0)
            return -1;
    }
    return 0;
}

// What cannot be read stays behind; only what the new store does not take is a failure.
static int salvage_rows(struct store *from, struct store *to, struct store_replaced *replaced,
                        struct err *err)
{
    struct salvage salvage = {.to = to, .err = err};
    struct err why = {.text = ""};
    char stream[64] = "";
    if (store_setting_get(from, "stream", stream, sizeof stream, &why) == 1 &&
        strlen(stream) == UUID_SIZE - 1)
        memcpy(replaced->stream, stream, UUID_SIZE);
    if (store_accounts(from, keep_account, &salvage, &why) != 0)
        log_warn("store", "not all accounts of the damaged store can be read: %s", why.text);
    if (salvage.failed || keep_settings(from, to, err) != 0)
        return -1;
    replaced->accounts = salvage.accounts;
    return 0;
}

static int salvage(struct store *to, struct store_replaced *replaced, struct err *err)
{
    struct err why = {.text = ""};
    struct store *from = store_open_damaged(replaced->aside, &why);
    if (from == NULL) {
        log_warn("store", "nothing can be read of %s: %s", replaced->aside, why.text);
        return 0;
    }
    int result = salvage_rows(from, to, replaced, err);
    store_close(from);
    return result;
}

// --- the new one ---

static int64_t changed_ms(const char *path)
{
    struct stat status;
    char log[4400];
    int64_t newest = 0;
    (void)snprintf(log, sizeof log, "%s-wal", path);
    if (stat(path, &status) == 0)
        newest = (int64_t)status.st_mtim.tv_sec * 1000;
    if (stat(log, &status) == 0 && (int64_t)status.st_mtim.tv_sec * 1000 > newest)
        newest = (int64_t)status.st_mtim.tv_sec * 1000;
    return newest;
}

// "STREAM LAST-CHANGE NOW FILE": for status, and for the alert that the recorder raises.
static int note(struct store *store, const struct store_replaced *replaced, struct err *err)
{
    char text[512];
    char detail[512];
    const char *slash = strrchr(replaced->aside, '/');
    const char *file = slash != NULL ? slash + 1 : replaced->aside;
    (void)snprintf(text, sizeof text, "%s %lld %lld %.255s",
                   replaced->stream[0] != '\0' ? replaced->stream : "-",
                   (long long)replaced->last_ms, (long long)replaced->at_ms, file);
    (void)snprintf(detail, sizeof detail,
                   "%.80s keeps the old one, stream %s; %d accounts kept; %.200s", file,
                   replaced->stream[0] != '\0' ? replaced->stream : "unknown", replaced->accounts,
                   replaced->why);
    return store_setting_put(store, STORE_REPLACED_SETTING, text, err) != 0
               ? -1
               : store_audit_add(store, replaced->at_ms, WHO, "store-replaced", store_stream(store),
                                 "done", detail, err);
}

static int begin_anew(struct store *store, struct store_replaced *replaced, struct err *err)
{
    if (store_round_begin(store, err) != 0)
        return -1;
    if (salvage(store, replaced, err) != 0 || note(store, replaced, err) != 0) {
        store_round_cancel(store);
        return -1;
    }
    return store_round_commit(store, err);
}

int store_open_or_replace(const char *directory, int64_t now_ms, struct store **out,
                          struct store_replaced *replaced, struct err *err)
{
    char path[4096];
    struct store_fault fault;
    struct err why = {.text = ""};
    *replaced = (struct store_replaced){.at_ms = now_ms};
    if (store_open_judged(directory, out, &fault, &why) == 0)
        return 0;
    (void)snprintf(path, sizeof path, "%s/%s", directory, STORE_FILE);
    replaced->disk_failed = fault.disk_failed;
    if (!fault.damaged)
        return err_set(err, "%s", why.text);
    (void)snprintf(replaced->why, sizeof replaced->why, "%s", why.text);
    replaced->last_ms = changed_ms(path);
    name_aside(path, now_ms, replaced->aside, sizeof replaced->aside);
    if (put_aside(path, replaced->aside, err) != 0)
        return -1;
    doubt_end(path);
    log_error("store", "%s; it is kept as %s, and a new store with a new stream begins", why.text,
              replaced->aside);
    struct store *store = NULL;
    if (store_open(directory, &store, err) != 0)
        return -1;
    if (begin_anew(store, replaced, err) != 0) {
        store_close(store);
        return -1;
    }
    *out = store;
    return 0;
}

int store_replaced_get(struct store *store, struct store_replaced *out, struct err *err)
{
    char text[512];
    char stream[64] = "";
    char file[256] = "";
    long long last = 0;
    long long at = 0;
    int found = store_setting_get(store, STORE_REPLACED_SETTING, text, sizeof text, err);
    if (found != 1)
        return found;
    if (sscanf(text, "%63s %lld %lld %255s", stream, &last, &at, file) != 4)
        return err_set(err, "%s: what it says of the store before it cannot be read", store->path);
    *out = (struct store_replaced){.last_ms = last, .at_ms = at};
    if (strlen(stream) == UUID_SIZE - 1)
        memcpy(out->stream, stream, UUID_SIZE);
    (void)snprintf(out->aside, sizeof out->aside, "%s", file);
    return 1;
}
