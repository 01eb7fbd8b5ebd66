// A week on a disk that others fill again and again: recorder and store as they are, readings and
// clock injected above the link, on a small file system of its own.
//
// usage: full_week HOURS METERS PROFILES_FOLDER DIRECTORY SEED; prints one JSON object, exits 1
// when a poll is uncounted, a message went unnamed, or the store did not recover.
//
// METERS meters are read each minute. At random instants DIRECTORY's disk is filled to the last
// page, and kept full for minutes, hours, or longer than the recorder's memory reaches; head office
// acknowledges now and then. What the recorder took and what it refused is counted here, for each
// meter and hour: that is what the stored hours have to say (good, and missing).
#include "config/config.h"
#include "poll/schedule.h"
#include "record/recorder.h"

#include <errno.h>
#include <fcntl.h>
#include <sqlite3.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#define MINUTE_MS INT64_C(60000)
#define HOUR_MS (60 * MINUTE_MS)
#define METERS_MAX 100
#define HOURS_MAX 1000
#define UNITS_OF_A_LINK 10
#define WAITING_MAX 3000 // readings offered ahead of a recorder that takes them
#define WAIT_LIMIT_S 120
#define FULL_ONE_IN_MIN 400 // minutes, in the mean, until the disk is filled
#define WEEK_H 168
#define RESERVE_MIN 300 // at the end the disk is free again

static const char *directory;
static struct gas_calendar calendar;
static struct recorder *recorder;
static struct config *config;
static int meters, hours;
static int64_t start_ms;
static uint64_t seed;
static _Atomic int64_t set_ms;

static struct source {
    struct schedule schedule;
    struct due due;
    int64_t total;
} sources[METERS_MAX];
static int taken[METERS_MAX][HOURS_MAX], refused[METERS_MAX][HOURS_MAX];

static struct {
    int64_t polls, taken, refused;
    int spells, full_min, longest_min;
    bool refused_rows; // the store took nothing, for however short a time
    int64_t hours_checked, quarters, stored, messages_seen;
    int alerts;
} figures;

static void fail(const char *what)
{
    (void)fprintf(stderr, "full_week: %s (seed %llu)\n", what, (unsigned long long)seed);
    exit(1);
}

static uint64_t random_next(void)
{
    seed ^= seed << 13;
    seed ^= seed >> 7;
    return seed ^= seed << 17;
}

static int64_t random_between(int64_t low, int64_t high)
{
    return low + (int64_t)(random_next() % (uint64_t)(high - low + 1));
}

// --- the clock ---

static int64_t wall_now_ms(void *context)
{
    (void)context;
    return atomic_load(&set_ms);
}

static int64_t boot_now_ns(void *context)
{
    return (wall_now_ms(context) - start_ms + 5000) * 1000000;
}

static const struct clock clock_set = {.boot_ns = boot_now_ns, .wall_ms = wall_now_ms};

// --- the site ---

static struct config *make_config(const char *profiles)
{
    struct faults *faults = calloc(1, sizeof *faults);
    struct config_search search = {.directory = profiles};
    struct config *made = NULL;
    struct buf text;
    buf_init(&text, 1024 * 1024);
    (void)buf_addf(&text,
                   "gateway: {id: site-042, timezone: Asia/Shanghai, gas_day_start: \"06:00\"}\n"
                   "office: {url: \"mqtt://127.0.0.1:1\", raw_readings: true}\n"
                   "store: {max_size_mb: 20}\nlinks:\n");
    for (int i = 0; i * UNITS_OF_A_LINK < meters; i++)
        (void)buf_addf(&text, "  - {id: hall-%d, url: \"tcp://127.0.0.1:%d\"}\n", i, 20000 + i);
    (void)buf_addf(&text, "meters:\n");
    for (int i = 0; i < meters; i++)
        (void)buf_addf(&text,
                       "  - {id: meter-%d, link: hall-%d, unit: %d, profile: fuxin-totalizer, "
                       "interval_s: 60, qmax_m3_h: 100, display_checked: 2026-11-20}\n",
                       i, i / UNITS_OF_A_LINK, i % UNITS_OF_A_LINK + 1);
    if (!faults || text.failed)
        fail("no memory");
    if (config_load_text("full_week.yaml", text.data, text.length, &search, &made, faults) != 0)
        fail(faults->list[0].message);
    buf_release(&text);
    free(faults);
    return made;
}

