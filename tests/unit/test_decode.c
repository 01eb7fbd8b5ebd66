#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "drivers/decode.h"
#include "drivers/exact.h"

#include "property.h"

#include <math.h>
#include <string.h>

__extension__ typedef __int128 i128;

static struct profile profile; // too large for some stacks
static struct image image;
static struct value value;

static const struct decimal one = {1, 0};

// A profile of one channel with one part; more is set by the test.
static struct profile_channel *start(const char *channel, int type, int words, struct decimal scale)
{
    memset(&profile, 0, sizeof profile);
    memset(&image, 0, sizeof image);
    memset(&value, 0x5A, sizeof value);
    profile.field_count = 1;
    profile.fields[0] =
        (struct field){.function = 3, .words = (uint8_t)words, .type = (uint8_t)type};
    profile.channel_count = 1;
    profile.channels[0] = (struct profile_channel){
        .channel = channel_find(channel),
        .part_count = 1,
        .parts = {{.scale = scale, .scale_field = -1}},
        .conversion = {.factor = one},
    };
    assert_non_null(profile.channels[0].channel);
    return &profile.channels[0];
}

static int add_field(int type, int words, const uint16_t *bits)
{
    const struct field *last = &profile.fields[profile.field_count - 1];
    int place = last->place + last->words;
    profile.fields[profile.field_count] = (struct field){
        .function = 3, .words = (uint8_t)words, .place = (uint16_t)place, .type = (uint8_t)type};
    memcpy(image.words + place, bits, (size_t)words * 2);
    return profile.field_count++;
}

static void add_part(int type, int words, const uint16_t *bits, struct decimal scale)
{
    struct profile_channel *channel = &profile.channels[0];
    int field = add_field(type, words, bits);
    channel->parts[channel->part_count++] =
        (struct part){.field = (uint8_t)field, .scale = scale, .scale_field = -1};
}

static void put(uint64_t bits, int words)
{
    for (int i = 0; i < words; i++)
        image.words[i] = (uint16_t)(bits >> (16 * (words - 1 - i)));
}

static void decode(void)
{
    image_decode(&profile, &image, false, &value);
}

static void expect_micro(int64_t micro)
{
    decode();
    assert_int_equal(value.quality, QUALITY_GOOD);
    assert_int_equal(value.why, WHY_NONE);
    assert_true(value.present);
    assert_int_equal(value.micro, micro);
}

static void expect_number(double number)
{
    decode();
    assert_int_equal(value.quality, QUALITY_GOOD);
    assert_true(value.present);
    if (value.number != number)
        fail_msg("%.17g is not %.17g", value.number, number);
}

static void expect_bad(enum quality quality, int why)
{
    decode();
    assert_int_equal(value.quality, quality);
    assert_int_equal(value.why, why);
    assert_false(value.present);
}

// A doubted field keeps its value; one that was not read has none, and that reason goes before.
static void test_doubt(void **state)
{
    (void)state;
    start("volume_base", RAW_U32, 2, one);
    add_part(RAW_U16, 1, (const uint16_t[]){7}, one);
    put(35, 2);
    expect_micro(42000000);
    image.why[1] = WHY_UNCONFIRMED;
    decode();
    assert_int_equal(value.quality, QUALITY_SUSPECT);
    assert_int_equal(value.why, WHY_UNCONFIRMED);
    assert_true(value.present);
    assert_int_equal(value.micro, 42000000);
    assert_false(value_is_usable(&value));
    image.why[0] = WHY_EXCHANGED;
    decode();
    assert_int_equal(value.why, WHY_EXCHANGED);
    image.why[0] = WHY_TIMEOUT;
    expect_bad(QUALITY_MISSING, WHY_TIMEOUT);
    image.why[0] = WHY_NONE;
    image.why[1] = WHY_EXCEPTION + 2;
    expect_bad(QUALITY_MISSING, WHY_EXCEPTION + 2);
}

