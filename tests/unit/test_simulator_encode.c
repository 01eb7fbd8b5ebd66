#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "drivers/simulator/coded.h"
#include "drivers/simulator/encode.h"
#include "drivers/simulator/site_model.h"

#include "property.h"

#include <math.h>
#include <string.h>

#define ROUNDS 20000

static struct profile profile; // too large for some stacks
static struct image image;
static struct value value;

static const struct decimal one = {1, 0};

static struct profile_channel *start(const char *channel)
{
    memset(&profile, 0, sizeof profile);
    memset(&image, 0, sizeof image);
    profile.channel_count = 1;
    profile.channels[0] = (struct profile_channel){
        .channel = channel_find(channel),
        .conversion = {.factor = one},
    };
    assert_non_null(profile.channels[0].channel);
    return &profile.channels[0];
}

static int add_field(enum raw_type type, int words, enum word_order order)
{
    profile.fields[profile.field_count] = (struct field){
        .first = (uint16_t)(100 + profile.word_count),
        .function = 3,
        .words = (uint8_t)words,
        .place = profile.word_count,
        .type = (uint8_t)type,
        .order = (uint8_t)order,
    };
    profile.word_count = (uint16_t)(profile.word_count + words);
    return profile.field_count++;
}

static struct part *add_part(enum raw_type type, int words, enum word_order order,
                             struct decimal scale)
{
    struct profile_channel *channel = &profile.channels[0];
    int field = add_field(type, words, order);
    channel->parts[channel->part_count] =
        (struct part){.field = (uint8_t)field, .scale = scale, .scale_field = -1};
    return &channel->parts[channel->part_count++];
}

static void decode(void)
{
    image_decode(&profile, &image, false, &value);
}

static void expect_micro(int64_t micro)
{
    decode();
    assert_int_equal(value.quality, QUALITY_GOOD);
    assert_int_equal(value.micro, micro);
}

// ---- vectors from real maps ---------------------------------------------------------------------

// Fuxin: BCD 1243.1116 of four decimals, and 21.649 degC as a float.
static void test_fuxin_vector(void **state)
{
    (void)state;
    start("volume_base");
    add_part(RAW_BCD, 3, ORDER_ABCD, (struct decimal){1, -4});
    assert_int_equal(encode_counter(&profile, 0, 1243111699, &image, NULL), 0); // cut, not rounded
    assert_int_equal(image.words[0], 0x0000);
    assert_int_equal(image.words[1], 0x1243);
    assert_int_equal(image.words[2], 0x1116);
    expect_micro(1243111600);
    assert_int_equal(encode_counter_span(&profile, 0), INT64_C(100000000) * 1000000);

    start("temperature");
    add_part(RAW_F32, 2, ORDER_ABCD, one);
    assert_int_equal(encode_gauge(&profile, 0, 21.649, &image, NULL), 0);
    assert_int_equal(image.words[0], 0x41AD);
    assert_int_equal(image.words[1], 0x3127);
}

// FD TMS: CDAB.
static void test_fd_tms_vector(void **state)
{
    (void)state;
    start("temperature");
    add_part(RAW_F32, 2, ORDER_CDAB, one);
    assert_int_equal(encode_gauge(&profile, 0, 31.090961, &image, NULL), 0);
    assert_int_equal(image.words[0], 0xBA4A);
    assert_int_equal(image.words[1], 0x41F8);
}

// FD TMS: a total as a whole number and a float of its fraction.
static void test_whole_and_fraction(void **state)
{
    (void)state;
    start("volume_base");
    add_part(RAW_U32, 2, ORDER_CDAB, one);
    add_part(RAW_F32, 2, ORDER_CDAB, one);
    assert_int_equal(encode_counter(&profile, 0, INT64_C(1234567250000), &image, NULL), 0);
    assert_int_equal(image.words[0], 1234567 & 0xFFFF);
    assert_int_equal(image.words[1], 1234567 >> 16);
    expect_micro(INT64_C(1234567250000));
}

// hi x 100 + lo, the low part first in the profile.
static void test_split_total(void **state)
{
    (void)state;
    start("volume_measured");
    add_part(RAW_U16, 1, ORDER_ABCD, one);
    add_part(RAW_U32, 2, ORDER_ABCD, (struct decimal){100, 0});
    assert_int_equal(encode_counter(&profile, 0, INT64_C(987654321) * 1000000, &image, NULL), 0);
    assert_int_equal(image.words[0], 21);
    assert_int_equal((uint32_t)image.words[1] << 16 | image.words[2], 9876543);
    expect_micro(INT64_C(987654321) * 1000000);
}

