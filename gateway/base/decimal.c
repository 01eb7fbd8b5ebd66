#include "base/decimal.h"

#include <assert.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

__extension__ typedef unsigned __int128 u128;

#define MANTISSA_LIMIT UINT64_C(1000000000000000000)
#define EXPONENT_MAX 18
#define MICRO_DIGITS 6
#define EXACT_DIGITS 17
#define GAUGE_DIGITS 7

static bool is_digit(char c)
{
    return c >= '0' && c <= '9';
}

// ---- decimal text -------------------------------------------------------------------------------

// Digits read so far. Trailing zeros wait in `zeros`, so that "1.000000000000000000000" fits.
struct digits {
    uint64_t mantissa;
    int64_t zeros;
    int64_t decimals;
    bool overflow;
};

static void push_digit(struct digits *digits, unsigned digit)
{
    if (digits->mantissa >= MANTISSA_LIMIT / 10) {
        digits->overflow = true;
        return;
    }
    digits->mantissa = digits->mantissa * 10 + digit;
}

// Reads one or more digits; false where there is none.
static bool read_digits(const char **at, struct digits *digits, bool fraction)
{
    const char *start = *at;
    for (; is_digit(**at); ++*at) {
        digits->decimals += fraction ? 1 : 0;
        if (**at == '0') {
            digits->zeros += digits->mantissa != 0 ? 1 : 0;
            continue;
        }
        for (; digits->zeros > 0 && !digits->overflow; digits->zeros--)
            push_digit(digits, 0);
        push_digit(digits, (unsigned)(**at - '0'));
    }
    return *at != start;
}

// Reads [+-]digits; magnitudes beyond a million all mean "does not fit" and are kept at that.
static bool read_exponent(const char **at, int64_t *exponent)
{
    bool negative = **at == '-';
    if (**at == '-' || **at == '+')
        ++*at;
    if (!is_digit(**at))
        return false;
    int64_t value = 0;
    for (; is_digit(**at); ++*at)
        value = value > 1000000 ? value : value * 10 + (**at - '0');
    *exponent = negative ? -value : value;
    return true;
}

// Brings mantissa and exponent into their ranges, as near as can be to what was written.
static int fit(struct digits *digits, int64_t exponent, bool negative, struct decimal *out)
{
    if (digits->mantissa == 0) {
        *out = (struct decimal){0, 0};
        return 0;
    }
    exponent += digits->zeros - digits->decimals;
    int64_t zeros = digits->zeros;
    uint64_t mantissa = digits->mantissa;
    while (mantissa < MANTISSA_LIMIT / 10 &&
           ((zeros > 0 && exponent > -EXPONENT_MAX) || exponent > EXPONENT_MAX)) {
        mantissa *= 10;
        exponent--;
        zeros--;
    }
    if (exponent < -EXPONENT_MAX || exponent > EXPONENT_MAX)
        return -1;
    out->mantissa = negative ? -(int64_t)mantissa : (int64_t)mantissa;
    out->exponent = (int)exponent;
    return 0;
}

int decimal_parse(const char *text, struct decimal *out)
{
    const char *at = text;
    bool negative = *at == '-';
    if (*at == '-' || *at == '+')
        at++;
    struct digits digits = {0};
    if (!read_digits(&at, &digits, false))
        return -1;
    if (*at == '.') {
        at++;
        if (!read_digits(&at, &digits, true))
            return -1;
    }
    int64_t exponent = 0;
    if (*at == 'e' || *at == 'E') {
        at++;
        if (!read_exponent(&at, &exponent))
            return -1;
    }
    if (*at != '\0' || digits.overflow)
        return -1;
    return fit(&digits, exponent, negative, out);
}

double decimal_to_double(struct decimal value)
{
    // The C library rounds a decimal text correctly; mantissa times a power of ten would round
    // twice.
    char text[40];
    (void)snprintf(text, sizeof text, "%llde%d", (long long)value.mantissa, value.exponent);
    return strtod(text, NULL);
}

// ---- exact scaling ------------------------------------------------------------------------------

// 192 bits, least significant first: a product of 128 bits times a power of five below 2^56.
struct wide {
    uint64_t limb[3];
};

// Results stay below 2 x MICRO_LIMIT x 5^12 < 2^93 before the last division, so more bits mean "too
// large".
#define SCALED_BITS 100

static uint64_t power_of_five(int exponent)
{
    uint64_t power = 1;
    for (int i = 0; i < exponent; i++)
        power *= 5;
    return power;
}

