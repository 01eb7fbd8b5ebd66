// The completeness ledger of one meter and gas day: for each hour what was expected, what came, why
// the rest did not, and what is known of the index all the same. Pure.
//
// It is made when the gas day closes, from the same stored periods that the day is summed from, so
// its hours add up to the day's reads. A meter that is due less often than hourly has one entry,
// as long as its shortest period.
#ifndef METERGATE_RECORD_LEDGER_H
#define METERGATE_RECORD_LEDGER_H

#include "record/period.h"

#define LEDGER_HOURS_MAX 32   // a gas day has 23 to 25; what has no room is added to the last one
#define LEDGER_OUTAGES_MAX 16 // named in a ledger; more are counted only
#define LEDGER_NO_INDEX 255   // the meter has no counter

struct ledger_hour {
    int64_t from_ms, to_ms;
    int64_t good, suspect, missing; // they add up to what was expected
    struct reasons reasons;         // they add up to `suspect` and to `missing`
    uint8_t index;                  // enum quality of the index at its end, the worst of all
                                    // counters; LEDGER_NO_INDEX
};

// A time in which the gateway could not know better: it did not run, or had the meter out of its
// configuration.
struct outage {
    int64_t from_ms, to_ms;
    uint16_t why;
};

struct ledger {
    int64_t from_ms, to_ms;
    int hour_count;
    struct ledger_hour hours[LEDGER_HOURS_MAX];
    int64_t outage_count, outage_ms; // also of those that are not named
    struct outage outages[LEDGER_OUTAGES_MAX];
};

// What decides when the meter was due.
struct ledger_meter {
    const struct schedule *schedule;
    const struct gas_calendar *calendar;
    int64_t configured_ms; // before it nothing was expected
};

// From the parts of [from, to): stored periods in order, that do not overlap. Where there is none,
// every due time is missing, not-polled. No outages yet.
void ledger_make(struct ledger *out, const struct ledger_meter *meter, const struct period *parts,
                 int count, int64_t from_ms, int64_t to_ms);
// The quality of the index at a period's end: the worst of its counters, LEDGER_NO_INDEX without.
uint8_t ledger_index(const struct period *period);
// Takes an outage in: due times in it of which nothing is known are missing because of it. In order
// of their beginnings. The poll that was under way when it began is one of them.
void ledger_explain(struct ledger *ledger, const struct ledger_meter *meter,
                    const struct outage *outage);

// The same where the meter's schedule is not known: its due times are taken to lie evenly in each
// hour.
void ledger_explain_evenly(struct ledger *ledger, const struct outage *outage);

struct ledger_sum {
    int64_t expected, good, suspect, missing;
    struct reasons reasons;
    int hours[QUALITY_MISSING + 1]; // by the quality of their index
};
struct ledger_sum ledger_sum(const struct ledger *ledger);

// Consecutive hours with missing reads, or without an index.
struct ledger_hole {
    int64_t from_ms, to_ms;
    int64_t missing;
    uint16_t why;   // of most of the missing reads
    uint8_t index;  // the worst in it: what was done about it
    int first, end; // its hours: [first, end)
};
// The first hole at or after an hour; false when there is none.
bool ledger_hole(const struct ledger *ledger, int from_hour, struct ledger_hole *out);
// How much came, in hundredths of a percent, rounded down, so that 100 % is said of nothing less.
int ledger_share(int64_t part, int64_t whole);

// Compact form for the store, with a format byte in front; decode returns -1 for bytes that it did
// not write, or whose figures do not add up.
void ledger_encode(const struct ledger *ledger, struct buf *out);
int ledger_decode(const void *bytes, size_t length, struct ledger *out);

#endif
