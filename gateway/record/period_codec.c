// A period as bytes, for the store. Format 2: varints, names as they are, doubles as their eight
// bytes, least significant first. Format 1 had no reasons.
#include "record/period.h"

#include <math.h>
#include <string.h>

#define FORMAT 2
#define FORMAT_WITHOUT_REASONS 1
#define KNOWN_START 1
#define KNOWN_END 2
#define EXCHANGED 4
#define KNOWN_JUMP 8
#define MARKS_MAX 15
#define QUALITY_MAX QUALITY_MISSING

static void add_double(struct buf *out, double number)
{
    uint64_t bits;
    memcpy(&bits, &number, sizeof bits);
    for (int i = 0; i < 8; i++)
        buf_add_byte(out, (uint8_t)(bits >> (8 * i)));
}

static double read_double(struct cursor *cursor)
{
    uint64_t bits = 0;
    for (int i = 0; i < 8; i++)
        bits |= (uint64_t)cursor_byte(cursor) << (8 * i);
    double number;
    memcpy(&number, &bits, sizeof number);
    return number;
}

static void encode_counter(const struct period_channel *channel, struct buf *out)
{
    buf_add_byte(
        out,
        (uint8_t)((channel->start_known ? KNOWN_START : 0) | (channel->end_known ? KNOWN_END : 0) |
                  (channel->exchanged ? EXCHANGED : 0) | (channel->jump_known ? KNOWN_JUMP : 0)));
    buf_add_byte(out, channel->start_quality);
    buf_add_byte(out, channel->end_quality);
    buf_add_byte(out, channel->last_quality);
    buf_add_zigzag(out, channel->start_micro);
    buf_add_zigzag(out, channel->end_micro);
    buf_add_zigzag(out, channel->last_ms);
    buf_add_zigzag(out, channel->last_micro);
    if (channel->jump_known)
        buf_add_zigzag(out, channel->jump_micro);
}

static void encode_gauge(const struct period_channel *channel, struct buf *out)
{
    buf_add_varint(out, (uint64_t)channel->weight_ms);
    if (channel->weight_ms > 0) {
        add_double(out, channel->min);
        add_double(out, channel->mean);
        add_double(out, channel->max);
    }
}

void period_encode(const struct period *period, struct buf *out)
{
    buf_add_byte(out, FORMAT);
    buf_add_byte(out, (uint8_t)period->span);
    buf_add_byte(out, period->first);
    buf_add_byte(out, period->quality);
    buf_add_varint(out, (uint64_t)period->version);
    buf_add_zigzag(out, period->from_ms);
    buf_add_varint(out, (uint64_t)(period->to_ms - period->from_ms));
    buf_add_varint(out, (uint64_t)period->good);
    buf_add_varint(out, (uint64_t)period->suspect);
    buf_add_varint(out, (uint64_t)period->missing);
    reasons_encode(&period->reasons, out);
    buf_add_byte(out, (uint8_t)period->channel_count);
    for (int i = 0; i < period->channel_count; i++) {
        const struct period_channel *channel = &period->channels[i];
        size_t length = strnlen(channel->name, sizeof channel->name - 1);
        buf_add_byte(out, (uint8_t)length);
        buf_add(out, channel->name, length);
        buf_add_byte(out, channel->kind);
        buf_add_byte(out, channel->quality);
        buf_add_varint(out, channel->why);
        if (channel->kind == CHANNEL_COUNTER)
            encode_counter(channel, out);
        else
            encode_gauge(channel, out);
    }
}

// Counts and lengths are far below this; above it a sum could overflow.
static int64_t read_count(struct cursor *cursor)
{
    uint64_t count = cursor_varint(cursor);
    cursor->failed = cursor->failed || count > INT64_MAX / 4;
    return cursor->failed ? 0 : (int64_t)count;
}

static uint8_t read_up_to(struct cursor *cursor, uint8_t max)
{
    uint8_t byte = cursor_byte(cursor);
    cursor->failed = cursor->failed || byte > max;
    return byte;
}

static int64_t read_micro(struct cursor *cursor)
{
    int64_t micro = cursor_zigzag(cursor);
    cursor->failed = cursor->failed || micro >= MICRO_LIMIT || micro <= -MICRO_LIMIT;
    return micro;
}

