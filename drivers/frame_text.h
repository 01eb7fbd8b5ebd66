// What a frame says, for a person who looks at the bytes. Pure.
#ifndef METERGATE_DRIVERS_FRAME_TEXT_H
#define METERGATE_DRIVERS_FRAME_TEXT_H

#include "base/catalogue.h"
#include "drivers/frame.h"

enum frame_kind {
    FRAME_REQUEST,
    FRAME_REPLY,
    FRAME_EXCEPTION,
    FRAME_DAMAGED, // its check sum (RTU) or its head (TCP) is wrong
    FRAME_ODD,     // whole, but no reply to a read request
};

struct frame_meaning {
    enum frame_kind kind;
    uint8_t unit, function;
    uint16_t first, count; // of a request
    uint8_t data_size;     // of a reply
    uint8_t exception;
};

// Reads a frame of an RTU line, or of Modbus TCP; `sent`: by us.
void frame_mean(bool tcp, bool sent, const uint8_t *bytes, size_t length,
                struct frame_meaning *out);
const char *frame_kind_text(enum frame_kind kind); // "request" …
// One sentence from the catalogue.
void frame_meaning_text(const struct frame_meaning *meaning, enum language language,
                        struct buf *out);

#endif
