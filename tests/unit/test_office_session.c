// The office thread against a broker that misbehaves to order: nothing lost, nothing out of order,
// every answer taken as the contract says.
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "office_rig.h"

#include "../support/fake_broker.h"
#include "office/session.h"

#include <jansson.h>

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

static int64_t seq_of(const struct fake_message *message, char lane[static 16])
{
    json_error_t error;
    json_t *body = json_loads(message->payload, JSON_REJECT_DUPLICATES, &error);
    assert_non_null(body);
    (void)snprintf(lane, 16, "%.15s", json_string_value(json_object_get(body, "lane")));
    assert_string_equal(lane, message->lane);
    int64_t seq = json_integer_value(json_object_get(body, "seq"));
    json_decref(body);
    return seq;
}

// First appearances of a lane at the broker: their number; fails when they are out of order.
static int64_t appeared(enum lane lane)
{
    int64_t highest = 0;
    int count = fake_broker_count(broker);
    for (int i = 0; i < count; i++) {
        const struct fake_message *message = fake_broker_message(broker, i);
        char name[16];
        if (message->lane[0] == '\0' || strcmp(message->lane, lane_text(lane)) != 0)
            continue;
        int64_t seq = seq_of(message, name);
        if (seq > highest)
            assert_int_equal(seq, highest + 1);
        highest = seq > highest ? seq : highest;
    }
    return highest;
}

static const struct fake_message *newest(const char *topic)
{
    for (int i = fake_broker_count(broker) - 1; i >= 0; i--)
        if (strcmp(fake_broker_message(broker, i)->topic, topic) == 0)
            return fake_broker_message(broker, i);
    return NULL;
}

static bool all_acknowledged(int64_t alert, int64_t live, int64_t backfill)
{
    return rig_acknowledged(LANE_ALERT) == alert && rig_acknowledged(LANE_LIVE) == live &&
           rig_acknowledged(LANE_BACKFILL) == backfill;
}

static void test_everything_arrives(void **state)
{
    (void)state;
    rig_fill(&rig, LANE_BACKFILL, 700);
    rig_fill(&rig, LANE_LIVE, 300);
    rig_fill(&rig, LANE_ALERT, 30);
    rig_start(&rig);
    rig_wait(all_acknowledged(30, 300, 700), 30);
    rig_fill(&rig, LANE_LIVE, 5);
    rig_wait(all_acknowledged(30, 305, 700), 30);
    assert_int_equal(appeared(LANE_ALERT), 30);
    assert_int_equal(appeared(LANE_LIVE), 305);
    assert_int_equal(appeared(LANE_BACKFILL), 700);
    assert_int_equal(rig_state(&rig), OFFICE_ONLINE);
    rig_wait(rig_live(), 5);
    const struct fake_message *message = newest("metergate/v1/site-042/summary/boiler-1");
    assert_non_null(message);
    assert_int_equal(message->version, 5);
    assert_int_equal(message->qos, 1);
    assert_false(message->retain);
    assert_string_equal(message->content_type, "application/json");
    assert_string_equal(message->schema, "summary/1");
    assert_non_null(newest("metergate/v1/site-042/gap"));
    const struct fake_message *told = newest("metergate/v1/site-042/state");
    assert_non_null(told);
    assert_true(told->retain);
    assert_non_null(strstr(told->payload, "\"online\":true"));
    assert_string_equal(told->lane, "");
    const struct fake_message *meters = newest("metergate/v1/site-042/meters");
    assert_non_null(meters);
    assert_true(meters->retain);
    assert_false(newest("metergate/v1/site-042/health")->retain);
    assert_non_null(strstr(fake_broker_will(broker), "\"online\":false"));
}

