#include "base/buf.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define FIRST_SIZE 64
#define VARINT_BYTES_MAX 10

void buf_init(struct buf *buf, size_t max)
{
    *buf = (struct buf){.max = max};
}

void buf_release(struct buf *buf)
{
    free(buf->data);
    buf_init(buf, buf->max);
}

void buf_clear(struct buf *buf)
{
    buf->length = 0;
    buf->failed = false;
    if (buf->data != NULL)
        buf->data[0] = '\0';
}

// Makes room for `length` more bytes and the NUL.
static bool reserve(struct buf *buf, size_t length)
{
    if (buf->failed)
        return false;
    if (length > buf->max - buf->length || length >= SIZE_MAX - buf->length) {
        buf->failed = true;
        return false;
    }
    size_t need = buf->length + length + 1;
    if (need <= buf->size)
        return true;
    size_t size = buf->size > SIZE_MAX / 2 ? need : buf->size * 2;
    size = size < FIRST_SIZE ? FIRST_SIZE : size;
    if (size - 1 > buf->max)
        size = buf->max + 1;
    size = size < need ? need : size;
    char *data = realloc(buf->data, size);
    if (data == NULL) {
        buf->failed = true;
        return false;
    }
    buf->data = data;
    buf->size = size;
    return true;
}

void buf_add(struct buf *buf, const void *bytes, size_t length)
{
    if (!reserve(buf, length))
        return;
    if (length > 0)
        memcpy(buf->data + buf->length, bytes, length);
    buf->length += length;
    buf->data[buf->length] = '\0';
}

void buf_add_byte(struct buf *buf, uint8_t byte)
{
    buf_add(buf, &byte, 1);
}

void buf_add_text(struct buf *buf, const char *text)
{
    buf_add(buf, text, strlen(text));
}

void buf_addf(struct buf *buf, const char *format, ...)
{
    va_list arguments;
    va_start(arguments, format);
    va_list again;
    va_copy(again, arguments);
    int length = vsnprintf(NULL, 0, format, arguments);
    if (length < 0) {
        buf->failed = true;
    } else if (reserve(buf, (size_t)length)) {
        (void)vsnprintf(buf->data + buf->length, (size_t)length + 1, format, again);
        buf->length += (size_t)length;
    }
    va_end(again);
    va_end(arguments);
}

void buf_add_varint(struct buf *buf, uint64_t value)
{
    uint8_t bytes[VARINT_BYTES_MAX];
    size_t length = 0;
    while (value > 0x7F) {
        bytes[length++] = (uint8_t)(0x80U | (value & 0x7FU));
        value >>= 7;
    }
    bytes[length++] = (uint8_t)value;
    buf_add(buf, bytes, length); // in one piece: a failed write adds no part of a number
}

void buf_add_zigzag(struct buf *buf, int64_t value)
{
    uint64_t twice = (uint64_t)value << 1;
    buf_add_varint(buf, value < 0 ? ~twice : twice);
}

struct cursor cursor_of(const void *bytes, size_t length)
{
    const uint8_t *at = bytes;
    return (struct cursor){.at = at, .end = length > 0 ? at + length : at};
}

uint8_t cursor_byte(struct cursor *cursor)
{
    if (cursor->failed || cursor->at == cursor->end) {
        cursor->failed = true;
        return 0;
    }
    return *cursor->at++;
}

uint64_t cursor_varint(struct cursor *cursor)
{
    uint64_t value = 0;
    for (unsigned shift = 0; shift < 7 * VARINT_BYTES_MAX; shift += 7) {
        uint8_t byte = cursor_byte(cursor);
        if (cursor->failed || (shift == 63 && byte > 1))
            break; // past the end, an eleventh byte to come, or more than 64 bits
        value |= (uint64_t)(byte & 0x7FU) << shift;
        if (byte < 0x80)
            return value;
    }
    cursor->failed = true;
    return 0;
}

int64_t cursor_zigzag(struct cursor *cursor)
{
    uint64_t value = cursor_varint(cursor);
    int64_t half = (int64_t)(value >> 1);
    return (value & 1) != 0 ? -half - 1 : half;
}

const uint8_t *cursor_bytes(struct cursor *cursor, size_t length)
{
    if (cursor->failed || length > (size_t)(cursor->end - cursor->at)) {
        cursor->failed = true;
        return NULL;
    }
    const uint8_t *bytes = cursor->at;
    if (length > 0)
        cursor->at += length;
    return bytes;
}
