#include "control/workers.h"

#include "control/control.h"

#include <errno.h>
#include <inttypes.h>
#include <openssl/crypto.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#define STACK_BYTES (512 * 1024)
#define REPLY_HEAD_MAX 128 // what stands around a result
#define LOOK_EVERY_S 10    // an idle worker tells what was counted only

struct workers {
    pthread_mutex_t mutex; // guards the queue and `stopping`
    pthread_cond_t changed;
    struct job *first, *last;
    int waiting;
    bool stopping;
    struct command_context context;
    void (*done)(void *argument, struct job *job);
    void *argument;
    int count;
    pthread_t threads[CONTROL_WORKERS];
    struct job *running[CONTROL_WORKERS]; // NULL: none
};

struct job *job_new(void)
{
    struct job *job = calloc(1, sizeof *job);
    if (job != NULL)
        buf_init(&job->reply, CONTROL_FRAME_MAX);
    return job;
}

void job_free(struct job *job)
{
    if (job == NULL)
        return;
    json_decref(job->arguments);
    buf_release(&job->reply);
    OPENSSL_cleanse(job->token, sizeof job->token);
    free(job);
}

void job_refuse(struct job *job, int result, const char *error)
{
    struct writer writer;
    buf_clear(&job->reply);
    writer_init(&writer, &job->reply);
    writer_object(&writer);
    writer_key_int(&writer, "id", job->id);
    writer_key_bool(&writer, "ok", false);
    writer_key_text(&writer, "code", command_result_text(result));
    writer_key_text(&writer, "error", error);
    writer_end(&writer);
}

void job_run(struct job *job, const struct command_context *given,
             const struct command_stream *stream)
{
    struct buf result;
    struct err err = {""};
    struct command_context copy = *given;
    const struct command_context *context = &copy;
    copy.stream = stream;
    buf_init(&result, CONTROL_FRAME_MAX - REPLY_HEAD_MAX);
    int status = command_call(context, &job->who, job->command, job->arguments, &result, &err);
    if (status != 0) {
        job_refuse(job, status, err.text);
    } else {
        // The client finds the result by this head (client.c): keep its form.
        buf_addf(&job->reply, "{\"id\":%" JSON_INTEGER_FORMAT ",\"ok\":true,\"result\":", job->id);
        buf_add(&job->reply, result.data, result.length);
        buf_add_text(&job->reply, "}");
        if (job->reply.failed)
            job_refuse(job, COMMAND_FAILED, "not enough memory for the answer");
    }
    buf_release(&result);
}

// ---- partial answers ----------------------------------------------------------------------------

struct watch {
    struct workers *workers;
    struct job *job;
};

static void send_more(void *context, const struct buf *json)
{
    const struct watch *watch = context;
    struct job *part = json->failed ? NULL : job_new();
    if (part == NULL)
        return; // it is only progress
    part->client = watch->job->client;
    part->id = watch->job->id;
    part->more = true;
    // The client finds the result by this head (client.c): keep its form.
    buf_addf(&part->reply,
             "{\"id\":%" JSON_INTEGER_FORMAT ",\"ok\":true,\"more\":true,\"result\":", part->id);
    buf_add(&part->reply, json->data, json->length);
    buf_add_text(&part->reply, "}");
    if (part->reply.failed)
        job_free(part);
    else
        watch->workers->done(watch->workers->argument, part);
}

static bool is_cancelled(void *context)
{
    const struct watch *watch = context;
    (void)pthread_mutex_lock(&watch->workers->mutex);
    bool stopping = watch->workers->stopping;
    (void)pthread_mutex_unlock(&watch->workers->mutex);
    return stopping || atomic_load(&watch->job->cancelled);
}

static bool cancel_one(struct job *job, uint64_t client, json_int_t id, const char *who)
{
    bool meant = job != NULL && job->client == client &&
                 (who == NULL || (job->id == id && strcmp(job->who.name, who) == 0));
    if (meant)
        atomic_store(&job->cancelled, true);
    return meant;
}

bool workers_cancel(struct workers *workers, uint64_t client, json_int_t id, const char *who)
{
    bool any = false;
    (void)pthread_mutex_lock(&workers->mutex);
    for (int i = 0; i < CONTROL_WORKERS; i++)
        any = cancel_one(workers->running[i], client, id, who) || any;
    for (struct job *job = workers->first; job != NULL; job = job->next)
        any = cancel_one(job, client, id, who) || any;
    (void)pthread_mutex_unlock(&workers->mutex);
    return any;
}

// ---- the threads --------------------------------------------------------------------------------

static int free_place(const struct workers *workers)
{
    int place = 0;
    while (workers->running[place] != NULL)
        place++; // there are as many places as workers
    return place;
}

