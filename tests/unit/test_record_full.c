// The recorder over a disk that is full for a while.
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "recorder_fixture.h"

// --- a disk that can be full: SQLite's own VFS, with a write that asks first ---

static atomic_bool disk_is_full;
static atomic_int writes_left; // until it is full; below 0: as many as you like
static sqlite3_vfs disk;
static sqlite3_vfs *real;
// One for each kind of file that the VFS has (with locks, without).
static struct {
    const sqlite3_io_methods *real;
    sqlite3_io_methods full;
} kinds[4];

static int disk_write(sqlite3_file *file, const void *bytes, int length, sqlite3_int64 at)
{
    int left = atomic_load(&writes_left);
    if (left > 0 && atomic_fetch_sub(&writes_left, 1) == 1)
        atomic_store(&disk_is_full, true);
    int kind = 0;
    while (file->pMethods != &kinds[kind].full)
        kind++;
    return atomic_load(&disk_is_full) ? SQLITE_FULL
                                      : kinds[kind].real->xWrite(file, bytes, length, at);
}

static int disk_open(sqlite3_vfs *vfs, const char *name, sqlite3_file *file, int flags, int *out)
{
    (void)vfs;
    int code = real->xOpen(real, name, file, flags, out);
    if (code == SQLITE_OK && file->pMethods != NULL) {
        int kind = 0;
        while (kinds[kind].real != NULL && kinds[kind].real != file->pMethods) {
            kind++;
            assert_true(kind < 4);
        }
        if (kinds[kind].real == NULL) {
            kinds[kind].real = file->pMethods;
            kinds[kind].full = *file->pMethods;
            kinds[kind].full.xWrite = disk_write;
        }
        file->pMethods = &kinds[kind].full;
    }
    return code;
}

static int group_set_up(void **state)
{
    (void)state;
    must(gas_calendar_init(&calendar, "Asia/Shanghai", 360, &failure));
    start_ms = period_end(&calendar, SPAN_DAY, clock_floor_ms());
    real = sqlite3_vfs_find(NULL);
    disk = *real;
    disk.zName = "disk";
    disk.xOpen = disk_open;
    atomic_store(&writes_left, -1);
    return sqlite3_vfs_register(&disk, 1) == SQLITE_OK ? 0 : -1;
}

static struct recorder_status status_of(struct recorder *recorder)
{
    struct recorder_status status;
    recorder_status(recorder, &status);
    return status;
}

// Lets the recorder's time go on until it has tried again.
static void pass_time(int64_t ms)
{
    atomic_fetch_add(&wall_ms, ms);
}

static void disk_frees(void)
{
    atomic_store(&disk_is_full, false);
    atomic_store(&writes_left, -1);
}

static int fresh_disk(void **state)
{
    disk_frees();
    return folder_make(state);
}

// --- tests ---

// Full at any write of a round: nothing of the round stays, nothing is lost, and what is recorded
// in the end is what would have been recorded anyway.
static void test_full_at_any_write(void **state)
{
    (void)state;
    struct config *config = config_make(METERS, 60, 5);
    config->office.raw_readings = true;
    stream_make(config, T0, 120);
    clock_start(T0);
    struct recorder *recorder = recorder_must_start(config);
    offer_range(recorder, config, 0, stream_count);
    settle(recorder);
    recorder_stop(recorder);
    struct snapshot whole;
    snapshot_take(&whole);
    assert_int_equal(folder_remove(NULL), 0);
    assert_int_equal(folder_make(NULL), 0);

    clock_start(T0);
    recorder = recorder_must_start(config);
    int failures = 0;
    for (int done = 0; done < stream_count;) {
        int part = (int)random_between(1, 60);
        part = done + part > stream_count ? stream_count - done : part;
        atomic_store(&writes_left, (int)random_between(1, 40));
        offer_range(recorder, config, done, done + part);
        done += part;
        struct recorder_status status;
        wait_until(recorder, status, status.waiting == 0 || status.error[0] != '\0');
        if (status.error[0] != '\0') {
            failures++;
            struct err err = {.text = ""};
            assert_int_equal(recorder_run(recorder, do_nothing, NULL, &err), 0);
            assert_int_equal(recorder_apply(recorder, config, &err), -1); // and the old one stays
            assert_non_null(strstr(err.text, "the configuration stays"));
            assert_int_equal(status.waiting > 0, true);
            disk_frees();
            // time stands still for the periods, but the retry's clock must go on
            atomic_fetch_sub(&boot_offset_ms, 31000);
            settle(recorder);
            assert_string_equal(status_of(recorder).error, "");
        }
        disk_frees();
    }
    assert_true(failures > 5);
    recorder_stop(recorder);
    struct snapshot stored;
    snapshot_take(&stored);
    assert_int_equal(readings_stored(), stream_count);
    assert_same_periods(&whole, &stored);
    assert_same_changes(&whole, &stored);
    assert_int_equal(whole.full_alerts, 0);
    assert_true(stored.full_alerts > 0);
    store_must_verify();
    snapshot_free(&whole);
    snapshot_free(&stored);
    config_drop(config);
}

