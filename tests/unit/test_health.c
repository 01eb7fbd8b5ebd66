#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "config/config.h"
#include "drivers/frame_text.h"
#include "poll/health.h"

#include "property.h"

#include <jansson.h>
#include <string.h>

#define SECOND INT64_C(1000)

static int64_t boot_ms = 1000 * SECOND;

static int64_t boot_ns(void *context)
{
    (void)context;
    return boot_ms * 1000000;
}

static int64_t wall_ms(void *context)
{
    (void)context;
    return boot_ms + INT64_C(1795420800000);
}

static const struct clock hand_clock = {.boot_ns = boot_ns, .wall_ms = wall_ms};

static struct meter meters[] = {{.unit = 5}, {.unit = 9}, {.unit = 5, .link = 1}};
static struct config_link links[] = {{.id = "hall", .url = {.kind = LINK_RTU}}, {.id = "yard"}};
static struct config config = {.links = links, .link_count = 2, .meters = meters, .meter_count = 3};

static struct health *health_start(void)
{
    struct health *health = health_new(&config, 0, &hand_clock);
    assert_non_null(health);
    return health;
}

static void note(struct health *health, int unit, int why, int64_t elapsed_us, int64_t busy_us)
{
    struct request request = {.unit = (uint8_t)unit, .function = 3, .count = 1};
    struct reply reply = {.why = (uint16_t)why, .elapsed_us = elapsed_us};
    health_note(health, &request, &reply, busy_us);
}

static void test_counts(void **state)
{
    (void)state;
    struct health *health = health_start();
    note(health, 5, WHY_NONE, 4000, 0);
    note(health, 5, WHY_NONE, 5001, 0);
    note(health, 5, WHY_TIMEOUT, 0, 0);
    note(health, 9, WHY_CRC, 0, 0);
    note(health, 9, WHY_FRAME, 0, 0);
    note(health, 9, WHY_LINK_DOWN, 0, 0);
    note(health, 9, WHY_EXCEPTION + 2, 9999999, 0);
    note(health, 9, WHY_EXCEPTION + 77, 1, 0);
    note(health, 200, WHY_TIMEOUT, 0, 0); // a scan
    struct health_counts counts;
    health_counts_of(health, 5, &counts);
    assert_int_equal(counts.requests, 3);
    assert_int_equal(counts.replies, 2);
    assert_int_equal(counts.timeouts, 1);
    assert_int_equal(counts.response[2], 1); // up to 5 ms
    assert_int_equal(counts.response[3], 1); // up to 10 ms
    assert_int_equal(counts.response_us, 9001);
    health_counts_of(health, 9, &counts);
    assert_int_equal(counts.crc_errors, 1);
    assert_int_equal(counts.frame_errors, 1);
    assert_int_equal(counts.link_down, 1);
    assert_int_equal(counts.exceptions[2], 1);
    assert_int_equal(counts.exceptions[0], 1);
    assert_int_equal(counts.response[HEALTH_BUCKETS - 1], 1);
    health_counts_of(health, 200, &counts);
    assert_int_equal(counts.requests, 0);
    health_counts_all(health, &counts);
    assert_int_equal(counts.requests, 9);
    assert_int_equal(counts.timeouts, 2);
    health_unref(health_ref(health));
    health_unref(health);
}

static void test_percentiles(void **state)
{
    (void)state;
    struct health_counts counts = {0};
    assert_int_equal(health_response_ms(&counts, 0.5), 0);
    counts.response[4] = 98;                 // up to 20 ms
    counts.response[7] = 1;                  // up to 200 ms
    counts.response[HEALTH_BUCKETS - 1] = 1; // longer
    assert_int_equal(health_response_ms(&counts, 0.5), 20);
    assert_int_equal(health_response_ms(&counts, 0.98), 20);
    assert_int_equal(health_response_ms(&counts, 0.99), 200);
    assert_int_equal(health_response_ms(&counts, 1), -1);
}

static void expect_load(struct health *health, double percent)
{
    double load = health_busy_percent(health);
    if (load < percent - 0.01 || load > percent + 0.01)
        fail_msg("%.3f %% is not %.3f %%", load, percent);
}

static void test_load(void **state)
{
    (void)state;
    boot_ms = 1000 * SECOND;
    struct health *health = health_start();
    expect_load(health, 0);
    boot_ms += SECOND;
    note(health, 5, WHY_NONE, 0, 250000);
    expect_load(health, 25); // of the second since start
    for (int i = 0; i < 300; i++) {
        boot_ms += SECOND;
        note(health, 5, WHY_NONE, 0, 400000);
    }
    boot_ms += SECOND - 1; // 1301.999 s: since 1240 s
    expect_load(health, 100 * 62 * 0.4 / 61.999);
    boot_ms += 30 * SECOND;
    note(health, 5, WHY_TIMEOUT, 0, 0);
    expect_load(health, 100 * 32 * 0.4 / 61.999);
    boot_ms += 3600 * SECOND;
    expect_load(health, 0);
    health_unref(health);
}

// --- frames ---

static const uint8_t request_frame[] = {0x05, 3, 0, 10, 0, 20, 0x64, 0x43};
static const uint8_t reply_frame[] = {0x01, 0x03, 0x04, 0xBA, 0x4A,
                                      0x41, 0xF8, 0xCF, 0x2F}; // FD TMS

static json_t *frames_of(struct health *health)
{
    struct buf text;
    struct writer writer;
    buf_init(&text, 1 << 20);
    writer_init(&writer, &text);
    health_print_frames(health, &writer);
    json_t *frames = json_loads(text.data, 0, NULL);
    buf_release(&text);
    assert_true(json_is_array(frames));
    return frames;
}

