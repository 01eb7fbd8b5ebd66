#include "record/recorder.h"

#include "base/log.h"
#include "record/desk.h"
#include "record/refusals.h"
#include "record/round.h"

#include <errno.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#define IDLE_MS 1000 // the thread looks at clocks and deadlines at least so often

// Something that a caller waits for.
struct request {
    recorder_task *task; // NULL: switch to `config`
    void *argument;
    bool between; // without a round of its own
    struct config *config;
    uint64_t after; // readings that were offered before it
    struct err err;
    int result;
    bool done;
    struct request *next;
};

struct recorder {
    struct round *round; // the thread's own
    struct desk *desk;
    const struct clock *clock;
    pthread_t thread;
    pthread_mutex_t mutex; // of what follows
    pthread_cond_t work;   // for the thread
    pthread_cond_t done;   // for callers of requests
    bool stopping;
    bool live;
    bool asleep;                     // the thread waits for the first of what comes: wake it
    int64_t acknowledged[LANES_END]; // to be written; 0: nothing new
    struct request *requests;
    uint64_t offered, taken;                   // readings, since start
    int64_t first_boot_ms;                     // when the first that waits came
    struct reading *queue[RECORDER_QUEUE_MAX]; // a ring: from taken to offered
    int held;                                  // readings that the round has taken and not kept yet
    uint64_t refused, told; // readings; of them, those that the round was told of
    bool refusing;          // the queue was full, and is more than half full still
    struct refusals refusals;
    struct gas_calendar calendar;
    char stream[UUID_SIZE];     // "" until the store is open; then it does not change
    struct round_status status; // copied from the round after each step
};

// --- callers ---

// With the mutex held: something came that can wait for more of its kind. A thread that gathers
// already sees it by itself: a wake-up for each reading would cost more than all that is done with
// it.
static void tell(struct recorder *recorder, bool at_once)
{
    if (recorder->asleep || at_once) {
        recorder->asleep = false;
        (void)pthread_cond_signal(&recorder->work);
    }
}

bool recorder_offer(void *context, struct reading *reading)
{
    struct recorder *recorder = context;
    if (reading->due_ms == 0) { // for the live view only
        reading_free(reading);
        return true;
    }
    (void)pthread_mutex_lock(&recorder->mutex);
    uint64_t waiting = recorder->offered - recorder->taken + (uint64_t)recorder->held;
    // Once it was full it takes nothing until half is free: one run of refusals for each meter.
    recorder->refusing =
        waiting >= (recorder->refusing ? RECORDER_QUEUE_MAX / 2 : RECORDER_QUEUE_MAX);
    bool room = !recorder->stopping && !recorder->refusing;
    if (room) {
        if (recorder->offered == recorder->taken)
            recorder->first_boot_ms = clock_boot_ms(recorder->clock);
        recorder->queue[recorder->offered++ % RECORDER_QUEUE_MAX] = reading;
        tell(recorder, waiting + 1 == RECORDER_ROUND_MAX);
    } else {
        recorder->refused++;
        refusals_add(&recorder->refusals, reading, recorder->offered);
    }
    (void)pthread_mutex_unlock(&recorder->mutex);
    return room;
}

static int request_wait(struct recorder *recorder, struct request *request, struct err *err)
{
    (void)pthread_mutex_lock(&recorder->mutex);
    if (recorder->stopping) {
        (void)pthread_mutex_unlock(&recorder->mutex);
        return err_set(err, "the gateway stops: nothing is written any more");
    }
    struct request **last = &recorder->requests;
    while (*last != NULL)
        last = &(*last)->next;
    *last = request;
    request->after = recorder->offered;
    tell(recorder, true);
    while (!request->done)
        (void)pthread_cond_wait(&recorder->done, &recorder->mutex);
    (void)pthread_mutex_unlock(&recorder->mutex);
    return request->result == 0 ? 0 : err_set(err, "%s", request->err.text);
}

int recorder_run(struct recorder *recorder, recorder_task *task, void *argument, struct err *err)
{
    struct request request = {.task = task, .argument = argument};
    return request_wait(recorder, &request, err);
}

