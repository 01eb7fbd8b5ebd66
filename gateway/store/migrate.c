// The schema, as numbered steps. A step that has landed is never changed: a new one is added.
#include "base/clock.h"
#include "store/reading_chain.h"

#include <inttypes.h>
#include <stdio.h>

#define APPLICATION_ID 1298616691 // "Mgas": tells a store from any other SQLite file

static int make_stream(struct store *store, struct err *err)
{
    char stream[UUID_SIZE];
    uuid_make(stream);
    return store_setting_put(store, "stream", stream, err);
}

static int begin_commands(struct store *store, struct err *err)
{
    return store_command_forget_before(store, clock_wall_ms(&clock_system), err);
}

// reading: id = at_ms << 16 | meter; due = at - due time, NULL without; words and marks as in
// pack.h. lane and seq stand in the rows that were put into the outbox, and nowhere else: a row and
// its pointer name each other, so that verify finds either one missing.
// period: alert_mark is the newest alert when the period closed, so that its message reads the same
// for ever. One index since version 14, along time (period_find.h); period_newest: where the newest
// period of each span and meter begins.
// lacks: an hour or gas day whose end index is not measured, so that gaps are found without a look
// at every period.
// tail, segment, pack, segment_lane (tail.h, segment.h): readings since version 10, and where their
// messages are: table reading and its pointers in the outbox are gone.
// ledger: last_…: newest seq of each lane before it, so that head office can tell whether it has
// all. outage: meter NULL: of all; to_ms is INT64_MAX while it goes on. lane: retained_high,
// retained_count: seqs that retention took away, so that a hole is either one of those, named by a
// gap, or a fault. confirmed: what head office says that its own database has.
// link, hash, chain, chain_hole: chain.h. reading_chain: reading_chain.h. begun: the newest row
// that is older than the chains.
static const struct step {
    const char *sql;
    int (*run)(struct store *store, struct err *err);
} steps[] = {
    {"CREATE TABLE setting(key TEXT PRIMARY KEY, value TEXT NOT NULL) STRICT, WITHOUT ROWID;"
     "CREATE TABLE meter(number INTEGER PRIMARY KEY CHECK(number BETWEEN 1 AND 65535),"
     " id TEXT NOT NULL UNIQUE, configured_ms INTEGER NOT NULL) STRICT;"
     "CREATE TABLE decoder(revision INTEGER PRIMARY KEY, hash BLOB NOT NULL UNIQUE,"
     " name TEXT NOT NULL, profile TEXT NOT NULL, units TEXT NOT NULL) STRICT;"
     "CREATE TABLE reading(id INTEGER PRIMARY KEY, due INTEGER,"
     " decoder INTEGER NOT NULL REFERENCES decoder, flags INTEGER NOT NULL, words BLOB NOT NULL,"
     " marks BLOB, lane INTEGER, seq INTEGER) STRICT;"
     "CREATE TABLE period(id INTEGER PRIMARY KEY, meter INTEGER NOT NULL REFERENCES meter,"
     " span INTEGER NOT NULL, from_ms INTEGER NOT NULL, version INTEGER NOT NULL,"
     " to_ms INTEGER NOT NULL, at_ms INTEGER NOT NULL, lane INTEGER, seq INTEGER,"
     " replaces_lane INTEGER, replaces_seq INTEGER, alert_mark INTEGER NOT NULL,"
     " body BLOB NOT NULL) STRICT;"
     "CREATE UNIQUE INDEX period_of_meter ON period(meter, span, from_ms, version);"
     "CREATE INDEX period_of_time ON period(from_ms, meter, span);"
     "CREATE TABLE alert(number INTEGER PRIMARY KEY, id TEXT NOT NULL UNIQUE,"
     " of_link INTEGER NOT NULL, subject TEXT NOT NULL, kind INTEGER NOT NULL,"
     " since_ms INTEGER NOT NULL, closed_ms INTEGER, last_change INTEGER NOT NULL) STRICT;"
     "CREATE UNIQUE INDEX alert_open ON alert(of_link, subject, kind) WHERE closed_ms IS NULL;"
     "CREATE INDEX alert_of_subject ON alert(of_link, subject, since_ms);"
     "CREATE TABLE alert_change(id INTEGER PRIMARY KEY, alert INTEGER NOT NULL REFERENCES alert,"
     " severity INTEGER NOT NULL, state INTEGER NOT NULL, at_ms INTEGER NOT NULL,"
     " reason TEXT NOT NULL, observed REAL, expected_low REAL, expected_high REAL,"
     " unit TEXT NOT NULL, rule TEXT NOT NULL, from_ms INTEGER NOT NULL, to_ms INTEGER NOT NULL,"
     " why INTEGER NOT NULL, lane INTEGER, seq INTEGER) STRICT;"
     "CREATE INDEX alert_change_at ON alert_change(at_ms);"
     "CREATE TABLE lane(lane INTEGER PRIMARY KEY, last INTEGER NOT NULL,"
     " acknowledged INTEGER NOT NULL, retained_high INTEGER NOT NULL,"
     " retained_count INTEGER NOT NULL) STRICT;"
     "INSERT INTO lane VALUES (1, 0, 0, 0, 0), (2, 0, 0, 0, 0), (3, 0, 0, 0, 0);"
     "CREATE TABLE outbox(lane INTEGER NOT NULL REFERENCES lane, seq INTEGER NOT NULL,"
     " kind INTEGER NOT NULL, row INTEGER NOT NULL, at_ms INTEGER NOT NULL,"
     " PRIMARY KEY(lane, seq)) STRICT, WITHOUT ROWID;"
     "CREATE TABLE gap(id INTEGER PRIMARY KEY, of_lane INTEGER NOT NULL REFERENCES lane,"
     " first INTEGER NOT NULL, last INTEGER NOT NULL, reason TEXT NOT NULL,"
     " from_ms INTEGER NOT NULL, to_ms INTEGER NOT NULL, at_ms INTEGER NOT NULL,"
     " lane INTEGER NOT NULL, seq INTEGER NOT NULL) STRICT;"
     "CREATE TABLE revision(number INTEGER PRIMARY KEY, revision TEXT NOT NULL, text TEXT NOT NULL,"
     " who TEXT NOT NULL, at_ms INTEGER NOT NULL) STRICT;"
     "CREATE TABLE account(name TEXT PRIMARY KEY, role INTEGER NOT NULL, hash TEXT NOT NULL)"
     " STRICT, WITHOUT ROWID;"
     "CREATE TABLE audit(number INTEGER PRIMARY KEY, at_ms INTEGER NOT NULL, who TEXT NOT NULL,"
     " action TEXT NOT NULL, subject TEXT NOT NULL, result TEXT NOT NULL, detail TEXT NOT NULL,"
     " hash BLOB NOT NULL) STRICT;"
     "CREATE TABLE audit_head(one INTEGER PRIMARY KEY CHECK(one = 1), number INTEGER NOT NULL,"
     " hash BLOB NOT NULL) STRICT;",
     make_stream},
    {"CREATE TABLE series(meter INTEGER NOT NULL REFERENCES meter, from_ms INTEGER NOT NULL,"
     " serial TEXT NOT NULL, PRIMARY KEY(meter, from_ms)) STRICT, WITHOUT ROWID;",
     NULL},
    {"ALTER TABLE period ADD COLUMN lacks INTEGER NOT NULL DEFAULT 0;"
     "CREATE INDEX period_lacking ON period(meter, span, from_ms) WHERE lacks = 1;",
     NULL},
    {"ALTER TABLE lane ADD COLUMN confirmed INTEGER NOT NULL DEFAULT 0;", NULL},
    {"CREATE INDEX alert_change_of_alert ON alert_change(alert);"
     "CREATE INDEX gap_of_lane ON gap(of_lane, first);",
     NULL},
    {"CREATE TABLE command(id INTEGER PRIMARY KEY, key TEXT NOT NULL, counter INTEGER NOT NULL,"
     " digest BLOB NOT NULL, at_ms INTEGER NOT NULL, name TEXT NOT NULL, response TEXT NOT NULL,"
     " correlation BLOB NOT NULL, answer TEXT NOT NULL, told INTEGER NOT NULL) STRICT;"
     "CREATE UNIQUE INDEX command_of_key ON command(key, counter);"
     "CREATE UNIQUE INDEX command_of_body ON command(key, digest);"
     "CREATE INDEX command_untold ON command(id) WHERE told = 0;",
     NULL},
    {"CREATE TABLE ledger(id INTEGER PRIMARY KEY, meter INTEGER NOT NULL REFERENCES meter,"
     " from_ms INTEGER NOT NULL, version INTEGER NOT NULL, to_ms INTEGER NOT NULL,"
     " at_ms INTEGER NOT NULL, lane INTEGER, seq INTEGER, replaces_lane INTEGER,"
     " replaces_seq INTEGER, last_alert INTEGER NOT NULL, last_live INTEGER NOT NULL,"
     " last_backfill INTEGER NOT NULL, body BLOB NOT NULL) STRICT;"
     "CREATE UNIQUE INDEX ledger_of_meter ON ledger(meter, from_ms, version);"
     "CREATE INDEX ledger_of_time ON ledger(from_ms, meter);"
     "CREATE TABLE outage(id INTEGER PRIMARY KEY, meter INTEGER REFERENCES meter,"
     " from_ms INTEGER NOT NULL, to_ms INTEGER NOT NULL, why INTEGER NOT NULL) STRICT;"
     "CREATE INDEX outage_of_time ON outage(from_ms);"
     "CREATE INDEX outage_of_meter ON outage(meter, to_ms);",
     NULL},
    {"ALTER TABLE period ADD COLUMN link INTEGER; ALTER TABLE period ADD COLUMN hash BLOB;"
     "ALTER TABLE alert_change ADD COLUMN link INTEGER;"
     "ALTER TABLE alert_change ADD COLUMN hash BLOB;"
     "ALTER TABLE gap ADD COLUMN link INTEGER; ALTER TABLE gap ADD COLUMN hash BLOB;"
     "CREATE TABLE chain(chain INTEGER PRIMARY KEY, number INTEGER NOT NULL,"
     " begun INTEGER NOT NULL, hash BLOB NOT NULL) STRICT;"
     "CREATE TABLE chain_hole(chain INTEGER NOT NULL, first INTEGER NOT NULL,"
     " last INTEGER NOT NULL, hash BLOB NOT NULL, PRIMARY KEY(chain, first)) STRICT,"
     " WITHOUT ROWID;",
     chain_begin_all},
    {"CREATE TABLE resend(id INTEGER PRIMARY KEY AUTOINCREMENT, lane INTEGER NOT NULL REFERENCES"
     " lane, first INTEGER NOT NULL, last INTEGER NOT NULL, from_ms INTEGER NOT NULL,"
     " to_ms INTEGER NOT NULL, next INTEGER NOT NULL, sent INTEGER NOT NULL,"
     " expired INTEGER NOT NULL, state INTEGER NOT NULL, who TEXT NOT NULL,"
     " at_ms INTEGER NOT NULL) STRICT;",
     NULL},
    {"CREATE TABLE tail(slot INTEGER PRIMARY KEY, body BLOB NOT NULL) STRICT;"
     "CREATE TABLE segment(first INTEGER PRIMARY KEY, count INTEGER NOT NULL,"
     " from_ms INTEGER NOT NULL, to_ms INTEGER NOT NULL, kept INTEGER NOT NULL) STRICT;"
     "CREATE INDEX segment_of_time ON segment(to_ms) WHERE kept = 1;"
     "CREATE TABLE pack(id INTEGER PRIMARY KEY, body BLOB NOT NULL) STRICT;"
     "CREATE TABLE segment_lane(lane INTEGER NOT NULL, last INTEGER NOT NULL,"
     " first INTEGER NOT NULL, count INTEGER NOT NULL, segment INTEGER NOT NULL,"
     " PRIMARY KEY(lane, last)) STRICT, WITHOUT ROWID;"
     "CREATE INDEX segment_lane_of ON segment_lane(segment);",
     migrate_readings},
    {"", begin_commands},
    {"CREATE TABLE reading_chain(segment INTEGER PRIMARY KEY, hash BLOB NOT NULL) STRICT;",
     reading_chain_begin},
    {"CREATE TABLE undated(id INTEGER PRIMARY KEY, boot TEXT NOT NULL, meter TEXT NOT NULL,"
     " boot_ms INTEGER NOT NULL, late_ms INTEGER NOT NULL,"
     " decoder INTEGER NOT NULL REFERENCES decoder, answered INTEGER NOT NULL, words BLOB NOT NULL,"
     " marks BLOB) STRICT;",
     NULL},
    {"DROP INDEX period_of_meter; DROP INDEX period_of_time;"
     "CREATE UNIQUE INDEX period_of_span ON period(span, from_ms, meter, version);"
     "CREATE TABLE period_newest(span INTEGER NOT NULL, meter INTEGER NOT NULL REFERENCES meter,"
     " from_ms INTEGER NOT NULL, PRIMARY KEY(span, meter)) STRICT, WITHOUT ROWID;"
     "INSERT INTO period_newest SELECT span, meter, max(from_ms) FROM period GROUP BY span, meter;",
     NULL},
    {"ALTER TABLE ledger ADD COLUMN link INTEGER; ALTER TABLE ledger ADD COLUMN hash BLOB;"
     "ALTER TABLE revision ADD COLUMN link INTEGER; ALTER TABLE revision ADD COLUMN hash BLOB;",
     chain_begin_ledgers},
    {"CREATE TABLE outlook(id INTEGER PRIMARY KEY, meter INTEGER NOT NULL REFERENCES meter,"
     " from_ms INTEGER NOT NULL, at_ms INTEGER NOT NULL, lane INTEGER NOT NULL,"
     " seq INTEGER NOT NULL, body BLOB NOT NULL) STRICT;"
     "CREATE UNIQUE INDEX outlook_of_meter ON outlook(meter, from_ms);"
     "CREATE INDEX outlook_of_time ON outlook(from_ms, meter);",
     NULL},
};
#define VERSION_KNOWN ((int64_t)(sizeof steps / sizeof steps[0]))

