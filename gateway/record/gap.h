// Whether what a meter's own log says of a gap may be believed, and what it makes of the gap. Pure.
// Source of the rules: EN 12405-1 leaves the log to the meter, so they are those of our own
// contract: the index difference between our own readings is the truth, the log only splits it.
//
// A gap is a run of boundaries (hours or gas days) of which some have no measured index. Our own
// readings stand on both sides of it. The log is compared with at least one of our own boundary
// indices (an anchor) before anything of it is used: a log whose clock is an hour off, or that is
// of another meter, disagrees there. Then
// - indices must rise and lie between our readings;
// - increments must add up to the difference between two anchors.
// A log that disagrees is not used at all: what is missing is then estimated linearly between our
// own readings, as a boundary is that was only just missed.
//
// An anchor at which nothing flowed tells little: a log that is an hour off may agree with it too.
// Where there is no other one, it waits for that on the right of the gap.
//
// Tolerance: the resolution of the log's values, the time between the two readings that enclose an
// anchor, and what flowed in GAP_CLOCK_MS at the mean rate of the gap, since the meter closes its
// hours by its own clock.
#ifndef METERGATE_RECORD_GAP_H
#define METERGATE_RECORD_GAP_H

#include <stdbool.h>
#include <stdint.h>

#define GAP_CLOCK_MS 60000

// A reading of ours, at_ms 0: there is none.
struct gap_point {
    int64_t at_ms;
    int64_t micro;
    uint8_t quality;
};

struct gap_slot {
    int64_t end_ms;
    bool known; // we have an index at end_ms: never replaced when it is measured
    uint8_t quality;
    int64_t micro;
    struct gap_point before; // our newest reading before end_ms
    struct gap_point next;   // the first that we know after end_ms, within the slot that follows
    bool has;                // the log has a record of this slot:
    int64_t log;             // its index at end_ms, or what the slot added
    bool changed;            // by gap_close: known, quality and micro are new
};

struct gap {
    bool increments;
    int64_t resolution;         // of the log's values, micro units, at least 1
    int64_t counter_resolution; // of ours: an estimate is rounded down to it
    struct gap_point after;     // our first reading, or known index, after the last slot to fill
    uint8_t quality;            // of what comes from the log: archive, or suspect (unverified)
    int count;
    struct gap_slot *slots; // consecutive. The first one only gives its end: the gap begins there
};

enum gap_verdict {
    GAP_FILLED,    // from the log
    GAP_ESTIMATED, // the log disagrees: what was unknown is estimated
    GAP_WAITS,     // no anchor that tells enough yet: one may come on the right
    GAP_NOTHING,   // nothing to fill, or the log has nothing of it
};

// An index that was measured, read back or given by a person: it stands.
bool gap_is_settled(bool known, uint8_t quality);

// Whether the log agrees with an anchor at which the counter was moving. Counters of one log share
// its clock: where one of them tells, it tells for all.
bool gap_is_telling(const struct gap *gap);

// Judges the log and fills the slots that are not settled; sets `changed` in those that it changed.
// `is_last`: no further anchor will come on the right, so nothing waits.
enum gap_verdict gap_close(struct gap *gap, bool is_last);

#endif
