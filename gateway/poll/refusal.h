// What a meter has refused to be asked. Pure.
//
// A meter answers a request with an exception when it does not have one of its registers. The
// values that it has must not be lost for that: what is refused is found once and left out of the
// plan from then on.
#ifndef METERGATE_POLL_REFUSAL_H
#define METERGATE_POLL_REFUSAL_H

#include "drivers/profile.h"
#include "drivers/value.h"

// A place that no request may span: both sides are answered alone, not together. What lies between
// them cannot be read over, or the meter takes fewer registers than the profile says.
struct refused_join {
    uint8_t function;
    uint8_t register_size;
    uint16_t at;    // first register behind it
    bool tentative; // tried on the way to something smaller, and not known to be refused itself
};

// More joins than values cannot be.
#define REFUSED_JOINS_MAX PROFILE_FIELDS_MAX

struct refusals {
    uint16_t why[PROFILE_FIELDS_MAX]; // by field: exception that it was refused with, 0: none
    int join_count;
    struct refused_join joins[REFUSED_JOINS_MAX];
};

// What an exception says (application protocol V1.1b3, section 7).
enum refusal_kind {
    REFUSAL_NONE,      // no exception at all
    REFUSAL_REGISTERS, // 1 to 3, illegal function, address, value: of the registers asked for
    REFUSAL_BUSY,      // 5, 6: of the moment; whatever else is asked now meets the same
    REFUSAL_PATH,      // 10, 11: a converter does not get through to the meter
    REFUSAL_OTHER,     // 4, 8, and whatever a maker means by the others: of the device
};

// No exception is asked again within a poll. After REFUSAL_BUSY and REFUSAL_PATH the rest of the
// meter is left to the next poll too.
enum refusal_kind refusal_kind_of(uint16_t why);

// Keeps a join; a tentative one that is known already, or too many, change nothing.
void refusals_add_join(struct refusals *refusals, struct refused_join join);
// Drops the tentative ones. Whether there were any.
bool refusals_drop_tentative(struct refusals *refusals);
// Whether a known join lies between two neighbours.
bool refusals_part(const struct refusals *refusals, const struct field *left,
                   const struct field *right);
// Whether nothing is left that may be asked.
bool refusals_are_all(const struct refusals *refusals, const struct profile *profile);

#endif