static void test_integer_types(void **state)
{
    (void)state;
    static const struct {
        int type, words;
        uint64_t bits;
        int64_t micro; // at scale 1e-6
    } rows[] = {
        {RAW_U16, 1, 0xFFFF, 65535},
        {RAW_I16, 1, 0xFFFF, -1},
        {RAW_I16, 1, 0x8000, -32768},
        {RAW_I16, 1, 0x7FFF, 32767},
        {RAW_U32, 2, 0xFFFFFFFF, 4294967295},
        {RAW_I32, 2, 0x80000000, -2147483648},
        {RAW_I32, 2, 0xFFFFFFFE, -2},
        {RAW_U64, 4, 9199999999999999999u, 9199999999999999999},
        {RAW_I64, 4, 0xFFFFFFFFFFFFFFFFu, -1},
        {RAW_BCD, 1, 0x1234, 1234},
        {RAW_BCD, 2, 0x12345678, 12345678},
        {RAW_BCD, 3, 0x000012431116, 12431116},
        {RAW_BCD, 4, 0x9000123456789012, 9000123456789012},
    };
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        (void)start("volume_base", rows[i].type, rows[i].words, (struct decimal){1, -6});
        put(rows[i].bits, rows[i].words);
        expect_micro(rows[i].micro);
    }
}

static void test_orders(void **state)
{
    (void)state;
    static const struct {
        int order;
        uint16_t two[2], four[4];
    } rows[] = {
        {ORDER_ABCD, {0x0102, 0x0304}, {0x0102, 0x0304, 0x0506, 0x0708}},
        {ORDER_CDAB, {0x0304, 0x0102}, {0x0708, 0x0506, 0x0304, 0x0102}},
        {ORDER_BADC, {0x0201, 0x0403}, {0x0201, 0x0403, 0x0605, 0x0807}},
        {ORDER_DCBA, {0x0403, 0x0201}, {0x0807, 0x0605, 0x0403, 0x0201}},
    };
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        (void)start("volume_base", RAW_U32, 2, (struct decimal){1, -6});
        profile.fields[0].order = (uint8_t)rows[i].order;
        memcpy(image.words, rows[i].two, sizeof rows[i].two);
        expect_micro(0x01020304);
        (void)start("volume_base", RAW_U64, 4, (struct decimal){1, -6});
        profile.fields[0].order = (uint8_t)rows[i].order;
        memcpy(image.words, rows[i].four, sizeof rows[i].four);
        expect_micro(0x0102030405060708);
    }
}

// 42CC6C8B is 102.212 as the meter shows it; 41F8BA4A with its low word first is the FD TMS
// manual's 31.090961.
static void test_floats_of_manuals(void **state)
{
    (void)state;
    (void)start("pressure", RAW_F32, 2, one);
    put(0x42CC6C8B, 2);
    expect_number(102.21199798583984);
    (void)start("temperature", RAW_F32, 2, one);
    profile.fields[0].order = ORDER_CDAB;
    put(0xBA4A41F8, 2);
    expect_number(31.090961456298828);
    (void)start("temperature", RAW_F64, 4, one);
    put(0xC05EDD2F1A9FBE77, 4);
    expect_number(-123.456);
}

// A float total is the number that its bits are, rounded to micro units half to even.
static void test_float_totals(void **state)
{
    (void)state;
    (void)start("volume_base", RAW_F32, 2, one);
    put(0x449B6392, 2); // 1243.111572265625
    expect_micro(1243111572);
    put(0x4B3C6156, 2);
    expect_micro(12345686000000);
    put(0x80000000, 2); // -0
    expect_micro(0);
    (void)start("volume_base", RAW_F64, 4, one);
    put(0x3FB999999999999A, 4); // 0.1
    expect_micro(100000);
    put(0x433FFFFFFFFFFFFF, 4); // 2^53 - 1 is beyond 9.2e12
    expect_bad(QUALITY_SUSPECT, WHY_OUT_OF_RANGE);
    (void)start("energy_import", RAW_F64, 4, (struct decimal){1, -3});
    put(0x41678C29DCCCCCCD, 4); // 12345678.9 Wh
    expect_micro(12345678900);
}

