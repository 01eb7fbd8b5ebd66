// Writes JSON into a bounded buffer. Decimals go through verbatim (a library that keeps numbers as
// doubles cannot hold 9007199254740.993). Text is escaped; bytes that are not UTF-8 become U+FFFD.
//
// The writer asserts that calls nest and that keys stand only in objects: a wrong call is our own
// bug. Whether everything fitted: `!writer->out->failed`.
#ifndef METERGATE_BASE_WRITER_H
#define METERGATE_BASE_WRITER_H

#include "base/buf.h"

#define WRITER_DEPTH_MAX 16

struct writer {
    struct buf *out;
    int depth;
    char kind[WRITER_DEPTH_MAX]; // '{' or '['
    bool comma[WRITER_DEPTH_MAX];
    bool after_key;
};

void writer_init(struct writer *writer, struct buf *out);

void writer_object(struct writer *writer); // {
void writer_array(struct writer *writer);  // [
void writer_end(struct writer *writer);    // } or ]
void writer_key(struct writer *writer, const char *key);

void writer_text(struct writer *writer, const char *text); // NULL becomes null
void writer_int(struct writer *writer, int64_t value);
void writer_bool(struct writer *writer, bool value);
void writer_null(struct writer *writer);
void writer_micro(struct writer *writer, int64_t micro);             // canonical decimal
void writer_gauge(struct writer *writer, double number, bool exact); // NaN and infinity become null
void writer_time(struct writer *writer, int64_t wall_ms);            // "2026-11-23T08:15:00.412Z"
void writer_raw(struct writer *writer, const char *text,
                size_t length); // a value that is JSON already

// key and value in one call
void writer_key_text(struct writer *writer, const char *key, const char *text);
void writer_key_int(struct writer *writer, const char *key, int64_t value);
void writer_key_bool(struct writer *writer, const char *key, bool value);
void writer_key_null(struct writer *writer, const char *key);
void writer_key_micro(struct writer *writer, const char *key, int64_t micro);
void writer_key_gauge(struct writer *writer, const char *key, double number, bool exact);
void writer_key_time(struct writer *writer, const char *key, int64_t wall_ms);

#endif
