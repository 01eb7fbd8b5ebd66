#include "drivers/profile.h"

#include <string.h>

int profile_channel_find(const struct profile *profile, const char *name)
{
    for (int i = 0; i < profile->channel_count; i++)
        if (strcmp(profile->channels[i].channel->name, name) == 0)
            return i;
    return -1;
}
