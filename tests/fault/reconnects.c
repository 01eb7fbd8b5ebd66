// A broker that accepts each connection and closes it, again and again: what an attempt leaves
// behind in memory and descriptors.
//
// usage: reconnects ATTEMPTS; prints one JSON object, exits 1 when memory or descriptors grow.
//
// The clock of the office runs ahead whenever it waits, so an attempt follows another at once.
#include "office/office.h"

#include "../support/fake_broker.h"

#include <dirent.h>
#include <fcntl.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#define SLOPE_MOST 1024          // bytes of an attempt: the bar
#define NOISE_BYTES (256 * 1024) // of a short run: pages come in one by one
#define WARM_SHARE 10            // a tenth of the attempts comes before memory is looked at
#define LIMIT_S 36000
#define STEP_MS 600000 // longer than any back-off

static char folder[64] = "/tmp/metergate-reconnects-XXXXXX";

static void fail(const char *what)
{
    (void)fprintf(stderr, "reconnects: %s\n", what);
    exit(1);
}

// --- what the office needs around it ---

static _Atomic int64_t ahead_ms;

static double now_s(void)
{
    struct timespec now;
    (void)clock_gettime(CLOCK_MONOTONIC, &now);
    return (double)now.tv_sec + (double)now.tv_nsec / 1e9;
}

static int64_t boot_ahead_ns(void *context)
{
    (void)context;
    return (int64_t)(now_s() * 1e9) + atomic_load(&ahead_ms) * 1000000;
}

static int64_t wall_ms(void *context)
{
    return clock_system.wall_ms(context);
}

static const struct clock clock_ahead = {.boot_ns = boot_ahead_ns, .wall_ms = wall_ms};

// A recorder that is never asked to write: no message is ever acknowledged here.
void recorder_acknowledge(struct recorder *recorder, enum lane lane, int64_t seq)
{
    (void)recorder;
    (void)lane;
    (void)seq;
    fail("something was acknowledged");
}

void recorder_set_live(struct recorder *recorder, bool live)
{
    (void)recorder;
    if (live)
        fail("the session counts as live");
}

int recorder_run(struct recorder *recorder, recorder_task *task, void *argument, struct err *err)
{
    (void)recorder;
    (void)task;
    (void)argument;
    (void)err;
    fail("a message was set aside");
    return -1;
}

void recorder_status(struct recorder *recorder, struct recorder_status *out)
{
    (void)recorder;
    *out = (struct recorder_status){.clock_known = true};
}

bool live_serial(struct live *live, const struct config *of, int meter,
                 char serial[static VALUE_TEXT_MAX])
{
    (void)live;
    (void)of;
    (void)meter;
    (void)serial;
    return false;
}

static struct config config = {.references = 1000,
                               .gateway_id = "site-042",
                               .revision = "0123456789abcdef",
                               .office = {.present = true, .prefix = "metergate/v1"}};

// --- what is looked at ---

static long resident_kb(void)
{
    long pages = 0;
    FILE *file = fopen("/proc/self/statm", "re");
    if (!file || fscanf(file, "%*d %ld", &pages) != 1)
        fail("/proc/self/statm cannot be read");
    (void)fclose(file);
    return pages * (sysconf(_SC_PAGESIZE) / 1024);
}

static int count_entries(const char *path)
{
    int count = 0;
    DIR *dir = opendir(path);
    if (!dir)
        fail(path);
    while (readdir(dir))
        count++;
    (void)closedir(dir);
    return count;
}

static void remove_folder(void)
{
    DIR *dir = opendir(folder);
    for (struct dirent *entry; dir && (entry = readdir(dir)) != NULL;)
        (void)unlinkat(dirfd(dir), entry->d_name, 0);
    if (dir)
        (void)closedir(dir);
    (void)rmdir(folder);
}

static void await_connections(struct office *office, struct fake_broker *broker, int goal)
{
    struct office_status status;
    double deadline = now_s() + LIMIT_S;
    while (fake_broker_connections(broker) < goal) {
        office_status(office, &status);
        if (status.state == OFFICE_OFFLINE) {
            (void)atomic_fetch_add(&ahead_ms, STEP_MS);
            office_wake(office);
        }
        if (now_s() > deadline)
            fail("the attempts do not follow one another");
        (void)usleep(2000);
    }
}

static int measure(struct office *office, struct fake_broker *broker, int attempts)
{
    // Each attempt is two connections: paho's, and the look at why it failed.
    await_connections(office, broker, 2 * (attempts / WARM_SHARE));
    long kb = resident_kb();
    int files = count_entries("/proc/self/fd");
    int threads = count_entries("/proc/self/task");
    double begun = now_s();
    int measured = attempts - attempts / WARM_SHARE;
    await_connections(office, broker, 2 * attempts);
    double slope = (double)(resident_kb() - kb) * 1024 / measured;
    int more_files = count_entries("/proc/self/fd") - files;
    int more_threads = count_entries("/proc/self/task") - threads;
    (void)printf("{\"attempts\": %d, \"resident_kb\": %ld, \"slope_bytes\": %.0f, "
                 "\"more_files\": %d, \"more_threads\": %d, \"attempts_per_s\": %.1f}\n",
                 measured, resident_kb(), slope, more_files, more_threads,
                 measured / (now_s() - begun));
    // A connection that is open at one look and not at the other is two files, and paho's threads.
    return slope <= SLOPE_MOST + (double)NOISE_BYTES / measured && more_files <= 3 &&
           more_threads <= 3;
}

int main(int argc, char **argv)
{
    struct err err = {.text = ""};
    struct store *store;
    int attempts = argc == 2 ? (int)strtol(argv[1], NULL, 10) : 0;
    if (attempts < 50 || !mkdtemp(folder))
        fail("usage: reconnects ATTEMPTS(from 50)");
    if (store_open(folder, &store, &err) != 0)
        fail(err.text);
    struct fake_broker *broker = fake_broker_start();
    fake_broker_greeting(broker, FAKE_GREET_CLOSE);
    (void)snprintf(config.office.url, sizeof config.office.url, "mqtt://127.0.0.1:%d",
                   fake_broker_port(broker));
    struct office_settings settings = {
        .config = &config, .directory = folder, .clock = &clock_ahead};
    struct office *office = office_start(&settings, &err);
    if (!office)
        fail(err.text);
    int good = measure(office, broker, attempts);
    office_stop(office);
    fake_broker_stop(broker);
    store_close(store);
    remove_folder();
    return good ? 0 : 1;
}
