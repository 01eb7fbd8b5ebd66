#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "drivers/link_url.h"

#include "property.h"

#include <string.h>

static struct link_url parsed(const char *text)
{
    struct link_url url;
    struct err err;
    if (link_url_parse(text, &url, &err) != 0) {
        print_error("%s: %s\n", text, err.text);
        fail();
    }
    return url;
}

static void test_tcp(void **state)
{
    (void)state;
    struct link_url url = parsed("tcp://192.168.1.20:1502");
    assert_int_equal(url.kind, LINK_TCP);
    assert_string_equal(url.address, "192.168.1.20");
    assert_int_equal(url.port, 1502);
    assert_int_equal(parsed("tcp://10.0.0.1").port, 502);
    url = parsed("tcp://[fe80::1]:65535");
    assert_string_equal(url.address, "fe80::1");
    assert_int_equal(url.port, 65535);
    assert_int_equal(parsed("tcp://[::1]").port, 502);
    url = parsed("rtu-over-tcp://127.0.0.1:4001");
    assert_int_equal(url.kind, LINK_RTU_OVER_TCP);
    assert_int_equal(url.port, 4001);
}

static void test_serial(void **state)
{
    (void)state;
    struct link_url url = parsed("rtu:///dev/ttyS0?baud=19200&parity=E&stop=2");
    assert_int_equal(url.kind, LINK_RTU);
    assert_string_equal(url.device, "/dev/ttyS0");
    assert_int_equal(url.baud, 19200);
    assert_int_equal(url.parity, 'E');
    assert_int_equal(url.stop, 2);
    url = parsed("rtu:///dev/serial/by-id/usb-FTDI_A1-if00-port0");
    assert_string_equal(url.device, "/dev/serial/by-id/usb-FTDI_A1-if00-port0");
    assert_int_equal(url.baud, 9600);
    assert_int_equal(url.parity, 'N');
    assert_int_equal(url.stop, 1);
    assert_int_equal(parsed("rtu:///dev/ttyS1?stop=2").stop, 2);
}

static void test_character_bits(void **state)
{
    (void)state;
    struct link_url url = parsed("rtu:///dev/ttyS0?baud=9600&parity=N&stop=1");
    assert_int_equal(link_url_character_bits(&url), 10);
    url = parsed("rtu:///dev/ttyS0?parity=E&stop=1");
    assert_int_equal(link_url_character_bits(&url), 11);
    url = parsed("rtu:///dev/ttyS0?parity=N&stop=2");
    assert_int_equal(link_url_character_bits(&url), 11);
    url = parsed("rtu:///dev/ttyS0?parity=O&stop=2");
    assert_int_equal(link_url_character_bits(&url), 12);
}

