#include "drivers/late.h"

#include <string.h>

#define EXCEPTION_BIT 0x80
#define EXCEPTION_SIZE 5

void late_init(struct late *late, int response_timeout_ms)
{
    int64_t window_ms = (int64_t)response_timeout_ms * LATE_WINDOW_TIMEOUTS;
    if (window_ms < LATE_WINDOW_LEAST_MS)
        window_ms = LATE_WINDOW_LEAST_MS;
    *late = (struct late){.window_ns = window_ms * 1000000};
}

static void remove_at(struct late *late, int index)
{
    late->count--;
    memmove(&late->list[index], &late->list[index + 1],
            (size_t)(late->count - index) * sizeof late->list[0]);
}

static void forget_old(struct late *late, int64_t now_ns)
{
    for (int i = late->count - 1; i >= 0; i--)
        if (late->list[i].until_ns <= now_ns)
            remove_at(late, i);
}

void late_add(struct late *late, const struct request *request, int64_t now_ns)
{
    forget_old(late, now_ns);
    if (late->count == LATE_MAX)
        return; // late_blocks holds everything back while it is full
    late->list[late->count++] = (struct late_request){
        .unit = request->unit,
        .function = request->function,
        .data_size = (uint16_t)frame_data_size(request),
        .until_ns = now_ns + late->window_ns,
    };
}

bool late_blocks(struct late *late, const struct request *request, int64_t now_ns)
{
    forget_old(late, now_ns);
    if (late->count == LATE_MAX)
        return true;
    for (int i = 0; i < late->count; i++) {
        const struct late_request *entry = &late->list[i];
        if (entry->unit == request->unit && entry->function == request->function &&
            entry->data_size == frame_data_size(request))
            return true;
    }
    return false;
}

bool late_expects(const struct late *late, const struct request *request)
{
    for (int i = 0; i < late->count; i++)
        if (late->list[i].unit == request->unit && late->list[i].function == request->function)
            return true;
    return false;
}

// Length of the reply to one entry that the bytes (three at least) begin with, 0 when they do not.
static size_t entry_reply_size(const struct late_request *entry, const uint8_t *bytes)
{
    if (bytes[0] != entry->unit)
        return 0;
    if (bytes[1] == (entry->function | EXCEPTION_BIT))
        return EXCEPTION_SIZE;
    bool reply = bytes[1] == entry->function && bytes[2] == entry->data_size;
    return reply ? EXCEPTION_SIZE + (size_t)entry->data_size : 0;
}

size_t late_reply_size(const struct late *late, const uint8_t *bytes, size_t length)
{
    for (int i = 0; i < late->count && length >= 3; i++) {
        size_t size = entry_reply_size(&late->list[i], bytes);
        if (size > 0)
            return size;
    }
    return 0;
}

bool late_reply_is_whole(const uint8_t *bytes, size_t size)
{
    uint16_t crc = (uint16_t)(bytes[size - 2] | bytes[size - 1] << 8);
    return frame_crc16(bytes, size - 2) == crc;
}
