#include "record/round_inside.h"

#include "base/log.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#define BACK_OFF_MIN_MS 1000
#define BACK_OFF_MAX_MS 30000
#define ALONE_AFTER 3 // attempts with a whole round, then each reading alone
#define DROP_AFTER 10 // attempts with one reading alone, though the store takes other rows

static void give_up_transaction(struct round *round)
{
    if (round->store != NULL)
        store_round_cancel(round->store);
    round->transaction.open = false;
    round->held.added = 0;
    book_free(round->book);
    round->book = NULL;
}

static void back_off(struct trouble *trouble, int64_t now_ms)
{
    int64_t wait_ms = trouble->now ? 2 * trouble->back_off_ms : BACK_OFF_MIN_MS;
    trouble->back_off_ms = wait_ms < BACK_OFF_MAX_MS ? wait_ms : BACK_OFF_MAX_MS;
    trouble->retry_boot_ms = now_ms + trouble->back_off_ms;
    trouble->now = true;
}

void round_fail(struct round *round, const struct err *err)
{
    give_up_transaction(round);
    if (!round->trouble.now)
        log_error("recorder", "the store takes nothing, readings wait in memory: %s", err->text);
    back_off(&round->trouble, round_boot_ms(round));
    const struct upkeep_now now = round_upkeep_now(round);
    if (round->store != NULL && store_is_full(round->store) &&
        upkeep_full(&round->upkeep, round->store, &now))
        round->trouble.retry_boot_ms = now.boot_ms; // there is room again, what was kept for this
    round->status.upkeep = round->upkeep.status;
    (void)snprintf(round->status.error, sizeof round->status.error, "%.*s",
                   (int)sizeof round->status.error - 1, err->text);
}

void round_recovered(struct round *round)
{
    log_info("recorder", "the store takes readings again");
    round->trouble.now = false;
    round->trouble.attempts = 0;
    memset(round->status.error, 0, sizeof round->status.error);
}

// Whether the store takes a row at all: before the book is made again, which reads a lot. A row
// that says what it said already would not be written.
static int probe(struct round *round, struct err *err)
{
    char text[24];
    (void)snprintf(text, sizeof text, "%" PRId64, round_boot_ms(round));
    if (store_round_begin(round->store, err) != 0)
        return -1;
    if (store_setting_put(round->store, "tried", text, err) != 0 ||
        round_store_mark(round, "no", err) != 0 || store_round_commit(round->store, err) != 0) {
        store_round_cancel(round->store);
        return -1;
    }
    return 0;
}

// One more attempt failed. A reading that the store refuses alone, again and again, while it takes
// other rows must not stop all that wait behind it: it is dropped. For lack of room nothing is.
static void count_attempt(struct round *round, const struct err *err)
{
    struct trouble *trouble = &round->trouble;
    trouble->attempts += !store_is_full(round->store);
    if (trouble->attempts < DROP_AFTER)
        return;
    trouble->attempts = ALONE_AFTER;
    log_error("recorder", "a reading of %s cannot be kept and is dropped: %s",
              round->held.reading[0]->meter->id, err->text);
    round->held.added = 0;
    held_drop(&round->held, 1);
    round->status.dropped++;
}

int round_recover(struct round *round, struct err *err)
{
    const struct upkeep_now now = round_upkeep_now(round);
    if (upkeep_recover(&round->upkeep, round->store, &now, err) != 0 || probe(round, err) != 0 ||
        round_book_make(round, now.wall_ms, err) != 0)
        return -1;
    while (round->held.count > 0) {
        int limit = round->trouble.attempts < ALONE_AFTER ? round->held.count : 1;
        if (round_add(round, limit, err) != 0 || round_commit(round, err) != 0) {
            count_attempt(round, err);
            return -1;
        }
    }
    return 0;
}
