// Messages that head office asked for again, on their way out beside the outbox: the same content
// under the same stream, lane and seq, with the user property replay=1, after everything that goes
// out for the first time. One request at a time; how far it has come is stored, so that a restart
// goes on there (and repeats at most what RESEND_SAVE_MS lets through). All in the office thread.
#ifndef METERGATE_OFFICE_RESEND_H
#define METERGATE_OFFICE_RESEND_H

#include "office/lane.h"

#define RESEND_SAVE_MS 5000 // how often the progress is stored

struct office;

struct resend {
    bool active;
    bool dropped; // cancelled: nothing more goes out, and it ends when none flies
    bool read;    // nothing is stored beyond what entered the window
    struct stored_resend job;
    int64_t told_ms; // wall clock that the newest message before told of, 0 before the first
    int64_t save_ms; // boot clock: when the progress is stored next
    struct lane_window window;
};

void resend_begin(struct office *office); // a connection is up, or gone
// Looks for requests, and for those that were cancelled. Once a second.
void resend_tick(struct office *office);
// Hands messages out where there is room; true when there is more to do at once.
bool resend_step(struct office *office);
void resend_settle(struct office *office); // cursor, gaps, progress
void resend_answer(struct office *office, int slot, int reason);

#endif
