#include "base/clock.h"

#include <ctype.h>
#include <fcntl.h>
#include <string.h>
#include <sys/timex.h>
#include <time.h>
#include <unistd.h>

#ifndef BUILD_EPOCH
#define BUILD_EPOCH 1735689600 // 2025-01-01, for a build that names no time
#endif

static int64_t system_boot_ns(void *context)
{
    (void)context;
    struct timespec now = {0};
    (void)clock_gettime(CLOCK_BOOTTIME, &now);
    return (int64_t)now.tv_sec * 1000000000 + now.tv_nsec;
}

static int64_t system_wall_ms(void *context)
{
    (void)context;
    struct timespec now = {0};
    (void)clock_gettime(CLOCK_REALTIME, &now);
    return (int64_t)now.tv_sec * 1000 + now.tv_nsec / 1000000;
}

static bool system_is_synchronized(void *context)
{
    (void)context;
    struct timex state = {.modes = 0};
    return adjtimex(&state) != TIME_ERROR && (state.status & STA_UNSYNC) == 0;
}

const struct clock clock_system = {
    .boot_ns = system_boot_ns, .wall_ms = system_wall_ms, .synchronized = system_is_synchronized};

int64_t clock_offset_ms(const struct clock *clock)
{
    int64_t boot;
    int64_t wall;
    int attempts = 0;
    do {
        boot = clock_boot_ms(clock);
        wall = clock_wall_ms(clock);
    } while (clock_boot_ms(clock) != boot && ++attempts < 10);
    return wall - boot;
}

int64_t clock_floor_ms(void)
{
    return INT64_C(1000) * BUILD_EPOCH;
}

bool clock_is_known(const struct clock *clock, int64_t floor_ms)
{
    return clock_wall_ms(clock) >= floor_ms;
}

static bool is_boot_id(const char *text)
{
    for (int i = 0; i < BOOT_ID_SIZE - 1; i++) {
        bool dash = i == 8 || i == 13 || i == 18 || i == 23;
        if (dash ? text[i] != '-' : isxdigit((unsigned char)text[i]) == 0)
            return false;
    }
    return true;
}

void clock_boot_id(char id[static BOOT_ID_SIZE])
{
    char text[BOOT_ID_SIZE] = "";
    int fd = open("/proc/sys/kernel/random/boot_id", O_RDONLY | O_CLOEXEC);
    if (fd >= 0) {
        ssize_t got = read(fd, text, BOOT_ID_SIZE - 1);
        (void)close(fd);
        text[got > 0 ? got : 0] = '\0';
    }
    memcpy(id, is_boot_id(text) ? text : "00000000-0000-0000-0000-000000000000", BOOT_ID_SIZE);
}
