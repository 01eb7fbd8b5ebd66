// The recorder: one thread, the only writer of the store. Takes readings, runs detection and
// periods over them, and commits all that a round caused in one transaction.
//
// A round ends when RECORDER_ROUND_MAX readings wait, when one of them changes an alert or closes a
// period, or commit_ms after its first reading.
//
// When the store takes nothing (a full disk) the readings of the round that failed, and those
// behind them, wait in memory; it is tried again after 1 s, then twice as long, at most 30 s. Until
// the clock is known readings are kept undated in the store, and dated through the boot clock then.
#ifndef METERGATE_RECORD_RECORDER_H
#define METERGATE_RECORD_RECORDER_H

#include "base/clock.h"
#include "record/book.h"
#include "record/upkeep.h"
#include "store/store.h"

#define RECORDER_QUEUE_MAX                                                                         \
    20000 // readings that wait; further ones, until half is free, become missing, store-full
#define RECORDER_ROUND_MAX 1000 // readings of one transaction

struct recorder;

struct recorder_settings {
    const char *directory; // state directory; the recorder opens the store in it
    struct config *config; // takes a reference
    struct gas_calendar calendar;
    const struct clock *clock;
    // Called in the recorder's thread after each commit that put something into the outbox.
    void (*committed)(void *context);
    void *context;
};

// Opens the store (on a disk that takes nothing it does so later, and readings wait), rebuilds
// detectors and open periods from it, starts the thread. NULL with a message on failure.
struct recorder *recorder_start(const struct recorder_settings *settings, struct err *err);
// Commits what waits, marks a clean stop, ends the thread, closes the store. NULL is fine.
void recorder_stop(struct recorder *recorder);

// Takes a reading over; never blocks. False when the queue is full: the caller keeps it, and its
// due time is recorded as missing, store-full, when the store takes rows again. `recorder` is a
// struct recorder *: fits struct reading_sink.
bool recorder_offer(void *recorder, struct reading *reading);

// Switches to another configuration: alerts of what was removed are closed as `removed`, new meters
// begin. Readings of the old configuration that still wait are recorded first. Waits until it is
// done. While the store takes nothing it fails and the old one stays.
int recorder_apply(struct recorder *recorder, struct config *config, struct err *err);

// Runs `task` on the writing connection inside a round of its own, and waits: 0 means that it
// returned 0 and is durable. When it fails nothing of it stays. For commands that write; not for
// long work: polling's readings wait meanwhile.
typedef int recorder_task(struct store *store, void *argument, struct err *err);
int recorder_run(struct recorder *recorder, recorder_task *task, void *argument, struct err *err);
// The same between two rounds and without one of its own: for a slice of long work that begins its
// own rounds or none, such as a backup.
int recorder_run_between(struct recorder *recorder, recorder_task *task, void *argument,
                         struct err *err);

// The office session is up (connected, oldest unacknowledged message under 30 s old): rows
// committed from now on go to the live lane, else to backfill.
void recorder_set_live(struct recorder *recorder, bool live);
// All messages of a lane up to seq have been acknowledged. Written with the next round, or within
// commit_ms. Never blocks.
void recorder_acknowledge(struct recorder *recorder, enum lane lane, int64_t seq);

// Where links get to know what their meters' own logs are asked for, and hand the answers in.
struct archive_desk recorder_archives(struct recorder *recorder);

struct recorder_status {
    bool store_open; // false while the disk takes nothing since the start
    bool clock_known;
    int64_t undated;                    // readings that wait in the store for the clock
    int64_t undated_lost;               // those that nothing can date: of an earlier boot
    uint64_t readings, rounds, refused; // since start; refused: the queue was full
    int waiting;
    int64_t last_commit_ms; // wall clock, 0 before the first
    char error[160];        // why the store takes nothing now, "" when it does
    struct backfill_status backfill;
    struct upkeep_status upkeep;
};
void recorder_status(struct recorder *recorder, struct recorder_status *out);

// The store's stream UUID; "" before it is open.
const char *recorder_stream(struct recorder *recorder);

#endif
