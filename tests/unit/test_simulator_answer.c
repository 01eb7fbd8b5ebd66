#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "config/config.h"
#include "drivers/simulator/answer.h"
#include "drivers/simulator/coded.h"

#include "property.h"

#include <stdlib.h>
#include <string.h>

#define NOW_MS INT64_C(1795442400000)

static const char profile_text[] =
    "model: test\nsource: this test\nverified: true\nmedium: gas\n"
    "limits: {max_registers: 60}\n"
    "channels:\n"
    "  volume_base: {register: 18, function: 3, type: bcd12, scale: 0.0001, unit: m3}\n"
    "  volume_measured: {register: 23, function: 3, type: u32, scale: 0.01, unit: m3}\n"
    "  flow_measured: {register: 21, function: 3, type: f32, unit: m3/h}\n"
    "  pressure: {register: 28, function: 3, type: f32, unit: kPa}\n"
    "  temperature: {register: 5, function: 4, type: i16, scale: 0.1, unit: degC}\n"
    "identity: {serial_number: {register: 40, function: 3, type: string8}}\n";

static struct profile *profile;
static struct sim_kind kind;
static struct model_calendar calendar;
static struct sim_meter meter;
static struct sim_time now;
static struct answer answer; // large

static int set_up(void **state)
{
    (void)state;
    struct faults *faults = calloc(1, sizeof *faults);
    assert_non_null(faults);
    if (profile_load_text("test.yaml", profile_text, strlen(profile_text), &profile, faults) != 0)
        fail_msg("%s: %s", faults->list[0].path, faults->list[0].message);
    free(faults);
    return 0;
}

static int tear_down(void **state)
{
    (void)state;
    profile_free(profile);
    return 0;
}

static void start(void)
{
    struct model_settings settings = {
        .seed = random_u64(),
        .pattern = PATTERN_CONSTANT,
        .capacity = 160,
        .load = 0.5,
        .supply_kpa = 300,
        .base_pressure_kpa = 101.325,
        .base_temperature_c = 20,
        .calendar = &calendar,
    };
    kind = (struct sim_kind){.profile = profile};
    now = (struct sim_time){.wall_ms = NOW_MS};
    sim_meter_init(&meter, "boiler-1", 7, &kind, &settings, NOW_MS, INT64_C(1234567890100),
                   INT64_C(400000000000));
}

static void pass_ms(int64_t ms)
{
    now.since_start_ms += ms;
    now.wall_ms += ms;
    now.tick = (uint32_t)(now.since_start_ms / CODED_TICK_MS);
}

// Asks for registers; the answer's frame is in `answer`.
static void ask_frame(enum link_kind link, const struct request *request)
{
    static uint8_t frame[FRAME_MAX];
    size_t length = link == LINK_TCP ? frame_tcp_request(request, 0x1234, frame)
                                     : frame_rtu_request(request, frame);
    struct ask ask;
    assert_int_equal(ask_take(link, frame, length, false, &ask), ASK_FRAME);
    assert_int_equal(ask.length, length);
    assert_int_equal(ask.unit, request->unit);
    answer_make(&meter, &ask, &now, &answer);
}

// The verdict of the gateway's own frame checks.
static struct reply judge(enum link_kind link, const struct request *request)
{
    struct reply reply = {0};
    if (link == LINK_TCP)
        frame_tcp_judge(request, 0x1234, answer.bytes, answer.length, &reply);
    else
        frame_rtu_judge(request, answer.bytes, answer.length, &reply);
    return reply;
}

static struct reply read_registers(enum link_kind link, int function, int first, int count)
{
    const struct request request = {.unit = 7,
                                    .function = (uint8_t)function,
                                    .first = (uint16_t)first,
                                    .count = (uint16_t)count};
    ask_frame(link, &request);
    return judge(link, &request);
}

static void order_fault(enum fault_kind fault_kind, const char *key, const char *value)
{
    struct meter_fault fault = fault_make(fault_kind, now.since_start_ms);
    struct err err;
    if (key != NULL)
        assert_int_equal(fault_set_option(&fault, key, value, &err), 0);
    assert_int_equal(fault_check(&fault, &err), 0);
    assert_int_equal(sim_meter_add_fault(&meter, &fault, &now, &err), 0);
}

// ---- honest replies -----------------------------------------------------------------------------

