// Where the channels of a meter are, and how fine their numbers. Inside detect/ only.
#ifndef METERGATE_DETECT_CHANNELS_H
#define METERGATE_DETECT_CHANNELS_H

#include "drivers/profile.h"
#include "poll/reading.h"

// Place of the channel in the profile and in each reading; -1 where the profile has none of that
// kind.
int channel_place(const struct profile *profile, const char *name, enum channel_kind kind);

// Whether the reading has a number in this place that may be reckoned with; false for -1.
bool channel_is_usable(const struct reading *reading, int place);

// What one count of a counter is worth at `total`, both in micro units. A float's grows with it.
double counter_count(const struct profile *profile, int place, int64_t total);

// What one count of a gauge is worth, in its unit: 0 of a float, whose last bit is noise; infinity
// where it cannot be told, because the meter tells the scale.
double gauge_count(const struct profile *profile, int place);

#endif
