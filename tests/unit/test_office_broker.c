// mosquitto ended and started again and again under the feed, and a subscriber that this project
// did not write: everything arrives, in order, under whatever interruption.
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "office_rig.h"

#include "../support/child.h"
#include "base/file.h"

#include <jansson.h>
#include <signal.h>

#define RESTARTS 20
#define ROWS_EACH 60

static struct rig rig;
static char files[64];

static int make_files(void **state)
{
    (void)state;
    strcpy(files, "/tmp/metergate-broker-XXXXXX");
    return mkdtemp(files) == NULL ? -1 : 0;
}

static int remove_files(void **state)
{
    (void)snprintf(folder, sizeof folder, "%s", files);
    return folder_remove(state);
}

// The broker keeps the subscriber's session over its restarts: what it acknowledged, it delivers.
static pid_t start_broker(int port)
{
    char lines[256];
    (void)snprintf(lines, sizeof lines,
                   "persistence true\npersistence_location %s/\nautosave_interval 0\n", files);
    return mosquitto_start(files, port, lines);
}

static pid_t start_subscriber(int port)
{
    char text[16];
    char log[128];
    (void)snprintf(text, sizeof text, "%d", port);
    (void)snprintf(log, sizeof log, "%s/subscriber", files);
    char *argv[] = {"/usr/bin/mosquitto_sub",
                    "-V",
                    "5",
                    "-c",
                    "-i",
                    "head-office",
                    "-q",
                    "1",

                    "-p",
                    text,
                    "-t",
                    "metergate/v1/site-042/#",
                    "-F",
                    "%p",
                    NULL};
    return child_start(log, argv);
}

static int64_t acknowledged(void)
{
    return rig_acknowledged(LANE_LIVE) + rig_acknowledged(LANE_BACKFILL) +
           rig_acknowledged(LANE_ALERT);
}

struct tally {
    int64_t highest[LANES_END]; // seq
    int repeated, states;
};

static void count_line(struct tally *tally, const char *line, size_t length)
{
    json_t *body = json_loadb(line, length, JSON_REJECT_DUPLICATES, NULL);
    assert_non_null(body);
    const char *name = json_string_value(json_object_get(body, "lane"));
    int64_t seq = json_integer_value(json_object_get(body, "seq"));
    if (name == NULL) {
        tally->states++;
        json_decref(body);
        return;
    }
    enum lane lane = LANE_ALERT;
    while (lane < LANES_END && strcmp(lane_text(lane), name) != 0)
        lane++;
    assert_true(lane < LANES_END);
    if (seq > tally->highest[lane]) {
        assert_int_equal(seq, tally->highest[lane] + 1); // first appearances in order, none missing
        tally->highest[lane] = seq;
    } else {
        tally->repeated++;
    }
    json_decref(body);
}

static struct tally read_subscriber(void)
{
    struct tally tally = {.repeated = 0};
    struct buf text;
    char path[128];
    struct err err = {.text = ""};
    buf_init(&text, 64 * 1024 * 1024);
    (void)snprintf(path, sizeof path, "%s/subscriber", files);
    if (file_read(path, &text, &err) != 0)
        fail_msg("%s", err.text);
    for (const char *at = text.data, *end; (end = strchr(at, '\n')) != NULL; at = end + 1)
        if (*at == '{')
            count_line(&tally, at, (size_t)(end - at));
    buf_release(&text);
    return tally;
}

static bool subscriber_has(int64_t alert, int64_t live, int64_t backfill)
{
    struct tally tally = read_subscriber();
    return tally.highest[LANE_ALERT] == alert && tally.highest[LANE_LIVE] == live &&
           tally.highest[LANE_BACKFILL] == backfill;
}

static void test_restarts(void **state)
{
    (void)state;
    char url[64];
    int port = port_free();
    pid_t broker = start_broker(port);
    pid_t subscriber = start_subscriber(port);
    (void)snprintf(url, sizeof url, "mqtt://127.0.0.1:%d", port);
    rig_open(&rig, url);
    rig_speed = 20; // of back-off and retries
    rig_start(&rig);
    for (int i = 0; i < RESTARTS; i++) {
        int64_t before = acknowledged();
        rig_fill(&rig, LANE_BACKFILL, ROWS_EACH);
        rig_fill(&rig, LANE_LIVE, ROWS_EACH);
        rig_fill(&rig, LANE_ALERT, 1);
        rig_wait(acknowledged() >= before + random_between(1, ROWS_EACH), 30);
        child_stop(broker, SIGTERM);
        rig_fill(&rig, LANE_LIVE, ROWS_EACH);
        rig_wait(rig_state(&rig) != OFFICE_ONLINE, 30);
        broker = start_broker(port);
    }
    int64_t live = (int64_t)RESTARTS * 2 * ROWS_EACH;
    int64_t backfill = (int64_t)RESTARTS * ROWS_EACH;
    rig_wait(acknowledged() == live + backfill + RESTARTS, 60);
    rig_wait(subscriber_has(RESTARTS, live, backfill), 30);
    struct office_status status;
    office_status(rig.office, &status);
    assert_true(status.reconnects >= RESTARTS);
    struct tally tally = read_subscriber();
    print_message("%d restarts: %d messages once, %d again, %d states\n", RESTARTS,
                  (int)(live + backfill + RESTARTS), tally.repeated, tally.states);
    rig_close(&rig);
    child_stop(subscriber, SIGTERM);
    child_stop(broker, SIGTERM);
}

// A broker whose machine is there, but that says nothing any more: the connection is given up after
// 30 s of a message without an answer, and nothing is lost when the broker wakes up.
static void test_half_open(void **state)
{
    (void)state;
    char url[64];
    int port = port_free();
    pid_t broker = start_broker(port);
    (void)snprintf(url, sizeof url, "mqtt://127.0.0.1:%d", port);
    rig_open(&rig, url);
    rig_config.office.accept_unsubscribed = true;
    rig_start(&rig);
    rig_fill(&rig, LANE_LIVE, 10);
    rig_wait(rig_acknowledged(LANE_LIVE) == 10 && rig_live(), 20);
    assert_int_equal(kill(broker, SIGSTOP), 0);
    rig_fill(&rig, LANE_LIVE, 500);
    struct office_status status = {.published = 0};
    rig_wait((office_status(rig.office, &status), status.published > 10), 20);
    atomic_store(&rig_ahead_ms, 29000);
    office_wake(rig.office);
    rig_wait(rig_live(), 1); // not yet
    assert_int_equal(rig_state(&rig), OFFICE_ONLINE);
    atomic_store(&rig_ahead_ms, 31000);
    office_wake(rig.office);
    rig_wait(rig_state(&rig) != OFFICE_ONLINE && !rig_live(), 5);
    assert_non_null(strstr(rig_error(&rig), "no acknowledgement for 30 s"));
    assert_int_equal(rig_acknowledged(LANE_LIVE), 10);
    assert_int_equal(kill(broker, SIGCONT), 0);
    atomic_store(&rig_ahead_ms, 100000); // whatever the back-off
    rig_wait(rig_acknowledged(LANE_LIVE) == 510, 40);
    rig_close(&rig);
    child_stop(broker, SIGTERM);
}

// One argument: a pattern of the tests to run.
int main(int argc, char **argv)
{
    if (argc > 1)
        cmocka_set_test_filter(argv[1]);
    random_start("test_office_broker");
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_restarts),
        cmocka_unit_test(test_half_open),
    };
    return cmocka_run_group_tests(tests, make_files, remove_files);
}
