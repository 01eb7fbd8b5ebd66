// Meters with holes: what is refused is found, left out and asked again rarely; everything else is
// read, in as few requests as there can be.
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "config/config.h"
#include "poll/meter_poll.h"
#include "poll/plan.h"

#include "../support/fake_meter.h"
#include "property.h"

#include <string.h>

#define FIELDS_MAX 12
#define ADDRESSES 160
#define DAY_MS (INT64_C(24) * 3600 * 1000)

// ---- a meter with holes -------------------------------------------------------------------------

// What the fake does, by the registers of a request.
static struct holes {
    bool hole[ADDRESSES]; // the meter does not have it
    int code;             // exception for a request over a hole
    int most;             // registers in one request; 0: any number
    int fail_ticks;       // so many requests from now on are not answered
    int stray_ticks;      // so many requests from now on are refused, whatever they ask
    int refusals;         // requests that were refused
} holes;

static void except(struct fake_answer *answer, int code)
{
    answer->frame[5] = 3;
    answer->frame[7] |= 0x80;
    answer->frame[8] = (uint8_t)code;
    answer->length = 9;
    holes.refusals++;
}

static void behave(void *context, struct fake_answer *answer)
{
    (void)context;
    const uint8_t *pdu = answer->request + 7;
    int first = pdu[1] << 8 | pdu[2];
    int count = pdu[4];
    bool over = false;
    for (int at = first; at < first + count && at < ADDRESSES; at++)
        over = over || holes.hole[at];
    if (holes.fail_ticks > 0 && holes.fail_ticks-- > 0)
        answer->length = 0;
    else if (holes.stray_ticks > 0 && holes.stray_ticks-- > 0)
        except(answer, holes.code);
    else if (holes.most > 0 && count > holes.most)
        except(answer, 3);
    else if (over)
        except(answer, holes.code);
}

// ---- polling it ---------------------------------------------------------------------------------

static int64_t later_ms; // added to the boot clock that the poll is told

static int64_t boot_ns(void *context)
{
    (void)context;
    return clock_boot_ns(&clock_system) + later_ms * 1000000;
}

static int64_t wall_ms(void *context)
{
    (void)context;
    return clock_wall_ms(&clock_system);
}

static const struct clock moved_clock = {boot_ns, wall_ms, NULL};

static struct profile profile;
static struct meter meter;
static struct link_cost cost;
static struct fake_meter *fake;
static struct wire *wire;
static struct meter_poll *poll;
static struct reading *reading;

static void start(const int *addresses, int count, int max_gap)
{
    static const char *const names[FIELDS_MAX] = {
        "pressure",  "temperature", "battery",  "air_temperature", "flow_base",  "flow_measured",
        "frequency", "power",       "velocity", "power_factor",    "voltage_l1", "voltage_l2"};
    profile = (struct profile){.limits = {.max_registers = 125, .max_gap = (uint16_t)max_gap}};
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
    }
    profile.field_count = profile.channel_count = (uint8_t)count;
    profile.word_count = (uint16_t)count;
    meter = (struct meter){.id = "boiler-1", .unit = 17, .profile = &profile};
    holes = (struct holes){.code = 2};
    later_ms = 0;
    link_cost_of(&(struct link_url){.kind = LINK_RTU, .baud = 9600, .parity = 'N', .stop = 1}, 0,
                 &cost);
    struct wire_settings settings = {.response_timeout_ms = 60, .url = {.kind = LINK_TCP}};
    fake = fake_start(FAKE_TCP, behave, NULL);
    settings.url.port = fake_port(fake);
    (void)snprintf(settings.url.address, sizeof settings.url.address, "127.0.0.1");
    wire = wire_new(&settings, &clock_system);
    struct err err = {""};
    poll = meter_poll_new(&meter, &cost, &err);
    if (wire == NULL || poll == NULL || wire_open(wire, &err) != 0)
        fail_msg("%s", err.text);
}

static int stop(void **state)
{
    (void)state;
    reading_free(reading);
    meter_poll_free(poll);
    wire_free(wire);
    if (fake != NULL)
        fake_stop(fake);
    reading = NULL;
    poll = NULL;
    wire = NULL;
    fake = NULL;
    return 0;
}

