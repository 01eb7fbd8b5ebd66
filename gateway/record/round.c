#include "record/round.h"

#include "base/log.h"
#include "record/downtime.h"
#include "record/round_inside.h"

#include <stdlib.h>

#define GATHER_MAX_MS 100
#define GATHER_SHARE 10        // of commit_ms
#define OUTLOOK_REST_MS 200    // between two forecasts, for everything else
#define OUTLOOK_EVERY_MS 30000 // none was due

void round_notify(const struct round *round)
{
    if (round->settings.committed != NULL)
        round->settings.committed(round->settings.context);
}

// --- what the thread knows of it ---

bool round_is_working(const struct round *round)
{
    return round->status.clock_known && !round->trouble.now;
}

bool round_has_room(const struct round *round)
{
    // What waits undated in the store is older than what comes.
    bool first = round->status.clock_known && round->dating.loads;
    return !round->trouble.now && !first && round->held.count < RECORDER_ROUND_MAX;
}

int round_held(const struct round *round)
{
    return round->held.count;
}

const struct round_status *round_status(const struct round *round)
{
    return &round->status;
}

struct config *round_config(const struct round *round)
{
    return round->config;
}

const char *round_stream(const struct round *round)
{
    return round->store != NULL ? store_stream(round->store) : "";
}

// --- what the thread hands in ---

void round_set_live(struct round *round, bool live)
{
    round->transaction.live = live;
}

void round_acknowledge(struct round *round, enum lane lane, int64_t seq)
{
    struct transaction *transaction = &round->transaction;
    if (seq <= transaction->acked[lane])
        return;
    transaction->acked[lane] = seq;
    if (transaction->acked_boot_ms == 0)
        transaction->acked_boot_ms = round_boot_ms(round);
}

void round_set_first(struct round *round, int64_t boot_ms)
{
    if (!round->transaction.open)
        round->transaction.first_boot_ms = boot_ms;
}

void round_take(struct round *round, struct reading *reading)
{
    round_clock_date(round, reading);
    held_take(&round->held, reading);
}

void round_lost(struct round *round)
{
    upkeep_lost(&round->upkeep, round_boot_ms(round));
}

// --- a step ---

static int work(struct round *round, int64_t until_ms, bool hurry, struct err *err)
{
    if (round->held.count == 0 && round->dating.loads && round_clock_load(round, err) != 0)
        return -1;
    if (round_add(round, round->held.count, err) != 0)
        return -1;
    if (round->dating.loads) // nothing closes before all that waited is there
        until_ms = INT64_MIN;
    if (book_deadline(round->book) <= until_ms && round_expire(round, NULL, until_ms, err) != 0)
        return -1;
    if (!round_is_over(round, hurry))
        return 0;
    return round_begin(round, err) != 0 ? -1 : round_commit(round, err);
}

// Tries again, where the store took nothing; false while it does not.
static bool mend(struct round *round)
{
    struct err err;
    if (!round->trouble.now)
        return true;
    if (round_boot_ms(round) < round->trouble.retry_boot_ms)
        return false;
    if (round_recover(round, &err) != 0) {
        round_fail(round, &err);
        return false;
    }
    round_recovered(round);
    return true;
}

// One forecast, in a transaction of its own. Nothing wakes up for it: upkeep comes often enough.
static void foresee(struct round *round)
{
    struct err err = {.text = ""};
    int64_t now = round_boot_ms(round);
    if (now < round->outlook_boot_ms)
        return;
    bool due = book_outlook_due(round->book, round_wall_ms(round), &err);
    round->outlook_boot_ms = now + (due ? OUTLOOK_REST_MS : OUTLOOK_EVERY_MS);
    if (due && (round_begin(round, &err) != 0 || book_outlook(round->book, &err) < 0 ||
                round_commit(round, &err) != 0))
        round_fail(round, &err);
    else if (err.text[0] != '\0')
        log_warn("recorder", "no forecast can be made now: %s", err.text);
}

// Between two rounds: upkeep of the store, the audit chain, forecasts.
static void tend(struct round *round)
{
    const struct upkeep_now now = round_upkeep_now(round);
    if (now.boot_ms >= upkeep_due_ms(&round->upkeep)) {
        if (upkeep_step(&round->upkeep, round->store, &now))
            round_notify(round);
        round->status.upkeep = round->upkeep.status;
    }
    if (watch_write(&round->watch, round->store, round->config->office.present))
        round_notify(round);
    foresee(round);
}

