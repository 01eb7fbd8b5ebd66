// A damaged store is put aside, never changed, and the gateway runs on with a new one.
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "store/database.h"
#include "store_fixture.h"

#include <sys/wait.h>

#define FILE_MAX (4 << 20)

static char bytes[FILE_MAX], aside[FILE_MAX];

static void make_store(char stream[static UUID_SIZE], int readings)
{
    struct store *store = store_must_open();
    struct meter *meter = fixture_meter("m1");
    struct account ann = {.name = "ann", .role = ROLE_LEADER, .hash = "scrypt$32768$8$3$aa$bb"};
    int number;
    int decoder;
    int64_t configured_ms;
    must(store_round_begin(store, &failure));
    must(store_account_put(store, &ann, &failure));
    must(store_setting_put(store, "gateway", "site-042", &failure));
    must(store_setting_put(store, "claim", "", &failure));
    must(store_meter(store, "m1", T0, &number, &configured_ms, &failure));
    must(store_decoder(store, meter, &decoder, &failure));
    for (int i = 0; i < readings; i++) {
        struct reading *reading = fixture_reading(meter, T0 + i * 1000);
        must(store_reading_add(store, number, decoder, reading, LANE_LIVE, &failure));
        free(reading);
    }
    must(store_audit_add(store, T0, "ann", "login", "", "done", "", &failure));
    must(store_round_commit(store, &failure));
    memcpy(stream, store_stream(store), UUID_SIZE);
    store_close(store);
    fixture_meter_free(meter);
}

static void see_fault(void *context, const char *text)
{
    (void)context;
    print_error("verify: %s\n", text);
}

static size_t read_file(const char *path, char *out)
{
    int file = open(path, O_RDONLY | O_CLOEXEC);
    assert_true(file >= 0);
    ssize_t length = read(file, out, FILE_MAX);
    (void)close(file);
    assert_true(length >= 0);
    return (size_t)length;
}

// Opens it; the damaged file has to be kept as it was, and the new one has to be whole.
static struct store_replaced must_be_replaced(const char *stream, size_t length)
{
    struct store *store = NULL;
    struct store_replaced replaced;
    must(store_open_or_replace(folder, T0 + 5000000, &store, &replaced, &failure));
    assert_string_not_equal(replaced.aside, "");
    assert_int_equal(read_file(replaced.aside, aside), length);
    assert_memory_equal(aside, bytes, length);
    assert_string_not_equal(store_stream(store), stream);
    assert_int_equal(store_verify(store, see_fault, NULL, &failure), 0);
    struct store_replaced kept;
    assert_int_equal(store_replaced_get(store, &kept, &failure), 1);
    assert_string_equal(kept.stream, replaced.stream);
    assert_int_equal(kept.at_ms, T0 + 5000000);
    char fresh[UUID_SIZE];
    memcpy(fresh, store_stream(store), sizeof fresh);
    store_close(store);
    assert_int_equal(sql_ask("SELECT count(*) FROM audit WHERE action = 'store-replaced'"), 1);
    // and it stays
    struct store_replaced again;
    must(store_open_or_replace(folder, T0 + 6000000, &store, &again, &failure));
    assert_string_equal(again.aside, "");
    assert_string_equal(store_stream(store), fresh);
    store_close(store);
    return replaced;
}