// ---- round trips --------------------------------------------------------------------------------

static const struct {
    enum raw_type type;
    int words;
    int decimal_digits; // that surely fit
} types[] = {
    {RAW_U16, 1, 4},  {RAW_I16, 1, 4},  {RAW_U32, 2, 9},  {RAW_I32, 2, 9},
    {RAW_U64, 4, 18}, {RAW_I64, 4, 18}, {RAW_F64, 4, 15}, {RAW_BCD, 1, 4},
    {RAW_BCD, 2, 8},  {RAW_BCD, 3, 12}, {RAW_BCD, 4, 16},
};
enum { TYPES = sizeof types / sizeof types[0] };

static int64_t power_of_ten(int exponent)
{
    int64_t power = 1;
    for (int i = 0; i < exponent; i++)
        power *= 10;
    return power;
}

// A counter of one field comes back exactly, in every type, order, scale and unit.
static void test_counter_round_trip(void **state)
{
    (void)state;
    for (int round = 0; round < ROUNDS; round++) {
        int type = (int)random_between(0, TYPES - 1);
        int decimals = (int)random_between(0, 6);
        int unit_tens = (int)random_between(-decimals, 3);
        struct profile_channel *channel = start("volume_base");
        add_part(types[type].type, types[type].words, (enum word_order)random_between(0, 3),
                 (struct decimal){1, -decimals - unit_tens});
        channel->conversion.factor = (struct decimal){1, unit_tens};
        int digits = types[type].decimal_digits < 18 - (6 - decimals) ? types[type].decimal_digits
                                                                      : 18 - (6 - decimals);
        int64_t count = (int64_t)(random_magnitude() % (uint64_t)power_of_ten(digits));
        int64_t step = power_of_ten(6 - decimals);
        bool is_signed = types[type].type == RAW_I16 || types[type].type == RAW_I32 ||
                         types[type].type == RAW_I64;
        int64_t micro = (is_signed && (random_u64() & 1) != 0 ? -count : count) * step;
        // What is below the meter's resolution is cut off; a float holds it as well as it can.
        int64_t below = types[type].type == RAW_F64 ? 0 : random_between(0, step - 1);
        assert_int_equal(encode_counter(&profile, 0, micro + below, &image, NULL), 0);
        expect_micro(micro);
    }
}

static void test_split_round_trip(void **state)
{
    (void)state;
    static const struct {
        enum raw_type type[3];
        int words[3];
        struct decimal scale[3];
        int parts;
        int64_t step; // resolution in micro
        int64_t most; // in steps
    } rows[] = {
        {{RAW_U32, RAW_U16}, {2, 1}, {{1, 0}, {1, -3}}, 2, 1000, INT64_C(4294967295999)},
        {{RAW_U16, RAW_U16}, {1, 1}, {{65536, 0}, {1, 0}}, 2, 1000000, 0xFFFFFFFF},
        {{RAW_U16, RAW_U32}, {1, 2}, {{1, 0}, {100, 0}}, 2, 1000000, INT64_C(429496729599)},
        {{RAW_BCD, RAW_BCD, RAW_U16},
         {1, 2, 1},
         {{100000000, 0}, {1, 0}, {1, -2}},
         3,
         10000,
         INT64_C(99999999999999)},
    };
    for (int round = 0; round < ROUNDS; round++) {
        size_t row = (size_t)random_between(0, 3);
        start("volume_base");
        for (int i = 0; i < rows[row].parts; i++) {
            add_part(rows[row].type[i], rows[row].words[i], (enum word_order)random_between(0, 3),
                     rows[row].scale[i]);
        }
        int64_t steps = (int64_t)(random_magnitude() % (uint64_t)(rows[row].most + 1));
        assert_int_equal(encode_counter(&profile, 0, steps * rows[row].step, &image, NULL), 0);
        expect_micro(steps * rows[row].step);
    }
}

