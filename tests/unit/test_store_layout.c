// How readings lie on disk, against a plain list in memory: random histories, packed at random
// moments, deleted, brought here from the older layout, read while they are packed, and damaged.
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "store/pack.h"

#include "pack_fixture.h"

#define METERS 7
#define ROWS_MAX 6000

// What the store was told, in the order of insertion.
struct told {
    int meter;
    int64_t at_ms, due_ms;
    bool answered, begins;
    enum lane lane;
    int64_t seq;
    int decoder; // which of the two
    struct image image;
    bool gone;
};

struct life {
    struct store *store;
    struct meter *meters[METERS][2]; // each with two orders of words
    int numbers[METERS], decoders[2];
    struct told *told;
    int count;
    int64_t last[LANES_END], now_ms;
};

static void life_begin(struct life *life)
{
    *life = (struct life){.store = store_must_open(), .now_ms = T0};
    life->told = calloc(ROWS_MAX, sizeof *life->told);
    assert_non_null(life->told);
    must(store_round_begin(life->store, &failure));
    for (int i = 0; i < METERS; i++) {
        char id[8];
        int64_t configured_ms;
        (void)snprintf(id, sizeof id, "m%d", (i * 5) % METERS); // not in the order of their numbers
        must(store_meter(life->store, id, T0, &life->numbers[i], &configured_ms, &failure));
        for (int unit = 0; unit < 2; unit++) {
            struct meter *meter = fixture_meter(id);
            if (unit == 1) {
                strcpy(meter->word_order, "CDAB");
                assert_true(profile_set_word_order(meter->profile, ORDER_CDAB));
            }
            must(store_decoder(life->store, meter, &life->decoders[unit], &failure));
            life->meters[i][unit] = meter;
        }
    }
    must(store_round_commit(life->store, &failure));
}

static void life_end(struct life *life)
{
    store_close(life->store);
    for (int i = 0; i < METERS; i++)
        for (int unit = 0; unit < 2; unit++)
            fixture_meter_free(life->meters[i][unit]);
    free(life->told);
}

static bool is_taken(const struct life *life, int meter, int64_t at_ms)
{
    for (int i = 0; i < life->count; i++)
        if (life->told[i].meter == meter && life->told[i].at_ms == at_ms && !life->told[i].gone)
            return true;
    return false;
}

// Mostly a little later, often the same instant, seldom hours back: a meter's own log, or a clock
// that was set.
static int64_t some_instant(struct life *life)
{
    life->now_ms += random_between(0, 3) == 0 ? random_between(0, 200000) : random_between(0, 3);
    int64_t kind = random_between(0, 19);
    return kind == 0   ? life->now_ms - random_between(0, 50000000)
           : kind == 1 ? T0 + random_between(0, 5)
                       : life->now_ms;
}

static void add_one(struct life *life)
{
    int meter = (int)random_between(0, METERS - 1);
    int unit = random_between(0, 9) == 0;
    struct reading *reading = fixture_reading(life->meters[meter][unit], some_instant(life));
    reading->begins = random_between(0, 30) == 0;
    reading->due_ms = random_between(0, 9) == 0 ? 0 : reading->due_ms;
    enum lane lane = (enum lane)random_between(0, 3);
    int64_t at_ms = reading->at_ms;
    while (is_taken(life, meter, at_ms))
        at_ms++;
    must(store_reading_add(life->store, life->numbers[meter], life->decoders[unit], reading, lane,
                           &failure));
    assert_int_equal(reading->at_ms, at_ms); // the first free one
    life->told[life->count++] = (struct told){.meter = meter,
                                              .at_ms = at_ms,
                                              .due_ms = reading->due_ms,
                                              .answered = reading->answered,
                                              .begins = reading->begins,
                                              .lane = lane,
                                              .seq = lane == 0 ? 0 : ++life->last[lane],
                                              .decoder = unit,
                                              .image = reading->image};
    free(reading);
}

// A round of some readings, kept or not; packed in it, after it, or not at all.
static void round_one(struct life *life, int rows)
{
    int count = life->count;
    int64_t last[LANES_END];
    int64_t now_ms = life->now_ms;
    memcpy(last, life->last, sizeof last);
    must(store_round_begin(life->store, &failure));
    for (int i = 0; i < rows && life->count < ROWS_MAX; i++)
        add_one(life);
    if (random_between(0, 9) == 0)
        must(store_reading_pack(life->store, &failure));
    if (random_between(0, 5) != 0) {
        must(store_round_commit(life->store, &failure));
        return;
    }
    store_round_cancel(life->store);
    life->count = count;
    life->now_ms = now_ms;
    memcpy(life->last, last, sizeof last);
}

