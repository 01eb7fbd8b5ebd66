#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "base/buf.h"

#include "property.h"

#include <string.h>

static void test_bound_is_exact(void **state)
{
    (void)state;
    struct buf buf;
    buf_init(&buf, 5);
    assert_null(buf.data);
    buf_add_text(&buf, "abc");
    buf_add_byte(&buf, 'd');
    buf_addf(&buf, "%d", 7);
    assert_false(buf.failed);
    assert_string_equal(buf.data, "abcd7");
    buf_add_byte(&buf, 'x');
    assert_true(buf.failed);
    assert_string_equal(buf.data, "abcd7");
    buf_clear(&buf);
    assert_false(buf.failed);
    assert_int_equal(buf.length, 0);
    assert_string_equal(buf.data, "");
    buf_addf(&buf, "%s", "123456");
    assert_true(buf.failed);
    assert_string_equal(buf.data, "");
    buf_add_text(&buf, "ok"); // a write that would fit after one that did not
    assert_int_equal(buf.length, 0);
    buf_release(&buf);
    assert_null(buf.data);
    assert_int_equal(buf.max, 5);
    assert_false(buf.failed);
    buf_release(&buf);
}

static void test_empty_writes(void **state)
{
    (void)state;
    struct buf buf;
    buf_init(&buf, 0);
    buf_add(&buf, NULL, 0);
    assert_false(buf.failed);
    assert_string_equal(buf.data, "");
    buf_add_byte(&buf, 0);
    assert_true(buf.failed);
    buf_release(&buf);

    buf_init(&buf, SIZE_MAX);
    buf_add_text(&buf, "a");
    buf_add(&buf, "", SIZE_MAX - 1); // must be refused before a byte is read
    assert_true(buf.failed);
    assert_string_equal(buf.data, "a");
    buf_release(&buf);
}

// The same random writes go to a plain array.
static void test_random_writes(void **state)
{
    (void)state;
    for (int round = 0; round < 300; round++) {
        static uint8_t model[4096];
        size_t length = 0;
        size_t max = (size_t)random_between(0, (int64_t)sizeof model);
        bool failed = false;
        struct buf buf;
        buf_init(&buf, max);
        for (int write = 0; write < 40; write++) {
            uint8_t piece[200];
            size_t count = (size_t)random_between(0, (int64_t)sizeof piece);
            memset(piece, (int)random_between(0, 255), sizeof piece);
            buf_add(&buf, piece, count);
            failed = failed || length + count > max;
            if (!failed) {
                memcpy(model + length, piece, count);
                length += count;
            }
        }
        assert_int_equal(buf.failed, failed);
        assert_int_equal(buf.length, length);
        if (buf.data != NULL) {
            assert_memory_equal(buf.data, model, length);
            assert_int_equal(buf.data[length], 0);
        }
        buf_release(&buf);
    }
}

static void check_bytes(uint64_t value, const char *bytes, size_t length)
{
    struct buf buf;
    buf_init(&buf, 10);
    buf_add_varint(&buf, value);
    assert_int_equal(buf.length, length);
    assert_memory_equal(buf.data, bytes, length);
    buf_release(&buf);
}

static void test_varint_vectors(void **state)
{
    (void)state;
    check_bytes(0, "\x00", 1);
    check_bytes(127, "\x7F", 1);
    check_bytes(128, "\x80\x01", 2);
    check_bytes(300, "\xAC\x02", 2);
    check_bytes(UINT64_MAX, "\xFF\xFF\xFF\xFF\xFF\xFF\xFF\xFF\xFF\x01", 10);

    struct buf buf;
    buf_init(&buf, 100);
    const int64_t numbers[] = {0, -1, 1, -2, 2, -64, 64};
    for (size_t i = 0; i < sizeof numbers / sizeof numbers[0]; i++)
        buf_add_zigzag(&buf, numbers[i]);
    assert_int_equal(buf.length, 8);
    assert_memory_equal(buf.data, "\x00\x01\x02\x03\x04\x7F\x80\x01", 8);
    buf_release(&buf);
}

static void test_varint_round_trip(void **state)
{
    (void)state;
    enum { COUNT = 20000 };
    static uint64_t values[COUNT];
    struct buf buf;
    buf_init(&buf, 20 * COUNT);
    for (size_t i = 0; i < COUNT; i++) {
        values[i] = i < 4 ? (uint64_t[]){0, UINT64_MAX, INT64_MAX, (uint64_t)INT64_MIN}[i]
                          : random_magnitude();
        buf_add_varint(&buf, values[i]);
        buf_add_zigzag(&buf, (int64_t)values[i]);
        buf_add_zigzag(&buf, (int64_t)~values[i]);
    }
    assert_true(buf.failed || buf.length > 0);
    struct cursor cursor = cursor_of(buf.data, buf.length);
    for (size_t i = 0; i < COUNT && !buf.failed; i++) {
        assert_int_equal(cursor_varint(&cursor), values[i]);
        assert_int_equal(cursor_zigzag(&cursor), (int64_t)values[i]);
        assert_int_equal(cursor_zigzag(&cursor), (int64_t)~values[i]);
    }
    assert_false(buf.failed);
    assert_false(cursor.failed);
    assert_ptr_equal(cursor.at, cursor.end);
    buf_release(&buf);
}

// A number that does not fit leaves no part of itself behind.
static void test_varint_is_whole(void **state)
{
    (void)state;
    struct buf buf;
    buf_init(&buf, 9);
    buf_add_varint(&buf, UINT64_MAX);
    assert_true(buf.failed);
    assert_int_equal(buf.length, 0);
    buf_release(&buf);
}

static bool varint_fails(const char *bytes, size_t length)
{
    struct cursor cursor = cursor_of(bytes, length);
    uint64_t value = cursor_varint(&cursor);
    assert_true(!cursor.failed || value == 0);
    return cursor.failed;
}

static void test_cursor_refuses(void **state)
{
    (void)state;
    assert_true(varint_fails(NULL, 0));
    assert_true(varint_fails("\x80", 1));
    assert_true(varint_fails("\xFF\xFF\xFF\xFF\xFF\xFF\xFF\xFF\xFF\x02", 10));
    assert_true(varint_fails("\x80\x80\x80\x80\x80\x80\x80\x80\x80\x80\x00", 11));
    assert_false(varint_fails("\xFF\xFF\xFF\xFF\xFF\xFF\xFF\xFF\xFF\x01", 10));

    struct cursor cursor = cursor_of("abc", 3);
    assert_memory_equal(cursor_bytes(&cursor, 2), "ab", 2);
    assert_null(cursor_bytes(&cursor, 2));
    assert_true(cursor.failed);
    assert_int_equal(cursor_byte(&cursor), 0); // 'c' is there, but the cursor has failed
    assert_null(cursor_bytes(&cursor, 0));
    assert_int_equal(cursor_varint(&cursor), 0);

    cursor = cursor_of("a", 1);
    assert_int_equal(cursor_byte(&cursor), 'a');
    assert_non_null(cursor_bytes(&cursor, 0));
    assert_null(cursor_bytes(&cursor, SIZE_MAX));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_bound_is_exact),    cmocka_unit_test(test_empty_writes),
        cmocka_unit_test(test_random_writes),     cmocka_unit_test(test_varint_vectors),
        cmocka_unit_test(test_varint_round_trip), cmocka_unit_test(test_varint_is_whole),
        cmocka_unit_test(test_cursor_refuses),
    };
    random_start("test_base_buf");
    return cmocka_run_group_tests_name("base/buf", tests, NULL, NULL);
}
