// What passes on the wire, for the link's health and for whoever waits for a test reading.
#include "poll/bus_inside.h"

static void see_frame(void *context, bool sent, const uint8_t *bytes, size_t length)
{
    struct bus *bus = context;
    health_frame(bus->health, sent, bytes, length);
    if (bus->reading_for != NULL)
        bus_show_frame(bus->reading_for, sent, bytes, length);
}

static void see_end(void *context, const struct request *request, const struct reply *reply,
                    int64_t busy_us)
{
    const struct bus *bus = context;
    health_note(bus->health, request, reply, busy_us);
}

void bus_watch_wire(struct bus *bus)
{
    wire_set_trace(bus->wire, (struct wire_trace){see_frame, see_end, bus});
}
