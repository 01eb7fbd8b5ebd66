// Test readings between two polls: asked for from any thread, made by the link's own.
#include "poll/bus_inside.h"

#include "config/config.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

void bus_show_frame(struct job *job, bool sent, const uint8_t *bytes, size_t length)
{
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
void bus_run_job(struct bus *bus)
{
    struct job *job = bus->jobs[0];
    drop_job(bus, 0);
    job->running = true;
    (void)pthread_mutex_unlock(&bus->mutex);
    const struct bus_meter *meter = &bus->meters[job->meter];
    struct reading *reading = reading_new(bus->settings.config, meter->meter);
    if (reading != NULL) {
        bus->reading_for = job;
        bus_read_meter(bus, meter, true, reading);
        bus->reading_for = NULL;
        live_link(bus->settings.live, bus->settings.config, bus->settings.link, &bus->counters);
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
    struct timespec limit = bus_moment_after(wait_ms);
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
        (void)sem_post(&bus->wake);
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
