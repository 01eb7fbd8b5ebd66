#include "control/frame.h"

#include <assert.h>
#include <string.h>

void frame_add(struct buf *out, const char *bytes, size_t length)
{
    assert(length > 0 && length <= UINT32_MAX);
    const unsigned char head[FRAME_HEAD] = {(unsigned char)(length >> 24),
                                            (unsigned char)(length >> 16),
                                            (unsigned char)(length >> 8), (unsigned char)length};
    // Both or neither: half a frame would put the stream out of step.
    if (out->failed || out->max - out->length < length + sizeof head) {
        out->failed = true;
        return;
    }
    buf_add(out, head, sizeof head);
    buf_add(out, bytes, length);
}

int frame_next(const char *bytes, size_t have, size_t max, const char **text, size_t *length)
{
    if (have < FRAME_HEAD)
        return 0;
    const unsigned char *head = (const unsigned char *)bytes;
    size_t said = (size_t)head[0] << 24 | (size_t)head[1] << 16 | (size_t)head[2] << 8 | head[3];
    if (said == 0 || said > max)
        return -1;
    if (have - FRAME_HEAD < said)
        return 0;
    *text = bytes + FRAME_HEAD;
    *length = said;
    return 1;
}

void frame_drop(struct buf *buf, size_t length)
{
    assert(length <= buf->length);
    buf->length -= length;
    if (buf->data != NULL) {
        memmove(buf->data, buf->data + length, buf->length);
        buf->data[buf->length] = '\0';
    }
}
