// One transaction, and the checkpoints between them.
#include "store/chain.h"
#include "store/reading_chain.h"
#include "store/reading_find.h"
#include "store/tail.h"

#include "base/log.h"

#include <assert.h>
#include <string.h>

#define CHECKPOINT_PAGES 1000 // 4 MiB of log: then it is brought home into the file
#define WAL_ALARM_PAGES 8192  // 32 MiB: somebody reads in one long transaction

int store_round_begin(struct store *store, struct err *err)
{
    assert(!store->in_round && !store->reader);
    if (store_execute(store, "BEGIN IMMEDIATE", err) != 0)
        return -1;
    store->in_round = true;
    store->round_broken = false;
    store->chain_left = 0;
    store->register_changed = false;
    memset(store->given, 0, sizeof store->given);
    return 0;
}

// What is committed is durable in the log already: a checkpoint that cannot be done now is done
// after a later round.
static void checkpoint(struct store *store)
{
    if (store->wal_pages < CHECKPOINT_PAGES)
        return;
    int code = sqlite3_wal_checkpoint_v2(store->db, NULL, SQLITE_CHECKPOINT_PASSIVE, NULL, NULL);
    bool failed = code != SQLITE_OK && (code & 0xFF) != SQLITE_BUSY;
    struct err err = {.text = ""};
    if (failed) {
        (void)store_failed(store, &err);
    } else if (store->wal_pages >= WAL_ALARM_PAGES) {
        (void)err_set(&err, "the log of %s has %d MiB: a reader holds it", store->path,
                      store->wal_pages / 256);
        failed = true;
    }
    if (failed && !store->wal_complained)
        log_warn("store", "%s", err.text);
    store->wal_complained = failed;
}

int store_round_commit(struct store *store, struct err *err)
{
    assert(store->in_round);
    if (store->round_broken || sqlite3_get_autocommit(store->db) != 0) {
        store_round_cancel(store);
        return err_set(err, "%s: a write of this round failed, so nothing of it was kept",
                       store->path);
    }
    if (tail_flush(store, err) != 0 || outbox_flush(store, err) != 0 ||
        register_commit(store, err) != 0 || store_execute(store, "COMMIT", err) != 0) {
        store_round_cancel(store);
        return -1;
    }
    store->in_round = false;
    tail_committed(store);
    checkpoint(store);
    return 0;
}

void store_round_cancel(struct store *store)
{
    if (!store->in_round)
        return;
    if (sqlite3_get_autocommit(store->db) == 0) {
        struct err err;
        if (store_execute(store, "ROLLBACK", &err) != 0)
            log_error("store", "%s", err.text);
    }
    store->in_round = false;
    store->round_broken = false;
    store->decoder_known = 0;
    memset(store->given, 0, sizeof store->given);
    tail_forget(store);
    reading_chain_forget(store);
    readings_forget(store);
    store_meters_forget(store);
}
