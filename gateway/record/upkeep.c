#include "record/upkeep.h"

#include "base/log.h"

void upkeep_init(struct upkeep *upkeep, int64_t boot_ms)
{
    care_init(&upkeep->care, boot_ms);
}

int64_t upkeep_due_ms(const struct upkeep *upkeep)
{
    return care_due_ms(&upkeep->care);
}

static int remove_old(struct store *store, const struct care_task *task, struct err *err)
{
    switch (task->kind) {
    case CARE_READINGS: return store_reading_retain(store, task->before_ms, task->max, err);
    case CARE_PERIODS:
        return store_period_retain(store, task->span, task->before_ms, task->max, err);
    case CARE_ALERTS: return store_alert_retain(store, task->before_ms, task->max, err);
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

void upkeep_step(struct upkeep *upkeep, struct store *store, const struct config *config,
                 int64_t boot_ms, int64_t wall_ms)
{
    struct err err;
    struct store_space space;
    if (boot_ms < care_due_ms(&upkeep->care))
        return;
    if (store_space(store, &space, &err) != 0)
        space = (struct store_space){.file_bytes = 0}; // then nothing is given back
    const struct care_facts facts = {.boot_ms = boot_ms,
                                     .wall_ms = wall_ms,
                                     .raw_days = config->store_raw_days,
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
    care_done(&upkeep->care, &task, gone, boot_ms);
}
