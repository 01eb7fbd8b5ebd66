// Brokers that lie: what they do before, instead of and after a good answer. Whatever it is, the
// state has a reason, nothing counts as acknowledged that was not, and when the broker is well
// again everything arrives, in order.
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "office_rig.h"

#include "../support/fake_broker.h"

#include <netinet/in.h>
#include <sys/ioctl.h>
#include <sys/socket.h>

#define FILES_MAX 1024 // of this process
#define ROWS 60
#define HOUR_MS INT64_C(3600000)

static struct fake_broker *broker;
static struct rig rig;

static int setup(void **state)
{
    (void)state;
    char url[64];
    broker = fake_broker_start();
    (void)snprintf(url, sizeof url, "mqtt://127.0.0.1:%d", fake_broker_port(broker));
    rig_open(&rig, url);
    return 0;
}

static int teardown(void **state)
{
    (void)state;
    rig_close(&rig);
    fake_broker_stop(broker);
    return 0;
}

// First appearances at the broker; fails when they are out of order.
static int64_t appeared(void)
{
    int64_t highest = 0;
    int count = fake_broker_count(broker);
    for (int i = 0; i < count; i++) {
        const struct fake_message *message = fake_broker_message(broker, i);
        const char *at = strstr(message->payload, "\"seq\":");
        if (strcmp(message->lane, "live") != 0)
            continue;
        assert_non_null(at);
        int64_t seq = strtoll(at + 6, NULL, 10);
        if (seq > highest)
            assert_int_equal(seq, highest + 1);
        highest = seq > highest ? seq : highest;
    }
    return highest;
}

// In large steps, but not past an attempt that has begun.
static void pass_time(void)
{
    rig_advance(rig_state(&rig) == OFFICE_CONNECTING ? 1000 : 20000);
}

// Lets the back-off pass until the broker has seen so many connections more.
static void pass_connections(int more)
{
    int goal = fake_broker_connections(broker) + more;
    int64_t until = rig_real_ns() + INT64_C(30000000000);
    while (fake_broker_connections(broker) < goal) {
        if (rig_real_ns() > until)
            fail_msg("%d of %d connections, %s", fake_broker_connections(broker), goal,
                     rig_error(&rig));
        pass_time();
    }
}

// Lets the back-off pass until everything is acknowledged.
static void pass_until_acknowledged(int64_t rows)
{
    int64_t until = rig_real_ns() + INT64_C(30000000000);
    while (rig_acknowledged(LANE_LIVE) < rows) {
        if (rig_real_ns() > until)
            fail_msg("%d of %d, %s", (int)rig_acknowledged(LANE_LIVE), (int)rows, rig_error(&rig));
        if (rig_state(&rig) != OFFICE_ONLINE)
            pass_time();
    }
    assert_int_equal(rig_acknowledged(LANE_LIVE), rows);
    assert_int_equal(appeared(), rows);
}

static const struct greeting_row {
    enum fake_greeting greeting;
    const char *reason; // must be in the error
} greetings[] = {
    {FAKE_GREET_CLOSE, "accepts the connection, but not MQTT"},
    {FAKE_GREET_CLOSE_CONNECT, "accepts the connection, but not MQTT"},
    {FAKE_GREET_SILENT, "accepts the connection, but"},
    {FAKE_GREET_MALFORMED, "the broker"},
    {FAKE_GREET_GARBAGE, "the broker"},
    {FAKE_GREET_DISCONNECT, "ended"},
};

static void test_greetings(void **state)
{
    (void)state;
    rig_fill(&rig, LANE_LIVE, ROWS);
    fake_broker_greeting(broker, greetings[0].greeting);
    rig_start(&rig);
    for (size_t i = 0; i < sizeof greetings / sizeof greetings[0]; i++) {
        fake_broker_greeting(broker, greetings[i].greeting);
        pass_connections(4);
        int64_t until = rig_real_ns() + INT64_C(20000000000);
        while (strstr(rig_error(&rig), greetings[i].reason) == NULL) {
            if (rig_real_ns() > until)
                fail_msg("greeting %d: the reason given is '%s'", (int)greetings[i].greeting,
                         rig_error(&rig));
            pass_time();
        }
        assert_int_equal(rig_acknowledged(LANE_LIVE), 0);
        assert_false(rig_live());
    }
    fake_broker_greeting(broker, FAKE_GREET);
    pass_until_acknowledged(ROWS);
    rig_wait(rig_error(&rig)[0] == '\0', 5);
}

