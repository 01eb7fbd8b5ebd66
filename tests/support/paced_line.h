// A serial line with meters on it, exact to microseconds: a pseudo-terminal whose far side lets
// each byte of a reply appear when its last bit would have come, and notes when frames begin and
// end. Its thread runs under SCHED_FIFO, so that load on the machine does not make the line slow.
// It shares no code with the product but the check sum: it is what the product is measured by.
//
// Answers every well-formed request of functions 3 and 4, from any unit: register `a` holds `a`.
#ifndef METERGATE_TESTS_SUPPORT_PACED_LINE_H
#define METERGATE_TESTS_SUPPORT_PACED_LINE_H

#include <stdbool.h>
#include <stdint.h>

struct paced_settings {
    int baud;
    int bits;              // of a character: 10 for 8N1
    int64_t turnaround_ns; // from the end of a request to the beginning of its reply
};

// One request, as the line saw it.
struct paced_exchange {
    int64_t begin_ns;   // its first bit, CLOCK_MONOTONIC
    int64_t silence_ns; // before it, since the last bit of the reply before; -1 for the first
    int64_t limit_ns;   // the least from begin to begin of the next: bits, turnaround, silence
    int64_t late_ns;    // by how much the reply's last byte came later than the line's bit time
};

#define PACED_EXCHANGES_MAX 20000 // later ones are answered, not noted

struct paced_line;

// The silence that the standard asks for between frames (Modbus over serial line V1.02, 2.5.1.1):
// 3.5 characters, above 19200 baud 1.75 ms.
int64_t paced_silence_ns(int baud, int bits);

// NULL when the thread may not run under SCHED_FIFO (or there is no pseudo-terminal): errno says
// why.
struct paced_line *paced_start(const struct paced_settings *settings);
// Ends the thread; what it noted can be read until paced_free.
void paced_stop(struct paced_line *line);
void paced_free(struct paced_line *line);

const char *paced_device(const struct paced_line *line);
// The client tells just before it writes to the device: then the first bit goes on the wire.
// Without it the line takes the instant at which it sees the request, later by the way through the
// kernel.
void paced_mark(struct paced_line *line);
// Whether a descriptor is this line's device.
bool paced_owns(const struct paced_line *line, int fd);

// After paced_stop.
int paced_exchanges(const struct paced_line *line, const struct paced_exchange **list);
// Requests that the line could not read (damaged, or begun while a reply was on the wire).
int paced_strays(const struct paced_line *line);

#endif
