#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "config/config.h"
#include "poll/meter_poll.h"

#include "../support/fake_meter.h"
#include "property.h"

#include <stdatomic.h>
#include <string.h>
#include <unistd.h>

#define TIMEOUT_MS 60

static struct profile profile;
static struct meter meter;
static struct live_link counters;

// Channels of one u16 register each, at the addresses given.
static void start(const int *addresses, int count, int max_gap)
{
    static const char *const names[] = {
        "pressure",  "temperature", "battery",  "air_temperature", "flow_base",  "flow_measured",
        "frequency", "power",       "velocity", "power_factor",    "voltage_l1", "voltage_l2"};
    profile = (struct profile){.limits = {.max_registers = 60, .max_gap = (uint16_t)max_gap}};
    for (int i = 0; i < count; i++) {
        profile.fields[i] = (struct field){.first = (uint16_t)addresses[i],
                                           .function = 3,
                                           .words = 1,
                                           .place = (uint16_t)i,
                                           .type = RAW_U16};
        profile.channels[i] = (struct profile_channel){
            .channel = channel_find(names[i]),
            .part_count = 1,
            .parts = {{.field = (uint8_t)i, .scale = {1, 0}, .scale_field = -1}},
            .conversion = {.factor = {1, 0}},
        };
        assert_non_null(profile.channels[i].channel);
    }
    profile.field_count = profile.channel_count = (uint8_t)count;
    meter = (struct meter){.id = "boiler-1", .unit = 17, .profile = &profile};
    counters = (struct live_link){0};
}

static struct wire *open_wire(enum fake_kind kind, const struct fake_meter *fake)
{
    struct wire_settings settings = {.response_timeout_ms = TIMEOUT_MS};
    settings.url.kind = kind == FAKE_PTY   ? LINK_RTU
                        : kind == FAKE_TCP ? LINK_TCP
                                           : LINK_RTU_OVER_TCP;
    settings.url.port = fake_port(fake);
    settings.url.baud = 115200;
    settings.url.parity = 'N';
    settings.url.stop = 1;
    (void)snprintf(settings.url.address, sizeof settings.url.address, "127.0.0.1");
    (void)snprintf(settings.url.device, sizeof settings.url.device, "%s", fake_device(fake));
    struct wire *wire = wire_new(&settings, &clock_system);
    assert_non_null(wire);
    struct err err;
    assert_int_equal(wire_open(wire, &err), 0);
    return wire;
}

// A poll of a meter that was never polled before.
static void poll_once(struct wire *wire, int retries, struct reading *reading)
{
    struct err err = {""};
    struct link_cost cost;
    link_cost_of(&(struct link_url){.kind = LINK_RTU, .baud = 9600, .parity = 'N', .stop = 1}, 0,
                 &cost);
    struct meter_poll *poll = meter_poll_new(&meter, &cost, &err);
    if (poll == NULL)
        fail_msg("%s", err.text);
    meter_poll_read(poll, wire, retries, &clock_system, reading, &counters);
    meter_poll_free(poll);
}

static struct reading *read_once(struct wire *wire, int retries)
{
    struct reading *reading = reading_new(NULL, &meter);
    assert_non_null(reading);
    poll_once(wire, retries, reading);
    return reading;
}

static void expect_good(const struct reading *reading, int channel, uint64_t tick)
{
    const struct value *value = &reading->values[channel];
    assert_int_equal(value->quality, QUALITY_GOOD);
    assert_true(value->number == fake_word(profile.fields[channel].first, tick));
}

static void expect_missing(const struct reading *reading, int channel, int why)
{
    assert_int_equal(reading->values[channel].quality, QUALITY_MISSING);
    assert_int_equal(reading->values[channel].why, why);
    assert_int_equal(reading->image.why[channel], why);
}

// Addresses that the plan reads in three blocks: 10..12, 40, 80.
static const int three_blocks[] = {10, 12, 40, 80};

