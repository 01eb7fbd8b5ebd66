#include "authority.h"

#include <openssl/ec.h>
#include <openssl/evp.h>
#include <openssl/pem.h>
#include <openssl/x509v3.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>

#define DAY 86400L

struct authority {
    EVP_PKEY *key;
    X509 *certificate;
};

static void must(int good)
{
    if (good != 1)
        abort();
}

static X509 *make(EVP_PKEY *key, const char *name, long from_s, long to_s)
{
    static atomic_long serial = 1;
    X509 *certificate = X509_new();
    must(certificate != NULL && X509_set_version(certificate, 2) == 1);
    must(ASN1_INTEGER_set(X509_get_serialNumber(certificate), atomic_fetch_add(&serial, 1)));
    must(X509_gmtime_adj(X509_getm_notBefore(certificate), from_s) != NULL);
    must(X509_gmtime_adj(X509_getm_notAfter(certificate), to_s) != NULL);
    must(X509_set_pubkey(certificate, key));
    must(X509_NAME_add_entry_by_txt(X509_get_subject_name(certificate), "CN", MBSTRING_UTF8,
                                    (const unsigned char *)name, -1, -1, 0));
    return certificate;
}

static void extend(X509 *certificate, X509 *issuer, int nid, const char *value)
{
    X509V3_CTX context;
    X509V3_set_ctx_nodb(&context);
    X509V3_set_ctx(&context, issuer, certificate, NULL, NULL, 0);
    X509_EXTENSION *extension = X509V3_EXT_conf_nid(NULL, &context, nid, value);
    must(extension != NULL && X509_add_ext(certificate, extension, -1) == 1);
    X509_EXTENSION_free(extension);
}

static FILE *open_file(const char *folder, const char *name, const char *suffix)
{
    char path[512];
    (void)snprintf(path, sizeof path, "%s/%s.%s", folder, name, suffix);
    FILE *file = fopen(path, "we");
    must(file != NULL);
    must(fchmod(fileno(file), 0600) == 0);
    return file;
}

static void write_certificate(const char *folder, const char *name, X509 *certificate)
{
    FILE *file = open_file(folder, name, "pem");
    must(PEM_write_X509(file, certificate));
    must(fclose(file) == 0);
}

struct authority *authority_new(const char *folder, const char *name)
{
    struct authority *authority = calloc(1, sizeof *authority);
    must(authority != NULL);
    authority->key = EVP_EC_gen("P-256");
    authority->certificate = make(authority->key, name, -DAY, DAY);
    X509 *certificate = authority->certificate;
    must(X509_set_issuer_name(certificate, X509_get_subject_name(certificate)));
    extend(certificate, certificate, NID_basic_constraints, "critical,CA:TRUE");
    extend(certificate, certificate, NID_key_usage, "critical,keyCertSign,cRLSign");
    must((X509_sign(certificate, authority->key, EVP_sha256()) > 0) ? 1 : 0);
    write_certificate(folder, name, certificate);
    return authority;
}

void authority_free(struct authority *authority)
{
    X509_free(authority->certificate);
    EVP_PKEY_free(authority->key);
    free(authority);
}

static void sign(struct authority *authority, EVP_PKEY *key, const char *folder, const char *name,
                 const char *subject, long from_s, long to_s)
{
    X509 *certificate = make(key, name, from_s, to_s);
    X509 *issuer = authority ? authority->certificate : certificate;
    must(X509_set_issuer_name(certificate, X509_get_subject_name(issuer)));
    extend(certificate, issuer, NID_basic_constraints, "critical,CA:FALSE");
    extend(certificate, issuer, NID_subject_alt_name, subject);
    must(X509_sign(certificate, authority ? authority->key : key, EVP_sha256()) > 0);
    write_certificate(folder, name, certificate);
    FILE *file = open_file(folder, name, "key");
    must(PEM_write_PrivateKey(file, key, NULL, NULL, 0, NULL, NULL));
    must(fclose(file) == 0);
    X509_free(certificate);
    EVP_PKEY_free(key);
}

void authority_sign(struct authority *authority, const char *folder, const char *name,
                    const char *subject, long from_s, long to_s)
{
    sign(authority, EVP_EC_gen("P-256"), folder, name, subject, from_s, to_s);
}

void authority_sign_rsa(struct authority *authority, const char *folder, const char *name,
                        const char *subject, int bits)
{
    sign(authority, EVP_RSA_gen((unsigned)bits), folder, name, subject, -DAY, DAY);
}
