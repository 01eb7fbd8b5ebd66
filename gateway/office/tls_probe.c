// Why the broker cannot be reached: paho says "TCP/TLS connect failure" to everything.
#include "office/tls.h"

#include <errno.h>
#include <fcntl.h>
#include <netdb.h>
#include <openssl/err.h>
#include <openssl/ssl.h>
#include <openssl/x509v3.h>
#include <poll.h>
#include <pthread.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#define REFUSAL_WAIT_MS 1000 // TLS 1.3 refuses our certificate only after its own handshake
#define NAME_MAX_TEXT 160

static int64_t monotonic_ms(void)
{
    struct timespec now = {0};
    (void)clock_gettime(CLOCK_MONOTONIC, &now);
    return (int64_t)now.tv_sec * 1000 + now.tv_nsec / 1000000;
}

// True when the descriptor is ready before the deadline.
static bool wait_ready(int fd, short events, int64_t deadline_ms)
{
    for (;;) {
        int64_t left = deadline_ms - monotonic_ms();
        if (left <= 0)
            return false;
        struct pollfd waits = {.fd = fd, .events = events};
        int ready = poll(&waits, 1, (int)left);
        if (ready > 0)
            return true;
        if (ready < 0 && errno != EINTR)
            return false;
    }
}

// Connects to one address: 0, or errno of the failure.
static int connect_one(const struct addrinfo *address, int64_t deadline_ms, int *out)
{
    int fd = socket(address->ai_family, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    if (fd < 0)
        return errno;
    int failure = connect(fd, address->ai_addr, address->ai_addrlen) == 0 ? 0 : errno;
    if (failure == EINPROGRESS) {
        socklen_t size = sizeof failure;
        failure = ETIMEDOUT;
        if (wait_ready(fd, POLLOUT, deadline_ms) &&
            getsockopt(fd, SOL_SOCKET, SO_ERROR, &failure, &size) != 0)
            failure = errno;
    }
    if (failure != 0)
        (void)close(fd);
    else
        *out = fd;
    return failure;
}

static int explain_connect(const struct broker_url *url, int failure, struct err *err)
{
    if (failure == ECONNREFUSED)
        return err_set(err,
                       "%s:%d refuses the connection: is the broker running, is the port right?",
                       url->host, url->port);
    if (failure == ETIMEDOUT)
        return err_set(err, "%s:%d does not answer: check network, route and firewall", url->host,
                       url->port);
    return err_set(err, "%s:%d cannot be reached: %s", url->host, url->port, strerror(failure));
}

static int connect_broker(const struct broker_url *url, int64_t *deadline_ms, int *fd,
                          struct err *err)
{
    char port[8];
    struct addrinfo hints = {.ai_socktype = SOCK_STREAM, .ai_flags = AI_NUMERICSERV};
    struct addrinfo *list = NULL;
    (void)snprintf(port, sizeof port, "%d", url->port);
    int failure = getaddrinfo(url->host, port, &hints, &list);
    if (failure != 0)
        return err_set(err,
                       "the name %s is not known (%s): check office.url and this machine's DNS",
                       url->host, gai_strerror(failure));
    *deadline_ms = monotonic_ms() + TLS_PROBE_MS;
    for (struct addrinfo *at = list; at; at = at->ai_next) {
        failure = connect_one(at, *deadline_ms, fd);
        if (failure == 0)
            break;
    }
    freeaddrinfo(list);
    return failure == 0 ? 0 : explain_connect(url, failure, err);
}

static void time_text(const ASN1_TIME *time, char *text, size_t size)
{
    struct tm broken;
    if (!time || ASN1_TIME_to_tm(time, &broken) != 1)
        (void)snprintf(text, size, "an unknown day");
    else
        (void)strftime(text, size, "%Y-%m-%d %H:%M UTC", &broken);
}

// The names that a certificate is made out to, or its subject.
static void certificate_names(X509 *certificate, char *text, size_t size)
{
    text[0] = '\0';
    GENERAL_NAMES *names = X509_get_ext_d2i(certificate, NID_subject_alt_name, NULL, NULL);
    for (int i = 0; i < sk_GENERAL_NAME_num(names); i++) {
        const GENERAL_NAME *name = sk_GENERAL_NAME_value(names, i);
        size_t used = strlen(text);
        if (name->type == GEN_DNS && used < size - 1)
            (void)snprintf(text + used, size - used, "%s%s", used > 0 ? ", " : "",
                           (const char *)ASN1_STRING_get0_data(name->d.dNSName));
    }
    GENERAL_NAMES_free(names);
    if (text[0] == '\0')
        (void)X509_NAME_get_text_by_NID(X509_get_subject_name(certificate), NID_commonName, text,
                                        (int)size);
}

// The certificate that the verification stopped at is remembered by its callback.
struct verdict {
    char when[64];
    char names[NAME_MAX_TEXT];
    char issuer[NAME_MAX_TEXT];
};

static int verdict_index;
static void verdict_index_make(void)
{
    verdict_index = SSL_get_ex_new_index(0, NULL, NULL, NULL, NULL);
}

static int remember(int good, X509_STORE_CTX *store)
{
    SSL *ssl = X509_STORE_CTX_get_ex_data(store, SSL_get_ex_data_X509_STORE_CTX_idx());
    struct verdict *verdict = SSL_get_ex_data(ssl, verdict_index);
    X509 *certificate = X509_STORE_CTX_get_current_cert(store);
    if (good || !verdict || !certificate)
        return good;
    bool early = X509_STORE_CTX_get_error(store) == X509_V_ERR_CERT_NOT_YET_VALID;
    time_text(early ? X509_get0_notBefore(certificate) : X509_get0_notAfter(certificate),
              verdict->when, sizeof verdict->when);
    certificate_names(certificate, verdict->names, sizeof verdict->names);
    (void)X509_NAME_get_text_by_NID(X509_get_issuer_name(certificate), NID_commonName,
                                    verdict->issuer, sizeof verdict->issuer);
    return good;
}

static int explain_certificate(const struct broker_url *url, long result,
                               const struct verdict *verdict, const char *ca, struct err *err)
{
    switch (result) {
    case X509_V_ERR_CERT_HAS_EXPIRED:
        return err_set(err, "the broker's certificate (%s) expired on %s: it must be renewed there",
                       verdict->names, verdict->when);
    case X509_V_ERR_CERT_NOT_YET_VALID:
        return err_set(err,
                       "the broker's certificate (%s) is valid only from %s: check the clock of "
                       "this gateway",
                       verdict->names, verdict->when);
    case X509_V_ERR_HOSTNAME_MISMATCH:
    case X509_V_ERR_IP_ADDRESS_MISMATCH:
        return err_set(err,
                       "wrong host: the broker's certificate is for %s, not for %s of office.url",
                       verdict->names, url->host);
    case X509_V_ERR_DEPTH_ZERO_SELF_SIGNED_CERT:
        return err_set(err, "the broker's certificate (%s) is self-signed and not in office.ca %s",
                       verdict->names, ca);
    case X509_V_ERR_SELF_SIGNED_CERT_IN_CHAIN:
    case X509_V_ERR_UNABLE_TO_GET_ISSUER_CERT:
    case X509_V_ERR_UNABLE_TO_GET_ISSUER_CERT_LOCALLY:
    case X509_V_ERR_UNABLE_TO_VERIFY_LEAF_SIGNATURE:
    case X509_V_ERR_CERT_SIGNATURE_FAILURE:
        return err_set(err,
                       "unknown CA: the broker's certificate is signed by %s, which office.ca "
                       "%s does not vouch for",
                       verdict->issuer, ca);
    case X509_V_ERR_EE_KEY_TOO_SMALL:
        return err_set(err,
                       "the key of the broker's certificate (%s) is too weak: the broker needs a "
                       "new one, RSA of 2048 bits or more or an elliptic curve of 256",
                       verdict->names);
    case X509_V_ERR_CA_KEY_TOO_SMALL:
    case X509_V_ERR_CA_MD_TOO_WEAK:
        return err_set(err,
                       "the broker's certificate (%s) is signed too weakly by %s: it needs one of "
                       "a CA with SHA-256 and RSA of 2048 bits or more",
                       verdict->names, verdict->issuer);
    default:
        return err_set(err, "the broker's certificate (%s) is refused: %s", verdict->names,
                       X509_verify_cert_error_string(result));
    }
}

// Alerts that a broker answers to our certificate with.
static int explain_alert(const struct config_office *office, int reason, struct err *err)
{
    const char *own = office->certificate[0] != '\0' ? office->certificate : "none is configured";
    switch (reason) {
    case SSL_R_TLSV13_ALERT_CERTIFICATE_REQUIRED:
        return err_set(err,
                       "the broker wants a client certificate (%s): set office.certificate and "
                       "office.key",
                       own);
    case SSL_R_SSLV3_ALERT_HANDSHAKE_FAILURE:
        return err_set(err,
                       "the broker breaks the handshake off: no cipher in common, or it wants "
                       "a client certificate (%s)",
                       own);
    case SSL_R_SSLV3_ALERT_BAD_CERTIFICATE:
    case SSL_R_SSLV3_ALERT_UNSUPPORTED_CERTIFICATE:
    case SSL_R_SSLV3_ALERT_CERTIFICATE_REVOKED:
    case SSL_R_SSLV3_ALERT_CERTIFICATE_EXPIRED:
    case SSL_R_SSLV3_ALERT_CERTIFICATE_UNKNOWN:
    case SSL_R_TLSV1_ALERT_UNKNOWN_CA:
    case SSL_R_TLSV1_ALERT_ACCESS_DENIED:
        return err_set(err, "the broker refuses the client certificate (%s): %s", own,
                       ERR_reason_error_string(ERR_PACK(ERR_LIB_SSL, 0, reason)));
    case SSL_R_TLSV1_ALERT_PROTOCOL_VERSION:
    case SSL_R_UNSUPPORTED_PROTOCOL:
    case SSL_R_WRONG_SSL_VERSION:
        return err_set(err, "the broker offers no TLS 1.2 or newer: it must be updated");
    case SSL_R_WRONG_VERSION_NUMBER:
    case SSL_R_HTTP_REQUEST:
        return err_set(err, "the broker's port does not speak TLS: is it the port of mqtt://?");
    default: return 0;
    }
}

static int explain_tls(const struct config_office *office, const struct broker_url *url, SSL *ssl,
                       int status, struct err *err)
{
    const struct verdict *verdict = SSL_get_ex_data(ssl, verdict_index);
    int why = SSL_get_error(ssl, status);
    unsigned long code = ERR_peek_last_error();
    int reason = ERR_GET_REASON(code);
    if (why == SSL_ERROR_SSL && reason == SSL_R_CERTIFICATE_VERIFY_FAILED)
        return explain_certificate(url, SSL_get_verify_result(ssl), verdict, office->ca, err);
    if (why == SSL_ERROR_SSL && explain_alert(office, reason, err) != 0)
        return -1;
    if (why == SSL_ERROR_SSL && reason != SSL_R_UNEXPECTED_EOF_WHILE_READING)
        return err_set(err, "TLS with %s:%d fails: %s", url->host, url->port,
                       ERR_reason_error_string(code));
    return err_set(err,
                   "%s:%d closes the connection during the TLS handshake: is that port for "
                   "mqtts:// or for plain mqtt://?",
                   url->host, url->port);
}

// One step of OpenSSL, again and again until it is done, failed (0 or less) or late.
static int drive(SSL *ssl, int step(SSL *), int64_t deadline_ms, bool *late)
{
    for (;;) {
        ERR_clear_error();
        int status = step(ssl);
        int why = SSL_get_error(ssl, status);
        if (status > 0 || (why != SSL_ERROR_WANT_READ && why != SSL_ERROR_WANT_WRITE))
            return status;
        if (!wait_ready(SSL_get_fd(ssl), why == SSL_ERROR_WANT_READ ? POLLIN : POLLOUT,
                        deadline_ms)) {
            *late = true;
            return -1;
        }
    }
}

// A broker says nothing before CONNECT: what comes is a refusal.
static int read_one(SSL *ssl)
{
    char byte;
    return SSL_read(ssl, &byte, 1);
}

static int set_name(SSL *ssl, const char *host)
{
    X509_VERIFY_PARAM *parameters = SSL_get0_param(ssl);
    if (X509_VERIFY_PARAM_set1_ip_asc(parameters, host) == 1)
        return 1;
    return SSL_set1_host(ssl, host) == 1 && SSL_set_tlsext_host_name(ssl, host) == 1;
}

static int probe_tls(const struct config_office *office, const struct broker_url *url, SSL *ssl,
                     int fd, int64_t deadline_ms, struct err *err)
{
    struct verdict verdict = {0};
    bool late = false;
    if (SSL_set_ex_data(ssl, verdict_index, &verdict) != 1 || set_name(ssl, url->host) != 1 ||
        SSL_set_fd(ssl, fd) != 1)
        return err_set(err, "TLS with %s cannot be set up", url->host);
    SSL_set_verify(ssl, SSL_VERIFY_PEER, remember);
    int status = drive(ssl, SSL_connect, deadline_ms, &late);
    if (late)
        return err_set(err, "%s:%d accepts the connection, but does not answer the TLS handshake",
                       url->host, url->port);
    if (status != 1)
        return explain_tls(office, url, ssl, status, err);
    status = drive(ssl, read_one, monotonic_ms() + REFUSAL_WAIT_MS, &late);
    if (!late && status <= 0 && SSL_get_error(ssl, status) == SSL_ERROR_SSL)
        return explain_tls(office, url, ssl, status, err);
    return 0;
}

int tls_probe(const struct config_office *office, bool *reached, struct err *err)
{
    static pthread_once_t once = PTHREAD_ONCE_INIT;
    struct broker_url url;
    int64_t deadline_ms = 0;
    int fd = -1;
    if (broker_url_parse(office->url, &url, err) != 0 ||
        connect_broker(&url, &deadline_ms, &fd, err) != 0)
        return -1;
    *reached = true;
    (void)pthread_once(&once, verdict_index_make);
    int result = 0;
    if (url.tls) {
        SSL_CTX *context = tls_context(office, err);
        SSL *ssl = context ? SSL_new(context) : NULL;
        if (ssl)
            result = probe_tls(office, &url, ssl, fd, deadline_ms, err);
        else
            result = context ? err_set(err, "no memory for TLS") : -1;
        SSL_free(ssl);
        SSL_CTX_free(context);
    }
    (void)close(fd);
    return result;
}
