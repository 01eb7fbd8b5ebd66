// Frames, sessions, the login throttle and password hashes of the control socket. Time is handed
// in.
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "control/frame.h"
#include "control/password.h"
#include "control/session.h"

#include <stdio.h>
#include <string.h>

#define MAX 1000

// --- frames ---

static void test_frame_round_trip(void **state)
{
    (void)state;
    struct buf out;
    buf_init(&out, 4096);
    frame_add(&out, "{\"id\":1}", 8);
    frame_add(&out, "[]", 2);
    assert_int_equal(out.length, 8 + 2 + 2 * FRAME_HEAD);
    assert_memory_equal(out.data, "\0\0\0\x08{\"id\":1}\0\0\0\x02[]", out.length);
    const char *text = NULL;
    size_t length = 0;
    // However the bytes are cut: no frame before its last byte.
    for (size_t have = 0; have < 12; have++) {
        assert_int_equal(frame_next(out.data, have, MAX, &text, &length), 0);
        assert_null(text);
    }
    assert_int_equal(frame_next(out.data, 12, MAX, &text, &length), 1);
    assert_int_equal(length, 8);
    assert_memory_equal(text, "{\"id\":1}", 8);
    frame_drop(&out, 12);
    assert_int_equal(frame_next(out.data, out.length, MAX, &text, &length), 1);
    assert_memory_equal(text, "[]", 2);
    frame_drop(&out, out.length);
    assert_int_equal(out.length, 0);
    assert_int_equal(frame_next(out.data, out.length, MAX, &text, &length), 0);
    buf_release(&out);
}

static void test_frame_bounds(void **state)
{
    (void)state;
    const char *text = NULL;
    size_t length = 0;
    assert_int_equal(frame_next("\0\0\0\0", 4, MAX, &text, &length), -1);     // empty
    assert_int_equal(frame_next("\0\0\x03\xE9", 4, MAX, &text, &length), -1); // 1001
    assert_int_equal(frame_next("\0\0\x03\xE8", 4, MAX, &text, &length), 0);
    assert_int_equal(frame_next("\xFF\xFF\xFF\xFF", 4, MAX, &text, &length), -1);
    struct buf small;
    buf_init(&small, 9);
    frame_add(&small, "123456", 6); // ten bytes with the head
    assert_true(small.failed);
    assert_int_equal(small.length, 0);
    buf_release(&small);
}

// --- sessions ---

static void make_token(int number, char token[static TOKEN_SIZE])
{
    (void)snprintf(token, TOKEN_SIZE, "%032x", (unsigned)number + 1);
}

static void test_session_times(void **state)
{
    (void)state;
    static struct session_table table;
    struct account account = {.name = "anna", .role = ROLE_TECHNICIAN};
    char token[TOKEN_SIZE];
    make_token(7, token);
    int64_t start = 5000;
    memset(&table, 0, sizeof table);
    session_begin(&table, token, &account, start);
    const struct session *session = session_find(&table, token, start + SESSION_IDLE_MS - 1, false);
    assert_non_null(session);
    assert_string_equal(session->account, "anna");
    assert_int_equal(session->role, ROLE_TECHNICIAN);
    // Looking without touching did not begin the idle time anew.
    assert_null(session_find(&table, token, start + SESSION_IDLE_MS, true));
    assert_null(session_find(&table, token, start, true)); // and it is gone for good

    session_begin(&table, token, &account, start);
    int64_t now = start;
    while (now + SESSION_IDLE_MS - 1 < start + SESSION_LIFE_MS) {
        now += SESSION_IDLE_MS - 1;
        assert_non_null(session_find(&table, token, now, true));
    }
    assert_null(session_find(&table, token, start + SESSION_LIFE_MS, true));
}

static void test_session_tokens(void **state)
{
    (void)state;
    static struct session_table table;
    struct account account = {.name = "anna", .role = ROLE_VIEWER};
    char token[TOKEN_SIZE];
    memset(&table, 0, sizeof table);
    make_token(0, token);
    session_begin(&table, token, &account, 0);
    char wrong[TOKEN_SIZE];
    for (int i = 0; i < TOKEN_SIZE - 1; i++) {
        memcpy(wrong, token, sizeof wrong);
        wrong[i] = wrong[i] == 'f' ? 'e' : 'f';
        assert_null(session_find(&table, wrong, 1, true));
    }
    assert_null(session_find(&table, "", 1, true)); // a free row has an empty token
    assert_null(session_find(&table, "00", 1, true));
    assert_null(session_find(&table, "000000000000000000000000000000010", 1, true));
    session_end(&table, "");
    assert_non_null(session_find(&table, token, 1, true));
    session_end(&table, token);
    assert_null(session_find(&table, token, 1, true));
}