static void test_reads(void **state)
{
    (void)state;
    static const enum link_kind links[] = {LINK_TCP, LINK_RTU, LINK_RTU_OVER_TCP};
    for (int i = 0; i < 3; i++) {
        start();
        struct reply reply = read_registers(links[i], 3, 18, 12);
        assert_int_equal(reply.why, WHY_NONE);
        assert_int_equal(reply.words[0], 0x0123);
        assert_int_equal(reply.words[1], 0x4567);
        assert_int_equal(reply.words[2], 0x8901);
        assert_int_equal(reply.words[3], 0x42A0); // 80 m3/h
        assert_int_equal(reply.words[4], 0);
        assert_int_equal((uint32_t)reply.words[5] << 16 | reply.words[6], 40000000);
        assert_int_equal(reply.words[7], 0); // a gap
        assert_string_equal(answer.fault, "");
        pass_ms(3600000);
        reply = read_registers(links[i], 3, 23, 2);
        assert_int_equal((uint32_t)reply.words[0] << 16 | reply.words[1], 40008000);
        reply = read_registers(links[i], 4, 5, 1);
        assert_int_equal(reply.why, WHY_NONE);
        assert_in_range(reply.words[0], 10, 300);
    }
}

static void test_exceptions(void **state)
{
    (void)state;
    start();
    assert_int_equal(read_registers(LINK_TCP, 3, 17, 2).why, WHY_EXCEPTION + 2); // before the map
    assert_int_equal(read_registers(LINK_TCP, 3, 43, 2).why, WHY_EXCEPTION + 2); // behind it
    assert_int_equal(read_registers(LINK_TCP, 4, 18, 1).why, WHY_EXCEPTION + 2);
    assert_int_equal(read_registers(LINK_TCP, 1, 18, 1).why, WHY_EXCEPTION + 2);
    assert_int_equal(read_registers(LINK_TCP, 3, 25, 3).why, WHY_NONE); // a gap
    kind.strict = true;
    assert_int_equal(read_registers(LINK_TCP, 3, 25, 3).why, WHY_EXCEPTION + 2);
    assert_int_equal(read_registers(LINK_TCP, 3, 18, 61).why, WHY_EXCEPTION + 3);
    assert_int_equal(read_registers(LINK_TCP, 3, 18, 3).why, WHY_NONE);
}

// Whatever is not a read is refused, and nothing changes.
static void test_no_other_function(void **state)
{
    (void)state;
    start();
    for (int function = 0; function < 256; function++) {
        if (function >= 1 && function <= 4)
            continue;
        uint8_t frame[] = {0, 1, 0, 0, 0, 6, 7, (uint8_t)function, 0, 18, 0, 1};
        struct ask ask;
        assert_int_equal(ask_take(LINK_TCP, frame, sizeof frame, false, &ask), ASK_FRAME);
        answer_make(&meter, &ask, &now, &answer);
        assert_int_equal(answer.length, 9);
        assert_int_equal(answer.bytes[7], function | 0x80);
        assert_int_equal(answer.bytes[8], 1);
    }
    uint8_t none[] = {0, 1, 0, 0, 0, 6, 7, 3, 0, 18, 0, 0};
    struct ask ask;
    assert_int_equal(ask_take(LINK_TCP, none, sizeof none, false, &ask), ASK_FRAME);
    answer_make(&meter, &ask, &now, &answer);
    assert_int_equal(answer.bytes[8], 3);
    none[11] = 126;
    answer_make(&meter, &ask, &now, &answer);
    assert_int_equal(answer.bytes[8], 3);
}

static void test_absent_unit(void **state)
{
    (void)state;
    const struct request request = {.unit = 9, .function = 3, .first = 18, .count = 3};
    uint8_t frame[FRAME_MAX];
    struct ask ask;
    size_t length = frame_tcp_request(&request, 5, frame);
    assert_int_equal(ask_take(LINK_TCP, frame, length, false, &ask), ASK_FRAME);
    answer_absent(&ask, &answer);
    struct reply reply = {0};
    frame_tcp_judge(&request, 5, answer.bytes, answer.length, &reply);
    assert_int_equal(reply.why, WHY_EXCEPTION + 11);
    length = frame_rtu_request(&request, frame);
    assert_int_equal(ask_take(LINK_RTU, frame, length, false, &ask), ASK_FRAME);
    answer_absent(&ask, &answer);
    assert_true(answer.none);
}

// ---- requests in pieces and rubbish -------------------------------------------------------------

