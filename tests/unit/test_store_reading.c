#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "pack_fixture.h"

#include <poll.h>
#include <signal.h>
#include <sys/wait.h>

struct site {
    struct store *store;
    struct meter *meters[3];
    int numbers[3], decoders[3];
};

static void site_open(struct site *site)
{
    static const char *const ids[] = {"m1", "m3", "m2"}; // not in the order of their numbers
    site->store = store_must_open();
    must(store_round_begin(site->store, &failure));
    for (int i = 0; i < 3; i++) {
        int64_t configured_ms;
        site->meters[i] = fixture_meter(ids[i]);
        must(store_meter(site->store, ids[i], T0 + i, &site->numbers[i], &configured_ms, &failure));
        must(store_decoder(site->store, site->meters[i], &site->decoders[i], &failure));
        assert_int_equal(configured_ms, T0 + i);
    }
    must(store_round_commit(site->store, &failure));
}

static void site_close(struct site *site)
{
    store_close(site->store);
    for (int i = 0; i < 3; i++)
        fixture_meter_free(site->meters[i]);
}

static int site_add(struct site *site, int meter, struct reading *reading, enum lane lane)
{
    struct err err = {.text = ""};
    int result = store_reading_add(site->store, site->numbers[meter], site->decoders[meter],
                                   reading, lane, &err);
    if (result != 0)
        print_error("%s\n", err.text);
    return result;
}

static void test_meters_and_decoders_keep_their_number(void **state)
{
    (void)state;
    struct site site;
    site_open(&site);
    assert_int_equal(site.decoders[0], site.decoders[1]); // one model, one text
    int64_t configured_ms;
    int number;
    int decoder;
    must(store_meter(site.store, "m1", T0 + 99, &number, &configured_ms, &failure));
    assert_int_equal(number, site.numbers[0]);
    assert_int_equal(configured_ms, T0);
    must(store_decoder(site.store, site.meters[0], &decoder, &failure));
    assert_int_equal(decoder, site.decoders[0]);
    // Another unit decodes otherwise.
    int pressure = profile_channel_find(site.meters[0]->profile, "pressure");
    strcpy(site.meters[0]->units[pressure], "kPa");
    must(store_round_begin(site.store, &failure));
    must(store_decoder(site.store, site.meters[0], &decoder, &failure));
    must(store_round_commit(site.store, &failure));
    assert_int_not_equal(decoder, site.decoders[0]);
    assert_int_equal(store_meter_find(site.store, "m4", &number, NULL), 0);
    site_close(&site);
}

static bool take_order(void *context, const struct stored_reading *stored)
{
    double *flow = context;
    *flow = stored->values[1].number;
    return true;
}

// Words are decoded in the order that the meter's entry set when they were stored.
static void test_word_order_is_stored(void **state)
{
    (void)state;
    struct site site;
    site_open(&site);
    struct meter *meter = site.meters[0];
    strcpy(meter->word_order, "CDAB");
    assert_true(profile_set_word_order(meter->profile, ORDER_CDAB));
    int decoder;
    must(store_round_begin(site.store, &failure));
    must(store_decoder(site.store, meter, &decoder, &failure));
    assert_int_not_equal(decoder, site.decoders[0]);
    struct reading *reading = fixture_reading(meter, T0 + 1000);
    memset(reading->image.why, 0, sizeof reading->image.why);
    const struct field *flow = &meter->profile->fields[1];
    reading->image.words[flow->place] = 0xE979;
    reading->image.words[flow->place + 1] = 0x42F6;
    must(store_reading_add(site.store, site.numbers[0], decoder, reading, LANE_LIVE, &failure));
    must(store_round_commit(site.store, &failure));
    double number = 0;
    must(store_readings(site.store, NULL, 0, INT64_MAX, take_order, &number, &failure));
    assert_true(number == (double)0x1.edd2f2p+6F);
    free(reading);
    site_close(&site);
}

struct expected {
    struct site *site;
    int count, seen;
    struct reading *readings[2000];
    int meter_of[2000];
};

static int compare_order(const void *a, const void *b)
{
    const struct reading *one = *(struct reading *const *)a;
    const struct reading *other = *(struct reading *const *)b;
    if (one->at_ms != other->at_ms)
        return one->at_ms < other->at_ms ? -1 : 1;
    return strcmp(one->meter->id, other->meter->id);
}

