#include "base/base64url.h"

#include <string.h>

static const char alphabet[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";

void base64url_add(struct buf *out, const void *bytes, size_t length)
{
    const uint8_t *at = bytes;
    for (size_t i = 0; i < length; i += 3) {
        size_t part = length - i < 3 ? length - i : 3;
        uint32_t bits = 0;
        for (size_t k = 0; k < 3; k++)
            bits = bits << 8 | (k < part ? at[i + k] : 0);
        for (size_t k = 0; k < part + 1; k++)
            buf_add_byte(out, (uint8_t)alphabet[bits >> (18 - 6 * k) & 63]);
    }
}

static int digit(char character)
{
    const char *found = character != '\0' ? strchr(alphabet, character) : NULL;
    return found != NULL ? (int)(found - alphabet) : -1;
}

// The length without padding, -1 where the padding is not the right one.
static long unpadded(const char *text, size_t length)
{
    size_t bare = length;
    while (bare > 0 && text[bare - 1] == '=' && length - bare < 2)
        bare--;
    bool padded = bare != length;
    if (bare % 4 == 1 || (padded && length % 4 != 0))
        return -1;
    return (long)bare;
}

long base64url_read(const char *text, size_t length, uint8_t *bytes, size_t size)
{
    long bare = unpadded(text, length);
    if (bare < 0 || (size_t)bare / 4 * 3 + (size_t)bare % 4 * 3 / 4 > size)
        return -1;
    uint32_t bits = 0;
    int held = 0; // bits that are not a whole byte yet
    long count = 0;
    for (long i = 0; i < bare; i++) {
        int value = digit(text[i]);
        if (value < 0)
            return -1;
        bits = bits << 6 | (uint32_t)value;
        held += 6;
        if (held >= 8) {
            held -= 8;
            bytes[count++] = (uint8_t)(bits >> held);
            bits &= (1U << held) - 1;
        }
    }
    return bits == 0 ? count : -1;
}
