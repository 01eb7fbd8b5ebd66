#include "record/round.h"

#include "base/log.h"
#include "record/book.h"
#include "record/dating.h"
#include "record/downtime.h"
#include "record/opening.h"
#include "record/upkeep.h"
#include "record/watch.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define BACK_OFF_MIN_MS 1000
#define BACK_OFF_MAX_MS 30000
#define ALONE_AFTER 3 // attempts with a whole round, then each reading alone
#define DROP_AFTER 10 // attempts with one reading alone, though the store takes other rows
// how long a clock that is behind the newest row is waited for
#define CLOCK_BEHIND_WAIT_MS (INT64_C(15) * 60 * 1000)
#define GATHER_MAX_MS 100
#define WITNESS_EVERY_MS 60000
#define GATHER_SHARE 10 // of commit_ms

struct round {
    struct recorder_settings settings;
    struct config *config; // a reference
    struct store *store;
    struct book *book; // NULL while the clock is not known, and after a failure
    int64_t started_boot_ms, floor_ms;
    bool live;
    bool begun;            // a transaction is open
    int64_t begun_boot_ms; // when its first reading came
    int64_t first_boot_ms; // of those taken since, 0: none
    struct reading *held[RECORDER_ROUND_MAX];
    int count, added; // of held; those added are in the open transaction
    int64_t acknowledged[LANES_END];
    int64_t acknowledged_boot_ms; // of the first one that waits, 0: none
    bool failed;
    int attempts;
    int64_t retry_boot_ms, back_off_ms;
    struct upkeep upkeep;
    struct watch watch;
    int64_t witness_boot_ms; // the chain over readings showed its head
    bool began;              // what is known of the time before this start is stored
    struct dating dating;
    struct round_status status;
};

static int64_t boot_now(const struct round *round)
{
    return clock_boot_ms(round->settings.clock);
}

static int64_t wall_now(const struct round *round)
{
    return clock_wall_ms(round->settings.clock);
}

bool round_is_working(const struct round *round)
{
    return round->status.clock_known && !round->failed;
}

bool round_has_room(const struct round *round)
{
    // What waits undated in the store is older than what comes.
    bool first = round->status.clock_known && round->dating.loads;
    return !round->failed && !first && round->count < RECORDER_ROUND_MAX;
}