static void test_half_to_even(void **state)
{
    (void)state;
    static const struct {
        uint16_t raw;
        int64_t micro;
    } rows[] = {{5, 0}, {15, 2}, {25, 2}, {35, 4}, {24, 2}, {26, 3}, {6, 1}, {0, 0}};
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        (void)start("volume_base", RAW_U16, 1, (struct decimal){1, -7});
        put(rows[i].raw, 1);
        expect_micro(rows[i].micro);
        (void)start("volume_base", RAW_U16, 1, (struct decimal){-1, -7});
        put(rows[i].raw, 1);
        expect_micro(-rows[i].micro);
    }
    // 2^-7 = 0.0078125: seven decimals that end in a 5.
    (void)start("volume_base", RAW_F32, 2, one);
    put(0x3C000000, 2);
    expect_micro(7812);
    // Half to even is of the sum, not of the addends: 1e-6 + 0.5e-6 is 2e-6.
    (void)start("volume_base", RAW_U16, 1, (struct decimal){1, -6});
    put(1, 1);
    add_part(RAW_U16, 1, (const uint16_t[]){5}, (struct decimal){1, -7});
    expect_micro(2);
    // 0.1e-6 + 0.4e-6 is a half exactly, though neither is a binary number.
    (void)start("volume_base", RAW_U16, 1, (struct decimal){1, -8});
    put(10, 1);
    add_part(RAW_U16, 1, (const uint16_t[]){40}, (struct decimal){1, -8});
    expect_micro(0);
}

static void test_parts(void **state)
{
    (void)state;
    // hi x 100 + lo of the Jinhu meter, and an integer part with a float fraction of the FD TMS.
    (void)start("volume_base", RAW_U32, 2, (struct decimal){100, 0});
    put(1234567, 2);
    add_part(RAW_F32, 2, (const uint16_t[]){0x42AD, 0x3333}, one); // 86.5999984741
    expect_micro(123456786599998);
    // high x 65536 + low, of opposite signs.
    (void)start("volume_base", RAW_I16, 1, (struct decimal){65536, 0});
    put(0xFFFE, 1);
    add_part(RAW_U16, 1, (const uint16_t[]){1}, one);
    expect_micro(-131071000000);
    // Addends that are out of range alone, and whose sum is not.
    (void)start("volume_base", RAW_U64, 4, one);
    put(9300000000000, 4);
    add_part(RAW_I64, 4, (const uint16_t[]){0xFFFF, 0xFFFF, 0xFFFF, 0xFFFF},
             (struct decimal){200000000000, 0});
    expect_micro(9100000000000000000);
}

static i128 round_half_even(i128 numerator, i128 denominator)
{
    i128 whole = numerator / denominator;
    i128 twice = 2 * (numerator % denominator);
    return whole + (twice > denominator || (twice == denominator && whole % 2 != 0) ? 1 : 0);
}

// u32 + f32 in [0, 1), against a sum in whole numbers of 2^-30.
static void test_random_parts(void **state)
{
    (void)state;
    for (int round = 0; round < 100000; round++) {
        uint32_t whole = (uint32_t)random_magnitude();
        uint32_t bits = (uint32_t)random_between(0, (1 << 24) - 1);
        int shift = (int)random_between(24, 30);
        float fraction = ldexpf((float)bits, -shift);
        uint32_t raw = 0;
        memcpy(&raw, &fraction, sizeof raw);
        (void)start("volume_base", RAW_U32, 2, one);
        put(whole, 2);
        add_part(RAW_F32, 2, (const uint16_t[]){(uint16_t)(raw >> 16), (uint16_t)raw}, one);
        i128 exact = ((i128)whole << 30) + ((i128)bits << (30 - shift));
        expect_micro((int64_t)round_half_even(exact * 1000000, (i128)1 << 30));
    }
}

