#include "record/round_inside.h"

#include "base/log.h"

// --- the meters' own logs ---

int round_asks(struct round *round, struct archive_ask *asks, int max)
{
    struct err err;
    if (!round_is_working(round))
        return 0;
    int count = book_asks(round->book, round_wall_ms(round), asks, max, &err);
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
    if (round_begin(round, &err) != 0 || book_backfill(round->book, rows, &status, &err) != 0 ||
        round_commit(round, &err) != 0) {
        round_fail(round, &err);
        return true; // the gap is still there: it is asked for again
    }
    round->status.backfill = status;
    return true;
}

// --- tasks on the store, another configuration ---

// A transaction that is still open failed to end, or the step left it open: it ends first.
static int end_open(struct round *round, struct err *err)
{
    if (round->store == NULL)
        return err_set(err, "the store cannot be opened now: %s", round->status.error);
    if (round_commit(round, err) != 0)
        round_fail(round, err);
    return 0;
}

int round_run(struct round *round, recorder_task *task, void *argument, struct err *err)
{
    if (end_open(round, err) != 0 || store_round_begin(round->store, err) != 0)
        return -1;
    if (task(round->store, argument, err) != 0) {
        store_round_cancel(round->store);
        return -1;
    }
    if (store_round_commit(round->store, err) != 0)
        return -1;
    round_notify(round);
    return 0;
}

int round_run_between(struct round *round, recorder_task *task, void *argument, struct err *err)
{
    return end_open(round, err) != 0 ? -1 : task(round->store, argument, err);
}

int round_apply(struct round *round, struct config *config, struct err *err)
{
    if (round->trouble.now) {
        return err_set(err, "the store takes nothing now, so the configuration stays: %s",
                       round->status.error);
    }
    if (round_commit(round, err) != 0) {
        round_fail(round, err);
        return -1;
    }
    struct config *before = round->config;
    round->config = config_ref(config);
    if (round->status.clock_known && round_book_make(round, round_wall_ms(round), err) != 0) {
        config_unref(round->config);
        round->config = before;
        return -1; // the old book is still there
    }
    config_unref(before);
    return 0;
}
