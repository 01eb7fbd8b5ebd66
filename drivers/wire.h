// One Modbus path: opens it, sends a request, believes a reply only after every check. Over
// libmodbus (rtu, tcp), and over a TCP socket that carries RTU frames. Owned by one thread; never
// blocks longer than its time-outs.
#ifndef METERGATE_DRIVERS_WIRE_H
#define METERGATE_DRIVERS_WIRE_H

#include "base/clock.h"
#include "base/err.h"
#include "drivers/frame.h"
#include "drivers/link_url.h"
#include "drivers/modem.h"

struct wire;

struct wire_settings {
    struct link_url url;
    struct link_url second_url; // tried where url cannot be reached or does not answer
    bool has_second;
    struct modem modem;      // where url.listen
    int response_timeout_ms; // 50 to 30000
    int pause_ms; // silence before each request, beyond the 3.5 characters of the standard
    bool echo;    // serial kinds: a two-wire adapter hears itself, each request comes back
    bool rs485;   // rtu: the kernel's driver switches the adapter between sending and listening
};

// Called for every frame sent and received, in the wire's thread; `bytes` is valid during the call
// only.
struct wire_trace {
    void (*frame)(void *context, bool sent, const uint8_t *bytes, size_t length);
    // A transaction ended, after so long with the silence before it. May be NULL.
    void (*done)(void *context, const struct request *request, const struct reply *reply,
                 int64_t busy_us);
    void *context;
};

// NULL when memory is short. Opens nothing yet. The clock must outlive the wire.
struct wire *wire_new(const struct wire_settings *settings, const struct clock *clock);
void wire_free(struct wire *wire);
void wire_set_trace(struct wire *wire, struct wire_trace trace);

// Silence that the meter asked next needs before a request; the longer of this and the link's
// holds.
void wire_set_pause(struct wire *wire, int pause_ms);
// From any thread: what the wire waits for now ends within 100 ms, and nothing is sent any more.
void wire_interrupt(struct wire *wire);

// Opens the device, connects (within the response time-out, to two addresses within two), or waits
// so long for a modem to dial in. 0 when it is open already; a TCP connection that the meter closed
// meanwhile is made anew.
int wire_open(struct wire *wire, struct err *err);
void wire_close(struct wire *wire);
bool wire_is_open(const struct wire *wire);
// Whether it is open over second_url.
bool wire_is_on_second(const struct wire *wire);

// False while a late reply to an earlier request on a serial line could be taken for the answer to
// this one: ask in another shape (more or fewer registers) instead. drivers/late.h says why.
bool wire_may_ask(struct wire *wire, const struct request *request);

// One transaction; the result is in reply->why. After a TCP error other than an exception reply the
// wire is closed. After a serial error the line must be silent for a response time-out before the
// next request, and a request that wire_may_ask refuses is not sent (timeout).
void wire_transact(struct wire *wire, const struct request *request, struct reply *reply);

// Wakes a meter that loses the first request after a rest: sends one, and waits for its reply for
// at most `wait_ms`. A reply to it that comes later is known by its shape: what is asked next needs
// another one (wire_may_ask). False when no reply came, or the wire is not open.
bool wire_wake(struct wire *wire, const struct request *request, int wait_ms);

// Serial kinds, for the scan: sends a request (NULL: nothing) after the line's silence and listens,
// for `listen_ms` from its end until bytes come, then until they end. All that came, before and
// after, is handed out unjudged: whose reply it is, its unit number tells; no value may be read
// from it. Returns the number of bytes, -1 when the line is gone or not open. *answer_ms: when the
// first byte came that is no echo, -1 where none did.
long wire_call(struct wire *wire, const struct request *request, int listen_ms, uint8_t *bytes,
               size_t size, int *answer_ms);

#endif
