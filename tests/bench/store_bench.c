// Rows per second and bytes per reading of the store, beside bare SQLite that inserts rows of the
// same bytes with one commit a round, in one run and on one disk.
//
//     build/tests/bench/store_bench [READINGS] [FOLDER]
#include "store/store.h"

#include <dirent.h>
#include <fcntl.h>
#include <inttypes.h>
#include <sqlite3.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#define ROUND 100 // readings of a commit
#define METERS 100
#define WORDS 18  // of eight channels
#define REPEATS 3 // the median is printed
#define START_MS INT64_C(1795420800000)

static const char profile_text[] =
    "model: Bench meter\nsource: tests/bench/store_bench.c\nverified: true\nmedium: gas\n"
    "channels:\n"
    "  volume_base: {register: 0, function: 3, type: bcd12, scale: 0.0001, unit: m3}\n"
    "  volume_measured: {register: 3, function: 3, type: bcd12, scale: 0.0001, unit: m3}\n"
    "  flow_base: {register: 6, function: 3, type: f32, unit: m3/h}\n"
    "  flow_measured: {register: 8, function: 3, type: f32, unit: m3/h}\n"
    "  temperature: {register: 10, function: 3, type: f32, unit: degC}\n"
    "  pressure: {register: 12, function: 3, type: f32, unit: kPa}\n"
    "  compressibility_ratio: {register: 14, function: 3, type: f32, unit: '1'}\n"
    "  conversion_factor: {register: 16, function: 3, type: f32, unit: '1'}\n";

struct figure {
    double rows_per_s;
    double bytes_stored;  // of the file, per reading
    double bytes_written; // by this process, per reading
};

static void fail(const char *what)
{
    (void)fprintf(stderr, "store_bench: %s\n", what);
    exit(1);
}

static double now_s(void)
{
    struct timespec now;
    (void)clock_gettime(CLOCK_MONOTONIC, &now);
    return (double)now.tv_sec + (double)now.tv_nsec / 1e9;
}

// Bytes that this process caused to be written, 0 where the kernel does not count them.
static double written(void)
{
    FILE *file = fopen("/proc/self/io", "re");
    char line[100];
    double bytes = 0;
    while (file != NULL && fgets(line, sizeof line, file) != NULL)
        (void)sscanf(line, "write_bytes: %lf", &bytes);
    if (file != NULL)
        (void)fclose(file);
    return bytes;
}

static double file_bytes(const char *path)
{
    struct stat info;
    return stat(path, &info) == 0 ? (double)info.st_size : 0;
}

static void remove_files(const char *folder)
{
    DIR *dir = opendir(folder);
    for (struct dirent *entry; dir != NULL && (entry = readdir(dir)) != NULL;)
        (void)unlinkat(dirfd(dir), entry->d_name, 0);
    if (dir != NULL)
        (void)closedir(dir);
}

static struct meter *make_meter(void)
{
    struct faults *faults = calloc(1, sizeof *faults);
    struct meter *meter = calloc(1, sizeof *meter);
    if (faults == NULL || meter == NULL)
        fail("out of memory");
    if (profile_load_text("bench.yaml", profile_text, sizeof profile_text - 1, &meter->profile,
                          faults) != 0)
        fail(faults->list[0].message);
    if (meter->profile->channel_count != 8 || meter->profile->word_count != WORDS)
        fail("the bench profile is not the one that it should be");
    free(faults);
    return meter;
}

static void fill_words(uint16_t words[static WORDS], int i)
{
    for (int word = 0; word < WORDS; word++)
        words[word] = (uint16_t)((i * 31 + word * 977) & 0x7777);
}

static void write_store(const char *folder, int count, enum lane lane)
{
    struct err err = {.text = ""};
    struct store *store = NULL;
    struct meter *meter = make_meter();
    struct reading *reading =
        calloc(1, sizeof *reading + PROFILE_CHANNELS_MAX * sizeof(struct value));
    int numbers[METERS];
    int decoder;
    if (reading == NULL || store_open(folder, &store, &err) != 0 ||
        store_round_begin(store, &err) != 0 || store_decoder(store, meter, &decoder, &err) != 0)
        fail(err.text);
    for (int i = 0; i < METERS; i++) {
        int64_t configured_ms;
        (void)snprintf(meter->id, sizeof meter->id, "m%d", i);
        if (store_meter(store, meter->id, START_MS, &numbers[i], &configured_ms, &err) != 0)
            fail(err.text);
    }
    if (store_round_commit(store, &err) != 0)
        fail(err.text);
    for (int i = 0; i < count; i++) {
        *reading = (struct reading){.meter = meter,
                                    .at_ms = START_MS + (i / METERS) * 1000 + i % METERS * 10,
                                    .answered = true};
        reading->due_ms = reading->at_ms - 40;
        fill_words(reading->image.words, i);
        if ((i % ROUND == 0 && store_round_begin(store, &err) != 0) ||
            store_reading_add(store, numbers[i % METERS], decoder, reading, lane, &err) != 0 ||
            (i % ROUND == ROUND - 1 && store_round_commit(store, &err) != 0))
            fail(err.text);
    }
    store_close(store);
    profile_free(meter->profile);
    free(meter);
    free(reading);
}