static void test_session_bound(void **state)
{
    (void)state;
    static struct session_table table;
    char token[TOKEN_SIZE];
    memset(&table, 0, sizeof table);
    for (int i = 0; i < SESSIONS_MAX; i++) {
        struct account account = {.role = ROLE_VIEWER};
        (void)snprintf(account.name, sizeof account.name, "user%d", i % 2);
        make_token(i, token);
        session_begin(&table, token, &account, i);
    }
    make_token(0, token);
    assert_non_null(session_find(&table, token, 1000, true)); // now the one idle longest is 1
    struct account more = {.name = "more", .role = ROLE_LEADER};
    make_token(SESSIONS_MAX, token);
    session_begin(&table, token, &more, 1000);
    assert_non_null(session_find(&table, token, 1000, false));
    for (int i = 0; i < SESSIONS_MAX; i++) {
        make_token(i, token);
        assert_int_equal(session_find(&table, token, 1000, false) != NULL, i != 1);
    }
    session_end_account(&table, "user0");
    for (int i = 2; i < SESSIONS_MAX; i++) {
        make_token(i, token);
        assert_int_equal(session_find(&table, token, 1000, false) != NULL, i % 2 == 1);
    }
}

// --- throttle ---

static void test_throttle_minute(void **state)
{
    (void)state;
    static struct throttle throttle;
    char name[16];
    int wait_s = -1;
    memset(&throttle, 0, sizeof throttle);
    int64_t now = 1000000;
    for (int i = 0; i < THROTTLE_MINUTE_MAX; i++) {
        (void)snprintf(name, sizeof name, "user%d", i);
        assert_true(throttle_try(&throttle, name, now + i, &wait_s));
    }
    assert_false(throttle_try(&throttle, "other", now + 500, &wait_s));
    assert_int_equal(wait_s, 60);
    assert_false(throttle_try(&throttle, "other", now + 59999, &wait_s));
    assert_int_equal(wait_s, 1);
    assert_true(throttle_try(&throttle, "other", now + 60000, &wait_s));
}

// Whatever comes, no minute sees more than 10 tries and no hour more than 100 of one account.
static void test_throttle_flood(void **state)
{
    (void)state;
    static struct throttle throttle;
    static int64_t allowed[2000];
    int count = 0;
    int wait_s = 0;
    memset(&throttle, 0, sizeof throttle);
    for (int64_t now = 0; now < INT64_C(3) * 3600000; now += 700)
        if (throttle_try(&throttle, "leader", now, &wait_s))
            allowed[count++] = now;
        else
            assert_true(wait_s > 0);
    for (int i = 0; i < count; i++) {
        assert_true(i < 10 || allowed[i] - allowed[i - 10] >= 60000);
        assert_true(i < 100 || allowed[i] - allowed[i - 100] >= 3600000);
    }
    assert_int_equal(count, 300); // and no fewer than that: the bound is not a lock
    // Another account is not shut out by the hour's bound of the first.
    assert_true(throttle_try(&throttle, "anna", INT64_C(3) * 3600000 - 60000 * 20, &wait_s));
}

static void test_flood(void **state)
{
    (void)state;
    struct flood flood = {.minute_max = 20, .hour_max = 50};
    for (int i = 0; i < 20; i++)
        assert_true(flood_record(&flood, 100 + i));
    assert_true(flood_is_full(&flood, 200));
    for (int i = 0; i < 1234; i++)
        assert_false(flood_record(&flood, 59999));
    assert_true(flood_record(&flood, 60000)); // the next minute
    assert_int_equal(flood_count(&flood, 119998), 0);
    assert_int_equal(flood_count(&flood, 119999), 1234); // once
    assert_int_equal(flood_count(&flood, 999999), 0);
    int recorded = 21;
    for (int64_t now_ms = 120000; now_ms < INT64_C(3600000); now_ms += 1000)
        recorded += flood_record(&flood, now_ms);
    assert_int_equal(recorded, 50); // of the hour
    assert_int_equal(flood_count(&flood, 3600000), 3480 - 29);
    assert_true(flood_record(&flood, 3600000));
}

