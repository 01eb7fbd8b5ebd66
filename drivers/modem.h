// A meter's modem that dials in: the gateway listens, the modem connects, and may say who it is and
// that it is still there. Pure.
#ifndef METERGATE_DRIVERS_MODEM_H
#define METERGATE_DRIVERS_MODEM_H

#include "base/err.h"

#include <stddef.h>
#include <stdint.h>

#define MODEM_BYTES_MAX 64

// What a modem sends of itself: plain text, or "hex:" and pairs of hexadecimal digits.
struct modem_bytes {
    uint8_t length; // 0: nothing
    uint8_t bytes[MODEM_BYTES_MAX];
};

struct modem {
    char address[64];             // IP that it calls from; "": any
    struct modem_bytes hello;     // its first bytes after it has connected
    struct modem_bytes heartbeat; // what it sends between replies to keep the connection
};

// "" gives no bytes. -1 with a message for more than MODEM_BYTES_MAX bytes, or bad digits.
int modem_bytes_parse(const char *text, struct modem_bytes *out, struct err *err);

#endif
