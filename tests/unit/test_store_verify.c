#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "pack_fixture.h"

#include <math.h>

#define QUARTER (15 * 60000)

// Two segments, the first of them old and acknowledged, and a tail.
static void add_readings(struct store *store, int count)
{
    struct meter *meter = fixture_meter("m1");
    int number;
    int decoder;
    int64_t configured_ms;
    must(store_meter(store, "m1", T0, &number, &configured_ms, &failure));
    must(store_decoder(store, meter, &decoder, &failure));
    for (int i = 0; i < count; i++) {
        struct reading *reading = fixture_reading(meter, T0 + i);
        must(store_reading_add(store, number, decoder, reading, (enum lane)(i % 3 + 1), &failure));
        free(reading);
        if (i == 59 || i == 199)
            must(store_reading_pack(store, &failure));
    }
    fixture_meter_free(meter);
}

static void add_periods(struct store *store, int count)
{
    int number;
    int64_t configured_ms;
    must(store_meter(store, "m1", T0, &number, &configured_ms, &failure));
    for (int i = 0; i < count; i++) {
        struct period period = {.span = SPAN_15MIN,
                                .version = 1,
                                .from_ms = T0 + i * QUARTER,
                                .to_ms = T0 + (i + 1) * QUARTER,
                                .channel_count = 1};
        struct period_channel *channel = &period.channels[0];
        strcpy(channel->name, "volume_base");
        channel->kind = CHANNEL_COUNTER;
        channel->start_known = i % 5 != 0; // known at both sides of a boundary, or at neither
        channel->end_known = i % 5 != 4;
        channel->start_micro = i * 1000;
        channel->end_micro = (i + 1) * 1000;
        must(store_period_add(store, number, &period, period.to_ms, LANE_LIVE, MESSAGE_SUMMARY,
                              &failure));
        if (i == 3) {
            period.version = 2;
            must(store_period_add(store, number, &period, period.to_ms, LANE_BACKFILL,
                                  MESSAGE_SUMMARY, &failure));
        }
    }
}

static void add_alerts(struct store *store)
{
    char id[UUID_SIZE];
    struct alert_change change = {.kind = ALERT_NO_ANSWER,
                                  .severity = SEVERITY_MAJOR,
                                  .subject = "m1",
                                  .at_ms = T0,
                                  .since_ms = T0};
    for (int i = 0; i < 4; i++) { // the last one stays open
        change.state = ALERT_OPEN;
        must(store_alert_add(store, &change, true, id, &failure));
        change.state = i == 3 ? ALERT_UPDATED : ALERT_CLOSED;
        must(store_alert_add(store, &change, i != 2, id, &failure));
    }
}

// Everything that a store can hold: retained, refused, replaced, audited.
static void make_store(void)
{
    struct store *store = store_must_open();
    must(store_round_begin(store, &failure));
    add_readings(store, 300);
    add_periods(store, 12);
    add_alerts(store);
    must(store_outbox_acknowledge(store, LANE_ALERT, 20, &failure));
    must(store_outbox_acknowledge(store, LANE_LIVE, 60, &failure));
    must(store_outbox_acknowledge(store, LANE_BACKFILL, 40, &failure));
    must(store_gap_add(
        store,
        &(struct stored_gap){.lane = LANE_LIVE, .first = 11, .last = 13, .reason = "refused"},
        &failure));
    assert_int_equal(store_retain(store, T0 + 150, 60, &failure), 60);
    must(store_audit_add(store, T0, "ann", "login", "", "done", "", &failure));
    must(store_setting_put(store, "gateway", "site-0", &failure));
    must(store_account_put(
        store, &(struct account){.name = "ann", .role = ROLE_VIEWER, .hash = "scrypt$"}, &failure));
    must(store_revision_add(store, "r1", "a: 1", 4, "ann", T0, &failure));
    const struct ledger ledger = {.from_ms = T0,
                                  .to_ms = T0 + 4 * QUARTER,
                                  .hour_count = 1,
                                  .hours = {{.from_ms = T0, .to_ms = T0 + 4 * QUARTER}}};
    assert_int_equal(store_ledger_put(store, 1, &ledger, T0, LANE_LIVE, false, &failure), 1);
    must(store_round_commit(store, &failure));
    store_close(store);
}

