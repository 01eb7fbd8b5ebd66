#include "gas/zone.h"

#include "gas/zone_file.h"

#include "base/file.h"

#include <ctype.h>
#include <fcntl.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define NAME_SIZE 64
#define PATH_SIZE 512
#define FOLDER "/usr/share/zoneinfo"
#define FILE_MAX 65536 // the largest there are have 4 KiB

struct zone {
    struct zone *next;
    char name[NAME_SIZE];
    struct zone_table table; // its changes stand behind the zone
};

// All that were read. Only ever grows, at its head; two threads that read the same one at the same
// time keep it twice.
static _Atomic(struct zone *) zones;

// --- files ---

// A name that stays inside the zone folder.
static bool name_is_sane(const char *name)
{
    size_t length = strnlen(name, NAME_SIZE);
    if (length == 0 || length == NAME_SIZE || isalpha((unsigned char)name[0]) == 0 ||
        strncmp(name, "right/", 6) == 0)
        return false;
    for (size_t i = 0; i < length; i++)
        if (isalnum((unsigned char)name[i]) == 0 && strchr("_+-/", name[i]) == NULL)
            return false;
    return true;
}

static bool path_of(const char *name, char path[static PATH_SIZE])
{
    const char *folder = getenv("TZDIR");
    int length = snprintf(path, PATH_SIZE, "%s/%s", folder != NULL ? folder : FOLDER, name);
    return name_is_sane(name) && length > 0 && length < PATH_SIZE;
}

bool zone_exists(const char *name)
{
    char path[PATH_SIZE];
    if (!path_of(name, path))
        return false;
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0)
        return false;
    char magic[4];
    bool is_zone = read(fd, magic, sizeof magic) == sizeof magic && memcmp(magic, "TZif", 4) == 0;
    (void)close(fd);
    return is_zone;
}

static const struct zone *keep(const char *name, const struct zone_table *table)
{
    size_t size = (size_t)table->count * sizeof table->changes[0];
    struct zone *zone = malloc(sizeof *zone + size);
    if (zone == NULL)
        return NULL;
    memset(zone->name, 0, sizeof zone->name);
    (void)strncpy(zone->name, name, sizeof zone->name - 1);
    zone->table = (struct zone_table){table->count, (struct zone_change *)(zone + 1)};
    memcpy(zone->table.changes, table->changes, size);
    zone->next = atomic_load(&zones);
    while (!atomic_compare_exchange_weak(&zones, &zone->next, zone))
        ;
    return zone;
}

static const struct zone *read_zone(const char *name, struct err *err)
{
    char path[PATH_SIZE];
    struct buf file;
    const struct zone *zone = NULL;
    struct zone_table table = {0, malloc(ZONE_CHANGES_MAX * sizeof table.changes[0])};
    buf_init(&file, FILE_MAX);
    if (table.changes == NULL) {
        (void)err_set(err, "out of memory for the time zone '%s'", name);
    } else if (!zone_exists(name) || !path_of(name, path)) {
        (void)err_set(err,
                      "this machine has no time zone '%s': use a name like Asia/Shanghai, and "
                      "install the package tzdata",
                      name);
    } else if (file_read(path, &file, err) == 0) {
        if (zone_file_read(file.data, file.length, &table) != 0)
            (void)err_set(err,
                          "the time zone file %s is damaged or older than version 2: install "
                          "the package tzdata again",
                          path);
        else if ((zone = keep(name, &table)) == NULL)
            (void)err_set(err, "out of memory for the time zone '%s'", name);
    }
    buf_release(&file);
    free(table.changes);
    return zone;
}

const struct zone *zone_find(const char *name, struct err *err)
{
    for (const struct zone *zone = atomic_load(&zones); zone != NULL; zone = zone->next)
        if (strcmp(zone->name, name) == 0)
            return zone;
    return read_zone(name, err);
}

// --- instants ---

// Place of the newest change that is not after an instant.
static int change_at(const struct zone_table *table, int64_t at_s)
{
    int low = 0; // the first one has no beginning
    int high = table->count - 1;
    while (low < high) {
        int middle = low + (high - low + 1) / 2;
        if (table->changes[middle].at_s <= at_s)
            low = middle;
        else
            high = middle - 1;
    }
    return low;
}

int64_t zone_offset_s(const struct zone *zone, int64_t at_s)
{
    return zone != NULL ? zone->table.changes[change_at(&zone->table, at_s)].offset_s : 0;
}

int64_t zone_first_instant_s(const struct zone *zone, int64_t local_s)
{
    if (zone == NULL)
        return local_s;
    const struct zone_table *table = &zone->table;
    // Before that no clock shows it: none is further ahead.
    int i = change_at(table, local_s - ZONE_OFFSET_MAX_S);
    for (;; i++) {
        const struct zone_change *change = &table->changes[i];
        int64_t at_s = local_s - change->offset_s;
        at_s = at_s > change->at_s ? at_s : change->at_s;
        if (i == table->count - 1 || at_s < change[1].at_s)
            return at_s;
    }
}
