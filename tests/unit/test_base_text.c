#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "base/catalogue.h"
#include "base/clock.h"
#include "base/err.h"
#include "base/id.h"
#include "base/log.h"
#include "base/timetext.h"

#include "property.h"

#include <fcntl.h>
#include <stdbool.h>
#include <string.h>
#include <unistd.h>

#define FIRST_MS INT64_C(-62167219200000)
#define LAST_MS INT64_C(253402300799999)

// ---- time ---------------------------------------------------------------------------------------

static void check_instant(int64_t ms)
{
    time_t seconds = (time_t)((ms - ((ms % 1000) + 1000) % 1000) / 1000);
    struct tm tm;
    assert_non_null(gmtime_r(&seconds, &tm));
    char expected[80];
    (void)snprintf(expected, sizeof expected, "%04d-%02d-%02dT%02d:%02d:%02d.%03dZ",
                   tm.tm_year + 1900, tm.tm_mon + 1, tm.tm_mday, tm.tm_hour, tm.tm_min, tm.tm_sec,
                   (int)(ms - (int64_t)seconds * 1000));
    char text[TIME_TEXT_MAX];
    assert_int_equal(time_print(ms, text), 24);
    assert_string_equal(text, expected);
    int64_t back = 0;
    assert_int_equal(time_parse(text, &back), 0);
    assert_int_equal(back, ms);
}

static void test_time_round_trip(void **state)
{
    (void)state;
    for (int i = 0; i < 100000; i++) {
        check_instant(random_between(FIRST_MS, LAST_MS));
        check_instant(random_between(-100000, 100000));
    }
    check_instant(FIRST_MS);
    check_instant(LAST_MS);
    char text[TIME_TEXT_MAX];
    (void)time_print(INT64_MIN, text);
    assert_string_equal(text, "0000-01-01T00:00:00.000Z");
    (void)time_print(INT64_MAX, text);
    assert_string_equal(text, "9999-12-31T23:59:59.999Z");
}

// Every day of the calendar and both directions, against gmtime_r.
static void test_every_day(void **state)
{
    (void)state;
    for (int64_t day = FIRST_MS / 86400000; day <= LAST_MS / 86400000; day++) {
        time_t seconds = (time_t)(day * 86400);
        struct tm tm;
        int year = 0;
        int month = 0;
        int of_month = 0;
        civil_from_days(day, &year, &month, &of_month);
        bool same = gmtime_r(&seconds, &tm) != NULL && year == tm.tm_year + 1900 &&
                    month == tm.tm_mon + 1 && of_month == tm.tm_mday;
        if (!same || days_from_civil(year, month, of_month) != day) {
            print_error("day %lld is not %d-%d-%d\n", (long long)day, year, month, of_month);
            fail();
        }
    }
}

static void test_time_forms(void **state)
{
    (void)state;
    static const struct {
        const char *text;
        int64_t ms;
    } good[] = {{"1970-01-01", 0},
                {"1970-01-01T00:00:00Z", 0},
                {"1970-01-01T00:00:01.5Z", 1500},
                {"1970-01-01T00:00:00.0019999999999999Z", 1},
                {"1969-12-31T23:59:59.999Z", -1},
                {"2026-11-23T16:15:00.412+08:00", 1795421700412},
                {"2026-11-23T04:45:00.412-03:30", 1795421700412},
                {"2024-02-29", 1709164800000},
                {"2000-02-29", 951782400000}};
    for (size_t i = 0; i < sizeof good / sizeof good[0]; i++) {
        int64_t ms = -77;
        assert_int_equal(time_parse(good[i].text, &ms), 0);
        assert_int_equal(ms, good[i].ms);
    }
    static const char *const bad[] = {"",
                                      "2026",
                                      "2026-11",
                                      "2026-11-23T",
                                      "2026-11-23T08:15Z",
                                      "2026-11-23T08:15:00",
                                      "2026-11-23 08:15:00Z",
                                      "2026-11-23T08:15:00z",
                                      "2026-11-23T08:15:00.Z",
                                      "2026-11-23T08:15:00Z ",
                                      " 2026-11-23",
                                      "2026-11-23Z",
                                      "2026-02-29",
                                      "1900-02-29",
                                      "2026-04-31",
                                      "2026-00-10",
                                      "2026-13-01",
                                      "2026-01-00",
                                      "2026-01-32",
                                      "2026-11-23T24:00:00Z",
                                      "2026-11-23T08:60:00Z",
                                      "2026-11-23T08:15:60Z",
                                      "2026-11-23T08:15:00+24:00",
                                      "2026-11-23T08:15:00+0800",
                                      "2026-11-23T08:15:00+08:60",
                                      "2026-11-23T08:15:00+8:00",
                                      "-026-11-23",
                                      "12026-11-23",
                                      "2026-11-2",
                                      "2026-1-123"};
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        int64_t ms = -77;
        if (time_parse(bad[i], &ms) != -1 || ms != -77) {
            print_error("accepted: %s\n", bad[i]);
            fail();
        }
    }
}

