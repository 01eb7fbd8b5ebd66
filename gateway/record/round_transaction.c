#include "record/round_inside.h"

#include "base/log.h"

#include <string.h>

#define WITNESS_EVERY_MS 60000

int round_begin(struct round *round, struct err *err)
{
    struct transaction *transaction = &round->transaction;
    if (transaction->open)
        return 0;
    if (store_round_begin(round->store, err) != 0)
        return -1;
    transaction->open = true;
    transaction->begun_boot_ms =
        transaction->first_boot_ms != 0 ? transaction->first_boot_ms : round_boot_ms(round);
    transaction->first_boot_ms = 0;
    book_round(round->book, transaction->live, round_wall_ms(round));
    return 0;
}

static void write_acknowledged(struct round *round)
{
    const int64_t *acked = round->transaction.acked;
    for (int lane = 0; lane < LANES_END; lane++) {
        struct err err;
        if (acked[lane] != 0 &&
            store_outbox_acknowledge(round->store, (enum lane)lane, acked[lane], &err) != 0) {
            // Where the database failed the commit says so; else the office claims too much.
            log_warn("recorder", "%s", err.text);
        }
    }
}

// What waited undated in the store is a reading now.
static int remove_undated(struct round *round, struct err *err)
{
    for (int i = 0; i < round->held.added; i++) {
        int64_t row = round->held.reading[i]->undated;
        if (row != 0 && store_undated_remove(round->store, row, err) != 0)
            return -1;
    }
    return 0;
}

static void committed(struct round *round)
{
    struct transaction *transaction = &round->transaction;
    transaction->open = false;
    memset(transaction->acked, 0, sizeof transaction->acked);
    transaction->acked_boot_ms = 0;
    round->status.readings += (uint64_t)round->held.added;
    held_drop(&round->held, round->held.added);
    round->status.rounds++;
    round->status.last_commit_ms = round_wall_ms(round);
    if (book_sent(round->book) > 0)
        round_notify(round);
}

int round_commit(struct round *round, struct err *err)
{
    int64_t now = round_boot_ms(round);
    bool witness = now >= round->transaction.witness_due_boot_ms;
    if (!round->transaction.open)
        return 0;
    write_acknowledged(round);
    if ((witness && store_reading_witness(round->store, err) != 0) ||
        remove_undated(round, err) != 0 || store_round_commit(round->store, err) != 0)
        return -1;
    if (witness)
        round->transaction.witness_due_boot_ms = now + WITNESS_EVERY_MS;
    committed(round);
    return 0;
}

int round_expire(struct round *round, const struct reading *next, int64_t until_ms, struct err *err)
{
    int more;
    do {
        if (round_begin(round, err) != 0)
            return -1;
        more = book_expire(round->book, next, until_ms, err);
        if (more < 0 || (more == 1 && round_commit(round, err) != 0))
            return -1;
    } while (more == 1);
    return 0;
}

int round_add(struct round *round, int limit, struct err *err)
{
    struct held *held = &round->held;
    while (held->added < limit && held->added < held->count) {
        // by index: what expire commits moves on
        const struct reading *next = held->reading[held->added];
        int before = held->count;
        if (round_expire(round, next, next->at_ms, err) != 0)
            return -1;
        limit -= before - held->count;
        if (round_begin(round, err) != 0 ||
            book_add(round->book, held->reading[held->added], err) != 0)
            return -1;
        held->added++;
    }
    return 0;
}

bool round_is_over(const struct round *round, bool hurry)
{
    const struct transaction *transaction = &round->transaction;
    int64_t now = round_boot_ms(round);
    int64_t commit_ms = round->config->store_commit_ms;
    bool acked = transaction->acked_boot_ms != 0 && now - transaction->acked_boot_ms >= commit_ms;
    if (!transaction->open)
        return acked || (hurry && transaction->acked_boot_ms != 0);
    return hurry || acked || book_urgent(round->book) > 0 ||
           round->held.count >= RECORDER_ROUND_MAX || now - transaction->begun_boot_ms >= commit_ms;
}
