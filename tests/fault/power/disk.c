// libc's calls, taken: fortified inline versions would stand beside them.
#undef _FORTIFY_SOURCE
#include "disk.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#define FDS 1024
#define NOT_OURS (-1)

const char *const disk_call_texts[DISK_CALLS] = {"open", "read",   "write",  "truncate",
                                                 "sync", "rename", "unlink", "sync of the folder"};

static struct disk_record *now; // NULL: nothing is recorded
static struct {
    bool used, folder;
    int file;             // of the record
    char name[DISK_NAME]; // of a folder
} fds[FDS];
static char names[DISK_FILES][DISK_NAME]; // where each file is now, "" nowhere

static void die(const char *what)
{
    (void)fprintf(stderr, "power_cut: %s: %s\n", what, strerror(errno));
    abort();
}

static void *room(void *at, size_t size)
{
    void *memory = realloc(at, size);
    if (memory == NULL)
        die("memory");
    return memory;
}

// --- faults ---

static struct disk_fault fault;
static int fault_count, fault_struck;
static bool fault_held;

void disk_fail(const struct disk_fault *wanted)
{
    fault = wanted == NULL ? (struct disk_fault){.calls = 0} : *wanted;
    fault_count = fault_struck = 0;
}

int disk_struck(void)
{
    return fault_struck;
}

void disk_hold(bool held)
{
    fault_held = held;
}

static bool strikes(enum disk_call call)
{
    if (fault_held || (fault.calls & 1U << call) == 0)
        return false;
    fault_count++;
    bool hit = fault.lasting ? fault_count >= fault.at : fault_count == fault.at;
    fault_struck += hit;
    errno = hit ? fault.error : errno;
    return hit;
}

// --- the record ---

// A path's name within the folder; NULL: it is not in it, or not of the disk.
static const char *inside(const char *path)
{
    size_t length = now == NULL ? 0 : strlen(now->folder);
    if (length == 0 || strncmp(path, now->folder, length) != 0)
        return NULL;
    if (path[length] != '/' && path[length] != '\0')
        return NULL;
    const char *name = path + length + (path[length] == '/');
    size_t end = strlen(name);
    if (end >= DISK_NAME - 1)
        die(path);
    return end > 4 && strcmp(name + end - 4, "-shm") == 0 ? NULL : name;
}

static int file_named(const char *name)
{
    for (int i = 0; i < now->file_count; i++)
        if (strcmp(names[i], name) == 0)
            return i;
    return NOT_OURS;
}

static int file_add(const char *name)
{
    if (now->file_count == DISK_FILES)
        die("more files than there is room for");
    int file = now->file_count++;
    now->files[file] = (struct disk_file){.base = NULL};
    (void)snprintf(names[file], DISK_NAME, "%s", name);
    return file;
}

static struct disk_step *step_add(enum disk_call call, int file)
{
    if (now->step_count == now->step_room) {
        now->step_room = now->step_room == 0 ? 1024 : 2 * now->step_room;
        now->steps = room(now->steps, (size_t)now->step_room * sizeof *now->steps);
    }
    struct disk_step *step = &now->steps[now->step_count++];
    *step = (struct disk_step){.call = call, .file = file, .mark = now->mark};
    return step;
}

static void write_add(int file, int64_t offset, const void *bytes, size_t length)
{
    struct disk_step *step = step_add(DISK_WRITE, file);
    while (now->byte_count + length > now->byte_room) {
        now->byte_room = now->byte_room == 0 ? 1 << 20 : 2 * now->byte_room;
        now->bytes = room(now->bytes, now->byte_room);
    }
    memcpy(now->bytes + now->byte_count, bytes, length);
    step->offset = offset;
    step->length = length;
    step->bytes = now->byte_count;
    now->byte_count += length;
}

static int watched(int fd)
{
    return now != NULL && fd >= 0 && fd < FDS && fds[fd].used && !fds[fd].folder ? fds[fd].file
                                                                                 : NOT_OURS;
}

static void base_load(const char *folder, const char *name)
{
    char path[2 * DISK_NAME + 2];
    (void)snprintf(path, sizeof path, "%s/%s", folder, name);
    struct disk_file *file = &now->files[file_add(name)];
    (void)snprintf(file->name, sizeof file->name, "%s", name);
    long fd = syscall(SYS_openat, AT_FDCWD, path, O_RDONLY | O_CLOEXEC);
    struct stat info;
    if (fd < 0 || fstat((int)fd, &info) != 0)
        die(path);
    file->base_length = (size_t)info.st_size;
    file->base = room(NULL, file->base_length + 1);
    if (read((int)fd, file->base, file->base_length) != info.st_size)
        die(path);
    (void)syscall(SYS_close, fd);
}