// Pages overwritten where an account is not: what can be read is taken over.
static void test_what_can_be_read_is_taken_over(void **state)
{
    (void)state;
    char stream[UUID_SIZE];
    make_store(stream, 3000);
    size_t length = file_get(bytes, sizeof bytes);
    int broken = 0;
    for (size_t at = 30 * 4096; at < length && broken < 10; at += 4096) {
        if (bytes[at] == 13 && memmem(bytes + at, 4096, "scrypt$", 7) == NULL &&
            memmem(bytes + at, 4096, "CREATE ", 7) == NULL) {
            memset(bytes + at, 0xA5, 512);
            broken++;
        }
    }
    assert_int_equal(broken, 10);
    file_put(bytes, length);
    struct store_replaced replaced = must_be_replaced(stream, length);
    assert_string_equal(replaced.stream, stream);
    assert_int_equal(replaced.accounts, 1);
    struct store *store = store_must_read();
    struct account ann;
    char owner[ID_SIZE];
    assert_int_equal(store_account_get(store, "ann", &ann, &failure), 1);
    assert_int_equal(ann.role, ROLE_LEADER);
    assert_string_equal(ann.hash, "scrypt$32768$8$3$aa$bb");
    assert_int_equal(store_setting_get(store, "gateway", owner, sizeof owner, &failure), 1);
    assert_string_equal(owner, "site-042");
    store_close(store);
}

static void test_nothing_can_be_read(void **state)
{
    (void)state;
    char stream[UUID_SIZE];
    make_store(stream, 3000);
    size_t length = file_get(bytes, sizeof bytes);
    for (size_t i = 0; i < length; i++)
        bytes[i] = (char)random_u64();
    file_put(bytes, length);
    struct store_replaced replaced = must_be_replaced(stream, length);
    assert_string_equal(replaced.stream, "");
    assert_int_equal(replaced.accounts, 0);
}

// Whatever is overwritten: it opens, as it is or as a new one, and never ends the process.
static void test_random_damage(void **state)
{
    (void)state;
    char stream[UUID_SIZE];
    make_store(stream, 3000);
    static char whole[FILE_MAX];
    size_t length = file_get(whole, sizeof whole);
    int replaced_count = 0;
    for (int round = 0; round < 40; round++) {
        memcpy(bytes, whole, length);
        int64_t parts = random_between(1, 20);
        for (int64_t i = 0; i < parts; i++) {
            size_t at = (size_t)random_between(100, (int64_t)length - 600);
            for (int64_t k = random_between(1, 512); k-- > 0;)
                bytes[at++] = (char)random_u64();
        }
        assert_int_equal(folder_remove(NULL), 0);
        assert_int_equal(folder_make(NULL), 0);
        file_put(bytes, length);
        struct store *store = NULL;
        struct store_replaced replaced;
        must(store_open_or_replace(folder, T0, &store, &replaced, &failure));
        if (replaced.aside[0] != '\0') {
            replaced_count++;
            assert_int_equal(read_file(replaced.aside, aside), length);
            assert_memory_equal(aside, bytes, length);
            assert_int_equal(store_verify(store, see_fault, NULL, &failure), 0);
        }
        store_close(store);
    }
    assert_true(replaced_count > 10);
}

// A length that damage made up is more than this program takes from any file.
static void test_a_value_too_long_is_damage(void **state)
{
    (void)state;
    char stream[UUID_SIZE];
    char path[160];
    sqlite3 *db = NULL;
    make_store(stream, 3000);
    (void)snprintf(path, sizeof path, "%s/%s", folder, STORE_FILE);
    assert_int_equal(sqlite3_open(path, &db), SQLITE_OK);
    assert_int_equal(sqlite3_exec(db,
                                  "UPDATE setting SET value = printf('%.*c', 40000000, 'x')"
                                  " WHERE key = 'stream'",
                                  NULL, NULL, NULL),
                     SQLITE_OK);
    assert_int_equal(sqlite3_close(db), SQLITE_OK);
    struct store *store = NULL;
    struct store_replaced replaced;
    must(store_open_or_replace(folder, T0, &store, &replaced, &failure));
    assert_string_not_equal(replaced.aside, "");
    assert_non_null(strstr(replaced.why, "longer than any"));
    assert_int_equal(replaced.accounts, 1);
    assert_string_not_equal(store_stream(store), stream);
    store_close(store);
}

