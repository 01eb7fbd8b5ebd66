#include "record/book_inside.h"

#include "base/log.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define EXPIRE_STEP_MS (INT64_C(24) * 3600 * 1000)

int book_find(const struct book *book, const char *id)
{
    int low = 0;
    int high = book->config->meter_count - 1;
    while (low <= high) {
        int middle = low + (high - low) / 2;
        int order = strcmp(id, book->config->meters[book->by_id[middle]].id);
        if (order == 0)
            return book->by_id[middle];
        if (order < 0)
            high = middle - 1;
        else
            low = middle + 1;
    }
    return -1;
}

// Place of a reading's meter, -1 when the configuration has it no more. One of the book's own
// configuration is not sought.
static int place_of(const struct book *book, const struct reading *reading)
{
    if (reading->config == book->config)
        return (int)(reading->meter - book->config->meters);
    return book_find(book, reading->meter->id);
}

void book_round(struct book *book, bool live, int64_t now_ms)
{
    book->live = live;
    book->now_ms = now_ms;
    book->changes = book->closed = book->sent = 0;
}

int book_urgent(const struct book *book)
{
    return book->changes + book->closed;
}

int book_sent(const struct book *book)
{
    return book->sent;
}

int64_t book_deadline(const struct book *book)
{
    return book->deadline_ms;
}

// --- what readings cause ---

// Keeps the first failure: the callbacks of the pure parts cannot return one.
static void fail_round(struct book *book, const struct err *err)
{
    if (!book->failed) {
        book->failed = true;
        book->err = *err;
    }
}

void book_change(void *context, const struct alert_change *change)
{
    struct book *book = context;
    struct err err;
    char id[UUID_SIZE];
    if (book->failed)
        return;
    if (store_alert_add(book->store, change, book->config->office.present, id, &err) != 0) {
        fail_round(book, &err);
        return;
    }
    book->changes++;
    book->sent += book->config->office.present;
}

static enum lane lane_now(const struct book *book)
{
    return book->live ? LANE_LIVE : LANE_BACKFILL;
}

enum message_kind book_message(const struct book *book, const struct tracked *tracked,
                               enum span span)
{
    if (!book->config->office.present)
        return (enum message_kind)0;
    if (span == SPAN_DAY)
        return MESSAGE_DAY;
    if (span == SPAN_MONTH)
        return MESSAGE_MONTH;
    return span == tracked->reported ? MESSAGE_SUMMARY : (enum message_kind)0;
}

// 1 kept, 0 the stored one stays, -1.
static int keep_period(struct book *book, struct tracked *tracked, int level,
                       const struct period *period)
{
    struct err err;
    if (period->to_ms <= tracked->closed_to_ms[level]) {
        // Our own bug, or a store that somebody changed: the stored one stays.
        log_error("recorder", "%s: a %s closes twice; the first one is kept", tracked->meter->id,
                  span_text(period->span));
        return 0;
    }
    enum message_kind message = book_message(book, tracked, period->span);
    if (store_period_add(book->store, tracked->number, period, book->now_ms, lane_now(book),
                         message, &err) != 0) {
        fail_round(book, &err);
        return -1;
    }
    tracked->closed_to_ms[level] = period->to_ms;
    tracked->gaps = tracked->gaps || period_lacks(period);
    book->closed++;
    book->sent += message != 0;
    return 1;
}

// The span whose closing makes a ledger.
static bool makes_ledger(const struct tracked *tracked, enum span span)
{
    return span == (tracked->spans[0] > SPAN_DAY ? tracked->spans[0] : SPAN_DAY);
}

void book_close(void *context, const struct period *period)
{
    struct book *book = context;
    struct tracked *tracked = book->current;
    struct period closed = *period;
    int summed = 1;
    for (int level = 0; summed == 1 && !book->failed; level++) {
        struct err err;
        int kept = keep_period(book, tracked, level, &closed);
        if (kept == 1 && makes_ledger(tracked, closed.span) &&
            book_ledger(book, tracked, &closed, &err) != 0)
            fail_round(book, &err);
        if (kept < 0 || book->failed || level + 1 == tracked->span_count)
            return;
        struct period longer;
        summed = book_sum(book, tracked, tracked->spans[level + 1], &closed, &longer, &err);
        if (summed < 0)
            fail_round(book, &err);
        else if (summed == 1)
            closed = longer;
    }
}

// --- readings ---

void book_fit(struct book *book, const struct tracked *tracked, const struct profile *profile,
              const struct value *values)
{
    const struct profile *own = tracked->meter->profile;
    struct reading *fitted = book->fitted;
    fitted->meter = tracked->meter;
    fitted->value_count = own->channel_count;
    for (int i = 0; i < own->channel_count; i++) {
        fitted->values[i] = (struct value){.quality = QUALITY_MISSING, .why = WHY_NOT_AVAILABLE};
        for (int k = 0; k < profile->channel_count; k++)
            if (profile->channels[k].channel == own->channels[i].channel)
                fitted->values[i] = values[k];
    }
}

