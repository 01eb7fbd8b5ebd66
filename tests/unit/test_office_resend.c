// Messages that are asked for again: the same bytes under the same seq, after everything that goes
// out for the first time, over restarts; what is gone is named once.
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "office_rig.h"

#include "../support/fake_broker.h"

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

// --- requests ---

static int add_job(struct store *store, void *argument, struct err *err)
{
    return store_resend_add(store, argument, err);
}

static int64_t ask_again(enum lane lane, int64_t first, int64_t last)
{
    struct stored_resend job = {
        .lane = lane, .first = first, .last = last, .who = "office", .at_ms = T0};
    must(recorder_run(&rig_recorder, add_job, &job, &failure));
    return job.id;
}

static struct stored_resend job_of(int64_t id)
{
    struct stored_resend job = {.id = 0};
    struct store *reader = store_must_read();
    assert_int_equal(store_resend_get(reader, id, &job, &failure), 1);
    store_close(reader);
    return job;
}

static bool is_done(int64_t id)
{
    return job_of(id).state == RESEND_DONE;
}

static bool all_acknowledged(enum lane lane, int64_t seq)
{
    return rig_acknowledged(lane) == seq;
}

// --- what the broker has ---

struct seen {
    int count, replays;
    const char *payload; // of the first
};

static int64_t seq_of(const struct fake_message *message)
{
    json_t *body = json_loads(message->payload, JSON_REJECT_DUPLICATES, NULL);
    assert_non_null(body);
    int64_t seq = json_integer_value(json_object_get(body, "seq"));
    json_decref(body);
    return seq;
}

// Counts each seq of a lane, 1 to `last`; later appearances must be the first one's bytes.
static void see(enum lane lane, struct seen *seen, int64_t last)
{
    memset(seen, 0, (size_t)(last + 1) * sizeof *seen);
    for (int i = 0; i < fake_broker_count(broker); i++) {
        const struct fake_message *message = fake_broker_message(broker, i);
        if (strcmp(message->lane, lane_text(lane)) != 0)
            continue;
        int64_t seq = seq_of(message);
        assert_in_range(seq, 1, last);
        struct seen *one = &seen[seq];
        one->payload = one->count == 0 ? message->payload : one->payload;
        assert_string_equal(message->payload, one->payload);
        assert_int_equal(message->replay, one->count > 0);
        one->count++;
        one->replays += message->replay;
    }
}

static void print_fault(void *context, const char *text)
{
    (void)context;
    print_error("%s\n", text);
}

static void store_must_verify(void)
{
    struct store *reader = store_must_read();
    assert_int_equal(store_verify(reader, print_fault, NULL, &failure), 0);
    store_close(reader);
}

// --- tests ---

#define MANY 300

static void test_the_same_bytes_each_time(void **state)
{
    (void)state;
    struct seen seen[MANY + 1];
    rig_fill(&rig, LANE_LIVE, MANY);
    rig_start(&rig);
    rig_wait(all_acknowledged(LANE_LIVE, MANY), 30);
    int64_t first = ask_again(LANE_LIVE, 101, 200);
    int64_t second = ask_again(LANE_LIVE, 101, 200);
    int64_t third = ask_again(LANE_LIVE, 150, 150);
    rig_wait(is_done(first) && is_done(second) && is_done(third), 30);
    see(LANE_LIVE, seen, MANY);
    for (int i = 1; i <= MANY; i++)
        assert_int_equal(seen[i].count, i == 150 ? 4 : i > 100 && i <= 200 ? 3 : 1);
    struct stored_resend job = job_of(first);
    assert_int_equal(job.sent, 100);
    assert_int_equal(job.expired, 0);
    assert_int_equal(job.next, 201);
    store_must_verify();
}

struct span_end {
    int64_t before_ms;
    int gone;
};

static int retain(struct store *store, void *argument, struct err *err)
{
    struct span_end *end = argument;
    end->gone = store_period_retain(store, SPAN_1MIN, end->before_ms, 10000, err);
    return end->gone < 0 ? -1 : 0;
}

static bool is_gap(const struct fake_message *message, int first, int last)
{
    char range[64];
    (void)snprintf(range, sizeof range, "\"first\":%d,\"last\":%d,\"reason\":\"expired\"", first,
                   last);
    return strstr(message->topic, "/gap") != NULL && strstr(message->payload, range) != NULL;
}

static int gaps_told(int first, int last)
{
    int count = 0;
    for (int i = 0; i < fake_broker_count(broker); i++)
        count += is_gap(fake_broker_message(broker, i), first, last);
    return count;
}

static int gap_count(void)
{
    return (int)sql_ask("SELECT count(*) FROM gap WHERE reason = 'expired'");
}

