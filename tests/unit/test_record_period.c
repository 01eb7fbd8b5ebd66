#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "base/timetext.h"
#include "config/config.h"
#include "record/period.h"

#include "property.h"

#include <inttypes.h>
#include <math.h>
#include <string.h>

#define T0 INT64_C(1795420800000) // 2026-11-23T08:00:00Z
#define MINUTE INT64_C(60000)
#define QUARTER (15 * MINUTE)
#define UNIT MICRO_PER_UNIT

// --- a meter: two counters (0.0001 and 0.5 m3 steps), two gauges, status bits ---

enum { VOLUME, MEASURED, PRESSURE, FLOW, STATUS, VALUES };

static struct profile profile;
static struct meter meter = {.id = "boiler-1", .profile = &profile, .interval_s = 60};
static struct gas_calendar calendar;

static void add_channel(const char *name, uint8_t type, struct decimal scale)
{
    int i = profile.channel_count++;
    profile.fields[i].type = type;
    profile.channels[i] = (struct profile_channel){.channel = channel_find(name),
                                                   .part_count = name[0] == 's' ? 0 : 1};
    assert_non_null(profile.channels[i].channel);
    profile.channels[i].conversion.factor = (struct decimal){1, 0};
    profile.channels[i].parts[0] =
        (struct part){.field = (uint8_t)i, .scale = scale, .scale_field = -1};
}

static int set_up(void **state)
{
    (void)state;
    struct err err;
    add_channel("volume_base", RAW_BCD, (struct decimal){1, -4});
    add_channel("volume_measured", RAW_U32, (struct decimal){5, -1});
    add_channel("pressure", RAW_F32, (struct decimal){1, 0});
    add_channel("flow_base", RAW_F32, (struct decimal){1, 0});
    add_channel("status", RAW_U16, (struct decimal){1, 0});
    return gas_calendar_init(&calendar, "Asia/Shanghai", 360, &err);
}

struct sample {
    int64_t due_ms, at_ms;
    struct value values[VALUES];
    bool begins; // a series
};

static struct sample silent(int64_t due_ms)
{
    struct sample sample = {.due_ms = due_ms, .at_ms = due_ms};
    for (int i = 0; i < VALUES; i++)
        sample.values[i] = (struct value){.quality = QUALITY_MISSING, .why = WHY_TIMEOUT};
    return sample;
}

// volume in ten-thousandths of a m3
static struct sample good(int64_t due_ms, int64_t late_ms, int64_t volume, double pressure)
{
    struct sample sample = {.due_ms = due_ms, .at_ms = due_ms + late_ms};
    for (int i = 0; i < VALUES; i++)
        sample.values[i].present = true;
    sample.values[VOLUME].micro = volume * 100;
    sample.values[MEASURED].micro = volume / 5000 * 500000;
    sample.values[PRESSURE].number = pressure;
    sample.values[FLOW].number = 42.5;
    return sample;
}

#define CLOSED_MAX 4000
struct closed {
    int count;
    struct period list[CLOSED_MAX];
};

static void keep(void *context, const struct period *period)
{
    struct closed *closed = context;
    assert_true(closed->count < CLOSED_MAX);
    closed->list[closed->count++] = *period;
}

static struct period_builder *builder_of(enum span span, int64_t interval_ms, int64_t configured_ms)
{
    struct schedule schedule = {span, interval_ms, 0};
    struct period_builder *builder =
        period_builder_new(&meter, &schedule, &calendar, configured_ms);
    assert_non_null(builder);
    return builder;
}

static void feed(struct period_builder *builder, const struct sample *sample, struct closed *closed)
{
    struct reading *reading = calloc(1, sizeof *reading + sizeof sample->values);
    assert_non_null(reading);
    reading->meter = &meter;
    reading->due_ms = sample->due_ms;
    reading->at_ms = sample->at_ms;
    reading->begins = sample->begins;
    reading->value_count = VALUES;
    memcpy(reading->values, sample->values, sizeof sample->values);
    period_builder_feed(builder, reading, keep, closed);
    free(reading);
}

static void feed_now(struct period_builder *builder, struct sample sample, struct closed *closed)
{
    feed(builder, &sample, closed);
}

// --- the rules, one by one ---

// Volume 1000 m3 at T0, 0.1 m3 a minute; each reading 120 ms after it was due.
static struct sample minute_of(int64_t minute)
{
    return good(T0 + minute * MINUTE, 120, 10000000 + minute * 1000, 300 + (double)minute);
}

static void test_whole_quarter(void **state)
{
    (void)state;
    static struct closed closed;
    struct period_builder *builder = builder_of(SPAN_15MIN, MINUTE, T0 - QUARTER);
    assert_int_equal(period_builder_deadline(builder), INT64_MAX);
    period_builder_expire(builder, T0, keep, &closed);
    for (int64_t minute = -5; minute < 31; minute++)
        feed_now(builder, minute_of(minute), &closed);
    assert_int_equal(closed.count, 3);

    const struct period *first = &closed.list[0];
    assert_true(first->first);
    assert_int_equal(first->from_ms, T0 - QUARTER);
    assert_int_equal(first->to_ms, T0);
    assert_int_equal(first->expected, 15);
    assert_int_equal(first->good, 5);
    assert_int_equal(first->missing, 10);
    assert_int_equal(first->channels[VOLUME].start_micro, INT64_C(999500000));
    assert_int_equal(first->channels[VOLUME].end_micro, 1000 * UNIT);
    assert_int_equal(first->quality, QUALITY_GOOD);

    const struct period *whole = &closed.list[1];
    assert_false(whole->first);
    assert_int_equal(whole->span, SPAN_15MIN);
    assert_int_equal(whole->version, 1);
    assert_int_equal(whole->expected, 15);
    assert_int_equal(whole->good, 15);
    assert_int_equal(whole->suspect + whole->missing, 0);
    assert_int_equal(whole->channel_count, 4); // bits are no part of a period
    const struct period_channel *volume = &whole->channels[VOLUME];
    assert_string_equal(volume->name, "volume_base");
    assert_int_equal(volume->start_micro, 1000 * UNIT);
    assert_int_equal(volume->end_micro, 1001 * UNIT + UNIT / 2);
    assert_int_equal(volume->quality, QUALITY_GOOD);
    assert_int_equal(volume->why, WHY_NONE);
    const struct period_channel *pressure = &whole->channels[PRESSURE];
    assert_true(pressure->min == 300 && pressure->max == 314);
    assert_int_equal(pressure->weight_ms, QUARTER - 120);
    // 14 values of a minute, the last 120 ms less
    double mean = (14 * 306.5 * 60000 + 314 * 59880.) / (QUARTER - 120);
    assert_true(fabs(pressure->mean - mean) < 1e-9);
    assert_int_equal(closed.list[2].channels[VOLUME].start_micro, volume->end_micro);
    assert_int_equal(period_builder_deadline(builder), T0 + 3 * QUARTER + 3 * MINUTE);
    period_builder_free(builder);
}

