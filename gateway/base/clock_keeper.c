#include "base/clock_keeper.h"

static int64_t keeper_boot_ns(void *context)
{
    const struct clock_keeper *keeper = context;
    return clock_boot_ns(keeper->raw);
}

static bool keeper_is_synchronized(void *context)
{
    const struct clock_keeper *keeper = context;
    return clock_is_synchronized(keeper->raw);
}

static int64_t keeper_wall_ms(void *context)
{
    struct clock_keeper *keeper = context;
    int64_t floor_ms = clock_floor_ms();
    (void)pthread_mutex_lock(&keeper->mutex);
    int64_t boot = clock_boot_ms(keeper->raw);
    int64_t wall = clock_wall_ms(keeper->raw);
    int64_t kept = boot + keeper->offset_ms;
    keeper->doubting = keeper->known && !clock_jump_is_credible(kept, wall, floor_ms) &&
                       !(wall >= floor_ms && clock_is_synchronized(keeper->raw));
    if (keeper->doubting) {
        wall = kept;
    } else if (wall >= floor_ms) {
        keeper->known = true;
        keeper->offset_ms = wall - boot;
    }
    (void)pthread_mutex_unlock(&keeper->mutex);
    return wall;
}

static bool keeper_doubts(void *context, int64_t *raw_ms)
{
    struct clock_keeper *keeper = context;
    (void)pthread_mutex_lock(&keeper->mutex);
    bool doubting = keeper->doubting;
    (void)pthread_mutex_unlock(&keeper->mutex);
    *raw_ms = clock_wall_ms(keeper->raw);
    return doubting;
}

void clock_keeper_init(struct clock_keeper *keeper, const struct clock *raw)
{
    *keeper = (struct clock_keeper){.raw = raw};
    keeper->clock = (struct clock){.boot_ns = keeper_boot_ns,
                                   .wall_ms = keeper_wall_ms,
                                   .synchronized = keeper_is_synchronized,
                                   .doubts = keeper_doubts,
                                   .context = keeper};
    (void)pthread_mutex_init(&keeper->mutex, NULL);
}

void clock_keeper_release(struct clock_keeper *keeper)
{
    (void)pthread_mutex_destroy(&keeper->mutex);
}
