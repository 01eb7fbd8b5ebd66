// metergate office: head office's side. `sign` makes the payload of a command (contract, section
// 5).
#include "base/base64url.h"
#include "base/clock.h"
#include "base/file.h"
#include "base/id.h"
#include "base/writer.h"
#include "cli/cli.h"
#include "cli/options.h"
#include "office/command_message.h"

#include <errno.h>
#include <openssl/crypto.h>
#include <openssl/pem.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define KEY_FILE_MAX 4096
#define EXPIRES_MAX_S (366 * 86400)
#define EXPIRES_S 300

static const char help[] =
    "usage: metergate office sign --key FILE --gateway ID --name NAME [--arguments JSON]\n"
    "                             [--expires SECONDS]\n"
    "\n"
    "Prints the payload of a command for one gateway, signed and ready to be published to\n"
    "PREFIX/ID/command/NAME, QoS 1, not retained. Each one is executed at most once.\n"
    "\n"
    "  --key FILE           private Ed25519 key, PEM (openssl genpkey -algorithm ed25519)\n"
    "  --gateway ID         whom it is for\n"
    "  --name NAME          the command\n"
    "  --arguments JSON     an object; {} where absent\n"
    "  --expires SECONDS    how long it may be executed from now on; 300 where absent\n";

struct options {
    const char *verb, *key, *gateway, *name, *arguments, *expires;
    long expires_s;
};

static long seconds_of(const char *text)
{
    char *end;
    errno = 0;
    long value = strtol(text, &end, 10);
    return errno == 0 && *end == '\0' && end != text && value <= EXPIRES_MAX_S ? value : 0;
}

static bool is_name(const char *text)
{
    return text[0] != '\0' && strlen(text) < COMMAND_NAME_SIZE &&
           text[strspn(text, "abcdefghijklmnopqrstuvwxyz0123456789-")] == '\0';
}

static int check(const struct options *options)
{
    if (options->verb == NULL || strcmp(options->verb, "sign") != 0)
        return cli_usage("office", "say what to do: sign");
    if (options->key == NULL || options->gateway == NULL || options->name == NULL)
        return cli_usage("office", "sign needs --key, --gateway and --name");
    if (!id_is_valid(options->gateway))
        return cli_usage("office", "'%s' is no gateway's id", options->gateway);
    if (!is_name(options->name))
        return cli_usage("office", "'%s' is no command's name", options->name);
    if (options->expires_s < 1)
        return cli_usage("office", "--expires is a number of seconds, 1 to %d", EXPIRES_MAX_S);
    return 0;
}

// The private key, or NULL with a message.
static EVP_PKEY *load_key(const char *path, struct err *err)
{
    struct buf text;
    EVP_PKEY *key = NULL;
    buf_init(&text, KEY_FILE_MAX);
    if (file_read(path, &text, err) != 0) {
        buf_release(&text);
        return NULL;
    }
    BIO *bio = BIO_new_mem_buf(text.data != NULL ? text.data : "", (int)text.length);
    if (bio != NULL)
        key = PEM_read_bio_PrivateKey(bio, NULL, NULL, NULL);
    BIO_free(bio);
    if (text.data != NULL)
        OPENSSL_cleanse(text.data, text.length);
    buf_release(&text);
    if (key == NULL || EVP_PKEY_id(key) != EVP_PKEY_ED25519) {
        EVP_PKEY_free(key);
        (void)err_set(err,
                      "%s is no private Ed25519 key (PEM): make one with openssl genpkey "
                      "-algorithm ed25519",
                      path);
        return NULL;
    }
    return key;
}

static void write_body(struct buf *body, const struct options *options, const json_t *arguments)
{
    struct writer writer;
    int64_t now = clock_wall_ms(&clock_system);
    char *text = json_dumps(arguments, JSON_COMPACT);
    writer_init(&writer, body);
    writer_object(&writer);
    writer_key_text(&writer, "gateway", options->gateway);
    writer_key_text(&writer, "name", options->name);
    writer_key_int(&writer, "counter", now);
    writer_key_time(&writer, "expires", now + (int64_t)options->expires_s * 1000);
    writer_key(&writer, "arguments");
    writer_raw(&writer, text != NULL ? text : "{}", text != NULL ? strlen(text) : 2);
    writer_end(&writer);
    body->failed = body->failed || text == NULL;
    free(text);
}

static int write_payload(struct buf *out, const struct buf *body, EVP_PKEY *key)
{
    uint8_t signature[COMMAND_SIGNATURE_SIZE];
    size_t size = sizeof signature;
    EVP_MD_CTX *context = EVP_MD_CTX_new();
    bool made =
        context != NULL && EVP_DigestSignInit(context, NULL, NULL, NULL, key) == 1 &&
        EVP_DigestSign(context, signature, &size, (const uint8_t *)body->data, body->length) == 1 &&
        size == sizeof signature;
    EVP_MD_CTX_free(context);
    buf_add_text(out, "{\"schema\":\"command/1\",\"body\":\"");
    base64url_add(out, body->data, body->length);
    buf_add_text(out, "\",\"signature\":\"");
    base64url_add(out, signature, made ? size : 0);
    buf_add_text(out, "\"}");
    return made && !out->failed ? 0 : -1;
}

static int sign(const struct options *options, const json_t *arguments)
{
    struct err err;
    struct buf body;
    struct buf payload;
    EVP_PKEY *key = load_key(options->key, &err);
    if (key == NULL)
        return cli_problem("office", "%s", err.text);
    buf_init(&body, COMMAND_PAYLOAD_MAX);
    buf_init(&payload, COMMAND_PAYLOAD_MAX);
    write_body(&body, options, arguments);
    int status = EXIT_DONE;
    if (body.failed || write_payload(&payload, &body, key) != 0)
        status = cli_problem("office", "the command is longer than the %d bytes that are allowed",
                             COMMAND_PAYLOAD_MAX);
    else
        puts(payload.data);
    buf_release(&payload);
    buf_release(&body);
    EVP_PKEY_free(key);
    return status;
}

int office_main(int argc, char **argv)
{
    struct options options = {.arguments = "{}", .expires_s = EXPIRES_S};
    const struct cli_option known[] = {
        {"key", &options.key, NULL},         {"gateway", &options.gateway, NULL},
        {"name", &options.name, NULL},       {"arguments", &options.arguments, NULL},
        {"expires", &options.expires, NULL}, {NULL, NULL, NULL}};
    const struct cli_line line = {help, known, &options.verb, 1};
    json_error_t fault;
    int status = cli_options(argc, argv, &line);
    if (status != CLI_GO)
        return status;
    if (options.expires != NULL)
        options.expires_s = seconds_of(options.expires);
    if ((status = check(&options)) != 0)
        return status;
    json_t *arguments = json_loads(options.arguments, JSON_REJECT_DUPLICATES, &fault);
    if (!json_is_object(arguments))
        status = cli_usage("office", "--arguments is no JSON object: %s",
                           arguments == NULL ? fault.text : options.arguments);
    else
        status = sign(&options, arguments);
    json_decref(arguments);
    return status;
}
