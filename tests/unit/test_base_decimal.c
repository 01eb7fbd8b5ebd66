#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "base/decimal.h"

#include "property.h"

#include <ctype.h>
#include <inttypes.h>
#include <math.h>
#include <string.h>

__extension__ typedef unsigned __int128 u128;

#define UNTOUCHED INT64_C(-77)

// ---- oracle: school arithmetic on decimal digits ------------------------------------------------

// text ("123.456", no sign) x mantissa x 10^exponent in micro units, half to even; -1 when out of
// range.
static int oracle(const char *text, uint64_t mantissa, int exponent, uint64_t *out)
{
    static char digits[2000]; // value = 0.digits x 10^point
    size_t count = 0;
    long point = -1;
    for (const char *at = text; *at != '\0'; at++)
        if (*at == '.')
            point = (long)count;
        else
            digits[count++] = (char)(*at - '0');
    point = point < 0 ? (long)count : point;

    static char product[2100];
    size_t size = count + 20; // 20 leading digits of room for the mantissa
    u128 carry = 0;
    for (size_t i = size; i-- > 0;) {
        u128 sum = carry + (i >= 20 ? (u128)(unsigned)digits[i - 20] * mantissa : 0);
        product[i] = (char)(sum % 10);
        carry = sum / 10;
    }
    assert_true(carry == 0);
    point += 20 + exponent + 6;

    u128 whole = 0;
    for (long i = 0; i < point; i++) {
        whole = whole * 10 + (i < (long)size ? (u128)(unsigned)product[i] : 0);
        if (whole > (u128)MICRO_LIMIT)
            return -1;
    }
    int first = point >= 0 && point < (long)size ? product[point] : 0;
    bool more = false;
    for (long i = point < 0 ? 0 : point + 1; i < (long)size; i++)
        more = more || product[i] != 0;
    if (first > 5 || (first == 5 && (more || whole % 2 == 1)))
        whole++;
    if (whole >= (u128)MICRO_LIMIT)
        return -1;
    *out = (uint64_t)whole;
    return 0;
}

static bool compare(const char *digits, bool negative, struct decimal scale, int got, int64_t value)
{
    uint64_t magnitude = 0;
    uint64_t mantissa = scale.mantissa < 0 ? -(uint64_t)scale.mantissa : (uint64_t)scale.mantissa;
    int expected = oracle(digits, mantissa, scale.exponent, &magnitude);
    int64_t result = UNTOUCHED;
    if (expected == 0) {
        bool minus = negative != (scale.mantissa < 0);
        result = minus ? -(int64_t)magnitude : (int64_t)magnitude;
    }
    if (expected != got || result != value) {
        print_error("%s%.60s x %" PRId64 "e%d: %d %" PRId64 ", expected %d %" PRId64 "\n",
                    negative ? "-" : "", digits, scale.mantissa, scale.exponent, got, value,
                    expected, result);
        fail();
    }
    return expected == 0 && result != 0;
}

// True when the result was neither out of range nor zero, so that a test can see what it tests.
static bool check_double(double number, struct decimal scale)
{
    static char text[1600];
    (void)snprintf(text, sizeof text, "%.1100f", fabs(number));
    int64_t value = UNTOUCHED;
    int got = micro_from_double(number, scale, &value);
    return compare(text, number < 0, scale, got, value);
}

static bool check_integer(bool negative, uint64_t magnitude, struct decimal scale)
{
    char text[32];
    (void)snprintf(text, sizeof text, "%" PRIu64, magnitude);
    int64_t value = UNTOUCHED;
    int got = micro_from_integer(negative, magnitude, scale, &value);
    return compare(text, negative, scale, got, value);
}

static struct decimal random_scale(void)
{
    static const int64_t plain[] = {1, 1, 1, 5, 25, 125, 2, 1000, 999999999999999999};
    int64_t mantissa = plain[random_between(0, 8)];
    if (random_between(0, 1) == 1)
        mantissa = (int64_t)(random_magnitude() % 1000000000000000000U);
    return (struct decimal){random_between(0, 3) == 0 ? -mantissa : mantissa,
                            (int)random_between(-18, 18)};
}