static int version_find(struct store *store, int64_t *version, struct err *err)
{
    int64_t application;
    int64_t tables;
    if (store_ask(store, "PRAGMA user_version", version, err) != 0 ||
        store_ask(store, "PRAGMA application_id", &application, err) != 0 ||
        store_ask(store, "SELECT count(*) FROM sqlite_schema", &tables, err) != 0)
        return -1;
    bool empty = *version == 0 && application == 0 && tables == 0;
    if (!empty && (application != APPLICATION_ID || *version < 1)) {
        return err_set(err, "%s is a database, but not a metergate store: name another folder",
                       store->path);
    }
    if (*version > VERSION_KNOWN) {
        return err_set(err,
                       "%s has version %" PRId64 ", this program knows versions up to %" PRId64
                       ": use the newer program; nothing was changed",
                       store->path, *version, VERSION_KNOWN);
    }
    return 0;
}

static int step_run(struct store *store, int64_t index, struct err *err)
{
    char version[96];
    (void)snprintf(version, sizeof version,
                   "PRAGMA user_version = %" PRId64 "; PRAGMA application_id = %d", index + 1,
                   APPLICATION_ID);
    if (store_round_begin(store, err) != 0)
        return -1;
    if (store_execute(store, steps[index].sql, err) != 0 ||
        (steps[index].run != NULL && steps[index].run(store, err) != 0) ||
        store_execute(store, version, err) != 0) {
        store_round_cancel(store);
        return -1;
    }
    return store_round_commit(store, err);
}

int store_migrate(struct store *store, struct err *err)
{
    int64_t version;
    if (version_find(store, &version, err) != 0)
        return -1;
    for (; version < VERSION_KNOWN; version++)
        if (step_run(store, version, err) != 0)
            return err_add(err, "bringing the store to version %" PRId64, version + 1);
    store->has_register = true;
    return 0;
}

int store_check_version(struct store *store, struct err *err)
{
    int64_t version;
    if (version_find(store, &version, err) != 0)
        return -1;
    if (version < VERSION_KNOWN) {
        return err_set(err,
                       "%s has version %" PRId64 ", this program reads version %" PRId64
                       ": start the gateway once, it brings the store up to date",
                       store->path, version, VERSION_KNOWN);
    }
    return 0;
}
