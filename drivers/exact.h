// Exact sums of scaled numbers from the wire: a counter that a meter holds in several fields, in
// other units or binary floats is added up without a rounding and rounded once, at the end. Pure.
//
// A sum is a whole number of 10^-30 x 2^-70 in 512 bits. All integers and all BCD times all scales
// of a profile are such numbers, and so are floats, but for bits below 2^-70 of the raw number,
// which are remembered as "a little more".
#ifndef METERGATE_DRIVERS_EXACT_H
#define METERGATE_DRIVERS_EXACT_H

#include <stdbool.h>
#include <stdint.h>

#define EXACT_LIMBS 8

// Zero is {0}.
struct exact {
    uint64_t limb[EXACT_LIMBS]; // magnitude, least significant first
    bool negative;
    bool rest;     // the magnitude is a little more than the limbs say
    bool overflow; // something did not fit: the sum is out of range for good
};

// A product of integers and powers: (-1)^negative x factors x 10^tens x 2^twos.
struct exact_term {
    bool negative;
    uint64_t factor[3];
    int tens; // -30 to 60; beyond: overflow
    int twos;
};

void exact_add(struct exact *sum, const struct exact_term *term);
// The sum in micro units, rounded half to even. -1 when it is out of the range of base/decimal.h.
int exact_round(const struct exact *sum, int64_t *micro);

#endif