static int64_t fixed_wall(void *context)
{
    return *(int64_t *)context;
}

static void test_clock(void **state)
{
    (void)state;
    int64_t now = 5000000;
    struct clock clock = {.boot_ns = fixed_wall, .wall_ms = fixed_wall, .context = &now};
    assert_int_equal(clock_boot_ms(&clock), 5);
    assert_true(clock_is_known(&clock, now));
    assert_false(clock_is_known(&clock, now + 1));
    assert_true(clock_floor_ms() >= INT64_C(1735689600000));

    int64_t first = clock_boot_ns(&clock_system);
    (void)usleep(2000);
    int64_t passed = clock_boot_ns(&clock_system) - first;
    assert_true(passed >= 2000000 && passed < INT64_C(10000000000));
    int64_t apart = clock_wall_ms(&clock_system) - (int64_t)time(NULL) * 1000;
    assert_true(apart > -1000 && apart < 2000);

    char id[BOOT_ID_SIZE];
    char again[BOOT_ID_SIZE];
    clock_boot_id(id);
    clock_boot_id(again);
    assert_int_equal(strlen(id), BOOT_ID_SIZE - 1);
    assert_string_equal(id, again);
}

// ---- ids ----------------------------------------------------------------------------------------

static void test_ids(void **state)
{
    (void)state;
    static const char *const good[] = {
        "a", "0", "boiler-1", "a--", "gateway-1", "gatewa", "abcdefghijklmnopqrstuvwxyz-01234"};
    static const char *const bad[] = {
        "",    "-a",  "A",       "a_b",      "a.b", "a b",
        "a/b", "a\n", "gateway", "\xC3\xA9", "aB",  "abcdefghijklmnopqrstuvwxyz-012345",
        "a:",  "a`",  "{"};
    for (size_t i = 0; i < sizeof good / sizeof good[0]; i++)
        assert_true(id_is_valid(good[i]));
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++)
        assert_false(id_is_valid(bad[i]));
    assert_false(id_is_valid(NULL));
}

static void test_uuid(void **state)
{
    (void)state;
    unsigned seen[UUID_SIZE - 1] = {0}; // which hex digits each place has shown
    for (int i = 0; i < 1000; i++) {
        char text[UUID_SIZE];
        uuid_make(text);
        assert_int_equal(strlen(text), UUID_SIZE - 1);
        for (size_t at = 0; at < UUID_SIZE - 1; at++) {
            static const char all[] = "0123456789abcdef-";
            const char *place = strchr(all, text[at]);
            assert_non_null(place);
            seen[at] |= 1U << (place - all);
        }
    }
    for (size_t at = 0; at < UUID_SIZE - 1; at++) {
        bool dash = at == 8 || at == 13 || at == 18 || at == 23;
        unsigned expected = dash ? 1U << 16 : 0xFFFFU;
        expected = at == 14 ? 1U << 4 : expected;
        expected = at == 19 ? 0xF00U : expected;
        assert_int_equal(seen[at], expected);
    }
}

// ---- errors -------------------------------------------------------------------------------------

static void test_err(void **state)
{
    (void)state;
    assert_int_equal(err_set(NULL, "x"), -1);
    assert_int_equal(err_add(NULL, "x"), -1);
    struct err err;
    assert_int_equal(err_set(&err, "no answer from %s", "boiler-1"), -1);
    assert_int_equal(err_add(&err, "link %d", 7), -1);
    assert_string_equal(err.text, "link 7: no answer from boiler-1");
    assert_int_equal(err_set(&err, "[%s]", err.text), -1); // its own text as an argument
    assert_string_equal(err.text, "[link 7: no answer from boiler-1]");
    assert_int_equal(err_add(&err, "<%s>", err.text), -1);
    assert_string_equal(err.text,
                        "<[link 7: no answer from boiler-1]>: [link 7: no answer from boiler-1]");
}