int recorder_run_between(struct recorder *recorder, recorder_task *task, void *argument,
                         struct err *err)
{
    struct request request = {.task = task, .argument = argument, .between = true};
    return request_wait(recorder, &request, err);
}

int recorder_apply(struct recorder *recorder, struct config *config, struct err *err)
{
    struct request request = {.config = config};
    return request_wait(recorder, &request, err);
}

void recorder_set_live(struct recorder *recorder, bool live)
{
    (void)pthread_mutex_lock(&recorder->mutex);
    recorder->live = live;
    (void)pthread_mutex_unlock(&recorder->mutex);
}

void recorder_acknowledge(struct recorder *recorder, enum lane lane, int64_t seq)
{
    (void)pthread_mutex_lock(&recorder->mutex);
    if (seq > recorder->acknowledged[lane]) {
        recorder->acknowledged[lane] = seq;
        tell(recorder, false);
    }
    (void)pthread_mutex_unlock(&recorder->mutex);
}

void recorder_status(struct recorder *recorder, struct recorder_status *out)
{
    (void)pthread_mutex_lock(&recorder->mutex);
    const struct round_status *status = &recorder->status;
    *out = (struct recorder_status){
        .store_open = status->store_open,
        .clock_known = status->clock_known,
        .undated = status->undated,
        .undated_lost = status->undated_lost,
        .readings = status->readings,
        .rounds = status->rounds,
        .refused = recorder->refused + status->dropped,
        .waiting = (int)(recorder->offered - recorder->taken) + recorder->held,
        .last_commit_ms = status->last_commit_ms,
        .backfill = status->backfill,
        .upkeep = status->upkeep,
    };
    _Static_assert(sizeof out->error == sizeof status->error, "one text");
    memcpy(out->error, status->error, sizeof out->error);
    (void)pthread_mutex_unlock(&recorder->mutex);
}

struct archive_desk recorder_archives(struct recorder *recorder)
{
    return desk_interface(recorder->desk);
}

const char *recorder_stream(struct recorder *recorder)
{
    (void)pthread_mutex_lock(&recorder->mutex);
    const char *stream = recorder->status.store_open ? recorder->stream : "";
    (void)pthread_mutex_unlock(&recorder->mutex);
    return stream;
}

// Copies what others ask for; with the mutex held, or before the thread runs.
static void copy_status(struct recorder *recorder)
{
    recorder->held = round_held(recorder->round);
    if (!recorder->status.store_open)
        (void)snprintf(recorder->stream, sizeof recorder->stream, "%s",
                       round_stream(recorder->round));
    recorder->status = *round_status(recorder->round);
}

// --- the thread ---

// Whether the round can be given something: a reading, or a due time that was refused.
static bool has_readings(const struct recorder *recorder)
{
    return recorder->taken != recorder->offered ||
           refusals_wait(&recorder->refusals, recorder->taken);
}

static struct reading *next_reading(struct recorder *recorder)
{
    struct reading *missed = refusals_next(&recorder->refusals, recorder->taken,
                                           round_config(recorder->round), &recorder->calendar);
    if (missed != NULL || recorder->taken == recorder->offered)
        return missed;
    return recorder->queue[recorder->taken++ % RECORDER_QUEUE_MAX];
}

// Hands readings from the queue to the round, as far as it takes any.
static void take_readings(struct recorder *recorder)
{
    (void)pthread_mutex_lock(&recorder->mutex);
    if (recorder->taken != recorder->offered && round_has_room(recorder->round))
        round_set_first(recorder->round, recorder->first_boot_ms);
    struct reading *reading;
    while (round_has_room(recorder->round) && (reading = next_reading(recorder)) != NULL)
        round_take(recorder->round, reading);
    if (recorder->refused > recorder->told)
        round_lost(recorder->round);
    recorder->told = recorder->refused;
    recorder->held = round_held(recorder->round);
    round_set_live(recorder->round, recorder->live);
    for (int lane = 0; lane < LANES_END; lane++) {
        if (recorder->acknowledged[lane] != 0) {
            round_acknowledge(recorder->round, (enum lane)lane, recorder->acknowledged[lane]);
            recorder->acknowledged[lane] = 0;
        }
    }
    (void)pthread_mutex_unlock(&recorder->mutex);
}