// Alerts overtake what was there before them, and live overtakes backfill.
static void test_urgent_first(void **state)
{
    (void)state;
    rig_fill(&rig, LANE_BACKFILL, 2000);
    rig_start(&rig);
    rig_wait(fake_broker_count(broker) > 50, 30);
    rig_fill(&rig, LANE_ALERT, 1);
    rig_fill(&rig, LANE_LIVE, 1);
    rig_wait(all_acknowledged(1, 1, 2000), 60);
    int last_urgent = 0;
    int last = 0;
    for (int i = 0; i < fake_broker_count(broker); i++) {
        const char *lane = fake_broker_message(broker, i)->lane;
        if (strcmp(lane, "backfill") == 0)
            last = i;
        else if (lane[0] != '\0')
            last_urgent = i;
    }
    assert_true(last_urgent < last - 200);
}

static int odd_answers(void *context, const struct fake_message *message)
{
    (void)message;
    unsigned *count = context;
    static const int answers[] = {0, FAKE_TWICE, FAKE_LATE, FAKE_UNKNOWN_ID,
                                  0, FAKE_LATE,  FAKE_LATE, 0};
    return answers[(*count)++ % 8 == 7 ? 0 : *count % 8];
}

// PUBACKs twice, late, out of order, for messages that nobody sent.
static void test_odd_answers(void **state)
{
    (void)state;
    unsigned count = 0;
    fake_broker_rule(broker, odd_answers, &count);
    rig_fill(&rig, LANE_LIVE, 400);
    rig_start(&rig);
    // A late answer waits for the next message: more of them come until all are acknowledged.
    for (int more = 0; more < 40 && rig_acknowledged(LANE_LIVE) < 400; more++) {
        rig_wait(appeared(LANE_LIVE) >= 400 + more || rig_acknowledged(LANE_LIVE) >= 400, 30);
        rig_fill(&rig, LANE_LIVE, 1);
    }
    rig_wait(rig_acknowledged(LANE_LIVE) >= 400, 30);
    assert_int_equal(fake_broker_connections(broker), 1);
}

struct switchable {
    _Atomic int reason;
    const char *schema; // applies to, NULL: all
};

static int by_switch(void *context, const struct fake_message *message)
{
    struct switchable *one = context;
    return one->schema && strcmp(message->schema, one->schema) != 0 ? 0 : one->reason;
}

// 0x10: the message stays, nothing after it appears, the state says so; alerts are not concerned.
static void test_no_subscriber(void **state)
{
    (void)state;
    struct switchable one = {.reason = 0x10, .schema = "summary/1"};
    fake_broker_rule(broker, by_switch, &one);
    rig_fill(&rig, LANE_LIVE, 50);
    rig_fill(&rig, LANE_ALERT, 3);
    rig_start(&rig);
    rig_wait(rig_state(&rig) == OFFICE_NO_SUBSCRIBER, 10);
    rig_wait(rig_acknowledged(LANE_ALERT) == 3, 10);
    rig_wait(newest("metergate/v1/site-042/state") &&
                 strstr(newest("metergate/v1/site-042/state")->payload, "no-subscriber"),
             10);
    int before = fake_broker_count(broker);
    rig_wait(fake_broker_count(broker) > before, 10); // asked again
    assert_int_equal(appeared(LANE_LIVE), 1);
    assert_int_equal(rig_acknowledged(LANE_LIVE), 0);
    one.reason = 0;
    rig_wait(rig_acknowledged(LANE_LIVE) == 50, 10);
    assert_int_equal(appeared(LANE_LIVE), 50);
    rig_wait(rig_state(&rig) == OFFICE_ONLINE, 5);
    assert_int_equal(fake_broker_connections(broker), 1);
}

static void test_accept_unsubscribed(void **state)
{
    (void)state;
    struct switchable one = {.reason = 0x10};
    rig_config.office.accept_unsubscribed = true;
    fake_broker_rule(broker, by_switch, &one);
    rig_fill(&rig, LANE_LIVE, 50);
    rig_start(&rig);
    rig_wait(rig_acknowledged(LANE_LIVE) == 50, 10);
    assert_int_equal(rig_state(&rig), OFFICE_ONLINE);
}

