// Where a link is: "tcp://IP:PORT", "rtu:///dev/ttyS0?baud=9600&parity=N&stop=1",
// "rtu-over-tcp://IP:PORT"; "tcp-listen://IP:PORT" and "rtu-over-tcp-listen://IP:PORT" where the
// meter's modem dials in to that address of this machine (0.0.0.0 or [::]: to any of them). IPv6 in
// brackets. No host names: a name server must not be able to stop a poll.
#ifndef METERGATE_DRIVERS_LINK_URL_H
#define METERGATE_DRIVERS_LINK_URL_H

#include "base/err.h"

#include <stdbool.h>

enum link_kind { LINK_TCP, LINK_RTU, LINK_RTU_OVER_TCP };

struct link_url {
    enum link_kind kind;
    bool listen;      // the other side connects
    char address[64]; // IP literal, without brackets
    int port;         // 1 to 65535; 502 where none is given
    char device[128]; // serial device, absolute path
    int baud;         // 300 to 115200; 9600 where none is given
    char parity;      // 'N', 'E', 'O'
    int stop;         // 1 or 2
};

// Bits of a character on the line: start, 8 data, parity where there is one, stop. 10
// where the URL does not say.
int link_url_character_bits(const struct link_url *url);

int link_url_parse(const char *text, struct link_url *out, struct err *err);

#endif