static void test_all_good(void **state)
{
    (void)state;
    for (int kind = FAKE_TCP; kind <= FAKE_PTY; kind++) {
        start(three_blocks, 4, 8);
        struct fake_meter *fake = fake_start((enum fake_kind)kind, NULL, NULL);
        struct wire *wire = open_wire((enum fake_kind)kind, fake);
        int64_t before_ms = clock_wall_ms(&clock_system);
        struct reading *reading = read_once(wire, 1);
        expect_good(reading, 0, 1);
        expect_good(reading, 1, 1);
        expect_good(reading, 2, 2);
        expect_good(reading, 3, 3);
        assert_true(reading->answered);
        assert_in_range(reading->at_ms, before_ms, clock_wall_ms(&clock_system));
        assert_int_equal(counters.requests, 3);
        assert_int_equal(counters.replies, 3);
        assert_true(counters.busy_us > 0);
        reading_free(reading);
        wire_free(wire);
        fake_stop(fake);
    }
}

static void test_unverified(void **state)
{
    (void)state;
    start(three_blocks, 1, 8);
    meter.unverified = true;
    struct fake_meter *fake = fake_start(FAKE_TCP, NULL, NULL);
    struct wire *wire = open_wire(FAKE_TCP, fake);
    struct reading *reading = read_once(wire, 1);
    assert_int_equal(reading->values[0].quality, QUALITY_SUSPECT);
    assert_int_equal(reading->values[0].why, WHY_UNVERIFIED);
    assert_true(reading->values[0].present);
    reading_free(reading);
    wire_free(wire);
    fake_stop(fake);
}

// What the fake does to requests for one register.
struct order {
    int address; // -1: all
    enum { SILENCE, EXCEPTION, RESET, BAD_CRC } damage;
    uint64_t until_tick;
    bool tcp;
    int most; // requests for more registers than this get exception 2; 0: no such limit
};

static void misbehave(void *context, struct fake_answer *answer)
{
    const struct order *order = context;
    const uint8_t *pdu = answer->request + (order->tcp ? 7 : 1);
    int first = pdu[1] << 8 | pdu[2];
    bool wide = order->most > 0 && pdu[4] > order->most;
    if (!wide &&
        ((order->address >= 0 && first != order->address) || answer->tick > order->until_tick))
        return;
    if (wide || order->damage == EXCEPTION) {
        uint8_t *reply = answer->frame + (order->tcp ? 6 : 0);
        reply[1] |= 0x80;
        reply[2] = 2;
        answer->frame[5] = order->tcp ? 3 : answer->frame[5];
        answer->length = order->tcp ? 9 : fake_seal(answer->frame, 3);
    } else if (order->damage == BAD_CRC) {
        answer->frame[answer->length - 1] ^= 1;
    } else {
        answer->length = 0;
        answer->hang_up = order->damage == RESET;
    }
}

static void test_exception_marks_its_block(void **state)
{
    (void)state;
    for (int kind = FAKE_TCP; kind <= FAKE_PTY; kind++) {
        start(three_blocks, 4, 8);
        struct order order = {40, EXCEPTION, UINT64_MAX, kind == FAKE_TCP, 0};
        struct fake_meter *fake = fake_start((enum fake_kind)kind, misbehave, &order);
        struct wire *wire = open_wire((enum fake_kind)kind, fake);
        struct reading *reading = read_once(wire, 3);
        expect_good(reading, 0, 1);
        expect_missing(reading, 2, WHY_EXCEPTION + 2);
        expect_good(reading, 3, 4);
        // An exception is an answer: no retries. It is asked once more, before it is believed.
        assert_int_equal(fake_ticks(fake), 4);
        assert_int_equal(counters.exceptions, 2);
        reading_free(reading);
        wire_free(wire);
        fake_stop(fake);
    }
}

