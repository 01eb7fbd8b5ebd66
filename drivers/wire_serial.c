#include "drivers/wire_inside.h"

#include <stdio.h>
#include <string.h>

#define DRAIN_READ 256   // bytes of a drain that are read at once
#define DRAIN_TIMEOUTS 3 // a line that does not fall silent in so many time-outs is babbling
#define EXCEPTION_BIT 0x80
#define EXCEPTION_SIZE 5

static int64_t timeout_ns(const struct wire *wire)
{
    return wire->settings.response_timeout_ms * NS_PER_MS;
}

static int64_t later(int64_t a, int64_t b)
{
    return a > b ? a : b;
}

// ---- the silence before a request ---------------------------------------------------------------

// When the line has been silent for long enough, should no further byte come.
static int64_t ready_at(const struct wire *wire, const struct request *request)
{
    int pause_ms = wire->settings.pause_ms > wire->meter_pause_ms ? wire->settings.pause_ms
                                                                  : wire->meter_pause_ms;
    int64_t ready_ns = wire->last_byte_ns + wire->silence_ns + pause_ms * NS_PER_MS;
    if (wire->drain_from_ns == 0)
        return ready_ns;
    ready_ns = later(ready_ns, wire->last_byte_ns + timeout_ns(wire));
    // The unit that failed gets the time to finish what it may be at; another one need not wait for
    // it: its replies are told apart by the unit.
    bool same = wire->drain_unit == 0 || wire->drain_unit == request->unit;
    return same ? later(ready_ns, wire->drain_from_ns + timeout_ns(wire)) : ready_ns;
}

// Reads away what comes until the line has been silent for as long as it must.
static enum why settle(struct wire *wire, const struct request *request)
{
    int64_t limit_ns = ready_at(wire, request) + DRAIN_TIMEOUTS * timeout_ns(wire);
    int64_t spin_ns = wire->settings.url.kind == LINK_RTU ? WIRE_SPIN_NS : 0;
    for (;;) {
        uint8_t bytes[DRAIN_READ];
        long count = wire_read(wire, bytes, sizeof bytes);
        if (count < 0)
            return WHY_LINK_DOWN;
        if (count > 0) {
            wire_show(wire, false, bytes, (size_t)count);
            wire->mute = 0;
        }
        int64_t until_ns = ready_at(wire, request);
        if (count == 0 && clock_boot_ns(wire->clock) >= until_ns)
            return WHY_NONE;
        if (until_ns > limit_ns)
            return WHY_FRAME;
        if (wire_wait(wire, until_ns - spin_ns) < 0)
            return WHY_LINK_DOWN;
        wire_spin(wire, until_ns);
    }
}

static enum why fall_silent(struct wire *wire, const struct request *request)
{
    enum why why = settle(wire, request);
    if (why == WHY_NONE)
        wire->drain_from_ns = 0;
    return why;
}

// ---- the reply ----------------------------------------------------------------------------------

// How many bytes the frame has that begins here, by its head; 0 while that cannot be told.
static size_t frame_size(const struct wire *wire, const struct request *request,
                         const uint8_t *bytes, size_t length)
{
    if (length < 3)
        return 0;
    size_t expected = frame_rtu_reply_size(request);
    if (bytes[0] == request->unit && bytes[1] == request->function &&
        bytes[2] == frame_data_size(request))
        return expected;
    size_t late = late_reply_size(&wire->late, bytes, length);
    if (late > 0)
        return late;
    if ((bytes[1] & EXCEPTION_BIT) != 0)
        return EXCEPTION_SIZE;
    if (bytes[1] >= 1 && bytes[1] <= 4)
        return EXCEPTION_SIZE + (size_t)bytes[2];
    return 0;
}

// Removes late replies from the front of what was received.
static void strike_late(struct wire *wire, const struct request *request, uint8_t *bytes,
                        size_t *length)
{
    for (;;) {
        size_t size = late_reply_size(&wire->late, bytes, *length);
        bool ours = size > 0 && bytes[0] == request->unit &&
                    (bytes[1] & ~EXCEPTION_BIT) == request->function &&
                    (size == EXCEPTION_SIZE || size == frame_rtu_reply_size(request));
        if (size == 0 || size > *length || ours || !late_reply_is_whole(bytes, size))
            return;
        wire_show(wire, false, bytes, size);
        *length -= size;
        memmove(bytes, bytes + size, *length);
    }
}

