#include "record/care.h"

#define MINUTE_MS INT64_C(60000)
#define HOUR_MS (60 * MINUTE_MS)
#define DAY_MS (24 * HOUR_MS)
#define SHORT_DAYS 400
#define HOUR_DAYS 1096   // 3 years
#define LONG_DAYS 3653   // 10 years
#define LEDGER_DAYS 3684 // longer than the days that they are of
#define OUTLOOK_DAYS_KEPT 62
#define ALERT_DAYS 4018
#define READING_ROWS 1000 // of one step: one transaction, some tens of milliseconds
#define OTHER_ROWS 200    // rows with more to look up for each
#define VACUUM_PAGES 64
#define VACUUM_LEAST_BYTES (INT64_C(1) << 20) // fewer are not worth a write

static const struct {
    enum care_kind kind;
    enum span span;
    int days; // 0: raw_days
    int max;
    int64_t every_ms;
} jobs[CARE_JOBS] = {
    {CARE_READINGS, 0, 0, READING_ROWS, MINUTE_MS},
    {CARE_PERIODS, SPAN_1MIN, SHORT_DAYS, OTHER_ROWS, HOUR_MS},
    {CARE_PERIODS, SPAN_5MIN, SHORT_DAYS, OTHER_ROWS, HOUR_MS},
    {CARE_PERIODS, SPAN_15MIN, SHORT_DAYS, OTHER_ROWS, HOUR_MS},
    {CARE_PERIODS, SPAN_30MIN, SHORT_DAYS, OTHER_ROWS, HOUR_MS},
    {CARE_PERIODS, SPAN_HOUR, HOUR_DAYS, OTHER_ROWS, HOUR_MS},
    {CARE_PERIODS, SPAN_DAY, LONG_DAYS, OTHER_ROWS, HOUR_MS},
    {CARE_PERIODS, SPAN_MONTH, LONG_DAYS, OTHER_ROWS, HOUR_MS},
    {CARE_LEDGERS, 0, LEDGER_DAYS, OTHER_ROWS, HOUR_MS},
    {CARE_OUTLOOKS, 0, OUTLOOK_DAYS_KEPT, OTHER_ROWS, HOUR_MS},
    {CARE_ALERTS, 0, ALERT_DAYS, OTHER_ROWS, HOUR_MS},
    {CARE_GAPS, 0, ALERT_DAYS, OTHER_ROWS, HOUR_MS},
    {CARE_VACUUM, 0, 0, VACUUM_PAGES, MINUTE_MS},
};

void care_init(struct care *care, int64_t boot_ms)
{
    *care = (struct care){.vacuuming = false};
    for (int job = 0; job < CARE_JOBS; job++)
        care->due_boot_ms[job] = boot_ms + MINUTE_MS;
}

int64_t care_due_ms(const struct care *care)
{
    int64_t due = care->due_boot_ms[0];
    for (int job = 1; job < CARE_JOBS; job++)
        due = care->due_boot_ms[job] < due ? care->due_boot_ms[job] : due;
    return due;
}

static bool wants_vacuum(struct care *care, const struct care_facts *facts)
{
    int64_t part = care->vacuuming ? 16 : 8;
    care->vacuuming =
        facts->free_bytes > VACUUM_LEAST_BYTES && facts->free_bytes > facts->file_bytes / part;
    return care->vacuuming;
}

struct care_task care_next(struct care *care, const struct care_facts *facts)
{
    for (int job = 0; job < CARE_JOBS; job++) {
        if (facts->boot_ms < care->due_boot_ms[job])
            continue;
        if (jobs[job].kind == CARE_VACUUM && !wants_vacuum(care, facts)) {
            care->due_boot_ms[job] = facts->boot_ms + jobs[job].every_ms;
            continue;
        }
        int days = jobs[job].days != 0 ? jobs[job].days : facts->raw_days;
        return (struct care_task){.kind = jobs[job].kind,
                                  .span = jobs[job].span,
                                  .before_ms = facts->wall_ms - days * DAY_MS,
                                  .max = jobs[job].max,
                                  .job = job};
    }
    return (struct care_task){.kind = CARE_NOTHING};
}

void care_done(struct care *care, const struct care_task *task, int gone, int64_t boot_ms)
{
    bool more = gone >= task->max;
    care->due_boot_ms[task->job] = more ? boot_ms : boot_ms + jobs[task->job].every_ms;
}
