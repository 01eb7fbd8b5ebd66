#include "record/ballast.h"

#include <fcntl.h>
#include <stdio.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <unistd.h>

#define SIZE_MAX_BYTES (INT64_C(8) << 20)
#define SHARE 16 // of the disk
#define PAGE 4096
#define PATH_SIZE 4200

static const char *path_of(const char *directory, char path[static PATH_SIZE])
{
    (void)snprintf(path, PATH_SIZE, "%s/%s", directory, BALLAST_FILE);
    return path;
}

int64_t ballast_disk_free(const char *directory)
{
    struct statvfs disk;
    if (statvfs(directory, &disk) != 0)
        return -1;
    return (int64_t)(disk.f_bavail * disk.f_frsize);
}

static int64_t wanted_size(const struct statvfs *disk)
{
    int64_t size = (int64_t)(disk->f_blocks * disk->f_frsize) / SHARE;
    size = size < SIZE_MAX_BYTES ? size : SIZE_MAX_BYTES;
    return size - size % PAGE;
}

bool ballast_make(const char *directory)
{
    char path[PATH_SIZE];
    struct stat status;
    struct statvfs disk;
    if (statvfs(directory, &disk) != 0)
        return false;
    int64_t size = wanted_size(&disk);
    if (stat(path_of(directory, path), &status) == 0 && status.st_size >= size)
        return true;
    if (size == 0 || (int64_t)(disk.f_bavail * disk.f_frsize) / 5 < size)
        return false;
    int file = open(path, O_WRONLY | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0600);
    if (file < 0)
        return false;
    bool made = posix_fallocate(file, 0, size) == 0 && fsync(file) == 0;
    (void)close(file);
    if (!made)
        (void)unlink(path);
    return made;
}

bool ballast_drop(const char *directory)
{
    char path[PATH_SIZE];
    return unlink(path_of(directory, path)) == 0;
}
