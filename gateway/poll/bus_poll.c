// One poll of one meter, and what becomes of its reading.
#include "poll/bus_inside.h"

#include "base/log.h"
#include "config/config.h"

#define LATE_LEAST_MS 100 // a poll is late beyond this, or beyond a tenth of its interval

void bus_read_meter(struct bus *bus, const struct bus_meter *meter, bool test,
                    struct reading *reading)
{
    const struct clock *clock = bus->settings.clock;
    if (bus_open_link(bus, test)) {
        (test ? meter_poll_read : meter_poll_try)(meter->poll, bus->wire, bus->link->retries, clock,
                                                  reading, &bus->counters);
        bus_settle_link(bus, reading);
        bus->went_deep = bus->went_deep || reading->detail[0] != '\0';
        return;
    }
    reading_refuse(reading, WHY_LINK_DOWN);
    reading->at_ms = reading->due_ms != 0 ? reading->due_ms : clock_wall_ms(clock);
    reading->boot_ms = clock_boot_ms(clock);
}

static struct reading *new_reading(struct bus *bus, const struct turn *turn)
{
    const struct meter *meter = bus->meters[turn->entry].meter;
    struct reading *reading = reading_new(bus->settings.config, meter);
    if (reading == NULL)
        log_error(bus->part, "no memory for a reading of %s: it is missing", meter->id);
    else
        reading->due_ms = turn->due_ms;
    return reading;
}

static void hand_over(struct bus *bus, struct reading *reading)
{
    if (!bus->settings.sink.offer(bus->settings.sink.context, reading)) {
        bus->counters.refused++;
        reading_free(reading);
    }
}

static void show_link(struct bus *bus)
{
    live_link(bus->settings.live, bus->settings.config, bus->settings.link, &bus->counters);
}

// Why nothing came: that of the first field without a value.
static uint16_t reason_of(const struct reading *reading)
{
    for (int i = 0; i < reading->meter->profile->field_count; i++)
        if (reading->image.why[i] != WHY_NONE)
            return reading->image.why[i];
    return WHY_TIMEOUT;
}

// Reads the meter, and tells the agenda what came of it. True when the reading is the one to hand
// over.
static bool read_for(struct bus *bus, const struct turn *turn, struct reading *reading)
{
    const struct clock *clock = bus->settings.clock;
    struct live_link *counters = &bus->counters;
    uint64_t answers = counters->replies + counters->exceptions;
    uint64_t requests = counters->requests;
    int64_t start_ns = clock_boot_ns(clock);
    bus_read_meter(bus, &bus->meters[turn->entry], false, reading);
    int64_t end_ns = clock_boot_ns(clock);
    struct outcome outcome = {.answered = counters->replies + counters->exceptions > answers,
                              .asked = counters->requests > requests,
                              .took_us = (end_ns - start_ns) / 1000};
    outcome.why = outcome.answered ? WHY_NONE : reason_of(reading);
    outcome.link_down = outcome.why == WHY_LINK_DOWN;
    if (bus->came_back)
        agenda_link_back(&bus->agenda, end_ns / 1000000);
    bus->came_back = false;
    return agenda_done(&bus->agenda, turn, &outcome, end_ns / 1000000);
}

static void count_poll(struct bus *bus, const struct turn *turn, int64_t begun_ms)
{
    int64_t tolerance_ms = bus->entries[turn->entry].schedule.interval_ms / 10;
    tolerance_ms = tolerance_ms > LATE_LEAST_MS ? tolerance_ms : LATE_LEAST_MS;
    bus->counters.late += begun_ms - turn->due_ms > tolerance_ms ? 1 : 0;
    bus->counters.polls++;
}

void bus_ask(struct bus *bus, const struct turn *turn, int64_t now_ms)
{
    struct reading *reading = new_reading(bus, turn);
    if (reading == NULL) { // nobody was asked: the next attempt may find memory
        struct outcome outcome = {.why = WHY_NOT_POLLED};
        (void)agenda_done(&bus->agenda, turn, &outcome, clock_boot_ms(bus->settings.clock));
        return;
    }
    bool last = read_for(bus, turn, reading);
    if (bus_is_stopping(bus)) { // cut short: says nothing of the meter
        reading_free(reading);
        return;
    }
    if (last)
        count_poll(bus, turn, now_ms);
    if (last || turn->due_ms == 0)
        live_reading(bus->settings.live, reading);
    if (last)
        hand_over(bus, reading);
    else
        reading_free(reading);
    show_link(bus);
}

void bus_miss(struct bus *bus, const struct turn *turn)
{
    struct reading *reading = new_reading(bus, turn);
    if (reading == NULL)
        return;
    bool overload = turn->why == WHY_OVERLOAD;
    reading_refuse(reading, bus->counters.open || overload ? turn->why : WHY_LINK_DOWN);
    reading->at_ms = turn->due_ms;
    reading->boot_ms = turn->due_ms - bus->offset_ms;
    bus->counters.dropped += overload ? 1 : 0;
    if (!overload) // else the page keeps the last value, which is as new as the link can make it
        live_reading(bus->settings.live, reading);
    hand_over(bus, reading);
    show_link(bus);
}

void bus_note_load(struct bus *bus)
{
    struct live_link *counters = &bus->counters;
    const struct agenda *agenda = &bus->agenda;
    if (counters->load_permille == agenda->load_permille &&
        counters->overloaded == agenda->overloaded)
        return;
    counters->load_permille = agenda->load_permille;
    counters->stretched = agenda_stretched(agenda);
    if (counters->overloaded == agenda->overloaded)
        return;
    counters->overloaded = agenda->overloaded;
    if (agenda->overloaded) {
        log_warn(bus->part,
                 "its meters want %d %% of its time: %d of %d are read less often, those of low "
                 "priority first; give them a longer interval_s, or spread them over more links",
                 agenda->load_permille / 10, counters->stretched, agenda->count);
    } else {
        log_info(bus->part, "has the time for all of its meters again");
    }
    show_link(bus);
}
