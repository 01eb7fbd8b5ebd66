#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "base/writer.h"

#include "property.h"

#include <jansson.h>
#include <math.h>
#include <signal.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#define BAD "\xEF\xBF\xBD"

static void test_document(void **state)
{
    (void)state;
    struct buf out;
    struct writer writer;
    buf_init(&out, 1000);
    writer_init(&writer, &out);
    writer_object(&writer);
    writer_key_text(&writer, "a\"b", "x\ny\\\x01\x7F");
    writer_key_text(&writer, "none", NULL);
    writer_key_int(&writer, "i", INT64_MIN);
    writer_key_bool(&writer, "t", true);
    writer_key_null(&writer, "n");
    writer_key_micro(&writer, "m", INT64_C(9007199254740993000));
    writer_key_gauge(&writer, "g", 1.0 / 3, false);
    writer_key_gauge(&writer, "x", 0.1, true);
    writer_key_gauge(&writer, "nan", (double)NAN, true);
    writer_key_gauge(&writer, "inf", -(double)INFINITY, false);
    writer_key_time(&writer, "at", INT64_C(1795421700412));
    writer_key(&writer, "list");
    writer_array(&writer);
    writer_array(&writer);
    writer_end(&writer);
    writer_object(&writer);
    writer_end(&writer);
    writer_raw(&writer, "1.50", 4);
    writer_bool(&writer, false);
    writer_end(&writer);
    writer_end(&writer);
    assert_false(out.failed);
    assert_string_equal(out.data, "{\"a\\\"b\":\"x\\ny\\\\\\u0001\\u007f\",\"none\":null,"
                                  "\"i\":-9223372036854775808,\"t\":true,\"n\":null,"
                                  "\"m\":9007199254740.993,\"g\":0.3333333,\"x\":0.1,\"nan\":null,"
                                  "\"inf\":null,\"at\":\"2026-11-23T08:15:00.412Z\","
                                  "\"list\":[[],{},1.50,false]}");
    buf_release(&out);
}

static void check_text(const char *text, const char *expected)
{
    struct buf out;
    struct writer writer;
    buf_init(&out, 1000);
    writer_init(&writer, &out);
    writer_text(&writer, text);
    assert_string_equal(out.data, expected);
    buf_release(&out);
}

static void test_utf8_vectors(void **state)
{
    (void)state;
    check_text("", "\"\"");
    check_text("\xE7\x87\x83\xE6\xB0\x94 \xF0\x9F\x94\xA5",
               "\"\xE7\x87\x83\xE6\xB0\x94 \xF0\x9F\x94\xA5\"");
    check_text("\xC0\xAF", "\"" BAD BAD "\"");                 // overlong '/'
    check_text("\xE0\x9F\xBF", "\"" BAD BAD BAD "\"");         // overlong
    check_text("\xED\xA0\x80", "\"" BAD BAD BAD "\"");         // surrogate
    check_text("\xF4\x90\x80\x80", "\"" BAD BAD BAD BAD "\""); // beyond U+10FFFF
    check_text("\xE7\x87", "\"" BAD BAD "\"");                 // cut at the end
    check_text("\xE7\"", "\"" BAD "\\\"\""); // the quote after it is still escaped
    check_text("a\xFF"
               "b\x80",
               "\"a" BAD "b" BAD "\"");
    check_text("\xF4\x8F\xBF\xBF\xEE\x80\x80", "\"\xF4\x8F\xBF\xBF\xEE\x80\x80\"");
}

// Bytes that make broken and whole sequences likely.
static void random_text(char *text, size_t size)
{
    static const unsigned char likely[] = {0xC2, 0xE0, 0xED, 0xEF, 0xF0, 0xF4, 0x80, 0x8F, 0x90,
                                           0x9F, 0xA0, 0xBF, 0xC1, 0xF5, '"',  '\\', 0x1F, 'z'};
    size_t length = (size_t)random_between(0, (int64_t)size - 1);
    for (size_t i = 0; i < length; i++) {
        int64_t pick = random_between(0, 2 * (int64_t)sizeof likely);
        text[i] = pick < (int64_t)sizeof likely ? (char)likely[pick] : (char)random_between(1, 255);
    }
    text[length] = '\0';
}

// jansson is strict about UTF-8: it tells valid texts from others and must read every output.
static void test_random_texts(void **state)
{
    (void)state;
    int valid = 0;
    for (int i = 0; i < 100000; i++) {
        char text[9];
        random_text(text, sizeof text);
        struct buf out;
        struct writer writer;
        buf_init(&out, 1000);
        writer_init(&writer, &out);
        writer_text(&writer, text);
        json_error_t error;
        json_t *back = json_loads(out.data, JSON_DECODE_ANY, &error);
        assert_non_null(back);
        json_t *same = json_string(text);
        assert_int_equal(same != NULL, strcmp(json_string_value(back), text) == 0);
        valid += same != NULL && *text != '\0' ? 1 : 0;
        json_decref(same);
        json_decref(back);
        buf_release(&out);
    }
    assert_true(valid > 1000 && valid < 99000);
}

// Builds one random value with the writer and the same one with jansson.
static json_t *random_value(struct writer *json, int depth);

