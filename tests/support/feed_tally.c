#include "feed_tally.h"

#include "child.h"

#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <time.h>
#include <unistd.h>

#define LINE_MAX_BYTES (64 * 1024)
#define QUARTER_MS INT64_C(900000)
#define QUARTERS_MAX 2000
#define SAMPLE_EVERY 97
#define LANES 3

struct subscriber {
    struct feed_tally *tally;
    pid_t child;
    FILE *lines;
    pthread_t thread;
    bool fast;
};

struct feed_tally {
    pthread_mutex_t mutex;
    char base[128];
    size_t base_length;
    int watched, quarter_ticks;
    int64_t start_ms;
    struct feed_counts counts;
    int64_t highest[LANES];
    double alert_s[TALLY_METERS_MAX];
    double live_s[TALLY_TICKS_MAX];
    bool seen[TALLY_METERS_MAX][TALLY_TICKS_MAX];
    bool summed[TALLY_METERS_MAX][QUARTERS_MAX];
    int sample_count;
    char *samples[TALLY_SAMPLES_MAX];
    struct subscriber all, fast;
};

static void must(bool good, const char *what)
{
    if (good)
        return;
    perror(what);
    abort();
}

static double now_s(void)
{
    struct timespec now;
    (void)clock_gettime(CLOCK_MONOTONIC, &now);
    return (double)now.tv_sec + (double)now.tv_nsec / 1e9;
}

// --- reading a message ---

// What follows `mark` in the text, NULL without it.
static const char *after(const char *text, const char *mark)
{
    const char *at = text ? strstr(text, mark) : NULL;
    return at ? at + strlen(mark) : NULL;
}

static int64_t number_after(const char *text, const char *mark)
{
    const char *at = after(text, mark);
    return at ? strtoll(at, NULL, 10) : -1;
}

static int lane_of(const char *payload)
{
    static const char *const names[LANES] = {"alert\"", "live\"", "backfill\""};
    const char *at = after(payload, "\"lane\":\"");
    for (int i = 0; at && i < LANES; i++)
        if (strncmp(at, names[i], strlen(names[i])) == 0)
            return i;
    return -1;
}

// "2026-11-23T08:14:58.120Z"
static int64_t instant_after(const char *text, const char *mark)
{
    const char *at = after(text, mark);
    struct tm broken = {0};
    int ms = 0;
    if (!at || sscanf(at, "%4d-%2d-%2dT%2d:%2d:%2d.%3dZ", &broken.tm_year, &broken.tm_mon,
                      &broken.tm_mday, &broken.tm_hour, &broken.tm_min, &broken.tm_sec, &ms) != 7)
        return -1;
    broken.tm_year -= 1900;
    broken.tm_mon -= 1;
    return (int64_t)timegm(&broken) * 1000 + ms;
}

static int meter_of(const char *topic)
{
    const char *at = after(topic, "/meter-");
    int64_t meter = at ? strtoll(at, NULL, 10) : -1;
    return meter >= 0 && meter < TALLY_METERS_MAX ? (int)meter : -1;
}

static void blame(struct feed_tally *tally, const char *topic, const char *payload)
{
    if (tally->counts.wrong++ == 0)
        (void)snprintf(tally->counts.fault, sizeof tally->counts.fault, "%.60s %.330s", topic,
                       payload);
}

static void take_reading(struct feed_tally *tally, const char *topic, const char *payload)
{
    int meter = meter_of(topic);
    int64_t value = number_after(payload, "\"volume_base\":{\"value\":");
    int64_t tick = value - (meter + INT64_C(1)) * TALLY_VALUE_STEP;
    if (meter < 0 || tick < 0 || tick >= TALLY_TICKS_MAX || tally->seen[meter][tick]) {
        blame(tally, topic, payload);
        return;
    }
    tally->seen[meter][tick] = true;
    tally->counts.readings++;
    if (tally->sample_count < TALLY_SAMPLES_MAX && tally->counts.readings % SAMPLE_EVERY == 0)
        tally->samples[tally->sample_count++] = strdup(payload);
}