// The reading after the boundary comes late, but in time: the index is between its neighbours, down
// to the counter's step.
static void test_interpolated_boundary(void **state)
{
    (void)state;
    static struct closed closed;
    struct period_builder *builder = builder_of(SPAN_15MIN, MINUTE, T0);
    feed_now(builder, good(T0, 0, 100, 1), &closed);
    feed_now(builder, good(T0 + 14 * MINUTE, 0, 10000, 1), &closed);
    feed_now(builder, silent(T0 + 15 * MINUTE), &closed);
    assert_int_equal(closed.count, 0);
    // at a third of 14:00 … 17:00: 10000 + 10 / 3; measured 1.0 … 1.0
    feed_now(builder, good(T0 + 17 * MINUTE, 0, 10010, 1), &closed);
    assert_int_equal(closed.count, 1);
    const struct period_channel *volume = &closed.list[0].channels[VOLUME];
    assert_int_equal(volume->end_micro, 10003 * 100);
    assert_int_equal(volume->end_quality, QUALITY_ESTIMATED);
    assert_int_equal(volume->quality, QUALITY_ESTIMATED);
    assert_int_equal(volume->why, WHY_INTERPOLATED);
    assert_int_equal(closed.list[0].channels[MEASURED].end_micro, UNIT);
    assert_int_equal(closed.list[0].quality, QUALITY_ESTIMATED);
    assert_int_equal(closed.list[0].missing, 13);
    period_builder_free(builder);
}

static void test_window_and_wait_are_exact(void **state)
{
    (void)state;
    const struct {
        int64_t after_ms; // of the first good reading after the boundary
        enum quality quality;
    } rows[] = {{0, QUALITY_GOOD},
                {59999, QUALITY_GOOD},
                {60000, QUALITY_ESTIMATED},
                {179999, QUALITY_ESTIMATED},
                {180000, QUALITY_MISSING}};
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        static struct closed closed;
        closed.count = 0;
        struct period_builder *builder = builder_of(SPAN_15MIN, MINUTE, T0);
        feed_now(builder, good(T0, 0, 100, 1), &closed);
        period_builder_expire(builder, T0 + QUARTER + 179999, keep, &closed);
        assert_int_equal(closed.count, 0);
        feed_now(builder, good(T0 + QUARTER + rows[i].after_ms, 0, 20000, 1), &closed);
        assert_int_equal(closed.count, 1);
        assert_int_equal(closed.list[0].channels[VOLUME].quality, rows[i].quality);
        assert_int_equal(closed.list[0].channels[VOLUME].end_known,
                         rows[i].quality != QUALITY_MISSING);
        period_builder_free(builder);
    }
}

// Nothing comes: the timer closes, with nulls that say why, and the periods after it too.
static void test_timer_closes(void **state)
{
    (void)state;
    static struct closed closed;
    struct period_builder *builder = builder_of(SPAN_15MIN, MINUTE, T0);
    feed_now(builder, good(T0, 0, 100, 1), &closed);
    feed_now(builder, silent(T0 + MINUTE), &closed);
    period_builder_expire(builder, T0 + QUARTER + 3 * MINUTE, keep, &closed);
    assert_int_equal(closed.count, 1);
    assert_int_equal(closed.list[0].channels[VOLUME].quality, QUALITY_MISSING);
    assert_int_equal(closed.list[0].channels[VOLUME].why, WHY_TIMEOUT);
    assert_true(closed.list[0].channels[VOLUME].start_known);
    assert_int_equal(closed.list[0].channels[PRESSURE].quality, QUALITY_GOOD);
    assert_int_equal(closed.list[0].channels[PRESSURE].weight_ms, MINUTE);
    period_builder_expire(builder, T0 + 4 * QUARTER + 3 * MINUTE, keep, &closed);
    assert_int_equal(closed.count, 4);
    for (int i = 1; i < 4; i++) {
        const struct period *period = &closed.list[i];
        assert_int_equal(period->from_ms, closed.list[i - 1].to_ms);
        assert_int_equal(period->missing, 15);
        assert_int_equal(period->expected, 15);
        assert_int_equal(period->quality, QUALITY_MISSING);
        assert_int_equal(period->channels[VOLUME].why, WHY_NOT_POLLED);
        assert_int_equal(period->channels[PRESSURE].why, WHY_NOT_POLLED);
        assert_false(period->channels[VOLUME].start_known);
    }
    // it answers again: the boundary before it is too far, the one after it is known
    feed_now(builder, good(T0 + 4 * QUARTER + 4 * MINUTE, 0, 200, 1), &closed);
    feed_now(builder, good(T0 + 5 * QUARTER, 5, 300, 1), &closed);
    assert_int_equal(closed.count, 5);
    assert_false(closed.list[4].channels[VOLUME].start_known);
    assert_true(closed.list[4].channels[VOLUME].end_known);
    assert_int_equal(closed.list[4].channels[VOLUME].why, WHY_NOT_POLLED);
    period_builder_free(builder);
}

// After a night without the gateway: only the last boundary lies near enough to be estimated, over
// the whole gap.
static void test_long_gap(void **state)
{
    (void)state;
    static struct closed closed;
    struct period_builder *builder = builder_of(SPAN_15MIN, MINUTE, T0);
    feed_now(builder, good(T0, 0, 1000000, 1), &closed);
    feed_now(builder, good(T0 + 40 * QUARTER + 2 * MINUTE, 0, 1000000 + 602000, 1), &closed);
    assert_int_equal(closed.count, 40);
    for (int i = 0; i < 39; i++)
        assert_false(closed.list[i].channels[VOLUME].end_known);
    assert_true(closed.list[39].channels[VOLUME].end_known);
    assert_int_equal(closed.list[39].channels[VOLUME].end_micro, INT64_C(160000000));
    assert_int_equal(closed.list[39].channels[VOLUME].end_quality, QUALITY_ESTIMATED);
    assert_int_equal(closed.list[39].channels[VOLUME].quality, QUALITY_MISSING);
    period_builder_free(builder);
}

