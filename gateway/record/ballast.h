// A file that holds space of the disk, to be given up when the disk is full: at a full disk even a
// deletion needs some. Beside the store; up to 8 MiB, at most a sixteenth of the disk.
#ifndef METERGATE_RECORD_BALLAST_H
#define METERGATE_RECORD_BALLAST_H

#include <stdbool.h>
#include <stdint.h>

#define BALLAST_FILE "ballast"

// Free bytes of the disk that holds `directory`; -1 when that cannot be told.
int64_t ballast_disk_free(const char *directory);
// Makes it where it is missing and four times as much would be left free. Whether it is there now.
bool ballast_make(const char *directory);
// Gives it up; whether there was one.
bool ballast_drop(const char *directory);

#endif
