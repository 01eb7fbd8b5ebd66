#include "scan/job.h"

#include "scan/line.h"
#include "scan/report.h"

#include <pthread.h>
#include <stdlib.h>
#include <string.h>

#define SWEEP_MS                                                                                   \
    100 // longer than at a scan alone: half of the polled meters' late replies are known
#define CONFIRM_MS 250
#define QUIET_MS 250
#define LINK_RETRY_MS 1000

struct scan_job {
    pthread_mutex_t mutex; // guards all below; the bus holds it during a step
    pthread_cond_t change;
    int references; // the bus's and the orderer's
    bool cancelled, ended, complete, failed;
    struct err err;
    char id[ID_SIZE], url[CONFIG_PATH_MAX]; // of the link
    const struct clock *clock;
    int64_t started_ms;
    int64_t stepped_ms;   // boot clock: of the newest step
    int64_t link_down_ms; // boot clock: since then it could not be opened, 0 while it can
    struct scan_shelf *shelf;
    struct scan *scan;
    struct scan_line line;
    int timeout_ms, step_ms;
};

// Units that are polled are known.
static void skip_polled(const struct config *config, int link, struct scan_options *options)
{
    for (int i = 0; i < config->meter_count; i++)
        if (config->meters[i].link == link && config->meters[i].unit < SCAN_UNITS)
            options->skip[config->meters[i].unit] = true;
}

static struct scan *make_scan(const struct config *config, int link, int first_unit, int last_unit,
                              const struct scan_shelf *shelf, const struct clock *clock)
{
    const struct link_url *url = &config->links[link].url;
    struct scan_options options = {
        .kind = url->kind,
        .first_unit = first_unit,
        .last_unit = last_unit,
        .sweep_ms = SWEEP_MS,
        .confirm_ms = CONFIRM_MS,
        .quiet_ms = QUIET_MS,
        .timeout_ms = config->links[link].response_timeout_ms,
        .candidates = (struct scan_candidate *)shelf->candidates,
        .candidate_count = shelf->count,
    };
    if (first_unit < 0) {
        options.first_unit = url->kind == LINK_TCP ? 0 : 1;
        options.last_unit = url->kind == LINK_TCP ? 255 : 247;
    }
    if (url->kind == LINK_RTU) {
        options.settings.count = options.settings.usual = 1;
        options.settings.list[0] = (struct scan_setting){url->baud, url->parity, url->stop};
    }
    skip_polled(config, link, &options);
    return scan_new(&options, clock);
}

struct scan_job *scan_job_new(const struct config *config, int link, int first_unit, int last_unit,
                              struct scan_shelf *shelf, const struct clock *clock, struct err *err)
{
    struct scan_job *job = calloc(1, sizeof *job);
    struct scan *scan = make_scan(config, link, first_unit, last_unit, shelf, clock);
    if (job == NULL || scan == NULL) {
        (void)err_set(err, "there is not enough memory for a scan");
        scan_free(scan);
        scan_shelf_free(shelf);
        free(job);
        return NULL;
    }
    struct wire_settings settings;
    pthread_condattr_t attributes;
    config_wire_settings(&config->links[link], &settings);
    scan_line_init(&job->line, &settings, clock);
    memcpy(job->id, config->links[link].id, sizeof job->id);
    memcpy(job->url, config->links[link].url_text, sizeof job->url);
    job->scan = scan;
    job->shelf = shelf;
    job->clock = clock;
    job->started_ms = job->stepped_ms = clock_boot_ms(clock);
    job->references = 2;
    // Silence costs a whole time-out.
    job->timeout_ms = settings.response_timeout_ms;
    job->step_ms = job->timeout_ms > SCAN_JOB_STEP_MS ? job->timeout_ms : SCAN_JOB_STEP_MS;
    (void)pthread_mutex_init(&job->mutex, NULL);
    (void)pthread_condattr_init(&attributes);
    (void)pthread_condattr_setclock(&attributes, CLOCK_MONOTONIC);
    (void)pthread_cond_init(&job->change, &attributes);
    (void)pthread_condattr_destroy(&attributes);
    return job;
}