static void test_offset_and_unit(void **state)
{
    (void)state;
    struct profile_channel *channel = start("volume_base", RAW_U32, 2, (struct decimal){1, -1});
    channel->offset = (struct decimal){25, -1};
    channel->conversion.factor = (struct decimal){1, -3}; // litres
    put(12345, 2);
    expect_micro(1237000);
    channel->conversion.factor = (struct decimal){1000, 0};
    expect_micro(1237000000000);

    channel = start("temperature", RAW_I16, 1, (struct decimal){1, -1});
    put((uint16_t)-125, 1);
    expect_number(-12.5);
    channel->conversion.offset = (struct decimal){-27315, -2};
    put(2981, 1);
    expect_number(298.1 - 273.15);
    (void)start("pressure", RAW_U16, 1, (struct decimal){1, -1});
    put(217, 1);
    expect_number(21.7); // 217 x 0.1 in binary is 21.700000000000003
    (void)start("balance", RAW_U32, 2, (struct decimal){1, -2});
    put(4000000007, 2);
    expect_number(40000000.07);
}

static void test_scale_register(void **state)
{
    (void)state;
    struct profile_channel *channel = start("volume_base", RAW_U32, 2, one);
    put(123456, 2);
    int field = add_field(RAW_I16, 1, (const uint16_t[]){(uint16_t)-3});
    channel->parts[0].scale_field = field;
    channel->parts[0].scale_is_exponent = true;
    expect_micro(123456000);
    image.words[2] = 2;
    expect_micro(12345600000000);
    image.words[2] = 19;
    expect_bad(QUALITY_SUSPECT, WHY_OUT_OF_RANGE);
    channel->parts[0].scale_is_exponent = false;
    image.words[2] = 10;
    expect_micro(1234560000000);
    image.words[2] = (uint16_t)-10;
    expect_micro(-1234560000000);
    image.why[1] = WHY_EXCEPTION + 2;
    expect_bad(QUALITY_MISSING, WHY_EXCEPTION + 2);

    channel = start("pressure", RAW_U16, 1, one);
    put(50, 1);
    field = add_field(RAW_F32, 2, (const uint16_t[]){0x3FC0, 0}); // 1.5
    channel->parts[0].scale_field = field;
    expect_number(75);
    image.words[1] = 0x7FC0;
    expect_bad(QUALITY_SUSPECT, WHY_NOT_A_NUMBER);
}

static void test_no_values(void **state)
{
    (void)state;
    static const uint32_t not_numbers[] = {0x7FC00000, 0x7F800000, 0xFF800000, 0x7F800001};
    for (int i = 0; i < 4; i++) {
        (void)start("pressure", RAW_F32, 2, one);
        put(not_numbers[i], 2);
        expect_bad(QUALITY_SUSPECT, WHY_NOT_A_NUMBER);
        (void)start("volume_base", RAW_F32, 2, one);
        put(not_numbers[i], 2);
        expect_bad(QUALITY_SUSPECT, WHY_NOT_A_NUMBER);
    }
    (void)start("volume_base", RAW_BCD, 3, one);
    put(0x12A4, 3);
    expect_bad(QUALITY_SUSPECT, WHY_BAD_BCD);
    (void)start("volume_base", RAW_U64, 4, one);
    put(9200000000000, 4);
    expect_bad(QUALITY_SUSPECT, WHY_OUT_OF_RANGE);
    (void)start("pressure", RAW_F64, 4, (struct decimal){1, 18});
    put(0x7FE0000000000000, 4);
    expect_bad(QUALITY_SUSPECT, WHY_OUT_OF_RANGE);
    struct profile_channel *channel = start("volume_base", RAW_U16, 1, one);
    memcpy(channel->unit, "config", 7); // nobody has said what it counts
    expect_bad(QUALITY_SUSPECT, WHY_OUT_OF_RANGE);
}

