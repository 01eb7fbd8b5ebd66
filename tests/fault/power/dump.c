#include "dump.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

// FNV-1a, eight bytes at a time where there are eight.
uint64_t hash_bytes(uint64_t hash, const void *bytes, size_t length)
{
    const unsigned char *at = bytes;
    for (; length >= 8; length -= 8, at += 8) {
        uint64_t word;
        memcpy(&word, at, sizeof word);
        hash = (hash ^ word) * UINT64_C(0x9E3779B97F4A7C15);
        hash ^= hash >> 29;
    }
    for (; length > 0; length--, at++)
        hash = (hash ^ *at) * UINT64_C(0x100000001B3);
    return hash;
}

static int failed(sqlite3 *db, char *why, size_t size)
{
    (void)snprintf(why, size, "SQL: %s", sqlite3_errmsg(db));
    return -1;
}

static uint64_t hash_value(uint64_t hash, sqlite3_stmt *statement, int column)
{
    int type = sqlite3_column_type(statement, column);
    hash = hash_bytes(hash, &type, sizeof type);
    int64_t whole = sqlite3_column_int64(statement, column);
    if (type == SQLITE_INTEGER)
        return hash_bytes(hash, &whole, sizeof whole);
    double real = sqlite3_column_double(statement, column);
    if (type == SQLITE_FLOAT)
        return hash_bytes(hash, &real, sizeof real);
    const void *bytes = sqlite3_column_blob(statement, column);
    int length = sqlite3_column_bytes(statement, column);
    hash = hash_bytes(hash, &length, sizeof length);
    return length > 0 ? hash_bytes(hash, bytes, (size_t)length) : hash;
}

static int table_dump(sqlite3 *db, const char *name, int64_t *rows, uint64_t *hash)
{
    char sql[96];
    sqlite3_stmt *statement = NULL;
    (void)snprintf(sql, sizeof sql, "SELECT * FROM \"%s\"", name);
    if (sqlite3_prepare_v2(db, sql, -1, &statement, NULL) != SQLITE_OK)
        return -1;
    *rows = 0;
    *hash = HASH_BEGIN;
    int code;
    while ((code = sqlite3_step(statement)) == SQLITE_ROW) {
        ++*rows;
        for (int i = 0; i < sqlite3_column_count(statement); i++)
            *hash = hash_value(*hash, statement, i);
    }
    (void)sqlite3_finalize(statement);
    return code == SQLITE_DONE ? 0 : -1;
}

int dump_take(sqlite3 *db, struct dump *dump, char *why, size_t size)
{
    sqlite3_stmt *tables = NULL;
    *dump = (struct dump){.count = 0};
    if (sqlite3_prepare_v2(db,
                           "SELECT name FROM sqlite_schema WHERE type = 'table' AND rootpage > 0"
                           " ORDER BY name",
                           -1, &tables, NULL) != SQLITE_OK)
        return failed(db, why, size);
    int code;
    while ((code = sqlite3_step(tables)) == SQLITE_ROW && dump->count < DUMP_TABLES) {
        (void)snprintf(dump->tables[dump->count].name, sizeof dump->tables[0].name, "%s",
                       (const char *)sqlite3_column_text(tables, 0));
        dump->count++;
    }
    (void)sqlite3_finalize(tables);
    if (code != SQLITE_DONE)
        return failed(db, why, size);
    for (int i = 0; i < dump->count; i++)
        if (table_dump(db, dump->tables[i].name, &dump->tables[i].rows, &dump->tables[i].hash) != 0)
            return failed(db, why, size);
    return 0;
}

int dump_compare(const struct dump *expected, const struct dump *is, char *why, size_t size)
{
    if (expected->count != is->count) {
        (void)snprintf(why, size, "%d tables, not %d", is->count, expected->count);
        return -1;
    }
    size_t length = 0;
    why[0] = '\0';
    for (int i = 0; i < is->count && length < size; i++) {
        if (strcmp(expected->tables[i].name, is->tables[i].name) == 0 &&
            expected->tables[i].hash == is->tables[i].hash &&
            expected->tables[i].rows == is->tables[i].rows)
            continue;
        length += (size_t)snprintf(
            why + length, size - length, "%s%s %s: %" PRId64 " rows, not %" PRId64,
            length > 0 ? ", " : "", is->tables[i].name,
            expected->tables[i].rows == is->tables[i].rows ? "has other values" : "differs",
            is->tables[i].rows, expected->tables[i].rows);
    }
    return length == 0 ? 0 : -1;
}

int dump_integrity(sqlite3 *db, char *why, size_t size)
{
    sqlite3_stmt *statement = NULL;
    if (sqlite3_prepare_v2(db, "PRAGMA integrity_check(1)", -1, &statement, NULL) != SQLITE_OK)
        return failed(db, why, size);
    int result = -1;
    if (sqlite3_step(statement) == SQLITE_ROW) {
        const char *text = (const char *)sqlite3_column_text(statement, 0);
        (void)snprintf(why, size, "integrity_check: %s", text);
        result = strcmp(text, "ok") == 0 ? 0 : -1;
    } else {
        (void)failed(db, why, size);
    }
    (void)sqlite3_finalize(statement);
    return result;
}
