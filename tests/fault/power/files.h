// The small files of a gateway (configuration, keys, certificates), each replaced whole by
// base/file.h: after a cut each is what it was, or what it was to be.
#ifndef METERGATE_TESTS_FAULT_POWER_FILES_H
#define METERGATE_TESTS_FAULT_POWER_FILES_H

#include "chance.h"

#include <stddef.h>

#define FILES_NAMES 3

struct files {
    uint64_t seed;
    int count; // of writes; the n-th, from 1, is to the file n % FILES_NAMES
};

// Writes them in turn, and marks the disk with the newest write that was acknowledged. -1 with
// `why`.
int files_live(struct files *files, const char *folder, struct chance *chance, char *why,
               size_t size);
// What a cut left when write `acknowledged` had been, and the next one perhaps; then each is
// written once more. -1 with `why`.
int files_check(const struct files *files, const char *folder, int acknowledged, char *why,
                size_t size);

#endif
