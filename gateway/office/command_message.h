// A command from head office as it came over the wire (contract, section 5): taken apart, and its
// signature checked. Pure: bytes in, a command or a refusal out. Nothing of a message is looked at
// beyond its envelope before the signature over it was found right.
#ifndef METERGATE_OFFICE_COMMAND_MESSAGE_H
#define METERGATE_OFFICE_COMMAND_MESSAGE_H

#include "base/err.h"
#include "base/id.h"

#include <jansson.h>
#include <openssl/evp.h>
#include <stdbool.h>
#include <stdint.h>

#define COMMAND_PAYLOAD_MAX 16384 // bytes; a longer message is refused unread
#define COMMAND_NAME_SIZE 33
#define COMMAND_DEPTH_MAX 16 // of nested objects and arrays
#define COMMAND_DIGEST_SIZE 32
#define COMMAND_SIGNATURE_SIZE 64
#define COMMAND_KEY_ID_SIZE 17 // 16 hex digits and NUL

// Why a command is not executed.
enum command_refusal {
    REJECT_NONE,
    REJECT_OVERSIZED,
    REJECT_MALFORMED,     // not this form: JSON, base64url, sizes, names, unknown fields
    REJECT_NO_KEY,        // there is no key to check it with
    REJECT_UNSIGNED,      // no signature, or not one by this key
    REJECT_RETAINED,      // the broker kept it: nobody asks for it now
    REJECT_WRONG_GATEWAY, // signed for another one
    REJECT_CLOCK,         // whether it has expired cannot be told yet
    REJECT_EXPIRED,
    REJECT_REPLAYED, // counter not above the last one that was executed
    REJECT_BUSY,     // too many at once
    REJECTS
};
const char *command_refusal_text(enum command_refusal refusal); // "oversized" …

// Head office's public key.
struct command_key {
    EVP_PKEY *key;                // NULL: there is none
    char id[COMMAND_KEY_ID_SIZE]; // first digits of the SHA-256 of its 32 bytes
};
// Reads a PEM file. -1 when it cannot be read or is no Ed25519 public key.
int command_key_load(const char *path, struct command_key *out, struct err *err);
void command_key_release(struct command_key *key);

struct command_message {
    bool authentic; // its signature is right: whoever asked may be told why it is refused
    uint8_t digest[COMMAND_DIGEST_SIZE]; // SHA-256 of the body, where it is authentic
    char gateway[ID_SIZE];
    char name[COMMAND_NAME_SIZE];
    int64_t counter;
    int64_t expires_ms;
    json_t *arguments; // an object
};
// Takes a message apart and checks its signature. On REJECT_NONE `out` is whole, and to be given
// back with command_message_release; else a message says what is wrong. `name` is the topic's.
enum command_refusal command_message_read(const char *payload, size_t length, const char *name,
                                          const struct command_key *key,
                                          struct command_message *out, struct err *err);
void command_message_release(struct command_message *message);

// Whether an authentic command may be executed now. `last`: counter of the newest one executed.
enum command_refusal command_message_judge(const struct command_message *message,
                                           const char *gateway, bool clock_known, int64_t now_ms,
                                           int64_t last, struct err *err);
// A counter is the sender's clock: one that is so far ahead of ours would shut out all that follow.
#define COMMAND_AHEAD_MAX_MS (24 * INT64_C(3600000))

#endif