// One register group fails at the boundary: its channel waits, the other is known, and reads that
// come meanwhile belong to the next period.
static void test_channels_wait_alone(void **state)
{
    (void)state;
    static struct closed closed;
    struct period_builder *builder = builder_of(SPAN_15MIN, MINUTE, T0);
    for (int i = 0; i < 15; i++)
        feed_now(builder, good(T0 + i * MINUTE, 0, 100000 + i * 100, 1), &closed);
    struct sample half = good(T0 + QUARTER, 0, 101500, 1);
    half.values[VOLUME] = (struct value){.quality = QUALITY_MISSING, .why = WHY_EXCEPTION + 2};
    feed(builder, &half, &closed);
    assert_int_equal(closed.count, 0);
    feed_now(builder, good(T0 + QUARTER + MINUTE, 0, 101600, 1), &closed);
    assert_int_equal(closed.count, 1);
    assert_int_equal(closed.list[0].good, 15);
    assert_int_equal(closed.list[0].channels[VOLUME].end_quality, QUALITY_ESTIMATED);
    assert_int_equal(closed.list[0].channels[VOLUME].end_micro, INT64_C(10150000));
    assert_int_equal(closed.list[0].channels[MEASURED].end_quality, QUALITY_GOOD);
    for (int i = 2; i <= 15; i++)
        feed_now(builder, good(T0 + QUARTER + i * MINUTE, 0, 101500 + i * 100, 1), &closed);
    assert_int_equal(closed.count, 2);
    assert_int_equal(closed.list[1].good, 14);
    assert_int_equal(closed.list[1].missing, 1); // the read at the boundary: its worst channel
    period_builder_free(builder);
}

// An unverified profile: everything is there, and suspect.
static void test_unverified(void **state)
{
    (void)state;
    static struct closed closed;
    struct period_builder *builder = builder_of(SPAN_15MIN, MINUTE, T0);
    for (int i = 0; i <= 15; i++) {
        struct sample sample = good(T0 + i * MINUTE, 0, 100000 + i * 100, 1);
        for (int k = 0; k < VALUES; k++) {
            sample.values[k].quality = QUALITY_SUSPECT;
            sample.values[k].why = WHY_UNVERIFIED;
        }
        feed(builder, &sample, &closed);
    }
    assert_int_equal(closed.count, 1);
    assert_int_equal(closed.list[0].suspect, 15);
    assert_int_equal(closed.list[0].missing, 0);
    assert_int_equal(closed.list[0].quality, QUALITY_SUSPECT);
    for (int i = 0; i < 4; i++) {
        assert_int_equal(closed.list[0].channels[i].quality, QUALITY_SUSPECT);
        assert_int_equal(closed.list[0].channels[i].why, WHY_UNVERIFIED);
    }
    assert_int_equal(closed.list[0].channels[VOLUME].end_micro, INT64_C(10150000));
    assert_true(closed.list[0].channels[PRESSURE].mean == 1);
    period_builder_free(builder);
}

static void test_reversed(void **state)
{
    (void)state;
    static struct closed closed;
    struct period_builder *builder = builder_of(SPAN_15MIN, MINUTE, T0);
    feed_now(builder, good(T0, 0, 500000, 1), &closed);
    feed_now(builder, good(T0 + QUARTER, 0, 499999, 1), &closed);
    feed_now(builder, good(T0 + 2 * QUARTER, 0, 600000, 1), &closed);
    assert_int_equal(closed.count, 2);
    const struct period_channel *back = &closed.list[0].channels[VOLUME];
    assert_int_equal(back->start_micro, INT64_C(50000000));
    assert_int_equal(back->end_micro, INT64_C(49999900));
    assert_int_equal(back->quality, QUALITY_SUSPECT);
    assert_int_equal(back->why, WHY_REVERSED);
    assert_int_equal(closed.list[1].channels[VOLUME].quality, QUALITY_GOOD);
    struct period sum;
    period_sum(closed.list, 2, SPAN_30MIN, T0, T0 + 2 * QUARTER, 30, &sum);
    assert_int_equal(sum.channels[VOLUME].quality, QUALITY_SUSPECT);
    assert_int_equal(sum.channels[VOLUME].why, WHY_REVERSED);
    period_builder_free(builder);
}

static struct sample first_of(struct sample sample)
{
    sample.begins = true;
    return sample;
}

static int64_t delta_of(const struct period *period, int channel)
{
    int64_t delta = INT64_MIN;
    assert_true(period_delta(&period->channels[channel], &delta));
    return delta;
}

// The old meter stops at 600000, the new one begins at 1200: nothing of the step is counted.
static void test_exchange(void **state)
{
    (void)state;
    static struct closed closed;
    struct period_builder *builder = builder_of(SPAN_15MIN, MINUTE, T0);
    feed_now(builder, good(T0, 0, 500000, 1), &closed);
    feed_now(builder, good(T0 + 4 * MINUTE, 0, 600000, 1), &closed);
    feed_now(builder, first_of(good(T0 + 9 * MINUTE, 0, 1200, 1)), &closed);
    feed_now(builder, good(T0 + QUARTER, 0, 1500, 1), &closed);
    feed_now(builder, good(T0 + 2 * QUARTER, 0, 2500, 1), &closed);
    assert_int_equal(closed.count, 2);
    const struct period_channel *over = &closed.list[0].channels[VOLUME];
    assert_true(over->exchanged && over->jump_known);
    assert_int_equal(over->start_micro, INT64_C(50000000));
    assert_int_equal(over->end_micro, INT64_C(150000));
    assert_int_equal(delta_of(&closed.list[0], VOLUME), INT64_C(100000) * 100 + 300 * 100);
    assert_int_equal(over->quality, QUALITY_SUSPECT);
    assert_int_equal(over->why, WHY_EXCHANGED);
    assert_false(closed.list[1].channels[VOLUME].exchanged);
    assert_int_equal(closed.list[1].channels[VOLUME].quality, QUALITY_GOOD);
    assert_int_equal(delta_of(&closed.list[1], VOLUME), 1000 * 100);
    struct period sum;
    period_sum(closed.list, 2, SPAN_30MIN, T0, T0 + 2 * QUARTER, 30, &sum);
    assert_int_equal(delta_of(&sum, VOLUME), INT64_C(101300) * 100);
    assert_int_equal(sum.channels[VOLUME].why, WHY_EXCHANGED);
    assert_int_equal(closed.list[0].channels[PRESSURE].quality, QUALITY_GOOD);
    period_builder_free(builder);
}

// The new meter's first reading is the index at the boundary: the period before goes over.
static void test_exchange_at_boundary(void **state)
{
    (void)state;
    static struct closed closed;
    struct period_builder *builder = builder_of(SPAN_15MIN, MINUTE, T0);
    feed_now(builder, good(T0, 0, 500000, 1), &closed);
    feed_now(builder, good(T0 + 14 * MINUTE, 0, 600000, 1), &closed);
    feed_now(builder, first_of(good(T0 + QUARTER, 30000, 1200, 1)), &closed);
    feed_now(builder, good(T0 + 2 * QUARTER, 0, 2500, 1), &closed);
    assert_int_equal(closed.count, 2);
    assert_int_equal(delta_of(&closed.list[0], VOLUME), INT64_C(100000) * 100);
    assert_int_equal(closed.list[0].channels[VOLUME].why, WHY_EXCHANGED);
    assert_false(closed.list[1].channels[VOLUME].exchanged);
    assert_int_equal(delta_of(&closed.list[1], VOLUME), 1300 * 100);
    period_builder_free(builder);
}

