#include "drivers/simulator/line.h"

#include "drivers/simulator/due_heap.h"

#include <stdlib.h>
#include <string.h>

#define SECOND_NS INT64_C(1000000000)
#define MS_NS INT64_C(1000000)
// Above 19200 baud the silence is fixed (Modbus over serial line V1.02, 2.5.1.1).
#define SILENCE_FIXED_BAUD 19200
#define SILENCE_FIXED_NS INT64_C(1750000)
#define WAKE_NS MS_NS // bytes in between leave in steps of this, the last one to the moment

struct wire_speed wire_speed_make(int baud, int bits)
{
    if (baud == 0)
        return (struct wire_speed){0};
    int64_t char_ns = bits * SECOND_NS / baud;
    int64_t silent_ns = baud > SILENCE_FIXED_BAUD ? SILENCE_FIXED_NS : 7 * char_ns / 2;
    return (struct wire_speed){.char_ns = char_ns, .silent_ns = silent_ns};
}

void line_init(struct line *line, enum link_kind kind, struct wire_speed *speed)
{
    *line = (struct line){.kind = kind, .speed = speed};
}

void line_release(struct line *line)
{
    while (line->waiting != NULL)
        line_drop(line, line->waiting);
}

// ---- in -----------------------------------------------------------------------------------------

uint8_t *line_space(const struct line *line, size_t *size)
{
    *size = sizeof line->in - line->in_length;
    return (uint8_t *)line->in + line->in_length;
}

void line_came(struct line *line, size_t length, int64_t now_ns)
{
    if (line->in_length == 0)
        line->in_first_ns = now_ns;
    line->in_last_ns = now_ns;
    line->in_length += length;
}

// When what came must be all: a pseudo-terminal takes a whole frame at once, so its bytes are still
// on the wire for their own time.
static int64_t silence_ns(const struct line *line)
{
    int64_t wire_ns = (int64_t)line->in_length * line->speed->char_ns;
    int64_t end_ns = line->in_first_ns + wire_ns;
    end_ns = line->in_last_ns > end_ns ? line->in_last_ns : end_ns;
    return end_ns + line->speed->silent_ns + LINE_STREAM_PAUSE_NS;
}

enum ask_found line_ask(struct line *line, int64_t now_ns, struct ask *ask)
{
    if (line->in_length == 0)
        return ASK_MORE;
    bool full = line->in_length == sizeof line->in;
    bool silent = line->kind != LINK_TCP && (full || now_ns >= silence_ns(line));
    return ask_take(line->kind, line->in, line->in_length, silent, ask);
}

void line_used(struct line *line, const struct ask *ask, int64_t now_ns)
{
    struct wire_speed *speed = line->speed;
    int64_t begin_ns = line->in_first_ns > speed->free_ns ? line->in_first_ns : speed->free_ns;
    speed->free_ns = begin_ns + (int64_t)ask->length * speed->char_ns;
    line->in_length -= ask->length;
    memmove(line->in, line->in + ask->length, line->in_length);
    line->in_first_ns = now_ns;
}

// ---- out ----------------------------------------------------------------------------------------

// A meter that drips does not hold a serial bus: others answer between its bytes, which fall where
// they fall. Over TCP one endpoint sends one frame after the other.
static bool drips(const struct line *line, const struct waiting *waiting)
{
    return line->kind != LINK_TCP && waiting->byte_ns > line->speed->char_ns;
}

// It hears no request before its reply has left.
static bool is_dripping(const struct line *line, int meter)
{
    for (const struct waiting *at = line->waiting; at != NULL; at = at->next)
        if (at->meter == meter && drips(line, at))
            return true;
    return false;
}

int line_reply(struct line *line, const struct answer *answer, int meter, int64_t now_ns)
{
    bool room = line->waiting_count < LINE_REPLIES_MAX && !is_dripping(line, meter);
    struct waiting *waiting = room ? calloc(1, sizeof *waiting) : NULL;
    if (waiting == NULL)
        return -1;
    const struct wire_speed *speed = line->speed;
    int64_t asked_ns = speed->free_ns > now_ns ? speed->free_ns : now_ns;
    int64_t drip_ns = answer->byte_ms * MS_NS;
    waiting->ready_ns = asked_ns + speed->silent_ns + answer->delay_ms * MS_NS;
    waiting->byte_ns = drip_ns > speed->char_ns ? drip_ns : speed->char_ns;
    waiting->meter = meter;
    waiting->answer = *answer;
    struct waiting **end = &line->waiting;
    while (*end != NULL)
        end = &(*end)->next;
    *end = waiting;
    line->waiting_count++;
    return 0;
}

