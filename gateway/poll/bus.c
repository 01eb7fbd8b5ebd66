#include "poll/bus.h"

#include "base/log.h"
#include "config/config.h"
#include "poll/meter_poll.h"
#include "poll/schedule.h"

#include <errno.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <time.h>

#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
#define BUS_STACK (1024 * 1024) // the sanitizers' frames are larger
#else
#define BUS_STACK (128 * 1024)
#endif

#define JOBS_MAX 8             // test readings that wait; a further one is refused
#define FAILURES_MAX 3         // polls without any answer, after which a meter is not asked twice
#define FIRST_LOOK_MS 2000     // a meter that is due later than this is looked at once at start
#define WAIT_MAX_MS 2000       // how soon a step of the wall clock is noticed
#define CLOCK_STEP_MS 1000     // a smaller change is a slew: due times stay
#define LATE_LEAST_MS 100      // a poll is late beyond this, or beyond a tenth of its interval
#define BACKOFF_MAX_MS 60000   // between attempts to open a connection
#define BACKOFF_DEVICE_MS 8000 // opening a device disturbs nobody: soon there again when plugged in

struct bus_meter {
    const struct meter *meter;
    struct meter_poll *poll;
    struct schedule schedule;
    int64_t due_ms; // wall clock
    int failures;   // polls in a row without any answer
    bool seen;      // read at least once
};

// A test reading that somebody waits for.
struct job {
    int meter; // index in bus.meters
    struct wire_trace trace;
    struct bus *bus;
    struct reading *reading; // set when done, NULL when there was no memory
    bool running, done;
    bool abandoned; // nobody waits any more: the thread frees it
};

struct bus {
    struct bus_settings settings;
    const struct config_link *link;
    int meter_count;
    struct bus_meter *meters;
    pthread_t thread;
    pthread_mutex_t mutex;
    pthread_cond_t wake;   // of the thread
    pthread_cond_t change; // of those who wait for a job or for the last of them to leave
    // Guarded by the mutex:
    bool stop;
    int callers;
    int job_count;
    struct job *jobs[JOBS_MAX];
    // The thread's own:
    struct wire *wire;
    struct live_link counters;
    int64_t offset_ms;   // wall clock less boot clock
    int64_t retry_at_ms; // boot clock: not opened before
    int backoff_ms;
    bool opened; // at least once
    unsigned jitter;
    char part[8 + ID_SIZE]; // "link ID", for messages
};

static bool is_stopping(struct bus *bus)
{
    (void)pthread_mutex_lock(&bus->mutex);
    bool stop = bus->stop;
    (void)pthread_mutex_unlock(&bus->mutex);
    return stop;
}

// ---- the link -----------------------------------------------------------------------------------

static void back_off(struct bus *bus)
{
    bool device = bus->link->url.kind == LINK_RTU;
    int most_ms = device ? BACKOFF_DEVICE_MS : BACKOFF_MAX_MS;
    bus->backoff_ms = bus->backoff_ms == 0 ? 1000 : 2 * bus->backoff_ms;
    if (bus->backoff_ms > most_ms)
        bus->backoff_ms = most_ms;
    // Up to a quarter less, so that links lost together do not come back in step.
    int quarter = bus->backoff_ms / 4;
    int less = (int)((unsigned)rand_r(&bus->jitter) % (unsigned)quarter);
    bus->retry_at_ms = clock_boot_ms(bus->settings.clock) + bus->backoff_ms - less;
}

static void note_state(struct bus *bus, bool open, const char *reason)
{
    if (open && !bus->counters.open) {
        log_info(bus->part, "open");
        bus->counters.error[0] = '\0';
    }
    if (!open) {
        if (bus->counters.open || bus->counters.error[0] == '\0')
            log_warn(bus->part, "%s", reason);
        if (reason != bus->counters.error)
            (void)snprintf(bus->counters.error, sizeof bus->counters.error, "%s", reason);
    }
    bus->counters.open = open;
}

