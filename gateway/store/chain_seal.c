// Heads of all chains, and the seal: the record of the audit chain that covers them.
#include "store/chain.h"

#include <inttypes.h>
#include <openssl/evp.h>
#include <stdio.h>
#include <string.h>

int store_heads(struct store *store, struct store_heads *out, struct err *err)
{
    struct store_heads heads = {.count = 1};
    uint8_t hash[AUDIT_HASH_SIZE];
    struct chain_head *head = &heads.list[0];
    if (audit_head_read(store, &head->number, hash, err) != 0)
        return -1;
    (void)snprintf(head->name, sizeof head->name, "audit");
    hash_print(hash, head->hash);
    for (int chain = 1; chain < CHAINS_END; chain++) {
        struct chain_state state = {.number = 0};
        int found = chain_read(store, chain, &state, err);
        if (found != 1)
            return found < 0 ? -1
                             : err_set(err, "%s: the head of the chain %s is damaged", store->path,
                                       chain_text(chain));
        if (state.number == 0)
            continue;
        head = &heads.list[heads.count++];
        (void)snprintf(head->name, sizeof head->name, "%s", chain_text(chain));
        head->number = state.number;
        hash_print(state.hash, head->hash);
    }
    *out = heads;
    return 0;
}

// "NAME NUMBER" of each chain but the audit chain, then the hash over their names, numbers and
// hashes as they are printed, then those of what is no chain (chain_is_state), where there is any.
// The numbers tell verify up to where each chain is covered.
static int seal_text(const struct store_heads *heads, char *detail, size_t size, struct err *err)
{
    char all[HEADS_MAX * 128] = "";
    char states[2 * (HASH_TEXT_SIZE + 1)] = "";
    size_t length = 0;
    size_t state_length = 0;
    size_t used = 0;
    detail[0] = '\0';
    for (int i = 1; i < heads->count; i++) {
        const struct chain_head *head = &heads->list[i];
        if (chain_is_state(chain_find(head->name)))
            state_length += (size_t)snprintf(states + state_length, sizeof states - state_length,
                                             " %s", head->hash);
        else
            length += (size_t)snprintf(all + length, sizeof all - length, "%s %" PRId64 " %s\n",
                                       head->name, head->number, head->hash);
        used += (size_t)snprintf(detail + used, size - used, "%s %" PRId64 ", ", head->name,
                                 head->number);
        used = used < size ? used : size - 1;
    }
    uint8_t hash[AUDIT_HASH_SIZE];
    if (EVP_Digest(all, length, hash, NULL, EVP_sha256(), NULL) != 1)
        return err_set(err, "out of memory for a check sum");
    if (used + HASH_TEXT_SIZE + state_length > size)
        return err_set(err, "the heads of %d chains do not fit into a record", heads->count);
    hash_print(hash, detail + used);
    (void)snprintf(detail + used + HASH_TEXT_SIZE - 1, size - used - HASH_TEXT_SIZE + 1, "%s",
                   states);
    return 0;
}

int store_seal_add(struct store *store, int64_t at_ms, bool send, struct err *err)
{
    struct store_heads heads = {.count = 0};
    struct audit_record *sizes = NULL;
    char detail[sizeof sizes->detail];
    char subject[sizeof sizes->subject] = "";
    int64_t seq = 0;
    if (store_reading_witness(store, err) != 0 || store_heads(store, &heads, err) != 0 ||
        seal_text(&heads, detail, sizeof detail, err) != 0 ||
        (send && outbox_give(store, LANE_ALERT, &seq, err) != 0))
        return -1;
    if (send)
        (void)snprintf(subject, sizeof subject, "%s %" PRId64, lane_text(LANE_ALERT), seq);
    if (store_audit_add(store, at_ms, "gateway", SEAL_ACTION, subject, "done", detail, err) != 0)
        return -1;
    return send ? outbox_point(store, LANE_ALERT, seq, MESSAGE_AUDIT, heads.list[0].number + 1,
                               at_ms, err)
                : 0;
}

int store_seal_newest(struct store *store, int64_t *at_ms, struct err *err)
{
    return store_ask(store,
                     "SELECT coalesce((SELECT at_ms FROM audit WHERE action = '" SEAL_ACTION
                     "' ORDER BY number DESC LIMIT 1), 0)",
                     at_ms, err);
}
