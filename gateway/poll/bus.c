#include "poll/bus_inside.h"

#include "base/heap.h"
#include "config/config.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>

#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
#define BUS_STACK (1024 * 1024) // the sanitizers' frames are larger
#else
#define BUS_STACK (128 * 1024)
#endif

#define WAIT_MAX_MS 2000   // how soon a step of the wall clock is noticed
#define CLOCK_STEP_MS 1000 // a smaller change is a slew: due times stay

bool bus_is_stopping(struct bus *bus)
{
    (void)pthread_mutex_lock(&bus->mutex);
    bool stop = bus->stop;
    (void)pthread_mutex_unlock(&bus->mutex);
    return stop;
}

struct timespec bus_moment_after(int64_t ms)
{
    struct timespec at;
    (void)clock_gettime(CLOCK_MONOTONIC, &at);
    int64_t ns = at.tv_nsec + ms % 1000 * 1000000;
    at.tv_sec += ms / 1000 + ns / 1000000000;
    at.tv_nsec = ns % 1000000000;
    return at;
}

// ---- the thread ---------------------------------------------------------------------------------

// A step of the wall clock moves every due time to the first one after now: none is waited for too
// long, none comes twice at once.
static void follow_clock(struct bus *bus, int64_t wall_ms, int64_t boot_ms)
{
    int64_t step_ms = wall_ms - boot_ms - bus->offset_ms;
    bus->offset_ms += step_ms;
    if (step_ms < -CLOCK_STEP_MS || step_ms > CLOCK_STEP_MS)
        agenda_restart(&bus->agenda, wall_ms);
}

static void rest(struct bus *bus, int64_t wait_ms, int64_t boot_ms)
{
    bus_await_link(bus, boot_ms, &wait_ms);
    if (wait_ms <= 0 || bus->stop)
        return;
    // Not a condition: after each wait for one the C library takes its mutex as if others waited
    // for it, and wakes nobody with a system call when it is given back. A post too many is a step
    // that finds nothing to do.
    struct timespec until = bus_moment_after(wait_ms);
    (void)pthread_mutex_unlock(&bus->mutex);
    (void)sem_clockwait(&bus->wake, CLOCK_MONOTONIC, &until);
    (void)pthread_mutex_lock(&bus->mutex);
}

