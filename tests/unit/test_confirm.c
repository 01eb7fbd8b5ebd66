#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "poll/confirm.h"

#include <math.h>
#include <string.h>

// ---- doubt --------------------------------------------------------------------------------------

static void test_doubt(void **state)
{
    (void)state;
    struct doubt doubt = {0};
    assert_false(doubt_holds(&doubt));
    for (int code = 0; code <= 255; code++)
        doubt_note(&doubt, (uint16_t)(WHY_EXCEPTION + code));
    doubt_note(&doubt, WHY_NONE);
    doubt_note(&doubt, WHY_TIMEOUT); // nothing came that could be wrong
    doubt_note(&doubt, WHY_LINK_DOWN);
    assert_false(doubt_holds(&doubt));
    static const uint16_t damage[] = {WHY_CRC, WHY_FRAME};
    for (int i = 0; i < 2; i++) {
        doubt_note(&doubt, damage[i]);
        for (int request = 0; request < DOUBT_REQUESTS; request++) {
            assert_true(doubt_holds(&doubt));
            doubt_note(&doubt, request % 2 == 0 ? WHY_NONE : WHY_TIMEOUT);
        }
        assert_false(doubt_holds(&doubt));
    }
}

// ---- values -------------------------------------------------------------------------------------

static struct value counter(double number)
{
    return (struct value){.present = true, .micro = llround(number * 1e6)};
}

static struct value gauge(double number)
{
    return (struct value){.present = true, .number = number};
}

static void test_values(void **state)
{
    (void)state;
    static const struct {
        enum channel_kind kind;
        double first, second;
        int apart_ms;
        bool agree;
    } rows[] = {
        {CHANNEL_COUNTER, 1234.5, 1234.5, 100, true},
        {CHANNEL_COUNTER, 1234.5, 1234.6, 100, true},
        {CHANNEL_COUNTER, 1234.5, 1234.499999, 100, false}, // fell
        {CHANNEL_COUNTER, 1000, 1055, 100, true},           // 50 a second, for 1.1 s
        {CHANNEL_COUNTER, 1000, 1055.000001, 100, false},
        {CHANNEL_COUNTER, 1000, 1500, 9000, true},
        {CHANNEL_COUNTER, -3, 9e12, 100, false},
        {CHANNEL_GAUGE, 101.325, 101.834, 100, true}, // a two-hundredth
        {CHANNEL_GAUGE, 101.325, 101.84, 100, false},
        {CHANNEL_GAUGE, 101.84, 101.325, 100, false},
        {CHANNEL_GAUGE, 0.004, -0.005, 100, true}, // or a hundredth of the unit
        {CHANNEL_GAUGE, 0, 0.011, 100, false},
        {CHANNEL_GAUGE, -20, -20.1, 100, true},
        {CHANNEL_GAUGE, -20, 20, 100, false},
        {CHANNEL_EXACT, 1700000000, 1700000001, 1000, true},
        {CHANNEL_EXACT, 1700000101, 1700000000, 1000, false},
        {CHANNEL_EXACT, 500, 499.7, 1000, true}, // a balance falls
    };
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        bool is_counter = rows[i].kind == CHANNEL_COUNTER;
        struct value first = is_counter ? counter(rows[i].first) : gauge(rows[i].first);
        struct value second = is_counter ? counter(rows[i].second) : gauge(rows[i].second);
        if (confirm_agrees(rows[i].kind, &first, &second, rows[i].apart_ms) != rows[i].agree)
            fail_msg("row %zu: %g, %g", i, rows[i].first, rows[i].second);
    }
}

static void test_values_that_are_no_numbers(void **state)
{
    (void)state;
    struct value bits[2] = {{.present = true, .bits = 5}, {.present = true, .bits = 5}};
    assert_true(confirm_agrees(CHANNEL_BITS, &bits[0], &bits[1], 1));
    bits[1].bits = 4;
    assert_false(confirm_agrees(CHANNEL_BITS, &bits[0], &bits[1], 1));
    struct value texts[2] = {{.present = true, .text = "4711"}, {.present = true, .text = "4711"}};
    assert_true(confirm_agrees(CHANNEL_IDENTITY, &texts[0], &texts[1], 1));
    (void)strcpy(texts[1].text, "4712");
    assert_false(confirm_agrees(CHANNEL_IDENTITY, &texts[0], &texts[1], 1));
    struct value none[2] = {{.quality = QUALITY_MISSING, .why = WHY_NOT_AVAILABLE},
                            {.quality = QUALITY_MISSING, .why = WHY_NOT_AVAILABLE}};
    assert_true(confirm_agrees(CHANNEL_GAUGE, &none[0], &none[1], 1));
    none[1].why = WHY_BAD_BCD;
    assert_false(confirm_agrees(CHANNEL_GAUGE, &none[0], &none[1], 1));
    struct value some = gauge(1);
    assert_false(confirm_agrees(CHANNEL_GAUGE, &none[0], &some, 1));
    assert_false(confirm_agrees(CHANNEL_GAUGE, &some, &none[0], 1));
    struct value ends[2] = {{.present = true, .micro = INT64_MIN},
                            {.present = true, .micro = INT64_MAX}};
    assert_false(confirm_agrees(CHANNEL_COUNTER, &ends[0], &ends[1], 1));
}

// ---- fields -------------------------------------------------------------------------------------

// volume_base of two fields (millions and units), pressure with a scale register, status.
enum { MILLIONS, UNITS, PRESSURE, SCALE, STATUS, FIELDS };
static struct profile profile;
static struct image earlier, now;
static bool moved[PROFILE_FIELDS_MAX];

