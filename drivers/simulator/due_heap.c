#include "drivers/simulator/due_heap.h"

#include <stdlib.h>

#define SIZE_START 64

void due_heap_release(struct due_heap *heap)
{
    free(heap->entries);
    *heap = (struct due_heap){0};
}

struct due *due_heap_first(const struct due_heap *heap)
{
    return heap->count > 0 ? heap->entries[0] : NULL;
}

static void place(struct due_heap *heap, int index, struct due *due)
{
    heap->entries[index] = due;
    due->index = index;
}

static void move_up(struct due_heap *heap, int index)
{
    struct due *due = heap->entries[index];
    while (index > 0 && heap->entries[(index - 1) / 2]->at_ns > due->at_ns) {
        place(heap, index, heap->entries[(index - 1) / 2]);
        index = (index - 1) / 2;
    }
    place(heap, index, due);
}

static void move_down(struct due_heap *heap, int index)
{
    struct due *due = heap->entries[index];
    for (;;) {
        int child = 2 * index + 1;
        if (child + 1 < heap->count &&
            heap->entries[child + 1]->at_ns < heap->entries[child]->at_ns)
            child++;
        if (child >= heap->count || heap->entries[child]->at_ns >= due->at_ns)
            break;
        place(heap, index, heap->entries[child]);
        index = child;
    }
    place(heap, index, due);
}

static void take_out(struct due_heap *heap, struct due *due)
{
    int index = due->index;
    if (index < 0)
        return;
    due->index = -1;
    heap->count--;
    if (index < heap->count) {
        struct due *last = heap->entries[heap->count];
        place(heap, index, last);
        move_up(heap, index);
        move_down(heap, last->index);
    }
}

int due_heap_set(struct due_heap *heap, struct due *due, int64_t at_ns)
{
    if (at_ns == DUE_NEVER) {
        take_out(heap, due);
        return 0;
    }
    if (due->index < 0) {
        if (heap->count == heap->size) {
            int size = heap->size > 0 ? 2 * heap->size : SIZE_START;
            struct due **entries = realloc(heap->entries, (size_t)size * sizeof(struct due *));
            if (entries == NULL)
                return -1;
            heap->entries = entries;
            heap->size = size;
        }
        place(heap, heap->count++, due);
    }
    due->at_ns = at_ns;
    move_up(heap, due->index);
    move_down(heap, due->index);
    return 0;
}
