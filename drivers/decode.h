// From words of the wire to values. Pure.
#ifndef METERGATE_DRIVERS_DECODE_H
#define METERGATE_DRIVERS_DECODE_H

#include "drivers/profile.h"
#include "drivers/value.h"

// What one poll brought: the words of every field, and for each field why it has none (0: it was
// read), or why those that it has are doubted (why_is_doubt).
struct image {
    uint16_t words[PROFILE_WORDS_MAX];
    uint16_t why[PROFILE_FIELDS_MAX];
};

// Decodes all channels of a profile: values[i] belongs to profile->channels[i].
// `unverified`: the profile's values are not confirmed yet, so whatever would be good is suspect
// (unverified). A field that was not read gives `missing` with its why, one that is doubted
// `suspect` with its why and value; a not-available pattern `missing`, not-available; NaN and
// infinity `suspect` without a value (contract, Numbers); a bad BCD digit `suspect`, no value.
void image_decode(const struct profile *profile, const struct image *image, bool unverified,
                  struct value *values);

// The worst quality over the values (missing when there are none).
enum quality values_worst(const struct value *values, int count);

#endif
