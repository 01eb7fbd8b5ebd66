// Makes a book from the store: open alerts, open periods, and what the rules saw last.
#include "record/book_inside.h"

#include "base/log.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

// Readings before the newest row that are replayed at most, however long a meter was away: its
// counts of an older open period are lost then, its indices are not.
#define HOUR_MS (INT64_C(3600) * 1000)
#define REPLAY_MAX_MS (48 * HOUR_MS)
// Of an over-range that is open for longer, the peak is that of its newest change and of so long.
#define PEAK_REPLAY_MAX_MS (2 * HOUR_MS)
#define SLACK_MS 60000 // a clock may be set back a little after a meter was configured
#define SUMMARY_MINUTES_DEFAULT 15

static int compare_ids(const void *a, const void *b, void *context)
{
    const struct meter *meters = context;
    return strcmp(meters[*(const int *)a].id, meters[*(const int *)b].id);
}

static struct book *book_allocate(const struct book_settings *settings)
{
    struct book *book = calloc(1, sizeof *book);
    if (book == NULL)
        return NULL;
    int count = settings->config->meter_count;
    book->store = settings->store;
    book->config = config_ref(settings->config);
    book->calendar = settings->calendar;
    book->now_ms = settings->now_ms;
    book->deadline_ms = INT64_MAX;
    book->tracked = calloc((size_t)count + 1, sizeof *book->tracked);
    book->by_id = calloc((size_t)count + 1, sizeof *book->by_id);
    book->detect = detect_new(settings->config);
    book->fitted =
        calloc(1, sizeof *book->fitted + PROFILE_CHANNELS_MAX * sizeof book->fitted->values[0]);
    if (book->tracked == NULL || book->by_id == NULL || book->detect == NULL ||
        book->fitted == NULL) {
        book_free(book);
        return NULL;
    }
    for (int i = 0; i < count; i++)
        book->by_id[i] = i;
    qsort_r(book->by_id, (size_t)count, sizeof book->by_id[0], compare_ids, book->config->meters);
    return book;
}

void book_free(struct book *book)
{
    if (book == NULL)
        return;
    for (int i = 0; book->tracked != NULL && i < book->config->meter_count; i++) {
        period_builder_free(book->tracked[i].builder);
        config_unref(book->tracked[i].decoder_config);
    }
    detect_free(book->detect);
    config_unref(book->config);
    free(book->tracked);
    free(book->by_id);
    free(book->fitted);
    free(book);
}

// --- meters ---

// The newest stored period that ends at a boundary of the meter's shortest span: usually the last
// one of that span; after a change of spans one of another.
static int find_resume(struct book *book, struct tracked *tracked, struct period *out,
                       struct err *err)
{
    int found = 0;
    for (enum span span = SPAN_1MIN; span <= SPAN_MONTH; span++) {
        struct period last;
        int there = store_period_last(book->store, tracked->number, span, &last, err);
        if (there < 0)
            return -1;
        for (int i = 0; i < tracked->span_count && there == 1; i++)
            if (tracked->spans[i] == span)
                tracked->closed_to_ms[i] = last.to_ms;
        bool fits = there == 1 &&
                    period_start(&book->calendar, tracked->spans[0], last.to_ms) == last.to_ms;
        if (fits && (found == 0 || last.to_ms > out->to_ms)) {
            *out = last;
            found = 1;
        }
    }
    return found;
}

static int track(struct book *book, int place, int64_t configured_ms, struct err *err)
{
    struct tracked *tracked = &book->tracked[place];
    const struct meter *meter = &book->config->meters[place];
    int minutes = book->config->office.summary_minutes;
    minutes = minutes > 0 ? minutes : SUMMARY_MINUTES_DEFAULT;
    tracked->meter = meter;
    tracked->span_count = spans_of_meter(minutes, meter->interval_s, tracked->spans);
    tracked->reported = span_reported(minutes, meter->interval_s);
    tracked->newest_ms = INT64_MIN;
    tracked->schedule.span = tracked->spans[0];
    tracked->schedule.interval_ms = INT64_C(1000) * meter->interval_s;
    tracked->schedule.phase_ms = schedule_phase_ms(meter->id, tracked->schedule.interval_ms);
    if (store_meter(book->store, meter->id, configured_ms, &tracked->number,
                    &tracked->configured_ms, err) != 0)
        return -1;
    char serial[VALUE_TEXT_MAX] = "";
    if (store_series_last(book->store, tracked->number, serial, err) < 0)
        return -1;
    series_init(&tracked->series, serial);
    tracked->gaps = true;
    for (int i = 0; i < PROFILE_ARCHIVES_MAX; i++)
        tracked->archives[i].judged_to_ms = INT64_MIN;
    struct period last;
    int found = find_resume(book, tracked, &last, err);
    if (found < 0)
        return -1;
    tracked->builder =
        period_builder_new(meter, &tracked->schedule, &book->calendar, tracked->configured_ms);
    if (tracked->builder == NULL)
        return err_set(err, "out of memory for the periods of %s", meter->id);
    period_builder_resume(tracked->builder, found == 1 ? &last : NULL);
    tracked->resumed_ms = found == 1 ? last.to_ms : INT64_MIN;
    return 0;
}

