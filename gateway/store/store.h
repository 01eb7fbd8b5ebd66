// The store: one SQLite file, WAL, synchronous=FULL. One writing connection, owned by one thread
// (the recorder's while the gateway runs); readers open their own read-only connection.
//
// An error of the disk (SQLITE_IOERR, CORRUPT, NOTADB) ends the process: after it nothing that
// SQLite says of durability holds. Every other failure is returned; the open round is rolled back
// by the caller with store_round_cancel.
#ifndef METERGATE_STORE_STORE_H
#define METERGATE_STORE_STORE_H

#include "base/buf.h"
#include "base/err.h"
#include "base/id.h"
#include "detect/detect.h"
#include "poll/reading.h"
#include "record/ledger.h"
#include "record/outlook.h"
#include "record/period.h"

struct store;

#define STORE_FILE "metergate.db" // in the state directory

enum lane { LANE_ALERT = 1, LANE_LIVE = 2, LANE_BACKFILL = 3 };
#define LANES_END 4
const char *lane_text(enum lane lane); // "alert" …

// What an outbox pointer points at. The numbers are stored: never change one.
enum message_kind {
    MESSAGE_READING = 1,
    MESSAGE_SUMMARY = 2,
    MESSAGE_DAY = 3,
    MESSAGE_MONTH = 4,
    MESSAGE_ALERT = 5,
    MESSAGE_GAP = 6,
    MESSAGE_EVENT = 7,
    MESSAGE_COMPLETENESS = 8,
    MESSAGE_AUDIT = 9,
    MESSAGE_FORECAST = 10
};

// Opens for writing: makes folder (0700) and file (0600) where they are missing, checks the file
// (quick_check, at most 10 s), migrates it step by step. Fails for a damaged file, one of a newer
// version, and one that is not a store, and leaves it as it was. One thread at a time uses a store.
int store_open(const char *directory, struct store **out, struct err *err);
// The same; a file that is damaged is put aside ("metergate.db.bad-SECONDS", with its log; never
// deleted), and a new one with a new stream begins, with what could be read of the old one's
// accounts and settings. `replaced->aside` is "" when nothing of that was needed. A failing disk is
// not damage: then it fails like store_open.
struct store_replaced {
    char aside[4300];       // path of the old file (of store_replaced_get: its name)
    char stream[UUID_SIZE]; // the old one, "" when it could not be read
    int64_t last_ms, at_ms; // last change of the old file; when the new one began
    int accounts;           // taken over
    bool disk_failed;       // it could not be opened: an I/O error
    char why[ERR_TEXT_MAX];
};
int store_open_or_replace(const char *directory, int64_t now_ms, struct store **out,
                          struct store_replaced *replaced, struct err *err);
// Whether this store took the place of another one, and what is known of that; 1, 0, -1.
#define STORE_REPLACED_SETTING "replaced"
int store_replaced_get(struct store *store, struct store_replaced *out, struct err *err);

// How many runs in a row ended because the disk or the file failed them, and whether the newest one
// met damage of the file. 0 when all was well; store_trust says that it is again.
struct store_doubt {
    int runs;
    bool damage;
};
void store_doubt(const char *directory, struct store_doubt *out);
void store_trust(const struct store *store);
// Opens an existing store read-only. Every function that visits rows reads them in pages and holds
// no transaction while the visitor works, so the visitor may take its time and may call the store.
int store_open_reader(const char *directory, struct store **out, struct err *err);
void store_close(struct store *store); // NULL is fine

// One view of the store for several reads that follow at once, so that each of them need not take
// and give back the file's locks. What is committed meanwhile is seen after its end; the log is not
// brought home past it, so for a few milliseconds only. Readers only.
void store_view_begin(struct store *store);
void store_view_end(struct store *store);

// The folder that it was opened in.
const char *store_directory(const struct store *store);
// Identity of the stream: a UUID born with the store, or with its restore.
const char *store_stream(const struct store *store);
int64_t store_newest_ms(
    struct store *store); // of all stored rows, for the clock's floor; 0 when empty