static void live(struct life *life, int rounds)
{
    for (int i = 0; i < rounds && life->count < ROWS_MAX; i++) {
        round_one(life, (int)random_between(1, 60));
        if (random_between(0, 7) == 0)
            pack_now(life->store);
        if (random_between(0, 9) == 0) {
            store_close(life->store);
            life->store = store_must_open();
        }
    }
}

// --- the list against the store ---

struct look {
    const struct life *life;
    const struct told **expected;
    int count, seen;
};

static const struct life *sorted_life; // of compare_told

static int compare_told(const void *a, const void *b)
{
    const struct told *one = *(const struct told *const *)a;
    const struct told *other = *(const struct told *const *)b;
    if (one->at_ms != other->at_ms)
        return one->at_ms < other->at_ms ? -1 : 1;
    return strcmp(sorted_life->meters[one->meter][0]->id, sorted_life->meters[other->meter][0]->id);
}

static void must_be_told(const struct life *life, const struct told *told,
                         const struct stored_reading *stored)
{
    assert_int_equal(stored->at_ms, told->at_ms);
    assert_int_equal(stored->due_ms, told->due_ms);
    assert_string_equal(stored->meter, life->meters[told->meter][0]->id);
    assert_int_equal(stored->answered, told->answered);
    assert_int_equal(stored->begins, told->begins);
    assert_int_equal(stored->lane, told->lane);
    assert_int_equal(stored->seq, told->seq);
    assert_memory_equal(&stored->image, &told->image, sizeof told->image);
    struct value values[PROFILE_CHANNELS_MAX];
    const struct profile *profile = life->meters[told->meter][told->decoder]->profile;
    image_decode(profile, &told->image, false, values);
    values_must_equal(profile, stored->values, values);
}

static bool look_at(void *context, const struct stored_reading *stored)
{
    struct look *look = context;
    assert_true(look->seen < look->count);
    must_be_told(look->life, look->expected[look->seen++], stored);
    return true;
}

static void check_range(const struct life *life, struct store *store, int meter, int64_t from_ms,
                        int64_t to_ms)
{
    struct look look = {.life = life};
    look.expected = calloc(ROWS_MAX, sizeof *look.expected);
    assert_non_null(look.expected);
    for (int i = 0; i < life->count; i++) {
        const struct told *told = &life->told[i];
        if (!told->gone && told->at_ms >= from_ms && told->at_ms < to_ms &&
            (meter < 0 || told->meter == meter))
            look.expected[look.count++] = told;
    }
    sorted_life = life;
    qsort(look.expected, (size_t)look.count, sizeof *look.expected, compare_told);
    must(store_readings(store, meter < 0 ? NULL : life->meters[meter][0]->id, from_ms, to_ms,
                        look_at, &look, &failure));
    assert_int_equal(look.seen, look.count);
    free(look.expected);
}

static void check_lanes(const struct life *life, struct store *store)
{
    for (int lane = LANE_ALERT; lane < LANES_END; lane++) {
        struct outbox_entry entries[ROWS_MAX];
        int count = store_outbox_next(store, (enum lane)lane, 0, entries, ROWS_MAX, &failure);
        int found = 0;
        for (int i = 0; i < life->count; i++) { // insertion is the order of seq
            const struct told *told = &life->told[i];
            struct stored_reading stored;
            if ((int)told->lane != lane || told->gone)
                continue;
            assert_true(found < count);
            assert_int_equal(entries[found].seq, told->seq);
            assert_int_equal(entries[found].kind, MESSAGE_READING);
            assert_int_equal(store_reading_get(store, entries[found].row, &stored, &failure), 1);
            assert_int_equal(stored.row, entries[found].row);
            must_be_told(life, told, &stored);
            found++;
        }
        assert_int_equal(found, count);
        struct outbox_state state;
        must(store_outbox_state(store, (enum lane)lane, &state, &failure));
        assert_int_equal(state.last, life->last[lane]);
    }
}

static void see_fault(void *context, const char *text)
{
    (void)context;
    print_error("verify: %s\n", text);
}

static void check_all(const struct life *life, struct store *store)
{
    check_range(life, store, -1, INT64_MIN, INT64_MAX);
    for (int i = 0; i < 25; i++) {
        int64_t from_ms = T0 + random_between(-60000000, life->now_ms - T0 + 1000);
        check_range(life, store, (int)random_between(-1, METERS - 1), from_ms,
                    from_ms + random_between(0, 20000000));
    }
    check_lanes(life, store);
    assert_int_equal(store_verify(store, see_fault, NULL, &failure), 0);
    assert_int_equal(store_damaged(store), 0);
}

