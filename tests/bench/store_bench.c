// The store's three figures, each beside its bar, in one run on one disk:
//   speed: readings committed per second beside bare SQLite that inserts rows of the same bytes
//   with
//     one commit a round;
//   flash wear: bytes that this process writes for a reading of 8 channels when everything is on:
//     every reading in the outbox and acknowledged, periods, retention that deletes as much as
//     comes;
//   size: bytes that stay for a reading of 20 registers at a site of 500 meters.
// Words are those of a meter: counters that advance with a wandering flow, gauges with the noise of
// a real sensor in every bit of their mantissa.
//
//     build/tests/bench/store_bench [READINGS] [FOLDER] [SEED]
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
#define METERS 500
#define WORDS 18      // of eight channels
#define WORDS_LONG 20 // of the meter whose readings' size is measured
#define REPEATS 3     // the median is printed
#define START_MS INT64_C(1795420800000)
#define MINUTE_MS 60000
#define HOUR_MINUTES 60
#define DEFAULT_ROUND 8 // readings of a commit of 500 meters x 1 min at the default commit_ms
#define DEFAULT_MS 1000

#define SPEED_BAR 80.0    // percent of bare SQLite
#define WRITTEN_BAR 400.0 // bytes
#define SIZE_BAR 48.0     // bytes

static const char profile_head[] =
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
static const char profile_tail[] = "  battery: {register: 18, function: 3, type: f32, unit: '%'}\n";

static const double noise_of[] = {0.02, 0.05, 0.0001, 0.0005, 0.01}; // of the gauges, in their unit
static uint64_t random_state;

static uint64_t random_u64(void)
{
    random_state ^= random_state << 13;
    random_state ^= random_state >> 7;
    random_state ^= random_state << 17;
    return random_state;
}

// -1 to 1
static double noise(void)
{
    return (double)(int64_t)random_u64() / 0x1p63;
}

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

// --- meters ---

struct bench_meter {
    int number;
    double flow, base, measured;
};

struct site {
    struct store *store;
    struct meter *meter; // the one of them all; its id is that of the newest
    int decoder;
    bool random; // words that nobody could foretell
    struct bench_meter meters[METERS];
    struct reading *reading;
};

static struct meter *make_meter(bool with_battery)
{
    struct faults *faults = calloc(1, sizeof *faults);
    struct meter *meter = calloc(1, sizeof *meter);
    char text[2000];
    int length =
        snprintf(text, sizeof text, "%s%s", profile_head, with_battery ? profile_tail : "");
    if (faults == NULL || meter == NULL)
        fail("out of memory");
    if (profile_load_text("bench.yaml", text, (size_t)length, &meter->profile, faults) != 0)
        fail(faults->list[0].message);
    if (meter->profile->word_count != (with_battery ? WORDS_LONG : WORDS))
        fail("the bench profile is not the one that it should be");
    free(faults);
    return meter;
}

static void put_float(uint16_t *words, double value)
{
    float number = (float)value;
    uint32_t bits;
    memcpy(&bits, &number, sizeof bits);
    words[0] = (uint16_t)(bits >> 16);
    words[1] = (uint16_t)bits;
}

// Three words of four digits: 0.0001 m3 the last one.
static void put_digits(uint16_t *words, double m3)
{
    uint64_t left = (uint64_t)(m3 * 10000);
    for (int word = 2; word >= 0; word--) {
        unsigned digits = 0;
        for (int shift = 0; shift < 16; shift += 4, left /= 10)
            digits |= (unsigned)(left % 10) << shift;
        words[word] = (uint16_t)digits;
    }
}