static json_t *random_scalar(struct writer *json)
{
    char text[40];
    int64_t number = (int64_t)random_magnitude();
    double real = (double)random_between(-1000000000, 1000000000) / 1024 + 1.0 / 2048;
    switch (random_between(0, 4)) {
    case 0: writer_int(json, number); return json_integer(number);
    case 1: writer_bool(json, number % 2 != 0); return json_boolean(number % 2 != 0);
    case 2: writer_null(json); return json_null();
    case 3: writer_gauge(json, real, true); return json_real(real);
    default:
        (void)snprintf(text, sizeof text, "\t\"%llx\\", (unsigned long long)number);
        writer_text(json, text);
        return json_string(text);
    }
}

static json_t *random_object(struct writer *json, int depth)
{
    json_t *object = json_object();
    writer_object(json);
    for (int64_t i = random_between(0, 4); i > 0; i--) {
        char key[20];
        (void)snprintf(key, sizeof key, "k\n%d", (int)i);
        writer_key(json, key);
        assert_int_equal(json_object_set_new(object, key, random_value(json, depth)), 0);
    }
    writer_end(json);
    return object;
}

static json_t *random_array(struct writer *json, int depth)
{
    json_t *array = json_array();
    writer_array(json);
    for (int64_t i = random_between(0, 4); i > 0; i--)
        assert_int_equal(json_array_append_new(array, random_value(json, depth)), 0);
    writer_end(json);
    return array;
}

static json_t *random_value(struct writer *json, int depth)
{
    int64_t pick = depth < WRITER_DEPTH_MAX ? random_between(0, 3) : 0;
    if (pick <= 1)
        return random_scalar(json);
    return pick == 2 ? random_object(json, depth + 1) : random_array(json, depth + 1);
}

static void test_random_documents(void **state)
{
    (void)state;
    size_t longest = 0;
    for (int i = 0; i < 3000; i++) {
        struct buf out;
        struct writer writer;
        buf_init(&out, (size_t)1 << 24);
        writer_init(&writer, &out);
        json_t *expected = random_value(&writer, 0);
        assert_false(out.failed);
        json_error_t error;
        json_t *back = json_loads(out.data, JSON_DECODE_ANY | JSON_REJECT_DUPLICATES, &error);
        assert_true(json_equal(back, expected));
        longest = out.length > longest ? out.length : longest;
        json_decref(back);
        json_decref(expected);
        buf_release(&out);
    }
    assert_true(longest > 200);
}

static void test_depth_and_bound(void **state)
{
    (void)state;
    struct buf out;
    struct writer writer;
    buf_init(&out, 2 * WRITER_DEPTH_MAX);
    for (int round = 0; round < 2; round++) {
        buf_clear(&out);
        writer_init(&writer, &out);
        for (int i = 0; i < WRITER_DEPTH_MAX; i++)
            writer_array(&writer);
        for (int i = 0; i < WRITER_DEPTH_MAX; i++) {
            if (round == 1 && i == 0)
                writer_int(&writer, 1); // one byte too many
            writer_end(&writer);
        }
        assert_int_equal(out.failed, round == 1);
    }
    buf_release(&out);
}

static void key_in_array(struct writer *json)
{
    writer_array(json);
    writer_key(json, "k");
}

static void value_without_key(struct writer *json)
{
    writer_object(json);
    writer_int(json, 1);
}

static void two_keys(struct writer *json)
{
    writer_object(json);
    writer_key(json, "a");
    writer_key(json, "b");
}

static void end_after_key(struct writer *json)
{
    writer_object(json);
    writer_key(json, "a");
    writer_end(json);
}

static void end_too_often(struct writer *json)
{
    writer_object(json);
    writer_end(json);
    writer_end(json);
}

static void two_values(struct writer *json)
{
    writer_int(json, 1);
    writer_int(json, 2);
}

static void two_groups(struct writer *json)
{
    writer_array(json);
    writer_end(json);
    writer_array(json);
}

static void too_deep(struct writer *json)
{
    for (int i = 0; i <= WRITER_DEPTH_MAX; i++)
        writer_array(json);
}

// Every wrong call ends the process, here a child.
static void test_wrong_calls(void **state)
{
    (void)state;
    void (*const wrong[])(struct writer *) = {key_in_array,  value_without_key, two_keys,
                                              end_after_key, end_too_often,     two_values,
                                              two_groups,    too_deep};
    for (size_t i = 0; i < sizeof wrong / sizeof wrong[0]; i++) {
        pid_t child = fork();
        assert_true(child >= 0);
        if (child == 0) {
            struct buf out;
            struct writer writer;
            (void)signal(SIGABRT, SIG_DFL);
            (void)freopen("/dev/null", "w", stderr);
            buf_init(&out, 1000);
            writer_init(&writer, &out);
            wrong[i](&writer);
            _exit(0);
        }
        int status = 0;
        assert_int_equal(waitpid(child, &status, 0), child);
        assert_true(WIFSIGNALED(status) && WTERMSIG(status) == SIGABRT);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_document),        cmocka_unit_test(test_utf8_vectors),
        cmocka_unit_test(test_random_texts),    cmocka_unit_test(test_random_documents),
        cmocka_unit_test(test_depth_and_bound), cmocka_unit_test(test_wrong_calls),
    };
    random_start("test_base_json");
    return cmocka_run_group_tests_name("base/json", tests, NULL, NULL);
}
