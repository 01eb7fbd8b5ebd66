// A file beside the store that says that the last run ended because the disk or the store's file
// failed it. Written on the way out, as far as the disk still takes it.
#include "store/database.h"

#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define TEXT_MAX 64

static const char *path_of(const char *store_path, char path[static 4200])
{
    (void)snprintf(path, 4200, "%s.doubt", store_path);
    return path;
}

void doubt_read(const char *store_path, struct store_doubt *out)
{
    char path[4200];
    char text[TEXT_MAX] = "";
    *out = (struct store_doubt){.runs = 0};
    int file = open(path_of(store_path, path), O_RDONLY | O_CLOEXEC | O_NOFOLLOW);
    if (file < 0)
        return;
    ssize_t got = read(file, text, sizeof text - 1);
    (void)close(file);
    char *rest = text;
    long code = got > 0 ? strtol(text, &rest, 10) : 0;
    long runs = strtol(rest, NULL, 10);
    *out = (struct store_doubt){.runs = runs > 0 && runs < 1000 ? (int)runs : 1,
                                .damage = code == SQLITE_CORRUPT || code == SQLITE_NOTADB};
}

void doubt_write(const char *store_path, int code)
{
    char path[4200];
    char text[TEXT_MAX];
    struct store_doubt before;
    doubt_read(store_path, &before);
    int length = snprintf(text, sizeof text, "%d %d\n", code & 0xFF, before.runs + 1);
    int file = open(path_of(store_path, path),
                    O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC | O_NOFOLLOW, 0600);
    if (file < 0)
        return;
    if (write(file, text, (size_t)length) == length)
        (void)fsync(file);
    (void)close(file);
}

void doubt_end(const char *store_path)
{
    char path[4200];
    (void)unlink(path_of(store_path, path));
}

void store_doubt(const char *directory, struct store_doubt *out)
{
    char path[4096];
    (void)snprintf(path, sizeof path, "%s/%s", directory, STORE_FILE);
    doubt_read(path, out);
}

void store_trust(const struct store *store)
{
    doubt_end(store->path);
}
