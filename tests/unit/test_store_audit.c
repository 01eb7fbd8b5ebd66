#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "store_fixture.h"

static bool list_account(void *context, const struct account *account)
{
    strcat(context, account->name);
    strcat(context, " ");
    return true;
}

static void test_accounts(void **state)
{
    (void)state;
    struct account ann = {.name = "ann", .role = ROLE_LEADER, .hash = "scrypt$16384$8$1$00$11"};
    struct account bob = {.name = "bob", .role = ROLE_VIEWER, .hash = "scrypt$16384$8$1$22$33"};
    struct store *store = store_must_open();
    must(store_round_begin(store, &failure));
    must(store_account_put(store, &bob, &failure));
    must(store_account_put(store, &ann, &failure));
    bob.role = ROLE_TECHNICIAN;
    must(store_account_put(store, &bob, &failure)); // replaces
    must(store_round_commit(store, &failure));
    store_close(store);

    store = store_must_open();
    struct account back;
    assert_int_equal(store_account_get(store, "bob", &back, NULL), 1);
    assert_string_equal(back.name, "bob");
    assert_int_equal(back.role, ROLE_TECHNICIAN);
    assert_string_equal(back.hash, bob.hash);
    assert_int_equal(store_account_get(store, "Bob", &back, NULL), 0);
    assert_int_equal(store_account_get(store, "' OR 1 --", &back, NULL), 0);
    char names[100] = "";
    must(store_accounts(store, list_account, names, &failure));
    assert_string_equal(names, "ann bob ");
    must(store_round_begin(store, &failure));
    must(store_account_remove(store, "ann", &failure));
    assert_int_equal(store_account_remove(store, "ann", NULL), -1);
    must(store_round_commit(store, &failure)); // an unknown name breaks no round
    names[0] = '\0';
    must(store_accounts(store, list_account, names, &failure));
    assert_string_equal(names, "bob ");
    store_close(store);
    sql_run("UPDATE account SET role = 99");
    store = store_must_read();
    assert_int_equal(store_account_get(store, "bob", &back, NULL), 1);
    assert_int_equal(back.role, ROLE_NONE);
    store_close(store);
}

static void test_roles(void **state)
{
    (void)state;
    for (int role = ROLE_NONE; role <= ROLE_OFFICE; role++)
        assert_int_equal(role_find(role_text((enum role)role)), role);
    assert_int_equal(role_find("root"), ROLE_NONE);
    assert_int_equal(role_find(""), ROLE_NONE);
    assert_string_equal(role_text((enum role)77), "none");
}

static void add_record(struct store *store, int64_t number)
{
    char subject[64];
    (void)snprintf(subject, sizeof subject, "meter-%lld", (long long)number);
    must(store_audit_add(store, T0 + number * 1000, number % 2 ? "ann" : "local:0", "config.set",
                         subject, "done", number % 3 ? "" : "interval_s 60 to 30", &failure));
}

#define RECORDS 40

static void make_chain(void)
{
    struct store *store = store_must_open();
    for (int64_t number = 1; number <= RECORDS; number++) {
        must(store_round_begin(store, &failure));
        add_record(store, number);
        if (number % 5 == 0) { // what is cancelled leaves no trace in the chain
            store_round_cancel(store);
            must(store_round_begin(store, &failure));
            add_record(store, number);
        }
        must(store_round_commit(store, &failure));
    }
    store_close(store);
}

struct records {
    int count;
    struct audit_record last;
};

static bool see_record(void *context, const struct audit_record *record)
{
    struct records *records = context;
    records->count++;
    records->last = *record;
    return true;
}

static void count_fault(void *context, const char *text)
{
    (void)text;
    ++*(int *)context;
}

static int faults(void)
{
    struct store *store = store_must_read();
    int count = 0;
    int result = store_verify(store, count_fault, &count, &failure);
    store_close(store);
    assert_int_equal(result, count);
    return count;
}

static void test_records_read_back(void **state)
{
    (void)state;
    make_chain();
    struct store *store = store_must_read();
    struct records records = {.count = 0};
    must(store_audits(store, INT64_MIN, INT64_MAX, see_record, &records, &failure));
    assert_int_equal(records.count, RECORDS);
    assert_int_equal(records.last.number, RECORDS);
    assert_int_equal(records.last.at_ms, T0 + RECORDS * 1000);
    assert_string_equal(records.last.who, "local:0");
    assert_string_equal(records.last.action, "config.set");
    assert_string_equal(records.last.subject, "meter-40");
    assert_string_equal(records.last.result, "done");
    assert_int_equal(strlen(records.last.hash), 64);
    records.count = 0;
    must(store_audits(store, T0 + 10000, T0 + 20000, see_record, &records, &failure));
    assert_int_equal(records.count, 10);
    assert_string_equal(records.last.subject, "meter-19");
    store_close(store);
    assert_int_equal(faults(), 0);
}

// A name from outside may have any length: the record holds what fits, in whole characters.
static void test_long_texts_are_cut(void **state)
{
    (void)state;
    char text[2001];
    for (size_t i = 0; i + 2 < sizeof text; i += 2)
        memcpy(text + i, "é", 2);
    text[2000] = '\0';
    struct store *store = store_must_open();
    must(store_round_begin(store, &failure));
    must(store_audit_add(store, T0, text, text, text, text, text, &failure));
    must(store_audit_add(store, T0, "", NULL, "", "", NULL, &failure));
    must(store_round_commit(store, &failure));
    struct records records = {.count = 0};
    must(store_audits(store, T0, T0 + 1, see_record, &records, &failure));
    assert_int_equal(records.count, 2);
    store_close(store);
    assert_int_equal(sql_ask("SELECT length(CAST(who AS BLOB)) FROM audit"), 62);
    assert_int_equal(sql_ask("SELECT length(CAST(detail AS BLOB)) FROM audit"), 510);
    assert_int_equal(faults(), 0);
}

