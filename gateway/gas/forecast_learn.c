// What the methods would have said of the newest weeks: their weights and the bands.
#include "gas/forecast_inside.h"

#include <assert.h>
#include <math.h>
#include <string.h>

#define TRIAL_DAYS 28
#define TRIAL_DAYS_SLOW 56 // where a day has few slots
#define FEW_SLOTS 12
#define LEVEL_DAYS 3
#define EXTREMES_MAX 6
#define SURE_ERRORS 8 // errors that a band is made of, at least
static const int lead_days[FORECAST_LEADS] = {1, 7};
static const double level_most = 2;
static const double fade_trial = 0.9048; // of an error, in a day: 1/e in 10 days
static const double power = 4;
static const double weight_least = 1e-9;
static const double prior[FORECAST_METHODS] = {1, 0.5, 0.5, 0.5};

// The slots tried, oldest first: `count` of them, `stride` slots apart, the last is the newest.
struct tried {
    int count, stride;
    int day; // of them in a day
};

static void put_extreme(double list[static EXTREMES_MAX], double value)
{
    for (int i = 0; i < EXTREMES_MAX; i++)
        if (value > list[i]) {
            double moved = list[i];
            list[i] = value;
            value = moved;
        }
}

// Counts values, and finds where means are cut: at the 2nd to 6th largest and smallest known.
static void look(const struct forecast *forecast, struct forecast_model *model)
{
    double high[EXTREMES_MAX], low[EXTREMES_MAX], sum = 0;
    for (int i = 0; i < EXTREMES_MAX; i++)
        high[i] = low[i] = -INFINITY;
    for (int i = 0; i < FORECAST_SLOTS; i++) {
        double value = forecast->value[i];
        if (isnan(value))
            continue;
        model->known++;
        sum += value;
        put_extreme(high, value);
        put_extreme(low, -value);
    }
    int nth = model->known < 24 ? 0 : 1 + model->known / 500;
    assert(nth < EXTREMES_MAX);
    model->lowest = -low[0];
    model->cut[0] = -low[nth];
    model->cut[1] = high[nth];
    model->typical = model->known > 0 ? sum / model->known : 0;
    model->typical = fmin(fmax(model->typical, model->cut[0]), model->cut[1]);
}

static struct tried try_which(const struct forecast *forecast)
{
    int slots = forecast_day_slots(forecast);
    int days = slots < FEW_SLOTS ? TRIAL_DAYS_SLOW : TRIAL_DAYS;
    if (days * slots > FORECAST_SLOTS / 2)
        days = FORECAST_SLOTS / 2 / slots;
    int stride = (days * slots + FORECAST_TRIAL - 1) / FORECAST_TRIAL;
    while (slots % stride != 0)
        stride++;
    return (struct tried){days * slots / stride, stride, slots / stride};
}

// How the values of the last days before (and with) tried slot `last` compare with the same
// weekday's.
static double level_at(const struct forecast_model *model, const struct tried *tried, int last)
{
    double truth = 0, weekday = 0;
    int first = last - LEVEL_DAYS * tried->day + 1;
    for (int i = first; i <= last && first >= 0; i++) {
        const struct forecast_trial *trial = &model->trial[i];
        if (isnan(trial->truth) || isnan(trial->method[0][METHOD_WEEKDAY]))
            continue;
        truth += trial->truth;
        weekday += trial->method[0][METHOD_WEEKDAY];
    }
    if (truth < 0 || weekday <= 0)
        return 1;
    return fmin(fmax(truth / weekday, 1 / level_most), level_most);
}

static void try_all(const struct forecast *forecast, struct forecast_model *model,
                    const struct tried *tried)
{
    int slots = forecast_day_slots(forecast);
    for (int i = 0; i < tried->count; i++) {
        struct forecast_trial *trial = &model->trial[i];
        int64_t slot = forecast->newest - (int64_t)(tried->count - 1 - i) * tried->stride;
        // cut like the means, so that one spike does not drown what the other values teach
        trial->truth = forecast_at(forecast, slot);
        if (!isnan(trial->truth))
            trial->truth = fmin(fmax(trial->truth, model->cut[0]), model->cut[1]);
        for (int lead = 0; lead < FORECAST_LEADS; lead++)
            trial->spread[lead] = forecast_methods(
                forecast, model, slot, slot - (int64_t)lead_days[lead] * slots,
                level_at(model, tried, i - lead_days[lead] * tried->day), trial->method[lead]);
    }
    model->level = level_at(model, tried, tried->count - 1);
}