// A minute of gas flows, then the meter is read.
static void read_meter(struct bench_meter *meter, int words, uint16_t *out)
{
    double gauges[] = {15, 301, 0.98, 2.9, 87};
    meter->flow += noise();
    meter->flow = meter->flow < 1 ? 1 : meter->flow;
    meter->base += meter->flow / 60;
    meter->measured += meter->flow / gauges[3] / 60;
    put_digits(&out[0], meter->base);
    put_digits(&out[3], meter->measured);
    put_float(&out[6], meter->flow);
    put_float(&out[8], meter->flow / gauges[3]);
    for (int i = 0; 10 + 2 * i < words; i++)
        put_float(&out[10 + 2 * i], gauges[i] + noise() * noise_of[i]);
}

static void open_site(struct site *site, const char *folder, bool with_battery)
{
    struct err err = {.text = ""};
    *site = (struct site){.meter = make_meter(with_battery)};
    site->reading = calloc(1, sizeof *site->reading + PROFILE_CHANNELS_MAX * sizeof(struct value));
    if (site->reading == NULL || store_open(folder, &site->store, &err) != 0 ||
        store_round_begin(site->store, &err) != 0 ||
        store_decoder(site->store, site->meter, &site->decoder, &err) != 0)
        fail(err.text);
    for (int i = 0; i < METERS; i++) {
        int64_t configured_ms;
        site->meters[i] = (struct bench_meter){.flow = 50, .base = 12345.6 * i, .measured = 4321.0};
        (void)snprintf(site->meter->id, sizeof site->meter->id, "m%d", i);
        if (store_meter(site->store, site->meter->id, START_MS, &site->meters[i].number,
                        &configured_ms, &err) != 0)
            fail(err.text);
    }
    if (store_round_commit(site->store, &err) != 0)
        fail(err.text);
}

static void close_site(struct site *site)
{
    store_close(site->store);
    profile_free(site->meter->profile);
    free(site->meter);
    free(site->reading);
}

// The meters are due one after the other within the minute, and answer after a moment that differs.
static int64_t due_ms(int64_t i)
{
    return START_MS + i / METERS * MINUTE_MS + i % METERS * MINUTE_MS / METERS;
}

static void add_reading(struct site *site, int64_t i, enum lane lane)
{
    struct err err;
    struct bench_meter *meter = &site->meters[i % METERS];
    struct reading *reading = site->reading;
    int words = site->meter->profile->word_count;
    *reading = (struct reading){.meter = site->meter, .answered = true, .due_ms = due_ms(i)};
    reading->at_ms = reading->due_ms + 30 + (int64_t)(random_u64() % 200);
    if (site->random)
        for (int word = 0; word < words; word++)
            reading->image.words[word] = (uint16_t)random_u64();
    else
        read_meter(meter, words, reading->image.words);
    if (store_reading_add(site->store, meter->number, site->decoder, reading, lane, &err) != 0)
        fail(err.text);
}

// --- speed ---

// What both sides insert is made before the clock starts.
struct speed_row {
    int64_t at_ms;
    uint16_t words[WORDS];
};

static struct speed_row *make_rows(int count)
{
    struct speed_row *rows = calloc((size_t)count, sizeof *rows);
    struct bench_meter *meters = calloc(METERS, sizeof *meters);
    if (rows == NULL || meters == NULL)
        fail("out of memory");
    for (int i = 0; i < count; i++) {
        rows[i].at_ms = due_ms(i) + 30 + (int64_t)(random_u64() % 200);
        read_meter(&meters[i % METERS], WORDS, rows[i].words);
    }
    free(meters);
    return rows;
}

static double speed_of_store(const char *folder, const struct speed_row *rows, int count,
                             enum lane lane)
{
    struct err err = {.text = ""};
    struct site site;
    open_site(&site, folder, false);
    struct reading *reading = site.reading;
    double start = now_s();
    for (int i = 0; i < count; i++) {
        *reading = (struct reading){
            .meter = site.meter, .at_ms = rows[i].at_ms, .due_ms = due_ms(i), .answered = true};
        memcpy(reading->image.words, rows[i].words, sizeof rows[i].words);
        if ((i % ROUND == 0 && store_round_begin(site.store, &err) != 0) ||
            store_reading_add(site.store, site.meters[i % METERS].number, site.decoder, reading,
                              lane, &err) != 0 ||
            (i % ROUND == ROUND - 1 && store_round_commit(site.store, &err) != 0))
            fail(err.text);
    }
    double rate = count / (now_s() - start);
    close_site(&site);
    return rate;
}

