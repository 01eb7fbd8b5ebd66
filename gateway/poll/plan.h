// The requests that read a profile in the least time on its link. Pure.
#ifndef METERGATE_POLL_PLAN_H
#define METERGATE_POLL_PLAN_H

#include "drivers/profile.h"
#include "poll/cost.h"
#include "poll/refusal.h"

// One request and the fields that its reply fills: plan.fields[field_first] and the following.
struct plan_block {
    uint8_t function;
    uint8_t register_size; // bytes
    uint8_t field_first, field_count;
    uint16_t first, count;
};

// One allocation: free() it. `fields` are indices in profile.fields, each once, in the order of
// function and register.
struct plan {
    int block_count;
    const uint8_t *fields;
    struct plan_block blocks[];
};

// The plan of least time: never cuts a field or a `together` group, never exceeds the profile's
// max_registers, reads over gaps of at most max_gap registers (a meter may refuse a request that
// touches registers which it does not have, so that is the profile's to say). NULL when memory is
// short, or a field or group alone exceeds max_registers (the loader reports it before).
struct plan *plan_new(const struct profile *profile, const struct link_cost *cost);
// The same without what the meter has refused (NULL: nothing): those fields are in no block, and no
// block spans their registers or a refused join.
struct plan *plan_new_without(const struct profile *profile, const struct link_cost *cost,
                              const struct refusals *refusals);

// The request that a block stands for; the unit is the caller's.
struct request plan_request(const struct plan_block *block);

// Cuts a block in two before register `at`, so that the same fields can be asked for in requests of
// another shape. False where that would leave a part empty or cut a field or a `together` group;
// parts are then untouched.
bool plan_cut(const struct plan *plan, const struct profile *profile,
              const struct plan_block *block, int at, struct plan_block parts[2]);

#endif
