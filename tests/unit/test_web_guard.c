// What the page's process lets through at its door.
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "web/guard.h"

#include <string.h>

#define TOKEN "0123456789abcdef0123456789abcdef"

static void test_host(void **state)
{
    (void)state;
    static const char *const good[] = {"localhost",      "localhost:8443", "192.168.1.5:1",
                                       "gw_1.works.cn",  "[::1]",          "[::1]:8443",
                                       "[fe80::1]:65535"};
    static const char *const bad[] = {
        "",    ":",    ":80",    "a:",    "a:123456", "a:8o",        "a b", "a/b", "a@b",
        "a?b", "a#b",  "a\\b",   "a%b",   "a\r\nb",   "-a",          ".a",  "[",   "[]",
        "[:",  "[::1", "[::1]8", "[g::]", "[::1]:",   "\xC3\xA4.de", "a,b"};
    for (size_t i = 0; i < sizeof good / sizeof good[0]; i++)
        assert_true(guard_host(good[i]));
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++)
        assert_false(guard_host(bad[i]));
    char longest[300];
    memset(longest, 'a', sizeof longest);
    longest[255] = '\0';
    assert_true(guard_host(longest));
    longest[255] = 'a';
    longest[256] = '\0';
    assert_false(guard_host(longest));
    assert_false(guard_host(NULL));
}

static void test_origin(void **state)
{
    (void)state;
    assert_true(guard_origin("https://gw:8443", "gw:8443"));
    assert_true(guard_origin("https://GW", "gw"));
    static const char *const bad[] = {"",
                                      "null",
                                      "gw:8443",
                                      "http://gw:8443",
                                      "https://gw",
                                      "https://gw:84",
                                      "https://gw:84431",
                                      "https://gw:8443/",
                                      "https://evil.example"};
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++)
        assert_false(guard_origin(bad[i], "gw:8443"));
    assert_false(guard_origin(NULL, "gw"));
    assert_false(guard_origin("https://gw", NULL));
}

static void test_cookie(void **state)
{
    (void)state;
    static const char *const good[] = {
        GUARD_COOKIE "=" TOKEN, "a=b; " GUARD_COOKIE "=" TOKEN, GUARD_COOKIE "=" TOKEN "; a=b",
        "a=" GUARD_COOKIE "; \t" GUARD_COOKIE "=" TOKEN ";", ";;;" GUARD_COOKIE "=" TOKEN};
    static const char *const bad[] = {"",
                                      GUARD_COOKIE,
                                      GUARD_COOKIE "=",
                                      GUARD_COOKIE "=0123",
                                      GUARD_COOKIE "=" TOKEN "0",
                                      GUARD_COOKIE "=" TOKEN " ",
                                      GUARD_COOKIE "=0123456789ABCDEF0123456789abcdef",
                                      "x" GUARD_COOKIE "=" TOKEN,
                                      "__host-metergate=" TOKEN,
                                      GUARD_COOKIE "=" TOKEN "; " GUARD_COOKIE "=" TOKEN,
                                      GUARD_COOKIE "=; " GUARD_COOKIE "=" TOKEN};
    for (size_t i = 0; i < sizeof good / sizeof good[0]; i++) {
        char token[GUARD_TOKEN_SIZE] = "";
        assert_true(guard_cookie(good[i], token));
        assert_string_equal(token, TOKEN);
    }
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        char token[GUARD_TOKEN_SIZE] = "untouched";
        assert_false(guard_cookie(bad[i], token));
        assert_string_equal(token, "untouched");
    }
    char token[GUARD_TOKEN_SIZE];
    assert_false(guard_cookie(NULL, token));
}

static void test_command(void **state)
{
    (void)state;
    assert_true(guard_command("claim-state"));
    assert_true(guard_command("abcdefghijklmnopqrstuvwxyz01234"));
    assert_false(guard_command("abcdefghijklmnopqrstuvwxyz012345"));
    static const char *const bad[] = {"", "A", "a b", "a\"b", "a/b", "a.b", "a\\b", "a\n"};
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++)
        assert_false(guard_command(bad[i]));
}

static void test_bearer(void **state)
{
    (void)state;
    char token[GUARD_BEARER_SIZE] = "untouched";
    static const char *const bad[] = {"",        "Bearer ",   "Bearer a b",   "Bearer a\"b",
                                      "Basic a", "Bearer\ta", "Bearer a\\b\n"};
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++)
        assert_false(guard_bearer(bad[i], token));
    assert_false(guard_bearer(NULL, token));
    char longest[GUARD_BEARER_SIZE + 16] = "Bearer ";
    memset(longest + 7, 'x', GUARD_BEARER_SIZE);
    assert_false(guard_bearer(longest, token));
    assert_string_equal(token, "untouched");
    longest[7 + GUARD_BEARER_SIZE - 1] = '\0';
    assert_true(guard_bearer(longest, token));
    assert_true(guard_bearer("bearer aZ0-._~+/=", token));
    assert_string_equal(token, "aZ0-._~+/=");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_host), cmocka_unit_test(test_origin), cmocka_unit_test(test_cookie),
        cmocka_unit_test(test_command), cmocka_unit_test(test_bearer)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
