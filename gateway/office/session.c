#include "office/session.h"

#include "office/arrival.h"
#include "office/puback_tap.h"
#include "office/tls.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define SPARE_INFLIGHT 20  // beside the window: retained states, health
#define PUBACK_UNSEEN 0x80 // its reason is not known: the message stays

extern char **environ;

// paho's trace, set by MQTT_C_*, would print payloads.
static void clear_trace(void)
{
    static const char prefix[] = "MQTT_C_";
    if (environ == NULL)
        return;
    for (char **at = environ; *at != NULL;) {
        char name[128];
        size_t length = strcspn(*at, "=");
        if (strncmp(*at, prefix, sizeof prefix - 1) != 0 || length >= sizeof name) {
            at++;
            continue;
        }
        memcpy(name, *at, length);
        name[length] = '\0';
        (void)unsetenv(name); // moves the rest of the list here
    }
}

static void prepare(void)
{
    clear_trace();
    MQTTAsync_init_options options = MQTTAsync_init_options_initializer;
    options.do_openssl_init = 0; // OpenSSL 1.1 and later does it by itself
    MQTTAsync_global_init(&options);
}

void session_prepare(void)
{
    static pthread_once_t once = PTHREAD_ONCE_INIT;
    (void)pthread_once(&once, prepare);
}

const char *reason_text(int reason, char text[static REASON_TEXT_MAX])
{
    const char *words = MQTTReasonCode_toString((enum MQTTReasonCodes)reason);
    (void)snprintf(text, REASON_TEXT_MAX, "%.50s (0x%02x)", words ? words : "reason",
                   (unsigned)reason & 0xFFU);
    return text;
}

int session_init(struct session *session, const struct config *config, const char *password,
                 struct ring *ring, struct err *err)
{
    struct broker_url url;
    if (broker_url_parse(config->office.url, &url, err) != 0)
        return -1;
    memset(session, 0, sizeof *session);
    session->config = &config->office;
    session->password = password;
    session->ring = ring;
    session->tls = url.tls;
    (void)snprintf(session->server, sizeof session->server, "%s://%s%s%s:%d",
                   url.tls ? "ssl" : "tcp", url.ipv6 ? "[" : "", url.host, url.ipv6 ? "]" : "",
                   url.port);
    (void)snprintf(session->client_id, sizeof session->client_id, "%s",
                   config->office.client_id[0] != '\0' ? config->office.client_id
                                                       : config->gateway_id);
    return 0;
}

// --- callbacks, in paho's threads: an event into the ring, and nothing else ---

static void push(const struct session_token *token, struct ring_event *event, const char *text)
{
    event->generation = token->generation;
    event->lane = token->lane;
    event->slot = token->slot;
    (void)snprintf(event->text, sizeof event->text, "%s", text ? text : "");
    ring_push(token->session->ring, event);
}

static int64_t property(MQTTProperties *properties, enum MQTTPropertyCodes code, int64_t absent)
{
    int64_t value = MQTTProperties_getNumericValue(properties, code);
    return MQTTProperties_hasProperty(properties, code) ? value : absent;
}

#define RECEIVE_MAXIMUM_DEFAULT 65535
#define QOS_MAXIMUM_DEFAULT 2

static void on_connect5(void *context, MQTTAsync_successData5 *data)
{
    puback_tap_begin(); // this is the thread that will read the answers
    MQTTProperties *given = &data->properties;
    struct ring_event event = {
        .kind = RING_CONNECTED,
        .receive_maximum =
            (int)property(given, MQTTPROPERTY_CODE_RECEIVE_MAXIMUM, RECEIVE_MAXIMUM_DEFAULT),
        .maximum_qos = (int)property(given, MQTTPROPERTY_CODE_MAXIMUM_QOS, QOS_MAXIMUM_DEFAULT),
        .packet_maximum = property(given, MQTTPROPERTY_CODE_MAXIMUM_PACKET_SIZE, 0),
        .retain = property(given, MQTTPROPERTY_CODE_RETAIN_AVAILABLE, 1) != 0};
    push(context, &event, NULL);
}

