#include "record/held.h"

#include <assert.h>
#include <string.h>

void held_take(struct held *held, struct reading *reading)
{
    assert(held->count < RECORDER_ROUND_MAX);
    held->reading[held->count++] = reading;
}

void held_drop(struct held *held, int count)
{
    for (int i = 0; i < count; i++)
        reading_free(held->reading[i]);
    held->count -= count;
    held->added = held->added > count ? held->added - count : 0;
    memmove(held->reading, held->reading + count, (size_t)held->count * sizeof held->reading[0]);
}
