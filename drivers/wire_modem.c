// A modem that dials in: the gateway listens on the link's address, and the newest connection that
// says what it should is the link.
#include "drivers/wire_inside.h"

#include <arpa/inet.h>
#include <errno.h>
#include <poll.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#define BACKLOG 4     // a modem that dials again before its old connection is gone
#define CALLERS_MAX 8 // connections looked at in one go: a flood of them must not hold a poll

// ---- listening ----------------------------------------------------------------------------------

static int listen_socket(struct wire *wire, struct err *err)
{
    const struct link_url *url = &wire->settings.url;
    struct sockaddr_storage address;
    socklen_t size = wire_socket_address(url, &address);
    if (size == 0)
        return err_set(err, "'%s' is no IP address", url->address);
    int fd = socket(address.ss_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, IPPROTO_TCP);
    if (fd < 0)
        return err_set(err, "cannot make a socket: %s", strerror(errno));
    int on = 1;
    (void)setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof on);
    if (bind(fd, (struct sockaddr *)&address, size) != 0 || listen(fd, BACKLOG) != 0) {
        (void)err_set(err, "cannot listen on %s port %d: %s", url->address, url->port,
                      errno == EADDRINUSE      ? "another program does"
                      : errno == EADDRNOTAVAIL ? "this machine has no such address"
                                               : strerror(errno));
        close(fd);
        return -1;
    }
    wire->listen_fd = fd;
    return 0;
}

// ---- callers ------------------------------------------------------------------------------------

static void refuse(struct wire *wire, int fd, const char *who, const char *reason)
{
    close(fd);
    (void)snprintf(wire->refused, sizeof wire->refused, "%.60s dialled in, but %s", who, reason);
}

static void print_address(const struct sockaddr_storage *address,
                          char text[static INET6_ADDRSTRLEN])
{
    const struct sockaddr_in *four = (const struct sockaddr_in *)address;
    const struct sockaddr_in6 *six = (const struct sockaddr_in6 *)address;
    const void *bytes = address->ss_family == AF_INET ? (const void *)&four->sin_addr
                                                      : (const void *)&six->sin6_addr;
    if (inet_ntop(address->ss_family, bytes, text, INET6_ADDRSTRLEN) == NULL)
        (void)snprintf(text, INET6_ADDRSTRLEN, "?");
}

// How a caller's first bytes stand to what they should be: 1 the same, 0 not all there yet, -1.
static int compare_hello(int fd, const struct modem_bytes *hello)
{
    uint8_t bytes[MODEM_BYTES_MAX];
    ssize_t count = recv(fd, bytes, hello->length, MSG_PEEK);
    if (count == 0 || (count < 0 && errno != EAGAIN && errno != EINTR))
        return -1;
    if (count > 0 && memcmp(bytes, hello->bytes, (size_t)count) != 0)
        return -1;
    return count == hello->length ? 1 : 0;
}

// Waits for the hello, and takes it out of the stream.
static bool says_hello(struct wire *wire, int fd, int64_t until_ns)
{
    const struct modem_bytes *hello = &wire->settings.modem.hello;
    if (hello->length == 0)
        return true;
    int same;
    size_t seen = 0;
    while ((same = compare_hello(fd, hello)) == 0) {
        int64_t left = until_ns - clock_boot_ns(wire->clock);
        if (left <= 0 || atomic_load(&wire->interrupted))
            return false;
        // A part of it makes the socket readable for ever: look again soon instead.
        int64_t slice_ns = seen == 0 ? WIRE_SLICE_NS : 2 * NS_PER_MS;
        struct timespec slice = {.tv_nsec = (long)(left < slice_ns ? left : slice_ns)};
        struct pollfd poll_fd = {.fd = fd, .events = seen == 0 ? POLLIN : 0};
        seen += ppoll(&poll_fd, 1, &slice, NULL) > 0;
    }
    uint8_t bytes[MODEM_BYTES_MAX];
    return same > 0 && recv(fd, bytes, hello->length, 0) == hello->length;
}

