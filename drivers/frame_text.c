#include "drivers/frame_text.h"

#include <stdio.h>

#define EXCEPTION_BIT 0x80
#define MBAP_SIZE 7

static uint16_t word_of(const uint8_t *bytes)
{
    return (uint16_t)(bytes[0] << 8 | bytes[1]);
}

// Unit and what follows it, without head and check sum; NULL for a damaged frame.
static const uint8_t *body_of(bool tcp, const uint8_t *bytes, size_t length, size_t *size)
{
    if (tcp) {
        bool whole = length > MBAP_SIZE && word_of(bytes + 2) == 0 &&
                     word_of(bytes + 4) == length - (MBAP_SIZE - 1);
        *size = length - (MBAP_SIZE - 1);
        return whole ? bytes + MBAP_SIZE - 1 : NULL;
    }
    if (length < 4)
        return NULL;
    *size = length - 2;
    uint16_t crc = (uint16_t)(bytes[length - 2] | bytes[length - 1] << 8);
    return frame_crc16(bytes, length - 2) == crc ? bytes : NULL;
}

void frame_mean(bool tcp, bool sent, const uint8_t *bytes, size_t length, struct frame_meaning *out)
{
    size_t size = 0;
    const uint8_t *body = body_of(tcp, bytes, length, &size);
    *out = (struct frame_meaning){.kind = FRAME_DAMAGED};
    if (body == NULL)
        return;
    out->unit = body[0];
    out->function = body[1] & (EXCEPTION_BIT - 1);
    out->kind = FRAME_ODD;
    if (sent && size == 6) {
        out->kind = FRAME_REQUEST;
        out->first = word_of(body + 2);
        out->count = word_of(body + 4);
    } else if (!sent && (body[1] & EXCEPTION_BIT) != 0 && size == 3) {
        out->kind = FRAME_EXCEPTION;
        out->exception = body[2];
    } else if (!sent && (body[1] & EXCEPTION_BIT) == 0 && size >= 3 && size == 3u + body[2]) {
        out->kind = FRAME_REPLY;
        out->data_size = body[2];
    }
}

const char *frame_kind_text(enum frame_kind kind)
{
    static const char *const texts[] = {"request", "reply", "exception", "damaged", "odd"};
    return texts[kind];
}

void frame_meaning_text(const struct frame_meaning *meaning, enum language language,
                        struct buf *out)
{
    char key[32];
    char unit[8];
    char function[8];
    char first[8];
    char last[8];
    char size[8];
    char code[WHY_TEXT_MAX];
    char why_key[WHY_TEXT_MAX + 8];
    (void)snprintf(key, sizeof key, "frame.%s", frame_kind_text(meaning->kind));
    (void)snprintf(unit, sizeof unit, "%d", meaning->unit);
    (void)snprintf(function, sizeof function, "%d", meaning->function);
    (void)snprintf(first, sizeof first, "%d", meaning->first);
    (void)snprintf(last, sizeof last, "%d", meaning->first + meaning->count - 1);
    (void)snprintf(size, sizeof size, "%d", meaning->data_size);
    (void)snprintf(why_key, sizeof why_key, "why.%s",
                   why_text((uint16_t)(WHY_EXCEPTION + meaning->exception), code));
    const char *why = catalogue_text(why_key, language);
    const struct slot slots[] = {
        {"unit", unit}, {"function", function}, {"first", first},
        {"last", last}, {"size", size},         {"why", why != NULL ? why : code},
    };
    catalogue_fill(out, key, language, slots, sizeof slots / sizeof slots[0]);
}
