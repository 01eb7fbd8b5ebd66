// What the recorder keeps in memory of each meter: its open periods, its alerts, and where it
// stands in the store. All of it follows from the store, so a round that failed is undone by making
// a new book.
//
// Functions that write need an open round of the store. After one of them returned -1 the round
// has to be cancelled and the book thrown away: its memory is ahead of the store.
#ifndef METERGATE_RECORD_BOOK_H
#define METERGATE_RECORD_BOOK_H

#include "config/config.h"
#include "poll/archive.h"
#include "store/store.h"

#define BOOK_CLOSED_MAX 2000 // periods of one round; more go to further rounds

struct book;

struct book_settings {
    struct store *store;
    struct config *config; // the book takes a reference
    struct gas_calendar calendar;
    int64_t now_ms;        // wall clock, known
    int64_t configured_ms; // from when on meters seen for the first time are due
};

// Rebuilds everything from the store: gives new meters their number, closes alerts that are watched
// no more as `removed`, replays the readings of open periods. NULL with a message on failure.
struct book *book_new(const struct book_settings *settings, struct err *err);
void book_free(struct book *book); // NULL is fine

// Begins the account of a round. `live`: to which lane its rows go.
void book_round(struct book *book, bool live, int64_t now_ms);
// What it caused so far: alert changes and closed periods; messages for the outbox.
int book_urgent(const struct book *book);
int book_sent(const struct book *book);

// Stores a reading, and what its meter's alerts and periods make of it. A meter that the
// configuration has no more is left out.
int book_add(struct book *book, struct reading *reading, struct err *err);
// Closes what is overdue at until_ms, of the meter of a reading to come or of all (NULL).
// 1: more is left, but this round has closed BOOK_CLOSED_MAX.
int book_expire(struct book *book, const struct reading *next, int64_t until_ms, struct err *err);
// When book_expire next has something to do; INT64_MAX when never.
int64_t book_deadline(const struct book *book);

// --- forecasts (record/outlook.h) ---
// Whether the newest closed gas day of a meter has none after it; then book_outlook, in the round
// after that, makes the one of that meter: some tens of milliseconds. One that cannot be made for
// want of hours is tried again after the next gas day. False with a message on failure.
bool book_outlook_due(struct book *book, int64_t now_ms, struct err *err);
int book_outlook(struct book *book, struct err *err); // 1 made, 0 not, -1

// --- what the meters' own logs can fill (record/gap.h) ---
struct backfill_status {
    uint64_t filled, estimated; // boundary indices, since the start
    uint64_t refused;           // answers that were not used
    char last[160];             // the newest one, in words; "" before the first
};

// What logs are asked for now: gaps behind which their meter has been read again, the oldest one of
// each meter. At most `max`; returns how many, -1.
int book_asks(struct book *book, int64_t now_ms, struct archive_ask *asks, int max,
              struct err *err);
// Judges what a log answered, stores what is believed and new versions of the periods that it
// completes, for the lane backfill. The same rows again change nothing.
int book_backfill(struct book *book, const struct archive_rows *rows,
                  struct backfill_status *status, struct err *err);

#endif
