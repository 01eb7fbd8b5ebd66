// Messages per second out of the outbox through a local mosquitto, beside a bare paho publisher
// with the same messages, properties and window, in one run.
//
//     build/tests/bench/feed_bench [MESSAGES]
#include "office/office.h"

#include "../support/authority.h"
#include "../support/bare_publisher.h"
#include "../support/child.h"

#include <dirent.h>
#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#define REPEATS 3 // the median is printed
#define LIMIT_S 120
#define START_MS INT64_C(1795420800000)
#define LEAST 0.70 // of the bare publisher over TLS; else the bench fails
#define DAY_S 86400L

static char folder[64];

static void fail(const char *what)
{
    (void)fprintf(stderr, "feed_bench: %s\n", what);
    exit(1);
}

static double now_s(void)
{
    struct timespec now;
    (void)clock_gettime(CLOCK_MONOTONIC, &now);
    return (double)now.tv_sec + (double)now.tv_nsec / 1e9;
}

// --- a recorder that writes the cursor once a second, as the real one does with its rounds ---

struct recorder {
    struct store *store;
    _Atomic int64_t acknowledged;
};
static struct recorder recorder;

void recorder_acknowledge(struct recorder *of, enum lane lane, int64_t seq)
{
    if (lane == LANE_BACKFILL)
        atomic_store(&of->acknowledged, seq);
}

void recorder_set_live(struct recorder *of, bool live)
{
    (void)of;
    (void)live;
}

int recorder_run(struct recorder *of, recorder_task *task, void *argument, struct err *err)
{
    (void)of;
    (void)task;
    (void)argument;
    (void)err;
    fail("a message was set aside");
    return -1;
}

void recorder_status(struct recorder *of, struct recorder_status *out)
{
    (void)of;
    *out = (struct recorder_status){.clock_known = true};
}

bool live_serial(struct live *live, const struct config *config, int meter,
                 char serial[static VALUE_TEXT_MAX])
{
    (void)live;
    (void)config;
    (void)meter;
    (void)serial;
    return false;
}

static void write_cursor(void)
{
    struct err err = {.text = ""};
    int64_t seq = atomic_load(&recorder.acknowledged);
    if (seq > 0 && (store_round_begin(recorder.store, &err) != 0 ||
                    store_outbox_acknowledge(recorder.store, LANE_BACKFILL, seq, &err) != 0 ||
                    store_round_commit(recorder.store, &err) != 0))
        fail(err.text);
}

// --- the outbox ---

static struct period make_period(int index)
{
    int64_t from = START_MS + (int64_t)index * 60000;
    struct period period = {.span = SPAN_1MIN,
                            .version = 1,
                            .from_ms = from,
                            .to_ms = from + 60000,
                            .expected = 60,
                            .good = 60,
                            .channel_count = 4};
    static const char *const names[] = {"volume_base", "volume_measured", "pressure",
                                        "temperature"};
    for (int i = 0; i < 4; i++) {
        struct period_channel *channel = &period.channels[i];
        (void)snprintf(channel->name, sizeof channel->name, "%s", names[i]);
        channel->kind = i < 2 ? CHANNEL_COUNTER : CHANNEL_GAUGE;
        channel->start_known = channel->end_known = true;
        channel->start_micro = from;
        channel->end_micro = from + 13330300;
        channel->weight_ms = 60000;
        channel->min = 301.1;
        channel->mean = 301.4;
        channel->max = 301.9;
    }
    return period;
}

static void fill(int count)
{
    struct err err = {.text = ""};
    int meter;
    int64_t configured_ms;
    if (store_open(folder, &recorder.store, &err) != 0 ||
        store_round_begin(recorder.store, &err) != 0 ||
        store_meter(recorder.store, "boiler-1", START_MS, &meter, &configured_ms, &err) != 0)
        fail(err.text);
    for (int i = 0; i < count; i++) {
        struct period period = make_period(i);
        if (store_period_add(recorder.store, meter, &period, START_MS, LANE_BACKFILL,
                             MESSAGE_SUMMARY, &err) != 0)
            fail(err.text);
    }
    if (store_round_commit(recorder.store, &err) != 0)
        fail(err.text);
}

