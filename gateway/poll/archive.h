// Reading back what a meter's own log holds of a gap: a task of low priority on its link.
//
// Who knows the gaps is behind `struct archive_desk` (the recorder): it says which span of which
// archive is wanted, oldest first, and takes the records over. What is wanted follows from the
// store alone, so a restart goes on where it was.
//
// A record is found by the time that stands in it (by halves, since a log is in order of time), and
// is used only where that time is within ARCHIVE_STAMP_TOLERANCE_S of one of our boundaries by the
// clock that the profile names. Around a change of a wall clock's offset a time names two instants:
// those records are left out. At most one request a step, and a pause of at least
// ARCHIVE_SHARE times what it took: a link gives a fifth of its time at most.
#ifndef METERGATE_POLL_ARCHIVE_H
#define METERGATE_POLL_ARCHIVE_H

#include "base/clock.h"
#include "config/config.h"
#include "gas/gasday.h"

#define ARCHIVE_SLOTS_MAX 192  // boundaries of one ask: more come in further ones
#define ARCHIVE_LOOK_MS 1000   // between two looks for something to do
#define ARCHIVE_RETRY_MS 10000 // after a request without an answer
#define ARCHIVE_TRIES_MAX 5    // requests in a row without an answer, then the meter gets a rest
#define ARCHIVE_REST_MS 600000
#define ARCHIVE_SHARE 4

// What is wanted: the records that end at the boundaries from_ms, ... to_ms, both included.
struct archive_ask {
    char meter[ID_SIZE];
    int archive; // of its profile
    int64_t from_ms, to_ms;
};

// What came of it. The words of slot i begin at words[i x record_registers].
struct archive_rows {
    struct config *config; // a reference
    const struct meter *meter;
    struct archive_ask ask;
    int count;
    int64_t ends_ms[ARCHIVE_SLOTS_MAX];
    bool has[ARCHIVE_SLOTS_MAX];
    uint16_t words[];
};
void archive_rows_free(struct archive_rows *rows); // NULL is fine

struct archive_desk {
    // What this meter shall be asked for now. False: nothing. Never blocks.
    bool (*ask)(void *context, const char *meter, struct archive_ask *out);
    // Takes the rows over and never blocks; false: no room now, they stay the caller's.
    bool (*deliver)(void *context, struct archive_rows *rows);
    void *context;
};

struct bus_task;

struct archive_settings {
    struct config *config; // the task takes a reference
    int link;              // index in it
    struct gas_calendar calendar;
    const struct clock *clock;
    struct archive_desk desk;
};

// The span that an archive's records are of.
enum span archive_span(const struct profile_archive *archive);

// Makes the task of a link. 1: made, to be handed to bus_add_task (release it where that refuses
// it); 0: no meter of the link keeps a log; -1 without memory.
int archive_task(const struct archive_settings *settings, struct bus_task *out);

#endif
