// The book's side of the forecasts: one meter at a time, after its gas day has closed.
#include "record/book_inside.h"

#include <stdlib.h>

static int level_of(const struct tracked *tracked, enum span span)
{
    for (int level = 0; level < tracked->span_count; level++)
        if (tracked->spans[level] == span)
            return level;
    return -1;
}

static bool take_hour(void *context, const struct stored_period *stored)
{
    outlook_hour(context, &stored->period);
    return true;
}

static int put(struct book *book, struct tracked *tracked, int64_t from_ms,
               struct outlook_work *work, struct err *err)
{
    struct outlook outlook;
    enum lane lane = book->live ? LANE_LIVE : LANE_BACKFILL;
    outlook_begin(work, &book->calendar);
    if (store_periods(book->store, tracked->meter->id, SPAN_HOUR, from_ms - OUTLOOK_HISTORY_MS,
                      from_ms, take_hour, work, err) != 0)
        return -1;
    tracked->outlook_ms = from_ms;
    if (!outlook_make(work, from_ms, &outlook))
        return 0;
    if (store_outlook_put(book->store, tracked->number, &outlook, book->now_ms, lane, err) != 0)
        return -1;
    book->sent++;
    return 1;
}

// Whether the newest closed gas day has no forecast after it; 1, 0, -1.
static int is_due(struct book *book, struct tracked *tracked, int64_t *from_ms, struct err *err)
{
    int day = level_of(tracked, SPAN_DAY);
    if (day < 0 || level_of(tracked, SPAN_HOUR) < 0)
        return 0;
    *from_ms = tracked->closed_to_ms[day];
    if (*from_ms <= 0 || period_start(&book->calendar, SPAN_DAY, *from_ms) != *from_ms ||
        book->now_ms >= period_end(&book->calendar, SPAN_DAY, *from_ms))
        return 0; // it has gone by
    if (tracked->outlook_ms == 0 &&
        store_outlook_newest(book->store, tracked->number, &tracked->outlook_ms, err) < 0)
        return -1;
    return tracked->outlook_ms < *from_ms;
}

bool book_outlook_due(struct book *book, int64_t now_ms, struct err *err)
{
    int64_t from_ms;
    book->now_ms = now_ms;
    if (!book->config->office.present)
        return false;
    for (book->foreseen = 0; book->foreseen < book->config->meter_count; book->foreseen++)
        if (is_due(book, &book->tracked[book->foreseen], &from_ms, err) != 0)
            return true;
    return false;
}

int book_outlook(struct book *book, struct err *err)
{
    struct tracked *tracked = &book->tracked[book->foreseen];
    int64_t from_ms;
    int due = is_due(book, tracked, &from_ms, err);
    if (due <= 0)
        return due;
    struct outlook_work *work = malloc(sizeof *work);
    if (work == NULL)
        return err_set(err, "out of memory for the forecast of %s", tracked->meter->id);
    int kept = put(book, tracked, from_ms, work, err);
    free(work);
    return kept;
}