// Opens the link where it is not open and its time to be tried has come.
static bool open_link(struct bus *bus, bool at_once)
{
    bool was_open = wire_is_open(bus->wire);
    if (!was_open && !at_once && clock_boot_ms(bus->settings.clock) < bus->retry_at_ms)
        return false;
    struct err err;
    if (wire_open(bus->wire, &err) != 0) {
        if (is_stopping(bus))
            return false;
        char reason[sizeof bus->counters.error];
        (void)snprintf(reason, sizeof reason, "%.*s", (int)sizeof reason - 1, err.text);
        note_state(bus, false, reason);
        back_off(bus);
        return false;
    }
    bus->counters.reconnects += !was_open && bus->opened ? 1 : 0;
    bus->opened = true;
    note_state(bus, true, "");
    return true;
}

static bool lost_link(const struct reading *reading)
{
    for (int i = 0; i < reading->meter->profile->field_count; i++)
        if (reading->image.why[i] == WHY_LINK_DOWN)
            return true;
    return false;
}

// After a reading: whether the link stood it.
static void settle_link(struct bus *bus, const struct reading *reading)
{
    if (wire_is_open(bus->wire)) {
        bus->backoff_ms = 0;
        return;
    }
    // A TCP connection is closed after each time-out and made anew with the next request.
    if (lost_link(reading) && !is_stopping(bus)) {
        note_state(bus, false,
                   bus->counters.error[0] != '\0' ? bus->counters.error : "the link broke");
        back_off(bus);
    } else if (reading->answered) {
        bus->backoff_ms = 0;
    }
}

// ---- readings -----------------------------------------------------------------------------------

static void read_meter(struct bus *bus, const struct bus_meter *meter, int retries, bool at_once,
                       struct reading *reading)
{
    const struct clock *clock = bus->settings.clock;
    if (open_link(bus, at_once)) {
        meter_poll_read(meter->poll, bus->wire, retries, clock, reading, &bus->counters);
        settle_link(bus, reading);
        return;
    }
    reading_refuse(reading, WHY_LINK_DOWN);
    reading->at_ms = reading->due_ms != 0 ? reading->due_ms : clock_wall_ms(clock);
    reading->boot_ms = clock_boot_ms(clock);
}

// Reads a meter for its due time, or (due_ms 0) for the live view only.
static void poll_meter(struct bus *bus, struct bus_meter *meter, int64_t due_ms)
{
    struct live_link *counters = &bus->counters;
    struct reading *reading = reading_new(bus->settings.config, meter->meter);
    if (reading == NULL) {
        log_error(bus->part, "no memory for a reading of %s: it is missing", meter->meter->id);
        return;
    }
    reading->due_ms = due_ms;
    uint64_t answers = counters->replies + counters->exceptions;
    int retries = meter->failures < FAILURES_MAX ? bus->link->retries : 0;
    read_meter(bus, meter, retries, false, reading);
    bool alive = counters->replies + counters->exceptions > answers;
    meter->failures = alive ? 0 : meter->failures + (meter->failures < FAILURES_MAX ? 1 : 0);
    meter->seen = true;
    if (is_stopping(bus)) { // cut short: says nothing of the meter
        reading_free(reading);
        return;
    }
    live_reading(bus->settings.live, reading);
    live_link(bus->settings.live, bus->link->id, counters);
    if (due_ms == 0) {
        reading_free(reading);
    } else if (!bus->settings.sink.offer(bus->settings.sink.context, reading)) {
        counters->refused++;
        live_link(bus->settings.live, bus->link->id, counters);
        reading_free(reading);
    }
}

static void poll_due(struct bus *bus, struct bus_meter *meter)
{
    const struct clock *clock = bus->settings.clock;
    int64_t due_ms = meter->due_ms;
    int64_t tolerance_ms = meter->schedule.interval_ms / 10;
    tolerance_ms = tolerance_ms > LATE_LEAST_MS ? tolerance_ms : LATE_LEAST_MS;
    bus->counters.late += clock_wall_ms(clock) - due_ms > tolerance_ms ? 1 : 0;
    bus->counters.polls++;
    poll_meter(bus, meter, due_ms);
    int64_t now_ms = clock_wall_ms(clock);
    meter->due_ms =
        schedule_next(&meter->schedule, &bus->settings.calendar, now_ms > due_ms ? now_ms : due_ms);
}

// ---- test readings ------------------------------------------------------------------------------

