#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "drivers/wire.h"

#include "../support/fake_meter.h"

#include <arpa/inet.h>
#include <poll.h>
#include <pthread.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#define TIMEOUT_MS 100

// --- a clock that can be put forward ---

static int64_t ahead_ns;

static int64_t boot_ns(void *context)
{
    (void)context;
    struct timespec now;
    (void)clock_gettime(CLOCK_BOOTTIME, &now);
    return now.tv_sec * INT64_C(1000000000) + now.tv_nsec + ahead_ns;
}

static int64_t wall_ms(void *context)
{
    return boot_ns(context) / 1000000;
}

static const struct clock hasty_clock = {.boot_ns = boot_ns, .wall_ms = wall_ms};

// --- a modem: a caller that speaks Modbus TCP ---

static int free_port(void)
{
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_addr = {htonl(INADDR_LOOPBACK)}};
    socklen_t size = sizeof address;
    assert_int_equal(bind(fd, (struct sockaddr *)&address, size), 0);
    assert_int_equal(getsockname(fd, (struct sockaddr *)&address, &size), 0);
    (void)close(fd);
    return ntohs(address.sin_port);
}

static int call(int port)
{
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    struct sockaddr_in address = {.sin_family = AF_INET,
                                  .sin_port = htons((uint16_t)port),
                                  .sin_addr = {htonl(INADDR_LOOPBACK)}};
    assert_int_equal(connect(fd, (struct sockaddr *)&address, sizeof address), 0);
    return fd;
}

static void say(int fd, const char *text)
{
    assert_int_equal(send(fd, text, strlen(text), MSG_NOSIGNAL), (ssize_t)strlen(text));
}

static struct wire *listening(int port, const char *hello, const char *heartbeat)
{
    struct wire_settings settings = {.response_timeout_ms = TIMEOUT_MS};
    char url[64];
    struct err err;
    (void)snprintf(url, sizeof url, "tcp-listen://127.0.0.1:%d", port);
    assert_int_equal(link_url_parse(url, &settings.url, &err), 0);
    assert_int_equal(modem_bytes_parse(hello, &settings.modem.hello, &err), 0);
    assert_int_equal(modem_bytes_parse(heartbeat, &settings.modem.heartbeat, &err), 0);
    struct wire *wire = wire_new(&settings, &hasty_clock);
    assert_non_null(wire);
    // Nobody has called yet; from now on the port listens.
    assert_int_equal(wire_open(wire, &err), -1);
    assert_non_null(strstr(err.text, "no modem has dialled in"));
    return wire;
}

static void must_open(struct wire *wire)
{
    struct err err = {""};
    if (wire_open(wire, &err) != 0)
        fail_msg("%s", err.text);
}

// Sends what is before the reply, and the reply of two registers, in the moment the request comes.
struct answering {
    int fd;
    const char *before;
    uint16_t word;
};

static void *answer(void *argument)
{
    const struct answering *how = argument;
    uint8_t request[12];
    if (recv(how->fd, request, sizeof request, MSG_WAITALL) != sizeof request)
        return NULL;
    uint8_t frame[96];
    size_t length = strlen(how->before);
    memcpy(frame, how->before, length);
    uint8_t reply[] = {
        request[0],         request[1], 0, 0, 0, 7, request[6], 3, 4, (uint8_t)(how->word >> 8),
        (uint8_t)how->word, 0,          1};
    memcpy(frame + length, reply, sizeof reply);
    (void)send(how->fd, frame, length + sizeof reply, MSG_NOSIGNAL);
    return NULL;
}

static struct reply ask(struct wire *wire, int fd, const char *before, uint16_t word)
{
    struct answering how = {fd, before, word};
    pthread_t thread;
    struct reply reply;
    assert_int_equal(pthread_create(&thread, NULL, answer, &how), 0);
    wire_transact(wire, &(struct request){.unit = 1, .function = 3, .count = 2}, &reply);
    (void)pthread_join(thread, NULL);
    return reply;
}

static void expect_answer(struct wire *wire, int fd, const char *before, uint16_t word)
{
    struct reply reply = ask(wire, fd, before, word);
    if (reply.why != WHY_NONE)
        fail_msg("%d: %s", reply.why, reply.detail);
    assert_int_equal(reply.words[0], word);
}

