// The forecast of one meter that goes out each gas day: the next gas day by the hour, the next
// seven by the day. Pure. How it is made: gas/forecast.h.
#ifndef METERGATE_RECORD_OUTLOOK_H
#define METERGATE_RECORD_OUTLOOK_H

#include "gas/forecast.h"
#include "record/period.h"

#define OUTLOOK_HOURS_MAX 26 // of a gas day, 23 to 25, and the part of one at a change of the start
#define OUTLOOK_DAYS 7
#define OUTLOOK_HISTORY_MS (INT64_C(85) * 24 * 3600 * 1000) // hours that count

// A volume to come, with its band: four of five lie between `low` and `high`. Micro units, whole
// thousandths.
struct outlook_part {
    int64_t from_ms, to_ms;
    int64_t value, low, high;
};

struct outlook {
    char channel[32];       // the counter that it is of
    int64_t from_ms, to_ms; // the seven gas days
    int known;              // hours that it is made from
    int hour_count;         // point forecasts: medians
    struct outlook_part hours[OUTLOOK_HOURS_MAX];
    struct outlook_part days[OUTLOOK_DAYS]; // totals: means
};

// What is needed to make one, some 130 KiB.
struct outlook_work {
    const struct gas_calendar *calendar;
    char channel[32]; // "" until an hour with a counter was taken
    bool begun;
    struct forecast forecast;
    struct forecast_model point, mean;
};

// Hours in order: begin, each hour, make. Base volume counts where a meter has it, else volume at
// line conditions, else its first counter, as the first hour has them.
// `calendar` has to outlive it.
void outlook_begin(struct outlook_work *work, const struct gas_calendar *calendar);
void outlook_hour(struct outlook_work *work, const struct period *hour);
// For the gas days from `from_ms` on. False: too few hours for any forecast.
bool outlook_make(struct outlook_work *work, int64_t from_ms, struct outlook *out);

// Compact form for the store, with a format byte in front; decode returns -1 for bytes that it did
// not write.
void outlook_encode(const struct outlook *outlook, struct buf *out);
int outlook_decode(const void *bytes, size_t length, struct outlook *out);

#endif