// What the check at the start does not see ends a run; after three such runs the file goes aside.
static void test_damage_that_the_check_passes(void **state)
{
    (void)state;
    char stream[UUID_SIZE];
    char path[160];
    make_store(stream, 3000);
    size_t length = file_get(bytes, sizeof bytes);
    (void)snprintf(path, sizeof path, "%s/%s.doubt", folder, STORE_FILE);
    for (int run = 1; run <= 2; run++) {
        int file = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
        assert_true(file >= 0);
        assert_int_equal(dprintf(file, "%d %d\n", SQLITE_CORRUPT, run), 5);
        (void)close(file);
        struct store *store = NULL;
        struct store_replaced replaced;
        must(store_open_or_replace(folder, T0, &store, &replaced, &failure));
        assert_string_equal(replaced.aside, "");
        assert_string_equal(store_stream(store), stream);
        struct store_doubt doubt;
        store_doubt(folder, &doubt);
        assert_int_equal(doubt.runs, run);
        assert_true(doubt.damage);
        if (run == 2) { // calm: it begins anew
            store_trust(store);
            store_doubt(folder, &doubt);
            assert_int_equal(doubt.runs, 0);
        }
        store_close(store);
    }
    length = file_get(bytes, sizeof bytes);
    int file = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
    assert_int_equal(dprintf(file, "%d 3\n", SQLITE_CORRUPT), 5);
    (void)close(file);
    (void)must_be_replaced(stream, length);
    assert_int_equal(access(path, F_OK), -1);
}

static bool see_reading(void *context, const struct stored_reading *reading)
{
    (void)context;
    (void)reading;
    return true;
}

// The end of a run leaves the mark: a child meets a page that is damaged behind its back.
static void test_the_mark_of_a_run(void **state)
{
    (void)state;
    char stream[UUID_SIZE];
    make_store(stream, 3000);
    size_t length = file_get(bytes, sizeof bytes);
    struct store_doubt doubt;
    for (int run = 1; run <= 2; run++) {
        pid_t child = fork();
        if (child == 0) {
            struct store *store = NULL;
            if (store_open(folder, &store, NULL) != 0)
                _exit(1);
            int file = open(store_path(), O_WRONLY | O_CLOEXEC);
            memset(aside, 0x5A, 4096);
            for (size_t at = 4096; at + 4096 <= length; at += 4096)
                if (pwrite(file, aside, 4096, (off_t)at) != 4096)
                    _exit(2);
            (void)sqlite3_db_release_memory(store->db); // what it has read before
            (void)store_readings(store, NULL, 0, INT64_MAX, see_reading, NULL, NULL);
            _exit(3);
        }
        int status;
        assert_int_equal(waitpid(child, &status, 0), child);
        assert_true(WIFEXITED(status));
        assert_int_equal(WEXITSTATUS(status), 70);
        store_doubt(folder, &doubt);
        assert_int_equal(doubt.runs, run);
        assert_true(doubt.damage);
        file_put(bytes, length);
    }
}

// What is not damage stays where it is.
static void test_other_failures_replace_nothing(void **state)
{
    (void)state;
    char stream[UUID_SIZE];
    struct store *store = NULL;
    struct store_replaced replaced;
    struct err err;
    make_store(stream, 3000);
    sql_run("PRAGMA user_version = 9999");
    assert_int_equal(store_open_or_replace(folder, T0, &store, &replaced, &err), -1);
    assert_string_equal(replaced.aside, "");
    assert_non_null(strstr(err.text, "9999"));
    assert_int_equal(sql_ask("PRAGMA user_version"), 9999);
}

int main(void)
{
    random_start("test_store_replace");
#define IN_FOLDER(test) cmocka_unit_test_setup_teardown(test, folder_make, folder_remove)
    const struct CMUnitTest tests[] = {
        IN_FOLDER(test_what_can_be_read_is_taken_over),
        IN_FOLDER(test_nothing_can_be_read),
        IN_FOLDER(test_random_damage),
        IN_FOLDER(test_a_value_too_long_is_damage),
        IN_FOLDER(test_damage_that_the_check_passes),
        IN_FOLDER(test_the_mark_of_a_run),
        IN_FOLDER(test_other_failures_replace_nothing),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
