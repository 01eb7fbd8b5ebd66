// What the recorder puts into the audit chain by itself, and the hourly seal.
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "record/watch.h"
#include "recorder_fixture.h"

// Actions of all records, newest last, and the newest record.
struct trail {
    char actions[2000];
    struct audit_record last;
};

static bool see(void *context, const struct audit_record *record)
{
    struct trail *trail = context;
    (void)strcat(trail->actions, record->action);
    (void)strcat(trail->actions, " ");
    trail->last = *record;
    return strlen(trail->actions) < 1900;
}

static struct trail trail_read(void)
{
    struct trail trail = {.actions = ""};
    struct store *store = store_must_read();
    must(store_audits(store, INT64_MIN, INT64_MAX, see, &trail, &failure));
    store_close(store);
    return trail;
}

static void trail_must_be(const char *actions)
{
    struct trail trail = trail_read();
    assert_string_equal(trail.actions, actions);
}

// One step of the recorder.
static void step(struct watch *watch, struct store *store)
{
    watch_look(watch);
    (void)watch_write(watch, store, true);
}

static void stop(struct watch *watch, struct store *store)
{
    must(store_round_begin(store, &failure));
    must(store_setting_put(store, "clean_stop", "yes", &failure));
    must(watch_stop(watch, store, &failure));
    must(store_round_commit(store, &failure));
}

static void killed(struct store *store)
{
    must(store_round_begin(store, &failure));
    must(store_setting_put(store, "clean_stop", "no", &failure));
    must(store_round_commit(store, &failure));
    store_close(store);
}

static void test_starts_and_stops(void **state)
{
    (void)state;
    struct watch watch;
    struct store *store = store_must_open();
    must(watch_open(&watch, store, &fake_clock, &failure));
    step(&watch, store);
    step(&watch, store); // once
    trail_must_be("store start ");
    assert_string_equal(trail_read().last.who, "gateway");
    assert_non_null(strstr(trail_read().last.detail, "first start"));
    stop(&watch, store);
    store_close(store);
    store = store_must_open();
    must(watch_open(&watch, store, &fake_clock, &failure));
    step(&watch, store);
    trail_must_be("store start stop start ");
    assert_non_null(strstr(trail_read().last.detail, "after a clean stop"));
    killed(store);
    sql_run("UPDATE setting SET value = 'another boot' WHERE key = 'boot'");
    store = store_must_open();
    must(watch_open(&watch, store, &fake_clock, &failure));
    step(&watch, store);
    trail_must_be("store start stop start reboot start ");
    assert_non_null(strstr(trail_read().last.detail, "not end cleanly"));
    store_close(store);
    store_must_verify();
}

static void test_clock_steps(void **state)
{
    (void)state;
    struct watch watch;
    struct store *store = store_must_open();
    must(watch_open(&watch, store, &fake_clock, &failure));
    step(&watch, store);
    for (int i = 0; i < 50; i++) { // slewed: never as much as a step between two looks
        atomic_fetch_add(&wall_ms, 1000 + CLOCK_STEP_MS - 1);
        atomic_fetch_add(&boot_offset_ms, CLOCK_STEP_MS - 1);
        step(&watch, store);
    }
    trail_must_be("store start ");
    atomic_fetch_sub(&wall_ms, 61500);
    atomic_fetch_sub(&boot_offset_ms, 61500);
    step(&watch, store);
    trail_must_be("store start clock-step ");
    assert_string_equal(trail_read().last.detail, "-61.500 s");
    // A clock that is set each second fills nothing; what is beyond the bound is told in one
    // record.
    for (int i = 0; i < 500; i++) {
        atomic_fetch_add(&wall_ms, 3000);
        atomic_fetch_add(&boot_offset_ms, 2000);
        step(&watch, store);
    }
    store_close(store);
    assert_int_equal(sql_ask("SELECT count(*) FROM audit WHERE action = 'clock-step'"),
                     CLOCK_STEPS_HOUR_MAX);
    store = store_must_open();
    atomic_fetch_sub(&boot_offset_ms, HOUR); // an hour later
    atomic_fetch_add(&wall_ms, 0);
    watch.offset_ms += HOUR;
    step(&watch, store);
    assert_non_null(strstr(trail_read().last.detail, "in several steps"));
    store_close(store);
    store_must_verify();
}

static void test_hourly_seal(void **state)
{
    (void)state;
    struct watch watch;
    struct outbox_entry entry;
    struct store *store = store_must_open();
    must(watch_open(&watch, store, &fake_clock, &failure));
    for (int minute = 0; minute < 180; minute++) {
        step(&watch, store);
        atomic_fetch_add(&wall_ms, MINUTE);
    }
    // Two full hours have begun since the first step, or three.
    int64_t seals = sql_ask("SELECT count(*) FROM audit WHERE action = 'seal'");
    assert_in_range(seals, 2, 3);
    assert_int_equal(store_outbox_next(store, LANE_ALERT, seals - 1, &entry, 1, &failure), 1);
    assert_int_equal(entry.kind, MESSAGE_AUDIT);
    struct audit_record record;
    assert_int_equal(store_audit_get(store, entry.row, &record, &failure), 1);
    assert_string_equal(record.action, SEAL_ACTION);
    struct store_heads heads;
    must(store_heads(store, &heads, &failure));
    assert_int_equal(heads.list[0].number, record.number);
    assert_string_equal(heads.list[0].hash, record.hash);
    store_close(store);
    store = store_must_open(); // the next run goes on with the hours
    must(watch_open(&watch, store, &fake_clock, &failure));
    atomic_fetch_sub(&wall_ms, MINUTE);
    step(&watch, store);
    store_close(store);
    assert_int_equal(sql_ask("SELECT count(*) FROM audit WHERE action = 'seal'"), seals);
    store_must_verify();
    // A pointer that names no seal is found.
    sql_run("UPDATE outbox SET row = 1 WHERE kind = 9");
    store = store_must_read();
    assert_true(store_verify(store, print_fault, NULL, &failure) > 0);
    store_close(store);
}

static int prepare(void **state)
{
    start_ms = (clock_floor_ms() / HOUR + 24) * HOUR + 7 * MINUTE;
    clock_start(start_ms);
    return folder_make(state);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_starts_and_stops, prepare, folder_remove),
        cmocka_unit_test_setup_teardown(test_clock_steps, prepare, folder_remove),
        cmocka_unit_test_setup_teardown(test_hourly_seal, prepare, folder_remove),
    };
    return cmocka_run_group_tests_name("record/watch", tests, NULL, NULL);
}
