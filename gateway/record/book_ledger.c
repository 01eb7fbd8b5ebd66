// The book's side of the ledger: made when a gas day closes, made again when one of its periods
// changes.
#include "record/book_inside.h"

#include <stdlib.h>

#define UNREAD_DAYS_MAX 400

static struct ledger_meter meter_of(const struct book *book, const struct tracked *tracked)
{
    return (struct ledger_meter){.schedule = &tracked->schedule,
                                 .calendar = &book->calendar,
                                 .configured_ms = tracked->configured_ms};
}

struct explaining {
    struct ledger ledger;
    struct ledger_meter meter;
};

static bool explain(void *context, const struct outage *outage)
{
    struct explaining *explaining = context;
    ledger_explain(&explaining->ledger, &explaining->meter, outage);
    return true;
}

static int keep(struct book *book, const struct tracked *tracked, const struct ledger *ledger,
                enum lane lane, struct err *err)
{
    bool sent = book->config->office.present;
    int kept =
        store_ledger_put(book->store, tracked->number, ledger, book->now_ms, lane, sent, err);
    book->sent += kept == 1 && sent;
    return kept < 0 ? -1 : 0;
}

static int put(struct book *book, const struct tracked *tracked, struct explaining *explaining,
               enum lane lane, struct err *err)
{
    const struct ledger *ledger = &explaining->ledger;
    if (store_outages(book->store, tracked->number, ledger->from_ms, ledger->to_ms, explain,
                      explaining, err) != 0)
        return -1;
    return keep(book, tracked, ledger, lane, err);
}

// Days before the one with the meter's very first reading, since it was configured: nothing of them
// is stored, and that is what their ledgers say. At most UNREAD_DAYS_MAX, the newest ones.
static int put_unread(struct book *book, const struct tracked *tracked, const struct period *first,
                      enum lane lane, struct explaining *explaining, struct err *err)
{
    int64_t oldest = first->from_ms - UNREAD_DAYS_MAX * span_nominal_ms(SPAN_DAY);
    int64_t from = tracked->configured_ms > oldest ? tracked->configured_ms : oldest;
    from = period_start(&book->calendar, first->span, from);
    int result = 0;
    while (from < first->from_ms && result == 0) {
        int64_t to = period_end(&book->calendar, first->span, from);
        ledger_make(&explaining->ledger, &explaining->meter, NULL, 0, from, to);
        result = put(book, tracked, explaining, lane, err);
        from = to;
    }
    return result;
}

int book_ledger(struct book *book, struct tracked *tracked, const struct period *period,
                struct err *err)
{
    struct explaining *explaining = calloc(1, sizeof *explaining);
    if (explaining == NULL)
        return err_set(err, "out of memory for the ledger of %s", tracked->meter->id);
    bool is_sum = period->span != tracked->spans[0];
    enum lane lane = book->live ? LANE_LIVE : LANE_BACKFILL;
    explaining->meter = meter_of(book, tracked);
    int result = 0;
    if (period->first)
        result = put_unread(book, tracked, period, lane, explaining, err);
    ledger_make(&explaining->ledger, &explaining->meter, is_sum ? book->parts.list : period,
                is_sum ? book->parts.count : 1, period->from_ms, period->to_ms);
    if (result == 0)
        result = put(book, tracked, explaining, lane, err);
    free(explaining);
    return result;
}

// --- changed periods ---

struct amending {
    bool found;
    struct ledger ledger;
};

static bool take_newest(void *context, const struct stored_ledger *stored)
{
    struct amending *amending = context;
    amending->ledger = stored->ledger;
    amending->found = true;
    return true;
}

static bool take_index(void *context, const struct stored_period *stored)
{
    struct amending *amending = context;
    for (int i = 0; i < amending->ledger.hour_count; i++) {
        struct ledger_hour *hour = &amending->ledger.hours[i];
        if (hour->from_ms == stored->period.from_ms && hour->to_ms == stored->period.to_ms)
            hour->index = ledger_index(&stored->period);
    }
    return true;
}

// Only indices change after a period is closed, its reads never do: so the ledger stays what it was
// and takes the indices of the newest versions.
static int amend_one(struct book *book, const struct tracked *tracked, int64_t from_ms,
                     struct amending *amending, struct err *err)
{
    const char *id = tracked->meter->id;
    const struct ledger *ledger = &amending->ledger;
    amending->found = false;
    if (store_ledgers(book->store, id, from_ms, from_ms + 1, take_newest, amending, err) != 0)
        return -1;
    if (!amending->found)
        return 0;
    if (store_periods(book->store, id, SPAN_HOUR, from_ms, ledger->to_ms, take_index, amending,
                      err) != 0 ||
        store_periods(book->store, id, SPAN_DAY, from_ms, from_ms + 1, take_index, amending, err) !=
            0)
        return -1;
    return keep(book, tracked, ledger, LANE_BACKFILL, err);
}

int book_amend_ledgers(struct book *book, struct tracked *tracked, int64_t from_ms, int64_t to_ms,
                       struct err *err)
{
    enum span span = tracked->spans[0] > SPAN_DAY ? tracked->spans[0] : SPAN_DAY;
    struct amending *amending = calloc(1, sizeof *amending);
    if (amending == NULL)
        return err_set(err, "out of memory for the ledger of %s", tracked->meter->id);
    int result = 0;
    // a boundary is also the end of the day before it
    for (int64_t at = period_start(&book->calendar, span, from_ms - 1); at < to_ms && result == 0;
         at = period_end(&book->calendar, span, at))
        result = amend_one(book, tracked, at, amending, err);
    free(amending);
    return result;
}

// --- meters that left the configuration ---

struct change {
    int number;
    bool left;
};

struct changes {
    const struct book *book;
    int count;
    struct change list[]; // as many as meters can have a number
};

static bool note_meter(void *context, int number, const char *id, bool is_out)
{
    struct changes *changes = context;
    bool left = book_find(changes->book, id) < 0;
    if (left != is_out)
        changes->list[changes->count++] = (struct change){number, left};
    return true;
}

#define METERS_MAX 65535 // store_meter gives no more numbers

int book_note_meters(struct book *book, struct err *err)
{
    struct changes *changes =
        malloc(sizeof *changes + METERS_MAX * sizeof changes->list[0]); // touched as far as used
    if (changes == NULL)
        return err_set(err, "out of memory for the meters of the store");
    changes->book = book;
    changes->count = 0;
    int result = store_meters(book->store, note_meter, changes, err);
    for (int i = 0; i < changes->count && result == 0; i++) {
        const struct change *change = &changes->list[i];
        const struct outage outage = {book->now_ms, OUTAGE_GOES_ON, WHY_NOT_CONFIGURED};
        result = change->left ? store_outage_add(book->store, change->number, &outage, err)
                              : store_outage_end(book->store, change->number, book->now_ms, err);
    }
    free(changes);
    return result;
}
