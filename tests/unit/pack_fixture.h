// Readings changed behind the store's back, with a checksum that fits again: as somebody would who
// has the file and reads this program.
#ifndef METERGATE_TESTS_UNIT_PACK_FIXTURE_H
#define METERGATE_TESTS_UNIT_PACK_FIXTURE_H

#include "store/segment.h"

#include "store_fixture.h"

// Packs what is in the tail, in a round of its own.
static inline void pack_now(struct store *store)
{
    must(store_round_begin(store, &failure));
    must(store_reading_pack(store, &failure));
    must(store_round_commit(store, &failure));
}

typedef void row_change(struct rows_entry *row);

static inline void pack_write(sqlite3 *db, int64_t id, const struct rows *rows)
{
    sqlite3_stmt *statement;
    struct buf pack;
    buf_init(&pack, 1 << 20);
    pack_make(rows, 0, rows->count, id >> 16, &pack);
    assert_false(pack.failed);
    assert_int_equal(
        sqlite3_prepare_v2(db, "UPDATE pack SET body = ? WHERE id = ?", -1, &statement, NULL),
        SQLITE_OK);
    (void)sqlite3_bind_blob(statement, 1, pack.data, (int)pack.length, SQLITE_STATIC);
    (void)sqlite3_bind_int64(statement, 2, id);
    assert_int_equal(sqlite3_step(statement), SQLITE_DONE);
    (void)sqlite3_finalize(statement);
    buf_release(&pack);
}

static inline void rows_change(struct rows *rows, int64_t number, row_change *change)
{
    int place = 0;
    while (place < rows->count && rows->list[place].number != number)
        place++;
    assert_true(place < rows->count);
    if (change != NULL) {
        change(&rows->list[place]);
        return;
    }
    rows->count--;
    memmove(&rows->list[place], &rows->list[place + 1],
            (size_t)(rows->count - place) * sizeof rows->list[0]);
}

// Changes the reading of that number, which lies in the first pack of its segment; NULL removes it.
static inline void reading_change(int64_t number, row_change *change)
{
    sqlite3 *db;
    sqlite3_stmt *statement;
    struct rows rows;
    assert_int_equal(sqlite3_open(store_path(), &db), SQLITE_OK);
    assert_int_equal(sqlite3_prepare_v2(db,
                                        "SELECT id, body FROM pack WHERE id >> 16 <= ?"
                                        " ORDER BY id >> 16 DESC, id LIMIT 1",
                                        -1, &statement, NULL),
                     SQLITE_OK);
    (void)sqlite3_bind_int64(statement, 1, number);
    assert_int_equal(sqlite3_step(statement), SQLITE_ROW);
    int64_t id = sqlite3_column_int64(statement, 0);
    rows_init(&rows);
    must(pack_rows(id >> 16, (int)(id & ROW_METER_MAX), 0, sqlite3_column_blob(statement, 1),
                   (size_t)sqlite3_column_bytes(statement, 1), &rows, &failure));
    (void)sqlite3_finalize(statement);
    rows_change(&rows, number, change);
    pack_write(db, id, &rows);
    rows_release(&rows);
    assert_int_equal(sqlite3_close(db), SQLITE_OK);
}

static inline void short_words(struct rows_entry *row)
{
    row->word_bytes = 1;
}
static inline void strange_decoder(struct rows_entry *row)
{
    row->decoder = 1234567;
}

#endif
