#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "poll/cost.h"

// Time of a transaction on a link, in ns.
static int64_t cost_of(const char *url_text, int pause_ms, struct request request)
{
    struct link_url url;
    struct link_cost cost;
    struct err err = {""};
    if (link_url_parse(url_text, &url, &err) != 0)
        fail_msg("%s", err.text);
    link_cost_of(&url, pause_ms, &cost);
    return cost_request_ns(&cost, &request);
}

#define MS INT64_C(1000000)
#define TURNAROUND (COST_TURNAROUND_MS * MS)
#define NEAR 1000 // rounding of a character to whole ns, times the characters

static void expect_near(int64_t got, int64_t expected)
{
    if (got < expected - NEAR || got > expected + NEAR)
        fail_msg("%lld ns, not %lld", (long long)got, (long long)expected);
}

// 10 registers: 8 bytes there, 25 back, and twice 3.5 characters of silence.
static void test_serial(void **state)
{
    (void)state;
    struct request ten = {.unit = 1, .function = 3, .count = 10};
    const char *url = "rtu:///dev/ttyS0?baud=9600&parity=N&stop=1";
    expect_near(cost_of(url, 0, ten), 40 * 10 * INT64_C(1000000000) / 9600 + TURNAROUND);
    expect_near(cost_of(url, 5, ten), 40 * 10 * INT64_C(1000000000) / 9600 + TURNAROUND + 5 * MS);
    url = "rtu:///dev/ttyS0?baud=19200&parity=E&stop=1";
    expect_near(cost_of(url, 0, ten), 40 * 11 * INT64_C(1000000000) / 19200 + TURNAROUND);
    url = "rtu:///dev/ttyS0?baud=9600&parity=N&stop=2";
    expect_near(cost_of(url, 0, ten), 40 * 11 * INT64_C(1000000000) / 9600 + TURNAROUND);
    // Above 19200 the silence is 1.75 ms.
    url = "rtu:///dev/ttyS0?baud=38400&parity=N&stop=1";
    expect_near(cost_of(url, 0, ten),
                33 * 10 * INT64_C(1000000000) / 38400 + 2 * 1750000 + TURNAROUND);
    // 19 bits are 3 bytes; registers of four bytes twice as many.
    url = "rtu:///dev/ttyS0?baud=9600&parity=N&stop=1";
    struct request bits = {.unit = 1, .function = 1, .count = 19};
    expect_near(cost_of(url, 0, bits), 23 * 10 * INT64_C(1000000000) / 9600 + TURNAROUND);
    ten.register_size = 4;
    expect_near(cost_of(url, 0, ten), 60 * 10 * INT64_C(1000000000) / 9600 + TURNAROUND);
}

static void test_network(void **state)
{
    (void)state;
    struct request ten = {.unit = 1, .function = 3, .count = 10};
    expect_near(cost_of("tcp://192.0.2.1:502", 0, ten),
                COST_ROUND_TRIP_MS * MS + 41 * COST_TCP_BYTE_NS);
    // A serial server: a round trip on top of a line whose speed nobody knows.
    expect_near(cost_of("rtu-over-tcp://192.0.2.1:4001", 0, ten),
                40 * 10 * INT64_C(1000000000) / 9600 + TURNAROUND + COST_ROUND_TRIP_MS * MS);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_serial),
        cmocka_unit_test(test_network),
    };
    return cmocka_run_group_tests_name("poll/cost", tests, NULL, NULL);
}
