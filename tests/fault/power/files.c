#include "files.h"

#include "disk.h"

#include "base/file.h"

#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define WRITES_MIN 6
#define WRITES_MAX 20
#define BYTES_MAX 20000

static const char *const names[FILES_NAMES] = {"site.yaml", "key.pem", "trust.pem"};

// What the n-th write writes: its length and bytes follow from the seed.
static size_t content(const struct files *files, int number, unsigned char *bytes)
{
    struct chance chance = chance_of(files->seed, (uint64_t)number, 1);
    size_t length = (size_t)chance_between(&chance, 0, BYTES_MAX);
    if (chance_one_in(&chance, 4))
        length %= 600; // one sector and a bit
    for (size_t i = 0; i < length; i++)
        bytes[i] = (unsigned char)chance_next(&chance);
    return length;
}

static int put(const struct files *files, const char *folder, int number, char *why, size_t size)
{
    static unsigned char bytes[BYTES_MAX];
    char path[256];
    struct err err = {.text = ""};
    (void)snprintf(path, sizeof path, "%s/%s", folder, names[number % FILES_NAMES]);
    size_t length = content(files, number, bytes);
    if (file_write(path, bytes, length, 0600, &err) == 0)
        return 0;
    (void)snprintf(why, size, "cannot be written: %s", err.text);
    return -1;
}

int files_live(struct files *files, const char *folder, struct chance *chance, char *why,
               size_t size)
{
    files->seed = chance_next(chance);
    files->count = (int)chance_between(chance, WRITES_MIN, WRITES_MAX);
    for (int i = 1; i <= files->count; i++) {
        if (put(files, folder, i, why, size) != 0)
            return -1;
        disk_mark(i);
    }
    return 0;
}

// Whether the file holds what the n-th write wrote; none (number < 1): that it is not there.
static bool holds(const struct files *files, const char *folder, int name, int number)
{
    static unsigned char expected[BYTES_MAX];
    static unsigned char is[BYTES_MAX + 1];
    char path[256];
    (void)snprintf(path, sizeof path, "%s/%s", folder, names[name]);
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0)
        return number < 1;
    ssize_t length = read(fd, is, sizeof is);
    (void)close(fd);
    return number >= 1 && (size_t)length == content(files, number, expected) &&
           memcmp(is, expected, (size_t)length) == 0;
}

// The newest write of a name up to and with `number`, below 1 when there is none.
static int newest(int name, int number)
{
    while (number > 0 && number % FILES_NAMES != name)
        number--;
    return number;
}

int files_check(const struct files *files, const char *folder, int acknowledged, char *why,
                size_t size)
{
    for (int name = 0; name < FILES_NAMES; name++) {
        bool old = holds(files, folder, name, newest(name, acknowledged));
        bool new =
            acknowledged < files->count &&
            (acknowledged + 1) % FILES_NAMES == name &&holds(files, folder, name, acknowledged + 1);
        if (!old && !new) {
            (void)snprintf(why, size, "%s holds neither what it held after write %d nor the next",
                           names[name], acknowledged);
            return -1;
        }
    }
    for (int i = files->count - FILES_NAMES + 1; i <= files->count; i++)
        if (put(files, folder, i, why, size) != 0)
            return -1;
    for (int name = 0; name < FILES_NAMES; name++)
        if (!holds(files, folder, name, newest(name, files->count))) {
            (void)snprintf(why, size, "%s cannot be written anew", names[name]);
            return -1;
        }
    return 0;
}