// Whole quarters alone: what a reload or the end of the run cut short is not judged.
static void take_summary(struct feed_tally *tally, const char *topic, const char *payload)
{
    int meter = meter_of(topic);
    int64_t from = instant_after(payload, "\"from\":\"") - tally->start_ms;
    int64_t delta = number_after(after(payload, "\"volume_base\":{"), "\"delta\":");
    if (meter < 0 || from < 0 || from % QUARTER_MS != 0 || from / QUARTER_MS >= QUARTERS_MAX ||
        tally->summed[meter][from / QUARTER_MS] ||
        (meter < tally->watched && delta != tally->quarter_ticks)) {
        blame(tally, topic, payload);
        return;
    }
    tally->summed[meter][from / QUARTER_MS] = true;
    tally->counts.summaries++;
}

static void take_message(struct feed_tally *tally, const char *topic, const char *payload)
{
    const char *kind = topic + tally->base_length + 1;
    int lane = lane_of(payload);
    if (lane < 0)
        return; // a state
    int64_t seq = number_after(payload, "\"seq\":");
    tally->counts.messages++;
    if (seq <= tally->highest[lane]) {
        tally->counts.repeated++;
        return;
    }
    tally->counts.holes += seq != tally->highest[lane] + 1;
    tally->highest[lane] = seq;
    if (strncmp(kind, "reading/", 8) == 0)
        take_reading(tally, topic, payload);
    else if (strncmp(kind, "summary/", 8) == 0)
        take_summary(tally, topic, payload);
    else if (strncmp(kind, "alert/", 6) == 0)
        tally->counts.alerts++;
    else if (strcmp(kind, "gap") == 0)
        tally->counts.gaps++;
}

static void take_fast(struct feed_tally *tally, const char *topic, const char *payload, double at_s)
{
    int meter = meter_of(topic);
    if (meter >= 0 && strncmp(topic + tally->base_length + 1, "alert/", 6) == 0 &&
        tally->alert_s[meter] == 0)
        tally->alert_s[meter] = at_s;
    int64_t tick = number_after(payload, "\"volume_base\":{\"value\":") -
                   (tally->watched + INT64_C(1)) * TALLY_VALUE_STEP;
    if (meter == tally->watched && lane_of(payload) == 1 && tick >= 0 && tick < TALLY_TICKS_MAX &&
        tally->live_s[tick] == 0)
        tally->live_s[tick] = at_s;
}

// --- the subscribers ---

static void *reader(void *argument)
{
    struct subscriber *subscriber = argument;
    struct feed_tally *tally = subscriber->tally;
    char *line = malloc(LINE_MAX_BYTES);
    must(line != NULL, "malloc");
    while (fgets(line, LINE_MAX_BYTES, subscriber->lines)) {
        char *payload = strchr(line, ' ');
        if (!payload || strncmp(line, tally->base, tally->base_length) != 0 ||
            line[tally->base_length] != '/')
            continue; // the yardstick's, or a message of the program itself
        *payload++ = '\0';
        payload[strcspn(payload, "\n")] = '\0';
        double at_s = now_s();
        must(pthread_mutex_lock(&tally->mutex) == 0, "lock");
        if (subscriber->fast)
            take_fast(tally, line, payload, at_s);
        else
            take_message(tally, line, payload);
        must(pthread_mutex_unlock(&tally->mutex) == 0, "unlock");
    }
    free(line);
    return NULL;
}