static bool check_next(void *context, const struct stored_reading *stored)
{
    struct expected *expected = context;
    assert_true(expected->seen < expected->count);
    const struct reading *reading = expected->readings[expected->seen++];
    const struct profile *profile = reading->meter->profile;
    assert_int_equal(stored->at_ms, reading->at_ms);
    assert_int_equal(stored->due_ms, reading->due_ms);
    assert_string_equal(stored->meter, reading->meter->id);
    assert_int_equal(stored->answered, reading->answered);
    assert_memory_equal(&stored->image, &reading->image, sizeof stored->image);
    assert_int_equal(stored->value_count, profile->channel_count);
    values_must_equal(profile, stored->values, reading->values);
    assert_string_equal(stored->profile->channels[2].unit, "bar");
    return true;
}

// What is read back is what was put in, in the order of at and meter, over a reopening; a tie moves
// on by a millisecond.
static void test_random_readings_read_back(void **state)
{
    (void)state;
    static struct expected expected;
    struct site site;
    site_open(&site);
    expected = (struct expected){.site = &site, .count = 2000};
    must(store_round_begin(site.store, &failure));
    for (int i = 0; i < expected.count; i++) {
        int meter = (int)random_between(0, 2);
        struct reading *reading = fixture_reading(site.meters[meter], T0 + random_between(0, 3000));
        int64_t asked_ms = reading->at_ms;
        if (random_between(0, 9) == 0)
            reading->due_ms = 0;
        assert_int_equal(site_add(&site, meter, reading, (enum lane)0), 0);
        assert_true(reading->at_ms >= asked_ms);
        for (int j = 0; j < i; j++) { // unique per meter and instant, and no further than needed
            assert_true(expected.readings[j]->meter != reading->meter ||
                        expected.readings[j]->at_ms != reading->at_ms);
        }
        expected.readings[i] = reading;
    }
    must(store_round_commit(site.store, &failure));
    qsort(expected.readings, (size_t)expected.count, sizeof(struct reading *), compare_order);
    for (int pass = 0; pass < 2; pass++) {
        expected.seen = 0;
        must(store_readings(site.store, NULL, INT64_MIN, INT64_MAX, check_next, &expected,
                            &failure));
        assert_int_equal(expected.seen, expected.count);
        store_close(site.store);
        site.store = pass == 0 ? store_must_read() : store_must_open();
    }
    assert_int_equal(store_damaged(site.store), 0);
    assert_int_equal(store_newest_ms(site.store), expected.readings[expected.count - 1]->at_ms);
    for (int i = 0; i < expected.count; i++)
        free(expected.readings[i]);
    site_close(&site);
}

struct range {
    int64_t from_ms, to_ms, last_ms;
    const char *meter;
    int count, stop_after;
};

static bool count_in_range(void *context, const struct stored_reading *stored)
{
    struct range *range = context;
    assert_true(stored->at_ms >= range->from_ms && stored->at_ms < range->to_ms);
    assert_true(stored->at_ms >= range->last_ms);
    assert_true(range->meter == NULL || strcmp(range->meter, stored->meter) == 0);
    range->last_ms = stored->at_ms;
    return ++range->count != range->stop_after;
}

static void test_ranges(void **state)
{
    (void)state;
    struct site site;
    site_open(&site);
    must(store_round_begin(site.store, &failure));
    for (int i = 0; i < 6000; i++) {
        struct reading *reading = fixture_reading(site.meters[i % 3], T0 + i / 3);
        assert_int_equal(site_add(&site, i % 3, reading, (enum lane)0), 0);
        free(reading);
    }
    must(store_round_commit(site.store, &failure));
    for (int i = 0; i < 200; i++) {
        int64_t from = random_between(-100, 2100);
        int64_t to = random_between(-100, 2100);
        struct range range = {
            .from_ms = T0 + from, .to_ms = T0 + to, .meter = random_between(0, 1) ? "m2" : NULL};
        int64_t inside = (to > 2000 ? 2000 : to) - (from < 0 ? 0 : from);
        inside = inside < 0 ? 0 : inside;
        must(store_readings(site.store, range.meter, range.from_ms, range.to_ms, count_in_range,
                            &range, &failure));
        assert_int_equal(range.count, range.meter == NULL ? 3 * inside : inside);
    }
    struct range range = {.to_ms = INT64_MAX, .stop_after = 7};
    must(store_readings(site.store, NULL, 0, INT64_MAX, count_in_range, &range, &failure));
    assert_int_equal(range.count, 7);
    must(store_readings(site.store, "nobody", 0, INT64_MAX, count_in_range, &range, &failure));
    assert_int_equal(range.count, 7);
    site_close(&site);
}

