// What a power cut leaves of a record.
#undef _FORTIFY_SOURCE
#include "disk.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#define SHM_SIZE 32768
#define GARBLED_ONE_IN 12 // of the sectors of a torn write

// What becomes of what no sync made last.
enum mercy {
    MERCY_ALL,    // all of it is there
    MERCY_NONE,   // nothing
    MERCY_EACH,   // each for itself
    MERCY_BEFORE, // all up to a moment, nothing after
};

struct content {
    unsigned char *bytes;
    size_t length, room;
};

struct name {
    char text[DISK_NAME];
    int file;
};

struct cut {
    const struct disk_record *record;
    struct chance *chance;
    int at;
    struct content files[DISK_FILES];
    struct name names[2 * DISK_FILES];
    int name_count;
    int synced[DISK_FILES]; // the newest sync of each file before the cut
    enum mercy mercies[DISK_FILES];
    enum mercy names_mercy;
    int moment; // of MERCY_BEFORE
    bool garbles;
    bool whole; // no write is torn
};

static void die(const char *what)
{
    (void)fprintf(stderr, "power_cut: %s: %s\n", what, strerror(errno));
    abort();
}

static void length_set(struct content *content, size_t length)
{
    if (length > content->room) {
        content->room = length + length / 2 + 4096;
        content->bytes = realloc(content->bytes, content->room);
        if (content->bytes == NULL)
            die("memory");
    }
    if (length > content->length)
        memset(content->bytes + content->length, 0, length - content->length);
    content->length = length;
}

static void put(struct content *content, size_t offset, const unsigned char *bytes, size_t length)
{
    if (length == 0)
        return;
    if (offset + length > content->length)
        length_set(content, offset + length);
    memcpy(content->bytes + offset, bytes, length);
}

// --- bytes ---

static void garble(struct cut *cut, struct content *content, size_t offset, size_t length)
{
    unsigned char noise[DISK_SECTOR];
    for (size_t i = 0; i < length; i++)
        noise[i] = (unsigned char)chance_next(cut->chance);
    put(content, offset, noise, length);
}

// Each sector that the write touches is there, is not, or (the head was over it) is spoilt as far
// as it was to be written.
static void tear(struct cut *cut, const struct disk_step *step, struct content *content)
{
    size_t offset = (size_t)step->offset;
    size_t end = offset + step->length;
    const unsigned char *bytes = cut->record->bytes + step->bytes;
    while (offset < end) {
        size_t next = (offset / DISK_SECTOR + 1) * DISK_SECTOR;
        size_t length = (next < end ? next : end) - offset;
        if (cut->garbles && chance_one_in(cut->chance, GARBLED_ONE_IN))
            garble(cut, content, offset, length);
        else if (chance_one_in(cut->chance, 2))
            put(content, offset, bytes, length);
        bytes += length;
        offset += length;
    }
}

static bool survives(struct cut *cut, enum mercy mercy, int number)
{
    switch (mercy) {
    case MERCY_ALL: return true;
    case MERCY_EACH: return chance_one_in(cut->chance, 2);
    case MERCY_BEFORE: return number < cut->moment;
    default: return false;
    }
}

static void write_do(struct cut *cut, int number)
{
    const struct disk_step *step = &cut->record->steps[number];
    struct content *content = &cut->files[step->file];
    enum mercy mercy = cut->mercies[step->file];
    bool last = number < cut->synced[step->file];
    bool torn = !last && !cut->whole &&
                (number == cut->at || (mercy == MERCY_EACH && chance_one_in(cut->chance, 3)) ||
                 (mercy == MERCY_BEFORE && number == cut->moment));
    if (torn)
        tear(cut, step, content);
    else if (last || survives(cut, mercy, number))
        put(content, (size_t)step->offset, cut->record->bytes + step->bytes, step->length);
}

static void truncate_do(struct cut *cut, int number)
{
    const struct disk_step *step = &cut->record->steps[number];
    if (number < cut->synced[step->file] || survives(cut, cut->mercies[step->file], number))
        length_set(&cut->files[step->file], step->length);
}

// --- names ---

static void name_remove(struct cut *cut, const char *text)
{
    for (int i = 0; i < cut->name_count; i++)
        if (strcmp(cut->names[i].text, text) == 0)
            cut->names[i--] = cut->names[--cut->name_count];
}

static void name_set(struct cut *cut, const char *text, int file)
{
    name_remove(cut, text);
    if (cut->name_count == 2 * DISK_FILES)
        die("more names than there is room for");
    struct name *name = &cut->names[cut->name_count++];
    (void)snprintf(name->text, sizeof name->text, "%s", text);
    name->file = file;
}

static bool in_folder(const char *folder, const char *name)
{
    size_t length = strlen(folder);
    return strncmp(folder, name, length) == 0 && strchr(name + length, '/') == NULL;
}

// A renaming lasts with a sync of the folder that it goes to.
static bool name_lasts(const struct cut *cut, int number)
{
    const struct disk_step *step = &cut->record->steps[number];
    const char *name = step->call == DISK_RENAME ? step->to : step->name;
    for (int i = number + 1; i < cut->at; i++)
        if (cut->record->steps[i].call == DISK_SYNC_FOLDER &&
            in_folder(cut->record->steps[i].name, name))
            return true;
    return false;
}

