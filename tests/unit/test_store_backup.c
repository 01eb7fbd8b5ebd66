// Backup and restore of the store's file: round trip under writing, damage, cuts in between.
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "base/file.h"
#include "store/backup.h"
#include "store_fixture.h"

#include <errno.h>
#include <ftw.h>
#include <sys/syscall.h>
#include <sys/wait.h>

#define ROUNDS 50

// --- a power cut of one process: it ends at the n-th call that changes a folder or syncs ---

static int calls_left; // 0: none

static void count_call(void)
{
    if (calls_left > 0 && --calls_left == 0)
        _exit(9);
}

int rename(const char *old, const char *new)
{
    count_call();
    return (int)syscall(SYS_renameat2, AT_FDCWD, old, AT_FDCWD, new, 0);
}
int mkdir(const char *path, mode_t mode)
{
    count_call();
    return (int)syscall(SYS_mkdirat, AT_FDCWD, path, mode);
}
int unlinkat(int parent, const char *path, int flags)
{
    count_call();
    return (int)syscall(SYS_unlinkat, parent, path, flags);
}
int fsync(int file)
{
    count_call();
    return (int)syscall(SYS_fsync, file);
}

// --- fixture ---

static int remove_one(const char *path, const struct stat *status, int type, struct FTW *walk)
{
    (void)status;
    (void)type;
    (void)walk;
    return remove(path);
}

static int tree_remove(void **state)
{
    (void)state;
    return nftw(folder, remove_one, 16, FTW_DEPTH | FTW_PHYS);
}

static const char *in_folder(const char *name)
{
    static char path[128];
    (void)snprintf(path, sizeof path, "%s/%s", folder, name);
    return path;
}

// One round of everything: readings with and without a message, an alert, an audit record.
static void add_round(struct store *store, struct meter *meter, int index)
{
    int number;
    int decoder;
    int64_t configured_ms;
    char id[UUID_SIZE];
    struct alert_change change = {.kind = ALERT_NO_ANSWER,
                                  .severity = SEVERITY_MAJOR,
                                  .subject = "m1",
                                  .state = index % 2 == 0 ? ALERT_OPEN : ALERT_CLOSED,
                                  .at_ms = T0 + index * 1000,
                                  .since_ms = T0};
    must(store_round_begin(store, &failure));
    must(store_meter(store, "m1", T0, &number, &configured_ms, &failure));
    must(store_decoder(store, meter, &decoder, &failure));
    for (int i = 0; i < 20; i++) {
        struct reading *reading = fixture_reading(meter, T0 + index * 1000 + i);
        must(store_reading_add(store, number, decoder, reading, (enum lane)(i % 4), &failure));
        free(reading);
    }
    must(store_reading_pack(store, &failure));
    must(store_alert_add(store, &change, true, id, &failure));
    must(store_audit_add(store, T0 + index * 1000, "ann", "login", "", "done", "", &failure));
    must(store_outbox_acknowledge(store, LANE_LIVE, index * 5 + 1, &failure));
    must(store_round_commit(store, &failure));
}

static struct store *make_store(struct meter *meter, int rounds)
{
    struct store *store = store_must_open();
    must(store_round_begin(store, &failure));
    must(store_setting_put(store, "gateway", "site-042", &failure));
    must(store_revision_add(store, "abc", "gateway: {id: site-042}\n", 24, "start", T0, &failure));
    must(store_round_commit(store, &failure));
    for (int i = 0; i < rounds; i++)
        add_round(store, meter, i);
    return store;
}

static const struct backup_file extra = {
    .name = "office-ca.pem", .origin = "/etc/ca.pem", .bytes = "PEM", .length = 3};
static const struct backup_about about = {.at_ms = T0 + 3600000,
                                          .gateway = "site-042",
                                          .software = "test",
                                          .files = &extra,
                                          .file_count = 1,
                                          .left_out = ""};

