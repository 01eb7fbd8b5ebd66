// The page's certificate and its TLS settings.
#ifndef METERGATE_WEB_TLS_H
#define METERGATE_WEB_TLS_H

#include "base/err.h"

#include <openssl/ssl.h>

// Years would be simpler, but some browsers refuse any certificate of 825 days or more, also one
// that was trusted by hand. It is made anew, with the same key, at a start when little is left.
#define TLS_DAYS 824
#define TLS_DAYS_LEFT_MIN 60

struct tls_files {
    char certificate[512], key[512];
};

// Where a certificate made here is kept, below DIR/web; makes it when there is none, or when it is
// nearly over. The names in it are this machine's: host name and addresses.
int tls_own_files(const char *directory, struct tls_files *files, struct err *err);

// Settings of the server: TLS 1.2 and 1.3, authenticated ciphers, no renegotiation, no compression,
// no tickets.
SSL_CTX *tls_server(const struct tls_files *files, struct err *err);

// SHA-256 of the certificate, as browsers show it ("AB:CD:…").
#define TLS_FINGERPRINT_SIZE 96
void tls_fingerprint(SSL_CTX *context, char text[static TLS_FINGERPRINT_SIZE]);

#endif
