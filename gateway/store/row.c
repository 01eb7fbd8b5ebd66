#include "store/row.h"

#include "store/database.h"

#include <string.h>

// The first byte of a row: its lane in the lowest bits, then what is as it was.
#define LANE_BITS 0x03U
#define HAS_DUE 0x04U
#define SAME_DECODER 0x08U // and flags
#define SAME_MARKS 0x10U
#define SAME_METER 0x20U
#define WORDS_DIFFER 0x40U // told as differences; else whole
#define NO_BITS 0x80U

// Two bits for each word that is told as a difference.
#define WORD_SAME 0U
#define WORD_NEAR 1U // one byte: what it is more, -128 to 127
#define WORD_WHOLE 2U
#define WORDS_PER_BYTE 4

void row_before_init(struct row_before *before, int64_t number, int meter)
{
    *before = (struct row_before){.row = {.number = number, .meter = meter}};
}

bool row_is_sound(const struct row *row)
{
    return row->number >= 1 && row->number < ROW_NUMBER_MAX && row->meter >= 1 &&
           row->meter <= ROW_METER_MAX && row->at_ms >= 0 && row->at_ms < READING_AT_MAX &&
           row->due_ms >= -READING_AT_MAX && row->due_ms < READING_AT_MAX && row->decoder >= 0 &&
           row->decoder <= INT32_MAX && row->flags >= 0 && row->flags <= INT32_MAX &&
           row->word_bytes <= ROW_WORDS_MAX && row->mark_bytes <= ROW_MARKS_MAX &&
           row->lane < LANES_END && (row->lane != 0) == (row->seq != 0) && row->seq >= 0 &&
           row->seq < ROW_NUMBER_MAX * 2;
}

static unsigned word_of(const uint8_t *bytes, size_t index)
{
    return (unsigned)bytes[2 * index] << 8 | bytes[2 * index + 1];
}

static unsigned word_code(unsigned before, unsigned now)
{
    unsigned more = (now - before + 128) & 0xFFFFU;
    return now == before ? WORD_SAME : more < 256 ? WORD_NEAR : WORD_WHOLE;
}

static size_t difference_bytes(const uint8_t *before, const uint8_t *now, size_t words)
{
    size_t bytes = (words + WORDS_PER_BYTE - 1) / WORDS_PER_BYTE;
    for (size_t i = 0; i < words; i++)
        bytes += word_code(word_of(before, i), word_of(now, i));
    return bytes;
}

static void differences_put(struct buf *out, const uint8_t *before, const uint8_t *now,
                            size_t words)
{
    uint8_t codes[ROW_WORDS_MAX / 2 / WORDS_PER_BYTE + 1] = {0};
    uint8_t rest[ROW_WORDS_MAX];
    size_t length = 0;
    for (size_t i = 0; i < words; i++) {
        unsigned code = word_code(word_of(before, i), word_of(now, i));
        codes[i / WORDS_PER_BYTE] |= (uint8_t)(code << 2 * (i % WORDS_PER_BYTE));
        if (code == WORD_NEAR) {
            rest[length++] = (uint8_t)(word_of(now, i) - word_of(before, i));
        } else if (code == WORD_WHOLE) {
            rest[length++] = now[2 * i];
            rest[length++] = now[2 * i + 1];
        }
    }
    buf_add(out, codes, (words + WORDS_PER_BYTE - 1) / WORDS_PER_BYTE);
    buf_add(out, rest, length);
}

static int differences_get(struct cursor *cursor, uint8_t *words, size_t count)
{
    const uint8_t *codes = cursor_bytes(cursor, (count + WORDS_PER_BYTE - 1) / WORDS_PER_BYTE);
    for (size_t i = 0; codes != NULL && i < count; i++) {
        unsigned code = (unsigned)codes[i / WORDS_PER_BYTE] >> 2 * (i % WORDS_PER_BYTE) & 3U;
        unsigned word = word_of(words, i);
        if (code == WORD_NEAR) {
            unsigned more = cursor_byte(cursor);
            word += more < 128 ? more : more + 0xFF00U;
        } else if (code == WORD_WHOLE) {
            word = (unsigned)cursor_byte(cursor) << 8;
            word |= cursor_byte(cursor);
        } else if (code != WORD_SAME) {
            return -1;
        }
        words[2 * i] = (uint8_t)(word >> 8);
        words[2 * i + 1] = (uint8_t)word;
    }
    return cursor->failed ? -1 : 0;
}