static void publish(struct recorder *recorder)
{
    (void)pthread_mutex_lock(&recorder->mutex);
    copy_status(recorder);
    (void)pthread_mutex_unlock(&recorder->mutex);
}

// The first request, once the readings that were there before a change of the configuration are
// kept (or cannot be now).
static struct request *next_request(struct recorder *recorder)
{
    (void)pthread_mutex_lock(&recorder->mutex);
    struct request *request = recorder->requests;
    if (request != NULL && request->task == NULL && round_is_working(recorder->round) &&
        recorder->taken < request->after)
        request = NULL;
    if (request != NULL)
        recorder->requests = request->next;
    (void)pthread_mutex_unlock(&recorder->mutex);
    return request;
}

static void answer_requests(struct recorder *recorder)
{
    struct request *request;
    while ((request = next_request(recorder)) != NULL) {
        if (request->task != NULL) {
            request->result = (request->between ? round_run_between : round_run)(
                recorder->round, request->task, request->argument, &request->err);
        } else {
            request->result = round_apply(recorder->round, request->config, &request->err);
        }
        (void)pthread_mutex_lock(&recorder->mutex);
        request->done = true;
        (void)pthread_cond_broadcast(&recorder->done);
        (void)pthread_mutex_unlock(&recorder->mutex);
    }
}

// Something to do at once.
static bool is_urgent(const struct recorder *recorder)
{
    uint64_t waiting = recorder->offered - recorder->taken + (uint64_t)recorder->held;
    bool full = waiting >= RECORDER_ROUND_MAX && recorder->taken != recorder->offered;
    full = full || refusals_wait(&recorder->refusals, recorder->taken);
    return recorder->stopping || recorder->requests != NULL ||
           (full && round_has_room(recorder->round));
}

// Something to do that may wait for more of its kind.
static bool has_work(const struct recorder *recorder)
{
    bool acknowledged = false;
    for (int lane = 0; lane < LANES_END; lane++)
        acknowledged = acknowledged || recorder->acknowledged[lane] != 0;
    bool readings = has_readings(recorder) && round_has_room(recorder->round);
    return readings || acknowledged;
}

static struct timespec after_ms(int64_t ms)
{
    struct timespec at;
    (void)clock_gettime(CLOCK_MONOTONIC, &at);
    at.tv_sec += (time_t)(ms / 1000);
    at.tv_nsec += (long)(ms % 1000) * 1000000;
    if (at.tv_nsec >= 1000000000) {
        at.tv_sec++;
        at.tv_nsec -= 1000000000;
    }
    return at;
}

// Waits with the mutex held for what is urgent, at most `ms`. False when the time is up.
static bool wait_urgent(struct recorder *recorder, int64_t ms, bool for_any)
{
    struct timespec until = after_ms(ms);
    int late = 0;
    while (!is_urgent(recorder) && !(for_any && has_work(recorder)) && late != ETIMEDOUT)
        late = pthread_cond_timedwait(&recorder->work, &recorder->mutex, &until);
    return late != ETIMEDOUT;
}

// Waits for work, or until the round wants to be looked at. While readings come close on one
// another that is one look each GATHER_MS, and no wake-up of theirs. False when the recorder is to
// end and all is done.
static bool wait_for_work(struct recorder *recorder)
{
    int64_t wait = round_wait_ms(recorder->round);
    wait = wait < IDLE_MS ? wait : IDLE_MS;
    int64_t gather = round_gather_ms(recorder->round);
    gather = gather < wait ? gather : wait;
    (void)pthread_mutex_lock(&recorder->mutex);
    (void)wait_urgent(recorder, gather, false);
    if (!is_urgent(recorder) && !has_work(recorder) && wait > gather) {
        recorder->asleep = true;
        bool came = wait_urgent(recorder, wait - gather, true);
        recorder->asleep = false;
        if (came && !is_urgent(recorder))
            (void)wait_urgent(recorder, gather, false);
    }
    bool readings = recorder->taken != recorder->offered && round_has_room(recorder->round);
    bool more = !recorder->stopping || recorder->requests != NULL || readings;
    (void)pthread_mutex_unlock(&recorder->mutex);
    return more;
}

