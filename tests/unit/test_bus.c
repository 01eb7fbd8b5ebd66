#include "bus_fixture.h"

#include <stdatomic.h>

// ---- due times ----------------------------------------------------------------------------------

static void expect_grid(const struct reading *reading, int64_t after_ms)
{
    struct schedule schedule = {SPAN_15MIN, SECOND, schedule_phase_ms(reading->meter->id, SECOND)};
    assert_int_equal(reading->due_ms, schedule_next(&schedule, &calendar, after_ms));
}

#define PATIENCE_MS 900 // for a reply, on a busy machine, and still within an interval
#define LATE_MS 100     // from which on a poll counts as late

static void test_one_reading_per_due_time(void **state)
{
    (void)state;
    start(FAKE_TCP, 3, 1, NULL, NULL);
    site.config->links[0].response_timeout_ms = PATIENCE_MS;
    start_bus(&clock_system);
    wait_for(9, 0);
    bus_stop(site.bus);
    site.bus = NULL;
    int64_t last_ms[3] = {0, 0, 0};
    int late = 0;
    for (int i = 0; i < taken.count; i++) {
        const struct reading *reading = taken.list[i];
        int64_t *last = &last_ms[reading->meter - site.config->meters];
        expect_grid(reading, *last != 0 ? *last : reading->due_ms - 1);
        assert_in_range(reading->at_ms - reading->due_ms, 0, SECOND);
        late += reading->at_ms - reading->due_ms >= LATE_MS;
        assert_true(reading->answered);
        assert_int_equal(reading->values[0].quality, QUALITY_GOOD);
        assert_int_equal((int)reading->values[0].number >> 8, 10);
        *last = reading->due_ms;
    }
    assert_int_equal(link_figure("polls"), taken.count);
    assert_int_equal(link_figure("replies"), fake_ticks(site.fake));
    assert_in_range(link_figure("late"), 0, late); // a busy machine may have been late
    assert_int_equal(link_figure("open"), 1);
    end();
}

// A meter whose due time is far off is looked at once for the page; nothing is recorded.
static void test_first_look(void **state)
{
    (void)state;
    start(FAKE_TCP, 2, 3600, NULL, NULL);
    start_bus(&clock_system);
    int64_t limit_ms = clock_boot_ms(&clock_system) + 10000;
    while (link_figure("replies") < 2 && clock_boot_ms(&clock_system) < limit_ms)
        (void)nanosleep(&(struct timespec){.tv_nsec = 5000000}, NULL);
    json_t *meters = shown(site.live, live_print_meters);
    assert_int_equal(json_array_size(meters), 2);
    for (size_t i = 0; i < 2; i++) {
        json_t *meter = json_array_get(meters, i);
        json_t *pressure = json_object_get(json_object_get(meter, "channels"), "pressure");
        assert_true(json_is_true(json_object_get(meter, "answered")));
        assert_true(json_is_string(json_object_get(meter, "at")));
        assert_string_equal(json_string_value(json_object_get(pressure, "quality")), "good");
        assert_string_equal(json_string_value(json_object_get(pressure, "unit")), "kPa");
        assert_int_equal((int)json_number_value(json_object_get(pressure, "value")) >> 8, 10);
    }
    json_decref(meters);
    assert_int_equal(taken.count, 0);
    assert_int_equal(link_figure("polls"), 0);
    end();
}

// ---- meters and links that fail -----------------------------------------------------------------

static void one_is_dead(void *context, struct fake_answer *answer)
{
    atomic_int *asked = context;
    if (answer->request[0] == 18) {
        answer->length = 0;
        (void)atomic_fetch_add(asked, 1);
    }
}

static void test_dead_meter_hurts_no_other(void **state)
{
    (void)state;
    atomic_int asked = 0;
    start(FAKE_PTY, 3, 1, one_is_dead, &asked);
    // The neighbours have to answer within it on a busy machine too.
    const int timeout_ms = 250;
    site.config->links[0].response_timeout_ms = timeout_ms;
    start_bus(&clock_system);
    wait_for(18, 0);
    bus_stop(site.bus);
    site.bus = NULL;
    int64_t last_ms[3] = {0, 0, 0};
    int dead = 0;
    for (int i = 0; i < taken.count; i++) {
        const struct reading *reading = taken.list[i];
        int64_t *last = &last_ms[reading->meter - site.config->meters];
        expect_grid(reading, *last != 0 ? *last : reading->due_ms - 1);
        *last = reading->due_ms;
        if (reading->meter->unit == 18) {
            dead++;
            assert_int_equal(reading->values[0].why, WHY_TIMEOUT);
            assert_int_equal(reading->at_ms, reading->due_ms);
            assert_false(reading->answered);
        } else {
            assert_int_equal(reading->values[0].quality, QUALITY_GOOD);
            assert_in_range(reading->at_ms - reading->due_ms, 0, 3 * timeout_ms);
        }
    }
    // A poll, its retry, then probes after 0.5, 1, 2 … s.
    assert_true(dead >= 5);
    assert_in_range(atomic_load(&asked), 4, 6);
    end();
}

