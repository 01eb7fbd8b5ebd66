#include "drivers/simulator/endpoint.h"

#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <termios.h>
#include <unistd.h>

#define BACKLOG 64

// ---- TCP ----------------------------------------------------------------------------------------

static socklen_t make_address(const struct sim_link *link, struct sockaddr_storage *out)
{
    struct in_addr four;
    memset(out, 0, sizeof *out);
    if (inet_pton(AF_INET, link->listen, &four) == 1) {
        struct sockaddr_in address = {
            .sin_family = AF_INET, .sin_port = htons((uint16_t)link->port), .sin_addr = four};
        memcpy(out, &address, sizeof address);
        return sizeof address;
    }
    struct sockaddr_in6 address = {.sin6_family = AF_INET6,
                                   .sin6_port = htons((uint16_t)link->port)};
    (void)inet_pton(AF_INET6, link->listen, &address.sin6_addr); // the site file was checked
    memcpy(out, &address, sizeof address);
    return sizeof address;
}

static int bound_port(int fd)
{
    struct sockaddr_storage address = {0};
    socklen_t length = sizeof address;
    if (getsockname(fd, (struct sockaddr *)&address, &length) != 0)
        return 0;
    struct sockaddr_in four;
    struct sockaddr_in6 six;
    memcpy(&four, &address, sizeof four);
    memcpy(&six, &address, sizeof six);
    return ntohs(address.ss_family == AF_INET ? four.sin_port : six.sin6_port);
}

static int open_tcp(struct endpoint *endpoint, struct err *err)
{
    const struct sim_link *link = endpoint->link;
    struct sockaddr_storage address;
    socklen_t length = make_address(link, &address);
    int fd = socket(address.ss_family, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    if (fd < 0)
        return err_set(err, "link %s: no socket: %s", link->id, strerror(errno));
    int on = 1;
    (void)setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof on);
    if (bind(fd, (struct sockaddr *)&address, length) != 0 || listen(fd, BACKLOG) != 0) {
        int error = errno;
        close(fd);
        return err_set(err, "link %s: cannot listen on %s port %d: %s", link->id, link->listen,
                       link->port, strerror(error));
    }
    endpoint->fd = fd;
    endpoint->port = bound_port(fd);
    return 0;
}

int endpoint_accept(const struct endpoint *endpoint)
{
    int fd = accept4(endpoint->fd, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK);
    if (fd >= 0) {
        int on = 1;
        (void)setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
    }
    return fd;
}

// ---- pseudo-terminal ----------------------------------------------------------------------------

static int make_raw(int fd)
{
    struct termios settings;
    if (tcgetattr(fd, &settings) != 0)
        return -1;
    cfmakeraw(&settings);
    return tcsetattr(fd, TCSANOW, &settings);
}

static int baud_of(speed_t speed)
{
    static const struct {
        speed_t speed;
        int baud;
    } rows[] = {{B300, 300},     {B600, 600},      {B1200, 1200},   {B2400, 2400},
                {B4800, 4800},   {B9600, 9600},    {B19200, 19200}, {B38400, 38400},
                {B57600, 57600}, {B115200, 115200}};
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++)
        if (rows[i].speed == speed)
            return rows[i].baud;
    return 0;
}

bool endpoint_is_heard(const struct endpoint *endpoint)
{
    struct termios settings;
    if (endpoint->link->kind != LINK_RTU || tcgetattr(endpoint->slave_fd, &settings) != 0)
        return true;
    int stop = (settings.c_cflag & CSTOPB) != 0 ? 2 : 1;
    int baud = baud_of(cfgetospeed(&settings));
    return (baud == 0 || baud == endpoint->link->baud) && stop == endpoint->link->stop;
}

// An old symbolic link is replaced; any other file stays.
static int make_symlink(const struct endpoint *endpoint, struct err *err)
{
    const char *path = endpoint->link->link;
    struct stat old;
    if (lstat(path, &old) == 0) {
        if (!S_ISLNK(old.st_mode)) {
            return err_set(err, "link %s: %s is there and is no symbolic link: name another path",
                           endpoint->link->id, path);
        }
        (void)unlink(path);
    }
    if (symlink(endpoint->device, path) != 0) {
        return err_set(err, "link %s: cannot make the symbolic link %s: %s", endpoint->link->id,
                       path, strerror(errno));
    }
    return 0;
}

static int open_terminal(struct endpoint *endpoint, struct err *err)
{
    const struct sim_link *link = endpoint->link;
    endpoint->fd = posix_openpt(O_RDWR | O_NOCTTY | O_CLOEXEC | O_NONBLOCK);
    if (endpoint->fd < 0 || grantpt(endpoint->fd) != 0 || unlockpt(endpoint->fd) != 0 ||
        ptsname_r(endpoint->fd, endpoint->device, sizeof endpoint->device) != 0)
        return err_set(err, "link %s: no pseudo-terminal: %s", link->id, strerror(errno));
    endpoint->slave_fd = open(endpoint->device, O_RDWR | O_NOCTTY | O_CLOEXEC);
    if (endpoint->slave_fd < 0 || make_raw(endpoint->slave_fd) != 0) {
        return err_set(err, "link %s: cannot set up %s: %s", link->id, endpoint->device,
                       strerror(errno));
    }
    return link->link[0] != '\0' ? make_symlink(endpoint, err) : 0;
}

int endpoint_open(struct endpoint *endpoint, const struct sim_link *link, struct err *err)
{
    *endpoint = (struct endpoint){
        .link = link,
        .fd = -1,
        .slave_fd = -1,
        .speed = wire_speed_make(link->baud, link->bits),
    };
    int result = link->kind == LINK_RTU ? open_terminal(endpoint, err) : open_tcp(endpoint, err);
    if (result != 0)
        endpoint_close(endpoint);
    return result;
}

void endpoint_close(struct endpoint *endpoint)
{
    char target[sizeof endpoint->device] = "";
    if (endpoint->fd < 0)
        return;
    if (endpoint->device[0] != '\0' && endpoint->link->link[0] != '\0' &&
        readlink(endpoint->link->link, target, sizeof target - 1) > 0 &&
        strcmp(target, endpoint->device) == 0)
        (void)unlink(endpoint->link->link);
    if (endpoint->slave_fd >= 0)
        close(endpoint->slave_fd);
    close(endpoint->fd);
    endpoint->fd = -1;
    endpoint->slave_fd = -1;
}

void endpoint_url(const struct endpoint *endpoint, char url[static ENDPOINT_URL_MAX])
{
    const struct sim_link *link = endpoint->link;
    if (link->kind == LINK_RTU) {
        (void)snprintf(url, ENDPOINT_URL_MAX, "rtu://%s?baud=%d&parity=%c&stop=%d",
                       endpoint->device, link->baud, link->parity, link->stop);
        return;
    }
    bool six = strchr(link->listen, ':') != NULL;
    (void)snprintf(url, ENDPOINT_URL_MAX, "%s://%s%s%s:%d",
                   link->kind == LINK_TCP ? "tcp" : "rtu-over-tcp", six ? "[" : "", link->listen,
                   six ? "]" : "", endpoint->port);
}