static void test_impossible_times_are_refused(void **state)
{
    (void)state;
    struct site site;
    site_open(&site);
    static const int64_t times[] = {-1, INT64_MIN, INT64_MAX, INT64_C(1) << 46};
    for (size_t i = 0; i < sizeof times / sizeof times[0]; i++) {
        struct reading *reading = fixture_reading(site.meters[0], T0);
        reading->at_ms = times[i];
        must(store_round_begin(site.store, &failure));
        assert_int_equal(store_reading_add(site.store, site.numbers[0], site.decoders[0], reading,
                                           LANE_LIVE, NULL),
                         -1);
        store_round_cancel(site.store);
        free(reading);
    }
    site_close(&site);
}

// Random readings into lanes, over reopenings and cancelled rounds: seq is 1, 2, 3 … per lane, each
// pointer finds its reading, and the cursor never goes back.
static void test_outbox(void **state)
{
    (void)state;
    struct site site;
    site_open(&site);
    int64_t last[LANES_END] = {0};
    int64_t acknowledged[LANES_END] = {0};
    int64_t at_ms = T0;
    for (int round = 0; round < 60; round++) {
        bool keep = random_between(0, 3) != 0;
        int64_t given[LANES_END] = {0};
        must(store_round_begin(site.store, &failure));
        for (int i = 0; i < 10; i++) {
            enum lane lane = random_between(0, 1) ? LANE_LIVE : LANE_BACKFILL;
            struct reading *reading = fixture_reading(site.meters[0], at_ms++);
            assert_int_equal(site_add(&site, 0, reading, lane), 0);
            given[lane]++;
            free(reading);
        }
        enum lane lane = random_between(0, 1) ? LANE_LIVE : LANE_BACKFILL;
        int64_t seq = random_between(0, last[lane]);
        must(store_outbox_acknowledge(site.store, lane, seq, &failure));
        if (!keep) {
            store_round_cancel(site.store);
        } else {
            must(store_round_commit(site.store, &failure));
            last[LANE_LIVE] += given[LANE_LIVE];
            last[LANE_BACKFILL] += given[LANE_BACKFILL];
            acknowledged[lane] = seq > acknowledged[lane] ? seq : acknowledged[lane];
        }
        if (round % 7 == 0) {
            store_close(site.store);
            site.store = store_must_open();
        }
        for (int l = LANE_ALERT; l < LANES_END; l++) {
            struct outbox_state lane_state;
            must(store_outbox_state(site.store, (enum lane)l, &lane_state, &failure));
            assert_int_equal(lane_state.last, last[l]);
            assert_int_equal(lane_state.acknowledged, acknowledged[l]);
            assert_int_equal(lane_state.oldest_at_ms != 0, last[l] > acknowledged[l]);
        }
    }
    site_close(&site);
}

static void check_lane(struct store *store, enum lane lane, int64_t last)
{
    struct outbox_entry entries[16];
    int64_t after = 0;
    for (int count; (count = store_outbox_next(store, lane, after, entries, 16, NULL)) != 0;) {
        assert_true(count > 0);
        for (int i = 0; i < count; i++) {
            struct stored_reading reading;
            assert_int_equal(entries[i].seq, ++after);
            assert_int_equal(entries[i].kind, MESSAGE_READING);
            assert_int_equal(store_reading_get(store, entries[i].row, &reading, NULL), 1);
            assert_int_equal(reading.lane, lane);
            assert_int_equal(reading.seq, entries[i].seq);
        }
    }
    assert_int_equal(after, last);
}

