// Inside of store/: the open database and the prepared statements that it keeps. Nothing outside
// this folder includes this.
#ifndef METERGATE_STORE_DATABASE_H
#define METERGATE_STORE_DATABASE_H

#include "store/store.h"

#include <sqlite3.h>

// One prepared statement each, kept while the store is open.
enum slot {
    SLOT_METER_FIND,
    SLOT_METER_ADD,
    SLOT_DECODER_FIND,
    SLOT_DECODER_ADD,
    SLOT_DECODER_LOAD,
    SLOT_DECODER_KNOWN,
    SLOT_METER_NAME,
    SLOT_TAIL_PUT,
    SLOT_TAIL_PAGE,
    SLOT_TAIL_HEAD,
    SLOT_TAIL_BEGINS,
    SLOT_TAIL_SLOTS,
    SLOT_PACK_ADD,
    SLOT_PACK_ROWS,
    SLOT_PACK_REMOVE,
    SLOT_SEGMENT_ADD,
    SLOT_SEGMENT_LANE_ADD,
    SLOT_SEGMENT_LANE_REMOVE,
    SLOT_SEGMENT_OF_NUMBER,
    SLOT_SEGMENT_OF_SEQ,
    SLOT_SEGMENT_OVERLAP,
    SLOT_SEGMENT_NEXT,
    SLOT_SEGMENT_OLD,
    SLOT_SEGMENT_GONE,
    SLOT_SEGMENT_LANES,
    SLOT_GAP_TOUCHES,
    SLOT_PERIOD_BEFORE,
    SLOT_PERIOD_ADD,
    SLOT_PERIOD_NEWEST,
    SLOT_PERIOD_PAGE_METER,
    SLOT_PERIOD_PAGE_TIME,
    SLOT_PERIOD_LAST,
    SLOT_PERIOD_GET,
    SLOT_PERIOD_ALERTS,
    SLOT_PERIOD_LACKING,
    SLOT_PERIOD_WALK,
    SLOT_PERIOD_WALK_METER,
    SLOT_ALERT_WALK,
    SLOT_LEDGER_BEFORE,
    SLOT_LEDGER_ADD,
    SLOT_LEDGER_LANES,
    SLOT_LEDGER_GET,
    SLOT_LEDGER_PAGE,
    SLOT_LEDGER_OLD,
    SLOT_LEDGER_REMOVE,
    SLOT_OUTLOOK_ADD,
    SLOT_OUTLOOK_GET,
    SLOT_OUTLOOK_NEWEST,
    SLOT_OUTLOOK_OLD,
    SLOT_OUTLOOK_REMOVE,
    SLOT_OUTAGE_EXTEND,
    SLOT_OUTAGE_ADD,
    SLOT_OUTAGE_END,
    SLOT_OUTAGE_LIST,
    SLOT_OUTAGE_REMOVE,
    SLOT_VERIFY_LEDGER,
    SLOT_VERIFY_PERIODS,
    SLOT_METER_LIST,
    SLOT_ALERT_FIND,
    SLOT_ALERT_OPEN,
    SLOT_ALERT_CHANGE,
    SLOT_ALERT_TOUCH,
    SLOT_ALERT_PAGE,
    SLOT_ALERT_PAGE_OPEN,
    SLOT_ALERT_GET,
    SLOT_LANE_LAST,
    SLOT_LANE_PUT,
    SLOT_LANE_STATE,
    SLOT_LANE_ACKNOWLEDGE,
    SLOT_LANE_CONFIRM,
    SLOT_LANE_KEPT,
    SLOT_OUTBOX_ADD,
    SLOT_OUTBOX_PAGE,
    SLOT_GAP_ADD,
    SLOT_GAP_GET,
    SLOT_GAP_LIST,
    SLOT_RESEND_ADD,
    SLOT_RESEND_FORGET,
    SLOT_RESEND_GET,
    SLOT_RESEND_OPEN,
    SLOT_RESEND_PAGE,
    SLOT_RESEND_MOVE,
    SLOT_RESEND_CANCEL,
    SLOT_GAP_WITHIN,
    SLOT_LANE_NAMED,
    SLOT_COMMAND_LAST,
    SLOT_COMMAND_ADD,
    SLOT_COMMAND_FORGET,
    SLOT_COMMAND_FIND,
    SLOT_COMMAND_TOLD,
    SLOT_COMMAND_UNTOLD,
    SLOT_REVISION_ADD,
    SLOT_SERIES_ADD,
    SLOT_SERIES_LAST,
    SLOT_SERIES_AT,
    SLOT_SETTING_PUT,
    SLOT_SETTING_GET,
    SLOT_ACCOUNT_PUT,
    SLOT_ACCOUNT_REMOVE,
    SLOT_ACCOUNT_GET,
    SLOT_ACCOUNT_PAGE,
    SLOT_AUDIT_HEAD,
    SLOT_AUDIT_ADD,
    SLOT_AUDIT_MOVE,
    SLOT_AUDIT_PAGE,
    SLOT_AUDIT_GET,
    SLOT_GAP_COVERS,
    SLOT_GAP_OLD,
    SLOT_GAP_COUNT,
    SLOT_GAP_REMOVE,
    SLOT_OUTBOX_LEAVE,
    SLOT_LANE_LEAVE,
    SLOT_PERIOD_OLD,
    SLOT_PERIOD_ROOM,
    SLOT_PERIOD_REMOVE,
    SLOT_ALERT_OLD,
    SLOT_ALERT_CHANGES_REMOVE,
    SLOT_ALERT_REMOVE,
    SLOT_CHAIN_READ,
    SLOT_CHAIN_MOVE,
    SLOT_CHAIN_PERIOD,
    SLOT_CHAIN_PERIOD_PUT,
    SLOT_CHAIN_CHANGE,
    SLOT_CHAIN_CHANGE_PUT,
    SLOT_CHAIN_GAP,
    SLOT_CHAIN_GAP_PUT,
    SLOT_HOLE_FIND,
    SLOT_HOLE_PUT,
    SLOT_HOLE_DROP,
    SLOT_HOLES,
    SLOT_READING_CHAIN_ADD,
    SLOT_READING_CHAIN_OF,
    SLOT_CHAIN_LEDGER,
    SLOT_CHAIN_LEDGER_PUT,
    SLOT_CHAIN_REVISION,
    SLOT_CHAIN_REVISION_PUT,
    SLOT_REGISTER,
    SLOT_SEAL_FIND,
    SLOT_NEWEST,
    SLOT_UNDATED_ADD,
    SLOT_UNDATED_NEXT,
    SLOT_UNDATED_REMOVE,
    SLOT_UNDATED_COUNT,
    SLOT_ONCE, // prepared anew at each use: for what runs seldom
    SLOTS
};