// 0x80, 0x83, 0x87, 0x97: stays.
static void test_stays(void **state)
{
    (void)state;
    static const int reasons[] = {0x80, 0x83, 0x87, 0x97};
    struct switchable one = {.reason = 0x80};
    rig_speed = 10;
    fake_broker_rule(broker, by_switch, &one);
    rig_fill(&rig, LANE_LIVE, 4);
    rig_start(&rig);
    for (int i = 0; i < 4; i++) {
        char code[8];
        one.reason = reasons[i];
        (void)snprintf(code, sizeof code, "0x%02x", (unsigned)reasons[i]);
        rig_wait(rig_state(&rig) == OFFICE_REFUSED && strstr(rig_error(&rig), code), 20);
        assert_int_equal(rig_acknowledged(LANE_LIVE), 0);
        assert_int_equal(appeared(LANE_LIVE), 1);
    }
    one.reason = 0;
    rig_wait(rig_acknowledged(LANE_LIVE) == 4, 20);
}

static int refuse_tens(void *context, const struct fake_message *message)
{
    (void)context;
    char lane[16];
    if (strcmp(message->lane, "live") != 0)
        return 0;
    int64_t seq = seq_of(message, lane);
    return seq == 10 || seq == 11 ? 0x99 : seq == 20 ? 0x90 : 0;
}

// 0x90, 0x99: set aside and named by gap messages; the lane goes on.
static void test_refused(void **state)
{
    (void)state;
    fake_broker_rule(broker, refuse_tens, NULL);
    rig_fill(&rig, LANE_LIVE, 30);
    rig_start(&rig);
    rig_wait(rig_acknowledged(LANE_LIVE) == 30, 20);
    office_wake(rig.office);
    bool named[31] = {false};
    int64_t gaps = sql_ask("SELECT last FROM lane WHERE lane = 1");
    rig_wait(rig_acknowledged(LANE_ALERT) == gaps, 20);
    for (int i = 0; i < fake_broker_count(broker); i++) {
        const struct fake_message *message = fake_broker_message(broker, i);
        if (strcmp(message->schema, "gap/1") != 0)
            continue;
        json_t *body = json_loads(message->payload, 0, NULL);
        assert_string_equal(json_string_value(json_object_get(body, "reason")), "refused");
        assert_string_equal(json_string_value(json_object_get(body, "of_lane")), "live");
        int64_t first = json_integer_value(json_object_get(body, "first"));
        int64_t last = json_integer_value(json_object_get(body, "last"));
        assert_true(first >= 1 && first <= last && last <= 30);
        for (int64_t seq = first; seq <= last; seq++)
            named[seq] = true;
        json_decref(body);
    }
    for (int seq = 1; seq <= 30; seq++)
        assert_int_equal(named[seq], seq == 10 || seq == 11 || seq == 20);
}

static int close_each_137th(void *context, const struct fake_message *message)
{
    (void)message;
    int *count = context;
    return ++*count % 137 == 0 ? FAKE_CLOSE : 0;
}

// The connection breaks again and again in the middle.
static void test_breaks(void **state)
{
    (void)state;
    rig_speed = 20;
    int count = 0;
    fake_broker_rule(broker, close_each_137th, &count);
    rig_fill(&rig, LANE_BACKFILL, 500);
    rig_fill(&rig, LANE_LIVE, 500);
    rig_start(&rig);
    rig_wait(all_acknowledged(0, 500, 500), 120);
    assert_int_equal(appeared(LANE_LIVE), 500);
    assert_int_equal(appeared(LANE_BACKFILL), 500);
    assert_true(fake_broker_connections(broker) > 7);
}

// A broker that takes messages and never answers: after 30 s the connection is given up and made
// anew, and nothing is lost.
static void test_never_answers(void **state)
{
    (void)state;
    struct switchable one = {.reason = FAKE_NEVER};
    fake_broker_rule(broker, by_switch, &one);
    rig_start(&rig);
    rig_wait(rig_live(), 10);
    rig_fill(&rig, LANE_LIVE, 300);
    rig_wait(appeared(LANE_LIVE) == 1, 10);
    one.reason = 0;
    atomic_store(&rig_ahead_ms, 29000);
    office_wake(rig.office);
    assert_int_equal(fake_broker_connections(broker), 1);
    atomic_store(&rig_ahead_ms, 32000);
    office_wake(rig.office);
    rig_wait(!rig_live() || fake_broker_connections(broker) == 2, 10);
    rig_wait(rig_acknowledged(LANE_LIVE) == 300, 20);
    assert_int_equal(fake_broker_connections(broker), 2);
    assert_int_equal(appeared(LANE_LIVE), 300);
}

