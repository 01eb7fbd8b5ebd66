#include "fake_broker.h"

#include <arpa/inet.h>
#include <poll.h>
#include <pthread.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <unistd.h>

#define MESSAGES_MAX 200000
#define PACKET_MAX (1024 * 1024)
#define LATE_MAX 1024

enum {
    CONNECT = 1,
    CONNACK = 2,
    PUBLISH = 3,
    PUBACK = 4,
    UNSUBSCRIBE = 10,
    UNSUBACK = 11,
    PINGREQ = 12,
    DISCONNECT = 14
};

struct fake_broker {
    pthread_t thread;
    pthread_mutex_t mutex;
    int listener, wake, port;
    bool stop, drop, goodbye, deaf;
    int asked; // for a sign of life
    fake_rule *rule;
    void *context;
    int reason5, code4, receive_maximum;
    enum fake_greeting greeting;
    int byte_ms;
    int connections, version;
    int unacknowledged, most;
    int count;
    struct fake_message *messages;
    char *will;
    int late_count;
    uint16_t late[LATE_MAX];
};

static void must(bool good)
{
    if (!good)
        abort();
}

static void lock(struct fake_broker *broker)
{
    must(pthread_mutex_lock(&broker->mutex) == 0);
}

static void unlock(struct fake_broker *broker)
{
    must(pthread_mutex_unlock(&broker->mutex) == 0);
}

// --- bytes ---

struct packet {
    const uint8_t *at, *end;
    bool bad;
};

static unsigned take_byte(struct packet *packet)
{
    if (packet->at == packet->end) {
        packet->bad = true;
        return 0;
    }
    return *packet->at++;
}

static unsigned take_u16(struct packet *packet)
{
    unsigned high = take_byte(packet);
    return high << 8 | take_byte(packet);
}

static unsigned take_varint(struct packet *packet)
{
    unsigned value = 0;
    for (unsigned shift = 0; shift < 28; shift += 7) {
        unsigned byte = take_byte(packet);
        value |= (byte & 0x7FU) << shift;
        if (byte < 0x80)
            return value;
    }
    packet->bad = true;
    return 0;
}

static struct packet take_block(struct packet *packet, unsigned length)
{
    struct packet block = {packet->at, packet->at + length, false};
    if ((size_t)(packet->end - packet->at) < length) {
        packet->bad = true;
        block.end = block.at;
        return block;
    }
    packet->at += length;
    return block;
}

static void take_text(struct packet *packet, char *text, size_t size)
{
    struct packet block = take_block(packet, take_u16(packet));
    size_t length = (size_t)(block.end - block.at);
    length = length < size ? length : size - 1;
    memcpy(text, block.at, length);
    text[length] = '\0';
}

// --- packets ---

static void send_all(const struct fake_broker *broker, int fd, const uint8_t *bytes, size_t length)
{
    while (length > 0) {
        ssize_t sent = send(fd, bytes, broker->byte_ms > 0 ? 1 : length, MSG_NOSIGNAL);
        if (sent <= 0)
            return; // the client is gone: the next read says so
        if (broker->byte_ms > 0)
            (void)usleep((useconds_t)broker->byte_ms * 1000);
        bytes += sent;
        length -= (size_t)sent;
    }
}

static void send_puback(const struct fake_broker *broker, int fd, unsigned id, int reason)
{
    uint8_t bytes[] = {PUBACK << 4, 2, (uint8_t)(id >> 8), (uint8_t)id, (uint8_t)reason, 0};
    if (broker->version == 5 && reason != 0) {
        bytes[1] = 4;
        send_all(broker, fd, bytes, 6);
    } else {
        send_all(broker, fd, bytes, 4);
    }
}

static void take_properties(struct packet *packet, struct fake_message *message)
{
    struct packet block = take_block(packet, take_varint(packet));
    while (block.at < block.end && !block.bad) {
        unsigned code = take_byte(&block);
        char name[64];
        char value[128];
        if (code == 3) {
            take_text(&block, message->content_type, sizeof message->content_type);
        } else if (code == 38) {
            take_text(&block, name, sizeof name);
            take_text(&block, value, sizeof value);
            if (strcmp(name, "schema") == 0)
                (void)snprintf(message->schema, sizeof message->schema, "%.31s", value);
            if (strcmp(name, "lane") == 0)
                (void)snprintf(message->lane, sizeof message->lane, "%.15s", value);
            if (strcmp(name, "replay") == 0)
                message->replay = strcmp(value, "1") == 0;
        } else {
            block.bad = true; // the gateway sends no others
        }
    }
    packet->bad = packet->bad || block.bad;
}

