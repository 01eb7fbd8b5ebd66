// A saturated serial bus beside the wire's own limit: 10 meters x 3 separated groups of registers,
// asked without a rest, at 9600, 19200 and 38400 baud, 8N1. In the same run three clients: ours
// (the wire and the reading of a meter, the code that a bus thread runs; without its schedule,
// whose shortest interval is 1 s), libmodbus alone, and libmodbus with a fixed pause of 4.1 ms. The
// whole bus thread has a row too: as many meters at 1 s as need 90 % of the line, behind at first.
//
//     build/tests/bench/serial_bench [SECONDS [BAUD]]
//
// The line is a pseudo-terminal with exact bit times (tests/support/paced_line.h); its meters
// answer after the shortest turnaround that the standard allows, which is the silence between
// frames: the hardest case. The limit is bits + turnaround + silence. A silence lasts from the
// instant before the reply's last byte is handed over to the instant at which the client calls
// write(), both noted by the bench.
#include "config/config.h"
#include "poll/bus.h"
#include "poll/meter_poll.h"

#include "../support/paced_line.h"

#include <errno.h>
#include <modbus/modbus.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#define METERS 10
#define GROUPS 3
#define RUNS 3 // of ours; the median counts
#define BITS 10
#define SHARE_BAR 98.0
#define FIXED_PAUSE_NS 4100000
#define TIMEOUT_MS 500

#define BUS_LOAD 0.9 // of the bus thread's row: above that it begins to leave due times out

enum client { OURS, OURS_BUS, BARE, PAUSED };

struct measured {
    double share;          // percent of the wire's limit
    double shortest_us;    // silence
    double median_over_us; // silence beyond the standard's, median
    double p99_over_us;
    double cpu; // percent of one core, of the client; -1: its thread was not the client's own
    double line_late_us; // p99: of the line itself
    int violations, exchanges, failures;
};

static struct paced_line *line; // the one that is measured

// Every write of the program comes through here: the instant at which a request's first bit goes on
// the wire, whoever sends it.
ssize_t write(int fd, const void *bytes, size_t length)
{
    if (line != NULL && length > 1 && paced_owns(line, fd))
        paced_mark(line);
    return syscall(SYS_write, fd, bytes, length);
}

static void fail(const char *what)
{
    (void)fprintf(stderr, "serial_bench: %s\n", what);
    exit(1);
}

static int64_t now_ns(void)
{
    struct timespec now;
    (void)clock_gettime(CLOCK_MONOTONIC, &now);
    return (int64_t)now.tv_sec * 1000000000 + now.tv_nsec;
}

static double cpu_s(void)
{
    struct rusage usage;
    (void)getrusage(RUSAGE_THREAD, &usage);
    return (double)(usage.ru_utime.tv_sec + usage.ru_stime.tv_sec) +
           (double)(usage.ru_utime.tv_usec + usage.ru_stime.tv_usec) / 1e6;
}

// ---- the clients --------------------------------------------------------------------------------

// A meter with three groups of `registers` each, too far apart to be read together.
static size_t profile_text(int registers, char *text, size_t size)
{
    static const char *const channels[] = {
        "voltage_l1, V",   "voltage_l2, V",        "voltage_l3, V",
        "current_l1, A",   "current_l2, A",        "current_l3, A",
        "power, kW",       "power_l1, kW",         "power_l2, kW",
        "power_l3, kW",    "reactive_power, kvar", "apparent_power, kVA",
        "power_factor, 1", "frequency, Hz",        "phase_angle, deg",
    };
    size_t length = (size_t)snprintf(text, size,
                                     "model: Bench meter\nsource: tests/bench/serial_bench.c\n"
                                     "verified: true\nmedium: electricity\nchannels:\n");
    int each = registers / 2;
    for (int i = 0; i < GROUPS * each; i++) {
        const char *comma = strchr(channels[i], ',');
        int address = 1000 * (i / each) + 2 * (i % each);
        length += (size_t)snprintf(text + length, size - length,
                                   "  %.*s: {register: %d, function: 3, type: f32, unit: \"%s\"}\n",
                                   (int)(comma - channels[i]), channels[i], address, comma + 2);
    }
    return length;
}

static struct profile *make_profile(int registers)
{
    char text[4096];
    size_t length = profile_text(registers, text, sizeof text);
    struct faults *faults = calloc(1, sizeof *faults);
    struct profile *profile = NULL;
    if (faults == NULL || profile_load_text("bench.yaml", text, length, &profile, faults) != 0)
        fail(faults != NULL ? faults->list[0].message : "out of memory");
    free(faults);
    return profile;
}