// --- passwords ---

static void test_password_rule(void **state)
{
    (void)state;
    struct err err;
    char text[600];
    assert_int_equal(password_check("elevenchars", &err), -1);
    assert_non_null(strstr(err.text, "11 characters"));
    assert_int_equal(password_check("twelve chars", &err), 0);
    assert_int_equal(password_check("燃气表网关登录口令很长呀", &err), 0); // 12 characters
    assert_int_equal(password_check("燃气表网关登录口令很长", &err), -1);
    memset(text, 'a', sizeof text);
    text[128] = '\0';
    assert_int_equal(password_check(text, &err), 0);
    text[128] = 'a';
    text[129] = '\0';
    assert_int_equal(password_check(text, &err), -1);
}

static void test_password_hash(void **state)
{
    (void)state;
    struct err err = {""};
    char hash[PASSWORD_HASH_SIZE];
    char again[PASSWORD_HASH_SIZE];
    assert_int_equal(password_hash("correct horse battery", hash, &err), 0);
    assert_int_equal(password_hash("correct horse battery", again, &err), 0);
    assert_memory_equal(hash, "scrypt$32768$8$3$", 17);
    assert_string_not_equal(hash, again); // a salt of its own
    assert_int_equal(password_verify(hash, "correct horse battery", &err), 1);
    assert_int_equal(password_verify(hash, "correct horse batterz", &err), 0);
    assert_int_equal(password_verify(password_nobody(), "correct horse battery", &err), 0);
    assert_string_equal(err.text, "");
}

// RFC 7914, section 12, second vector: the first 32 bytes of scrypt("password", "NaCl", 1024, 8,
// 16).
static void test_password_known_answer(void **state)
{
    (void)state;
    struct err err;
    const char *known = "scrypt$1024$8$16$4e61436c$"
                        "fdbabe1c9d3472007856e7190d01e9fe7c6ad7cbc8237830e77376634b373162";
    assert_int_equal(password_verify(known, "password", &err), 1);
    assert_int_equal(password_verify(known, "Password", &err), 0);
}

static void test_password_damaged(void **state)
{
    (void)state;
    static const char *const damaged[] = {
        "",
        "scrypt",
        "scrypt$32768$8$3$00$00",
        "md5$1$2$3$4e61436c$00",
        "scrypt$1024$8$16$4e61436c$"
        "fdbabe1c9d3472007856e7190d01e9fe7c6ad7cbc8237830e77376634b3731620",
        "scrypt$1000$8$1$4e61436c$" // not a power of two: the helper refuses
        "fdbabe1c9d3472007856e7190d01e9fe7c6ad7cbc8237830e77376634b373162"};
    for (size_t i = 0; i < sizeof damaged / sizeof damaged[0]; i++) {
        struct err err = {""};
        assert_int_equal(password_verify(damaged[i], "password", &err), -1);
        assert_string_not_equal(err.text, "");
    }
    struct err err;
    char text[PASSWORD_BYTES_MAX + 2];
    memset(text, 'a', sizeof text);
    text[PASSWORD_BYTES_MAX + 1] = '\0';
    assert_int_equal(password_verify(password_nobody(), text, &err), -1);
}

int main(int argc, char **argv)
{
    // password.c starts its own program as the helper: here that is this one.
    if (argc > 1 && strcmp(argv[1], "hash") == 0)
        return hash_main(argc - 1, argv + 1);
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_frame_round_trip),      cmocka_unit_test(test_frame_bounds),
        cmocka_unit_test(test_session_times),         cmocka_unit_test(test_session_tokens),
        cmocka_unit_test(test_session_bound),         cmocka_unit_test(test_throttle_minute),
        cmocka_unit_test(test_throttle_flood),        cmocka_unit_test(test_flood),
        cmocka_unit_test(test_password_rule),         cmocka_unit_test(test_password_hash),
        cmocka_unit_test(test_password_known_answer), cmocka_unit_test(test_password_damaged)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
