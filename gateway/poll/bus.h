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

// Work of low priority on a link (rows of a meter's archive, a scan while polling goes on). Both
// functions are called in the bus thread.
struct bus_task {
    // Does a few transactions over the open wire (NULL: the link cannot be opened now), for at most
    // step_ms. Returns the boot-clock ms from which it wants to go on, or -1 when it is done.
    int64_t (*step)(void *context, struct wire *wire, int64_t now_boot_ms);
    void (*release)(void *context); // once, when it is done or the bus stops
    void *context;
    int step_ms; // 1 or more: it runs only when no poll is due sooner
};

#define TASKS_MAX 8           // of one link
#define TASK_STARVED_MS 60000 // without a turn for so long, a task gets one before a due poll

// Hands a task over, from any thread. Tasks that wait take turns. -1 with a message, and the task
// not released, when there are TASKS_MAX already or the bus stops.
int bus_add_task(struct bus *bus, const struct bus_task *task, struct err *err);

#endif