// Rows that could not be read since the store was opened: each is named in the log and left out.
int64_t store_damaged(const struct store *store);

// --- rounds: everything between begin and commit is there after a crash, or nothing of it ---
// Every function that writes needs an open round. After one of them failed for a reason of the
// database (a full disk) the round can only be cancelled: commit refuses it. A commit that fails
// has cancelled the round.
int store_round_begin(struct store *store, struct err *err);
int store_round_commit(struct store *store, struct err *err); // durable when it returns 0
void store_round_cancel(struct store *store); // without an open round it does nothing

// --- meters and profile revisions ---
// Number of a meter in the store, made at first sight (1 to 65535), and the instant it was first
// configured.
int store_meter(struct store *store, const char *id, int64_t now_ms, int *number,
                int64_t *configured_ms, struct err *err);
int store_meter_find(struct store *store, const char *id, int *number, struct err *err); // 1, 0, -1
// Serial number of the meter that stands there since `from_ms`: one row for each meter that stood
// there.
int store_series_add(struct store *store, int meter_number, int64_t from_ms, const char *serial,
                     struct err *err);
// The newest; 1 found, 0 none, -1.
int store_series_last(struct store *store, int meter_number, char serial[static VALUE_TEXT_MAX],
                      struct err *err);
// That of the meter that stood there at an instant; 1 found, 0 none, -1.
int store_series_at(struct store *store, int meter_number, int64_t at_ms,
                    char serial[static VALUE_TEXT_MAX], struct err *err);
// Revision of what decodes a meter's words (profile text, and the meter entry's units and word
// order), made at first sight.
int store_decoder(struct store *store, const struct meter *meter, int *revision, struct err *err);

// --- readings: raw words, decoded when they are read back ---
// Keeps a reading under (meter, at). Where another one has that instant, `at_ms` moves on by 1 ms
// until it is free, and the reading's own at_ms with it. lane 0: nothing for the outbox.
int store_reading_add(struct store *store, int meter_number, int decoder, struct reading *reading,
                      enum lane lane, struct err *err);

// Keeps a record of the meter's own log under (meter, at), as a reading that answers no due time:
// its indices and gauges have quality `archive`. Where a reading has that instant it moves on.
struct archive_words {
    const struct meter *meter;
    int archive; // of its profile
    int64_t at_ms;
    const uint16_t *words; // record_registers of them
};
int store_archive_add(struct store *store, int meter_number, int decoder,
                      const struct archive_words *words, enum lane lane, struct err *err);

// --- readings of before the clock was known, by boot id and boot time, in the order of adding ---
struct undated {
    int64_t row;
    char meter[ID_SIZE];
    int64_t boot_ms, late_ms; // boot clock of its instant; how long after its due time that was
    int decoder;
    bool answered;
    bool damaged; // its words cannot be read: the rest is not set
    struct image image;
};
int store_undated_add(struct store *store, const char *boot, int decoder,
                      const struct reading *reading, struct err *err);
// The next row of a boot after `after`: 1 found, 0 none, -1.
int store_undated_next(struct store *store, const char *boot, int64_t after, struct undated *out,
                       struct err *err);
int store_undated_remove(struct store *store, int64_t row, struct err *err);
// How many there are of this boot, and of others.
int store_undated_count(struct store *store, const char *boot, int64_t *own, int64_t *others,
                        struct err *err);

struct stored_value {
    const struct profile_channel *channel;
    struct value value;
};
struct stored_reading {
    int64_t row; // number in the order of insertion << 16 | number of the meter
    char meter[ID_SIZE];
    int64_t at_ms, due_ms;
    bool answered;
    bool begins;    // a series: the first reading of another meter
    enum lane lane; // 0 without
    int64_t seq;
    const struct profile *profile; // valid until the store is closed; of a record of the meter's
                                   // log a profile of its own
    struct image image;
    int value_count;
    struct value values[PROFILE_CHANNELS_MAX];
};
// Called for each row in order; return false to stop.
typedef bool stored_reading_visit(void *context, const struct stored_reading *reading);
// Readings with at in [from, to), ordered by at, then meter; meter NULL: all.
int store_readings(struct store *store, const char *meter, int64_t from_ms, int64_t to_ms,
                   stored_reading_visit *visit, void *context, struct err *err);