static void decode_counter(struct cursor *cursor, struct period_channel *out)
{
    uint8_t known = read_up_to(cursor, MARKS_MAX);
    out->start_known = (known & KNOWN_START) != 0;
    out->end_known = (known & KNOWN_END) != 0;
    out->exchanged = (known & EXCHANGED) != 0;
    out->jump_known = (known & KNOWN_JUMP) != 0;
    out->start_quality = read_up_to(cursor, QUALITY_MAX);
    out->end_quality = read_up_to(cursor, QUALITY_MAX);
    out->last_quality = read_up_to(cursor, QUALITY_MAX);
    out->start_micro = read_micro(cursor);
    out->end_micro = read_micro(cursor);
    out->last_ms = cursor_zigzag(cursor);
    out->last_micro = read_micro(cursor);
    if (out->jump_known)
        out->jump_micro = read_micro(cursor);
}

static void decode_gauge(struct cursor *cursor, struct period_channel *out)
{
    out->weight_ms = read_count(cursor);
    if (out->weight_ms > 0) {
        out->min = read_double(cursor);
        out->mean = read_double(cursor);
        out->max = read_double(cursor);
        cursor->failed =
            cursor->failed || !isfinite(out->min) || !isfinite(out->mean) || !isfinite(out->max);
    }
}

static void decode_channel(struct cursor *cursor, struct period_channel *out)
{
    uint8_t length = read_up_to(cursor, sizeof out->name - 1);
    const uint8_t *name = cursor->failed ? NULL : cursor_bytes(cursor, length);
    if (name == NULL || memchr(name, '\0', length) != NULL) {
        cursor->failed = true;
        return;
    }
    memcpy(out->name, name, length);
    out->kind = read_up_to(cursor, CHANNEL_EXACT);
    out->quality = read_up_to(cursor, QUALITY_MAX);
    uint64_t why = cursor_varint(cursor);
    cursor->failed = cursor->failed || why > UINT16_MAX;
    out->why = (uint16_t)why;
    if (out->kind == CHANNEL_COUNTER)
        decode_counter(cursor, out);
    else
        decode_gauge(cursor, out);
}

static void decode_reasons(struct cursor *cursor, bool told, struct period *out)
{
    if (told) {
        reasons_decode(cursor, &out->reasons);
    } else {
        reasons_add(&out->reasons, QUALITY_SUSPECT, WHY_OTHER, out->suspect);
        reasons_add(&out->reasons, QUALITY_MISSING, WHY_OTHER, out->missing);
    }
}

static void decode_head(struct cursor *cursor, bool told, struct period *out)
{
    out->span = (enum span)read_up_to(cursor, SPAN_MONTH);
    out->first = read_up_to(cursor, 1) != 0;
    out->quality = read_up_to(cursor, QUALITY_MAX);
    int64_t version = read_count(cursor);
    out->from_ms = cursor_zigzag(cursor);
    int64_t length = read_count(cursor);
    out->good = read_count(cursor);
    out->suspect = read_count(cursor);
    out->missing = read_count(cursor);
    decode_reasons(cursor, told, out);
    out->channel_count = read_up_to(cursor, PERIOD_CHANNELS_MAX);
    if (out->span == 0 || version < 1 || version > INT32_MAX || length == 0 ||
        __builtin_add_overflow(out->from_ms, length, &out->to_ms) ||
        __builtin_add_overflow(out->good + out->suspect, out->missing, &out->expected))
        cursor->failed = true;
    out->version = (int)version;
}

int period_decode(const void *bytes, size_t length, struct period *out)
{
    struct cursor cursor = cursor_of(bytes, length);
    struct period period = {0};
    uint8_t format = cursor_byte(&cursor);
    if (format != FORMAT && format != FORMAT_WITHOUT_REASONS)
        return -1;
    decode_head(&cursor, format == FORMAT, &period);
    for (int i = 0; i < period.channel_count && !cursor.failed; i++)
        decode_channel(&cursor, &period.channels[i]);
    if (cursor.failed || cursor.at != cursor.end)
        return -1;
    *out = period;
    return 0;
}
