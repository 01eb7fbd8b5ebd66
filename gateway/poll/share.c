#include "poll/share.h"

#include <stdbool.h>

// What a meter takes of an hour at a stretch.
static int64_t load_us(const struct share *share, int stretch)
{
    bool hour_besides = stretch > 1 && stretch < share->per_hour;
    return share->service_us * (share->per_hour / stretch + (hour_besides ? 1 : 0));
}

int64_t share_wanted_us(const struct share *shares, int count)
{
    int64_t wanted_us = 0;
    for (int i = 0; i < count; i++)
        wanted_us += load_us(&shares[i], 1);
    return wanted_us;
}

// The smallest divisor of the due times in an hour that is at least `wanted`.
static int divisor_from(const struct share *share, int wanted)
{
    if (share->per_hour == 0)
        return 1;
    while (wanted < share->per_hour && share->per_hour % wanted != 0)
        wanted++;
    return wanted < share->per_hour ? wanted : share->per_hour;
}

static int64_t class_load_us(const struct share *shares, int count, int priority, int stretch)
{
    int64_t sum_us = 0;
    for (int i = 0; i < count; i++)
        if (shares[i].priority == priority)
            sum_us += load_us(&shares[i], divisor_from(&shares[i], stretch));
    return sum_us;
}

#define STRETCH_MOST 3600 // a due time a second, kept once an hour

// The least stretch at which a priority's meters take no more than they may. Their load never
// grows with it.
static int least_stretch(const struct share *shares, int count, int priority, int64_t most_us)
{
    int low = 1;
    int high = STRETCH_MOST;
    while (low < high) {
        int middle = low + (high - low) / 2;
        if (class_load_us(shares, count, priority, middle) <= most_us)
            high = middle;
        else
            low = middle + 1;
    }
    return low;
}

// The largest divisor below a meter's stretch: what it would keep next.
static int divisor_below(const struct share *share)
{
    int stretch = share->stretch - 1;
    while (stretch > 1 && share->per_hour % stretch != 0)
        stretch--;
    return stretch;
}

// Gives a priority's meters what they may take; returns what they do take.
static int64_t share_class(struct share *shares, int count, int priority, int64_t most_us)
{
    int stretch = least_stretch(shares, count, priority, most_us);
    int64_t used_us = class_load_us(shares, count, priority, stretch);
    for (int i = 0; i < count; i++)
        if (shares[i].priority == priority)
            shares[i].stretch = divisor_from(&shares[i], stretch);
    for (int i = 0; i < count; i++) {
        struct share *share = &shares[i];
        if (share->priority != priority || share->stretch == 1)
            continue;
        int less = divisor_below(share);
        int64_t more_us = load_us(share, less) - load_us(share, share->stretch);
        if (used_us + more_us <= most_us) {
            share->stretch = less;
            used_us += more_us;
        }
    }
    return used_us;
}

void share_out(struct share *shares, int count, int64_t hour_us)
{
    int64_t aside_us = 0; // one poll an hour for each meter whose turn has not come
    for (int i = 0; i < count; i++)
        aside_us += shares[i].per_hour > 0 ? shares[i].service_us : 0;
    for (int priority = PRIORITY_MOST; priority >= 1; priority--) {
        aside_us -= class_load_us(shares, count, priority, STRETCH_MOST);
        hour_us -= share_class(shares, count, priority, hour_us - aside_us);
    }
    int stretched = 0;
    for (int i = 0; i < count; i++) {
        struct share *share = &shares[i];
        bool free = share->stretch > 1 && share->stretch < share->per_hour;
        share->offset = free ? stretched++ % share->stretch : 0;
    }
}
