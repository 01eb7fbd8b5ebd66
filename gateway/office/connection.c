// Connecting, losing the connection, and saying why in words that help.
#include "office/inside.h"

#include "base/log.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>

// CONNACK of MQTT 5, and return codes of 3.1.1.
enum {
    CONNACK3_VERSION = 1,
    CONNACK3_CLIENT_ID = 2,
    CONNACK3_UNAVAILABLE = 3,
    CONNACK3_CREDENTIALS = 4,
    CONNACK3_UNAUTHORIZED = 5,
    CONNACK_VERSION = 0x84,
    CONNACK_CLIENT_ID = 0x85,
    CONNACK_CREDENTIALS = 0x86,
    CONNACK_UNAUTHORIZED = 0x87
};

// Half to three halves of the time, so that a thousand gateways do not come back at once.
static int64_t jitter(int64_t ms)
{
    uint32_t random = 0;
    if (getrandom(&random, sizeof random, 0) != (ssize_t)sizeof random)
        random = 0;
    return ms / 2 + (int64_t)(random % (uint32_t)(ms + 1));
}

static void set_phase(struct office *office, enum phase phase)
{
    office->phase = phase;
    office->phase_ms = office_now(office);
}

static void retry_later(struct office *office, int most_ms)
{
    if (office->backoff_ms > most_ms)
        office->backoff_ms = most_ms;
    office->connect_at_ms = office_now(office) + jitter(office->backoff_ms);
    office->backoff_ms *= 2;
    office->version5 = true; // a broker may have been updated meanwhile
    set_phase(office, PHASE_WAIT);
}

static void give_up(struct office *office, int most_ms, const char *why)
{
    session_close(&office->session);
    retry_later(office, most_ms);
    office_set_state(office, OFFICE_OFFLINE, why);
}

// A broker that was of use is asked again at once. One that lets us in and takes nothing costs both
// sides a connection for nothing, like one that refuses.
void connection_lost(struct office *office, const char *why)
{
    bool up = office->phase == PHASE_UP;
    if (up)
        drain_end(office);
    if (up &&
        (office->taken >= PROGRESS_MIN || office_now(office) - office->phase_ms >= PROGRESS_MS))
        office->backoff_ms = BACKOFF_FIRST_MS;
    give_up(office, office->taken > 0 ? BACKOFF_AWAY_MS : BACKOFF_REFUSED_MS, why);
}

static void connect_now(struct office *office)
{
    office->taken = 0;
    struct err err;
    struct buf payload;
    char topic[TOPIC_MAX];
    buf_init(&payload, OUTBOX_PAYLOAD_MAX);
    if (own_render_state(office, false, &payload) != 0) {
        buf_release(&payload);
        connection_lost(office, "no memory to connect");
        return;
    }
    struct session_message will = {.topic = own_topic(office, DIRECT_STATE, topic),
                                   .payload = payload.data,
                                   .length = payload.length,
                                   .schema = "state/1",
                                   .retain = true};
    if (session_connect(&office->session, office->version5, &will, &err) != 0) {
        connection_lost(office, err.text);
    } else {
        set_phase(office, PHASE_CONNECTING);
        char error[sizeof office->status.error];
        memcpy(error, office->status.error, sizeof error); // the last reason stays until it works
        office_set_state(office, OFFICE_CONNECTING, error);
    }
    buf_release(&payload);
}

// A connection whose other end is gone takes everything that is sent and says nothing. So a broker
// that is silent is asked: it is found dead ASK_AFTER_MS + SIGN_MAX_MS and at most two ticks after
// its last word, whether anything is in flight or not.
static void watch_silence(struct office *office, int64_t now)
{
    char topic[TOPIC_MAX];
    unsigned heard = session_heard();
    if (heard != office->heard) {
        office->heard = heard;
        office->heard_ms = now;
        office->asked_ms = 0;
    } else if (office->asked_ms != 0 && now - office->asked_ms >= SIGN_MAX_MS) {
        connection_lost(office, "no sign of life from the broker: the connection is dead");
    } else if (office->asked_ms == 0 && now - office->heard_ms >= ASK_AFTER_MS) {
        office->asked_ms = now;
        (void)snprintf(topic, sizeof topic, "%s/alive", office->base);
        if (session_ask(&office->session, topic) != 0)
            connection_lost(office, "the connection to the broker ended: it cannot be asked");
    }
}

