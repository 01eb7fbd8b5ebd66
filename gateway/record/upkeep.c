#include "record/upkeep.h"

#include "base/log.h"
#include "record/ballast.h"

#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <string.h>

#define LOOK_EVERY_MS 10000
#define CALM_MS (INT64_C(10) * 60000) // without trouble: the alert closes
#define LOG_MAX_BYTES (INT64_C(8) << 20)
#define LOG_ALARM_BYTES (INT64_C(32) << 20)
#define RECOVER_STEPS_MAX 200
#define FREE_SHARE 16 // of the file: as much as is made at once
#define REPLACED_OPEN_MS (INT64_C(24) * 3600 * 1000)
#define TOLD_SETTING "replaced_told"
#define MIB (INT64_C(1) << 20)

void upkeep_init(struct upkeep *upkeep, const char *directory, int64_t boot_ms)
{
    *upkeep = (struct upkeep){
        .directory = directory, .look_boot_ms = boot_ms, .started_boot_ms = boot_ms};
    care_init(&upkeep->care, boot_ms);
}

int64_t upkeep_due_ms(const struct upkeep *upkeep)
{
    int64_t care = care_due_ms(&upkeep->care);
    return care < upkeep->look_boot_ms ? care : upkeep->look_boot_ms;
}

// --- space ---

static int measure(struct upkeep *upkeep, struct store *store, const struct upkeep_now *now,
                   struct room_facts *facts, struct err *err)
{
    struct store_space space;
    if (store_space(store, &space, err) != 0)
        return -1;
    *facts = (struct room_facts){.wall_ms = now->wall_ms,
                                 .max_bytes = now->config->store_max_size_mb * MIB,
                                 .file_bytes = space.file_bytes,
                                 .free_bytes = space.free_bytes,
                                 .log_bytes = space.log_bytes,
                                 .disk_free_bytes = ballast_disk_free(upkeep->directory)};
    upkeep->status.disk_free_bytes = facts->disk_free_bytes;
    return 0;
}

static int room_rows(struct store *store, const struct room_step *step, struct store_shed *shed,
                     struct err *err)
{
    switch (step->kind) {
    case ROOM_READINGS: return store_reading_shed(store, shed, err);
    case ROOM_PERIODS: return store_period_shed(store, step->span, step->longer, shed, err);
    case ROOM_ALERTS: return store_alert_shed(store, shed, err);
    case ROOM_NOTHING: break;
    }
    return 0;
}

static void trouble(struct upkeep *upkeep, int64_t boot_ms, enum alert_severity severity)
{
    upkeep->trouble_boot_ms = boot_ms > 0 ? boot_ms : 1;
    upkeep->wanted = severity > upkeep->wanted ? severity : upkeep->wanted;
}

// One step of making room, in a round of its own. Rows gone, -1.
static int make_room(struct upkeep *upkeep, struct store *store, const struct room_step *step,
                     const struct upkeep_now *now, struct err *err)
{
    struct store_shed shed = {.unsent = step->unsent,
                              .before_ms = step->before_ms,
                              .now_ms = now->wall_ms,
                              .max = step->max};
    if (store_round_begin(store, err) != 0)
        return -1;
    int gone = room_rows(store, step, &shed, err);
    if (gone <= 0) {
        store_round_cancel(store);
        return gone;
    }
    if (store_round_commit(store, err) != 0)
        return -1;
    upkeep->status.rows += (uint64_t)gone;
    upkeep->status.messages += shed.messages;
    if (shed.messages > 0)
        trouble(upkeep, now->boot_ms, SEVERITY_MAJOR);
    return gone;
}

static void follow_limit(struct upkeep *upkeep, struct store *store, const struct config *config)
{
    struct err err;
    int64_t limit = room_file_max(config->store_max_size_mb * MIB);
    if (limit == upkeep->limit_bytes)
        return;
    if (store_limit(store, limit, &err) == 0)
        upkeep->limit_bytes = limit;
    else
        log_warn("recorder", "the store's limit stays: %s", err.text);
}

// A log that grew behind a long reader is emptied as soon as it is gone.
static void tend_log(struct upkeep *upkeep, struct store *store, int64_t log_bytes)
{
    struct err err;
    if (log_bytes <= LOG_MAX_BYTES) {
        upkeep->status.log_held = false;
        return;
    }
    int held = store_bring_home(store, false, &err);
    if (held < 0)
        log_warn("recorder", "the log stays: %s", err.text);
    bool alarm = held == 1 && log_bytes > LOG_ALARM_BYTES;
    if (alarm && !upkeep->status.log_held)
        log_warn("recorder", "a reader holds the store's log: it has %" PRId64 " MiB",
                 log_bytes / MIB);
    upkeep->status.log_held = alarm;
}

