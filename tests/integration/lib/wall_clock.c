// Loaded before the C library: shifts the wall clock of one process by WALL_SHIFT_S seconds, or by
// what the file WALL_SHIFT_FILE says at each moment (milliseconds, eight bytes in the machine's
// order). Nothing else: the clocks by which it waits and polls are the real ones.
#define _GNU_SOURCE
#include <dlfcn.h>
#include <fcntl.h>
#include <stdint.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/time.h>
#include <time.h>
#include <unistd.h>

static volatile const int64_t *shared_ms;
static int64_t fixed_ms;

__attribute__((constructor)) static void read_environment(void)
{
    const char *seconds = getenv("WALL_SHIFT_S");
    const char *path = getenv("WALL_SHIFT_FILE");
    fixed_ms = seconds != NULL ? strtoll(seconds, NULL, 10) * 1000 : 0;
    int file = path != NULL ? open(path, O_RDONLY | O_CLOEXEC) : -1;
    if (file < 0)
        return;
    void *shared = mmap(NULL, sizeof *shared_ms, PROT_READ, MAP_SHARED, file, 0);
    shared_ms = shared != MAP_FAILED ? shared : NULL;
    (void)close(file);
}

int clock_gettime(clockid_t clock, struct timespec *at)
{
    static int (*real)(clockid_t, struct timespec *);
    if (real == NULL)
        real = (int (*)(clockid_t, struct timespec *))dlsym(RTLD_NEXT, "clock_gettime");
    int result = real(clock, at);
    if (result != 0 || (clock != CLOCK_REALTIME && clock != CLOCK_REALTIME_COARSE))
        return result;
    int64_t shift_ms = shared_ms != NULL ? *shared_ms : fixed_ms;
    int64_t ns = at->tv_nsec + shift_ms % 1000 * 1000000;
    int64_t carry = ns < 0 ? -1 : ns / 1000000000;
    at->tv_sec += (time_t)(shift_ms / 1000 + carry);
    at->tv_nsec = (long)(ns - carry * 1000000000);
    return 0;
}

time_t time(time_t *out)
{
    struct timespec at;
    (void)clock_gettime(CLOCK_REALTIME, &at);
    if (out != NULL)
        *out = at.tv_sec;
    return at.tv_sec;
}

int gettimeofday(struct timeval *at, void *zone)
{
    struct timespec now;
    (void)zone;
    (void)clock_gettime(CLOCK_REALTIME, &now);
    at->tv_sec = now.tv_sec;
    at->tv_usec = now.tv_nsec / 1000;
    return 0;
}