struct faults_seen {
    int count;
    char text[200][ERR_TEXT_MAX];
};

static void see_fault(void *context, const char *text)
{
    struct faults_seen *seen = context;
    if (seen->count < 200)
        (void)snprintf(seen->text[seen->count], ERR_TEXT_MAX, "%s", text);
    seen->count++;
}

static int verify(struct faults_seen *seen)
{
    seen->count = 0;
    struct store *store = NULL;
    struct err err = {.text = ""};
    if (store_open_reader(folder, &store, &err) != 0) {
        see_fault(seen, err.text);
        return 1;
    }
    int count = store_verify(store, see_fault, seen, &err);
    if (count < 0)
        print_error("store_verify: %s\n", err.text);
    assert_true(count >= 0);
    store_close(store);
    return count;
}

static void test_whole_store_has_no_fault(void **state)
{
    (void)state;
    static struct faults_seen seen;
    make_store();
    verify(&seen);
    if (seen.count != 0)
        print_error("%s\n", seen.text[0]);
    assert_int_equal(seen.count, 0);
    // The same by the writer, between rounds and in one.
    struct store *store = store_must_open();
    assert_int_equal(store_verify(store, see_fault, &seen, &failure), 0);
    must(store_round_begin(store, &failure));
    assert_int_equal(store_verify(store, see_fault, &seen, &failure), 0);
    must(store_round_commit(store, &failure));
    store_close(store);
    assert_int_equal(sql_ask("SELECT retained_count > 0 FROM lane WHERE lane = 2"), 1);
}

static void test_an_empty_store_has_no_fault(void **state)
{
    (void)state;
    static struct faults_seen seen;
    store_close(store_must_open());
    assert_int_equal(verify(&seen), 0);
}

static void other_seq(struct rows_entry *row)
{
    row->seq += 1000;
}
static void earlier_seq(struct rows_entry *row)
{
    row->seq -= 1;
}
static void no_lane(struct rows_entry *row)
{
    row->lane = 0;
    row->seq = 0;
}
static void later_at(struct rows_entry *row)
{
    row->at_ms += 100000;
}
static void odd_marks(struct rows_entry *row)
{
    row->mark_bytes = 1;
}