// 1 to 60 of 100 are gone, and a gap names 1 already (rig_fill of alerts).
static void test_what_is_gone_is_named_once(void **state)
{
    (void)state;
    struct seen seen[MANY + 1];
    struct span_end end = {.before_ms = T0 + 60 * INT64_C(60000)};
    rig_fill(&rig, LANE_LIVE, 100);
    rig_start(&rig);
    rig_wait(all_acknowledged(LANE_LIVE, 100), 30);
    rig_fill(&rig, LANE_ALERT, 1);
    must(recorder_run(&rig_recorder, retain, &end, &failure));
    assert_int_equal(end.gone, 60);
    store_must_verify();
    int64_t job = ask_again(LANE_LIVE, 1, 100);
    rig_wait(is_done(job), 30);
    assert_int_equal(job_of(job).sent, 40);
    assert_int_equal(job_of(job).expired, 59);
    rig_wait(gaps_told(2, 60) == 1, 10);
    job = ask_again(LANE_LIVE, 30, 70);
    rig_wait(is_done(job), 30);
    assert_int_equal(job_of(job).sent, 10);
    assert_int_equal(job_of(job).expired, 0);
    assert_int_equal(gap_count(), 1);
    see(LANE_LIVE, seen, 100);
    for (int i = 1; i <= 100; i++)
        assert_int_equal(seen[i].count, i <= 60 ? 1 : i <= 70 ? 3 : 2);
    store_must_verify();
    job = ask_again(LANE_LIVE, 5, 9); // nothing of it is there
    rig_wait(is_done(job), 30);
    assert_int_equal(job_of(job).sent, 0);
    store_must_verify();
}

// --- readings, which lie in packs, between summaries, which stay longer ---

#define SUMMARIES 20
#define READINGS_EACH 15 // before each summary
#define MIXED (SUMMARIES * (READINGS_EACH + 1))

static int add_mixed(struct store *store, void *argument, struct err *err)
{
    struct rig_fill summary = {&rig, LANE_LIVE, 1};
    struct meter *meter = fixture_meter("boiler-1");
    int decoder;
    (void)argument;
    must(store_decoder(store, meter, &decoder, err));
    for (int i = 0; i < SUMMARIES * READINGS_EACH; i++) {
        struct reading *reading = fixture_reading(meter, T0 + i * 1000);
        must(store_reading_add(store, rig.meter, decoder, reading, LANE_LIVE, err));
        free(reading);
        if (i % READINGS_EACH == READINGS_EACH - 1)
            must(rig_add_rows(store, &summary, err));
        if (i % 100 == 99)
            must(store_reading_pack(store, err));
    }
    fixture_meter_free(meter);
    return 0;
}

static int retain_readings(struct store *store, void *argument, struct err *err)
{
    int64_t before_ms = T0 + INT64_C(86400000);
    int *gone = argument;
    int step = store_retain(store, before_ms, 10000, err);
    while (step > 0) {
        *gone += step;
        step = store_retain(store, before_ms, 10000, err);
    }
    return step;
}

static void test_readings_that_are_gone(void **state)
{
    (void)state;
    struct seen seen[MIXED + 1];
    int gone = 0;
    must(recorder_run(&rig_recorder, add_mixed, NULL, &failure));
    rig_start(&rig);
    rig_wait(all_acknowledged(LANE_LIVE, MIXED), 30);
    int64_t job = ask_again(LANE_LIVE, 1, MIXED);
    rig_wait(is_done(job), 30);
    assert_int_equal(job_of(job).sent, MIXED);
    assert_int_equal(job_of(job).expired, 0);
    must(recorder_run(&rig_recorder, retain_readings, &gone, &failure));
    assert_true(gone > READINGS_EACH);
    store_must_verify();
    job = ask_again(LANE_LIVE, 1, MIXED);
    rig_wait(is_done(job), 30);
    assert_int_equal(job_of(job).sent, MIXED - gone);
    assert_int_equal(job_of(job).expired, gone);
    rig_wait(gaps_told(1, READINGS_EACH) == 1, 10);
    store_must_verify();
    int gaps = gap_count();
    job = ask_again(LANE_LIVE, 1, MIXED);
    rig_wait(is_done(job), 30);
    assert_int_equal(job_of(job).expired, 0);
    assert_int_equal(gap_count(), gaps);
    see(LANE_LIVE, seen, MIXED);
    for (int i = 1; i <= MIXED; i++)
        assert_true(seen[i].count == 2 || seen[i].count == 4);
    store_must_verify();
}

static int hold_replays(void *context, const struct fake_message *message)
{
    int *left = context; // how many of them are taken
    if (!message->replay || --*left >= 0)
        return FAKE_ACK_0X00;
    return 0x97; // quota: it stays
}