static void on_connect_failure5(void *context, MQTTAsync_failureData5 *data)
{
    struct ring_event event = {.kind = RING_REFUSED, .reason = data->reasonCode};
    // A CONNACK of a broker that knows only 3.1.1 carries one of its return codes.
    if (event.reason == 0 && data->code > 0)
        event.reason = data->code;
    push(context, &event, data->message);
}

static void on_connect(void *context, MQTTAsync_successData *data)
{
    puback_tap_begin(); // 3.1.1 has no reasons; what was heard counts all the same
    (void)data;
    struct ring_event event = {.kind = RING_CONNECTED,
                               .receive_maximum = RECEIVE_MAXIMUM_DEFAULT,
                               .maximum_qos = QOS_MAXIMUM_DEFAULT,
                               .retain = true};
    push(context, &event, NULL);
}

static void on_connect_failure(void *context, MQTTAsync_failureData *data)
{
    struct ring_event event = {.kind = RING_REFUSED, .reason = data->code > 0 ? data->code : 0};
    push(context, &event, data->message);
}

static void on_lost(void *context, char *cause)
{
    struct ring_event event = {.kind = RING_LOST};
    push(context, &event, cause);
}

static void on_disconnected(void *context, MQTTProperties *properties, enum MQTTReasonCodes reason)
{
    (void)properties;
    struct ring_event event = {.kind = RING_LOST, .reason = (int)reason};
    char text[REASON_TEXT_MAX];
    push(context, &event, reason_text((int)reason, text));
}

static int on_message(void *context, char *topic, int length, MQTTAsync_message *message)
{
    const struct session_token *token = context;
    if (token->session->inbox != NULL)
        arrival_deliver(token->session->inbox, topic, length, message);
    MQTTAsync_freeMessage(&message);
    MQTTAsync_free(topic);
    return 1;
}

static void on_answer5(void *context, MQTTAsync_successData5 *data)
{
    int reason = puback_tap_reason(data->token); // data->reasonCode is 0 also for 0x10
    struct ring_event event = {.kind = RING_ANSWER, .reason = reason >= 0 ? reason : PUBACK_UNSEEN};
    push(context, &event, NULL);
}

static void on_answer_failure5(void *context, MQTTAsync_failureData5 *data)
{
    bool answered = data->reasonCode >= MQTTREASONCODE_UNSPECIFIED_ERROR;
    struct ring_event event = {.kind = answered ? RING_ANSWER : RING_UNSENT,
                               .reason = (int)data->reasonCode};
    push(context, &event, data->message);
}

static void on_answer(void *context, MQTTAsync_successData *data)
{
    (void)data;
    struct ring_event event = {.kind = RING_ANSWER};
    push(context, &event, NULL);
}

static void on_answer_failure(void *context, MQTTAsync_failureData *data)
{
    struct ring_event event = {.kind = RING_UNSENT, .reason = data->code};
    push(context, &event, data->message);
}

static void on_subscribed5(void *context, MQTTAsync_successData5 *data)
{
    struct ring_event event = {.kind = RING_SUBSCRIBED, .reason = (int)data->reasonCode};
    push(context, &event, NULL);
}

static void on_subscribe_failure5(void *context, MQTTAsync_failureData5 *data)
{
    bool answered = data->reasonCode >= MQTTREASONCODE_UNSPECIFIED_ERROR;
    struct ring_event event = {.kind = RING_SUBSCRIBED,
                               .reason = answered ? (int)data->reasonCode
                                                  : (int)MQTTREASONCODE_UNSPECIFIED_ERROR};
    push(context, &event, data->message);
}

static void on_subscribed(void *context, MQTTAsync_successData *data)
{
    struct ring_event event = {.kind = RING_SUBSCRIBED, .reason = data->alt.qos};
    push(context, &event, NULL);
}

static void on_subscribe_failure(void *context, MQTTAsync_failureData *data)
{
    struct ring_event event = {.kind = RING_SUBSCRIBED,
                               .reason = (int)MQTTREASONCODE_UNSPECIFIED_ERROR};
    push(context, &event, data->message);
}

static void on_ended5(void *context, MQTTAsync_successData5 *data)
{
    (void)data;
    struct ring_event event = {.kind = RING_ENDED};
    push(context, &event, NULL);
}

