#include "drivers/exact.h"

#include "base/decimal.h"

#include <string.h>

__extension__ typedef unsigned __int128 u128;

#define UNIT_TENS 30
#define UNIT_TWOS 70
#define TENS_MAX 60

// limbs x factor; false when it does not fit.
static bool multiply(uint64_t limb[EXACT_LIMBS], uint64_t factor)
{
    uint64_t carry = 0;
    for (int i = 0; i < EXACT_LIMBS; i++) {
        u128 product = (u128)limb[i] * factor + carry;
        limb[i] = (uint64_t)product;
        carry = (uint64_t)(product >> 64);
    }
    return carry == 0;
}

// limbs / divisor; returns the remainder.
static uint64_t divide(uint64_t limb[EXACT_LIMBS], uint64_t divisor)
{
    u128 rest = 0;
    int last = EXACT_LIMBS - 1;
    while (last > 0 && limb[last] == 0)
        last--;
    for (int i = last; i >= 0; i--) {
        u128 part = rest << 64 | limb[i];
        limb[i] = (uint64_t)(part / divisor);
        rest = part % divisor;
    }
    return (uint64_t)rest;
}

static bool shift_left(uint64_t limb[EXACT_LIMBS], int count)
{
    for (; count > 0; count -= 32)
        if (!multiply(limb, UINT64_C(1) << (count < 32 ? count : 32)))
            return false;
    return true;
}

// Shifts right; true when a bit that was set fell out.
static bool shift_right(uint64_t limb[EXACT_LIMBS], int count)
{
    uint64_t lost = 0;
    int whole = count < 64 * EXACT_LIMBS ? count / 64 : EXACT_LIMBS;
    int bits = count < 64 * EXACT_LIMBS ? count % 64 : 0;
    for (int i = 0; i < whole; i++)
        lost |= limb[i];
    for (int i = 0; i < EXACT_LIMBS; i++)
        limb[i] = i + whole < EXACT_LIMBS ? limb[i + whole] : 0;
    if (bits == 0)
        return lost != 0;
    lost |= limb[0] << (64 - bits);
    for (int i = 0; i < EXACT_LIMBS; i++) {
        uint64_t above = i + 1 < EXACT_LIMBS ? limb[i + 1] : 0;
        limb[i] = limb[i] >> bits | above << (64 - bits);
    }
    return lost != 0;
}

// limbs x 10^count; false when it does not fit.
static bool multiply_tens(uint64_t limb[EXACT_LIMBS], int count)
{
    static const uint64_t tens[] = {
        UINT64_C(1),         UINT64_C(10),         UINT64_C(100),     UINT64_C(1000),
        UINT64_C(10000),     UINT64_C(100000),     UINT64_C(1000000), UINT64_C(10000000),
        UINT64_C(100000000), UINT64_C(1000000000),
    };
    const int most = (int)(sizeof tens / sizeof tens[0]) - 1;
    for (; count >= 2 * most; count -= 2 * most)
        if (!multiply(limb, tens[most] * tens[most]))
            return false;
    for (; count > 0; count -= most)
        if (!multiply(limb, tens[count < most ? count : most]))
            return false;
    return true;
}

static bool is_zero(const uint64_t limb[EXACT_LIMBS])
{
    uint64_t any = 0;
    for (int i = 0; i < EXACT_LIMBS; i++)
        any |= limb[i];
    return any == 0;
}

static int compare(const uint64_t a[EXACT_LIMBS], const uint64_t b[EXACT_LIMBS])
{
    for (int i = EXACT_LIMBS - 1; i >= 0; i--)
        if (a[i] != b[i])
            return a[i] < b[i] ? -1 : 1;
    return 0;
}

static bool add(uint64_t a[EXACT_LIMBS], const uint64_t b[EXACT_LIMBS])
{
    uint64_t carry = 0;
    for (int i = 0; i < EXACT_LIMBS; i++) {
        u128 part = (u128)a[i] + b[i] + carry;
        a[i] = (uint64_t)part;
        carry = (uint64_t)(part >> 64);
    }
    return carry == 0;
}

// a - b, where a >= b.
static void subtract(uint64_t a[EXACT_LIMBS], const uint64_t b[EXACT_LIMBS])
{
    uint64_t borrow = 0;
    for (int i = 0; i < EXACT_LIMBS; i++) {
        u128 part = (u128)a[i] - b[i] - borrow;
        a[i] = (uint64_t)part;
        borrow = (uint64_t)(part >> 64) & 1;
    }
}

// The term's magnitude in units of a sum; false when it does not fit.
static bool measure(const struct exact_term *term, uint64_t limb[EXACT_LIMBS], bool *rest)
{
    memset(limb, 0, sizeof(uint64_t) * EXACT_LIMBS);
    limb[0] = 1;
    for (int i = 0; i < 3; i++)
        (void)multiply(limb, term->factor[i]); // 192 bits
    *rest = false;
    if (is_zero(limb))
        return true;
    if (term->tens < -UNIT_TENS || term->tens > TENS_MAX)
        return false;
    if (!multiply_tens(limb, term->tens + UNIT_TENS))
        return false;
    int twos = term->twos + UNIT_TWOS;
    if (twos < 0) {
        *rest = shift_right(limb, -twos);
        return true;
    }
    return twos < 64 * EXACT_LIMBS && shift_left(limb, twos);
}

void exact_add(struct exact *sum, const struct exact_term *term)
{
    uint64_t limb[EXACT_LIMBS];
    bool rest = false;
    if (sum->overflow || !measure(term, limb, &rest)) {
        sum->overflow = true;
        return;
    }
    if (sum->negative == term->negative) {
        sum->overflow = !add(sum->limb, limb);
    } else if (compare(sum->limb, limb) >= 0) {
        subtract(sum->limb, limb);
    } else {
        subtract(limb, sum->limb);
        memcpy(sum->limb, limb, sizeof limb);
        sum->negative = term->negative;
    }
    // Of two opposite remainders one cannot say which is left; both are below 2^-70 of a raw bit.
    sum->rest = sum->rest || rest;
}

int exact_round(const struct exact *sum, int64_t *micro)
{
    uint64_t limb[EXACT_LIMBS];
    memcpy(limb, sum->limb, sizeof limb);
    // 10^-30 x 2^-70 to half micro units, so that the last bit is the half.
    bool rest = divide(limb, UINT64_C(1000000000000)) != 0;
    rest = divide(limb, UINT64_C(1000000000000)) != 0 || rest;
    rest = shift_right(limb, UNIT_TWOS - 1) || rest || sum->rest;
    for (int i = 2; i < EXACT_LIMBS; i++)
        if (limb[i] != 0)
            return -1;
    u128 twice = (u128)limb[1] << 64 | limb[0];
    u128 whole = twice >> 1;
    if ((twice & 1) != 0 && (rest || (whole & 1) != 0))
        whole++;
    if (sum->overflow || whole >= (u128)MICRO_LIMIT)
        return -1;
    *micro = sum->negative ? -(int64_t)whole : (int64_t)whole;
    return 0;
}
