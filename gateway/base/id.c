#include "base/id.h"

#include "base/log.h"

#include <errno.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>

static bool is_letter_or_digit(char c)
{
    return (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9');
}

bool id_is_valid(const char *text)
{
    if (text == NULL || !is_letter_or_digit(text[0]))
        return false;
    size_t length = 1;
    while (is_letter_or_digit(text[length]) || text[length] == '-')
        if (++length >= ID_SIZE)
            return false;
    return text[length] == '\0' && strcmp(text, "gateway") != 0;
}

void uuid_make(char text[static UUID_SIZE])
{
    uint8_t bytes[16];
    ssize_t got = 0;
    do { // up to 256 bytes come whole or not at all
        got = getrandom(bytes, sizeof bytes, 0);
    } while (got < 0 && errno == EINTR);
    if (got != (ssize_t)sizeof bytes) {
        log_error("base", "the kernel gives no random numbers: %s", strerror(errno));
        abort();
    }
    bytes[6] = (uint8_t)((bytes[6] & 0x0FU) | 0x40U);
    bytes[8] = (uint8_t)((bytes[8] & 0x3FU) | 0x80U);
    size_t at = 0;
    for (size_t i = 0; i < sizeof bytes; i++) {
        if (i == 4 || i == 6 || i == 8 || i == 10)
            text[at++] = '-';
        text[at++] = "0123456789abcdef"[bytes[i] >> 4];
        text[at++] = "0123456789abcdef"[bytes[i] & 0x0FU];
    }
    text[at] = '\0';
}
