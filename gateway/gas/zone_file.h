// The bytes of a time zone file as a table of changes. Pure.
// Sources: RFC 8536, section 3; POSIX.1-2017, section 8.3.
#ifndef METERGATE_GAS_ZONE_FILE_H
#define METERGATE_GAS_ZONE_FILE_H

#include <stddef.h>
#include <stdint.h>

#define ZONE_CHANGES_MAX 2048            // 236 in the longest file of 2026, and two a year to 2199
#define ZONE_OFFSET_MAX_S INT64_C(93600) // RFC 8536, 3.2: none is further ahead

// From at_s on clocks are offset_s ahead of UTC. That of the first change is INT64_MIN.
struct zone_change {
    int64_t at_s;
    int32_t offset_s;
};

// In order of at_s, without changes that change no clock.
struct zone_table {
    int count;
    struct zone_change *changes;
};

// Fills `out`, whose changes have room for ZONE_CHANGES_MAX; the rule at the file's end is followed
// to the year 2199. -1 for bytes that are no such file of version 2 or later, or count leap
// seconds.
int zone_file_read(const void *bytes, size_t length, struct zone_table *out);

#endif
