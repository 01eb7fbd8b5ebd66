// Builds a small store through the product, for the tamper harness: readings of two meters over
// some days on a clock of its own go into a recorder, with periods, alerts, gaps, commands,
// retention. After each stage the heads that head office would have stand in DIR/heads.jsonl, and a
// copy of the store as it was then in DIR/stage-N.db.
//
//     build/tests/fault/tamper_store DIR SEED [killed]
//
// killed: the process ends by SIGKILL instead of a clean stop.
#include "record/recorder.h"

#include <inttypes.h>
#include <math.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define MINUTE_MS INT64_C(60000)
#define HOUR_MS (60 * MINUTE_MS)
#define METERS 2
#define INTERVAL_S 120
#define STAGES 3
#define STAGE_HOURS 18
#define BATCH 64 // readings that are offered before the clock goes on

static const char profile_text[] =
    "model: Tamper meter\nsource: tests/fault/tamper_store.c\nverified: true\nmedium: gas\n"
    "channels:\n"
    "  volume_base: {register: 0, function: 3, type: bcd12, scale: 0.0001, unit: m3}\n"
    "  flow_measured: {register: 3, function: 3, type: f32, unit: m3/h}\n"
    "  pressure: {register: 5, function: 3, type: f32, unit: kPa}\n";

static const char config_text[] =
    "gateway: {id: tampered, timezone: UTC}\n"
    "links:\n  - {id: hall, url: \"tcp://127.0.0.1:1502\"}\n"
    "meters:\n"
    "  - {id: m1, link: hall, unit: 1, profile: ./meter.yaml, interval_s: 120, qmax_m3_h: 100}\n"
    "  - {id: m2, link: hall, unit: 2, profile: ./meter.yaml, interval_s: 120, qmax_m3_h: 100}\n"
    "office: {url: \"mqtt://127.0.0.1:1883\", raw_readings: true}\n";

static const char *folder;
static uint64_t random_state;
static atomic_llong wall_ms;
static int64_t boot_zero_ms;

static void end(const char *what, const char *why)
{
    (void)fprintf(stderr, "tamper_store: %s: %s\n", what, why);
    exit(1);
}

static int64_t between(int64_t low, int64_t high)
{
    random_state ^= random_state << 13;
    random_state ^= random_state >> 7;
    random_state ^= random_state << 17;
    return low + (int64_t)(random_state % (uint64_t)(high - low + 1));
}

static int64_t tell_wall_ms(void *context)
{
    (void)context;
    return atomic_load(&wall_ms);
}

static int64_t tell_boot_ns(void *context)
{
    (void)context;
    return (atomic_load(&wall_ms) - boot_zero_ms) * 1000000;
}

static const struct clock hands = {.boot_ns = tell_boot_ns, .wall_ms = tell_wall_ms};

// --- the site ---

static void text_write(const char *name, const char *text)
{
    char path[4096];
    (void)snprintf(path, sizeof path, "%s/%s", folder, name);
    FILE *file = fopen(path, "we");
    if (file == NULL || fputs(text, file) < 0 || fclose(file) != 0)
        end(path, "cannot be written");
}

static struct config *config_make(void)
{
    char path[4096];
    struct config_search search = {.directory = NULL};
    struct faults *faults = calloc(1, sizeof *faults);
    struct config *config = NULL;
    text_write("meter.yaml", profile_text);
    text_write("site.yaml", config_text);
    (void)snprintf(path, sizeof path, "%s/site.yaml", folder);
    if (faults == NULL || config_load(path, &search, &config, faults) != 0)
        end(path, faults != NULL ? faults->list[0].message : "out of memory");
    free(faults);
    return config;
}

// --- readings ---

static void bcd_put(uint16_t *words, int count, int64_t number)
{
    for (int i = count - 1; i >= 0; i--) {
        words[i] = 0;
        for (int digit = 0; digit < 4; digit++, number /= 10)
            words[i] = (uint16_t)(words[i] | (number % 10) << (4 * digit));
    }
}

static void float_put(uint16_t *words, double number)
{
    float single = (float)number;
    uint32_t bits;
    memcpy(&bits, &single, sizeof bits);
    words[0] = (uint16_t)(bits >> 16);
    words[1] = (uint16_t)bits;
}

static int64_t volumes[METERS];
static int moods[METERS]; // 0 well, 1 silent, 2 flows too much