static void name_do(struct cut *cut, int number)
{
    const struct disk_step *step = &cut->record->steps[number];
    if (!name_lasts(cut, number) && !survives(cut, cut->names_mercy, number))
        return;
    if (step->call == DISK_OPEN) {
        name_set(cut, step->name, step->file);
    } else if (step->call == DISK_UNLINK) {
        name_remove(cut, step->name);
    } else {
        name_remove(cut, step->name);
        name_set(cut, step->to, step->file);
    }
}

// --- the whole ---

static enum mercy draw(struct chance *chance)
{
    static const enum mercy drawn[] = {MERCY_ALL,  MERCY_NONE, MERCY_NONE,   MERCY_EACH,
                                       MERCY_EACH, MERCY_EACH, MERCY_BEFORE, MERCY_BEFORE};
    return drawn[chance_between(chance, 0, sizeof drawn / sizeof drawn[0] - 1)];
}

static void prepare(struct cut *cut)
{
    const struct disk_record *record = cut->record;
    cut->moment = cut->at > 0 ? (int)chance_between(cut->chance, 0, cut->at) : 0;
    cut->garbles = chance_one_in(cut->chance, 4);
    cut->names_mercy = draw(cut->chance);
    enum mercy common = draw(cut->chance);
    bool alike = chance_one_in(cut->chance, 2); // all files, else each as it comes
    for (int i = 0; i < record->file_count; i++) {
        cut->mercies[i] = alike ? common : draw(cut->chance);
        if (record->files[i].name[0] != '\0')
            name_set(cut, record->files[i].name, i);
        if (record->files[i].base != NULL)
            put(&cut->files[i], 0, record->files[i].base, record->files[i].base_length);
    }
    for (int i = 0; i < cut->at; i++)
        if (record->steps[i].call == DISK_SYNC)
            cut->synced[record->steps[i].file] = i;
}

static void replay(struct cut *cut)
{
    for (int i = 0; i <= cut->at && i < cut->record->step_count; i++) {
        switch (cut->record->steps[i].call) {
        case DISK_WRITE: write_do(cut, i); break;
        case DISK_TRUNCATE: truncate_do(cut, i); break;
        case DISK_OPEN:
        case DISK_UNLINK:
        case DISK_RENAME: name_do(cut, i); break;
        default: break;
        }
    }
}

static void file_put(const char *folder, const char *name, const void *bytes, size_t length)
{
    char path[2 * DISK_NAME + 2];
    (void)snprintf(path, sizeof path, "%s/%s", folder, name);
    for (char *slash = path + strlen(folder) + 1; (slash = strchr(slash, '/')) != NULL; slash++) {
        *slash = '\0';
        (void)mkdir(path, 0700);
        *slash = '/';
    }
    int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
    if (fd < 0 || write(fd, bytes, length) != (ssize_t)length)
        die(path);
    (void)close(fd);
}

// The store's shared memory: whatever lies there after a cut is of no worth.
static void memory_put(struct chance *chance, const char *folder, const char *name)
{
    static unsigned char bytes[SHM_SIZE];
    char shm[2 * DISK_NAME];
    if (chance_one_in(chance, 2))
        return;
    uint64_t fill = chance_one_in(chance, 2) ? chance_next(chance) : 0;
    for (size_t i = 0; i < sizeof bytes; i++)
        bytes[i] = (unsigned char)(fill >> (i % 8 * 8));
    (void)snprintf(shm, sizeof shm, "%.*s-shm", (int)strlen(name) - 4, name);
    file_put(folder, shm, bytes, sizeof bytes);
}

void disk_empty(const char *folder)
{
    DIR *dir = opendir(folder);
    if (dir == NULL)
        die(folder);
    for (struct dirent *entry; (entry = readdir(dir)) != NULL;)
        if (entry->d_type == DT_REG)
            (void)unlinkat(dirfd(dir), entry->d_name, 0);
    (void)closedir(dir);
}

static void leave(struct cut *cut, const char *folder)
{
    replay(cut);
    disk_empty(folder);
    for (int i = 0; i < cut->name_count; i++) {
        const struct content *content = &cut->files[cut->names[i].file];
        file_put(folder, cut->names[i].text, content->bytes, content->length);
        size_t length = strlen(cut->names[i].text);
        if (length > 4 && strcmp(cut->names[i].text + length - 4, "-wal") == 0)
            memory_put(cut->chance, folder, cut->names[i].text);
    }
    for (int i = 0; i < DISK_FILES; i++)
        free(cut->files[i].bytes);
    free(cut);
}

static struct cut *cut_new(const struct disk_record *record, int at, struct chance *chance)
{
    struct cut *cut = calloc(1, sizeof *cut);
    if (cut == NULL)
        die("memory");
    cut->record = record;
    cut->chance = chance;
    cut->at = at;
    prepare(cut);
    return cut;
}

void disk_cut(const struct disk_record *record, int at, struct chance *chance, const char *folder)
{
    leave(cut_new(record, at, chance), folder);
}

void disk_kill(const struct disk_record *record, int at, struct chance *chance, const char *folder)
{
    struct cut *cut = cut_new(record, at - 1, chance); // the last one that was done
    cut->names_mercy = MERCY_ALL;
    cut->whole = true;
    for (int i = 0; i < record->file_count; i++)
        cut->mercies[i] = MERCY_ALL;
    leave(cut, folder);
}
