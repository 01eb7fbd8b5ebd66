// A year of a meter that is cut off, exchanged, doubted, restarted and set back, whose registers
// end: what its counters advanced is the sum of its periods, at every length, to the last decimal.
// The truth is kept beside the readings when they are drawn, in registers without an end.
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "base/timetext.h"
#include "config/config.h"
#include "record/counter.h"
#include "record/period.h"

#include "property.h"

#include <inttypes.h>
#include <math.h>
#include <string.h>

#define MINUTE INT64_C(60000)
#define HOUR (60 * MINUTE)
#define DAY (24 * HOUR)
#define UNIT MICRO_PER_UNIT
#define INTERVAL (5 * MINUTE)
#define WINDOW (60000)

enum { BASE, LINE, COUNTERS };
enum { LEVELS = 4, PARTS = 128 };

static struct profile profile;
static struct meter meter = {
    .id = "m", .profile = &profile, .interval_s = 300, .qmin_m3_h = 1, .qmax_m3_h = 200};
static struct gas_calendar calendar;
static const struct schedule schedule = {SPAN_15MIN, INTERVAL, 0};
static const enum span levels[LEVELS] = {SPAN_15MIN, SPAN_HOUR, SPAN_DAY, SPAN_MONTH};
// 8 digits of 0.001 m3; 16 bits of 0.5 m3: each ends every few days.
static const int64_t ranges[COUNTERS] = {100000 * UNIT, 32768 * UNIT};

static void add_counter(const char *name, uint8_t type, uint8_t words, struct decimal scale)
{
    int i = profile.channel_count++;
    profile.fields[i].type = type;
    profile.fields[i].words = words;
    profile.channels[i] = (struct profile_channel){.channel = channel_find(name), .part_count = 1};
    profile.channels[i].conversion.factor = (struct decimal){1, 0};
    profile.channels[i].parts[0] =
        (struct part){.field = (uint8_t)i, .scale = scale, .scale_field = -1};
}

static int set_up(void **state)
{
    (void)state;
    struct err err;
    add_counter("volume_base", RAW_BCD, 2, (struct decimal){1, -3});
    add_counter("volume_measured", RAW_U16, 1, (struct decimal){5, -1});
    return gas_calendar_init(&calendar, "Europe/Berlin", 360, &err);
}

// --- the year ---

struct drawn {
    int64_t due_ms, at_ms;
    bool begins;
    bool counts[COUNTERS];   // usable, and in order
    int64_t shown[COUNTERS]; // by the register
    int64_t truth[COUNTERS]; // counted since the year began, on all meters; without what flowed
                             // from the last reading of one to the first of the next
};

#define DRAWN_MAX 120000
static struct drawn drawn[DRAWN_MAX];
static int drawn_count;

static struct {
    int exchanges, gaps, back, doubted, wraps;
} seen;

// The registers' counts without their end, from which everything else follows.
struct registers {
    int64_t micro[COUNTERS];
    int64_t hourly; // m3 at line conditions
};

static void flow(struct registers *registers, int64_t elapsed_ms)
{
    static const int64_t steps[COUNTERS] = {UNIT / 1000, UNIT / 2};
    if (random_between(0, 30) == 0)
        registers->hourly = random_between(0, 3) == 0 ? 0 : random_between(1, 190);
    int64_t line = registers->hourly * elapsed_ms * (UNIT / 1000) / (HOUR / 1000);
    const int64_t more[COUNTERS] = {line * 3 + random_between(0, 999), line};
    for (int i = 0; i < COUNTERS; i++)
        registers->micro[i] += more[i] / steps[i] * steps[i];
}

static void draw_one(struct drawn *now, struct registers *registers, int64_t truth[COUNTERS],
                     bool exchange)
{
    for (int i = 0; i < COUNTERS; i++) {
        static const int64_t steps[COUNTERS] = {UNIT / 1000, UNIT / 2};
        if (exchange)
            registers->micro[i] = random_between(0, ranges[i] / steps[i] - 1) * steps[i];
        now->shown[i] = registers->micro[i] % ranges[i];
        now->truth[i] = truth[i];
        now->counts[i] = random_between(0, 60) != 0;
        seen.doubted += !now->counts[i];
    }
}