static void bcd_put(uint16_t *words, int count, int64_t number)
{
    for (int i = count - 1; i >= 0; i--) {
        words[i] = 0;
        for (int digit = 0; digit < 4; digit++) {
            words[i] = (uint16_t)(words[i] | (number % 10) << (4 * digit));
            number /= 10;
        }
    }
}

static struct reading *make_reading(int index)
{
    const struct meter *meter = &config->meters[index];
    struct source *source = &sources[index];
    struct reading *reading = reading_new(config, meter);
    if (!reading)
        fail("no memory");
    reading->due_ms = source->due.at_ms;
    reading->at_ms = source->due.at_ms + 40;
    reading->boot_ms = reading->at_ms - start_ms + 5000;
    reading->answered = true;
    source->total += random_between(0, 20000);
    for (int i = 0; i < meter->profile->field_count; i++) {
        const struct field *field = &meter->profile->fields[i];
        reading->image.why[i] = WHY_NONE;
        if (field->type == RAW_BCD)
            bcd_put(reading->image.words + field->place, field->words, source->total);
        else // 60.0
            reading->image.words[field->place] = 0x4270;
    }
    image_decode(meter->profile, &reading->image, meter->unverified, reading->values);
    return reading;
}

static void poll_meter(int index)
{
    struct source *source = &sources[index];
    int64_t hour = (source->due.at_ms - start_ms) / HOUR_MS;
    struct reading *reading = make_reading(index);
    figures.polls++;
    if (recorder_offer(recorder, reading)) {
        taken[index][hour]++;
        figures.taken++;
    } else {
        reading_free(reading);
        refused[index][hour]++;
        figures.refused++;
    }
    source->due = schedule_following(&source->schedule, &calendar, &source->due);
}

// --- the disk ---

static int filler = -1;

static void disk_fill(void)
{
    static const char bytes[65536];
    size_t size = sizeof bytes;
    while (size >= 512) {
        ssize_t wrote = write(filler, bytes, size);
        if (wrote < 0 && errno != ENOSPC)
            fail("the filler cannot be written");
        size = wrote == (ssize_t)size ? size : size / 2;
    }
}

static void disk_free_again(void)
{
    if (ftruncate(filler, 0) != 0 || lseek(filler, 0, SEEK_SET) != 0)
        fail("the filler cannot be emptied");
}

// --- the recorder's turn ---

static int do_nothing(struct store *store, void *argument, struct err *err)
{
    (void)store;
    (void)argument;
    (void)err;
    return 0;
}

static double now_s(void)
{
    struct timespec now;
    (void)clock_gettime(CLOCK_MONOTONIC, &now);
    return (double)now.tv_sec + (double)now.tv_nsec / 1e9;
}

// Lets the recorder look at the clock; while it takes readings it may not fall behind.
static void recorder_turn(int waiting_max)
{
    struct recorder_status status;
    double end = now_s() + WAIT_LIMIT_S;
    do {
        (void)recorder_run(recorder, do_nothing, NULL, NULL);
        recorder_status(recorder, &status);
        if (now_s() > end)
            fail("the recorder takes no readings though there is room");
    } while (status.error[0] == '\0' && status.waiting > waiting_max);
}

static void acknowledge(void)
{
    struct store *reader = NULL;
    if (store_open_reader(directory, &reader, NULL) != 0)
        return;
    for (enum lane lane = LANE_ALERT; lane < LANES_END; lane++) {
        struct outbox_state state;
        if (store_outbox_state(reader, lane, &state, NULL) == 0 && state.last > state.acknowledged)
            recorder_acknowledge(recorder, lane,
                                 random_between(state.acknowledged + 1, state.last));
    }
    store_close(reader);
}

// --- the week ---

static int64_t spell_length(void)
{
    int64_t kind = random_between(0, 9);
    if (kind == 0) // beyond what waits in memory
        return random_between(1000, 1800);
    return kind < 4 ? random_between(60, 400) : random_between(1, 30);
}

// `full` stays for minutes after the write that failed.
static void see_status(void)
{
    struct recorder_status status;
    recorder_status(recorder, &status);
    figures.refused_rows = figures.refused_rows || status.error[0] != '\0' || status.upkeep.full;
}