static void test_link_down_and_back(void **state)
{
    (void)state;
    start(FAKE_TCP, 2, 1, NULL, NULL);
    fake_unplug(site.fake);
    start_bus(&clock_system);
    wait_for(4, 0);
    assert_int_equal(link_figure("open"), 0);
    json_t *links = shown(site.live, live_print_links);
    const char *error = json_string_value(json_object_get(json_array_get(links, 0), "error"));
    assert_non_null(strstr(error, "no connection to 127.0.0.1"));
    json_decref(links);
    fake_plug_in(site.fake);
    int count = 4;
    bool back = false;
    for (; !back && count < 40; count++) {
        wait_for(count + 1, 0);
        back = taken.list[count]->answered;
    }
    assert_true(back);
    // Waits 1, 2, 4 … s between attempts: there again within the third wait.
    assert_in_range(taken.list[count - 1]->due_ms - taken.list[0]->due_ms, 0, 9000);
    for (int i = 0; i < count - 1; i++) {
        assert_int_equal(taken.list[i]->values[0].quality, QUALITY_MISSING);
        assert_int_equal(taken.list[i]->values[0].why, WHY_LINK_DOWN);
        assert_int_equal(taken.list[i]->at_ms, taken.list[i]->due_ms);
    }
    assert_int_equal(link_figure("open"), 1);
    end();
}

static void test_pulled_device(void **state)
{
    (void)state;
    start(FAKE_PTY, 1, 1, NULL, NULL);
    start_bus(&clock_system);
    wait_for(1, 0);
    assert_true(taken.list[0]->answered);
    fake_unplug(site.fake);
    int count = 1;
    int down = 0;
    for (; down < 2 && count < 10; count++) {
        wait_for(count + 1, 0);
        down += taken.list[count]->values[0].why == WHY_LINK_DOWN ? 1 : 0;
    }
    assert_int_equal(down, 2);
    assert_int_equal(link_figure("open"), 0);
    end();
}

static void test_no_room(void **state)
{
    (void)state;
    start(FAKE_TCP, 1, 1, NULL, NULL);
    taken.refuse = true;
    start_bus(&clock_system);
    wait_for(0, 2);
    bus_stop(site.bus);
    site.bus = NULL;
    assert_int_equal(link_figure("refused"), taken.refused);
    assert_true(link_figure("polls") >= 2);
    end();
}

// ---- the clock ----------------------------------------------------------------------------------

static int64_t stepped_wall_ms(void *context)
{
    atomic_llong *step_ms = context;
    return clock_wall_ms(&clock_system) + atomic_load(step_ms);
}

static int64_t stepped_boot_ns(void *context)
{
    (void)context;
    return clock_boot_ns(&clock_system);
}

// A clock that is set, an hour back or on, neither stops nor doubles polling.
static void check_step(int64_t by_ms)
{
    atomic_llong step_ms = 0;
    struct clock clock = {stepped_boot_ns, stepped_wall_ms, &step_ms};
    start(FAKE_TCP, 1, 1, NULL, NULL);
    start_bus(&clock);
    wait_for(2, 0);
    int64_t before_ms = clock_boot_ms(&clock_system);
    atomic_store(&step_ms, by_ms);
    int base = taken.count;
    wait_for(base + 4, 0);
    int64_t took_ms = clock_boot_ms(&clock_system) - before_ms;
    bus_stop(site.bus);
    site.bus = NULL;
    // The step is seen with the next due time of before, or within two seconds.
    assert_in_range(took_ms, 2500, 8000);
    for (int i = base + 2; i < base + 4; i++)
        assert_int_equal(taken.list[i]->due_ms - taken.list[i - 1]->due_ms, 1000);
    int64_t drift_ms = taken.list[base + 3]->due_ms - clock_wall_ms(&clock);
    assert_in_range(drift_ms + 3000, 0, 3000);
    end();
}

static void test_clock_steps(void **state)
{
    (void)state;
    check_step(-3600 * SECOND);
    check_step(3600 * SECOND);
}

// ---- test readings ------------------------------------------------------------------------------

struct frames {
    int sent, received;
};

static void note_frame(void *context, bool sent, const uint8_t *bytes, size_t length)
{
    struct frames *frames = context;
    assert_non_null(bytes);
    assert_true(length > 0);
    *(sent ? &frames->sent : &frames->received) += 1;
}