// One step with the mutex held: a test reading, a task, what the agenda has next, or a wait.
static void bus_step(struct bus *bus)
{
    if (bus->job_count > 0) {
        bus_run_job(bus);
        return;
    }
    int64_t wall_ms = clock_wall_ms(bus->settings.clock);
    int64_t boot_ms = clock_boot_ms(bus->settings.clock);
    follow_clock(bus, wall_ms, boot_ms);
    struct turn turn = agenda_next(&bus->agenda, wall_ms, boot_ms);
    int64_t wait_ms = turn.wait_ms < WAIT_MAX_MS ? turn.wait_ms : WAIT_MAX_MS;
    int64_t free_ms = turn.kind == TURN_WAIT ? turn.wait_ms : 0;
    struct task_turn *task =
        turn.kind != TURN_MISS ? bus_next_task(bus, boot_ms, free_ms, &wait_ms) : NULL;
    if (task != NULL) {
        bus_run_task(bus, task, boot_ms);
    } else if (turn.kind == TURN_WAIT) {
        rest(bus, wait_ms, boot_ms);
    } else {
        (void)pthread_mutex_unlock(&bus->mutex);
        bus_note_load(bus);
        if (turn.kind == TURN_ASK)
            bus_ask(bus, &turn, wall_ms);
        else
            bus_miss(bus, &turn);
        (void)pthread_mutex_lock(&bus->mutex);
    }
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
    bus_release_tasks(bus);
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

static int count_meters(const struct config *config, int link)
{
    int count = 0;
    for (int i = 0; i < config->meter_count; i++)
        count += config->meters[i].link == link ? 1 : 0;
    return count;
}

static int add_meters(struct bus *bus, struct err *err)
{
    const struct config *config = bus->settings.config;
    for (int i = 0; i < config->meter_count; i++) {
        const struct meter *meter = &config->meters[i];
        if (meter->link != bus->settings.link)
            continue;
        enum span spans[SPANS_MAX];
        (void)spans_of_meter(config->office.summary_minutes, meter->interval_s, spans);
        int64_t interval_ms = meter->interval_s * INT64_C(1000);
        int index = bus->meter_count++;
        bus->entries[index].schedule =
            (struct schedule){spans[0], interval_ms, schedule_phase_ms(meter->id, interval_ms)};
        bus->shares[index].priority = meter->priority;
        bus->meters[index] = (struct bus_meter){meter, poll_of(bus, meter, err)};
        if (bus->meters[index].poll == NULL)
            return -1;
    }
    return 0;
}

static void start_agenda(struct bus *bus)
{
    const struct clock *clock = bus->settings.clock;
    int64_t wall_ms = clock_wall_ms(clock);
    int64_t boot_ms = clock_boot_ms(clock);
    bus->offset_ms = wall_ms - boot_ms;
    bus->agenda = (struct agenda){
        .calendar = &bus->settings.calendar,
        .retries = bus->link->retries,
        // On a serial line the same meter needs silence before it is asked again; over TCP a new
        // connection is enough.
        .retry_ms = bus->link->url.kind == LINK_TCP ? 0 : bus->link->response_timeout_ms,
        .timeout_ms = bus->link->response_timeout_ms,
        .count = bus->meter_count,
        .entries = bus->entries,
        .shares = bus->shares,
    };
    agenda_init(&bus->agenda, wall_ms, boot_ms);
}

static void bus_free(struct bus *bus)
{
    wire_free(bus->wire);
    health_unref(bus->health);
    for (int i = 0; i < bus->meter_count; i++)
        meter_poll_free(bus->meters[i].poll);
    free(bus->meters);
    free(bus->entries);
    free(bus->shares);
    config_unref(bus->settings.config);
    (void)pthread_cond_destroy(&bus->change);
    (void)sem_destroy(&bus->wake);
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
    (void)snprintf(bus->part, sizeof bus->part, "link %s", bus->link->id);
    pthread_condattr_t attributes;
    (void)pthread_condattr_init(&attributes);
    (void)pthread_condattr_setclock(&attributes, CLOCK_MONOTONIC);
    (void)pthread_cond_init(&bus->change, &attributes);
    (void)pthread_condattr_destroy(&attributes);
    (void)pthread_mutex_init(&bus->mutex, NULL);
    (void)sem_init(&bus->wake, 0, 0);
    struct wire_settings wire;
    config_wire_settings(bus->link, &wire);
    bus->wire = wire_new(&wire, settings->clock);
    // One more than needed: no memory is told from none wanted.
    int own = count_meters(settings->config, settings->link);
    bus->meters = calloc((size_t)own + 1, sizeof *bus->meters);
    bus->entries = calloc((size_t)own + 1, sizeof *bus->entries);
    bus->shares = calloc((size_t)own + 1, sizeof *bus->shares);
    bus->health = health_new(settings->config, settings->link, settings->clock);
    if (bus->wire == NULL || bus->health == NULL || bus->meters == NULL || bus->entries == NULL ||
        bus->shares == NULL || add_meters(bus, err) != 0) {
        bus_free(bus);
        return NULL;
    }
    start_agenda(bus);
    bus_watch_wire(bus);
    return bus;
}

struct bus *bus_start(const struct bus_settings *settings, struct err *err)
{
    (void)err_set(err, "no memory for link %s", settings->config->links[settings->link].id);
    struct bus *bus = bus_new(settings, err);
    if (bus == NULL)
        return NULL;
    live_watch(settings->live, bus->settings.config, settings->link, bus->health);
    live_link(settings->live, bus->settings.config, settings->link, &bus->counters);
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
    (void)sem_post(&bus->wake);
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
