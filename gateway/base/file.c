#include "base/file.h"

#include <errno.h>
#include <fcntl.h>
#include <libgen.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define CHUNK 16384

// Reads to the end of the file, or until the bound is passed.
static int read_all(int fd, const char *name, struct buf *out, struct err *err)
{
    char chunk[CHUNK];
    for (;;) {
        ssize_t got = read(fd, chunk, sizeof chunk);
        if (got < 0 && errno == EINTR)
            continue;
        if (got < 0)
            return err_set(err, "%s: cannot be read: %s", name, strerror(errno));
        if ((size_t)got > out->max - out->length)
            return err_set(err, "%s: larger than the %zu bytes that are allowed", name, out->max);
        buf_add(out, chunk, (size_t)got); // the end adds nothing, but the NUL of an empty file
        if (out->failed)
            return err_set(err, "%s: not enough memory to read it", name);
        if (got == 0)
            return 0;
    }
}

int file_read(const char *path, struct buf *out, struct err *err)
{
    bool standard_input = strcmp(path, "-") == 0;
    const char *name = standard_input ? "stdin" : path;
    int fd = standard_input ? STDIN_FILENO : open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0)
        return err_set(err, "%s: cannot be opened: %s", name, strerror(errno));
    struct buf content;
    buf_init(&content, out->max);
    int result = read_all(fd, name, &content, err);
    if (!standard_input)
        (void)close(fd);
    if (result != 0) {
        buf_release(&content);
        return -1;
    }
    buf_release(out);
    *out = content;
    return 0;
}

int file_write_all(int fd, const void *bytes, size_t length)
{
    const char *at = bytes;
    while (length > 0) {
        ssize_t written = write(fd, at, length);
        if (written < 0 && errno == EINTR)
            continue;
        if (written < 0)
            return -1;
        at += written;
        length -= (size_t)written;
    }
    return 0;
}

// The mode is set before the first byte, so that a secret is never readable for others.
static int fill(int fd, const void *bytes, size_t length, mode_t mode)
{
    if (fchmod(fd, mode) != 0 || file_write_all(fd, bytes, length) != 0 || fsync(fd) != 0)
        return -1;
    return 0;
}

// Writes the temporary file whole; leaves none behind when that fails.
static int write_temporary(const char *temporary, const void *bytes, size_t length, mode_t mode,
                           struct err *err)
{
    int flags = O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC | O_NOFOLLOW;
    int fd = open(temporary, flags, mode & 0600);
    if (fd < 0)
        return err_set(err, "%s: cannot be created: %s", temporary, strerror(errno));
    int result = fill(fd, bytes, length, mode);
    int why = errno;
    if (close(fd) != 0 && result == 0) {
        result = -1;
        why = errno;
    }
    if (result != 0) {
        (void)unlink(temporary);
        return err_set(err, "%s: cannot be written: %s", temporary, strerror(why));
    }
    return 0;
}

int folder_sync(const char *path, struct err *err)
{
    int fd = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    // EINVAL: a file system that has no sync of folders, nothing to be done about it.
    bool done = fd >= 0 && (fsync(fd) == 0 || errno == EINVAL);
    int result =
        done ? 0 : err_set(err, "%s: the folder cannot be synced: %s", path, strerror(errno));
    if (fd >= 0)
        (void)close(fd);
    return result;
}

// Makes the rename itself last through a power cut.
static int sync_parent(const char *path, struct err *err)
{
    char *copy = strdup(path);
    if (copy == NULL)
        return err_set(err, "%s: not enough memory", path);
    int result = folder_sync(dirname(copy), err);
    free(copy);
    return result == 0 ? 0 : err_add(err, "%s: written", path);
}

int file_write(const char *path, const void *bytes, size_t length, mode_t mode, struct err *err)
{
    struct buf temporary;
    buf_init(&temporary, strlen(path) + sizeof ".tmp");
    buf_addf(&temporary, "%s.tmp", path);
    int result = -1;
    if (temporary.failed) {
        (void)err_set(err, "%s: not enough memory to write it", path);
    } else if (write_temporary(temporary.data, bytes, length, mode, err) == 0) {
        if (rename(temporary.data, path) == 0) {
            result = sync_parent(path, err);
        } else {
            (void)err_set(err, "%s: cannot be replaced: %s", path, strerror(errno));
            (void)unlink(temporary.data);
        }
    }
    buf_release(&temporary);
    return result;
}

// Could another user of this machine read it, he could be whoever it stands for.
int file_read_secret(const char *path, const char *name, char *secret, size_t size, struct err *err)
{
    struct stat status;
    struct buf text;
    if (stat(path, &status) != 0)
        return err_set(err, "%s: %s: %s", name, path, strerror(errno));
    if ((status.st_mode & (S_IRWXG | S_IRWXO)) != 0)
        return err_set(err, "%s: %s can be read by others: chmod 600 %s", name, path, path);
    buf_init(&text, size - 1);
    int result = file_read(path, &text, err);
    if (result == 0) {
        size_t length = strcspn(text.data, "\r\n");
        memcpy(secret, text.data, length);
        secret[length] = '\0';
        explicit_bzero(text.data, text.length);
    } else {
        (void)err_add(err, "%s", name);
    }
    buf_release(&text);
    return result;
}