static double random_double(void)
{
    double number = 0;
    uint64_t bits = random_u64();
    memcpy(&number, &bits, sizeof number);
    return isfinite(number) ? number : 1.5;
}

// ---- micro_from_* -------------------------------------------------------------------------------

static void test_double_any_bits(void **state)
{
    (void)state;
    for (int i = 0; i < 1500; i++)
        (void)check_double(random_double(), random_scale());
}

// Magnitudes that land in the range, at both ends of it and around one micro unit.
static void test_double_in_range(void **state)
{
    (void)state;
    int useful = 0;
    for (int i = 0; i < 4000; i++) {
        struct decimal scale = random_scale();
        double per_unit = fabs((double)scale.mantissa) * pow(10, scale.exponent + 6);
        double target = ldexp((double)(random_u64() >> 11), (int)random_between(-56, 11));
        double number = per_unit > 0 ? target / per_unit : target;
        useful += check_double(random_between(0, 1) == 1 ? number : -number, scale) ? 1 : 0;
    }
    assert_true(useful > 2000);
}

// n + 1/2 micro exactly, by binary fractions and by scales, and the doubles next to it.
static void test_double_ties(void **state)
{
    (void)state;
    for (int i = 0; i < 1500; i++) {
        double half = (double)(random_magnitude() >> 12) + 0.5;
        struct decimal micro = {random_between(0, 1) == 1 ? 1 : -1, -6};
        assert_true(half < 1 || check_double(half, micro));
        (void)check_double(nextafter(half, 0), micro);
        (void)check_double(nextafter(half, INFINITY), micro);
        double odd = (double)(random_magnitude() >> 12) * 2 + 1;
        (void)check_double(odd, (struct decimal){5, -7});
        (void)check_double(odd, (struct decimal){125, -9 + (int)random_between(-1, 1)});
        (void)check_double(odd, (struct decimal){500000000000000000, -24 + 6});
    }
}

static void test_double_vectors(void **state)
{
    (void)state;
    int64_t value = UNTOUCHED;
    struct decimal one = {1, 0};
    assert_int_equal(micro_from_double(0.1, one, &value), 0);
    assert_int_equal(value, 100000);
    assert_int_equal(micro_from_double(0.0000005, one, &value), 0); // just below the half
    assert_int_equal(value, 0);
    assert_int_equal(micro_from_double(2.5, (struct decimal){1, -6}, &value), 0);
    assert_int_equal(value, 2);
    assert_int_equal(micro_from_double(3.5, (struct decimal){-1, -6}, &value), 0);
    assert_int_equal(value, -4);
    assert_int_equal(micro_from_double(-0.0, one, &value), 0);
    assert_int_equal(value, 0);
    assert_int_equal(micro_from_double(-0x1p-1074, one, &value), 0);
    assert_int_equal(value, 0);

    value = UNTOUCHED;
    assert_int_equal(micro_from_double(9.2e12, one, &value), -1);
    assert_int_equal(micro_from_double(-9.2e12, one, &value), -1);
    assert_int_equal(micro_from_double(NAN, one, &value), -1);
    assert_int_equal(micro_from_double(INFINITY, one, &value), -1);
    assert_int_equal(micro_from_double(-INFINITY, (struct decimal){0, 0}, &value), -1);
    assert_int_equal(micro_from_double(1.7976931348623157e308, (struct decimal){1, 18}, &value),
                     -1);
    assert_int_equal(micro_from_double(1, (struct decimal){1, 19}, &value), -1);
    assert_int_equal(micro_from_double(1, (struct decimal){INT64_MIN, 0}, &value), -1);
    assert_int_equal(value, UNTOUCHED);
    assert_int_equal(micro_from_double(nextafter(9.2e12, 0), one, &value), 0);
    assert_true(value < MICRO_LIMIT && value > MICRO_LIMIT - 10000);
}