// A message of characters of one width, after 0 to 4 bytes of other text, loses whole ones only.
static void check_cut(const char *character, bool by_add)
{
    size_t width = strlen(character);
    for (size_t lead = 0; lead < 5; lead++) {
        char text[2000];
        size_t length = lead;
        memset(text, 'x', lead);
        for (int i = 0; i < 300; i++, length += width)
            memcpy(text + length, character, width);
        text[length] = '\0';
        struct err err;
        size_t before = by_add ? 2 : 0;
        (void)err_set(&err, "%s", text);
        if (by_add)
            (void)err_add(&err, "%s", ""); // ": " in front
        size_t room = ERR_TEXT_MAX - 1 - before - lead;
        size_t fits = length - lead < room ? length - lead : room - room % width;
        assert_int_equal(strlen(err.text), before + lead + fits);
        assert_memory_equal(err.text + before, text, lead + fits);
    }
}

static void test_err_cut(void **state)
{
    (void)state;
    for (int by_add = 0; by_add < 2; by_add++) {
        check_cut("a", by_add == 1);
        check_cut("\xC3\xA9", by_add == 1);
        check_cut("\xE6\xB0\x94", by_add == 1);
        check_cut("\xF0\x9F\x94\xA5", by_add == 1);
    }
}

// ---- log ----------------------------------------------------------------------------------------

// Runs one log call with stderr in a pipe; returns what came out, from a single write.
static size_t captured(void (*speak)(const char *), const char *argument, char *out, size_t size)
{
    int ends[2];
    assert_int_equal(pipe2(ends, O_DIRECT), 0); // packets: one read returns one write
    int saved = dup(STDERR_FILENO);
    (void)dup2(ends[1], STDERR_FILENO);
    (void)close(ends[1]);
    speak(argument);
    (void)dup2(saved, STDERR_FILENO);
    (void)close(saved);
    ssize_t got = read(ends[0], out, size - 1);
    char more = 0;
    assert_int_equal(read(ends[0], &more, 1), 0);
    (void)close(ends[0]);
    assert_true(got >= 0);
    out[got] = '\0';
    return (size_t)got;
}

static void speak_error(const char *argument)
{
    log_error("store", "disk %s", argument);
}
static void speak_warn(const char *argument)
{
    log_warn(argument, "%s", "text");
}
static void speak_info(const char *argument)
{
    log_info("p", "%s", argument);
}
static void speak_debug(const char *argument)
{
    log_debug("p", "%s", argument);
}

static void test_log_lines(void **state)
{
    (void)state;
    char line[4096];
    (void)unsetenv("JOURNAL_STREAM");
    (void)captured(speak_error, "full", line, sizeof line);
    assert_string_equal(line, "metergate: store: disk full\n");
    (void)captured(speak_warn, "link\nforged", line, sizeof line);
    assert_string_equal(line, "metergate: link?forged: text\n");
    (void)captured(speak_info, "a\n<3>b\r\x1B[2J\x7F\xC2\x9B\xC3\xA9", line, sizeof line);
    assert_string_equal(line, "metergate: p: a?<3>b??[2J???\xC3\xA9\n");
    assert_int_equal(captured(speak_debug, "x", line, sizeof line), 0);
    log_set_level(LOG_LEVEL_DEBUG);
    (void)setenv("JOURNAL_STREAM", "8:1234", 1);
    (void)captured(speak_debug, "x", line, sizeof line);
    assert_string_equal(line, "<7>metergate: p: x\n");
    (void)captured(speak_info, "x", line, sizeof line);
    assert_string_equal(line, "<6>metergate: p: x\n");
    (void)captured(speak_warn, "x", line, sizeof line);
    assert_string_equal(line, "<4>metergate: x: text\n");
    (void)captured(speak_error, "x", line, sizeof line);
    assert_string_equal(line, "<3>metergate: store: disk x\n");
    log_set_level(LOG_LEVEL_ERROR);
    assert_int_equal(captured(speak_warn, "x", line, sizeof line), 0);
    log_set_level(LOG_LEVEL_INFO);
    (void)unsetenv("JOURNAL_STREAM");
}

