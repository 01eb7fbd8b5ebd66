// Whether a reading is of the meter that stood there before: its serial number says so. Pure.
//
// A figure of another meter must never become a step in the series of the one before. So the
// values of a reading with another serial number are doubted, and so are those without a number
// after a rest in which nothing answered. The same other number twice in a row begins a new series
// with that reading: one damaged reading begins none.
#ifndef METERGATE_RECORD_SERIES_H
#define METERGATE_RECORD_SERIES_H

#include "poll/reading.h"

#define SERIES_CONFIRM_READS 2

struct series {
    char serial[VALUE_TEXT_MAX]; // "" until one is known
    char candidate[VALUE_TEXT_MAX];
    int candidate_reads; // in a row
    bool rested;         // a due time without an answer since the number was last seen
};

enum series_verdict {
    SERIES_SAME,   // nothing speaks against it; also where the profile has no serial number
    SERIES_LEARNT, // the first number of this meter is known now
    SERIES_DOUBT,
    SERIES_BEGINS, // another meter stands there, since this reading
};

// `serial`: that of the newest stored series, "" without one.
void series_init(struct series *series, const char *serial);
// One reading in order. Judges by the channel of kind identity, which is part of every poll.
enum series_verdict series_judge(struct series *series, const struct reading *reading);
// The serial number that a reading brings, NULL when it brings none that can be used.
const char *series_serial(const struct reading *reading);

#endif
