// Rows of CSV (RFC 4180) out of a stream, one at a time: quoted cells may hold commas, doubled
// quotes and newlines; CRLF counts as a newline; empty lines and a byte order mark are skipped.
#ifndef METERGATE_CLI_CSV_READER_H
#define METERGATE_CLI_CSV_READER_H

#include "base/err.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

#define CSV_ROW_BYTES_MAX 65536 // of one row, with a NUL for each cell; a longer one is an error
#define CSV_CELLS_MAX 64        // of one row; more are an error

struct csv_reader {
    FILE *in;
    int64_t line;     // being read, from 1
    int64_t row_line; // where the newest row began
    bool begun;
    int count;
    size_t length;
    char *cells[CSV_CELLS_MAX]; // of the newest row, until the next is read
    char text[CSV_ROW_BYTES_MAX];
};

void csv_reader_init(struct csv_reader *reader, FILE *in);
// 1: a row, 0: the end. -1 with the line: a quote that never closes, a NUL byte, a row beyond the
// bounds, or a stream that cannot be read; what follows cannot be told apart any more.
int csv_read(struct csv_reader *reader, struct err *err);

#endif