void connection_step(struct office *office)
{
    int64_t now = office_now(office);
    switch (office->phase) {
    case PHASE_WAIT:
        if (!office->clock_known)
            office_set_state(office, OFFICE_OFFLINE,
                             "waits until the time is known (NTP, or set by a person)");
        else if (now >= office->connect_at_ms)
            connect_now(office);
        break;
    case PHASE_CONNECTING:
        if (now - office->phase_ms >= CONNECT_MAX_MS)
            connection_lost(office, "the broker accepts the connection, but does not answer");
        break;
    case PHASE_UP:
        if (now - drain_oldest_ms(office) >= SILENCE_MAX_MS)
            connection_lost(office, "no acknowledgement for 30 s: the connection is dead");
        else
            watch_silence(office, now);
        break;
    }
}

// What a broker's refusal means for the technician.
static void explain_refusal(const struct office *office, int reason, struct err *err)
{
    const char *user = office->config->office.username;
    const char *client = office->session.client_id;
    switch (reason) {
    case CONNACK3_VERSION:
    case CONNACK_VERSION: (void)err_set(err, "the broker knows neither MQTT 5 nor 3.1.1"); break;
    case CONNACK3_CLIENT_ID:
    case CONNACK_CLIENT_ID:
        (void)err_set(err, "the broker does not accept the client id '%s' (office.client_id)",
                      client);
        break;
    case CONNACK3_CREDENTIALS:
    case CONNACK_CREDENTIALS:
        (void)err_set(err, "the broker does not accept user name '%s' with this password", user);
        break;
    case CONNACK3_UNAUTHORIZED:
    case CONNACK_UNAUTHORIZED:
        (void)err_set(err,
                      "the broker lets this gateway not in: not authorized (client id '%s', "
                      "user name '%s')",
                      client, user);
        break;
    case CONNACK3_UNAVAILABLE: (void)err_set(err, "the broker is not available now"); break;
    default:
        (void)err_set(err, "the broker refuses the connection: %s",
                      reason_text(reason, (char[REASON_TEXT_MAX]){0}));
    }
}

static void refused(struct office *office, const struct ring_event *event)
{
    struct err err;
    bool version = event->reason == CONNACK_VERSION || event->reason == CONNACK3_VERSION;
    if (version && office->version5) {
        log_info("office", "the broker has no MQTT 5: trying 3.1.1");
        office->version5 = false;
        connect_now(office);
        return;
    }
    if (event->reason != 0) {
        explain_refusal(office, event->reason, &err);
        connection_lost(office, err.text);
        office_set_state(office, OFFICE_REFUSED, err.text);
        return;
    }
    session_close(&office->session);
    bool reached = false;
    if (tls_probe(&office->config->office, &reached, &err) == 0)
        (void)err_set(&err, "the broker accepts the connection, but not MQTT: %s",
                      event->text[0] != '\0' ? event->text : "it closes it");
    give_up(office, reached ? BACKOFF_REFUSED_MS : BACKOFF_AWAY_MS, err.text);
}

static void connected(struct office *office, const struct ring_event *event)
{
    if (event->maximum_qos < 1) {
        connection_lost(office, "the broker takes QoS 0 only: it cannot acknowledge a message");
        return;
    }
    set_phase(office, PHASE_UP);
    office->window =
        event->receive_maximum < OFFICE_WINDOW_MAX ? event->receive_maximum : OFFICE_WINDOW_MAX;
    office->packet_maximum = event->packet_maximum;
    office->retain = event->retain;
    (void)pthread_mutex_lock(&office->mutex);
    office->status.version5 = office->session.version5;
    if (office->was_up)
        office->status.reconnects++;
    (void)pthread_mutex_unlock(&office->mutex);
    office->was_up = true;
    office->heard = session_heard();
    office->heard_ms = office_now(office);
    office->asked_ms = 0;
    drain_begin(office);
    own_begin(office);
    answers_begin(office);
    office_set_state(office, OFFICE_ONLINE, "");
}

void connection_event(struct office *office, const struct ring_event *event)
{
    char text[sizeof office->status.error];
    switch (event->kind) {
    case RING_CONNECTED: connected(office, event); break;
    case RING_REFUSED: refused(office, event); break;
    case RING_ENDED: connection_lost(office, ""); break;
    case RING_UNSENT:
    case RING_LOST:
        (void)snprintf(text, sizeof text, "the connection to the broker ended%s%s",
                       event->text[0] != '\0' ? ": " : "", event->text);
        connection_lost(office, text);
        break;
    case RING_SUBSCRIBED: answers_subscribed(office, event); break;
    case RING_ANSWER: break; // the lanes'
    }
}
