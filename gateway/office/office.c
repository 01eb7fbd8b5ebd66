#include "office/inside.h"
#include "office/lookup.h"

#include "base/log.h"

#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static const char *const state_texts[] = {
    [OFFICE_OFFLINE] = "offline", [OFFICE_CONNECTING] = "connecting",
    [OFFICE_ONLINE] = "online",   [OFFICE_NO_SUBSCRIBER] = "no-subscriber",
    [OFFICE_REFUSED] = "refused",
};

const char *office_state_text(enum office_state state)
{
    return state_texts[state];
}

int64_t office_now(const struct office *office)
{
    return clock_boot_ms(office->settings.clock);
}

void office_set_state(struct office *office, enum office_state state, const char *error)
{
    (void)pthread_mutex_lock(&office->mutex);
    bool changed = office->status.state != state;
    if (changed) {
        office->status.state = state;
        office->status.since_ms = clock_wall_ms(office->settings.clock);
    }
    (void)snprintf(office->status.error, sizeof office->status.error, "%s", error);
    (void)pthread_mutex_unlock(&office->mutex);
    if (changed && state == OFFICE_ONLINE) {
        office->logged[0] = '\0';
        log_info("office", "online at %s", office->config->office.url);
    }
    if (error[0] != '\0' && strcmp(error, office->logged) != 0) {
        (void)snprintf(office->logged, sizeof office->logged, "%s", error);
        log_warn("office", "%s: %s", state_texts[state], error);
    }
}

void office_status(struct office *office, struct office_status *out)
{
    (void)pthread_mutex_lock(&office->mutex);
    *out = office->status;
    (void)pthread_mutex_unlock(&office->mutex);
}

void office_wake(void *office)
{
    ring_wake(&((struct office *)office)->ring, false);
}

void office_apply(struct office *office, struct config *config)
{
    (void)pthread_mutex_lock(&office->mutex);
    config_unref(office->next);
    office->next = config_ref(config);
    (void)pthread_mutex_unlock(&office->mutex);
    ring_wake(&office->ring, false);
}

// --- the thread ---

static void take_config(struct office *office)
{
    (void)pthread_mutex_lock(&office->mutex);
    struct config *next = office->next;
    office->next = NULL;
    (void)pthread_mutex_unlock(&office->mutex);
    if (!next)
        return;
    config_unref(office->told);
    office->told = next;
    if (office->phase == PHASE_UP)
        own_begin(office);
}

// Rows committed now go to the live lane only while nothing urgent waits longer than SILENCE_MAX.
static bool is_live(const struct office *office, int64_t now)
{
    if (office->phase != PHASE_UP || now - drain_oldest_ms(office) >= SILENCE_MAX_MS)
        return false;
    int64_t wall = clock_wall_ms(office->settings.clock);
    for (enum lane lane = LANE_ALERT; lane <= LANE_LIVE; lane++) {
        int64_t oldest = office->status.lanes[lane].oldest_at_ms;
        if (oldest != 0 && wall - oldest >= SILENCE_MAX_MS)
            return false;
    }
    return true;
}

static void tell_recorder(struct office *office)
{
    bool live = is_live(office, office_now(office));
    if (live != office->live)
        recorder_set_live(office->settings.recorder, live);
    office->live = live;
}

// Once a second: how much waits, whether the clock is known.
static void tick(struct office *office, int64_t now)
{
    struct recorder_status recorder;
    struct outbox_state lanes[LANES_END] = {0};
    struct err err;
    office->tick_ms = now + TICK_MS;
    recorder_status(office->settings.recorder, &recorder);
    office->clock_known = recorder.clock_known;
    for (enum lane lane = LANE_ALERT; lane < LANES_END; lane++) {
        office->exhausted[lane] = false; // asks again, also when a wake was missed
        if (store_outbox_state(office->store, lane, &lanes[lane], &err) != 0)
            log_warn("office", "the outbox cannot be read: %s", err.text);
        if (lanes[lane].acknowledged < office->lanes[lane].acknowledged)
            lanes[lane].acknowledged = office->lanes[lane].acknowledged; // not written yet
        if (lanes[lane].last <= lanes[lane].acknowledged)
            lanes[lane].oldest_at_ms = 0;
    }
    resend_tick(office);
    (void)pthread_mutex_lock(&office->mutex);
    memcpy(office->status.lanes, lanes, sizeof lanes);
    (void)pthread_mutex_unlock(&office->mutex);
}

static void take_events(struct office *office)
{
    struct ring_event event;
    while (ring_pop(&office->ring, &event)) {
        if (event.generation != office->session.generation)
            continue; // of a handle that is gone
        if (event.kind != RING_ANSWER)
            connection_event(office, &event);
        else if (event.lane == SESSION_RESEND)
            resend_answer(office, event.slot, event.reason);
        else if (event.lane == 0 && event.slot >= DIRECT_END)
            answers_answer(office, &event);
        else if (event.lane == 0)
            own_answer(office, &event);
        else
            drain_answer(office, &event);
    }
}

static int wait_ms(const struct office *office, int64_t now)
{
    int64_t until = office->tick_ms;
    if (office->phase == PHASE_WAIT && office->connect_at_ms < until)
        until = office->connect_at_ms;
    if (office->phase == PHASE_UP && drain_deadline_ms(office) < until)
        until = drain_deadline_ms(office);
    return until <= now ? 0 : until - now > TICK_MS ? TICK_MS : (int)(until - now);
}