// Readings of both counters count together after an exchange: a new meter whose first index is not
// known is another test's (test_record_period).
static void draw_year(int64_t from, int64_t to)
{
    struct registers registers = {.hourly = 50};
    int64_t truth[COUNTERS] = {0};
    int64_t newest = from - 1;
    int64_t flowed_to = from;
    drawn_count = 0;
    for (int64_t due = from; due < to; due += INTERVAL) {
        if (random_between(0, 3000) == 0) { // at most 40 h, in which half a register cannot pass
            due += random_between(1, 480) * INTERVAL;
            seen.gaps++;
        }
        if (random_between(0, 20) == 0)
            continue; // nothing answered
        struct drawn *now = &drawn[drawn_count++];
        assert_true(drawn_count < DRAWN_MAX);
        memset(now, 0, sizeof *now);
        bool back = random_between(0, 500) == 0;
        now->due_ms = due;
        now->at_ms = due + (random_between(0, 9) == 0 ? random_between(0, INTERVAL - 1)
                                                      : random_between(0, 400));
        bool exchange = random_between(0, 2500) == 0 && now->at_ms > newest;
        now->begins = exchange;
        int64_t before[COUNTERS];
        memcpy(before, registers.micro, sizeof before);
        if (now->at_ms > flowed_to)
            flow(&registers, now->at_ms - flowed_to);
        flowed_to = now->at_ms > flowed_to ? now->at_ms : flowed_to;
        for (int i = 0; i < COUNTERS && !exchange; i++) {
            truth[i] += registers.micro[i] - before[i];
            seen.wraps += registers.micro[i] / ranges[i] != before[i] / ranges[i];
        }
        draw_one(now, &registers, truth, exchange);
        if (exchange) {
            now->counts[BASE] = now->counts[LINE] = true;
            seen.exchanges++;
        } else if (back) { // the clock was set back: it is kept, and not believed
            now->at_ms = newest - random_between(0, HOUR);
            seen.back++;
        }
        if (now->at_ms <= newest)
            now->counts[BASE] = now->counts[LINE] = false;
        newest = now->at_ms > newest ? now->at_ms : newest;
    }
}

// --- what an exchange leaves out ---

// The counters of the meter before were known last at its last reading that counted: what they
// went on until it left is not counted, and not in the truth.
static void forget_unread(void)
{
    int64_t lost[COUNTERS] = {0};
    int64_t last[COUNTERS] = {0};
    for (int n = 0; n < drawn_count; n++) {
        for (int i = 0; i < COUNTERS; i++) {
            int64_t truth = drawn[n].truth[i];
            if (drawn[n].begins)
                lost[i] += truth - last[i];
            if (drawn[n].counts[i])
                last[i] = truth;
            drawn[n].truth[i] = truth - lost[i];
        }
    }
}

// --- the law ---

// A run of periods whose boundaries are known: their sum, since an instant whose truth is known.
struct run {
    bool is_open;
    int64_t sum, since;
};

struct law {
    struct run runs[LEVELS][COUNTERS];
    struct period parts[LEVELS][PARTS];
    int counts[LEVELS];
    int64_t first_ms, to_ms[LEVELS];
    int64_t held[LEVELS], periods[LEVELS]; // held: of both counters together
};

static int place; // of the newest reading before the boundary asked for last

// The truth at a boundary that was measured: that of the first reading that counts behind it.
static int64_t truth_at(int channel, int64_t boundary)
{
    while (place > 0 && drawn[place].at_ms >= boundary - 3 * DAY)
        place--;
    for (int n = place; n < drawn_count; n++) {
        const struct drawn *reading = &drawn[n];
        if (reading->counts[channel] && reading->at_ms >= boundary) {
            assert_true(reading->at_ms < boundary + WINDOW);
            place = n;
            return reading->truth[channel];
        }
        place = reading->at_ms < boundary - 2 * DAY ? n : place;
    }
    fail_msg("a boundary was measured and there is no reading");
    return 0;
}

