// One use of a prepared statement: begin, values in the order of their places, rows, end. Inside of
// store/.
//
//     struct query query;
//     if (query_begin(&query, store, SLOT_METER_FIND, "SELECT … WHERE id = ?1", err) != 0)
//         return -1;
//     query_text(&query, id);
//     int found = query_row(&query, err); // 1 a row, 0 no more, -1; after 0 and -1 it has ended
//     if (found == 1) { … query_end(&query); }
#ifndef METERGATE_STORE_QUERY_H
#define METERGATE_STORE_QUERY_H

#include "store/database.h"

struct query {
    struct store *store;
    sqlite3_stmt *statement;
    int place; // of the newest value
    int code;  // of the first value that did not bind
};

// A statement that writes needs an open round: outside one it is our own bug.
int query_begin(struct query *query, struct store *store, enum slot slot, const char *sql,
                struct err *err);
void query_int(struct query *query, int64_t value);
void query_int_or_null(struct query *query, bool present, int64_t value);
void query_real(struct query *query, double value);     // NaN becomes NULL
void query_text(struct query *query, const char *text); // NULL binds NULL
void query_text_part(struct query *query, const char *text, size_t length);
void query_blob(struct query *query, const void *bytes, size_t length);

int query_row(struct query *query, struct err *err);
// Steps to the end and ends; rows are not looked at.
int query_run(struct query *query, struct err *err);
void query_end(struct query *query);
// Begins a statement that takes one whole number, and looks for its first row: 1, and it is the
// caller's to end; 0 there is none, -1: it has ended.
int query_find(struct query *query, struct store *store, enum slot slot, const char *sql,
               int64_t value, struct err *err);
// A statement that writes and takes whole numbers only, from begin to end.
int query_do(struct store *store, enum slot slot, const char *sql, const int64_t *values, int count,
             struct err *err);
// A check sum of AUDIT_HASH_SIZE bytes. False, and nothing copied, where it has another length.
bool query_get_hash(const struct query *query, int column, uint8_t hash[static AUDIT_HASH_SIZE]);

int64_t query_get_int(const struct query *query, int column);
bool query_is_null(const struct query *query, int column);
double query_get_real(const struct query *query, int column); // NULL becomes NaN
// Copies a text, cut where it is longer than the place.
void query_get_text(const struct query *query, int column, char *out, size_t size);

#endif