// Nothing in flight, and the broker's end is gone: found within 30 s of the broker's last word. A
// broker that is only quiet is asked and stays.
static void test_silence(void **state)
{
    (void)state;
    rig_start(&rig);
    rig_wait(newest("metergate/v1/site-042/health"), 10);
    for (int quiet = 1; quiet <= 5; quiet++) {
        unsigned heard = session_heard();
        while (fake_broker_asked(broker) < quiet && atomic_load(&rig_ahead_ms) < 90000)
            rig_advance(500);
        rig_wait(session_heard() != heard, 10);
    }
    assert_int_equal(fake_broker_asked(broker), 5);
    assert_int_equal(fake_broker_connections(broker), 1);
    assert_int_equal(rig_state(&rig), OFFICE_ONLINE);
    fake_broker_deaf(broker, true);
    int64_t deaf_ms = atomic_load(&rig_ahead_ms);
    while (rig_state(&rig) == OFFICE_ONLINE && atomic_load(&rig_ahead_ms) - deaf_ms < 60000)
        rig_advance(500);
    assert_in_range(atomic_load(&rig_ahead_ms) - deaf_ms, 15000, 28000);
    assert_non_null(strstr(rig_error(&rig), "no sign of life"));
    assert_false(rig_live());
    fake_broker_deaf(broker, false);
    rig_fill(&rig, LANE_BACKFILL, 3);
    rig_advance(2000); // whatever the back-off
    rig_wait(rig_acknowledged(LANE_BACKFILL) == 3, 10);
    assert_int_equal(fake_broker_connections(broker), 2);
}

// With a broker that never answers, memory is bounded: no more in flight than the window.
static void test_window(void **state)
{
    (void)state;
    struct switchable one = {.reason = 0};
    fake_broker_rule(broker, by_switch, &one);
    rig_start(&rig);
    rig_fill(&rig, LANE_LIVE, 10);
    rig_wait(rig_acknowledged(LANE_LIVE) == 10, 10);
    one.reason = FAKE_NEVER;
    rig_fill(&rig, LANE_LIVE, 1000);
    rig_fill(&rig, LANE_BACKFILL, 1000);
    rig_wait(appeared(LANE_LIVE) >= 150, 10);
    one.reason = 0; // of whatever comes now; the window is full of what has no answer
    rig_fill(&rig, LANE_ALERT, 100);
    atomic_store(&rig_ahead_ms, 31000);
    rig_wait(all_acknowledged(100, 1010, 1000), 30);
    assert_true(fake_broker_most_unacknowledged(broker) <= OFFICE_WINDOW_MAX + 3);
    assert_int_equal(appeared(LANE_LIVE), 1010);
}

static void test_receive_maximum(void **state)
{
    (void)state;
    fake_broker_receive_maximum(broker, 7);
    rig_fill(&rig, LANE_BACKFILL, 300);
    rig_fill(&rig, LANE_LIVE, 300);
    rig_start(&rig);
    rig_wait(all_acknowledged(0, 300, 300), 30);
    assert_true(fake_broker_most_unacknowledged(broker) <= 7);
}

static void test_version_3(void **state)
{
    (void)state;
    fake_broker_connack(broker, 0x84, 0);
    rig_fill(&rig, LANE_LIVE, 20);
    rig_start(&rig);
    rig_wait(rig_acknowledged(LANE_LIVE) == 20, 20);
    assert_int_equal(newest("metergate/v1/site-042/summary/boiler-1")->version, 4);
    struct office_status status;
    office_status(rig.office, &status);
    assert_false(status.version5);
    assert_int_equal(fake_broker_connections(broker), 2);
}