static void run_week(void)
{
    int64_t full_left = 0;
    int64_t spell = 0;
    for (int minute = 0; minute < hours * 60; minute++) {
        int64_t end_ms = start_ms + (minute + 1) * MINUTE_MS;
        for (int i = 0; i < meters; i++)
            while (sources[i].due.at_ms < end_ms)
                poll_meter(i);
        atomic_store(&set_ms, end_ms);
        bool last = minute >= hours * 60 - RESERVE_MIN;
        if (full_left == 0 && !last && random_between(1, FULL_ONE_IN_MIN) == 1) {
            full_left = spell_length();
            figures.spells++;
            spell = 0;
        }
        if (full_left > 0) {
            disk_fill();
            figures.full_min++;
            figures.longest_min = ++spell > figures.longest_min ? (int)spell : figures.longest_min;
            if (--full_left == 0 || last) {
                full_left = 0;
                disk_free_again();
            }
        }
        recorder_turn(WAITING_MAX);
        see_status();
        if (minute % 60 == 59 && random_between(0, 2) > 0)
            acknowledge();
    }
}

static void settle(void)
{
    struct recorder_status status;
    double end = now_s() + WAIT_LIMIT_S;
    disk_free_again();
    do {
        atomic_fetch_add(&set_ms, 1000);
        recorder_turn(0);
        recorder_status(recorder, &status);
        if (now_s() > end)
            fail("not all of it is recorded in the end");
    } while (status.error[0] != '\0' || status.waiting > 0 ||
             status.readings < (uint64_t)figures.polls);
    if (status.readings != (uint64_t)figures.polls)
        fail("more readings were recorded than there were polls");
    // The last hours close.
    atomic_fetch_add(&set_ms, 3 * HOUR_MS);
    recorder_turn(0);
}

// --- what is stored ---

static bool see_hour(void *context, const struct stored_period *stored)
{
    const struct period *period = &stored->period;
    int64_t hour = (period->from_ms - start_ms) / HOUR_MS;
    int index = *(int *)context;
    if (period->expected != period->good + period->suspect + period->missing)
        fail("an hour does not add up");
    if (hour < 0 || hour >= hours)
        return true;
    if (period->good != taken[index][hour] || period->missing != refused[index][hour]) {
        (void)fprintf(stderr, "meter-%d hour %lld: %lld good, %lld missing; %d taken, %d refused\n",
                      index, (long long)hour, (long long)period->good, (long long)period->missing,
                      taken[index][hour], refused[index][hour]);
        fail("an hour is not what was polled");
    }
    figures.hours_checked++;
    return true;
}

static bool see_quarter(void *context, const struct stored_period *stored)
{
    (void)context;
    figures.quarters += stored->period.from_ms < start_ms + hours * HOUR_MS;
    return true;
}

static bool see_reading(void *context, const struct stored_reading *reading)
{
    (void)context;
    figures.stored++;
    if (reading->due_ms == 0)
        fail("a reading answers no poll");
    return true;
}

static bool see_alert(void *context, const struct stored_alert *alert)
{
    (void)context;
    figures.alerts += alert->change.kind == ALERT_STORE_FULL && alert->change.state == ALERT_OPEN;
    return true;
}

static void see_fault(void *context, const char *text)
{
    (void)context;
    (void)fprintf(stderr, "verify: %s\n", text);
}

// Closed alerts that made room, asked of the file itself.
static int64_t alerts_gone(void)
{
    char path[4096];
    sqlite3 *db = NULL;
    sqlite3_stmt *statement = NULL;
    (void)snprintf(path, sizeof path, "%s/%s", directory, STORE_FILE);
    if (sqlite3_open_v2(path, &db, SQLITE_OPEN_READONLY, NULL) != SQLITE_OK ||
        sqlite3_prepare_v2(db, "SELECT coalesce(max(number), 0) - count(*) FROM alert", -1,
                           &statement, NULL) != SQLITE_OK ||
        sqlite3_step(statement) != SQLITE_ROW)
        fail("the alerts cannot be counted");
    int64_t gone = sqlite3_column_int64(statement, 0);
    (void)sqlite3_finalize(statement);
    (void)sqlite3_close(db);
    return gone;
}