// Between two meters nothing is interpolated, and an index that nobody read makes no delta.
static void test_exchange_without_index(void **state)
{
    (void)state;
    static struct closed closed;
    struct period_builder *builder = builder_of(SPAN_15MIN, MINUTE, T0);
    feed_now(builder, good(T0, 0, 500000, 1), &closed);
    feed_now(builder, good(T0 + 14 * MINUTE, 0, 600000, 1), &closed);
    struct sample first = first_of(good(T0 + 16 * MINUTE, 10000, 1200, 1)); // beyond the window
    first.values[MEASURED] = (struct value){.quality = QUALITY_MISSING, .why = WHY_TIMEOUT};
    feed_now(builder, first, &closed);
    feed_now(builder, good(T0 + 17 * MINUTE, 0, 1300, 1), &closed);
    feed_now(builder, good(T0 + 2 * QUARTER, 0, 2500, 1), &closed);
    assert_int_equal(closed.count, 2);
    assert_false(closed.list[0].channels[VOLUME].end_known);
    assert_int_equal(closed.list[0].channels[VOLUME].quality, QUALITY_MISSING);
    assert_false(closed.list[0].channels[MEASURED].end_known);
    assert_false(closed.list[0].channels[MEASURED].jump_known);
    int64_t delta;
    assert_false(period_delta(&closed.list[1].channels[VOLUME], &delta));
    period_builder_free(builder);
}

// A reading that was asked for before the boundary and answered after it is a read of the old
// period and its index.
static void test_late_answer(void **state)
{
    (void)state;
    static struct closed closed;
    struct period_builder *builder = builder_of(SPAN_15MIN, MINUTE, T0);
    feed_now(builder, good(T0, 0, 100, 1), &closed);
    feed_now(builder, good(T0 + 14 * MINUTE, 60300, 200, 7), &closed);
    assert_int_equal(closed.count, 1);
    assert_int_equal(closed.list[0].good, 2);
    assert_int_equal(closed.list[0].channels[VOLUME].end_micro, 20000);
    assert_true(closed.list[0].channels[PRESSURE].max == 1);
    period_builder_free(builder);
}

static void test_old_and_doubled_readings(void **state)
{
    (void)state;
    static struct closed closed;
    struct period_builder *builder = builder_of(SPAN_15MIN, MINUTE, T0 + MINUTE);
    feed_now(builder, good(T0, 0, 90, 1), &closed); // due before it was configured
    feed_now(builder, good(T0 + 5 * MINUTE, 0, 100, 1), &closed);
    feed_now(builder, good(T0 + 5 * MINUTE, 0, 999, 9), &closed);
    feed_now(builder, good(T0 + 3 * MINUTE, 0, 999, 9), &closed);
    feed_now(builder, good(T0 + QUARTER, 0, 200, 1), &closed);
    assert_int_equal(closed.count, 1);
    assert_int_equal(closed.list[0].expected, 14);
    assert_int_equal(closed.list[0].good, 1);
    assert_true(closed.list[0].channels[PRESSURE].max == 1);
    // what the timer closed stays closed
    period_builder_expire(builder, T0 + 2 * QUARTER + 3 * MINUTE, keep, &closed);
    feed_now(builder, good(T0 + 2 * QUARTER - 1, 0, 300, 9), &closed);
    assert_int_equal(closed.count, 2);
    period_builder_free(builder);
}

// --- against the rules read again, over all readings at once ---

#define SAMPLES_MAX 3000
static struct sample stream[SAMPLES_MAX];
static int stream_count;

struct grid {
    enum span span;
    int64_t interval_ms, phase_ms;
};

static struct schedule schedule_of(const struct grid *grid)
{
    return (struct schedule){grid->span, grid->interval_ms, grid->phase_ms};
}

static void spoil(struct sample *sample)
{
    switch (random_between(0, 5)) {
    case 0: *sample = silent(sample->due_ms); break;
    case 1:
        sample->values[random_between(0, VALUES - 1)] =
            (struct value){.quality = QUALITY_MISSING, .why = WHY_EXCEPTION + 2};
        break;
    case 2:
        sample->values[PRESSURE] =
            (struct value){.quality = QUALITY_SUSPECT, .why = WHY_NOT_A_NUMBER};
        break;
    case 3:
        sample->values[VOLUME].quality = QUALITY_SUSPECT;
        sample->values[VOLUME].why = WHY_UNVERIFIED;
        break;
    case 4: sample->values[VOLUME].micro -= 10 * UNIT; break;
    default: break;
    }
}

// A life of the meter: good times, flapping, silence, hours without the gateway.
static void stream_make(const struct grid *grid, int64_t start_ms)
{
    struct schedule schedule = schedule_of(grid);
    int64_t volume = random_between(0, 1000000000);
    int count = (int)random_between(1, 400);
    int mood = 0;
    int64_t at = start_ms;
    for (stream_count = 0; stream_count < count; stream_count++) {
        mood = random_between(0, 19) == 0 ? (int)random_between(0, 4) : mood;
        int64_t skip = mood == 4 ? random_between(0, 20 * grid->interval_ms) : 0;
        if (mood == 3 && random_between(0, 30) == 0)
            skip = random_between(0, 30) * span_nominal_ms(grid->span);
        int64_t due = schedule_next(&schedule, &calendar, at + skip);
        volume += random_between(0, 100000);
        int64_t late = random_between(0, 5) == 0 ? random_between(0, grid->interval_ms * 3 / 2)
                                                 : random_between(0, 200);
        struct sample *sample = &stream[stream_count];
        *sample = good(due, late, volume, (double)random_between(1000, 2000) / 8);
        if (mood >= 1 && random_between(0, 3) < mood)
            spoil(sample);
        at = sample->at_ms;
    }
}

static bool usable(const struct value *value)
{
    return value->present && (value->quality == QUALITY_GOOD || value->why == WHY_UNVERIFIED);
}

struct expected_index {
    bool known;
    enum quality quality;
    int64_t micro;
};

static struct expected_index expect_index(int channel, int64_t boundary, const struct grid *grid)
{
    const struct sample *before = NULL;
    const struct sample *after = NULL;
    for (int i = 0; i < stream_count; i++) {
        if (!usable(&stream[i].values[channel]))
            continue;
        if (stream[i].at_ms < boundary)
            before = &stream[i];
        else if (after == NULL)
            after = &stream[i];
    }
    int64_t window = grid->interval_ms < 60000 ? grid->interval_ms : 60000;
    if (after == NULL || after->at_ms >= boundary + 2 * grid->interval_ms + 60000)
        return (struct expected_index){.known = false};
    const struct value *value = &after->values[channel];
    if (after->at_ms < boundary + window)
        return (struct expected_index){true, (enum quality)value->quality, value->micro};
    if (before == NULL)
        return (struct expected_index){.known = false};
    const struct value *low = &before->values[channel];
    long double share =
        (long double)(boundary - before->at_ms) / (long double)(after->at_ms - before->at_ms);
    int64_t step = channel == VOLUME ? 100 : 500000;
    long double exact = (long double)low->micro + (long double)(value->micro - low->micro) * share;
    int64_t micro = (int64_t)floorl(exact / (long double)step + 1e-9L) * step;
    enum quality quality = low->quality == QUALITY_SUSPECT || value->quality == QUALITY_SUSPECT
                               ? QUALITY_SUSPECT
                               : QUALITY_ESTIMATED;
    return (struct expected_index){true, quality, micro};
}

