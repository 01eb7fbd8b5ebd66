// What a meter's log makes of a gap: against a model meter whose true index is known at every
// instant, and whose log and readings are made from it.
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "drivers/value.h"
#include "record/gap.h"

#include "property.h"

#include <stdio.h>
#include <string.h>

#define MINUTE INT64_C(60000)
#define HOUR (60 * MINUTE)
#define START (INT64_C(500000) * HOUR)
#define SLOTS_MAX 40
#define READINGS_MAX 4000
#define MICRO INT64_C(1000000)

// ---- a meter ------------------------------------------------------------------------------------

// Its index is a polyline over minutes.
struct model {
    int minutes;
    int64_t index[SLOTS_MAX * 60 + 1]; // at START + i minutes
};

static void model_make(struct model *model, int hours)
{
    model->minutes = hours * 60;
    model->index[0] = random_between(0, 1000000) * MICRO;
    int64_t rate = 0;
    for (int i = 0; i < model->minutes; i++) {
        if (i % 20 == 0)
            rate = random_between(0, 3) == 0 ? 0 : random_between(0, 5 * MICRO);
        model->index[i + 1] = model->index[i] + rate;
    }
}

static int64_t model_at(const struct model *model, int64_t at_ms)
{
    int64_t since = at_ms - START;
    int64_t minute = since / MINUTE;
    if (minute >= model->minutes)
        return model->index[model->minutes];
    int64_t low = model->index[minute];
    return low + (model->index[minute + 1] - low) * (since % MINUTE) / MINUTE;
}

// ---- a gap --------------------------------------------------------------------------------------

struct rig {
    struct model model;
    struct gap gap;
    struct gap_slot slots[SLOTS_MAX];
    struct gap_slot original[SLOTS_MAX];
    int reading_count;
    struct gap_point readings[READINGS_MAX];
};

static bool is_away(int64_t outages[][2], int count, int64_t at_ms)
{
    for (int i = 0; i < count; i++)
        if (at_ms >= outages[i][0] && at_ms < outages[i][1])
            return true;
    return false;
}

// Polls each minute, a few seconds after it, but not during outages; then the boundaries as the
// recorder would have them.
static void rig_make(struct rig *rig, int hours, int64_t outages[][2], int outage_count,
                     int64_t now_ms)
{
    memset(&rig->gap, 0, sizeof rig->gap);
    memset(rig->slots, 0, sizeof rig->slots);
    rig->reading_count = 0;
    for (int64_t at = START + 3000; at < now_ms; at += MINUTE)
        if (!is_away(outages, outage_count, at))
            rig->readings[rig->reading_count++] =
                (struct gap_point){at, model_at(&rig->model, at), QUALITY_GOOD};
    rig->gap.slots = rig->slots;
    rig->gap.count = hours;
    rig->gap.resolution = rig->gap.counter_resolution = 1;
    rig->gap.quality = QUALITY_ARCHIVE;
    for (int i = 0; i < hours; i++) {
        struct gap_slot *slot = &rig->slots[i];
        slot->end_ms = START + (i + 1) * HOUR;
        for (int k = 0; k < rig->reading_count; k++) {
            const struct gap_point *reading = &rig->readings[k];
            if (reading->at_ms < slot->end_ms)
                slot->before = *reading;
            else if (slot->next.at_ms == 0 && reading->at_ms < slot->end_ms + HOUR)
                slot->next = *reading;
            if (reading->at_ms >= slot->end_ms && reading->at_ms < slot->end_ms + MINUTE) {
                slot->known = true;
                slot->micro = reading->micro;
                slot->quality = QUALITY_GOOD;
            }
        }
    }
    rig->gap.after = rig->readings[rig->reading_count - 1];
}

static void log_indices(struct rig *rig, int64_t shift_ms, int64_t resolution)
{
    rig->gap.resolution = resolution;
    for (int i = 0; i < rig->gap.count; i++) {
        int64_t at = rig->slots[i].end_ms - shift_ms;
        rig->slots[i].has = at >= START;
        rig->slots[i].log = at >= START ? model_at(&rig->model, at) / resolution * resolution : 0;
    }
}

