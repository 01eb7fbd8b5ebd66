// A store in a folder of its own, a meter and its readings.
#ifndef METERGATE_TESTS_UNIT_STORE_FIXTURE_H
#define METERGATE_TESTS_UNIT_STORE_FIXTURE_H

#include "store/store.h"

#include "property.h"

#include <dirent.h>
#include <fcntl.h>
#include <sqlite3.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define T0 INT64_C(1795420800000) // 2026-11-23T08:00:00Z

static char folder[64];

static inline const char *store_path(void)
{
    static char path[128];
    (void)snprintf(path, sizeof path, "%s/%s", folder, STORE_FILE);
    return path;
}

static inline int folder_make(void **state)
{
    (void)state;
    strcpy(folder, "/tmp/metergate-store-XXXXXX");
    return mkdtemp(folder) == NULL ? -1 : 0;
}

static inline int folder_remove(void **state)
{
    (void)state;
    DIR *dir = opendir(folder);
    if (dir == NULL)
        return -1;
    for (struct dirent *entry; (entry = readdir(dir)) != NULL;)
        (void)unlinkat(dirfd(dir), entry->d_name, 0);
    (void)closedir(dir);
    return rmdir(folder);
}

static inline struct store *store_must_open(void)
{
    struct store *store = NULL;
    struct err err = {.text = ""};
    if (store_open(folder, &store, &err) != 0)
        print_error("store_open: %s\n", err.text);
    assert_non_null(store);
    return store;
}

static inline struct store *store_must_read(void)
{
    struct store *store = NULL;
    struct err err = {.text = ""};
    if (store_open_reader(folder, &store, &err) != 0)
        print_error("store_open_reader: %s\n", err.text);
    assert_non_null(store);
    return store;
}

static struct err failure; // of the calls below

#define must(call)                                                                                 \
    do {                                                                                           \
        if ((call) < 0) {                                                                          \
            print_error("%s: %s\n", #call, failure.text);                                          \
            fail();                                                                                \
        }                                                                                          \
    } while (0)

// SQL behind the store's back, as somebody with the file would.
static inline void sql_run(const char *sql)
{
    sqlite3 *db;
    assert_int_equal(sqlite3_open(store_path(), &db), SQLITE_OK);
    char *text = NULL;
    if (sqlite3_exec(db, sql, NULL, NULL, &text) != SQLITE_OK) {
        print_error("%s: %s\n", sql, text);
        fail();
    }
    assert_int_equal(sqlite3_close(db), SQLITE_OK);
}

static inline int64_t sql_ask(const char *sql)
{
    sqlite3 *db;
    sqlite3_stmt *statement;
    assert_int_equal(sqlite3_open(store_path(), &db), SQLITE_OK);
    assert_int_equal(sqlite3_prepare_v2(db, sql, -1, &statement, NULL), SQLITE_OK);
    assert_int_equal(sqlite3_step(statement), SQLITE_ROW);
    int64_t value = sqlite3_column_int64(statement, 0);
    (void)sqlite3_finalize(statement);
    assert_int_equal(sqlite3_close(db), SQLITE_OK);
    return value;
}

// Messages of a lane above `after` that can still be sent; of one kind, or of all (0).
static inline int64_t messages_of(struct store *store, enum lane lane, int64_t after,
                                  enum message_kind kind)
{
    struct outbox_entry entries[100];
    int64_t total = 0;
    int count;
    while ((count = store_outbox_next(store, lane, after, entries, 100, &failure)) > 0) {
        for (int i = 0; i < count; i++)
            total += kind == 0 || entries[i].kind == kind;
        after = entries[count - 1].seq;
    }
    must(count);
    return total;
}

// The whole file of a closed store.
static inline size_t file_get(char *bytes, size_t size)
{
    int file = open(store_path(), O_RDONLY | O_CLOEXEC);
    ssize_t length = read(file, bytes, size);
    (void)close(file);
    assert_true(length > 0 && (size_t)length < size);
    return (size_t)length;
}

static inline void file_put(const char *bytes, size_t length)
{
    int file = open(store_path(), O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
    assert_true(file >= 0);
    assert_int_equal(write(file, bytes, length), length);
    (void)close(file);
}

static const char profile_text[] =
    "model: Test meter\n"
    "source: tests/unit/store_fixture.h\n"
    "verified: true\n"
    "medium: gas\n"
    "channels:\n"
    "  volume_base: {register: 0, function: 3, type: bcd12, scale: 0.0001, unit: m3}\n"
    "  flow_base: {register: 3, function: 3, type: f32, unit: m3/h}\n"
    "  pressure: {register: 5, function: 3, type: f32, unit: config}\n";

// The meters m1, m2 … of one model. Free with fixture_meter_free.
static inline struct meter *fixture_meter(const char *id)
{
    struct faults *faults = calloc(1, sizeof *faults);
    struct meter *meter = calloc(1, sizeof *meter);
    assert_non_null(faults);
    assert_non_null(meter);
    if (profile_load_text("test.yaml", profile_text, sizeof profile_text - 1, &meter->profile,
                          faults) != 0) {
        print_error("%s: %s\n", faults->list[0].path, faults->list[0].message);
        fail();
    }
    free(faults);
    (void)snprintf(meter->id, sizeof meter->id, "%s", id);
    int pressure = profile_channel_find(meter->profile, "pressure");
    strcpy(meter->units[pressure], "bar");
    must(profile_set_unit(meter->profile, pressure, "bar", &failure));
    return meter;
}

static inline void fixture_meter_free(struct meter *meter)
{
    profile_free(meter->profile);
    free(meter);
}

// A reading with random words: each field is read, or has one of the reasons.
static inline struct reading *fixture_reading(const struct meter *meter, int64_t at_ms)
{
    struct reading *reading =
        calloc(1, sizeof *reading + PROFILE_CHANNELS_MAX * sizeof(struct value));
    assert_non_null(reading);
    reading->meter = meter;
    reading->at_ms = at_ms;
    reading->due_ms = at_ms - random_between(0, 500);
    bool silent = random_between(0, 9) == 0;
    for (int i = 0; i < meter->profile->field_count; i++) {
        const struct field *field = &meter->profile->fields[i];
        reading->image.why[i] =
            (uint16_t)(silent ? WHY_TIMEOUT
                              : (random_between(0, 4) == 0 ? random_between(1, 0x110) : 0));
        for (int word = 0; reading->image.why[i] == 0 && word < field->words; word++)
            reading->image.words[field->place + word] = (uint16_t)random_u64();
    }
    reading->answered = !silent;
    reading->value_count = meter->profile->channel_count;
    image_decode(meter->profile, &reading->image, meter->unverified, reading->values);
    return reading;
}

// Value by value: a struct has padding.
static inline void values_must_equal(const struct profile *profile, const struct value *a,
                                     const struct value *b)
{
    for (int i = 0; i < profile->channel_count; i++) {
        assert_int_equal(a[i].quality, b[i].quality);
        assert_int_equal(a[i].present, b[i].present);
        assert_int_equal(a[i].why, b[i].why);
        if (!a[i].present)
            continue;
        switch (profile->channels[i].channel->kind) {
        case CHANNEL_COUNTER: assert_int_equal(a[i].micro, b[i].micro); break;
        case CHANNEL_GAUGE:
        case CHANNEL_EXACT:
            assert_memory_equal(&a[i].number, &b[i].number, sizeof a[i].number);
            break;
        case CHANNEL_BITS: assert_int_equal(a[i].bits, b[i].bits); break;
        case CHANNEL_IDENTITY: assert_string_equal(a[i].text, b[i].text); break;
        }
    }
}

#endif
