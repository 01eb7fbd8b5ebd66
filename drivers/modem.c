#include "drivers/modem.h"

#include <string.h>

#define HEX "hex:"

static int digit_of(char digit)
{
    static const char digits[] = "0123456789abcdef0123456789ABCDEF";
    const char *at = digit != '\0' ? strchr(digits, digit) : NULL;
    return at != NULL ? (int)((at - digits) % 16) : -1;
}

static int hex_parse(const char *text, struct modem_bytes *out, struct err *err)
{
    struct modem_bytes bytes = {0};
    for (const char *at = text; *at != '\0'; at += 2) {
        int high = digit_of(at[0]);
        int low = high >= 0 ? digit_of(at[1]) : -1;
        if (low < 0)
            return err_set(err, "'%.20s' is no pair of hexadecimal digits; write it like hex:0A1F",
                           at);
        if (bytes.length == MODEM_BYTES_MAX)
            return err_set(err, "too long; allowed: at most %d bytes", MODEM_BYTES_MAX);
        bytes.bytes[bytes.length++] = (uint8_t)(16 * high + low);
    }
    *out = bytes;
    return 0;
}

int modem_bytes_parse(const char *text, struct modem_bytes *out, struct err *err)
{
    if (strncmp(text, HEX, strlen(HEX)) == 0)
        return hex_parse(text + strlen(HEX), out, err);
    size_t length = strlen(text);
    if (length > MODEM_BYTES_MAX)
        return err_set(err, "too long; allowed: at most %d bytes", MODEM_BYTES_MAX);
    *out = (struct modem_bytes){.length = (uint8_t)length};
    memcpy(out->bytes, text, length);
    return 0;
}
