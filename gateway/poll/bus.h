// One link: a thread that owns the wire, polls its meters when they are due and hands readings
// over. Nothing that a meter does, or does not do, reaches another link.
#ifndef METERGATE_POLL_BUS_H
#define METERGATE_POLL_BUS_H

#include "base/clock.h"
#include "drivers/wire.h"
#include "gas/gasday.h"
#include "live.h"
#include "poll/reading.h"

// Where readings go. `offer` takes the reading over and must not block; false: no room, the bus
// frees it.
struct reading_sink {
    bool (*offer)(void *context, struct reading *reading);
    void *context;
};

struct bus;

struct bus_settings {
    struct config *config; // bus keeps a reference
    int link;              // index in it
    struct gas_calendar calendar;
    const struct clock *clock;
    struct reading_sink sink;
    struct live *live;
};

// Starts the thread (128 KiB stack). NULL with a message when it cannot.
struct bus *bus_start(const struct bus_settings *settings, struct err *err);
// Ends it within one response time-out and frees everything. NULL is fine.
void bus_stop(struct bus *bus);

// The link that it serves and its configuration, for reload.
const struct config *bus_config(const struct bus *bus);
int bus_link(const struct bus *bus);

// One test reading of a meter (index in bus_config) between two polls, from any thread; waits at
// most `wait_ms`. The reading is the caller's and goes nowhere else. `trace`, where given, sees its
// frames. -1 with a message when the bus is too busy or stops.
int bus_read(struct bus *bus, int meter, struct wire_trace trace, int wait_ms, struct reading **out,
             struct err *err);

#endif
