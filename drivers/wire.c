#include "drivers/wire.h"

#include "drivers/wire_inside.h"

#include <poll.h>
#include <stdlib.h>
#include <sys/ioctl.h>

struct wire *wire_new(const struct wire_settings *settings, const struct clock *clock)
{
    struct wire *wire = calloc(1, sizeof *wire);
    if (wire == NULL)
        return NULL;
    wire->settings = *settings;
    wire->clock = clock;
    wire->fd = -1;
    atomic_init(&wire->interrupted, false);
    late_init(&wire->late, settings->response_timeout_ms);
    return wire;
}

void wire_free(struct wire *wire)
{
    if (wire == NULL)
        return;
    wire_close(wire);
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

void wire_close(struct wire *wire)
{
    if (wire->fd < 0)
        return;
    modbus_close(wire->context);
    modbus_free(wire->context);
    wire->context = NULL;
    wire->fd = -1;
}

// A connection that the other side has closed meanwhile, or (TCP) that holds bytes nobody asked
// for.
static bool is_stale(const struct wire *wire)
{
    enum link_kind kind = wire->settings.url.kind;
    struct pollfd poll_fd = {.fd = wire->fd, .events = POLLIN};
    int bytes = 0;
    if (kind == LINK_RTU || poll(&poll_fd, 1, 0) <= 0)
        return false;
    return ioctl(wire->fd, FIONREAD, &bytes) != 0 || bytes == 0 || kind == LINK_TCP;
}

int wire_open(struct wire *wire, struct err *err)
{
    if (wire->fd >= 0 && is_stale(wire))
        wire_close(wire);
    if (wire->fd >= 0)
        return 0;
    bool serial = wire->settings.url.kind == LINK_RTU;
    if ((serial ? wire_open_serial(wire, err) : wire_open_socket(wire, err)) != 0)
        return -1;
    wire->last_byte_ns = clock_boot_ns(wire->clock);
    // Replies to what somebody else asked before may still be on a serial line.
    wire->drain_from_ns = wire->last_byte_ns;
    wire->drain_unit = 0;
    wire->mute = 0;
    return 0;
}

bool wire_may_ask(struct wire *wire, const struct request *request)
{
    return wire->settings.url.kind == LINK_TCP ||
           !late_blocks(&wire->late, request, clock_boot_ns(wire->clock));
}

void wire_transact(struct wire *wire, const struct request *request, struct reply *reply)
{
    *reply = (struct reply){0};
    if (wire->fd < 0)
        reply_fail(reply, WHY_LINK_DOWN, "the link is not open");
    else if (atomic_load(&wire->interrupted))
        reply_fail(reply, WHY_LINK_DOWN, "the link is being stopped");
    else if (wire->settings.url.kind == LINK_TCP)
        wire_tcp_transact(wire, request, reply);
    else
        wire_serial_transact(wire, request, reply);
}