static struct wire *open_wire(const struct link_url *url)
{
    struct wire_settings settings = {.url = *url, .response_timeout_ms = TIMEOUT_MS};
    struct wire *wire = wire_new(&settings, &clock_system);
    struct err err = {"out of memory"};
    if (wire == NULL || wire_open(wire, &err) != 0)
        fail(err.text);
    return wire;
}

static int poll_ours(int baud, int registers, int64_t until_ns)
{
    struct link_url url = {.kind = LINK_RTU, .baud = baud, .parity = 'N', .stop = 1};
    (void)snprintf(url.device, sizeof url.device, "%s", paced_device(line));
    struct wire *wire = open_wire(&url);
    struct profile *profile = make_profile(registers);
    struct link_cost cost;
    link_cost_of(&url, 0, &cost);
    struct meter meters[METERS] = {0};
    struct meter_poll *polls[METERS];
    struct err err;
    for (int i = 0; i < METERS; i++) {
        meters[i] = (struct meter){.id = "m1", .unit = 1 + i, .profile = profile};
        polls[i] = meter_poll_new(&meters[i], &cost, &err);
        if (polls[i] == NULL)
            fail(err.text);
    }
    struct live_link counters = {0};
    for (int i = 0; now_ns() < until_ns; i++) {
        struct reading *reading = reading_new(NULL, &meters[i % METERS]);
        if (reading == NULL)
            fail("out of memory");
        meter_poll_read(polls[i % METERS], wire, 0, &clock_system, reading, &counters);
        reading_free(reading);
    }
    for (int i = 0; i < METERS; i++)
        meter_poll_free(polls[i]);
    wire_free(wire);
    profile_free(profile);
    return (int)(counters.requests - counters.replies);
}

// The bus thread itself, with as many meters at 1 s as take BUS_LOAD of the line.
static struct config *make_config(int baud, int registers)
{
    char folder[] = "/tmp/serial-bench-XXXXXX";
    char path[64];
    char text[8192];
    struct faults *faults = calloc(1, sizeof *faults);
    struct config *config = NULL;
    int64_t each_ns = 2 * paced_silence_ns(baud, BITS) +
                      (int64_t)(8 + 5 + 2 * registers) * BITS * 1000000000 / baud;
    int meters = (int)(BUS_LOAD * 1e9 / (double)(GROUPS * each_ns));
    if (faults == NULL || mkdtemp(folder) == NULL)
        fail("no folder for the profile");
    (void)snprintf(path, sizeof path, "%s/bench.yaml", folder);
    FILE *file = fopen(path, "we");
    size_t length = profile_text(registers, text, sizeof text);
    if (file == NULL || fwrite(text, 1, length, file) != length || fclose(file) != 0)
        fail("cannot write the profile");
    length = (size_t)snprintf(text, sizeof text,
                              "gateway: {id: bench, timezone: UTC}\nlinks:\n"
                              "  - {id: bus, url: \"rtu://%s?baud=%d\", response_timeout_ms: %d}\n"
                              "meters:\n",
                              paced_device(line), baud, TIMEOUT_MS);
    for (int i = 0; i < meters; i++)
        length += (size_t)snprintf(
            text + length, sizeof text - length,
            "  - {id: m%d, link: bus, unit: %d, profile: %s, interval_s: 1}\n", i, i + 1, path);
    int loaded =
        config_load_text("bench.yaml", text, length, &(struct config_search){0}, &config, faults);
    (void)unlink(path);
    (void)rmdir(folder);
    if (loaded != 0)
        fail(faults->list[0].message);
    free(faults);
    return config;
}

struct taken {
    atomic_int good, bad;
};

static bool take(void *context, struct reading *reading)
{
    struct taken *taken = context;
    bool good = reading->answered;
    for (int i = 0; i < reading->value_count; i++)
        good = good && reading->values[i].quality == QUALITY_GOOD;
    atomic_fetch_add(good ? &taken->good : &taken->bad, 1);
    reading_free(reading);
    return true;
}

static int poll_bus(int baud, int registers, int64_t until_ns)
{
    struct taken taken = {0};
    struct err err;
    struct bus_settings settings = {.config = make_config(baud, registers),
                                    .clock = &clock_system,
                                    .sink = {take, &taken},
                                    .live = live_new()};
    live_apply(settings.live, settings.config);
    struct bus *bus = bus_start(&settings, &err);
    if (bus == NULL)
        fail(err.text);
    struct timespec until = {.tv_sec = until_ns / 1000000000, .tv_nsec = until_ns % 1000000000};
    while (clock_nanosleep(CLOCK_MONOTONIC, TIMER_ABSTIME, &until, NULL) == EINTR)
        ;
    bus_stop(bus);
    live_free(settings.live);
    config_unref(settings.config);
    return taken.good == 0 ? 1 : taken.bad;
}