static bool can_differ(const struct row *before, bool same_meter, bool same_decoder)
{
    return same_meter && same_decoder && before->word_bytes > 0 && before->word_bytes % 2 == 0;
}

static uint8_t head_of(const struct row_before *before, const struct row *row)
{
    const struct row *old = &before->row;
    bool same_decoder = row->decoder == old->decoder && row->flags == old->flags;
    bool differ =
        can_differ(old, row->meter == old->meter, same_decoder) &&
        row->word_bytes == old->word_bytes &&
        difference_bytes(before->words, row->words, row->word_bytes / 2) <= row->word_bytes;
    bool same_marks =
        row->mark_bytes == old->mark_bytes &&
        (row->mark_bytes == 0 || memcmp(row->marks, before->marks, row->mark_bytes) == 0);
    return (uint8_t)((unsigned)row->lane | (row->due_ms != 0 ? HAS_DUE : 0) |
                     (same_decoder ? SAME_DECODER : 0) | (same_marks ? SAME_MARKS : 0) |
                     (row->meter == old->meter ? SAME_METER : 0) | (differ ? WORDS_DIFFER : 0));
}

// What can be told of the next row from those before it.
static int64_t foretold_due(const struct row_before *before)
{
    return before->row.due_ms + before->step_ms;
}

static int64_t foretold_seq(const struct row_before *before, const struct row *row)
{
    return before->seqs[row->lane] + row->number - before->seq_numbers[row->lane];
}

static void remember(struct row_before *before, const struct row *row, bool same_meter)
{
    struct row *old = &before->row;
    if (row->due_ms != 0 && old->due_ms != 0 && same_meter)
        before->step_ms = row->due_ms - old->due_ms;
    else
        before->step_ms = 0;
    if (row->lane != 0) {
        before->seqs[row->lane] = row->seq;
        before->seq_numbers[row->lane] = row->number;
    }
    int64_t due_ms = row->due_ms != 0 ? row->due_ms : old->due_ms;
    if (row->word_bytes > 0)
        memmove(before->words, row->words, row->word_bytes);
    if (row->mark_bytes > 0)
        memmove(before->marks, row->marks, row->mark_bytes);
    *old = *row;
    old->due_ms = due_ms;
    old->words = old->marks = NULL;
}

void row_put(struct buf *out, struct row_before *before, const struct row *row)
{
    uint8_t head = head_of(before, row);
    const struct row *old = &before->row;
    buf_add_byte(out, head);
    if ((head & SAME_METER) == 0)
        buf_add_varint(out, (uint64_t)row->meter);
    buf_add_varint(out, (uint64_t)(row->number - old->number - 1));
    if (row->lane != 0)
        buf_add_zigzag(out, row->seq - foretold_seq(before, row));
    if (row->due_ms != 0) {
        buf_add_zigzag(out, row->due_ms - foretold_due(before));
        buf_add_zigzag(out, row->at_ms - row->due_ms);
    } else {
        buf_add_zigzag(out, row->at_ms - old->at_ms);
    }
    if ((head & SAME_DECODER) == 0) {
        buf_add_varint(out, (uint64_t)row->decoder);
        buf_add_varint(out, (uint64_t)row->flags);
    }
    if ((head & SAME_MARKS) == 0) {
        buf_add_varint(out, row->mark_bytes);
        buf_add(out, row->marks, row->mark_bytes);
    }
    if ((head & WORDS_DIFFER) != 0) {
        differences_put(out, before->words, row->words, row->word_bytes / 2);
    } else {
        buf_add_varint(out, row->word_bytes);
        buf_add(out, row->words, row->word_bytes);
    }
    remember(before, row, (head & SAME_METER) != 0);
}