// One damage each, and a part of the sentence that must name it. Reading 179 is message 60 of lane
// live, and lies in the segment that begins with 61.
static const struct {
    const char *sql, *said;
    row_change *change; // of reading 179
    bool remove;
} damages[] = {
    {"", "lane live has no message 60 to 60", NULL, true},
    {"", "readings 179 to 179 are not there", NULL, true},
    {"DELETE FROM outbox WHERE lane = 2 AND seq >= 110", "lane live has no message 110 to 112"},
    {"UPDATE lane SET retained_high = 90 WHERE lane = 2",
     "misses 18 old messages, retention took 17", NULL, true},
    {"UPDATE lane SET retained_count = retained_count - 1 WHERE lane = 2", "retention took"},
    {"UPDATE lane SET last = 1000000000000 WHERE lane = 3", "lane backfill has no message"},
    {"UPDATE lane SET last = 5 WHERE lane = 3", "never given"},
    {"UPDATE lane SET acknowledged = last + 1 WHERE lane = 2", "beyond its last"},
    {"DELETE FROM gap; DELETE FROM outbox WHERE kind = 6", "no gap says why"},
    {"UPDATE outbox SET row = row + 1 WHERE lane = 2 AND seq = 105", "names another message"},
    {"UPDATE outbox SET kind = 5 WHERE lane = 2 AND seq = 105", "does not point back"},
    {"UPDATE outbox SET kind = 99 WHERE lane = 2 AND seq = 105", "is not there"},
    {"UPDATE outbox SET seq = -1 WHERE lane = 2 AND seq = 105", "no message that was ever given"},
    {"INSERT INTO outbox VALUES (2, 60, 1, 5, 5)", "its row is not there"},
    {"INSERT INTO outbox VALUES (2, 60, 2, 5, 5)", "has message 60 twice"},
    {"DELETE FROM period WHERE id = 5", "its row is not there"},
    {"DELETE FROM alert_change WHERE seq = (SELECT max(seq) FROM alert_change)", "is not there"},
    {"UPDATE period SET seq = NULL WHERE id = 5", "does not point back"},
    {"UPDATE alert_change SET lane = 2 WHERE id = 1", "does not point back"},
    {"", "never given", other_seq},
    {"", "comes too late", other_seq}, // the ones behind it
    {"", "comes too late", earlier_seq},
    {"", "does not have the messages", no_lane},
    {"", "lane live has no message 60 to 60", no_lane},
    {"", "is not of the time that it names", later_at},
    {"", "do not fit", short_words},
    {"", "do not fit", odd_marks},
    {"", "no decoder 1234567", strange_decoder},
    {"DELETE FROM pack", "readings 61 to 200 are not there"},
    {"UPDATE pack SET body = x'00112233445566'", "not those that were written"},
    {"UPDATE pack SET id = id + 5", "not those that were written"},
    {"UPDATE pack SET id = id + 65536", "is of no segment"},
    {"UPDATE segment SET kept = 0", "is gone, but has packs"},
    {"UPDATE segment SET count = count + 1 WHERE first = 61", "readings 201 to 201 are not there"},
    {"UPDATE segment SET count = count - 1 WHERE first = 61", "reading 200 is there twice"},
    {"UPDATE segment SET to_ms = to_ms + 1 WHERE first = 61", "is not of the time that it names"},
    {"DELETE FROM segment WHERE first = 1", "readings 1 to 60 are not there"},
    {"UPDATE segment SET count = -5 WHERE first = 61", "cannot be one"},
    {"DELETE FROM segment_lane WHERE lane = 2", "does not have the messages"},
    {"UPDATE segment_lane SET first = first + 1 WHERE lane = 2", "does not have the messages"},
    {"UPDATE segment_lane SET segment = 62 WHERE lane = 2", "its messages are named"},
    {"DELETE FROM tail", "lane backfill has no message 67 to 100"},
    {"UPDATE tail SET body = CAST(substr(body, 1, 500) || x'99' || substr(body, 502) AS BLOB)",
     "tail: page 0"},
    {"UPDATE tail SET body = x''", "tail: page 0"},
    {"UPDATE tail SET slot = slot + 5", "lane backfill has no message 67 to 100"},
    {"UPDATE period SET body = x'00' WHERE id = 2", "cannot be read"},
    {"UPDATE period SET body = (SELECT body FROM period WHERE id = 7) WHERE id = 2",
     "not the one that its row names"},
    {"UPDATE period SET replaces_seq = 1 WHERE version = 2", "does not replace"},
    {"UPDATE period SET version = 3 WHERE version = 2", "does not replace"},
    {"UPDATE alert SET closed_ms = 5 WHERE closed_ms IS NULL", "does not agree"},
    {"UPDATE alert SET last_change = 1 WHERE number = 2", "does not agree"},
    {"UPDATE audit SET who = 'eve'", "was changed"},
    {"DELETE FROM lane WHERE lane = 3", "lane backfill is not there"},
    {"UPDATE account SET role = 4", "register: "},
    {"INSERT INTO account SELECT 'eve', role, hash FROM account", "register: "},
    {"DELETE FROM account", "register: "},
    {"UPDATE setting SET value = 'site-1' WHERE key = 'gateway'", "register: "},
    {"UPDATE meter SET configured_ms = configured_ms + 1", "register: "},
    {"UPDATE decoder SET profile = profile || ' '", "register: "},
    {"UPDATE chain SET number = number + 1 WHERE chain = 14", "register: "},
    {"UPDATE revision SET text = 'a: 2'", "revision 1 was changed"},
    {"DELETE FROM revision", "revision: the chain ends at row 0"},
    {"UPDATE ledger SET last_live = last_live + 1", "ledger 1 was changed"},
    {"UPDATE ledger SET link = NULL, hash = NULL", "ledger 1 stands in no chain"},
};