int store_reading_get(struct store *store, int64_t row, struct stored_reading *out,
                      struct err *err); // 1 found, 0 not, -1
int store_reading_newest(struct store *store, int64_t *at_ms, struct err *err); // 0 without any

// --- periods ---
#define PERIOD_ALERTS_MAX 64 // a flapping meter has more in a month: the first ones are named
struct stored_period {
    int64_t row;
    char meter[ID_SIZE];
    int64_t at_ms; // closed
    enum lane lane;
    int64_t seq;
    enum lane replaces_lane; // of the version before, 0 without
    int64_t replaces_seq;
    struct period period;
    int alert_count; // ids of the meter's alerts open at any time in it, known when it closed
    char alerts[PERIOD_ALERTS_MAX][UUID_SIZE];
};
// `message` 0: kept, not sent. The version must be 1, or the next one of the same (meter, span,
// from).
int store_period_add(struct store *store, int meter_number, const struct period *period,
                     int64_t at_ms, enum lane lane, enum message_kind message, struct err *err);
typedef bool stored_period_visit(void *context, const struct stored_period *period);
// Newest versions with from_ms in [from, to), in order of from, then meter (by number), then span;
// span 0: all spans; meter NULL: all.
int store_periods(struct store *store, const char *meter, enum span span, int64_t from_ms,
                  int64_t to_ms, stored_period_visit *visit, void *context, struct err *err);
// Starts of hours or gas days (`span`) from `from_ms` on whose end index, of any counter, is not
// measured; in order, at most `max`. Returns how many, -1.
int store_periods_lacking(struct store *store, int meter_number, enum span span, int64_t from_ms,
                          int64_t *starts, int max, struct err *err);
int store_period_last(struct store *store, int meter_number, enum span span, struct period *out,
                      struct err *err); // 1 found, 0 none, -1
int store_period_get(struct store *store, int64_t row, struct stored_period *out, struct err *err);

// --- the completeness ledger (record/ledger.h) ---
struct stored_ledger {
    int64_t row;
    char meter[ID_SIZE];
    int version;
    int64_t at_ms; // made
    enum lane lane;
    int64_t seq;
    enum lane replaces_lane; // of the version before, 0 without
    int64_t replaces_seq;
    int64_t lane_last[LANES_END]; // newest seq of each lane that was given before this one
    struct ledger ledger;
};
// Keeps a ledger as the next version of its (meter, from), unless the newest one says the same.
// `send`: puts it into the outbox. 1 kept, 0 nothing new, -1.
int store_ledger_put(struct store *store, int meter_number, const struct ledger *ledger,
                     int64_t at_ms, enum lane lane, bool send, struct err *err);
int store_ledger_get(struct store *store, int64_t row, struct stored_ledger *out,
                     struct err *err); // 1, 0, -1
typedef bool stored_ledger_visit(void *context, const struct stored_ledger *ledger);
// Newest versions with from_ms in [from, to), in order of from, then meter (by number); meter NULL:
// all.
int store_ledgers(struct store *store, const char *meter, int64_t from_ms, int64_t to_ms,
                  stored_ledger_visit *visit, void *context, struct err *err);

// --- forecasts (record/outlook.h) ---
struct stored_outlook {
    int64_t row;
    char meter[ID_SIZE];
    int64_t at_ms; // made
    enum lane lane;
    int64_t seq;
    struct outlook outlook;
};
// Keeps the only forecast of its (meter, from), and puts it into the outbox.
int store_outlook_put(struct store *store, int meter_number, const struct outlook *outlook,
                      int64_t at_ms, enum lane lane, struct err *err);
int store_outlook_get(struct store *store, int64_t row, struct stored_outlook *out,
                      struct err *err); // 1, 0, -1
// Where the newest one of a meter begins; 1, 0 (there is none, *from_ms stays), -1.
int store_outlook_newest(struct store *store, int meter_number, int64_t *from_ms, struct err *err);