static void test_integer(void **state)
{
    (void)state;
    int useful = 0;
    for (int i = 0; i < 30000; i++) {
        struct decimal scale = random_scale();
        useful += check_integer(random_between(0, 1) == 1, random_magnitude(), scale) ? 1 : 0;
        (void)check_integer(false, random_magnitude() | 1, (struct decimal){5, -7});
    }
    assert_true(useful > 3000);
    struct decimal micro = {1, -6};
    assert_true(check_integer(true, (uint64_t)MICRO_LIMIT - 1, micro));
    assert_false(check_integer(true, (uint64_t)MICRO_LIMIT, micro));
    (void)check_integer(false, UINT64_MAX, (struct decimal){999999999999999999, 18});
    (void)check_integer(false, UINT64_MAX, (struct decimal){999999999999999999, -18});
}

// ---- text ---------------------------------------------------------------------------------------

static void test_decimal_parse(void **state)
{
    (void)state;
    static const struct {
        const char *text;
        struct decimal value;
    } good[] = {
        {"0.0001", {1, -4}},
        {"1e-3", {1, -3}},
        {"1000", {1000, 0}},
        {"+2.50", {250, -2}},
        {"-7E+2", {-7, 2}},
        {"0", {0, 0}},
        {"-0.000", {0, 0}},
        {"0e99999999999999999999", {0, 0}},
        {"000000000000000000000000000012", {12, 0}},
        {"999999999999999999", {999999999999999999, 0}},
        {"1e18", {1, 18}},
        {"1e20", {100, 18}},
        {"1000e18", {1000, 18}},
        {"10000000000000000000000e-18", {100000000000000000, -13}},
        {"0.000000000000000001", {1, -18}},
        {"0.0000000000000000010000", {1, -18}},
        {"1.000000000000000000000e-1", {100000000000000000, -18}},
    };
    for (size_t i = 0; i < sizeof good / sizeof good[0]; i++) {
        struct decimal value = {-77, -77};
        assert_int_equal(decimal_parse(good[i].text, &value), 0);
        assert_int_equal(value.mantissa, good[i].value.mantissa);
        assert_int_equal(value.exponent, good[i].value.exponent);
    }
    static const char *const bad[] = {"",
                                      "+",
                                      "-",
                                      ".5",
                                      "5.",
                                      "1e",
                                      "1e+",
                                      "1.2.3",
                                      " 1",
                                      "1 ",
                                      "0x1",
                                      "1e1.5",
                                      "--1",
                                      "nan",
                                      "inf",
                                      "1,5",
                                      "1e19e",
                                      "1000000000000000001",
                                      "1e36",
                                      "1e-19",
                                      "1e99999999999999999999",
                                      "-1234567890123456789",
                                      "0.1e-18"};
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        struct decimal value = {-77, -77};
        if (decimal_parse(bad[i], &value) != -1 || value.mantissa != -77 || value.exponent != -77) {
            print_error("accepted: %s\n", bad[i]);
            fail();
        }
    }
}

// What is parsed reads as the same double as the text itself does.
static void test_decimal_round_trip(void **state)
{
    (void)state;
    for (int i = 0; i < 20000; i++) {
        char text[64];
        int64_t mantissa = (int64_t)(random_magnitude() % 1000000000000000000U);
        int exponent = (int)random_between(-18, 18);
        (void)snprintf(text, sizeof text, "-%" PRId64 "e%d", mantissa, exponent);
        struct decimal value;
        assert_int_equal(decimal_parse(text, &value), 0);
        assert_true(decimal_to_double(value) == strtod(text, NULL));
        (void)snprintf(text, sizeof text, "%" PRId64 ".%09" PRId64, mantissa / 1000000000,
                       mantissa % 1000000000);
        assert_int_equal(decimal_parse(text, &value), 0);
        assert_true(decimal_to_double(value) == strtod(text, NULL));
    }
}

