// What decodes stored words: the profile's text, and the units and the word order that the meter
// entry set. A profile
// that is edited later does not change what was stored before.
#include "store/chain.h"

#include "drivers/archive.h"

#include <inttypes.h>
#include <openssl/evp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define DECODERS_MAX 100000 // revisions; a larger number in a row is damage
#define UNITS_MAX (PROFILE_CHANNELS_MAX * 64)
#define HASH_SIZE 32

#define WORD_ORDER "word_order" // no channel has that name

// "CHANNEL UNIT\n" for each unit that the meter entry sets, "word_order ORDER\n" where it does.
static void units_print(const struct meter *meter, struct buf *out)
{
    if (meter->word_order[0] != '\0')
        buf_addf(out, WORD_ORDER " %s\n", meter->word_order);
    for (int i = 0; i < meter->profile->channel_count; i++)
        if (meter->units[i][0] != '\0')
            buf_addf(out, "%s %s\n", meter->profile->channels[i].channel->name, meter->units[i]);
}

static int setting_apply(struct profile *profile, const char *name, const char *value,
                         struct err *err)
{
    if (strcmp(name, WORD_ORDER) == 0) {
        int order = word_order_find(value);
        if (order < 0)
            return err_set(err, "the stored word order %s is damaged", value);
        (void)profile_set_word_order(profile, (enum word_order)order);
        return 0;
    }
    int channel = profile_channel_find(profile, name);
    if (channel < 0)
        return err_set(err, "the stored units name %s, which the profile does not have", name);
    return profile_set_unit(profile, channel, value, err);
}

static int units_apply(struct profile *profile, const char *units, struct err *err)
{
    while (*units != '\0') {
        char name[64];
        char unit[16];
        int length = 0;
        if (sscanf(units, "%63s %15s%n", name, unit, &length) != 2 || units[length] != '\n')
            return err_set(err, "the stored units are damaged");
        if (setting_apply(profile, name, unit, err) != 0)
            return -1;
        units += length + 1;
    }
    return 0;
}

static int hash_decoder(const char *name, const char *source, const char *units,
                        uint8_t hash[static HASH_SIZE], struct err *err)
{
    const char *texts[] = {name, source, units};
    EVP_MD_CTX *context = EVP_MD_CTX_new();
    bool done = context != NULL && EVP_DigestInit_ex(context, EVP_sha256(), NULL) == 1;
    for (size_t i = 0; done && i < sizeof texts / sizeof texts[0]; i++)
        done = EVP_DigestUpdate(context, texts[i], strlen(texts[i]) + 1) == 1;
    done = done && EVP_DigestFinal_ex(context, hash, NULL) == 1;
    EVP_MD_CTX_free(context);
    return done ? 0 : err_set(err, "out of memory for a check sum");
}

static int decoder_find(struct store *store, const uint8_t *hash, int *revision, struct err *err)
{
    struct query query;
    if (query_begin(&query, store, SLOT_DECODER_FIND,
                    "SELECT revision FROM decoder WHERE hash = ?1", err) != 0)
        return -1;
    query_blob(&query, hash, HASH_SIZE);
    int found = query_row(&query, err);
    if (found == 1) {
        *revision = (int)query_get_int(&query, 0);
        query_end(&query);
    }
    return found;
}

static int decoder_add(struct store *store, const uint8_t *hash, const struct profile *profile,
                       const char *units, int *revision, struct err *err)
{
    struct query query;
    if (register_change(store, err) != 0 ||
        query_begin(&query, store, SLOT_DECODER_ADD,
                    "INSERT INTO decoder(hash, name, profile, units) VALUES (?1, ?2, ?3, ?4)",
                    err) != 0)
        return -1;
    query_blob(&query, hash, HASH_SIZE);
    query_text(&query, profile->name);
    query_text(&query, profile->source);
    query_text(&query, units);
    if (query_run(&query, err) != 0)
        return -1;
    *revision = (int)sqlite3_last_insert_rowid(store->db);
    return 0;
}

static int revision_find_or_add(struct store *store, const struct profile *profile,
                                const char *units, int *revision, struct err *err)
{
    uint8_t hash[HASH_SIZE];
    if (hash_decoder(profile->name, profile->source, units, hash, err) != 0)
        return -1;
    int found = decoder_find(store, hash, revision, err);
    if (found != 0)
        return found == 1 ? 0 : -1;
    return decoder_add(store, hash, profile, units, revision, err);
}