// What a lane has given in the open round.
struct lane_given {
    int64_t last; // its newest seq; 0: not read in this round
    bool moved;   // it is newer than the lane's row
};

struct store {
    sqlite3 *db;
    char directory[4096];
    char path[4096];
    bool reader;
    bool disk_error_ends; // an I/O error ends the process: a writer that is open and in use
    bool in_round;
    bool round_broken; // a write of this round failed: it can only be cancelled
    int wal_pages;     // after the newest commit
    bool wal_complained;
    bool is_full; // the newest failure was that of a full disk
    char stream[UUID_SIZE];
    char origin[UUID_SIZE]; // the stream that the file was born with: a restore changes the stream
    sqlite3_stmt *slots[SLOTS];
    struct profile **decoders; // by revision, loaded when first met
    int decoder_count;
    struct profile **records;      // of archives: PROFILE_ARCHIVES_MAX for each decoder
    struct buf words, marks, body; // scratch of one row
    int64_t decoder_known;         // revision that is in the store, 0 unknown
    struct tail *tail;             // of the writer (tail.h)
    struct rows *seen;             // rows that the outbox named newest, by number (reading_find.h)
    char (*meters)[ID_SIZE];       // ids by number, read when first met
    int meter_count;
    struct reading_chain *reading_chain; // the writer's; NULL until it is needed
    bool readings_unchained;             // while they are migrated: the chain begins after them
    struct lane_given given[LANES_END];
    int64_t chain_left;    // rows that retention took in this round and the chains do not count yet
    bool has_register;     // the schema is new enough for one
    bool register_changed; // in this round
    bool register_complained; // it does not agree, and the log has it
    int64_t damaged;          // rows left out
    bool is_damaged;          // the file is not usable any more
    bool disk_failed;         // an I/O error
    bool saw_damage;          // an error of the disk, of the file's form or of its tables
};

#define STORE_BUSY_MS 2000 // waiting for another connection's lock

// Rows that are read within one statement, so that a slow visitor holds no read transaction.
#define STORE_PAGE 256
// Rows that a statement looks at for one page, where most are another meter's.
#define STORE_SCAN 4096

// Exit status after an error of the disk (sysexits EX_SOFTWARE): the service manager starts anew,
// and what it then finds was checked.
#define STORE_EXIT_DISK 70

// Turns SQLite's newest error into a message, breaks the open round, and ends the process where the
// disk failed. Always -1. Call it before the statement is reset.
int store_failed(struct store *store, struct err *err);

// store_open that also tells what failed: the file is damaged, or the disk failed.
struct store_fault {
    bool damaged, disk_failed;
};
int store_open_judged(const char *directory, struct store **out, struct store_fault *fault,
                      struct err *err);
// A damaged file, as far as it can be read; NULL with a message.
struct store *store_open_damaged(const char *path, struct err *err);