#define OUTAGE_GOES_ON INT64_MAX // to_ms of one that has not ended
// Keeps an outage of one meter (0: of all). One that begins in the newest of the same meter and why
// makes that one longer, so that a crash loop is one row.
int store_outage_add(struct store *store, int meter_number, const struct outage *outage,
                     struct err *err);
// Ends what goes on.
int store_outage_end(struct store *store, int meter_number, int64_t to_ms, struct err *err);
// End of the newest outage of all meters, 0 without any.
int store_outage_last(struct store *store, int64_t *to_ms, struct err *err);
// Those of a meter and of all meters that touch [from, to), in order of their beginnings. The
// visitor must not call the store.
typedef bool outage_visit(void *context, const struct outage *outage);
int store_outages(struct store *store, int meter_number, int64_t from_ms, int64_t to_ms,
                  outage_visit *visit, void *context, struct err *err);
// Since when there has been a meter; 0 without any.
int store_meters_since(struct store *store, int64_t *at_ms, struct err *err);
// Meters that the store knows, in order of their numbers, and whether an outage of each goes on.
// The visitor must not call the store.
typedef bool store_meter_visit(void *context, int number, const char *id, bool is_out);
int store_meters(struct store *store, store_meter_visit *visit, void *context, struct err *err);

// --- alerts ---
struct stored_alert {
    int64_t row; // of the change
    char id[UUID_SIZE];
    enum lane lane;
    int64_t seq;
    struct alert_change change;
};
// Adds a change: an opening makes a new id, later ones find the open alert of the same subject and
// kind. `id` receives it. -1 when an opening finds one open already, or a later change finds none.
int store_alert_add(struct store *store, const struct alert_change *change, bool send,
                    char id[static UUID_SIZE], struct err *err);
typedef bool stored_alert_visit(void *context, const struct stored_alert *alert);
// Newest change of every alert that is not closed, oldest alert first.
int store_alerts_open(struct store *store, stored_alert_visit *visit, void *context,
                      struct err *err);
// All changes with at in [from, to), in order; subject NULL: all.
int store_alerts(struct store *store, const char *subject, int64_t from_ms, int64_t to_ms,
                 stored_alert_visit *visit, void *context, struct err *err);
int store_alert_get(struct store *store, int64_t row, struct stored_alert *out, struct err *err);

// --- outbox: (lane, seq) -> row; what is acknowledged is a cursor per lane ---
// Readings have no pointer of their own: their (lane, seq) stands with them, in the order of
// insertion, and is found there.
struct outbox_entry {
    enum lane lane;
    int64_t seq;
    enum message_kind kind;
    int64_t row;
};
// The next entries of a lane with seq above `after`, in order; returns how many, -1 on failure.
int store_outbox_next(struct store *store, enum lane lane, int64_t after,
                      struct outbox_entry *entries, int max, struct err *err);
// Acknowledged up to and with seq.
int store_outbox_acknowledge(struct store *store, enum lane lane, int64_t seq, struct err *err);
struct outbox_state {
    int64_t last, acknowledged; // seq; acknowledged by the broker
    int64_t confirmed;          // seq: head office's own database has everything up to it
    int64_t oldest_at_ms;       // of the first unacknowledged message, 0 when none waits
};
int store_outbox_state(struct store *store, enum lane lane, struct outbox_state *out,
                       struct err *err);

// Entries of a lane with seq in [first, last] that are still stored, in order, whatever was
// acknowledged; returns how many, at most `max`, -1 on failure.
int store_outbox_range(struct store *store, enum lane lane, int64_t first, int64_t last,
                       struct outbox_entry *entries, int max, struct err *err);
// Head office says that its own database has everything of the lane up to and with seq. Never goes
// back; -1 for a seq that was never given.
int store_outbox_confirm(struct store *store, enum lane lane, int64_t seq, struct err *err);
// Whether rows stay until head office has confirmed them (`office.acknowledge: office`), or until
// the broker has acknowledged them. Kept in the store, so that whoever opens it does the same.
int store_keep_unconfirmed(struct store *store, bool keep, struct err *err);
// Up to and with which seq the rows of a lane may go: the broker has acknowledged them, and head
// office has confirmed them where store_keep_unconfirmed says so. What lies behind it may go only
// when the size limit forces it, and is then named in a gap.
int store_lane_kept(struct store *store, enum lane lane, int64_t *seq, struct err *err);

