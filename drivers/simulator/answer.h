// From a request's bytes to a reply's bytes: framing, the Modbus functions that read, and the
// faults of replies. Pure but for the meter's own state.
//
// Supports functions 1 to 4. Every other function gets exception 1, so nothing can be written.
// Source: Modbus application protocol V1.1b3, 6.1 to 6.4.
#ifndef METERGATE_DRIVERS_SIMULATOR_ANSWER_H
#define METERGATE_DRIVERS_SIMULATOR_ANSWER_H

#include "drivers/frame.h"
#include "drivers/link_url.h"
#include "drivers/simulator/sim_meter.h"

#define ANSWER_MAX (2 * FRAME_MAX + 4 * FAULT_BYTES_MAX) // echo, reply, noise, trailing bytes

struct ask {
    enum link_kind kind;
    uint16_t transaction; // TCP
    uint8_t unit;
    const uint8_t *pdu; // function and data
    size_t pdu_length;
    const uint8_t *frame; // the whole
    size_t length;
};

enum ask_found {
    ASK_MORE,    // not whole yet
    ASK_FRAME,   // *out is a request
    ASK_GARBAGE, // no request can begin with these bytes
};

// Looks for a request at the beginning of the bytes. `silent`: the line has been silent for longer
// than a frame may pause, so what is there is all of it. Sets out->length to the bytes used up,
// also for garbage.
enum ask_found ask_take(enum link_kind kind, const uint8_t *bytes, size_t length, bool silent,
                        struct ask *out);

struct answer {
    bool none;       // nothing is sent
    bool disconnect; // TCP: the connection is closed
    int delay_ms;    // beyond the time of the wire
    int byte_ms;     // > 0: one byte each
    size_t length;
    uint8_t bytes[ANSWER_MAX];
    char fault[96]; // names of the faults in it, joined by "+"; "" for an honest reply
};

void answer_make(struct sim_meter *meter, const struct ask *ask, const struct sim_time *now,
                 struct answer *answer);
// No meter has that unit: exception 11 over TCP, silence on a bus.
void answer_absent(const struct ask *ask, struct answer *answer);

#endif