static void check_print(int64_t micro, const char *expected)
{
    char text[DECIMAL_TEXT_MAX];
    assert_int_equal(micro_print(micro, text), strlen(expected));
    assert_string_equal(text, expected);
}

static void test_micro_text(void **state)
{
    (void)state;
    check_print(0, "0");
    check_print(1, "0.000001");
    check_print(-1, "-0.000001");
    check_print(100, "0.0001");
    check_print(100000000, "100");
    check_print(INT64_C(9007199254740993000), "9007199254740.993");
    check_print(1 - MICRO_LIMIT, "-9199999999999.999999");
    check_print(INT64_MIN, "-9223372036854.775808");
    for (int i = 0; i < 30000; i++) {
        int64_t micro = (int64_t)(random_magnitude() % (uint64_t)MICRO_LIMIT);
        micro = random_between(0, 1) == 1 ? micro : -micro;
        char text[DECIMAL_TEXT_MAX];
        size_t length = micro_print(micro, text);
        assert_int_equal(length, strlen(text));
        assert_true(strchr(text, '.') == NULL || text[length - 1] != '0');
        int64_t back = UNTOUCHED;
        assert_int_equal(micro_parse(text, &back), 0);
        assert_int_equal(back, micro);
    }
}

static void test_micro_parse(void **state)
{
    (void)state;
    static const struct {
        const char *text;
        int64_t micro;
    } good[] = {{"1234581.2204", 1234581220400},
                {"+1", 1000000},
                {"-0.0", 0},
                {"007.500000", 7500000},
                {"-0.000001", -1},
                {"9199999999999.999999", MICRO_LIMIT - 1}};
    for (size_t i = 0; i < sizeof good / sizeof good[0]; i++) {
        int64_t value = UNTOUCHED;
        assert_int_equal(micro_parse(good[i].text, &value), 0);
        assert_int_equal(value, good[i].micro);
    }
    static const char *const bad[] = {"",
                                      "-",
                                      "+",
                                      ".",
                                      "1.",
                                      ".1",
                                      "1..2",
                                      "1.2.3",
                                      "1e3",
                                      " 1",
                                      "1 ",
                                      "1,2",
                                      "--1",
                                      "1.0000000",
                                      "9200000000000",
                                      "-9200000000000",
                                      "1-",
                                      "0x1",
                                      "99999999999999999999999999999999999999999999999999999999"};
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        int64_t value = UNTOUCHED;
        if (micro_parse(bad[i], &value) != -1 || value != UNTOUCHED) {
            print_error("accepted: %s\n", bad[i]);
            fail();
        }
    }
}

static void test_sums(void **state)
{
    (void)state;
    int64_t value = UNTOUCHED;
    assert_int_equal(micro_add(MICRO_LIMIT - 1, 1, &value), -1);
    assert_int_equal(micro_add(1 - MICRO_LIMIT, -1, &value), -1);
    assert_int_equal(micro_add(INT64_MAX, INT64_MAX, &value), -1);
    assert_int_equal(micro_subtract(INT64_MIN, 1, &value), -1);
    assert_int_equal(micro_subtract(0, INT64_MIN, &value), -1);
    assert_int_equal(micro_subtract(1 - MICRO_LIMIT, 1, &value), -1);
    assert_int_equal(value, UNTOUCHED);
    assert_int_equal(micro_add(MICRO_LIMIT - 2, 1, &value), 0);
    assert_int_equal(value, MICRO_LIMIT - 1);
    assert_int_equal(micro_subtract(3, 5, &value), 0);
    assert_int_equal(value, -2);
}

// ---- gauges -------------------------------------------------------------------------------------

static void check_gauge(double number, bool exact, const char *expected)
{
    char text[GAUGE_TEXT_MAX];
    assert_int_equal(gauge_print(number, exact, text), strlen(expected));
    assert_string_equal(text, expected);
}

