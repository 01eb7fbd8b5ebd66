// The audit chain: each record's hash covers the record and the hash before it.
#include "store/query.h"
#include "store/verify_heads.h"

#include <openssl/evp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static int digest(const void *const parts[], const size_t lengths[], int count,
                  uint8_t hash[static AUDIT_HASH_SIZE], struct err *err)
{
    EVP_MD_CTX *context = EVP_MD_CTX_new();
    bool done = context != NULL && EVP_DigestInit_ex(context, EVP_sha256(), NULL) == 1;
    for (int i = 0; done && i < count; i++)
        done = EVP_DigestUpdate(context, parts[i], lengths[i]) == 1;
    done = done && EVP_DigestFinal_ex(context, hash, NULL) == 1;
    EVP_MD_CTX_free(context);
    return done ? 0 : err_set(err, "out of memory for a check sum");
}

static void big_endian(uint64_t value, uint8_t bytes[static 8])
{
    for (int i = 7; i >= 0; i--) {
        bytes[i] = (uint8_t)(value & 0xFF);
        value >>= 8;
    }
}

// Number, time, then each text with its length in front, all numbers as eight bytes: no two records
// have the same bytes.
int audit_hash(const uint8_t before[static AUDIT_HASH_SIZE], const struct audit_row *row,
               uint8_t hash[static AUDIT_HASH_SIZE], struct err *err)
{
    uint8_t numbers[2 + AUDIT_TEXTS][8];
    const void *parts[3 + 2 * AUDIT_TEXTS] = {before, numbers[0], numbers[1]};
    size_t lengths[3 + 2 * AUDIT_TEXTS] = {AUDIT_HASH_SIZE, 8, 8};
    big_endian((uint64_t)row->number, numbers[0]);
    big_endian((uint64_t)row->at_ms, numbers[1]);
    for (int i = 0; i < AUDIT_TEXTS; i++) {
        big_endian(row->texts[i].length, numbers[2 + i]);
        parts[3 + 2 * i] = numbers[2 + i];
        lengths[3 + 2 * i] = 8;
        parts[4 + 2 * i] = row->texts[i].at;
        lengths[4 + 2 * i] = row->texts[i].length;
    }
    return digest(parts, lengths, 3 + 2 * AUDIT_TEXTS, hash, err);
}

int audit_origin(const struct store *store, uint8_t hash[static AUDIT_HASH_SIZE], struct err *err)
{
    return digest((const void *const[]){store->origin}, (const size_t[]){strlen(store->origin)}, 1,
                  hash, err);
}

int audit_head_read(struct store *store, int64_t *number, uint8_t hash[static AUDIT_HASH_SIZE],
                    struct err *err)
{
    struct query query;
    if (query_begin(&query, store, SLOT_AUDIT_HEAD, "SELECT number, hash FROM audit_head", err) !=
        0)
        return -1;
    int found = query_row(&query, err);
    if (found != 1) {
        *number = 0;
        return found < 0 ? -1 : audit_origin(store, hash, err);
    }
    *number = query_get_int(&query, 0);
    bool whole = query_get_hash(&query, 1, hash);
    query_end(&query);
    return whole ? 0 : err_set(err, "%s: the head of the audit chain is damaged", store->path);
}

static int head_move(struct store *store, int64_t number, const uint8_t *hash, struct err *err)
{
    struct query query;
    if (query_begin(&query, store, SLOT_AUDIT_MOVE,
                    "INSERT INTO audit_head VALUES (1, ?1, ?2)"
                    " ON CONFLICT DO UPDATE SET number = ?1, hash = ?2",
                    err) != 0)
        return -1;
    query_int(&query, number);
    query_blob(&query, hash, AUDIT_HASH_SIZE);
    return query_run(&query, err);
}

static int record_insert(struct store *store, const struct audit_row *row, const uint8_t *hash,
                         struct err *err)
{
    struct query query;
    if (query_begin(&query, store, SLOT_AUDIT_ADD,
                    "INSERT INTO audit VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8)", err) != 0)
        return -1;
    query_int(&query, row->number);
    query_int(&query, row->at_ms);
    for (int i = 0; i < AUDIT_TEXTS; i++)
        query_text_part(&query, row->texts[i].at, row->texts[i].length);
    query_blob(&query, hash, AUDIT_HASH_SIZE);
    return query_run(&query, err);
}

// What fits into `size` bytes with a NUL, without half a character at its end.
static struct audit_text fit(const char *text, size_t size)
{
    size_t length = text == NULL ? 0 : strnlen(text, size);
    if (length == size) {
        length = size - 1;
        while (length > 0 && ((unsigned char)text[length] & 0xC0U) == 0x80U)
            length--;
    }
    return (struct audit_text){text == NULL ? "" : text, length};
}

int store_audit_add(struct store *store, int64_t at_ms, const char *who, const char *action,
                    const char *subject, const char *result, const char *detail, struct err *err)
{
    struct audit_record *sizes = NULL;
    struct audit_row row = {
        .at_ms = at_ms,
        .texts = {fit(who, sizeof sizes->who), fit(action, sizeof sizes->action),
                  fit(subject, sizeof sizes->subject), fit(result, sizeof sizes->result),
                  fit(detail, sizeof sizes->detail)}};
    uint8_t before[AUDIT_HASH_SIZE];
    uint8_t hash[AUDIT_HASH_SIZE];
    int64_t last;
    if (audit_head_read(store, &last, before, err) != 0)
        return -1;
    row.number = last + 1;
    if (audit_hash(before, &row, hash, err) != 0 || record_insert(store, &row, hash, err) != 0)
        return -1;
    return head_move(store, row.number, hash, err);
}

