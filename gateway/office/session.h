// One MQTT connection over paho's MQTTAsync: connect, publish, end. Everything that happens comes
// back as events of the ring. Each connection has a client handle of its own, so that nothing of a
// broken one lives on.
//
// All functions belong to the office thread. No lock of ours is held while paho is called.
#ifndef METERGATE_OFFICE_SESSION_H
#define METERGATE_OFFICE_SESSION_H

#include "office/office.h"
#include "office/ring.h"

#include <MQTTAsync.h>

#define SESSION_KEEPALIVE_S 15
#define SESSION_CONNECT_S 10          // paho gives up after
#define SESSION_RESEND LANES_END      // what was asked for again
#define SESSION_LANES (LANES_END + 1) // lane 0: messages beside the outbox, slot by kind

enum { DIRECT_STATE, DIRECT_METERS, DIRECT_HEALTH, DIRECT_END }; // slots of lane 0

#define REASON_TEXT_MAX 64
// "Not authorized (0x87)"; the code alone where MQTT 5 has no such reason.
const char *reason_text(int reason, char text[static REASON_TEXT_MAX]);

struct inbox;
struct session;

// Where a message's answer belongs: paho's context of a publish.
struct session_token {
    struct session *session;
    uint32_t generation;
    int lane, slot;
};

struct session {
    struct inbox *inbox; // takes what comes; NULL: it is dropped
    const struct config_office *config;
    const char *password;
    struct ring *ring;
    MQTTAsync client; // NULL: none
    uint32_t generation;
    bool version5, tls;
    char server[CONFIG_PATH_MAX + 16];
    char client_id[64];
    struct session_token connection;
    struct session_token tokens[SESSION_LANES][OFFICE_WINDOW_MAX];
};

struct session_message {
    const char *topic;
    const void *payload;
    size_t length;
    const char *schema;
    const char *lane; // NULL for what is no event
    bool retain;
    bool replay;             // it was sent before
    const void *correlation; // data of MQTT 5, of an answer
    size_t correlation_length;
};

// Once in a process, before the first session: paho's own initialisation, and no MQTT_C_* of the
// environment (its trace would print payloads).
void session_prepare(void);

// `config`, `password` and `ring` must outlive it.
int session_init(struct session *session, const struct config *config, const char *password,
                 struct ring *ring, struct err *err);
// Begins to connect with a fresh handle; RING_CONNECTED or RING_REFUSED follows. `will` is the
// message that the broker sends when we vanish.
int session_connect(struct session *session, bool version5, const struct session_message *will,
                    struct err *err);
// Hands a message over, QoS 1. RING_ANSWER or RING_UNSENT with (lane, slot) follows. -1 when paho
// does not take it.
int session_publish(struct session *session, const struct session_message *message, int lane,
                    int slot);
// Asks the broker for a sign of life: an UNSUBSCRIBE of `topic`, to which nobody is subscribed and
// which it has to answer. session_heard tells that something came. -1 when paho does not take it.
int session_ask(struct session *session, const char *topic);
// Changes whenever anything came from the broker.
unsigned session_heard(void);
// Subscribes, QoS 1; RING_SUBSCRIBED follows. -1 when paho does not take it.
int session_subscribe(struct session *session, const char *filter);
// Says goodbye; RING_ENDED follows.
void session_disconnect(struct session *session);
// Drops the connection and the handle at once. Later events of it carry an old generation.
void session_close(struct session *session);

#endif