static void test_log_bound(void **state)
{
    (void)state;
    char line[4096];
    char text[3000];
    const size_t head = strlen("metergate: p: ");
    for (size_t length = 990; length < 1020; length++) {
        memset(text, 'x', length);
        memcpy(text + length, "\xE6\xB0\x94\xE6\xB0\x94", 7);
        size_t got = captured(speak_info, text, line, sizeof line);
        size_t body = length + 6;
        while (head + body + 1 > 1024) // whole characters go, from the end
            body -= body > length ? 3 : 1;
        assert_int_equal(got, head + body + 1);
        assert_memory_equal(line + head, text, body);
        assert_int_equal(line[got - 1], '\n');
    }
    memset(text, 'y', sizeof text);
    text[sizeof text - 1] = '\0';
    assert_int_equal(captured(speak_warn, text, line, sizeof line), 1024);
}

// ---- catalogue ----------------------------------------------------------------------------------

// Both languages of every text exist and name the same slots.
static void test_catalogue_is_whole(void **state)
{
    (void)state;
    size_t count = 0;
    for (; catalogue_key(count) != NULL; count++) {
        const char *key = catalogue_key(count);
        for (size_t other = 0; other < count; other++)
            assert_string_not_equal(key, catalogue_key(other));
        for (int language = 0; language < LANGUAGE_COUNT; language++) {
            const char *text = catalogue_text(key, (enum language)language);
            const char *peer =
                catalogue_text(key, language == LANGUAGE_EN ? LANGUAGE_ZH : LANGUAGE_EN);
            assert_true(text != NULL && text[0] != '\0');
            for (const char *at = strchr(text, '{'); at != NULL; at = strchr(at + 1, '{')) {
                char slot[64];
                size_t length = strcspn(at, "}") + 1;
                assert_true(length < sizeof slot);
                memcpy(slot, at, length);
                slot[length] = '\0';
                assert_non_null(strstr(peer, slot));
            }
        }
    }
    assert_true(count >= 6);
    assert_null(catalogue_key(SIZE_MAX));
    assert_string_equal(catalogue_text("quality.good", LANGUAGE_EN), "good");
    assert_string_equal(catalogue_text("quality.good", LANGUAGE_ZH), "\xE6\xAD\xA3\xE5\xB8\xB8");
    assert_null(catalogue_text("quality.goo", LANGUAGE_EN));
    assert_null(catalogue_text("quality.good", LANGUAGE_COUNT));
}

static void check_fill(const char *key, const char *expected)
{
    const struct slot slots[] = {{"meter", "{link}"}, {"link", "hall-1"}, {"", "empty"}};
    struct buf out;
    buf_init(&out, 1000);
    buf_add_text(&out, ">");
    catalogue_fill(&out, key, LANGUAGE_EN, slots, 3);
    assert_false(out.failed);
    assert_string_equal(out.data + 1, expected);
    buf_release(&out);
}

// A key that is not there stands for itself, which gives texts with slots to fill.
static void test_catalogue_fill(void **state)
{
    (void)state;
    check_fill("quality.archive", "from the meter's archive");
    check_fill("no answer from {meter} on {link}", "no answer from {link} on hall-1");
    check_fill("{link}{link}", "hall-1hall-1");
    check_fill("{other} {Link} {links} {lin}", "{other} {Link} {links} {lin}");
    check_fill("open {link", "open {link");
    check_fill("{{link}} }{", "{hall-1} }{");
    check_fill("{}", "empty");
    check_fill("", "");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_time_round_trip),
        cmocka_unit_test(test_every_day),
        cmocka_unit_test(test_time_forms),
        cmocka_unit_test(test_clock),
        cmocka_unit_test(test_ids),
        cmocka_unit_test(test_uuid),
        cmocka_unit_test(test_err),
        cmocka_unit_test(test_err_cut),
        cmocka_unit_test(test_log_lines),
        cmocka_unit_test(test_log_bound),
        cmocka_unit_test(test_catalogue_is_whole),
        cmocka_unit_test(test_catalogue_fill),
    };
    random_start("test_base_text");
    return cmocka_run_group_tests_name("base/text", tests, NULL, NULL);
}
