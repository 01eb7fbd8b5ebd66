// Passwords: the rule for them, and their scrypt hashes. A hash needs 39 MB for a third of a
// second, so it is computed in a helper process (this program's hidden subcommand `hash`), one at a
// time: a flood of logins costs no memory of the gateway.
#ifndef METERGATE_CONTROL_PASSWORD_H
#define METERGATE_CONTROL_PASSWORD_H

#include "base/err.h"

#define PASSWORD_HASH_SIZE 256 // "scrypt$N$r$p$salt$hash", hex, with NUL
#define PASSWORD_CHARACTERS_MIN 12
#define PASSWORD_CHARACTERS_MAX 128
#define PASSWORD_BYTES_MAX (PASSWORD_CHARACTERS_MAX * 4)

// Whether a new password may be used: 12 to 128 characters, whichever they are.
int password_check(const char *password, struct err *err);

// A new hash with a salt of its own. Waits for its turn.
int password_hash(const char *password, char hash[static PASSWORD_HASH_SIZE], struct err *err);
// 1 when the password fits the hash, 0 when it does not, -1 when that could not be found out.
int password_verify(const char *hash, const char *password, struct err *err);
// A well-formed hash that no password fits: what an unknown account is compared with, so that the
// answer takes the same time.
const char *password_nobody(void);

// The helper process: a line "N r p SALT PASSWORD" (hex) on stdin, the hash in hex on stdout.
int hash_main(int argc, char **argv);

#endif