static void test_silent_meter_costs_one_block(void **state)
{
    (void)state;
    for (int kind = FAKE_TCP; kind <= FAKE_PTY; kind++) {
        start(three_blocks, 4, 8);
        struct order order = {-1, SILENCE, UINT64_MAX, kind == FAKE_TCP, 0};
        struct fake_meter *fake = fake_start((enum fake_kind)kind, misbehave, &order);
        struct wire *wire = open_wire((enum fake_kind)kind, fake);
        struct reading *reading = reading_new(NULL, &meter);
        reading->due_ms = 1700000000000;
        poll_once(wire, 2, reading);
        for (int i = 0; i < 4; i++)
            expect_missing(reading, i, WHY_TIMEOUT);
        assert_false(reading->answered);
        assert_int_equal(reading->at_ms, 1700000000000);
        assert_int_equal(fake_ticks(fake), 3);
        assert_int_equal(counters.timeouts, 3);
        reading_free(reading);
        wire_free(wire);
        fake_stop(fake);
    }
}

static void test_one_silent_block(void **state)
{
    (void)state;
    start(three_blocks, 4, 8);
    struct order order = {40, SILENCE, UINT64_MAX, true, 0};
    struct fake_meter *fake = fake_start(FAKE_TCP, misbehave, &order);
    struct wire *wire = open_wire(FAKE_TCP, fake);
    struct reading *reading = read_once(wire, 0);
    expect_good(reading, 0, 1);
    expect_missing(reading, 2, WHY_TIMEOUT);
    expect_good(reading, 3, 3);
    assert_true(reading->answered);
    assert_int_equal(counters.reconnects, 1);
    reading_free(reading);
    wire_free(wire);
    fake_stop(fake);
}

static void test_reset_is_asked_again(void **state)
{
    (void)state;
    start(three_blocks, 4, 8);
    struct order order = {-1, RESET, 1, true, 0};
    struct fake_meter *fake = fake_start(FAKE_TCP, misbehave, &order);
    struct wire *wire = open_wire(FAKE_TCP, fake);
    struct reading *reading = read_once(wire, 1);
    expect_good(reading, 0, 2);
    expect_good(reading, 3, 4);
    assert_int_equal(fake_connections(fake), 2);
    reading_free(reading);
    wire_free(wire);
    fake_stop(fake);
}

static void test_link_lost(void **state)
{
    (void)state;
    start(three_blocks, 4, 8);
    struct fake_meter *fake = fake_start(FAKE_TCP, NULL, NULL);
    struct wire *wire = open_wire(FAKE_TCP, fake);
    wire_close(wire);
    fake_unplug(fake);
    int64_t limit_ms = clock_boot_ms(&clock_system) + 5000;
    struct err err = {""};
    while (wire_open(wire, &err) == 0 && clock_boot_ms(&clock_system) < limit_ms)
        wire_close(wire);
    struct reading *reading = read_once(wire, 3);
    for (int i = 0; i < 4; i++)
        expect_missing(reading, i, WHY_LINK_DOWN);
    assert_int_equal(counters.requests, 0);
    assert_non_null(strstr(counters.error, "127.0.0.1"));
    reading_free(reading);
    wire_free(wire);
    fake_stop(fake);
}

// ---- a meter that sleeps ------------------------------------------------------------------------

static int64_t forward_ns; // by which the hands of this clock stand ahead

static int64_t forward_boot_ns(void *context)
{
    (void)context;
    return clock_boot_ns(&clock_system) + forward_ns;
}

static int64_t forward_wall_ms(void *context)
{
    (void)context;
    return clock_wall_ms(&clock_system);
}

static const struct clock forward_clock = {forward_boot_ns, forward_wall_ms, NULL};

struct sleeper {
    atomic_bool asleep;
    int most_delay_ms; // of its replies
    unsigned short seed[3];
};

