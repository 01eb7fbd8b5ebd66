#include "scan/ear.h"

#include "drivers/frame.h"

#include <string.h>

#define EXCEPTION_BIT 0x80
#define EXCEPTION_SIZE 5
#define FUNCTION_LAST 4
#define UNIT_LAST 247

void scan_ear_clear(struct scan_ear *ear)
{
    ear->length = 0;
}

void scan_ear_add(struct scan_ear *ear, const uint8_t *bytes, size_t length)
{
    if (length > SCAN_EAR_MAX) {
        bytes += length - SCAN_EAR_MAX;
        length = SCAN_EAR_MAX;
    }
    if (ear->length + length > SCAN_EAR_MAX) {
        size_t lost = ear->length + length - SCAN_EAR_MAX;
        ear->length -= lost;
        memmove(ear->bytes, ear->bytes + lost, ear->length);
    }
    memcpy(ear->bytes + ear->length, bytes, length);
    ear->length += length;
}

static bool is_sealed(const uint8_t *bytes, size_t size)
{
    uint16_t crc = frame_crc16(bytes, size - 2);
    return bytes[size - 2] == (uint8_t)crc && bytes[size - 1] == (uint8_t)(crc >> 8);
}

// Size of the reply that begins here, 0 where none does.
static size_t reply_size(const uint8_t *bytes, size_t length)
{
    if (length < EXCEPTION_SIZE || bytes[0] == 0 || bytes[0] > UNIT_LAST)
        return 0;
    uint8_t function = bytes[1] & (uint8_t)~EXCEPTION_BIT;
    if (function == 0 || function > FUNCTION_LAST || bytes[2] == 0)
        return 0;
    size_t size = EXCEPTION_SIZE + ((bytes[1] & EXCEPTION_BIT) != 0 ? (size_t)0 : bytes[2]);
    return size <= length && is_sealed(bytes, size) ? size : 0;
}

static bool is_request(const uint8_t *bytes, size_t length)
{
    return length >= FRAME_RTU_REQUEST_SIZE && bytes[1] >= 1 && bytes[1] <= FUNCTION_LAST &&
           is_sealed(bytes, FRAME_RTU_REQUEST_SIZE);
}

static void drop(struct scan_ear *ear, size_t length)
{
    ear->length -= length;
    memmove(ear->bytes, ear->bytes + length, ear->length);
}

enum scan_heard scan_ear_take(struct scan_ear *ear, int *unit)
{
    for (size_t at = 0; at < ear->length; at++) {
        const uint8_t *bytes = ear->bytes + at;
        size_t length = ear->length - at;
        size_t reply = reply_size(bytes, length);
        if (reply == 0 && !is_request(bytes, length))
            continue;
        *unit = bytes[0];
        drop(ear, at + (reply > 0 ? reply : FRAME_RTU_REQUEST_SIZE));
        return reply > 0 ? SCAN_HEARD_REPLY : SCAN_HEARD_ECHO;
    }
    return SCAN_HEARD_NOTHING;
}