// Waits for a job, at most until the next look at what was counted only. With the mutex held.
static void await_job(struct workers *workers)
{
    struct timespec until;
    int late = 0;
    (void)clock_gettime(CLOCK_MONOTONIC, &until);
    until.tv_sec += LOOK_EVERY_S;
    while (workers->first == NULL && !workers->stopping && late != ETIMEDOUT)
        late = pthread_cond_timedwait(&workers->changed, &workers->mutex, &until);
}

// NULL: the workers stop.
static struct job *take(struct workers *workers, int *place)
{
    (void)pthread_mutex_lock(&workers->mutex);
    while (workers->first == NULL && !workers->stopping) {
        await_job(workers);
        if (workers->first != NULL || workers->stopping)
            break;
        (void)pthread_mutex_unlock(&workers->mutex);
        command_tell_counted(&workers->context);
        (void)pthread_mutex_lock(&workers->mutex);
    }
    struct job *job = workers->stopping ? NULL : workers->first;
    if (job != NULL) {
        workers->first = job->next;
        workers->last = workers->first != NULL ? workers->last : NULL;
        job->next = NULL;
        workers->waiting--;
        *place = free_place(workers);
        workers->running[*place] = job;
    }
    (void)pthread_mutex_unlock(&workers->mutex);
    return job;
}

static void put_away(struct workers *workers, int place)
{
    (void)pthread_mutex_lock(&workers->mutex);
    workers->running[place] = NULL;
    (void)pthread_mutex_unlock(&workers->mutex);
}

static void *work(void *argument)
{
    struct workers *workers = argument;
    int place = 0;
    for (struct job *job = take(workers, &place); job != NULL; job = take(workers, &place)) {
        struct watch watch = {workers, job};
        const struct command_stream stream = {send_more, is_cancelled, &watch};
        job_run(job, &workers->context, &stream);
        put_away(workers, place);
        workers->done(workers->argument, job);
    }
    return NULL;
}

static int start_threads(struct workers *workers, struct err *err)
{
    pthread_attr_t attributes;
    (void)pthread_attr_init(&attributes);
    (void)pthread_attr_setstacksize(&attributes, STACK_BYTES);
    int why = 0;
    while (workers->count < CONTROL_WORKERS && why == 0) {
        why = pthread_create(&workers->threads[workers->count], &attributes, work, workers);
        if (why == 0) {
            char name[32];
            (void)snprintf(name, sizeof name, "control-%d", workers->count + 1);
            (void)pthread_setname_np(workers->threads[workers->count], name);
            workers->count++;
        }
    }
    (void)pthread_attr_destroy(&attributes);
    return why == 0 ? 0 : err_set(err, "no thread for commands: %s", strerror(why));
}

struct workers *workers_start(const struct command_context *context,
                              void (*done)(void *context, struct job *job), void *argument,
                              struct err *err)
{
    struct workers *workers = calloc(1, sizeof *workers);
    if (workers == NULL) {
        (void)err_set(err, "not enough memory for the control socket");
        return NULL;
    }
    (void)pthread_mutex_init(&workers->mutex, NULL);
    pthread_condattr_t monotonic;
    (void)pthread_condattr_init(&monotonic);
    (void)pthread_condattr_setclock(&monotonic, CLOCK_MONOTONIC);
    (void)pthread_cond_init(&workers->changed, &monotonic);
    (void)pthread_condattr_destroy(&monotonic);
    workers->context = *context;
    workers->done = done;
    workers->argument = argument;
    if (start_threads(workers, err) != 0) {
        workers_stop(workers);
        return NULL;
    }
    return workers;
}

void workers_stop(struct workers *workers)
{
    if (workers == NULL)
        return;
    (void)pthread_mutex_lock(&workers->mutex);
    workers->stopping = true;
    (void)pthread_cond_broadcast(&workers->changed);
    (void)pthread_mutex_unlock(&workers->mutex);
    for (int i = 0; i < workers->count; i++)
        (void)pthread_join(workers->threads[i], NULL);
    while (workers->first != NULL) {
        struct job *job = workers->first;
        workers->first = job->next;
        job_free(job);
    }
    (void)pthread_cond_destroy(&workers->changed);
    (void)pthread_mutex_destroy(&workers->mutex);
    free(workers);
}

bool workers_offer(struct workers *workers, struct job *job)
{
    (void)pthread_mutex_lock(&workers->mutex);
    bool room = workers->waiting < CONTROL_JOBS_MAX;
    if (room) {
        job->next = NULL;
        if (workers->last != NULL)
            workers->last->next = job;
        else
            workers->first = job;
        workers->last = job;
        workers->waiting++;
        (void)pthread_cond_signal(&workers->changed);
    }
    (void)pthread_mutex_unlock(&workers->mutex);
    return room;
}