void disk_begin(struct disk_record *record, const char *folder)
{
    *record = (struct disk_record){.file_count = 0};
    (void)snprintf(record->folder, sizeof record->folder, "%s", folder);
    memset(fds, 0, sizeof fds);
    DIR *dir = opendir(folder);
    if (dir == NULL)
        die(folder);
    now = record;
    for (struct dirent *entry; (entry = readdir(dir)) != NULL;) {
        size_t length = strlen(entry->d_name);
        bool memory = length > 4 && strcmp(entry->d_name + length - 4, "-shm") == 0;
        if (entry->d_type == DT_REG && !memory)
            base_load(folder, entry->d_name);
    }
    (void)closedir(dir);
}

void disk_mark(int mark)
{
    if (now != NULL)
        now->mark = mark;
}

void disk_lie(void)
{
    if (now != NULL)
        now->lies = true;
}

void disk_end(void)
{
    now = NULL;
}

void disk_release(struct disk_record *record)
{
    for (int i = 0; i < record->file_count; i++)
        free(record->files[i].base);
    free(record->steps);
    free(record->bytes);
    record->steps = NULL;
    record->bytes = NULL;
    record->file_count = record->step_count = record->step_room = 0;
    record->byte_count = record->byte_room = 0;
}

// --- the calls ---

static void note_open(int fd, const char *name, int flags, bool made)
{
    struct stat info;
    if (fd >= FDS || fstat(fd, &info) != 0)
        die("a descriptor above the bound");
    fds[fd].used = true;
    fds[fd].folder = S_ISDIR(info.st_mode);
    if (fds[fd].folder) {
        (void)snprintf(fds[fd].name, DISK_NAME, "%s%s", name, name[0] == '\0' ? "" : "/");
        return;
    }
    fds[fd].file = file_named(name);
    if (made) {
        fds[fd].file = file_add(name);
        (void)snprintf(step_add(DISK_OPEN, fds[fd].file)->name, DISK_NAME, "%s", name);
    } else if (fds[fd].file == NOT_OURS) {
        die(name); // it came by a way that is not watched
    } else if ((flags & O_TRUNC) != 0 && (flags & O_ACCMODE) != O_RDONLY) {
        (void)step_add(DISK_TRUNCATE, fds[fd].file);
    }
}

int open(const char *path, int flags, ...)
{
    mode_t mode = 0;
    if ((flags & O_CREAT) != 0) {
        va_list arguments;
        va_start(arguments, flags);
        mode = va_arg(arguments, mode_t);
        va_end(arguments);
    }
    const char *name = inside(path);
    if (name != NULL && strikes(DISK_OPEN))
        return -1;
    bool there = name == NULL || syscall(SYS_access, path, F_OK) == 0;
    long fd = syscall(SYS_openat, AT_FDCWD, path, flags, mode);
    if (fd >= 0 && name != NULL)
        note_open((int)fd, name, flags, !there);
    return (int)fd;
}

int close(int fd)
{
    if (fd >= 0 && fd < FDS)
        fds[fd].used = false;
    return (int)syscall(SYS_close, fd);
}

ssize_t pread(int fd, void *bytes, size_t length, off_t offset)
{
    if (watched(fd) != NOT_OURS && strikes(DISK_READ))
        return -1;
    return syscall(SYS_pread64, fd, bytes, length, offset);
}

ssize_t read(int fd, void *bytes, size_t length)
{
    if (watched(fd) != NOT_OURS && strikes(DISK_READ))
        return -1;
    return syscall(SYS_read, fd, bytes, length);
}

// How many of the bytes are written: all, half or none.
static size_t writes(int file, size_t length)
{
    if (file == NOT_OURS || !strikes(DISK_WRITE))
        return length;
    return fault.part ? (length + 1) / 2 : 0;
}

ssize_t pwrite(int fd, const void *bytes, size_t length, off_t offset)
{
    int file = watched(fd);
    size_t wanted = writes(file, length);
    if (wanted == 0 && length > 0)
        return -1;
    long done = syscall(SYS_pwrite64, fd, bytes, wanted, offset);
    if (done > 0 && file != NOT_OURS)
        write_add(file, offset, bytes, (size_t)done);
    return done;
}

