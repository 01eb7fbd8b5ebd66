#include "base/err.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

static size_t sequence_length(unsigned char lead)
{
    if (lead >= 0xF0)
        return 4;
    if (lead >= 0xE0)
        return 3;
    return lead >= 0xC0 ? 2 : 1;
}

// Removes a UTF-8 sequence that the end of the buffer cut in two.
static void drop_partial_character(char *text)
{
    size_t length = strlen(text);
    size_t at = length;
    while (at > 0 && length - at < 4) {
        at--;
        if (((unsigned char)text[at] & 0xC0) != 0x80)
            break;
    }
    if (at < length && sequence_length((unsigned char)text[at]) > length - at)
        text[at] = '\0';
}

// The old message may be an argument of the new one, so callers print beside it and copy
// afterwards.
__attribute__((format(printf, 2, 0))) static void print(struct err *out, const char *format,
                                                        va_list arguments)
{
    int length = vsnprintf(out->text, sizeof out->text, format, arguments);
    if (length < 0)
        (void)snprintf(out->text, sizeof out->text, "%s", format);
    if (length >= ERR_TEXT_MAX)
        drop_partial_character(out->text);
}

int err_set(struct err *err, const char *format, ...)
{
    if (err == NULL)
        return -1;
    struct err fresh = {0};
    va_list arguments;
    va_start(arguments, format);
    print(&fresh, format, arguments);
    va_end(arguments);
    *err = fresh;
    return -1;
}

int err_add(struct err *err, const char *format, ...)
{
    if (err == NULL)
        return -1;
    struct err fresh = {0};
    va_list arguments;
    va_start(arguments, format);
    print(&fresh, format, arguments);
    va_end(arguments);

    size_t length = strlen(fresh.text);
    int added = snprintf(fresh.text + length, sizeof fresh.text - length, ": %s", err->text);
    if (added < 0 || (size_t)added >= sizeof fresh.text - length)
        drop_partial_character(fresh.text);
    *err = fresh;
    return -1;
}