static struct reading *reading_make(struct config *config, int n, int64_t due_ms)
{
    struct reading *reading = reading_new(config, &config->meters[n]);
    if (reading == NULL)
        end("reading", "out of memory");
    moods[n] = between(0, 19) == 0 ? (int)between(0, 2) : moods[n];
    reading->due_ms = due_ms;
    reading->at_ms = due_ms + (moods[n] == 1 ? 0 : between(5, 400));
    reading->boot_ms = reading->at_ms - boot_zero_ms;
    if (moods[n] == 1) {
        reading_refuse(reading, WHY_TIMEOUT);
        return reading;
    }
    reading->answered = true;
    volumes[n] += between(0, 20000);
    const struct profile *profile = reading->meter->profile;
    for (int i = 0; i < profile->field_count; i++) {
        uint16_t *words = reading->image.words + profile->fields[i].place;
        reading->image.why[i] = WHY_NONE;
        if (profile->fields[i].type == RAW_BCD)
            bcd_put(words, profile->fields[i].words, volumes[n]);
        else
            float_put(words, moods[n] == 2 ? 130 : 90.0 + (double)between(0, 999) / 1000);
    }
    image_decode(profile, &reading->image, false, reading->values);
    return reading;
}

static int do_nothing(struct store *store, void *argument, struct err *err)
{
    (void)store;
    (void)argument;
    (void)err;
    return 0;
}

static void run(struct recorder *recorder, recorder_task *task, void *argument, const char *what)
{
    struct err err;
    if (recorder_run(recorder, task, argument, &err) != 0)
        end(what, err.text);
}

// All that was offered is in the store.
static void settle(struct recorder *recorder)
{
    struct recorder_status status;
    do {
        run(recorder, do_nothing, NULL, "round");
        recorder_status(recorder, &status);
        if (status.error[0] != '\0')
            end("recorder", status.error);
    } while (status.waiting > 0);
}

static void read_hours(struct recorder *recorder, struct config *config, int hours)
{
    int64_t until_ms = atomic_load(&wall_ms) + hours * HOUR_MS;
    int waiting = 0;
    for (int64_t due_ms = atomic_load(&wall_ms) / (INTERVAL_S * 1000) * (INTERVAL_S * 1000);
         due_ms < until_ms; due_ms += INTERVAL_S * 1000) {
        if (due_ms > atomic_load(&wall_ms))
            atomic_store(&wall_ms, due_ms + 500);
        for (int n = 0; n < METERS; n++, waiting++)
            if (!recorder_offer(recorder, reading_make(config, n, due_ms)))
                end("recorder", "takes no reading");
        if (waiting >= BATCH || due_ms % HOUR_MS == 0) {
            settle(recorder);
            waiting = 0;
        }
    }
    settle(recorder);
}

// --- what else a store has ---

static int add_people(struct store *store, struct err *err)
{
    static const char *const names[] = {"ann", "bob", "cho"};
    for (size_t i = 0; i < sizeof names / sizeof names[0]; i++) {
        struct account account = {.role = (enum role)between(ROLE_VIEWER, ROLE_LEADER)};
        (void)snprintf(account.name, sizeof account.name, "%s", names[i]);
        (void)snprintf(account.hash, sizeof account.hash, "scrypt$1$1$1$%" PRId64 "$00",
                       between(0, 1 << 30));
        if (store_account_put(store, &account, err) != 0)
            return -1;
    }
    return 0;
}

static int add_revision(struct store *store, struct err *err)
{
    char name[32];
    char text[64];
    (void)snprintf(name, sizeof name, "%016" PRIx64, (uint64_t)between(1, INT64_C(1) << 40));
    int length = snprintf(text, sizeof text, "gateway: {name: %s}\n", name);
    return store_revision_add(store, name, text, (size_t)length, "ann", atomic_load(&wall_ms),
                              err) != 0 ||
                   store_series_add(store, 1, atomic_load(&wall_ms), name, err) != 0
               ? -1
               : 0;
}

static int add_commands(struct store *store, void *argument, struct err *err)
{
    static const char *const actions[] = {"login", "reload", "scan", "user-add", "status"};
    if (add_people(store, err) != 0 || add_revision(store, err) != 0)
        return -1;
    (void)argument;
    for (int i = 0; i < 8; i++) {
        char detail[64];
        (void)snprintf(detail, sizeof detail, "detail %" PRId64, between(0, 1000000));
        if (store_audit_add(store, atomic_load(&wall_ms), between(0, 1) != 0 ? "ann" : "bob",
                            actions[between(0, 4)], between(0, 1) != 0 ? "m1" : "",
                            between(0, 2) != 0 ? "done" : "role", detail, err) != 0)
            return -1;
    }
    return 0;
}

