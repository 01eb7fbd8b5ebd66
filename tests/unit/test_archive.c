// Reading a log back over a wire, from a simulated meter that keeps one: which record is of which
// hour, in every form that a profile can say, while the log moves on, and when it does not answer.
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "drivers/archive.h"
#include "drivers/simulator/answer.h"
#include "drivers/wire.h"
#include "poll/archive.h"
#include "poll/bus.h"

#include "../support/fake_meter.h"
#include "property.h"

#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>

#define HOUR INT64_C(3600000)
#define DAY (24 * HOUR)
#define T0 INT64_C(1795442400000) // 2026-11-23T14:00:00Z
#define RATE 36                   // m3/h: 0.01 m3 a second
#define TIMEOUT_MS 500
#define REQUESTS_MAX 200

// ---- profiles -----------------------------------------------------------------------------------

static const char profile_form[] =
    "model: test\nsource: this test\nverified: true\nmedium: gas\n"
    "limits: {max_registers: %d}\n"
    "channels:\n"
    "  volume_measured: {register: 0, function: 3, type: bcd12, scale: 0.01, unit: m3}\n"
    "archives:\n"
    "  - {name: log, span: %s, function: %d, first_register: 100, record_registers: 8,\n"
    "     records: %d, order: %s,\n"
    "     time: {offset: 4, type: %s, marks: %s},\n"
    "     channels: {volume_measured: {offset: 0, type: bcd12, scale: 0.01, unit: m3%s}}}\n";

struct form {
    int max_registers;
    const char *span;
    int function, records;
    const char *order, *time, *marks, *value;
};

static struct profile *profile_make(const struct form *form)
{
    char text[2000];
    struct profile *profile = NULL;
    struct faults *faults = calloc(1, sizeof *faults);
    assert_non_null(faults);
    (void)snprintf(text, sizeof text, profile_form, form->max_registers, form->span, form->function,
                   form->records, form->order, form->time, form->marks, form->value);
    if (profile_load_text("test.yaml", text, strlen(text), &profile, faults) != 0)
        fail_msg("%s: %s", faults->list[0].path, faults->list[0].message);
    free(faults);
    return profile;
}

// ---- the meter, behind a port -------------------------------------------------------------------

static struct gas_calendar calendar;
static struct model_calendar site_calendar = {.utc_offset_min = 480};

struct rig {
    struct profile *profile;
    struct sim_kind kind;
    struct sim_meter sim;
    struct sim_time now; // of the meter; changed only while nothing is asked
    struct config config;
    struct config_link link;
    struct meter meter;
    struct fake_meter *fake;
    struct wire *wire;
    struct bus_task task;
    struct archive_ask ask;
    bool asked;
    struct archive_rows *rows;
    int no_room;         // so many deliveries are refused
    atomic_int requests; // that went to the log
    int moves_on_after;  // requests, then an hour passes; 0: none
    int refused_from;    // registers from here on are refused; 0: none
    int registers_most;  // in a request; 0: any number
    atomic_bool is_silent;
    atomic_int delay_ms;
};

static struct rig rig;
static struct answer answer; // large

static void behave(void *context, struct fake_answer *out)
{
    struct rig *meter = context;
    struct ask ask;
    assert_int_equal(ask_take(LINK_TCP, out->request, FRAME_TCP_REQUEST_SIZE, false, &ask),
                     ASK_FRAME);
    int first = ask.pdu[1] << 8 | ask.pdu[2];
    int count = ask.pdu[3] << 8 | ask.pdu[4];
    int number = atomic_fetch_add(&meter->requests, 1) + 1;
    assert_true(ask.pdu[0] >= 1 && ask.pdu[0] <= 4);
    if (meter->moves_on_after != 0 && number == meter->moves_on_after) {
        meter->now.wall_ms += HOUR;
        meter->now.since_start_ms += HOUR;
    }
    answer_make(&meter->sim, &ask, &meter->now, &answer);
    if (atomic_load(&meter->is_silent)) {
        out->length = 0;
        return;
    }
    bool refused = (meter->refused_from != 0 && first + count > meter->refused_from) ||
                   (meter->registers_most != 0 && count > meter->registers_most);
    if (refused) {
        out->frame[5] = 3;
        out->frame[7] = ask.pdu[0] | 0x80;
        out->frame[8] = 2;
        out->length = 9;
        return;
    }
    out->delay_ms = atomic_load(&meter->delay_ms);
    memcpy(out->frame, answer.bytes, answer.length);
    out->length = answer.length;
}

