#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "store/database.h"

#include "store_fixture.h"

#include <signal.h>
#include <sys/resource.h>
#include <sys/wait.h>

// Of the schema; one more with each step of store/migrate.c.
#define VERSION 16
#define VERSION_TEXT "16"

static void test_modes_and_settings_of_the_file(void **state)
{
    (void)state;
    struct store *store = store_must_open();
    struct stat info;
    assert_int_equal(stat(store_path(), &info), 0);
    assert_int_equal(info.st_mode & 0777, 0600);
    char wal[160];
    (void)snprintf(wal, sizeof wal, "%s-wal", store_path());
    assert_int_equal(stat(wal, &info), 0);
    assert_int_equal(info.st_mode & 0777, 0600);
    store_close(store);
    assert_int_equal(sql_ask("PRAGMA page_size"), 4096);
    assert_int_equal(sql_ask("PRAGMA auto_vacuum"), 2); // incremental
    assert_int_equal(sql_ask("PRAGMA user_version"), VERSION);
}

static void test_folder_is_made_private(void **state)
{
    (void)state;
    char below[96];
    (void)snprintf(below, sizeof below, "%s/state", folder);
    struct store *store = NULL;
    must(store_open(below, &store, &failure));
    store_close(store);
    struct stat info;
    assert_int_equal(stat(below, &info), 0);
    assert_int_equal(info.st_mode & 0777, 0700);
    char command[128];
    (void)snprintf(command, sizeof command, "%s/" STORE_FILE, below);
    assert_int_equal(unlink(command), 0);
    assert_int_equal(rmdir(below), 0);
}

static void test_stream_and_settings_survive(void **state)
{
    (void)state;
    char stream[UUID_SIZE];
    char value[16];
    struct store *store = store_must_open();
    strcpy(stream, store_stream(store));
    assert_int_equal(strlen(stream), 36);
    must(store_setting_get(store, "claim", value, sizeof value, &failure));
    assert_int_equal(store_setting_get(store, "claim", value, sizeof value, NULL), 0);
    must(store_round_begin(store, &failure));
    must(store_setting_put(store, "claim", "one", &failure));
    must(store_setting_put(store, "claim", "Gerätschaften 气", &failure));
    must(store_round_commit(store, &failure));
    store_close(store);

    store = store_must_open();
    assert_string_equal(store_stream(store), stream);
    char long_value[64];
    assert_int_equal(store_setting_get(store, "claim", long_value, sizeof long_value, NULL), 1);
    assert_string_equal(long_value, "Gerätschaften 气");
    assert_int_equal(store_setting_get(store, "claim", value, 4, NULL), 1);
    assert_string_equal(value, "Ger"); // cut before a character, not in it
    store_close(store);
}

static void test_cancel_leaves_nothing(void **state)
{
    (void)state;
    struct store *store = store_must_open();
    char value[16];
    int number;
    int64_t configured_ms;
    must(store_round_begin(store, &failure));
    must(store_setting_put(store, "a", "1", &failure));
    must(store_meter(store, "m1", T0, &number, &configured_ms, &failure));
    must(store_gap_add(
        store, &(struct stored_gap){.lane = LANE_LIVE, .first = 1, .last = 2, .reason = "refused"},
        &failure));
    store_round_cancel(store);
    store_round_cancel(store); // nothing to do
    assert_int_equal(store_setting_get(store, "a", value, sizeof value, NULL), 0);
    assert_int_equal(store_meter_find(store, "m1", &number, NULL), 0);
    struct outbox_state lane;
    must(store_outbox_state(store, LANE_ALERT, &lane, &failure));
    assert_int_equal(lane.last, 0);
    store_close(store);
}

// An open round that nobody ended is not there after the store was closed.
static void test_close_cancels(void **state)
{
    (void)state;
    struct store *store = store_must_open();
    must(store_round_begin(store, &failure));
    must(store_setting_put(store, "a", "1", &failure));
    store_close(store);
    store = store_must_open();
    char value[16];
    assert_int_equal(store_setting_get(store, "a", value, sizeof value, NULL), 0);
    store_close(store);
}

// After a failed write neither a later write nor the commit may pass.
static void test_broken_round_cannot_commit(void **state)
{
    (void)state;
    struct store *store = store_must_open();
    must(store_round_begin(store, &failure));
    must(store_setting_put(store, "a", "1", &failure));
    struct meter *meter = fixture_meter("m1");
    struct reading *reading = fixture_reading(meter, T0);
    // Decoder 77 does not exist: the reading's foreign key fails.
    struct err err = {.text = ""};
    int number;
    int64_t configured_ms;
    must(store_meter(store, "m1", T0, &number, &configured_ms, &failure));
    assert_int_equal(store_reading_add(store, number, 77, reading, LANE_LIVE, &err), -1);
    assert_true(strlen(err.text) > 0);
    assert_int_equal(store_setting_put(store, "b", "1", &err), -1);
    assert_int_equal(store_round_commit(store, &err), -1);
    char value[16];
    assert_int_equal(store_setting_get(store, "a", value, sizeof value, NULL), 0);
    must(store_round_begin(store, &failure));
    must(store_setting_put(store, "a", "2", &failure));
    must(store_round_commit(store, &failure));
    assert_int_equal(store_setting_get(store, "a", value, sizeof value, NULL), 1);
    free(reading);
    fixture_meter_free(meter);
    store_close(store);
}