static void check_index(const struct expected_index *expected, bool known, uint8_t quality,
                        int64_t micro)
{
    assert_int_equal(known, expected->known);
    assert_int_equal(quality, known ? expected->quality : QUALITY_MISSING);
    assert_int_equal(micro, known ? expected->micro : 0);
}

// What the reasons should be, counted without the product's lists: by quality and why.
struct tally {
    int64_t of[2][WHY_EXCEPTION + 256];
};

static void tally_read(struct tally *tally, enum quality worst, const struct sample *sample)
{
    uint16_t why = WHY_NOT_POLLED;
    for (int i = 0; sample != NULL && i < VALUES; i++) {
        if ((enum quality)sample->values[i].quality == worst) {
            why = sample->values[i].why;
            break;
        }
    }
    if (worst > QUALITY_MANUAL)
        tally->of[worst == QUALITY_MISSING][why]++;
}

static void check_reasons(const struct period *period, const struct tally *tally)
{
    int64_t kinds = 0;
    for (int missing = 0; missing < 2; missing++) {
        for (int why = 0; why < WHY_EXCEPTION + 256; why++) {
            enum quality quality = missing ? QUALITY_MISSING : QUALITY_SUSPECT;
            assert_int_equal(reasons_of(&period->reasons, quality, (uint16_t)why),
                             tally->of[missing][why]);
            kinds += tally->of[missing][why] > 0;
        }
    }
    assert_int_equal(period->reasons.count, kinds);
}

static void check_reads(const struct period *period, const struct grid *grid, int64_t configured)
{
    static struct tally tally;
    memset(&tally, 0, sizeof tally);
    struct schedule schedule = schedule_of(grid);
    int64_t good_count = 0;
    int64_t suspect = 0;
    int64_t missing = 0;
    int64_t from = period->from_ms > configured ? period->from_ms : configured;
    for (int64_t due = schedule_next(&schedule, &calendar, from - 1); due < period->to_ms;
         due = schedule_next(&schedule, &calendar, due)) {
        enum quality worst = QUALITY_MISSING;
        const struct sample *answer = NULL;
        for (int i = 0; i < stream_count; i++) {
            // an answer that came after all waiting was over counts no more
            if (stream[i].due_ms == due &&
                stream[i].at_ms < period->to_ms + 2 * grid->interval_ms + 60000) {
                worst = values_worst(stream[i].values, VALUES);
                answer = &stream[i];
            }
        }
        tally_read(&tally, worst, answer);
        good_count += worst == QUALITY_GOOD;
        suspect += worst == QUALITY_SUSPECT;
        missing += worst == QUALITY_MISSING;
    }
    assert_int_equal(period->good, good_count);
    assert_int_equal(period->suspect, suspect);
    assert_int_equal(period->missing, missing);
    assert_int_equal(period->expected, good_count + suspect + missing);
    check_reasons(period, &tally);
}

static void check_gauge(const struct period *period, const struct period_channel *channel,
                        int place, const struct grid *grid)
{
    double min = INFINITY;
    double max = -INFINITY;
    double sum = 0;
    int64_t weight = 0;
    for (int i = 0; i < stream_count; i++) {
        const struct sample *sample = &stream[i];
        if (sample->at_ms < period->from_ms || sample->at_ms >= period->to_ms ||
            !usable(&sample->values[place]))
            continue;
        int64_t end = sample->at_ms + 2 * grid->interval_ms;
        end = end < period->to_ms ? end : period->to_ms;
        if (i + 1 < stream_count && stream[i + 1].at_ms < end)
            end = stream[i + 1].at_ms;
        double number = sample->values[place].number;
        min = fmin(min, number);
        max = fmax(max, number);
        sum += number * (double)(end - sample->at_ms);
        weight += end - sample->at_ms;
    }
    assert_int_equal(channel->weight_ms, weight);
    if (weight > 0) {
        assert_true(channel->min == min && channel->max == max);
        assert_true(fabs(channel->mean - sum / (double)weight) < 1e-9 * max);
    } else {
        assert_int_equal(channel->quality, QUALITY_MISSING);
        assert_true(channel->why == WHY_NOT_POLLED || channel->why == WHY_TIMEOUT ||
                    channel->why == WHY_NOT_A_NUMBER || channel->why == WHY_EXCEPTION + 2);
    }
}

static void check_counter(const struct period *period, const struct period_channel *channel,
                          int place, const struct grid *grid)
{
    struct expected_index end = expect_index(place, period->to_ms, grid);
    check_index(&end, channel->end_known, channel->end_quality, channel->end_micro);
    struct expected_index start = expect_index(place, period->from_ms, grid);
    for (int i = 0; i < stream_count && period->first; i++) {
        if (stream[i].at_ms >= period->to_ms)
            break;
        if (usable(&stream[i].values[place])) {
            const struct value *value = &stream[i].values[place];
            start = (struct expected_index){true, (enum quality)value->quality, value->micro};
            break;
        }
        start.known = false;
    }
    check_index(&start, channel->start_known, channel->start_quality, channel->start_micro);
    if (!channel->start_known || !channel->end_known) {
        assert_int_equal(channel->quality, QUALITY_MISSING);
        assert_int_not_equal(channel->why, WHY_NONE);
    } else if (channel->end_micro < channel->start_micro) {
        assert_int_equal(channel->quality, QUALITY_SUSPECT);
        assert_int_equal(channel->why, WHY_REVERSED);
    } else {
        assert_int_equal(channel->quality, quality_worst((enum quality)channel->start_quality,
                                                         (enum quality)channel->end_quality));
    }
}

static void check_period(const struct period *period, const struct grid *grid, int64_t configured)
{
    assert_int_equal(period->channel_count, 4);
    check_reads(period, grid, configured);
    enum quality worst = QUALITY_GOOD;
    for (int i = 0; i < 4; i++) {
        const struct period_channel *channel = &period->channels[i];
        if (i <= MEASURED)
            check_counter(period, channel, i, grid);
        else
            check_gauge(period, channel, i, grid);
        worst = quality_worst(worst, (enum quality)channel->quality);
    }
    assert_int_equal(period->quality, worst);
}

static void assert_same(const struct period *a, const struct period *b)
{
    struct buf left;
    struct buf right;
    buf_init(&left, 65536);
    buf_init(&right, 65536);
    period_encode(a, &left);
    period_encode(b, &right);
    assert_int_equal(left.length, right.length);
    assert_memory_equal(left.data, right.data, left.length);
    buf_release(&left);
    buf_release(&right);
}