static void test_read_between_polls(void **state)
{
    (void)state;
    start(FAKE_TCP, 2, 3600, NULL, NULL);
    start_bus(&clock_system);
    struct frames frames = {0};
    struct reading *reading = NULL;
    struct err err;
    assert_int_equal(bus_read(site.bus, 1,
                              (struct wire_trace){.frame = note_frame, .context = &frames}, 5000,
                              &reading, &err),
                     0);
    assert_int_equal(reading->meter->unit, 18);
    assert_int_equal(reading->due_ms, 0);
    assert_int_equal(reading->values[0].quality, QUALITY_GOOD);
    assert_int_equal(frames.sent, 1);
    assert_int_equal(frames.received, 1);
    reading_free(reading);
    assert_int_equal(taken.count, 0);
    end();
}

static void be_silent(void *context, struct fake_answer *answer)
{
    (void)context;
    answer->length = 0;
}

// Who waits for a busy bus is told so in time; a bus that stops does so at once.
static void test_busy_and_stop(void **state)
{
    (void)state;
    start(FAKE_TCP, 2, 3600, be_silent, NULL);
    site.config->links[0].response_timeout_ms = 10000;
    start_bus(&clock_system);
    struct reading *reading = NULL;
    struct err err = {""};
    struct frames frames = {0};
    int64_t start_ms = clock_boot_ms(&clock_system);
    assert_int_equal(bus_read(site.bus, 0,
                              (struct wire_trace){.frame = note_frame, .context = &frames}, 200,
                              &reading, &err),
                     -1);
    assert_non_null(strstr(err.text, "hall-1"));
    assert_null(reading);
    assert_in_range(clock_boot_ms(&clock_system) - start_ms, 190, 5000);
    start_ms = clock_boot_ms(&clock_system);
    bus_stop(site.bus);
    site.bus = NULL;
    assert_in_range(clock_boot_ms(&clock_system) - start_ms, 0, 5000); // far from the time-out
    assert_int_equal(taken.count, 0);
    end();
}

// ---- the live view ------------------------------------------------------------------------------

static struct reading *reading_of(struct config *config, int meter, double number)
{
    struct reading *reading = reading_new(config, &config->meters[meter]);
    reading->at_ms = 1700000000000;
    reading->answered = true;
    reading->values[0] = (struct value){.present = true, .number = number};
    return reading;
}

static json_t *pressure_of(json_t *meters, size_t index)
{
    json_t *channels = json_object_get(json_array_get(meters, index), "channels");
    return json_object_get(channels, "pressure");
}

// A meter that stays keeps its values over a reload, a new one has none, a removed one is gone.
static void test_live_reload(void **state)
{
    (void)state;
    start(FAKE_TCP, 3, 60, NULL, NULL);
    struct reading *reading = reading_of(site.config, 1, 101.5);
    live_reading(site.live, reading);
    reading_free(reading);

    struct config *next = make_config(FAKE_TCP, site.fake, 2, 60);
    (void)snprintf(next->meters[0].id, sizeof next->meters[0].id, "new");
    live_apply(site.live, next);
    json_t *meters = shown(site.live, live_print_meters);
    assert_int_equal(json_array_size(meters), 2);
    assert_true(json_is_null(json_object_get(pressure_of(meters, 0), "value")));
    assert_string_equal(json_string_value(json_object_get(pressure_of(meters, 0), "why")),
                        "not-polled");
    assert_true(json_is_null(json_object_get(json_array_get(meters, 0), "at")));
    assert_true(json_real_value(json_object_get(pressure_of(meters, 1), "value")) == 101.5);
    assert_string_equal(json_string_value(json_object_get(json_array_get(meters, 1), "at")),
                        "2023-11-14T22:13:20.000Z");
    json_decref(meters);

    // A reading that was made under the old configuration finds its meter, or nothing.
    reading = reading_of(site.config, 1, 102.5);
    live_reading(site.live, reading);
    reading_free(reading);
    reading = reading_of(site.config, 2, 103.5);
    live_reading(site.live, reading);
    reading_free(reading);
    meters = shown(site.live, live_print_meters);
    assert_true(json_real_value(json_object_get(pressure_of(meters, 1), "value")) == 102.5);
    json_decref(meters);
    config_unref(next);
    end();
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_teardown(test_one_reading_per_due_time, tear_down),
        cmocka_unit_test_teardown(test_first_look, tear_down),
        cmocka_unit_test_teardown(test_dead_meter_hurts_no_other, tear_down),
        cmocka_unit_test_teardown(test_link_down_and_back, tear_down),
        cmocka_unit_test_teardown(test_pulled_device, tear_down),
        cmocka_unit_test_teardown(test_no_room, tear_down),
        cmocka_unit_test_teardown(test_clock_steps, tear_down),
        cmocka_unit_test_teardown(test_read_between_polls, tear_down),
        cmocka_unit_test_teardown(test_busy_and_stop, tear_down),
        cmocka_unit_test_teardown(test_live_reload, tear_down),
    };
    return cmocka_run_group_tests_name("poll/bus", tests, set_up, NULL);
}