static void test_a_restart_goes_on(void **state)
{
    (void)state;
    struct seen seen[MANY + 1];
    int left = 50;
    rig_fill(&rig, LANE_LIVE, MANY);
    rig_start(&rig);
    rig_wait(all_acknowledged(LANE_LIVE, MANY), 30);
    fake_broker_rule(broker, hold_replays, &left);
    int64_t job = ask_again(LANE_LIVE, 1, MANY);
    // Its progress is stored each five seconds.
    rig_wait((atomic_fetch_add(&rig_ahead_ms, 100), job_of(job).next > 1), 60);
    int64_t next = job_of(job).next;
    assert_true(next <= 51);
    office_stop(rig.office);
    rig.office = NULL;
    fake_broker_rule(broker, NULL, NULL);
    rig_start(&rig);
    rig_wait(is_done(job), 60);
    see(LANE_LIVE, seen, MANY);
    for (int i = 1; i <= MANY; i++)
        assert_true(seen[i].count >= 2);
    for (int i = 1; i < next; i++) // what was stored as done is not done again
        assert_int_equal(seen[i].count, 2);
}

static int cancel_job(struct store *store, void *argument, struct err *err)
{
    return store_resend_cancel(store, *(const int64_t *)argument, err) == 1 ? 0 : -1;
}

static void test_cancel_ends_it_and_the_next_begins(void **state)
{
    (void)state;
    struct seen seen[MANY + 1];
    int left = 0;
    rig_fill(&rig, LANE_LIVE, MANY);
    rig_start(&rig);
    rig_wait(all_acknowledged(LANE_LIVE, MANY), 30);
    fake_broker_rule(broker, hold_replays, &left);
    int64_t job = ask_again(LANE_LIVE, 1, MANY);
    int before = fake_broker_count(broker);
    rig_wait(fake_broker_count(broker) > before, 20);
    int64_t next = ask_again(LANE_LIVE, 201, 210);
    must(recorder_run(&rig_recorder, cancel_job, &job, &failure));
    fake_broker_rule(broker, NULL, NULL);
    rig_wait(is_done(next), 60);
    assert_int_equal(job_of(job).state, RESEND_CANCELLED);
    see(LANE_LIVE, seen, MANY);
    for (int i = 2; i <= MANY; i++)
        assert_true(seen[i].count <= 2);
    assert_int_equal(seen[205].replays, 1);
    assert_true(job_of(job).sent < MANY);
}

// What goes out for the first time overtakes what goes out again.
static void test_live_overtakes(void **state)
{
    (void)state;
    enum { BULK = 3000 };
    int last_urgent = 0;
    int last = 0;
    rig_fill(&rig, LANE_BACKFILL, BULK);
    rig_start(&rig);
    rig_wait(all_acknowledged(LANE_BACKFILL, BULK), 60);
    int before = fake_broker_count(broker);
    int64_t job = ask_again(LANE_BACKFILL, 1, BULK);
    rig_wait(fake_broker_count(broker) > before + 50, 30);
    rig_fill(&rig, LANE_LIVE, 1);
    rig_fill(&rig, LANE_ALERT, 1);
    rig_wait(is_done(job), 60);
    for (int i = before; i < fake_broker_count(broker); i++) {
        const struct fake_message *message = fake_broker_message(broker, i);
        if (message->replay)
            last = i;
        else if (message->lane[0] != '\0')
            last_urgent = i;
    }
    assert_true(last_urgent > 0 && last_urgent < last - 500);
}

static void test_bounds(void **state)
{
    (void)state;
    struct stored_resend job = {.lane = LANE_LIVE, .first = 1, .last = 1, .who = "office"};
    struct stored_resend list[STORE_RESENDS_MAX + 8];
    for (int i = 0; i < STORE_RESENDS_OPEN_MAX; i++)
        must(recorder_run(&rig_recorder, add_job, &job, &failure));
    assert_int_equal(recorder_run(&rig_recorder, add_job, &job, &failure), -1);
    assert_non_null(strstr(failure.text, "wait already"));
    for (int i = 0; i < 3 * STORE_RESENDS_MAX; i++) {
        must(recorder_run(&rig_recorder, cancel_job, &job.id, &failure));
        must(recorder_run(&rig_recorder, add_job, &job, &failure));
    }
    int count = store_resends(rig_recorder.store, list, STORE_RESENDS_MAX + 8, &failure);
    assert_in_range(count, STORE_RESENDS_MAX, STORE_RESENDS_MAX + STORE_RESENDS_OPEN_MAX);
    assert_int_equal(list[0].id, job.id);
}

#define with_broker(test) cmocka_unit_test_setup_teardown(test, setup, teardown)

int main(void)
{
    random_start("test_office_resend");
    const struct CMUnitTest tests[] = {
        with_broker(test_the_same_bytes_each_time),
        with_broker(test_what_is_gone_is_named_once),
        with_broker(test_readings_that_are_gone),
        with_broker(test_a_restart_goes_on),
        with_broker(test_cancel_ends_it_and_the_next_begins),
        with_broker(test_live_overtakes),
        with_broker(test_bounds),
    };
    return cmocka_run_group_tests_name("office_resend", tests, NULL, NULL);
}