void round_step(struct round *round, int64_t until_ms, bool hurry)
{
    struct err err;
    if (round->store == NULL && !round_store_find(round))
        return;
    round_clock_learn(round);
    if (!round->status.clock_known) {
        round_clock_wait(round, hurry);
        return;
    }
    watch_look(&round->watch);
    if (!mend(round))
        return;
    if (work(round, until_ms, hurry, &err) != 0)
        round_fail(round, &err);
    else if (!round->transaction.open)
        tend(round);
}

static int64_t soonest(int64_t wait, int64_t at_ms, int64_t now_ms)
{
    int64_t left = at_ms > now_ms ? at_ms - now_ms : 0;
    return left < wait ? left : wait;
}

// While it is working.
static int64_t work_wait_ms(const struct round *round)
{
    const struct transaction *transaction = &round->transaction;
    int64_t now = round_boot_ms(round);
    int64_t commit_ms = round->config->store_commit_ms;
    int64_t wait = transaction->open
                       ? soonest(INT64_MAX, transaction->begun_boot_ms + commit_ms, now)
                       : soonest(INT64_MAX, upkeep_due_ms(&round->upkeep), now);
    if (transaction->acked_boot_ms != 0)
        wait = soonest(wait, transaction->acked_boot_ms + commit_ms, now);
    return round->dating.loads ? 0
                               : soonest(wait, book_deadline(round->book), round_wall_ms(round));
}

int64_t round_wait_ms(const struct round *round)
{
    int64_t now = round_boot_ms(round);
    if (round->store == NULL || round->trouble.now)
        return soonest(INT64_MAX, round->trouble.retry_boot_ms, now);
    if (round->status.clock_known)
        return work_wait_ms(round);
    if (round->held.count == 0)
        return INT64_MAX;
    return soonest(INT64_MAX, round->held.reading[0]->boot_ms + round->config->store_commit_ms,
                   now);
}

int64_t round_gather_ms(const struct round *round)
{
    int64_t share = round->config->store_commit_ms / GATHER_SHARE;
    return share < GATHER_MAX_MS ? share : GATHER_MAX_MS;
}

// --- life ---

// Polling goes on while the disk takes nothing.
static void open_later(struct round *round, const struct err *err)
{
    const struct upkeep_now now = round_upkeep_now(round);
    round_fail(round, err);
    upkeep_unwritable(&round->upkeep, &now);
    round->status.clock_known = clock_is_known(round->settings.clock, clock_floor_ms());
}

static int open_now(struct round *round, struct err *err)
{
    int opened = round_store_open(round, err);
    if (opened == 1) {
        open_later(round, err);
        return 0;
    }
    if (opened < 0)
        return -1;
    return round->status.clock_known ? round_book_make(round, round_clock_configured_ms(round), err)
                                     : 0;
}

struct round *round_open(const struct recorder_settings *settings, struct err *err)
{
    struct round *round = calloc(1, sizeof *round);
    if (round == NULL) {
        (void)err_set(err, "out of memory for the recorder");
        return NULL;
    }
    round->settings = *settings;
    round->config = config_ref(settings->config);
    round->started_boot_ms = round_boot_ms(round);
    upkeep_init(&round->upkeep, settings->directory, round->started_boot_ms);
    if (open_now(round, err) != 0) {
        round_close(round);
        return NULL;
    }
    return round;
}

void round_finish(struct round *round)
{
    struct err err = {.text = ""};
    if (round->held.count > 0) {
        log_error("recorder", "%d readings could not be kept: %s", round->held.count,
                  round->status.error);
    }
    if (round->store == NULL)
        return;
    if (store_round_begin(round->store, &err) != 0 || round_store_mark(round, "yes", &err) != 0 ||
        watch_stop(&round->watch, round->store, &err) != 0 ||
        (round->status.clock_known &&
         downtime_stop(round->store, round_wall_ms(round), &err) != 0) ||
        store_round_commit(round->store, &err) != 0) {
        store_round_cancel(round->store);
        log_error("recorder", "cannot mark a clean stop: %s", err.text);
    }
}

void round_close(struct round *round)
{
    if (round == NULL)
        return;
    held_drop(&round->held, round->held.count);
    book_free(round->book);
    store_close(round->store);
    config_unref(round->config);
    free(round);
}