static void test_any_history_reads_back(void **state)
{
    (void)state;
    for (int i = 0; i < 4; i++) {
        struct life life;
        assert_int_equal(folder_make(state), 0);
        life_begin(&life);
        live(&life, 60);
        check_all(&life, life.store);
        must(store_round_begin(life.store, &failure)); // what is not committed yet is there too
        add_one(&life);
        check_all(&life, life.store);
        must(store_round_commit(life.store, &failure));
        struct store *reader = store_must_read();
        check_all(&life, reader);
        pack_now(life.store); // under the reader
        check_all(&life, reader);
        store_close(reader);
        life_end(&life);
        assert_int_equal(folder_remove(state), 0);
    }
    assert_int_equal(folder_make(state), 0);
}

// What retention takes goes in whole segments of which all is old and acknowledged; what stays is
// as it was.
static void test_deletion_leaves_the_rest(void **state)
{
    (void)state;
    struct life life;
    life_begin(&life);
    for (int step = 0; step < 6; step++) {
        live(&life, 15);
        int64_t before_ms = T0 + random_between(0, life.now_ms - T0);
        must(store_round_begin(life.store, &failure));
        for (int lane = LANE_ALERT; lane < LANES_END; lane++)
            must(store_outbox_acknowledge(life.store, (enum lane)lane,
                                          random_between(0, life.last[lane]), &failure));
        must(store_reading_retain(life.store, before_ms, 1000, &failure));
        must(store_round_commit(life.store, &failure));
        struct outbox_state states[LANES_END];
        for (int lane = LANE_ALERT; lane < LANES_END; lane++)
            must(store_outbox_state(life.store, (enum lane)lane, &states[lane], &failure));
        for (int i = 0; i < life.count; i++) {
            char sql[128];
            (void)snprintf(sql, sizeof sql,
                           "SELECT count(*) FROM segment WHERE kept = 0 AND first <= %d AND"
                           " first + count > %d",
                           i + 1, i + 1);
            struct told *told = &life.told[i];
            if (told->gone || sql_ask(sql) == 0)
                continue;
            told->gone = true; // and it might
            assert_true(told->at_ms < before_ms);
            assert_true(told->lane == 0 || told->seq <= states[told->lane].acknowledged);
        }
        check_all(&life, life.store);
    }
    life_end(&life);
}

// --- from the older layout ---