static void test_gauge_vectors(void **state)
{
    (void)state;
    check_gauge(0, false, "0");
    check_gauge(-0.0, true, "0");
    check_gauge(101.325, false, "101.325");
    check_gauge(-12.5, false, "-12.5");
    check_gauge(0.1, true, "0.1");
    check_gauge(0.1 + 0.2, true, "0.30000000000000004");
    check_gauge(0.1 + 0.2, false, "0.3");
    check_gauge(1234567890.0, false, "1234568000");
    check_gauge(1234567890.0, true, "1234567890");
    check_gauge(1e-6, false, "0.000001");
    check_gauge(9.99e-7, false, "9.99e-7");
    check_gauge(-1e15, false, "-1e15");
    check_gauge(999999999999999.0, false, "1000000000000000");
    check_gauge(999999999999999.0, true, "999999999999999");
    check_gauge(-1.7976931348623157e308, true, "-1.7976931348623157e308");
    check_gauge(-2.2250738585072014e-308, true, "-2.2250738585072014e-308");
    check_gauge(-1.2345678901234567e-6, true, "-0.0000012345678901234567");
    check_gauge(0x1p-1074, false, "4.940656e-324");
}

static bool is_json_number(const char *at, size_t *digits)
{
    *digits = 0;
    at += *at == '-' ? 1 : 0;
    if (*at == '0' && isdigit((unsigned char)at[1]))
        return false;
    bool leading = true;
    size_t zeros = 0;
    for (; isdigit((unsigned char)*at) || *at == '.'; at++) {
        if (*at == '.')
            continue;
        leading = leading && *at == '0';
        zeros = *at == '0' && !leading ? zeros + 1 : 0;
        *digits += leading ? 0 : 1;
    }
    *digits -= zeros;
    if (at[-1] == '.')
        return false;
    if (*at == 'e') {
        at += at[1] == '-' ? 2 : 1;
        at += strspn(at, "0123456789");
    }
    return *at == '\0' && isdigit((unsigned char)at[-1]);
}

static void check_random_gauge(double number)
{
    char text[GAUGE_TEXT_MAX];
    char expected[64];
    size_t digits = 0;
    size_t length = 0;
    bool plain = fabs(number) >= 1e-6 && fabs(number) < 1e15;
    length = gauge_print(number, true, text);
    assert_int_equal(length, strlen(text));
    assert_true(is_json_number(text, &digits) && digits <= 17);
    assert_true(strtod(text, NULL) == number);
    assert_int_equal(strchr(text, 'e') == NULL, plain || number == 0);

    length = gauge_print(number, false, text);
    assert_int_equal(length, strlen(text));
    assert_true(is_json_number(text, &digits) && digits <= 7);
    (void)snprintf(expected, sizeof expected, "%.7g", number);
    assert_true(strtod(text, NULL) == strtod(expected, NULL));
    assert_int_equal(strchr(text, 'e') == NULL, plain || number == 0);
}

static void test_gauge_properties(void **state)
{
    (void)state;
    for (int i = 0; i < 20000; i++) {
        check_random_gauge(random_double());
        check_random_gauge((double)(int64_t)random_magnitude() /
                           pow(10, (int)random_between(0, 24)));
        check_random_gauge((double)(float)random_between(-1000000, 1000000) / 1000);
        check_random_gauge(pow(10, (int)random_between(-8, 17)) *
                           (1 - (double)random_between(0, 2) * 1e-8));
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_double_any_bits),
        cmocka_unit_test(test_double_in_range),
        cmocka_unit_test(test_double_ties),
        cmocka_unit_test(test_double_vectors),
        cmocka_unit_test(test_integer),
        cmocka_unit_test(test_decimal_parse),
        cmocka_unit_test(test_decimal_round_trip),
        cmocka_unit_test(test_micro_text),
        cmocka_unit_test(test_micro_parse),
        cmocka_unit_test(test_sums),
        cmocka_unit_test(test_gauge_vectors),
        cmocka_unit_test(test_gauge_properties),
    };
    random_start("test_base_decimal");
    return cmocka_run_group_tests_name("base/decimal", tests, NULL, NULL);
}