static void hold(struct law *law, int level, int channel, const struct period *period)
{
    struct run *run = &law->runs[level][channel];
    const struct period_channel *counter = &period->channels[channel];
    int64_t delta = 0;
    bool known = period_delta(counter, &delta);
    bool measured = counter->end_known && counter->end_quality == QUALITY_GOOD;
    if (known && !counter->exchanged)
        assert_true(counter->quality != QUALITY_SUSPECT && delta >= 0);
    if (!known)
        run->is_open = false;
    if (run->is_open)
        run->sum += delta;
    if (!measured)
        return;
    int64_t truth = truth_at(channel, period->to_ms);
    if (run->is_open && run->sum != truth - run->since)
        fail_msg(
            "%s of %s to %" PRId64 ": periods add up to %" PRId64 ", the counter advanced %" PRId64,
            counter->name, span_text(period->span), period->to_ms, run->sum, truth - run->since);
    law->held[level] += run->is_open;
    if (!run->is_open)
        *run = (struct run){true, 0, truth};
}

// One closed period: the law, and the longer one of which it is the last.
static void take(struct law *law, int level, const struct period *period)
{
    assert_true(law->to_ms[level] == 0 || law->to_ms[level] == period->from_ms);
    law->to_ms[level] = period->to_ms;
    law->periods[level]++;
    for (int i = 0; i < COUNTERS; i++)
        hold(law, level, i, period);
    if (level + 1 == LEVELS)
        return;
    enum span span = levels[level + 1];
    assert_true(law->counts[level] < PARTS);
    law->parts[level][law->counts[level]++] = *period;
    int64_t from = period_start(&calendar, span, period->from_ms);
    int64_t to = period_end(&calendar, span, period->from_ms);
    if (period->to_ms < to)
        return;
    struct period sum;
    period_sum(
        law->parts[level], law->counts[level], span, from, to,
        schedule_count(&schedule, &calendar, from > law->first_ms ? from : law->first_ms, to),
        &sum);
    law->counts[level] = 0;
    take(law, level + 1, &sum);
}

// --- the run ---

struct keeping {
    struct law *law;
    struct period last; // closed
    bool any;
};

static void keep(void *context, const struct period *period)
{
    struct keeping *keeping = context;
    keeping->last = *period;
    keeping->any = true;
    // as it is read back from the store
    struct buf bytes;
    static struct period stored;
    buf_init(&bytes, 65536);
    period_encode(period, &bytes);
    assert_int_equal(period_decode(bytes.data, bytes.length, &stored), 0);
    buf_release(&bytes);
    take(keeping->law, 0, &stored);
}

static void feed(struct period_builder *builder, const struct drawn *now, period_closed *closed,
                 void *context)
{
    static char room[sizeof(struct reading) + COUNTERS * sizeof(struct value)]
        __attribute__((aligned(16)));
    struct reading *reading = (struct reading *)room;
    memset(room, 0, sizeof room);
    reading->meter = &meter;
    reading->due_ms = now->due_ms;
    reading->at_ms = now->at_ms;
    reading->begins = now->begins;
    reading->value_count = COUNTERS;
    for (int i = 0; i < COUNTERS; i++) {
        reading->values[i] = (struct value){.present = true, .micro = now->shown[i]};
        if (!now->counts[i]) {
            reading->values[i].quality = QUALITY_SUSPECT;
            reading->values[i].why = WHY_CLOCK_BACK;
        }
    }
    period_builder_feed(builder, reading, closed, context);
}

static void closes_nothing(void *context, const struct period *period)
{
    (void)context;
    fail_msg("a restart closed the period to %" PRId64 " again", period->to_ms);
}

static struct period_builder *restart(const struct keeping *keeping, int upto, int64_t from)
{
    struct period_builder *builder = period_builder_new(&meter, &schedule, &calendar, from);
    assert_non_null(builder);
    period_builder_resume(builder, keeping->any ? &keeping->last : NULL);
    int first = upto;
    while (first > 0 && drawn[first].at_ms >= keeping->last.to_ms - 3 * DAY)
        first--;
    for (int n = keeping->any ? first : 0; n <= upto; n++)
        if (!keeping->any || drawn[n].at_ms >= keeping->last.to_ms)
            feed(builder, &drawn[n], closes_nothing, NULL);
    return builder;
}

