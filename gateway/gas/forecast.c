#include "gas/forecast.h"

#include "gas/forecast_inside.h"

#include <assert.h>
#include <math.h>

#define DAY_S 86400
#define BACK_MAX_S 3600 // daylight saving sets clocks back by an hour at most
#define READY_MIN 3

static int64_t floor_div(int64_t a, int64_t b)
{
    return a / b - (a % b < 0);
}

bool forecast_step_valid(int step_s)
{
    return step_s >= FORECAST_STEP_MIN_S && step_s <= FORECAST_STEP_MAX_S && DAY_S % step_s == 0;
}

void forecast_init(struct forecast *forecast, int step_s, int64_t wall_s)
{
    assert(forecast_step_valid(step_s));
    *forecast = (struct forecast){.step_s = step_s};
    forecast->phase_s = (int)(wall_s - floor_div(wall_s, step_s) * step_s);
    for (int i = 0; i < FORECAST_SLOTS; i++)
        forecast->value[i] = NAN;
}

static float *place(struct forecast *forecast, int64_t slot)
{
    return &forecast->value[slot - floor_div(slot, FORECAST_SLOTS) * FORECAST_SLOTS];
}

int forecast_push(struct forecast *forecast, int64_t wall_s, double value)
{
    int64_t slot = floor_div(wall_s - forecast->phase_s, forecast->step_s);
    float number = isfinite(value) ? (float)value : NAN;
    if (forecast->any && slot <= forecast->newest) {
        if ((forecast->newest - slot) * forecast->step_s >= BACK_MAX_S && slot != forecast->newest)
            return -1;
        float *twice = place(forecast, slot);
        if (isnan(*twice))
            *twice = number;
        else if (!isnan(number))
            *twice = *twice / 2 + number / 2;
        return 0;
    }
    int64_t from = forecast->any ? forecast->newest + 1 : slot;
    if (slot - from >= FORECAST_SLOTS)
        from = slot - FORECAST_SLOTS + 1;
    for (; from < slot; from++)
        *place(forecast, from) = NAN;
    *place(forecast, slot) = number;
    forecast->newest = slot;
    forecast->any = true;
    return 0;
}

float forecast_at(const struct forecast *forecast, int64_t slot)
{
    if (slot > forecast->newest || slot <= forecast->newest - FORECAST_SLOTS)
        return NAN;
    return forecast->value[slot - floor_div(slot, FORECAST_SLOTS) * FORECAST_SLOTS];
}

int forecast_weekday(const struct forecast *forecast, int64_t slot)
{
    int64_t day = floor_div(slot * forecast->step_s + forecast->phase_s, DAY_S);
    int64_t since_monday = day + 3; // 1970-01-01 was a Thursday
    return (int)(since_monday - floor_div(since_monday, 7) * 7);
}

int forecast_day_slots(const struct forecast *forecast)
{
    return DAY_S / forecast->step_s;
}

int64_t forecast_time(const struct forecast *forecast, int ahead)
{
    return (forecast->newest + ahead) * forecast->step_s + forecast->phase_s;
}

bool forecast_ready(const struct forecast *forecast)
{
    int known = 0;
    for (int i = 0; i < FORECAST_SLOTS; i++)
        known += !isnan(forecast->value[i]);
    int day = forecast_day_slots(forecast);
    return forecast->any && known >= (day > READY_MIN ? day : READY_MIN);
}
