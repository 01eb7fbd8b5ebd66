// The disk under the product. Calls of libc that change files (the product's own and SQLite's) are
// taken here, done on a folder of tmpfs, and put on record, so that what a power cut would have
// left can be made for any moment of the record: each write, truncation, creation, renaming and
// deletion that no sync made last may be there, be missing, or be torn at sectors.
//
// What a sync makes last is what POSIX promises and no more: fsync of a file its bytes and length,
// fsync of a folder the names in it. One thread. Files ending in "-shm" are memory, not disk: after
// a cut they are missing, or hold anything.
#ifndef METERGATE_TESTS_FAULT_POWER_DISK_H
#define METERGATE_TESTS_FAULT_POWER_DISK_H

#include "chance.h"

#include <stddef.h>

#define DISK_FILES 64
#define DISK_NAME 96
#define DISK_SECTOR 512

enum disk_call {
    DISK_OPEN,
    DISK_READ,
    DISK_WRITE,
    DISK_TRUNCATE,
    DISK_SYNC,
    DISK_RENAME,
    DISK_UNLINK,
    DISK_SYNC_FOLDER,
    DISK_CALLS
};
extern const char *const disk_call_texts[DISK_CALLS];

struct disk_step {
    enum disk_call call; // OPEN: a file was made; READ never
    int file;
    int64_t offset;                      // of a write
    size_t length;                       // of it; after a truncation
    size_t bytes;                        // where in the record they lie
    char name[DISK_NAME], to[DISK_NAME]; // within the folder; of a folder ends in '/', or ""
    int mark;                            // the newest one before it
};

struct disk_file {
    unsigned char *base; // what was there when the record began
    size_t base_length;
    char name[DISK_NAME]; // then; "" of one that came later
};

struct disk_record {
    char folder[DISK_NAME];
    int file_count, step_count, step_room;
    struct disk_file files[DISK_FILES];
    struct disk_step *steps;
    unsigned char *bytes;
    size_t byte_count, byte_room;
    bool lies; // no sync is on record
    int mark;
};

// Begins a record of a folder (absolute, without links). What is in it now is durable. One record
// at a time.
void disk_begin(struct disk_record *record, const char *folder);
// From here on `mark` stands in the steps: what is acknowledged.
void disk_mark(int mark);
void disk_lie(void); // from here on syncs do nothing and say that they did
void disk_end(void); // calls go through unrecorded
void disk_release(struct disk_record *record);

// Makes in `folder` (emptied first) what a power cut in the middle of step `at` leaves; at ==
// step_count: after the last one.
void disk_cut(const struct disk_record *record, int at, struct chance *chance, const char *folder);

// What a kill of the process in front of step `at` leaves: all before it, nothing else.
void disk_kill(const struct disk_record *record, int at, struct chance *chance, const char *folder);

void disk_empty(const char *folder); // removes the files in it

// A fault of the disk: of the calls of these kinds the `at`-th (from 1) fails, or it and all after.
struct disk_fault {
    unsigned calls; // 1 << enum disk_call
    int at;
    bool lasting;
    int error;
    bool part; // a write does half of its bytes instead, and says so
};
// NULL: none. Counts from here.
void disk_fail(const struct disk_fault *fault);
int disk_struck(void);     // how many calls have failed
void disk_hold(bool held); // calls of the harness itself are not counted and do not fail

#endif
