// Whole files, read with a bound and written so that a power cut leaves the old or the new one,
// never a mix.
#ifndef METERGATE_BASE_FILE_H
#define METERGATE_BASE_FILE_H

#include "base/buf.h"
#include "base/err.h"

#include <sys/types.h>

// Reads a file (or stdin for "-") into `out`. The error names the path and the reason, also when
// the file is larger than the buffer's bound.
int file_read(const char *path, struct buf *out, struct err *err);

// The first line of a file that only its owner may read: a password or a token. `name` is the
// configuration's key for it. Bytes that do not fit into `size` with a NUL are an error.
int file_read_secret(const char *path, const char *name, char *secret, size_t size,
                     struct err *err);

// Writes temporary file, fsync, rename, fsync of the folder. `mode` is the new file's.
int file_write(const char *path, const void *bytes, size_t length, mode_t mode, struct err *err);

// The pieces of it. All bytes to an open file; -1 with errno.
int file_write_all(int fd, const void *bytes, size_t length);
// Makes what was made, renamed or removed in a folder last through a power cut.
int folder_sync(const char *path, struct err *err);

#endif