// The tables of version 9, filled with what was told, in place of those of today.
static void make_old(const struct life *life)
{
    sqlite3 *db;
    sqlite3_stmt *row;
    sqlite3_stmt *pointer;
    struct buf words;
    struct buf marks;
    buf_init(&words, 65536);
    buf_init(&marks, 65536);
    sql_run("DROP TABLE reading_chain; DROP TABLE tail; DROP TABLE pack; DROP TABLE segment_lane;"
            "DROP TABLE segment; DROP TABLE undated; DROP TABLE period_newest; DROP TABLE outlook;"
            "DROP INDEX period_of_span;"
            "CREATE UNIQUE INDEX period_of_meter ON period(meter, span, from_ms, version);"
            "CREATE INDEX period_of_time ON period(from_ms, meter, span);"
            "DELETE FROM chain WHERE chain > 11;"
            "ALTER TABLE ledger DROP COLUMN link; ALTER TABLE ledger DROP COLUMN hash;"
            "ALTER TABLE revision DROP COLUMN link; ALTER TABLE revision DROP COLUMN hash;"
            "CREATE TABLE reading(id INTEGER PRIMARY KEY, due INTEGER,"
            " decoder INTEGER NOT NULL REFERENCES decoder, flags INTEGER NOT NULL, words BLOB NOT"
            " NULL, marks BLOB, lane INTEGER, seq INTEGER) STRICT; PRAGMA user_version = 9");
    assert_int_equal(sqlite3_open(store_path(), &db), SQLITE_OK);
    assert_int_equal(
        sqlite3_prepare_v2(db, "INSERT INTO reading VALUES (?,?,?,?,?,?,?,?)", -1, &row, NULL),
        SQLITE_OK);
    assert_int_equal(
        sqlite3_prepare_v2(db, "INSERT INTO outbox VALUES (?,?,1,?,?)", -1, &pointer, NULL),
        SQLITE_OK);
    (void)sqlite3_exec(db, "BEGIN", NULL, NULL, NULL);
    for (int i = 0; i < life->count; i++) {
        const struct told *told = &life->told[i];
        int64_t id = told->at_ms << 16 | life->numbers[told->meter];
        image_pack(life->meters[told->meter][told->decoder]->profile, &told->image, &words, &marks);
        (void)sqlite3_clear_bindings(row);
        (void)sqlite3_bind_int64(row, 1, id);
        if (told->due_ms != 0)
            (void)sqlite3_bind_int64(row, 2, told->at_ms - told->due_ms);
        (void)sqlite3_bind_int64(row, 3, life->decoders[told->decoder]);
        (void)sqlite3_bind_int64(row, 4, (told->answered ? 1 : 0) | (told->begins ? 4 : 0));
        (void)sqlite3_bind_blob(row, 5, words.length == 0 ? "" : words.data, (int)words.length,
                                SQLITE_TRANSIENT);
        if (marks.length > 0)
            (void)sqlite3_bind_blob(row, 6, marks.data, (int)marks.length, SQLITE_TRANSIENT);
        if (told->lane != 0) {
            (void)sqlite3_bind_int(row, 7, (int)told->lane);
            (void)sqlite3_bind_int64(row, 8, told->seq);
            (void)sqlite3_bind_int(pointer, 1, (int)told->lane);
            (void)sqlite3_bind_int64(pointer, 2, told->seq);
            (void)sqlite3_bind_int64(pointer, 3, id);
            (void)sqlite3_bind_int64(pointer, 4, told->at_ms);
            assert_int_equal(sqlite3_step(pointer), SQLITE_DONE);
            (void)sqlite3_reset(pointer);
        }
        assert_int_equal(sqlite3_step(row), SQLITE_DONE);
        (void)sqlite3_reset(row);
    }
    assert_int_equal(sqlite3_exec(db, "COMMIT", NULL, NULL, NULL), SQLITE_OK);
    (void)sqlite3_finalize(row);
    (void)sqlite3_finalize(pointer);
    assert_int_equal(sqlite3_close(db), SQLITE_OK);
    buf_release(&words);
    buf_release(&marks);
}

static void test_older_stores_lose_nothing(void **state)
{
    (void)state;
    struct life life;
    life_begin(&life);
    live(&life, 60);
    store_close(life.store);
    make_old(&life);
    life.store = store_must_open();
    assert_int_equal(sql_ask("SELECT count(*) FROM sqlite_schema WHERE name = 'reading'"), 0);
    check_all(&life, life.store);
    live(&life, 20); // and it goes on
    pack_now(life.store);
    check_all(&life, life.store);
    life_end(&life);
}

// --- damage ---

static void fill_random(struct rows *rows, int count, bool one_meter)
{
    uint8_t words[80];
    uint8_t marks[4] = {1, 2, 3, 4};
    struct row row = {.number = 1, .meter = 1, .at_ms = T0, .decoder = 1};
    for (size_t i = 0; i < sizeof words; i++)
        words[i] = (uint8_t)random_u64();
    for (int i = 0; i < count; i++) {
        row.number += random_between(1, 3);
        row.meter = one_meter ? 1 : (int)random_between(1, 65535);
        row.due_ms = random_between(0, 4) == 0 ? 0 : T0 + i * 60000 + random_between(-9, 9);
        row.at_ms = row.due_ms == 0 ? T0 + random_between(0, 1000000) : row.due_ms + 50;
        row.flags = random_between(0, 9) == 0 ? 7 : 1;
        row.lane = (enum lane)random_between(0, 3);
        row.seq = row.lane == 0 ? 0 : row.number + random_between(0, 5);
        for (int n = (int)random_between(0, 6); n > 0; n--)
            words[random_between(0, 79)] += (uint8_t)random_between(-3, 3);
        row.words = words;
        row.word_bytes = random_between(0, 9) == 0 ? (size_t)random_between(0, 80) : 40;
        row.marks = marks;
        row.mark_bytes = random_between(0, 9) == 0 ? (size_t)random_between(0, 4) : 0;
        must(rows_add(rows, &row, &failure));
    }
}