static bool give_ask(void *context, const char *meter, struct archive_ask *out)
{
    struct rig *desk = context;
    assert_string_equal(meter, "m1");
    bool gives = !desk->asked;
    if (gives)
        *out = desk->ask;
    desk->asked = true;
    return gives;
}

static bool take_rows(void *context, struct archive_rows *rows)
{
    struct rig *desk = context;
    if (desk->no_room-- > 0)
        return false;
    desk->rows = rows;
    return true;
}

static void rig_start(const struct form *form, int before_hours)
{
    memset(&rig, 0, sizeof rig);
    rig.profile = profile_make(form);
    rig.kind = (struct sim_kind){.profile = rig.profile};
    struct model_settings settings = {.seed = 5,
                                      .pattern = PATTERN_CONSTANT,
                                      .capacity = RATE,
                                      .load = 1,
                                      .supply_kpa = 300,
                                      .base_pressure_kpa = 101.325,
                                      .base_temperature_c = 20,
                                      .calendar = &site_calendar};
    struct err err;
    sim_meter_init(&rig.sim, "m1", 1, &rig.kind, &settings, T0, 0, INT64_C(50000) * 1000000);
    assert_int_equal(sim_meter_open_logs(&rig.sim, before_hours * HOUR, &err), 0);
    rig.now.wall_ms = T0;
    rig.fake = fake_start(FAKE_TCP, behave, &rig);
    rig.link.url.kind = LINK_TCP;
    rig.link.url.port = fake_port(rig.fake);
    rig.link.response_timeout_ms = TIMEOUT_MS;
    (void)strcpy(rig.link.id, "hall");
    (void)strcpy(rig.link.url.address, "127.0.0.1");
    rig.meter = (struct meter){.id = "m1", .unit = 1, .profile = rig.profile};
    rig.config = (struct config){.references = 1000, // nobody frees it
                                 .link_count = 1,
                                 .links = &rig.link,
                                 .meter_count = 1,
                                 .meters = &rig.meter};
    struct wire_settings wire = {.url = rig.link.url, .response_timeout_ms = TIMEOUT_MS};
    rig.wire = wire_new(&wire, &clock_system);
    assert_non_null(rig.wire);
    struct archive_settings task = {.config = &rig.config,
                                    .calendar = calendar,
                                    .clock = &clock_system,
                                    .desk = {give_ask, take_rows, &rig}};
    assert_int_equal(archive_task(&task, &rig.task), 1);
    assert_true(rig.task.step_ms > 0);
}

static void rig_end(void)
{
    rig.task.release(rig.task.context);
    archive_rows_free(rig.rows);
    rig.rows = NULL;
    wire_free(rig.wire);
    fake_stop(rig.fake);
    sim_meter_close_logs(&rig.sim);
    profile_free(rig.profile);
}

// Time of the task alone: it comes as soon as it wants to.
static void run(int64_t from_ms, int64_t to_ms)
{
    struct err err;
    rig.ask = (struct archive_ask){.meter = "m1", .from_ms = from_ms, .to_ms = to_ms};
    rig.asked = false;
    atomic_store(&rig.requests, 0);
    int64_t now_ms = clock_boot_ms(&clock_system);
    for (int i = 0; i < REQUESTS_MAX && rig.rows == NULL; i++) {
        assert_int_equal(wire_open(rig.wire, &err), 0);
        int before = atomic_load(&rig.requests);
        int64_t next_ms = rig.task.step(rig.task.context, rig.wire, now_ms);
        assert_true(atomic_load(&rig.requests) - before <= 1); // at most one a step
        assert_true(next_ms >= 0);
        now_ms = next_ms > now_ms ? next_ms : now_ms;
    }
    assert_non_null(rig.rows);
}

// What the meter held: its flow is constant.
static int64_t index_at(int64_t at_ms)
{
    return INT64_C(50000) * 1000000 + (at_ms - T0) / 1000 * 10000;
}