// "Session present" and acknowledgements before there is anything to acknowledge change nothing.
static void test_lies_that_do_not_matter(void **state)
{
    (void)state;
    static const enum fake_greeting lies[] = {FAKE_GREET_SESSION, FAKE_GREET_EARLY_PUBACKS};
    for (int i = 0; i < 2; i++) {
        fake_broker_greeting(broker, lies[i]);
        rig_fill(&rig, LANE_LIVE, ROWS);
        if (rig.office == NULL)
            rig_start(&rig);
        rig_wait(rig_acknowledged(LANE_LIVE) == (i + 1) * ROWS, 20);
        assert_int_equal(appeared(), (i + 1) * ROWS);
        office_stop(rig.office);
        rig.office = NULL;
    }
}

static int never(void *context, const struct fake_message *message)
{
    (void)context;
    return strcmp(message->schema, "summary/1") == 0 ? FAKE_NEVER : 0;
}

// Whether the office has taken what the broker sent so far.
static bool has_read_all(void)
{
    for (int fd = 0; fd < FILES_MAX; fd++) {
        struct sockaddr_in peer = {.sin_port = 0};
        socklen_t size = sizeof peer;
        int left = 0;
        if (getpeername(fd, (struct sockaddr *)&peer, &size) == 0 && peer.sin_family == AF_INET &&
            ntohs(peer.sin_port) == fake_broker_port(broker))
            return ioctl(fd, FIONREAD, &left) == 0 && left == 0;
    }
    return false;
}

// PUBACKs for the ids to come, and none for what is sent: nothing may leave the outbox. Once a
// message is out, such an answer is like any other, so they are read before there is one.
static void test_early_answers_are_no_answers(void **state)
{
    (void)state;
    fake_broker_greeting(broker, FAKE_GREET_EARLY_PUBACKS);
    fake_broker_rule(broker, never, NULL);
    rig_start(&rig);
    rig_wait(fake_broker_count(broker) > 0, 20); // its greeting is out
    rig_wait(has_read_all(), 20);
    rig_fill(&rig, LANE_LIVE, ROWS);
    rig_wait(appeared() == 1, 20);
    rig_advance(20000);
    assert_int_equal(rig_acknowledged(LANE_LIVE), 0);
    rig_advance(12000);
    rig_wait(strstr(rig_error(&rig), "no acknowledgement"), 10);
    assert_int_equal(rig_acknowledged(LANE_LIVE), 0);
    fake_broker_rule(broker, NULL, NULL);
    pass_until_acknowledged(ROWS);
}

// One byte a second: it gets there.
static void test_slow(void **state)
{
    (void)state;
    rig_speed = 20;
    fake_broker_slow(broker, 50);
    rig_fill(&rig, LANE_LIVE, 12);
    rig_start(&rig);
    rig_wait(rig_acknowledged(LANE_LIVE) == 12, 60);
    assert_int_equal(appeared(), 12);
}

static int one_then_close(void *context, const struct fake_message *message)
{
    int *count = context;
    return strcmp(message->schema, "summary/1") == 0 && ++*count % 2 == 0 ? FAKE_CLOSE : 0;
}

static int connections_in(int64_t ms)
{
    int before = fake_broker_connections(broker);
    for (int64_t gone = 0; gone < ms; gone += 15000) {
        rig_advance(15000);
        rig_wait(rig_state(&rig) != OFFICE_CONNECTING, 30);
    }
    return fake_broker_connections(broker) - before;
}

// Steady failure: after the back-off has grown at most 20 attempts an hour, the look at why
// included.
static void test_steady_failure(void **state)
{
    (void)state;
    fake_broker_greeting(broker, FAKE_GREET_CLOSE_CONNECT);
    rig_fill(&rig, LANE_LIVE, ROWS);
    rig_start(&rig);
    (void)connections_in(HOUR_MS / 2);
    int connections = connections_in(HOUR_MS);
    print_message("%d connections in 1 h of steady failure, a look at why each time included\n",
                  connections);
    assert_in_range(connections, 2 * 4, 2 * 20);
    int count = 0; // it takes one message of each connection: asked each minute
    fake_broker_greeting(broker, FAKE_GREET);
    fake_broker_rule(broker, one_then_close, &count);
    pass_connections(2);
    connections = connections_in(HOUR_MS / 6);
    assert_in_range(connections, 0, 40); // 40 s each, and none for a look
    pass_connections(4);                 // and it goes on, as soon as the machine lets it
    fake_broker_rule(broker, NULL, NULL);
    pass_until_acknowledged(ROWS);
}

#define with_broker(test) cmocka_unit_test_setup_teardown(test, setup, teardown)

// One argument: a pattern of the tests to run.
int main(int argc, char **argv)
{
    if (argc > 1)
        cmocka_set_test_filter(argv[1]);
    random_start("test_office_liar");
    const struct CMUnitTest tests[] = {
        with_broker(test_greetings),
        with_broker(test_lies_that_do_not_matter),
        with_broker(test_early_answers_are_no_answers),
        with_broker(test_slow),
        with_broker(test_steady_failure),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