static void show_frame(void *context, bool sent, const uint8_t *bytes, size_t length)
{
    struct job *job = context;
    (void)pthread_mutex_lock(&job->bus->mutex);
    if (!job->abandoned && job->trace.frame != NULL)
        job->trace.frame(job->trace.context, sent, bytes, length);
    (void)pthread_mutex_unlock(&job->bus->mutex);
}

static void drop_job(struct bus *bus, int index)
{
    bus->job_count--;
    for (int i = index; i < bus->job_count; i++)
        bus->jobs[i] = bus->jobs[i + 1];
}

// Called with the mutex held, and returns so.
static void run_job(struct bus *bus)
{
    struct job *job = bus->jobs[0];
    drop_job(bus, 0);
    job->running = true;
    (void)pthread_mutex_unlock(&bus->mutex);
    const struct bus_meter *meter = &bus->meters[job->meter];
    struct reading *reading = reading_new(bus->settings.config, meter->meter);
    if (reading != NULL) {
        wire_set_trace(bus->wire, (struct wire_trace){show_frame, job});
        read_meter(bus, meter, bus->link->retries, true, reading);
        wire_set_trace(bus->wire, (struct wire_trace){NULL, NULL});
        live_link(bus->settings.live, bus->link->id, &bus->counters);
    }
    (void)pthread_mutex_lock(&bus->mutex);
    if (job->abandoned) {
        reading_free(reading);
        free(job);
        return;
    }
    job->reading = reading;
    job->done = true;
    (void)pthread_cond_broadcast(&bus->change);
}

static struct timespec monotonic_after(int64_t ms)
{
    struct timespec at;
    (void)clock_gettime(CLOCK_MONOTONIC, &at);
    int64_t ns = at.tv_nsec + ms % 1000 * 1000000;
    at.tv_sec += ms / 1000 + ns / 1000000000;
    at.tv_nsec = ns % 1000000000;
    return at;
}

static void forget_job(struct bus *bus, const struct job *job)
{
    for (int i = 0; i < bus->job_count; i++) {
        if (bus->jobs[i] == job) {
            drop_job(bus, i);
            return;
        }
    }
}

// Waits for a job with the mutex held. True when it is done; else it is gone or will be.
static bool wait_for_job(struct bus *bus, struct job *job, int wait_ms)
{
    struct timespec limit = monotonic_after(wait_ms);
    int late = 0;
    while (!job->done && !bus->stop && late != ETIMEDOUT)
        late = pthread_cond_timedwait(&bus->change, &bus->mutex, &limit);
    if (job->done)
        return true;
    if (job->running) {
        job->abandoned = true;
    } else {
        forget_job(bus, job);
        free(job);
    }
    return false;
}

static int find_meter(const struct bus *bus, int meter)
{
    for (int i = 0; i < bus->meter_count; i++)
        if (bus->meters[i].meter == &bus->settings.config->meters[meter])
            return i;
    return -1;
}

int bus_read(struct bus *bus, int meter, struct wire_trace trace, int wait_ms, struct reading **out,
             struct err *err)
{
    int index = find_meter(bus, meter);
    if (index < 0)
        return err_set(err, "that meter is not on link %s", bus->link->id);
    struct job *job = calloc(1, sizeof *job);
    if (job == NULL)
        return err_set(err, "no memory");
    *job = (struct job){.meter = index, .trace = trace, .bus = bus};
    int result = -1;
    (void)pthread_mutex_lock(&bus->mutex);
    bus->callers++;
    if (bus->stop || bus->job_count == JOBS_MAX) {
        (void)err_set(err, bus->stop ? "link %s is being stopped" : "link %s is busy: try again",
                      bus->link->id);
        free(job);
    } else {
        bus->jobs[bus->job_count++] = job;
        (void)pthread_cond_signal(&bus->wake);
        if (!wait_for_job(bus, job, wait_ms)) {
            (void)err_set(err, "link %s did not come to it within %d ms: try again", bus->link->id,
                          wait_ms);
        } else if (job->reading == NULL) {
            (void)err_set(err, "no memory for a reading");
            free(job);
        } else {
            *out = job->reading;
            free(job);
            result = 0;
        }
    }
    bus->callers--;
    (void)pthread_cond_broadcast(&bus->change);
    (void)pthread_mutex_unlock(&bus->mutex);
    return result;
}