// Messages that will never come.
struct stored_gap {
    int64_t row;
    int64_t seq; // of the gap message itself, lane alert
    enum lane lane;
    int64_t first, last;
    char reason[32];
    int64_t from_ms, to_ms, at_ms;
};
int store_gap_add(struct store *store, const struct stored_gap *gap, struct err *err);
int store_gap_get(struct store *store, int64_t row, struct stored_gap *out, struct err *err);
// Those whose messages tell of a time in [from, to), oldest first. The visitor must not call the
// store.
typedef bool gap_visit(void *context, const struct stored_gap *gap);
int store_gaps(struct store *store, int64_t from_ms, int64_t to_ms, gap_visit *visit, void *context,
               struct err *err);

// --- messages that are asked for again ---
#define STORE_RESENDS_OPEN_MAX 8 // a further request is refused
#define STORE_RESENDS_MAX 32     // newest ones that are kept, done or not
enum resend_state { RESEND_OPEN = 0, RESEND_DONE = 1, RESEND_CANCELLED = 2 };
struct stored_resend {
    int64_t id;
    enum lane lane;
    int64_t first, last;    // seq
    int64_t from_ms, to_ms; // only messages that tell of [from, to); both 0: all
    int64_t next;           // the first that is not done with
    int64_t sent, expired;  // messages acknowledged, and named as gone
    enum resend_state state;
    char who[64];
    int64_t at_ms;
};
// Keeps a request; its id is given. -1 when too many are open.
int store_resend_add(struct store *store, struct stored_resend *resend, struct err *err);
// The oldest open one; one by its id. 1 found, 0 not, -1.
int store_resend_open(struct store *store, struct stored_resend *out, struct err *err);
int store_resend_get(struct store *store, int64_t id, struct stored_resend *out, struct err *err);
// The newest ones, newest first, at most `max`; returns how many, -1.
int store_resends(struct store *store, struct stored_resend *list, int max, struct err *err);
// How far it has come: next, sent, expired, and its state unless it was cancelled meanwhile.
int store_resend_move(struct store *store, const struct stored_resend *resend, struct err *err);
int store_resend_cancel(struct store *store, int64_t id, struct err *err); // 1, 0 was not open, -1
// Names the messages of [first, last] that are not stored any more by gaps, except what gaps name
// already. The caller knows that none of them is stored. from_ms 0: since the first meter was
// configured. Adds their number to *named.
int store_gap_expired(struct store *store, const struct stored_gap *gap, int64_t *named,
                      struct err *err);

// --- commands of head office ---
#define STORE_COMMANDS_MAX 256 // newest ones of a key that are kept with their answers
#define STORE_ANSWER_MAX (256 * 1024)
#define STORE_DIGEST_SIZE 32
struct stored_command {
    int64_t row;
    char key[17]; // whose signature it carries
    int64_t counter;
    uint8_t digest[STORE_DIGEST_SIZE]; // of the body
    int64_t at_ms;                     // executed
    char name[33];
    char response[256];       // topic that the answer goes to
    uint8_t correlation[256]; // that the answer carries
    size_t correlation_length;
    const char *answer;
    size_t answer_length; // up to STORE_ANSWER_MAX
};
// What a command's counter must be above: that of the newest one of the key that was executed, or
// the instant at which the store began.
int store_command_last(struct store *store, const char *key, int64_t now_ms, int64_t *counter,
                       struct err *err);
// The store begins again, from a backup: commands signed before are not executed, answers and
// messages that were asked for are not sent any more.
int store_command_forget_before(struct store *store, int64_t now_ms, struct err *err);
// Keeps a command that is being executed, in the round of its effect. -1 when its counter is not
// above the last one.
int store_command_add(struct store *store, const struct stored_command *command, struct err *err);
// The answer of a command that was executed; 1 found, 0 not, -1.
int store_command_find(struct store *store, const char *key,
                       const uint8_t digest[static STORE_DIGEST_SIZE], int64_t *row,
                       struct buf *answer, struct err *err);