static void test_not_available(void **state)
{
    (void)state;
    struct profile_channel *channel = start("pressure", RAW_I16, 1, one);
    channel->not_available_count = 2;
    channel->not_available[0] = 0xFFFF;
    channel->not_available[1] = 0x7FFF;
    put(0x7FFF, 1);
    expect_bad(QUALITY_MISSING, WHY_NOT_AVAILABLE);
    put(0xFFFF, 1);
    expect_bad(QUALITY_MISSING, WHY_NOT_AVAILABLE);
    put(0x7FFE, 1);
    expect_number(32766);

    channel = start("volume_base", RAW_U32, 2, one);
    profile.fields[0].order = ORDER_CDAB;
    channel->not_available_count = 1;
    channel->not_available[0] = 0x7FFFFFFF; // most significant word first, whatever the order
    image.words[0] = 0xFFFF;
    image.words[1] = 0x7FFF;
    expect_bad(QUALITY_MISSING, WHY_NOT_AVAILABLE);
    // A BCD pattern that is no number is "not available" before it is a bad digit.
    channel = start("volume_base", RAW_BCD, 3, one);
    channel->not_available_count = 1;
    channel->not_available[0] = 0xFFFFFFFFFFFF;
    put(0xFFFFFFFFFFFF, 3);
    expect_bad(QUALITY_MISSING, WHY_NOT_AVAILABLE);
}

static void test_not_read(void **state)
{
    (void)state;
    (void)start("volume_base", RAW_U16, 1, one);
    add_part(RAW_U16, 1, (const uint16_t[]){1}, one);
    image.why[1] = WHY_TIMEOUT;
    expect_bad(QUALITY_MISSING, WHY_TIMEOUT);
    image.why[0] = WHY_CRC;
    expect_bad(QUALITY_MISSING, WHY_CRC);
}

static void test_status(void **state)
{
    (void)state;
    struct profile_channel *channel = start("status", RAW_U16, 1, one);
    channel->part_count = 0;
    int coil = add_field(RAW_U16, 1, (const uint16_t[]){1});
    profile.fields[coil].function = 1;
    profile.status_count = 3;
    profile.status[0] = (struct profile_status){.field = 0, .bit = 15, .name = "low-battery"};
    profile.status[1] = (struct profile_status){.field = 0, .bit = 0, .name = "valve-closed"};
    profile.status[2] = (struct profile_status){.field = (uint8_t)coil, .bit = 0, .name = "door"};
    put(0x8000, 1);
    decode();
    assert_int_equal(value.quality, QUALITY_GOOD);
    assert_int_equal(value.bits, 5);
    put(0x0001, 1);
    image.words[1] = 0;
    decode();
    assert_int_equal(value.bits, 2);
    image.why[1] = WHY_EXCEPTION + 2;
    expect_bad(QUALITY_MISSING, WHY_EXCEPTION + 2);
}

// A number of some bits has a name for each of its values; 32 bits may stand in any order.
static void test_status_numbers(void **state)
{
    (void)state;
    struct profile_channel *channel = start("status", RAW_U32, 2, one);
    channel->part_count = 0;
    profile.fields[0].order = ORDER_CDAB;
    profile.status_count = 4;
    profile.status[0] = (struct profile_status){.bit = 4, .width = 2, .value = 1, .name = "open"};
    profile.status[1] = (struct profile_status){.bit = 4, .width = 2, .value = 2, .name = "closed"};
    profile.status[2] = (struct profile_status){.bit = 4, .width = 2, .value = 0, .name = "moves"};
    profile.status[3] = (struct profile_status){.bit = 31, .width = 1, .name = "top"};
    static const struct {
        uint32_t raw;
        uint64_t bits;
    } rows[] = {
        {0x00000010, 1},
        {0xFFCF0020 & 0x7FFFFFFF, 2},
        {0x80000000, 4 | 8},
        {0x00000030, 0},
    };
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        image.words[0] = (uint16_t)rows[i].raw;
        image.words[1] = (uint16_t)(rows[i].raw >> 16);
        decode();
        assert_int_equal(value.quality, QUALITY_GOOD);
        assert_int_equal(value.bits, rows[i].bits);
    }
}