static void test_pieces(void **state)
{
    (void)state;
    static const enum link_kind links[] = {LINK_TCP, LINK_RTU, LINK_RTU_OVER_TCP};
    const struct request request = {.unit = 7, .function = 3, .first = 18, .count = 3};
    for (int i = 0; i < 3; i++) {
        uint8_t frame[FRAME_MAX];
        struct ask ask;
        size_t length = links[i] == LINK_TCP ? frame_tcp_request(&request, 5, frame)
                                             : frame_rtu_request(&request, frame);
        for (size_t part = 0; part < length; part++)
            assert_int_equal(ask_take(links[i], frame, part, false, &ask), ASK_MORE);
        frame[length] = 7; // the next one begins
        assert_int_equal(ask_take(links[i], frame, length + 1, false, &ask), ASK_FRAME);
        assert_int_equal(ask.length, length);
    }
    uint8_t wrong[FRAME_MAX];
    struct ask ask;
    size_t length = frame_rtu_request(&request, wrong);
    wrong[length - 1] ^= 1;
    assert_int_equal(ask_take(LINK_RTU, wrong, length, false, &ask), ASK_MORE);
    assert_int_equal(ask_take(LINK_RTU, wrong, length, true, &ask), ASK_GARBAGE);
    assert_int_equal(ask.length, length);
    length = frame_tcp_request(&request, 5, wrong);
    wrong[3] = 1;
    assert_int_equal(ask_take(LINK_TCP, wrong, length, false, &ask), ASK_GARBAGE);
}

// Random bytes crash nothing and are used up.
static void test_rubbish(void **state)
{
    (void)state;
    start();
    for (int round = 0; round < 50000; round++) {
        uint8_t bytes[2 * FRAME_MAX];
        size_t length = (size_t)random_between(1, 300);
        enum link_kind link = (enum link_kind)random_between(0, 2);
        for (size_t i = 0; i < length; i++)
            bytes[i] = (uint8_t)(random_u64() >> (random_u64() & 7));
        if ((random_u64() & 1) != 0 && link == LINK_TCP && length > 12) {
            memcpy(bytes + 2, "\0\0\0\6", 4);
        } else if (length > 4) {
            uint16_t crc = frame_crc16(bytes, length - 2);
            bytes[length - 2] = (uint8_t)crc;
            bytes[length - 1] = (uint8_t)(crc >> 8);
        }
        struct ask ask;
        enum ask_found found = ask_take(link, bytes, length, true, &ask);
        if (found == ASK_FRAME) {
            answer_make(&meter, &ask, &now, &answer);
            assert_true(answer.length <= FRAME_MAX);
        }
        assert_true(link == LINK_TCP || found != ASK_MORE);
        assert_true(found == ASK_MORE || (ask.length > 0 && ask.length <= length));
    }
}

// ---- faults of replies --------------------------------------------------------------------------

static void test_each_reply_fault_is_caught(void **state)
{
    (void)state;
    static const struct {
        enum fault_kind kind;
        const char *key, *value;
        uint16_t tcp, rtu; // what the gateway's checks say; 0: the reply is as before
    } rows[] = {
        {FAULT_WRONG_UNIT, NULL, NULL, WHY_FRAME, WHY_FRAME},
        {FAULT_WRONG_FUNCTION, NULL, NULL, WHY_FRAME, WHY_FRAME},
        {FAULT_WRONG_COUNT, NULL, NULL, WHY_FRAME, WHY_FRAME},
        {FAULT_BAD_CRC, NULL, NULL, WHY_FRAME, WHY_CRC},
        {FAULT_WRONG_TRANSACTION, NULL, NULL, WHY_FRAME, 0},
        {FAULT_WRONG_PROTOCOL, NULL, NULL, WHY_FRAME, 0},
        {FAULT_WRONG_LENGTH, NULL, NULL, WHY_FRAME, 0},
        {FAULT_EXCEPTION, "code", "6", WHY_EXCEPTION + 6, WHY_EXCEPTION + 6},
        {FAULT_TRUNCATED, NULL, NULL, WHY_FRAME, WHY_FRAME},
        {FAULT_TRUNCATED, "bytes", "1", WHY_FRAME, WHY_FRAME},
        {FAULT_TRAILING, NULL, NULL, WHY_FRAME, WHY_FRAME},
        {FAULT_ECHO, NULL, NULL, WHY_FRAME, WHY_FRAME},
    };
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        for (int tcp = 0; tcp <= 1; tcp++) {
            start();
            order_fault(rows[i].kind, rows[i].key, rows[i].value);
            struct reply reply = read_registers(tcp != 0 ? LINK_TCP : LINK_RTU, 3, 18, 3);
            uint16_t expected = tcp != 0 ? rows[i].tcp : rows[i].rtu;
            bool damaged = reply.why == WHY_CRC || reply.why == WHY_FRAME;
            bool right = reply.why == expected ||
                         (damaged && expected == WHY_FRAME); // either check may come first
            if (!right)
                fail_msg("%s, tcp %d: %u", fault_kind_name(rows[i].kind), tcp, reply.why);
            assert_string_equal(answer.fault, fault_kind_name(rows[i].kind));
            assert_int_equal(sim_meter_clear_faults(&meter, &now, rows[i].kind), 1);
            assert_int_equal(read_registers(LINK_RTU, 3, 18, 3).why, WHY_NONE);
        }
    }
}

