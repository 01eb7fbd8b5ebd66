#include "base/log.h"

#include <errno.h>
#include <pthread.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

// Far below PIPE_BUF: one write of a line is never mixed with another thread's.
#define LINE_MAX_BYTES 1024

static enum log_level least = LOG_LEVEL_INFO;

void log_set_level(enum log_level level)
{
    least = level;
}

static const char *prefix(enum log_level level)
{
    if (getenv("JOURNAL_STREAM") == NULL)
        return "";
    switch (level) {
    case LOG_LEVEL_ERROR: return "<3>";
    case LOG_LEVEL_WARN: return "<4>";
    case LOG_LEVEL_INFO: return "<6>";
    case LOG_LEVEL_DEBUG: break;
    }
    return "<7>";
}

// C0, DEL and the C1 controls (C2 80 to C2 9F): terminals act on all of them.
static void blank_controls(char *text, size_t length)
{
    for (size_t i = 0; i < length; i++) {
        unsigned char byte = (unsigned char)text[i];
        if (byte < 0x20 || byte == 0x7F) {
            text[i] = '?';
        } else if (byte == 0xC2 && i + 1 < length && (unsigned char)text[i + 1] >= 0x80 &&
                   (unsigned char)text[i + 1] < 0xA0) {
            text[i] = '?';
            text[i + 1] = '?';
        }
    }
}

// Length after a cut at `length` that does not leave half a character.
static size_t cut_at_character(const char *text, size_t length)
{
    size_t cut = length;
    while (cut > 0 && length - cut < 4 && ((unsigned char)text[cut] & 0xC0) == 0x80)
        cut--;
    return cut;
}

static void write_line(const char *line, size_t length)
{
    int saved = errno; // a message must not change the error that is being handled
    while (write(STDERR_FILENO, line, length) < 0 && errno == EINTR) {
    }
    errno = saved;
}

__attribute__((format(printf, 3, 0))) static void print(enum log_level level, const char *part,
                                                        const char *format, va_list arguments)
{
    if (level > least)
        return;
    // One for all threads: it would be a quarter of the stack that a link's thread ever touches.
    // One byte more than a line holds, to see where a cut falls.
    static char line[LINE_MAX_BYTES + 1];
    static pthread_mutex_t mutex = PTHREAD_MUTEX_INITIALIZER;
    (void)pthread_mutex_lock(&mutex);
    size_t room = sizeof line;
    int head = snprintf(line, room, "%smetergate: %s: ", prefix(level), part);
    size_t length = head < 0 ? 0 : (size_t)head;
    if (length < room) {
        int body = vsnprintf(line + length, room - length, format, arguments);
        length += body < 0 ? 0 : (size_t)body;
    }
    if (length > LINE_MAX_BYTES - 1)
        length = cut_at_character(line, LINE_MAX_BYTES - 1);
    blank_controls(line, length);
    line[length] = '\n';
    write_line(line, length + 1);
    (void)pthread_mutex_unlock(&mutex);
}

void log_error(const char *part, const char *format, ...)
{
    va_list arguments;
    va_start(arguments, format);
    print(LOG_LEVEL_ERROR, part, format, arguments);
    va_end(arguments);
}

void log_warn(const char *part, const char *format, ...)
{
    va_list arguments;
    va_start(arguments, format);
    print(LOG_LEVEL_WARN, part, format, arguments);
    va_end(arguments);
}

void log_info(const char *part, const char *format, ...)
{
    va_list arguments;
    va_start(arguments, format);
    print(LOG_LEVEL_INFO, part, format, arguments);
    va_end(arguments);
}

void log_debug(const char *part, const char *format, ...)
{
    va_list arguments;
    va_start(arguments, format);
    print(LOG_LEVEL_DEBUG, part, format, arguments);
    va_end(arguments);
}