static void sleep_through(void *context, struct fake_answer *answer)
{
    struct sleeper *sleeper = context;
    if (atomic_exchange(&sleeper->asleep, false))
        answer->length = 0;
    if (sleeper->most_delay_ms > 0)
        answer->delay_ms = (int)(nrand48(sleeper->seed) % (sleeper->most_delay_ms + 1));
}

static struct meter_poll *new_poll(void)
{
    struct err err = {""};
    struct link_cost cost;
    link_cost_of(&(struct link_url){.kind = LINK_RTU, .baud = 9600, .parity = 'N', .stop = 1}, 0,
                 &cost);
    struct meter_poll *poll = meter_poll_new(&meter, &cost, &err);
    if (poll == NULL)
        fail_msg("%s", err.text);
    return poll;
}

static void start_sleeper(void)
{
    start(three_blocks, 4, 8);
    profile.limits.wake_request = true;
    profile.limits.wake_after_s = 10;
    profile.limits.wake_wait_ms = 20;
}

// What is sent to wake it is lost, and counts nowhere; an awake meter is not woken.
static void test_wake_request(void **state)
{
    (void)state;
    for (int kind = FAKE_TCP; kind <= FAKE_PTY; kind++) {
        start_sleeper();
        struct sleeper sleeper = {.asleep = true};
        struct fake_meter *fake = fake_start((enum fake_kind)kind, sleep_through, &sleeper);
        struct wire *wire = open_wire((enum fake_kind)kind, fake);
        struct meter_poll *poll = new_poll();
        struct reading *reading = reading_new(NULL, &meter);
        static const struct {
            int64_t rest_s;
            bool asleep;
            uint64_t ticks; // after it
        } polls[] = {{0, true, 4}, {0, false, 7}, {9, false, 10}, {10, true, 14}, {11, false, 18}};
        forward_ns = 0;
        for (size_t i = 0; i < sizeof polls / sizeof polls[0]; i++) {
            forward_ns += polls[i].rest_s * INT64_C(1000000000);
            atomic_store(&sleeper.asleep, polls[i].asleep);
            meter_poll_read(poll, wire, 0, &forward_clock, reading, &counters);
            assert_int_equal(fake_ticks(fake), polls[i].ticks);
            expect_good(reading, 0, polls[i].ticks - 2);
            expect_good(reading, 3, polls[i].ticks);
            assert_string_equal(reading->detail, "");
        }
        assert_int_equal(counters.requests, 15);
        assert_int_equal(counters.replies, 15);
        assert_int_equal(counters.timeouts, 0);
        reading_free(reading);
        meter_poll_free(poll);
        wire_free(wire);
        fake_stop(fake);
    }
}

// It was awake, and answers what was to wake it while the next request is out.
static void test_wake_answered_late(void **state)
{
    (void)state;
    for (int kind = FAKE_RTU_OVER_TCP; kind <= FAKE_PTY; kind++) {
        start_sleeper();
        struct sleeper sleeper = {.most_delay_ms = TIMEOUT_MS - 15,
                                  .seed = {(unsigned short)random_u64(), 7, 1}};
        struct fake_meter *fake = fake_start((enum fake_kind)kind, sleep_through, &sleeper);
        struct wire *wire = open_wire((enum fake_kind)kind, fake);
        struct meter_poll *poll = new_poll();
        int good = 0;
        for (int i = 0; i < 25; i++) {
            forward_ns += INT64_C(20000000000);
            struct reading *reading = reading_new(NULL, &meter);
            meter_poll_read(poll, wire, 2, &forward_clock, reading, &counters);
            for (int channel = 0; channel < 4; channel++) {
                const struct value *value = &reading->values[channel];
                if (value->quality != QUALITY_GOOD)
                    continue;
                good++;
                assert_int_equal((int)value->number >> 8, three_blocks[channel]);
            }
            reading_free(reading);
        }
        assert_in_range(good, 30, 100); // after damage a value needs two replies that agree
        meter_poll_free(poll);
        wire_free(wire);
        fake_stop(fake);
    }
}

// ---- other shapes -------------------------------------------------------------------------------