static void test_silence_late_drip_disconnect(void **state)
{
    (void)state;
    start();
    order_fault(FAULT_SILENCE, "count", "2");
    for (int i = 0; i < 2; i++) {
        (void)read_registers(LINK_RTU, 3, 18, 3);
        assert_true(answer.none);
        assert_string_equal(answer.fault, "silence");
    }
    assert_int_equal(read_registers(LINK_RTU, 3, 18, 3).why, WHY_NONE);
    order_fault(FAULT_LATE, "delay_ms", "700");
    assert_int_equal(read_registers(LINK_RTU, 3, 18, 3).why, WHY_NONE);
    assert_int_equal(answer.delay_ms, 700);
    order_fault(FAULT_DRIP, "delay_ms", "55");
    (void)read_registers(LINK_RTU, 3, 18, 3);
    assert_int_equal(answer.byte_ms, 55);
    assert_string_equal(answer.fault, "late+drip");
    order_fault(FAULT_DISCONNECT, NULL, NULL);
    (void)read_registers(LINK_TCP, 3, 18, 3);
    assert_true(answer.disconnect && answer.none);
    (void)read_registers(LINK_RTU, 3, 18, 3);
    assert_true(!answer.disconnect && answer.none);
}

static void test_noise_never_fits(void **state)
{
    (void)state;
    start();
    order_fault(FAULT_NOISE, NULL, NULL);
    int honest = 0;
    for (int round = 0; round < 2000; round++) {
        honest += read_registers(LINK_RTU, 3, 18, 3).why == WHY_NONE ? 1 : 0;
        assert_true(answer.length > 0 && answer.length <= ANSWER_MAX);
    }
    // Two changes may undo each other.
    assert_true(honest < 20);
}

// ---- when and how often -------------------------------------------------------------------------

static void test_probability_and_span(void **state)
{
    (void)state;
    start();
    order_fault(FAULT_SILENCE, "probability", "0.25");
    int silent = 0;
    for (int round = 0; round < 4000; round++) {
        (void)read_registers(LINK_RTU, 3, 18, 3);
        silent += answer.none ? 1 : 0;
    }
    assert_in_range(silent, 800, 1200); // 1000, seven standard deviations to either side
    start();
    struct meter_fault fault = fault_make(FAULT_SILENCE, 5000);
    fault.end_ms = 7000;
    assert_int_equal(sim_meter_add_fault(&meter, &fault, &now, NULL), 0);
    int64_t since = 0;
    for (int i = 0; i < 100; i++) {
        (void)read_registers(LINK_RTU, 3, 18, 3);
        assert_int_equal(answer.none, since >= 5000 && since < 7000);
        pass_ms(100);
        since += 100;
    }
}

static void test_options_are_checked(void **state)
{
    (void)state;
    struct meter_fault fault = fault_make(FAULT_LATE, 0);
    struct err err;
    static const char *const wrong[][2] = {
        {"probability", "1.1"}, {"probability", "x"}, {"count", "0"},
        {"delay_ms", "-1"},     {"code", "256"},      {"bytes", "65"},
        {"colour", "red"},      {"by", "nan"},        {"end_s", ""},
    };
    for (size_t i = 0; i < sizeof wrong / sizeof wrong[0]; i++) {
        assert_int_equal(fault_set_option(&fault, wrong[i][0], wrong[i][1], &err), -1);
        assert_non_null(strstr(err.text, wrong[i][0]));
    }
    fault.start_ms = 10;
    fault.end_ms = 10;
    assert_int_equal(fault_check(&fault, &err), -1);
    enum fault_kind parsed;
    assert_int_equal(fault_kind_parse("sulk", &parsed, &err), -1);
    assert_non_null(strstr(err.text, "swapped-serial"));
    start();
    for (int i = 0; i < METER_FAULTS_MAX; i++)
        order_fault(FAULT_SILENCE, NULL, NULL);
    assert_int_equal(sim_meter_add_fault(&meter, &fault, &now, &err), 0 - 1);
    assert_int_equal(sim_meter_clear_faults(&meter, &now, -1), METER_FAULTS_MAX);
}

