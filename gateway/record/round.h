// The recorder's thread, one step at a time: collects readings into a round, commits it, and when
// the store takes nothing keeps them and tries again. Owns the store; one thread at a time.
//
// States: the clock is not known (readings wait, undated); working; failed (the readings of the
// round that failed wait, and are tried again after 1 s, then twice as long, at most 30 s).
#ifndef METERGATE_RECORD_ROUND_H
#define METERGATE_RECORD_ROUND_H

#include "record/book.h"
#include "record/recorder.h"

struct round;

struct round_status {
    bool store_open; // else the disk took nothing when it was tried
    bool clock_known;
    int64_t undated, undated_lost; // rows that wait for the clock; rows that nothing can date
    uint64_t readings, rounds;
    uint64_t dropped; // readings that the store refused again and again, each alone
    int64_t last_commit_ms;
    char error[160];
    struct backfill_status backfill;
    struct upkeep_status upkeep;
};

// Opens the store; with a known clock the book is made at once. While the disk takes nothing it is
// opened later, and readings wait. NULL with a message on any other failure.
struct round *round_open(const struct recorder_settings *settings, struct err *err);
// Writes what can be written and marks a clean stop.
void round_finish(struct round *round);
// Closes the store. NULL is fine.
void round_close(struct round *round);

bool round_is_working(const struct round *round);
bool round_has_room(const struct round *round); // and works
int round_held(const struct round *round);      // readings taken and not durable yet
// Boot clock: when the first of the readings taken next came. Its round counts commit_ms from then.
void round_set_first(struct round *round, int64_t boot_ms);
void round_take(struct round *round, struct reading *reading);
void round_set_live(struct round *round, bool live);
// Readings were refused since the last step.
void round_lost(struct round *round);
void round_acknowledge(struct round *round, enum lane lane, int64_t seq);

// Does what there is to do. Periods that are overdue at `until_ms` close: the wall clock as it was
// when no reading waited outside; INT64_MIN while one does.
// `hurry`: commits also a round that could still wait.
void round_step(struct round *round, int64_t until_ms, bool hurry);
// How long until round_step has something to do by itself; 0: now.
int64_t round_wait_ms(const struct round *round);
// How long readings may be gathered before they are taken: an alert waits so much longer.
int64_t round_gather_ms(const struct round *round);

// What the meters' logs are asked for now, at most `max`; returns how many.
int round_asks(struct round *round, struct archive_ask *asks, int max);
// Takes an answer into the store, in a transaction that ends with it. False: the store takes
// nothing now, try again.
bool round_backfill(struct round *round, const struct archive_rows *rows);

int round_run(struct round *round, recorder_task *task, void *argument, struct err *err);
int round_run_between(struct round *round, recorder_task *task, void *argument, struct err *err);
int round_apply(struct round *round, struct config *config, struct err *err);

const struct round_status *round_status(const struct round *round);
struct config *round_config(const struct round *round); // the round's own reference
const char *round_stream(const struct round *round);

#endif
