// A clock that does not follow every jump of the machine's: it stands between the system's clock
// and the whole program.
//
// Since the program started, true time has passed as fast as the boot clock. So once the wall clock
// was past the build time, a jump of more than CLOCK_JUMP_MAX_MS either way, or to before the build
// (1970), is an error rather than a correction: it is doubted, and the time goes on by the boot
// clock from where it stood, until the wall clock is credible again or the kernel says that it is
// synchronized (NTP). Smaller steps are followed.
#ifndef METERGATE_BASE_CLOCK_KEEPER_H
#define METERGATE_BASE_CLOCK_KEEPER_H

#include "base/clock.h"

#include <pthread.h>

#define CLOCK_JUMP_MAX_MS (INT64_C(25) * 3600 * 1000) // a day, and an hour of a wrong zone

struct clock_keeper {
    struct clock clock; // hand this on; from every thread
    const struct clock *raw;
    pthread_mutex_t mutex; // of what follows
    bool known, doubting;
    int64_t offset_ms; // wall - boot, of the newest credible look
};

// `raw` outlives the keeper.
void clock_keeper_init(struct clock_keeper *keeper, const struct clock *raw);
void clock_keeper_release(struct clock_keeper *keeper);

// Pure: whether a wall clock that stands at `wall_ms` can be what went on from `kept_ms`.
static inline bool clock_jump_is_credible(int64_t kept_ms, int64_t wall_ms, int64_t floor_ms)
{
    int64_t jump = wall_ms > kept_ms ? wall_ms - kept_ms : kept_ms - wall_ms;
    return wall_ms >= floor_ms && jump <= CLOCK_JUMP_MAX_MS;
}

#endif
