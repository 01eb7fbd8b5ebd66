// Messages per second out of the outbox through a local mosquitto, beside a bare paho publisher
// with the same messages, properties and window, in one run.
//
//     build/tests/bench/feed_bench [MESSAGES]
#include "office/office.h"

#include "../support/child.h"

#include <MQTTAsync.h>
#include <dirent.h>
#include <fcntl.h>
#include <pthread.h>
#include <semaphore.h>
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
#define LEAST                                                                                      \
    0.50 // of the bare publisher, on a machine that does other things as well; else the bench fails

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

// Seconds from the first message that the broker acknowledged to the last.
static double measure_feed(int count)
{
    struct err err = {.text = ""};
    atomic_store(&recorder.acknowledged, 0);
    fill(count);
    struct office_settings settings = {
        .config = &config, .directory = folder, .clock = &clock_system, .recorder = &recorder};
    double begun = 0;
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
    office_stop(office);
    store_close(recorder.store);
    empty_folder();
    return seconds;
}

// --- the bare publisher ---

struct bare {
    MQTTAsync client;
    sem_t window, connected;
    atomic_int acknowledged;
};

static void bare_answered(void *context, MQTTAsync_successData5 *data)
{
    struct bare *bare = context;
    (void)data;
    (void)atomic_fetch_add(&bare->acknowledged, 1);
    (void)sem_post(&bare->window);
}

static void bare_failed(void *context, MQTTAsync_failureData5 *data)
{
    (void)context;
    (void)data;
    fail("the bare publisher failed");
}

static void bare_connected(void *context, MQTTAsync_successData5 *data)
{
    struct bare *bare = context;
    (void)data;
    (void)sem_post(&bare->connected);
}

static void add_property(MQTTProperties *properties, enum MQTTPropertyCodes code, char *name,
                         char *value)
{
    MQTTProperty one = {.identifier = code};
    one.value.data = (MQTTLenString){(int)strlen(name), name};
    if (value)
        one.value.value = (MQTTLenString){(int)strlen(value), value};
    if (MQTTProperties_add(properties, &one) != 0)
        fail("no property");
}

static void bare_connect(struct bare *bare, const char *url)
{
    MQTTAsync_createOptions create = MQTTAsync_createOptions_initializer5;
    MQTTAsync_connectOptions options = MQTTAsync_connectOptions_initializer5;
    create.maxBufferedMessages = OFFICE_WINDOW_MAX + 1;
    options.cleanstart = 1;
    options.maxInflight = OFFICE_WINDOW_MAX;
    options.onSuccess5 = bare_connected;
    options.onFailure5 = bare_failed;
    options.context = bare;
    if (sem_init(&bare->window, 0, OFFICE_WINDOW_MAX) != 0 ||
        sem_init(&bare->connected, 0, 0) != 0 ||
        MQTTAsync_createWithOptions(&bare->client, url, "bare", MQTTCLIENT_PERSISTENCE_NONE, NULL,
                                    &create) != MQTTASYNC_SUCCESS ||
        MQTTAsync_connect(bare->client, &options) != MQTTASYNC_SUCCESS)
        fail("the bare publisher cannot connect");
    (void)sem_wait(&bare->connected);
}

static void bare_send(struct bare *bare, char *payload)
{
    MQTTAsync_message message = MQTTAsync_message_initializer;
    MQTTAsync_responseOptions answer = MQTTAsync_responseOptions_initializer;
    message.payload = payload;
    message.payloadlen = (int)strlen(payload);
    message.qos = 1;
    add_property(&message.properties, MQTTPROPERTY_CODE_CONTENT_TYPE, "application/json", NULL);
    add_property(&message.properties, MQTTPROPERTY_CODE_USER_PROPERTY, "schema", "summary/1");
    add_property(&message.properties, MQTTPROPERTY_CODE_USER_PROPERTY, "lane", "backfill");
    answer.onSuccess5 = bare_answered;
    answer.onFailure5 = bare_failed;
    answer.context = bare;
    (void)sem_wait(&bare->window);
    if (MQTTAsync_sendMessage(bare->client, "metergate/v1/site-042/summary/boiler-1", &message,
                              &answer) != MQTTASYNC_SUCCESS)
        fail("the bare publisher cannot send");
    MQTTProperties_free(&message.properties);
}

static double measure_bare(int count, const char *url)
{
    static char payload[] = "{\"schema\":\"summary/"
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
    static struct bare bare;
    atomic_store(&bare.acknowledged, 0);
    bare_connect(&bare, url);
    double begun = now_s();
    for (int i = 0; i < count; i++)
        bare_send(&bare, payload);
    while (atomic_load(&bare.acknowledged) < count) {
        if (now_s() > begun + LIMIT_S)
            fail("the bare publisher did not get through");
        (void)usleep(500);
    }
    double seconds = now_s() - begun;
    MQTTAsync_destroy(&bare.client);
    (void)sem_destroy(&bare.window);
    (void)sem_destroy(&bare.connected);
    return seconds;
}

static int by_size(const void *a, const void *b)
{
    double x = *(const double *)a;
    double y = *(const double *)b;
    return (x > y) - (x < y);
}

int main(int argc, char **argv)
{
    int count = argc > 1 ? (int)strtol(argv[1], NULL, 10) : 40000;
    char url[64];
    char broker_folder[64] = "/tmp/metergate-feed-broker-XXXXXX";
    double feed[REPEATS];
    double bare[REPEATS];
    (void)snprintf(folder, sizeof folder, "/tmp/metergate-feed-XXXXXX");
    if (count < 1000 || !mkdtemp(folder) || !mkdtemp(broker_folder))
        fail("usage: feed_bench [MESSAGES, at least 1000]");
    int port = port_free();
    pid_t broker = mosquitto_start(broker_folder, port, "");
    (void)snprintf(config.office.url, sizeof config.office.url, "mqtt://127.0.0.1:%d", port);
    (void)snprintf(url, sizeof url, "tcp://127.0.0.1:%d", port);
    for (int i = 0; i < REPEATS; i++) { // by turns: both see the same machine
        feed[i] = count / measure_feed(count);
        bare[i] = count / measure_bare(count, url);
    }
    child_stop(broker, SIGTERM);
    (void)rmdir(folder);
    (void)snprintf(folder, sizeof folder, "%s", broker_folder);
    empty_folder();
    (void)rmdir(folder);
    qsort(feed, REPEATS, sizeof feed[0], by_size);
    qsort(bare, REPEATS, sizeof bare[0], by_size);
    double share = feed[REPEATS / 2] / bare[REPEATS / 2];
    (void)printf("feed: %.0f messages/s out of the outbox; bare paho, window %d: %.0f; %.0f %% of "
                 "it (at least %.0f %%)\n",
                 feed[REPEATS / 2], OFFICE_WINDOW_MAX, bare[REPEATS / 2], share * 100, LEAST * 100);
    return share >= LEAST ? 0 : 1;
}
