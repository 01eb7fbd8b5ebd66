// The time of a link shared among its meters when it is not enough for all. Pure.
//
// A meter then keeps every n-th of its due times, n a divisor of their number in an hour, and the
// boundary of every hour besides. Not all keep the same ones, or they would still come in bursts
// that the link cannot do in time. Those of the highest priority keep all of
// theirs as long as the link has the time; what is left goes to the next priority, and so on. Each
// meter has its due time at the hour set aside before anything else: none starves.
#ifndef METERGATE_POLL_SHARE_H
#define METERGATE_POLL_SHARE_H

#include <stdint.h>

#define PRIORITY_MOST 5 // keeps its period longest; 1 is the lowest

struct share {
    int priority;       // 1 to PRIORITY_MOST
    int per_hour;       // due times in an hour; 0: less often, always keeps them
    int64_t service_us; // what one poll takes of the link's time
    int stretch;        // out: every so many-th due time is polled,
    int offset;         // out: from this one of each hour on; less than stretch
};

// What the meters take of an hour, in microseconds, when all keep their due times.
int64_t share_wanted_us(const struct share *shares, int count);
// Sets each stretch so that all together take at most `hour_us`, where that is possible at all.
// Within a priority all are stretched alike; what that leaves over lets the first of them keep
// more.
void share_out(struct share *shares, int count, int64_t hour_us);

#endif