// Whether a slot's record came and is the right one.
static bool slot_is_right(int slot, bool increment)
{
    const struct archive_rows *rows = rig.rows;
    if (!rows->has[slot])
        return false;
    struct profile *record = archive_record(rig.profile, 0, true);
    struct image image = {.why = {0}};
    struct value value;
    memcpy(image.words, rows->words + (ptrdiff_t)slot * 8, 8 * sizeof image.words[0]);
    image_decode(record, &image, false, &value);
    free(record);
    int64_t end_ms = rows->ends_ms[slot];
    int64_t start_ms = period_start(&calendar, archive_span(&rig.profile->archives[0]), end_ms - 1);
    int64_t expected = index_at(end_ms) - (increment ? index_at(start_ms) : 0);
    assert_int_equal(value.quality, QUALITY_GOOD);
    assert_int_equal(value.micro, expected);
    return true;
}

static void all_must_be_right(int count, bool increment)
{
    assert_int_equal(rig.rows->count, count);
    for (int i = 0; i < count; i++)
        assert_true(slot_is_right(i, increment));
}

// ---- tests --------------------------------------------------------------------------------------

// Every form that a profile can describe: the right record for each boundary.
static void test_every_form(void **state)
{
    (void)state;
    static const char *const orders[] = {"newest-first", "oldest-first"};
    static const char *const times[] = {"u32", "bcd12"};
    static const char *const marks[] = {"end", "start"};
    static const char *const values[] = {"", ", value: increment"};
    for (int i = 0; i < 64; i++) {
        bool days = (i & 16) != 0;
        bool full = (i & 32) != 0; // the log has dropped its oldest records
        struct form form = {.max_registers = 60,
                            .span = days ? "day" : "hour",
                            .function = 3 + (i & 1),
                            .records = full ? days ? 5 : 40 : 150,
                            .order = orders[i & 1],
                            .time = times[i >> 1 & 1],
                            .marks = marks[i >> 2 & 1],
                            .value = values[i >> 3 & 1]};
        rig_start(&form, days ? 130 : 50);
        int64_t last = period_start(&calendar, days ? SPAN_DAY : SPAN_HOUR, T0 - 1);
        int64_t from = days ? last - 3 * DAY : last - 23 * HOUR;
        run(from, last);
        all_must_be_right(days ? 4 : 24, (i & 8) != 0);
        // found by halves, then several at once
        assert_true(atomic_load(&rig.requests) <= 8 + 24 / 7 + 2);
        rig_end();
    }
}

static const struct form hours = {
    60, "hour", 3, 100, "newest-first", "bcd12", "end", "",
};

// The log is shorter than the gap, or younger: what it has is read, the rest is said to be missing.
static void test_a_short_log(void **state)
{
    (void)state;
    for (int kind = 0; kind < 4; kind++) {
        struct form form = hours;
        form.order = kind < 2 ? "newest-first" : "oldest-first";
        form.records = kind % 2 == 0 ? 20 : 100;
        rig_start(&form, kind % 2 == 0 ? 100 : 20);
        run(T0 - 49 * HOUR, T0);
        assert_int_equal(rig.rows->count, 50);
        for (int i = 0; i < 50; i++)
            assert_int_equal(slot_is_right(i, false), i >= 50 - 20);
        rig_end();
    }
}

// Hours pass while the log is read: nothing is left out, nothing is taken for another.
static void test_the_log_moves_on(void **state)
{
    (void)state;
    for (int after = 1; after <= 20; after++) {
        struct form form = hours;
        form.order = after % 2 == 0 ? "newest-first" : "oldest-first";
        form.records = 60;
        form.max_registers = 16;
        rig_start(&form, 100);
        rig.moves_on_after = after;
        run(T0 - 30 * HOUR, T0 - HOUR);
        all_must_be_right(30, false);
        rig_end();
    }
}

// The meter refuses several records at once, or those that it has not written.
static void test_refusals(void **state)
{
    (void)state;
    rig_start(&hours, 100);
    rig.registers_most = 8;
    run(T0 - 10 * HOUR, T0);
    all_must_be_right(11, false);
    rig_end();
    rig_start(&hours, 100);
    rig.refused_from = 100 + 30 * 8;
    run(T0 - 40 * HOUR, T0);
    for (int i = 0; i <= 40; i++)
        assert_int_equal(slot_is_right(i, false), i > 10);
    rig_end();
}

