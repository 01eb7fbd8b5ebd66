#include "office/tls.h"

#include "base/file.h"

#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <openssl/err.h>
#include <openssl/ssl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define PORT_TLS 8883
#define PORT_PLAIN 1883
#define PORT_MAX 65535

static int parse_port(const char *text, int *port)
{
    char *end;
    errno = 0;
    long value = strtol(text, &end, 10);
    if (text[0] < '0' || text[0] > '9' || *end != '\0' || errno != 0 || value < 1 ||
        value > PORT_MAX)
        return -1;
    *port = (int)value;
    return 0;
}

static bool is_loopback(const struct broker_url *url)
{
    struct in_addr ipv4;
    if (inet_pton(AF_INET, url->host, &ipv4) == 1)
        return ntohl(ipv4.s_addr) >> 24 == 127;
    return strcmp(url->host, "localhost") == 0 || strcmp(url->host, "::1") == 0;
}

// HOST, HOST:PORT, [IPv6] or [IPv6]:PORT.
static int parse_authority(const char *text, struct broker_url *url)
{
    url->ipv6 = text[0] == '[';
    const char *host = text + (url->ipv6 ? 1 : 0);
    size_t length = strcspn(host, url->ipv6 ? "]" : ":");
    if (length == 0 || length >= sizeof url->host || strpbrk(text, "/ @?#"))
        return -1;
    memcpy(url->host, host, length);
    url->host[length] = '\0';
    const char *rest = host + length;
    if (url->ipv6 && *rest++ != ']')
        return -1;
    url->port = url->tls ? PORT_TLS : PORT_PLAIN;
    if (*rest == '\0')
        return 0;
    return *rest == ':' ? parse_port(rest + 1, &url->port) : -1;
}

int broker_url_parse(const char *text, struct broker_url *out, struct err *err)
{
    struct broker_url url = {.tls = strncmp(text, "mqtts://", 8) == 0};
    bool plain = strncmp(text, "mqtt://", 7) == 0;
    if ((!url.tls && !plain) || parse_authority(text + (plain ? 7 : 8), &url) != 0)
        return err_set(err, "office.url: '%s' is not mqtts://HOST:PORT", text);
    if (plain && !is_loopback(&url))
        return err_set(err,
                       "office.url: mqtt:// sends everything in the clear and is allowed to this "
                       "machine only; use mqtts://%s:%d",
                       url.host, PORT_TLS);
    *out = url;
    return 0;
}

// The newest reason in OpenSSL's queue, for people.
static const char *openssl_reason(void)
{
    const char *reason = ERR_reason_error_string(ERR_peek_last_error());
    return reason ? reason : "it cannot be read";
}

static int no_password(char *text, int size, int writing, void *context)
{
    (void)text;
    (void)size;
    (void)writing;
    (void)context;
    return 0; // never ask on a terminal: a key with a pass phrase is an error
}

static int check_readable(const char *key, const char *path, struct err *err)
{
    if (access(path, R_OK) != 0)
        return err_set(err, "office.%s: %s: %s", key, path, strerror(errno));
    return 0;
}

static int load_identity(SSL_CTX *context, const struct config_office *office, struct err *err)
{
    if (office->certificate[0] == '\0' && office->key[0] == '\0')
        return 0;
    const char *key = office->key[0] != '\0' ? office->key : office->certificate;
    if (office->certificate[0] == '\0')
        return err_set(err, "office.key is set, but office.certificate is not");
    if (check_readable("certificate", office->certificate, err) != 0 ||
        check_readable("key", key, err) != 0)
        return -1;
    if (SSL_CTX_use_certificate_chain_file(context, office->certificate) != 1) {
        int why = ERR_GET_REASON(ERR_peek_last_error());
        if (why == SSL_R_EE_KEY_TOO_SMALL || why == SSL_R_CA_MD_TOO_WEAK ||
            why == SSL_R_CA_KEY_TOO_SMALL)
            return err_set(err,
                           "office.certificate: the key or signature of %s is too weak: have one "
                           "made with RSA of 2048 bits or more, and SHA-256",
                           office->certificate);
        return err_set(err, "office.certificate: %s is no certificate in PEM form: %s",
                       office->certificate, openssl_reason());
    }
    if (SSL_CTX_use_PrivateKey_file(context, key, SSL_FILETYPE_PEM) != 1) {
        if (ERR_GET_REASON(ERR_peek_last_error()) == X509_R_KEY_VALUES_MISMATCH)
            return err_set(err, "office.key: %s does not belong to the certificate %s", key,
                           office->certificate);
        return err_set(err,
                       "office.key: %s is no private key in PEM form without a pass phrase: %s",
                       key, openssl_reason());
    }
    return 0;
}

SSL_CTX *tls_context(const struct config_office *office, struct err *err)
{
    ERR_clear_error();
    if (office->ca[0] == '\0') {
        (void)err_set(err, "office.ca is not set: name the file with the CA of the broker's "
                           "certificate (/etc/ssl/certs/ca-certificates.crt for a public one)");
        return NULL;
    }
    if (check_readable("ca", office->ca, err) != 0)
        return NULL;
    SSL_CTX *context = SSL_CTX_new(TLS_client_method());
    if (!context) {
        (void)err_set(err, "office: no TLS: %s", openssl_reason());
        return NULL;
    }
    SSL_CTX_set_default_passwd_cb(context, no_password);
    SSL_CTX_set_verify(context, SSL_VERIFY_PEER, NULL);
    if (SSL_CTX_set_min_proto_version(context, TLS1_2_VERSION) != 1 ||
        SSL_CTX_set_cipher_list(context, TLS_CIPHERS) != 1) {
        (void)err_set(err, "office: no TLS 1.2: %s", openssl_reason());
    } else if (SSL_CTX_load_verify_locations(context, office->ca, NULL) != 1) {
        (void)err_set(err, "office.ca: %s holds no certificate in PEM form: %s", office->ca,
                      openssl_reason());
    } else if (load_identity(context, office, err) == 0) {
        return context;
    }
    SSL_CTX_free(context);
    return NULL;
}

int tls_check_files(const struct config_office *office, char password[static PASSWORD_MAX],
                    struct err *err)
{
    struct broker_url url = {.tls = true};
    if (broker_url_parse(office->url, &url, err) != 0)
        return -1;
    if (url.tls) {
        SSL_CTX *context = tls_context(office, err);
        if (!context)
            return -1;
        SSL_CTX_free(context);
    }
    password[0] = '\0';
    if (office->password_file[0] != '\0')
        return file_read_secret(office->password_file, "office.password_file", password,
                                PASSWORD_MAX, err);
    return 0;
}