static void check(const struct recorder_status *status)
{
    struct store *reader = NULL;
    struct err err = {.text = ""};
    if (store_open_reader(directory, &reader, &err) != 0)
        fail(err.text);
    if (store_verify(reader, see_fault, NULL, &err) != 0)
        fail("verify is not clean");
    for (int i = 0; i < meters; i++)
        if (store_periods(reader, config->meters[i].id, SPAN_HOUR, start_ms, INT64_MAX, see_hour,
                          &i, &err) != 0)
            fail(err.text);
    if (store_periods(reader, NULL, SPAN_15MIN, start_ms, INT64_MAX, see_quarter, NULL, &err) !=
            0 ||
        store_readings(reader, NULL, 0, INT64_MAX, see_reading, NULL, &err) != 0 ||
        store_alerts(reader, NULL, 0, INT64_MAX, see_alert, NULL, &err) != 0 ||
        store_shed_messages(reader, &figures.messages_seen, &err) != 0)
        fail(err.text);
    store_close(reader);
    if (figures.messages_seen != status->upkeep.messages)
        fail("status and gaps name different numbers of dropped messages");
    // Quarter hours whose hour is there may go, and hours whose gas day is there.
    int64_t thinned = (int64_t)meters * hours * 5 - figures.quarters - figures.hours_checked;
    int64_t gone = figures.polls - figures.stored + thinned;
    if (gone + alerts_gone() != (int64_t)status->upkeep.rows) {
        (void)fprintf(stderr, "%lld readings and periods are gone, %llu rows were counted\n",
                      (long long)gone, (unsigned long long)status->upkeep.rows);
        fail("rows went that nobody counted");
    }
    // A short spell may find room enough in the file; a week has others.
    bool is_due = figures.refused_rows || gone > 0 || (figures.spells > 0 && hours >= WEEK_H);
    if (figures.alerts == 0 && is_due)
        fail("no alert told of the full disk");
}

static void begin(void)
{
    char path[4096];
    struct err err = {.text = ""};
    for (int i = 0; i < meters; i++) {
        const struct meter *meter = &config->meters[i];
        enum span spans[SPANS_MAX];
        (void)spans_of_meter(config->office.summary_minutes, meter->interval_s, spans);
        int64_t interval_ms = meter->interval_s * INT64_C(1000);
        sources[i].schedule =
            (struct schedule){spans[0], interval_ms, schedule_phase_ms(meter->id, interval_ms)};
        sources[i].due = schedule_due(&sources[i].schedule, &calendar, start_ms - 1);
    }
    const struct recorder_settings settings = {
        .directory = directory, .config = config, .calendar = calendar, .clock = &clock_set};
    recorder = recorder_start(&settings, &err);
    if (!recorder)
        fail(err.text);
    (void)snprintf(path, sizeof path, "%s/filler", directory);
    filler = open(path, O_WRONLY | O_CREAT | O_CLOEXEC, 0600);
    if (filler < 0)
        fail("the filler cannot be made");
}

int main(int argc, char **argv)
{
    struct err err = {.text = ""};
    if (argc != 6)
        fail("usage: full_week HOURS METERS PROFILES_FOLDER DIRECTORY SEED");
    hours = (int)strtol(argv[1], NULL, 10);
    meters = (int)strtol(argv[2], NULL, 10);
    directory = argv[4];
    uint64_t given = strtoull(argv[5], NULL, 10);
    seed = given * UINT64_C(0x9E3779B97F4A7C15) + 1;
    if (hours < 6 || hours > HOURS_MAX || meters < 1 || meters > METERS_MAX)
        fail("HOURS is 6 to 1000, METERS 1 to 100");
    if (gas_calendar_init(&calendar, "Asia/Shanghai", 360, &err) != 0)
        fail(err.text);
    start_ms = period_end(&calendar, SPAN_DAY, clock_floor_ms());
    atomic_store(&set_ms, start_ms);
    config = make_config(argv[3]);
    double began = now_s();
    begin();
    run_week();
    settle();
    struct recorder_status status;
    recorder_status(recorder, &status);
    recorder_stop(recorder);
    check(&status);
    config_unref(config);
    (void)close(filler);
    (void)printf(
        "{\"hours\": %d, \"meters\": %d, \"polls\": %lld, \"kept\": %lld, \"store_full\": "
        "%lld, \"uncounted\": 0, \"spells\": %d, \"full_minutes\": %d, \"longest_minutes\": "
        "%d, \"stored\": %lld, \"hours_checked\": %lld, \"removed_early\": %llu, "
        "\"messages_dropped\": %lld, "
        "\"alerts\": %d, \"seconds\": %.1f, \"seed\": %llu}\n",
        hours, meters, (long long)figures.polls, (long long)figures.taken,
        (long long)figures.refused, figures.spells, figures.full_min, figures.longest_min,
        (long long)figures.stored, (long long)figures.hours_checked,
        (unsigned long long)status.upkeep.rows, (long long)status.upkeep.messages, figures.alerts,
        now_s() - began, (unsigned long long)given);
    return 0;
}