static void test_gauge_round_trip(void **state)
{
    (void)state;
    for (int round = 0; round < ROUNDS; round++) {
        bool wide = (random_u64() & 1) != 0;
        struct profile_channel *channel = start("pressure");
        add_part(wide ? RAW_F64 : RAW_F32, wide ? 4 : 2, (enum word_order)random_between(0, 3),
                 one);
        channel->conversion.factor = (struct decimal){1, (int)random_between(-1, 3)};
        channel->offset = (struct decimal){random_between(-100, 100), -1};
        double number = (double)random_between(-1000000000, 1000000000) / 1e5;
        assert_int_equal(encode_gauge(&profile, 0, number, &image, NULL), 0);
        decode();
        assert_int_equal(value.quality, QUALITY_GOOD);
        double error = fabs(value.number - number);
        // A float holds number - offset in the profile's unit to 2^-24 of it.
        double bound = (fabs(number) + 10 * decimal_to_double(channel->conversion.factor)) *
                       (wide ? 1e-14 : 6.1e-8);
        if (error > bound + 1e-12)
            fail_msg("%.17g became %.17g", number, value.number);
    }
}

// An integer gauge is at most half a step away.
static void test_integer_gauge_round_trip(void **state)
{
    (void)state;
    for (int round = 0; round < ROUNDS; round++) {
        start("temperature");
        add_part(RAW_I16, 1, (enum word_order)(2 * random_between(0, 1)), (struct decimal){1, -2});
        double number = (double)random_between(-3276700, 3276700) / 1e4;
        assert_int_equal(encode_gauge(&profile, 0, number, &image, NULL), 0);
        decode();
        assert_true(fabs(value.number - number) <= 0.005 + 1e-9);
    }
}

static void test_scale_register(void **state)
{
    (void)state;
    static const struct {
        enum raw_type type;
        bool is_exponent;
    } rows[] = {{RAW_I16, true}, {RAW_U16, true}, {RAW_U16, false}, {RAW_F32, false}};
    for (size_t i = 0; i < 4; i++) {
        start("volume_base");
        struct part *part = add_part(RAW_U32, 2, ORDER_ABCD, one);
        part->scale_field = add_field(rows[i].type, rows[i].type == RAW_F32 ? 2 : 1, ORDER_ABCD);
        part->scale_is_exponent = rows[i].is_exponent;
        assert_int_equal(encode_counter(&profile, 0, INT64_C(1234567000000), &image, NULL), 0);
        expect_micro(INT64_C(1234567000000));
    }
}

// ---- limits -------------------------------------------------------------------------------------

static void test_refuses_what_does_not_fit(void **state)
{
    (void)state;
    struct err err;
    start("volume_base");
    add_part(RAW_U16, 1, ORDER_ABCD, one);
    image.words[0] = 77;
    assert_int_equal(encode_counter(&profile, 0, INT64_C(65536000000), &image, &err), -1);
    assert_non_null(strstr(err.text, "volume_base"));
    assert_int_equal(encode_counter(&profile, 0, -1, &image, &err), -1);
    assert_int_equal(image.words[0], 77); // untouched
    assert_int_equal(encode_counter_span(&profile, 0), INT64_C(65536000000));

    start("pressure");
    add_part(RAW_U16, 1, ORDER_ABCD, one);
    assert_int_equal(encode_gauge(&profile, 0, 65535.6, &image, &err), -1);
    assert_int_equal(encode_gauge(&profile, 0, (double)NAN, &image, &err), -1);
    assert_int_equal(encode_gauge(&profile, 0, -1, &image, &err), -1);

    start("pressure");
    add_part(RAW_F32, 2, ORDER_ABCD, one);
    assert_int_equal(encode_gauge(&profile, 0, (double)NAN, &image, &err), 0);
    decode();
    assert_int_equal(value.why, WHY_NOT_A_NUMBER);
    assert_int_equal(encode_counter_span(&profile, 0), 0); // never rolls over
}

static void test_status_round_trip(void **state)
{
    (void)state;
    for (int round = 0; round < 1000; round++) {
        start("status");
        int words = (int)random_between(1, 2);
        int field =
            add_field(words == 1 ? RAW_U16 : RAW_U32, words, (enum word_order)random_between(0, 3));
        profile.status_count = 8;
        for (int i = 0; i < 8; i++) {
            profile.status[i] = (struct profile_status){
                .field = (uint8_t)field, .bit = (uint8_t)((i * 5 + round) % (16 * words))};
        }
        uint64_t bits = random_u64() & 0xFF;
        encode_status(&profile, bits, &image);
        decode();
        assert_int_equal(value.bits, bits);
    }
}

static void expect_identity(const char *text)
{
    decode();
    assert_int_equal(value.quality, QUALITY_GOOD);
    assert_string_equal(value.text, text);
}

