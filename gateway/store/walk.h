// What a report reads: very many rows, and little of each. For readers of their own connection.
//
// The visitors are called within a short transaction: they must not call the store, and must not
// wait. One transaction covers a gas day of hours, or a month of longer periods, of all meters.
#ifndef METERGATE_STORE_WALK_H
#define METERGATE_STORE_WALK_H

#include "store/store.h"

// Return false to stop. `period` is valid during the visit.
typedef bool store_walk_visit(void *context, int meter_number, const struct period *period);
// The newest version of each closed period of `span` that begins in [from_ms, to_ms), in the order
// of time, then meter; meter_number 0: of all. One that is damaged is left out (store_damaged).
int store_walk_periods(struct store *store, int meter_number, enum span span, int64_t from_ms,
                       int64_t to_ms, store_walk_visit *visit, void *context, struct err *err);

struct walked_alert {
    char id[UUID_SIZE], meter[ID_SIZE];
    enum alert_kind kind;
    enum alert_severity severity; // the highest that it had
    int64_t since_ms, closed_ms;  // closed_ms only where it is closed
    bool closed;
};
typedef bool store_walk_alert(void *context, const struct walked_alert *alert);
// Alerts of a meter (NULL: of all) open at any time in [from_ms, to_ms), by their beginning.
int store_walk_alerts(struct store *store, const char *meter, int64_t from_ms, int64_t to_ms,
                      store_walk_alert *visit, void *context, struct err *err);

// Text of the newest configuration and since when it is; 1 found, 0 none, -1.
int store_walk_revision(struct store *store, struct buf *text, int64_t *at_ms, struct err *err);

#endif