// Nobody takes the rows now: they are kept. A meter that is silent is left in peace.
static void test_waiting(void **state)
{
    (void)state;
    rig_start(&hours, 100);
    rig.no_room = 3;
    run(T0 - 3 * HOUR, T0);
    all_must_be_right(4, false);
    assert_int_equal(rig.no_room, -1);
    archive_rows_free(rig.rows);
    rig.rows = NULL;
    rig.asked = false;
    atomic_store(&rig.requests, 0);
    atomic_store(&rig.is_silent, true);
    struct err err;
    int64_t now_ms = 1000000;
    int64_t began_ms = now_ms;
    while (now_ms - began_ms < ARCHIVE_REST_MS / 2) {
        assert_int_equal(wire_open(rig.wire, &err), 0);
        now_ms = rig.task.step(rig.task.context, rig.wire, now_ms);
        rig.asked = false; // it is wanted all the time
    }
    assert_int_equal(atomic_load(&rig.requests), ARCHIVE_TRIES_MAX);
    atomic_store(&rig.is_silent, false);
    for (int i = 0; i < REQUESTS_MAX && rig.rows == NULL; i++) {
        assert_int_equal(wire_open(rig.wire, &err), 0);
        now_ms = rig.task.step(rig.task.context, rig.wire, began_ms + 2 * ARCHIVE_REST_MS + i);
    }
    assert_non_null(rig.rows); // after its rest it is asked again
    all_must_be_right(4, false);
    // no wire: nothing is asked
    assert_true(rig.task.step(rig.task.context, NULL, now_ms) > now_ms);
    rig_end();
}

// Of the link's time it takes a fifth at most.
static void test_pace(void **state)
{
    (void)state;
    struct err err;
    rig_start(&hours, 30);
    atomic_store(&rig.delay_ms, 20);
    rig.ask = (struct archive_ask){.meter = "m1", .from_ms = T0 - 9 * HOUR, .to_ms = T0};
    for (int i = 0; rig.rows == NULL; i++) {
        assert_true(i < REQUESTS_MAX);
        assert_int_equal(wire_open(rig.wire, &err), 0);
        int before = atomic_load(&rig.requests);
        int64_t now_ms = clock_boot_ms(&clock_system);
        int64_t next_ms = rig.task.step(rig.task.context, rig.wire, now_ms);
        if (atomic_load(&rig.requests) > before)
            assert_true(next_ms >= now_ms + 5 * 20);
    }
    all_must_be_right(10, false);
    rig_end();
}

// A link whose meters keep no log has nothing to do.
static void test_without_a_log(void **state)
{
    (void)state;
    rig_start(&hours, 1);
    struct archive_settings settings = {.config = &rig.config, .clock = &clock_system};
    struct bus_task task;
    int count = rig.profile->archive_count;
    rig.profile->archive_count = 0;
    assert_int_equal(archive_task(&settings, &task), 0);
    rig.profile->archive_count = count;
    settings.link = 1;
    assert_int_equal(archive_task(&settings, &task), 0);
    rig_end();
}

// ---- times --------------------------------------------------------------------------------------

static void test_stamps(void **state)
{
    (void)state;
    uint16_t words[8];
    struct profile_archive archive = {.record_registers = 8, .time_offset = 3};
    for (int i = 0; i < 200000; i++) {
        bool wall = i % 2 == 0;
        archive.time_type = wall ? RAW_BCD : RAW_U32;
        archive.time_order = (uint8_t)(wall ? (int)ORDER_ABCD : i / 2 % 4);
        // a wall clock's two digits are of 2000 to 2099
        int64_t clock_s = wall ? random_between(946684800, INT64_C(4102444799))
                               : random_between(1, UINT32_MAX - 1);
        int64_t back = 0;
        archive_stamp_put(&archive, clock_s, words);
        assert_int_equal(archive_stamp(&archive, words, &back), 0);
        assert_int_equal(back, clock_s);
    }
}