static void test_outbox_walks_in_order(void **state)
{
    (void)state;
    struct site site;
    site_open(&site);
    must(store_round_begin(site.store, &failure));
    for (int i = 0; i < 100; i++) {
        struct reading *reading = fixture_reading(site.meters[0], T0 + random_between(0, 50));
        assert_int_equal(site_add(&site, 0, reading, i < 30 ? LANE_LIVE : LANE_BACKFILL), 0);
        free(reading);
    }
    // Never given: refused, and the round goes on.
    assert_int_equal(store_outbox_acknowledge(site.store, LANE_LIVE, 31, NULL), -1);
    must(store_outbox_acknowledge(site.store, LANE_LIVE, 30, &failure));
    must(store_outbox_acknowledge(site.store, LANE_LIVE, 10, &failure)); // late: no step back
    must(store_round_commit(site.store, &failure));
    struct outbox_state lane;
    must(store_outbox_state(site.store, LANE_LIVE, &lane, &failure));
    assert_int_equal(lane.acknowledged, 30);
    check_lane(site.store, LANE_LIVE, 30);
    check_lane(site.store, LANE_BACKFILL, 70);
    struct stored_reading none;
    assert_int_equal(store_reading_get(site.store, 12345, &none, NULL), 0);
    site_close(&site);
}

static int retain_all(struct store *store, int64_t before_ms, int max)
{
    int gone = 0;
    for (int step = 1; step != 0; gone += step) {
        must(store_round_begin(store, &failure));
        step = store_retain(store, before_ms, max, NULL);
        assert_true(step >= 0);
        must(store_round_commit(store, &failure));
    }
    return gone;
}

// Retention takes segments of which all is old and acknowledged, and nothing else; no seq comes
// twice.
static void test_retention(void **state)
{
    (void)state;
    struct site site;
    site_open(&site);
    must(store_round_begin(site.store, &failure));
    for (int i = 0; i < 300; i++) {
        struct reading *reading = fixture_reading(site.meters[i % 3], T0 + i);
        assert_int_equal(site_add(&site, i % 3, reading, i % 3 == 2 ? (enum lane)0 : LANE_LIVE), 0);
        free(reading);
        if (i % 30 == 29)
            must(store_reading_pack(site.store, &failure));
    }
    must(store_outbox_acknowledge(site.store, LANE_LIVE, 110, &failure)); // the first 165 rows
    must(store_round_commit(site.store, &failure));
    must(store_round_begin(site.store, &failure));
    assert_int_equal(store_retain(site.store, T0 + 89, 1, NULL), 30); // one segment at a time
    must(store_round_commit(site.store, &failure));
    assert_int_equal(retain_all(site.store, T0 + 89, 1000),
                     30); // and the next: the third is not old
    assert_int_equal(retain_all(site.store, T0 + 200, 1000),
                     90); // five: the sixth is not acknowledged
    struct range range = {.to_ms = INT64_MAX};
    must(store_readings(site.store, NULL, 0, INT64_MAX, count_in_range, &range, &failure));
    assert_int_equal(range.count, 300 - 150);
    struct outbox_entry entry;
    assert_int_equal(store_outbox_next(site.store, LANE_LIVE, 0, &entry, 1, NULL), 1);
    assert_int_equal(entry.seq, 101);
    // All of it acknowledged and gone: the next seq goes on.
    must(store_round_begin(site.store, &failure));
    must(store_outbox_acknowledge(site.store, LANE_LIVE, 200, &failure));
    assert_int_equal(store_retain(site.store, INT64_MAX, 1000, &failure), 150);
    must(store_round_commit(site.store, &failure));
    assert_int_equal(sql_ask("SELECT count(*) FROM pack"), 0);
    store_close(site.store);
    site.store = store_must_open();
    struct reading *reading = fixture_reading(site.meters[0], T0);
    must(store_round_begin(site.store, &failure));
    assert_int_equal(site_add(&site, 0, reading, LANE_LIVE), 0);
    must(store_round_commit(site.store, &failure));
    assert_int_equal(store_outbox_next(site.store, LANE_LIVE, 0, &entry, 1, NULL), 1);
    assert_int_equal(entry.seq, 201);
    free(reading);
    site_close(&site);
}

// A damaged row is left out and counted, and the others still come.
static void test_damaged_rows_are_left_out(void **state)
{
    (void)state;
    struct site site;
    site_open(&site);
    must(store_round_begin(site.store, &failure));
    for (int i = 0; i < 10; i++) {
        struct reading *reading = fixture_reading(site.meters[0], T0 + i);
        assert_int_equal(site_add(&site, 0, reading, (enum lane)0), 0);
        free(reading);
    }
    must(store_round_commit(site.store, &failure));
    pack_now(site.store);
    store_close(site.store);
    reading_change(4, short_words);
    reading_change(6, strange_decoder);
    site.store = store_must_read();
    struct range range = {.to_ms = INT64_MAX};
    must(store_readings(site.store, NULL, 0, INT64_MAX, count_in_range, &range, &failure));
    assert_int_equal(range.count, 8);
    assert_int_equal(store_damaged(site.store), 2);
    site_close(&site);
}