static struct wide wide_product(u128 a, uint64_t b)
{
    u128 low = (u128)(uint64_t)a * b;
    u128 high = (a >> 64) * b + (low >> 64);
    return (struct wide){{(uint64_t)low, (uint64_t)high, (uint64_t)(high >> 64)}};
}

// Shifts right by `count`; true when a bit that was set fell out.
static bool wide_shift_right(struct wide *wide, int count)
{
    uint64_t lost = 0;
    for (; count >= 64; count -= 64) {
        lost |= wide->limb[0];
        *wide = (struct wide){{wide->limb[1], wide->limb[2], 0}};
    }
    if (count > 0) {
        uint64_t *limb = wide->limb;
        lost |= limb[0] << (64 - count);
        limb[0] = limb[0] >> count | limb[1] << (64 - count);
        limb[1] = limb[1] >> count | limb[2] << (64 - count);
        limb[2] >>= count;
    }
    return lost != 0;
}

// wide x 2^shift, floored; `rest` tells whether something was cut off. False when it has too many
// bits.
static bool wide_scale(struct wide wide, int shift, u128 *out, bool *rest)
{
    *rest = shift < 0 && wide_shift_right(&wide, -shift);
    u128 value = (u128)wide.limb[1] << 64 | wide.limb[0];
    int left = shift > 0 ? shift : 0;
    if (wide.limb[2] != 0 || left > SCALED_BITS || value >> (SCALED_BITS - left) != 0)
        return false;
    *out = value << left;
    return true;
}

// product x 10^tens x 2^twos rounded half to even, with the sign. tens is -12..24, product < 2^127
// + 1.
static int scale_and_round(bool negative, u128 product, int tens, int twos, int64_t *out)
{
    if (product == 0) {
        *out = 0;
        return 0;
    }
    // Twice the value, so that its last bit is the half; 10^n is 5^n x 2^n.
    struct wide wide = wide_product(product, power_of_five(tens > 0 ? tens : 0));
    u128 twice = 0;
    bool rest = false;
    if (!wide_scale(wide, tens + twos + 1, &twice, &rest))
        return -1;
    uint64_t divisor = power_of_five(tens < 0 ? -tens : 0);
    rest = rest || twice % divisor != 0;
    twice /= divisor;
    u128 whole = twice >> 1;
    if ((twice & 1) != 0 && (rest || (whole & 1) != 0))
        whole++;
    if (whole >= (u128)MICRO_LIMIT)
        return -1;
    *out = negative ? -(int64_t)whole : (int64_t)whole;
    return 0;
}

static uint64_t magnitude_of(int64_t value)
{
    return value < 0 ? -(uint64_t)value : (uint64_t)value;
}

static bool scale_is_valid(struct decimal scale)
{
    return magnitude_of(scale.mantissa) < MANTISSA_LIMIT && scale.exponent >= -EXPONENT_MAX &&
           scale.exponent <= EXPONENT_MAX;
}

int micro_from_integer(bool negative, uint64_t magnitude, struct decimal scale, int64_t *out)
{
    if (!scale_is_valid(scale))
        return -1;
    u128 product = (u128)magnitude * magnitude_of(scale.mantissa);
    return scale_and_round(negative != (scale.mantissa < 0), product, scale.exponent + MICRO_DIGITS,
                           0, out);
}

int micro_from_double(double number, struct decimal scale, int64_t *out)
{
    if (!isfinite(number) || !scale_is_valid(scale))
        return -1;
    int twos = 0;
    double fraction = frexp(fabs(number), &twos);
    uint64_t bits = (uint64_t)ldexp(fraction, 53); // exact: a double has 53 bits
    u128 product = (u128)bits * magnitude_of(scale.mantissa);
    bool negative = (number < 0) != (scale.mantissa < 0);
    return scale_and_round(negative, product, scale.exponent + MICRO_DIGITS, twos - 53, out);
}

// ---- micro units --------------------------------------------------------------------------------

static bool in_range(int64_t micro)
{
    return micro > -MICRO_LIMIT && micro < MICRO_LIMIT;
}

int micro_parse(const char *text, int64_t *out)
{
    bool negative = *text == '-';
    const char *at = text + (*text == '-' || *text == '+' ? 1 : 0);
    u128 value = 0;
    int decimals = -1; // -1 before the point
    bool digit_last = false;
    for (; *at != '\0'; at++) {
        if (*at == '.' && digit_last && decimals < 0) {
            decimals = 0;
            digit_last = false;
            continue;
        }
        if (!is_digit(*at) || decimals == MICRO_DIGITS || value >= (u128)MICRO_LIMIT)
            return -1;
        value = value * 10 + (unsigned)(*at - '0');
        decimals += decimals >= 0 ? 1 : 0;
        digit_last = true;
    }
    if (!digit_last)
        return -1;
    for (int i = decimals < 0 ? 0 : decimals; i < MICRO_DIGITS; i++)
        value *= 10;
    if (value >= (u128)MICRO_LIMIT)
        return -1;
    *out = negative ? -(int64_t)value : (int64_t)value;
    return 0;
}

