#include "web/relay.h"

#include "base/buf.h"
#include "base/log.h"
#include "control/address.h"
#include "control/control.h"
#include "control/frame.h"

#include <event2/buffer.h>
#include <event2/bufferevent.h>
#include <openssl/crypto.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <time.h>
#include <unistd.h>

#define TICK_S 1
#define REQUEST_HEAD_MAX 256 // what stands around the arguments
#define HEAD_SIZE 32         // of a reply: {"id":N,

struct pending {
    unsigned long number; // 0: free
    int ticks_left;
    relay_done *done;
    void *context;
};

struct relay {
    struct event_base *base;
    struct bufferevent *socket; // NULL: not connected
    struct event *tick;
    char directory[sizeof((struct sockaddr_un *)0)->sun_path];
    unsigned long numbers;
    struct pending pending[RELAY_PENDING_MAX];
};

static void finish(struct pending *pending, enum relay_result result, const char *text,
                   size_t length)
{
    struct pending copy = *pending;
    *pending = (struct pending){0}; // first: `done` may send again
    copy.done(copy.context, result, text, length);
}

static void disconnect(struct relay *relay)
{
    if (relay->socket != NULL) {
        bufferevent_free(relay->socket);
        relay->socket = NULL;
    }
    for (int i = 0; i < RELAY_PENDING_MAX; i++)
        if (relay->pending[i].number != 0)
            finish(&relay->pending[i], RELAY_AWAY, NULL, 0);
}

static void on_tick(evutil_socket_t fd, short events, void *context)
{
    struct relay *relay = context;
    (void)fd;
    (void)events;
    for (int i = 0; i < RELAY_PENDING_MAX; i++) {
        struct pending *pending = &relay->pending[i];
        if (pending->number != 0 && --pending->ticks_left <= 0)
            finish(pending, RELAY_LATE, NULL, 0);
    }
}

// A reply begins {"id":N, : the number is taken from it, the rest is what the page gets.
static void take_reply(struct relay *relay, const char *text, size_t length)
{
    char head[HEAD_SIZE];
    unsigned long number = 0;
    int end = 0;
    size_t part = length < sizeof head - 1 ? length : sizeof head - 1;
    memcpy(head, text, part);
    head[part] = '\0';
    if (sscanf(head, "{\"id\":%20lu,%n", &number, &end) != 1 || end == 0 || number == 0) {
        log_warn("web", "the gateway sent a reply without a number: is it another version?");
        return;
    }
    for (int i = 0; i < RELAY_PENDING_MAX; i++) {
        if (relay->pending[i].number == number) {
            finish(&relay->pending[i], RELAY_REPLY, text + end, length - (size_t)end);
            return;
        }
    } // nobody waits any more: it came too late
}

static void on_read(struct bufferevent *socket, void *context)
{
    struct relay *relay = context;
    struct evbuffer *in = bufferevent_get_input(socket);
    for (;;) {
        char head[FRAME_HEAD];
        const char *text = NULL;
        size_t length = 0;
        if (evbuffer_copyout(in, head, sizeof head) < (ssize_t)sizeof head)
            return;
        // Only the head is looked at here: the bytes are made one piece when all are there.
        if (frame_next(head, sizeof head, CONTROL_FRAME_MAX, &text, &length) < 0) {
            log_warn("web", "the gateway sent a frame that is none: connection closed");
            disconnect(relay);
            return;
        }
        const unsigned char *byte = (const unsigned char *)head;
        size_t whole = ((size_t)byte[0] << 24 | (size_t)byte[1] << 16 | (size_t)byte[2] << 8 |
                        (size_t)byte[3]) +
                       FRAME_HEAD;
        if (evbuffer_get_length(in) < whole)
            return;
        const char *frame = (const char *)evbuffer_pullup(in, (ev_ssize_t)whole);
        if (frame == NULL) {
            disconnect(relay);
            return;
        }
        take_reply(relay, frame + FRAME_HEAD, whole - FRAME_HEAD);
        if (relay->socket != socket)
            return;
        (void)evbuffer_drain(in, whole);
    }
}