// 0x42F6E979 is 123.4562454… as a 32-bit float; one order for all numbers, texts left alone.
static void test_word_order_of_the_meter(void **state)
{
    (void)state;
    static const uint16_t words[][2] = {
        {0x42F6, 0xE979}, {0xE979, 0x42F6}, {0xF642, 0x79E9}, {0x79E9, 0xF642}};
    for (int order = ORDER_ABCD; order <= ORDER_DCBA; order++) {
        (void)start("flow_base", RAW_F32, 2, one);
        profile.fields[0].order = ORDER_BADC;
        int narrow = add_field(RAW_U16, 1, (const uint16_t[]){1});
        int text = add_field(RAW_STRING, 4, (const uint16_t[]){0x4142, 0, 0, 0});
        int wide = add_field(RAW_U64, 4, (const uint16_t[]){1, 2, 3, 4});
        memcpy(image.words, words[order], sizeof words[order]);
        assert_true(profile_set_word_order(&profile, (enum word_order)order));
        decode();
        assert_true(value.number == (double)0x1.edd2f2p+6F);
        assert_int_equal(profile.fields[narrow].order, ORDER_ABCD);
        assert_int_equal(profile.fields[text].order, ORDER_ABCD);
        assert_int_equal(profile.fields[wide].order, order);
        assert_int_equal(word_order_find(word_order_names[order]), order);
    }
    assert_int_equal(word_order_find("ABDC"), -1);
    (void)start("flow_base", RAW_U16, 1, one);
    assert_false(profile_set_word_order(&profile, ORDER_CDAB));
}

static void expect_text(const char *text)
{
    decode();
    assert_int_equal(value.quality, QUALITY_GOOD);
    assert_string_equal(value.text, text);
}

static void test_identity(void **state)
{
    (void)state;
    (void)start("serial_number", RAW_STRING, 4, one);
    memcpy(image.words, (const uint16_t[]){0x4142, 0x3720, 0x3820, 0x2020}, 8);
    expect_text("AB7 8");
    memcpy(image.words, (const uint16_t[]){0x4142, 0x0043, 0x4444, 0x4444}, 8);
    expect_text("AB");
    memcpy(image.words, (const uint16_t[]){0x410A, 0x7F42, 0x0000, 0x0000}, 8);
    expect_text("A??B");
    memset(image.words, 0, 8);
    expect_bad(QUALITY_MISSING, WHY_NOT_AVAILABLE);
    profile.fields[0].order = ORDER_BADC;
    memcpy(image.words, (const uint16_t[]){0x4241, 0x0043, 0, 0}, 8);
    expect_text("ABC");
    (void)start("serial_number", RAW_STRING, 16, one);
    for (int i = 0; i < 16; i++)
        image.words[i] = (uint16_t)(0x4130 + i % 10);
    expect_text("A0A1A2A3A4A5A6A7A8A9A0A1A2A3A4A5");
    (void)start("serial_number", RAW_U32, 2, one);
    put(4000123456, 2);
    expect_text("4000123456");
    (void)start("serial_number", RAW_BCD, 3, one);
    put(0x001234567890, 3);
    expect_text("001234567890");
}

static void test_unverified(void **state)
{
    (void)state;
    (void)start("pressure", RAW_U16, 1, one);
    put(5, 1);
    image_decode(&profile, &image, true, &value);
    assert_int_equal(value.quality, QUALITY_SUSPECT);
    assert_int_equal(value.why, WHY_UNVERIFIED);
    assert_true(value.present);
    assert_true(value.number == 5);
    image.why[0] = WHY_TIMEOUT;
    image_decode(&profile, &image, true, &value);
    assert_int_equal(value.quality, QUALITY_MISSING);
    assert_int_equal(value.why, WHY_TIMEOUT);
}