// --- alerts ---

// An open over-range goes on looking for its peak where its newest change saw it.
static void watch_since(struct tracked *tracked, int64_t at_ms)
{
    int64_t oldest = tracked->watched_ms - PEAK_REPLAY_MAX_MS;
    int64_t since = at_ms > oldest ? at_ms : oldest;
    tracked->watched_ms = since < tracked->watched_ms ? since : tracked->watched_ms;
}

static bool restore_alert(void *context, const struct stored_alert *stored)
{
    struct book *book = context;
    struct alert_change change = stored->change;
    if (detect_watches(book->detect, &change)) {
        detect_restore(book->detect, &change);
        if (change.kind == ALERT_OVER_RANGE)
            watch_since(&book->tracked[book_find(book, change.subject)], change.at_ms);
        return true;
    }
    change.state = ALERT_CLOSED;
    change.at_ms = book->now_ms;
    (void)strcpy(change.reason, "removed");
    book_change(book, &change);
    return !book->failed;
}

static int restore_alerts(struct book *book, int64_t newest_ms, struct err *err)
{
    for (int i = 0; i < book->config->meter_count; i++)
        book->tracked[i].watched_ms = newest_ms - detect_lookback_ms(&book->config->meters[i]);
    if (store_alerts_open(book->store, restore_alert, book, err) != 0)
        return -1;
    return book->failed ? err_set(err, "%s", book->err.text) : 0;
}

// --- readings ---

static bool replay(void *context, const struct stored_reading *stored)
{
    struct book *book = context;
    int place = book_find(book, stored->meter);
    if (place < 0 || stored->due_ms == 0)
        return true;
    struct tracked *tracked = &book->tracked[place];
    struct reading *reading = book->fitted;
    tracked->newest_ms = stored->at_ms > tracked->newest_ms ? stored->at_ms : tracked->newest_ms;
    reading->due_ms = stored->due_ms;
    reading->at_ms = stored->at_ms;
    reading->answered = stored->answered;
    reading->begins = stored->begins;
    reading->image = stored->image;
    book_fit(book, tracked, stored->profile, stored->values);
    if (stored->at_ms >= tracked->watched_ms)
        detect_feed(book->detect, place, reading, NULL, NULL);
    if (stored->at_ms >= tracked->resumed_ms) {
        book->current = tracked;
        period_builder_feed(tracked->builder, reading, book_close, book);
    }
    return !book->failed;
}

static int replay_readings(struct book *book, int64_t newest_ms, struct err *err)
{
    int64_t from = INT64_MAX;
    for (int i = 0; i < book->config->meter_count; i++) {
        const struct tracked *tracked = &book->tracked[i];
        int64_t first = tracked->resumed_ms != INT64_MIN ? tracked->resumed_ms
                                                         : tracked->configured_ms - SLACK_MS;
        int64_t twice = 2 * span_nominal_ms(tracked->spans[0]);
        int64_t reach = twice > REPLAY_MAX_MS ? twice : REPLAY_MAX_MS;
        first = tracked->watched_ms < first ? tracked->watched_ms : first;
        first = newest_ms - reach > first ? newest_ms - reach : first;
        from = first < from ? first : from;
    }
    if (from == INT64_MAX)
        return 0;
    if (store_readings(book->store, NULL, from, INT64_MAX, replay, book, err) != 0)
        return -1;
    return book->failed ? err_set(err, "%s", book->err.text) : 0;
}

// For reports, which have the store alone: where the site's gas days begin.
static int keep_calendar(struct book *book, struct err *err)
{
    char text[sizeof book->config->timezone + 16];
    (void)snprintf(text, sizeof text, "%d %s", book->calendar.start_minutes,
                   book->config->timezone);
    return store_setting_put(book->store, "gas_day", text, err);
}

static int build(struct book *book, int64_t configured_ms, struct err *err)
{
    for (int i = 0; i < book->config->meter_count; i++)
        if (track(book, i, configured_ms, err) != 0)
            return -1;
    int64_t newest_ms;
    if (book_note_meters(book, err) != 0 || keep_calendar(book, err) != 0)
        return -1;
    if (store_reading_newest(book->store, &newest_ms, err) != 0 ||
        restore_alerts(book, newest_ms, err) != 0 || replay_readings(book, newest_ms, err) != 0)
        return -1;
    for (int i = 0; i < book->config->meter_count; i++) {
        int64_t deadline = period_builder_deadline(book->tracked[i].builder);
        book->deadline_ms = deadline < book->deadline_ms ? deadline : book->deadline_ms;
    }
    return 0;
}

struct book *book_new(const struct book_settings *settings, struct err *err)
{
    struct book *book = book_allocate(settings);
    if (book == NULL) {
        (void)err_set(err, "out of memory for %d meters", settings->config->meter_count);
        return NULL;
    }
    if (build(book, settings->configured_ms, err) != 0) {
        book_free(book);
        return NULL;
    }
    return book;
}