// Whether a step of making room was taken.
static bool look(struct upkeep *upkeep, struct store *store, const struct upkeep_now *now)
{
    struct err err;
    struct room_facts facts;
    upkeep->look_boot_ms = now->boot_ms + LOOK_EVERY_MS;
    follow_limit(upkeep, store, now->config);
    if (measure(upkeep, store, now, &facts, &err) != 0) {
        log_warn("recorder", "%s", err.text);
        return false;
    }
    tend_log(upkeep, store, facts.log_bytes);
    bool before = upkeep->room.making;
    struct room_step step = room_next(&upkeep->room, &facts);
    upkeep->status.making_room = upkeep->room.making;
    if (step.kind == ROOM_NOTHING) {
        upkeep->status.ballast = ballast_make(upkeep->directory);
        return false;
    }
    if (!before)
        log_warn("recorder", "the store makes room: %" PRId64 " MiB of the disk are free",
                 facts.disk_free_bytes / MIB);
    int gone = make_room(upkeep, store, &step, now, &err);
    if (gone < 0) {
        log_warn("recorder", "no room can be made now: %s", err.text);
        return false;
    }
    if (gone > 0 && upkeep->room.by_disk) // before anything was refused
        trouble(upkeep, now->boot_ms, SEVERITY_MINOR);
    room_done(&upkeep->room, gone);
    if (!upkeep->room.exhausted)
        upkeep->look_boot_ms = now->boot_ms; // the next one at once
    return true;
}

// --- what is old ---

static int remove_old(struct store *store, const struct care_task *task, struct err *err)
{
    switch (task->kind) {
    case CARE_READINGS: return store_reading_retain(store, task->before_ms, task->max, err);
    case CARE_PERIODS:
        return store_period_retain(store, task->span, task->before_ms, task->max, err);
    case CARE_ALERTS: return store_alert_retain(store, task->before_ms, task->max, err);
    case CARE_LEDGERS: return store_ledger_retain(store, task->before_ms, task->max, err);
    case CARE_OUTLOOKS: return store_outlook_retain(store, task->before_ms, task->max, err);
    case CARE_GAPS: return store_gap_retain(store, task->before_ms, task->max, err);
    case CARE_VACUUM:
    case CARE_NOTHING: break;
    }
    return 0;
}

static int remove_in_round(struct store *store, const struct care_task *task, struct err *err)
{
    if (store_round_begin(store, err) != 0)
        return -1;
    int gone = remove_old(store, task, err);
    if (gone > 0)
        return store_round_commit(store, err) == 0 ? gone : -1;
    store_round_cancel(store); // nothing to keep
    return gone;
}

#define PACK_RETRY_MS 60000 // after a failure; the readings stay where they are meanwhile

static void pack(struct upkeep *upkeep, struct store *store, const struct upkeep_now *now)
{
    struct err err;
    if (now->boot_ms < upkeep->pack_boot_ms || !store_reading_ripe(store, now->wall_ms))
        return;
    if (store_round_begin(store, &err) == 0) {
        if (store_reading_pack(store, &err) == 0 && store_round_commit(store, &err) == 0)
            return;
        store_round_cancel(store);
    }
    log_warn("recorder", "readings are not packed yet: %s", err.text);
    upkeep->pack_boot_ms = now->boot_ms + PACK_RETRY_MS;
}

static void take_care(struct upkeep *upkeep, struct store *store, const struct upkeep_now *now)
{
    struct err err;
    struct store_space space;
    if (store_space(store, &space, &err) != 0)
        space = (struct store_space){.file_bytes = 0}; // then nothing is given back
    const struct care_facts facts = {.boot_ms = now->boot_ms,
                                     .wall_ms = now->wall_ms,
                                     .raw_days = now->config->store_raw_days,
                                     .file_bytes = space.file_bytes,
                                     .free_bytes = space.free_bytes};
    struct care_task task = care_next(&upkeep->care, &facts);
    if (task.kind == CARE_NOTHING)
        return;
    int gone;
    if (task.kind == CARE_VACUUM)
        gone = store_vacuum(store, task.max, &err) == 0 ? task.max : -1;
    else
        gone = remove_in_round(store, &task, &err);
    if (gone < 0)
        log_warn("recorder", "old rows stay: %s", err.text);
    care_done(&upkeep->care, &task, gone, now->boot_ms);
}

// --- the alert ---

