// Calling a unit to hear whether anybody is there: not a transaction, nothing is judged or
// believed.
#include "drivers/wire_inside.h"

#include <string.h>

#define QUIET_NS (20 * NS_PER_MS)   // a USB adapter hands over in clumps, 16 ms apart
#define BABBLE_NS (500 * NS_PER_MS) // a line that talks for longer is not listened to any more

struct hearing {
    uint8_t *bytes;
    size_t size, length;
    size_t echo; // bytes of our own request that may still come back first
    uint8_t sent[FRAME_RTU_MAX];
    size_t sent_length;
    int64_t first_ns; // of the reply, 0 while there is none
};

// Bytes that are our own request as the adapter hears it do not count as a reply.
static void note_first(const struct wire *wire, struct hearing *hearing, size_t count)
{
    const uint8_t *came = hearing->bytes + hearing->length - count;
    size_t from = hearing->sent_length - hearing->echo;
    size_t common = count < hearing->echo ? count : hearing->echo;
    bool echo = common > 0 && memcmp(came, hearing->sent + from, common) == 0;
    hearing->echo = echo ? hearing->echo - common : 0;
    if (hearing->first_ns == 0 && (!echo || count > common))
        hearing->first_ns = clock_boot_ns(wire->clock);
}

static long take(struct wire *wire, struct hearing *hearing)
{
    if (hearing->length == hearing->size)
        return 0;
    long count = wire_read(wire, hearing->bytes + hearing->length, hearing->size - hearing->length);
    if (count > 0) {
        wire_show(wire, false, hearing->bytes + hearing->length, (size_t)count);
        hearing->length += (size_t)count;
    }
    return count;
}

// The silence before a request, with what comes meanwhile. -1 when the line is gone.
static int wait_silence(struct wire *wire, struct hearing *hearing)
{
    int64_t limit_ns = clock_boot_ns(wire->clock) + BABBLE_NS;
    int64_t pause_ns = wire->settings.pause_ms * NS_PER_MS;
    for (;;) {
        if (take(wire, hearing) < 0)
            return -1;
        int64_t until_ns = wire->last_byte_ns + wire->silence_ns + pause_ns;
        int64_t now_ns = clock_boot_ns(wire->clock);
        if (now_ns >= until_ns || now_ns >= limit_ns || hearing->length == hearing->size)
            return 0;
        if (wire_wait(wire, until_ns) < 0)
            return -1;
    }
}

static int listen_until(struct wire *wire, struct hearing *hearing, int64_t until_ns)
{
    int64_t limit_ns = until_ns + BABBLE_NS;
    for (;;) {
        long count = take(wire, hearing);
        if (count < 0)
            return -1;
        if (count > 0)
            note_first(wire, hearing, (size_t)count);
        int64_t now_ns = clock_boot_ns(wire->clock);
        int64_t end_ns =
            hearing->first_ns != 0 ? wire->last_byte_ns + wire->silence_ns + QUIET_NS : until_ns;
        if (now_ns >= end_ns || now_ns >= limit_ns || hearing->length == hearing->size)
            return 0;
        if (wire_wait(wire, end_ns) < 0)
            return -1;
    }
}

long wire_call(struct wire *wire, const struct request *request, int listen_ms, uint8_t *bytes,
               size_t size, int *answer_ms)
{
    struct hearing hearing = {.bytes = bytes, .size = size};
    *answer_ms = -1;
    if (wire->fd < 0 || wait_silence(wire, &hearing) != 0)
        return -1;
    size_t before = hearing.length;
    int64_t from_ns = clock_boot_ns(wire->clock);
    if (request != NULL) {
        hearing.sent_length = frame_rtu_request(request, hearing.sent);
        hearing.echo = hearing.sent_length;
        if (wire_send(wire, hearing.sent, hearing.sent_length) != 0)
            return -1;
        from_ns = wire->last_byte_ns;
    }
    if (listen_until(wire, &hearing, from_ns + wire->silence_ns + listen_ms * NS_PER_MS) != 0)
        return -1;
    if (hearing.first_ns != 0)
        *answer_ms =
            (int)((hearing.first_ns > from_ns ? hearing.first_ns - from_ns : 0) / NS_PER_MS);
    // A transaction that follows must know that this reply may still come; half of the list stays
    // free for its own.
    if (request != NULL && hearing.length == before && wire->late->count < LATE_MAX / 2)
        late_add(wire->late, request, clock_boot_ns(wire->clock));
    return (long)hearing.length;
}