// The mark of runs that the disk or the file ended (doubt.c).
void doubt_read(const char *store_path, struct store_doubt *out);
void doubt_write(const char *store_path, int code);
void doubt_end(const char *store_path);

// Brings the schema to this program's version. A newer one, or a file that is not a store, is
// refused.
int store_migrate(struct store *store, struct err *err);
// A step of it: the readings of older versions, one table row and one pointer each, to the tail and
// to segments.
int migrate_readings(struct store *store, struct err *err);
// Whether the file has exactly this program's version (readers do not migrate).
int store_check_version(struct store *store, struct err *err);
// Runs SQL text of our own that takes no values.
int store_execute(struct store *store, const char *sql, struct err *err);
// The number that a PRAGMA or SELECT answers.
int store_ask(struct store *store, const char *sql, int64_t *out, struct err *err);

// The profile of a decoder revision, from the cache. NULL with a message.
const struct profile *store_profile(struct store *store, int64_t revision, struct err *err);
// The same of a record of one of its archives (drivers/archive.h), indices alone.
const struct profile *store_record(struct store *store, int64_t revision, int archive,
                                   struct err *err);
// What decodes a reading's row, by its flags.
const struct profile *store_row_profile(struct store *store, int64_t revision, int64_t flags,
                                        struct err *err);
void store_profiles_free(struct store *store);

// The next seq of a lane, and the pointer to the row that carries it: both inside the open round.
int outbox_give(struct store *store, enum lane lane, int64_t *seq, struct err *err);
// Writes what the lanes have given to their rows: at the commit, and before anything of the round
// looks at `last` there. One statement a round and lane, not one a message.
int outbox_flush(struct store *store, struct err *err);
int outbox_point(struct store *store, enum lane lane, int64_t seq, enum message_kind kind,
                 int64_t row, int64_t at_ms, struct err *err);

// A row that cannot be read: named in the log, counted, left out.
void store_row_damaged(struct store *store, const char *table, int64_t row, const struct err *why);

// The id of a meter's number, from the cache; NULL with a message where there is none.
const char *store_meter_name(struct store *store, int number, struct err *err);
void store_meters_forget(struct store *store);

// A view for several statements, where none is open already. Whoever began it ends it.
bool store_glance_begin(struct store *store);
void store_glance_end(struct store *store, bool began);

// A reading's row: its number in the order of insertion, and its meter.
#define READING_AT_MAX (INT64_C(1) << 46) // 4199 AD
static inline int64_t reading_id(int64_t number, int meter)
{
    return number << 16 | meter;
}
#define READING_ANSWERED 1
#define READING_BEGINS 4 // a series
#define READING_UNVERIFIED 2
#define READING_ARCHIVE 8       // a record of the meter's own log; which one:
#define READING_ARCHIVE_SHIFT 4 // and PROFILE_ARCHIVES_MAX - 1

// --- audit chain ---
#define AUDIT_HASH_SIZE 32
#define AUDIT_TEXTS 5 // who, action, subject, result, detail
struct audit_text {
    const char *at;
    size_t length;
};
struct audit_row {
    int64_t number, at_ms;
    struct audit_text texts[AUDIT_TEXTS];
};
// hash = SHA-256(before || canonical bytes of the row).
int audit_hash(const uint8_t before[static AUDIT_HASH_SIZE], const struct audit_row *row,
               uint8_t hash[static AUDIT_HASH_SIZE], struct err *err);
// What stands before the first record: SHA-256 of the first stream's name.
int audit_origin(const struct store *store, uint8_t hash[static AUDIT_HASH_SIZE], struct err *err);
// The newest record's; number 0 and the origin without any.
int audit_head_read(struct store *store, int64_t *number, uint8_t hash[static AUDIT_HASH_SIZE],
                    struct err *err);
void hash_print(const uint8_t hash[static AUDIT_HASH_SIZE], char text[static HASH_TEXT_SIZE]);

// --- verify: each part names its faults; -1 when the store could not be read ---
struct verify {
    struct store *store;
    void (*fault)(void *context, const char *text);
    void *context;
    int count;
    struct heads *heads; // verify_heads.h
};
void verify_fault(struct verify *verify, const char *format, ...)
    __attribute__((format(printf, 2, 3)));
// Statements that each answer the numbers of rows that are wrong: "TABLE NUMBER TEXT".
struct verify_relation {
    const char *table, *text, *sql;
};
int verify_relations(struct verify *verify, const struct verify_relation *relations, size_t count,
                     struct err *err);
int verify_audit(struct verify *verify, struct err *err);
int verify_outbox(struct verify *verify, struct err *err);
int verify_chains(struct verify *verify, struct err *err);
int verify_rows(struct verify *verify, struct err *err);
int verify_ledgers(struct verify *verify, struct err *err);
int verify_readings(struct verify *verify, struct err *err);

#endif