static void subscribe(struct feed_tally *tally, struct subscriber *subscriber, int port,
                      const char *first, const char *second)
{
    char text[16];
    int ends[2];
    (void)snprintf(text, sizeof text, "%d", port);
    char *argv[] = {"/usr/bin/mosquitto_sub",
                    "-V",
                    "5",
                    "-q",
                    "1",
                    "-p",
                    text,
                    "-F",
                    "%t %p",
                    "-t",
                    (char *)first,
                    "-t",
                    (char *)second,
                    NULL};
    must(pipe2(ends, O_CLOEXEC) == 0, "pipe");
    pid_t parent = getpid();
    subscriber->tally = tally;
    subscriber->child = fork();
    must(subscriber->child >= 0, "fork");
    if (subscriber->child == 0) {
        if (prctl(PR_SET_PDEATHSIG, SIGKILL) != 0 || getppid() != parent ||
            dup2(ends[1], STDOUT_FILENO) < 0)
            _exit(126);
        (void)execv(argv[0], argv);
        _exit(127);
    }
    (void)close(ends[1]);
    subscriber->lines = fdopen(ends[0], "r");
    must(subscriber->lines != NULL, "fdopen");
    must(pthread_create(&subscriber->thread, NULL, reader, subscriber) == 0, "thread");
}

struct feed_tally *feed_tally_start(int port, const char *base, const char *beside, int watched,
                                    int64_t start_ms, int quarter_ticks)
{
    char topics[4][200];
    struct feed_tally *tally = calloc(1, sizeof *tally);
    must(tally != NULL && pthread_mutex_init(&tally->mutex, NULL) == 0, "tally");
    (void)snprintf(tally->base, sizeof tally->base, "%s", base);
    tally->base_length = strlen(tally->base);
    tally->watched = watched;
    tally->start_ms = start_ms;
    tally->quarter_ticks = quarter_ticks;
    tally->fast.fast = true;
    (void)snprintf(topics[0], sizeof topics[0], "%s/#", tally->base);
    (void)snprintf(topics[1], sizeof topics[1], "%s/alert/#", tally->base);
    (void)snprintf(topics[2], sizeof topics[2], "%s/reading/meter-%d", tally->base, watched);
    (void)snprintf(topics[3], sizeof topics[3], "%s/#", beside);
    subscribe(tally, &tally->all, port, topics[0], topics[3]);
    subscribe(tally, &tally->fast, port, topics[1], topics[2]);
    return tally;
}

void feed_tally_stop(struct feed_tally *tally)
{
    struct subscriber *subscribers[] = {&tally->all, &tally->fast};
    for (int i = 0; i < 2; i++) {
        child_stop(subscribers[i]->child, SIGKILL);
        must(pthread_join(subscribers[i]->thread, NULL) == 0, "join");
        (void)fclose(subscribers[i]->lines);
    }
    for (int i = 0; i < tally->sample_count; i++)
        free(tally->samples[i]);
    (void)pthread_mutex_destroy(&tally->mutex);
    free(tally);
}

// --- what it says ---

struct feed_counts feed_tally_counts(struct feed_tally *tally)
{
    must(pthread_mutex_lock(&tally->mutex) == 0, "lock");
    struct feed_counts counts = tally->counts;
    must(pthread_mutex_unlock(&tally->mutex) == 0, "unlock");
    return counts;
}

bool feed_tally_has(struct feed_tally *tally, int meter, int tick)
{
    must(pthread_mutex_lock(&tally->mutex) == 0, "lock");
    bool has = tally->seen[meter][tick];
    must(pthread_mutex_unlock(&tally->mutex) == 0, "unlock");
    return has;
}

double feed_tally_alert_s(struct feed_tally *tally, int meter)
{
    must(pthread_mutex_lock(&tally->mutex) == 0, "lock");
    double at_s = tally->alert_s[meter];
    must(pthread_mutex_unlock(&tally->mutex) == 0, "unlock");
    return at_s;
}

double feed_tally_live_s(struct feed_tally *tally, int tick)
{
    must(pthread_mutex_lock(&tally->mutex) == 0, "lock");
    double at_s = tally->live_s[tick];
    must(pthread_mutex_unlock(&tally->mutex) == 0, "unlock");
    return at_s;
}

const char *feed_tally_sample(struct feed_tally *tally, int index)
{
    must(pthread_mutex_lock(&tally->mutex) == 0, "lock");
    const char *sample = index < tally->sample_count ? tally->samples[index] : NULL;
    must(pthread_mutex_unlock(&tally->mutex) == 0, "unlock");
    return sample;
}