// The least that keeps the same bytes: one table, one statement.
static void write_bare(const char *folder, int count)
{
    char path[4096];
    sqlite3 *db;
    sqlite3_stmt *insert;
    (void)snprintf(path, sizeof path, "%s/%s", folder, STORE_FILE);
    if (sqlite3_open(path, &db) != SQLITE_OK ||
        sqlite3_exec(
            db,
            "PRAGMA page_size = 4096; PRAGMA journal_mode = WAL; PRAGMA synchronous = FULL;"
            "CREATE TABLE reading(id INTEGER PRIMARY KEY, words BLOB NOT NULL) STRICT",
            NULL, NULL, NULL) != SQLITE_OK ||
        sqlite3_prepare_v2(db, "INSERT INTO reading VALUES (?, ?)", -1, &insert, NULL) != SQLITE_OK)
        fail(sqlite3_errmsg(db));
    for (int i = 0; i < count; i++) {
        uint16_t words[WORDS];
        fill_words(words, i);
        if (i % ROUND == 0)
            (void)sqlite3_exec(db, "BEGIN IMMEDIATE", NULL, NULL, NULL);
        int64_t at_ms = START_MS + (i / METERS) * 1000 + i % METERS * 10;
        (void)sqlite3_bind_int64(insert, 1, at_ms << 16 | (i % METERS + 1));
        (void)sqlite3_bind_blob(insert, 2, words, sizeof words, SQLITE_STATIC);
        if (sqlite3_step(insert) != SQLITE_DONE || sqlite3_reset(insert) != SQLITE_OK ||
            (i % ROUND == ROUND - 1 && sqlite3_exec(db, "COMMIT", NULL, NULL, NULL) != SQLITE_OK))
            fail(sqlite3_errmsg(db));
    }
    (void)sqlite3_finalize(insert);
    (void)sqlite3_close(db);
}

enum way { BARE, STORE, STORE_SENT, WAYS };
static const char *const way_texts[] = {"bare SQLite, same bytes", "store",
                                        "store, with the outbox"};

static struct figure measure(const char *folder, enum way way, int count)
{
    char path[4096];
    (void)snprintf(path, sizeof path, "%s/%s", folder, STORE_FILE);
    remove_files(folder);
    double before = written();
    double start = now_s();
    if (way == BARE)
        write_bare(folder, count);
    else
        write_store(folder, count, way == STORE ? (enum lane)0 : LANE_LIVE);
    struct figure figure = {.rows_per_s = count / (now_s() - start),
                            .bytes_written = (written() - before) / count};
    figure.bytes_stored = file_bytes(path) / count;
    remove_files(folder);
    return figure;
}

static int compare(const void *a, const void *b)
{
    double one = ((const struct figure *)a)->rows_per_s;
    double other = ((const struct figure *)b)->rows_per_s;
    return one < other ? -1 : one > other;
}

int main(int argc, char **argv)
{
    int count = argc > 1 ? (int)strtol(argv[1], NULL, 10) : 200000;
    char folder[4000];
    (void)snprintf(folder, sizeof folder, "%s/store-bench-XXXXXX", argc > 2 ? argv[2] : "/tmp");
    count -= count % ROUND;
    if (count < ROUND || mkdtemp(folder) == NULL)
        fail("usage: store_bench [READINGS, at least 100] [FOLDER]");
    struct figure figures[WAYS][REPEATS];
    for (int repeat = 0; repeat < REPEATS; repeat++) // in turn, so that the disk's moods are shared
        for (int way = 0; way < WAYS; way++)
            figures[way][repeat] = measure(folder, (enum way)way, count);
    (void)rmdir(folder);
    printf("%d readings of 8 channels, %d a commit, median of %d\n", count, ROUND, REPEATS);
    printf("%-26s %12s %10s %16s %16s\n", "", "readings/s", "of bare", "stored B/reading",
           "written B/reading");
    double bare = 0;
    for (int way = 0; way < WAYS; way++) {
        qsort(figures[way], REPEATS, sizeof(struct figure), compare);
        const struct figure *median = &figures[way][REPEATS / 2];
        bare = way == BARE ? median->rows_per_s : bare;
        printf("%-26s %12.0f %9.0f%% %16.1f %16.1f\n", way_texts[way], median->rows_per_s,
               100 * median->rows_per_s / bare, median->bytes_stored, median->bytes_written);
    }
    return 0;
}
