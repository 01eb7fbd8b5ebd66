#include "drivers/wire_inside.h"

#include <stdio.h>
#include <string.h>

#define DRAIN_READ 256   // bytes of a drain that are read at once
#define FRAME_END_MS 50  // no meter pauses for so long within a frame, but one that is broken
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

// When what is on the line has certainly ended, should no further byte come.
static int64_t frame_end_at(const struct wire *wire)
{
    int64_t end_ns = FRAME_END_MS * NS_PER_MS;
    return wire->last_byte_ns + (end_ns < timeout_ns(wire) ? end_ns : timeout_ns(wire));
}

// When the line has been silent for long enough, should no further byte come.
static int64_t ready_at(const struct wire *wire, const struct request *request)
{
    int pause_ms = wire->settings.pause_ms > wire->meter_pause_ms ? wire->settings.pause_ms
                                                                  : wire->meter_pause_ms;
    int64_t ready_ns = wire->last_byte_ns + wire->silence_ns + pause_ms * NS_PER_MS;
    if (wire->drain_from_ns == 0)
        return ready_ns;
    // The unit that failed gets the time to finish what it may be at. Another one's replies are
    // told apart by the unit, so it only lets a frame end: a meter that drips holds up nobody else.
    bool same = wire->drain_unit == 0 || wire->drain_unit == request->unit;
    if (same)
        return later(ready_ns, later(wire->last_byte_ns, wire->drain_from_ns) + timeout_ns(wire));
    return later(ready_ns, frame_end_at(wire));
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

enum echo {
    ECHO_NONE, // the adapter does not hear itself
    ECHO_DUE,  // our request comes back before anything else
    ECHO_SEEN,
    ECHO_WRONG, // something else came
};

// A request on the line and what came back.
struct exchange {
    const struct request *request;
    uint8_t sent[FRAME_RTU_MAX];
    size_t sent_length;
    enum echo echo;
    uint8_t bytes[FRAME_RTU_MAX];
    size_t length;
};

// As far as it came, what came is our own request.
static bool begins_like_request(const struct exchange *exchange)
{
    size_t common =
        exchange->length < exchange->sent_length ? exchange->length : exchange->sent_length;
    return memcmp(exchange->bytes, exchange->sent, common) == 0;
}

// How many bytes the frame has that begins here, by its head; 0 while that cannot be told.
static size_t frame_size(const struct wire *wire, const struct exchange *exchange)
{
    const struct request *request = exchange->request;
    const uint8_t *bytes = exchange->bytes;
    if (exchange->length < 3 || exchange->echo == ECHO_DUE)
        return 0;
    // An echo that nobody reckoned with is told as such, and so must be whole. A reply can begin
    // like the request, but it does not go on like it.
    if (exchange->echo == ECHO_NONE && begins_like_request(exchange))
        return exchange->sent_length;
    if (bytes[0] == request->unit && bytes[1] == request->function &&
        bytes[2] == frame_data_size(request))
        return frame_rtu_reply_size(request);
    size_t late = late_reply_size(wire->late, bytes, exchange->length);
    if (late > 0)
        return late;
    if ((bytes[1] & EXCEPTION_BIT) != 0)
        return EXCEPTION_SIZE;
    if (bytes[1] >= 1 && bytes[1] <= 4)
        return EXCEPTION_SIZE + (size_t)bytes[2];
    return 0;
}

static void take_from_front(struct wire *wire, struct exchange *exchange, size_t size)
{
    wire_show(wire, false, exchange->bytes, size);
    exchange->length -= size;
    memmove(exchange->bytes, exchange->bytes + size, exchange->length);
}

// Removes late replies from the front of what was received.
static void strike_late(struct wire *wire, struct exchange *exchange)
{
    const struct request *request = exchange->request;
    const uint8_t *bytes = exchange->bytes;
    for (;;) {
        size_t size = late_reply_size(wire->late, bytes, exchange->length);
        bool ours = size > 0 && bytes[0] == request->unit &&
                    (bytes[1] & ~EXCEPTION_BIT) == request->function &&
                    (size == EXCEPTION_SIZE || size == frame_rtu_reply_size(request));
        if (size == 0 || size > exchange->length || ours || !late_reply_is_whole(bytes, size))
            return;
        take_from_front(wire, exchange, size);
    }
}

// Removes our own request from the front. A late reply may still stand before it.
static void strip_echo(struct wire *wire, struct exchange *exchange)
{
    if (exchange->echo != ECHO_DUE || exchange->length < 3)
        return;
    if (!begins_like_request(exchange)) {
        bool late = late_reply_size(wire->late, exchange->bytes, exchange->length) > 0;
        exchange->echo = late ? ECHO_DUE : ECHO_WRONG;
    } else if (exchange->length >= exchange->sent_length) {
        exchange->echo = ECHO_SEEN;
        take_from_front(wire, exchange, exchange->sent_length);
        strike_late(wire, exchange);
    }
}

// Collects one frame; none when none came in time. -1 when the line is gone.
static int receive(struct wire *wire, struct exchange *exchange, int64_t until_ns)
{
    for (;;) {
        long count =
            wire_read(wire, exchange->bytes + exchange->length, FRAME_RTU_MAX - exchange->length);
        if (count < 0)
            return -1;
        exchange->length += (size_t)count;
        strike_late(wire, exchange);
        strip_echo(wire, exchange);
        size_t size = frame_size(wire, exchange);
        bool whole = size > 0 && exchange->length >= size;
        if (whole || exchange->length == FRAME_RTU_MAX || exchange->echo == ECHO_WRONG) {
            exchange->length = wire_trim_heartbeats(wire, exchange->bytes, exchange->length, size);
            return 0;
        }
        // As much as a reply has, and it is none: what comes later would not mend it.
        bool damaged = exchange->length >= frame_rtu_reply_size(exchange->request);
        int64_t end_ns = damaged ? frame_end_at(wire) : until_ns;
        int waited = wire_wait(wire, end_ns < until_ns ? end_ns : until_ns);
        if (waited <= 0)
            return waited;
    }
}

// ---- the transaction ----------------------------------------------------------------------------

static void link_down(struct wire *wire, struct reply *reply, const char *detail)
{
    reply_fail(reply, WHY_LINK_DOWN, detail);
    wire_close(wire);
}

static void judge(struct wire *wire, const struct exchange *exchange, struct reply *reply)
{
    bool echo_missing = exchange->echo == ECHO_DUE || exchange->echo == ECHO_WRONG;
    wire->mute = exchange->length > 0 || exchange->echo == ECHO_SEEN ? 0 : wire->mute + 1;
    wire_show(wire, false, exchange->bytes, exchange->length);
    if (exchange->length == 0 && echo_missing)
        reply_fail(reply, WHY_TIMEOUT, "no reply, and the request did not come back as an echo");
    else if (exchange->length == 0)
        reply_fail(reply, WHY_TIMEOUT, "no reply");
    else if (echo_missing)
        reply_fail(reply, WHY_FRAME,
                   "something else than the request's echo came: two talk, or nothing echoes here");
    else
        frame_rtu_judge(exchange->request, exchange->bytes, exchange->length, reply);
}

// A reply that was not seen may still come; so may ours when the exception that was taken for it
// can have been the answer to an earlier request.
static void remember(struct wire *wire, const struct request *request, const struct reply *reply)
{
    bool exception = reply->why >= WHY_EXCEPTION;
    if (reply->why == WHY_NONE || (exception && !late_expects(wire->late, request)))
        return;
    int64_t now_ns = clock_boot_ns(wire->clock);
    late_add(wire->late, request, now_ns);
    if (!exception) {
        wire->drain_from_ns = now_ns;
        wire->drain_unit = request->unit;
    }
}

// Waits for the silence that the request needs, and sends it. False where it could not, with the
// reason in the reply.
static bool begin(struct wire *wire, struct exchange *exchange, struct reply *reply)
{
    const struct request *request = exchange->request;
    enum why why = fall_silent(wire, request);
    if (why == WHY_FRAME) {
        reply_fail(reply, WHY_FRAME, "the line does not fall silent: something else talks on it");
        return false;
    }
    if (why == WHY_LINK_DOWN) {
        link_down(wire, reply, "the serial line is gone");
        return false;
    }
    if (!wire_may_ask(wire, request)) {
        reply_fail(reply, WHY_TIMEOUT,
                   "held back: a late reply to an earlier request could be taken for the answer");
        return false;
    }
    exchange->echo = wire->settings.echo ? ECHO_DUE : ECHO_NONE;
    exchange->sent_length = frame_rtu_request(request, exchange->sent);
    if (wire_send(wire, exchange->sent, exchange->sent_length) != 0) {
        link_down(wire, reply, "the serial line takes no bytes");
        return false;
    }
    return true;
}

// The reply's own time on the wire: a time-out is the meter's time to think.
static int64_t reply_wire_ns(const struct wire *wire, const struct request *request)
{
    return (int64_t)frame_rtu_reply_size(request) * wire->char_ns;
}

void wire_serial_transact(struct wire *wire, const struct request *request, struct reply *reply)
{
    struct exchange exchange = {.request = request};
    if (!begin(wire, &exchange, reply))
        return;
    int64_t sent_ns = wire->last_byte_ns;
    int64_t limit_ns = sent_ns + timeout_ns(wire) + reply_wire_ns(wire, request);
    bool gone = receive(wire, &exchange, limit_ns) != 0;
    // A terminal that only pretends to have a speed may answer before the request is through.
    reply->elapsed_us = later(clock_boot_ns(wire->clock) - sent_ns, 0) / 1000;
    if (gone)
        link_down(wire, reply, "the serial line is gone");
    else
        judge(wire, &exchange, reply);
    remember(wire, request, reply);
    if (wire->mute >= WIRE_MUTE_MAX && wire->settings.url.kind == LINK_RTU_OVER_TCP) {
        wire->mute = 0;
        wire_leave_mute(wire); // the next request opens it anew
    }
}

void wire_serial_wake(struct wire *wire, const struct request *request, int wait_ms,
                      struct reply *reply)
{
    struct exchange exchange = {.request = request};
    if (!begin(wire, &exchange, reply))
        return;
    int64_t limit_ns = wire->last_byte_ns + wait_ms * NS_PER_MS + reply_wire_ns(wire, request);
    if (receive(wire, &exchange, limit_ns) != 0) {
        link_down(wire, reply, "the serial line is gone");
    } else if (exchange.length > 0) {
        judge(wire, &exchange, reply);
        remember(wire, request, reply);
    } else {
        reply_fail(reply, WHY_TIMEOUT, "no reply");
        // It slept, as was to be expected: nothing to get over. Should it have been awake, its
        // reply is known by its shape.
        late_add(wire->late, request, clock_boot_ns(wire->clock));
    }
}
