#include "drivers/wire_inside.h"

#include <errno.h>
#include <sys/ioctl.h>

static bool is_gone(int error)
{
    return error == ECONNRESET || error == EPIPE || error == EBADF || error == ECONNREFUSED;
}

// The reply as it came, into `frame`: libmodbus collects it, bounded by the time that is left.
static void receive(struct wire *wire, const struct request *request, int64_t until_ns,
                    uint8_t frame[static FRAME_MAX], struct reply *reply)
{
    int waited = wire_wait(wire, until_ns);
    if (waited == 0) {
        reply_fail(reply, WHY_TIMEOUT, "no reply");
        return;
    }
    int64_t left_us = (until_ns - clock_boot_ns(wire->clock)) / 1000;
    uint32_t timeout_us = left_us > 1000 ? (uint32_t)left_us : 1000;
    if (waited < 0 || modbus_set_response_timeout(wire->context, timeout_us / 1000000,
                                                  timeout_us % 1000000) != 0) {
        reply_fail(reply, WHY_LINK_DOWN, "the connection broke");
        return;
    }
    int length = modbus_receive_confirmation(wire->context, frame);
    if (length < 0) {
        int error = errno;
        bool gone = is_gone(error);
        reply_fail(reply, gone ? WHY_LINK_DOWN : WHY_FRAME,
                   gone                 ? "the meter closed the connection"
                   : error == ETIMEDOUT ? "the reply stopped half way"
                                        : "longer than any reply");
        return;
    }
    wire->last_byte_ns = clock_boot_ns(wire->clock);
    wire_show(wire, false, frame, (size_t)length);
    frame_tcp_judge(request, wire->transaction, frame, (size_t)length, reply);
}

void wire_tcp_transact(struct wire *wire, const struct request *request, int timeout_ms,
                       struct reply *reply)
{
    int pause_ms = wire->settings.pause_ms > wire->meter_pause_ms ? wire->settings.pause_ms
                                                                  : wire->meter_pause_ms;
    uint8_t frame[FRAME_MAX];
    size_t length = frame_tcp_request(request, ++wire->transaction, frame);
    if (wire_sleep(wire, wire->last_byte_ns + pause_ms * NS_PER_MS) != 0 ||
        wire_send(wire, frame, length) != 0) {
        reply_fail(reply, WHY_LINK_DOWN, "the connection broke");
        wire_close(wire);
        return;
    }
    int64_t sent_ns = wire->last_byte_ns;
    receive(wire, request, sent_ns + timeout_ms * NS_PER_MS, frame, reply);
    reply->elapsed_us = (clock_boot_ns(wire->clock) - sent_ns) / 1000;
    // After anything but a reply the stream may be out of step, and stay so: a new connection has
    // nothing old in it. The same where bytes follow that nobody asked for.
    // A modem would have to dial again: its connection stays after mere silence, and may hold
    // heartbeats.
    bool modem = wire->settings.url.listen;
    int trailing = 0;
    bool in_step = reply->why == WHY_NONE || reply->why >= WHY_EXCEPTION ||
                   (modem && reply->why == WHY_TIMEOUT);
    if (!in_step || ioctl(wire->fd, FIONREAD, &trailing) != 0 || (trailing > 0 && !modem))
        wire_close(wire);
    wire->mute = reply->why == WHY_TIMEOUT ? wire->mute + 1 : 0;
    if (wire->mute >= WIRE_MUTE_MAX) {
        wire->mute = 0;
        wire_leave_mute(wire);
    }
}