void scan_job_release(struct scan_job *job)
{
    (void)pthread_mutex_lock(&job->mutex);
    int left = --job->references;
    (void)pthread_mutex_unlock(&job->mutex);
    if (left > 0)
        return;
    scan_free(job->scan);
    scan_shelf_free(job->shelf);
    (void)pthread_cond_destroy(&job->change);
    (void)pthread_mutex_destroy(&job->mutex);
    free(job);
}

// ---- in the bus's thread ------------------------------------------------------------------------

static int64_t wait_for_link(struct scan_job *job, int64_t now_ms)
{
    if (job->link_down_ms == 0)
        job->link_down_ms = now_ms;
    if (now_ms - job->link_down_ms < SCAN_JOB_LINK_WAIT_MS)
        return now_ms + LINK_RETRY_MS;
    job->failed = err_set(&job->err, "the link cannot be opened; 'metergate status' says why") != 0;
    return -1;
}

static int64_t step_once(struct scan_job *job, struct wire *wire, int64_t now_ms)
{
    if (job->cancelled)
        return -1;
    if (wire == NULL)
        return wait_for_link(job, now_ms);
    job->link_down_ms = 0;
    job->stepped_ms = now_ms;
    scan_line_borrow(&job->line, wire);
    const struct scan_wire line = scan_line_wire(&job->line);
    int result = scan_step(job->scan, &line, &job->err);
    job->failed = result < 0;
    job->complete = result == 0;
    // After an error the line must be silent for a time-out: polls may have that time.
    int64_t next_ms = clock_boot_ms(job->clock) + (job->line.failed ? job->timeout_ms : 0);
    job->line.failed = false;
    return result > 0 ? next_ms : -1;
}

static int64_t task_step(void *context, struct wire *wire, int64_t now_boot_ms)
{
    struct scan_job *job = context;
    (void)pthread_mutex_lock(&job->mutex);
    int64_t next_ms = step_once(job, wire, now_boot_ms);
    (void)pthread_mutex_unlock(&job->mutex);
    return next_ms;
}

static void task_release(void *context)
{
    struct scan_job *job = context;
    (void)pthread_mutex_lock(&job->mutex);
    job->ended = true;
    (void)pthread_cond_broadcast(&job->change);
    (void)pthread_mutex_unlock(&job->mutex);
    scan_job_release(job);
}

struct bus_task scan_job_task(struct scan_job *job)
{
    return (struct bus_task){task_step, task_release, job, job->step_ms};
}

void scan_job_abandon(struct scan_job *job)
{
    task_release(job);
}

// ---- for whoever ordered it ---------------------------------------------------------------------

bool scan_job_wait(struct scan_job *job, int wait_ms)
{
    struct timespec until;
    (void)clock_gettime(CLOCK_MONOTONIC, &until);
    int64_t ns = until.tv_nsec + (int64_t)wait_ms * 1000000;
    until.tv_sec += ns / 1000000000;
    until.tv_nsec = ns % 1000000000;
    (void)pthread_mutex_lock(&job->mutex);
    int late = 0;
    while (!job->ended && late == 0)
        late = pthread_cond_timedwait(&job->change, &job->mutex, &until);
    bool ended = job->ended;
    (void)pthread_mutex_unlock(&job->mutex);
    return ended;
}

void scan_job_cancel(struct scan_job *job)
{
    (void)pthread_mutex_lock(&job->mutex);
    job->cancelled = true;
    job->ended = true; // no step touches it any more; a full link may take long to drop the task
    (void)pthread_cond_broadcast(&job->change);
    (void)pthread_mutex_unlock(&job->mutex);
}

void scan_job_progress(struct scan_job *job, struct writer *writer)
{
    (void)pthread_mutex_lock(&job->mutex);
    int64_t waits_ms = clock_boot_ms(job->clock) - job->stepped_ms;
    scan_report_progress(job->scan, (int)(waits_ms / 1000), writer);
    (void)pthread_mutex_unlock(&job->mutex);
}

int scan_job_report(struct scan_job *job, struct writer *writer, struct err *err)
{
    (void)pthread_mutex_lock(&job->mutex);
    int result = 0;
    if (job->failed && scan_found_count(job->scan) == 0)
        result = err_set(err, "%s", job->err.text);
    else
        scan_report(job->scan, job->url, job->id, job->complete,
                    clock_boot_ms(job->clock) - job->started_ms, writer);
    (void)pthread_mutex_unlock(&job->mutex);
    return result;
}
