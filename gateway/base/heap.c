#include "base/heap.h"

#include <malloc.h>

// From here on a block is mapped, and goes back to the system when it is freed. Set, because the C
// library raises it otherwise with each such block that is freed.
#define LARGE_BYTES (128 * 1024)

void heap_prepare(void)
{
    (void)mallopt(M_ARENA_MAX, 1);
    (void)mallopt(M_MMAP_THRESHOLD, LARGE_BYTES);
}

void heap_trim(void)
{
    (void)malloc_trim(0);
}