static void test_identity(void **state)
{
    (void)state;
    struct err err;
    start("serial_number");
    add_part(RAW_STRING, 4, ORDER_ABCD, one);
    assert_int_equal(encode_identity(&profile, 0, "GT-0042", &image, NULL), 0);
    expect_identity("GT-0042");
    start("serial_number");
    add_part(RAW_U32, 2, ORDER_CDAB, one);
    assert_int_equal(encode_identity(&profile, 0, "SN 701234", &image, NULL), 0);
    expect_identity("701234");
    start("serial_number");
    add_part(RAW_BCD, 2, ORDER_ABCD, one);
    assert_int_equal(encode_identity(&profile, 0, "701234", &image, NULL), 0);
    expect_identity("00701234");
    assert_int_equal(encode_identity(&profile, 0, "123456789", &image, &err), -1);
}

// ---- coded values -------------------------------------------------------------------------------

// The rule of the help text, with numbers worked out by hand (in Python) from its words.
static void test_coded_rule(void **state)
{
    (void)state;
    assert_int_equal(coded_who("boiler-1"), UINT64_C(0xA19AACC43DA0FF3A));
    assert_int_equal(coded_word(coded_who("boiler-1"), 7, 3, 16, 12345), 0x145C);
    assert_int_equal(coded_word(coded_who("boiler-1"), 7, 3, 17, 12345), 0xCF17);
    struct field field = {.first = 16, .function = 3, .words = 2, .type = RAW_F32};
    uint64_t raw = (uint64_t)0x145C << 16 | 0xCF17;
    assert_int_equal(coded_raw(&field, coded_who("boiler-1"), 7, 12345),
                     0x44800000 | (raw & 0x7FFFFF));
}

// Whatever is asked, wherever: the values are valid.
static void test_coded_values_are_valid(void **state)
{
    (void)state;
    for (int round = 0; round < ROUNDS; round++) {
        static const struct {
            const char *channel;
            enum raw_type type;
            int words;
        } rows[] = {
            {"volume_base", RAW_BCD, 3},   {"volume_base", RAW_U64, 4},
            {"volume_base", RAW_I64, 4},   {"volume_base", RAW_U32, 2},
            {"volume_base", RAW_I32, 2},   {"volume_base", RAW_F64, 4},
            {"volume_base", RAW_BCD, 4},   {"pressure", RAW_F32, 2},
            {"pressure", RAW_F64, 4},      {"temperature", RAW_I16, 1},
            {"temperature", RAW_U16, 1},   {"serial_number", RAW_STRING, 4},
            {"serial_number", RAW_BCD, 2},
        };
        size_t row = (size_t)random_between(0, sizeof rows / sizeof rows[0] - 1);
        struct profile_channel *channel = start(rows[row].channel);
        bool text = rows[row].type == RAW_STRING;
        add_part(rows[row].type, rows[row].words,
                 text ? ORDER_ABCD : (enum word_order)random_between(0, 3),
                 (struct decimal){1, -4});
        uint64_t who = random_u64();
        uint32_t tick = (uint32_t)random_u64();
        uint8_t unit = (uint8_t)random_u64();
        channel->not_available_count = text ? 0 : 1;
        channel->not_available[0] = coded_raw(&profile.fields[0], who, unit, tick);
        coded_image(&profile, who, unit, tick, &image);
        decode();
        assert_int_equal(value.quality, QUALITY_GOOD);
        if (channel->channel->kind == CHANNEL_COUNTER)
            assert_true(value.micro >= 0);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_fuxin_vector),       cmocka_unit_test(test_fd_tms_vector),
        cmocka_unit_test(test_whole_and_fraction), cmocka_unit_test(test_split_total),
        cmocka_unit_test(test_counter_round_trip), cmocka_unit_test(test_split_round_trip),
        cmocka_unit_test(test_gauge_round_trip),   cmocka_unit_test(test_integer_gauge_round_trip),
        cmocka_unit_test(test_scale_register),     cmocka_unit_test(test_refuses_what_does_not_fit),
        cmocka_unit_test(test_status_round_trip),  cmocka_unit_test(test_identity),
        cmocka_unit_test(test_coded_rule),         cmocka_unit_test(test_coded_values_are_valid),
    };
    random_start("test_simulator_encode");
    return cmocka_run_group_tests_name("simulator/encode", tests, NULL, NULL);
}
