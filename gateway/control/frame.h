// Frames of the control socket: a 4-byte big-endian length, then that many bytes of JSON.
#ifndef METERGATE_CONTROL_FRAME_H
#define METERGATE_CONTROL_FRAME_H

#include "base/buf.h"

#define FRAME_HEAD 4 // bytes of the length

// Adds a frame of `length` bytes (at most `UINT32_MAX`).
void frame_add(struct buf *out, const char *bytes, size_t length);

// The first frame in [bytes, bytes + have): 1 with *text and *length (in place, not terminated), 0
// when more bytes are needed, -1 when it is empty or longer than `max`.
int frame_next(const char *bytes, size_t have, size_t max, const char **text, size_t *length);

// Takes the first `length` bytes out of a buffer.
void frame_drop(struct buf *buf, size_t length);

#endif