static void start(void)
{
    profile = (struct profile){.field_count = FIELDS, .word_count = FIELDS, .channel_count = 3};
    for (int i = 0; i < FIELDS; i++)
        profile.fields[i] = (struct field){
            .first = (uint16_t)i, .function = 3, .words = 1, .place = (uint16_t)i, .type = RAW_U16};
    profile.fields[SCALE].type = RAW_I16;
    profile.channels[0] =
        (struct profile_channel){.channel = channel_find("volume_base"),
                                 .part_count = 2,
                                 .parts = {{.field = MILLIONS, .scale = {1, 6}, .scale_field = -1},
                                           {.field = UNITS, .scale = {1, 0}, .scale_field = -1}},
                                 .conversion = {.factor = {1, 0}}};
    profile.channels[1] = (struct profile_channel){.channel = channel_find("pressure"),
                                                   .part_count = 1,
                                                   .parts = {{.field = PRESSURE,
                                                              .scale = {1, 0},
                                                              .scale_field = SCALE,
                                                              .scale_is_exponent = true}},
                                                   .conversion = {.factor = {1, 0}}};
    profile.channels[2] = (struct profile_channel){.channel = channel_find("status")};
    profile.status_count = 1;
    profile.status[0] = (struct profile_status){.field = STATUS, .bit = 3, .name = "battery_low"};
    earlier = (struct image){.words = {7, 600, 1000, 0xFFFF, 0x0107}};
    now = earlier;
    memset(moved, 0, sizeof moved);
    for (int i = 0; i < FIELDS; i++)
        earlier.why[i] = WHY_UNCONFIRMED;
}

static void settle(const uint8_t *fields, int count)
{
    confirm_fields(&profile, fields, count, &earlier, &now, 100, moved);
}

static const uint8_t all[] = {MILLIONS, UNITS, PRESSURE, SCALE, STATUS};

static void expect(const char *doubted)
{
    for (int i = 0; i < FIELDS; i++)
        assert_int_equal(now.why[i], doubted[i] == 'x' ? WHY_UNCONFIRMED : WHY_NONE);
}

static void test_fields_agree(void **state)
{
    (void)state;
    start();
    now.words[PRESSURE] = 1005;
    settle(all, FIELDS);
    expect(".....");
    // What was confirmed once is held against the next reply again.
    earlier = now;
    now.words[PRESSURE] = 2000;
    settle(all, FIELDS);
    expect("..xx.");
}

// The next reply: what came before is the earlier one now.
static void next(uint16_t units)
{
    earlier = now;
    now.words[UNITS] = units;
    settle(all, FIELDS);
}

static void test_counter_that_moves(void **state)
{
    (void)state;
    start();
    now.words[UNITS] = 603;
    settle(all, FIELDS);
    expect("xx...");
    next(605);
    expect(".....");
    assert_int_equal(now.words[UNITS], 603); // the middle one
    // The second was damaged upwards: the third falls, and what follows agrees with that.
    start();
    now.words[UNITS] = 640;
    settle(all, FIELDS);
    expect("xx...");
    next(601);
    expect("xx...");
    next(601);
    expect(".....");
    assert_int_equal(now.words[UNITS], 601);
    // The third was damaged upwards: the second counts.
    start();
    now.words[UNITS] = 601;
    settle(all, FIELDS);
    next(640);
    expect(".....");
    assert_int_equal(now.words[UNITS], 601);
}

static void test_one_channel_is_refuted(void **state)
{
    (void)state;
    start();
    now.words[MILLIONS] = 6;
    settle(all, FIELDS);
    expect("xx...");
    start();
    now.words[SCALE] = 1;
    settle(all, FIELDS);
    expect("..xx.");
    start();
    now.words[STATUS] = 0x010F;
    settle(all, FIELDS);
    expect("....x");
    now.words[STATUS] = 0x0207; // no bit that anybody asks for
    settle(all, FIELDS);
    expect(".....");
}

static void test_first_reply_is_unconfirmed(void **state)
{
    (void)state;
    start();
    for (int i = 0; i < FIELDS; i++)
        earlier.why[i] = WHY_NOT_POLLED;
    settle(all, FIELDS);
    expect("xxxxx");
    start();
    earlier.why[PRESSURE] = WHY_TIMEOUT;
    settle(all, FIELDS);
    expect("..xx.");
}

// A channel whose fields stand in two requests: those of this one must be the same.
static void test_channel_beyond_the_block(void **state)
{
    (void)state;
    static const uint8_t units[] = {UNITS, PRESSURE, SCALE};
    start();
    now.why[MILLIONS] = WHY_NOT_POLLED;
    earlier.why[MILLIONS] = WHY_NOT_POLLED;
    settle(units, 3);
    assert_int_equal(now.why[UNITS], WHY_NONE);
    assert_int_equal(now.why[MILLIONS], WHY_NOT_POLLED);
    now.words[UNITS] = 601;
    settle(units, 3);
    assert_int_equal(now.why[UNITS], WHY_UNCONFIRMED);
    assert_int_equal(now.why[PRESSURE], WHY_NONE);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_doubt),
        cmocka_unit_test(test_values),
        cmocka_unit_test(test_values_that_are_no_numbers),
        cmocka_unit_test(test_fields_agree),
        cmocka_unit_test(test_counter_that_moves),
        cmocka_unit_test(test_one_channel_is_refuted),
        cmocka_unit_test(test_first_reply_is_unconfirmed),
        cmocka_unit_test(test_channel_beyond_the_block),
    };
    return cmocka_run_group_tests_name("poll/confirm", tests, NULL, NULL);
}
