// The canonical quantities of a meter and their units (contract, section 1). One table; a profile,
// the feed, the page and the reports all name channels from here.
#ifndef METERGATE_DRIVERS_CHANNEL_H
#define METERGATE_DRIVERS_CHANNEL_H

#include "base/decimal.h"

#include <stdbool.h>

enum channel_kind {
    CHANNEL_COUNTER,  // only ever advances; an exact decimal
    CHANNEL_GAUGE,    // a measured instant value, at most 7 significant digits
    CHANNEL_EXACT,    // an exact gauge: all digits
    CHANNEL_BITS,     // a set of named bits
    CHANNEL_IDENTITY, // text that names the meter
};

struct channel {
    const char *name; // "volume_base"
    const char *unit; // canonical unit, "m3"; "" for bits and identity
    enum channel_kind kind;
};

// NULL when no canonical channel has that name.
const struct channel *channel_find(const char *name);
// Walks the table in its own order, NULL at the end.
const struct channel *channel_at(int index);

// A value of a unit is value x factor + offset in the canonical unit of the same quantity.
struct unit_conversion {
    struct decimal factor;
    struct decimal offset; // zero for everything but temperatures in degF and K
};

// How to bring `unit` to the channel's own unit. -1 when it measures something else or is not
// known. For a counter the factor is always a power of ten with offset 0 (contract, section 3): -1
// otherwise.
int channel_unit_conversion(const struct channel *channel, const char *unit,
                            struct unit_conversion *out);
// Walks the units that fit a channel, its own first; NULL at the end.
const char *channel_unit_at(const struct channel *channel, int index);

#endif