// The broker has taken its answer.
int store_command_told(struct store *store, int64_t row, struct err *err);
// Those whose answers the broker has not taken, oldest first; return false to stop. `answer` is
// valid during the visit.
typedef bool stored_command_visit(void *context, const struct stored_command *command);
int store_commands_untold(struct store *store, stored_command_visit *visit, void *context,
                          struct err *err);

// --- revisions of the configuration; one that is the newest already is not kept again ---
int store_revision_is_newest(struct store *store, const char *revision,
                             struct err *err); // 1, 0, -1
int store_revision_add(struct store *store, const char *revision, const char *text, size_t length,
                       const char *who, int64_t at_ms, struct err *err);

// --- accounts ---
enum role {
    ROLE_NONE = 0,
    ROLE_VIEWER = 1,
    ROLE_TECHNICIAN = 2,
    ROLE_SPECIALIST = 3,
    ROLE_LEADER = 4,
    ROLE_OFFICE = 5
};
const char *role_text(enum role role);
enum role role_find(const char *text);
struct account {
    char name[33];
    enum role role;
    char hash[256]; // "scrypt$N$r$p$salt$hash", hex
};
int store_account_put(struct store *store, const struct account *account,
                      struct err *err); // adds or replaces
int store_account_remove(struct store *store, const char *name,
                         struct err *err); // -1 when there is none
int store_account_get(struct store *store, const char *name, struct account *out,
                      struct err *err); // 1, 0, -1
typedef bool account_visit(void *context, const struct account *account);
int store_accounts(struct store *store, account_visit *visit, void *context, struct err *err);

// --- audit chain: h(n) = SHA-256(h(n-1) || canonical record) ---
// Texts longer than their field of struct audit_record are cut: a long name from outside must not
// stop the audit.
int store_audit_add(struct store *store, int64_t at_ms, const char *who, const char *action,
                    const char *subject, const char *result, const char *detail, struct err *err);
struct audit_record {
    int64_t number, at_ms;
    char who[64], action[64], subject[128], result[32], detail[512];
    char hash[65];
};
typedef bool audit_visit(void *context, const struct audit_record *record);
int store_audits(struct store *store, int64_t from_ms, int64_t to_ms, audit_visit *visit,
                 void *context, struct err *err);

int store_audit_get(struct store *store, int64_t number, struct audit_record *out,
                    struct err *err); // 1, 0, -1

// --- heads: who keeps one can prove later that nothing before it was changed or cut off ---
// A chain of rows ends in a head: how many rows it has had, and the hash of the newest, which
// covers all before it.
#define HASH_TEXT_SIZE 65
struct chain_head {
    char name[16]; // "audit", "period-hour" …
    int64_t number;
    char hash[HASH_TEXT_SIZE];
};
#define HEADS_MAX 16
struct store_heads {
    int count;
    struct chain_head list[HEADS_MAX]; // the audit chain first; chains without a row are left out
};
int store_heads(struct store *store, struct store_heads *out, struct err *err);

// The head of the chain over readings as of now, in the open round: each minute is enough.
int store_reading_witness(struct store *store, struct err *err);

// A seal is a record of the audit chain that covers the heads of all other chains, so that its own
// hash is the one head of the whole store. `send`: head office gets it as an event.
#define SEAL_ACTION "seal"
int store_seal_add(struct store *store, int64_t at_ms, bool send, struct err *err);
// The instant of the newest one; 0 without any.
int store_seal_newest(struct store *store, int64_t *at_ms, struct err *err);

// --- care ---
// Integrity of the file, of the chain, of the outbox (no hole in seq that neither a gap nor
// retention explains, every pointer finds its row and every row its pointer), of the periods (each
// start is the end before it) and of the readings' words. Reads all of it in one transaction. Each
// fault goes to `fault`; returns how many, -1 when it could not be done.
int store_verify(struct store *store, void (*fault)(void *context, const char *text), void *context,
                 struct err *err);