static void backup_must(struct store *store, const char *path)
{
    struct store_backup *backup = NULL;
    struct backup_summary summary;
    must(store_backup_begin(store, path, &backup, &failure));
    int more;
    while ((more = store_backup_step(backup, 8, NULL, NULL, &failure)) == 1)
        continue;
    must(more);
    must(store_backup_finish(backup, &about, &summary, &failure));
    store_backup_free(backup);
}

static bool count_reading(void *context, const struct stored_reading *reading)
{
    (void)reading;
    ++*(int *)context;
    return true;
}

static int restore(const char *path, struct restore_report *report)
{
    const struct restore_settings settings = {
        .directory = folder, .path = path, .who = "local:0", .now_ms = T0 + 7200000};
    return store_restore(&settings, report, &failure) != 0 ? -1
                                                           : store_restore_finish(folder, &failure);
}

// --- an oracle that is not the store: every row as SQLite's own text ---

// What a restore does not touch. Settings, and what it says of itself, are looked at apart.
static const char *const tables[] = {
    "SELECT * FROM meter",
    "SELECT * FROM decoder",
    "SELECT * FROM tail",
    "SELECT * FROM segment",
    "SELECT * FROM segment_lane",
    "SELECT * FROM pack",
    "SELECT * FROM period",
    "SELECT * FROM alert WHERE kind <> 7",
    "SELECT c.* FROM alert_change AS c JOIN alert ON number = c.alert WHERE kind <> 7",
    "SELECT * FROM account",
    "SELECT * FROM revision",
    "SELECT * FROM series",
    "SELECT * FROM audit WHERE action <> 'restore'",
    "SELECT * FROM gap WHERE reason <> 'restored'",
    "SELECT * FROM outbox AS o WHERE NOT EXISTS (SELECT 1 FROM gap AS g WHERE g.lane = o.lane"
    " AND g.seq = o.seq AND g.reason = 'restored') AND NOT EXISTS (SELECT 1 FROM alert_change AS c"
    " JOIN alert AS a ON a.number = c.alert WHERE o.kind = 5 AND c.id = o.row AND a.kind = 7)",
    "SELECT lane, acknowledged FROM lane",
};

static void add_row(sqlite3_stmt *row, struct buf *text)
{
    for (int i = 0; i < sqlite3_column_count(row); i++) {
        const unsigned char *bytes = sqlite3_column_blob(row, i);
        buf_addf(text, "%d:", sqlite3_column_type(row, i));
        for (int at = 0; at < sqlite3_column_bytes(row, i); at++)
            buf_addf(text, "%02x", bytes[at]);
        buf_add_text(text, "|");
    }
    buf_add_text(text, "\n");
}

static void dump(const char *path, struct buf *text)
{
    sqlite3 *db;
    buf_init(text, 64 * 1024 * 1024);
    assert_int_equal(sqlite3_open(path, &db), SQLITE_OK);
    for (size_t i = 0; i < sizeof tables / sizeof tables[0]; i++) {
        char sql[512];
        sqlite3_stmt *row;
        (void)snprintf(sql, sizeof sql, "%s ORDER BY 1, 2", tables[i]);
        buf_addf(text, "%s\n", sql);
        assert_int_equal(sqlite3_prepare_v2(db, sql, -1, &row, NULL), SQLITE_OK);
        int code;
        while ((code = sqlite3_step(row)) == SQLITE_ROW)
            add_row(row, text);
        assert_int_equal(code, SQLITE_DONE);
        (void)sqlite3_finalize(row);
    }
    assert_int_equal(sqlite3_close(db), SQLITE_OK);
    assert_false(text->failed);
}

static void sql_copy(const char *to)
{
    char sql[256];
    (void)snprintf(sql, sizeof sql, "VACUUM INTO '%s'", to);
    sql_run(sql);
}

static void print_fault(void *context, const char *text)
{
    (void)context;
    print_error("%s\n", text);
}

static int no_fault(void)
{
    struct store *store = store_must_read();
    struct err err = {.text = ""};
    int count = store_verify(store, print_fault, NULL, &err);
    store_close(store);
    return count;
}

