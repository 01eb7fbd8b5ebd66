// When the store has to make room before anything is old, and what goes first. Pure.
//
// The file may take store.max_size_mb, less 8 MiB (at most a quarter) for its log, and no more than
// leaves 1 MiB and the log's usual 4 MiB of the disk, but a sixteenth less than it has already.
// From fifteen sixteenths of that on rows go, down to seven eighths; after the disk was full at
// least a sixteenth of the file goes.
//
// The order: raw readings, those that head office has, then those that it has not; periods shorter
// than an hour of which the hour is there, the same; hours whose gas day is there, the same; then
// closed alerts, and gas days whose month is there. Readings of the last hour, short periods and
// hours of the last 2 days, alerts of the last 2 days, gas days of the last 62 stay: open periods
// are summed from them.
#ifndef METERGATE_RECORD_ROOM_H
#define METERGATE_RECORD_ROOM_H

#include "gas/gasday.h"

enum room_kind { ROOM_NOTHING, ROOM_READINGS, ROOM_PERIODS, ROOM_ALERTS };

struct room_step {
    enum room_kind kind;
    enum span span, longer;
    bool unsent;
    int64_t before_ms;
    int max;
};

struct room_facts {
    int64_t wall_ms;
    int64_t max_bytes; // store.max_size_mb
    int64_t file_bytes, free_bytes, log_bytes;
    int64_t disk_free_bytes; // below 0: not known
};

struct room {
    bool making;
    bool by_disk;         // since the disk has no more room, not for the configured limit
    bool exhausted;       // nothing is left that may go
    int64_t forced_bytes; // until the used part of the file is below this; 0: by the limit
    int stage;
};

// What the file may grow to by the configuration alone.
int64_t room_file_max(int64_t max_bytes);
// The disk was full: so much has to go.
void room_force(struct room *room, const struct room_facts *facts);
// The next step; ROOM_NOTHING when there is room, or nothing may go any more.
struct room_step room_next(struct room *room, const struct room_facts *facts);
// What came of it: how many rows went.
void room_done(struct room *room, int gone);

#endif
