#include "web/tls.h"

#include "base/buf.h"
#include "base/clock.h"
#include "base/file.h"

#include <arpa/inet.h>
#include <errno.h>
#include <ifaddrs.h>
#include <net/if.h>
#include <openssl/err.h>
#include <openssl/evp.h>
#include <openssl/pem.h>
#include <openssl/rand.h>
#include <openssl/x509v3.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define DAY_S (24L * 3600)
#define NAMES_MAX 4096   // bytes of all names in the certificate
#define ADDRESSES_MAX 32 // of this machine that are named; more are left out
#define PEM_MAX 65536

static int openssl_error(struct err *err, const char *what)
{
    char text[160];
    ERR_error_string_n(ERR_peek_last_error(), text, sizeof text);
    ERR_clear_error();
    return err_set(err, "%s: %s", what, text);
}

// --- making a certificate ---

static void add_addresses(struct buf *names)
{
    struct ifaddrs *all = NULL;
    int count = 0;
    if (getifaddrs(&all) != 0)
        return; // the host name alone will do
    for (const struct ifaddrs *one = all; one != NULL && count < ADDRESSES_MAX;
         one = one->ifa_next) {
        char text[INET6_ADDRSTRLEN];
        const void *address = NULL;
        if (one->ifa_addr == NULL || (one->ifa_flags & IFF_LOOPBACK))
            continue;
        int family = one->ifa_addr->sa_family;
        if (family == AF_INET)
            address = &((const struct sockaddr_in *)(const void *)one->ifa_addr)->sin_addr;
        else if (family == AF_INET6)
            address = &((const struct sockaddr_in6 *)(const void *)one->ifa_addr)->sin6_addr;
        if (address != NULL && inet_ntop(family, address, text, sizeof text) != NULL) {
            buf_addf(names, ",IP:%s", text);
            count++;
        }
    }
    freeifaddrs(all);
}

