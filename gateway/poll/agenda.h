// What a link does next: the due polls, retries and probes of its meters in one order. Pure: the
// time is handed in, what was done is reported back.
//
// - Of the polls that are due, the one with the earliest deadline (schedule_deadline_ms) goes
// first,
//   then the higher priority. While the link is overloaded, priority decides before the deadline.
// - A request that gets nothing is not repeated at once: the meter's next attempt waits behind the
//   polls that are due, and while any waits, lost requests take no more than a tenth of the time.
//   So a meter that is dead, or drips, costs its neighbours one response time-out per request.
// - A meter that has used up its retries gets probes (poll/probe.h), in gaps between polls where
//   there are any. Each of its due times is missing at once.
// - Each due time comes up exactly once: as a poll, or as a miss.
// - A link that has not enough time drops due times by priority (poll/share.h).
//
// A link has some 250 meters at most: they are looked through in a row, in half a
// microsecond.
#ifndef METERGATE_POLL_AGENDA_H
#define METERGATE_POLL_AGENDA_H

#include "poll/probe.h"
#include "poll/schedule.h"
#include "poll/share.h"

#define AGENDA_JUDGE_MS 10000  // how often the load is judged
#define AGENDA_STALL_MS 120000 // further behind than this, due times are given up without a reading
#define AGENDA_LOOK_MS 2000    // a meter that is due later than this is looked at once at start

struct agenda_entry {
    struct schedule schedule;
    // All of these are the agenda's.
    struct due due;               // that waits, or comes next
    int64_t deadline_ms, next_ms; // of it, and the due time after it
    bool dropped;                 // the link has no time for it
    bool owed;    // one that the link wanted to keep was not reached: keeps the next
    bool seen;    // asked at least once
    uint16_t why; // why nothing came, of the last request
    struct probe probe;
};

struct agenda {
    const struct gas_calendar *calendar;
    int retries;    // of a failed request
    int retry_ms;   // before the next attempt: 0, or the silence that a serial line needs
    int timeout_ms; // of a response
    int count;
    struct agenda_entry *entries; // the caller's memory, with `schedule` set
    struct share *shares;         // of each, with `priority` set, and `service_us` where known
    // The agenda's:
    int64_t calm_ms; // boot clock: while polls wait, no probe before
    bool overloaded;
    int over_row; // judgements in a row that found too little time
    int64_t judge_at_ms;
    int load_permille; // what all due times and probes take, or would take, of the link's time
};

void agenda_init(struct agenda *agenda, int64_t wall_ms, int64_t boot_ms);

enum turn_kind {
    TURN_WAIT, // nothing to do for wait_ms
    TURN_ASK,  // ask a meter, and call agenda_done
    TURN_MISS, // a due time that is not asked: missing, for `why`
};

struct turn {
    enum turn_kind kind;
    int entry;
    int64_t due_ms;  // 0: nothing is due, asked to see whether it answers
    uint16_t why;    // enum why, of a miss
    int64_t wait_ms; // INT64_MAX: for ever
};

// A miss is taken off; an answer to TURN_ASK is expected through agenda_done, or the same comes
// again.
struct turn agenda_next(struct agenda *agenda, int64_t wall_ms, int64_t boot_ms);

struct outcome {
    bool answered;  // the meter, be it with an exception
    bool asked;     // a request went out
    bool link_down; // says nothing of the meter
    uint16_t why;   // enum why, where it did not answer
    int64_t took_us;
};

// Reports what became of TURN_ASK. True when that was the last attempt for its due time: its
// reading, good or missing, is the one to hand over.
bool agenda_done(struct agenda *agenda, const struct turn *turn, const struct outcome *outcome,
                 int64_t boot_ms);

// The wall clock was set: due times go on with the first one after it.
void agenda_restart(struct agenda *agenda, int64_t wall_ms);
// The link is back: its meters may be, too. Looks at each of them once.
void agenda_link_back(struct agenda *agenda, int64_t boot_ms);
// How many meters are polled less often than they are due.
int agenda_stretched(const struct agenda *agenda);

#endif
