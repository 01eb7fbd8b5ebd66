// Does what care.h decides: one step on the store, between rounds. Part of the recorder's thread.
#ifndef METERGATE_RECORD_UPKEEP_H
#define METERGATE_RECORD_UPKEEP_H

#include "config/config.h"
#include "record/care.h"
#include "store/store.h"

struct upkeep {
    struct care care;
};

void upkeep_init(struct upkeep *upkeep, int64_t boot_ms);
// One step, when one is due. The store has no open round before and after it.
void upkeep_step(struct upkeep *upkeep, struct store *store, const struct config *config,
                 int64_t boot_ms, int64_t wall_ms);
// Boot time of the next step.
int64_t upkeep_due_ms(const struct upkeep *upkeep);

#endif