int store_decoder(struct store *store, const struct meter *meter, int *revision, struct err *err)
{
    struct buf units;
    buf_init(&units, UNITS_MAX);
    buf_add_text(&units, "");
    units_print(meter, &units);
    int result = units.failed
                     ? err_set(err, "out of memory for the units of %s", meter->id)
                     : revision_find_or_add(store, meter->profile, units.data, revision, err);
    buf_release(&units);
    return result;
}

static struct profile *profile_make(const char *name, const char *text, const char *units,
                                    struct err *err)
{
    struct faults *faults = calloc(1, sizeof *faults);
    if (faults == NULL) {
        (void)err_set(err, "out of memory");
        return NULL;
    }
    char path[PROFILE_NAME_MAX + 8];
    (void)snprintf(path, sizeof path, "%s.yaml", name);
    struct profile *profile = NULL;
    if (profile_load_text(path, text, strlen(text), &profile, faults) != 0) {
        (void)err_set(err, "the stored profile %s: %s", path, faults->list[0].message);
        profile = NULL;
    } else if (units_apply(profile, units, err) != 0) {
        profile_free(profile);
        profile = NULL;
    }
    free(faults);
    return profile;
}

static struct profile *profile_read(struct store *store, int64_t revision, struct err *err)
{
    struct query query;
    if (query_begin(&query, store, SLOT_DECODER_LOAD,
                    "SELECT name, profile, units FROM decoder WHERE revision = ?1", err) != 0)
        return NULL;
    query_int(&query, revision);
    int found = query_row(&query, err);
    if (found == 0)
        (void)err_set(err, "there is no decoder %" PRId64, revision);
    if (found != 1)
        return NULL;
    struct profile *profile =
        profile_make((const char *)sqlite3_column_text(query.statement, 0),
                     (const char *)sqlite3_column_text(query.statement, 1),
                     (const char *)sqlite3_column_text(query.statement, 2), err);
    query_end(&query);
    return profile;
}

const struct profile *store_profile(struct store *store, int64_t revision, struct err *err)
{
    if (revision < 1 || revision > DECODERS_MAX) {
        (void)err_set(err, "there is no decoder %" PRId64, revision);
        return NULL;
    }
    if (revision >= store->decoder_count) {
        int count = (int)revision + 16;
        struct profile **grown =
            reallocarray(store->decoders, (size_t)count, sizeof(struct profile *));
        if (grown == NULL) {
            (void)err_set(err, "out of memory");
            return NULL;
        }
        for (int i = store->decoder_count; i < count; i++)
            grown[i] = NULL;
        store->decoders = grown;
        grown = reallocarray(store->records, (size_t)count * PROFILE_ARCHIVES_MAX,
                             sizeof(struct profile *));
        if (grown == NULL) {
            (void)err_set(err, "out of memory");
            return NULL;
        }
        for (int i = store->decoder_count * PROFILE_ARCHIVES_MAX; i < count * PROFILE_ARCHIVES_MAX;
             i++)
            grown[i] = NULL;
        store->records = grown;
        store->decoder_count = count;
    }
    if (store->decoders[revision] == NULL)
        store->decoders[revision] = profile_read(store, revision, err);
    return store->decoders[revision];
}

const struct profile *store_record(struct store *store, int64_t revision, int archive,
                                   struct err *err)
{
    const struct profile *profile = store_profile(store, revision, err);
    if (profile == NULL)
        return NULL;
    if (archive >= profile->archive_count) {
        (void)err_set(err, "the profile %s has no archive %d", profile->name, archive);
        return NULL;
    }
    struct profile **record = &store->records[revision * PROFILE_ARCHIVES_MAX + archive];
    if (*record == NULL)
        *record = archive_record(profile, archive, false);
    if (*record == NULL)
        (void)err_set(err, "out of memory");
    return *record;
}

const struct profile *store_row_profile(struct store *store, int64_t revision, int64_t flags,
                                        struct err *err)
{
    if ((flags & READING_ARCHIVE) == 0)
        return store_profile(store, revision, err);
    int archive = (int)(flags >> READING_ARCHIVE_SHIFT & (PROFILE_ARCHIVES_MAX - 1));
    return store_record(store, revision, archive, err);
}

void store_profiles_free(struct store *store)
{
    for (int i = 0; i < store->decoder_count * PROFILE_ARCHIVES_MAX; i++)
        free(store->records[i]);
    free(store->records);
    for (int i = 0; i < store->decoder_count; i++)
        if (store->decoders[i] != NULL)
            profile_free(store->decoders[i]);
    free(store->decoders);
}
