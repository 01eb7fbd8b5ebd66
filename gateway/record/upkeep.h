// Does what care.h and room.h decide: one step on the store, between rounds. Part of the recorder's
// thread. Keeps the ballast, and the alerts `store-full` and `store-replaced`.
#ifndef METERGATE_RECORD_UPKEEP_H
#define METERGATE_RECORD_UPKEEP_H

#include "config/config.h"
#include "record/care.h"
#include "record/room.h"
#include "store/store.h"

struct upkeep_status {
    bool full;        // the store took nothing, or unsent messages went, in the last minutes
    bool making_room; // rows go before they are old
    bool ballast;     // the reserve is there
    bool log_held;    // a reader keeps the log from being brought home
    uint64_t rows;    // that went before they were old, since the start
    int64_t messages; // never acknowledged, named by gaps; ever
    int64_t disk_free_bytes;
};

struct upkeep {
    const char *directory;
    int64_t pack_boot_ms; // packing is not tried before
    struct care care;
    struct room room;
    int64_t look_boot_ms;    // at the space: next
    int64_t limit_bytes;     // that the store was told
    int64_t began_ms;        // wall clock: first trouble that no alert tells of yet; 0
    int64_t trouble_boot_ms; // last time that the store was full or lost something; 0: never
    enum alert_severity wanted;
    bool alert_open, alert_known;
    enum alert_severity severity;
    int64_t since_ms;
    int64_t started_boot_ms;
    bool trusted; // the mark of runs that the disk ended is gone
    struct store_replaced replaced;
    bool replaced_new, replaced_open; // no alert tells of it yet; one does
    struct upkeep_status status;
};

// The moment of which a step speaks.
struct upkeep_now {
    const struct config *config;
    int64_t boot_ms, wall_ms;
};

// `directory` has to outlive it.
void upkeep_init(struct upkeep *upkeep, const char *directory, int64_t boot_ms);
// One step, when one is due. The store has no open round before and after it. True: it put
// something into the outbox.
bool upkeep_step(struct upkeep *upkeep, struct store *store, const struct upkeep_now *now);
// Boot time of the next step.
int64_t upkeep_due_ms(const struct upkeep *upkeep);

// The store has just failed because the disk, or its limit, is full. Gives up the ballast and
// brings the log home; true when that may have helped.
bool upkeep_full(struct upkeep *upkeep, struct store *store, const struct upkeep_now *now);
// Makes room after that, before rows are added again. 0, -1 when not even that can be written.
int upkeep_recover(struct upkeep *upkeep, struct store *store, const struct upkeep_now *now,
                   struct err *err);
// The store could not be opened at the start.
void upkeep_unwritable(struct upkeep *upkeep, const struct upkeep_now *now);
// Readings were refused or dropped: the alert is critical.
void upkeep_lost(struct upkeep *upkeep, int64_t boot_ms);

#endif