static int poll_libmodbus(int baud, int registers, int64_t pause_ns, int64_t until_ns)
{
    modbus_t *bus = modbus_new_rtu(paced_device(line), baud, 'N', 8, 1);
    int failures = 0;
    if (bus == NULL || modbus_set_response_timeout(bus, 0, TIMEOUT_MS * 1000) != 0 ||
        modbus_connect(bus) != 0)
        fail("libmodbus cannot open the line");
    for (int i = 0; now_ns() < until_ns; i++) {
        uint16_t words[MODBUS_MAX_READ_REGISTERS];
        (void)modbus_set_slave(bus, 1 + i / GROUPS % METERS);
        int address = 1000 * (i % GROUPS);
        failures += modbus_read_registers(bus, address, registers, words) == registers ? 0 : 1;
        struct timespec pause = {.tv_nsec = pause_ns};
        if (pause_ns > 0)
            (void)nanosleep(&pause, NULL);
    }
    modbus_close(bus);
    modbus_free(bus);
    return failures;
}

// ---- figures ------------------------------------------------------------------------------------

static int compare(const void *a, const void *b)
{
    double x = *(const double *)a;
    double y = *(const double *)b;
    return (x > y) - (x < y);
}

static double percentile(double *values, int count, int percent)
{
    qsort(values, (size_t)count, sizeof values[0], compare);
    return values[count * percent / 100 < count ? count * percent / 100 : count - 1];
}

// From the second request on: before the first the client was opening the line.
static struct measured judge(int64_t standard_ns)
{
    const struct paced_exchange *list;
    int count = paced_exchanges(line, &list);
    if (count < 20)
        fail("fewer than 20 requests came to the line");
    double *over = calloc((size_t)count, sizeof *over);
    double *late = calloc((size_t)count, sizeof *late);
    if (over == NULL || late == NULL)
        fail("out of memory");
    struct measured measured = {.exchanges = count, .shortest_us = 1e9};
    int64_t limit_ns = 0;
    for (int i = 1; i < count; i++) {
        int64_t silence_ns = list[i].silence_ns;
        limit_ns += list[i - 1].limit_ns;
        over[i - 1] = (double)(silence_ns - standard_ns) / 1e3;
        late[i - 1] = (double)list[i - 1].late_ns / 1e3;
        measured.violations += silence_ns < standard_ns ? 1 : 0;
        if ((double)silence_ns / 1e3 < measured.shortest_us)
            measured.shortest_us = (double)silence_ns / 1e3;
    }
    measured.share =
        100.0 * (double)limit_ns / (double)(list[count - 1].begin_ns - list[0].begin_ns);
    measured.median_over_us = percentile(over, count - 1, 50);
    measured.p99_over_us = percentile(over, count - 1, 99);
    measured.line_late_us = percentile(late, count - 1, 99);
    free(over);
    free(late);
    return measured;
}

struct run {
    enum client client;
    int baud, registers, seconds;
    int failures;
    double cpu;
};

// In a thread of its own: what one client does to its thread is not the next one's.
static void *run_client(void *argument)
{
    struct run *run = argument;
    int64_t until_ns = now_ns() + run->seconds * INT64_C(1000000000);
    int64_t pause_ns = run->client == PAUSED ? FIXED_PAUSE_NS : 0;
    switch (run->client) {
    case OURS: run->failures = poll_ours(run->baud, run->registers, until_ns); break;
    case OURS_BUS: run->failures = poll_bus(run->baud, run->registers, until_ns); break;
    default: run->failures = poll_libmodbus(run->baud, run->registers, pause_ns, until_ns); break;
    }
    run->cpu = run->client == OURS_BUS ? -1 : 100 * cpu_s() / run->seconds;
    return NULL;
}

static struct measured measure(enum client client, int baud, int registers, int seconds)
{
    int64_t silence_ns = paced_silence_ns(baud, BITS);
    line = paced_start(&(struct paced_settings){baud, BITS, silence_ns});
    if (line == NULL) {
        (void)fprintf(stderr,
                      "serial_bench: the line must run under SCHED_FIFO, else it is late itself: "
                      "%s. Run it as root or with CAP_SYS_NICE (ulimit -r 60).\n",
                      strerror(errno));
        exit(1);
    }
    struct run run = {.client = client, .baud = baud, .registers = registers, .seconds = seconds};
    pthread_t thread;
    if (pthread_create(&thread, NULL, run_client, &run) != 0)
        fail("no thread");
    (void)pthread_join(thread, NULL);
    paced_stop(line);
    struct measured measured = judge(silence_ns);
    measured.failures = run.failures + paced_strays(line);
    measured.cpu = run.cpu;
    paced_free(line);
    line = NULL;
    return measured;
}

