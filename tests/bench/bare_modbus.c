// The yardstick of the load bench: a bare libmodbus loop that reads the same registers of the same
// meters once a second, a thread for each connection, and does nothing with them.
//
// usage: bare_modbus SECONDS PERIOD_MS < METERS
// METERS: lines "ADDRESS PORT UNIT FUNCTION FIRST COUNT"; consecutive lines of one address and port
// share a connection. Prints one JSON object: polls, failures, share on time, lateness, CPU.
#include <errno.h>
#include <modbus/modbus.h>
#include <pthread.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <time.h>

#define METERS_MAX 4096
#define STACK_BYTES (128 * 1024)
#define LATE_MS 100 // a poll that begins later than this after its due time is late

struct target {
    char address[64];
    int port, unit, function, first, count;
};

struct worker {
    pthread_t thread;
    const struct target *targets; // of one connection
    int target_count;
    int64_t start_ns, period_ns, end_ns, phase_ns;
    int32_t *lateness_us; // one per poll
    int polls, polls_max, failures;
};

static int64_t now_ns(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (int64_t)now.tv_sec * 1000000000 + now.tv_nsec;
}

static void wait_until(int64_t at_ns)
{
    struct timespec at = {.tv_sec = at_ns / 1000000000, .tv_nsec = at_ns % 1000000000};
    while (clock_nanosleep(CLOCK_MONOTONIC, TIMER_ABSTIME, &at, NULL) == EINTR)
        ;
}

static bool target_read(modbus_t *bus, const struct target *target)
{
    uint16_t words[MODBUS_MAX_READ_REGISTERS];
    modbus_set_slave(bus, target->unit);
    int got = target->function == 4
                  ? modbus_read_input_registers(bus, target->first, target->count, words)
                  : modbus_read_registers(bus, target->first, target->count, words);
    return got == target->count;
}

static void *work(void *argument)
{
    struct worker *worker = argument;
    modbus_t *bus = modbus_new_tcp(worker->targets[0].address, worker->targets[0].port);
    if (!bus || modbus_connect(bus) != 0) {
        worker->failures = worker->polls_max;
        modbus_free(bus);
        return NULL;
    }
    for (int64_t due = worker->start_ns + worker->phase_ns; due < worker->end_ns;
         due += worker->period_ns) {
        wait_until(due);
        for (int i = 0; i < worker->target_count && worker->polls < worker->polls_max; i++) {
            worker->lateness_us[worker->polls++] = (int32_t)((now_ns() - due) / 1000);
            if (!target_read(bus, &worker->targets[i]))
                worker->failures++;
        }
    }
    modbus_close(bus);
    modbus_free(bus);
    return NULL;
}

static int targets_read(struct target *targets)
{
    int count = 0;
    char line[160];
    while (count < METERS_MAX && fgets(line, sizeof line, stdin)) {
        struct target *one = &targets[count];
        if (sscanf(line, "%63s %d %d %d %d %d", one->address, &one->port, &one->unit,
                   &one->function, &one->first, &one->count) != 6 ||
            one->count < 1 || one->count > MODBUS_MAX_READ_REGISTERS) {
            fprintf(stderr, "bare_modbus: not a meter: %s", line);
            return -1;
        }
        count++;
    }
    return count;
}

static int compare(const void *a, const void *b)
{
    int32_t x = *(const int32_t *)a, y = *(const int32_t *)b;
    return (x > y) - (x < y);
}

static double seconds(struct timeval time)
{
    return (double)time.tv_sec + (double)time.tv_usec / 1e6;
}

static void print(const struct worker *workers, int count, double elapsed_s)
{
    int64_t polls = 0, failures = 0, late = 0;
    for (int i = 0; i < count; i++) {
        polls += workers[i].polls;
        failures += workers[i].failures;
    }
    int32_t *all = calloc((size_t)polls + 1, sizeof *all);
    if (!all)
        abort();
    int64_t at = 0;
    for (int i = 0; i < count; i++)
        for (int k = 0; k < workers[i].polls; k++) {
            all[at++] = workers[i].lateness_us[k];
            late += workers[i].lateness_us[k] > LATE_MS * 1000;
        }
    qsort(all, (size_t)polls, sizeof *all, compare);
    struct rusage usage;
    getrusage(RUSAGE_SELF, &usage);
    printf("{\"polls\":%lld,\"failures\":%lld,\"late\":%lld,\"late_ms\":%d,\"p50_us\":%d,\"p99_"
           "us\":%d,"
           "\"cpu_s\":%.3f,\"elapsed_s\":%.3f,\"rss_kb\":%ld}\n",
           (long long)polls, (long long)failures, (long long)late, LATE_MS,
           polls ? all[polls / 2] : 0, polls ? all[polls * 99 / 100] : 0,
           seconds(usage.ru_utime) + seconds(usage.ru_stime), elapsed_s, usage.ru_maxrss);
    free(all);
}

// Gives each connection its targets and its share of the period as phase; returns how many.
static int workers_make(struct worker *workers, const struct target *targets, int count, int run_s,
                        int period_ms)
{
    int made = 0;
    for (int i = 0; i < count; i++) {
        const struct target *last = made ? &workers[made - 1].targets[0] : NULL;
        if (last && last->port == targets[i].port && strcmp(last->address, targets[i].address) == 0)
            workers[made - 1].target_count++;
        else
            workers[made++] = (struct worker){.targets = &targets[i], .target_count = 1};
    }
    int64_t start_ns = now_ns() + 500000000;
    for (int i = 0; i < made; i++) {
        struct worker *one = &workers[i];
        one->start_ns = start_ns;
        one->period_ns = (int64_t)period_ms * 1000000;
        one->end_ns = start_ns + (int64_t)run_s * 1000000000;
        one->phase_ns = one->period_ns * i / made;
        one->polls_max = one->target_count * (run_s * 1000 / period_ms + 2);
        one->lateness_us = calloc((size_t)one->polls_max, sizeof *one->lateness_us);
        if (!one->lateness_us)
            abort();
    }
    return made;
}

int main(int argc, char **argv)
{
    int run_s = argc == 3 ? (int)strtol(argv[1], NULL, 10) : 0;
    int period_ms = argc == 3 ? (int)strtol(argv[2], NULL, 10) : 0;
    if (run_s < 1 || period_ms < 10) {
        fputs("usage: bare_modbus SECONDS PERIOD_MS < METERS\n", stderr);
        return 2;
    }
    static struct target targets[METERS_MAX];
    static struct worker workers[METERS_MAX];
    int target_count = targets_read(targets);
    if (target_count < 1)
        return 2;
    int count = workers_make(workers, targets, target_count, run_s, period_ms);
    int64_t began_ns = now_ns();
    pthread_attr_t attributes;
    pthread_attr_init(&attributes);
    pthread_attr_setstacksize(&attributes, STACK_BYTES);
    for (int i = 0; i < count; i++)
        if (pthread_create(&workers[i].thread, &attributes, work, &workers[i]) != 0)
            abort();
    for (int i = 0; i < count; i++)
        pthread_join(workers[i].thread, NULL);
    print(workers, count, (double)(now_ns() - began_ns) / 1e9);
    for (int i = 0; i < count; i++)
        free(workers[i].lateness_us);
    return 0;
}
