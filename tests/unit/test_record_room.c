#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "record/room.h"

#define MIB (INT64_C(1) << 20)
#define NOW INT64_C(1795420800000)
#define HOUR INT64_C(3600000)

static struct room_facts facts_of(int64_t used_mib, int64_t max_mib, int64_t disk_free_mib)
{
    return (struct room_facts){.wall_ms = NOW,
                               .max_bytes = max_mib * MIB,
                               .file_bytes = (used_mib + 3) * MIB,
                               .free_bytes = 3 * MIB,
                               .log_bytes = 4 * MIB,
                               .disk_free_bytes = disk_free_mib < 0 ? -1 : disk_free_mib * MIB};
}

// Begins at fifteen sixteenths, ends at seven eighths: of 408 less 8 MiB.
static void test_begins_and_ends(void **state)
{
    (void)state;
    struct room room = {0};
    struct room_facts facts = facts_of(374, 408, -1);
    assert_int_equal(room_next(&room, &facts).kind, ROOM_NOTHING);
    facts = facts_of(376, 408, -1);
    struct room_step step = room_next(&room, &facts);
    assert_int_equal(step.kind, ROOM_READINGS);
    assert_false(step.unsent);
    assert_int_equal(step.before_ms, NOW - HOUR);
    assert_false(room.by_disk); // nobody needs to know
    room_done(&room, 1000);
    facts = facts_of(351, 408, -1);
    assert_int_equal(room_next(&room, &facts).kind, ROOM_READINGS);
    room_done(&room, 1000);
    facts = facts_of(349, 408, -1);
    assert_int_equal(room_next(&room, &facts).kind, ROOM_NOTHING);
    facts = facts_of(374, 408, -1);
    assert_int_equal(room_next(&room, &facts).kind, ROOM_NOTHING);
}

// What goes before what, when no step finds anything.
static void test_order(void **state)
{
    (void)state;
    struct room room = {0};
    struct room_facts facts = facts_of(400, 408, -1);
    static const struct {
        enum room_kind kind;
        enum span span;
        bool unsent;
    } order[] = {{ROOM_READINGS, 0, false},
                 {ROOM_READINGS, 0, true},
                 {ROOM_PERIODS, SPAN_1MIN, false},
                 {ROOM_PERIODS, SPAN_5MIN, false},
                 {ROOM_PERIODS, SPAN_15MIN, false},
                 {ROOM_PERIODS, SPAN_30MIN, false},
                 {ROOM_PERIODS, SPAN_1MIN, true},
                 {ROOM_PERIODS, SPAN_5MIN, true},
                 {ROOM_PERIODS, SPAN_15MIN, true},
                 {ROOM_PERIODS, SPAN_30MIN, true},
                 {ROOM_PERIODS, SPAN_HOUR, false},
                 {ROOM_PERIODS, SPAN_HOUR, true},
                 {ROOM_ALERTS, 0, false},
                 {ROOM_PERIODS, SPAN_DAY, false},
                 {ROOM_ALERTS, 0, true},
                 {ROOM_PERIODS, SPAN_DAY, true}};
    const int stages = sizeof order / sizeof order[0];
    for (int i = 0; i < stages; i++) {
        assert_false(room.exhausted);
        struct room_step step = room_next(&room, &facts);
        assert_int_equal(step.kind, order[i].kind);
        assert_int_equal(step.span, order[i].span);
        assert_int_equal(step.unsent, order[i].unsent);
        assert_true(step.before_ms <= NOW - HOUR);
        assert_true(step.kind != ROOM_PERIODS || step.longer > step.span);
        room_done(&room, i == 4 ? 7 : 0); // one that found something comes again
        if (i == 4) {
            assert_int_equal(room_next(&room, &facts).span, SPAN_15MIN);
            room_done(&room, 0);
        }
    }
    assert_true(room.exhausted); // and begins anew
    assert_int_equal(room_next(&room, &facts).kind, ROOM_READINGS);
}

// The disk that others fill counts like the limit; what the log has is its already.
static void test_disk_that_others_fill(void **state)
{
    (void)state;
    struct room room = {0};
    struct room_facts facts = facts_of(100, 4096, 5);
    assert_int_equal(room_next(&room, &facts).kind, ROOM_NOTHING); // 100 of 107
    facts.disk_free_bytes = MIB;                                   // of 103
    assert_int_equal(room_next(&room, &facts).kind, ROOM_READINGS);
    assert_true(room.by_disk);
    room.making = false;
    facts.disk_free_bytes = 5 * MIB;
    facts.log_bytes = 0; // it will have 4
    assert_int_equal(room_next(&room, &facts).kind, ROOM_READINGS);
}

// After the disk was full a sixteenth goes, however the figures look.
static void test_forced(void **state)
{
    (void)state;
    struct room room = {0};
    struct room_facts facts = facts_of(160, 4096, 1000);
    assert_int_equal(room_next(&room, &facts).kind, ROOM_NOTHING);
    room_force(&room, &facts);
    assert_int_equal(room_next(&room, &facts).kind, ROOM_READINGS);
    facts = facts_of(151, 4096, 1000);
    assert_int_equal(room_next(&room, &facts).kind, ROOM_READINGS);
    facts = facts_of(149, 4096, 1000);
    assert_int_equal(room_next(&room, &facts).kind, ROOM_NOTHING);
    assert_int_equal(room.forced_bytes, 0);
    assert_int_equal(room_file_max(16 * MIB), 12 * MIB);
    assert_int_equal(room_file_max(4096 * MIB), 4088 * MIB);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_begins_and_ends),
        cmocka_unit_test(test_order),
        cmocka_unit_test(test_disk_that_others_fill),
        cmocka_unit_test(test_forced),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
