// The seal of a backup: its last line holds the SHA-256 of all bytes before it, so that a damaged
// or cut file is known before anything of it is used. SQLite does not look behind the last page
// that the file's own header names, so a sealed file opens in sqlite3 as it is.
#ifndef METERGATE_STORE_SEAL_H
#define METERGATE_STORE_SEAL_H

#include "base/err.h"

#include <stdint.h>

#define SEAL_TEXT_SIZE 65 // 64 hex digits and NUL

// Adds the seal to the end of an open file and makes all of it durable. `path` is for messages.
int seal_add(int file, const char *path, char sum[static SEAL_TEXT_SIZE], struct err *err);

// Copies what is sealed, without its seal, into the open file `to`, and makes it durable. -1 with a
// message when the file is no backup, cut, or damaged: what was copied is of no use then.
// `bytes` receives the length of the copy.
int seal_copy(const char *path, int to, int64_t *bytes, struct err *err);

// Checks alone.
int seal_check(const char *path, char sum[static SEAL_TEXT_SIZE], struct err *err);

#endif
