#include "drivers/value.h"

#include <stdio.h>

static const char *const quality_texts[] = {
    [QUALITY_GOOD] = "good",           [QUALITY_ARCHIVE] = "archive", [QUALITY_MANUAL] = "manual",
    [QUALITY_ESTIMATED] = "estimated", [QUALITY_SUSPECT] = "suspect", [QUALITY_MISSING] = "missing",
};

static const char *const why_texts[] = {
    [WHY_NONE] = "",
    [WHY_TIMEOUT] = "timeout",
    [WHY_CRC] = "crc",
    [WHY_FRAME] = "frame",
    [WHY_LINK_DOWN] = "link-down",
    [WHY_UNVERIFIED] = "unverified",
    [WHY_STORE_FULL] = "store-full",
    [WHY_NOT_AVAILABLE] = "not-available",
    [WHY_NOT_A_NUMBER] = "not-a-number",
    [WHY_BAD_BCD] = "bad-bcd",
    [WHY_OUT_OF_RANGE] = "out-of-range",
    [WHY_NOT_POLLED] = "not-polled",
    [WHY_INTERPOLATED] = "interpolated",
    [WHY_REVERSED] = "reversed",
    [WHY_UNCONFIRMED] = "unconfirmed",
    [WHY_EXCHANGED] = "exchanged",
    [WHY_OVERLOAD] = "overload",
    [WHY_READ_BACK] = "read-back",
    [WHY_GATEWAY_DOWN] = "gateway-down",
    [WHY_GATEWAY_STOPPED] = "gateway-stopped",
    [WHY_NOT_CONFIGURED] = "not-configured",
    [WHY_CLOCK_BACK] = "clock-back",
    [WHY_OTHER] = "other",
};

const char *why_text(uint16_t why, char text[static WHY_TEXT_MAX])
{
    if (why < sizeof why_texts / sizeof why_texts[0] && why_texts[why] != NULL)
        (void)snprintf(text, WHY_TEXT_MAX, "%s", why_texts[why]);
    else if (why >= WHY_EXCEPTION && why <= WHY_EXCEPTION + UINT8_MAX)
        (void)snprintf(text, WHY_TEXT_MAX, "exception-%d", why - WHY_EXCEPTION);
    else // a row of a newer program
        (void)snprintf(text, WHY_TEXT_MAX, "why-%u", (unsigned)why);
    return text;
}

const char *quality_text(enum quality quality)
{
    if (quality < 0 || (size_t)quality >= sizeof quality_texts / sizeof quality_texts[0])
        return "missing"; // never show what is not understood as better than it is
    return quality_texts[quality];
}

enum quality quality_worst(enum quality a, enum quality b)
{
    return a > b ? a : b;
}