static void must_be_same(const struct row *a, const struct row *b)
{
    assert_int_equal(a->number, b->number);
    assert_int_equal(a->meter, b->meter);
    assert_int_equal(a->at_ms, b->at_ms);
    assert_int_equal(a->due_ms, b->due_ms);
    assert_int_equal(a->decoder, b->decoder);
    assert_int_equal(a->flags, b->flags);
    assert_int_equal(a->lane, b->lane);
    assert_int_equal(a->seq, b->seq);
    assert_int_equal(a->word_bytes, b->word_bytes);
    assert_int_equal(a->mark_bytes, b->mark_bytes);
    assert_int_equal(memcmp(a->words, b->words, a->word_bytes), 0);
    assert_int_equal(memcmp(a->marks, b->marks, a->mark_bytes), 0);
}

// A changed byte of a pack is never a reading: the whole pack is named. Behind the checksum, where
// somebody made it fit, whatever comes is a row that is sound, or none.
static void test_damaged_packs(void **state)
{
    (void)state;
    int passed = 0;
    for (int i = 0; i < 300; i++) {
        struct rows rows;
        struct rows back;
        struct buf pack;
        rows_init(&rows);
        rows_init(&back);
        buf_init(&pack, 1 << 20);
        fill_random(&rows, (int)random_between(1, 60), true);
        pack_make(&rows, 0, rows.count, 1, &pack);
        must(pack_rows(1, 1, 0, pack.data, pack.length, &back, &failure));
        assert_int_equal(back.count, rows.count);
        for (int n = 0; n < rows.count; n++) {
            struct row a = rows_get(&rows, n);
            struct row b = rows_get(&back, n);
            must_be_same(&a, &b);
        }
        for (int n = 0; n < 100; n++) {
            size_t length = random_between(0, 5) == 0
                                ? (size_t)random_between(0, (int64_t)pack.length)
                                : pack.length;
            uint8_t *bad = malloc(length + 1); // of its own size, so that a step beyond is seen
            assert_non_null(bad);
            memcpy(bad, pack.data, length);
            for (int64_t b = random_between(1, 4); b > 0 && length > 4; b--)
                bad[random_between(4, (int64_t)length - 1)] = (uint8_t)random_u64();
            bool same = length == pack.length && memcmp(bad, pack.data, length) == 0;
            rows_clear(&back);
            assert_int_equal(pack_rows(1, 1, 0, bad, length, &back, &failure), same ? 0 : -1);
            assert_int_equal(back.count, same ? rows.count : 0);
            uint32_t sum = length > 4 ? row_checksum(bad + 4, length - 4) : 0;
            for (int b = 3; b >= 0 && length > 4; b--, sum >>= 8)
                bad[b] = (uint8_t)sum;
            rows_clear(&back);
            int result = pack_rows(1, 1, 0, bad, length, &back, &failure);
            passed += result == 0 && !same;
            for (int b = 0; b < back.count; b++) {
                struct row row = rows_get(&back, b);
                assert_true(result == 0 && row_is_sound(&row) && row.meter == 1);
            }
            free(bad);
        }
        rows_release(&rows);
        rows_release(&back);
        buf_release(&pack);
    }
    print_message("30000 damages named, %d of them sound but for the checksum\n", passed);
}

// The same of rows of many meters one after the other, as in the tail.
static void test_rows_of_many_meters(void **state)
{
    (void)state;
    for (int i = 0; i < 200; i++) {
        struct rows rows;
        struct buf bytes;
        struct row_before before;
        struct row row;
        rows_init(&rows);
        buf_init(&bytes, 1 << 20);
        fill_random(&rows, 100, false);
        row_before_init(&before, 0, 0);
        for (int n = 0; n < rows.count; n++) {
            row = rows_get(&rows, n);
            size_t length = bytes.length;
            row_put(&bytes, &before, &row);
            assert_true(bytes.length - length <= ROW_ENCODED_MAX);
        }
        struct cursor cursor = cursor_of(bytes.data, bytes.length);
        row_before_init(&before, 0, 0);
        for (int n = 0; n < rows.count; n++) {
            struct row expected = rows_get(&rows, n);
            assert_int_equal(row_get(&cursor, &before, &row), 0);
            must_be_same(&expected, &row);
        }
        assert_true(cursor.at == cursor.end);
        rows_release(&rows);
        buf_release(&bytes);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
#define IN_FOLDER(test) cmocka_unit_test_setup_teardown(test, folder_make, folder_remove)
        cmocka_unit_test_teardown(test_any_history_reads_back, folder_remove),
        IN_FOLDER(test_deletion_leaves_the_rest),
        IN_FOLDER(test_older_stores_lose_nothing),
        cmocka_unit_test(test_damaged_packs),
        cmocka_unit_test(test_rows_of_many_meters),
    };
    random_start("test_store_layout");
    return cmocka_run_group_tests_name("store/layout", tests, NULL, NULL);
}