static void log_increments(struct rig *rig, int64_t shift_ms, int64_t resolution)
{
    rig->gap.increments = true;
    rig->gap.resolution = resolution;
    for (int i = 0; i < rig->gap.count; i++) {
        int64_t to = rig->slots[i].end_ms - shift_ms;
        int64_t from = to - HOUR;
        rig->slots[i].has = from >= START;
        int64_t added = from >= START ? model_at(&rig->model, to) - model_at(&rig->model, from) : 0;
        rig->slots[i].log = added / resolution * resolution;
    }
}

static enum gap_verdict rig_close(struct rig *rig, bool is_last)
{
    memcpy(rig->original, rig->slots, sizeof rig->slots);
    return gap_close(&rig->gap, is_last);
}

// Whatever the log said: what we had measured stands, indices rise, all lies between our readings.
static void must_be_sound(const struct rig *rig)
{
    int64_t last = INT64_MIN;
    for (int i = 0; i < rig->gap.count; i++) {
        const struct gap_slot *slot = &rig->slots[i];
        const struct gap_slot *was = &rig->original[i];
        if (gap_is_settled(was->known, was->quality)) {
            assert_false(slot->changed);
            assert_int_equal(slot->micro, was->micro);
            assert_int_equal(slot->quality, was->quality);
        }
        if (!slot->known)
            continue;
        assert_true(slot->micro >= last);
        last = slot->micro;
        for (int k = 0; k < rig->reading_count; k++) {
            const struct gap_point *reading = &rig->readings[k];
            if (reading->at_ms < slot->end_ms)
                assert_true(slot->micro >= reading->micro);
            else if (reading->at_ms >= slot->end_ms + MINUTE)
                assert_true(slot->micro <= reading->micro);
        }
    }
}

// ---- tests --------------------------------------------------------------------------------------

static struct rig rig;

// Any outages: a log that is right fills every boundary with what the meter held there, and the
// volumes of the hours add up to the index difference to the last digit.
static void test_any_outages(void **state)
{
    (void)state;
    int filled = 0;
    for (int round = 0; round < 3000; round++) {
        int hours = (int)random_between(4, SLOTS_MAX - 1);
        int64_t outages[3][2];
        int count = (int)random_between(1, 3);
        for (int i = 0; i < count; i++) {
            int64_t from = START + HOUR + random_between(10, 60 * (hours - 3)) * MINUTE;
            outages[i][0] = from;
            outages[i][1] = from + random_between(1, 60 * 12) * MINUTE;
            int64_t most = START + hours * HOUR - 30 * MINUTE;
            outages[i][1] = outages[i][1] < most ? outages[i][1] : most;
        }
        model_make(&rig.model, hours + 1);
        rig_make(&rig, hours, outages, count, START + hours * HOUR + 5 * MINUTE);
        int64_t resolution = random_between(0, 1) == 0 ? 1 : 100 * random_between(1, 10000);
        bool increments = random_between(0, 1) == 1;
        if (increments)
            log_increments(&rig, 0, resolution);
        else
            log_indices(&rig, 0, resolution);
        bool wanted = false;
        for (int i = 1; i < hours; i++)
            wanted = wanted || !rig.slots[i].known;
        enum gap_verdict verdict = rig_close(&rig, true);
        assert_int_equal(verdict, wanted ? GAP_FILLED : GAP_NOTHING);
        must_be_sound(&rig);
        int64_t sum = 0;
        for (int i = 1; i < hours; i++) {
            const struct gap_slot *slot = &rig.slots[i];
            assert_true(slot->known);
            assert_int_equal(slot->quality, slot->changed ? QUALITY_ARCHIVE : QUALITY_GOOD);
            sum += slot->micro - rig.slots[i - 1].micro;
            filled += slot->changed;
            // what the meter truly held, but for the log's resolution and for an increment's anchor
            int64_t error = slot->micro - model_at(&rig.model, slot->end_ms);
            int64_t allowed = increments ? resolution * (i + 1) + 6 * MICRO : resolution;
            if (slot->changed)
                assert_true(error <= allowed && error >= -allowed);
        }
        assert_int_equal(sum, rig.slots[hours - 1].micro - rig.slots[0].micro);
    }
    print_message("%d boundaries filled\n", filled);
    assert_true(filled > 1000);
}

