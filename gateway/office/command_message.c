#include "office/command_message.h"

#include "base/base64url.h"
#include "base/file.h"
#include "base/timetext.h"

#include <inttypes.h>
#include <openssl/pem.h>
#include <openssl/sha.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define KEY_FILE_MAX 4096
#define KEY_SIZE 32

static const char *const refusal_texts[REJECTS] = {
    [REJECT_NONE] = "done",
    [REJECT_OVERSIZED] = "oversized",
    [REJECT_MALFORMED] = "malformed",
    [REJECT_NO_KEY] = "no-key",
    [REJECT_UNSIGNED] = "unsigned",
    [REJECT_RETAINED] = "retained",
    [REJECT_WRONG_GATEWAY] = "wrong-gateway",
    [REJECT_CLOCK] = "clock-unknown",
    [REJECT_EXPIRED] = "expired",
    [REJECT_REPLAYED] = "replayed",
    [REJECT_BUSY] = "busy",
};

const char *command_refusal_text(enum command_refusal refusal)
{
    return refusal_texts[refusal];
}

// --- the key ---

static int key_name(struct command_key *key)
{
    uint8_t bytes[KEY_SIZE];
    uint8_t digest[SHA256_DIGEST_LENGTH];
    size_t size = sizeof bytes;
    if (EVP_PKEY_id(key->key) != EVP_PKEY_ED25519 ||
        EVP_PKEY_get_raw_public_key(key->key, bytes, &size) != 1 || size != sizeof bytes)
        return -1;
    (void)SHA256(bytes, sizeof bytes, digest);
    for (size_t i = 0; i < (COMMAND_KEY_ID_SIZE - 1) / 2; i++)
        (void)snprintf(key->id + 2 * i, 3, "%02x", digest[i]);
    return 0;
}

int command_key_load(const char *path, struct command_key *out, struct err *err)
{
    struct command_key key = {0};
    struct buf text;
    buf_init(&text, KEY_FILE_MAX);
    if (file_read(path, &text, err) != 0) {
        buf_release(&text);
        return err_add(err, "office.command_key");
    }
    BIO *bio = BIO_new_mem_buf(text.data != NULL ? text.data : "", (int)text.length);
    if (bio != NULL)
        key.key = PEM_read_bio_PUBKEY(bio, NULL, NULL, NULL);
    BIO_free(bio);
    buf_release(&text);
    if (key.key == NULL || key_name(&key) != 0) {
        command_key_release(&key);
        return err_set(err,
                       "office.command_key: %s is no Ed25519 public key (PEM): make it with "
                       "openssl pkey -in KEY.pem -pubout",
                       path);
    }
    *out = key;
    return 0;
}

void command_key_release(struct command_key *key)
{
    EVP_PKEY_free(key->key);
    key->key = NULL;
}

// --- the form ---

// jansson goes down into what is nested by recursion: how deep is known before it starts.
static bool is_too_deep(const char *text, size_t length)
{
    int depth = 0;
    bool quoted = false;
    for (size_t i = 0; i < length; i++) {
        char character = text[i];
        if (quoted && character == '\\')
            i++;
        else if (character == '"')
            quoted = !quoted;
        else if (!quoted && (character == '{' || character == '['))
            depth++;
        else if (!quoted && (character == '}' || character == ']'))
            depth--;
        if (depth > COMMAND_DEPTH_MAX)
            return true;
    }
    return false;
}

// An object, or NULL with a message.
static json_t *read_object(const char *what, const char *text, size_t length, struct err *err)
{
    json_error_t fault = {.text = ""};
    if (is_too_deep(text, length)) {
        (void)err_set(err, "%s is nested deeper than %d", what, COMMAND_DEPTH_MAX);
        return NULL;
    }
    json_t *json = json_loadb(text, length, JSON_REJECT_DUPLICATES, &fault);
    if (json == NULL || !json_is_object(json)) {
        (void)err_set(err, "%s is no JSON object: %s", what,
                      json == NULL ? fault.text : "something else");
        json_decref(json);
        return NULL;
    }
    return json;
}

// --- the envelope ---

struct envelope {
    uint8_t *body; // COMMAND_PAYLOAD_MAX bytes of room, and a NUL behind
    size_t length;
    uint8_t signature[COMMAND_SIGNATURE_SIZE];
};

static enum command_refusal read_parts(const json_t *json, struct envelope *out, struct err *err)
{
    const char *schema = NULL;
    const char *body = NULL;
    const char *signature = NULL;
    size_t body_length = 0;
    size_t signature_length = 0;
    json_error_t fault = {.text = ""};
    if (json_unpack_ex((json_t *)json, &fault, 0, "{s:s, s:s%, s?s% !}", "schema", &schema, "body",
                       &body, &body_length, "signature", &signature, &signature_length) != 0) {
        (void)err_set(err, "the message is {schema, body, signature}: %s", fault.text);
        return REJECT_MALFORMED;
    }
    if (strcmp(schema, "command/1") != 0) {
        (void)err_set(err, "schema is not command/1");
        return REJECT_MALFORMED;
    }
    if (signature == NULL || signature_length == 0) {
        (void)err_set(err, "it carries no signature");
        return REJECT_UNSIGNED;
    }
    long got = base64url_read(body, body_length, out->body, COMMAND_PAYLOAD_MAX);
    if (got < 1) {
        (void)err_set(err, "body is no base64url");
        return REJECT_MALFORMED;
    }
    out->length = (size_t)got;
    got = base64url_read(signature, signature_length, out->signature, sizeof out->signature);
    if (got != COMMAND_SIGNATURE_SIZE) {
        (void)err_set(err, "signature is not %d bytes in base64url", COMMAND_SIGNATURE_SIZE);
        return REJECT_MALFORMED;
    }
    return REJECT_NONE;
}