static void on_event(struct bufferevent *socket, short events, void *context)
{
    (void)socket;
    if (events & (BEV_EVENT_EOF | BEV_EVENT_ERROR))
        disconnect(context);
}

static int ensure_connected(struct relay *relay)
{
    if (relay->socket != NULL)
        return 0;
    int fd = control_connect(relay->directory);
    if (fd < 0)
        return -1;
    relay->socket = bufferevent_socket_new(relay->base, fd, BEV_OPT_CLOSE_ON_FREE);
    if (relay->socket == NULL) {
        (void)close(fd);
        return -1;
    }
    bufferevent_setcb(relay->socket, on_read, NULL, on_event, relay);
    (void)bufferevent_enable(relay->socket, EV_READ | EV_WRITE);
    return 0;
}

static int write_request(struct relay *relay, unsigned long number,
                         const struct relay_request *request)
{
    struct buf text;
    struct buf frame;
    buf_init(&text, request->arguments_length + REQUEST_HEAD_MAX);
    buf_init(&frame, request->arguments_length + REQUEST_HEAD_MAX + FRAME_HEAD);
    // Every request says that it comes through the page: without a token it then gets nothing.
    buf_addf(&text, "{\"id\":%lu,\"door\":\"page\",\"command\":\"%s\"", number, request->command);
    if (request->token != NULL)
        buf_addf(&text, ",\"token\":\"%s\"", request->token);
    if (request->background)
        buf_add_text(&text, ",\"background\":true");
    buf_add_text(&text, ",\"arguments\":");
    buf_add(&text, request->arguments, request->arguments_length);
    buf_add_text(&text, "}");
    int result = -1;
    if (!text.failed) {
        frame_add(&frame, text.data, text.length);
        OPENSSL_cleanse(text.data, text.length); // a password may be in it
    }
    if (!frame.failed && frame.length > 0) {
        result = bufferevent_write(relay->socket, frame.data, frame.length);
        OPENSSL_cleanse(frame.data, frame.length);
    }
    buf_release(&text);
    buf_release(&frame);
    return result;
}

unsigned long relay_send(struct relay *relay, const struct relay_request *request, relay_done *done,
                         void *context)
{
    struct pending *place = NULL;
    for (int i = 0; i < RELAY_PENDING_MAX && place == NULL; i++)
        if (relay->pending[i].number == 0)
            place = &relay->pending[i];
    if (place == NULL) {
        done(context, RELAY_FULL, NULL, 0);
        return 0;
    }
    unsigned long number = ++relay->numbers;
    if (ensure_connected(relay) != 0 || write_request(relay, number, request) != 0) {
        done(context, RELAY_AWAY, NULL, 0);
        return 0;
    }
    *place = (struct pending){
        .number = number, .ticks_left = RELAY_TIMEOUT_S / TICK_S, .done = done, .context = context};
    return number;
}

void relay_forget(struct relay *relay, unsigned long number)
{
    for (int i = 0; i < RELAY_PENDING_MAX; i++)
        if (relay->pending[i].number == number)
            relay->pending[i] = (struct pending){0};
}

struct relay *relay_new(struct event_base *base, const char *directory)
{
    struct relay *relay = calloc(1, sizeof *relay);
    if (relay == NULL)
        return NULL;
    relay->base = base;
    struct control_address address;
    if (control_address_file(directory, &address, NULL) != 0 ||
        (size_t)snprintf(relay->directory, sizeof relay->directory, "%s", directory) >=
            sizeof relay->directory) {
        free(relay);
        return NULL;
    }
    const struct timeval second = {.tv_sec = TICK_S};
    relay->tick = event_new(base, -1, EV_PERSIST, on_tick, relay);
    if (relay->tick == NULL || event_add(relay->tick, &second) != 0) {
        relay_free(relay);
        return NULL;
    }
    return relay;
}

void relay_free(struct relay *relay)
{
    if (relay == NULL)
        return;
    if (relay->socket != NULL)
        bufferevent_free(relay->socket);
    if (relay->tick != NULL)
        event_free(relay->tick);
    free(relay);
}