static int64_t one_outage[1][2] = {
    {START + 2 * HOUR + 20 * MINUTE, START + 6 * HOUR + 10 * MINUTE}};

static void steady(int64_t per_minute)
{
    rig.model.minutes = 12 * 60;
    for (int i = 0; i <= rig.model.minutes; i++)
        rig.model.index[i] = 5000 * MICRO + i * per_minute;
}

// A log that lies, in every way, changes nothing but estimates, and the sum stays.
static void test_a_wrong_log_is_not_used(void **state)
{
    (void)state;
    for (int kind = 0; kind < 6; kind++) {
        steady(MICRO);
        rig_make(&rig, 9, one_outage, 1, START + 9 * HOUR + 5 * MINUTE);
        if (kind == 5)
            log_increments(&rig, 0, 1);
        else
            log_indices(&rig, kind == 0 ? HOUR : 0, 1);
        switch (kind) {
        case 1: rig.slots[4].log += 400 * MICRO; break;         // above what we read after it
        case 2: rig.slots[4].log -= 300 * MICRO; break;         // below what we read before it
        case 3: rig.slots[4].log = rig.slots[3].log - 1; break; // it falls
        case 4:                                                 // another meter's
            for (int i = 0; i < 9; i++)
                rig.slots[i].log += 77777 * MICRO;
            break;
        case 5: rig.slots[4].log += 50 * MICRO; break;
        default: break; // its clock is an hour off
        }
        assert_int_equal(rig_close(&rig, true), GAP_ESTIMATED);
        must_be_sound(&rig);
        int changed = 0;
        for (int i = 1; i < 9; i++) {
            changed += rig.slots[i].changed;
            assert_true(!rig.slots[i].changed || rig.slots[i].quality == QUALITY_ESTIMATED);
            // linear, and the flow is steady: within two minutes of the truth
            int64_t error = rig.slots[i].micro - model_at(&rig.model, rig.slots[i].end_ms);
            assert_true(error <= 2 * MICRO && error >= -2 * MICRO);
        }
        assert_int_equal(changed, 4);
    }
}

static void test_an_unfinished_log_waits(void **state)
{
    (void)state;
    steady(MICRO);
    // back for ten minutes: no boundary after the gap is known, the log begins within the gap
    rig_make(&rig, 6, one_outage, 1, START + 6 * HOUR + 20 * MINUTE);
    log_indices(&rig, 0, 1);
    for (int i = 0; i < 3; i++)
        rig.slots[i].has = false;
    assert_int_equal(rig_close(&rig, false), GAP_WAITS);
    must_be_sound(&rig);
    assert_int_equal(rig_close(&rig, true), GAP_NOTHING);
    // increments need both sides
    rig_make(&rig, 6, one_outage, 1, START + 6 * HOUR + 20 * MINUTE);
    log_increments(&rig, 0, 1);
    assert_int_equal(rig_close(&rig, false), GAP_WAITS);
    // an index log that reaches back to the last measured boundary does not wait
    rig_make(&rig, 6, one_outage, 1, START + 6 * HOUR + 20 * MINUTE);
    log_indices(&rig, 0, 1);
    assert_int_equal(rig_close(&rig, false), GAP_FILLED);
    must_be_sound(&rig);
    // a log with nothing in it
    rig_make(&rig, 9, one_outage, 1, START + 9 * HOUR + 5 * MINUTE);
    assert_int_equal(rig_close(&rig, true), GAP_NOTHING);
}

