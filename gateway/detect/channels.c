// Where the channels of a meter are, and how fine their numbers.
#include "detect/channels.h"

#include <math.h>

int channel_place(const struct profile *profile, const char *name, enum channel_kind kind)
{
    int place = profile_channel_find(profile, name);
    return place >= 0 && profile->channels[place].channel->kind == kind ? place : -1;
}

bool channel_is_usable(const struct reading *reading, int place)
{
    return place >= 0 && place < reading->value_count && value_is_usable(&reading->values[place]);
}

static bool is_float(const struct profile *profile, const struct profile_channel *channel,
                     enum raw_type type)
{
    return channel->part_count > 0 &&
           profile->fields[channel->parts[channel->part_count - 1].field].type == type;
}

double counter_count(const struct profile *profile, int place, int64_t total)
{
    const struct profile_channel *channel = &profile->channels[place];
    double count = (double)profile_resolution(profile, channel);
    return is_float(profile, channel, RAW_F32) ? fmax(count, ldexp(fabs((double)total), -23))
                                               : count;
}

double gauge_count(const struct profile *profile, int place)
{
    const struct profile_channel *channel = &profile->channels[place];
    if (channel->part_count == 0 || is_float(profile, channel, RAW_F32) ||
        is_float(profile, channel, RAW_F64))
        return 0;
    const struct part *part = &channel->parts[channel->part_count - 1];
    int64_t micro = profile_count_worth(profile, channel, part);
    return micro > 0 ? (double)micro / 1e6 : (double)INFINITY;
}
