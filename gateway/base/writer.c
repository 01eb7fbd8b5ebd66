#include "base/writer.h"

#include "base/decimal.h"
#include "base/timetext.h"

#include <assert.h>
#include <inttypes.h>
#include <math.h>
#include <string.h>

#define REPLACEMENT "\xEF\xBF\xBD" // U+FFFD

void writer_init(struct writer *writer, struct buf *out)
{
    *writer = (struct writer){.out = out};
}

// Writes what stands between the last value and the next one.
static void before_value(struct writer *writer)
{
    if (writer->after_key) {
        writer->after_key = false;
        return;
    }
    if (writer->depth == 0) {
        assert(!writer->comma[0]); // one value at the top
        writer->comma[0] = true;
        return;
    }
    assert(writer->kind[writer->depth - 1] == '[');
    if (writer->comma[writer->depth - 1])
        buf_add_byte(writer->out, ',');
    writer->comma[writer->depth - 1] = true;
}

static void open_group(struct writer *writer, char kind)
{
    before_value(writer);
    assert(writer->depth < WRITER_DEPTH_MAX);
    writer->kind[writer->depth] = kind;
    writer->comma[writer->depth] = false;
    writer->depth++;
    buf_add_byte(writer->out, (uint8_t)kind);
}

void writer_object(struct writer *writer)
{
    open_group(writer, '{');
}

void writer_array(struct writer *writer)
{
    open_group(writer, '[');
}

void writer_end(struct writer *writer)
{
    assert(writer->depth > 0 && !writer->after_key);
    writer->depth--;
    buf_add_byte(writer->out, writer->kind[writer->depth] == '{' ? '}' : ']');
    if (writer->depth == 0) {
        // The group's own use of this place is over: the top value is written.
        writer->comma[0] = true;
    }
}

static bool is_tail(unsigned char byte)
{
    return (byte & 0xC0) == 0x80;
}

// Length of the well-formed UTF-8 sequence at `at`, 0 when there is none. Stops at the NUL by
// itself, because NUL is not a tail byte.
static size_t utf8_length(const unsigned char *at)
{
    if (at[0] < 0x80)
        return 1;
    if (at[0] >= 0xC2 && at[0] <= 0xDF) // C0 and C1 would be overlong
        return is_tail(at[1]) ? 2 : 0;
    if (at[0] >= 0xE0 && at[0] <= 0xEF) {
        bool overlong = at[0] == 0xE0 && at[1] < 0xA0;
        bool surrogate = at[0] == 0xED && at[1] > 0x9F;
        return is_tail(at[1]) && is_tail(at[2]) && !overlong && !surrogate ? 3 : 0;
    }
    if (at[0] >= 0xF0 && at[0] <= 0xF4) {
        bool overlong = at[0] == 0xF0 && at[1] < 0x90;
        bool beyond = at[0] == 0xF4 && at[1] > 0x8F;
        return is_tail(at[1]) && is_tail(at[2]) && is_tail(at[3]) && !overlong && !beyond ? 4 : 0;
    }
    return 0;
}

static bool needs_escape(unsigned char byte)
{
    return byte < 0x20 || byte == 0x7F || byte == '"' || byte == '\\';
}

static void add_escape(struct buf *out, unsigned char byte)
{
    switch (byte) {
    case '"': buf_add_text(out, "\\\""); break;
    case '\\': buf_add_text(out, "\\\\"); break;
    case '\n': buf_add_text(out, "\\n"); break;
    case '\r': buf_add_text(out, "\\r"); break;
    case '\t': buf_add_text(out, "\\t"); break;
    default: buf_addf(out, "\\u%04x", byte); break;
    }
}

static void add_string(struct buf *out, const char *text)
{
    const unsigned char *at = (const unsigned char *)text;
    const unsigned char *clean = at; // start of what goes through as it is
    buf_add_byte(out, '"');
    while (*at != '\0') {
        size_t length = utf8_length(at);
        if (length > 0 && !needs_escape(*at)) {
            at += length;
            continue;
        }
        buf_add(out, clean, (size_t)(at - clean));
        if (length == 0)
            buf_add_text(out, REPLACEMENT);
        else
            add_escape(out, *at);
        at++;
        clean = at;
    }
    buf_add(out, clean, (size_t)(at - clean));
    buf_add_byte(out, '"');
}

void writer_key(struct writer *writer, const char *key)
{
    assert(writer->depth > 0 && writer->kind[writer->depth - 1] == '{' && !writer->after_key);
    if (writer->comma[writer->depth - 1])
        buf_add_byte(writer->out, ',');
    writer->comma[writer->depth - 1] = true;
    add_string(writer->out, key);
    buf_add_byte(writer->out, ':');
    writer->after_key = true;
}

void writer_text(struct writer *writer, const char *text)
{
    if (text == NULL) {
        writer_null(writer);
        return;
    }
    before_value(writer);
    add_string(writer->out, text);
}

void writer_int(struct writer *writer, int64_t value)
{
    before_value(writer);
    buf_addf(writer->out, "%" PRId64, value);
}

void writer_bool(struct writer *writer, bool value)
{
    before_value(writer);
    buf_add_text(writer->out, value ? "true" : "false");
}

void writer_null(struct writer *writer)
{
    before_value(writer);
    buf_add_text(writer->out, "null");
}

void writer_micro(struct writer *writer, int64_t micro)
{
    char text[DECIMAL_TEXT_MAX];
    size_t length = micro_print(micro, text);
    writer_raw(writer, text, length);
}

void writer_gauge(struct writer *writer, double number, bool exact)
{
    if (!isfinite(number)) {
        writer_null(writer);
        return;
    }
    char text[GAUGE_TEXT_MAX];
    size_t length = gauge_print(number, exact, text);
    writer_raw(writer, text, length);
}

void writer_time(struct writer *writer, int64_t wall_ms)
{
    char text[TIME_TEXT_MAX];
    (void)time_print(wall_ms, text);
    writer_text(writer, text);
}

void writer_raw(struct writer *writer, const char *text, size_t length)
{
    before_value(writer);
    buf_add(writer->out, text, length);
}

void writer_key_text(struct writer *writer, const char *key, const char *text)
{
    writer_key(writer, key);
    writer_text(writer, text);
}

void writer_key_int(struct writer *writer, const char *key, int64_t value)
{
    writer_key(writer, key);
    writer_int(writer, value);
}

void writer_key_bool(struct writer *writer, const char *key, bool value)
{
    writer_key(writer, key);
    writer_bool(writer, value);
}

void writer_key_null(struct writer *writer, const char *key)
{
    writer_key(writer, key);
    writer_null(writer);
}

void writer_key_micro(struct writer *writer, const char *key, int64_t micro)
{
    writer_key(writer, key);
    writer_micro(writer, micro);
}

void writer_key_gauge(struct writer *writer, const char *key, double number, bool exact)
{
    writer_key(writer, key);
    writer_gauge(writer, number, exact);
}

void writer_key_time(struct writer *writer, const char *key, int64_t wall_ms)
{
    writer_key(writer, key);
    writer_time(writer, wall_ms);
}
