#include "poll/bus_inside.h"

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

#define FIRST_LOOK_MS 2000 // a meter that is due later than this is looked at once at start
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

// One step with the mutex held: a test reading, a due poll, a first look, a task, or a wait.
static void bus_step(struct bus *bus)
{
    if (bus->job_count > 0) {
        bus_run_job(bus);
        return;
    }
    follow_clock(bus);
    int64_t now_ms = clock_wall_ms(bus->settings.clock);
    int64_t boot_ms = now_ms - bus->offset_ms;
    struct bus_meter *due = first_due(bus);
    int64_t free_ms = due != NULL ? due->due_ms - now_ms : WAIT_MAX_MS;
    struct bus_meter *unseen = free_ms <= 0 ? NULL : first_unseen(bus, now_ms);
    int64_t wait_ms = free_ms < WAIT_MAX_MS ? free_ms : WAIT_MAX_MS;
    struct task_turn *task = bus_next_task(bus, boot_ms, unseen != NULL ? 0 : free_ms, &wait_ms);
    if (task != NULL) {
        bus_run_task(bus, task, boot_ms);
    } else if (free_ms <= 0 || unseen != NULL) {
        (void)pthread_mutex_unlock(&bus->mutex);
        if (free_ms <= 0)
            bus_poll_due(bus, due);
        else
            bus_poll_meter(bus, unseen, 0);
        (void)pthread_mutex_lock(&bus->mutex);
    } else {
        struct timespec until = bus_moment_after(wait_ms);
        (void)pthread_cond_timedwait(&bus->wake, &bus->mutex, &until);
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
    struct wire_settings wire;
    config_wire_settings(bus->link, &wire);
    bus->wire = wire_new(&wire, settings->clock);
    // One more than needed: no memory is told from none wanted.
    int own = count_meters(settings->config, settings->link);
    bus->meters = calloc((size_t)own + 1, sizeof *bus->meters);
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