// The same, and whether the store still holds what was published: a head is looked for at its
// number. Names of chains as store_heads gives them. One that lies inside of what retention took
// proves nothing any more.
int store_verify_published(struct store *store, const struct chain_head *published, int count,
                           void (*fault)(void *context, const char *text), void *context,
                           struct err *err);
bool store_chain_is_known(const char *name);
// Deletes raw readings older than `before_ms` that need not be sent any more, at most `max` rows:
// one step of retention. Returns how many.
int store_retain(struct store *store, int64_t before_ms, int max, struct err *err);
// The part of it that is readings. They lie in segments (some hours, at most some ten thousand
// readings) that go as a whole, when all of one is old: a step removes as many segments as bring it
// to `max`, and may so take more rows than that.
int store_reading_retain(struct store *store, int64_t before_ms, int max, struct err *err);
// Whether the newest readings are many, or the oldest of them some hours old: time to pack them
// into a segment, in a round of its own; some tens of milliseconds. Where nobody does it the same
// happens at twice as many readings, within the round that brings them.
bool store_reading_ripe(struct store *store, int64_t now_ms);
int store_reading_pack(struct store *store, struct err *err);
// The same of closed periods of one span, by their beginning, with all their versions; of alerts,
// by their end, with all their changes; of gaps. The newest of each stays, and so does what the
// office has not acknowledged. Return how many; the audit chain is never shortened.
int store_period_retain(struct store *store, enum span span, int64_t before_ms, int max,
                        struct err *err);
int store_alert_retain(struct store *store, int64_t before_ms, int max, struct err *err);
int store_gap_retain(struct store *store, int64_t before_ms, int max, struct err *err);
// Of forecasts, by their beginning; at most 200 at once.
int store_outlook_retain(struct store *store, int64_t before_ms, int max, struct err *err);
// Of ledgers, by their beginning, all versions together; outages go with them.
int store_ledger_retain(struct store *store, int64_t before_ms, int max, struct err *err);

// Making room before its time, one step: the oldest rows before `before_ms`, at most `max`. First
// what is not kept (store_lane_kept), with `unsent` also what the office never had: `messages`
// grows by those, each named by a gap with the reason "size-limit" in the same round. Each returns
// how many rows went.
struct store_shed {
    bool unsent;
    int64_t before_ms, now_ms;
    int max;
    int64_t messages;
};
int store_reading_shed(struct store *store, struct store_shed *shed, struct err *err);
// Periods of `span` of which a period of the span `longer` has what they say.
int store_period_shed(struct store *store, enum span span, enum span longer,
                      struct store_shed *shed, struct err *err);
int store_alert_shed(struct store *store, struct store_shed *shed, struct err *err); // closed ones
// Messages that gaps of that reason have named so far.
int store_shed_messages(struct store *store, int64_t *messages, struct err *err);

// What the store takes on disk. The free pages are part of the file and are filled again first.
struct store_space {
    int64_t file_bytes, free_bytes, log_bytes;
};
int store_space(struct store *store, struct store_space *out, struct err *err);
// Gives back at most `pages` free pages (of 4 KiB) to the disk, in a transaction of its own:
// between rounds.
int store_vacuum(struct store *store, int pages, struct err *err);
// Beyond so many bytes of file the store is full, like the disk.
int store_limit(struct store *store, int64_t bytes, struct err *err);
// Brings the log home and begins it anew: 0, 1 when a reader holds it. `keep_file`: it keeps the
// space that it has on disk, which others would take on a full one.
int store_bring_home(struct store *store, bool keep_file, struct err *err);
// Whether the newest failure was that of a full disk (or limit).
bool store_is_full(const struct store *store);

// Text by key for small state that must survive ("clean_stop", "claim"); "gateway" holds the
// gateway's id for exports, "gas_day" when its gas days begin (minutes after midnight, IANA zone)
// for reports, "stream" belongs to the store.
int store_setting_put(struct store *store, const char *key, const char *value, struct err *err);
int store_setting_get(struct store *store, const char *key, char *value, size_t size,
                      struct err *err); // 1, 0, -1

#endif