// The least that keeps the same bytes: one table, one statement.
static double speed_of_bare(const char *folder, const struct speed_row *rows, int count)
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
    double start = now_s();
    for (int i = 0; i < count; i++) {
        if (i % ROUND == 0)
            (void)sqlite3_exec(db, "BEGIN IMMEDIATE", NULL, NULL, NULL);
        (void)sqlite3_bind_int64(insert, 1, rows[i].at_ms << 16 | (i % METERS + 1));
        (void)sqlite3_bind_blob(insert, 2, rows[i].words, sizeof rows[i].words, SQLITE_STATIC);
        if (sqlite3_step(insert) != SQLITE_DONE || sqlite3_reset(insert) != SQLITE_OK ||
            (i % ROUND == ROUND - 1 && sqlite3_exec(db, "COMMIT", NULL, NULL, NULL) != SQLITE_OK))
            fail(sqlite3_errmsg(db));
    }
    double rate = count / (now_s() - start);
    (void)sqlite3_finalize(insert);
    (void)sqlite3_close(db);
    return rate;
}

enum way { BARE, STORE, STORE_SENT, WAYS };
static const char *const way_texts[] = {"bare SQLite, same bytes", "store, nothing sent",
                                        "store, every reading sent"};

static int compare(const void *a, const void *b)
{
    double one = *(const double *)a;
    double other = *(const double *)b;
    return one < other ? -1 : one > other;
}

static int report_speed(const char *folder, int count)
{
    double rates[WAYS][REPEATS];
    struct speed_row *rows = make_rows(count);
    for (int repeat = 0; repeat < REPEATS;
         repeat++) { // in turn, so that the disk's moods are shared
        for (int way = 0; way < WAYS; way++) {
            remove_files(folder);
            rates[way][repeat] =
                way == BARE
                    ? speed_of_bare(folder, rows, count)
                    : speed_of_store(folder, rows, count, way == STORE ? (enum lane)0 : LANE_LIVE);
        }
    }
    free(rows);
    int missed = 0;
    double bare = 0;
    printf("speed: %d readings of 8 channels, %d a commit, median of %d\n", count, ROUND, REPEATS);
    for (int way = 0; way < WAYS; way++) {
        qsort(rates[way], REPEATS, sizeof rates[way][0], compare);
        double rate = rates[way][REPEATS / 2];
        bare = way == BARE ? rate : bare;
        bool met = 100 * rate >= SPEED_BAR * bare;
        printf("  %-26s %9.0f readings/s  %4.0f %%", way_texts[way], rate, 100 * rate / bare);
        printf(way == BARE ? "\n" : "  of bare, bar %.0f %% or more  %s\n", SPEED_BAR,
               met ? "ok" : "MISSED");
        missed += !met;
    }
    return missed;
}

// --- flash wear ---

static void add_period(struct site *site, int meter, enum span span, int64_t from_ms, int64_t to_ms)
{
    struct err err;
    const struct profile *profile = site->meter->profile;
    struct period period = {.span = span,
                            .version = 1,
                            .from_ms = from_ms,
                            .to_ms = to_ms,
                            .expected = (to_ms - from_ms) / MINUTE_MS,
                            .good = (to_ms - from_ms) / MINUTE_MS,
                            .channel_count = profile->channel_count};
    for (int i = 0; i < profile->channel_count; i++) {
        struct period_channel *channel = &period.channels[i];
        (void)snprintf(channel->name, sizeof channel->name, "%s",
                       profile->channels[i].channel->name);
        channel->kind = (uint8_t)profile->channels[i].channel->kind;
        channel->start_known = channel->end_known = true;
        channel->start_micro = (int64_t)(site->meters[meter].base * 1e6);
        channel->end_micro = channel->start_micro + 12345678;
        channel->last_ms = to_ms - 20;
        channel->last_micro = channel->end_micro;
        channel->weight_ms = to_ms - from_ms;
        channel->min = 10 + noise();
        channel->mean = 12 + noise();
        channel->max = 14 + noise();
    }
    if (store_period_add(site->store, site->meters[meter].number, &period, to_ms, LANE_LIVE,
                         span == SPAN_DAY     ? MESSAGE_DAY
                         : span == SPAN_15MIN ? MESSAGE_SUMMARY
                                              : (enum message_kind)0,
                         &err) != 0)
        fail(err.text);
}