void hash_print(const uint8_t hash[static AUDIT_HASH_SIZE], char text[static HASH_TEXT_SIZE])
{
    for (size_t i = 0; i < AUDIT_HASH_SIZE; i++)
        (void)snprintf(text + 2 * i, 3, "%02x", hash[i]);
}

// Columns number, at_ms, who, action, subject, result, detail, hash.
static void record_read(const struct query *query, struct audit_record *record)
{
    record->number = query_get_int(query, 0);
    record->at_ms = query_get_int(query, 1);
    query_get_text(query, 2, record->who, sizeof record->who);
    query_get_text(query, 3, record->action, sizeof record->action);
    query_get_text(query, 4, record->subject, sizeof record->subject);
    query_get_text(query, 5, record->result, sizeof record->result);
    query_get_text(query, 6, record->detail, sizeof record->detail);
    record->hash[0] = '\0';
    if (sqlite3_column_bytes(query->statement, 7) == AUDIT_HASH_SIZE)
        hash_print(sqlite3_column_blob(query->statement, 7), record->hash);
}

int store_audit_get(struct store *store, int64_t number, struct audit_record *out, struct err *err)
{
    struct query query;
    int found = query_find(&query, store, SLOT_AUDIT_GET, "SELECT * FROM audit WHERE number = ?1",
                           number, err);
    if (found == 1) {
        record_read(&query, out);
        query_end(&query);
    }
    return found;
}

static int page_fill(struct store *store, int64_t after, int64_t from_ms, int64_t to_ms,
                     struct audit_record *list, struct err *err)
{
    struct query query;
    if (query_begin(&query, store, SLOT_AUDIT_PAGE,
                    "SELECT * FROM audit WHERE number > ?1 AND at_ms >= ?2 AND at_ms < ?3"
                    " ORDER BY number LIMIT ?4",
                    err) != 0)
        return -1;
    query_int(&query, after);
    query_int(&query, from_ms);
    query_int(&query, to_ms);
    query_int(&query, STORE_PAGE);
    int count = 0;
    int more;
    while ((more = query_row(&query, err)) == 1)
        record_read(&query, &list[count++]);
    return more == 0 ? count : -1;
}

int store_audits(struct store *store, int64_t from_ms, int64_t to_ms, audit_visit *visit,
                 void *context, struct err *err)
{
    struct audit_record *list = calloc(STORE_PAGE, sizeof *list);
    if (list == NULL)
        return err_set(err, "out of memory");
    int64_t after = 0;
    int count;
    bool more = true;
    do {
        count = page_fill(store, after, from_ms, to_ms, list, err);
        for (int i = 0; more && i < count; i++) {
            after = list[i].number;
            more = visit(context, &list[i]);
        }
    } while (more && count == STORE_PAGE);
    free(list);
    return count < 0 ? -1 : 0;
}

static bool row_read(const struct query *query, struct audit_row *row)
{
    row->number = query_get_int(query, 0);
    row->at_ms = query_get_int(query, 1);
    for (int i = 0; i < AUDIT_TEXTS; i++) {
        const unsigned char *text = sqlite3_column_text(query->statement, 2 + i);
        row->texts[i] = (struct audit_text){text == NULL ? "" : (const char *)text,
                                            (size_t)sqlite3_column_bytes(query->statement, 2 + i)};
    }
    return sqlite3_column_bytes(query->statement, 7) == AUDIT_HASH_SIZE;
}

static int chain_walk(struct verify *verify, int64_t *last, uint8_t hash[static AUDIT_HASH_SIZE],
                      struct err *err)
{
    struct query query;
    if (audit_origin(verify->store, hash, err) != 0 ||
        query_begin(&query, verify->store, SLOT_ONCE, "SELECT * FROM audit ORDER BY number", err) !=
            0)
        return -1;
    int more;
    *last = 0;
    while ((more = query_row(&query, err)) == 1) {
        struct audit_row row;
        uint8_t expected[AUDIT_HASH_SIZE];
        bool whole = row_read(&query, &row);
        if (audit_hash(hash, &row, expected, err) != 0) {
            query_end(&query);
            return -1;
        }
        if (row.number != *last + 1) {
            verify_fault(verify, "audit: after record %lld comes %lld", (long long)*last,
                         (long long)row.number);
        }
        const void *stored = sqlite3_column_blob(query.statement, 7);
        if (!whole || memcmp(stored, expected, AUDIT_HASH_SIZE) != 0) {
            verify_fault(verify, "audit: record %lld was changed, or the one before it",
                         (long long)row.number);
        }
        if (whole) // go on from what is stored, so that one change is one fault
            memcpy(hash, stored, AUDIT_HASH_SIZE);
        *last = row.number;
        heads_pass(verify->heads, CHAIN_AUDIT, row.number, hash);
    }
    return more;
}

int verify_audit(struct verify *verify, struct err *err)
{
    uint8_t hash[AUDIT_HASH_SIZE];
    uint8_t head[AUDIT_HASH_SIZE];
    int64_t last;
    int64_t number;
    if (chain_walk(verify, &last, hash, err) != 0)
        return -1;
    heads_end(verify->heads, CHAIN_AUDIT, last);
    struct err why = {.text = ""};
    if (audit_head_read(verify->store, &number, head, &why) != 0) {
        verify_fault(verify, "audit: %s", why.text);
    } else if (number != last || memcmp(head, hash, AUDIT_HASH_SIZE) != 0) {
        verify_fault(verify, "audit: the chain ends at record %lld, its head says %lld",
                     (long long)last, (long long)number);
    }
    return 0;
}