// One poll. Returns how many requests it took.
static int read_meter(int retries)
{
    uint64_t before = fake_ticks(fake);
    reading_free(reading);
    reading = reading_new(NULL, &meter);
    assert_non_null(reading);
    holes.refusals = 0;
    meter_poll_read(poll, wire, retries, &moved_clock, reading, NULL);
    return (int)(fake_ticks(fake) - before);
}

static bool is_good(int channel)
{
    const struct value *value = &reading->values[channel];
    return value->quality == QUALITY_GOOD &&
           ((unsigned)value->number & 0xFF00) == (profile.fields[channel].first & 0xFFU) << 8;
}

static void expect_good(int channel)
{
    if (!is_good(channel))
        fail_msg("channel %d: why %d", channel, reading->values[channel].why);
}

static void expect_refused(int channel, int code)
{
    assert_int_equal(reading->values[channel].quality, QUALITY_MISSING);
    assert_int_equal(reading->values[channel].why, WHY_EXCEPTION + code);
}

// ---- what is refused ----------------------------------------------------------------------------

static const int row[] = {10, 11, 12, 13, 14, 15, 16, 17};

static void test_one_register(void **state)
{
    (void)state;
    for (int code = 1; code <= 3; code++) {
        start(row, 8, 8);
        holes.code = code;
        holes.hole[12] = true;
        // All others come in the same poll.
        assert_in_range(read_meter(1), 4, 12);
        for (int i = 0; i < 8; i++)
            i == 2 ? expect_refused(i, code) : expect_good(i);
        // From now on two requests, none of them refused.
        for (int round = 0; round < 3; round++) {
            assert_int_equal(read_meter(1), 2);
            assert_int_equal(holes.refusals, 0);
            for (int i = 0; i < 8; i++)
                i == 2 ? expect_refused(i, code) : expect_good(i);
        }
        stop(NULL);
    }
}

#define MINUTE_MS INT64_C(60000)

// Asked again after 1, 8, 64, 512 minutes, and then each day.
static void test_asked_again(void **state)
{
    (void)state;
    static const int64_t pauses_ms[] = {MINUTE_MS, 8 * MINUTE_MS, 64 * MINUTE_MS, 512 * MINUTE_MS,
                                        DAY_MS,    DAY_MS,        DAY_MS};
    start(row, 8, 8);
    holes.hole[12] = true;
    (void)read_meter(1);
    for (size_t i = 0; i < sizeof pauses_ms / sizeof pauses_ms[0]; i++) {
        later_ms += pauses_ms[i] - 20000;
        assert_int_equal(read_meter(1), 2);
        assert_int_equal(holes.refusals, 0);
        later_ms += 21000;
        assert_in_range(read_meter(1), 4, 12);
        expect_refused(2, 2);
    }
    // It has it now; the next refusal is asked again as soon as the first was.
    holes.hole[12] = false;
    later_ms += DAY_MS + 1000;
    for (int round = 0; round < 2; round++) {
        assert_int_equal(read_meter(1), 1);
        for (int i = 0; i < 8; i++)
            expect_good(i);
    }
    holes.hole[15] = true;
    (void)read_meter(1);
    expect_refused(5, 2);
    holes.hole[15] = false;
    later_ms += MINUTE_MS + 1000;
    assert_int_equal(read_meter(1), 1);
    expect_good(5);
}

// A meter that was away is asked again at its return, but not at each.
static void test_asked_after_return(void **state)
{
    (void)state;
    start(row, 8, 8);
    holes.hole[12] = true;
    (void)read_meter(0);
    // Grown to 64 minutes, so that only the return can be the reason.
    for (int i = 0; i < 2; i++) {
        later_ms += (i == 0 ? 1 : 8) * MINUTE_MS + 1000;
        (void)read_meter(0);
        assert_true(holes.refusals > 0);
    }
    int64_t begin_ms = later_ms;
    for (int minutes = 5; minutes <= 15; minutes += 10) {
        later_ms = begin_ms + minutes * MINUTE_MS;
        holes.fail_ticks = 3;
        for (int i = 0; i < 3; i++) {
            assert_int_equal(read_meter(0), 1);
            assert_false(reading->answered);
        }
        assert_int_equal(read_meter(0), 2); // back
        expect_refused(2, 2);
        (void)read_meter(0);
        assert_int_equal(holes.refusals > 0, minutes == 15);
        expect_refused(2, 2);
        expect_good(3);
    }
}