// The periods that close at a meter's first reading after their end.
static void add_periods(struct site *site, int64_t i)
{
    static const struct {
        enum span span;
        int minutes;
    } spans[] = {{SPAN_15MIN, 15}, {SPAN_HOUR, HOUR_MINUTES}, {SPAN_DAY, 24 * HOUR_MINUTES}};
    int64_t minute = i / METERS;
    for (size_t s = 0; s < sizeof spans / sizeof spans[0]; s++) {
        if (minute > 0 && minute % spans[s].minutes == 0) {
            int64_t to_ms = START_MS + minute * MINUTE_MS;
            add_period(site, (int)(i % METERS), spans[s].span,
                       to_ms - (int64_t)spans[s].minutes * MINUTE_MS, to_ms);
        }
    }
}

static void commit_round(struct site *site, int64_t first, int64_t end)
{
    struct err err;
    struct outbox_state lane;
    if (store_outbox_state(site->store, LANE_LIVE, &lane, &err) != 0 ||
        store_round_begin(site->store, &err) != 0)
        fail(err.text);
    for (int64_t i = first; i < end; i++) {
        add_reading(site, i, LANE_LIVE);
        add_periods(site, i);
    }
    // What the round before sent has been acknowledged meanwhile.
    if (store_outbox_acknowledge(site->store, LANE_LIVE, lane.last, &err) != 0 ||
        store_round_commit(site->store, &err) != 0)
        fail(err.text);
}

// What the recorder does once a minute.
static void care(struct site *site, int64_t now_ms, int64_t before_ms)
{
    struct err err;
    int gone;
    if (store_reading_ripe(site->store, now_ms) &&
        (store_round_begin(site->store, &err) != 0 || store_reading_pack(site->store, &err) != 0 ||
         store_round_commit(site->store, &err) != 0))
        fail(err.text);
    do {
        if (store_round_begin(site->store, &err) != 0 ||
            (gone = store_retain(site->store, before_ms, 1000, &err)) < 0 ||
            store_round_commit(site->store, &err) != 0)
            fail(err.text);
    } while (gone >= 1000);
}

// Fills for `kept` minutes, goes on for as long until deletion is under way, and then measures.
static double wear(const char *folder, int round, int kept, int measured)
{
    struct site site;
    remove_files(folder);
    open_site(&site, folder, false);
    int64_t begin = (int64_t)METERS * 2 * kept;
    int64_t end = begin + (int64_t)METERS * measured;
    double before = 0;
    int64_t minute = 0;
    for (int64_t i = 0; i < end;) {
        int step = i < begin ? 1000 : round;
        int64_t next = i + step < end ? i + step : end;
        if (i < begin && next > begin)
            next = begin;
        commit_round(&site, i, next);
        if (i < begin && next == begin)
            before = written();
        i = next;
        for (; minute < i / METERS; minute++)
            care(&site, START_MS + minute * MINUTE_MS, START_MS + (minute - kept) * MINUTE_MS);
    }
    double bytes = (written() - before) / (double)(end - begin);
    close_site(&site);
    remove_files(folder);
    return bytes;
}