static void check_year(int64_t from, int64_t to)
{
    static struct law law;
    static struct keeping keeping;
    memset(&law, 0, sizeof law);
    memset(&keeping, 0, sizeof keeping);
    memset(&seen, 0, sizeof seen);
    place = 0;
    keeping.law = &law;
    law.first_ms = from;
    draw_year(from, to);
    forget_unread();
    struct period_builder *builder = period_builder_new(&meter, &schedule, &calendar, from);
    assert_non_null(builder);
    int restarts = 0;
    for (int n = 0; n < drawn_count; n++) {
        if (n > 0 && drawn[n].at_ms > drawn[n - 1].at_ms && random_between(0, 20) == 0)
            period_builder_expire(builder, random_between(drawn[n - 1].at_ms, drawn[n].at_ms), keep,
                                  &keeping);
        feed(builder, &drawn[n], keep, &keeping);
        if (random_between(0, 500) == 0) {
            period_builder_free(builder);
            builder = restart(&keeping, n, from);
            restarts++;
        }
    }
    period_builder_free(builder);
    print_message("%d readings, %d restarts, %d exchanges, %d gaps, %d register ends, %d set back, "
                  "%d doubted; the law held at %" PRId64 " of 2 x %" PRId64
                  " quarter hours, %" PRId64 " hours, %" PRId64 " days, %" PRId64 " months\n",
                  drawn_count, restarts, seen.exchanges, seen.gaps, seen.wraps, seen.back,
                  seen.doubted, law.held[0], law.periods[0], law.held[1], law.held[2], law.held[3]);
    assert_true(law.held[0] > law.periods[0] && law.held[1] > law.periods[1]);
    assert_true(law.held[2] > law.periods[2] / 2);
    assert_true(seen.exchanges > 5 && seen.gaps > 5 && seen.wraps > 20 && restarts > 50);
}

static void test_a_year(void **state)
{
    (void)state;
    const char *years = getenv("YEARS"); // the long form, of make fault
    int64_t from;
    int64_t to;
    assert_int_equal(time_parse("2026-01-01T05:00:00Z", &from), 0);
    assert_int_equal(time_parse("2027-01-01T06:00:00Z", &to), 0);
    for (long left = years != NULL ? strtol(years, NULL, 10) : 1; left > 0; left--)
        check_year(from, to);
}

// --- the end of a register, case by case ---

static void test_which_drops_are_wraps(void **state)
{
    (void)state;
    struct counter counter = counter_of(&meter, &profile.channels[LINE]);
    assert_int_equal(counter.range, 32768 * UNIT);
    assert_int_equal(counter.resolution, UNIT / 2);
    assert_int_equal(counter.most_per_h, 240 * UNIT);
    assert_true(counter_wraps(&counter, 32767 * UNIT, 0, MINUTE));
    assert_true(counter_wraps(&counter, 32700 * UNIT, 172 * UNIT, HOUR));
    assert_false(counter_wraps(&counter, 32700 * UNIT, 173 * UNIT, HOUR)); // more than it can
    assert_false(counter_wraps(&counter, 20000 * UNIT, 3700 * UNIT, 999 * HOUR)); // half the range
    assert_false(counter_wraps(&counter, 32767 * UNIT, 32766 * UNIT, HOUR));
    assert_false(counter_wraps(&counter, 32768 * UNIT, 0, HOUR)); // it cannot show that
    assert_false(counter_wraps(&counter, 0, 32767 * UNIT, HOUR));
    assert_false(counter_wraps(&counter, 32767 * UNIT, 0, 0));
    counter = counter_of(&meter, &profile.channels[BASE]);
    assert_int_equal(counter.range, 100000 * UNIT);
    assert_int_equal(counter.most_per_h, 24000 * UNIT);
    struct meter unknown = meter;
    unknown.qmax_m3_h = (double)NAN;
    counter = counter_of(&unknown, &profile.channels[BASE]);
    assert_true(counter_wraps(&counter, 99500 * UNIT, 500 * UNIT, MINUTE));
    assert_false(counter_wraps(&counter, 99500 * UNIT, 501 * UNIT, MINUTE));
    profile.fields[BASE].type = RAW_F64;
    assert_int_equal(counter_of(&meter, &profile.channels[BASE]).range, 0);
    profile.fields[BASE].type = RAW_BCD;
}

int main(void)
{
    random_start("test_record_sums");
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_which_drops_are_wraps),
        cmocka_unit_test(test_a_year),
    };
    return cmocka_run_group_tests(tests, set_up, NULL);
}