static bool find_alert(void *context, const struct stored_alert *alert)
{
    struct upkeep *upkeep = context;
    if (alert->change.kind == ALERT_STORE_REPLACED)
        upkeep->replaced_open = true;
    if (alert->change.kind != ALERT_STORE_FULL)
        return true;
    upkeep->alert_open = true;
    upkeep->severity = alert->change.severity;
    upkeep->since_ms = alert->change.since_ms;
    return true;
}

static int know_alert(struct upkeep *upkeep, struct store *store, struct err *err)
{
    char told[8] = "";
    if (upkeep->alert_known)
        return 0;
    int replaced = store_replaced_get(store, &upkeep->replaced, err);
    if (replaced < 0 || store_setting_get(store, TOLD_SETTING, told, sizeof told, err) < 0)
        return -1;
    upkeep->replaced_new = replaced == 1 && told[0] == '\0';
    if (store_alerts_open(store, find_alert, upkeep, err) != 0 ||
        store_shed_messages(store, &upkeep->status.messages, err) != 0)
        return -1;
    upkeep->alert_known = true;
    return 0;
}

// Observed: MB that the store has on disk.
static struct alert_change describe(const struct upkeep *upkeep, enum alert_state state,
                                    int64_t file_bytes, const struct upkeep_now *now)
{
    int64_t file_mb = file_bytes / MIB;
    int64_t began_ms = upkeep->began_ms != 0 ? upkeep->began_ms : now->wall_ms;
    struct alert_change change = {.kind = ALERT_STORE_FULL,
                                  .severity =
                                      state == ALERT_CLOSED ? upkeep->severity : upkeep->wanted,
                                  .state = state,
                                  .subject = ALERT_GATEWAY,
                                  .at_ms = now->wall_ms,
                                  .since_ms = state == ALERT_OPEN ? began_ms : upkeep->since_ms,
                                  .evidence = {.observed = (double)file_mb,
                                               .expected_low = (double)NAN,
                                               .expected_high = now->config->store_max_size_mb,
                                               .unit = "MB",
                                               .to_ms = now->wall_ms,
                                               .why = WHY_STORE_FULL}};
    change.evidence.from_ms = change.since_ms;
    (void)snprintf(change.evidence.rule, sizeof change.evidence.rule, "%" PRId64 " MB free on disk",
                   upkeep->status.disk_free_bytes / MIB);
    return change;
}

static int write_alert(struct store *store, const struct alert_change *change, bool send,
                       struct err *err)
{
    char id[UUID_SIZE];
    if (store_round_begin(store, err) != 0)
        return -1;
    if (store_alert_add(store, change, send, id, err) != 0) {
        store_round_cancel(store);
        return -1;
    }
    return store_round_commit(store, err);
}

// Opens, raises or closes it. True: it changed.
static bool tell(struct upkeep *upkeep, struct store *store, const struct upkeep_now *now)
{
    struct err err;
    struct store_space space;
    bool lately = upkeep->trouble_boot_ms != 0 && now->boot_ms - upkeep->trouble_boot_ms < CALM_MS;
    upkeep->status.full = lately;
    if (know_alert(upkeep, store, &err) != 0)
        return false;
    enum alert_state state;
    if (lately && !upkeep->alert_open)
        state = ALERT_OPEN;
    else if (lately && upkeep->wanted > upkeep->severity)
        state = ALERT_UPDATED;
    else if (!lately && upkeep->alert_open)
        state = ALERT_CLOSED;
    else
        return false;
    if (store_space(store, &space, &err) != 0)
        return false;
    struct alert_change change = describe(upkeep, state, space.file_bytes, now);
    if (write_alert(store, &change, now->config->office.present, &err) != 0) {
        log_warn("recorder", "the alert store-full cannot be kept now: %s", err.text);
        return false;
    }
    upkeep->alert_open = state != ALERT_CLOSED;
    upkeep->severity = change.severity;
    upkeep->since_ms = change.since_ms;
    upkeep->began_ms = 0;
    if (state == ALERT_CLOSED)
        upkeep->wanted = (enum alert_severity)0;
    return true;
}

// What was there before the store: the hole lies between its last change and the new one's begin.
static struct alert_change describe_replaced(const struct upkeep *upkeep, enum alert_state state,
                                             const struct upkeep_now *now)
{
    const struct store_replaced *replaced = &upkeep->replaced;
    struct alert_change change = {.kind = ALERT_STORE_REPLACED,
                                  .severity = SEVERITY_CRITICAL,
                                  .state = state,
                                  .subject = ALERT_GATEWAY,
                                  .at_ms = state == ALERT_OPEN ? replaced->at_ms : now->wall_ms,
                                  .since_ms = replaced->at_ms,
                                  .evidence = {.observed = (double)NAN,
                                               .expected_low = (double)NAN,
                                               .expected_high = (double)NAN,
                                               .from_ms = replaced->last_ms,
                                               .to_ms = replaced->at_ms}};
    (void)snprintf(change.evidence.rule, sizeof change.evidence.rule, "old stream %s",
                   replaced->stream[0] != '\0' ? replaced->stream : "unknown");
    return change;
}