static const char *member(const json_t *frames, size_t index, const char *key)
{
    return json_string_value(json_object_get(json_array_get(frames, index), key));
}

static void test_frames(void **state)
{
    (void)state;
    struct health *health = health_start();
    json_t *frames = frames_of(health);
    assert_int_equal(json_array_size(frames), 0);
    json_decref(frames);
    uint8_t asked[FRAME_RTU_MAX];
    struct request request = {.unit = 5, .function = 3, .first = 10, .count = 20};
    size_t length = frame_rtu_request(&request, asked);
    health_frame(health, true, asked, length);
    health_frame(health, false, reply_frame, sizeof reply_frame);
    health_frame(health, false, reply_frame, sizeof reply_frame - 1);
    frames = frames_of(health);
    assert_int_equal(json_array_size(frames), 3);
    assert_string_equal(member(frames, 0, "kind"), "request");
    assert_string_equal(member(frames, 1, "kind"), "reply");
    assert_string_equal(member(frames, 1, "bytes"), "01 03 04 BA 4A 41 F8 CF 2F");
    assert_string_equal(member(frames, 2, "kind"), "damaged");
    const json_t *text = json_object_get(json_array_get(frames, 0), "text");
    assert_string_equal(json_string_value(json_object_get(text, "en")),
                        "asks unit 5 for registers 10 to 29 (function 3)");
    assert_non_null(strstr(json_string_value(json_object_get(text, "zh")), "29"));
    json_decref(frames);
    health_unref(health);
}

// Whatever passes: the newest frames are there, whole and in order, as many as fit.
static void test_frames_ring(void **state)
{
    (void)state;
    struct health *health = health_start();
    uint8_t newest[FRAME_MAX];
    size_t newest_length = 0;
    for (int i = 0; i < 5000; i++) {
        newest_length = (size_t)random_between(1, FRAME_MAX);
        for (size_t at = 0; at < newest_length; at++)
            newest[at] = (uint8_t)random_u64();
        health_frame(health, random_between(0, 1) != 0, newest, newest_length);
        if (i % 100 != 0)
            continue;
        json_t *frames = frames_of(health);
        size_t count = json_array_size(frames);
        assert_in_range(count, 1, HEALTH_FRAMES_SIZE);
        const char *bytes = member(frames, count - 1, "bytes");
        assert_int_equal(strlen(bytes), 3 * newest_length - 1);
        char hex[4];
        (void)snprintf(hex, sizeof hex, "%02X", newest[newest_length - 1]);
        assert_string_equal(bytes + 3 * (newest_length - 1), hex);
        json_decref(frames);
    }
    health_unref(health);
}

static enum frame_kind kind_of(bool tcp, bool sent, const uint8_t *bytes, size_t length)
{
    struct frame_meaning meaning;
    frame_mean(tcp, sent, bytes, length, &meaning);
    return meaning.kind;
}

static void test_meaning(void **state)
{
    (void)state;
    static const uint8_t tcp_request[] = {0, 7, 0, 0, 0, 6, 3, 4, 1, 0, 0, 2};
    static const uint8_t tcp_exception[] = {0, 7, 0, 0, 0, 3, 3, 0x84, 2};
    static const uint8_t tcp_short[] = {0, 7, 0, 0, 0, 9, 3, 4, 2, 0, 0};
    assert_int_equal(kind_of(true, true, tcp_request, sizeof tcp_request), FRAME_REQUEST);
    assert_int_equal(kind_of(true, false, tcp_request, sizeof tcp_request), FRAME_ODD);
    assert_int_equal(kind_of(true, false, tcp_exception, sizeof tcp_exception), FRAME_EXCEPTION);
    assert_int_equal(kind_of(true, false, tcp_short, sizeof tcp_short), FRAME_DAMAGED);
    assert_int_equal(kind_of(true, false, tcp_short, 7), FRAME_DAMAGED);
    assert_int_equal(kind_of(false, false, request_frame, 3), FRAME_DAMAGED);
    struct frame_meaning meaning;
    frame_mean(true, false, tcp_exception, sizeof tcp_exception, &meaning);
    assert_int_equal(meaning.exception, 2);
    assert_int_equal(meaning.function, 4);
    for (int kind = FRAME_REQUEST; kind <= FRAME_ODD; kind++) {
        meaning.kind = (enum frame_kind)kind;
        for (int language = 0; language < LANGUAGE_COUNT; language++) {
            struct buf text;
            buf_init(&text, 500);
            frame_meaning_text(&meaning, (enum language)language, &text);
            assert_true(text.length > 0);
            assert_null(strchr(text.data, '{')); // every slot is filled
            buf_release(&text);
        }
    }
    for (int i = 0; i < 100000; i++) { // nothing beyond the bytes is looked at
        size_t length = (size_t)random_between(0, FRAME_MAX);
        uint8_t *bytes = malloc(length + (length == 0));
        for (size_t at = 0; at < length; at++)
            bytes[at] = (uint8_t)random_u64();
        (void)kind_of(random_between(0, 1) != 0, random_between(0, 1) != 0, bytes, length);
        free(bytes);
    }
}

int main(void)
{
    random_start("test_health");
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_counts),      cmocka_unit_test(test_percentiles),
        cmocka_unit_test(test_load),        cmocka_unit_test(test_frames),
        cmocka_unit_test(test_frames_ring), cmocka_unit_test(test_meaning),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
