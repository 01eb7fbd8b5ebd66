#include "store/reading_chain.h"

#include "store/tail.h"

#include <openssl/evp.h>
#include <stdlib.h>
#include <string.h>

struct reading_chain {
    bool loaded;
    struct reading_hash run;
};

// --- a hash that goes along rows ---

int reading_hash_begin(struct store *store, struct reading_hash *run, struct err *err)
{
    struct chain_state state;
    int found = chain_read(store, CHAIN_READING, &state, err);
    if (found != 1) {
        return found < 0
                   ? -1
                   : err_set(err, "%s: the head of the chain of readings is damaged", store->path);
    }
    *run = (struct reading_hash){.begun = state.begun, .number = state.begun};
    if (chain_origin(store->origin, CHAIN_READING, state.begun, run->hash, err) != 0)
        return -1;
    run->digest = EVP_MD_CTX_new();
    return run->digest != NULL && EVP_DigestInit_ex(run->digest, EVP_sha256(), NULL) == 1
               ? 0
               : err_set(err, "out of memory for a check sum");
}

void reading_hash_end(struct reading_hash *run)
{
    EVP_MD_CTX_free(run->digest);
    run->digest = NULL;
}

static size_t put(uint8_t *bytes, uint64_t value)
{
    for (int i = 7; i >= 0; i--, value >>= 8)
        bytes[i] = (uint8_t)value;
    return 8;
}

// All numbers as eight bytes, then words and marks: no two rows have the same bytes.
int reading_hash_row(struct reading_hash *run, const struct row *row, struct err *err)
{
    if (row->number <= run->begun)
        return 0;
    uint8_t head[AUDIT_HASH_SIZE + 10 * 8];
    const int64_t numbers[] = {row->number,
                               row->meter,
                               row->at_ms,
                               row->due_ms,
                               row->decoder,
                               row->flags,
                               row->lane,
                               row->lane != 0 ? row->seq : 0,
                               (int64_t)row->word_bytes,
                               (int64_t)row->mark_bytes};
    size_t length = AUDIT_HASH_SIZE;
    memcpy(head, run->hash, AUDIT_HASH_SIZE);
    for (size_t i = 0; i < sizeof numbers / sizeof numbers[0]; i++)
        length += put(head + length, (uint64_t)numbers[i]);
    if (EVP_DigestInit_ex(run->digest, NULL, NULL) != 1 ||
        EVP_DigestUpdate(run->digest, head, length) != 1 ||
        EVP_DigestUpdate(run->digest, row->words, row->word_bytes) != 1 ||
        EVP_DigestUpdate(run->digest, row->marks, row->mark_bytes) != 1 ||
        EVP_DigestFinal_ex(run->digest, run->hash, NULL) != 1)
        return err_set(err, "out of memory for a check sum");
    run->number = row->number;
    return 0;
}

// --- the writer's side ---

// The hash after the newest segment, 1; 0: there is none with one.
static int newest_segment(struct store *store, uint8_t hash[static AUDIT_HASH_SIZE],
                          struct err *err)
{
    int64_t segment;
    if (store_ask(store, "SELECT coalesce(max(segment), 0) FROM reading_chain", &segment, err) != 0)
        return -1;
    return segment == 0 ? 0 : reading_chain_of(store, segment, hash, err);
}

static int load(struct store *store, struct reading_chain *chain, struct err *err)
{
    struct rows rows;
    int64_t begins;
    reading_hash_end(&chain->run);
    if (reading_hash_begin(store, &chain->run, err) != 0 ||
        newest_segment(store, chain->run.hash, err) < 0 || tail_begins(store, &begins, err) != 0)
        return -1;
    if (begins - 1 > chain->run.begun)
        chain->run.number = begins - 1;
    rows_init(&rows);
    int result = tail_rows(store, NULL, NULL, &rows, err);
    for (int i = 0; i < rows.count && result == 0; i++) {
        struct row row = rows_get(&rows, i);
        result = reading_hash_row(&chain->run, &row, err);
    }
    rows_release(&rows);
    chain->loaded = result == 0;
    return result;
}

static struct reading_chain *chain_of(struct store *store, struct err *err)
{
    if (store->reading_chain == NULL)
        store->reading_chain = calloc(1, sizeof *store->reading_chain);
    if (store->reading_chain == NULL) {
        (void)err_set(err, "out of memory");
        return NULL;
    }
    struct reading_chain *chain = store->reading_chain;
    return chain->loaded || load(store, chain, err) == 0 ? chain : NULL;
}