static int write_replaced(struct store *store, const struct alert_change *change, bool send,
                          struct err *err)
{
    char id[UUID_SIZE];
    if (store_round_begin(store, err) != 0)
        return -1;
    if (store_alert_add(store, change, send, id, err) != 0 ||
        store_setting_put(store, TOLD_SETTING, "yes", err) != 0) {
        store_round_cancel(store);
        return -1;
    }
    return store_round_commit(store, err);
}

// Tells once of the store that this one replaced, and closes that after a day. True: it changed.
static bool tell_replaced(struct upkeep *upkeep, struct store *store, const struct upkeep_now *now)
{
    struct err err;
    bool closes =
        upkeep->replaced_open && now->wall_ms - upkeep->replaced.at_ms >= REPLACED_OPEN_MS;
    if (!upkeep->alert_known || (!upkeep->replaced_new && !closes))
        return false;
    struct alert_change change =
        describe_replaced(upkeep, upkeep->replaced_new ? ALERT_OPEN : ALERT_CLOSED, now);
    if (write_replaced(store, &change, now->config->office.present, &err) != 0) {
        log_warn("recorder", "the alert store-replaced cannot be kept now: %s", err.text);
        return false;
    }
    upkeep->replaced_open = upkeep->replaced_new;
    upkeep->replaced_new = false;
    return true;
}

// A run that has gone well for a while: what ended the runs before it is over.
static void trust(struct upkeep *upkeep, struct store *store, int64_t boot_ms)
{
    if (upkeep->trusted || boot_ms - upkeep->started_boot_ms < CALM_MS)
        return;
    store_trust(store);
    upkeep->trusted = true;
}

// --- all of it ---

bool upkeep_step(struct upkeep *upkeep, struct store *store, const struct upkeep_now *now)
{
    bool told = false;
    int64_t messages = upkeep->status.messages;
    if (now->boot_ms >= upkeep->look_boot_ms) {
        told = tell(upkeep, store, now);
        told = tell_replaced(upkeep, store, now) || told;
        trust(upkeep, store, now->boot_ms);
        if (look(upkeep, store, now))
            return told || upkeep->status.messages != messages;
    }
    pack(upkeep, store, now);
    if (now->boot_ms >= care_due_ms(&upkeep->care))
        take_care(upkeep, store, now);
    return told;
}

bool upkeep_full(struct upkeep *upkeep, struct store *store, const struct upkeep_now *now)
{
    struct err err;
    struct room_facts facts;
    bool dropped = ballast_drop(upkeep->directory);
    upkeep->status.ballast = false;
    upkeep->status.full = true;
    upkeep->look_boot_ms = now->boot_ms;
    upkeep_unwritable(upkeep, now);
    if (dropped)
        log_warn("recorder", "the disk is full: its reserve beside the store is given up");
    if (store_bring_home(store, true, &err) < 0)
        log_warn("recorder", "%s", err.text);
    // With free pages in the file it is the log that has no room: no row would make any.
    if (measure(upkeep, store, now, &facts, &err) == 0 &&
        facts.free_bytes < facts.file_bytes / FREE_SHARE)
        room_force(&upkeep->room, &facts);
    return dropped;
}

int upkeep_recover(struct upkeep *upkeep, struct store *store, const struct upkeep_now *now,
                   struct err *err)
{
    struct room_facts facts;
    for (int i = 0; i < RECOVER_STEPS_MAX && upkeep->room.forced_bytes != 0; i++) {
        if (measure(upkeep, store, now, &facts, err) != 0)
            return -1;
        struct room_step step = room_next(&upkeep->room, &facts);
        if (step.kind == ROOM_NOTHING)
            return 0;
        int gone = make_room(upkeep, store, &step, now, err);
        if (gone < 0)
            return -1;
        room_done(&upkeep->room, gone);
    }
    return 0;
}

void upkeep_unwritable(struct upkeep *upkeep, const struct upkeep_now *now)
{
    upkeep->began_ms = upkeep->began_ms != 0 ? upkeep->began_ms : now->wall_ms;
    trouble(upkeep, now->boot_ms, SEVERITY_MAJOR);
}

void upkeep_lost(struct upkeep *upkeep, int64_t boot_ms)
{
    trouble(upkeep, boot_ms, SEVERITY_CRITICAL);
    upkeep->look_boot_ms = boot_ms;
}
