// The meter's own log: where a record stands, what it holds, and which hour or day it is of. Pure.
//
// A record is a small profile of its own: its fields have their places in the record's words, so
// that it is decoded, encoded and stored as an image is.
#ifndef METERGATE_DRIVERS_ARCHIVE_H
#define METERGATE_DRIVERS_ARCHIVE_H

#include "drivers/decode.h"

// How far a record's time may be from the end (or start) of its span: meters close a span a little
// early or late.
#define ARCHIVE_STAMP_TOLERANCE_S 60

// The record of one archive as a profile: its fields are the time and the values, in the order of
// the archive, the place of each is its offset. Its channels are the values; `increments`: also
// those that are no index. NULL when memory is short; free() it.
struct profile *archive_record(const struct profile *profile, int archive, bool increments);

// First register of a record; `age` 0 is the place of the oldest one, records - 1 the newest.
int archive_register(const struct profile_archive *archive, int age);

// What the meter's clock showed, in seconds since 1970 as that clock counts them (so without a time
// zone for a wall clock). -1 for words that are no time: the record was never written.
int archive_stamp(const struct profile_archive *archive, const uint16_t *words, int64_t *clock_s);
// The reverse, for simulated meters; a bcd12 time holds the years 2000 to 2099.
void archive_stamp_put(const struct profile_archive *archive, int64_t clock_s, uint16_t *words);

#endif