static void test_each_damage_is_named(void **state)
{
    (void)state;
    static char good[1024 * 1024];
    static struct faults_seen seen;
    make_store();
    size_t length = file_get(good, sizeof good);
    for (size_t i = 0; i < sizeof damages / sizeof damages[0]; i++) {
        file_put(good, length);
        sql_run(damages[i].sql);
        if (damages[i].remove || damages[i].change != NULL)
            reading_change(179, damages[i].change);
        verify(&seen);
        bool named = false;
        for (int n = 0; n < seen.count && n < 200; n++)
            named = named || strstr(seen.text[n], damages[i].said) != NULL;
        if (!named) {
            print_error("%s: %d faults, none says '%s' (%s)\n", damages[i].sql, seen.count,
                        damages[i].said, seen.count > 0 ? seen.text[0] : "");
        }
        assert_true(named);
    }
}

// A later change, by the product, does not take over what was changed from outside.
static void test_no_later_change_hides_an_edit(void **state)
{
    (void)state;
    static struct faults_seen seen;
    struct account bob = {.name = "bob", .role = ROLE_VIEWER, .hash = "scrypt$"};
    make_store();
    sql_run("UPDATE account SET role = 4 WHERE name = 'ann'");
    struct store *store = store_must_open();
    for (int i = 0; i < 2; i++) {
        must(store_round_begin(store, &failure));
        must(store_account_put(store, &bob, &failure));
        must(store_round_commit(store, &failure));
    }
    store_close(store);
    verify(&seen);
    assert_int_equal(seen.count, 1);
    assert_non_null(strstr(seen.text[0], "register: "));
}

static struct store *changed_period(int64_t index, void (*change)(struct period *period))
{
    struct store *store = store_must_open();
    int number;
    struct period period = {.span = SPAN_15MIN};
    must(store_meter_find(store, "m1", &number, &failure));
    must(store_period_last(store, number, SPAN_15MIN, &period, &failure));
    period.from_ms = T0 + index * QUARTER;
    period.to_ms = period.from_ms + QUARTER;
    period.channels[0].start_known = period.channels[0].end_known = true;
    period.channels[0].start_micro = index * 1000;
    period.channels[0].end_micro = (index + 1) * 1000;
    period.version = 2;
    change(&period);
    must(store_round_begin(store, &failure));
    must(store_period_add(store, number, &period, T0, LANE_BACKFILL, MESSAGE_SUMMARY, &failure));
    must(store_round_commit(store, &failure));
    return store;
}

static void same(struct period *period)
{
    (void)period;
}
static void other_start(struct period *period)
{
    period->channels[0].start_micro++;
}
static void other_end(struct period *period)
{
    period->channels[0].end_micro--;
}
static void no_start(struct period *period)
{
    period->channels[0].start_known = false;
}
static void longer(struct period *period)
{
    period->to_ms += 1;
}

static void test_periods_must_join(void **state)
{
    (void)state;
    static char good[1024 * 1024];
    static struct faults_seen seen;
    static const struct {
        void (*change)(struct period *period);
        int faults;
    } cases[] = {{same, 0}, {other_start, 1}, {other_end, 1}, {no_start, 1}, {longer, 1}};
    make_store();
    size_t length = file_get(good, sizeof good);
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        file_put(good, length);
        store_close(changed_period(7, cases[i].change));
        assert_int_equal(verify(&seen), cases[i].faults);
    }
}

// Bytes of the file changed at random: whatever comes, verify names something or the change did no
// harm; it never crashes.
static void test_damaged_files(void **state)
{
    (void)state;
    static char good[1024 * 1024];
    static char bad[1024 * 1024];
    static struct faults_seen seen;
    make_store();
    size_t length = file_get(good, sizeof good);
    int found = 0;
    for (int i = 0; i < 150; i++) {
        memcpy(bad, good, length);
        for (int n = 0; n < 8; n++)
            bad[random_between(0, (int64_t)length - 1)] = (char)random_u64();
        file_put(bad, length);
        found += verify(&seen) != 0;
    }
    assert_true(found > 30);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
#define IN_FOLDER(test) cmocka_unit_test_setup_teardown(test, folder_make, folder_remove)
        IN_FOLDER(test_whole_store_has_no_fault), IN_FOLDER(test_an_empty_store_has_no_fault),
        IN_FOLDER(test_each_damage_is_named),     IN_FOLDER(test_no_later_change_hides_an_edit),
        IN_FOLDER(test_periods_must_join),        IN_FOLDER(test_damaged_files),
    };
    random_start("test_store_verify");
    return cmocka_run_group_tests_name("store/verify", tests, NULL, NULL);
}
