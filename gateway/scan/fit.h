// How well a profile explains what a meter answered, and why. Pure.
//
// The measure is evidence in bits: log2 of how much more likely the words are where the profile is
// the right one than where it is not. A frequency between 45 and 66 Hz in a random float is a
// matter of one in hundreds (8 bits), a flow below a million m3/h says little (2 bits), a zero
// nothing. A refused register, a broken BCD digit, a float of 1e-39 speak against it. Relations
// between the channels (flow at base = flow at line x pressure x temperature, power = the sum of
// its phases, a BCD total that stands as a float beside it) weigh most: chance does not make them.
// The weights are rough and their sum is bounded by nothing, so shares near 100 % mean "far ahead
// of the other profiles", not a probability of error; a profile is still confirmed against the
// display.
#ifndef METERGATE_SCAN_FIT_H
#define METERGATE_SCAN_FIT_H

#include "base/buf.h"
#include "base/catalogue.h"
#include "drivers/decode.h"
#include "scan/order.h"
#include "scan/words.h"

#define SCAN_REASONS_MAX 12
#define SCAN_UNKNOWN_BITS 8 // evidence that a profile needs to stand level with "none of them"

// One reason; the text is in the catalogue.
struct scan_reason {
    const char *key;
    int count, of;
    char what[160];
};

struct scan_fit {
    int profile;     // index
    double bits;     // evidence
    double share;    // 0 to 1: against the other profiles and "none of them"; by scan_fits_rank
    uint8_t order;   // enum word_order by which the profile's own orders are changed: 0 leaves them
    int read, named; // registers that were answered, and that the profile names
    int reason_count;
    struct scan_reason reasons[SCAN_REASONS_MAX];
};

// What there is to judge by: all that was read, and a second reading of the profile's registers
// (NULL where there is none yet).
struct scan_evidence {
    const struct scan_words *words;
    const struct scan_words *second;
    struct scan_setting setting;
};

// Judges one profile in the best of the four word orders.
void scan_fit_make(const struct profile *profile, const struct scan_evidence *evidence,
                   struct scan_fit *fit);

// The profile as it is judged and read with that fit: word order changed, units that the meter
// entry must set taken as the canonical ones. NULL when memory is short; freed with free().
struct profile *scan_fit_profile(const struct profile *profile, const struct scan_fit *fit);

// The order of the bytes in its numbers of several registers ("CDAB"), "" where it has none.
const char *scan_order_name(const struct profile *profile);

// The image of a profile from the words that are known.
void scan_image(const struct profile *profile, const struct scan_words *words, struct image *image);

// Sorts by evidence, best first, and gives each its share.
void scan_fits_rank(struct scan_fit *fits, int count);

// Adds a reason's text.
void scan_reason_text(const struct scan_reason *reason, enum language language, struct buf *out);

// ---- between the files of fit

// What scoring adds up.
struct scan_score {
    const struct profile *profile; // as it is judged
    const struct scan_evidence *evidence;
    const struct image *image;
    const struct value *values;
    struct scan_fit *fit;
};
void scan_reason_add(struct scan_fit *fit, const char *key, int count, int of, const char *what);
// The value of a gauge or counter by name; NaN where there is none.
double scan_score_number(const struct scan_score *score, const char *channel);
// Evidence from channels that belong together (scan/relation.c).
void scan_score_relations(struct scan_score *score);

#endif
