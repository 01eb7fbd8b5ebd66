#include "record/opening.h"

#include "base/log.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#define PATH_SIZE 4400
#define HOLD_MAX_MS 300000
#define OWNER_SETTING "gateway" // whose store it is

// Why a file cannot be written in the folder now; 0: it can, or it is a matter of rights.
static int disk_fault(const char *directory)
{
    char path[PATH_SIZE];
    static const char text[4096] = "a try\n";
    (void)snprintf(path, sizeof path, "%s/%s.try", directory, STORE_FILE);
    int file = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC | O_NOFOLLOW, 0600);
    int why = file < 0 ? errno : 0;
    if (file >= 0) {
        ssize_t wrote = write(file, text, sizeof text);
        if (wrote < 0 || (wrote == (ssize_t)sizeof text && fsync(file) != 0))
            why = errno;
        else if (wrote != (ssize_t)sizeof text)
            why = ENOSPC;
        (void)close(file);
        (void)unlink(path);
    }
    return why == EROFS || why == ENOSPC || why == EDQUOT || why == EIO ? why : 0;
}

static int hold(const struct opening *opening, int64_t boot_ms, struct err *err)
{
    struct store_doubt doubt;
    store_doubt(opening->directory, &doubt);
    if (doubt.runs < OPENING_HOLD_RUNS || doubt.damage)
        return 0;
    int64_t hold_ms = (int64_t)doubt.runs * OPENING_HOLD_MS;
    hold_ms = hold_ms < HOLD_MAX_MS ? hold_ms : HOLD_MAX_MS;
    int64_t left_ms = opening->started_boot_ms + hold_ms - boot_ms;
    if (left_ms <= 0)
        return 0;
    (void)err_set(err, "the disk failed the last %d runs: the store is left alone for %lld s more",
                  doubt.runs, (long long)(left_ms + 999) / 1000);
    return 1;
}

// The store of another gateway is put aside under that gateway's name: a new id begins a new
// stream, and the old figures stay readable.
static int put_aside(const struct opening *opening, const char *owner, int64_t wall_ms,
                     struct err *err)
{
    char old[PATH_SIZE];
    char new[PATH_SIZE];
    (void)snprintf(old, sizeof old, "%s/%s", opening->directory, STORE_FILE);
    (void)snprintf(new, sizeof new, "%s/%s-%lld.db", opening->directory, owner,
                   (long long)(wall_ms / 1000));
    if (rename(old, new) < 0)
        return err_set(err, "cannot put the store of gateway '%s' aside as %s: %s", owner, new,
                       strerror(errno));
    log_warn("gateway",
             "the store belonged to gateway '%s': it is kept as %s, and a new stream begins", owner,
             new);
    return 0;
}

// Opens it; one of another gateway goes aside first. 1: the disk failed.
static int open_own(const struct opening *opening, int64_t wall_ms, struct store **store,
                    struct err *err)
{
    struct store_replaced replaced;
    char owner[64] = "";
    if (store_open_or_replace(opening->directory, wall_ms, store, &replaced, err) != 0)
        return replaced.disk_failed ? 1 : -1;
    int found = store_setting_get(*store, OWNER_SETTING, owner, sizeof owner, err);
    if (found == 0 || (found == 1 && strcmp(owner, opening->gateway) == 0))
        return 0;
    store_close(*store); // which leaves one whole file without a log beside it
    *store = NULL;
    if (found < 0 || put_aside(opening, owner, wall_ms, err) != 0)
        return -1;
    return store_open_or_replace(opening->directory, wall_ms, store, &replaced, err);
}

int opening_try(const struct opening *opening, int64_t boot_ms, int64_t wall_ms,
                struct store **store, struct err *err)
{
    if (hold(opening, boot_ms, err) != 0)
        return 1;
    // Looked at first: SQLite would write, and an error in the middle of that tells less.
    int why = disk_fault(opening->directory);
    int opened = why == 0 ? open_own(opening, wall_ms, store, err) : 1;
    if (why == 0 && opened != 0)
        why = disk_fault(opening->directory);
    if (why == 0)
        return opened;
    (void)err_set(err, "%s: %s: nothing can be kept; make its disk writable, and free space on it",
                  opening->directory, strerror(why));
    return 1;
}