// One turn: what came, what is due, what can go out. True when there is more to do at once.
static bool turn(struct office *office, const struct ring_signals *signals)
{
    int64_t now = office_now(office);
    take_events(office);
    take_config(office);
    if (signals->overflow && office->phase != PHASE_WAIT)
        connection_lost(office, "more answers than this gateway can follow");
    if (signals->woken)
        memset(office->exhausted, 0, sizeof office->exhausted);
    if (now >= office->tick_ms)
        tick(office, now);
    connection_step(office);
    bool more = false;
    if (office->phase == PHASE_UP) {
        char error[sizeof office->status.error];
        drain_settle(office);
        resend_settle(office);
        more = drain_step(office);
        if (office->phase == PHASE_UP) {
            enum office_state state = drain_state(office, error, sizeof error);
            office_set_state(office, state, error);
            own_step(office);
            answers_step(office);
        }
    }
    tell_recorder(office);
    return more;
}

// Waits for `done` while events are taken, at most FAREWELL_MAX_MS.
static void await(struct office *office, bool (*done)(const struct office *office))
{
    int64_t until = office_now(office) + FAREWELL_MAX_MS;
    while (office->phase == PHASE_UP && !done(office) && office_now(office) < until) {
        ring_wait(&office->ring, 50, 1);
        take_events(office);
        drain_settle(office);
    }
}

static bool state_answered(const struct office *office)
{
    return !office->direct[DIRECT_STATE].flies;
}

static bool nothing_flies(const struct office *office)
{
    return drain_oldest_ms(office) == INT64_MAX;
}

static bool never(const struct office *office)
{
    (void)office;
    return false; // RING_ENDED ends the phase
}

static void say_goodbye(struct office *office)
{
    if (office->phase != PHASE_UP)
        return;
    if (office->live)
        recorder_set_live(office->settings.recorder, false);
    office->live = false;
    await(office, nothing_flies);
    if (office->phase == PHASE_UP)
        own_publish_offline(office);
    await(office, state_answered);
    if (office->phase == PHASE_UP)
        session_disconnect(&office->session);
    await(office, never);
}

static void *office_thread(void *argument)
{
    struct office *office = argument;
    sigset_t all;
    (void)pthread_setname_np(pthread_self(), "office");
    (void)sigfillset(&all); // SIGPIPE of the probe, and what main handles
    (void)pthread_sigmask(SIG_BLOCK, &all, NULL);
    for (;;) {
        struct ring_signals signals = ring_signals(&office->ring);
        if (signals.stop)
            break;
        bool more = turn(office, &signals);
        int gather = drain_gather(office);
        int timeout_ms = more ? 0 : wait_ms(office, office_now(office));
        if (gather > 1 && timeout_ms > GATHER_MAX_MS)
            timeout_ms = GATHER_MAX_MS;
        ring_wait(&office->ring, timeout_ms, gather);
    }
    say_goodbye(office);
    session_close(&office->session);
    answers_end(office);
    office_set_state(office, OFFICE_OFFLINE, "");
    return NULL;
}

// --- start and stop ---

static int open_outbox(struct office *office, struct err *err)
{
    if (store_open_reader(office->settings.directory, &office->store, err) != 0)
        return -1;
    office->origin = (struct feed_origin){.gateway = office->config->gateway_id,
                                          .stream = store_stream(office->store)};
    for (enum lane lane = LANE_ALERT; lane < LANES_END; lane++) {
        struct outbox_state state;
        if (store_outbox_state(office->store, lane, &state, err) != 0)
            return -1;
        lane_init(&office->lanes[lane], lane, state.acknowledged);
        office->status.lanes[lane] = state;
    }
    return 0;
}

static void office_free(struct office *office)
{
    store_close(office->store);
    buf_release(&office->message.payload);
    ring_release(&office->ring);
    (void)pthread_mutex_destroy(&office->mutex);
    config_unref(office->next);
    config_unref(office->told);
    config_unref(office->settings.config);
    free(office);
}

static int prepare(struct office *office, struct err *err)
{
    const struct config *config = office->config;
    int length = snprintf(office->base, sizeof office->base, "%s/%s", config->office.prefix,
                          config->gateway_id);
    if (length < 0 || (size_t)length >= sizeof office->base)
        return err_set(err, "office.prefix: longer than the %zu bytes that are allowed",
                       sizeof office->base - ID_SIZE);
    if (tls_check_files(&config->office, office->password, err) != 0 ||
        session_init(&office->session, config, office->password, &office->ring, err) != 0 ||
        open_outbox(office, err) != 0)
        return -1;
    office->session.inbox = office->settings.inbox;
    clock_boot_id(office->boot);
    office->started_ms = office_now(office);
    office->connect_at_ms = office->started_ms;
    office->backoff_ms = BACKOFF_FIRST_MS;
    office->version5 = true;
    office->status.since_ms = clock_wall_ms(office->settings.clock);
    return 0;
}

struct office *office_start(const struct office_settings *settings, struct err *err)
{
    struct office *office = calloc(1, sizeof *office);
    if (!office) {
        (void)err_set(err, "office: not enough memory");
        return NULL;
    }
    session_prepare();
    lookup_allow(true);
    if (ring_init(&office->ring, err) != 0) {
        free(office);
        return NULL;
    }
    office->settings = *settings;
    office->settings.config = config_ref(settings->config);
    office->config = office->settings.config;
    office->told = config_ref(settings->config);
    buf_init(&office->message.payload, OUTBOX_PAYLOAD_MAX);
    (void)pthread_mutex_init(&office->mutex, NULL);
    if (prepare(office, err) != 0) {
        office_free(office);
        return NULL;
    }
    int failure = pthread_create(&office->thread, NULL, office_thread, office);
    if (failure != 0) {
        (void)err_set(err, "office: no thread: %s", strerror(failure));
        office_free(office);
        return NULL;
    }
    return office;
}

void office_stop(struct office *office)
{
    if (!office)
        return;
    ring_wake(&office->ring, true);
    lookup_allow(false);
    (void)pthread_join(office->thread, NULL);
    office_free(office);
}
