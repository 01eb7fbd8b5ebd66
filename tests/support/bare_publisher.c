#include "bare_publisher.h"

#include "office/lookup.h"

#include <MQTTAsync.h>
#include <semaphore.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

struct publisher {
    MQTTAsync client;
    sem_t window, connected;
    atomic_int acknowledged;
};

static void must(bool good, const char *what)
{
    if (good)
        return;
    (void)fprintf(stderr, "bare publisher: %s\n", what);
    abort();
}

static double now_s(void)
{
    struct timespec now;
    (void)clock_gettime(CLOCK_MONOTONIC, &now);
    return (double)now.tv_sec + (double)now.tv_nsec / 1e9;
}

static void on_answer(void *context, MQTTAsync_successData5 *data)
{
    struct publisher *publisher = context;
    (void)data;
    (void)atomic_fetch_add(&publisher->acknowledged, 1);
    (void)sem_post(&publisher->window);
}

static void on_failure(void *context, MQTTAsync_failureData5 *data)
{
    (void)context;
    must(false, data->message ? data->message : "it failed");
}

static void on_connect(void *context, MQTTAsync_successData5 *data)
{
    struct publisher *publisher = context;
    (void)data;
    (void)sem_post(&publisher->connected);
}

static void add_property(MQTTProperties *properties, enum MQTTPropertyCodes code, const char *name,
                         const char *value)
{
    MQTTProperty one = {.identifier = code};
    one.value.data = (MQTTLenString){(int)strlen(name), (char *)name};
    if (value)
        one.value.value = (MQTTLenString){(int)strlen(value), (char *)value};
    must(MQTTProperties_add(properties, &one) == 0, "no property");
}

static void connect_broker(struct publisher *publisher, const struct bare_way *way)
{
    MQTTAsync_createOptions create = MQTTAsync_createOptions_initializer5;
    MQTTAsync_connectOptions options = MQTTAsync_connectOptions_initializer5;
    MQTTAsync_SSLOptions tls = MQTTAsync_SSLOptions_initializer;
    lookup_allow(true); // an office of this process that was stopped has refused it
    create.maxBufferedMessages = way->window + 1;
    tls.trustStore = way->ca;
    tls.keyStore = way->certificate;
    tls.privateKey = way->key;
    tls.enableServerCertAuth = 1;
    tls.verify = 1;
    tls.sslVersion = MQTT_SSL_VERSION_TLS_1_2;
    options.cleanstart = 1;
    options.maxInflight = way->window;
    options.onSuccess5 = on_connect;
    options.onFailure5 = on_failure;
    options.context = publisher;
    if (way->ca)
        options.ssl = &tls;
    must(sem_init(&publisher->window, 0, (unsigned)way->window) == 0 &&
             sem_init(&publisher->connected, 0, 0) == 0 &&
             MQTTAsync_createWithOptions(&publisher->client, way->url, "bare",
                                         MQTTCLIENT_PERSISTENCE_NONE, NULL,
                                         &create) == MQTTASYNC_SUCCESS &&
             MQTTAsync_connect(publisher->client, &options) == MQTTASYNC_SUCCESS,
         "it cannot connect");
    must(sem_wait(&publisher->connected) == 0, "no connection");
}

static void send_one(struct publisher *publisher, const struct bare_message *message)
{
    MQTTAsync_message out = MQTTAsync_message_initializer;
    MQTTAsync_responseOptions answer = MQTTAsync_responseOptions_initializer;
    out.payload = (char *)message->payload;
    out.payloadlen = (int)strlen(message->payload);
    out.qos = 1;
    add_property(&out.properties, MQTTPROPERTY_CODE_CONTENT_TYPE, "application/json", NULL);
    add_property(&out.properties, MQTTPROPERTY_CODE_USER_PROPERTY, "schema", message->schema);
    add_property(&out.properties, MQTTPROPERTY_CODE_USER_PROPERTY, "lane", message->lane);
    answer.onSuccess5 = on_answer;
    answer.onFailure5 = on_failure;
    answer.context = publisher;
    must(sem_wait(&publisher->window) == 0, "no window");
    must(MQTTAsync_sendMessage(publisher->client, message->topic, &out, &answer) ==
             MQTTASYNC_SUCCESS,
         "it cannot send");
    MQTTProperties_free(&out.properties);
}

double bare_publish(const struct bare_way *way, const struct bare_message *messages,
                    int message_count, int count, int limit_s)
{
    struct publisher publisher = {.acknowledged = 0};
    connect_broker(&publisher, way);
    double begun = now_s();
    for (int i = 0; i < count; i++)
        send_one(&publisher, &messages[i % message_count]);
    while (atomic_load(&publisher.acknowledged) < count) {
        must(now_s() < begun + limit_s, "it did not get through");
        (void)usleep(500);
    }
    double seconds = now_s() - begun;
    MQTTAsync_destroy(&publisher.client);
    (void)sem_destroy(&publisher.window);
    (void)sem_destroy(&publisher.connected);
    return seconds;
}