// ---- faults of values ---------------------------------------------------------------------------

static uint32_t measured(void)
{
    struct reply reply = read_registers(LINK_RTU, 3, 23, 2);
    assert_int_equal(reply.why, WHY_NONE);
    return (uint32_t)reply.words[0] << 16 | reply.words[1];
}

static void test_value_faults(void **state)
{
    (void)state;
    start();
    assert_int_equal(measured(), 40000000);
    order_fault(FAULT_JUMP, "by", "250");
    assert_int_equal(measured(), 40025000);
    sim_meter_clear_faults(&meter, &now, FAULT_JUMP);
    order_fault(FAULT_FROZEN, NULL, NULL);
    assert_int_equal(measured(), 40000000);
    pass_ms(3600000);
    assert_int_equal(measured(), 40000000);
    sim_meter_clear_faults(&meter, &now, -1);
    assert_int_equal(measured(), 40008000); // it went on behind the frozen face
    order_fault(FAULT_REVERSE, "for_s", "1800");
    pass_ms(3600000); // half an hour back, half an hour forth, though nobody asked in between
    assert_int_equal(measured(), 40008000);
    order_fault(FAULT_NAN, NULL, NULL);
    struct reply reply = read_registers(LINK_RTU, 3, 18, 5);
    assert_int_equal(reply.words[2] & 0xF, 0xF);
    assert_int_equal(reply.words[3], 0x7FC0);
    sim_meter_clear_faults(&meter, &now, -1);
    struct reply before = read_registers(LINK_RTU, 3, 40, 4);
    order_fault(FAULT_SWAPPED_SERIAL, NULL, NULL);
    reply = read_registers(LINK_RTU, 3, 40, 4);
    assert_memory_not_equal(before.words, reply.words, 8);
}

static void test_orders_set_values(void **state)
{
    (void)state;
    struct err err;
    start();
    assert_int_equal(sim_meter_set(&meter, &now, "volume_measured", 1000, &err), 0);
    assert_int_equal(measured(), 100000);
    assert_int_equal(sim_meter_set(&meter, &now, "flow_measured", 12.5, &err), 0);
    pass_ms(3600000);
    assert_int_equal(measured(), 101250);
    struct reply reply = read_registers(LINK_RTU, 3, 21, 2);
    assert_int_equal(reply.words[0], 0x4148);
    assert_int_equal(sim_meter_set(&meter, &now, "battery", 5, &err), -1);
    assert_non_null(strstr(err.text, "battery"));
    // A counter of 32 bits rolls over.
    assert_int_equal(sim_meter_set(&meter, &now, "volume_measured", 42949672.95, &err), 0);
    assert_int_equal(measured(), 0xFFFFFFFF);
    pass_ms(3600000);
    assert_int_equal(measured(), 1249);
}

static void test_coded_registers(void **state)
{
    (void)state;
    start();
    kind.coded = true;
    for (int i = 0; i < 50; i++) {
        pass_ms(random_between(0, 300));
        struct reply reply = read_registers(LINK_TCP, 3, 23, 2);
        uint64_t who = coded_who("boiler-1");
        assert_int_equal(reply.words[0], coded_word(who, 7, 3, 23, now.tick));
        assert_int_equal(reply.words[1], coded_word(who, 7, 3, 24, now.tick));
    }
}

static void test_sleeper_loses_the_first_request(void **state)
{
    (void)state;
    start();
    kind.sleep_after_ms = 10000;
    pass_ms(10001);
    (void)read_registers(LINK_RTU, 3, 18, 3);
    assert_true(answer.none);
    pass_ms(10000);
    assert_int_equal(read_registers(LINK_RTU, 3, 18, 3).why, WHY_NONE);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_reads),
        cmocka_unit_test(test_exceptions),
        cmocka_unit_test(test_no_other_function),
        cmocka_unit_test(test_absent_unit),
        cmocka_unit_test(test_pieces),
        cmocka_unit_test(test_rubbish),
        cmocka_unit_test(test_each_reply_fault_is_caught),
        cmocka_unit_test(test_silence_late_drip_disconnect),
        cmocka_unit_test(test_noise_never_fits),
        cmocka_unit_test(test_probability_and_span),
        cmocka_unit_test(test_options_are_checked),
        cmocka_unit_test(test_value_faults),
        cmocka_unit_test(test_orders_set_values),
        cmocka_unit_test(test_coded_registers),
        cmocka_unit_test(test_sleeper_loses_the_first_request),
    };
    random_start("test_simulator_answer");
    return cmocka_run_group_tests_name("simulator/answer", tests, set_up, tear_down);
}