// Registers between values that cannot be read over.
static void test_gap(void **state)
{
    (void)state;
    start((const int[]){10, 12, 20, 21}, 4, 20);
    holes.hole[15] = true;
    assert_int_equal(read_meter(1), 4); // refused, two parts, and whether they may be joined
    for (int i = 0; i < 4; i++)
        expect_good(i);
    assert_int_equal(read_meter(1), 2);
    assert_int_equal(holes.refusals, 0);
}

// A meter that takes fewer registers in one request than the profile says.
static void test_too_many(void **state)
{
    (void)state;
    start((const int[]){10, 20, 30, 40, 50, 60, 70, 80}, 8, 20);
    holes.most = 32;
    (void)read_meter(1);
    for (int i = 0; i < 8; i++)
        expect_good(i);
    for (int round = 0; round < 3; round++)
        (void)read_meter(1);
    assert_int_equal(holes.refusals, 0);
    assert_int_equal(read_meter(1), 2);
}

static void test_group_is_whole(void **state)
{
    (void)state;
    start(row, 8, 8);
    profile.together[profile.together_count++] = (struct profile_together){12, 14};
    holes.hole[13] = true;
    (void)read_meter(1);
    (void)read_meter(1);
    for (int i = 0; i < 8; i++)
        i >= 2 && i <= 4 ? expect_refused(i, 2) : expect_good(i);
    assert_int_equal(read_meter(1), 2);
}

// ---- what is no refusal -------------------------------------------------------------------------

static void test_other_exceptions(void **state)
{
    (void)state;
    static const int codes[] = {4, 5, 6, 8, 10, 11, 0x80};
    start(row, 8, 8);
    holes.hole[12] = true;
    for (size_t i = 0; i < sizeof codes / sizeof codes[0]; i++) {
        holes.code = codes[i];
        assert_int_equal(read_meter(1), 1);
        for (int j = 0; j < 8; j++)
            expect_refused(j, codes[i]);
    }
    holes.hole[12] = false;
    assert_int_equal(read_meter(1), 1);
    for (int i = 0; i < 8; i++)
        expect_good(i);
}

static void test_timeout_never_splits(void **state)
{
    (void)state;
    start(row, 8, 8);
    for (int i = 1; i <= 3; i++) {
        holes.fail_ticks = 3;
        assert_int_equal(read_meter(2), 3);
        assert_false(reading->answered);
    }
    // Nor does a refusal in a poll in which something was lost: it may be a late answer.
    holes.hole[12] = true;
    holes.fail_ticks = 1;
    assert_int_equal(read_meter(1), 2);
    for (int i = 0; i < 8; i++)
        expect_refused(i, 2);
    holes.hole[12] = false;
    assert_int_equal(read_meter(1), 1);
    expect_good(2);
}

// A meter that was silent at first, and of whose only request one register is refused.
static void test_silent_at_first(void **state)
{
    (void)state;
    start(row, 8, 8);
    holes.hole[12] = true;
    holes.fail_ticks = 5;
    for (int i = 0; i < 5; i++)
        assert_int_equal(read_meter(0), 1);
    // The first exception may be a late one; from the second poll on it is looked into.
    assert_int_equal(read_meter(0), 1);
    assert_true(read_meter(0) > 2);
    for (int i = 0; i < 8; i++)
        i == 2 ? expect_refused(i, 2) : expect_good(i);
}

// One wrong exception teaches nothing, and costs no value.
static void test_stray_exception(void **state)
{
    (void)state;
    start((const int[]){10, 11, 12, 40}, 4, 8); // the last one is a block of its own
    holes.stray_ticks = 1;
    assert_int_equal(read_meter(0), 5); // refused, two parts, the whole again; the other block
    for (int i = 0; i < 4; i++)
        expect_good(i);
    assert_int_equal(read_meter(0), 2);
    stop(NULL);
    start((const int[]){10}, 1, 8);
    holes.stray_ticks = 1;
    assert_int_equal(read_meter(0), 2);
    expect_good(0);
    assert_int_equal(read_meter(0), 1);
}

