// TLS towards head office's broker: the one place that builds its context, checks its files, and
// finds out why a connection fails.
#ifndef METERGATE_OFFICE_TLS_H
#define METERGATE_OFFICE_TLS_H

#include "base/err.h"
#include "config/config.h"

// Own cipher list beside TLS 1.3's: forward secrecy and AEAD only. Keys and signatures of 112 bits
// of security or more (RSA of 2048 bits, SHA-256): paho asks for level 1 before it sets this list.
#define TLS_CIPHERS "ECDHE+AESGCM:ECDHE+CHACHA20:@SECLEVEL=2"

struct broker_url {
    bool tls;
    char host[CONFIG_PATH_MAX]; // without brackets
    bool ipv6;
    int port;
};
// mqtts://HOST[:PORT] or, to loopback only, mqtt://HOST[:PORT].
int broker_url_parse(const char *text, struct broker_url *out, struct err *err);

#define PASSWORD_MAX 1024
// Everything that can be checked without the network: URL, CA, certificate and key and whether they
// fit, mode of the password file. Fills `password` ("" without).
int tls_check_files(const struct config_office *office, char password[static PASSWORD_MAX],
                    struct err *err);

struct ssl_ctx_st;
// TLS 1.2 or newer, the office's CA and no other, host and chain verified, our certificate. NULL
// with a message that names the file at fault. Freed with SSL_CTX_free.
struct ssl_ctx_st *tls_context(const struct config_office *office, struct err *err);

// Tries name, port, TLS handshake and certificates on a connection of its own, at
// most TLS_PROBE_MS after the name is resolved. 0: nothing wrong was found up to MQTT. -1: the
// message says what a technician should look at. `reached`: something accepts connections there.
#define TLS_PROBE_MS 5000
int tls_probe(const struct config_office *office, bool *reached, struct err *err);

#endif
