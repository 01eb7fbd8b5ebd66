// The page's connection to the control socket: one, made when it is first needed, shared by all
// requests. Replies come back by number, in any order.
#ifndef METERGATE_WEB_RELAY_H
#define METERGATE_WEB_RELAY_H

#include <event2/event.h>
#include <stdbool.h>
#include <stddef.h>

#define RELAY_PENDING_MAX 256 // requests that wait for a reply; a further one is refused
#define RELAY_TIMEOUT_S 30    // no reply until then: the page is told so

struct relay;
struct relay *relay_new(struct event_base *base, const char *directory);
void relay_free(struct relay *relay);

enum relay_result {
    RELAY_REPLY, // `text` is the gateway's reply without its id: "\"ok\":…}"
    RELAY_AWAY,  // no gateway runs, or it ended
    RELAY_LATE,  // no reply in time
    RELAY_FULL   // too many wait
};
typedef void relay_done(void *context, enum relay_result result, const char *text, size_t length);

struct relay_request {
    const char *command;   // guard_command
    const char *token;     // guard_cookie, or NULL
    bool background;       // no person did this
    const char *arguments; // a JSON object, checked
    size_t arguments_length;
};

// Sends a request. Returns its number, with which relay_forget drops it; `done` is called exactly
// once unless it is dropped before, maybe already during this call (then 0 is returned).
unsigned long relay_send(struct relay *relay, const struct relay_request *request, relay_done *done,
                         void *context);
void relay_forget(struct relay *relay, unsigned long number);

#endif