static void test_refused(void **state)
{
    (void)state;
    static const char *const faults[][2] = {
        {"", "allowed: tcp://IP:PORT"},
        {"/dev/ttyS0", "is no link"},
        {"TCP://1.2.3.4:502", "is no link"},
        {"tcp://", "is no IP address"},
        {"tcp://meter.example.com:502", "is no IP address"},
        {"tcp://1.2.3:502", "is no IP address"},
        {"tcp://1.2.3.4:", "is no port"},
        {"tcp://1.2.3.4:0", "is no port"},
        {"tcp://1.2.3.4:65536", "1 to 65535"},
        {"tcp://1.2.3.4:99999999999999999999", "is no port"},
        {"tcp://1.2.3.4:+5", "is no port"},
        {"tcp://1.2.3.4:502/", "is no port"},
        {"tcp://1.2.3.4/502", "is no IP address"},
        {"tcp://::1:502", "in brackets"},
        {"tcp://[::1", "is no IP address"},
        {"tcp://[::1]502", "is no IP address"},
        {"tcp://[1.2.3.4]:502", "is no IP address"},
        {"tcp://[fe80::1%eth0]:502", "is no IP address"},
        {"rtu://", "names no serial device"},
        {"rtu://dev/ttyS0", "names no serial device"},
        {"rtu:///?baud=9600", "names no serial device"},
        {"rtu:///dev/tty S0", "names no serial device"},
        {"rtu:///dev/tty\nS0", "names no serial device"},
        {"rtu:///dev/ttyS0?", "is no setting"},
        {"rtu:///dev/ttyS0?baud", "is no setting"},
        {"rtu:///dev/ttyS0?baud=9600&", "is no setting"},
        {"rtu:///dev/ttyS0?baud=9601", "115200"},
        {"rtu:///dev/ttyS0?baud=", "is not possible"},
        {"rtu:///dev/ttyS0?parity=n", "N (none)"},
        {"rtu:///dev/ttyS0?parity=", "is not possible"},
        {"rtu:///dev/ttyS0?parity=NE", "is not possible"},
        {"rtu:///dev/ttyS0?stop=3", "allowed: 1, 2"},
        {"rtu:///dev/ttyS0?bits=7", "allowed: baud, parity, stop"},
        {"rtu:///dev/ttyS0?stop=1&stop=1", "given twice"},
    };
    for (size_t i = 0; i < sizeof faults / sizeof faults[0]; i++) {
        struct link_url url = {.port = 77};
        struct err err = {""};
        if (link_url_parse(faults[i][0], &url, &err) != -1 ||
            strstr(err.text, faults[i][1]) == NULL) {
            print_error("'%s': '%s' does not say '%s'\n", faults[i][0], err.text, faults[i][1]);
            fail();
        }
        assert_int_equal(url.port, 77); // untouched
        assert_int_equal(link_url_parse(faults[i][0], &url, NULL), -1);
    }
}

static void test_too_long(void **state)
{
    (void)state;
    char text[400] = "rtu:///";
    memset(text + 7, 'd', 127);
    struct link_url url;
    assert_int_equal(link_url_parse(text, &url, NULL), -1);
    text[7 + 126] = '\0';
    assert_int_equal(link_url_parse(text, &url, NULL), 0);
    assert_int_equal(strlen(url.device), 127);
    memset(text, 0, sizeof text);
    memcpy(text, "tcp://[", 7);
    memset(text + 7, ':', 300);
    assert_int_equal(link_url_parse(text, &url, NULL), -1);
}

// Damaged texts never crash, and what is accepted is in range.
static void test_mutations(void **state)
{
    (void)state;
    static const char *const seeds[] = {"tcp://192.168.1.20:1502", "tcp://[fe80::1]:502",
                                        "rtu:///dev/ttyS0?baud=9600&parity=N&stop=1",
                                        "rtu-over-tcp://127.0.0.1:4001"};
    for (int i = 0; i < 200000; i++) {
        char text[64];
        const char *seed = seeds[random_between(0, 3)];
        size_t length = strlen(seed);
        memcpy(text, seed, length + 1);
        for (int64_t changes = random_between(1, 3); changes > 0; changes--) {
            text[random_between(0, (int64_t)length - 1)] =
                "?&=:/.[]0123456789NEOabx\n"[random_between(0, 24)];
        }
        struct link_url url;
        if (link_url_parse(text, &url, NULL) == 0) {
            assert_true(url.kind == LINK_RTU ? url.baud >= 300 && url.baud <= 115200 &&
                                                   (url.stop == 1 || url.stop == 2) &&
                                                   strchr("NEO", url.parity) != NULL
                                             : url.port >= 1 && url.port <= 65535);
        }
    }
}

int main(void)
{
    random_start("test_drivers_link_url");
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_tcp),
        cmocka_unit_test(test_serial),
        cmocka_unit_test(test_character_bits),
        cmocka_unit_test(test_refused),
        cmocka_unit_test(test_too_long),
        cmocka_unit_test(test_mutations),
    };
    return cmocka_run_group_tests_name("drivers/link_url", tests, NULL, NULL);
}
