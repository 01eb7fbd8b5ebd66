#include "store/verify_heads.h"

#include <inttypes.h>
#include <openssl/evp.h>
#include <stdlib.h>
#include <string.h>

// A place in a chain whose hash somebody wants to know.
struct point {
    int chain;
    int64_t number;
    bool met;
    uint8_t hash[AUDIT_HASH_SIZE];
};

struct seal {
    int64_t number;
    char detail[sizeof((struct audit_record *)NULL)->detail];
};

struct heads {
    const struct chain_head *published;
    int published_count;
    struct point *points; // sorted
    int count, room;
    struct seal *seals;
    int seal_count;
    int64_t ends[CHAINS_END]; // -1: not walked
};

static int compare_points(const void *a, const void *b)
{
    const struct point *left = a;
    const struct point *right = b;
    if (left->chain != right->chain)
        return left->chain < right->chain ? -1 : 1;
    return (left->number > right->number) - (left->number < right->number);
}

static int chain_of(const char *name)
{
    return strcmp(name, "audit") == 0 ? CHAIN_AUDIT : chain_find(name);
}

static int point_add(struct heads *heads, int chain, int64_t number, struct err *err)
{
    if (heads->count == heads->room) {
        int room = heads->room * 2 + 64;
        struct point *grown = reallocarray(heads->points, (size_t)room, sizeof *grown);
        if (grown == NULL)
            return err_set(err, "out of memory for %d heads", room);
        heads->points = grown;
        heads->room = room;
    }
    heads->points[heads->count++] = (struct point){.chain = chain, .number = number};
    return 0;
}

// Sorted, each place once.
static void points_sort(struct heads *heads)
{
    int kept = 0;
    if (heads->count > 0)
        qsort(heads->points, (size_t)heads->count, sizeof *heads->points, compare_points);
    for (int i = 0; i < heads->count; i++)
        if (kept == 0 || compare_points(&heads->points[kept - 1], &heads->points[i]) != 0)
            heads->points[kept++] = heads->points[i];
    heads->count = kept;
}

static struct point *point_find(const struct heads *heads, int chain, int64_t number)
{
    const struct point wanted = {.chain = chain, .number = number};
    return heads->count == 0 ? NULL
                             : bsearch(&wanted, heads->points, (size_t)heads->count,
                                       sizeof *heads->points, compare_points);
}

// --- seals ---

// The next "NAME NUMBER" of a seal's text. False at its hashes.
static bool entry_next(const char **text, char name[static 16], int64_t *number)
{
    int length = 0;
    if (sscanf(*text, "%15[a-z0-9-] %" SCNd64 ", %n", name, number, &length) != 2 || length == 0)
        return false;
    *text += length;
    return true;
}

static int seal_points(struct heads *heads, const struct seal *seal, struct err *err)
{
    const char *text = seal->detail;
    char name[16];
    int64_t number;
    while (entry_next(&text, name, &number))
        if (chain_of(name) > 0 && point_add(heads, chain_of(name), number, err) != 0)
            return -1;
    return 0;
}

// The newest seal at or before a record.
static int seal_find(struct heads *heads, struct store *store, int64_t before, struct err *err)
{
    struct query query;
    struct seal seal;
    int found = query_find(&query, store, SLOT_SEAL_FIND,
                           "SELECT number, detail FROM audit WHERE action = '" SEAL_ACTION
                           "' AND number <= ?1 ORDER BY number DESC LIMIT 1",
                           before, err);
    if (found != 1)
        return found;
    seal.number = query_get_int(&query, 0);
    query_get_text(&query, 1, seal.detail, sizeof seal.detail);
    query_end(&query);
    if (heads->seal_count > 0 && heads->seals[heads->seal_count - 1].number == seal.number)
        return 0;
    struct seal *grown =
        reallocarray(heads->seals, (size_t)heads->seal_count + 1, sizeof *heads->seals);
    if (grown == NULL)
        return err_set(err, "out of memory for seals");
    heads->seals = grown;
    heads->seals[heads->seal_count++] = seal;
    return seal_points(heads, &seal, err);
}

static int compare_numbers(const void *a, const void *b)
{
    int64_t left = *(const int64_t *)a;
    int64_t right = *(const int64_t *)b;
    return (left > right) - (left < right);
}

// In order, so that a seal that is the newest before many heads is taken once.
static int seals_find(struct heads *heads, struct store *store, struct err *err)
{
    int64_t *numbers = calloc((size_t)heads->published_count + 1, sizeof *numbers);
    if (numbers == NULL)
        return err_set(err, "out of memory for heads");
    int count = 0;
    for (int i = 0; i < heads->published_count; i++)
        if (chain_of(heads->published[i].name) == CHAIN_AUDIT)
            numbers[count++] = heads->published[i].number;
    numbers[count++] = INT64_MAX;
    qsort(numbers, (size_t)count, sizeof *numbers, compare_numbers);
    int result = 0;
    for (int i = 0; i < count && result == 0; i++)
        if (i == 0 || numbers[i] != numbers[i - 1])
            result = seal_find(heads, store, numbers[i], err);
    free(numbers);
    return result;
}

// --- life ---