int reading_chain_add(struct store *store, const struct row *row, struct err *err)
{
    if (store->readings_unchained)
        return 0;
    struct reading_chain *chain = chain_of(store, err);
    return chain == NULL ? -1 : reading_hash_row(&chain->run, row, err);
}

void reading_chain_forget(struct store *store)
{
    if (store->reading_chain != NULL)
        store->reading_chain->loaded = false;
}

void reading_chain_free(struct store *store)
{
    if (store->reading_chain == NULL)
        return;
    reading_hash_end(&store->reading_chain->run);
    free(store->reading_chain);
    store->reading_chain = NULL;
}

static int segment_put(struct store *store, int64_t segment, const uint8_t *hash, struct err *err)
{
    struct query query;
    if (query_begin(&query, store, SLOT_READING_CHAIN_ADD,
                    "INSERT INTO reading_chain VALUES (?1, ?2)", err) != 0)
        return -1;
    query_int(&query, segment);
    query_blob(&query, hash, AUDIT_HASH_SIZE);
    return query_run(&query, err);
}

int reading_chain_segment(struct store *store, const struct rows *rows, int first, int end,
                          int64_t segment, struct err *err)
{
    if (store->readings_unchained)
        return 0;
    struct reading_chain *chain = chain_of(store, err);
    if (chain == NULL)
        return -1;
    if (end == rows->count && end > first && rows->list[end - 1].number == chain->run.number)
        return segment_put(store, segment, chain->run.hash, err);
    struct reading_hash run = {.digest = NULL};
    int result =
        reading_hash_begin(store, &run, err) != 0 || newest_segment(store, run.hash, err) < 0 ? -1
                                                                                              : 0;
    for (int i = first; i < end && result == 0; i++) {
        struct row row = rows_get(rows, i);
        result = reading_hash_row(&run, &row, err);
    }
    if (result == 0)
        result = segment_put(store, segment, run.hash, err);
    reading_hash_end(&run);
    return result;
}

int reading_chain_of(struct store *store, int64_t segment, uint8_t hash[static AUDIT_HASH_SIZE],
                     struct err *err)
{
    struct query query;
    int found = query_find(&query, store, SLOT_READING_CHAIN_OF,
                           "SELECT hash FROM reading_chain WHERE segment = ?1", segment, err);
    if (found != 1)
        return found;
    bool whole = query_get_hash(&query, 0, hash);
    query_end(&query);
    return whole;
}

int store_reading_witness(struct store *store, struct err *err)
{
    struct chain_state state;
    struct reading_chain *chain = chain_of(store, err);
    if (chain == NULL)
        return -1;
    int found = chain_read(store, CHAIN_READING, &state, err);
    if (found != 1)
        return found < 0
                   ? -1
                   : err_set(err, "%s: the head of the chain of readings is damaged", store->path);
    if (state.number == chain->run.number)
        return 0;
    state.number = chain->run.number;
    memcpy(state.hash, chain->run.hash, AUDIT_HASH_SIZE);
    return chain_move(store, CHAIN_READING, &state, err);
}

// --- the schema ---

static int newest_number(struct store *store, int64_t *number, struct err *err)
{
    struct rows rows;
    if (tail_begins(store, number, err) != 0)
        return -1;
    --*number;
    rows_init(&rows);
    int result = tail_rows(store, NULL, NULL, &rows, err);
    if (result == 0 && rows.count > 0)
        *number = rows.list[rows.count - 1].number;
    rows_release(&rows);
    return result;
}

int reading_chain_begin(struct store *store, struct err *err)
{
    struct chain_state state;
    char stream[UUID_SIZE];
    if (newest_number(store, &state.begun, err) != 0 || chain_stream(store, stream, err) != 0 ||
        chain_origin(stream, CHAIN_READING, state.begun, state.hash, err) != 0)
        return -1;
    struct query query;
    if (query_begin(&query, store, SLOT_ONCE,
                    "UPDATE chain SET number = ?2, begun = ?2, hash = ?3 WHERE chain = ?1",
                    err) != 0)
        return -1;
    query_int(&query, CHAIN_READING);
    query_int(&query, state.begun);
    query_blob(&query, state.hash, AUDIT_HASH_SIZE);
    if (query_run(&query, err) != 0)
        return -1;
    return chain_count_removed(store, 0, err);
}