// Moves all numbers from `first` on by one, without meeting one that is taken.
#define SHIFT(first, by)                                                                           \
    "UPDATE audit SET number = -number WHERE number >= " first ";"                                 \
    "UPDATE audit SET number = -number + (" by ") WHERE number < 0;"

// One edit by somebody who has the file and SQL. $1 and $2 are records, $3 a random number.
static const struct edit {
    const char *kind, *sql;
} edits[] = {
    {"change", "UPDATE audit SET at_ms = at_ms + 1 + $3 WHERE number = $1"},
    {"change", "UPDATE audit SET who = who || 'x' WHERE number = $1"},
    {"change", "UPDATE audit SET who = substr(who, 1, 2) WHERE number = $1"},
    // The end of one text moved to the start of the next
    {"change", "UPDATE audit SET who = who || substr(action, 1, 1), action = substr(action, 2)"
               " WHERE number = $1"},
    {"change", "UPDATE audit SET subject = who, who = subject WHERE number = $1"},
    {"change", "UPDATE audit SET result = 'refused' WHERE number = $1"},
    {"change", "UPDATE audit SET detail = detail || CAST(x'00' AS TEXT) WHERE number = $1"},
    {"change", "UPDATE audit SET hash = randomblob(32) WHERE number = $1"},
    {"change", "UPDATE audit SET hash = x'00' WHERE number = $1"},
    {"change", "UPDATE audit SET hash = (SELECT hash FROM audit WHERE number = $2)"
               " WHERE number = $1"},
    {"change", "UPDATE audit_head SET number = number + 1 + $3"},
    {"change", "UPDATE audit_head SET hash = randomblob(32)"},
    {"insert", SHIFT("$1", "1") "INSERT INTO audit SELECT $1, at_ms, who, action, subject,"
                                " result, detail, hash FROM audit WHERE number = $1 + 1"},
    {"insert", SHIFT("$1", "1") "INSERT INTO audit SELECT $1, at_ms, 'eve', action, subject,"
                                " result, detail, randomblob(32) FROM audit"
                                " WHERE number = $2 + 1;"
                                "UPDATE audit_head SET number = number + 1"},
    {"insert", "INSERT INTO audit SELECT (SELECT max(number) + 1 FROM audit), at_ms, who, action,"
               " subject, result, detail, hash FROM audit WHERE number = $1"},
    {"delete", "DELETE FROM audit WHERE number = $1"},
    {"delete", "DELETE FROM audit WHERE number = $1;" SHIFT("$1", "-1")},
    {"delete", "DELETE FROM audit WHERE number = $1;" SHIFT(
                   "$1", "-1") "UPDATE audit_head SET number = number - 1"},
    {"delete", "DELETE FROM audit WHERE number >= $1"}, // the end of the chain
    {"delete", "DELETE FROM audit WHERE number <= $1"},
    {"delete", "DELETE FROM audit"},
    {"delete", "DELETE FROM audit_head"},
    {"reorder", "UPDATE audit SET number = -1 WHERE number = $1;"
                "UPDATE audit SET number = $1 WHERE number = $2;"
                "UPDATE audit SET number = $2 WHERE number = -1"},
    // The contents change places, the hashes stay
    {"reorder", "CREATE TEMP TABLE t AS SELECT * FROM audit WHERE number IN ($1, $2);"
                "UPDATE audit SET (at_ms, who, action, subject, result, detail) = (SELECT at_ms,"
                " who, action, subject, result, detail FROM t WHERE number = $1 + $2"
                " - audit.number) WHERE number IN ($1, $2)"},
};
#define EDITS (sizeof edits / sizeof edits[0])

// Puts the numbers in the place of $1, $2, $3.
static void edit_print(const char *form, const int numbers[static 3], char *sql)
{
    for (; *form != '\0'; form++)
        if (*form == '$')
            sql += sprintf(sql, "%d", numbers[*++form - '1']);
        else
            *sql++ = *form;
    *sql = '\0';
}

static void test_every_edit_is_found(void **state)
{
    (void)state;
    make_chain();
    static char good[1024 * 1024];
    size_t length = file_get(good, sizeof good);
    for (size_t i = 0; i < 240; i++) {
        const struct edit *edit = &edits[i % EDITS];
        char sql[1000];
        file_put(good, length);
        int one = (int)random_between(1, RECORDS);
        int other = (one - 1 + (int)random_between(1, RECORDS - 1)) % RECORDS + 1;
        edit_print(edit->sql, (const int[]){one, other, (int)random_between(0, 1000)}, sql);
        sql_run(sql);
        if (faults() == 0) {
            print_error("%s not found: %s\n", edit->kind, sql);
            fail();
        }
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
#define IN_FOLDER(test) cmocka_unit_test_setup_teardown(test, folder_make, folder_remove)
        IN_FOLDER(test_accounts),
        cmocka_unit_test(test_roles),
        IN_FOLDER(test_records_read_back),
        IN_FOLDER(test_long_texts_are_cut),
        IN_FOLDER(test_every_edit_is_found),
    };
    random_start("test_store_audit");
    return cmocka_run_group_tests_name("store/audit", tests, NULL, NULL);
}
