// What the register of a counter can show, and whether it has begun again at 0. Pure.
#ifndef METERGATE_RECORD_COUNTER_H
#define METERGATE_RECORD_COUNTER_H

#include "drivers/profile.h"

struct meter;

struct counter {
    int64_t resolution; // what one count is worth at least, micro units; 1 where that is not told
    int64_t range;      // begins again at 0 when it has counted so far; 0: not told by its type
    int64_t most_per_h; // that the meter can count in an hour; 0: the entry has no qmax_m3_h
};

// The range follows from the type of the most significant field: 10 to the digits of a BCD field,
// 2 to the bits of an unsigned one. Floats, signed and 64 bit fields have none.
struct counter counter_of(const struct meter *meter, const struct profile_channel *channel);

// Whether a counter that shows less than before has passed the end of its register: the drop is
// more than half of the range, and what it then counted is no more than the meter can
// (1.2 x qmax_m3_h; at base conditions 100 times that; 1 % of the range where there is no
// qmax_m3_h). Any other drop is none: another meter, or a fault.
bool counter_wraps(const struct counter *counter, int64_t before_micro, int64_t now_micro,
                   int64_t elapsed_ms);

// What it showed at an instant between two readings: linear, rounded down to what it can show.
int64_t counter_between(const struct counter *counter, int64_t before_ms, int64_t before_micro,
                        int64_t after_ms, int64_t after_micro, int64_t at_ms);

#endif
