#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "config/config.h"
#include "poll/meter_poll.h"
#include "poll/refusal.h"

#include "../support/fake_meter.h"

#include <string.h>

#define TIMEOUT_MS 50
#define NARROW_MOST 8 // requests of one poll that look for what is refused, of two registers

// ---- the table ----------------------------------------------------------------------------------

static enum refusal_kind expected_kind(int code)
{
    static const struct {
        int code;
        enum refusal_kind kind;
    } named[] = {
        {1, REFUSAL_REGISTERS}, {2, REFUSAL_REGISTERS}, {3, REFUSAL_REGISTERS}, {5, REFUSAL_BUSY},
        {6, REFUSAL_BUSY},      {10, REFUSAL_PATH},     {11, REFUSAL_PATH},
    };
    for (size_t i = 0; i < sizeof named / sizeof named[0]; i++)
        if (named[i].code == code)
            return named[i].kind;
    return REFUSAL_OTHER;
}

static void test_kinds(void **state)
{
    (void)state;
    for (int code = 1; code <= 255; code++)
        assert_int_equal(refusal_kind_of((uint16_t)(WHY_EXCEPTION + code)), expected_kind(code));
    for (uint16_t why = WHY_NONE; why <= WHY_EXCHANGED; why++)
        assert_int_equal(refusal_kind_of(why), REFUSAL_NONE);
}

// ---- a meter that answers with each of them -----------------------------------------------------

static struct profile profile;
static struct meter meter;

// Three blocks of a register or two: 10 and 12, 40, 80.
static void start(void)
{
    static const char *const names[] = {"pressure", "temperature", "battery", "air_temperature"};
    static const uint16_t addresses[] = {10, 12, 40, 80};
    profile = (struct profile){.limits = {.max_registers = 60, .max_gap = 8}};
    for (uint8_t i = 0; i < 4; i++) {
        profile.fields[i] = (struct field){
            .first = addresses[i], .function = 3, .words = 1, .place = i, .type = RAW_U16};
        profile.channels[i] =
            (struct profile_channel){.channel = channel_find(names[i]),
                                     .part_count = 1,
                                     .parts = {{.field = i, .scale = {1, 0}, .scale_field = -1}},
                                     .conversion = {.factor = {1, 0}}};
    }
    profile.field_count = profile.channel_count = 4;
    meter = (struct meter){.id = "boiler-1", .unit = 17, .profile = &profile};
}

struct order {
    enum fake_kind kind;
    uint8_t code;
};

// Registers 10 to 12 are answered with the exception.
static void refuse(void *context, struct fake_answer *answer)
{
    const struct order *order = context;
    bool tcp = order->kind == FAKE_TCP;
    const uint8_t *pdu = answer->request + (tcp ? 7 : 1);
    if ((pdu[1] << 8 | pdu[2]) > 12)
        return;
    uint8_t *reply = answer->frame + (tcp ? 6 : 0);
    reply[1] |= 0x80;
    reply[2] = order->code;
    answer->length = tcp ? 9 : fake_seal(answer->frame, 3);
    if (tcp)
        answer->frame[5] = 3;
}

static struct wire *open_wire(enum fake_kind kind, const struct fake_meter *fake,
                              struct link_cost *cost)
{
    struct wire_settings settings = {.response_timeout_ms = TIMEOUT_MS};
    settings.url.kind = kind == FAKE_TCP ? LINK_TCP : LINK_RTU_OVER_TCP;
    settings.url.port = fake_port(fake);
    (void)strcpy(settings.url.address, "127.0.0.1");
    struct wire *wire = wire_new(&settings, &clock_system);
    assert_non_null(wire);
    link_cost_of(&settings.url, 0, cost);
    struct err err;
    assert_int_equal(wire_open(wire, &err), 0);
    return wire;
}

static void expect_values(const struct reading *reading, int code)
{
    enum refusal_kind kind = code == 0 ? REFUSAL_NONE : expected_kind(code);
    int why = code == 0 ? WHY_FRAME : WHY_EXCEPTION + code;
    bool left = kind == REFUSAL_BUSY || kind == REFUSAL_PATH;
    for (int i = 0; i < 4; i++) {
        const struct value *value = &reading->values[i];
        if (i < 2 || left) {
            assert_int_equal(value->quality, QUALITY_MISSING);
            assert_int_equal(value->why, why);
            continue;
        }
        assert_int_equal(value->quality, QUALITY_GOOD);
        assert_int_equal((unsigned)value->number >> 8, profile.fields[i].first);
    }
}

// What one poll may send: no exception is asked again. Code 0 is no exception but a broken reply:
// the others are read twice after it.
static void expect_requests(int code, uint64_t requests)
{
    if (code == 0)
        assert_int_equal(requests, 5);
    else if (expected_kind(code) == REFUSAL_BUSY || expected_kind(code) == REFUSAL_PATH)
        assert_int_equal(requests, 1);
    else if (expected_kind(code) == REFUSAL_REGISTERS)
        assert_in_range(requests, 3, 3 + NARROW_MOST);
    else
        assert_int_equal(requests, 3);
}

static void check_code(enum fake_kind kind, int code)
{
    start();
    struct order order = {kind, (uint8_t)code};
    struct fake_meter *fake = fake_start(kind, refuse, &order);
    struct link_cost cost;
    struct err err;
    struct wire *wire = open_wire(kind, fake, &cost);
    struct meter_poll *poll = meter_poll_new(&meter, &cost, &err);
    struct reading *reading = reading_new(NULL, &meter);
    assert_non_null(poll);
    assert_non_null(reading);
    struct live_link counters = {0};
    // Three attempts are allowed for what gets lost: an exception is an answer.
    meter_poll_read(poll, wire, code == 0 ? 0 : 3, &clock_system, reading, &counters);
    expect_values(reading, code);
    expect_requests(code, fake_ticks(fake));
    assert_int_equal(wire_is_open(wire), true);
    assert_int_equal(counters.timeouts, 0);
    reading_free(reading);
    meter_poll_free(poll);
    wire_free(wire);
    fake_stop(fake);
}

static void test_all_codes(void **state)
{
    (void)state;
    for (int code = 0; code <= 255; code++) {
        check_code(FAKE_TCP, code);
        check_code(FAKE_RTU_OVER_TCP, code);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_kinds),
        cmocka_unit_test(test_all_codes),
    };
    return cmocka_run_group_tests_name("poll/exceptions", tests, NULL, NULL);
}
