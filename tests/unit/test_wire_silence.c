// The silence before each request on a line with exact bit times (tests/support/paced_line.h):
// never shorter than the standard's. The line notes when the reply's last byte came, write() below
// when the next request went; neither is the product's.
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "drivers/wire.h"

#include "../support/paced_line.h"

#include <modbus/modbus.h>
#include <pthread.h>
#include <sched.h>
#include <stdio.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <unistd.h>

#define REQUESTS 15

static struct paced_line *line;

ssize_t write(int fd, const void *bytes, size_t length)
{
    if (line != NULL && length > 1 && paced_owns(line, fd))
        paced_mark(line);
    return syscall(SYS_write, fd, bytes, length);
}

static void start_line(int baud, int bits)
{
    int64_t silence_ns = paced_silence_ns(baud, bits);
    line = paced_start(&(struct paced_settings){baud, bits, silence_ns});
    if (line == NULL) {
        print_message("no SCHED_FIFO for the line\n");
        skip();
    }
}

// How many silences were too short, of those before all requests but the first.
static int end_line(int baud, int bits)
{
    const struct paced_exchange *list;
    int violations = 0;
    paced_stop(line);
    int count = paced_exchanges(line, &list);
    assert_int_equal(count, REQUESTS);
    assert_int_equal(paced_strays(line), 0);
    for (int i = 1; i < count; i++)
        violations += list[i].silence_ns < paced_silence_ns(baud, bits) ? 1 : 0;
    paced_free(line);
    line = NULL;
    return violations;
}

static void test_never_too_short(void **state)
{
    (void)state;
    static const struct {
        int baud, stop;
    } lines[] = {{9600, 1}, {9600, 2}, {19200, 1}, {19200, 2}, {38400, 1}, {57600, 2}, {115200, 1}};
    for (size_t i = 0; i < sizeof lines / sizeof lines[0]; i++) {
        struct wire_settings settings = {.response_timeout_ms = 500};
        struct err err = {""};
        settings.url = (struct link_url){
            .kind = LINK_RTU, .baud = lines[i].baud, .parity = 'N', .stop = lines[i].stop};
        int bits = link_url_character_bits(&settings.url);
        start_line(lines[i].baud, bits);
        (void)snprintf(settings.url.device, sizeof settings.url.device, "%s", paced_device(line));
        struct wire *wire = wire_new(&settings, &clock_system);
        if (wire_open(wire, &err) != 0)
            fail_msg("%s", err.text);
        for (int k = 0; k < REQUESTS; k++) {
            struct request request = {(uint8_t)(1 + k % 3), 3, (uint16_t)(100 * k), 4};
            struct reply reply;
            wire_transact(wire, &request, &reply);
            assert_int_equal(reply.why, WHY_NONE);
            assert_int_equal(reply.words[3], 100 * k + 3);
        }
        assert_int_equal(end_line(lines[i].baud, bits), 0);
        wire_free(wire);
    }
}

// The test above can see what it looks for.
static void test_seen_with_libmodbus(void **state)
{
    (void)state;
    start_line(38400, 10);
    modbus_t *context = modbus_new_rtu(paced_device(line), 38400, 'N', 8, 1);
    assert_int_equal(modbus_set_slave(context, 1), 0);
    assert_int_equal(modbus_connect(context), 0);
    for (int k = 0; k < REQUESTS; k++) {
        uint16_t words[4];
        assert_int_equal(modbus_read_registers(context, 100, 4, words), 4);
    }
    assert_in_range(end_line(38400, 10), REQUESTS / 2, REQUESTS);
    modbus_close(context);
    modbus_free(context);
}

// ---- the thread ---------------------------------------------------------------------------------

struct look {
    int opened, slack, policy, policy_of_child;
};

static void *policy_of_thread(void *policy)
{
    *(int *)policy = sched_getscheduler(0);
    return NULL;
}

static void *open_and_look(void *argument)
{
    struct look *look = argument;
    struct wire_settings settings = {.response_timeout_ms = 500};
    struct err err;
    pthread_t child;
    settings.url = (struct link_url){.kind = LINK_RTU, .baud = 9600, .parity = 'N', .stop = 1};
    (void)snprintf(settings.url.device, sizeof settings.url.device, "%s", paced_device(line));
    struct wire *wire = wire_new(&settings, &clock_system);
    look->opened = wire_open(wire, &err);
    look->slack = prctl(PR_GET_TIMERSLACK, 0, 0, 0, 0);
    look->policy = sched_getscheduler(0);
    if (pthread_create(&child, NULL, policy_of_thread, &look->policy_of_child) == 0)
        (void)pthread_join(child, NULL);
    wire_free(wire);
    return NULL;
}

// Its sleeps end on time; what it starts is an ordinary thread again.
static void test_thread_is_sharpened(void **state)
{
    (void)state;
    start_line(9600, 10);
    pthread_t thread;
    struct look look = {-1, -1, -1, -1};
    assert_int_equal(pthread_create(&thread, NULL, open_and_look, &look), 0);
    assert_int_equal(pthread_join(thread, NULL), 0);
    assert_int_equal(look.opened, 0);
    assert_in_range(look.slack, 0, 1); // 0 for a real-time thread; 50000 where nobody cares
    assert_int_equal(look.policy, SCHED_RR | SCHED_RESET_ON_FORK);
    assert_int_equal(look.policy_of_child, SCHED_OTHER);
    paced_stop(line);
    paced_free(line);
    line = NULL;
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_thread_is_sharpened),
        cmocka_unit_test(test_never_too_short),
        cmocka_unit_test(test_seen_with_libmodbus),
    };
    return cmocka_run_group_tests_name("drivers/wire, silences", tests, NULL, NULL);
}