// When it has something to send: its turn, or its next byte.
static int64_t wants_ns(const struct waiting *waiting)
{
    if (waiting->begin_ns == 0)
        return waiting->ready_ns;
    return waiting->begin_ns + (int64_t)(waiting->sent + 1) * waiting->byte_ns;
}

// The reply that has something to send first: one that drips, the one on the wire, or where there
// is none on the wire, one that may begin.
static struct waiting *next_reply(const struct line *line)
{
    struct waiting *next = NULL;
    struct waiting *on_wire = NULL;
    for (struct waiting *at = line->waiting; at != NULL && on_wire == NULL; at = at->next)
        on_wire = at->begin_ns != 0 && !drips(line, at) ? at : NULL;
    for (struct waiting *at = line->waiting; at != NULL; at = at->next) {
        bool may = on_wire == NULL || at == on_wire || drips(line, at);
        if (may && (next == NULL || wants_ns(at) < wants_ns(next)))
            next = at;
    }
    return next;
}

static void begin(struct line *line, struct waiting *waiting)
{
    struct wire_speed *speed = line->speed;
    waiting->begin_ns = waiting->ready_ns;
    if (speed->char_ns > 0 && !drips(line, waiting)) {
        int64_t silent_ns = speed->free_ns + speed->silent_ns; // between any two frames
        waiting->begin_ns = silent_ns > waiting->ready_ns ? silent_ns : waiting->ready_ns;
        speed->free_ns = waiting->begin_ns + (int64_t)waiting->answer.length * waiting->byte_ns;
    }
}

struct waiting *line_ready(struct line *line, int64_t now_ns, size_t *length)
{
    struct waiting *waiting = next_reply(line);
    if (waiting == NULL || waiting->ready_ns > now_ns)
        return NULL;
    if (waiting->begin_ns == 0)
        begin(line, waiting);
    size_t due = waiting->answer.length;
    if (waiting->byte_ns > 0) {
        int64_t bytes =
            now_ns > waiting->begin_ns ? (now_ns - waiting->begin_ns) / waiting->byte_ns : 0;
        due = bytes < (int64_t)due ? (size_t)bytes : due;
    }
    *length = due - waiting->sent;
    return due > waiting->sent ? waiting : NULL;
}

bool line_sent(struct waiting *waiting, size_t length)
{
    waiting->sent += length;
    return waiting->sent == waiting->answer.length;
}

void line_drop(struct line *line, struct waiting *waiting)
{
    struct waiting **at = &line->waiting;
    while (*at != waiting)
        at = &(*at)->next;
    *at = waiting->next;
    line->waiting_count--;
    free(waiting);
}

static int64_t reply_due_ns(const struct waiting *waiting, int64_t now_ns)
{
    if (waiting->begin_ns == 0)
        return waiting->ready_ns;
    int64_t next_ns = waiting->begin_ns + (int64_t)(waiting->sent + 1) * waiting->byte_ns;
    int64_t last_ns = waiting->begin_ns + (int64_t)waiting->answer.length * waiting->byte_ns;
    next_ns = next_ns > now_ns + WAKE_NS ? next_ns : now_ns + WAKE_NS;
    return next_ns < last_ns ? next_ns : last_ns;
}

int64_t line_due_ns(const struct line *line, int64_t now_ns)
{
    int64_t due_ns = DUE_NEVER;
    const struct waiting *waiting = next_reply(line);
    if (waiting != NULL)
        due_ns = reply_due_ns(waiting, now_ns);
    if (line->in_length > 0 && line->kind != LINK_TCP) {
        int64_t silent_ns = silence_ns(line);
        due_ns = silent_ns < due_ns ? silent_ns : due_ns;
    }
    return due_ns;
}