static bool is_signed(const struct envelope *envelope, const struct command_key *key)
{
    EVP_MD_CTX *context = EVP_MD_CTX_new();
    bool right = context != NULL &&
                 EVP_DigestVerifyInit(context, NULL, NULL, NULL, key->key) == 1 &&
                 EVP_DigestVerify(context, envelope->signature, sizeof envelope->signature,
                                  envelope->body, envelope->length) == 1;
    EVP_MD_CTX_free(context);
    return right;
}

// --- the body ---

static bool is_name(const char *text)
{
    size_t length = strspn(text, "abcdefghijklmnopqrstuvwxyz0123456789-");
    return length > 0 && length < COMMAND_NAME_SIZE && text[length] == '\0';
}

static int read_fields(const json_t *json, struct command_message *out, struct err *err)
{
    const char *gateway = NULL;
    const char *name = NULL;
    const char *expires = NULL;
    json_int_t counter = 0;
    json_t *arguments = NULL;
    json_error_t fault = {.text = ""};
    if (json_unpack_ex((json_t *)json, &fault, 0, "{s:s, s:s, s:I, s:s, s:o !}", "gateway",
                       &gateway, "name", &name, "counter", &counter, "expires", &expires,
                       "arguments", &arguments) != 0)
        return err_set(err, "the body is {gateway, name, counter, expires, arguments}: %s",
                       fault.text);
    if (!json_is_object(arguments))
        return err_set(err, "arguments is no object");
    if (!id_is_valid(gateway))
        return err_set(err, "gateway is no gateway's id");
    if (!is_name(name))
        return err_set(err, "name is no command's name");
    if (counter < 1)
        return err_set(err, "counter is not Unix milliseconds");
    if (strchr(expires, 'T') == NULL || time_parse(expires, &out->expires_ms) != 0)
        return err_set(err, "expires is no instant like 2026-11-23T08:15:00Z");
    (void)snprintf(out->gateway, sizeof out->gateway, "%s", gateway);
    (void)snprintf(out->name, sizeof out->name, "%s", name);
    out->counter = counter;
    out->arguments = json_incref(arguments);
    return 0;
}

static enum command_refusal read_body(const struct envelope *envelope, const char *name,
                                      struct command_message *out, struct err *err)
{
    json_t *json = read_object("the body", (const char *)envelope->body, envelope->length, err);
    int fault = json == NULL ? -1 : read_fields(json, out, err);
    json_decref(json);
    if (fault == 0 && strcmp(out->name, name) != 0) {
        fault = err_set(err, "it came for %.32s and is signed for %s", name, out->name);
        command_message_release(out);
    }
    return fault == 0 ? REJECT_NONE : REJECT_MALFORMED;
}

static enum command_refusal read_envelope(const char *payload, size_t length,
                                          struct envelope *envelope, struct err *err)
{
    json_t *json = read_object("the message", payload, length, err);
    enum command_refusal refusal =
        json == NULL ? REJECT_MALFORMED : read_parts(json, envelope, err);
    json_decref(json);
    return refusal;
}

enum command_refusal command_message_read(const char *payload, size_t length, const char *name,
                                          const struct command_key *key,
                                          struct command_message *out, struct err *err)
{
    *out = (struct command_message){0};
    if (length > COMMAND_PAYLOAD_MAX) {
        (void)err_set(err, "%zu bytes are more than the %d that are allowed", length,
                      COMMAND_PAYLOAD_MAX);
        return REJECT_OVERSIZED;
    }
    struct envelope envelope = {.body = malloc(COMMAND_PAYLOAD_MAX)};
    if (envelope.body == NULL) {
        (void)err_set(err, "out of memory");
        return REJECT_BUSY;
    }
    enum command_refusal refusal = read_envelope(payload, length, &envelope, err);
    if (refusal == REJECT_NONE && key->key == NULL) {
        (void)err_set(err, "office.command_key names no key to check commands with");
        refusal = REJECT_NO_KEY;
    } else if (refusal == REJECT_NONE && !is_signed(&envelope, key)) {
        (void)err_set(err, "the signature is not by the key of office.command_key");
        refusal = REJECT_UNSIGNED;
    } else if (refusal == REJECT_NONE) {
        out->authentic = true;
        (void)SHA256(envelope.body, envelope.length, out->digest);
        refusal = read_body(&envelope, name, out, err);
    }
    free(envelope.body);
    return refusal;
}

void command_message_release(struct command_message *message)
{
    json_decref(message->arguments);
    message->arguments = NULL;
}

enum command_refusal command_message_judge(const struct command_message *message,
                                           const char *gateway, bool clock_known, int64_t now_ms,
                                           int64_t last, struct err *err)
{
    if (strcmp(message->gateway, gateway) != 0) {
        (void)err_set(err, "it is for %s, and this is %s", message->gateway, gateway);
        return REJECT_WRONG_GATEWAY;
    }
    if (!clock_known) {
        (void)err_set(err, "the gateway's clock is not known yet");
        return REJECT_CLOCK;
    }
    if (now_ms >= message->expires_ms) {
        (void)err_set(err, "it has expired: sign it anew");
        return REJECT_EXPIRED;
    }
    if (message->counter <= last) {
        (void)err_set(err, "counter %" PRId64 " is not above %" PRId64 ", the last one executed",
                      message->counter, last);
        return REJECT_REPLAYED;
    }
    if (message->counter - now_ms > COMMAND_AHEAD_MAX_MS) {
        (void)err_set(err, "counter %" PRId64 " is more than a day ahead of the gateway's clock",
                      message->counter);
        return REJECT_MALFORMED;
    }
    return REJECT_NONE;
}
