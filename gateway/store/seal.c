#include "store/seal.h"

#include "base/file.h"

#include <errno.h>
#include <fcntl.h>
#include <openssl/evp.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define CHUNK 65536
#define MARK "\nmetergate backup 1 sha256 "
#define MARK_LENGTH (sizeof MARK - 1)
#define SEAL_LENGTH (MARK_LENGTH + SEAL_TEXT_SIZE) // the digits end with a line feed

// Reads `length` bytes from the start of `from` and sums them; `to` -1: no copy.
static int sum_bytes(int from, const char *path, int64_t length, int to, EVP_MD_CTX *sum,
                     struct err *err)
{
    char chunk[CHUNK];
    for (int64_t at = 0; at < length;) {
        size_t want = length - at < CHUNK ? (size_t)(length - at) : CHUNK;
        ssize_t got = pread(from, chunk, want, (off_t)at);
        if (got < 0 && errno == EINTR)
            continue;
        if (got <= 0) {
            return err_set(err, "%s: cannot be read: %s", path,
                           got == 0 ? "it became shorter" : strerror(errno));
        }
        if (EVP_DigestUpdate(sum, chunk, (size_t)got) != 1)
            return err_set(err, "%s: out of memory for the check sum", path);
        if (to >= 0 && file_write_all(to, chunk, (size_t)got) != 0)
            return err_set(err, "%s: cannot be copied: %s", path, strerror(errno));
        at += got;
    }
    return 0;
}

static int sum_file(int from, const char *path, int64_t length, int to,
                    char text[static SEAL_TEXT_SIZE], struct err *err)
{
    unsigned char digest[32];
    EVP_MD_CTX *sum = EVP_MD_CTX_new();
    int result = sum != NULL && EVP_DigestInit_ex(sum, EVP_sha256(), NULL) == 1
                     ? sum_bytes(from, path, length, to, sum, err)
                     : err_set(err, "%s: out of memory for the check sum", path);
    if (result == 0 && EVP_DigestFinal_ex(sum, digest, NULL) != 1)
        result = err_set(err, "%s: out of memory for the check sum", path);
    EVP_MD_CTX_free(sum);
    for (size_t i = 0; result == 0 && i < sizeof digest; i++)
        (void)snprintf(text + 2 * i, 3, "%02x", digest[i]);
    return result;
}

int seal_add(int file, const char *path, char sum[static SEAL_TEXT_SIZE], struct err *err)
{
    char seal[SEAL_LENGTH + 1];
    struct stat status;
    if (fstat(file, &status) != 0)
        return err_set(err, "%s: %s", path, strerror(errno));
    if (sum_file(file, path, status.st_size, -1, sum, err) != 0)
        return -1;
    (void)snprintf(seal, sizeof seal, MARK "%s\n", sum);
    if (lseek(file, 0, SEEK_END) < 0 || file_write_all(file, seal, SEAL_LENGTH) != 0 ||
        fsync(file) != 0)
        return err_set(err, "%s: cannot be written: %s", path, strerror(errno));
    return 0;
}

// What the last line says: the length of what is sealed, and its sum.
static int read_seal(int file, const char *path, int64_t *length, char sum[static SEAL_TEXT_SIZE],
                     struct err *err)
{
    char seal[SEAL_LENGTH];
    struct stat status;
    if (fstat(file, &status) != 0 || !S_ISREG(status.st_mode))
        return err_set(err, "%s: is no file", path);
    *length = status.st_size - (int64_t)SEAL_LENGTH;
    if (*length <= 0 || pread(file, seal, SEAL_LENGTH, (off_t)*length) != (ssize_t)SEAL_LENGTH ||
        memcmp(seal, MARK, MARK_LENGTH) != 0 || seal[SEAL_LENGTH - 1] != '\n') {
        return err_set(err,
                       "%s: is no backup of metergate, or its end is cut off: copy it again from "
                       "where it came from, or take another one",
                       path);
    }
    memcpy(sum, seal + MARK_LENGTH, SEAL_TEXT_SIZE - 1);
    sum[SEAL_TEXT_SIZE - 1] = '\0';
    return 0;
}

static int check(int file, const char *path, int to, int64_t *length,
                 char sum[static SEAL_TEXT_SIZE], struct err *err)
{
    char said[SEAL_TEXT_SIZE];
    if (read_seal(file, path, length, said, err) != 0 ||
        sum_file(file, path, *length, to, sum, err) != 0)
        return -1;
    if (strcmp(said, sum) != 0) {
        return err_set(err,
                       "%s: is damaged (its check sum is %.16s…, its seal says %.16s…): copy it "
                       "again from where it came from, or take another one",
                       path, sum, said);
    }
    if (to >= 0 && fsync(to) != 0)
        return err_set(err, "%s: cannot be copied: %s", path, strerror(errno));
    return 0;
}

int seal_copy(const char *path, int to, int64_t *bytes, struct err *err)
{
    char sum[SEAL_TEXT_SIZE];
    int file = open(path, O_RDONLY | O_CLOEXEC);
    if (file < 0)
        return err_set(err, "%s: cannot be opened: %s", path, strerror(errno));
    int result = check(file, path, to, bytes, sum, err);
    (void)close(file);
    return result;
}

int seal_check(const char *path, char sum[static SEAL_TEXT_SIZE], struct err *err)
{
    int64_t length = 0;
    int file = open(path, O_RDONLY | O_CLOEXEC);
    if (file < 0)
        return err_set(err, "%s: cannot be opened: %s", path, strerror(errno));
    int result = check(file, path, -1, &length, sum, err);
    (void)close(file);
    return result;
}
