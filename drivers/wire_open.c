#include "drivers/wire_inside.h"

#include <arpa/inet.h>
#include <errno.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <string.h>
#include <sys/file.h>
#include <sys/select.h>
#include <sys/socket.h>
#include <unistd.h>

#define SILENCE_FAST_BAUD 19200 // above it the standard fixes the silence
#define SILENCE_FAST_NS 1750000
#define SILENCE_UNKNOWN_NS 4010000 // 3.5 characters at 9600: a serial server's speed is not known

// libmodbus waits with select(), which writes beyond its set for a descriptor of 1024 or more, and
// ends the process.
static int refuse_high_fd(int fd, struct err *err)
{
    if (fd < FD_SETSIZE)
        return 0;
    return err_set(
        err,
        "too many open files: descriptor %d, libmodbus can use those below %d; lower the "
        "limit of open files to 1024 and configure at most 900 links",
        fd, FD_SETSIZE);
}

static int adopt(struct wire *wire, modbus_t *context, struct err *err)
{
    if (context == NULL)
        return err_set(err, "libmodbus cannot make a context: %s", modbus_strerror(errno));
    uint32_t ms = (uint32_t)wire->settings.response_timeout_ms;
    // A byte time-out starts again with each byte: a meter that drips could hold the line for
    // minutes. Zero makes the response time-out that of the whole reply. And libmodbus's own
    // recovery sleeps and repeats without an end.
    if (modbus_set_error_recovery(context, MODBUS_ERROR_RECOVERY_NONE) != 0 ||
        modbus_set_byte_timeout(context, 0, 0) != 0 ||
        modbus_set_response_timeout(context, ms / 1000, ms % 1000 * 1000) != 0) {
        modbus_free(context);
        return err_set(err, "libmodbus refuses the time-outs: %s", modbus_strerror(errno));
    }
    wire->context = context;
    return 0;
}

// ---- sockets ------------------------------------------------------------------------------------

static socklen_t address_of(const struct link_url *url, struct sockaddr_storage *out)
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

// A connected socket, or -1.
static int connect_socket(struct wire *wire, struct err *err)
{
    const struct link_url *url = &wire->settings.url;
    struct sockaddr_storage address;
    socklen_t size = address_of(url, &address);
    if (size == 0)
        return err_set(err, "'%s' is no IP address", url->address);
    int fd = socket(address.ss_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, IPPROTO_TCP);
    if (fd < 0)
        return err_set(err, "cannot make a socket: %s", strerror(errno));
    int error = 0;
    int on = 1;
    if (refuse_high_fd(fd, err) != 0)
        goto fail;
    (void)setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
    (void)setsockopt(fd, SOL_SOCKET, SO_KEEPALIVE, &on, sizeof on);
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

// The connection is made here and given to libmodbus: its own connect waits with select() before
// anyone can look at the descriptor's number.
int wire_open_socket(struct wire *wire, struct err *err)
{
    int fd = connect_socket(wire, err);
    if (fd < 0)
        return -1;
    bool tcp = wire->settings.url.kind == LINK_TCP;
    modbus_t *context =
        tcp ? modbus_new_tcp_pi(wire->settings.url.address, "502") // set_socket overrides both
            : modbus_new_rtu("/dev/null", 9600, 'N', 8, 1);
    if (adopt(wire, context, err) != 0) {
        close(fd);
        return -1;
    }
    (void)modbus_set_socket(context, fd);
    wire->fd = fd;
    wire->char_ns = 0;
    wire->silence_ns = tcp ? 0 : SILENCE_UNKNOWN_NS;
    return 0;
}

// ---- serial devices -----------------------------------------------------------------------------

// What a character takes on this line, and the silence of 3.5 of them, both rounded up: a silence
// is never too short.
static void set_speed(struct wire *wire, const struct link_url *url)
{
    int bits = link_url_character_bits(url);
    int64_t character_ns = INT64_C(1000000000) * bits;
    wire->char_ns = (character_ns + url->baud - 1) / url->baud;
    wire->silence_ns = url->baud > SILENCE_FAST_BAUD
                           ? SILENCE_FAST_NS
                           : (character_ns * 7 / 2 + url->baud - 1) / url->baud;
}

int wire_open_serial(struct wire *wire, struct err *err)
{
    const struct link_url *url = &wire->settings.url;
    modbus_t *context = modbus_new_rtu(url->device, url->baud, url->parity, 8, url->stop);
    if (adopt(wire, context, err) != 0)
        return -1;
    if (modbus_connect(context) != 0) {
        (void)err_set(err, "cannot open serial device %s: %s", url->device,
                      errno == ENOENT ? "it is not there; is the adapter plugged in?"
                                      : strerror(errno));
        goto fail;
    }
    int fd = modbus_get_socket(context);
    if (refuse_high_fd(fd, err) != 0) {
        modbus_close(context);
        goto fail;
    }
    // Two programs on one bus would take each other's replies.
    if (flock(fd, LOCK_EX | LOCK_NB) != 0 && errno == EWOULDBLOCK) {
        (void)err_set(err, "serial device %s is in use by another program", url->device);
        modbus_close(context);
        goto fail;
    }
    wire->fd = fd;
    set_speed(wire, url);
    wire_sharpen_thread();
    return 0;
fail:
    modbus_free(context);
    wire->context = NULL;
    return -1;
}
