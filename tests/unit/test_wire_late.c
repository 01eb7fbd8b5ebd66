#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "drivers/late.h"
#include "drivers/wire.h"

#include "../support/fake_meter.h"
#include "property.h"

#include <modbus/modbus.h>
#include <stdlib.h>

#define TIMEOUT_MS 60

static struct wire *open_wire(const struct fake_meter *fake)
{
    struct wire_settings settings = {
        .url = {.kind = LINK_RTU, .baud = 115200, .parity = 'N', .stop = 1},
        .response_timeout_ms = TIMEOUT_MS};
    (void)snprintf(settings.url.device, sizeof settings.url.device, "%s", fake_device(fake));
    struct wire *wire = wire_new(&settings, &clock_system);
    assert_non_null(wire);
    struct err err = {""};
    if (wire_open(wire, &err) != 0)
        fail_msg("%s", err.text);
    return wire;
}

// ---- the list ---------------------------------------------------------------------------------

static void test_late_list(void **state)
{
    (void)state;
    struct late late;
    late_init(&late, 100);
    struct request asked = {7, 3, 100, 4};
    assert_false(late_blocks(&late, &asked, 0));
    late_add(&late, &asked, 0);
    assert_true(late_blocks(&late, &asked, 1));
    assert_true(late_blocks(&late, &(struct request){7, 3, 500, 4}, 1)); // another register
    assert_false(late_blocks(&late, &(struct request){7, 3, 100, 5}, 1));
    assert_false(late_blocks(&late, &(struct request){7, 4, 100, 4}, 1));
    assert_false(late_blocks(&late, &(struct request){8, 3, 100, 4}, 1));
    assert_true(late_blocks(&late, &asked, 2999999999));
    assert_false(late_blocks(&late, &asked, 3000000000)); // 12 time-outs, 3 s at least

    // Bits: requests of 1 to 8 have replies of one shape.
    late_add(&late, &(struct request){7, 1, 0, 3}, 0);
    assert_true(late_blocks(&late, &(struct request){7, 1, 0, 8}, 1));
    assert_false(late_blocks(&late, &(struct request){7, 1, 0, 9}, 1));
}

// A reply of the shape that was seen need not be the one that was waited for.
static void test_late_reply_seen(void **state)
{
    (void)state;
    struct late late;
    late_init(&late, 100);
    struct request asked = {7, 3, 100, 4};
    uint8_t reply[24] = {7, 3, 8};
    size_t length = fake_seal(reply, 11);
    assert_int_equal(late_reply_size(&late, reply, length), 0);
    late_add(&late, &asked, 0);
    assert_int_equal(late_reply_size(&late, reply, 2), 0);
    assert_int_equal(late_reply_size(&late, reply, 3), length);
    assert_true(late_reply_is_whole(reply, length));
    reply[4] ^= 1;
    assert_false(late_reply_is_whole(reply, length));
    assert_true(late_blocks(&late, &asked, 1));
    uint8_t exception[8] = {7, 0x83, 2};
    length = fake_seal(exception, 3);
    assert_int_equal(late_reply_size(&late, exception, length), 5);
    assert_true(late_reply_is_whole(exception, 5));
    assert_true(late_expects(&late, &(struct request){7, 3, 0, 1}));
    assert_false(late_expects(&late, &(struct request){7, 4, 0, 1}));
}

// While the list is full nothing is asked, so that nothing is forgotten.
static void test_late_full(void **state)
{
    (void)state;
    struct late late;
    late_init(&late, 100);
    for (int i = 0; i <= LATE_MAX; i++)
        late_add(&late, &(struct request){(uint8_t)(i + 1), 3, 100, 4}, 0);
    assert_true(late_blocks(&late, &(struct request){200, 4, 0, 1}, 1));
    assert_false(late_blocks(&late, &(struct request){200, 4, 0, 1}, 3000000001));
}

// ---- a line --------------------------------------------------------------------------------

