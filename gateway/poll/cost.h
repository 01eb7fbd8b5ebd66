// What a transaction costs a link in time. Pure.
//
// On a serial line: the silence before the request (3.5 characters, 1.75 ms above 19200 Bd: Modbus
// over serial line V1.02, 2.5.1.1), the request, the same silence in which the meter sees its end,
// what the meter takes to answer, the reply. Over TCP: a round trip and the bytes.
#ifndef METERGATE_POLL_COST_H
#define METERGATE_POLL_COST_H

#include "drivers/frame.h"
#include "drivers/link_url.h"

// What a meter typically takes between the silence after a request and its reply: electricity
// meters take less, battery-powered correctors more. It weighs one request against registers read
// over; a plan stays the best one for a wide range of it.
#define COST_TURNAROUND_MS 20
// Network and meter together, and a byte at some 10 Mbit/s: over TCP requests cost, bytes do not.
#define COST_ROUND_TRIP_MS 20
#define COST_TCP_BYTE_NS 1000

struct link_cost {
    int64_t request_ns; // of every transaction, besides its bytes
    int64_t byte_ns;    // of each byte
    int frame_bytes;    // of request and reply together, without data
};

// `pause_ms`: the longer of the link's and the meter's own. Behind a serial server the speed is
// the URL's, 9600 Bd where it says none.
void link_cost_of(const struct link_url *url, int pause_ms, struct link_cost *out);

// Time of one transaction, from the silence before to the last byte of the reply.
int64_t cost_request_ns(const struct link_cost *cost, const struct request *request);

#endif