// A meter of another kind refuses everything: it still answers, and is not asked more than before.
static void test_everything(void **state)
{
    (void)state;
    start((const int[]){10, 11, 40, 41}, 4, 8);
    for (int at = 0; at < ADDRESSES; at++)
        holes.hole[at] = true;
    (void)read_meter(1);
    for (int round = 0; round < 3; round++) {
        assert_int_equal(read_meter(1), 2);
        assert_false(reading->answered);
        for (int i = 0; i < 4; i++)
            expect_refused(i, 2);
    }
    // After a while it is looked into again, with the same end.
    later_ms = MINUTE_MS + 1000;
    assert_true(read_meter(1) > 2);
    assert_int_equal(read_meter(1), 2);
    memset(holes.hole, 0, sizeof holes.hole);
    assert_int_equal(read_meter(1), 2);
    for (int i = 0; i < 4; i++)
        expect_good(i);
}

// ---- any meter ----------------------------------------------------------------------------------

static int random_addresses(int addresses[FIELDS_MAX])
{
    int count = (int)random_between(2, FIELDS_MAX);
    for (int i = 0, at = 0; i < count; i++) {
        at += (int)random_between(1, random_between(0, 2) == 0 ? 12 : 2);
        addresses[i] = at;
    }
    return count;
}

// The requests of somebody who knows all holes from the start.
static int best_count(int max_gap)
{
    int runs = 0;
    int end = -1;
    for (int i = 0; i < profile.field_count; i++) {
        int at = profile.fields[i].first;
        if (holes.hole[at])
            continue;
        bool joined = end >= 0 && at - end <= max_gap;
        for (int gap = end; joined && gap < at; gap++)
            joined = !holes.hole[gap];
        runs += joined ? 0 : 1;
        end = at + 1;
    }
    return runs;
}

static void test_any_holes(void **state)
{
    (void)state;
    int refused = 0;
    for (int round = 0; round < 60; round++) {
        int addresses[FIELDS_MAX];
        int count = random_addresses(addresses);
        int max_gap = (int)random_between(0, 12);
        start(addresses, count, max_gap);
        for (int i = (int)random_between(1, 6); i > 0; i--)
            holes.hole[random_between(1, addresses[count - 1])] = true;
        bool any = false;
        for (int i = 0; i < count; i++)
            any = any || !holes.hole[addresses[i]];
        if (any) {
            for (int polls = 0; polls < 20; polls++) {
                int took = read_meter(0);
                refused += holes.refusals;
                assert_true(took <= count + 10 + 1); // what a neighbour may have to wait for
            }
            for (int i = 0; i < count; i++)
                holes.hole[addresses[i]] ? expect_refused(i, 2) : expect_good(i);
            assert_int_equal(holes.refusals, 0);
            assert_int_equal(read_meter(0), best_count(max_gap));
        }
        stop(NULL);
    }
    assert_true(refused > 60);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_teardown(test_one_register, stop),
        cmocka_unit_test_teardown(test_asked_again, stop),
        cmocka_unit_test_teardown(test_asked_after_return, stop),
        cmocka_unit_test_teardown(test_gap, stop),
        cmocka_unit_test_teardown(test_too_many, stop),
        cmocka_unit_test_teardown(test_group_is_whole, stop),
        cmocka_unit_test_teardown(test_other_exceptions, stop),
        cmocka_unit_test_teardown(test_timeout_never_splits, stop),
        cmocka_unit_test_teardown(test_silent_at_first, stop),
        cmocka_unit_test_teardown(test_stray_exception, stop),
        cmocka_unit_test_teardown(test_everything, stop),
        cmocka_unit_test_teardown(test_any_holes, stop),
    };
    random_start("test_refusal");
    return cmocka_run_group_tests_name("poll/refusal", tests, NULL, NULL);
}