static void test_versions(void **state)
{
    (void)state;
    struct err err;
    struct store *store = NULL;
    // Version 0: an empty file, and an empty database.
    int file = open(store_path(), O_CREAT | O_WRONLY | O_CLOEXEC, 0644);
    assert_true(file >= 0);
    (void)close(file);
    assert_int_equal(store_open_reader(folder, &store, &err), -1);
    store = store_must_open();
    store_close(store);
    assert_int_equal(sql_ask("PRAGMA user_version"), VERSION);
    // A newer one is refused by both, and left as it was.
    sql_run("PRAGMA user_version = 9999");
    store = NULL;
    assert_int_equal(store_open(folder, &store, &err), -1);
    assert_non_null(strstr(err.text, "9999"));
    assert_int_equal(store_open_reader(folder, &store, &err), -1);
    assert_non_null(strstr(err.text, "9999"));
    assert_int_equal(sql_ask("PRAGMA user_version"), 9999);
    sql_run("PRAGMA user_version = " VERSION_TEXT);
    store_close(store_must_open());
}

static void test_other_databases_are_refused(void **state)
{
    (void)state;
    struct err err;
    struct store *store = NULL;
    sql_run("CREATE TABLE recipes(name TEXT); INSERT INTO recipes VALUES ('soup')");
    assert_int_equal(store_open(folder, &store, &err), -1);
    assert_non_null(strstr(err.text, "not a metergate store"));
    assert_int_equal(sql_ask("SELECT count(*) FROM sqlite_schema"), 1);
    assert_null(store);
}

static void test_reader_needs_a_store(void **state)
{
    (void)state;
    struct err err;
    struct store *store = NULL;
    assert_int_equal(store_open_reader(folder, &store, &err), -1);
    assert_non_null(strstr(err.text, folder));
    assert_int_equal(access(store_path(), F_OK), -1); // and makes none
}

static void write_setting(struct store *store, int value)
{
    char text[16];
    (void)snprintf(text, sizeof text, "%d", value);
    must(store_round_begin(store, &failure));
    must(store_setting_put(store, "n", text, &failure));
    must(store_round_commit(store, &failure));
}

static void test_reader_beside_a_writer(void **state)
{
    (void)state;
    struct store *store = store_must_open();
    write_setting(store, 0);
    struct store *reader = store_must_read();
    for (int i = 1; i < 3000; i++) { // over several checkpoints
        write_setting(store, i);
        char text[16];
        must(store_round_begin(store, &failure));
        must(store_setting_put(store, "n", "not committed", &failure));
        assert_int_equal(store_setting_get(reader, "n", text, sizeof text, NULL), 1);
        assert_int_equal(atol(text), i);
        store_round_cancel(store);
    }
    char wal[160];
    struct stat info;
    (void)snprintf(wal, sizeof wal, "%s-wal", store_path());
    assert_int_equal(stat(wal, &info), 0);
    assert_true(info.st_size < 9 * 1024 * 1024); // checkpoints happen
    store_close(reader);
    store_close(store);
    reader = store_must_read(); // also when nobody writes
    char text[16];
    assert_int_equal(store_setting_get(reader, "n", text, sizeof text, NULL), 1);
    assert_int_equal(atol(text), 2999);
    store_close(reader);
}

static void fill_store(void)
{
    struct store *store = store_must_open();
    for (int i = 0; i < 40; i++) {
        char text[2000];
        memset(text, 'a' + i % 26, sizeof text - 1);
        text[sizeof text - 1] = '\0';
        must(store_round_begin(store, &failure));
        must(store_revision_add(store, i % 2 ? "a" : "b", text, strlen(text), "local:0", T0 + i,
                                &failure));
        must(store_round_commit(store, &failure));
    }
    store_close(store);
}

// Opens, or refuses with a message: never crashes, never hangs.
static bool opens_cleanly(void)
{
    struct store *store = NULL;
    struct err err = {.text = ""};
    if (store_open(folder, &store, &err) == 0) {
        char value[64];
        (void)store_setting_get(store, "n", value, sizeof value, &err);
        store_close(store);
        return true;
    }
    assert_null(store);
    assert_non_null(strstr(err.text, store_path()));
    if (store_open_reader(folder, &store, &err) == 0) // does not check the whole file
        store_close(store);
    return false;
}

