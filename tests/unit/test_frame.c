#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "drivers/frame.h"

#include "property.h"

#include <string.h>

static size_t hex(const char *text, uint8_t *bytes)
{
    size_t length = 0;
    unsigned byte = 0;
    for (int used = 0; sscanf(text, "%2x%n", &byte, &used) == 1; text += used)
        bytes[length++] = (uint8_t)byte;
    return length;
}

static void seal(uint8_t *frame, size_t length)
{
    uint16_t crc = frame_crc16(frame, length);
    frame[length] = (uint8_t)crc;
    frame[length + 1] = (uint8_t)(crc >> 8);
}

// Request check sums printed in the FD TMS manual and in the Chinese integrator's source.
static void test_requests_of_manuals(void **state)
{
    (void)state;
    static const struct {
        struct request request;
        const char *frame;
    } rows[] = {
        {{1, 3, 0, 2}, "010300000002C40B"},      {{1, 3, 2, 2}, "01030002000265CB"},
        {{1, 3, 4, 2}, "01030004000285CA"},      {{1, 3, 6, 2}, "010300060002240A"},
        {{1, 3, 8, 2}, "01030008000245C9"},      {{1, 3, 10, 2}, "0103000A0002E409"},
        {{1, 3, 12, 2}, "0103000C00020408"},     {{1, 3, 14, 2}, "0103000E0002A5C8"},
        {{0x17, 3, 10, 21}, "1703000A0015A6F1"},
    };
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        uint8_t expected[FRAME_RTU_MAX];
        uint8_t frame[FRAME_RTU_MAX];
        size_t length = hex(rows[i].frame, expected);
        assert_int_equal(frame_rtu_request(&rows[i].request, frame), length);
        assert_memory_equal(frame, expected, length);
    }
    uint8_t frame[FRAME_MAX];
    uint8_t expected[FRAME_MAX];
    struct request request = {255, 4, 0x0321, 4};
    assert_int_equal(frame_tcp_request(&request, 0xABCD, frame), 12);
    assert_int_equal(hex("ABCD00000006FF0403210004", expected), 12);
    assert_memory_equal(frame, expected, 12);
}

static void judge_rtu(struct request request, const char *text, struct reply *reply)
{
    uint8_t frame[FRAME_RTU_MAX];
    size_t length = hex(text, frame);
    memset(reply, 0x5A, sizeof *reply);
    frame_rtu_judge(&request, frame, length, reply);
}

static void test_replies_of_manuals(void **state)
{
    (void)state;
    struct reply reply;
    judge_rtu((struct request){1, 3, 12, 2}, "010304BA4A41F8CF2F", &reply);
    assert_int_equal(reply.why, WHY_NONE);
    assert_string_equal(reply.detail, "");
    assert_int_equal(reply.words[0], 0xBA4A);
    assert_int_equal(reply.words[1], 0x41F8);
    judge_rtu((struct request){1, 3, 14, 2}, "010304821F4036525B", &reply);
    assert_int_equal(reply.why, WHY_NONE);
    assert_int_equal(reply.words[0], 0x821F);
    assert_int_equal(reply.words[1], 0x4036);
}

// Coils 20 to 38 of the application protocol's own example: CD 6B 05.
static void test_bits(void **state)
{
    (void)state;
    struct request request = {1, 1, 19, 19};
    uint8_t frame[FRAME_RTU_MAX] = {1, 1, 3, 0xCD, 0x6B, 0x05};
    seal(frame, 6);
    struct reply reply = {0};
    frame_rtu_judge(&request, frame, 8, &reply);
    assert_int_equal(reply.why, WHY_NONE);
    static const uint16_t expected[19] = {1, 0, 1, 1, 0, 0, 1, 1, 1, 1, 0, 1, 0, 1, 1, 0, 1, 0, 1};
    assert_memory_equal(reply.words, expected, sizeof expected);
}