// The name of this machine; "" when it has none that may stand in a certificate.
static void host_name(char name[static 65])
{
    if (gethostname(name, 64) != 0 ||
        strspn(name, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789.-") !=
            strlen(name))
        name[0] = '\0';
    name[64] = '\0';
}

static int add_extension(X509 *certificate, int nid, const char *value)
{
    X509V3_CTX context;
    X509V3_set_ctx_nodb(&context);
    X509V3_set_ctx(&context, certificate, certificate, NULL, NULL, 0);
    X509_EXTENSION *extension = X509V3_EXT_conf_nid(NULL, &context, nid, value);
    int result = extension != NULL ? X509_add_ext(certificate, extension, -1) : 0;
    X509_EXTENSION_free(extension);
    return result == 1 ? 0 : -1;
}

static int add_names(X509 *certificate)
{
    char name[65];
    struct buf names;
    host_name(name);
    buf_init(&names, NAMES_MAX);
    buf_add_text(&names, "DNS:localhost,IP:127.0.0.1,IP:::1");
    if (name[0] != '\0') {
        buf_addf(&names, ",DNS:%s", name);
        if (strchr(name, '.') == NULL)
            buf_addf(&names, ",DNS:%s.local", name);
    }
    add_addresses(&names);
    int result = -1;
    X509_NAME *subject = X509_get_subject_name(certificate);
    const char *common = name[0] != '\0' ? name : "metergate";
    if (!names.failed &&
        X509_NAME_add_entry_by_txt(subject, "CN", MBSTRING_UTF8, (const unsigned char *)common, -1,
                                   -1, 0) == 1 &&
        X509_set_issuer_name(certificate, subject) == 1)
        result = add_extension(certificate, NID_subject_alt_name, names.data);
    buf_release(&names);
    return result;
}

static int fill_certificate(X509 *certificate, EVP_PKEY *key)
{
    unsigned char serial[16];
    // A machine without a clock battery may believe that it is 1970.
    time_t now = time(NULL);
    time_t floor = (time_t)(clock_floor_ms() / 1000);
    now = now > floor ? now : floor;
    if (RAND_bytes(serial, sizeof serial) != 1)
        return -1;
    serial[0] &= 0x7F; // positive
    BIGNUM *number = BN_bin2bn(serial, sizeof serial, NULL);
    int result = -1;
    if (number != NULL && BN_to_ASN1_INTEGER(number, X509_get_serialNumber(certificate)) != NULL &&
        X509_set_version(certificate, X509_VERSION_3) == 1 &&
        ASN1_TIME_set(X509_getm_notBefore(certificate), now - DAY_S) != NULL &&
        ASN1_TIME_set(X509_getm_notAfter(certificate), now + (TLS_DAYS - 1) * DAY_S) != NULL &&
        X509_set_pubkey(certificate, key) == 1 && add_names(certificate) == 0 &&
        add_extension(certificate, NID_basic_constraints, "critical,CA:FALSE") == 0 &&
        add_extension(certificate, NID_key_usage, "critical,digitalSignature") == 0 &&
        add_extension(certificate, NID_ext_key_usage, "serverAuth") == 0 &&
        X509_sign(certificate, key, EVP_sha256()) > 0)
        result = 0;
    BN_free(number);
    return result;
}

static int write_bio(const char *path, BIO *bio, mode_t mode, struct err *err)
{
    char *bytes = NULL;
    long length = BIO_get_mem_data(bio, &bytes);
    return file_write(path, bytes, (size_t)length, mode, err);
}

// The key that is there, or a new one, kept before it is used.
static EVP_PKEY *own_key(const char *path, struct err *err)
{
    FILE *file = fopen(path, "re");
    if (file != NULL) {
        EVP_PKEY *old = PEM_read_PrivateKey(file, NULL, NULL, NULL);
        (void)fclose(file);
        if (old != NULL)
            return old;
        ERR_clear_error(); // damaged: a new one replaces it
    }
    EVP_PKEY *key = EVP_EC_gen("P-256");
    BIO *bio = BIO_new(BIO_s_mem());
    if (key == NULL || bio == NULL ||
        PEM_write_bio_PKCS8PrivateKey(bio, key, NULL, NULL, 0, NULL, NULL) != 1) {
        (void)openssl_error(err, "the page's key cannot be made");
        EVP_PKEY_free(key);
        key = NULL;
    } else if (write_bio(path, bio, 0600, err) != 0) {
        EVP_PKEY_free(key);
        key = NULL;
    }
    BIO_free(bio);
    return key;
}

static int make_certificate(const struct tls_files *files, struct err *err)
{
    EVP_PKEY *key = own_key(files->key, err);
    if (key == NULL)
        return -1;
    X509 *certificate = X509_new();
    BIO *bio = BIO_new(BIO_s_mem());
    int result = -1;
    if (certificate == NULL || bio == NULL || fill_certificate(certificate, key) != 0 ||
        PEM_write_bio_X509(bio, certificate) != 1)
        (void)openssl_error(err, "the page's certificate cannot be made");
    else
        result = write_bio(files->certificate, bio, 0644, err);
    BIO_free(bio);
    X509_free(certificate);
    EVP_PKEY_free(key);
    return result;
}

// Whether the certificate is there, belongs to the key, and lasts.
static bool is_good(const struct tls_files *files)
{
    SSL_CTX *context = SSL_CTX_new(TLS_server_method());
    bool good = context != NULL &&
                SSL_CTX_use_certificate_file(context, files->certificate, SSL_FILETYPE_PEM) == 1 &&
                SSL_CTX_use_PrivateKey_file(context, files->key, SSL_FILETYPE_PEM) == 1;
    if (good) {
        time_t soon = time(NULL) + TLS_DAYS_LEFT_MIN * DAY_S;
        const X509 *certificate = SSL_CTX_get0_certificate(context);
        good = X509_cmp_time(X509_get0_notAfter(certificate), &soon) > 0;
    }
    SSL_CTX_free(context);
    ERR_clear_error();
    return good;
}

int tls_own_files(const char *directory, struct tls_files *files, struct err *err)
{
    char folder[400];
    if ((size_t)snprintf(folder, sizeof folder, "%s/web", directory) >= sizeof folder)
        return err_set(err, "%s: the path is too long", directory);
    if (mkdir(folder, 0700) != 0 && errno != EEXIST)
        return err_set(err, "%s: cannot be made: %s", folder, strerror(errno));
    (void)snprintf(files->certificate, sizeof files->certificate, "%s/certificate.pem", folder);
    (void)snprintf(files->key, sizeof files->key, "%s/key.pem", folder);
    return is_good(files) ? 0 : make_certificate(files, err);
}

// --- using it ---

static const char ciphers[] =
    "ECDHE-ECDSA-AES128-GCM-SHA256:ECDHE-RSA-AES128-GCM-SHA256:ECDHE-ECDSA-AES256-GCM-SHA384:"
    "ECDHE-RSA-AES256-GCM-SHA384:ECDHE-ECDSA-CHACHA20-POLY1305:ECDHE-RSA-CHACHA20-POLY1305";

SSL_CTX *tls_server(const struct tls_files *files, struct err *err)
{
    SSL_CTX *context = SSL_CTX_new(TLS_server_method());
    if (context == NULL || SSL_CTX_set_min_proto_version(context, TLS1_2_VERSION) != 1 ||
        SSL_CTX_set_cipher_list(context, ciphers) != 1) {
        (void)openssl_error(err, "TLS cannot be set up");
        SSL_CTX_free(context);
        return NULL;
    }
    (void)SSL_CTX_set_options(context, SSL_OP_NO_RENEGOTIATION | SSL_OP_CIPHER_SERVER_PREFERENCE |
                                           SSL_OP_NO_COMPRESSION | SSL_OP_NO_TICKET);
    (void)SSL_CTX_set_session_cache_mode(context, SSL_SESS_CACHE_OFF);
    (void)SSL_CTX_set_num_tickets(context, 0);
    // What many idle connections hold is given back between records.
    (void)SSL_CTX_set_mode(context, SSL_MODE_RELEASE_BUFFERS);
    if (SSL_CTX_use_certificate_chain_file(context, files->certificate) != 1)
        (void)openssl_error(err, files->certificate);
    else if (SSL_CTX_use_PrivateKey_file(context, files->key, SSL_FILETYPE_PEM) != 1)
        (void)openssl_error(err, files->key);
    else
        return context;
    SSL_CTX_free(context);
    return NULL;
}

void tls_fingerprint(SSL_CTX *context, char text[static TLS_FINGERPRINT_SIZE])
{
    unsigned char digest[32];
    unsigned length = 0;
    text[0] = '\0';
    if (X509_digest(SSL_CTX_get0_certificate(context), EVP_sha256(), digest, &length) != 1)
        return;
    for (unsigned i = 0; i < length; i++)
        (void)snprintf(text + 3 * i, 4, i + 1 < length ? "%02X:" : "%02X", digest[i]);
}
