// Two-wire buses: adapters that hear themselves, and the kernel's RS-485 mode.
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "drivers/wire.h"

#include "../support/fake_meter.h"

#include <errno.h>
#include <linux/serial.h>
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/syscall.h>
#include <unistd.h>

#define TIMEOUT_MS 60

// ---- a serial driver ----------------------------------------------------------------------------

// A pseudo-terminal has no driver to switch anything: here stands one in for it.
static struct {
    bool rs485, serial; // it knows these
    int refusal;        // errno of TIOCSRS485, 0 to take it
    struct serial_rs485 mode;
    struct serial_struct info;
} driver;

int ioctl(int fd, unsigned long request, ...)
{
    va_list arguments;
    va_start(arguments, request);
    void *argument = va_arg(arguments, void *);
    va_end(arguments);
    bool known = request == TIOCGRS485 || request == TIOCSRS485 ? driver.rs485 : driver.serial;
    switch (request) {
    case TIOCGRS485:
    case TIOCSRS485:
    case TIOCGSERIAL:
    case TIOCSSERIAL: break;
    default: return (int)syscall(SYS_ioctl, fd, request, argument);
    }
    errno = request == TIOCSRS485 && driver.refusal != 0 ? driver.refusal : ENOTTY;
    if (!known || (request == TIOCSRS485 && driver.refusal != 0))
        return -1;
    if (request == TIOCGRS485)
        memcpy(argument, &driver.mode, sizeof driver.mode);
    else if (request == TIOCSRS485)
        memcpy(&driver.mode, argument, sizeof driver.mode);
    else if (request == TIOCGSERIAL)
        memcpy(argument, &driver.info, sizeof driver.info);
    else
        memcpy(&driver.info, argument, sizeof driver.info);
    return 0;
}

static struct wire_settings settings_for(enum fake_kind kind, const struct fake_meter *fake)
{
    struct wire_settings settings = {.response_timeout_ms = TIMEOUT_MS};
    settings.url = (struct link_url){.kind = kind == FAKE_PTY ? LINK_RTU : LINK_RTU_OVER_TCP,
                                     .address = "127.0.0.1",
                                     .port = fake_port(fake),
                                     .baud = 115200,
                                     .parity = 'N',
                                     .stop = 1};
    (void)snprintf(settings.url.device, sizeof settings.url.device, "%s", fake_device(fake));
    return settings;
}

// Opens a wire to a fresh terminal, as the driver stands; the message where that fails.
static int open_rs485(bool rs485, struct err *err)
{
    struct fake_meter *fake = fake_start(FAKE_PTY, NULL, NULL);
    struct wire_settings settings = settings_for(FAKE_PTY, fake);
    settings.rs485 = rs485;
    struct wire *wire = wire_new(&settings, &clock_system);
    int result = wire_open(wire, err);
    assert_int_equal(wire_is_open(wire), result == 0);
    wire_free(wire);
    fake_stop(fake);
    return result;
}

