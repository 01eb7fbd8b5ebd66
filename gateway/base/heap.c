#include "base/heap.h"

#include <malloc.h>
#include <stdint.h>
#include <sys/mman.h>

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

#define PAGE_BYTES 4096  // where pages are larger the kernel refuses, and all stays
#define FRAME_BYTES 1024 // of this function and the system call

__attribute__((noinline)) void stack_release(void)
{
    uintptr_t end = (uintptr_t)__builtin_frame_address(0) - FRAME_BYTES;
    end -= end % PAGE_BYTES;
    (void)madvise((void *)(end - STACK_GIVEN_BACK), STACK_GIVEN_BACK, MADV_DONTNEED);
}