#define KILL_ROUND 20 // readings of one round

// Commits round after round and says so on the pipe after each.
static void write_until_killed(int report)
{
    struct site site;
    site_open(&site);
    int64_t newest_ms = store_newest_ms(site.store);
    for (int64_t at_ms = newest_ms == 0 ? T0 : newest_ms + 1;; at_ms++) {
        struct err err = {.text = ""};
        bool good = store_round_begin(site.store, &err) == 0;
        for (int i = 0; good && i < KILL_ROUND; i++) {
            struct reading *reading = fixture_reading(site.meters[i % 3], at_ms);
            good = store_reading_add(site.store, site.numbers[i % 3], site.decoders[i % 3], reading,
                                     i % 2 ? LANE_LIVE : (enum lane)0, &err) == 0;
            free(reading);
        }
        if (!good || store_round_commit(site.store, &err) != 0 || write(report, "c", 1) != 1) {
            (void)dprintf(STDERR_FILENO, "%s\n", err.text);
            _exit(1);
        }
    }
}

// Rounds that a child reported before it was killed at some moment.
static int kill_one(void)
{
    int pipes[2];
    assert_int_equal(pipe2(pipes, O_CLOEXEC), 0);
    pid_t child = fork();
    assert_true(child >= 0);
    if (child == 0) {
        (void)close(pipes[0]);
        write_until_killed(pipes[1]);
    }
    (void)close(pipes[1]);
    int rounds = 0;
    char byte;
    for (int wanted = (int)random_between(1, 20); rounds < wanted; rounds++)
        assert_int_equal(read(pipes[0], &byte, 1), 1);
    struct timespec moment = {.tv_nsec = random_between(0, 2000000)}; // anywhere in a round
    (void)ppoll(NULL, 0, &moment, NULL);
    assert_int_equal(kill(child, SIGKILL), 0);
    int status;
    assert_int_equal(waitpid(child, &status, 0), child);
    assert_true(WIFSIGNALED(status));
    while (read(pipes[0], &byte, 1) == 1)
        rounds++;
    (void)close(pipes[0]);
    return rounds;
}

static bool count_all(void *context, const struct stored_reading *stored)
{
    (void)stored;
    ++*(int *)context;
    return true;
}

static void test_kill_at_any_moment(void **state)
{
    (void)state;
    int reported = 0;
    for (int i = 0; i < 50; i++) {
        reported += kill_one();
        struct store *store = store_must_open(); // includes quick_check
        int stored = 0;
        must(store_readings(store, NULL, 0, INT64_MAX, count_all, &stored, &failure));
        // Whole rounds, none of the reported ones missing; one more for each kill that came between
        // the commit and the report.
        assert_int_equal(stored % KILL_ROUND, 0);
        assert_true(stored / KILL_ROUND >= reported);
        assert_true(stored / KILL_ROUND <= reported + 1);
        reported = stored / KILL_ROUND;
        check_lane(store, LANE_LIVE, stored / 2);
        assert_int_equal(store_damaged(store), 0);
        store_close(store);
    }
    print_message("50 kills, %d rounds, none lost\n", reported);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
#define IN_FOLDER(test) cmocka_unit_test_setup_teardown(test, folder_make, folder_remove)
        IN_FOLDER(test_kill_at_any_moment), // first: it forks
        IN_FOLDER(test_meters_and_decoders_keep_their_number),
        IN_FOLDER(test_word_order_is_stored),
        IN_FOLDER(test_random_readings_read_back),
        IN_FOLDER(test_ranges),
        IN_FOLDER(test_impossible_times_are_refused),
        IN_FOLDER(test_outbox),
        IN_FOLDER(test_outbox_walks_in_order),
        IN_FOLDER(test_retention),
        IN_FOLDER(test_damaged_rows_are_left_out),
    };
    random_start("test_store_reading");
    return cmocka_run_group_tests_name("store/reading", tests, NULL, NULL);
}
