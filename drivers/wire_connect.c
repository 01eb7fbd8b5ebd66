// TCP connections of a wire: to the link's address or its second one, or from a modem that dials
// in.
#include "drivers/wire_inside.h"

#include <arpa/inet.h>
#include <errno.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#define SILENCE_UNKNOWN_NS 4010000 // 3.5 characters at 9600: a serial server's speed is not known

socklen_t wire_socket_address(const struct link_url *url, struct sockaddr_storage *out)
{
    struct sockaddr_in *four = (struct sockaddr_in *)out;
    struct sockaddr_in6 *six = (struct sockaddr_in6 *)out;
    memset(out, 0, sizeof *out);
    if (inet_pton(AF_INET, url->address, &four->sin_addr) == 1) {
        four->sin_family = AF_INET;
        four->sin_port = htons((uint16_t)url->port);
        return sizeof *four;
    }
    if (inet_pton(AF_INET6, url->address, &six->sin6_addr) == 1) {
        six->sin6_family = AF_INET6;
        six->sin6_port = htons((uint16_t)url->port);
        return sizeof *six;
    }
    return 0;
}

// 0 connected, else the errno that says why not.
static int connect_result(struct wire *wire, int fd, int64_t until_ns)
{
    for (;;) {
        int64_t left = until_ns - clock_boot_ns(wire->clock);
        if (left <= 0)
            return ETIMEDOUT;
        if (atomic_load(&wire->interrupted))
            return ECANCELED;
        struct timespec slice = {.tv_nsec = (long)(left < WIRE_SLICE_NS ? left : WIRE_SLICE_NS)};
        struct pollfd poll_fd = {.fd = fd, .events = POLLOUT};
        int ready = ppoll(&poll_fd, 1, &slice, NULL);
        if (ready > 0) {
            int error = 0;
            socklen_t size = sizeof error;
            return getsockopt(fd, SOL_SOCKET, SO_ERROR, &error, &size) == 0 ? error : errno;
        }
        if (ready < 0 && errno != EINTR)
            return errno;
    }
}

void wire_tune_socket(int fd)
{
    int on = 1;
    (void)setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
    (void)setsockopt(fd, SOL_SOCKET, SO_KEEPALIVE, &on, sizeof on);
}

// A connected socket, or -1.
static int connect_socket(struct wire *wire, const struct link_url *url, struct err *err)
{
    struct sockaddr_storage address;
    socklen_t size = wire_socket_address(url, &address);
    if (size == 0)
        return err_set(err, "'%s' is no IP address", url->address);
    int fd = socket(address.ss_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, IPPROTO_TCP);
    if (fd < 0)
        return err_set(err, "cannot make a socket: %s", strerror(errno));
    int error = 0;
    if (wire_refuse_fd(fd, err) != 0)
        goto fail;
    wire_tune_socket(fd);
    if (connect(fd, (struct sockaddr *)&address, size) != 0)
        error = errno;
    if (error == EINPROGRESS) {
        int64_t limit = wire->settings.response_timeout_ms * NS_PER_MS;
        error = connect_result(wire, fd, clock_boot_ns(wire->clock) + limit);
    }
    if (error == 0)
        return fd;
    (void)err_set(err, "no connection to %s port %d: %s", url->address, url->port, strerror(error));
fail:
    close(fd);
    return -1;
}

int wire_adopt_socket(struct wire *wire, int fd, struct err *err)
{
    // libmodbus's own connect waits with select() before anyone can look at the descriptor's
    // number; so the socket is made here and handed to it. What the context is made with does not
    // matter then.
    bool tcp = wire->settings.url.kind == LINK_TCP;
    modbus_t *context =
        tcp ? modbus_new_tcp("127.0.0.1", 502) : modbus_new_rtu("/dev/null", 9600, 'N', 8, 1);
    if (wire_adopt(wire, context, err) != 0) {
        close(fd);
        return -1;
    }
    (void)modbus_set_socket(context, fd);
    wire->fd = fd;
    wire->char_ns = 0;
    wire->silence_ns = tcp ? 0 : SILENCE_UNKNOWN_NS;
    return 0;
}

// ---- two addresses ------------------------------------------------------------------------------

static const struct link_url *address_at(const struct wire *wire, int index)
{
    return index == 0 ? &wire->settings.url : &wire->settings.second_url;
}

static bool use_address(struct wire *wire, int index, struct err *err)
{
    int fd = connect_socket(wire, address_at(wire, index), err);
    if (fd < 0)
        return false;
    wire_close(wire);
    if (wire_adopt_socket(wire, fd, err) != 0)
        return false;
    wire->address = index;
    wire->moved_ns = clock_boot_ns(wire->clock);
    return true;
}

int wire_open_socket(struct wire *wire, struct err *err)
{
    if (wire->settings.url.listen)
        return wire_open_modem(wire, err);
    if (use_address(wire, wire->address, err))
        return 0;
    if (!wire->settings.has_second || atomic_load(&wire->interrupted))
        return -1;
    struct err other;
    if (use_address(wire, 1 - wire->address, &other))
        return 0;
    return err_add(err, "%.120s; and", other.text);
}

bool wire_try_first(struct wire *wire)
{
    int64_t now_ns = clock_boot_ns(wire->clock);
    if (wire->address == 0 || now_ns - wire->moved_ns < WIRE_SECOND_STAY_MS * NS_PER_MS)
        return false;
    wire->moved_ns = now_ns; // asked again after as long
    struct err unused;
    return use_address(wire, 0, &unused);
}

void wire_leave_mute(struct wire *wire)
{
    wire_close(wire);
    if (wire->settings.has_second)
        wire->address = 1 - wire->address;
}