// The reading as the book's configuration has its meter: a link that a reload left alone still
// reads by the entry of the old one.
static const struct reading *fit(struct book *book, const struct tracked *tracked,
                                 const struct reading *reading)
{
    if (reading->meter == tracked->meter)
        return reading;
    book->fitted->due_ms = reading->due_ms;
    book->fitted->at_ms = reading->at_ms;
    book->fitted->answered = reading->answered;
    book->fitted->begins = reading->begins;
    book->fitted->image = reading->image;
    book_fit(book, tracked, reading->meter->profile, reading->values);
    return book->fitted;
}

// Keeps the revision of the entry that a reading was made with, and a reference on it: its address
// must not come again while it is remembered.
static int decoder_of(struct book *book, struct tracked *tracked, const struct reading *reading,
                      struct err *err)
{
    if (tracked->decoder_meter == reading->meter)
        return 0;
    int decoder;
    if (store_decoder(book->store, reading->meter, &decoder, err) != 0)
        return -1;
    struct config *config = config_ref(reading->config);
    config_unref(tracked->decoder_config);
    tracked->decoder_config = config;
    tracked->decoder_meter = reading->meter;
    tracked->decoder = decoder;
    return 0;
}

// Another serial number: doubts the reading's values, or begins a series with it.
static int note_exchange(struct book *book, const struct tracked *tracked, const char *before,
                         struct err *err)
{
    char detail[2 * VALUE_TEXT_MAX + 64];
    (void)snprintf(detail, sizeof detail, "serial number %s, before %s", tracked->series.serial,
                   before);
    return store_audit_add(book->store, book->now_ms, "gateway", "meter-exchange",
                           tracked->meter->id, "done", detail, err);
}

static int judge_series(struct book *book, struct tracked *tracked, struct reading *reading,
                        struct err *err)
{
    char before[VALUE_TEXT_MAX];
    memcpy(before, tracked->series.serial, sizeof before);
    enum series_verdict verdict = series_judge(&tracked->series, reading);
    reading->begins = verdict == SERIES_BEGINS;
    if (verdict == SERIES_SAME)
        return 0;
    if (verdict == SERIES_DOUBT) {
        reading_doubt(reading, WHY_EXCHANGED);
        return 0;
    }
    if (reading->begins)
        log_warn("recorder", "%s is another meter now, serial number %s: a new series begins",
                 tracked->meter->id, tracked->series.serial);
    if (reading->begins && note_exchange(book, tracked, before, err) != 0)
        return -1;
    return store_series_add(book->store, tracked->number, reading->at_ms, tracked->series.serial,
                            err);
}

static int result_of(const struct book *book, struct err *err)
{
    return book->failed ? err_set(err, "%s", book->err.text) : 0;
}

int book_add(struct book *book, struct reading *reading, struct err *err)
{
    int place = place_of(book, reading);
    if (place < 0)
        return 0;
    struct tracked *tracked = &book->tracked[place];
    const struct config_office *office = &book->config->office;
    bool sent = office->present && office->raw_readings;
    if (decoder_of(book, tracked, reading, err) != 0 ||
        judge_series(book, tracked, reading, err) != 0)
        return -1;
    // A clock that was set back: what is read until it has caught up is kept, and doubted. Its
    // volume comes with the first index after that, so that nothing counts twice or is lost.
    if (reading->at_ms < tracked->newest_ms)
        reading_doubt(reading, WHY_CLOCK_BACK);
    if (store_reading_add(book->store, tracked->number, tracked->decoder, reading,
                          sent ? lane_now(book) : (enum lane)0, err) != 0)
        return -1;
    tracked->newest_ms = reading->at_ms > tracked->newest_ms ? reading->at_ms : tracked->newest_ms;
    book->sent += sent;
    const struct reading *fitted = fit(book, tracked, reading);
    book->current = tracked;
    detect_feed(book->detect, place, fitted, book_change, book);
    period_builder_feed(tracked->builder, fitted, book_close, book);
    int64_t deadline = period_builder_deadline(tracked->builder);
    book->deadline_ms = deadline < book->deadline_ms ? deadline : book->deadline_ms;
    return result_of(book, err);
}

// In steps of a day, so that a year without the gateway does not become one transaction.
static bool expire_one(struct book *book, struct tracked *tracked, int64_t until_ms)
{
    int64_t deadline;
    book->current = tracked;
    while ((deadline = period_builder_deadline(tracked->builder)) <= until_ms && !book->failed) {
        if (book->closed >= BOOK_CLOSED_MAX)
            return true;
        int64_t step = deadline + EXPIRE_STEP_MS;
        period_builder_expire(tracked->builder, step < until_ms ? step : until_ms, book_close,
                              book);
    }
    return false;
}

int book_expire(struct book *book, const struct reading *next, int64_t until_ms, struct err *err)
{
    bool more = false;
    if (next != NULL) {
        int place = place_of(book, next);
        more = place >= 0 && expire_one(book, &book->tracked[place], until_ms);
        return result_of(book, err) != 0 ? -1 : more;
    }
    int64_t first = INT64_MAX;
    for (int i = 0; i < book->config->meter_count && !more; i++) {
        more = expire_one(book, &book->tracked[i], until_ms);
        int64_t deadline = period_builder_deadline(book->tracked[i].builder);
        first = deadline < first ? deadline : first;
    }
    if (!more)
        book->deadline_ms = first;
    return result_of(book, err) != 0 ? -1 : more;
}
