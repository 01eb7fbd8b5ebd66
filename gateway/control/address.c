#include "control/address.h"

#include "control/control.h"

#include <errno.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

int control_address_file(const char *directory, struct control_address *out, struct err *err)
{
    *out = (struct control_address){.name = {.sun_family = AF_UNIX}, .length = sizeof out->name};
    if ((size_t)snprintf(out->name.sun_path, sizeof out->name.sun_path, "%s/%s", directory,
                         CONTROL_SOCKET) >= sizeof out->name.sun_path) {
        return err_set(err, "%s: the path is too long for a socket (at most %zu bytes)", directory,
                       sizeof out->name.sun_path - sizeof CONTROL_SOCKET - 1);
    }
    return 0;
}

int control_address_abstract(const char *directory, const char *what, struct control_address *out)
{
    struct stat folder;
    if (stat(directory, &folder) != 0)
        return -1;
    *out = (struct control_address){.name = {.sun_family = AF_UNIX}};
    // Its first byte is 0.
    int length =
        snprintf(out->name.sun_path + 1, sizeof out->name.sun_path - 1, "metergate/%s/%llx-%llx",
                 what, (unsigned long long)folder.st_dev, (unsigned long long)folder.st_ino);
    out->length = (socklen_t)(offsetof(struct sockaddr_un, sun_path) + 1 + (size_t)length);
    return 0;
}

// Whether the other side is root, this user, or the owner of the folder.
static int is_friend(int fd, const char *directory)
{
    struct ucred peer;
    struct stat folder;
    socklen_t size = sizeof peer;
    if (getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &peer, &size) != 0)
        return 0;
    return peer.uid == 0 || peer.uid == geteuid() ||
           (stat(directory, &folder) == 0 && peer.uid == folder.st_uid);
}

static int try_connect(const struct control_address *address)
{
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    if (fd < 0)
        return -1;
    if (connect(fd, (const struct sockaddr *)&address->name, address->length) == 0)
        return fd;
    int why = errno;
    (void)close(fd);
    errno = why;
    return -1;
}

int control_connect(const char *directory)
{
    struct control_address address;
    if (control_address_file(directory, &address, NULL) != 0) {
        errno = ENAMETOOLONG;
        return -1;
    }
    int fd = try_connect(&address);
    if (fd >= 0 || (errno != ENOENT && errno != ECONNREFUSED))
        return fd;
    int why = errno;
    if (control_address_abstract(directory, "control", &address) != 0 ||
        (fd = try_connect(&address)) < 0) {
        errno = why;
        return -1;
    }
    if (is_friend(fd, directory))
        return fd;
    (void)close(fd);
    errno = EACCES;
    return -1;
}
