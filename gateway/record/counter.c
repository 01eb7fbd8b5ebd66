#include "record/counter.h"

#include "config/config.h"
#include "record/period.h"

#include <math.h>
#include <string.h>

#define HOUR_MS INT64_C(3600000)
#define RANGE_MAX (MICRO_LIMIT / 1000) // a larger register never ends
#define OVERLOAD 1.2                   // of qmax: what a turbine stands for a while
#define BASE_PER_LINE_MAX 100          // a m3 at 100 bar
#define SHARE_MAX 100                  // of the range, without qmax

// How many values a field has, 0: too many, or it does not begin again.
static int64_t values_of(const struct field *field)
{
    int64_t values = 1;
    switch (field->type) {
    case RAW_U16: return INT64_C(1) << 16;
    case RAW_U32: return INT64_C(1) << 32;
    case RAW_BCD: break;
    default: return 0;
    }
    for (int i = 0; i < 4 * field->words; i++)
        if (__builtin_mul_overflow(values, 10, &values))
            return 0;
    return values;
}

// Of the part whose count is worth most; the others tell less than one of it.
static int64_t range_of(const struct profile *profile, const struct profile_channel *channel)
{
    int64_t most = 0;
    int64_t range = 0;
    for (int i = 0; i < channel->part_count; i++) {
        const struct part *part = &channel->parts[i];
        int64_t step = profile_count_worth(profile, channel, part);
        if (step == 0)
            return 0;
        if (step <= most)
            continue;
        most = step;
        if (__builtin_mul_overflow(values_of(&profile->fields[part->field]), step, &range))
            return 0;
    }
    return range <= RANGE_MAX ? range : 0;
}

struct counter counter_of(const struct meter *meter, const struct profile_channel *channel)
{
    struct counter counter = {.resolution = profile_resolution(meter->profile, channel),
                              .range = range_of(meter->profile, channel)};
    double most = meter->qmax_m3_h * OVERLOAD * (double)MICRO_PER_UNIT;
    if (strcmp(channel->channel->name, "volume_measured") != 0)
        most *= BASE_PER_LINE_MAX;
    bool is_volume = strncmp(channel->channel->name, "volume_", 7) == 0;
    if (is_volume && isfinite(most) && most >= 1)
        counter.most_per_h = most < (double)RANGE_MAX ? (int64_t)most : RANGE_MAX;
    return counter;
}

bool counter_wraps(const struct counter *counter, int64_t before_micro, int64_t now_micro,
                   int64_t elapsed_ms)
{
    __extension__ typedef __int128 wide;
    if (counter->range == 0 || elapsed_ms <= 0 || before_micro < 0 || now_micro < 0 ||
        before_micro >= counter->range || before_micro - now_micro <= counter->range / 2)
        return false;
    wide counted = (wide)now_micro + counter->range - before_micro;
    wide most = counter->most_per_h > 0 ? (wide)counter->most_per_h * elapsed_ms / HOUR_MS
                                        : counter->range / SHARE_MAX;
    return counted <= most + counter->resolution;
}

static int64_t floor_to(int64_t micro, int64_t resolution)
{
    int64_t rest = micro % resolution;
    return micro - (rest < 0 ? rest + resolution : rest);
}

int64_t counter_between(const struct counter *counter, int64_t before_ms, int64_t before_micro,
                        int64_t after_ms, int64_t after_micro, int64_t at_ms)
{
    __extension__ typedef __int128 wide;
    wide rise = (wide)after_micro - before_micro;
    wide elapsed = at_ms - before_ms;
    wide span = after_ms - before_ms;
    wide step = rise * elapsed / span;
    if (rise * elapsed < 0 && step * span != rise * elapsed)
        step--; // down, not towards zero
    int64_t micro = floor_to((int64_t)(before_micro + step), counter->resolution);
    // a neighbour between two steps (its unit changed): never below it
    return rise >= 0 && micro < before_micro ? before_micro : micro;
}
