#include "record/refusals.h"

#include "poll/schedule.h"

#include <stdlib.h>
#include <string.h>

#define SUMMARY_MINUTES_DEFAULT 15

void refusals_release(struct refusals *refusals)
{
    free(refusals->runs);
    *refusals = (struct refusals){.runs = NULL};
}

void refusals_add(struct refusals *refusals, const struct reading *reading, uint64_t position)
{
    for (int i = refusals->count; i-- > 0 && refusals->runs[i].position == position;) {
        if (strcmp(refusals->runs[i].meter, reading->meter->id) == 0) {
            refusals->runs[i].last_ms = reading->due_ms;
            return;
        }
    }
    if (refusals->count == REFUSAL_RUNS_MAX)
        return;
    if (refusals->count == refusals->room) {
        int room = refusals->room > 0 ? 2 * refusals->room : 64;
        struct refusal_run *grown = reallocarray(refusals->runs, (size_t)room, sizeof *grown);
        if (grown == NULL)
            return;
        refusals->runs = grown;
        refusals->room = room;
    }
    struct refusal_run *run = &refusals->runs[refusals->count++];
    *run = (struct refusal_run){.first_ms = reading->due_ms,
                                .last_ms = reading->due_ms,
                                .offset_ms = reading->at_ms - reading->boot_ms,
                                .position = position};
    memcpy(run->meter, reading->meter->id, sizeof run->meter);
}

bool refusals_wait(const struct refusals *refusals, uint64_t position)
{
    return refusals->count > 0 && refusals->runs[0].position <= position;
}

// The due time after it, as the meter's link counts them.
static int64_t due_after(const struct config *config, const struct meter *meter, int64_t due_ms,
                         const struct gas_calendar *calendar)
{
    enum span spans[SPANS_MAX];
    int minutes = config->office.summary_minutes;
    (void)spans_of_meter(minutes > 0 ? minutes : SUMMARY_MINUTES_DEFAULT, meter->interval_s, spans);
    int64_t interval_ms = INT64_C(1000) * meter->interval_s;
    const struct schedule schedule = {spans[0], interval_ms,
                                      schedule_phase_ms(meter->id, interval_ms)};
    return schedule_next(&schedule, calendar, due_ms);
}

static struct reading *reading_of(const struct refusal_run *run, struct config *config,
                                  const struct meter *meter)
{
    struct reading *reading = reading_new(config, meter);
    if (reading == NULL)
        return NULL;
    reading_refuse(reading, WHY_STORE_FULL);
    reading->due_ms = reading->at_ms = run->first_ms;
    reading->boot_ms = run->first_ms - run->offset_ms;
    return reading;
}

struct reading *refusals_next(struct refusals *refusals, uint64_t position, struct config *config,
                              const struct gas_calendar *calendar)
{
    struct reading *reading = NULL;
    while (reading == NULL && refusals_wait(refusals, position)) {
        struct refusal_run *run = &refusals->runs[0];
        int place = config_meter_find(config, run->meter);
        if (place >= 0) {
            const struct meter *meter = &config->meters[place];
            reading = reading_of(run, config, meter);
            run->first_ms = due_after(config, meter, run->first_ms, calendar);
        }
        if (place < 0 || run->first_ms > run->last_ms) { // the meter is gone, or the run's end
            refusals->count--;
            memmove(run, run + 1, (size_t)refusals->count * sizeof *run);
        }
    }
    return reading;
}