// ---- the thread ---------------------------------------------------------------------------------

// A step of the wall clock moves every due time to the first one after now: none is waited for too
// long, none comes twice at once.
static void follow_clock(struct bus *bus)
{
    const struct clock *clock = bus->settings.clock;
    int64_t now_ms = clock_wall_ms(clock);
    int64_t offset_ms = now_ms - clock_boot_ms(clock);
    int64_t step_ms = offset_ms - bus->offset_ms;
    bus->offset_ms = offset_ms;
    if (step_ms >= -CLOCK_STEP_MS && step_ms <= CLOCK_STEP_MS)
        return;
    for (int i = 0; i < bus->meter_count; i++) {
        bus->meters[i].due_ms =
            schedule_next(&bus->meters[i].schedule, &bus->settings.calendar, now_ms);
    }
}

static struct bus_meter *first_due(struct bus *bus)
{
    struct bus_meter *first = NULL;
    for (int i = 0; i < bus->meter_count; i++)
        if (first == NULL || bus->meters[i].due_ms < first->due_ms)
            first = &bus->meters[i];
    return first;
}

static struct bus_meter *first_unseen(struct bus *bus, int64_t now_ms)
{
    struct bus_meter *end = bus->meters + bus->meter_count;
    for (struct bus_meter *meter = bus->meters; meter < end; meter++)
        if (!meter->seen && meter->due_ms - now_ms > FIRST_LOOK_MS)
            return meter;
    return NULL;
}

// One step with the mutex held: a test reading, a due poll, a first look, or a wait.
static void bus_step(struct bus *bus)
{
    if (bus->job_count > 0) {
        run_job(bus);
        return;
    }
    follow_clock(bus);
    int64_t now_ms = clock_wall_ms(bus->settings.clock);
    struct bus_meter *due = first_due(bus);
    bool is_due = due != NULL && due->due_ms <= now_ms;
    struct bus_meter *unseen = is_due ? NULL : first_unseen(bus, now_ms);
    if (is_due || unseen != NULL) {
        (void)pthread_mutex_unlock(&bus->mutex);
        if (is_due)
            poll_due(bus, due);
        else
            poll_meter(bus, unseen, 0);
        (void)pthread_mutex_lock(&bus->mutex);
        return;
    }
    int64_t wait_ms = due != NULL ? due->due_ms - now_ms : WAIT_MAX_MS;
    struct timespec until = monotonic_after(wait_ms < WAIT_MAX_MS ? wait_ms : WAIT_MAX_MS);
    (void)pthread_cond_timedwait(&bus->wake, &bus->mutex, &until);
}

static void *bus_run(void *argument)
{
    struct bus *bus = argument;
    char name[16];
    (void)snprintf(name, sizeof name, "link %.10s", bus->link->id);
    (void)pthread_setname_np(pthread_self(), name);
    if (bus->link->url.kind == LINK_RTU)
        (void)prctl(PR_SET_TIMERSLACK, 1); // silences of a few milliseconds
    (void)pthread_mutex_lock(&bus->mutex);
    while (!bus->stop)
        bus_step(bus);
    (void)pthread_mutex_unlock(&bus->mutex);
    return NULL;
}

// ---- start and stop -----------------------------------------------------------------------------

static struct meter_poll *poll_of(const struct bus *bus, const struct meter *meter, struct err *err)
{
    int meter_ms = meter->profile->limits.pause_ms;
    struct link_cost cost;
    link_cost_of(&bus->link->url, meter_ms > bus->link->pause_ms ? meter_ms : bus->link->pause_ms,
                 &cost);
    return meter_poll_new(meter, &cost, err);
}

