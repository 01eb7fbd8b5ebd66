// Opening a link, and the growing pause between attempts while it is not there.
#include "poll/bus_inside.h"

#include "base/log.h"
#include "config/config.h"

#include <stdio.h>
#include <stdlib.h>

#define BACKOFF_MAX_MS 60000   // between attempts to open a connection
#define BACKOFF_MODEM_MS 1000  // listening costs nobody anything: there when it dials in
#define BACKOFF_DEVICE_MS 8000 // opening a device disturbs nobody: soon there again when plugged in

static void back_off(struct bus *bus)
{
    const struct link_url *url = &bus->link->url;
    int most_ms = url->kind == LINK_RTU ? BACKOFF_DEVICE_MS
                  : url->listen         ? BACKOFF_MODEM_MS
                                        : BACKOFF_MAX_MS;
    bus->backoff_ms = bus->backoff_ms == 0 ? 1000 : 2 * bus->backoff_ms;
    if (bus->backoff_ms > most_ms)
        bus->backoff_ms = most_ms;
    // Up to a quarter less, so that links lost together do not come back in step.
    int quarter = bus->backoff_ms / 4;
    int less = (int)((unsigned)rand_r(&bus->jitter) % (unsigned)quarter);
    bus->retry_at_ms = clock_boot_ms(bus->settings.clock) + bus->backoff_ms - less;
}

static void note_state(struct bus *bus, bool open, const char *reason)
{
    if (open && !bus->counters.open) {
        bus->came_back = bus->counters.error[0] != '\0';
        log_info(bus->part, "open");
        bus->counters.error[0] = '\0';
    }
    if (!open) {
        if (bus->counters.open || bus->counters.error[0] == '\0')
            log_warn(bus->part, "%s", reason);
        if (reason != bus->counters.error)
            (void)snprintf(bus->counters.error, sizeof bus->counters.error, "%s", reason);
    }
    bus->counters.open = open;
}

// A function of its own, so that the messages' room is not part of every poll's stack.
__attribute__((noinline)) static bool try_open(struct bus *bus)
{
    struct err err;
    if (wire_open(bus->wire, &err) == 0)
        return true;
    if (bus_is_stopping(bus))
        return false;
    char reason[sizeof bus->counters.error];
    (void)snprintf(reason, sizeof reason, "%.*s", (int)sizeof reason - 1, err.text);
    note_state(bus, false, reason);
    back_off(bus);
    return false;
}

void bus_await_link(struct bus *bus, int64_t now_ms, int64_t *wait_ms)
{
    if (bus->counters.open || bus->counters.error[0] == '\0')
        return;
    if (now_ms >= bus->retry_at_ms) {
        (void)pthread_mutex_unlock(&bus->mutex);
        (void)bus_open_link(bus, false);
        live_link(bus->settings.live, bus->settings.config, bus->settings.link, &bus->counters);
        (void)pthread_mutex_lock(&bus->mutex);
        if (bus->came_back)
            agenda_link_back(&bus->agenda, now_ms);
        bus->came_back = false;
        *wait_ms = 0;
    } else if (bus->retry_at_ms - now_ms < *wait_ms) {
        *wait_ms = bus->retry_at_ms - now_ms;
    }
}

// Opens the link where it is not open and its time to be tried has come.
bool bus_open_link(struct bus *bus, bool at_once)
{
    bool was_open = wire_is_open(bus->wire);
    if (!was_open && !at_once && clock_boot_ms(bus->settings.clock) < bus->retry_at_ms)
        return false;
    bus->went_deep = bus->went_deep || !was_open;
    if (!try_open(bus))
        return false;
    bus->counters.reconnects += !was_open && bus->opened ? 1 : 0;
    bus->opened = true;
    note_state(bus, true, "");
    if (bus->counters.on_second != wire_is_on_second(bus->wire)) {
        bus->counters.on_second = wire_is_on_second(bus->wire);
        log_warn(bus->part, bus->counters.on_second ? "goes on over its second address"
                                                    : "is back on its first address");
    }
    return true;
}

static bool lost_link(const struct reading *reading)
{
    for (int i = 0; i < reading->meter->profile->field_count; i++)
        if (reading->image.why[i] == WHY_LINK_DOWN)
            return true;
    return false;
}

// After a reading: whether the link stood it.
void bus_settle_link(struct bus *bus, const struct reading *reading)
{
    if (wire_is_open(bus->wire)) {
        bus->backoff_ms = 0;
        return;
    }
    // A TCP connection is closed after each time-out and made anew with the next request.
    if (lost_link(reading) && !bus_is_stopping(bus)) {
        note_state(bus, false,
                   bus->counters.error[0] != '\0' ? bus->counters.error : "the link broke");
        back_off(bus);
    } else if (reading->answered) {
        bus->backoff_ms = 0;
    }
}
