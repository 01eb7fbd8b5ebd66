// The chain over readings: h(n) = SHA-256(h(n-1) || row n) in the order of insertion, over what a
// row says, however it lies on the disk. Nothing of it is written with a reading: the hash runs
// along in memory, stands with each segment (table reading_chain: hash after its last row), and as
// the chain's head in table chain each minute, with each seal and at a clean stop
// (store_reading_witness).
//
// So a cut through the rows after the newest head, a minute's at most, cannot be told from power
// that went earlier; everything before it can. Inside of store/.
#ifndef METERGATE_STORE_READING_CHAIN_H
#define METERGATE_STORE_READING_CHAIN_H

#include "store/chain.h"
#include "store/rows.h"

#include <openssl/evp.h>

// Where a hash stands while it goes along rows.
struct reading_hash {
    int64_t begun;  // rows up to this one are older than the chain
    int64_t number; // of the newest row that it covers
    uint8_t hash[AUDIT_HASH_SIZE];
    EVP_MD_CTX *digest; // scratch
};
// Before the first row. -1 with a message.
int reading_hash_begin(struct store *store, struct reading_hash *run, struct err *err);
void reading_hash_end(struct reading_hash *run); // a zeroed one is fine
int reading_hash_row(struct reading_hash *run, const struct row *row, struct err *err);

// --- the writer's side, inside the open round ---
// A row that is about to be added to the tail, with its number.
int reading_chain_add(struct store *store, const struct row *row, struct err *err);
// Rows [first, end) in the order of their numbers become a segment.
int reading_chain_segment(struct store *store, const struct rows *rows, int first, int end,
                          int64_t segment, struct err *err);
void reading_chain_forget(struct store *store); // the round was cancelled
void reading_chain_free(struct store *store);

// The hash after a segment. 1 found, 0 none, -1.
int reading_chain_of(struct store *store, int64_t segment, uint8_t hash[static AUDIT_HASH_SIZE],
                     struct err *err);

// The steps of the schema that begins the chain.
int reading_chain_begin(struct store *store, struct err *err);

#endif
