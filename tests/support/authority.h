// Certificates for tests, made in a moment: any name, any time, any signer.
#ifndef METERGATE_TESTS_SUPPORT_AUTHORITY_H
#define METERGATE_TESTS_SUPPORT_AUTHORITY_H

struct authority;

// Writes FOLDER/NAME.pem and returns the CA. Aborts when OpenSSL cannot.
struct authority *authority_new(const char *folder, const char *name);
void authority_free(struct authority *authority);

// Writes FOLDER/NAME.pem and FOLDER/NAME.key for `subject` ("DNS:localhost,IP:127.0.0.1"), valid
// from and to so many seconds from now. authority NULL: self-signed.
void authority_sign(struct authority *authority, const char *folder, const char *name,
                    const char *subject, long from_s, long to_s);
// The same with an RSA key of so many bits.
void authority_sign_rsa(struct authority *authority, const char *folder, const char *name,
                        const char *subject, int bits);

#endif