// Collects one frame. Returns its length; 0 when none came in time, -1 when the line is gone.
static long receive(struct wire *wire, const struct request *request, int64_t until_ns,
                    uint8_t bytes[static FRAME_RTU_MAX])
{
    size_t length = 0;
    for (;;) {
        long count = wire_read(wire, bytes + length, FRAME_RTU_MAX - length);
        if (count < 0)
            return -1;
        length += (size_t)count;
        strike_late(wire, request, bytes, &length);
        size_t size = frame_size(wire, request, bytes, length);
        if ((size > 0 && length >= size) || length == FRAME_RTU_MAX)
            return (long)wire_trim_heartbeats(wire, bytes, length, size);
        int waited = wire_wait(wire, until_ns);
        if (waited < 0)
            return -1;
        if (waited == 0)
            return (long)length;
    }
}

// ---- the transaction ----------------------------------------------------------------------------

static void link_down(struct wire *wire, struct reply *reply, const char *detail)
{
    reply_fail(reply, WHY_LINK_DOWN, detail);
    wire_close(wire);
}

static void judge(struct wire *wire, const struct request *request, const uint8_t *bytes,
                  long length, struct reply *reply)
{
    if (length < 0) {
        link_down(wire, reply, "the serial line is gone");
        return;
    }
    wire->mute = length > 0 ? 0 : wire->mute + 1;
    wire_show(wire, false, bytes, (size_t)length);
    if (length == 0)
        reply_fail(reply, WHY_TIMEOUT, "no reply");
    else
        frame_rtu_judge(request, bytes, (size_t)length, reply);
}

// A reply that was not seen may still come; so may ours when the exception that was taken for it
// can have been the answer to an earlier request.
static void remember(struct wire *wire, const struct request *request, const struct reply *reply)
{
    bool exception = reply->why >= WHY_EXCEPTION;
    if (reply->why == WHY_NONE || (exception && !late_expects(&wire->late, request)))
        return;
    int64_t now_ns = clock_boot_ns(wire->clock);
    late_add(&wire->late, request, now_ns);
    if (!exception) {
        wire->drain_from_ns = now_ns;
        wire->drain_unit = request->unit;
    }
}

void wire_serial_transact(struct wire *wire, const struct request *request, struct reply *reply)
{
    enum why why = fall_silent(wire, request);
    if (why == WHY_FRAME) {
        reply_fail(reply, WHY_FRAME, "the line does not fall silent: something else talks on it");
        return;
    }
    if (why == WHY_LINK_DOWN) {
        link_down(wire, reply, "the serial line is gone");
        return;
    }
    if (!wire_may_ask(wire, request)) {
        reply_fail(reply, WHY_TIMEOUT,
                   "held back: a late reply to an earlier request could be taken for the answer");
        return;
    }
    uint8_t bytes[FRAME_RTU_MAX];
    size_t length = frame_rtu_request(request, bytes);
    if (wire_send(wire, bytes, length) != 0) {
        link_down(wire, reply, "the serial line takes no bytes");
        return;
    }
    int64_t sent_ns = wire->last_byte_ns;
    // The time-out is the meter's time to think; the wire's own time comes on top.
    int64_t wire_ns = (int64_t)frame_rtu_reply_size(request) * wire->char_ns;
    long received = receive(wire, request, sent_ns + timeout_ns(wire) + wire_ns, bytes);
    // A terminal that only pretends to have a speed may answer before the request is through.
    reply->elapsed_us = later(clock_boot_ns(wire->clock) - sent_ns, 0) / 1000;
    judge(wire, request, bytes, received, reply);
    remember(wire, request, reply);
    if (wire->mute >= WIRE_MUTE_MAX && wire->settings.url.kind == LINK_RTU_OVER_TCP) {
        wire->mute = 0;
        wire_leave_mute(wire); // the next request opens it anew
    }
}