// Runs the stream with restarts at random moments; timers run late or early as they like.
static void run(const struct grid *grid, int64_t configured, int restarts, struct closed *closed)
{
    struct schedule schedule = schedule_of(grid);
    struct period_builder *builder = period_builder_new(&meter, &schedule, &calendar, configured);
    assert_non_null(builder);
    closed->count = 0;
    for (int i = 0; i < stream_count; i++) {
        if (random_between(0, 3) == 0) {
            int64_t before = i > 0 ? stream[i - 1].at_ms : stream[i].at_ms;
            period_builder_expire(builder, random_between(before, stream[i].at_ms), keep, closed);
        }
        feed(builder, &stream[i], closed);
        if (restarts > 0 && random_between(0, stream_count / restarts) == 0) {
            period_builder_free(builder);
            builder = period_builder_new(&meter, &schedule, &calendar, configured);
            const struct period *last = closed->count > 0 ? &closed->list[closed->count - 1] : NULL;
            period_builder_resume(builder, last);
            int known = closed->count;
            for (int k = 0; k <= i; k++)
                if (last == NULL || stream[k].at_ms >= last->to_ms)
                    feed(builder, &stream[k], closed);
            assert_int_equal(closed->count, known); // nothing closes twice
        }
    }
    period_builder_expire(builder, stream[stream_count - 1].at_ms + 40 * MINUTE, keep, closed);
    period_builder_free(builder);
}

static void test_random_lives(void **state)
{
    (void)state;
    static struct closed whole;
    static struct closed restarted;
    int64_t periods = 0;
    for (int round = 0; round < 400; round++) {
        static const enum span spans[] = {SPAN_1MIN, SPAN_5MIN, SPAN_15MIN, SPAN_HOUR};
        struct grid grid = {spans[random_between(0, 3)], 0, 0};
        int64_t longest = span_nominal_ms(grid.span) / 1000;
        grid.interval_ms = 1000 * random_between(longest / 60 > 0 ? longest / 60 : 1, longest);
        grid.phase_ms = random_between(0, 999);
        int64_t start = T0 + random_between(0, 40 * QUARTER);
        stream_make(&grid, start);
        run(&grid, start, 0, &whole);
        int64_t sum[2] = {0, 0};
        for (int i = 0; i < whole.count; i++) {
            const struct period *period = &whole.list[i];
            assert_int_equal(period->first, i == 0);
            check_period(period, &grid, start);
            if (i == 0)
                continue;
            const struct period *before = &whole.list[i - 1];
            assert_int_equal(period->from_ms, before->to_ms);
            for (int k = 0; k < 2; k++) {
                assert_int_equal(period->channels[k].start_known, before->channels[k].end_known);
                assert_int_equal(period->channels[k].start_micro, before->channels[k].end_micro);
                assert_int_equal(period->channels[k].start_quality,
                                 before->channels[k].end_quality);
                sum[k] += period->channels[k].end_micro - period->channels[k].start_micro;
            }
        }
        for (int k = 0; k < 2 && whole.count > 1; k++) {
            assert_int_equal(sum[k], whole.list[whole.count - 1].channels[k].end_micro -
                                         whole.list[0].channels[k].end_micro);
        }
        run(&grid, start, (int)random_between(1, 20), &restarted);
        assert_int_equal(restarted.count, whole.count);
        for (int i = 0; i < whole.count; i++)
            assert_same(&restarted.list[i], &whole.list[i]);
        periods += whole.count;
    }
    print_message("%" PRId64 " periods checked\n", periods);
    assert_true(periods > 1000);
}

// Other meters at random readings: a restart changes no figure, and no delta has a step in it.
static void exchange_at_random(void)
{
    int64_t shift = 0;
    for (int i = 1; i < stream_count; i++) {
        if (random_between(0, 40) == 0) {
            stream[i].begins = true;
            shift =
                random_between(2, 1000) * (random_between(0, 1) != 0 ? -1000000 : 1000000) * UNIT;
        }
        stream[i].values[VOLUME].micro += shift;
        stream[i].values[MEASURED].micro += shift;
    }
}

static void test_random_exchanges(void **state)
{
    (void)state;
    static struct closed whole;
    static struct closed restarted;
    int exchanged = 0;
    for (int round = 0; round < 200; round++) {
        struct grid grid = {SPAN_15MIN, 1000 * random_between(5, 900), random_between(0, 999)};
        stream_make(&grid, T0);
        exchange_at_random();
        run(&grid, T0, 0, &whole);
        run(&grid, T0, (int)random_between(1, 20), &restarted);
        assert_int_equal(restarted.count, whole.count);
        for (int i = 0; i < whole.count; i++) {
            assert_same(&restarted.list[i], &whole.list[i]);
            const struct period_channel *channel = &whole.list[i].channels[VOLUME];
            int64_t delta = 0;
            // The meters stand millions apart and count thousands: a step would show.
            if (period_delta(channel, &delta))
                assert_true(delta > -1000000 * UNIT && delta < 1000000 * UNIT);
            exchanged += channel->exchanged;
        }
    }
    print_message("%d periods with an exchange\n", exchanged);
    assert_true(exchanged > 200);
}

// --- sums ---

// Whole runs: quarter hours to hours, hours to days, as the recorder does.
static void test_sums(void **state)
{
    (void)state;
    static struct closed quarters;
    struct grid grid = {SPAN_15MIN, MINUTE, 250};
    for (int round = 0; round < 40; round++) {
        stream_make(&grid, T0);
        run(&grid, T0, 0, &quarters);
        for (int i = 0; i < quarters.count;) {
            int64_t from = period_start(&calendar, SPAN_HOUR, quarters.list[i].from_ms);
            int64_t to = period_end(&calendar, SPAN_HOUR, from);
            int count = 0;
            while (i + count < quarters.count && quarters.list[i + count].from_ms < to)
                count++;
            const struct period *parts = &quarters.list[i];
            struct schedule schedule = schedule_of(&grid);
            int64_t expected = schedule_count(&schedule, &calendar, from > T0 ? from : T0, to);
            struct period sum;
            period_sum(parts, count, SPAN_HOUR, from, to, expected, &sum);
            assert_int_equal(sum.span, SPAN_HOUR);
            assert_int_equal(sum.expected, expected);
            assert_int_equal(sum.good + sum.suspect + sum.missing, expected);
            const struct period *last = &parts[count - 1];
            const struct period_channel *volume = &sum.channels[VOLUME];
            assert_int_equal(volume->start_known, parts[0].channels[VOLUME].start_known);
            assert_int_equal(volume->start_micro, parts[0].channels[VOLUME].start_micro);
            bool reaches = last->to_ms == to;
            assert_int_equal(volume->end_known, reaches && last->channels[VOLUME].end_known);
            int64_t weight = 0;
            for (int k = 0; k < count; k++)
                weight += parts[k].channels[PRESSURE].weight_ms;
            assert_int_equal(sum.channels[PRESSURE].weight_ms, weight);
            if (reaches) {
                grid.span = SPAN_HOUR; // the gauges of the hour are those of its readings
                check_reads(&sum, &(struct grid){SPAN_15MIN, MINUTE, 250}, T0);
                double min = INFINITY;
                for (int k = 0; k < stream_count; k++) {
                    bool inside = stream[k].at_ms >= from && stream[k].at_ms < to;
                    if (inside && usable(&stream[k].values[PRESSURE]))
                        min = fmin(min, stream[k].values[PRESSURE].number);
                }
                assert_true(weight == 0 || sum.channels[PRESSURE].min == min);
                grid.span = SPAN_15MIN;
            }
            i += count;
        }
    }
}