ssize_t write(int fd, const void *bytes, size_t length)
{
    int file = watched(fd);
    int64_t offset = file == NOT_OURS ? 0 : lseek(fd, 0, SEEK_CUR);
    size_t wanted = writes(file, length);
    if (wanted == 0 && length > 0)
        return -1;
    long done = syscall(SYS_write, fd, bytes, wanted);
    if (done > 0 && file != NOT_OURS)
        write_add(file, offset, bytes, (size_t)done);
    return done;
}

// The memory of tmpfs needs no sync; those of a disk are what is on record.
static int sync_call(int fd)
{
    bool ours = now != NULL && fd >= 0 && fd < FDS && fds[fd].used;
    if (!ours)
        return fcntl(fd, F_GETFD) < 0 ? -1 : 0;
    if (strikes(fds[fd].folder ? DISK_SYNC_FOLDER : DISK_SYNC))
        return -1;
    if (now->lies)
        return 0;
    if (fds[fd].folder)
        (void)snprintf(step_add(DISK_SYNC_FOLDER, NOT_OURS)->name, DISK_NAME, "%s", fds[fd].name);
    else
        (void)step_add(DISK_SYNC, fds[fd].file);
    return 0;
}

int fsync(int fd)
{
    return sync_call(fd);
}

int fdatasync(int fd)
{
    return sync_call(fd);
}

int ftruncate(int fd, off_t length)
{
    int file = watched(fd);
    if (file != NOT_OURS && strikes(DISK_TRUNCATE))
        return -1;
    long done = syscall(SYS_ftruncate, fd, length);
    if (done == 0 && file != NOT_OURS)
        step_add(DISK_TRUNCATE, file)->length = (size_t)length;
    return (int)done;
}

int posix_fallocate(int fd, off_t offset, off_t length)
{
    struct stat before;
    if (watched(fd) != NOT_OURS && strikes(DISK_TRUNCATE))
        return errno;
    if (fstat(fd, &before) != 0)
        return errno;
    if (syscall(SYS_fallocate, fd, 0, offset, length) != 0)
        return errno;
    int file = watched(fd);
    if (file != NOT_OURS && offset + length > before.st_size)
        step_add(DISK_TRUNCATE, file)->length = (size_t)(offset + length);
    return 0;
}

int unlink(const char *path)
{
    const char *name = inside(path);
    if (name != NULL && strikes(DISK_UNLINK))
        return -1;
    long done = syscall(SYS_unlinkat, AT_FDCWD, path, 0);
    int file = name == NULL ? NOT_OURS : file_named(name);
    if (done == 0 && file != NOT_OURS) {
        (void)snprintf(step_add(DISK_UNLINK, file)->name, DISK_NAME, "%s", name);
        names[file][0] = '\0';
    }
    return (int)done;
}

int rename(const char *from, const char *to)
{
    const char *name = inside(from);
    const char *other = inside(to);
    if (name != NULL && strikes(DISK_RENAME))
        return -1;
    long done = syscall(SYS_renameat2, AT_FDCWD, from, AT_FDCWD, to, 0);
    int file = name == NULL ? NOT_OURS : file_named(name);
    if (done != 0 || file == NOT_OURS)
        return (int)done;
    if (other == NULL)
        die("a file leaves the folder");
    int replaced = file_named(other);
    if (replaced != NOT_OURS)
        names[replaced][0] = '\0';
    struct disk_step *step = step_add(DISK_RENAME, file);
    (void)snprintf(step->name, DISK_NAME, "%s", name);
    (void)snprintf(step->to, DISK_NAME, "%s", other);
    (void)snprintf(names[file], DISK_NAME, "%s", other);
    return 0;
}

// glibc gives the same calls a second name where offsets have 64 bits anyhow.
int open64(const char *path, int flags, ...) __attribute__((alias("open")));
ssize_t pread64(int fd, void *bytes, size_t length, off64_t offset) __attribute__((alias("pread")));
ssize_t pwrite64(int fd, const void *bytes, size_t length, off64_t offset)
    __attribute__((alias("pwrite")));
int ftruncate64(int fd, off64_t length) __attribute__((alias("ftruncate")));
int posix_fallocate64(int fd, off64_t offset, off64_t length)
    __attribute__((alias("posix_fallocate")));