static void test_worst(void **state)
{
    (void)state;
    struct value values[3] = {{.quality = QUALITY_GOOD}, {.quality = QUALITY_SUSPECT}, {0}};
    assert_int_equal(values_worst(values, 3), QUALITY_SUSPECT);
    assert_int_equal(values_worst(values, 1), QUALITY_GOOD);
    assert_int_equal(values_worst(values, 0), QUALITY_MISSING);
    assert_int_equal(quality_worst(QUALITY_MISSING, QUALITY_GOOD), QUALITY_MISSING);
}

static void test_texts(void **state)
{
    (void)state;
    char text[WHY_TEXT_MAX];
    assert_string_equal(why_text(WHY_NONE, text), "");
    assert_string_equal(why_text(WHY_TIMEOUT, text), "timeout");
    assert_string_equal(why_text(WHY_INTERPOLATED, text), "interpolated");
    assert_string_equal(why_text(WHY_EXCEPTION + 2, text), "exception-2");
    assert_string_equal(why_text(WHY_EXCEPTION + 255, text), "exception-255");
    assert_string_equal(why_text(0xFFFF, text), "why-65535");
    assert_string_equal(quality_text(QUALITY_ARCHIVE), "archive");
    assert_string_equal(quality_text((enum quality)77), "missing");
}

// The sum of random terms does not depend on their order, and a term less itself is nothing.
static void test_exact_sums(void **state)
{
    (void)state;
    for (int round = 0; round < 20000; round++) {
        struct exact_term terms[4];
        struct exact forward = {0};
        struct exact backward = {0};
        struct exact none = {0};
        for (int i = 0; i < 4; i++) {
            terms[i] = (struct exact_term){
                .negative = random_between(0, 1) == 1,
                .factor = {random_magnitude() >> 20, random_magnitude() >> 40, 1},
                .tens = (int)random_between(-20, 0),
                .twos = (int)random_between(-60, 4),
            };
            exact_add(&forward, &terms[i]);
            exact_add(&none, &terms[i]);
            struct exact_term opposite = terms[i];
            opposite.negative = !opposite.negative;
            exact_add(&none, &opposite);
        }
        for (int i = 3; i >= 0; i--)
            exact_add(&backward, &terms[i]);
        int64_t a = 0;
        int64_t b = 0;
        int rc = exact_round(&forward, &a);
        assert_int_equal(rc, exact_round(&backward, &b));
        assert_int_equal(a, b);
        a = 1;
        assert_int_equal(exact_round(&none, &a), 0);
        assert_int_equal(a, 0);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_doubt),           cmocka_unit_test(test_integer_types),
        cmocka_unit_test(test_orders),          cmocka_unit_test(test_floats_of_manuals),
        cmocka_unit_test(test_float_totals),    cmocka_unit_test(test_half_to_even),
        cmocka_unit_test(test_parts),           cmocka_unit_test(test_random_parts),
        cmocka_unit_test(test_offset_and_unit), cmocka_unit_test(test_scale_register),
        cmocka_unit_test(test_no_values),       cmocka_unit_test(test_not_available),
        cmocka_unit_test(test_not_read),        cmocka_unit_test(test_status),
        cmocka_unit_test(test_status_numbers),  cmocka_unit_test(test_word_order_of_the_meter),
        cmocka_unit_test(test_identity),        cmocka_unit_test(test_unverified),
        cmocka_unit_test(test_worst),           cmocka_unit_test(test_texts),
        cmocka_unit_test(test_exact_sums),
    };
    random_start("test_decode");
    return cmocka_run_group_tests_name("drivers/decode", tests, NULL, NULL);
}
