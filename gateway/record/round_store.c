#include "record/round_inside.h"

#include "record/downtime.h"
#include "record/opening.h"

static int try_store(struct round *round, struct err *err)
{
    const struct opening opening = {round->settings.directory, round->config->gateway_id,
                                    round->started_boot_ms};
    return opening_try(&opening, round_boot_ms(round), round_wall_ms(round), &round->store, err);
}

int round_store_open(struct round *round, struct err *err)
{
    int opened = try_store(round, err);
    if (opened != 0)
        return opened;
    if (watch_open(&round->watch, round->store, round->settings.clock, err) != 0 ||
        dating_open(&round->dating, round->store, err) != 0) {
        store_close(round->store);
        round->store = NULL;
        return -1;
    }
    round->status.store_open = true;
    round_clock_begin(round);
    return 0;
}

bool round_store_find(struct round *round)
{
    struct err err;
    int64_t now = round_boot_ms(round);
    if (now < round->trouble.retry_boot_ms)
        return false;
    if (round_store_open(round, &err) != 0) {
        round_fail(round, &err);
        round->trouble.retry_boot_ms = now + OPENING_RETRY_MS;
        return false;
    }
    round->trouble.now = round->status.clock_known; // then it recovers, with what waits
    return true;
}

int round_store_mark(struct round *round, const char *clean_stop, struct err *err)
{
    return store_setting_put(round->store, "gateway", round->config->gateway_id, err) != 0
               ? -1
               : store_setting_put(round->store, "clean_stop", clean_stop, err);
}

static int begin_downtime(struct round *round, struct err *err)
{
    int64_t started_ms = round->started_boot_ms + clock_offset_ms(round->settings.clock);
    return round->began ? 0 : downtime_begin(round->store, started_ms, err);
}

int round_book_make(struct round *round, int64_t configured_ms, struct err *err)
{
    struct book_settings settings = {.store = round->store,
                                     .config = round->config,
                                     .calendar = round->settings.calendar,
                                     .now_ms = round_wall_ms(round),
                                     .configured_ms = configured_ms};
    if (store_round_begin(round->store, err) != 0)
        return -1;
    struct book *book = begin_downtime(round, err) == 0 ? book_new(&settings, err) : NULL;
    if (book == NULL || round_store_mark(round, "no", err) != 0 ||
        store_round_commit(round->store, err) != 0) {
        store_round_cancel(round->store);
        book_free(book);
        return -1;
    }
    round->began = true;
    book_free(round->book);
    round->book = book;
    if (book_sent(book) > 0)
        round_notify(round);
    return 0;
}
