// One poll of one meter, and what becomes of its reading.
#include "poll/bus_inside.h"

#include "base/log.h"
#include "config/config.h"

#define FAILURES_MAX 3    // polls without any answer, after which a meter is not asked twice
#define LATE_LEAST_MS 100 // a poll is late beyond this, or beyond a tenth of its interval

void bus_read_meter(struct bus *bus, const struct bus_meter *meter, int retries, bool at_once,
                    struct reading *reading)
{
    const struct clock *clock = bus->settings.clock;
    if (bus_open_link(bus, at_once)) {
        meter_poll_read(meter->poll, bus->wire, retries, clock, reading, &bus->counters);
        bus_settle_link(bus, reading);
        return;
    }
    reading_refuse(reading, WHY_LINK_DOWN);
    reading->at_ms = reading->due_ms != 0 ? reading->due_ms : clock_wall_ms(clock);
    reading->boot_ms = clock_boot_ms(clock);
}

// Reads a meter for its due time, or (due_ms 0) for the live view only.
void bus_poll_meter(struct bus *bus, struct bus_meter *meter, int64_t due_ms)
{
    struct live_link *counters = &bus->counters;
    struct reading *reading = reading_new(bus->settings.config, meter->meter);
    if (reading == NULL) {
        log_error(bus->part, "no memory for a reading of %s: it is missing", meter->meter->id);
        return;
    }
    reading->due_ms = due_ms;
    uint64_t answers = counters->replies + counters->exceptions;
    int retries = meter->failures < FAILURES_MAX ? bus->link->retries : 0;
    bus_read_meter(bus, meter, retries, false, reading);
    bool alive = counters->replies + counters->exceptions > answers;
    meter->failures = alive ? 0 : meter->failures + (meter->failures < FAILURES_MAX ? 1 : 0);
    meter->seen = true;
    if (bus_is_stopping(bus)) { // cut short: says nothing of the meter
        reading_free(reading);
        return;
    }
    live_reading(bus->settings.live, reading);
    live_link(bus->settings.live, bus->settings.config, bus->settings.link, counters);
    if (due_ms == 0) {
        reading_free(reading);
    } else if (!bus->settings.sink.offer(bus->settings.sink.context, reading)) {
        counters->refused++;
        live_link(bus->settings.live, bus->settings.config, bus->settings.link, counters);
        reading_free(reading);
    }
}

void bus_poll_due(struct bus *bus, struct bus_meter *meter)
{
    const struct clock *clock = bus->settings.clock;
    int64_t due_ms = meter->due_ms;
    int64_t tolerance_ms = meter->schedule.interval_ms / 10;
    tolerance_ms = tolerance_ms > LATE_LEAST_MS ? tolerance_ms : LATE_LEAST_MS;
    bus->counters.late += clock_wall_ms(clock) - due_ms > tolerance_ms ? 1 : 0;
    bus->counters.polls++;
    bus_poll_meter(bus, meter, due_ms);
    int64_t now_ms = clock_wall_ms(clock);
    meter->due_ms =
        schedule_next(&meter->schedule, &bus->settings.calendar, now_ms > due_ms ? now_ms : due_ms);
}