int micro_add(int64_t a, int64_t b, int64_t *out)
{
    int64_t sum = 0;
    if (__builtin_add_overflow(a, b, &sum) || !in_range(sum))
        return -1;
    *out = sum;
    return 0;
}

int micro_subtract(int64_t a, int64_t b, int64_t *out)
{
    int64_t difference = 0;
    if (__builtin_sub_overflow(a, b, &difference) || !in_range(difference))
        return -1;
    *out = difference;
    return 0;
}

static size_t trim_zeros(const char *text, size_t length)
{
    while (length > 0 && text[length - 1] == '0')
        length--;
    return length;
}

size_t micro_print(int64_t micro, char text[static DECIMAL_TEXT_MAX])
{
    uint64_t magnitude = magnitude_of(micro);
    uint64_t unit = (uint64_t)MICRO_PER_UNIT;
    int printed =
        snprintf(text, DECIMAL_TEXT_MAX, "%s%llu.%06llu", micro < 0 ? "-" : "",
                 (unsigned long long)(magnitude / unit), (unsigned long long)(magnitude % unit));
    size_t length = trim_zeros(text, (size_t)printed);
    length -= text[length - 1] == '.' ? 1 : 0;
    text[length] = '\0';
    return length;
}

// ---- gauges -------------------------------------------------------------------------------------

// A number as d.ddd x 10^exponent, without trailing zeros.
struct scientific {
    char digits[EXACT_DIGITS + 1];
    size_t count;
    int exponent;
};

#define SCIENTIFIC_TEXT_MAX 40

static void scientific_of(double magnitude, int count, struct scientific *out,
                          char text[static SCIENTIFIC_TEXT_MAX])
{
    (void)snprintf(text, SCIENTIFIC_TEXT_MAX, "%.*e", count - 1, magnitude);
    out->digits[0] = text[0];
    memcpy(out->digits + 1, text + 2, (size_t)count - 1);
    out->count = trim_zeros(out->digits, (size_t)count);
    out->exponent = (int)strtol(strchr(text, 'e') + 1, NULL, 10);
}

static char *put(char *at, const char *bytes, size_t count)
{
    memcpy(at, bytes, count);
    return at + count;
}

static char *put_zeros(char *at, int count)
{
    for (int i = 0; i < count; i++)
        *at++ = '0';
    return at;
}

static char *put_plain(char *at, const struct scientific *number)
{
    if (number->exponent < 0) {
        at = put(at, "0.", 2);
        at = put_zeros(at, -number->exponent - 1);
        return put(at, number->digits, number->count);
    }
    size_t whole = (size_t)number->exponent + 1;
    if (whole >= number->count) {
        at = put(at, number->digits, number->count);
        return put_zeros(at, (int)(whole - number->count));
    }
    at = put(at, number->digits, whole);
    *at++ = '.';
    return put(at, number->digits + whole, number->count - whole);
}

static char *put_exponent(char *at, const struct scientific *number)
{
    at = put(at, number->digits, 1);
    if (number->count > 1) {
        *at++ = '.';
        at = put(at, number->digits + 1, number->count - 1);
    }
    return at + snprintf(at, 8, "e%hd", (short)number->exponent);
}

size_t gauge_print(double number, bool exact, char text[static GAUGE_TEXT_MAX])
{
    assert(isfinite(number));
    if (number == 0) {
        memcpy(text, "0", 2);
        return 1;
    }
    double magnitude = fabs(number);
    struct scientific parts;
    char digits[SCIENTIFIC_TEXT_MAX];
    int count = exact ? 15 : GAUGE_DIGITS;
    scientific_of(magnitude, count, &parts, digits);
    // Until the digits read back as the same number.
    while (exact && count < EXACT_DIGITS && strtod(digits, NULL) != magnitude)
        scientific_of(magnitude, ++count, &parts, digits);
    char *at = text;
    if (number < 0)
        *at++ = '-';
    bool plain = magnitude >= 1e-6 && magnitude < 1e15;
    at = plain ? put_plain(at, &parts) : put_exponent(at, &parts);
    *at = '\0';
    return (size_t)(at - text);
}
