#include "record/watch.h"

#include "base/log.h"
#include "base/timetext.h"
#include "base/version.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define HOUR_MS (INT64_C(3600) * 1000)
#define WHO "gateway"
#define BOOT_SETTING "boot"

static int64_t wall_now(const struct watch *watch)
{
    return clock_wall_ms(watch->clock);
}

static int64_t boot_now(const struct watch *watch)
{
    return clock_boot_ms(watch->clock);
}

int watch_open(struct watch *watch, struct store *store, const struct clock *clock, struct err *err)
{
    int64_t sealed_ms;
    *watch = (struct watch){.clock = clock};
    clock_boot_id(watch->boot);
    if (store_setting_get(store, "clean_stop", watch->was_clean, sizeof watch->was_clean, err) <
            0 ||
        store_seal_newest(store, &sealed_ms, err) != 0)
        return -1;
    watch->sealed_hour = (sealed_ms != 0 ? sealed_ms : wall_now(watch)) / HOUR_MS;
    return 0;
}

// A clock that is slewed moves little between two looks; one that is set jumps.
void watch_look(struct watch *watch)
{
    int64_t offset = clock_offset_ms(watch->clock);
    int64_t step = offset - watch->offset_ms;
    if (watch->offset_known && llabs(step) >= CLOCK_STEP_MS) {
        watch->step_ms += step;
        watch->steps++;
    }
    watch->offset_ms = offset;
    watch->offset_known = true;
    int64_t raw_ms = 0;
    watch->doubting = clock_doubts(watch->clock, &raw_ms);
    if (watch->doubting)
        watch->doubted_ms = raw_ms;
}

// --- records ---

static int note(const struct watch *watch, struct store *store, const char *action,
                const char *subject, const char *detail, struct err *err)
{
    return store_audit_add(store, wall_now(watch), WHO, action, subject, "done", detail, err);
}

static int note_boot(struct watch *watch, struct store *store, struct err *err)
{
    char before[BOOT_ID_SIZE] = "";
    int found = store_setting_get(store, BOOT_SETTING, before, sizeof before, err);
    if (found < 0)
        return -1;
    if (strcmp(before, watch->boot) == 0)
        return 0;
    if (found == 1 && note(watch, store, "reboot", "", watch->boot, err) != 0)
        return -1;
    return store_setting_put(store, BOOT_SETTING, watch->boot, err);
}

static int note_start(struct watch *watch, struct store *store, struct err *err)
{
    bool fresh = watch->was_clean[0] == '\0';
    bool clean = strcmp(watch->was_clean, "yes") == 0;
    const char *how = clean ? "after a clean stop"
                            : "the last run did not end cleanly: power, or the process was killed";
    char detail[160];
    (void)snprintf(detail, sizeof detail, "software %.60s; %s", software_version,
                   fresh ? "first start on this store" : how);
    if ((fresh && note(watch, store, "store", store_stream(store), "a new store", err) != 0) ||
        note_boot(watch, store, err) != 0)
        return -1;
    return note(watch, store, "start", "", detail, err);
}

static int note_steps(struct watch *watch, struct store *store, struct err *err)
{
    char detail[96];
    (void)snprintf(detail, sizeof detail, "%+.3f s%s", (double)watch->step_ms / 1000,
                   watch->steps > 1 ? " in several steps" : "");
    return note(watch, store, "clock-step", "", detail, err);
}

static int note_doubt(const struct watch *watch, struct store *store, struct err *err)
{
    char raw[TIME_TEXT_MAX];
    char detail[160];
    (void)time_print(watch->doubted_ms, raw);
    (void)snprintf(detail, sizeof detail,
                   watch->doubting
                       ? "the machine says %s, which cannot be: the time goes on by the "
                         "boot clock"
                       : "the machine no longer says %s: its clock is followed again",
                   raw);
    return note(watch, store, "clock-doubt", "", detail, err);
}

// Whether steps may be recorded now: a clock that jumps all the time must not fill the store, so
// what is beyond the bound waits for the next hour.
static bool may_note_steps(struct watch *watch)
{
    int64_t hour = boot_now(watch) / HOUR_MS;
    if (hour != watch->steps_hour) {
        watch->steps_hour = hour;
        watch->steps_in_hour = 0;
    }
    return (watch->steps > 0 || watch->doubting != watch->told_doubt) &&
           watch->steps_in_hour < CLOCK_STEPS_HOUR_MAX;
}

// --- rounds ---

struct pending {
    bool start, steps, seal;
};

static int write_due(struct watch *watch, struct store *store, const struct pending *due,
                     bool sends, struct err *err)
{
    if ((due->start && note_start(watch, store, err) != 0) ||
        (due->steps && watch->steps > 0 && note_steps(watch, store, err) != 0) ||
        (due->steps && watch->doubting != watch->told_doubt && note_doubt(watch, store, err) != 0))
        return -1;
    return due->seal ? store_seal_add(store, wall_now(watch), sends, err) : 0;
}

static void written(struct watch *watch, const struct pending *due)
{
    watch->began = true;
    if (due->steps) {
        watch->steps = 0;
        watch->step_ms = 0;
        watch->told_doubt = watch->doubting;
        watch->steps_in_hour++;
    }
    if (due->seal)
        watch->sealed_hour = wall_now(watch) / HOUR_MS;
}

bool watch_write(struct watch *watch, struct store *store, bool sends)
{
    struct err err;
    const struct pending due = {.start = !watch->began,
                                .steps = may_note_steps(watch),
                                .seal = wall_now(watch) / HOUR_MS != watch->sealed_hour};
    if ((!due.start && !due.steps && !due.seal) || boot_now(watch) < watch->retry_boot_ms)
        return false;
    if (store_round_begin(store, &err) == 0 && write_due(watch, store, &due, sends, &err) == 0 &&
        store_round_commit(store, &err) == 0) {
        written(watch, &due);
        return due.seal && sends;
    }
    store_round_cancel(store);
    watch->retry_boot_ms = boot_now(watch) + WATCH_RETRY_MS;
    log_warn("recorder", "the audit chain takes no record: %s", err.text);
    return false;
}

int watch_stop(struct watch *watch, struct store *store, struct err *err)
{
    const struct pending due = {.start = !watch->began, .steps = watch->steps > 0};
    if (write_due(watch, store, &due, false, err) != 0)
        return -1;
    if (note(watch, store, "stop", "", "", err) != 0)
        return -1;
    return store_reading_witness(store, err);
}
