// All rows of all tables of a database as check sums: two stores with the same ones hold the same.
// SQL alone, nothing of the product.
#ifndef METERGATE_TESTS_FAULT_POWER_DUMP_H
#define METERGATE_TESTS_FAULT_POWER_DUMP_H

#include <sqlite3.h>
#include <stddef.h>
#include <stdint.h>

#define DUMP_TABLES 48

struct dump {
    int count;
    struct {
        char name[32];
        int64_t rows;
        uint64_t hash;
    } tables[DUMP_TABLES];
};

// -1 with a message where the database cannot be read.
int dump_take(sqlite3 *db, struct dump *dump, char *why, size_t size);
// 0: they are the same; -1 with the tables that differ.
int dump_compare(const struct dump *expected, const struct dump *is, char *why, size_t size);
// PRAGMA integrity_check; -1 with what it says.
int dump_integrity(sqlite3 *db, char *why, size_t size);

uint64_t hash_bytes(uint64_t hash, const void *bytes, size_t length); // begin with HASH_BEGIN
#define HASH_BEGIN UINT64_C(0xCBF29CE484222325)

#endif
