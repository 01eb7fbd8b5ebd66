// Forecast of an evenly spaced series: consumption by the hour, the quarter hour, the day. Pure: no
// clock, no I/O, no memory taken. The state is the newest FORECAST_SLOTS values; everything else
// follows from it, so a snapshot is the state, and a state built again from stored values forecasts
// the same.
//
// Four simple methods are tried on the newest weeks as if they had stood then, a day and a week
// ahead, and blended by how they did (weights fall with the fourth power of the error):
//  - like slots: the weighted median of the same time of day (and, less, of its neighbours) of the
//    last 12 weeks; the same weekday counts most, then days of the same kind, and weight falls by
//    1/e in 4 weeks
//  - the same slot of the same weekday alone: exact for what repeats by the week
//  - the same time of day of the last two weeks, 1/e in 4 days: for what changed lately
//  - the same slot of the same weekday, scaled to the level of the last 3 days (a half to double)
// The median makes the least absolute error of a point; for totals, means take its place, after
// values beyond the few largest and smallest known were cut to those, so that one spike counts
// little.
#ifndef METERGATE_GAS_FORECAST_H
#define METERGATE_GAS_FORECAST_H

#include <stdbool.h>
#include <stdint.h>

#define FORECAST_SLOTS 2016 // values kept: 12 weeks of hours, a week of 5 minutes
#define FORECAST_STEP_MIN_S 300
#define FORECAST_STEP_MAX_S 86400
#define FORECAST_METHODS 4
#define FORECAST_LEADS 2   // a day and a week ahead
#define FORECAST_TRIAL 672 // slots tried, at most: 4 weeks of hours

// Time is what a clock on the wall shows, in seconds since 1970 as it counts them: people live by
// it, so a profile keeps its place when daylight saving begins. The hour that an autumn night has
// twice is one slot, the mean of both; the one that a spring night lacks stays empty.
struct forecast {
    int step_s;
    int phase_s;                 // where slots begin, after a whole number of steps
    int64_t newest;              // slot of the last value, or gap, that was pushed
    bool any;                    // something was pushed
    float value[FORECAST_SLOTS]; // by slot modulo FORECAST_SLOTS; NaN: not known
};

// What the state teaches, for forecasting from its end. Some 60 KiB, the caller's.
struct forecast_model {
    bool mean;
    int known;      // values in the state
    double lowest;  // value known
    double cut[2];  // means use no value outside
    double level;   // of the last 3 days, against the same weekday's
    double typical; // mean of all: where a slot has nothing like it
    double floor;   // least width of a spread, so that a quiet slot has a band
    double weight[FORECAST_LEADS][FORECAST_METHODS];
    double band[FORECAST_LEADS][2];     // 10 % and 90 % of own errors, in spreads of the slot
    double day_band[FORECAST_LEADS][2]; // the same of the sum of a day, in units of the value
    struct forecast_trial {
        double truth;
        double method[FORECAST_LEADS][FORECAST_METHODS];
        double spread[FORECAST_LEADS];
    } trial[FORECAST_TRIAL];
};

struct forecast_point {
    double value;
    double low, high; // four of five values lie between, by the method's own recent errors
};

// Whether `step_s` is a step that can be forecast: 5 minutes to a day, a whole number to a day.
bool forecast_step_valid(int step_s);
// Begins without any value. `wall_s` is any slot's time.
void forecast_init(struct forecast *forecast, int step_s, int64_t wall_s);
// The value (NaN: a gap) of the slot at `wall_s`, which must be a whole number of steps from the
// first (else the slot that it lies in). Slots left out are gaps. A slot that was pushed already,
// at most an hour back, becomes the mean of both. -1, and nothing changed: farther back than an
// hour.
int forecast_push(struct forecast *forecast, int64_t wall_s, double value);
// Whether there is enough to forecast from: a day of values, at least three. Less would be
// invention.
bool forecast_ready(const struct forecast *forecast);
// Learns from the state: 10 to 30 ms for hours. The state must be ready.
void forecast_learn(const struct forecast *forecast, bool mean, struct forecast_model *model);
// The slot `ahead` (from 1) after the newest. Never below 0 where no known value is.
struct forecast_point forecast_predict(const struct forecast *forecast,
                                       const struct forecast_model *model, int ahead);
// The sum of `count` slots from the slot `ahead` on: for totals, of a model of means. The band is
// that of whole days; of another count it is scaled by the square root, as of independent errors.
struct forecast_point forecast_total(const struct forecast *forecast,
                                     const struct forecast_model *model, int ahead, int count);
// When the slot `ahead` begins, by the clock on the wall.
int64_t forecast_time(const struct forecast *forecast, int ahead);

#endif