static void step(struct recorder *recorder)
{
    // The clock first: a reading that comes after this look is not older.
    int64_t now = clock_wall_ms(recorder->clock);
    take_readings(recorder);
    (void)pthread_mutex_lock(&recorder->mutex);
    bool drained = !has_readings(recorder);
    bool hurry = recorder->stopping || recorder->requests != NULL;
    (void)pthread_mutex_unlock(&recorder->mutex);
    round_step(recorder->round, drained ? now : INT64_MIN, hurry);
    desk_work(recorder->desk, recorder->round);
}

static void *record(void *argument)
{
    struct recorder *recorder = argument;
    (void)pthread_setname_np(pthread_self(), "recorder");
    do {
        step(recorder);
        answer_requests(recorder);
        publish(recorder);
    } while (wait_for_work(recorder));
    step(recorder); // what came while it waited
    publish(recorder);
    if (recorder->taken != recorder->offered) {
        log_error("recorder", "%llu readings waited and are lost",
                  (unsigned long long)(recorder->offered - recorder->taken));
    }
    round_finish(recorder->round);
    return NULL;
}

// --- life ---

static void recorder_free(struct recorder *recorder)
{
    while (recorder->taken != recorder->offered)
        reading_free(recorder->queue[recorder->taken++ % RECORDER_QUEUE_MAX]);
    refusals_release(&recorder->refusals);
    round_close(recorder->round);
    desk_free(recorder->desk);
    (void)pthread_cond_destroy(&recorder->work);
    (void)pthread_cond_destroy(&recorder->done);
    (void)pthread_mutex_destroy(&recorder->mutex);
    free(recorder);
}

static void init_locks(struct recorder *recorder)
{
    pthread_condattr_t monotonic;
    (void)pthread_condattr_init(&monotonic);
    (void)pthread_condattr_setclock(&monotonic, CLOCK_MONOTONIC);
    (void)pthread_mutex_init(&recorder->mutex, NULL);
    (void)pthread_cond_init(&recorder->work, &monotonic);
    (void)pthread_cond_init(&recorder->done, NULL);
    (void)pthread_condattr_destroy(&monotonic);
}

struct recorder *recorder_start(const struct recorder_settings *settings, struct err *err)
{
    struct recorder *recorder = calloc(1, sizeof *recorder);
    if (recorder == NULL) {
        (void)err_set(err, "out of memory for the recorder");
        return NULL;
    }
    init_locks(recorder);
    recorder->clock = settings->clock;
    recorder->calendar = settings->calendar;
    recorder->desk = desk_new(settings->clock);
    if (recorder->desk == NULL) {
        (void)err_set(err, "out of memory for the recorder");
        recorder_free(recorder);
        return NULL;
    }
    recorder->round = round_open(settings, err);
    if (recorder->round == NULL) {
        recorder_free(recorder);
        return NULL;
    }
    copy_status(recorder);
    int code = pthread_create(&recorder->thread, NULL, record, recorder);
    if (code != 0) {
        (void)err_set(err, "cannot start the recorder's thread: %s", strerror(code));
        recorder_free(recorder);
        return NULL;
    }
    return recorder;
}

void recorder_stop(struct recorder *recorder)
{
    if (recorder == NULL)
        return;
    (void)pthread_mutex_lock(&recorder->mutex);
    recorder->stopping = true;
    (void)pthread_cond_signal(&recorder->work);
    (void)pthread_mutex_unlock(&recorder->mutex);
    (void)pthread_join(recorder->thread, NULL);
    recorder_free(recorder);
}