static void empty_folder(void)
{
    DIR *dir = opendir(folder);
    if (!dir)
        fail(folder);
    for (struct dirent *entry; (entry = readdir(dir)) != NULL;)
        (void)unlinkat(dirfd(dir), entry->d_name, 0);
    (void)closedir(dir);
}

static struct config config = {
    .references = 1000,
    .gateway_id = "site-042",
    .revision = "0123456789abcdef",
    .office = {.present = true, .prefix = "metergate/v1", .accept_unsubscribed = true}};

// Processor time of this process, all threads: unlike the rate it does not depend on what else the
// machine does.
static double cpu_s(void)
{
    struct timespec used;
    (void)clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &used);
    return (double)used.tv_sec + (double)used.tv_nsec / 1e9;
}

// Seconds from the first message that the broker acknowledged to the last.
static double measure_feed(int count, double *cpu)
{
    struct err err = {.text = ""};
    atomic_store(&recorder.acknowledged, 0);
    fill(count);
    struct office_settings settings = {
        .config = &config, .directory = folder, .clock = &clock_system, .recorder = &recorder};
    double begun = 0;
    double cpu_begun = cpu_s();
    double deadline = now_s() + LIMIT_S;
    double cursor_at = now_s() + 1;
    struct office *office = office_start(&settings, &err);
    if (!office)
        fail(err.text);
    while (atomic_load(&recorder.acknowledged) < count) {
        if (begun == 0 && atomic_load(&recorder.acknowledged) > 0)
            begun = now_s();
        if (now_s() >= cursor_at) {
            write_cursor();
            cursor_at += 1;
        }
        if (now_s() > deadline)
            fail("the feed did not get through");
        (void)usleep(500);
    }
    double seconds = now_s() - begun;
    *cpu += cpu_s() - cpu_begun;
    office_stop(office);
    store_close(recorder.store);
    empty_folder();
    return seconds;
}

// --- the bare publisher ---

static const char payload[] =
    "{\"schema\":\"summary/"
    "1\",\"gateway\":\"site-042\",\"stream\":\"6f1c2a34-5b6d-4e7f-8a9b-"
    "0c1d2e3f4a5b\",\"lane\":\"backfill\",\"seq\":912,"
    "\"at\":\"2026-11-23T08:15:00.412Z\",\"meter\":\"boiler-1\","
    "\"version\":1,\"from\":\"2026-11-23T08:00:00.000Z\","
    "\"to\":\"2026-11-23T08:15:00.000Z\",\"reads\":{\"expected\":60,"
    "\"good\":60,\"suspect\":0,\"missing\":0},\"quality\":\"good\","
    "\"channels\":{\"volume_base\":{\"start\":1795420800,\"end\":1795434."
    "1303,\"delta\":13.3303,\"unit\":\"m3\",\"quality\":\"good\"},"
    "\"volume_measured\":{\"start\":1795420800,\"end\":1795434.1303,"
    "\"delta\":13.3303,\"unit\":\"m3\",\"quality\":\"good\"},"
    "\"pressure\":{\"min\":301.1,\"mean\":301.4,\"max\":301.9,\"unit\":"
    "\"kPa\",\"quality\":\"good\"},"
    "\"temperature\":{\"min\":301.1,\"mean\":301.4,\"max\":301.9,\"unit\":"
    "\"degC\",\"quality\":\"good\"}},\"alerts\":[]}";

static double measure_bare(int count, const struct bare_way *way)
{
    static const struct bare_message message = {"metergate/v1/site-042/summary/boiler-1", payload,
                                                "summary/1", "backfill"};
    return bare_publish(way, &message, 1, count, LIMIT_S);
}

static int by_size(const void *a, const void *b)
{
    double x = *(const double *)a;
    double y = *(const double *)b;
    return (x > y) - (x < y);
}

