#include "poll/schedule.h"

#define PHASE_LIMIT_MS 1000

// FNV-1a, 64 bit. Due times follow from it, so it must never change.
static uint64_t hash_text(const char *text)
{
    uint64_t hash = UINT64_C(14695981039346656037);
    for (; *text != '\0'; text++)
        hash = (hash ^ (unsigned char)*text) * UINT64_C(1099511628211);
    return hash;
}

int64_t schedule_phase_ms(const char *meter_id, int64_t interval_ms)
{
    int64_t width = interval_ms < PHASE_LIMIT_MS ? interval_ms : PHASE_LIMIT_MS;
    return (int64_t)((hash_text(meter_id) >> 16) % (uint64_t)width);
}

// Due times in the first `elapsed_ms` of a period.
static int64_t count_within(const struct schedule *schedule, int64_t elapsed_ms)
{
    int64_t after_phase = elapsed_ms - schedule->phase_ms;
    return after_phase > 0 ? (after_phase + schedule->interval_ms - 1) / schedule->interval_ms : 0;
}

// The first due time of the period that begins at `from_ms`, or of a later one.
static struct due first_from(const struct schedule *schedule, const struct gas_calendar *calendar,
                             int64_t from_ms)
{
    for (;;) {
        struct due due = {from_ms + schedule->phase_ms, from_ms,
                          period_end(calendar, schedule->span, from_ms)};
        if (due.at_ms < due.to_ms)
            return due;
        from_ms = due.to_ms; // cut short by a change of the clock
    }
}

struct due schedule_due(const struct schedule *schedule, const struct gas_calendar *calendar,
                        int64_t after_ms)
{
    struct due due = {.from_ms = period_start(calendar, schedule->span, after_ms),
                      .to_ms = period_end(calendar, schedule->span, after_ms)};
    // Those at or before after_ms are the first of the grid, so the next one has their number.
    int64_t passed = count_within(schedule, after_ms - due.from_ms + 1);
    due.at_ms = due.from_ms + schedule->phase_ms + passed * schedule->interval_ms;
    return due.at_ms < due.to_ms ? due : first_from(schedule, calendar, due.to_ms);
}

int64_t schedule_next(const struct schedule *schedule, const struct gas_calendar *calendar,
                      int64_t after_ms)
{
    return schedule_due(schedule, calendar, after_ms).at_ms;
}

struct due schedule_following(const struct schedule *schedule, const struct gas_calendar *calendar,
                              const struct due *due)
{
    struct due next = {due->at_ms + schedule->interval_ms, due->from_ms, due->to_ms};
    return next.at_ms < next.to_ms ? next : first_from(schedule, calendar, due->to_ms);
}

int64_t schedule_deadline_ms(const struct schedule *schedule, const struct due *due)
{
    int64_t interval_ms = schedule->interval_ms;
    if (due->at_ms == due->from_ms + schedule->phase_ms)
        return due->from_ms + (interval_ms < SCHEDULE_INDEX_MS ? interval_ms : SCHEDULE_INDEX_MS);
    int64_t next_ms = due->at_ms + interval_ms;
    int64_t next_from_ms = due->to_ms + schedule->phase_ms;
    return next_ms < next_from_ms ? next_ms : next_from_ms;
}

int64_t schedule_number(const struct schedule *schedule, const struct gas_calendar *calendar,
                        const struct due *due)
{
    int64_t in_period = count_within(schedule, due->at_ms - due->from_ms);
    if (schedule->span >= SPAN_DAY)
        return in_period;
    int64_t length = span_nominal_ms(schedule->span);
    int64_t day_from = period_start(calendar, SPAN_DAY, due->at_ms);
    return (due->from_ms - day_from) / length * count_within(schedule, length) + in_period;
}

int schedule_per_hour(const struct schedule *schedule)
{
    if (schedule->span > SPAN_HOUR)
        return 0;
    int64_t length = span_nominal_ms(schedule->span);
    return (int)(span_nominal_ms(SPAN_HOUR) / length * count_within(schedule, length));
}

// Due times in [day_from, at) of one gas day, or of one period where those are as long.
static int64_t count_in_day(const struct schedule *schedule, int64_t day_from_ms, int64_t at_ms)
{
    if (schedule->span >= SPAN_DAY)
        return count_within(schedule, at_ms - day_from_ms);
    int64_t length = span_nominal_ms(schedule->span);
    int64_t elapsed = at_ms - day_from_ms;
    return elapsed / length * count_within(schedule, length) +
           count_within(schedule, elapsed % length);
}

int64_t schedule_count(const struct schedule *schedule, const struct gas_calendar *calendar,
                       int64_t from_ms, int64_t to_ms)
{
    enum span step = schedule->span > SPAN_DAY ? schedule->span : SPAN_DAY;
    int64_t count = 0;
    while (from_ms < to_ms) {
        int64_t day_from = period_start(calendar, step, from_ms);
        int64_t day_to = period_end(calendar, step, from_ms);
        int64_t end = to_ms < day_to ? to_ms : day_to;
        count += count_in_day(schedule, day_from, end) - count_in_day(schedule, day_from, from_ms);
        from_ms = end;
    }
    return count;
}