// Registers of four bytes: two words for each number that was asked for.
static void test_wide_registers(void **state)
{
    (void)state;
    struct request request = {
        .unit = 1, .function = 3, .first = 7001, .count = 2, .register_size = 4};
    uint8_t frame[FRAME_RTU_MAX];
    uint8_t expected[FRAME_RTU_MAX];
    assert_int_equal(frame_rtu_request(&request, frame), 8);
    assert_int_equal(hex("01031B590002", expected), 6);
    assert_memory_equal(frame, expected, 6);
    assert_int_equal(frame_data_size(&request), 8);
    assert_int_equal(frame_rtu_reply_size(&request), 13);
    size_t length = hex("01030842CA000041A00000", frame);
    seal(frame, length);
    struct reply reply = {0};
    frame_rtu_judge(&request, frame, length + 2, &reply);
    assert_int_equal(reply.why, WHY_NONE);
    static const uint16_t words[] = {0x42CA, 0x0000, 0x41A0, 0x0000};
    assert_memory_equal(reply.words, words, sizeof words);
    // The same reply is wrong for registers of two bytes, and the usual one for these.
    request.register_size = 2;
    frame_rtu_judge(&request, frame, length + 2, &reply);
    assert_int_equal(reply.why, WHY_FRAME);
    request.register_size = 4;
    length = hex("01030442CA0000", frame);
    seal(frame, length);
    frame_rtu_judge(&request, frame, length + 2, &reply);
    assert_int_equal(reply.why, WHY_FRAME);
    // Bits are bits.
    request.function = 2;
    assert_int_equal(frame_data_size(&request), 1);
}

static void expect_rtu(struct request request, const uint8_t *frame, size_t length, int why,
                       const char *detail)
{
    struct reply reply = {0};
    frame_rtu_judge(&request, frame, length, &reply);
    assert_int_equal(reply.why, why);
    if (strstr(reply.detail, detail) == NULL)
        fail_msg("'%s' does not say '%s'", reply.detail, detail);
}

static void test_rtu_damage(void **state)
{
    (void)state;
    struct request request = {7, 3, 100, 2};
    uint8_t good[FRAME_RTU_MAX] = {7, 3, 4, 0x12, 0x34, 0x56, 0x78};
    seal(good, 7);
    expect_rtu(request, good, 9, WHY_NONE, "");

    uint8_t frame[FRAME_RTU_MAX];
    memcpy(frame, good, sizeof frame);
    frame[4] ^= 1;
    expect_rtu(request, frame, 9, WHY_CRC, "check sum");
    expect_rtu(request, good, 8, WHY_FRAME, "8 bytes came, the reply has 9");
    // A zero behind a good frame leaves its check sum good: that is how CRC-16 is made.
    expect_rtu(request, good, 10, WHY_FRAME, "5 data bytes, byte count says 4");
    good[9] = 1;
    expect_rtu(request, good, 10, WHY_FRAME, "10 bytes came, the reply has 9");
    expect_rtu(request, good, 4, WHY_FRAME, "only 4 bytes");
    expect_rtu(request, good, 0, WHY_FRAME, "only 0 bytes");

    memcpy(frame, good, sizeof frame);
    frame[0] = 8;
    seal(frame, 7);
    expect_rtu(request, frame, 9, WHY_FRAME, "unit 8 answered, unit 7 was asked");
    frame[0] = 7;
    frame[1] = 4;
    seal(frame, 7);
    expect_rtu(request, frame, 9, WHY_FRAME, "function 4 answered");
    frame[1] = 3;
    frame[2] = 6;
    seal(frame, 7);
    expect_rtu(request, frame, 9, WHY_FRAME, "byte count 6, 4 were asked");
    frame[2] = 4;
    frame[7] = frame[8] = 0;
    seal(frame, 8);
    expect_rtu(request, frame, 10, WHY_FRAME, "5 data bytes, byte count says 4");
}

// The echo of a request for 17 to 24 bits from a register 0x03xx has the head of its own reply.
static void test_rtu_echo(void **state)
{
    (void)state;
    struct request rows[] = {{7, 3, 100, 2}, {7, 2, 0x0311, 20}};
    for (int i = 0; i < 2; i++) {
        uint8_t frame[FRAME_RTU_MAX];
        size_t length = frame_rtu_request(&rows[i], frame);
        expect_rtu(rows[i], frame, length, WHY_FRAME, "echo");
    }
}

