// Exact decimals: an integer count of 10^-6 units. Counters are kept, added and printed in this
// form from the wire to the broker and are never a binary float.
//
// Range: |micro| < 9.2e18, that is |value| < 9.2e12 units (contract, section 1, Numbers).
#ifndef METERGATE_BASE_DECIMAL_H
#define METERGATE_BASE_DECIMAL_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define MICRO_PER_UNIT INT64_C(1000000)
#define MICRO_LIMIT INT64_C(9200000000000000000) // exclusive bound of the magnitude
#define DECIMAL_TEXT_MAX 24 // bytes of the longest print, with sign, point and NUL

// A decimal number as written in a profile ("0.0001", "1e-3", "1000"): mantissa x 10^exponent.
// |mantissa| < 10^18, exponent -18..18.
struct decimal {
    int64_t mantissa;
    int exponent;
};

// Parses [+-]digits[.digits][e[+-]digits]; -1 when the text is not exactly such a number or does
// not fit.
int decimal_parse(const char *text, struct decimal *out);
double decimal_to_double(struct decimal value);

// integer x scale, in micro units, rounded half to even. -1 when the result is out of range.
int micro_from_integer(bool negative, uint64_t magnitude, struct decimal scale, int64_t *out);
// number x scale, exactly, then rounded half to even to micro units: 0.1 as f64 with scale 1 gives
// 100000. -1 for NaN, infinity, out of range.
int micro_from_double(double number, struct decimal scale, int64_t *out);
// Text such as "1234581.2204" to micro units; at most six decimals. -1 when it is not one or does
// not fit.
int micro_parse(const char *text, int64_t *out);
// Checked sum and difference; -1 when the result is out of range.
int micro_add(int64_t a, int64_t b, int64_t *out);
int micro_subtract(int64_t a, int64_t b, int64_t *out);

// Canonical decimal: all digits, no exponent, no trailing zeros, "-0" never. Returns the length.
size_t micro_print(int64_t micro, char text[static DECIMAL_TEXT_MAX]);

#define GAUGE_TEXT_MAX 32
// A gauge as a JSON number with at most 7 significant digits, an exact gauge with the 17 (or fewer)
// that read back as the same double. No exponent for magnitudes from 1e-6 to 1e15. `number` must be
// finite. Returns the length.
size_t gauge_print(double number, bool exact, char text[static GAUGE_TEXT_MAX]);

#endif