struct refused_seen {
    int readings, refused;
    int64_t first_ms;
};

static bool see_refused(void *context, const struct stored_reading *reading)
{
    struct refused_seen *seen = context;
    bool refused = reading->values[0].why == WHY_STORE_FULL;
    seen->first_ms = refused && seen->refused == 0 ? reading->at_ms : seen->first_ms;
    seen->readings++;
    seen->refused += refused;
    for (int i = 0; refused && i < reading->value_count; i++) {
        assert_int_equal(reading->values[i].quality, QUALITY_MISSING);
        assert_int_equal(reading->values[i].why, WHY_STORE_FULL);
    }
    return true;
}

// Full for long: polling goes on, the queue fills to its bound, what comes then is refused,
// and all of it is recorded when there is room again: what was refused as missing, store-full.
static void test_full_for_long(void **state)
{
    (void)state;
    struct config *config = config_make(2, 1, 15);
    config->detect = (struct config_detect){0};
    clock_start(T0);
    struct recorder *recorder = recorder_must_start(config);
    atomic_store(&disk_is_full, true);
    int refused = 0;
    int offered = 0;
    for (int i = 0; i < RECORDER_QUEUE_MAX + 500; i++) {
        struct sample sample = {.meter = i % 2,
                                .due_ms = T0 + i / 2 * 1000 + 500,
                                .at_ms = T0 + i / 2 * 1000 + 501 + i % 2,
                                .answered = true,
                                .volume = i,
                                .flow = 1};
        atomic_store(&wall_ms, sample.at_ms);
        struct reading *reading = sample_reading(config, &sample);
        if (recorder_offer(recorder, reading)) {
            offered++;
        } else {
            reading_free(reading);
            refused++;
        }
    }
    assert_int_equal(offered, RECORDER_QUEUE_MAX);
    struct recorder_status status = status_of(recorder);
    assert_int_equal(status.refused, refused);
    assert_int_equal(status.waiting, RECORDER_QUEUE_MAX);
    wait_until(recorder, status, status.error[0] != '\0');
    assert_int_equal(readings_stored(), 0);
    // it still tries, and still cannot
    pass_time(31000);
    must(recorder_run(recorder, do_nothing, NULL, &failure));
    status = status_of(recorder);
    assert_int_equal(status.waiting, RECORDER_QUEUE_MAX);
    assert_int_equal(status.readings, 0);
    disk_frees();
    pass_time(31000);
    settle(recorder);
    wait_until(recorder, status, status.readings == (uint64_t)(RECORDER_QUEUE_MAX + refused));
    assert_string_equal(status.error, "");
    recorder_stop(recorder);
    // each due time has its reading: those that had no room say so
    struct refused_seen seen = {0};
    struct store *store = store_must_read();
    must(store_readings(store, NULL, 0, INT64_MAX, see_refused, &seen, &failure));
    store_close(store);
    assert_int_equal(seen.readings, RECORDER_QUEUE_MAX + refused);
    assert_int_equal(seen.refused, refused);
    assert_true(seen.first_ms > T0 + (RECORDER_QUEUE_MAX / 2 - 1) * 1000);
    // nothing closed while its readings waited in memory
    struct snapshot stored;
    snapshot_take(&stored);
    assert_true(stored.periods > 10);
    for (int i = 0; i < stored.periods; i++) {
        const struct period *period = &stored.period[i].period;
        bool covered = period->to_ms <= T0 + (RECORDER_QUEUE_MAX / 2 - 1) * 1000;
        assert_true(!covered || period->missing == 0 || period->first);
        assert_int_equal(period->expected, period->good + period->suspect + period->missing);
    }
    snapshot_free(&stored);
    store_must_verify();
    config_drop(config);
}

// Stopped while the disk is full: it ends, and says what it could not keep.
static void test_stop_while_full(void **state)
{
    (void)state;
    struct config *config = config_make(1, 60, 15);
    clock_start(T0);
    stream_make(config, T0, 5);
    struct recorder *recorder = recorder_must_start(config);
    atomic_store(&disk_is_full, true);
    offer_range(recorder, config, 0, stream_count);
    recorder_stop(recorder);
    disk_frees();
    assert_int_equal(readings_stored(), 0);
    char value[16];
    struct store *store = store_must_read();
    assert_int_equal(store_setting_get(store, "clean_stop", value, sizeof value, NULL), 1);
    assert_string_equal(value, "no");
    store_close(store);
    config_drop(config);
}

int main(void)
{
    random_start("test_record_full");
#define IN_FOLDER(test) cmocka_unit_test_setup_teardown(test, fresh_disk, folder_remove)
    const struct CMUnitTest tests[] = {
        IN_FOLDER(test_full_at_any_write),
        IN_FOLDER(test_full_for_long),
        IN_FOLDER(test_stop_while_full),
    };
    return cmocka_run_group_tests(tests, group_set_up, NULL);
}
