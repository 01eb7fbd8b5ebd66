// What the files of the forecast share.
#ifndef METERGATE_GAS_FORECAST_INSIDE_H
#define METERGATE_GAS_FORECAST_INSIDE_H

#include "gas/forecast.h"

// Values alike to one slot, at most: 84 days of a slot and its two neighbours, or fewer days of
// more neighbours.
#define FORECAST_LIKE 256

enum { METHOD_LIKE, METHOD_WEEKDAY, METHOD_LATELY, METHOD_LEVEL };

float forecast_at(const struct forecast *forecast, int64_t slot);    // NaN: not known
int forecast_weekday(const struct forecast *forecast, int64_t slot); // 0 is Monday
int forecast_day_slots(const struct forecast *forecast);

// What the methods say of slot `target`, from values up to slot `newest`; METHOD_LEVEL is
// METHOD_WEEKDAY times `level`. `model` has mean, cut and typical. Returns the spread of like
// slots, from the 10 % to the 90 % of their weight; NaN, with NaN for each method, where nothing is
// like.
double forecast_methods(const struct forecast *forecast, const struct forecast_model *model,
                        int64_t target, int64_t newest, double level,
                        double out[static FORECAST_METHODS]);

#endif
