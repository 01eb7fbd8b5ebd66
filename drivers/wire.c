#include "drivers/wire.h"

#include "drivers/wire_inside.h"

#include <errno.h>
#include <poll.h>
#include <stdlib.h>
#include <sys/ioctl.h>
#include <unistd.h>

#define LOOK_AGAIN_NS (5 * NS_PER_MS)

struct wire *wire_new(const struct wire_settings *settings, const struct clock *clock)
{
    struct wire *wire = calloc(1, sizeof *wire);
    if (wire == NULL)
        return NULL;
    wire->settings = *settings;
    wire->clock = clock;
    wire->fd = wire->listen_fd = -1;
    atomic_init(&wire->interrupted, false);
    if (settings->url.kind == LINK_TCP)
        return wire;
    wire->late = calloc(1, sizeof *wire->late);
    if (wire->late == NULL) {
        free(wire);
        return NULL;
    }
    late_init(wire->late, settings->response_timeout_ms);
    return wire;
}

void wire_free(struct wire *wire)
{
    if (wire == NULL)
        return;
    wire_close(wire);
    if (wire->listen_fd >= 0)
        (void)close(wire->listen_fd);
    free(wire->late);
    free(wire);
}

void wire_set_trace(struct wire *wire, struct wire_trace trace)
{
    wire->trace = trace;
}

void wire_set_pause(struct wire *wire, int pause_ms)
{
    wire->meter_pause_ms = pause_ms;
}

void wire_interrupt(struct wire *wire)
{
    atomic_store(&wire->interrupted, true);
}

bool wire_is_open(const struct wire *wire)
{
    return wire->fd >= 0;
}

bool wire_is_on_second(const struct wire *wire)
{
    return wire->fd >= 0 && wire->address == 1;
}

void wire_close(struct wire *wire)
{
    if (wire->fd < 0)
        return;
    modbus_close(wire->context);
    modbus_free(wire->context);
    wire->context = NULL;
    wire->fd = -1;
}

// What a modem's connection holds before a request is a late reply: it is read away, because a new
// connection would cost a call. The transaction number keeps it from being taken for an answer.
static bool drain_modem(const struct wire *wire)
{
    uint8_t bytes[FRAME_MAX];
    ssize_t count;
    do
        count = recv(wire->fd, bytes, sizeof bytes, MSG_DONTWAIT);
    while (count > 0);
    return count == 0 || (errno != EAGAIN && errno != EINTR);
}

// A connection that the other side has closed meanwhile, or (TCP) that holds bytes nobody asked
// for. One that was looked at just now, and not used since, is not looked at again.
static bool is_stale(struct wire *wire)
{
    enum link_kind kind = wire->settings.url.kind;
    struct pollfd poll_fd = {.fd = wire->fd, .events = POLLIN};
    int bytes = 0;
    int64_t now_ns = clock_boot_ns(wire->clock);
    bool looked = wire->looked_ns > wire->last_byte_ns && now_ns - wire->looked_ns < LOOK_AGAIN_NS;
    if (kind == LINK_RTU || looked)
        return false;
    wire->looked_ns = now_ns;
    if (poll(&poll_fd, 1, 0) <= 0)
        return false;
    if (wire->settings.url.listen) {
        wire_skip_heartbeats(wire);
        if (kind == LINK_TCP)
            return drain_modem(wire);
        if (poll(&poll_fd, 1, 0) <= 0)
            return false;
    }
    return ioctl(wire->fd, FIONREAD, &bytes) != 0 || bytes == 0 || kind == LINK_TCP;
}

int wire_open(struct wire *wire, struct err *err)
{
    if (wire->fd >= 0 && is_stale(wire))
        wire_close(wire);
    bool moved = wire->fd >= 0 && (wire_take_modem(wire) || wire_try_first(wire));
    if (wire->fd >= 0 && !moved)
        return 0;
    bool serial = wire->settings.url.kind == LINK_RTU;
    if (!moved && (serial ? wire_open_serial(wire, err) : wire_open_socket(wire, err)) != 0)
        return -1;
    wire->last_byte_ns = clock_boot_ns(wire->clock);
    // Replies to what somebody else asked before may still be on a serial line.
    wire->drain_from_ns = wire->last_byte_ns;
    wire->drain_unit = 0;
    if (serial)
        wire->mute = 0;
    return 0;
}

bool wire_may_ask(struct wire *wire, const struct request *request)
{
    return wire->settings.url.kind == LINK_TCP ||
           !late_blocks(wire->late, request, clock_boot_ns(wire->clock));
}

void wire_transact(struct wire *wire, const struct request *request, struct reply *reply)
{
    *reply = (struct reply){0};
    int64_t start_ns = wire->trace.done != NULL ? clock_boot_ns(wire->clock) : 0;
    if (wire->fd < 0)
        reply_fail(reply, WHY_LINK_DOWN, "the link is not open");
    else if (atomic_load(&wire->interrupted))
        reply_fail(reply, WHY_LINK_DOWN, "the link is being stopped");
    else if (wire->settings.url.kind == LINK_TCP)
        wire_tcp_transact(wire, request, wire->settings.response_timeout_ms, reply);
    else
        wire_serial_transact(wire, request, reply);
    if (wire->trace.done != NULL)
        wire->trace.done(wire->trace.context, request, reply,
                         (clock_boot_ns(wire->clock) - start_ns) / 1000);
}

bool wire_wake(struct wire *wire, const struct request *request, int wait_ms)
{
    struct reply reply = {0};
    if (wire->fd < 0 || atomic_load(&wire->interrupted))
        return false;
    if (wire->settings.url.kind == LINK_TCP)
        wire_tcp_transact(wire, request, wait_ms, &reply);
    else
        wire_serial_wake(wire, request, wait_ms, &reply);
    return reply.why == WHY_NONE || reply.why >= WHY_EXCEPTION;
}