int round_held(const struct round *round)
{
    return round->count;
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

void round_set_live(struct round *round, bool live)
{
    round->live = live;
}

void round_acknowledge(struct round *round, enum lane lane, int64_t seq)
{
    if (seq > round->acknowledged[lane]) {
        round->acknowledged[lane] = seq;
        round->acknowledged_boot_ms =
            round->acknowledged_boot_ms != 0 ? round->acknowledged_boot_ms : boot_now(round);
    }
}

// What is added to boot time for wall time. Read in one and the same millisecond, as far as ten
// attempts get it: this thread may be held up between two clocks.
static int64_t wall_offset_ms(const struct round *round)
{
    int64_t boot;
    int64_t wall;
    int attempts = 0;
    do {
        boot = boot_now(round);
        wall = wall_now(round);
    } while (boot_now(round) != boot && ++attempts < 10);
    return wall - boot;
}

void round_set_first(struct round *round, int64_t boot_ms)
{
    if (!round->begun)
        round->first_boot_ms = boot_ms;
}

static void date_by_boot(const struct round *round, struct reading *reading)
{
    int64_t at = reading->boot_ms + wall_offset_ms(round);
    reading->due_ms += at - reading->at_ms;
    reading->at_ms = at;
}

// A reading that was stamped before the clock was known is dated by the boot clock.
void round_take(struct round *round, struct reading *reading)
{
    if (round->status.clock_known && reading->at_ms < round->floor_ms)
        date_by_boot(round, reading);
    round->held[round->count++] = reading;
}

static struct upkeep_now upkeep_moment(const struct round *round)
{
    return (struct upkeep_now){
        .config = round->config, .boot_ms = boot_now(round), .wall_ms = wall_now(round)};
}

void round_lost(struct round *round)
{
    upkeep_lost(&round->upkeep, boot_now(round));
}

// --- failures ---

static void fail(struct round *round, const struct err *err)
{
    if (round->store != NULL)
        store_round_cancel(round->store);
    round->begun = false;
    round->added = 0;
    book_free(round->book);
    round->book = NULL;
    round->back_off_ms = round->failed ? 2 * round->back_off_ms : BACK_OFF_MIN_MS;
    round->back_off_ms =
        round->back_off_ms < BACK_OFF_MAX_MS ? round->back_off_ms : BACK_OFF_MAX_MS;
    round->retry_boot_ms = boot_now(round) + round->back_off_ms;
    const struct upkeep_now now = upkeep_moment(round);
    if (round->store != NULL && store_is_full(round->store) &&
        upkeep_full(&round->upkeep, round->store, &now))
        round->retry_boot_ms = now.boot_ms; // there is room again, as much as was kept for this
    round->status.upkeep = round->upkeep.status;
    if (!round->failed)
        log_error("recorder", "the store takes nothing, readings wait in memory: %s", err->text);
    round->failed = true;
    (void)snprintf(round->status.error, sizeof round->status.error, "%.*s",
                   (int)sizeof round->status.error - 1, err->text);
}

static void recovered(struct round *round)
{
    log_info("recorder", "the store takes readings again");
    round->failed = false;
    round->attempts = 0;
    memset(round->status.error, 0, sizeof round->status.error);
}

// --- one transaction ---

static int begin(struct round *round, struct err *err)
{
    if (round->begun)
        return 0;
    if (store_round_begin(round->store, err) != 0)
        return -1;
    round->begun = true;
    round->begun_boot_ms = round->first_boot_ms != 0 ? round->first_boot_ms : boot_now(round);
    round->first_boot_ms = 0;
    book_round(round->book, round->live, wall_now(round));
    return 0;
}

// The outbox has something new.
static void notify(const struct round *round)
{
    if (round->settings.committed != NULL)
        round->settings.committed(round->settings.context);
}

static void write_acknowledged(struct round *round)
{
    for (int lane = 0; lane < LANES_END; lane++) {
        struct err err;
        if (round->acknowledged[lane] != 0 &&
            store_outbox_acknowledge(round->store, (enum lane)lane, round->acknowledged[lane],
                                     &err) != 0) {
            // Where the database failed the commit says so; else the office claims too much.
            log_warn("recorder", "%s", err.text);
        }
    }
}

static void release_added(struct round *round)
{
    for (int i = 0; i < round->added; i++)
        reading_free(round->held[i]);
    round->count -= round->added;
    memmove(round->held, round->held + round->added, (size_t)round->count * sizeof round->held[0]);
    round->status.readings += (uint64_t)round->added;
    round->added = 0;
}

static int commit(struct round *round, struct err *err)
{
    if (!round->begun)
        return 0;
    write_acknowledged(round);
    int64_t now = boot_now(round);
    bool witness = now - round->witness_boot_ms >= WITNESS_EVERY_MS;
    if (witness && store_reading_witness(round->store, err) != 0)
        return -1;
    for (int i = 0; i < round->added; i++)
        if (round->held[i]->undated != 0 &&
            store_undated_remove(round->store, round->held[i]->undated, err) != 0)
            return -1;
    if (store_round_commit(round->store, err) != 0)
        return -1;
    round->witness_boot_ms = witness ? now : round->witness_boot_ms;
    round->begun = false;
    memset(round->acknowledged, 0, sizeof round->acknowledged);
    round->acknowledged_boot_ms = 0;
    release_added(round);
    round->status.rounds++;
    round->status.last_commit_ms = wall_now(round);
    if (book_sent(round->book) > 0)
        notify(round);
    return 0;
}

// Closes what is overdue, over as many rounds as it takes.
static int expire(struct round *round, const struct reading *next, int64_t until_ms,
                  struct err *err)
{
    int more;
    do {
        if (begin(round, err) != 0)
            return -1;
        more = book_expire(round->book, next, until_ms, err);
        if (more < 0 || (more == 1 && commit(round, err) != 0))
            return -1;
    } while (more == 1);
    return 0;
}

// Adds the first `limit` of the readings held.
static int add_held(struct round *round, int limit, struct err *err)
{
    while (round->added < limit && round->added < round->count) {
        // by index: what expire commits moves on
        const struct reading *next = round->held[round->added];
        int before = round->count;
        if (begin(round, err) != 0 || expire(round, next, next->at_ms, err) != 0)
            return -1;
        limit -= before - round->count;
        if (begin(round, err) != 0 || book_add(round->book, round->held[round->added], err) != 0)
            return -1;
        round->added++;
    }
    return 0;
}

// --- the book ---

static int keep_settings(struct round *round, const char *clean_stop, struct err *err)
{
    return store_setting_put(round->store, "gateway", round->config->gateway_id, err) != 0
               ? -1
               : store_setting_put(round->store, "clean_stop", clean_stop, err);
}

static int begin_downtime(struct round *round, struct err *err)
{
    int64_t started_ms = round->started_boot_ms + wall_offset_ms(round);
    return round->began ? 0 : downtime_begin(round->store, started_ms, err);
}

// Makes the book anew from the store, in a round of its own.
static int make_book(struct round *round, int64_t configured_ms, struct err *err)
{
    struct book_settings settings = {.store = round->store,
                                     .config = round->config,
                                     .calendar = round->settings.calendar,
                                     .now_ms = wall_now(round),
                                     .configured_ms = configured_ms};
    if (store_round_begin(round->store, err) != 0)
        return -1;
    struct book *book = begin_downtime(round, err) == 0 ? book_new(&settings, err) : NULL;
    if (book == NULL || keep_settings(round, "no", err) != 0 ||
        store_round_commit(round->store, err) != 0) {
        store_round_cancel(round->store);
        book_free(book);
        return -1;
    }
    round->began = true;
    book_free(round->book);
    round->book = book;
    if (book_sent(book) > 0)
        notify(round);
    return 0;
}

// Whether the store takes a row at all: before the book is made again, which reads a lot. A row
// that says what it said already would not be written.
static int probe(struct round *round, struct err *err)
{
    char text[24];
    (void)snprintf(text, sizeof text, "%" PRId64, boot_now(round));
    if (store_round_begin(round->store, err) != 0)
        return -1;
    if (store_setting_put(round->store, "tried", text, err) != 0 ||
        keep_settings(round, "no", err) != 0 || store_round_commit(round->store, err) != 0) {
        store_round_cancel(round->store);
        return -1;
    }
    return 0;
}

// A reading that the store refuses alone, again and again, while it takes other rows: it must not
// stop all that wait behind it.
static void drop_first(struct round *round, const struct err *err)
{
    struct reading *reading = round->held[0];
    log_error("recorder", "a reading of %s cannot be kept and is dropped: %s", reading->meter->id,
              err->text);
    reading_free(reading);
    round->count--;
    memmove(round->held, round->held + 1, (size_t)round->count * sizeof round->held[0]);
    round->status.dropped++;
}

static int recover(struct round *round, struct err *err)
{
    const struct upkeep_now now = upkeep_moment(round);
    if (upkeep_recover(&round->upkeep, round->store, &now, err) != 0 || probe(round, err) != 0 ||
        make_book(round, wall_now(round), err) != 0)
        return -1;
    while (round->count > 0) {
        int limit = round->attempts < ALONE_AFTER ? round->count : 1;
        if (add_held(round, limit, err) != 0 || commit(round, err) != 0) {
            round->attempts += !store_is_full(round->store); // for lack of room nothing is dropped
            if (round->attempts >= DROP_AFTER) {
                drop_first(round, err);
                round->attempts = ALONE_AFTER;
            }
            return -1;
        }
    }
    return 0;
}

// --- the store ---

// --- before the clock is known ---

static void say_unknown(struct round *round)
{
    (void)strncpy(round->status.error, "the time is not known yet: readings wait for it",
                  sizeof round->status.error - 1);
}

static bool flush_undated(struct round *round, struct err *err)
{
    if (dating_keep(&round->dating, round->store, round->held, round->count, err) != 0)
        return false;
    for (int i = 0; i < round->count; i++)
        reading_free(round->held[i]);
    round->count = 0;
    return true;
}

// What comes is kept undated, commit_ms after the first of it.
static void keep_undated(struct round *round, bool hurry)
{
    struct err err;
    int64_t now = boot_now(round);
    if (round->count == 0 || (round->failed && now < round->retry_boot_ms))
        return;
    if (!hurry && round->count < RECORDER_ROUND_MAX &&
        now - round->held[0]->boot_ms < round->config->store_commit_ms)
        return;
    if (!flush_undated(round, &err)) {
        fail(round, &err);
    } else if (round->failed) {
        recovered(round);
        say_unknown(round);
    }
}

// The next of what waited, dated now.
static int load_undated(struct round *round, struct err *err)
{
    if (round->begun && commit(round, err) != 0)
        return -1;
    int count = dating_load(&round->dating, round->store, round->config, wall_offset_ms(round),
                            wall_now(round), round->held, RECORDER_ROUND_MAX, err);
    round->count = count > 0 ? count : 0;
    return count < 0 ? -1 : 0;
}

// A clock behind the newest row may be one that nobody has set yet, or one that was set back while
// the gateway was away: after CLOCK_BEHIND_WAIT_MS, or when the kernel vouches for it, it is taken.
static bool is_clock_known(const struct round *round)
{
    const struct clock *clock = round->settings.clock;
    if (clock_is_known(clock, round->floor_ms))
        return true;
    return clock_is_known(clock, clock_floor_ms()) &&
           (clock_is_synchronized(clock) ||
            boot_now(round) - round->started_boot_ms >= CLOCK_BEHIND_WAIT_MS);
}

// What is known once the store is open.
static int take_store(struct round *round, struct err *err)
{
    if (watch_open(&round->watch, round->store, round->settings.clock, err) != 0 ||
        dating_open(&round->dating, round->store, err) != 0)
        return -1;
    round->status.undated = round->dating.waiting;
    round->status.undated_lost = round->dating.lost;
    int64_t newest = store_newest_ms(round->store);
    round->floor_ms = newest > clock_floor_ms() ? newest : clock_floor_ms();
    round->status.store_open = true;
    round->status.clock_known = is_clock_known(round);
    if (round->status.clock_known)
        return 0;
    say_unknown(round);
    log_warn("recorder", "the clock is behind the newest stored row or this program's build: "
                         "readings wait undated until it is set");
    return 0;
}

static int try_store(struct round *round, struct err *err)
{
    const struct opening opening = {round->settings.directory, round->config->gateway_id,
                                    round->started_boot_ms};
    return opening_try(&opening, boot_now(round), wall_now(round), &round->store, err);
}

// Tries again what could not be opened at the start; false while it cannot.
static bool find_store(struct round *round)
{
    struct err err;
    if (boot_now(round) < round->retry_boot_ms)
        return false;
    if (try_store(round, &err) != 0) {
        fail(round, &err);
        round->retry_boot_ms = boot_now(round) + OPENING_RETRY_MS;
        return false;
    }
    if (take_store(round, &err) != 0) {
        fail(round, &err);
        store_close(round->store);
        round->store = NULL;
        return false;
    }
    round->failed = round->status.clock_known; // then it recovers, with the readings that wait
    return true;
}

// --- steps ---

// Meters count from the start of the recorder, or from the first reading that waits undated.
static int64_t configured_ms(struct round *round)
{
    int64_t first = dating_first_boot_ms(&round->dating, round->store, round->started_boot_ms);
    return wall_now(round) - (boot_now(round) - first);
}

static void learn_clock(struct round *round)
{
    if (round->status.clock_known || !is_clock_known(round))
        return;
    struct err err;
    // After those that are kept already; where that fails they are dated here, ahead of them.
    if (round->count > 0 && !flush_undated(round, &err))
        for (int i = 0; i < round->count; i++)
            date_by_boot(round, round->held[i]);
    round->status.clock_known = true;
    round->failed = false;
    memset(round->status.error, 0, sizeof round->status.error);
    if (make_book(round, configured_ms(round), &err) != 0)
        fail(round, &err);
}

static bool round_is_over(const struct round *round, bool hurry)
{
    int64_t now = boot_now(round);
    int64_t commit_ms = round->config->store_commit_ms;
    bool acknowledged =
        round->acknowledged_boot_ms != 0 && now - round->acknowledged_boot_ms >= commit_ms;
    if (!round->begun)
        return acknowledged || (hurry && round->acknowledged_boot_ms != 0);
    return hurry || acknowledged || book_urgent(round->book) > 0 ||
           round->count >= RECORDER_ROUND_MAX || now - round->begun_boot_ms >= commit_ms;
}

static int work(struct round *round, int64_t until_ms, bool hurry, struct err *err)
{
    if (round->count == 0 && round->dating.loads && load_undated(round, err) != 0)
        return -1;
    if (add_held(round, round->count, err) != 0)
        return -1;
    if (round->dating.loads) // nothing closes before all that waited is there
        until_ms = INT64_MIN;
    if (book_deadline(round->book) <= until_ms && expire(round, NULL, until_ms, err) != 0)
        return -1;
    if (!round_is_over(round, hurry))
        return 0;
    return begin(round, err) != 0 ? -1 : commit(round, err);
}

static void tend(struct round *round)
{
    const struct upkeep_now now = upkeep_moment(round);
    if (now.boot_ms < upkeep_due_ms(&round->upkeep))
        return;
    if (upkeep_step(&round->upkeep, round->store, &now))
        notify(round);
    round->status.upkeep = round->upkeep.status;
}

void round_step(struct round *round, int64_t until_ms, bool hurry)
{
    struct err err;
    if (round->store == NULL && !find_store(round))
        return;
    learn_clock(round);
    round->status.undated = round->dating.waiting;
    round->status.undated_lost = round->dating.lost;
    if (!round->status.clock_known) {
        keep_undated(round, hurry);
        round->status.undated = round->dating.waiting;
        return;
    }
    watch_look(&round->watch);
    if (round->failed) {
        if (boot_now(round) < round->retry_boot_ms)
            return;
        if (recover(round, &err) != 0) {
            fail(round, &err);
            return;
        }
        recovered(round);
    }
    if (work(round, until_ms, hurry, &err) != 0) {
        fail(round, &err);
        return;
    }
    if (round->begun)
        return;
    tend(round);
    if (watch_write(&round->watch, round->store, round->config->office.present))
        notify(round);
}

static int64_t soonest(int64_t wait, int64_t at_ms, int64_t now_ms)
{
    int64_t left = at_ms > now_ms ? at_ms - now_ms : 0;
    return left < wait ? left : wait;
}

int64_t round_wait_ms(const struct round *round)
{
    int64_t wait = INT64_MAX;
    int64_t now = boot_now(round);
    if (round->store == NULL)
        return soonest(wait, round->retry_boot_ms, now);
    if (round->failed)
        return soonest(wait, round->retry_boot_ms, now);
    if (!round->status.clock_known)
        return round->count == 0
                   ? wait
                   : soonest(wait, round->held[0]->boot_ms + round->config->store_commit_ms, now);
    if (round->dating.loads)
        return 0;
    if (round->begun)
        wait = soonest(wait, round->begun_boot_ms + round->config->store_commit_ms, now);
    else
        wait = soonest(wait, upkeep_due_ms(&round->upkeep), now);
    if (round->acknowledged_boot_ms != 0)
        wait = soonest(wait, round->acknowledged_boot_ms + round->config->store_commit_ms, now);
    return soonest(wait, book_deadline(round->book), wall_now(round));
}

int64_t round_gather_ms(const struct round *round)
{
    int64_t share = round->config->store_commit_ms / GATHER_SHARE;
    return share < GATHER_MAX_MS ? share : GATHER_MAX_MS;
}

// --- the meters' own logs ---

int round_asks(struct round *round, struct archive_ask *asks, int max)
{
    struct err err;
    if (!round_is_working(round))
        return 0;
    int count = book_asks(round->book, wall_now(round), asks, max, &err);
    if (count >= 0)
        return count;
    log_warn("recorder", "what is missing cannot be looked for now: %s", err.text);
    return 0;
}

bool round_backfill(struct round *round, const struct archive_rows *rows)
{
    struct err err;
    struct backfill_status status = round->status.backfill;
    if (!round_is_working(round))
        return false;
    if (begin(round, &err) != 0 || book_backfill(round->book, rows, &status, &err) != 0 ||
        commit(round, &err) != 0) {
        fail(round, &err);
        return true; // the gap is still there: it is asked for again
    }
    round->status.backfill = status;
    return true;
}

// --- requests ---

int round_run(struct round *round, recorder_task *task, void *argument, struct err *err)
{
    if (round->store == NULL)
        return err_set(err, "the store cannot be opened now: %s", round->status.error);
    // A round that is still open failed to end, or the step left it open: it ends first.
    if (round->begun && commit(round, err) != 0)
        fail(round, err);
    if (store_round_begin(round->store, err) != 0)
        return -1;
    if (task(round->store, argument, err) != 0) {
        store_round_cancel(round->store);
        return -1;
    }
    if (store_round_commit(round->store, err) != 0)
        return -1;
    notify(round);
    return 0;
}

int round_run_between(struct round *round, recorder_task *task, void *argument, struct err *err)
{
    if (round->store == NULL)
        return err_set(err, "the store cannot be opened now: %s", round->status.error);
    if (round->begun && commit(round, err) != 0)
        fail(round, err);
    return task(round->store, argument, err);
}

int round_apply(struct round *round, struct config *config, struct err *err)
{
    if (round->failed) {
        return err_set(err, "the store takes nothing now, so the configuration stays: %s",
                       round->status.error);
    }
    if (round->begun && commit(round, err) != 0) {
        fail(round, err);
        return -1;
    }
    struct config *before = round->config;
    round->config = config_ref(config);
    if (round->status.clock_known && make_book(round, wall_now(round), err) != 0) {
        config_unref(round->config);
        round->config = before;
        return -1; // the old book is still there
    }
    config_unref(before);
    return 0;
}

// --- life ---

struct round *round_open(const struct recorder_settings *settings, struct err *err)
{
    struct round *round = calloc(1, sizeof *round);
    if (round == NULL) {
        (void)err_set(err, "out of memory for the recorder");
        return NULL;
    }
    round->settings = *settings;
    round->config = config_ref(settings->config);
    round->started_boot_ms = boot_now(round);
    upkeep_init(&round->upkeep, settings->directory, round->started_boot_ms);
    int opened = try_store(round, err);
    if (opened == 1) {
        const struct upkeep_now now = upkeep_moment(round);
        fail(round, err);
        upkeep_unwritable(&round->upkeep, &now);
        round->status.clock_known = clock_is_known(settings->clock, clock_floor_ms());
        return round;
    }
    if (opened < 0 || take_store(round, err) != 0 ||
        (round->status.clock_known && make_book(round, configured_ms(round), err) != 0)) {
        round_close(round);
        return NULL;
    }
    return round;
}

void round_finish(struct round *round)
{
    struct err err = {.text = ""};
    if (round->count > 0) {
        log_error("recorder", "%d readings could not be kept: %s", round->count,
                  round->status.error);
    }
    if (round->store == NULL)
        return;
    if (store_round_begin(round->store, &err) != 0 || keep_settings(round, "yes", &err) != 0 ||
        watch_stop(&round->watch, round->store, &err) != 0 ||
        (round->status.clock_known && downtime_stop(round->store, wall_now(round), &err) != 0) ||
        store_round_commit(round->store, &err) != 0) {
        store_round_cancel(round->store);
        log_error("recorder", "cannot mark a clean stop: %s", err.text);
    }
}

void round_close(struct round *round)
{
    if (round == NULL)
        return;
    for (int i = 0; i < round->count; i++)
        reading_free(round->held[i]);
    book_free(round->book);
    store_close(round->store);
    config_unref(round->config);
    free(round);
}