// --- tests ---

static void test_round_trip_while_rounds_go_on(void **state)
{
    (void)state;
    struct meter *meter = fixture_meter("m1");
    struct store *store = make_store(meter, ROUNDS);
    char old_stream[UUID_SIZE];
    strcpy(old_stream, store_stream(store));
    struct store_backup *backup = NULL;
    must(store_backup_begin(store, in_folder("one.backup"), &backup, &failure));
    int more = 1;
    int round = ROUNDS;
    for (; more == 1; round++) {
        add_round(store, meter, round);
        more = store_backup_step(backup, 2, NULL, NULL, &failure);
    }
    must(more);
    assert_true(round > 2 * ROUNDS / 2 + 10);
    sql_copy(in_folder("instant.db")); // what the store held when the copy became whole
    for (int i = 0; i < 5; i++)
        add_round(store, meter, round + i); // not in it
    struct backup_summary summary;
    must(store_backup_finish(backup, &about, &summary, &failure));
    store_backup_free(backup);
    store_close(store);
    fixture_meter_free(meter);
    struct stat status;
    assert_int_equal(stat(in_folder("one.backup"), &status), 0);
    assert_int_equal(status.st_mode & 0777, 0600);
    assert_int_equal(status.st_size, summary.bytes);
    // One file that sqlite3 opens as it is.
    struct buf here;
    struct buf there;
    dump(in_folder("instant.db"), &here);
    dump(in_folder("one.backup"), &there);
    assert_string_equal(here.data, there.data);
    buf_release(&there);

    struct restore_report report;
    must(restore(in_folder("one.backup"), &report));
    dump(store_path(), &there);
    assert_string_equal(here.data, there.data);
    buf_release(&here);
    buf_release(&there);
    assert_string_equal(report.old_stream, old_stream);
    assert_int_equal(report.faults, 0);
    assert_int_equal(report.backup_ms, about.at_ms);
    assert_int_equal(no_fault(), 0);
    struct store *restored = store_must_read();
    assert_string_equal(store_stream(restored), report.stream);
    assert_string_not_equal(store_stream(restored), old_stream);
    store_close(restored);
    // What the office has of the old stream is named, and what waited then waits still.
    assert_int_equal(sql_ask("SELECT count(*) FROM gap WHERE reason = 'restored' AND of_lane = 2"
                             " AND first = 1 AND last ="
                             " (SELECT acknowledged FROM lane WHERE lane = 2)"),
                     1);
    assert_int_equal(sql_ask("SELECT count(*) FROM gap WHERE reason = 'restored'"), 1);
    assert_int_equal(sql_ask("SELECT sum(last - acknowledged) FROM lane"), report.waiting + 3);
    assert_int_equal(sql_ask("SELECT count(*) FROM alert_change JOIN alert ON number = alert"
                             " WHERE kind = 7 AND lane = 1"),
                     2);
    // The files, and what was before.
    struct buf text;
    buf_init(&text, 100);
    assert_int_equal(file_read(in_folder("restored/config.yaml"), &text, NULL), 0);
    assert_string_equal(text.data, "gateway: {id: site-042}\n");
    assert_int_equal(file_read(in_folder("restored/office-ca.pem"), &text, NULL), 0);
    assert_string_equal(text.data, "PEM");
    buf_release(&text);
    assert_int_equal(access(in_folder("restored/profiles/test.yaml"), F_OK), 0);
    char aside[256];
    (void)snprintf(aside, sizeof aside, "%s/%s/%s", folder, report.aside, STORE_FILE);
    assert_int_equal(access(aside, F_OK), 0);
    assert_int_not_equal(access(in_folder("restore.ready"), F_OK), 0);
    assert_int_not_equal(access(in_folder("restore.new"), F_OK), 0);
}

