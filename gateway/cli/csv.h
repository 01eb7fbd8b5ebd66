// Rows of CSV (RFC 4180) into a buffer: fields with commas, rows with a newline.
#ifndef METERGATE_CLI_CSV_H
#define METERGATE_CLI_CSV_H

#include "base/buf.h"

struct csv {
    struct buf *out;
    bool comma; // the row has a field already
};

void csv_init(struct csv *csv, struct buf *out);
void csv_text(struct csv *csv, const char *text); // quoted where it must be
void csv_int(struct csv *csv, int64_t value);
void csv_micro(struct csv *csv, int64_t micro);
void csv_gauge(struct csv *csv, double number, bool exact); // nothing for NaN and infinity
void csv_time(struct csv *csv, int64_t wall_ms);
void csv_nothing(struct csv *csv);
void csv_end(struct csv *csv); // of the row

#endif