// True when a good CONNACK is to follow.
static bool greet_oddly(const struct fake_broker *broker, int fd)
{
    static const uint8_t malformed[] = {CONNACK << 4, 4, 0, 0, 200, 33};
    static const uint8_t garbage[] = {0, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 'H', 'T', 'T', 'P'};
    if (broker->greeting == FAKE_GREET_MALFORMED)
        send_all(broker, fd, malformed, sizeof malformed);
    if (broker->greeting == FAKE_GREET_GARBAGE)
        send_all(broker, fd, garbage, sizeof garbage);
    return broker->greeting >= FAKE_GREET_SESSION;
}

#define EARLY_MAX 50

static void greet_further(const struct fake_broker *broker, int fd)
{
    static const uint8_t quota[] = {DISCONNECT << 4, 2, 0x97, 0};
    if (broker->greeting == FAKE_GREET_DISCONNECT)
        send_all(broker, fd, quota, sizeof quota);
    for (unsigned id = 1; broker->greeting == FAKE_GREET_EARLY_PUBACKS && id <= EARLY_MAX; id++)
        send_puback(broker, fd, id, 0);
}

// False: the connection is to be closed.
static bool handle_connect(struct fake_broker *broker, int fd, struct packet packet)
{
    char text[256];
    struct fake_message properties = {0};
    take_text(&packet, text, sizeof text);
    broker->version = (int)take_byte(&packet);
    unsigned flags = take_byte(&packet);
    (void)take_u16(&packet);
    if (broker->version == 5)
        take_properties(&packet, &properties);
    take_text(&packet, text, sizeof text);
    free(broker->will);
    broker->will = NULL;
    if (flags & 4) {
        if (broker->version == 5)
            take_properties(&packet, &properties);
        take_text(&packet, text, sizeof text);
        struct packet will = take_block(&packet, take_u16(&packet));
        broker->will = strndup((const char *)will.at, (size_t)(will.end - will.at));
    }
    must(!packet.bad);
    broker->goodbye = false;
    if (broker->greeting != FAKE_GREET && !greet_oddly(broker, fd))
        return broker->greeting == FAKE_GREET_SILENT;
    if (broker->version == 5) {
        uint8_t answer[] = {CONNACK << 4,
                            6,
                            broker->greeting == FAKE_GREET_SESSION,
                            (uint8_t)broker->reason5,
                            3,
                            33,
                            (uint8_t)(broker->receive_maximum >> 8),
                            (uint8_t)broker->receive_maximum};
        send_all(broker, fd, answer, sizeof answer);
        greet_further(broker, fd);
        return broker->reason5 == 0;
    }
    uint8_t answer[] = {CONNACK << 4, 2, 0, (uint8_t)broker->code4};
    send_all(broker, fd, answer, sizeof answer);
    return broker->code4 == 0;
}

static void flush_late(struct fake_broker *broker, int fd)
{
    for (int i = broker->late_count - 1; i >= 0; i--) { // also out of order
        send_puback(broker, fd, broker->late[i], 0);
        broker->unacknowledged--;
    }
    broker->late_count = 0;
}

static bool answer(struct fake_broker *broker, int fd, unsigned id, int verdict)
{
    switch (verdict) {
    case FAKE_NEVER: return true;
    case FAKE_CLOSE: return false;
    case FAKE_LATE:
        must(broker->late_count < LATE_MAX);
        broker->late[broker->late_count++] = (uint16_t)id;
        return true;
    case FAKE_TWICE:
        send_puback(broker, fd, id, 0);
        verdict = 0;
        break;
    case FAKE_UNKNOWN_ID:
        send_puback(broker, fd, id ^ 0x8000U, 0);
        verdict = 0;
        break;
    default: break;
    }
    send_puback(broker, fd, id, verdict);
    broker->unacknowledged--;
    flush_late(broker, fd);
    return true;
}

