// One line to a client: bytes that come in, replies that wait, and when each byte may leave. Pure:
// time is handed in, writing is the caller's.
//
// On a paced line a request takes the time of its own bytes, then comes the silence of 3.5
// characters that ends a frame, then the reply leaves byte by byte at the line's speed. A dripping
// reply takes no line: its bytes fall between and into the others.
#ifndef METERGATE_DRIVERS_SIMULATOR_LINE_H
#define METERGATE_DRIVERS_SIMULATOR_LINE_H

#include "drivers/simulator/answer.h"

#define LINE_IN_MAX (2 * FRAME_MAX)
#define LINE_REPLIES_MAX 32                    // that wait; one more is dropped
#define LINE_STREAM_PAUSE_NS INT64_C(20000000) // without a baud rate: a frame may pause so long

// Speed of the wire, shared by the lines of one link: it carries one frame at a time.
struct wire_speed {
    int64_t char_ns;   // 0: unlimited
    int64_t silent_ns; // 3.5 characters, at least 1.75 ms above 19200 baud
    int64_t free_ns;   // the wire is taken until then
};

struct wire_speed wire_speed_make(int baud, int bits);

struct waiting {
    struct waiting *next;
    int64_t ready_ns; // not before
    int64_t begin_ns; // 0: not begun
    int64_t byte_ns;
    size_t sent;
    int meter; // for the log
    struct answer answer;
};

struct line {
    enum link_kind kind;
    struct wire_speed *speed;
    uint8_t in[LINE_IN_MAX];
    size_t in_length;
    int64_t in_first_ns; // when the first byte of `in` came
    int64_t in_last_ns;
    struct waiting *waiting;
    int waiting_count;
};

void line_init(struct line *line, enum link_kind kind, struct wire_speed *speed);
void line_release(struct line *line);

// Where the next bytes go, and how many fit.
uint8_t *line_space(const struct line *line, size_t *size);
void line_came(struct line *line, size_t length, int64_t now_ns);

// The next request in what came; `ask` points into the line until line_used. ASK_GARBAGE: a frame
// that is none; the caller uses it up the same way.
enum ask_found line_ask(struct line *line, int64_t now_ns, struct ask *ask);
void line_used(struct line *line, const struct ask *ask, int64_t now_ns);

// Queues a reply to a request that ended at line_used. -1 when too many wait, the meter still drips
// the one before, or memory is short.
int line_reply(struct line *line, const struct answer *answer, int meter, int64_t now_ns);

// The reply whose bytes may leave now, and how many of them; NULL when none.
struct waiting *line_ready(struct line *line, int64_t now_ns, size_t *length);
// So many of them leave. True when the reply is complete; line_drop frees it.
bool line_sent(struct waiting *waiting, size_t length);
void line_drop(struct line *line, struct waiting *waiting);

// When to look again; DUE_NEVER when only the client can change something.
int64_t line_due_ns(const struct line *line, int64_t now_ns);

#endif
