// What is due next among many: a binary heap of entries that live in their owners.
#ifndef METERGATE_DRIVERS_SIMULATOR_DUE_HEAP_H
#define METERGATE_DRIVERS_SIMULATOR_DUE_HEAP_H

#include <stdint.h>

#define DUE_NEVER INT64_MAX

struct due {
    int64_t at_ns;
    int index; // in the heap, -1 outside; set to -1 before first use
};

struct due_heap {
    struct due **entries;
    int count;
    int size;
};

void due_heap_release(struct due_heap *heap);
// Puts the entry in, moves it, or with DUE_NEVER takes it out. -1 when memory is short.
int due_heap_set(struct due_heap *heap, struct due *due, int64_t at_ns);
// The earliest, NULL when empty.
struct due *due_heap_first(const struct due_heap *heap);

#endif
