// Chains over rows that never change once they are written: h(n) = SHA-256(h(n-1) || n || row n).
// Each row keeps its number in the chain and its hash (columns link, hash), the chain keeps the
// newest of both (its head). Inside of store/.
//
// Closed periods have a chain for each span, because retention takes each span at its own age;
// alert changes (with what never changes of their alert), gaps, ledgers and revisions of the
// configuration have one each.
//
// Retention may take any row. The hash of the last of each run of rows that went stays behind as a
// hole, so that the rows after it can still be checked; CHAIN_REMOVED is no chain, but the number
// of rows that went and one hash over
// it, all holes and where each chain begins. Its head goes into seals and to head office like
// the others, so that a hole that somebody makes is told apart from one that retention left.
//
// Rows of a store that is older than the chains stand in none: `begun` is the last of them.
#ifndef METERGATE_STORE_CHAIN_H
#define METERGATE_STORE_CHAIN_H

#include "store/query.h"

// The numbers are stored: never change one. 1 to 7 are spans.
enum chain {
    CHAIN_ALERT = 8,
    CHAIN_GAP = 9,
    CHAIN_READING = 10, // reading_chain.h
    CHAIN_REMOVED = 11,
    CHAIN_LEDGER = 12,
    CHAIN_REVISION = 13,
    CHAIN_REGISTER = 14 // no chain either: register_add (below)
};
#define CHAINS_END 15
const char *chain_text(int chain); // "period-hour", "alert" …; NULL: there is no such chain
int chain_find(const char *name);  // 0: none
// No chain of rows, but a hash over how something is now: an older one cannot be looked for.
static inline bool chain_is_state(int chain)
{
    return chain == CHAIN_REMOVED || chain == CHAIN_REGISTER;
}

// A table whose rows stand in chains.
enum chain_table {
    CHAINED_PERIOD,
    CHAINED_CHANGE,
    CHAINED_GAP,
    CHAINED_LEDGER,
    CHAINED_REVISION,
    CHAINED_TABLES
};
struct chained {
    const char *table, *row;
    const char *rows; // columns rowid, chain, link, hash and what the hash covers
    enum slot one, put;
};
extern const struct chained chained_tables[CHAINED_TABLES];

struct chain_state {
    int64_t number, begun;
    uint8_t hash[AUDIT_HASH_SIZE];
};
// 1 found, 0 there is none (damage), -1.
int chain_read(struct store *store, int chain, struct chain_state *out, struct err *err);
int chain_move(struct store *store, int chain, const struct chain_state *state, struct err *err);
// What stands before a chain's first row.
int chain_origin(const char *stream, int chain, int64_t begun, uint8_t hash[static AUDIT_HASH_SIZE],
                 struct err *err);
// From the hash before to the hash after the row that the query stands on (columns as in `rows`).
int chain_hash(const struct query *query, int64_t link, uint8_t hash[static AUDIT_HASH_SIZE],
               struct err *err);

// Puts the row that was just inserted at the end of its chain. In the open round.
int chain_add(struct store *store, enum chain_table table, int64_t id, struct err *err);
struct chain_hole {
    int64_t first, last;
    uint8_t hash[AUDIT_HASH_SIZE];
};
// The newest hole of a chain that begins at or before `first`. 1, 0 there is none (or it is
// damaged), -1.
int chain_hole_find(struct store *store, int chain, int64_t first, struct chain_hole *out,
                    struct err *err);
// Rows first to last of a chain were taken by retention; `hash` is that of the last.
int chain_leave(struct store *store, int chain, int64_t first, int64_t last,
                const uint8_t hash[static AUDIT_HASH_SIZE], struct err *err);
// The same of one row: the query is a DELETE that stands on it and returns its link and, in the
// next column, its hash. A row that stands in no chain leaves nothing.
int chain_leave_row(struct query *query, int chain, int link_column, struct err *err);
// After all of a step of retention went: moves the head of CHAIN_REMOVED.
int chain_left(struct store *store, struct err *err);
int chain_count_removed(struct store *store, int64_t count, struct err *err);
int chain_removed_hash(struct store *store, int64_t number, uint8_t hash[static AUDIT_HASH_SIZE],
                       struct err *err);

// Name of the stream that all chains begin with, before the store is open.
int chain_stream(struct store *store, char stream[static UUID_SIZE], struct err *err);
// The steps of the schema that begin the chains.
int chain_begin_all(struct store *store, struct err *err);
int chain_begin_ledgers(struct store *store, struct err *err);

// --- the register: accounts, settings, meters, decoders, series ---
// Small tables whose rows change in place. No chain of rows can say how they are now, so one hash
// over all of them stands in the place of a head, and the number counts the rounds that changed
// them. It goes into seals and to head office like the heads.

// Before a change of one of these tables, in the open round. What is there must agree with the hash
// before: otherwise the hash is left as it is, so that no later change hides that one.
int register_change(struct store *store, struct err *err);
// The round is about to be committed.
int register_commit(struct store *store, struct err *err);
int register_hash(struct store *store, int64_t number, uint8_t hash[static AUDIT_HASH_SIZE],
                  struct err *err);

#endif