static void expect_hung_up(int fd)
{
    struct pollfd poll_fd = {.fd = fd, .events = POLLIN};
    assert_int_equal(poll(&poll_fd, 1, 5000), 1);
    uint8_t byte;
    assert_true(recv(fd, &byte, 1, 0) <= 0);
}

// --- tests ---

static void test_dials_in(void **state)
{
    (void)state;
    int port = free_port();
    struct wire *wire = listening(port, "", "");
    int modem = call(port);
    must_open(wire);
    expect_answer(wire, modem, "", 0x1234);
    // It dials again: the new connection is the link, the old one is closed.
    int again = call(port);
    must_open(wire);
    expect_hung_up(modem);
    expect_answer(wire, again, "", 0x2345);
    // It hangs up.
    (void)close(again);
    struct err err;
    assert_int_equal(wire_open(wire, &err), -1);
    int third = call(port);
    must_open(wire);
    expect_answer(wire, third, "", 0x3456);
    (void)close(modem);
    (void)close(third);
    wire_free(wire);
}

static void test_hello_and_heartbeat(void **state)
{
    (void)state;
    int port = free_port();
    struct wire *wire = listening(port, "hex:4d45544552", "PING"); // "METER"
    int other = call(port);
    say(other, "HACKER");
    int mute = call(port);
    struct err err = {""};
    assert_int_equal(wire_open(wire, &err), -1);
    assert_non_null(strstr(err.text, "did not say its modem_hello"));
    expect_hung_up(other);
    expect_hung_up(mute);
    int modem = call(port);
    say(modem, "METERPINGPING");
    must_open(wire);
    expect_answer(wire, modem, "", 7);
    say(modem, "PING");
    must_open(wire);
    expect_answer(wire, modem, "PINGPING", 8); // just before its reply
    say(modem, "PING");
    expect_answer(wire, modem, "", 9); // while it is asked
    (void)close(other);
    (void)close(mute);
    (void)close(modem);
    wire_free(wire);
}

// A modem that is silent keeps its connection, until it has been silent too often.
static void test_silence(void **state)
{
    (void)state;
    int port = free_port();
    struct wire *wire = listening(port, "", "");
    int modem = call(port);
    must_open(wire);
    struct reply reply;
    struct request request = {.unit = 1, .function = 3, .count = 2};
    wire_transact(wire, &request, &reply);
    assert_int_equal(reply.why, WHY_TIMEOUT);
    assert_true(wire_is_open(wire));
    uint8_t bytes[12]; // the request; its reply comes now, too late
    assert_int_equal(recv(modem, bytes, sizeof bytes, MSG_WAITALL), sizeof bytes);
    uint8_t late[] = {bytes[0], bytes[1], 0, 0, 0, 7, 1, 3, 4, 0xBA, 0xD0, 0, 0};
    assert_int_equal(send(modem, late, sizeof late, MSG_NOSIGNAL), sizeof late);
    must_open(wire);
    expect_answer(wire, modem, "", 0x600D);
    for (int i = 0; i < 3; i++)
        wire_transact(wire, &request, &reply);
    assert_false(wire_is_open(wire));
    (void)close(modem);
    wire_free(wire);
}

static void test_port_is_taken(void **state)
{
    (void)state;
    int port = free_port();
    struct wire *wire = listening(port, "", "");
    struct wire_settings settings = {.response_timeout_ms = TIMEOUT_MS};
    char url[64];
    struct err err;
    (void)snprintf(url, sizeof url, "rtu-over-tcp-listen://127.0.0.1:%d", port);
    assert_int_equal(link_url_parse(url, &settings.url, &err), 0);
    struct wire *second = wire_new(&settings, &hasty_clock);
    assert_int_equal(wire_open(second, &err), -1);
    assert_non_null(strstr(err.text, "another program does"));
    wire_free(second);
    wire_free(wire);
}

static struct wire *two_addresses(struct fake_meter *first, struct fake_meter *second)
{
    struct wire_settings settings = {.response_timeout_ms = TIMEOUT_MS, .has_second = true};
    char url[64];
    struct err err;
    (void)snprintf(url, sizeof url, "tcp://127.0.0.1:%d", fake_port(first));
    assert_int_equal(link_url_parse(url, &settings.url, &err), 0);
    (void)snprintf(url, sizeof url, "tcp://127.0.0.1:%d", fake_port(second));
    assert_int_equal(link_url_parse(url, &settings.second_url, &err), 0);
    return wire_new(&settings, &hasty_clock);
}