static void test_exceptions(void **state)
{
    (void)state;
    struct request request = {7, 4, 100, 2};
    for (int code = 0; code <= 255; code++) {
        uint8_t frame[FRAME_RTU_MAX] = {7, 0x84, (uint8_t)code};
        seal(frame, 3);
        expect_rtu(request, frame, 5, code == 0 ? WHY_FRAME : WHY_EXCEPTION + code, "exception");
        uint8_t tcp[] = {0, 9, 0, 0, 0, 3, 7, 0x84, (uint8_t)code};
        struct reply reply = {0};
        frame_tcp_judge(&request, 9, tcp, sizeof tcp, &reply);
        assert_int_equal(reply.why, code == 0 ? WHY_FRAME : WHY_EXCEPTION + code);
    }
    uint8_t other[FRAME_RTU_MAX] = {7, 0x83, 2};
    seal(other, 3);
    expect_rtu(request, other, 5, WHY_FRAME, "function 131 answered");
    uint8_t longer[FRAME_RTU_MAX] = {7, 0x84, 2, 0};
    seal(longer, 4);
    expect_rtu(request, longer, 6, WHY_FRAME, "malformed exception");
}

static void expect_tcp(struct request request, const uint8_t *frame, size_t length, int why,
                       const char *detail)
{
    struct reply reply = {0};
    frame_tcp_judge(&request, 0x0102, frame, length, &reply);
    assert_int_equal(reply.why, why);
    if (strstr(reply.detail, detail) == NULL)
        fail_msg("'%s' does not say '%s'", reply.detail, detail);
}

static void test_tcp_damage(void **state)
{
    (void)state;
    struct request request = {7, 3, 100, 2};
    const uint8_t good[14] = {1, 2, 0, 0, 0, 7, 7, 3, 4, 0x12, 0x34, 0x56, 0x78, 0};
    expect_tcp(request, good, 13, WHY_NONE, "");
    static const struct {
        int at;
        uint8_t value;
        const char *detail;
    } rows[] = {
        {0, 2, "transaction 514 answered"},
        {1, 3, "transaction 259 answered"},
        {2, 1, "protocol 256"},
        {3, 1, "protocol 1"},
        {4, 1, "header says 263"},
        {5, 8, "header says 8"},
        {6, 8, "unit 8 answered"},
        {7, 4, "function 4 answered"},
        {8, 2, "byte count 2"},
    };
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        uint8_t frame[13];
        memcpy(frame, good, sizeof frame);
        frame[rows[i].at] = rows[i].value;
        expect_tcp(request, frame, 13, WHY_FRAME, rows[i].detail);
    }
    expect_tcp(request, good, 12, WHY_FRAME, "header says 7 bytes follow, 6 came");
    expect_tcp(request, good, 14, WHY_FRAME, "header says 7 bytes follow, 8 came");
    expect_tcp(request, good, 8, WHY_FRAME, "only 8 bytes");
}

static struct request random_request(void)
{
    return (struct request){
        .unit = (uint8_t)random_between(1, 247),
        .function = (uint8_t)random_between(1, 4),
        .first = (uint16_t)random_between(0, 65535 - 125),
        .count = (uint16_t)random_between(1, 125),
    };
}

static size_t good_reply(const struct request *request, uint8_t *frame)
{
    size_t data = frame_data_size(request);
    frame[0] = request->unit;
    frame[1] = request->function;
    frame[2] = (uint8_t)data;
    for (size_t i = 0; i < data; i++)
        frame[3 + i] = (uint8_t)random_u64();
    seal(frame, 3 + data);
    return data + 5;
}

// One to three of: a byte changed, a byte dropped, a byte doubled, cut short, made longer.
static size_t mutate(uint8_t *frame, size_t length)
{
    size_t at = (size_t)random_between(0, (int64_t)length - 1);
    switch (random_between(0, 4)) {
    case 0: frame[at] = (uint8_t)random_u64(); return length;
    case 1: memmove(frame + at, frame + at + 1, length - at - 1); return length - 1;
    case 2:
        if (length < FRAME_RTU_MAX) {
            memmove(frame + at + 1, frame + at, length - at);
            return length + 1;
        }
        return length;
    case 3: return at + 1;
    default:
        if (length < FRAME_RTU_MAX) {
            frame[length] = (uint8_t)random_u64();
            return length + 1;
        }
        return length;
    }
}

