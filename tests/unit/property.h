// Random input for property tests. The seed is printed; SEED=N in the environment repeats a run.
#ifndef METERGATE_TESTS_UNIT_PROPERTY_H
#define METERGATE_TESTS_UNIT_PROPERTY_H

#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

static unsigned short random_state[3];

static inline void random_start(const char *program)
{
    const char *given = getenv("SEED");
    uint64_t seed = given != NULL ? strtoull(given, NULL, 10) : (uint64_t)time(NULL);
    for (int i = 0; i < 3; i++)
        random_state[i] = (unsigned short)(seed >> (16 * i));
    (void)fprintf(stderr, "%s: SEED=%llu\n", program, (unsigned long long)seed);
}

static inline uint64_t random_u64(void)
{
    uint64_t high = (uint32_t)jrand48(random_state);
    return high << 32 | (uint32_t)jrand48(random_state);
}

// low..high, both included
static inline int64_t random_between(int64_t low, int64_t high)
{
    return low + (int64_t)(random_u64() % ((uint64_t)high - (uint64_t)low + 1));
}

// All magnitudes alike: a random number of bits.
static inline uint64_t random_magnitude(void)
{
    return random_u64() >> random_between(0, 63);
}

#endif
