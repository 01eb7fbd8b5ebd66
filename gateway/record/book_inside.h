// Inside of the book, for book.c and rebuild.c.
#ifndef METERGATE_RECORD_BOOK_INSIDE_H
#define METERGATE_RECORD_BOOK_INSIDE_H

#include "record/book.h"
#include "record/series.h"

#define PARTS_MAX 64 // of a longer period: at most 31 days or 25 hours and a bit

// Slots of one ask of a log, with an anchor on both sides. Indices stand alone, so a long gap is
// filled in steps that each are one transaction.
#define RUN_MAX (ARCHIVE_SLOTS_MAX - 2)
#define RUN_OF_INDICES_MAX 96

struct tracked {
    const struct meter *meter; // in the book's configuration
    int number;                // in the store
    int64_t configured_ms;
    struct schedule schedule;
    int span_count;
    enum span spans[SPANS_MAX];
    enum span reported;
    int64_t closed_to_ms[SPANS_MAX]; // end of the newest stored period of each span
    int64_t resumed_ms;              // the builder has what is before this
    int64_t watched_ms;              // its rules have what is before this
    int64_t outlook_ms;              // its newest forecast begins, or was tried; 0: not known
    int64_t newest_ms;               // of its readings; INT64_MIN before the first
    struct period_builder *builder;
    struct series series;
    bool gaps; // an hour or gas day may lack an index that a log could give
    struct {
        int64_t judged_to_ms; // boundaries up to here are not asked for again
        bool needs_right;     // waits for the boundary after the gap
    } archives[PROFILE_ARCHIVES_MAX];
    // The revision that decodes its readings: of the meter entry they were made with, which an
    // older configuration may hold.
    struct config *decoder_config;
    const struct meter *decoder_meter;
    int decoder;
};

// Periods in order that do not overlap: what a longer one is summed from.
struct parts {
    int count;
    int64_t to_ms; // they end here at the latest
    struct period list[PARTS_MAX];
};

struct book {
    struct store *store;
    struct config *config;
    struct gas_calendar calendar;
    struct detect *detect;
    struct tracked *tracked; // as config->meters
    int *by_id;              // places in it, sorted by id
    int foreseen;            // place of the meter whose forecast is due
    int64_t deadline_ms;     // never later than the first of the builders
    struct reading *fitted;  // a reading, laid out as the book's configuration has its meter
    // of the round
    bool live;
    int64_t now_ms;
    int changes, closed, sent;
    bool failed;
    struct err err;
    struct tracked *current; // whose periods close
    struct parts parts, shorter;
};

// Sums the period of `span` that `part` belongs to, when `part` is the last of it. 1: into `out`;
// 0: it goes on; -1.
int book_sum(struct book *book, const struct tracked *tracked, enum span span,
             const struct period *part, struct period *out, struct err *err);

// Makes the ledger of a gas day (or of the meter's shortest period, where that is longer) that was
// kept just now, from the parts that it was summed from: from book->parts, or from itself.
int book_ledger(struct book *book, struct tracked *tracked, const struct period *period,
                struct err *err);
// The next versions of ledgers of which a stored period in [from, to] has changed.
int book_amend_ledgers(struct book *book, struct tracked *tracked, int64_t from_ms, int64_t to_ms,
                       struct err *err);
// Meters that stand in the store and not in the configuration are out of it from now on; those that
// stand in it again are not.
int book_note_meters(struct book *book, struct err *err);

// As which message a period of a span goes out, 0: none.
enum message_kind book_message(const struct book *book, const struct tracked *tracked,
                               enum span span);

// Place of a meter, -1 when the configuration has none of that id.
int book_find(const struct book *book, const char *id);
// Brings values of one profile into the order of the meter's own; what it has more is missing.
void book_fit(struct book *book, const struct tracked *tracked, const struct profile *profile,
              const struct value *values);

detect_changed book_change; // context: the book
period_closed book_close;   // context: the book, with `current` set

#endif