static void test_stamps_by_hand(void **state)
{
    (void)state;
    static const struct {
        uint16_t words[3];
        int64_t clock_s; // -1: no time
    } rows[] = {
        {{0x2611, 0x2314, 0x0000}, 1795442400}, // 2026-11-23 14:00:00
        {{0x2611, 0x2324, 0x0000}, 1795478400}, // 24:00:00 is the next day
        {{0x2402, 0x2900, 0x0000}, 1709164800}, // a leap day
        {{0x2602, 0x2900, 0x0000}, -1},         // none
        {{0x0000, 0x0000, 0x0000}, -1},         // never written
        {{0xFFFF, 0xFFFF, 0xFFFF}, -1},         {{0x2613, 0x0100, 0x0000}, -1},
        {{0x2611, 0x2325, 0x0000}, -1},         {{0x2611, 0x2324, 0x0001}, -1},
        {{0x2611, 0x231A, 0x0000}, -1},         {{0x2611, 0x2314, 0x6000}, -1},
        {{0x2611, 0x2314, 0x0060}, -1},         {{0x2611, 0x3114, 0x0000}, -1},
    };
    struct profile_archive archive = {.record_registers = 3, .time_type = RAW_BCD};
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        int64_t clock_s = -1;
        int result = archive_stamp(&archive, rows[i].words, &clock_s);
        assert_int_equal(result == 0 ? clock_s : -1, rows[i].clock_s);
    }
    archive.time_type = RAW_U32;
    int64_t clock_s;
    assert_int_equal(archive_stamp(&archive, (const uint16_t[]){0, 0, 0}, &clock_s), -1);
    assert_int_equal(archive_stamp(&archive, (const uint16_t[]){0xFFFF, 0xFFFF, 0}, &clock_s), -1);
    assert_int_equal(archive_stamp(&archive, (const uint16_t[]){0x6B04, 0x1234, 0}, &clock_s), 0);
    assert_int_equal(clock_s, 0x6B041234);
}

// Hours around a change of the wall clock have times that name two instants: they are left out, the
// others are right. The simulated meter knows no summer time, so its wall clock is set for winter.
static void test_the_clock_changes(void **state)
{
    (void)state;
    struct err err;
    struct gas_calendar before = calendar;
    assert_int_equal(gas_calendar_init(&calendar, "Europe/Berlin", 360, &err), 0);
    site_calendar.utc_offset_min = 60;
    rig_start(&hours, 30);
    int64_t change = INT64_C(1792890000000); // 2026-10-25T01:00:00Z
    rig.sim.state.at_ms = rig.sim.state.started_ms = change - 20 * HOUR;
    sim_meter_close_logs(&rig.sim);
    assert_int_equal(sim_meter_open_logs(&rig.sim, 0, &err), 0);
    rig.now = (struct sim_time){.since_start_ms = 40 * HOUR, .wall_ms = change + 20 * HOUR};
    run(change - 6 * HOUR, change + 6 * HOUR);
    assert_int_equal(rig.rows->count, 13);
    for (int i = 0; i < 13; i++) {
        int64_t from_change = (rig.rows->ends_ms[i] - change) / HOUR;
        if (from_change >= -2 && from_change < 2)
            assert_false(rig.rows->has[i]);
        else if (from_change >= 2)
            assert_true(rig.rows->has[i]);
    }
    rig_end();
    site_calendar.utc_offset_min = 480;
    assert_int_equal(gas_calendar_init(&calendar, "Asia/Shanghai", 360, &err), 0);
    assert_int_equal(calendar.start_minutes, before.start_minutes);
}

static int group_set_up(void **state)
{
    (void)state;
    struct err err;
    return gas_calendar_init(&calendar, "Asia/Shanghai", 360, &err);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_every_form),       cmocka_unit_test(test_a_short_log),
        cmocka_unit_test(test_the_log_moves_on), cmocka_unit_test(test_refusals),
        cmocka_unit_test(test_waiting),          cmocka_unit_test(test_pace),
        cmocka_unit_test(test_without_a_log),    cmocka_unit_test(test_stamps),
        cmocka_unit_test(test_stamps_by_hand),   cmocka_unit_test(test_the_clock_changes),
    };
    random_start("test_archive");
    return cmocka_run_group_tests(tests, group_set_up, NULL);
}
