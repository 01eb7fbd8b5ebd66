// What a report says of one meter over a gas day, a month or a year, from its closed periods. Pure:
// periods in, figures out; no I/O, no allocation.
//
// Volumes are exact: the difference of two indices as the periods have them, and sums of integers.
// What is not known is not known: nothing missing counts as zero.
#ifndef METERGATE_REPORT_USAGE_H
#define METERGATE_REPORT_USAGE_H

#include "record/period.h"

#define USAGE_COUNTERS_MAX 6 // further counters of a meter are not in reports
#define USAGE_PARTS_MAX 31
#define USAGE_QUALITIES (QUALITY_MISSING + 1)

// A counter over the whole: `known` says whether its advance is.
struct usage_counter {
    char name[32];
    bool start_known, end_known, known, exchanged;
    uint8_t start_quality, end_quality, quality;
    uint16_t why; // of a quality that is not good
    int64_t start_micro, end_micro;
    int64_t jump_micro; // of exchanges: no gas
    bool jump_known;
    int64_t volume_micro;
};

// A shorter period of it: a day of a month, an hour of a day.
struct usage_part {
    int64_t from_ms, to_ms;
    int version;
    uint8_t quality;
    int64_t expected, good, suspect, missing;
    struct {
        bool known;
        uint8_t quality;
        int64_t micro;
    } counters[USAGE_COUNTERS_MAX]; // in the order of usage.counters
};

// A sum over hours or days of one kind (hour of the day, day of the week).
struct usage_slot {
    int64_t micro;
    int known, unknown; // how many there are in it, and how many it lacks
};

// The hour with the most, and what the load factor rests on.
struct usage_hours {
    int known, unknown;
    int of_quality[USAGE_QUALITIES];
    int64_t micro, length_ms; // of all known ones
    int64_t peak_micro, peak_from_ms;
    uint8_t peak_quality; // of peak_micro; without a known hour nothing
};

struct usage {
    // given
    const struct gas_calendar *calendar;
    int64_t from_ms, to_ms;
    enum span part_span; // SPAN_HOUR of a day, SPAN_DAY of a month, SPAN_MONTH of a year
    // found
    bool any;    // there is a period of it
    bool closed; // there is one of the whole, or the parts reach the end
    bool first;  // the meter begins in it
    bool holes;  // stored periods do not join: what was in between is not known
    int64_t reached_ms;
    int version;     // of the period of the whole, 0 without
    int corrected;   // parts of a version above 1
    uint8_t quality; // the worst
    int64_t expected, good, suspect, missing;
    int counter_count;
    struct usage_counter counters[USAGE_COUNTERS_MAX];
    int main; // the counter that hours and days are of; -1: none
    int part_count;
    struct usage_part parts[USAGE_PARTS_MAX];
    struct usage_hours hours;
    struct usage_slot of_hour[24];   // by the clock on the site's wall at its beginning
    struct usage_slot of_weekday[7]; // by the date on which the gas day begins; Monday first
};

// Keeps the pointer to the calendar.
void usage_init(struct usage *usage, const struct gas_calendar *calendar, enum span part_span,
                int64_t from_ms, int64_t to_ms);

// Takes a newest version of a closed period within [from_ms, to_ms). The order: the period of the
// whole, if there is one (a year has none), then those of `part_span`, then all shorter ones down
// to the hour, each span in the order of time. `whole`: it is that of the whole.
void usage_add(struct usage *usage, const struct period *period, bool whole);

// The volume that a report speaks of: base before computed before measured, else the meter's first
// counter; -1 without any.
int usage_main_counter(const struct usage *usage);

// Mean over peak of the known hours in 1/10000, rounded half to even; -1 where there is no such
// thing (no hour known, or nothing flowed).
int usage_load_factor(const struct usage_hours *hours);

// How far `now` is above `before`, in 1/100 percent of `before`, rounded half to even. False where
// that says nothing: before is not above 0, or the change has no room.
bool usage_change(int64_t now_micro, int64_t before_micro, int64_t *hundredths);

// Monday is 0: of the date that the site's clock shows.
int usage_weekday(const struct gas_calendar *calendar, int64_t at_ms);

// --- several meters: a site, a customer ---

// A sum over those meters that have the counter.
struct usage_sum {
    char name[32];
    int64_t micro;
    int known, unknown; // meters
    uint8_t quality;    // the worst of those known
    bool overflow;      // it has no room: not known
};

struct usage_total {
    char counter[32]; // given: the counter that hours and days are of
    int meters;
    int64_t expected, good, suspect, missing;
    int corrected, open;
    uint8_t quality;
    int sum_count;
    struct usage_sum sums[2 * USAGE_COUNTERS_MAX]; // counters beyond these are not summed
    struct usage_hours hours;                      // all meters together, hour by hour
    struct usage_slot of_hour[24]; // each meter's, added: known and unknown count hours of meters
    struct usage_slot of_weekday[7];
    // the hour that is being summed
    int64_t now_ms, now_to_ms, now_micro;
    int now_known, now_unknown;
    uint8_t now_quality;
};

// Takes an hour of one of its meters, in the order of time over all of them.
void usage_total_hour(struct usage_total *total, const struct period *hour,
                      const struct period_channel *counter);
// Takes a whole meter, after its last period. Once after all: usage_total_end.
void usage_total_meter(struct usage_total *total, const struct usage *usage);
void usage_total_end(struct usage_total *total);

#endif
