#include "store/pack.h"

#include <string.h>

static void marks_pack(const struct profile *profile, const struct image *image, struct buf *marks)
{
    bool all_read = true;
    for (int i = 0; i < profile->field_count; i++)
        all_read = all_read && image->why[i] == 0;
    for (int i = 0; !all_read && i < profile->field_count;) {
        int run = 1;
        while (i + run < profile->field_count && image->why[i + run] == image->why[i])
            run++;
        buf_add_varint(marks, (uint64_t)run);
        buf_add_varint(marks, image->why[i]);
        i += run;
    }
}

// A doubted field keeps its words.
static bool has_words(const struct image *image, int field)
{
    return image->why[field] == WHY_NONE || why_is_doubt(image->why[field]);
}

void image_pack(const struct profile *profile, const struct image *image, struct buf *words,
                struct buf *marks)
{
    buf_clear(words);
    buf_clear(marks);
    for (int i = 0; i < profile->field_count; i++) {
        const struct field *field = &profile->fields[i];
        for (int word = 0; has_words(image, i) && word < field->words; word++) {
            uint16_t value = image->words[field->place + word];
            buf_add_byte(words, (uint8_t)(value >> 8));
            buf_add_byte(words, (uint8_t)(value & 0xFF));
        }
    }
    marks_pack(profile, image, marks);
}

static int marks_unpack(const struct profile *profile, const void *marks, size_t length,
                        struct image *out)
{
    struct cursor cursor = cursor_of(marks, length);
    int field = 0;
    while (length > 0 && field < profile->field_count) {
        uint64_t run = cursor_varint(&cursor);
        uint64_t why = cursor_varint(&cursor);
        if (cursor.failed || run == 0 || run > (uint64_t)(profile->field_count - field) ||
            why > UINT16_MAX)
            return -1;
        for (; run > 0; run--)
            out->why[field++] = (uint16_t)why;
    }
    return cursor.at == cursor.end ? 0 : -1;
}

int image_unpack(const struct profile *profile, const void *words, size_t words_length,
                 const void *marks, size_t marks_length, struct image *out)
{
    struct image image = {.why = {0}};
    if (marks_unpack(profile, marks, marks_length, &image) != 0)
        return -1;
    struct cursor cursor = cursor_of(words, words_length);
    for (int i = 0; i < profile->field_count; i++) {
        const struct field *field = &profile->fields[i];
        for (int word = 0; has_words(&image, i) && word < field->words; word++) {
            unsigned high = cursor_byte(&cursor);
            unsigned low = cursor_byte(&cursor);
            image.words[field->place + word] = (uint16_t)(high << 8 | low);
        }
    }
    if (cursor.failed || cursor.at != cursor.end)
        return -1;
    *out = image;
    return 0;
}
