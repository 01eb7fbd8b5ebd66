// The methods of the forecast: medians and means of values that are like a slot.
#include "gas/forecast_inside.h"

#include <assert.h>
#include <math.h>

// Rounded, and of no great influence: on public meters and on made loads the error changes by less
// than 2 % when any of them is halved or doubled.
#define AGE_DAYS_MAX 84
#define LATELY_DAYS_MAX 14
static const double same_kind = 0.3;      // another weekday of the same kind, against the same one
static const double other_kind = 0.07;    // a weekday against a day of the weekend
static const double neighbours = 0.2;     // all on one side, against the slot
static const double fade_like = 0.9649;   // in a day: 1/e in 4 weeks
static const double fade_lately = 0.7788; // 1/e in 4 days

struct like {
    float value;
    float weight[METHOD_LEVEL]; // of each method that gathers
};

struct likes {
    int count;
    struct like list[FORECAST_LIKE];
};

// A day's values around slot `middle`, with the weights of that day.
static void gather_day(const struct forecast *forecast, const struct forecast_model *model,
                       int64_t middle, int64_t newest, const float day[static METHOD_LEVEL],
                       struct likes *likes)
{
    int slots = forecast_day_slots(forecast);
    int reach = slots >= 12 ? (slots + 23) / 24 : 0;
    for (int off = -reach; off <= reach; off++) {
        float value = middle + off <= newest ? forecast_at(forecast, middle + off) : NAN;
        if (isnan(value) || likes->count == FORECAST_LIKE)
            continue;
        int far = off < 0 ? -off : off;
        float share = (float)(neighbours * (reach + 1 - far) / (reach * (reach + 1) / 2.0));
        if (model->mean)
            value = (float)fmin(fmax(value, model->cut[0]), model->cut[1]);
        struct like *like = &likes->list[likes->count++];
        *like = (struct like){.value = value, .weight[METHOD_LIKE] = day[METHOD_LIKE] * share};
        if (off == 0)
            for (int i = 0; i < METHOD_LEVEL; i++)
                like->weight[i] = day[i];
    }
}

static void gather(const struct forecast *forecast, const struct forecast_model *model,
                   int64_t target, int64_t newest, struct likes *likes)
{
    int slots = forecast_day_slots(forecast);
    int weekday = forecast_weekday(forecast, target);
    double like = 1, lately = 1;
    likes->count = 0;
    // from the newest day that has the slot, or a neighbour of it
    int64_t days = target > newest ? (target - newest) / slots : 0;
    for (int age = 0; age <= AGE_DAYS_MAX; age++, days++) {
        int64_t middle = target - days * slots;
        if (days == 0)
            continue;
        int then = forecast_weekday(forecast, middle);
        bool same = then == weekday, kind = (then >= 5) == (weekday >= 5);
        const float day[METHOD_LEVEL] = {
            [METHOD_LIKE] = (float)(like * (same   ? 1
                                            : kind ? same_kind
                                                   : other_kind)),
            [METHOD_WEEKDAY] = same ? (float)like : 0,
            [METHOD_LATELY] =
                age > LATELY_DAYS_MAX ? 0 : (float)(lately * (kind ? 1 : other_kind / same_kind)),
        };
        gather_day(forecast, model, middle, newest, day, likes);
        like *= fade_like;
        lately *= fade_lately;
    }
}

static void sort(struct likes *likes) // by value; Shell's way, gaps by Ciura
{
    static const int gaps[] = {132, 57, 23, 10, 4, 1};
    for (unsigned g = 0; g < sizeof gaps / sizeof *gaps; g++)
        for (int i = gaps[g]; i < likes->count; i++) {
            struct like like = likes->list[i];
            int at = i;
            for (; at >= gaps[g] && likes->list[at - gaps[g]].value > like.value; at -= gaps[g])
                likes->list[at] = likes->list[at - gaps[g]];
            likes->list[at] = like;
        }
}

// The value at which `part` of the weight is reached; NaN without any. Of two medians the lower:
// flows are skewed, and the lower one errs less.
static double quantile(const struct likes *likes, int method, double part)
{
    double sum = 0, reached = 0, last = NAN;
    for (int i = 0; i < likes->count; i++)
        sum += likes->list[i].weight[method];
    for (int i = 0; i < likes->count; i++) {
        if (likes->list[i].weight[method] <= 0)
            continue;
        last = likes->list[i].value;
        reached += likes->list[i].weight[method];
        if (reached >= part * sum * (1 - 1e-6))
            break;
    }
    return last;
}

static double mean(const struct likes *likes, int method)
{
    double sum = 0, weight = 0;
    for (int i = 0; i < likes->count; i++) {
        sum += (double)likes->list[i].weight[method] * likes->list[i].value;
        weight += likes->list[i].weight[method];
    }
    return weight > 0 ? sum / weight : NAN;
}

double forecast_methods(const struct forecast *forecast, const struct forecast_model *model,
                        int64_t target, int64_t newest, double level,
                        double out[static FORECAST_METHODS])
{
    struct likes likes;
    gather(forecast, model, target, newest, &likes);
    sort(&likes);
    for (int method = 0; method < METHOD_LEVEL; method++) {
        out[method] = model->mean ? mean(&likes, method) : quantile(&likes, method, 0.5);
        if (isnan(out[method]))
            out[method] = out[METHOD_LIKE];
    }
    out[METHOD_LEVEL] = out[METHOD_WEEKDAY] * level;
    return quantile(&likes, METHOD_LIKE, 0.9) - quantile(&likes, METHOD_LIKE, 0.1);
}
