#include "drivers/simulator/site_model.h"

#include <math.h>
#include <stddef.h>

#define SECOND_MS INT64_C(1000)
#define DAY_S INT64_C(86400)
#define HOUR_MS INT64_C(3600000)
#define MICRO 1e6
#define FLOW_STEP_MICRO 1000 // a meter's flow has three decimals
#define KELVIN 273.15
#define TURN 6.283185307179586

enum salt { SALT_FLOW = 1, SALT_PRESSURE, SALT_GAS, SALT_AIR };

uint64_t model_mix(uint64_t number)
{
    number += UINT64_C(0x9E3779B97F4A7C15);
    number = (number ^ number >> 30) * UINT64_C(0xBF58476D1CE4E5B9);
    number = (number ^ number >> 27) * UINT64_C(0x94D049BB133111EB);
    return number ^ number >> 31;
}

static int64_t floor_divide(int64_t number, int64_t by)
{
    int64_t quotient = number / by;
    return number % by < 0 ? quotient - 1 : quotient;
}

// -1 to 1, evenly spread.
static double noise_at(uint64_t seed, enum salt salt, int64_t step)
{
    uint64_t mixed = model_mix(model_mix(seed + (uint64_t)salt) ^ (uint64_t)step);
    return (double)(mixed >> 11) / (double)(UINT64_C(1) << 52) - 1;
}

// Noise that wanders from one value to the next within `period_s`.
static double noise_smooth(uint64_t seed, enum salt salt, int64_t second, int64_t period_s)
{
    int64_t step = floor_divide(second, period_s);
    double part = (double)(second - step * period_s) / (double)period_s;
    double weight = part * part * (3 - 2 * part);
    return noise_at(seed, salt, step) * (1 - weight) + noise_at(seed, salt, step + 1) * weight;
}

// ---- the day ------------------------------------------------------------------------------------

struct point {
    int minute;
    double work;
};

#define AT(hour, minute) ((hour)*60 + (minute))
#define BASE_WORK 0.04 // pilots, leaks, a guard's stove

static const struct point two_shift_day[] = {
    {AT(0, 0), BASE_WORK}, {AT(5, 30), BASE_WORK},  {AT(6, 15), 0.9},       {AT(8, 0), 1},
    {AT(11, 30), 1},       {AT(11, 40), 0.5},       {AT(12, 20), 0.5},      {AT(12, 30), 1},
    {AT(13, 50), 0.95},    {AT(14, 0), 0.6},        {AT(14, 15), 0.95},     {AT(17, 30), 0.95},
    {AT(17, 40), 0.55},    {AT(18, 10), 0.55},      {AT(18, 20), 0.9},      {AT(21, 45), 0.85},
    {AT(22, 15), 0.15},    {AT(22, 45), BASE_WORK}, {AT(24, 0), BASE_WORK},
};

static const struct point saturday[] = {
    {AT(0, 0), BASE_WORK},   {AT(6, 0), BASE_WORK},  {AT(7, 0), 0.45},   {AT(11, 30), 0.45},
    {AT(11, 40), 0.2},       {AT(12, 20), 0.2},      {AT(12, 30), 0.45}, {AT(14, 0), 0.4},
    {AT(14, 30), BASE_WORK}, {AT(24, 0), BASE_WORK},
};

static const struct point day_of_rest[] = {{AT(0, 0), BASE_WORK}, {AT(24, 0), BASE_WORK}};

static double points_at(const struct point *points, double minute)
{
    while (points[1].minute <= minute && points[1].minute < AT(24, 0))
        points++;
    double part = (minute - points[0].minute) / (points[1].minute - points[0].minute);
    return points[0].work + (points[1].work - points[0].work) * part;
}

static bool is_holiday(const struct model_calendar *calendar, int64_t day)
{
    for (int i = 0; i < calendar->holiday_count; i++)
        if (calendar->holidays[i] == day)
            return true;
    return false;
}

static double two_shift_work(const struct model_calendar *calendar, int64_t local_s)
{
    int64_t day = floor_divide(local_s, DAY_S);
    double minute = (double)(local_s - day * DAY_S) / 60;
    int64_t weekday = ((day + 3) % 7 + 7) % 7; // 1970-01-01 was a Thursday; 0 is Monday
    if (weekday == 6 || is_holiday(calendar, day))
        return points_at(day_of_rest, minute);
    return points_at(weekday == 5 ? saturday : two_shift_day, minute);
}

// ---- weather ------------------------------------------------------------------------------------

// 1 in the warmest of its season or day, -1 in the coldest.
static double season_wave(int64_t local_s, double warmest_day)
{
    double day = (double)local_s / (double)DAY_S;
    return cos(TURN * (day - warmest_day) / 365.2425);
}

static double day_wave(int64_t local_s, double warmest_hour)
{
    double hour = (double)(local_s - floor_divide(local_s, DAY_S) * DAY_S) / 3600;
    return cos(TURN * (hour - warmest_hour) / 24);
}

static double air_temperature(uint64_t seed, int64_t local_s)
{
    return 14 + 13 * season_wave(local_s, 200) + 4.5 * day_wave(local_s, 15) +
           2 * noise_smooth(seed, SALT_AIR, local_s, 6 * 3600);
}

// Buried pipes follow slowly; expansion in the regulator cools the gas while it flows.
static double gas_temperature(uint64_t seed, int64_t local_s, double work)
{
    return 15 + 6 * season_wave(local_s, 215) + 1.2 * day_wave(local_s, 16) - 1.5 * work +
           0.2 * noise_smooth(seed, SALT_GAS, local_s, 600);
}

