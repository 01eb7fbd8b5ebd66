// What was heard on a line while units were called one after the other. A reply names its unit, so
// it tells of its meter however late it comes: bytes are collected over several calls and whole
// frames taken out. Values are never read from them. Pure.
#ifndef METERGATE_SCAN_EAR_H
#define METERGATE_SCAN_EAR_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define SCAN_EAR_MAX 1024 // bytes; the oldest go first

struct scan_ear {
    size_t length;
    uint8_t bytes[SCAN_EAR_MAX];
};

enum scan_heard {
    SCAN_HEARD_NOTHING, // no whole frame is left
    SCAN_HEARD_REPLY,   // a reply or an exception reply with a good check sum
    SCAN_HEARD_ECHO,    // our own request: the adapter hears itself
};

void scan_ear_add(struct scan_ear *ear, const uint8_t *bytes, size_t length);
// Takes the next whole frame out, and what stands before it. `unit` is whose reply it is.
enum scan_heard scan_ear_take(struct scan_ear *ear, int *unit);
// Forgets everything.
void scan_ear_clear(struct scan_ear *ear);

#endif
