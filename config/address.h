// Addresses in the configuration: where the office is, where the page listens.
#ifndef METERGATE_CONFIG_ADDRESS_H
#define METERGATE_CONFIG_ADDRESS_H

#include "base/err.h"

#include <stdbool.h>

// "mqtts://HOST:PORT", or "mqtt://HOST:PORT" with a HOST that never leaves this machine.
int office_url_check(const char *text, struct err *err);
// "IP:PORT", IPv6 in brackets.
int listen_check(const char *text, struct err *err);

#endif