// A regulator: above its set point at lock-up, drooping as the flow grows.
static double line_pressure(const struct model_settings *settings, int64_t local_s, double work)
{
    double lock_up = 0.012 * (1 - fmin(work, 1)) * (1 - fmin(work, 1));
    double droop = 0.03 * work * work;
    double noise = 0.002 * noise_smooth(settings->seed, SALT_PRESSURE, local_s, 30);
    return settings->supply_kpa * (1 + lock_up - droop + noise);
}

// ---- values -------------------------------------------------------------------------------------

static double work_at(const struct model_settings *settings, int64_t local_s)
{
    double noise = noise_smooth(settings->seed, SALT_FLOW, local_s, 20);
    switch (settings->pattern) {
    case PATTERN_TWO_SHIFT: return two_shift_work(settings->calendar, local_s) * (1 + 0.04 * noise);
    case PATTERN_CONTINUOUS: return 0.9 + 0.06 * noise;
    case PATTERN_HEATING: {
        double cold = (20 - air_temperature(settings->seed, local_s)) / 25;
        return fmin(fmax(cold, BASE_WORK), 1) * (1 + 0.04 * noise);
    }
    case PATTERN_CONSTANT: return 1;
    case PATTERN_OFF: break;
    }
    return 0;
}

// Z / Zb of a lean natural gas at moderate pressure, by its second virial coefficient. Good enough
// to tell a corrected volume from an uncorrected one; metergate's own conversion is in gas/.
static double compressibility(double pressure_kpa, double base_pressure_kpa, double kelvin)
{
    double ratio =
        1 - 0.0024 * (pressure_kpa - base_pressure_kpa) / 101.325 * pow(288.15 / kelvin, 3);
    return fmax(ratio, 0.2);
}

static int64_t to_flow_micro(double flow)
{
    return llround(flow * MICRO / FLOW_STEP_MICRO) * FLOW_STEP_MICRO;
}

void model_values(const struct model_settings *settings, const struct model_state *state,
                  int64_t at_ms, struct model_values *out)
{
    int64_t local_s =
        floor_divide(at_ms, SECOND_MS) + 60 * (int64_t)settings->calendar->utc_offset_min;
    double full = settings->capacity * settings->load;
    bool ordered = !isnan(state->flow_measured);
    double work = work_at(settings, local_s);
    double flow = ordered ? state->flow_measured : full * work;
    if (ordered)
        work = full > 0 ? flow / full : 0;
    out->work = work;
    out->flow_measured_micro = to_flow_micro(flow);
    out->pressure_kpa =
        isnan(state->pressure_kpa) ? line_pressure(settings, local_s, work) : state->pressure_kpa;
    out->temperature_c = isnan(state->temperature_c)
                             ? gas_temperature(settings->seed, local_s, work)
                             : state->temperature_c;
    out->air_temperature_c = air_temperature(settings->seed, local_s);
    double kelvin = out->temperature_c + KELVIN;
    out->compressibility_ratio =
        compressibility(out->pressure_kpa, settings->base_pressure_kpa, kelvin);
    out->conversion_factor = out->pressure_kpa / settings->base_pressure_kpa *
                             (settings->base_temperature_c + KELVIN) / kelvin /
                             out->compressibility_ratio;
    out->flow_base_micro = llround((double)out->flow_measured_micro * out->conversion_factor);
    double days = (double)(at_ms - state->started_ms) / (double)(DAY_S * SECOND_MS);
    out->battery_percent = fmax(0, 98 - 0.03 * days);
}

// ---- counters -----------------------------------------------------------------------------------

void model_start(struct model_state *state, int64_t at_ms, int64_t volume_measured_micro,
                 int64_t volume_base_micro)
{
    *state = (struct model_state){
        .started_ms = at_ms,
        .at_ms = at_ms,
        .measured = {volume_measured_micro, 0},
        .base = {volume_base_micro, 0},
        .base_start = volume_base_micro,
        .flow_measured = NAN,
        .pressure_kpa = NAN,
        .temperature_c = NAN,
    };
}

static void counter_add(struct model_counter *counter, int64_t flow_micro, int64_t ms)
{
    int64_t amount = flow_micro * ms + counter->rest; // at most 9.2e12 m3/h x 1 s: fits
    int64_t whole = floor_divide(amount, HOUR_MS);
    counter->micro += whole;
    counter->rest = amount - whole * HOUR_MS;
}

void model_advance(const struct model_settings *settings, struct model_state *state, int64_t to_ms)
{
    if (to_ms - state->at_ms > MODEL_CATCH_UP_MS)
        state->at_ms = to_ms - MODEL_CATCH_UP_MS;
    while (state->at_ms < to_ms) {
        int64_t next_ms = (floor_divide(state->at_ms, SECOND_MS) + 1) * SECOND_MS;
        next_ms = next_ms < to_ms ? next_ms : to_ms;
        struct model_values values;
        model_values(settings, state, state->at_ms, &values);
        int64_t sign = state->reverse ? -1 : 1;
        counter_add(&state->measured, sign * values.flow_measured_micro, next_ms - state->at_ms);
        counter_add(&state->base, sign * values.flow_base_micro, next_ms - state->at_ms);
        state->at_ms = next_ms;
    }
}