struct lateness {
    unsigned short seed[3];
    double most; // time-outs
};

static void delay_a_fifth(void *context, struct fake_answer *answer)
{
    struct lateness *lateness = context;
    if (erand48(lateness->seed) < 0.2) {
        double timeouts = 1.05 + erand48(lateness->seed) * (lateness->most - 1.05);
        answer->delay_ms = (int)(TIMEOUT_MS * timeouts);
    }
}

static struct lateness random_lateness(double most)
{
    return (struct lateness){{(unsigned short)random_u64(), (unsigned short)random_u64(), 1}, most};
}

// What one poll does to a line: ask, and again in other shapes until something answers. Returns 1
// for a good reply, with the register that its words claim in `first`.
static int ask_around(struct wire *wire, struct request request, struct reply *reply)
{
    for (int i = 0; i < 3; i++) {
        while (!wire_may_ask(wire, &request) && request.count < 60)
            request.count++;
        wire_transact(wire, &request, reply);
        if (reply->why == WHY_NONE)
            return 1;
    }
    return 0;
}

// 20 % of the replies come 1 to 10 time-outs late. A good reply is of the register that was asked
// and of the very request: its tick is the last one that the meter has seen.
static void test_late_replies(void **state)
{
    (void)state;
    struct lateness lateness = random_lateness(10);
    struct fake_meter *fake = fake_start(FAKE_PTY, delay_a_fifth, &lateness);
    struct wire *wire = open_wire(fake);
    int good = 0;
    int late = 0;
    for (int round = 0; round < 150; round++) {
        struct request request = {17, 3, (uint16_t)random_between(0, 200), 4};
        struct reply reply;
        uint64_t before = fake_ticks(fake);
        int answered = ask_around(wire, request, &reply);
        uint64_t after = fake_ticks(fake);
        late += answered == 0 || after > before + 1 ? 1 : 0;
        if (answered == 1) {
            good++;
            assert_int_equal(reply.words[0], fake_word(request.first, after));
            assert_int_equal(reply.words[3], fake_word(request.first + 3, after));
        }
    }
    (void)fprintf(stderr, "late replies: %d of 150 polls good, %d met a late one, 0 wrong\n", good,
                  late);
    assert_in_range(good, 100, 150);
    assert_in_range(late, 10, 80);
    wire_free(wire);
    fake_stop(fake);
}

// The same meter read by libmodbus alone takes late replies for answers: the test above can see
// what it looks for.
static void test_late_replies_seen_by_libmodbus(void **state)
{
    (void)state;
    struct lateness lateness = random_lateness(2);
    struct fake_meter *fake = fake_start(FAKE_PTY, delay_a_fifth, &lateness);
    modbus_t *context = modbus_new_rtu(fake_device(fake), 115200, 'N', 8, 1);
    assert_int_equal(modbus_set_slave(context, 17), 0);
    assert_int_equal(modbus_set_response_timeout(context, 0, TIMEOUT_MS * 1000), 0);
    assert_int_equal(modbus_connect(context), 0);
    int wrong = 0;
    for (int round = 0; round < 60; round++) {
        uint16_t words[4] = {0};
        int first = (int)random_between(0, 200);
        if (modbus_read_registers(context, first, 4, words) == 4 && words[0] >> 8 != first)
            wrong++;
    }
    (void)fprintf(stderr, "late replies: libmodbus alone took %d of 60 wrong\n", wrong);
    assert_in_range(wrong, 1, 60);
    modbus_close(context);
    modbus_free(context);
    fake_stop(fake);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_late_list),
        cmocka_unit_test(test_late_reply_seen),
        cmocka_unit_test(test_late_full),
        cmocka_unit_test(test_late_replies),
        cmocka_unit_test(test_late_replies_seen_by_libmodbus),
    };
    random_start("test_wire_late");
    return cmocka_run_group_tests_name("drivers/late", tests, NULL, NULL);
}