static int report_wear(const char *folder, bool brief)
{
    int kept = brief ? 120 : 480;
    double figure = wear(folder, ROUND, kept, brief ? 120 : 960);
    double usual = wear(folder, DEFAULT_ROUND, kept, brief ? 60 : 240);
    if (figure == 0) {
        printf("flash wear: the kernel does not count write_bytes in %s: name a folder on a disk\n",
               folder);
        return 1;
    }
    bool met = figure < WRITTEN_BAR;
    printf(
        "flash wear: %d meters x 1 min, 8 channels; every reading sent and acknowledged, quarter "
        "hours, hours and days, deletion under way; bytes written by write_bytes\n",
        METERS);
    printf(
        "  %4d readings a commit      %6.0f B/reading, bar under %.0f  %s  (a power cut takes %.1f "
        "s)\n",
        ROUND, figure, WRITTEN_BAR, met ? "ok" : "MISSED", 60.0 * ROUND / METERS);
    printf("  %4d, the default commit_ms %6.0f B/reading  (a power cut takes %.1f s)\n",
           DEFAULT_ROUND, usual, DEFAULT_MS / 1000.0);
    return !met;
}

// --- size ---

static double stored_bytes(const char *folder, bool random, int minutes)
{
    struct err err = {.text = ""};
    struct site site;
    remove_files(folder);
    open_site(&site, folder, true);
    site.random = random;
    char path[4096];
    (void)snprintf(path, sizeof path, "%s/%s", folder, STORE_FILE);
    double before = 0;
    int64_t half = (int64_t)METERS * minutes / 2;
    for (int64_t i = 0; i < 2 * half; i++) {
        if ((i % 1000 == 0 && store_round_begin(site.store, &err) != 0))
            fail(err.text);
        add_reading(&site, i, (enum lane)0);
        if ((i % 1000 == 999 || i == 2 * half - 1) && store_round_commit(site.store, &err) != 0)
            fail(err.text);
        if (i % 30000 == 29999)
            care(&site, due_ms(i), 1);
        if (i == half - 1 || i == 2 * half - 1) { // all that was written is in the file
            store_close(site.store);
            before = i == half - 1 ? file_bytes(path) : file_bytes(path) - before;
            if (store_open(folder, &site.store, &err) != 0)
                fail(err.text);
        }
    }
    close_site(&site);
    remove_files(folder);
    return before / (double)half;
}

static int report_size(const char *folder, bool brief)
{
    int minutes = brief ? 480 : 2880;
    double figure = stored_bytes(folder, false, minutes);
    double worst = stored_bytes(folder, true, brief ? 480 : 960);
    bool met = figure < SIZE_BAR;
    double rows = (double)METERS * 90 * 24 * HOUR_MINUTES;
    printf("size: %d meters x 1 min of 20 registers, the second half of %d h\n", METERS,
           minutes / HOUR_MINUTES);
    printf("  %6.1f B/reading, bar under %.0f  %s; 90 days: %.2f GB\n", figure, SIZE_BAR,
           met ? "ok" : "MISSED", figure * rows / 1e9);
    printf("  %6.1f B/reading where every register is random: 90 days: %.2f GB\n", worst,
           worst * rows / 1e9);
    return !met;
}

int main(int argc, char **argv)
{
    int count = argc > 1 ? (int)strtol(argv[1], NULL, 10) : 400000;
    char folder[4000];
    (void)snprintf(folder, sizeof folder, "%s/store-bench-XXXXXX", argc > 2 ? argv[2] : "/var/tmp");
    random_state = argc > 3 ? strtoull(argv[3], NULL, 10) : 1;
    count -= count % ROUND;
    if (count < ROUND || random_state == 0 || mkdtemp(folder) == NULL)
        fail("usage: store_bench [READINGS, at least 100] [FOLDER] [SEED, not 0]");
    printf("seed %" PRIu64 "\n", random_state);
    bool brief = count < 100000;
    int missed = report_speed(folder, count);
    (void)fflush(stdout);
    missed += report_wear(folder, brief);
    (void)fflush(stdout);
    missed += report_size(folder, brief);
    remove_files(folder);
    (void)rmdir(folder);
    return missed != 0;
}
