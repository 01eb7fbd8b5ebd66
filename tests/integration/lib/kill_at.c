// Loaded before the C library: ends the process by SIGKILL in front of its KILL_AT-th call that
// changes a file in KILL_FOLDER (made, written, synced, cut off, renamed, deleted), counted over
// all threads. Memory files of the store ("-shm") are mapped, not written, and do not count.
#define _GNU_SOURCE
#include <dlfcn.h>
#include <fcntl.h>
#include <limits.h>
#include <signal.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/types.h>
#include <unistd.h>

static atomic_long calls;

static int is_inside(const char *path)
{
    const char *folder = getenv("KILL_FOLDER");
    return folder != NULL && path != NULL && strncmp(path, folder, strlen(folder)) == 0;
}

static void count(int inside)
{
    const char *at = getenv("KILL_AT");
    if (inside && at != NULL && atomic_fetch_add(&calls, 1) + 1 == strtol(at, NULL, 10))
        (void)kill(getpid(), SIGKILL);
}

static int is_file(int fd)
{
    char link[48];
    char path[PATH_MAX];
    (void)snprintf(link, sizeof link, "/proc/self/fd/%d", fd);
    ssize_t length = readlink(link, path, sizeof path - 1);
    if (length <= 0)
        return 0;
    path[length] = '\0';
    return is_inside(path);
}

#define REAL(name) ((__typeof__(&name))dlsym(RTLD_NEXT, #name))

#define OPEN(name)                                                                                 \
    int name(const char *path, int flags, ...)                                                     \
    {                                                                                              \
        mode_t mode = 0;                                                                           \
        if ((flags & O_CREAT) != 0) {                                                              \
            va_list arguments;                                                                     \
            va_start(arguments, flags);                                                            \
            mode = va_arg(arguments, mode_t);                                                      \
            va_end(arguments);                                                                     \
            count(is_inside(path));                                                                \
        }                                                                                          \
        return REAL(name)(path, flags, mode);                                                      \
    }
OPEN(open)
OPEN(open64)

#define PWRITE(name, offset_type)                                                                  \
    ssize_t name(int fd, const void *bytes, size_t length, offset_type at)                         \
    {                                                                                              \
        count(is_file(fd));                                                                        \
        return REAL(name)(fd, bytes, length, at);                                                  \
    }
PWRITE(pwrite, off_t)
PWRITE(pwrite64, off64_t)

#define CUT_OFF(name, length_type)                                                                 \
    int name(int fd, length_type length)                                                           \
    {                                                                                              \
        count(is_file(fd));                                                                        \
        return REAL(name)(fd, length);                                                             \
    }
CUT_OFF(ftruncate, off_t)
CUT_OFF(ftruncate64, off64_t)

#define SYNC(name)                                                                                 \
    int name(int fd)                                                                               \
    {                                                                                              \
        count(is_file(fd));                                                                        \
        return REAL(name)(fd);                                                                     \
    }
SYNC(fsync)
SYNC(fdatasync)

int unlink(const char *path)
{
    count(is_inside(path));
    return REAL(unlink)(path);
}

int rename(const char *from, const char *to)
{
    count(is_inside(from));
    return REAL(rename)(from, to);
}
