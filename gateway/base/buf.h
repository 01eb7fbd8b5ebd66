// A growable byte buffer with a bound. A write beyond the bound, or without memory, marks the
// buffer as failed and leaves it as it was; later writes do nothing. So a builder writes a whole
// document and asks once.
#ifndef METERGATE_BASE_BUF_H
#define METERGATE_BASE_BUF_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct buf {
    char *data;    // always NUL-terminated once something was written; NULL before
    size_t length; // without the NUL
    size_t size;   // allocated
    size_t max;    // bound of `length`, set by buf_init
    bool failed;   // a write did not fit: the content is not the whole document
};

// Makes an empty buffer that never holds more than `max` bytes. No memory is taken yet.
void buf_init(struct buf *buf, size_t max);
// Frees the content; the buffer may be used again (same bound). NULL data is fine.
void buf_release(struct buf *buf);
// Empties the buffer and clears `failed`, keeping its memory for the next document.
void buf_clear(struct buf *buf);

void buf_add(struct buf *buf, const void *bytes, size_t length);
void buf_add_byte(struct buf *buf, uint8_t byte);
void buf_add_text(struct buf *buf, const char *text);
void buf_addf(struct buf *buf, const char *format, ...) __attribute__((format(printf, 2, 3)));

// Unsigned LEB128, and its zigzag form for signed numbers (small magnitudes in either sign stay
// short).
void buf_add_varint(struct buf *buf, uint64_t value);
void buf_add_zigzag(struct buf *buf, int64_t value);

// Reads what the functions above wrote. A cursor that runs past its end, or meets a varint of more
// than ten bytes, is marked failed and reads zeros from there on: check `failed` once, at the end.
struct cursor {
    const uint8_t *at;
    const uint8_t *end;
    bool failed;
};
struct cursor cursor_of(const void *bytes, size_t length);
uint8_t cursor_byte(struct cursor *cursor);
uint64_t cursor_varint(struct cursor *cursor);
int64_t cursor_zigzag(struct cursor *cursor);
// The next `length` bytes in place, or NULL (and failed) where fewer are left.
const uint8_t *cursor_bytes(struct cursor *cursor, size_t length);

#endif
