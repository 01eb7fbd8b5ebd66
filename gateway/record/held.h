// The readings of a round in the order they came: those added stand first, in the transaction that
// is open, behind them those that wait. No locks of its own.
#ifndef METERGATE_RECORD_HELD_H
#define METERGATE_RECORD_HELD_H

#include "poll/reading.h"
#include "record/recorder.h"

struct held {
    struct reading *reading[RECORDER_ROUND_MAX];
    int count, added;
};

// Takes one over; there is room.
void held_take(struct held *held, struct reading *reading);
// The first `count` are kept, or given up: they are freed, and those behind them move up. None of
// these is counted as added any more.
void held_drop(struct held *held, int count);

#endif