static int by_share(const void *a, const void *b)
{
    const struct measured *x = a;
    const struct measured *y = b;
    return (x->share > y->share) - (x->share < y->share);
}

// The run of median throughput, with the violations and failures of all.
static struct measured measure_ours(int baud, int registers, int seconds)
{
    struct measured runs[RUNS];
    int violations = 0;
    int failures = 0;
    double shortest_us = 1e9;
    for (int i = 0; i < RUNS; i++) {
        runs[i] = measure(OURS, baud, registers, seconds);
        violations += runs[i].violations;
        failures += runs[i].failures;
        shortest_us = runs[i].shortest_us < shortest_us ? runs[i].shortest_us : shortest_us;
    }
    qsort(runs, RUNS, sizeof runs[0], by_share);
    struct measured median = runs[RUNS / 2];
    median.violations = violations;
    median.failures = failures;
    median.shortest_us = shortest_us;
    return median;
}

// ---- the table ----------------------------------------------------------------------------------

static int missed;

static void row(int baud, const char *what, const struct measured *measured, const char *bar,
                bool met)
{
    char cpu[16] = "     -";
    missed += met ? 0 : 1;
    if (measured->cpu >= 0)
        (void)snprintf(cpu, sizeof cpu, "%4.1f %%", measured->cpu);
    (void)printf("  %5d  %-26s %6.2f %%  %8.1f / %8.1f us  %6.1f, %7.1f us  %5d of %-5d %s  "
                 "%s%s\n",
                 baud, what, measured->share, measured->shortest_us,
                 (double)paced_silence_ns(baud, BITS) / 1e3, measured->median_over_us,
                 measured->p99_over_us, measured->violations, measured->exchanges, cpu, bar,
                 bar[0] == '\0' ? ""
                 : met          ? "  ok"
                                : "  MISSED");
    if (measured->failures > 0) {
        (void)printf("         %d requests failed\n", measured->failures);
        missed++;
    }
    (void)fflush(stdout);
}

static void measure_baud(int baud, int seconds)
{
    struct measured ours = measure_ours(baud, 10, seconds);
    row(baud, "metergate, groups of 10", &ours, "at least 98 %, no violation",
        ours.share >= SHARE_BAR && ours.violations == 0);
    struct measured small = measure_ours(baud, 2, seconds);
    row(baud, "metergate, groups of 2", &small, "no violation", small.violations == 0);
    struct measured bus = measure(OURS_BUS, baud, 10, seconds);
    row(baud, "metergate's bus thread", &bus, "no violation", bus.violations == 0);
    struct measured bare = measure(BARE, baud, 10, seconds);
    row(baud, "libmodbus alone", &bare, "must violate, else the bench is blind",
        bare.violations > bare.exchanges / 2);
    struct measured paused = measure(PAUSED, baud, 10, seconds);
    row(baud, "libmodbus, 4.1 ms pause", &paused, "", true);
    (void)printf("         the line's own lateness, p99: %.0f, %.0f, %.0f, %.0f us\n",
                 ours.line_late_us, small.line_late_us, bare.line_late_us, paused.line_late_us);
}

int main(int argc, char **argv)
{
    static const int bauds[] = {9600, 19200, 38400};
    int seconds = argc > 1 ? (int)strtol(argv[1], NULL, 10) : 3;
    int only = argc > 2 ? (int)strtol(argv[2], NULL, 10) : 0;
    if (seconds < 2 || seconds > 60 || argc > 3) {
        (void)fputs("usage: serial_bench [SECONDS, 2 to 60 [BAUD]]\n", stderr);
        return 2;
    }
    double load[1] = {0};
    (void)getloadavg(load, 1);
    (void)printf(
        "serial bus, saturated: %d meters x %d groups, 8N1, meters answer after the shortest "
        "turnaround of the standard; load average %.2f\n"
        "  baud   client                     of the wire   shortest / standard    over it "
        "p50, p99     too short       CPU\n",
        METERS, GROUPS, load[0]);
    for (int i = 0; i < 3; i++)
        if (only == 0 || only == bauds[i])
            measure_baud(bauds[i], seconds);
    if (missed > 0)
        (void)printf("%d bars missed\n", missed);
    return missed > 0 ? 1 : 0;
}
