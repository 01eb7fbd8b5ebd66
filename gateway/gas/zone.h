// Time zones from the machine's own files. Immutable once read, so any thread may ask any zone;
// the environment's TZ and the C library's one zone for a process are not touched.
//
// Sources: the file's form RFC 8536 (TZif), section 3; the rule for the time behind its table
// POSIX.1-2017, section 8.3 (TZ), with the wider hours of RFC 8536, 3.3.1.
#ifndef METERGATE_GAS_ZONE_H
#define METERGATE_GAS_ZONE_H

#include "base/err.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct zone;

// Whether the machine knows an IANA zone of that name. "right/" zones, which count leap seconds,
// are none: Unix time does not.
bool zone_exists(const char *name);

// The zone of an IANA name; read at the first call, kept until the process ends (there are only as
// many as the machine has files), so nobody frees it. NULL with a message: no such zone, or a file
// that is damaged or older than version 2.
const struct zone *zone_find(const char *name, struct err *err);

// What its clocks are ahead of UTC at an instant, in Unix seconds. NULL is UTC. A rule without end
// is followed to the year 2199; from then on the last offset stays.
int64_t zone_offset_s(const struct zone *zone, int64_t at_s);

// The first instant at which a clock of the zone shows `local_s` (seconds since 1970 as the clock
// on the wall counts them) or, where it jumps over that, has passed it. So a clock time that comes
// twice is its first, and the result never goes back when local_s grows.
int64_t zone_first_instant_s(const struct zone *zone, int64_t local_s);

#endif
