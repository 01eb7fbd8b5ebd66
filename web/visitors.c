#include "web/visitors.h"

#include "base/log.h"

#include <assert.h>
#include <event2/bufferevent_ssl.h>
#include <event2/event.h>
#include <stdlib.h>
#include <sys/socket.h>

struct visitors {
    struct event_base *base;
    struct evconnlistener *listener; // NULL once evhttp is gone
    SSL_CTX *context;
    int place; // index of our record in an SSL object
    int count;
};

struct visitor {
    struct visitors *visitors;
    struct bufferevent *socket;
    struct event *timer;
};

// Ends the connection from below: evhttp then tidies it up as if the visitor had left.
static void end(const struct visitor *visitor)
{
    evutil_socket_t fd = bufferevent_getfd(visitor->socket);
    if (fd >= 0)
        (void)shutdown(fd, SHUT_RDWR);
}

static void on_timer(evutil_socket_t unused, short events, void *context)
{
    (void)unused;
    (void)events;
    end(context);
}

static void arm(const struct visitor *visitor, int seconds)
{
    const struct timeval wait = {.tv_sec = seconds};
    if (event_add(visitor->timer, &wait) != 0)
        end(visitor); // without a timer it could stay for ever
}

// Called by OpenSSL when the connection's SSL object goes.
static void visitor_gone(void *parent, void *record, CRYPTO_EX_DATA *data, int place, long number,
                         void *argument)
{
    struct visitor *visitor = record;
    (void)parent;
    (void)data;
    (void)place;
    (void)number;
    (void)argument;
    if (visitor == NULL)
        return;
    struct visitors *visitors = visitor->visitors;
    event_free(visitor->timer);
    free(visitor);
    visitors->count--;
    if (visitors->listener != NULL && visitors->count == VISITORS_MAX - 1)
        (void)evconnlistener_enable(visitors->listener);
}

static struct visitor *visitor_new(struct visitors *visitors, SSL *ssl)
{
    struct visitor *visitor = calloc(1, sizeof *visitor);
    if (visitor == NULL)
        return NULL;
    visitor->visitors = visitors;
    visitor->timer = evtimer_new(visitors->base, on_timer, visitor);
    if (visitor->timer == NULL || SSL_set_ex_data(ssl, visitors->place, visitor) != 1) {
        if (visitor->timer != NULL)
            event_free(visitor->timer);
        free(visitor);
        return NULL;
    }
    visitors->count++;
    return visitor;
}

// libevent 2.1 serves clear text when this returns NULL: without memory the process ends instead,
// and is started again.
static struct bufferevent *new_connection(struct event_base *base, void *context)
{
    struct visitors *visitors = context;
    SSL *ssl = SSL_new(visitors->context);
    struct visitor *visitor = ssl != NULL ? visitor_new(visitors, ssl) : NULL;
    if (visitor == NULL) {
        log_error("web", "no memory for a connection: ending, to be started anew");
        exit(1);
    }
    visitor->socket = bufferevent_openssl_socket_new(base, -1, ssl, BUFFEREVENT_SSL_ACCEPTING,
                                                     BEV_OPT_CLOSE_ON_FREE);
    if (visitor->socket == NULL) {
        log_error("web", "no memory for a connection: ending, to be started anew");
        exit(1);
    }
    bufferevent_openssl_set_allow_dirty_shutdown(visitor->socket, 1);
    arm(visitor, VISITOR_REQUEST_S);
    if (visitors->count >= VISITORS_MAX)
        (void)evconnlistener_disable(visitors->listener);
    return visitor->socket;
}

struct visitors *visitors_new(struct event_base *base, struct evhttp *http,
                              struct evconnlistener *listener, SSL_CTX *context)
{
    struct visitors *visitors = calloc(1, sizeof *visitors);
    if (visitors == NULL)
        return NULL;
    visitors->base = base;
    visitors->listener = listener;
    visitors->context = context;
    visitors->place = SSL_get_ex_new_index(0, NULL, NULL, NULL, visitor_gone);
    if (visitors->place < 0 || evhttp_bind_listener(http, listener) == NULL) {
        free(visitors);
        return NULL;
    }
    evhttp_set_bevcb(http, new_connection, visitors);
    return visitors;
}

void visitors_stop(struct visitors *visitors)
{
    (void)evconnlistener_disable(visitors->listener);
    visitors->listener = NULL; // evhttp frees it
}

void visitors_free(struct visitors *visitors)
{
    if (visitors != NULL) {
        assert(visitors->count == 0);
        free(visitors);
    }
}

static struct visitor *visitor_of(struct visitors *visitors, struct evhttp_request *request)
{
    struct evhttp_connection *connection = evhttp_request_get_connection(request);
    SSL *ssl = bufferevent_openssl_get_ssl(evhttp_connection_get_bufferevent(connection));
    return SSL_get_ex_data(ssl, visitors->place);
}

static void on_answered(struct evhttp_request *request, void *context)
{
    (void)request;
    arm(context, VISITOR_IDLE_S);
}

void visitors_request(struct visitors *visitors, struct evhttp_request *request)
{
    struct visitor *visitor = visitor_of(visitors, request);
    arm(visitor, VISITOR_ANSWER_S);
    evhttp_request_set_on_complete_cb(request, on_answered, visitor);
}