static void test_sum_of_holes(void **state)
{
    (void)state;
    static struct closed closed;
    struct period_builder *builder = builder_of(SPAN_15MIN, MINUTE, 0);
    for (int64_t minute = -30; minute < 61; minute++)
        feed_now(builder, minute_of(minute), &closed);
    assert_int_equal(closed.count, 6);
    struct period sum;
    // the hour of the first readings: it starts at them
    period_sum(closed.list, 2, SPAN_HOUR, T0 - 4 * QUARTER, T0, 60, &sum);
    assert_true(sum.first);
    assert_true(sum.channels[VOLUME].start_known && sum.channels[VOLUME].end_known);
    assert_int_equal(sum.channels[VOLUME].end_micro - sum.channels[VOLUME].start_micro, 3 * UNIT);
    assert_int_equal(sum.missing, 30);
    // a hole at the front, at the back, and everywhere
    period_sum(closed.list + 3, 3, SPAN_HOUR, T0, T0 + 4 * QUARTER, 60, &sum);
    assert_false(sum.channels[VOLUME].start_known);
    assert_true(sum.channels[VOLUME].end_known);
    assert_int_equal(sum.channels[VOLUME].why, WHY_NOT_POLLED);
    assert_int_equal(sum.missing, 15);
    period_sum(closed.list + 2, 3, SPAN_HOUR, T0, T0 + 4 * QUARTER, 60, &sum);
    assert_true(sum.channels[VOLUME].start_known);
    assert_false(sum.channels[VOLUME].end_known);
    period_sum(NULL, 0, SPAN_HOUR, T0, T0 + 4 * QUARTER, 60, &sum);
    assert_int_equal(sum.missing, 60);
    assert_int_equal(sum.quality, QUALITY_MISSING);
    assert_int_equal(sum.channel_count, 0);
    period_builder_free(builder);
}

// --- bytes ---

static int64_t random_micro(void)
{
    int64_t micro = (int64_t)(random_u64() % MICRO_LIMIT);
    return random_between(0, 1) != 0 ? micro : -micro;
}

static void random_period(struct period *out)
{
    memset(out, 0, sizeof *out);
    out->span = (enum span)random_between(SPAN_1MIN, SPAN_MONTH);
    out->version = (int)random_between(1, 1000);
    out->first = random_between(0, 1) != 0;
    out->from_ms = random_between(-T0, 2 * T0);
    out->to_ms = out->from_ms + random_between(1, 31 * 96 * QUARTER);
    out->good = (int64_t)(random_magnitude() >> 4);
    out->suspect = (int64_t)(random_magnitude() >> 4);
    out->missing = (int64_t)(random_magnitude() >> 4);
    out->expected = out->good + out->suspect + out->missing;
    for (int i = (int)random_between(0, 2 * REASONS_MAX); i > 0; i--) {
        reasons_add(&out->reasons, (enum quality)random_between(QUALITY_SUSPECT, QUALITY_MISSING),
                    (uint16_t)random_between(1, WHY_EXCEPTION + 10), random_between(0, 100));
    }
    out->quality = (uint8_t)random_between(0, 5);
    out->channel_count = (int)random_between(0, PERIOD_CHANNELS_MAX);
    for (int i = 0; i < out->channel_count; i++) {
        struct period_channel *channel = &out->channels[i];
        (void)snprintf(channel->name, sizeof channel->name, "channel-%d", i);
        channel->kind = (uint8_t)random_between(CHANNEL_COUNTER, CHANNEL_EXACT);
        channel->quality = (uint8_t)random_between(0, 5);
        channel->why = (uint16_t)random_magnitude();
        if (channel->kind == CHANNEL_COUNTER) {
            channel->start_known = random_between(0, 1) != 0;
            channel->end_known = random_between(0, 1) != 0;
            channel->start_quality = (uint8_t)random_between(0, 5);
            channel->end_quality = (uint8_t)random_between(0, 5);
            channel->last_quality = (uint8_t)random_between(0, 5);
            channel->start_micro = random_micro();
            channel->end_micro = random_micro();
            channel->last_micro = random_micro();
            channel->last_ms = random_between(0, T0);
        } else if (random_between(0, 3) > 0) {
            channel->weight_ms = random_between(1, T0);
            channel->min = (double)random_between(-1000, 1000) / 7;
            channel->mean = (double)random_between(-1000, 1000) / 7;
            channel->max = (double)random_between(-1000, 1000) / 7;
        }
    }
}

static void test_round_trip(void **state)
{
    (void)state;
    struct buf bytes;
    buf_init(&bytes, 65536);
    for (int round = 0; round < 2000; round++) {
        static struct period period;
        static struct period back;
        random_period(&period);
        memset(&back, 0xA5, sizeof back);
        buf_clear(&bytes);
        period_encode(&period, &bytes);
        assert_false(bytes.failed);
        assert_int_equal(period_decode(bytes.data, bytes.length, &back), 0);
        assert_same(&period, &back);
        assert_int_equal(back.expected, period.expected);
        assert_int_equal(back.to_ms, period.to_ms);
        assert_memory_equal(&back.reasons, &period.reasons, sizeof back.reasons);
        for (int i = 0; i < period.channel_count; i++)
            assert_memory_equal(&back.channels[i], &period.channels[i], sizeof back.channels[i]);
        // cut anywhere, or with a byte more: not a period, and the output stays
        size_t cut = (size_t)random_between(0, (int64_t)bytes.length - 1);
        assert_int_equal(period_decode(bytes.data, cut, &back), -1);
        buf_add_byte(&bytes, 0);
        assert_int_equal(period_decode(bytes.data, bytes.length, &back), -1);
        assert_same(&period, &back);
    }
    buf_release(&bytes);
}