// Weights of the methods at a lead, from the trial; false where it tells nothing.
static bool weigh(struct forecast_model *model, const struct tried *tried, int lead)
{
    double error[FORECAST_METHODS] = {0}, all = 0, sum = 0;
    int errors = 0;
    for (int i = 0; i < tried->count; i++) {
        const struct forecast_trial *trial = &model->trial[i];
        if (isnan(trial->truth) || isnan(trial->method[lead][METHOD_LIKE]))
            continue;
        double age_days = (double)(tried->count - 1 - i) / tried->day;
        errors++;
        for (int method = 0; method < FORECAST_METHODS; method++)
            error[method] +=
                pow(fade_trial, age_days) * fabs(trial->method[lead][method] - trial->truth);
    }
    for (int method = 0; method < FORECAST_METHODS; method++)
        all += error[method] / FORECAST_METHODS;
    if (errors < tried->day || errors < SURE_ERRORS)
        return false;
    for (int method = 0; method < FORECAST_METHODS; method++) {
        double part = all > 0 ? error[method] / all + 1e-9 : 1;
        sum += model->weight[lead][method] = prior[method] * pow(part, -power);
    }
    for (int method = 0; method < FORECAST_METHODS; method++) {
        model->weight[lead][method] /= sum;
        if (model->weight[lead][method] < weight_least)
            model->weight[lead][method] = 0; // what is exact stays exact
    }
    return true;
}

static double blend(const double method[static FORECAST_METHODS],
                    const double weight[static FORECAST_METHODS])
{
    double sum = 0;
    for (int i = 0; i < FORECAST_METHODS; i++)
        sum += method[i] * weight[i];
    return sum;
}

static void sort(double *list, int count)
{
    for (int i = 1; i < count; i++) {
        double value = list[i];
        int at = i;
        for (; at > 0 && list[at - 1] > value; at--)
            list[at] = list[at - 1];
        list[at] = value;
    }
}

// The 10 % and the 90 % of errors; -1 when they are too few.
static int tenths(double *errors, int count, double out[static 2])
{
    if (count < SURE_ERRORS)
        return -1;
    sort(errors, count);
    // of n errors the k-th has k of n + 1 parts below it, so that few errors make a wide band
    for (int side = 0; side < 2; side++) {
        double rank = (side == 0 ? 0.1 : 0.9) * (count + 1) - 1;
        rank = fmin(fmax(rank, 0), count - 1);
        int below = (int)rank < count - 1 ? (int)rank : count - 2;
        out[side] = errors[below] + (rank - below) * (errors[below + 1] - errors[below]);
    }
    return 0;
}

static int band_slots(struct forecast_model *model, const struct tried *tried, int lead)
{
    double errors[FORECAST_TRIAL];
    int count = 0;
    for (int i = 0; i < tried->count; i++) {
        const struct forecast_trial *trial = &model->trial[i];
        double error = trial->truth - blend(trial->method[lead], model->weight[lead]);
        if (!isnan(error))
            errors[count++] = error / (trial->spread[lead] + model->floor);
    }
    return tenths(errors, count, model->band[lead]);
}

// The sums of whole days back from the newest slot; a slot that is not known is in neither sum.
static int band_days(struct forecast_model *model, const struct tried *tried, int lead)
{
    double errors[TRIAL_DAYS_SLOW];
    int count = 0;
    for (int end = tried->count; end >= tried->day; end -= tried->day) {
        double sum = 0;
        int known = 0;
        for (int i = end - tried->day; i < end; i++) {
            const struct forecast_trial *trial = &model->trial[i];
            double error = trial->truth - blend(trial->method[lead], model->weight[lead]);
            if (isnan(error))
                continue;
            sum += error * tried->stride;
            known++;
        }
        if (2 * known > tried->day)
            errors[count++] = sum * tried->day / known;
    }
    return tenths(errors, count, model->day_band[lead]);
}