static void test_hostile_files(void **state)
{
    (void)state;
    static char random[20000];
    for (int i = 0; i < 100; i++) {
        for (size_t at = 0; at < sizeof random; at++)
            random[at] = (char)random_u64();
        file_put(random, (size_t)random_between(1, (int64_t)sizeof random));
        assert_false(opens_cleanly());
    }
    assert_int_equal(unlink(store_path()), 0);
    fill_store();
    static char good[4 * 1024 * 1024];
    int64_t length = (int64_t)file_get(good, sizeof good);
    assert_true(length > 100000);
    for (int i = 0; i < 100; i++) { // a page or more is cut off
        file_put(good, (size_t)random_between(1, length - 4096));
        assert_false(opens_cleanly());
    }
    int refused = 0;
    for (int i = 0; i < 200; i++) { // single bytes changed, most of them in the tree's pages
        static char bad[sizeof good];
        memcpy(bad, good, (size_t)length);
        for (int n = 0; n < 20; n++) {
            bad[random_between(0, length - 1) & (random_between(0, 1) ? ~0x0FFF : -1)] =
                (char)random_u64();
        }
        file_put(bad, (size_t)length);
        refused += !opens_cleanly();
    }
    assert_true(refused > 20);
}

static void test_full_disk_is_returned(void **state)
{
    (void)state;
    struct store *store = store_must_open();
    write_setting(store, 1);
    // A page limit is SQLite's own full disk.
    assert_int_equal(sqlite3_exec(store->db, "PRAGMA max_page_count = 1", NULL, NULL, NULL), 0);
    static char text[1024 * 1024];
    memset(text, 'x', sizeof text - 1);
    struct err err = {.text = ""};
    must(store_round_begin(store, &failure));
    must(store_setting_put(store, "n", "2", &failure));
    assert_int_equal(store_setting_put(store, "big", text, &err), -1);
    assert_non_null(strstr(err.text, "full"));
    assert_int_equal(store_setting_put(store, "n", "3", &err), -1);
    assert_int_equal(store_round_commit(store, &err), -1);
    char value[16];
    assert_int_equal(store_setting_get(store, "n", value, sizeof value, NULL), 1);
    assert_string_equal(value, "1");
    assert_int_equal(sqlite3_exec(store->db, "PRAGMA max_page_count = 100000", NULL, NULL, NULL),
                     0);
    write_setting(store, 4); // room again: it goes on
    store_close(store);
}

// A write that the disk refuses (here: a file size limit, which SQLite sees as an I/O error) ends
// the process, so that nothing is believed that was not written.
static void test_disk_error_ends_the_process(void **state)
{
    (void)state;
    store_close(store_must_open());
    pid_t child = fork();
    assert_true(child >= 0);
    if (child == 0) {
        (void)signal(SIGXFSZ, SIG_IGN);
        (void)close(STDERR_FILENO);
        struct store *store = NULL;
        if (store_open(folder, &store, NULL) != 0)
            _exit(1);
        struct rlimit limit = {.rlim_cur = 40000, .rlim_max = 40000};
        (void)setrlimit(RLIMIT_FSIZE, &limit);
        for (int i = 0; i < 1000; i++)
            if (store_round_begin(store, NULL) != 0 ||
                store_setting_put(store, "n", i % 2 ? "1" : "2", NULL) != 0 ||
                store_round_commit(store, NULL) != 0)
                _exit(2);
        _exit(3);
    }
    int status;
    assert_int_equal(waitpid(child, &status, 0), child);
    assert_true(WIFEXITED(status));
    assert_int_equal(WEXITSTATUS(status), STORE_EXIT_DISK);
    struct store_doubt doubt;
    store_doubt(folder, &doubt);
    assert_int_equal(doubt.runs, 1);
    assert_false(doubt.damage);
    store_close(store_must_open());
}

int main(void)
{
    const struct CMUnitTest tests[] = {
#define IN_FOLDER(test) cmocka_unit_test_setup_teardown(test, folder_make, folder_remove)
        IN_FOLDER(test_modes_and_settings_of_the_file),
        IN_FOLDER(test_folder_is_made_private),
        IN_FOLDER(test_stream_and_settings_survive),
        IN_FOLDER(test_cancel_leaves_nothing),
        IN_FOLDER(test_close_cancels),
        IN_FOLDER(test_broken_round_cannot_commit),
        IN_FOLDER(test_versions),
        IN_FOLDER(test_other_databases_are_refused),
        IN_FOLDER(test_reader_needs_a_store),
        IN_FOLDER(test_reader_beside_a_writer),
        IN_FOLDER(test_hostile_files),
        IN_FOLDER(test_full_disk_is_returned),
        IN_FOLDER(test_disk_error_ends_the_process),
    };
    random_start("test_store_database");
    return cmocka_run_group_tests_name("store/database", tests, NULL, NULL);
}
