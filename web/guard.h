// What a request must look like before anything is done with it. Pure.
#ifndef METERGATE_WEB_GUARD_H
#define METERGATE_WEB_GUARD_H

#include <stdbool.h>

#define GUARD_COOKIE "__Host-metergate"
#define GUARD_TOKEN_SIZE 33 // 32 hex digits and NUL

// A host name, an IPv4 address or an IPv6 address in brackets, with or without a port.
bool guard_host(const char *host);
// Whether an Origin header names this very page: "https://" and the Host header.
bool guard_origin(const char *origin, const char *host);
// The session's token of a Cookie header; false when there is none, or more than one.
bool guard_cookie(const char *cookie, char token[static GUARD_TOKEN_SIZE]);
// A command's name: what may stand after /api/.
bool guard_command(const char *name);

#define GUARD_BEARER_SIZE 129 // at most 128 characters and NUL
// The token of an Authorization header "Bearer TOKEN" (RFC 6750, 2.1).
bool guard_bearer(const char *authorization, char token[static GUARD_BEARER_SIZE]);

#endif
