// The requests that read a profile. Pure.
#ifndef METERGATE_POLL_PLAN_H
#define METERGATE_POLL_PLAN_H

#include "drivers/profile.h"

#define PLAN_BLOCKS_MAX PROFILE_FIELDS_MAX

// One request and the fields that its reply fills.
struct plan_block {
    uint8_t function;
    uint16_t first, count;
    uint8_t field_count;
    uint8_t fields[PROFILE_FIELDS_MAX];
};

struct plan {
    int block_count;
    struct plan_block blocks[PLAN_BLOCKS_MAX];
};

// Joins fields of one function into blocks: never cuts a field or a `together` group, never exceeds
// the profile's max_registers, reads over gaps of at most max_gap registers. -1 when a field or
// group alone exceeds max_registers (check reports it before; then *out is untouched).
int plan_make(const struct profile *profile, struct plan *out);

// Cuts a block in two before register `at`, so that the same fields can be asked for in requests of
// another shape. False where that would leave a part empty or cut a field or a `together` group;
// parts are then untouched.
bool plan_cut(const struct profile *profile, const struct plan_block *block, int at,
              struct plan_block parts[2]);

#endif