struct heads *heads_new(struct store *store, const struct chain_head *published, int count,
                        struct err *err)
{
    struct heads *heads = calloc(1, sizeof *heads);
    if (heads == NULL) {
        (void)err_set(err, "out of memory for heads");
        return NULL;
    }
    heads->published = published;
    heads->published_count = count;
    for (int chain = 0; chain < CHAINS_END; chain++)
        heads->ends[chain] = -1;
    int result = 0;
    for (int i = 0; i < count && result == 0; i++)
        result = point_add(heads, chain_of(published[i].name), published[i].number, err);
    if (result != 0 || (store != NULL && seals_find(heads, store, err) != 0)) {
        heads_free(heads);
        return NULL;
    }
    points_sort(heads);
    return heads;
}

void heads_free(struct heads *heads)
{
    if (heads == NULL)
        return;
    free(heads->points);
    free(heads->seals);
    free(heads);
}

void heads_pass(struct heads *heads, int chain, int64_t number,
                const uint8_t hash[static AUDIT_HASH_SIZE])
{
    struct point *point = point_find(heads, chain, number);
    if (point == NULL)
        return;
    point->met = true;
    memcpy(point->hash, hash, AUDIT_HASH_SIZE);
}

void heads_end(struct heads *heads, int chain, int64_t number)
{
    heads->ends[chain] = number;
}

// --- judge ---

static void published_check(const struct heads *heads, const struct chain_head *head,
                            struct verify *verify)
{
    int chain = chain_of(head->name);
    const struct point *point = point_find(heads, chain, head->number);
    char hash[HASH_TEXT_SIZE];
    if (point->met) {
        hash_print(point->hash, hash);
        if (strcmp(hash, head->hash) != 0) {
            verify_fault(verify,
                         "%s: row %" PRId64 " was published with another hash: what the store holds"
                         " up to there was changed, or is another store's",
                         head->name, head->number);
        }
    } else if (heads->ends[chain] >= 0 && head->number > heads->ends[chain]) {
        verify_fault(verify,
                     "%s: row %" PRId64 " was published, the store ends at %" PRId64
                     ": its end was cut off, or an older copy came back",
                     head->name, head->number, heads->ends[chain]);
    }
}

static void beyond_check(const struct heads *heads, const struct seal *seal, int chain,
                         int64_t number, struct verify *verify)
{
    if (heads->ends[chain] >= 0 && number > heads->ends[chain]) {
        verify_fault(verify,
                     "%s: record %" PRId64 " of the audit chain seals row %" PRId64
                     ", the store ends at %" PRId64,
                     chain_text(chain), seal->number, number, heads->ends[chain]);
    }
}

// The seal's hash over the heads that it names; a head inside of what retention took cannot be told
// any more, and then nothing is said. Behind it, each by itself, those of what is no chain.
static int seal_check(const struct heads *heads, const struct seal *seal, struct verify *verify,
                      struct err *err)
{
    char all[HEADS_MAX * 128] = "";
    char expected[HASH_TEXT_SIZE];
    char states[2][HASH_TEXT_SIZE] = {"", ""}; // "": cannot be told
    int state_count = 0;
    size_t length = 0;
    bool known = true;
    const char *text = seal->detail;
    char name[16];
    int64_t number;
    while (entry_next(&text, name, &number)) {
        int chain = chain_of(name);
        const struct point *point = chain > 0 ? point_find(heads, chain, number) : NULL;
        char hash[HASH_TEXT_SIZE] = "";
        bool met = point != NULL && point->met;
        if (met)
            hash_print(point->hash, hash);
        else if (chain > 0)
            beyond_check(heads, seal, chain, number, verify);
        if (chain_is_state(chain) && state_count < 2) {
            memcpy(states[state_count++], hash, sizeof hash);
            continue;
        }
        known = known && met;
        length += (size_t)snprintf(all + length, sizeof all - length, "%s %" PRId64 " %s\n", name,
                                   number, hash);
        length = length < sizeof all ? length : sizeof all - 1;
    }
    uint8_t hash[AUDIT_HASH_SIZE];
    if (EVP_Digest(all, length, hash, NULL, EVP_sha256(), NULL) != 1)
        return err_set(err, "out of memory for a check sum");
    hash_print(hash, expected);
    bool same = strlen(text) == (size_t)(HASH_TEXT_SIZE - 1 + state_count * HASH_TEXT_SIZE) &&
                (!known || strncmp(text, expected, HASH_TEXT_SIZE - 1) == 0);
    for (int i = 0; same && i < state_count; i++)
        same = states[i][0] == '\0' ||
               strncmp(text + (i + 1) * HASH_TEXT_SIZE, states[i], HASH_TEXT_SIZE - 1) == 0;
    if (!same) {
        verify_fault(verify,
                     "audit: record %" PRId64 " seals other rows than the store has up to there",
                     seal->number);
    }
    return 0;
}

int heads_check(struct heads *heads, struct verify *verify, struct err *err)
{
    for (int i = 0; i < heads->published_count; i++)
        published_check(heads, &heads->published[i], verify);
    for (int i = 0; i < heads->seal_count; i++)
        if (seal_check(heads, &heads->seals[i], verify, err) != 0)
            return -1;
    return 0;
}