// A restored store is restored again from a backup of itself: origin of the chain, gaps and numbers
// hold.
static void test_restored_store_goes_on(void **state)
{
    (void)state;
    struct meter *meter = fixture_meter("m1");
    struct store *store = make_store(meter, 4);
    must(store_round_begin(store, &failure));
    must(store_outbox_acknowledge(store, LANE_ALERT, 12, &failure)); // two rounds
    must(store_outbox_acknowledge(store, LANE_BACKFILL, 10, &failure));
    assert_int_equal(store_reading_retain(store, T0 + 500, 10, &failure), 20);
    must(store_round_commit(store, &failure));
    backup_must(store, in_folder("one.backup"));
    store_close(store);
    struct restore_report first;
    struct restore_report second;
    must(restore(in_folder("one.backup"), &first));
    store = store_must_open();
    int64_t before = sql_ask("SELECT last FROM lane WHERE lane = 2");
    add_round(store, meter, 4);
    assert_true(sql_ask("SELECT last FROM lane WHERE lane = 2") > before);
    must(store_round_begin(store, &failure));
    assert_true(store_reading_retain(store, T0 + 1500, 10, &failure) > 0); // of what the gap names
    must(store_round_commit(store, &failure));
    backup_must(store, in_folder("two.backup"));
    store_close(store);
    assert_int_equal(no_fault(), 0);
    must(restore(in_folder("two.backup"), &second));
    assert_string_equal(second.old_stream, first.stream);
    assert_string_not_equal(second.aside, first.aside);
    assert_int_equal(no_fault(), 0);
    fixture_meter_free(meter);
}

static void test_damaged_or_cut_backup_changes_nothing(void **state)
{
    (void)state;
    struct meter *meter = fixture_meter("m1");
    struct store *store = make_store(meter, 3);
    backup_must(store, in_folder("one.backup"));
    store_close(store);
    fixture_meter_free(meter);
    static char whole[4 * 1024 * 1024];
    static char before[4 * 1024 * 1024];
    static char after[4 * 1024 * 1024];
    size_t length = file_get(before, sizeof before);
    int file = open(in_folder("one.backup"), O_RDONLY | O_CLOEXEC);
    ssize_t size = read(file, whole, sizeof whole);
    (void)close(file);
    assert_true(size > 0 && (size_t)size < sizeof whole);
    for (int i = 0; i < 200; i++) {
        struct restore_report report;
        size_t keep = (size_t)size;
        size_t at = (size_t)random_between(0, size - 1);
        char byte = whole[at];
        if (i % 2 == 0)
            keep = at;
        else
            whole[at] = (char)(byte ^ (1 << random_between(0, 7)));
        assert_int_equal(file_write(in_folder("bad.backup"), whole, keep, 0600, NULL), 0);
        whole[at] = byte;
        failure.text[0] = '\0';
        assert_int_equal(restore(in_folder("bad.backup"), &report), -1);
        assert_non_null(strstr(failure.text, "bad.backup"));
        assert_non_null(strstr(failure.text, "copy it again"));
        assert_int_not_equal(access(in_folder("restore.new"), F_OK), 0);
        assert_int_not_equal(access(in_folder("restore.ready"), F_OK), 0);
    }
    assert_int_equal(file_get(after, sizeof after), length);
    assert_memory_equal(before, after, length);
}

static void test_backup_of_another_gateway_is_refused(void **state)
{
    (void)state;
    struct meter *meter = fixture_meter("m1");
    struct store *store = make_store(meter, 1);
    backup_must(store, in_folder("one.backup"));
    must(store_round_begin(store, &failure));
    must(store_setting_put(store, "gateway", "site-043", &failure));
    must(store_round_commit(store, &failure));
    store_close(store);
    struct restore_report report;
    assert_int_equal(restore(in_folder("one.backup"), &report), -1);
    assert_non_null(strstr(failure.text, "site-043"));
    fixture_meter_free(meter);
}