static void test_not_authorized(void **state)
{
    (void)state;
    fake_broker_connack(broker, 0x87, 5);
    rig_speed = 10;
    rig_fill(&rig, LANE_LIVE, 1);
    rig_start(&rig);
    rig_wait(rig_state(&rig) == OFFICE_REFUSED, 20);
    assert_non_null(strstr(rig_error(&rig), "not authorized"));
    assert_non_null(strstr(rig_error(&rig), "site-042"));
    fake_broker_connack(broker, 0, 0);
    rig_wait(rig_acknowledged(LANE_LIVE) == 1, 30);
    assert_string_equal(rig_error(&rig), "");
}

// Attempts to connect come after longer and longer waits.
static void test_backoff(void **state)
{
    (void)state;
    fake_broker_connack(broker, 0x88, 3);
    rig_speed = 20; // 120 s of the office's time: 1, 2, 4, 8, 16, 32, 60 s with jitter
    rig_start(&rig);
    int64_t until = rig_real_ns() + INT64_C(6000000000);
    rig_wait(rig_real_ns() >= until, 10);
    int attempts = fake_broker_connections(broker);
    assert_in_range(attempts, 0, 10);
    rig_wait(fake_broker_connections(broker) >= 4, 60); // a busy machine may need longer for them
}

static void test_goodbye(void **state)
{
    (void)state;
    rig_fill(&rig, LANE_LIVE, 20);
    rig_start(&rig);
    rig_wait(rig_acknowledged(LANE_LIVE) == 20, 20);
    office_stop(rig.office);
    rig.office = NULL;
    assert_false(rig_live());
    const struct fake_message *told = newest("metergate/v1/site-042/state");
    assert_true(told->retain);
    assert_non_null(strstr(told->payload, "\"online\":false"));
    assert_true(fake_broker_said_goodbye(broker));
}

// A second start goes on where the first one stopped.
static void test_goes_on(void **state)
{
    (void)state;
    rig_fill(&rig, LANE_LIVE, 20);
    rig_start(&rig);
    rig_wait(rig_acknowledged(LANE_LIVE) == 20, 20);
    office_stop(rig.office);
    rig.office = NULL;
    rig_fill(&rig, LANE_LIVE, 20);
    int before = fake_broker_count(broker);
    rig_start(&rig);
    rig_wait(rig_acknowledged(LANE_LIVE) == 40, 20);
    int events = 0;
    for (int i = before; i < fake_broker_count(broker); i++)
        events += fake_broker_message(broker, i)->lane[0] != '\0';
    assert_int_equal(events, 20);
}

// Without a clock nothing is sent.
static void test_no_clock(void **state)
{
    (void)state;
    rig_recorder.clock_known = false;
    rig_fill(&rig, LANE_LIVE, 1);
    rig_start(&rig);
    rig_wait(strstr(rig_error(&rig), "time is known"), 10);
    assert_int_equal(fake_broker_connections(broker), 0);
    (void)pthread_mutex_lock(&rig_recorder.mutex);
    rig_recorder.clock_known = true;
    (void)pthread_mutex_unlock(&rig_recorder.mutex);
    rig_wait(rig_acknowledged(LANE_LIVE) == 1, 10);
}

#define with_broker(test) cmocka_unit_test_setup_teardown(test, setup, teardown)

// One argument: a pattern of the tests to run.
int main(int argc, char **argv)
{
    if (argc > 1)
        cmocka_set_test_filter(argv[1]);
    random_start("test_office_session");
    const struct CMUnitTest tests[] = {
        with_broker(test_everything_arrives),
        with_broker(test_urgent_first),
        with_broker(test_odd_answers),
        with_broker(test_no_subscriber),
        with_broker(test_accept_unsubscribed),
        with_broker(test_stays),
        with_broker(test_refused),
        with_broker(test_breaks),
        with_broker(test_never_answers),
        with_broker(test_silence),
        with_broker(test_window),
        with_broker(test_receive_maximum),
        with_broker(test_version_3),
        with_broker(test_not_authorized),
        with_broker(test_backoff),
        with_broker(test_goodbye),
        with_broker(test_goes_on),
        with_broker(test_no_clock),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
