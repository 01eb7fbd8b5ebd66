// Random numbers that a seed repeats, on every machine.
#ifndef METERGATE_TESTS_FAULT_POWER_CHANCE_H
#define METERGATE_TESTS_FAULT_POWER_CHANCE_H

#include <stdbool.h>
#include <stdint.h>

struct chance {
    uint64_t state;
};

static inline uint64_t chance_next(struct chance *chance)
{
    uint64_t z = chance->state += UINT64_C(0x9E3779B97F4A7C15);
    z = (z ^ (z >> 30)) * UINT64_C(0xBF58476D1CE4E5B9);
    z = (z ^ (z >> 27)) * UINT64_C(0x94D049BB133111EB);
    return z ^ (z >> 31);
}

// Of its own for each (seed, run, cut), so that one cut is repeated without those before it.
static inline struct chance chance_of(uint64_t seed, uint64_t run, uint64_t cut)
{
    struct chance chance = {seed};
    chance.state = chance_next(&chance) ^ run;
    chance.state = chance_next(&chance) ^ cut;
    return chance;
}

// low..high, both included.
static inline int64_t chance_between(struct chance *chance, int64_t low, int64_t high)
{
    return low + (int64_t)(chance_next(chance) % ((uint64_t)(high - low) + 1));
}

static inline bool chance_one_in(struct chance *chance, int of)
{
    return chance_between(chance, 1, of) == 1;
}

#endif