// Where nothing flowed around the anchor a log that is an hour off agrees with it: such an anchor
// waits for the next one, and there the log fails.
static void test_a_quiet_anchor(void **state)
{
    (void)state;
    for (int late = 0; late <= 1; late++) {
        rig.model.minutes = 12 * 60;
        for (int i = 0; i <= rig.model.minutes; i++) // a furnace from hour 3.5 on
            rig.model.index[i] = 5000 * MICRO + (i > 210 ? i - 210 : 0) * MICRO;
        rig_make(&rig, 6, one_outage, 1, START + 6 * HOUR + 20 * MINUTE);
        log_indices(&rig, late * HOUR, 1);
        assert_false(gap_is_telling(&rig.gap));
        assert_int_equal(rig_close(&rig, false), GAP_WAITS);
        must_be_sound(&rig);
        rig_make(&rig, 7, one_outage, 1, START + 7 * HOUR + 5 * MINUTE);
        log_indices(&rig, late * HOUR, 1);
        assert_int_equal(gap_is_telling(&rig.gap), late == 0);
        assert_int_equal(rig_close(&rig, true), late == 0 ? GAP_FILLED : GAP_ESTIMATED);
        must_be_sound(&rig);
    }
}

// A hole in a log of indices: the others are used. In one of increments nothing is.
static void test_a_hole_in_the_log(void **state)
{
    (void)state;
    steady(MICRO);
    rig_make(&rig, 9, one_outage, 1, START + 9 * HOUR + 5 * MINUTE);
    log_indices(&rig, 0, 1);
    rig.slots[4].has = false;
    assert_int_equal(rig_close(&rig, true), GAP_FILLED);
    assert_false(rig.slots[4].known);
    assert_true(rig.slots[3].changed && rig.slots[5].changed);
    must_be_sound(&rig);
    rig_make(&rig, 9, one_outage, 1, START + 9 * HOUR + 5 * MINUTE);
    log_increments(&rig, 0, 1);
    rig.slots[4].has = false;
    assert_int_equal(rig_close(&rig, true), GAP_NOTHING);
    must_be_sound(&rig);
}

// What was estimated over a short gap gives way to the log; what was measured, or read back before,
// does not.
static void test_what_stands(void **state)
{
    (void)state;
    steady(MICRO);
    rig_make(&rig, 9, one_outage, 1, START + 9 * HOUR + 5 * MINUTE);
    log_indices(&rig, 0, 1);
    rig.slots[3].known = true;
    rig.slots[3].quality = QUALITY_ESTIMATED;
    rig.slots[3].micro = rig.slots[3].log + 3;
    rig.slots[4].known = true;
    rig.slots[4].quality = QUALITY_ARCHIVE;
    rig.slots[4].micro = rig.slots[4].log;
    assert_int_equal(rig_close(&rig, true), GAP_FILLED);
    assert_int_equal(rig.slots[3].micro, rig.slots[3].log);
    assert_int_equal(rig.slots[3].quality, QUALITY_ARCHIVE);
    assert_false(rig.slots[4].changed);
    must_be_sound(&rig);
    assert_int_equal(rig_close(&rig, true), GAP_NOTHING); // again: nothing is left
}

// Garbage: no crash, and never an unsound series.
static void test_any_log(void **state)
{
    (void)state;
    for (int round = 0; round < 20000; round++) {
        int hours = (int)random_between(2, 12);
        model_make(&rig.model, hours + 1);
        int64_t from = START + random_between(1, 60 * hours) * MINUTE;
        int64_t outages[1][2] = {{from, from + random_between(1, 600) * MINUTE}};
        rig_make(&rig, hours, outages, 1, START + hours * HOUR + 5 * MINUTE);
        if (rig.reading_count == 0)
            continue;
        log_indices(&rig, random_between(-30, 30) * MINUTE, random_between(1, 100000));
        rig.gap.increments = random_between(0, 1) == 1;
        for (int i = 0; i < hours; i++) {
            if (random_between(0, 4) == 0)
                rig.slots[i].log = random_between(-5, 2000000) * MICRO;
            if (random_between(0, 4) == 0)
                rig.slots[i].has = false;
        }
        (void)rig_close(&rig, random_between(0, 1) == 1);
        must_be_sound(&rig);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_any_outages),
        cmocka_unit_test(test_a_wrong_log_is_not_used),
        cmocka_unit_test(test_an_unfinished_log_waits),
        cmocka_unit_test(test_a_quiet_anchor),
        cmocka_unit_test(test_a_hole_in_the_log),
        cmocka_unit_test(test_what_stands),
        cmocka_unit_test(test_any_log),
    };
    random_start("test_record_gap");
    return cmocka_run_group_tests(tests, NULL, NULL);
}