// The next caller that is the modem; -1 when none waits.
static int accept_modem(struct wire *wire, int64_t until_ns)
{
    const struct modem *modem = &wire->settings.modem;
    for (int i = 0; i < CALLERS_MAX; i++) {
        struct sockaddr_storage from = {0};
        socklen_t size = sizeof from;
        int fd =
            accept4(wire->listen_fd, (struct sockaddr *)&from, &size, SOCK_NONBLOCK | SOCK_CLOEXEC);
        if (fd < 0)
            return -1;
        char who[INET6_ADDRSTRLEN];
        print_address(&from, who);
        struct err err;
        if (wire_refuse_fd(fd, &err) != 0)
            refuse(wire, fd, who, "too many files are open");
        else if (modem->address[0] != '\0' && strcmp(modem->address, who) != 0)
            refuse(wire, fd, who, "modem_address names another one");
        else if (!says_hello(wire, fd, until_ns))
            refuse(wire, fd, who, "did not say its modem_hello");
        else
            return fd;
    }
    return -1;
}

// The newest of those that wait: one that dials again knows that its old connection is gone.
static int newest_modem(struct wire *wire)
{
    // One time-out for all of them: callers that say nothing must not hold the polls.
    int64_t until_ns = clock_boot_ns(wire->clock) + wire->settings.response_timeout_ms * NS_PER_MS;
    int newest = -1;
    for (int fd = accept_modem(wire, until_ns); fd >= 0; fd = accept_modem(wire, until_ns)) {
        if (newest >= 0)
            close(newest);
        newest = fd;
    }
    return newest;
}

static int wait_for_modem(struct wire *wire)
{
    int64_t until_ns = clock_boot_ns(wire->clock) + wire->settings.response_timeout_ms * NS_PER_MS;
    int fd = newest_modem(wire);
    while (fd < 0 && !atomic_load(&wire->interrupted)) {
        int64_t left = until_ns - clock_boot_ns(wire->clock);
        if (left <= 0)
            break;
        struct timespec slice = {.tv_nsec = (long)(left < WIRE_SLICE_NS ? left : WIRE_SLICE_NS)};
        struct pollfd poll_fd = {.fd = wire->listen_fd, .events = POLLIN};
        if (ppoll(&poll_fd, 1, &slice, NULL) > 0)
            fd = newest_modem(wire);
    }
    return fd;
}

int wire_open_modem(struct wire *wire, struct err *err)
{
    if (wire->listen_fd < 0 && listen_socket(wire, err) != 0)
        return -1;
    int fd = wait_for_modem(wire);
    if (fd < 0) {
        return err_set(err, "no modem has dialled in to port %d: %s", wire->settings.url.port,
                       wire->refused[0] != '\0'
                           ? wire->refused
                           : "check its supply and signal, and the address and port that it calls");
    }
    wire->refused[0] = '\0';
    wire_tune_socket(fd);
    return wire_adopt_socket(wire, fd, err);
}

bool wire_take_modem(struct wire *wire)
{
    if (wire->listen_fd < 0)
        return false;
    int fd = newest_modem(wire);
    if (fd < 0)
        return false;
    wire_close(wire);
    wire_tune_socket(fd);
    struct err unused;
    return wire_adopt_socket(wire, fd, &unused) == 0;
}

// ---- heartbeats ---------------------------------------------------------------------------------

void wire_skip_heartbeats(struct wire *wire)
{
    const struct modem_bytes *beat = &wire->settings.modem.heartbeat;
    uint8_t bytes[MODEM_BYTES_MAX];
    while (beat->length > 0 &&
           recv(wire->fd, bytes, beat->length, MSG_PEEK | MSG_DONTWAIT) == beat->length &&
           memcmp(bytes, beat->bytes, beat->length) == 0)
        (void)recv(wire->fd, bytes, beat->length, MSG_DONTWAIT);
}

size_t wire_trim_heartbeats(const struct wire *wire, const uint8_t *bytes, size_t length,
                            size_t size)
{
    const struct modem_bytes *beat = &wire->settings.modem.heartbeat;
    while (beat->length > 0 && length >= size + beat->length &&
           memcmp(bytes + length - beat->length, beat->bytes, beat->length) == 0)
        length -= beat->length;
    return length;
}
