// How messages leave the outbox whose rows go: the lane counts them. Inside of store/.
//
// A step of retention takes only what need not be sent any more (store_lane_kept). A step that
// makes room may take what was never acknowledged too: that is then named by gaps, one for each run
// of seqs, in the same round. What may be on its way to the office at this moment stays.
#ifndef METERGATE_STORE_LEAVE_H
#define METERGATE_STORE_LEAVE_H

#include "store/query.h"

#define LEAVE_FLYING_MAX 1000 // messages behind the cursor that may be on their way
#define LEAVE_REASON "size-limit"

struct lost {
    enum lane lane;
    int64_t seq, at_ms;
};

// Begin, remove each message together with its row, then end.
struct leaving {
    bool unsent;                                 // also what was not acknowledged
    int64_t now_ms;                              // with `unsent`
    int64_t kept[LANES_END], flying[LANES_END];  // may go up to; may be on their way up to
    int64_t counted[LANES_END], high[LANES_END]; // gone, and in no gap
    struct lost *lost;
    int lost_count, lost_room;
};

int leave_begin(struct store *store, bool unsent, int64_t now_ms, struct leaving *leaving,
                struct err *err);
// Whether a row's message may go; lane 0: it has none.
bool leave_may(const struct leaving *leaving, int64_t lane, int64_t seq);
// The same in SQL: true where the message has to stay. Binds six values, in their order.
void leave_bind(struct query *query, const struct leaving *leaving);
#define LEAVE_STAYS(lane, seq, a, b, c, d, e, f)                                                   \
    "(" seq " > CASE " lane " WHEN 1 THEN " a " WHEN 2 THEN " b " ELSE " c " END AND " seq         \
    " <= CASE " lane " WHEN 1 THEN " d " WHEN 2 THEN " e " ELSE " f " END)"
// Removes the pointer of a message whose row is removed; `at_ms` of what it tells.
int leave_message(struct store *store, struct leaving *leaving, int64_t lane, int64_t seq,
                  int64_t at_ms, struct err *err);
// Writes counts and gaps. Returns how many messages were named by gaps, -1.
int leave_end(struct store *store, struct leaving *leaving, struct err *err);
void leave_release(struct leaving *leaving);
// Removes rows with their messages and their places in a chain: a DELETE of one key that returns
// lane, seq, instant, link, hash.
int leave_rows(struct store *store, struct leaving *leaving, enum slot slot, const char *sql,
               int64_t key, int chain, struct err *err);

// --- a whole step, of what leaves one by one ---
struct leaving_kind {
    enum slot slot;
    const char *sql; // numbers; ?1: before, ?2: how many, ?3 to ?8: leave_bind
    int (*remove)(struct store *store, int64_t number, struct leaving *leaving, struct err *err);
};
// Retention, and making room. Return how many went, -1.
int leave_old(struct store *store, const struct leaving_kind *kind, int64_t before_ms, int max,
              struct err *err);
int leave_shed(struct store *store, const struct leaving_kind *kind, struct store_shed *shed,
               struct err *err);

#endif
