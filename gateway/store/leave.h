// How messages leave the outbox whose rows go: the lane counts them. Inside of store/.
#ifndef METERGATE_STORE_LEAVE_H
#define METERGATE_STORE_LEAVE_H

#include "store/database.h"

// What one step takes away. Init, remove each message together with its row, then end.
struct leaving {
    int64_t kept[LANES_END];                     // what lies behind it may not go (store_lane_kept)
    int64_t counted[LANES_END], high[LANES_END]; // acknowledged ones, in no gap
};

int leave_begin(struct store *store, struct leaving *leaving, struct err *err);
// Whether a row's message need not be sent any more; lane 0: it has none.
bool leave_may(const struct leaving *leaving, int64_t lane, int64_t seq);
// For statements that compare a message with it: binds three values, in the order of LEAVE_KEPT.
struct query;
void leave_bind(struct query *query, const struct leaving *leaving);
#define LEAVE_KEPT(lane, a, b, c) "CASE " lane " WHEN 1 THEN " a " WHEN 2 THEN " b " ELSE " c " END"
// Removes the pointer of such a message, whose row is removed.
int leave_message(struct store *store, struct leaving *leaving, int64_t lane, int64_t seq,
                  struct err *err);
int leave_end(struct store *store, const struct leaving *leaving, struct err *err);

#endif