static void test_rs485_refused(void **state)
{
    (void)state;
    static const struct {
        bool known;
        int refusal;
        const char *text;
    } cases[] = {
        {false, 0, "its driver does not know it"},
        {true, EINVAL, "its driver does not know it"},
        {true, EPERM, "Operation not permitted"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        struct err err = {""};
        memset(&driver, 0, sizeof driver);
        driver.rs485 = cases[i].known;
        driver.refusal = cases[i].refusal;
        assert_int_equal(open_rs485(true, &err), -1);
        assert_non_null(strstr(err.text, "refuses RS-485 mode"));
        assert_non_null(strstr(err.text, cases[i].text));
        assert_non_null(strstr(err.text, "take rs485: true out"));
        assert_int_equal(open_rs485(false, &err), 0); // and without it nothing is wrong
    }
}

static void test_rs485(void **state)
{
    (void)state;
    struct err err = {""};
    memset(&driver, 0, sizeof driver);
    driver.rs485 = true;
    driver.mode.flags = SER_RS485_RX_DURING_TX; // it would hear itself
    driver.mode.delay_rts_after_send = 3;       // somebody's reason: stays
    assert_int_equal(open_rs485(true, &err), 0);
    assert_int_equal(driver.mode.flags, SER_RS485_ENABLED | SER_RS485_RTS_ON_SEND);
    assert_int_equal(driver.mode.delay_rts_after_send, 3);

    // A board whose direction line is the other way round says so.
    driver.mode = (struct serial_rs485){.flags = SER_RS485_RTS_AFTER_SEND};
    assert_int_equal(open_rs485(true, &err), 0);
    assert_int_equal(driver.mode.flags, SER_RS485_ENABLED | SER_RS485_RTS_AFTER_SEND);

    driver.mode = (struct serial_rs485){0};
    assert_int_equal(open_rs485(false, &err), 0);
    assert_int_equal(driver.mode.flags, 0); // nobody asked for it
}

// Bytes that an adapter keeps back for others to follow come late.
static void test_low_latency(void **state)
{
    (void)state;
    struct err err = {""};
    memset(&driver, 0, sizeof driver);
    driver.serial = true;
    driver.info.flags = 0x10;
    assert_int_equal(open_rs485(false, &err), 0);
    assert_int_equal(driver.info.flags, 0x10 | (int)ASYNC_LOW_LATENCY);
}

// ---- echo ---------------------------------------------------------------------------------------

struct echo {
    int drip_ms;
    bool silent;      // the meter does
    bool none;        // the adapter does not
    uint64_t damaged; // the echo of this request
};

static void echo(void *context, struct fake_answer *answer)
{
    const struct echo *order = context;
    answer->drip_ms = order->drip_ms;
    if (order->silent)
        answer->length = 0;
    if (order->none)
        return;
    memmove(answer->frame + 8, answer->frame, answer->length);
    memcpy(answer->frame, answer->request, 8);
    answer->length += 8;
    answer->frame[4] ^= answer->tick == order->damaged ? 0x20 : 0;
}

struct rig {
    struct fake_meter *fake;
    struct wire *wire;
};

static struct rig rig_start(enum fake_kind kind, struct echo *order, bool configured)
{
    struct rig rig = {.fake = fake_start(kind, echo, order)};
    struct wire_settings settings = settings_for(kind, rig.fake);
    struct err err;
    settings.echo = configured;
    rig.wire = wire_new(&settings, &clock_system);
    assert_non_null(rig.wire);
    assert_int_equal(wire_open(rig.wire, &err), 0);
    return rig;
}

static void rig_stop(struct rig *rig)
{
    wire_free(rig->wire);
    fake_stop(rig->fake);
}

static void expect_good(struct rig *rig, struct request request, uint64_t tick)
{
    struct reply reply;
    wire_transact(rig->wire, &request, &reply);
    if (reply.why != WHY_NONE)
        fail_msg("why %d: %s", reply.why, reply.detail);
    for (int i = 0; i < request.count && request.function > 2; i++)
        assert_int_equal(reply.words[i], fake_word(request.first + i, tick));
}

static void expect_refusal(struct rig *rig, struct request request, int why, const char *detail)
{
    struct reply reply;
    wire_transact(rig->wire, &request, &reply);
    if (reply.why != why || strstr(reply.detail, detail) == NULL)
        fail_msg("why %d: '%s', expected %d: '%s'", reply.why, reply.detail, why, detail);
}

// Requests whose echo could be taken for a reply: the address's high byte is the byte count of the
// reply, and the request for 24 bits has a reply as long as the echo.
static const struct request requests[] = {
    {17, 3, 100, 10}, {17, 4, 0x1405, 10}, {17, 1, 0x0300, 24}, {17, 2, 3, 16}, {17, 3, 0x0200, 1},
};
#define REQUESTS (sizeof requests / sizeof requests[0])

static void test_echo_stripped(void **state)
{
    (void)state;
    for (int kind = FAKE_RTU_OVER_TCP; kind <= FAKE_PTY; kind++) {
        for (int drip_ms = 0; drip_ms <= 1; drip_ms++) {
            struct echo order = {.drip_ms = drip_ms};
            struct rig rig = rig_start((enum fake_kind)kind, &order, true);
            for (uint64_t i = 0; i < REQUESTS; i++)
                expect_good(&rig, requests[i], i + 1);
            rig_stop(&rig);
        }
    }
}

static void test_echo_without_reply(void **state)
{
    (void)state;
    struct echo order = {.silent = true};
    struct rig rig = rig_start(FAKE_PTY, &order, true);
    expect_refusal(&rig, requests[0], WHY_TIMEOUT, "no reply");
    order.silent = false;
    expect_good(&rig, (struct request){17, 3, 100, 3}, 2);
    order.silent = order.none = true;
    expect_refusal(&rig, requests[1], WHY_TIMEOUT, "did not come back");
    rig_stop(&rig);
}

// Who sees another request than the one that was sent cannot know what the meter saw.
static void test_echo_damaged(void **state)
{
    (void)state;
    for (int drip_ms = 0; drip_ms <= 1; drip_ms++) {
        struct echo order = {.damaged = 1, .drip_ms = drip_ms};
        struct rig rig = rig_start(FAKE_PTY, &order, true);
        expect_refusal(&rig, requests[0], WHY_FRAME, "something else than the request's echo");
        expect_good(&rig, (struct request){17, 3, 100, 3}, 2);
        rig_stop(&rig);
    }
}

static void test_echo_expected_in_vain(void **state)
{
    (void)state;
    struct echo order = {.none = true};
    struct rig rig = rig_start(FAKE_PTY, &order, true);
    expect_refusal(&rig, requests[0], WHY_FRAME, "nothing echoes here");
    rig_stop(&rig);
}

static void test_echo_unexpected(void **state)
{
    (void)state;
    for (size_t i = 0; i < 2 * REQUESTS; i++) {
        struct echo order = {.drip_ms = i < REQUESTS ? 0 : 1};
        struct rig rig = rig_start(FAKE_PTY, &order, false);
        expect_refusal(&rig, requests[i % REQUESTS], WHY_FRAME, "set echo: true");
        rig_stop(&rig);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_rs485_refused),         cmocka_unit_test(test_rs485),
        cmocka_unit_test(test_low_latency),           cmocka_unit_test(test_echo_stripped),
        cmocka_unit_test(test_echo_without_reply),    cmocka_unit_test(test_echo_damaged),
        cmocka_unit_test(test_echo_expected_in_vain), cmocka_unit_test(test_echo_unexpected),
    };
    return cmocka_run_group_tests_name("drivers/wire, two wires", tests, NULL, NULL);
}