static bool handle_publish(struct fake_broker *broker, int fd, unsigned flags, struct packet packet)
{
    must(broker->count < MESSAGES_MAX);
    struct fake_message *message = &broker->messages[broker->count];
    unsigned id = 0;
    *message = (struct fake_message){.version = broker->version,
                                     .connection = broker->connections,
                                     .qos = (int)(flags >> 1 & 3U),
                                     .retain = (flags & 1U) != 0};
    take_text(&packet, message->topic, sizeof message->topic);
    if (message->qos > 0)
        id = take_u16(&packet);
    if (broker->version == 5)
        take_properties(&packet, message);
    must(!packet.bad);
    message->payload = strndup((const char *)packet.at, (size_t)(packet.end - packet.at));
    broker->count++;
    broker->unacknowledged++;
    if (broker->unacknowledged > broker->most)
        broker->most = broker->unacknowledged;
    bool own = message->retain || strstr(message->topic, "/health");
    int verdict = !own && broker->rule ? broker->rule(broker->context, message) : 0;
    return answer(broker, fd, id, verdict);
}

// One filter, to which nothing was subscribed.
static void handle_unsubscribe(struct fake_broker *broker, int fd, struct packet packet)
{
    broker->asked++;
    unsigned id = take_u16(&packet);
    uint8_t five[] = {UNSUBACK << 4, 4, (uint8_t)(id >> 8), (uint8_t)id, 0, 0x11};
    uint8_t three[] = {UNSUBACK << 4, 2, (uint8_t)(id >> 8), (uint8_t)id};
    if (broker->version == 5)
        send_all(broker, fd, five, sizeof five);
    else
        send_all(broker, fd, three, sizeof three);
}

static bool handle(struct fake_broker *broker, int fd, unsigned first, struct packet packet)
{
    static const uint8_t pong[] = {13 << 4, 0};
    switch (first >> 4) {
    case CONNECT: return handle_connect(broker, fd, packet);
    case PUBLISH: return handle_publish(broker, fd, first & 15U, packet);
    case UNSUBSCRIBE: handle_unsubscribe(broker, fd, packet); return true;
    case PINGREQ: send_all(broker, fd, pong, sizeof pong); return true;
    case DISCONNECT: broker->goodbye = true; return false;
    default: return false;
    }
}

// Handles every whole packet of the buffer; returns the bytes used, -1 to close.
static long handle_buffer(struct fake_broker *broker, int fd, const uint8_t *bytes, size_t length)
{
    size_t used = 0;
    for (;;) {
        struct packet rest = {bytes + used, bytes + length, false};
        unsigned first = take_byte(&rest);
        unsigned size = take_varint(&rest);
        if (rest.bad || (size_t)(rest.end - rest.at) < size)
            return (long)used;
        lock(broker);
        bool good = handle(broker, fd, first, take_block(&rest, size));
        unlock(broker);
        if (!good)
            return -1;
        used = (size_t)(rest.at - bytes);
    }
}

static bool should_end(struct fake_broker *broker, int wake_ready)
{
    if (wake_ready) {
        uint64_t count;
        must(read(broker->wake, &count, sizeof count) == (ssize_t)sizeof count);
    }
    lock(broker);
    bool end = broker->stop || broker->drop;
    broker->drop = false;
    unlock(broker);
    return end;
}

static bool is_deaf(struct fake_broker *broker)
{
    lock(broker);
    bool deaf = broker->deaf;
    unlock(broker);
    return deaf;
}

static void serve(struct fake_broker *broker, int fd, uint8_t *bytes)
{
    size_t length = 0;
    for (;;) {
        bool deaf = is_deaf(broker);
        struct pollfd waits[] = {{.fd = fd, .events = deaf ? POLLRDHUP : POLLIN},
                                 {.fd = broker->wake, .events = POLLIN}};
        must(poll(waits, 2, -1) > 0);
        if (should_end(broker, waits[1].revents & POLLIN))
            return;
        if (!waits[0].revents)
            continue;
        if (deaf)
            return; // the client has given up
        ssize_t got = recv(fd, bytes + length, PACKET_MAX - length, 0);
        if (got <= 0)
            return;
        length += (size_t)got;
        long used = handle_buffer(broker, fd, bytes, length);
        if (used < 0)
            return;
        memmove(bytes, bytes + used, length - (size_t)used);
        length -= (size_t)used;
    }
}

static bool is_stopped(struct fake_broker *broker)
{
    lock(broker);
    bool stop = broker->stop;
    unlock(broker);
    return stop;
}