static int add_gaps(struct store *store, void *argument, struct err *err)
{
    struct outbox_state lane;
    (void)argument;
    if (store_outbox_state(store, LANE_BACKFILL, &lane, err) != 0)
        return -1;
    for (int i = 0; i < 6; i++) {
        struct stored_gap gap = {.lane = LANE_BACKFILL,
                                 .first = lane.last - 20 + 3 * i,
                                 .last = lane.last - 19 + 3 * i,
                                 .reason = "refused",
                                 .from_ms = atomic_load(&wall_ms) - HOUR_MS,
                                 .to_ms = atomic_load(&wall_ms),
                                 .at_ms = atomic_load(&wall_ms)};
        if (store_gap_add(store, &gap, err) != 0)
            return -1;
    }
    return 0;
}

// What is older than so many hours, as far as it may go.
static int keep_hours(struct store *store, void *argument, struct err *err)
{
    int64_t before_ms = atomic_load(&wall_ms) - *(const int *)argument * HOUR_MS;
    for (enum lane lane = LANE_ALERT; lane < LANES_END; lane++) {
        struct outbox_state state;
        if (store_outbox_state(store, lane, &state, err) != 0 ||
            store_outbox_acknowledge(store, lane, state.last, err) != 0)
            return -1;
    }
    return store_period_retain(store, SPAN_15MIN, before_ms, 1000, err) < 0 ||
                   store_period_retain(store, SPAN_HOUR, before_ms - 6 * HOUR_MS, 1000, err) < 0 ||
                   store_alert_retain(store, before_ms, 1000, err) < 0 ||
                   store_reading_retain(store, before_ms, 100000, err) < 0
               ? -1
               : 0;
}

// --- what head office keeps ---

static void heads_publish(void)
{
    char path[4096];
    struct err err;
    struct store *store = NULL;
    struct store_heads heads;
    (void)snprintf(path, sizeof path, "%s/heads.jsonl", folder);
    FILE *file = fopen(path, "ae");
    if (store_open_reader(folder, &store, &err) != 0 || store_heads(store, &heads, &err) != 0)
        end("heads", err.text);
    if (file == NULL)
        end(path, "cannot be written");
    (void)fputs("{\"schema\":\"health/1\",\"heads\":{", file);
    for (int i = 0; i < heads.count; i++)
        (void)fprintf(file, "%s\"%s\":{\"number\":%" PRId64 ",\"hash\":\"%s\"}", i > 0 ? "," : "",
                      heads.list[i].name, heads.list[i].number, heads.list[i].hash);
    (void)fputs("}}\n", file);
    if (fclose(file) != 0)
        end(path, "cannot be written");
    store_close(store);
}

static void run_stage(int stage, struct config *config, bool killed)
{
    struct err err;
    struct recorder_settings settings = {.directory = folder, .config = config, .clock = &hands};
    if (gas_calendar_init(&settings.calendar, "UTC", 360, &err) != 0)
        end("calendar", err.text);
    struct recorder *recorder = recorder_start(&settings, &err);
    if (recorder == NULL)
        end("recorder", err.text);
    recorder_set_live(recorder, false);
    read_hours(recorder, config, STAGE_HOURS);
    run(recorder, add_commands, NULL, "commands");
    run(recorder, add_gaps, NULL, "gaps");
    int hours = 26; // a gas day is still summed from its quarter hours
    if (stage > 0)
        run(recorder, keep_hours, &hours, "retention");
    read_hours(recorder, config, 2);
    if (killed && kill(getpid(), SIGKILL) != 0)
        end("kill", "failed");
    recorder_stop(recorder);
}

static void keep_copy(int stage)
{
    char command[8400];
    (void)snprintf(command, sizeof command, "cp '%s/" STORE_FILE "' '%s/stage-%d.db'", folder,
                   folder, stage);
    if (system(command) != 0) // NOLINT: a path that the harness made
        end("stage", "cannot be copied");
}

int main(int argc, char **argv)
{
    if (argc < 3) {
        (void)fputs("usage: tamper_store DIR SEED [killed]\n", stderr);
        return 2;
    }
    folder = argv[1];
    random_state = strtoull(argv[2], NULL, 10) * UINT64_C(0x9E3779B97F4A7C15) + 1;
    bool killed = argc > 3 && strcmp(argv[3], "killed") == 0;
    atomic_store(&wall_ms, (clock_floor_ms() / HOUR_MS + 24) * HOUR_MS + 7 * MINUTE_MS);
    boot_zero_ms = atomic_load(&wall_ms) - HOUR_MS;
    struct config *config = config_make();
    for (int stage = 0; stage < STAGES; stage++) {
        run_stage(stage, config, killed && stage == STAGES - 1);
        heads_publish();
        keep_copy(stage);
    }
    config_unref(config);
    return 0;
}
