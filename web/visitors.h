// The connections of the page: TLS on each, a bound on their number, and an end for each that takes
// too long. Counted through the SSL object, which lives exactly as long as its connection.
#ifndef METERGATE_WEB_VISITORS_H
#define METERGATE_WEB_VISITORS_H

#include <event2/http.h>
#include <event2/listener.h>
#include <openssl/ssl.h>

#define VISITORS_MAX 256     // further ones wait in the kernel's queue until one ends
#define VISITOR_REQUEST_S 10 // TLS handshake, head and body of a first request
#define VISITOR_IDLE_S 30    // between two requests, the second included
#define VISITOR_ANSWER_S 40  // until the answer is there (relay.h) and taken

struct visitors;

// Makes evhttp take its connections from here. The listener's owner is evhttp from now on.
struct visitors *visitors_new(struct event_base *base, struct evhttp *http,
                              struct evconnlistener *listener, SSL_CTX *context);
// No new connections; before evhttp_free.
void visitors_stop(struct visitors *visitors);
// After the connections are closed.
void visitors_free(struct visitors *visitors);

// A request has come whole: its connection now has VISITOR_ANSWER_S, and VISITOR_IDLE_S after it.
void visitors_request(struct visitors *visitors, struct evhttp_request *request);

#endif