// A frame that is taken passes every check, each written down here once more on its own.
static bool passes_rtu(const struct request *request, const uint8_t *frame, size_t length)
{
    size_t data = request->function < 3 ? (request->count + 7U) / 8 : 2U * request->count;
    uint32_t crc = 0xFFFF;
    for (size_t i = 0; i + 2 < length; i++) {
        for (int bit = 0; bit < 8; bit++) {
            uint32_t mixed = (crc ^ (uint32_t)frame[i] >> bit) & 1;
            crc = (crc >> 1) ^ (mixed ? 0xA001U : 0);
        }
    }
    return length == data + 5 && frame[0] == request->unit && frame[1] == request->function &&
           frame[2] == data && frame[length - 2] == (crc & 0xFF) && frame[length - 1] == crc >> 8;
}

static void test_mutated_frames(void **state)
{
    (void)state;
    int taken = 0;
    for (int round = 0; round < 300000; round++) {
        struct request request = random_request();
        uint8_t frame[FRAME_RTU_MAX];
        size_t length = good_reply(&request, frame);
        struct reply reply = {0};
        frame_rtu_judge(&request, frame, length, &reply);
        assert_int_equal(reply.why, WHY_NONE);
        for (int64_t i = random_between(1, 3); i > 0 && length > 1; i--)
            length = mutate(frame, length);
        // Half of them with a good check sum, so that the other checks have to find it.
        if (random_between(0, 1) == 1 && length >= 5)
            seal(frame, length - 2);
        memset(&reply, 0, sizeof reply);
        frame_rtu_judge(&request, frame, length, &reply);
        bool passes = passes_rtu(&request, frame, length);
        taken += passes ? 1 : 0;
        if ((reply.why == WHY_NONE) != passes)
            fail_msg("round %d: why %d, passes %d", round, reply.why, passes);
    }
    assert_in_range(taken, 1, 200000); // data changed under a good check sum: nobody can tell
}

static void test_mutated_tcp_frames(void **state)
{
    (void)state;
    for (int round = 0; round < 300000; round++) {
        struct request request = random_request();
        uint16_t transaction = (uint16_t)random_u64();
        uint8_t frame[FRAME_RTU_MAX + 6] = {(uint8_t)(transaction >> 8), (uint8_t)transaction};
        size_t length = good_reply(&request, frame + 6) + 6 - 2;
        size_t size = length - 6;
        frame[5] = (uint8_t)size;
        frame[4] = (uint8_t)(size >> 8);
        uint8_t good[sizeof frame];
        memcpy(good, frame, sizeof good);
        int at = (int)random_between(0, 8);
        frame[at] ^= (uint8_t)random_between(1, 255);
        struct reply reply = {0};
        frame_tcp_judge(&request, transaction, frame, length, &reply);
        // An exception is the one thing that a changed head may turn a reply into, and never by its
        // length: a reply of one register is longer.
        assert_int_equal(reply.why, WHY_FRAME);
        size_t cut = (size_t)random_between(0, (int64_t)length - 1);
        frame_tcp_judge(&request, transaction, good, cut, &reply);
        assert_int_equal(reply.why, WHY_FRAME);
        frame_tcp_judge(&request, transaction, good, length, &reply);
        assert_int_equal(reply.why, WHY_NONE);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_requests_of_manuals),
        cmocka_unit_test(test_replies_of_manuals),
        cmocka_unit_test(test_bits),
        cmocka_unit_test(test_wide_registers),
        cmocka_unit_test(test_rtu_damage),
        cmocka_unit_test(test_rtu_echo),
        cmocka_unit_test(test_exceptions),
        cmocka_unit_test(test_tcp_damage),
        cmocka_unit_test(test_mutated_frames),
        cmocka_unit_test(test_mutated_tcp_frames),
    };
    random_start("test_frame");
    return cmocka_run_group_tests_name("drivers/frame", tests, NULL, NULL);
}
