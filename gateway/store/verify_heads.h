// Verify: heads that were published, and those that seals cover, looked for in the store. The walks
// along the chains tell each number and hash that they pass. Inside of store/.
#ifndef METERGATE_STORE_VERIFY_HEADS_H
#define METERGATE_STORE_VERIFY_HEADS_H

#include "store/chain.h"

#define CHAIN_AUDIT 0 // as a chain of heads_pass

struct heads;

// Published heads (may be none), and those of the newest seal before each of them and of all.
// `store` NULL: without seals. NULL with a message.
struct heads *heads_new(struct store *store, const struct chain_head *published, int count,
                        struct err *err);
void heads_free(struct heads *heads); // NULL is fine
// A chain has this hash at this number.
void heads_pass(struct heads *heads, int chain, int64_t number,
                const uint8_t hash[static AUDIT_HASH_SIZE]);
// A chain ends at this number.
void heads_end(struct heads *heads, int chain, int64_t number);
// Names what was not as it was published or sealed, after all walks.
int heads_check(struct heads *heads, struct verify *verify, struct err *err);

#endif
