#include "control/address.h"
#include "control/control.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/file.h>
#include <unistd.h>

#define PATH_SIZE 4096

// Who holds the lock, as far as the file tells.
static int name_holder(int fd, const char *directory, struct err *err)
{
    char pid[16] = "";
    ssize_t got = pread(fd, pid, sizeof pid - 1, 0);
    pid[got > 0 ? strspn(pid, "0123456789") : 0] = '\0';
    return err_set(err, "%s is in use by process %s: stop that gateway first (it holds %s/lock)",
                   directory, pid[0] != '\0' ? pid : "(unknown)", directory);
}

// On a disk that takes no file: an address that only one process can have.
static int lock_without_file(const char *directory, int *fd, struct err *err)
{
    struct control_address address;
    int lock = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (lock < 0 || control_address_abstract(directory, "lock", &address) != 0 ||
        bind(lock, (const struct sockaddr *)&address.name, address.length) != 0) {
        int why = errno;
        if (lock >= 0)
            (void)close(lock);
        return why == EADDRINUSE
                   ? err_set(err, "%s is in use by another process: stop that gateway first",
                             directory)
                   : err_set(err, "%s cannot be locked: %s", directory, strerror(why));
    }
    *fd = lock;
    return 0;
}

int control_lock(const char *directory, int *fd, struct err *err)
{
    char path[PATH_SIZE];
    char pid[16];
    if ((size_t)snprintf(path, sizeof path, "%s/lock", directory) >= sizeof path)
        return err_set(err, "%s: the path is too long", directory);
    int lock = open(path, O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0600);
    if (lock < 0 && errno == EROFS)
        lock = open(path, O_RDONLY | O_CLOEXEC | O_NOFOLLOW);
    if (lock < 0 && (errno == ENOENT || errno == EROFS || errno == ENOSPC || errno == EDQUOT))
        return lock_without_file(directory, fd, err);
    if (lock < 0)
        return err_set(err, "%s: cannot be opened: %s", path, strerror(errno));
    if (flock(lock, LOCK_EX | LOCK_NB) != 0) {
        int result = errno == EWOULDBLOCK
                         ? name_holder(lock, directory, err)
                         : err_set(err, "%s: cannot be locked: %s", path, strerror(errno));
        (void)close(lock);
        return result;
    }
    int length = snprintf(pid, sizeof pid, "%ld\n", (long)getpid());
    // The pid is for messages alone: a full disk must not keep the gateway from starting.
    if (ftruncate(lock, 0) == 0)
        (void)!pwrite(lock, pid, (size_t)length, 0);
    *fd = lock;
    return 0;
}