// What a program before the reasons wrote: the same bytes without them, and another first byte.
static void test_format_without_reasons(void **state)
{
    (void)state;
    static struct period period;
    static struct period back;
    struct buf bytes;
    struct buf old;
    buf_init(&bytes, 65536);
    buf_init(&old, 65536);
    random_period(&period);
    period.good = 50;
    period.suspect = 7;
    period.missing = 3;
    period.expected = 60;
    memset(&period.reasons, 0, sizeof period.reasons);
    period_encode(&period, &bytes);
    struct cursor cursor = cursor_of(bytes.data + 4, bytes.length - 4);
    for (int i = 0; i < 6; i++) // version, from, length, good, suspect, missing
        (void)cursor_varint(&cursor);
    size_t place = bytes.length - (size_t)(cursor.end - cursor.at);
    assert_int_equal(bytes.data[place], 0);
    buf_add_byte(&old, 1);
    buf_add(&old, bytes.data + 1, place - 1);
    buf_add(&old, bytes.data + place + 1, bytes.length - place - 1);
    assert_int_equal(period_decode(old.data, old.length, &back), 0);
    assert_int_equal(back.expected, 60);
    assert_int_equal(back.reasons.count, 2);
    assert_int_equal(reasons_of(&back.reasons, QUALITY_SUSPECT, WHY_OTHER), 7);
    assert_int_equal(reasons_of(&back.reasons, QUALITY_MISSING, WHY_OTHER), 3);
    buf_release(&bytes);
    buf_release(&old);
}

// Lists against plain counting: adding, merging, moving, more kinds than there is room for.
static void test_reasons(void **state)
{
    (void)state;
    for (int round = 0; round < 2000; round++) {
        static struct reasons parts[4];
        static int64_t counts[2][40];
        memset(parts, 0, sizeof parts);
        memset(counts, 0, sizeof counts);
        int kinds = (int)random_between(1, 30); // above the bound some rounds
        for (int i = (int)random_between(0, 60); i > 0; i--) {
            bool missing = random_between(0, 1) != 0;
            int why = (int)random_between(1, kinds);
            why = why == WHY_OTHER ? 31 : why;
            int64_t count = random_between(0, 5);
            reasons_add(&parts[random_between(0, 3)], missing ? QUALITY_MISSING : QUALITY_ESTIMATED,
                        (uint16_t)why, count);
            counts[missing][why] += count;
        }
        for (int i = 1; i < 4; i++)
            reasons_merge(&parts[0], &parts[i]);
        int64_t sums[2] = {0, 0};
        int64_t told[2] = {0, 0};
        for (int missing = 0; missing < 2; missing++) {
            enum quality quality = missing ? QUALITY_MISSING : QUALITY_SUSPECT;
            for (int why = 0; why < 40; why++) {
                int64_t of = reasons_of(&parts[0], quality, (uint16_t)why);
                sums[missing] += counts[missing][why];
                told[missing] += of;
                assert_true(why == WHY_OTHER || of <= counts[missing][why]);
                assert_true(kinds > 5 || of == counts[missing][why]); // there is room for 5 of each
            }
            assert_int_equal(told[missing], sums[missing]);
            assert_int_equal(reasons_total(&parts[0], quality), sums[missing]);
        }
        assert_in_range(parts[0].count, 0, REASONS_MAX);
        int64_t before = reasons_of(&parts[0], QUALITY_MISSING, 1);
        int64_t there = reasons_of(&parts[0], QUALITY_MISSING, 2);
        int64_t moved = random_between(0, 6);
        reasons_move(&parts[0], 1, 2, moved);
        moved = moved < before ? moved : before;
        assert_int_equal(reasons_of(&parts[0], QUALITY_MISSING, 1), before - moved);
        assert_int_equal(reasons_total(&parts[0], QUALITY_MISSING), sums[1]);
        if (kinds <= 5)
            assert_int_equal(reasons_of(&parts[0], QUALITY_MISSING, 2), there + moved);
    }
}

static void check_sane(const struct period *period)
{
    assert_in_range(period->span, SPAN_1MIN, SPAN_MONTH);
    assert_true(period->to_ms > period->from_ms);
    assert_true(period->good >= 0 && period->suspect >= 0 && period->missing >= 0);
    assert_in_range(period->channel_count, 0, PERIOD_CHANNELS_MAX);
    for (int i = 0; i < period->channel_count; i++) {
        const struct period_channel *channel = &period->channels[i];
        assert_true(memchr(channel->name, '\0', sizeof channel->name) != NULL);
        assert_true(channel->quality <= QUALITY_MISSING && channel->kind <= CHANNEL_EXACT);
        assert_true(channel->weight_ms >= 0 && isfinite(channel->mean));
    }
}

// Bytes that were damaged, and bytes that never were a period.
static void test_damaged_bytes(void **state)
{
    (void)state;
    struct buf bytes;
    buf_init(&bytes, 65536);
    static struct period period;
    int accepted = 0;
    for (int round = 0; round < 20000; round++) {
        random_period(&period);
        buf_clear(&bytes);
        period_encode(&period, &bytes);
        for (int64_t hits = random_between(1, 5); hits > 0; hits--)
            bytes.data[random_between(0, (int64_t)bytes.length - 1)] = (char)random_u64();
        static struct period back;
        if (period_decode(bytes.data, bytes.length, &back) == 0) {
            accepted++;
            check_sane(&back);
            struct period sum;
            period_sum(&back, 1, SPAN_MONTH, 0, T0, 5, &sum);
        }
    }
    print_message("%d of 20000 damaged periods still read as one\n", accepted);
    for (int round = 0; round < 20000; round++) {
        uint8_t noise[200];
        for (size_t i = 0; i < sizeof noise; i++)
            noise[i] = (uint8_t)(random_u64() >> random_between(0, 7));
        noise[0] = 1;
        static struct period back;
        if (period_decode(noise, (size_t)random_between(0, sizeof noise), &back) == 0)
            check_sane(&back);
    }
    assert_int_equal(period_decode(NULL, 0, &period), -1);
    buf_release(&bytes);
}

int main(void)
{
    random_start("test_record_period");
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_whole_quarter),
        cmocka_unit_test(test_interpolated_boundary),
        cmocka_unit_test(test_window_and_wait_are_exact),
        cmocka_unit_test(test_timer_closes),
        cmocka_unit_test(test_long_gap),
        cmocka_unit_test(test_channels_wait_alone),
        cmocka_unit_test(test_unverified),
        cmocka_unit_test(test_reversed),
        cmocka_unit_test(test_exchange),
        cmocka_unit_test(test_exchange_at_boundary),
        cmocka_unit_test(test_exchange_without_index),
        cmocka_unit_test(test_late_answer),
        cmocka_unit_test(test_old_and_doubled_readings),
        cmocka_unit_test(test_random_lives),
        cmocka_unit_test(test_random_exchanges),
        cmocka_unit_test(test_sums),
        cmocka_unit_test(test_sum_of_holes),
        cmocka_unit_test(test_round_trip),
        cmocka_unit_test(test_format_without_reasons),
        cmocka_unit_test(test_reasons),
        cmocka_unit_test(test_damaged_bytes),
    };
    return cmocka_run_group_tests(tests, set_up, NULL);
}