static double median(double *values)
{
    qsort(values, REPEATS, sizeof values[0], by_size);
    return values[REPEATS / 2];
}

// By turns, so that both see the same machine. Returns the share of the bare publisher's rate.
static double compare(const char *name, int count, const struct bare_way *way)
{
    double feed[REPEATS];
    double bare[REPEATS];
    double used[2] = {0, 0};
    for (int i = 0; i < REPEATS; i++) {
        feed[i] = count / measure_feed(count, &used[0]);
        double before = cpu_s();
        bare[i] = count / measure_bare(count, way);
        used[1] += cpu_s() - before;
    }
    double per_message = 1e6 / count / REPEATS;
    double share = median(feed) / median(bare);
    (void)printf("feed, %s: %.0f messages/s out of the outbox, bare paho %.0f: %.0f %% of it; "
                 "%.1f us of processor each, bare %.1f\n",
                 name, feed[REPEATS / 2], bare[REPEATS / 2], share * 100, used[0] * per_message,
                 used[1] * per_message);
    return share;
}

static char broker_folder[64] = "/tmp/metergate-feed-broker-XXXXXX";

static pid_t start_broker(int port, int tls_port)
{
    char lines[1024];
    struct authority *authority = authority_new(broker_folder, "ca");
    authority_sign(authority, broker_folder, "broker", "DNS:localhost,IP:127.0.0.1", -DAY_S, DAY_S);
    authority_sign(authority, broker_folder, "gateway", "DNS:site-042", -DAY_S, DAY_S);
    authority_free(authority);
    (void)snprintf(lines, sizeof lines,
                   "listener %d 127.0.0.1\ncafile %s/ca.pem\ncertfile %s/broker.pem\n"
                   "keyfile %s/broker.key\nrequire_certificate true\n",
                   tls_port, broker_folder, broker_folder, broker_folder);
    return mosquitto_start(broker_folder, port, lines);
}

static void use_tls(int port, char *url, size_t size, struct bare_way *way)
{
    struct config_office *office = &config.office;
    (void)snprintf(office->url, sizeof office->url, "mqtts://localhost:%d", port);
    (void)snprintf(office->ca, sizeof office->ca, "%s/ca.pem", broker_folder);
    (void)snprintf(office->certificate, sizeof office->certificate, "%s/gateway.pem",
                   broker_folder);
    (void)snprintf(office->key, sizeof office->key, "%s/gateway.key", broker_folder);
    (void)snprintf(url, size, "ssl://localhost:%d", port);
    way->ca = office->ca;
    way->certificate = office->certificate;
    way->key = office->key;
}

int main(int argc, char **argv)
{
    int count = argc > 1 ? (int)strtol(argv[1], NULL, 10) : 40000;
    char url[64];
    struct bare_way way = {.url = url, .window = OFFICE_WINDOW_MAX};
    (void)snprintf(folder, sizeof folder, "/tmp/metergate-feed-XXXXXX");
    if (count < 1000 || !mkdtemp(folder) || !mkdtemp(broker_folder))
        fail("usage: feed_bench [MESSAGES, at least 1000]");
    int port = port_free();
    int tls_port = port_free();
    pid_t broker = start_broker(port, tls_port);
    (void)snprintf(config.office.url, sizeof config.office.url, "mqtt://127.0.0.1:%d", port);
    (void)snprintf(url, sizeof url, "tcp://127.0.0.1:%d", port);
    (void)printf("summaries, window %d\n", OFFICE_WINDOW_MAX);
    (void)compare("plain", count, &way);
    use_tls(tls_port, url, sizeof url, &way);
    double share = compare("TLS", count, &way);
    (void)printf("feed, TLS: %.0f %% (at least %.0f %%)\n", share * 100, LEAST * 100);
    child_stop(broker, SIGTERM);
    (void)rmdir(folder);
    (void)snprintf(folder, sizeof folder, "%s", broker_folder);
    empty_folder();
    (void)rmdir(folder);
    return share >= LEAST ? 0 : 1;
}
