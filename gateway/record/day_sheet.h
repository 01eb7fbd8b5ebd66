// What the store knows of one gas day: the ledgers that stand in it, those of days that are not
// over from the hours that are, the gateway's outages, the messages that will never come, and the
// lanes.
#ifndef METERGATE_RECORD_DAY_SHEET_H
#define METERGATE_RECORD_DAY_SHEET_H

#include "store/store.h"

#define DAY_SHEET_GAPS_MAX 100 // newest named gaps; the others are counted only

struct day_sheet {
    struct store *store;
    const struct gas_calendar *calendar;
    const char *meter;      // NULL: all
    int64_t from_ms, to_ms; // the gas day
    struct stored_ledger *list;
    int count, room;
    int closed; // the first of the list; the others are of open days
    int64_t gap_count;
    struct stored_gap gaps[DAY_SHEET_GAPS_MAX]; // a ring
    struct outbox_state lanes[LANES_END];
    bool failed; // no memory
};

// `sheet` holds store, calendar, meter, from_ms and to_ms, all else is 0.
int day_sheet_collect(struct day_sheet *sheet, struct err *err);
void day_sheet_release(struct day_sheet *sheet);
// All meters together.
struct ledger_sum day_sheet_sum(const struct day_sheet *sheet);
// The gap at a place, oldest first, of as many as day_sheet_gaps says.
int day_sheet_gaps(const struct day_sheet *sheet);
const struct stored_gap *day_sheet_gap(const struct day_sheet *sheet, int place);

#endif
