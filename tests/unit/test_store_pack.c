#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "store/pack.h"

#include "property.h"

#include <string.h>

// Fields of random sizes, one after the other.
static void random_profile(struct profile *profile)
{
    *profile = (struct profile){.field_count = (uint8_t)random_between(0, PROFILE_FIELDS_MAX)};
    int place = 0;
    for (int i = 0; i < profile->field_count; i++) {
        int words = (int)random_between(1, 4);
        if (place + words > PROFILE_WORDS_MAX) {
            profile->field_count = (uint8_t)i;
            break;
        }
        profile->fields[i].words = (uint8_t)words;
        profile->fields[i].place = (uint16_t)place;
        place += words;
    }
    profile->word_count = (uint16_t)place;
}

static void random_image(const struct profile *profile, struct image *image)
{
    memset(image, 0, sizeof *image);
    int64_t damage = random_between(0, 3);
    for (int i = 0; i < profile->field_count; i++) {
        const struct field *field = &profile->fields[i];
        image->why[i] = (uint16_t)(random_between(1, 4) <= damage ? random_magnitude() & 0x1FF : 0);
        if (damage > 0 && random_between(1, 20) == 1)
            image->why[i] = WHY_EXCHANGED;
        bool read = image->why[i] == 0 || why_is_doubt(image->why[i]);
        for (int word = 0; read && word < field->words; word++)
            image->words[field->place + word] = (uint16_t)random_u64();
    }
}

static void test_round_trip(void **state)
{
    (void)state;
    struct buf words;
    struct buf marks;
    buf_init(&words, 1024);
    buf_init(&marks, 1024);
    for (int round = 0; round < 20000; round++) {
        struct profile profile;
        struct image image;
        struct image back;
        random_profile(&profile);
        random_image(&profile, &image);
        image_pack(&profile, &image, &words, &marks);
        assert_false(words.failed || marks.failed);
        assert_int_equal(
            image_unpack(&profile, words.data, words.length, marks.data, marks.length, &back), 0);
        assert_memory_equal(&back, &image, sizeof image);
    }
    buf_release(&words);
    buf_release(&marks);
}

static void test_sizes(void **state)
{
    (void)state;
    struct profile profile = {.field_count = 8};
    for (int i = 0; i < 8; i++)
        profile.fields[i] = (struct field){.words = 2, .place = (uint16_t)(2 * i)};
    struct image image = {.words = {0x0102, 0x0304}};
    struct buf words;
    struct buf marks;
    buf_init(&words, 1024);
    buf_init(&marks, 1024);
    image_pack(&profile, &image, &words, &marks);
    assert_int_equal(words.length, 32);
    assert_memory_equal(words.data, "\x01\x02\x03\x04", 4);
    assert_int_equal(marks.length, 0);
    for (int i = 0; i < 8; i++)
        image.why[i] = WHY_TIMEOUT;
    image_pack(&profile, &image, &words, &marks);
    assert_int_equal(words.length, 0);
    assert_int_equal(marks.length, 2); // a silent meter
    buf_release(&words);
    buf_release(&marks);
}

// Random and cut bytes are refused or unpack to something that packs to the same bytes; never read
// beyond their end (ASan).
static void test_foreign_bytes(void **state)
{
    (void)state;
    struct buf words;
    struct buf marks;
    buf_init(&words, 1024);
    buf_init(&marks, 1024);
    int refused = 0;
    for (int round = 0; round < 20000; round++) {
        struct profile profile;
        struct image image;
        random_profile(&profile);
        random_image(&profile, &image);
        image_pack(&profile, &image, &words, &marks);
        size_t words_length = words.length;
        size_t marks_length = marks.length;
        if (random_between(0, 1) == 0 && words_length > 0) {
            words_length = (size_t)random_between(0, (int64_t)words_length - 1);
        } else if (marks_length > 0) {
            marks.data[random_between(0, (int64_t)marks_length - 1)] ^=
                (char)(1 << random_between(0, 7));
        } else {
            continue;
        }
        char *exact = malloc(words_length + 1); // so that ASan sees one byte too many
        assert_non_null(exact);
        memcpy(exact + 1, words.data == NULL ? "" : words.data, words_length);
        refused +=
            image_unpack(&profile, exact + 1, words_length, marks.data, marks_length, &image) != 0;
        free(exact);
    }
    assert_true(refused > 5000);
    buf_release(&words);
    buf_release(&marks);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_round_trip),
        cmocka_unit_test(test_sizes),
        cmocka_unit_test(test_foreign_bytes),
    };
    random_start("test_store_pack");
    return cmocka_run_group_tests_name("store/pack", tests, NULL, NULL);
}