static void on_ended(void *context, MQTTAsync_successData *data)
{
    (void)data;
    struct ring_event event = {.kind = RING_ENDED};
    push(context, &event, NULL);
}

// --- the office thread's side ---

static void add_text_property(MQTTProperties *properties, enum MQTTPropertyCodes code,
                              const char *text)
{
    MQTTProperty one = {.identifier = code};
    one.value.data.data = (char *)text; // paho copies it
    one.value.data.len = (int)strlen(text);
    (void)MQTTProperties_add(properties, &one);
}

static void add_user_property(MQTTProperties *properties, const char *name, const char *value)
{
    MQTTProperty one = {.identifier = MQTTPROPERTY_CODE_USER_PROPERTY};
    one.value.data.data = (char *)name;
    one.value.data.len = (int)strlen(name);
    one.value.value.data = (char *)value;
    one.value.value.len = (int)strlen(value);
    (void)MQTTProperties_add(properties, &one);
}

static void describe(MQTTProperties *properties, const struct session_message *message)
{
    add_text_property(properties, MQTTPROPERTY_CODE_CONTENT_TYPE, "application/json");
    add_user_property(properties, "schema", message->schema);
    if (message->lane)
        add_user_property(properties, "lane", message->lane);
    if (message->replay)
        add_user_property(properties, "replay", "1");
    if (message->correlation_length > 0) {
        MQTTProperty one = {.identifier = MQTTPROPERTY_CODE_CORRELATION_DATA};
        one.value.data.data = (char *)message->correlation;
        one.value.data.len = (int)message->correlation_length;
        (void)MQTTProperties_add(properties, &one);
    }
}

static MQTTAsync_SSLOptions tls_options(const struct config_office *config)
{
    MQTTAsync_SSLOptions tls = MQTTAsync_SSLOptions_initializer;
    tls.trustStore = config->ca;
    tls.keyStore = config->certificate[0] != '\0' ? config->certificate : NULL;
    tls.privateKey = config->key[0] != '\0' ? config->key : NULL;
    tls.enabledCipherSuites = TLS_CIPHERS;
    tls.enableServerCertAuth = 1;
    tls.verify = 1; // the host's name
    tls.sslVersion = MQTT_SSL_VERSION_TLS_1_2;
    tls.disableDefaultTrustStore = 1;
    return tls;
}

static int create(struct session *session, bool version5, struct err *err)
{
    MQTTAsync_createOptions options = MQTTAsync_createOptions_initializer5;
    options.MQTTVersion = version5 ? MQTTVERSION_5 : MQTTVERSION_3_1_1;
    options.maxBufferedMessages = OFFICE_WINDOW_MAX + SPARE_INFLIGHT;
    int status = MQTTAsync_createWithOptions(&session->client, session->server, session->client_id,
                                             MQTTCLIENT_PERSISTENCE_NONE, NULL, &options);
    if (status != MQTTASYNC_SUCCESS) {
        session->client = NULL;
        return err_set(err, "office.url: MQTT client for %s: %s", session->server,
                       MQTTAsync_strerror(status));
    }
    session->version5 = version5;
    session->generation++;
    session->connection =
        (struct session_token){.session = session, .generation = session->generation};
    (void)MQTTAsync_setCallbacks(session->client, &session->connection, on_lost, on_message, NULL);
    if (version5)
        (void)MQTTAsync_setDisconnected(session->client, &session->connection, on_disconnected);
    return 0;
}

static MQTTAsync_connectOptions connect_options(struct session *session, bool version5)
{
    MQTTAsync_connectOptions five = MQTTAsync_connectOptions_initializer5;
    MQTTAsync_connectOptions three = MQTTAsync_connectOptions_initializer;
    MQTTAsync_connectOptions options = version5 ? five : three;
    if (version5) {
        options.cleanstart = 1;
        options.onSuccess5 = on_connect5;
        options.onFailure5 = on_connect_failure5;
    } else {
        options.MQTTVersion = MQTTVERSION_3_1_1;
        options.cleansession = 1;
        options.onSuccess = on_connect;
        options.onFailure = on_connect_failure;
    }
    options.context = &session->connection;
    options.keepAliveInterval = SESSION_KEEPALIVE_S;
    options.connectTimeout = SESSION_CONNECT_S;
    options.automaticReconnect = 0;
    options.maxInflight = OFFICE_WINDOW_MAX + SPARE_INFLIGHT;
    if (session->config->username[0] != '\0')
        options.username = session->config->username;
    if (session->password[0] != '\0')
        options.password = session->password;
    return options;
}