// A tenth of the mean spread: what is added to each, so that a slot whose like do not differ has
// one.
static double floor_of(const struct forecast_model *model, const struct tried *tried)
{
    double sum = 0;
    int count = 0;
    for (int i = 0; i < tried->count; i++) {
        const struct forecast_trial *trial = &model->trial[i];
        if (isnan(trial->truth) || isnan(trial->spread[0]))
            continue;
        sum += trial->spread[0];
        count++;
    }
    return count > 0 ? 0.1 * sum / count : 0;
}

void forecast_learn(const struct forecast *forecast, bool mean, struct forecast_model *model)
{
    assert(forecast_ready(forecast));
    memset(model, 0, sizeof *model);
    model->mean = mean;
    look(forecast, model);
    struct tried tried = try_which(forecast);
    try_all(forecast, model, &tried);
    model->floor = floor_of(model, &tried) + 1e-9 * fabs(model->cut[1] - model->cut[0]) + 1e-12;
    for (int lead = 0; lead < FORECAST_LEADS; lead++) {
        double *weight = model->weight[lead];
        if (!weigh(model, &tried, lead)) {
            if (lead > 0)
                memcpy(weight, model->weight[0], sizeof model->weight[0]);
            else
                weight[METHOD_LIKE] = 1;
        }
        if (band_slots(model, &tried, lead) != 0)
            memcpy(model->band[lead], lead > 0 ? model->band[0] : (const double[2]){-1, 1},
                   sizeof model->band[lead]);
        // where days are too few, the span of what is known
        int slots = forecast_day_slots(forecast);
        double span = (model->cut[1] - model->cut[0]) * sqrt(slots);
        if (band_days(model, &tried, lead) != 0)
            memcpy(model->day_band[lead],
                   lead > 0 ? model->day_band[0] : (const double[2]){-span, span},
                   sizeof model->day_band[lead]);
    }
}

// Between a day and a week ahead, in parts of the way.
static double far(const struct forecast *forecast, int ahead)
{
    double days = (double)ahead / forecast_day_slots(forecast);
    return fmin(fmax((days - lead_days[0]) / (lead_days[1] - lead_days[0]), 0), 1);
}

static double between(double near, double away, double part)
{
    return near + (away - near) * part;
}

struct forecast_point forecast_predict(const struct forecast *forecast,
                                       const struct forecast_model *model, int ahead)
{
    assert(ahead >= 1);
    double method[FORECAST_METHODS], weight[FORECAST_METHODS];
    double spread = forecast_methods(forecast, model, forecast->newest + ahead, forecast->newest,
                                     model->level, method);
    double part = far(forecast, ahead);
    for (int i = 0; i < FORECAST_METHODS; i++)
        weight[i] = between(model->weight[0][i], model->weight[1][i], part);
    struct forecast_point point = {.value = blend(method, weight)};
    if (isnan(point.value)) {
        point.value = model->typical;
        spread = model->cut[1] - model->cut[0];
    }
    spread += model->floor;
    double low = between(model->band[0][0], model->band[1][0], part) * spread;
    double high = between(model->band[0][1], model->band[1][1], part) * spread;
    point.low = point.value + fmin(low, 0);
    point.high = point.value + fmax(high, 0);
    if (model->lowest >= 0 && point.low < 0)
        point.low = 0;
    return point;
}

struct forecast_point forecast_total(const struct forecast *forecast,
                                     const struct forecast_model *model, int ahead, int count)
{
    double sum = 0;
    for (int i = 0; i < count; i++)
        sum += forecast_predict(forecast, model, ahead + i).value;
    double part = far(forecast, ahead + count - 1);
    double scale = sqrt((double)count / forecast_day_slots(forecast));
    double low = between(model->day_band[0][0], model->day_band[1][0], part) * scale;
    double high = between(model->day_band[0][1], model->day_band[1][1], part) * scale;
    struct forecast_point point = {sum, sum + fmin(low, 0), sum + fmax(high, 0)};
    if (model->lowest >= 0 && point.low < 0)
        point.low = 0;
    return point;
}