static void test_retry_is_cut_in_two(void **state)
{
    (void)state;
    start((const int[]){10, 12, 15}, 3, 8);
    struct order order = {-1, BAD_CRC, 1, false, 0};
    struct fake_meter *fake = fake_start(FAKE_PTY, misbehave, &order);
    struct wire *wire = open_wire(FAKE_PTY, fake);
    struct reading *reading = read_once(wire, 1);
    // Tick 1: 10..15, damaged. Then 10 alone, then 12..15, and both once more to confirm them.
    expect_good(reading, 0, 4);
    expect_good(reading, 1, 5);
    expect_good(reading, 2, 5);
    assert_int_equal(counters.crc_errors, 1);
    reading_free(reading);
    wire_free(wire);
    fake_stop(fake);
}

// What passes the check sum with wrong data on a line that damages replies.
struct noise {
    uint64_t wrong_tick;       // its data is wrong under a good check sum
    uint64_t silent_from_tick; // 0: never
};

static void deceive(void *context, struct fake_answer *answer)
{
    const struct noise *noise = context;
    if (answer->tick == 1) {
        answer->frame[answer->length - 1] ^= 1;
    } else if (answer->tick == noise->wrong_tick) {
        answer->frame[3] ^= 0x40;
        (void)fake_seal(answer->frame, answer->length - 2);
    }
    if (noise->silent_from_tick > 0 && answer->tick >= noise->silent_from_tick)
        answer->length = 0;
}

static void read_in_noise(struct noise noise, int retries, struct reading **reading)
{
    start((const int[]){10}, 1, 8);
    struct fake_meter *fake = fake_start(FAKE_PTY, deceive, &noise);
    struct wire *wire = open_wire(FAKE_PTY, fake);
    *reading = read_once(wire, retries);
    wire_free(wire);
    fake_stop(fake);
}

// Tick 1 is damaged: from then on two replies in a row have to agree.
static void test_noise_is_read_twice(void **state)
{
    (void)state;
    struct reading *reading = NULL;
    read_in_noise((struct noise){0}, 1, &reading);
    expect_good(reading, 0, 3);
    assert_int_equal(counters.requests, 3);
    reading_free(reading);
    for (uint64_t wrong = 2; wrong <= 3; wrong++) {
        read_in_noise((struct noise){.wrong_tick = wrong}, 1, &reading);
        expect_good(reading, 0, wrong + 2);
        assert_int_equal(counters.requests, wrong + 2);
        reading_free(reading);
    }
}

static void test_noise_that_nothing_confirms(void **state)
{
    (void)state;
    struct reading *reading = NULL;
    read_in_noise((struct noise){.wrong_tick = 2, .silent_from_tick = 3}, 1, &reading);
    assert_int_equal(reading->values[0].quality, QUALITY_SUSPECT);
    assert_int_equal(reading->values[0].why, WHY_UNCONFIRMED);
    assert_true(reading->values[0].present);
    assert_true(reading->answered);
    reading_free(reading);
}

static void test_retry_reads_over_the_end(void **state)
{
    (void)state;
    start((const int[]){10}, 1, 8);
    struct order order = {-1, SILENCE, 2, false, 0};
    struct fake_meter *fake = fake_start(FAKE_PTY, misbehave, &order);
    struct wire *wire = open_wire(FAKE_PTY, fake);
    struct reading *reading = read_once(wire, 2);
    expect_good(reading, 0, 3); // three registers from 10
    reading_free(reading);
    wire_free(wire);
    fake_stop(fake);

    // A meter that has nothing there refuses: that is no word on register 10.
    order = (struct order){-1, SILENCE, 1, false, 1};
    fake = fake_start(FAKE_PTY, misbehave, &order);
    wire = open_wire(FAKE_PTY, fake);
    reading = read_once(wire, 1);
    expect_missing(reading, 0, WHY_TIMEOUT);
    assert_int_equal(counters.exceptions, 1);
    reading_free(reading);

    // One that may not be read over is left alone until no late reply can come.
    profile.limits.max_gap = 0;
    uint64_t before = fake_ticks(fake);
    reading = read_once(wire, 1);
    expect_missing(reading, 0, WHY_TIMEOUT);
    assert_int_equal(fake_ticks(fake), before);
    reading_free(reading);
    wire_free(wire);
    fake_stop(fake);
}