static int add_meters(struct bus *bus, struct err *err)
{
    const struct config *config = bus->settings.config;
    int64_t now_ms = clock_wall_ms(bus->settings.clock);
    for (int i = 0; i < config->meter_count; i++) {
        const struct meter *meter = &config->meters[i];
        if (meter->link != bus->settings.link)
            continue;
        enum span spans[SPANS_MAX];
        (void)spans_of_meter(config->office.summary_minutes, meter->interval_s, spans);
        int64_t interval_ms = meter->interval_s * INT64_C(1000);
        struct bus_meter *added = &bus->meters[bus->meter_count++];
        added->meter = meter;
        added->poll = poll_of(bus, meter, err);
        if (added->poll == NULL)
            return -1;
        added->schedule =
            (struct schedule){spans[0], interval_ms, schedule_phase_ms(meter->id, interval_ms)};
        added->due_ms = schedule_next(&added->schedule, &bus->settings.calendar, now_ms);
    }
    return 0;
}

static void bus_free(struct bus *bus)
{
    wire_free(bus->wire);
    for (int i = 0; i < bus->meter_count; i++)
        meter_poll_free(bus->meters[i].poll);
    free(bus->meters);
    config_unref(bus->settings.config);
    (void)pthread_cond_destroy(&bus->change);
    (void)pthread_cond_destroy(&bus->wake);
    (void)pthread_mutex_destroy(&bus->mutex);
    free(bus);
}

static struct bus *bus_new(const struct bus_settings *settings, struct err *err)
{
    struct bus *bus = calloc(1, sizeof *bus);
    if (bus == NULL)
        return NULL;
    bus->settings = *settings;
    bus->settings.config = config_ref(settings->config);
    bus->link = &settings->config->links[settings->link];
    bus->jitter = (unsigned)settings->link + 1;
    bus->offset_ms = clock_wall_ms(settings->clock) - clock_boot_ms(settings->clock);
    (void)snprintf(bus->part, sizeof bus->part, "link %s", bus->link->id);
    pthread_condattr_t attributes;
    (void)pthread_condattr_init(&attributes);
    (void)pthread_condattr_setclock(&attributes, CLOCK_MONOTONIC);
    (void)pthread_cond_init(&bus->wake, &attributes);
    (void)pthread_cond_init(&bus->change, &attributes);
    (void)pthread_condattr_destroy(&attributes);
    (void)pthread_mutex_init(&bus->mutex, NULL);
    struct wire_settings wire = {.url = bus->link->url,
                                 .response_timeout_ms = bus->link->response_timeout_ms,
                                 .pause_ms = bus->link->pause_ms};
    bus->wire = wire_new(&wire, settings->clock);
    bus->meters = calloc((size_t)settings->config->meter_count + 1, sizeof *bus->meters);
    if (bus->wire == NULL || bus->meters == NULL || add_meters(bus, err) != 0) {
        bus_free(bus);
        return NULL;
    }
    return bus;
}

struct bus *bus_start(const struct bus_settings *settings, struct err *err)
{
    (void)err_set(err, "no memory for link %s", settings->config->links[settings->link].id);
    struct bus *bus = bus_new(settings, err);
    if (bus == NULL)
        return NULL;
    live_link(settings->live, bus->link->id, &bus->counters);
    pthread_attr_t attributes;
    (void)pthread_attr_init(&attributes);
    (void)pthread_attr_setstacksize(&attributes, BUS_STACK);
    int failed = pthread_create(&bus->thread, &attributes, bus_run, bus);
    (void)pthread_attr_destroy(&attributes);
    if (failed != 0) {
        (void)err_set(err, "cannot start the thread of link %s: %s", bus->link->id,
                      strerror(failed));
        bus_free(bus);
        return NULL;
    }
    return bus;
}

void bus_stop(struct bus *bus)
{
    if (bus == NULL)
        return;
    (void)pthread_mutex_lock(&bus->mutex);
    bus->stop = true;
    wire_interrupt(bus->wire);
    (void)pthread_cond_broadcast(&bus->wake);
    (void)pthread_cond_broadcast(&bus->change);
    (void)pthread_mutex_unlock(&bus->mutex);
    (void)pthread_join(bus->thread, NULL);
    (void)pthread_mutex_lock(&bus->mutex);
    while (bus->callers > 0)
        (void)pthread_cond_wait(&bus->change, &bus->mutex);
    (void)pthread_mutex_unlock(&bus->mutex);
    bus_free(bus);
}

const struct config *bus_config(const struct bus *bus)
{
    return bus->settings.config;
}

int bus_link(const struct bus *bus)
{
    return bus->settings.link;
}