// Sums of what a damaged disk may say: without the undefined overflow of signed numbers.
static int64_t sum(int64_t a, int64_t b)
{
    return (int64_t)((uint64_t)a + (uint64_t)b);
}

static void times_get(struct cursor *cursor, const struct row_before *before, uint8_t head,
                      struct row *row)
{
    if ((head & HAS_DUE) != 0) {
        row->due_ms = sum(foretold_due(before), cursor_zigzag(cursor));
        row->at_ms = sum(row->due_ms, cursor_zigzag(cursor));
    } else {
        row->due_ms = 0;
        row->at_ms = sum(before->row.at_ms, cursor_zigzag(cursor));
    }
}

static int bytes_get(struct cursor *cursor, const uint8_t **bytes, size_t *length, size_t max)
{
    uint64_t count = cursor_varint(cursor);
    if (cursor->failed || count > max)
        return -1;
    *length = (size_t)count;
    *bytes = cursor_bytes(cursor, *length);
    return cursor->failed ? -1 : 0;
}

static int words_get(struct cursor *cursor, struct row_before *before, uint8_t head,
                     struct row *row)
{
    row->marks = before->marks;
    if ((head & SAME_MARKS) == 0 &&
        bytes_get(cursor, &row->marks, &row->mark_bytes, ROW_MARKS_MAX) != 0)
        return -1;
    row->words = before->words;
    if ((head & WORDS_DIFFER) == 0)
        return bytes_get(cursor, &row->words, &row->word_bytes, ROW_WORDS_MAX);
    return can_differ(&before->row, (head & SAME_METER) != 0, (head & SAME_DECODER) != 0)
               ? differences_get(cursor, before->words, row->word_bytes / 2)
               : -1;
}

int row_get(struct cursor *cursor, struct row_before *before, struct row *out)
{
    struct row row = before->row; // what is not told is as it was
    uint8_t head = cursor_byte(cursor);
    if ((head & NO_BITS) != 0)
        return -1;
    if ((head & SAME_METER) == 0) {
        uint64_t meter = cursor_varint(cursor);
        row.meter = meter <= ROW_METER_MAX ? (int)meter : 0;
    }
    uint64_t skipped = cursor_varint(cursor);
    row.number = skipped < (uint64_t)ROW_NUMBER_MAX ? row.number + 1 + (int64_t)skipped : 0;
    row.lane = (enum lane)(head & LANE_BITS);
    row.seq = row.lane == 0 ? 0 : sum(foretold_seq(before, &row), cursor_zigzag(cursor));
    times_get(cursor, before, head, &row);
    if ((head & SAME_DECODER) == 0) {
        row.decoder = (int64_t)cursor_varint(cursor);
        row.flags = (int64_t)cursor_varint(cursor);
    }
    if (words_get(cursor, before, head, &row) != 0 || cursor->failed || !row_is_sound(&row) ||
        ((head & HAS_DUE) != 0 && row.due_ms == 0))
        return -1;
    remember(before, &row, (head & SAME_METER) != 0);
    row.words = before->words;
    row.marks = before->marks;
    *out = row;
    return 0;
}

// CRC-32C, by half bytes: pages are short and the table stays in the cache.
uint32_t row_checksum(const void *bytes, size_t length)
{
    static const uint32_t table[16] = {0x00000000, 0x105ec76f, 0x20bd8ede, 0x30e349b1,
                                       0x417b1dbc, 0x5125dad3, 0x61c69362, 0x7198540d,
                                       0x82f63b78, 0x92a8fc17, 0xa24bb5a6, 0xb21572c9,
                                       0xc38d26c4, 0xd3d3e1ab, 0xe330a81a, 0xf36e6f75};
    const uint8_t *at = bytes;
    uint32_t sum_so_far = UINT32_MAX;
    for (size_t i = 0; i < length; i++) {
        sum_so_far ^= at[i];
        sum_so_far = sum_so_far >> 4 ^ table[sum_so_far & 15];
        sum_so_far = sum_so_far >> 4 ^ table[sum_so_far & 15];
    }
    return ~sum_so_far;
}