#define LATE_ROUNDS 40
#define LATE_PERIOD_MS 250 // of the polls: shapes that were lost come free again after 3 s

struct lateness {
    unsigned short seed[3];
    atomic_int late;
};

static void delay_a_tenth(void *context, struct fake_answer *answer)
{
    struct lateness *lateness = context;
    if (erand48(lateness->seed) < 0.1) {
        answer->delay_ms = (int)(TIMEOUT_MS * (1.05 + erand48(lateness->seed) * 8.95));
        (void)atomic_fetch_add(&lateness->late, 1);
    }
}

// 10 % of the replies come 1 to 10 time-outs late, on a meter of two blocks of one shape. A value
// that is kept is of its own register, and of a request of this very poll.
static void test_late_replies(void **state)
{
    (void)state;
    static const int addresses[] = {10, 13, 16, 18, 21, 100, 103, 106, 108, 111};
    start(addresses, 10, 4);
    struct lateness lateness = {{(unsigned short)random_u64(), (unsigned short)random_u64(), 1}, 0};
    struct fake_meter *fake = fake_start(FAKE_PTY, delay_a_tenth, &lateness);
    struct wire *wire = open_wire(FAKE_PTY, fake);
    int good = 0;
    for (int round = 0; round < LATE_ROUNDS; round++) {
        int64_t next_ms = clock_boot_ms(&clock_system) + LATE_PERIOD_MS;
        uint64_t before = fake_ticks(fake);
        struct reading *reading = read_once(wire, 1);
        uint64_t after = fake_ticks(fake);
        for (int i = 0; i < 10; i++) {
            if (!reading->values[i].present)
                continue;
            good++;
            uint16_t word = reading->image.words[i];
            uint64_t age = (after - word) & 0xFF;
            assert_int_equal(word >> 8, addresses[i]);
            if (age >= after - before) {
                fail_msg("register %d: request %d of %d before this poll", addresses[i], (int)age,
                         (int)(after - before));
            }
        }
        reading_free(reading);
        while (clock_boot_ms(&clock_system) < next_ms)
            (void)usleep(1000);
    }
    (void)fprintf(stderr, "late replies: %d of %d values good, %d late replies, 0 wrong\n", good,
                  10 * LATE_ROUNDS, atomic_load(&lateness.late));
    assert_in_range(good, 5 * LATE_ROUNDS, 10 * LATE_ROUNDS);
    assert_in_range(atomic_load(&lateness.late), LATE_ROUNDS / 20, LATE_ROUNDS);
    wire_free(wire);
    fake_stop(fake);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_all_good),
        cmocka_unit_test(test_unverified),
        cmocka_unit_test(test_exception_marks_its_block),
        cmocka_unit_test(test_silent_meter_costs_one_block),
        cmocka_unit_test(test_one_silent_block),
        cmocka_unit_test(test_reset_is_asked_again),
        cmocka_unit_test(test_link_lost),
        cmocka_unit_test(test_wake_request),
        cmocka_unit_test(test_wake_answered_late),
        cmocka_unit_test(test_retry_is_cut_in_two),
        cmocka_unit_test(test_noise_is_read_twice),
        cmocka_unit_test(test_noise_that_nothing_confirms),
        cmocka_unit_test(test_retry_reads_over_the_end),
        cmocka_unit_test(test_late_replies),
    };
    random_start("test_meter_poll");
    return cmocka_run_group_tests_name("poll/meter_poll", tests, NULL, NULL);
}
