// What the files of the round share: round.c takes the steps, round_store.c opens the store and
// makes the book, round_clock.c keeps what comes before the clock is known, round_transaction.c
// fills and ends one transaction, round_trouble.c waits for a store that takes nothing,
// round_request.c does what others ask for between two rounds.
#ifndef METERGATE_RECORD_ROUND_INSIDE_H
#define METERGATE_RECORD_ROUND_INSIDE_H

#include "record/dating.h"
#include "record/held.h"
#include "record/round.h"
#include "record/watch.h"

// The open transaction, and what the next one begins with.
struct transaction {
    bool open;
    bool live;                   // rows go to the lane live
    int64_t begun_boot_ms;       // when its first reading came
    int64_t first_boot_ms;       // of the readings taken since, 0: none
    int64_t acked[LANES_END];    // by the office, not written yet; 0: nothing new
    int64_t acked_boot_ms;       // when the first of them came, 0: none
    int64_t witness_due_boot_ms; // the chain over readings shows its head
};

// A store that takes nothing.
struct trouble {
    bool now;
    int attempts; // of the round that waits
    int64_t retry_boot_ms, back_off_ms;
};

struct round {
    struct recorder_settings settings;
    struct config *config; // a reference
    int64_t started_boot_ms;
    int64_t floor_ms;    // no honest clock is before it
    bool began;          // what is known of the time before this start is stored
    struct store *store; // NULL until it could be opened
    struct book *book;   // NULL while the clock is not known, and after a failure
    struct held held;
    struct transaction transaction;
    struct trouble trouble;
    struct dating dating;
    struct upkeep upkeep;
    struct watch watch;
    int64_t outlook_boot_ms; // forecasts are not looked for before
    struct round_status status;
};

static inline int64_t round_boot_ms(const struct round *round)
{
    return clock_boot_ms(round->settings.clock);
}

static inline int64_t round_wall_ms(const struct round *round)
{
    return clock_wall_ms(round->settings.clock);
}

static inline struct upkeep_now round_upkeep_now(const struct round *round)
{
    return (struct upkeep_now){
        .config = round->config, .boot_ms = round_boot_ms(round), .wall_ms = round_wall_ms(round)};
}

// The outbox has something new.
void round_notify(const struct round *round);

// --- round_store.c ---

// Opens it. 0; 1: the disk takes nothing now; -1: what only a person can mend.
int round_store_open(struct round *round, struct err *err);
// Tries again what could not be opened at the start; false while it cannot.
bool round_store_find(struct round *round);
// Writes whose store it is, and how this run ended ("no": not yet), in the open transaction.
int round_store_mark(struct round *round, const char *clean_stop, struct err *err);
// Makes the book anew from the store, in a transaction of its own. On failure the old one stays.
// `configured_ms`: from when on meters seen for the first time are due.
int round_book_make(struct round *round, int64_t configured_ms, struct err *err);

// --- round_clock.c ---

// What the store knows of the clock, once it is open.
void round_clock_begin(struct round *round);
// Takes the clock over as soon as it is known, and makes the book.
void round_clock_learn(struct round *round);
// Keeps what came undated, commit_ms after the first of it.
void round_clock_wait(struct round *round, bool hurry);
// A reading that was stamped before the clock was known is dated by the boot clock.
void round_clock_date(const struct round *round, struct reading *reading);
// The next of what waited undated are held, dated now; none is held before.
int round_clock_load(struct round *round, struct err *err);
// From when on the meters count: the start, or the first reading that waits undated.
int64_t round_clock_configured_ms(const struct round *round);

// --- round_transaction.c ---

// Opens a transaction where none is open.
int round_begin(struct round *round, struct err *err);
// Ends it, where one is open: what was added is durable, and freed.
int round_commit(struct round *round, struct err *err);
// Adds the first `limit` of the readings held.
int round_add(struct round *round, int limit, struct err *err);
// Closes what is overdue, for the reading to come or (NULL) for all, over as many rounds as it
// takes.
int round_expire(struct round *round, const struct reading *next, int64_t until_ms,
                 struct err *err);
// Whether it ends now. Also without an open one: the office's acknowledgements are to be written.
bool round_is_over(const struct round *round, bool hurry);

// --- round_trouble.c ---

// The store took nothing: gives the transaction and the book up, and says when to try again.
void round_fail(struct round *round, const struct err *err);
// What was tried again worked.
void round_recovered(struct round *round);
// Tries the readings that wait again, with a new book.
int round_recover(struct round *round, struct err *err);

#endif