static void *broker_thread(void *argument)
{
    struct fake_broker *broker = argument;
    uint8_t *bytes = malloc(PACKET_MAX);
    must(bytes != NULL);
    for (;;) {
        struct pollfd waits[] = {{.fd = broker->listener, .events = POLLIN},
                                 {.fd = broker->wake, .events = POLLIN}};
        must(poll(waits, 2, -1) > 0);
        (void)should_end(broker, waits[1].revents & POLLIN);
        if (is_stopped(broker))
            break;
        if (!(waits[0].revents & POLLIN))
            continue;
        int fd = accept4(broker->listener, NULL, NULL, SOCK_CLOEXEC);
        if (fd < 0)
            continue;
        lock(broker);
        broker->connections++;
        broker->unacknowledged = 0;
        broker->late_count = 0;
        bool close_at_once = broker->greeting == FAKE_GREET_CLOSE;
        unlock(broker);
        if (!close_at_once)
            serve(broker, fd, bytes);
        (void)close(fd);
    }
    free(bytes);
    return NULL;
}

struct fake_broker *fake_broker_start(void)
{
    struct fake_broker *broker = calloc(1, sizeof *broker);
    must(broker != NULL);
    broker->messages = calloc(MESSAGES_MAX, sizeof *broker->messages);
    broker->receive_maximum = 65535;
    broker->wake = eventfd(0, EFD_CLOEXEC);
    broker->listener = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t size = sizeof address;
    must(broker->messages && broker->wake >= 0 &&
         bind(broker->listener, (struct sockaddr *)&address, sizeof address) == 0 &&
         listen(broker->listener, 8) == 0 &&
         getsockname(broker->listener, (struct sockaddr *)&address, &size) == 0 &&
         pthread_mutex_init(&broker->mutex, NULL) == 0);
    broker->port = ntohs(address.sin_port);
    must(pthread_create(&broker->thread, NULL, broker_thread, broker) == 0);
    return broker;
}

static void poke(struct fake_broker *broker)
{
    uint64_t one = 1;
    must(write(broker->wake, &one, sizeof one) == (ssize_t)sizeof one);
}

void fake_broker_stop(struct fake_broker *broker)
{
    lock(broker);
    broker->stop = true;
    unlock(broker);
    poke(broker);
    must(pthread_join(broker->thread, NULL) == 0);
    for (int i = 0; i < broker->count; i++)
        free(broker->messages[i].payload);
    free(broker->messages);
    free(broker->will);
    (void)close(broker->wake);
    (void)close(broker->listener);
    (void)pthread_mutex_destroy(&broker->mutex);
    free(broker);
}

int fake_broker_port(const struct fake_broker *broker)
{
    return broker->port;
}

void fake_broker_rule(struct fake_broker *broker, fake_rule *rule, void *context)
{
    lock(broker);
    broker->rule = rule;
    broker->context = context;
    unlock(broker);
}

void fake_broker_connack(struct fake_broker *broker, int reason5, int code4)
{
    lock(broker);
    broker->reason5 = reason5;
    broker->code4 = code4;
    unlock(broker);
}

void fake_broker_greeting(struct fake_broker *broker, enum fake_greeting greeting)
{
    lock(broker);
    broker->greeting = greeting;
    unlock(broker);
}

void fake_broker_slow(struct fake_broker *broker, int byte_ms)
{
    lock(broker);
    broker->byte_ms = byte_ms;
    unlock(broker);
}

void fake_broker_receive_maximum(struct fake_broker *broker, int messages)
{
    lock(broker);
    broker->receive_maximum = messages;
    unlock(broker);
}

void fake_broker_drop(struct fake_broker *broker)
{
    lock(broker);
    broker->drop = true;
    unlock(broker);
    poke(broker);
}

void fake_broker_deaf(struct fake_broker *broker, bool deaf)
{
    lock(broker);
    broker->deaf = deaf;
    unlock(broker);
    poke(broker);
}

int fake_broker_asked(struct fake_broker *broker)
{
    lock(broker);
    int asked = broker->asked;
    unlock(broker);
    return asked;
}

int fake_broker_count(struct fake_broker *broker)
{
    lock(broker);
    int count = broker->count;
    unlock(broker);
    return count;
}

const struct fake_message *fake_broker_message(struct fake_broker *broker, int index)
{
    return &broker->messages[index];
}

int fake_broker_connections(struct fake_broker *broker)
{
    lock(broker);
    int count = broker->connections;
    unlock(broker);
    return count;
}

int fake_broker_most_unacknowledged(struct fake_broker *broker)
{
    lock(broker);
    int most = broker->most;
    unlock(broker);
    return most;
}

const char *fake_broker_will(struct fake_broker *broker)
{
    lock(broker);
    const char *will = broker->will ? broker->will : "";
    unlock(broker);
    return will;
}

bool fake_broker_said_goodbye(struct fake_broker *broker)
{
    lock(broker);
    bool goodbye = broker->goodbye;
    unlock(broker);
    return goodbye;
}