int session_connect(struct session *session, bool version5, const struct session_message *will,
                    struct err *err)
{
    session_close(session);
    if (create(session, version5, err) != 0)
        return -1;
    MQTTAsync_connectOptions options = connect_options(session, version5);
    MQTTAsync_SSLOptions tls = tls_options(session->config);
    MQTTAsync_willOptions last = MQTTAsync_willOptions_initializer;
    MQTTProperties properties = MQTTProperties_initializer;
    last.topicName = will->topic;
    last.payload.data = will->payload;
    last.payload.len = (int)will->length;
    last.retained = will->retain;
    last.qos = 1;
    options.will = &last;
    if (session->tls)
        options.ssl = &tls;
    if (version5) {
        describe(&properties, will);
        options.willProperties = &properties;
    }
    int status = MQTTAsync_connect(session->client, &options);
    MQTTProperties_free(&properties);
    if (status == MQTTASYNC_SUCCESS)
        return 0;
    session_close(session);
    return err_set(err, "office: connecting cannot begin: %s", MQTTAsync_strerror(status));
}

int session_publish(struct session *session, const struct session_message *message, int lane,
                    int slot)
{
    struct session_token *token = &session->tokens[lane][slot];
    *token = (struct session_token){session, session->generation, lane, slot};
    MQTTAsync_message out = MQTTAsync_message_initializer;
    MQTTAsync_responseOptions answer = MQTTAsync_responseOptions_initializer;
    out.payload = (void *)message->payload; // paho copies it
    out.payloadlen = (int)message->length;
    out.qos = 1;
    out.retained = message->retain;
    answer.context = token;
    if (session->version5) {
        answer.onSuccess5 = on_answer5;
        answer.onFailure5 = on_answer_failure5;
        describe(&out.properties, message);
    } else {
        answer.onSuccess = on_answer;
        answer.onFailure = on_answer_failure;
    }
    int status = MQTTAsync_sendMessage(session->client, message->topic, &out, &answer);
    MQTTProperties_free(&out.properties);
    return status == MQTTASYNC_SUCCESS ? 0 : -1;
}

int session_ask(struct session *session, const char *topic)
{
    return MQTTAsync_unsubscribe(session->client, topic, NULL) == MQTTASYNC_SUCCESS ? 0 : -1;
}

unsigned session_heard(void)
{
    return puback_tap_heard();
}

int session_subscribe(struct session *session, const char *filter)
{
    MQTTAsync_responseOptions answer = MQTTAsync_responseOptions_initializer;
    answer.context = &session->connection;
    if (session->version5) {
        answer.onSuccess5 = on_subscribed5;
        answer.onFailure5 = on_subscribe_failure5;
        answer.subscribeOptions.retainAsPublished = 1; // what is retained is refused, at once too
    } else {
        answer.onSuccess = on_subscribed;
        answer.onFailure = on_subscribe_failure;
    }
    return MQTTAsync_subscribe(session->client, filter, 1, &answer) == MQTTASYNC_SUCCESS ? 0 : -1;
}

void session_disconnect(struct session *session)
{
    MQTTAsync_disconnectOptions five = MQTTAsync_disconnectOptions_initializer5;
    MQTTAsync_disconnectOptions three = MQTTAsync_disconnectOptions_initializer;
    MQTTAsync_disconnectOptions options = session->version5 ? five : three;
    options.context = &session->connection;
    options.timeout = 500; // ms for what is still in flight
    if (session->version5)
        options.onSuccess5 = on_ended5;
    else
        options.onSuccess = on_ended;
    if (MQTTAsync_disconnect(session->client, &options) != MQTTASYNC_SUCCESS) {
        struct ring_event event = {.kind = RING_ENDED};
        push(&session->connection, &event, NULL);
    }
}

void session_close(struct session *session)
{
    if (!session->client)
        return;
    session->generation++; // whatever paho still says of this handle is old
    MQTTAsync_destroy(&session->client);
    session->client = NULL;
}
