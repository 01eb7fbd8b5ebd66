// `--log FILE`: every frame in and out, a JSON line each.
#ifndef METERGATE_DRIVERS_SIMULATOR_FRAME_LOG_H
#define METERGATE_DRIVERS_SIMULATOR_FRAME_LOG_H

#include "base/err.h"

#include <stddef.h>
#include <stdint.h>

struct frame_log;

struct frame_record {
    int64_t wall_ns; // Unix time: first byte of a frame in, last byte of a frame out
    uint32_t tick;
    const char *link;
    int unit;          // -1: no frame that tells one
    const char *meter; // NULL: none has that unit
    const char *dir;   // "in", "out"; "none": a request that stays without a reply
    const uint8_t *bytes;
    size_t length;
    const char *fault; // "" for none
};

// The old content of the file goes.
int frame_log_open(const char *path, struct frame_log **out, struct err *err);
// A NULL log takes and drops everything.
void frame_log_add(struct frame_log *log, const struct frame_record *record);
// Hands what was added to the kernel: once for each turn of the loop.
void frame_log_flush(struct frame_log *log);
// -1 when something could not be written at any time.
int frame_log_close(struct frame_log *log, struct err *err);

#endif