static void expect_from(struct wire *wire, struct fake_meter *fake, bool is_second)
{
    uint64_t before = fake_ticks(fake);
    struct request request = {.unit = 17, .function = 3, .first = 100, .count = 2};
    struct reply reply;
    must_open(wire);
    wire_transact(wire, &request, &reply);
    assert_int_equal(reply.why, WHY_NONE);
    assert_int_equal(fake_ticks(fake), before + 1);
    assert_int_equal(wire_is_on_second(wire), is_second);
}

static void test_second_address(void **state)
{
    (void)state;
    struct fake_meter *first = fake_start(FAKE_TCP, NULL, NULL);
    struct fake_meter *second = fake_start(FAKE_TCP, NULL, NULL);
    struct wire *wire = two_addresses(first, second);
    expect_from(wire, first, false);
    fake_unplug(first);
    expect_from(wire, second, true);
    fake_plug_in(first);
    expect_from(wire, second, true); // not at once: it may flap
    ahead_ns += INT64_C(10) * 60 * 1000000000;
    expect_from(wire, first, false);
    // Both are away: the message names both.
    fake_unplug(first);
    fake_unplug(second);
    struct err err = {""};
    assert_int_equal(wire_open(wire, &err), -1);
    char port[16];
    (void)snprintf(port, sizeof port, "port %d", fake_port(first));
    assert_non_null(strstr(err.text, port));
    (void)snprintf(port, sizeof port, "port %d", fake_port(second));
    assert_non_null(strstr(err.text, port));
    wire_free(wire);
    fake_stop(first);
    fake_stop(second);
}

static void stay_silent(void *context, struct fake_answer *answer)
{
    (void)context;
    answer->length = 0;
}

// Connected, but nothing comes: the other address after three requests.
static void test_second_address_when_mute(void **state)
{
    (void)state;
    struct fake_meter *first = fake_start(FAKE_TCP, stay_silent, NULL);
    struct fake_meter *second = fake_start(FAKE_TCP, NULL, NULL);
    struct wire *wire = two_addresses(first, second);
    for (int i = 0; i < 3; i++) {
        struct reply reply;
        must_open(wire);
        assert_false(wire_is_on_second(wire));
        wire_transact(wire, &(struct request){.unit = 17, .function = 3, .count = 2}, &reply);
        assert_int_equal(reply.why, WHY_TIMEOUT);
    }
    expect_from(wire, second, true);
    wire_free(wire);
    fake_stop(first);
    fake_stop(second);
}

static void test_bytes(void **state)
{
    (void)state;
    struct modem_bytes bytes;
    struct err err;
    assert_int_equal(modem_bytes_parse("hex:00fF0A", &bytes, &err), 0);
    assert_int_equal(bytes.length, 3);
    assert_memory_equal(bytes.bytes, "\x00\xFF\x0A", 3);
    assert_int_equal(modem_bytes_parse("abc", &bytes, &err), 0);
    assert_int_equal(bytes.length, 3);
    assert_int_equal(modem_bytes_parse("", &bytes, &err), 0);
    assert_int_equal(bytes.length, 0);
    assert_int_equal(modem_bytes_parse("hex:0", &bytes, &err), -1);
    assert_int_equal(modem_bytes_parse("hex:0g", &bytes, &err), -1);
    char text[80];
    memset(text, 'x', sizeof text);
    text[64] = '\0';
    assert_int_equal(modem_bytes_parse(text, &bytes, &err), 0);
    assert_int_equal(bytes.length, 64);
    text[64] = 'x';
    text[65] = '\0';
    assert_int_equal(modem_bytes_parse(text, &bytes, &err), -1);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_dials_in),       cmocka_unit_test(test_hello_and_heartbeat),
        cmocka_unit_test(test_silence),        cmocka_unit_test(test_port_is_taken),
        cmocka_unit_test(test_second_address), cmocka_unit_test(test_second_address_when_mute),
        cmocka_unit_test(test_bytes),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
