// Time is handed in: everything that asks for the time asks a `struct clock`, so that a test turns
// the hands.
//
// boot time: milliseconds since boot, suspend included (CLOCK_BOOTTIME): cadence, intervals,
// time-outs. wall time: Unix milliseconds (CLOCK_REALTIME): stamps, and the boundaries of periods.
#ifndef METERGATE_BASE_CLOCK_H
#define METERGATE_BASE_CLOCK_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct clock {
    int64_t (*boot_ns)(void *context);
    int64_t (*wall_ms)(void *context);
    void *context;
    // NULL where nobody can tell: whether the kernel holds the wall clock for synchronized (NTP),
    bool (*synchronized)(void *context);
    // and whether wall_ms keeps a time of its own, because what the machine's clock says (into
    // *raw_ms) cannot be true (base/clock_keeper.h).
    bool (*doubts)(void *context, int64_t *raw_ms);
};

// The machine's clocks.
extern const struct clock clock_system;

static inline int64_t clock_boot_ns(const struct clock *clock)
{
    return clock->boot_ns(clock->context);
}
static inline int64_t clock_boot_ms(const struct clock *clock)
{
    return clock->boot_ns(clock->context) / 1000000;
}
static inline int64_t clock_wall_ms(const struct clock *clock)
{
    return clock->wall_ms(clock->context);
}

static inline bool clock_is_synchronized(const struct clock *clock)
{
    return clock->synchronized != NULL && clock->synchronized(clock->context);
}
static inline bool clock_doubts(const struct clock *clock, int64_t *raw_ms)
{
    return clock->doubts != NULL && clock->doubts(clock->context, raw_ms);
}

// What is added to boot time for wall time. Read in one and the same millisecond, as far as ten
// attempts get it: a thread may be held up between two clocks.
int64_t clock_offset_ms(const struct clock *clock);

// Build time of this program, Unix milliseconds (SOURCE_DATE_EPOCH where set): no honest clock is
// before it.
int64_t clock_floor_ms(void);
// True when the wall clock can be believed: not before `floor_ms` (the later of the build and the
// newest stored row).
bool clock_is_known(const struct clock *clock, int64_t floor_ms);

// The kernel's boot id (/proc/sys/kernel/random/boot_id), 36 characters and NUL; all zeros where
// there is none.
#define BOOT_ID_SIZE 37
void clock_boot_id(char id[static BOOT_ID_SIZE]);

#endif