static void test_existing_file_is_not_replaced(void **state)
{
    (void)state;
    struct meter *meter = fixture_meter("m1");
    struct store *store = make_store(meter, 1);
    assert_int_equal(file_write(in_folder("one.backup"), "mine", 4, 0600, NULL), 0);
    struct store_backup *backup = NULL;
    struct backup_summary summary;
    must(store_backup_begin(store, in_folder("one.backup"), &backup, &failure));
    assert_int_equal(store_backup_step(backup, -1, NULL, NULL, &failure), 0);
    assert_int_equal(store_backup_finish(backup, &about, &summary, &failure), -1);
    store_backup_free(backup);
    store_close(store);
    fixture_meter_free(meter);
    struct buf text;
    buf_init(&text, 100);
    assert_int_equal(file_read(in_folder("one.backup"), &text, NULL), 0);
    assert_string_equal(text.data, "mine");
    buf_release(&text);
    assert_int_not_equal(access(in_folder("one.backup.part"), F_OK), 0);
}

static int child_restore(const char *path, int calls)
{
    pid_t pid = fork();
    assert_true(pid >= 0);
    if (pid == 0) {
        struct restore_report report;
        calls_left = calls;
        int result = restore(path, &report);
        _exit(result == 0 ? 0 : 1);
    }
    int status = 0;
    assert_int_equal(waitpid(pid, &status, 0), pid);
    assert_true(WIFEXITED(status));
    return WEXITSTATUS(status);
}

// Ended at every change of a folder and every sync: the old state or the new one, whole.
static void test_cut_at_every_call_leaves_old_or_new(void **state)
{
    (void)state;
    struct meter *meter = fixture_meter("m1");
    struct store *store = make_store(meter, 2);
    backup_must(store, in_folder("one.backup"));
    add_round(store, meter, 2);
    store_close(store);
    fixture_meter_free(meter);
    char old[UUID_SIZE];
    int olds = 0;
    int news = 0;
    int status = 9;
    for (int calls = 1; status == 9; calls++) {
        store = store_must_open();
        strcpy(old, store_stream(store));
        store_close(store);
        // What an earlier attempt left, always as much, so that no call is passed over.
        (void)mkdir(in_folder("restore.new"), 0700);
        (void)file_write(in_folder("restore.new/metergate.db"), "half", 4, 0600, NULL);
        status = child_restore(in_folder("one.backup"), calls);
        assert_true(status == 9 || status == 0);
        bool decided = access(in_folder("restore.ready"), F_OK) == 0;
        store = store_must_open(); // takes over what was decided
        bool same = strcmp(store_stream(store), old) == 0;
        assert_false(decided && same);
        assert_false(status == 0 && same);
        olds += same;
        news += !same;
        int readings = 0;
        must(store_readings(store, NULL, 0, INT64_MAX, count_reading, &readings, &failure));
        store_close(store);
        assert_int_equal(readings, olds + news == olds ? 60 : 40);
        assert_int_equal(no_fault(), 0);
        assert_int_not_equal(access(in_folder("restore.ready"), F_OK), 0);
        (void)nftw(in_folder("restore.new"), remove_one, 16, FTW_DEPTH | FTW_PHYS);
    }
    print_message("%d cuts left the old state, %d the new one\n", olds, news);
    assert_true(olds > 5 && news > 10);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_round_trip_while_rounds_go_on, folder_make,
                                        tree_remove),
        cmocka_unit_test_setup_teardown(test_restored_store_goes_on, folder_make, tree_remove),
        cmocka_unit_test_setup_teardown(test_damaged_or_cut_backup_changes_nothing, folder_make,
                                        tree_remove),
        cmocka_unit_test_setup_teardown(test_backup_of_another_gateway_is_refused, folder_make,
                                        tree_remove),
        cmocka_unit_test_setup_teardown(test_existing_file_is_not_replaced, folder_make,
                                        tree_remove),
        cmocka_unit_test_setup_teardown(test_cut_at_every_call_leaves_old_or_new, folder_make,
                                        tree_remove),
    };
    random_start("test_store_backup");
    return cmocka_run_group_tests_name("store/backup", tests, NULL, NULL);
}
