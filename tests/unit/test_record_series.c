#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "config/config.h"
#include "record/series.h"

#include "property.h"

#include <string.h>

static struct profile profile;
static struct meter meter = {.id = "boiler-1", .profile = &profile};
static struct series series;

static int set_up(void **state)
{
    (void)state;
    profile.channel_count = 2;
    profile.channels[0].channel = channel_find("volume_base");
    profile.channels[1].channel = channel_find("serial_number");
    return 0;
}

// NULL: nothing answered; "": everything but the serial number did.
static enum series_verdict judge(const char *serial)
{
    struct reading *reading = calloc(1, sizeof *reading + 2 * sizeof reading->values[0]);
    assert_non_null(reading);
    reading->meter = &meter;
    reading->value_count = 2;
    reading->answered = serial != NULL;
    reading->values[0] = (struct value){.present = serial != NULL};
    reading->values[1] = (struct value){.quality = QUALITY_MISSING, .why = WHY_TIMEOUT};
    if (serial != NULL && serial[0] != '\0') {
        reading->values[1] = (struct value){.present = true};
        strcpy(reading->values[1].text, serial);
    }
    enum series_verdict verdict = series_judge(&series, reading);
    free(reading);
    return verdict;
}

static void test_no_serial_number(void **state)
{
    (void)state;
    profile.channel_count = 1;
    series_init(&series, "");
    assert_int_equal(judge("A"), SERIES_SAME);
    assert_int_equal(judge(NULL), SERIES_SAME);
    profile.channel_count = 2;
}

static void test_learns_the_first(void **state)
{
    (void)state;
    series_init(&series, "");
    assert_int_equal(judge(""), SERIES_SAME);
    assert_int_equal(judge("A"), SERIES_SAME);
    assert_int_equal(judge("B"), SERIES_SAME); // one of the two was damaged
    assert_int_equal(judge("A"), SERIES_SAME);
    assert_int_equal(judge("A"), SERIES_LEARNT);
    assert_string_equal(series.serial, "A");
    assert_int_equal(judge("A"), SERIES_SAME);
}

static void test_exchange(void **state)
{
    (void)state;
    series_init(&series, "A");
    assert_int_equal(judge("A"), SERIES_SAME);
    assert_int_equal(judge("B"), SERIES_DOUBT);
    assert_int_equal(judge("B"), SERIES_BEGINS);
    assert_string_equal(series.serial, "B");
    assert_int_equal(judge("B"), SERIES_SAME);
    assert_int_equal(judge("A"), SERIES_DOUBT);
    assert_int_equal(judge("A"), SERIES_BEGINS); // and back again
}

static void test_one_damaged_number(void **state)
{
    (void)state;
    series_init(&series, "A");
    assert_int_equal(judge("A"), SERIES_SAME);
    assert_int_equal(judge("X"), SERIES_DOUBT);
    assert_int_equal(judge("A"), SERIES_SAME);
    assert_int_equal(judge("X"), SERIES_DOUBT);
    assert_int_equal(judge("Y"), SERIES_DOUBT);
    assert_int_equal(judge("A"), SERIES_SAME);
    assert_string_equal(series.serial, "A");
}

// Who was away may come back as another one: without a number it is not believed.
static void test_number_not_read(void **state)
{
    (void)state;
    series_init(&series, "A"); // after a restart
    assert_int_equal(judge(""), SERIES_DOUBT);
    assert_int_equal(judge("A"), SERIES_SAME);
    assert_int_equal(judge(""), SERIES_SAME); // nobody exchanges a meter between two answers
    assert_int_equal(judge(NULL), SERIES_SAME);
    assert_int_equal(judge(""), SERIES_DOUBT);
    assert_int_equal(judge("A"), SERIES_SAME);
    assert_int_equal(judge("B"), SERIES_DOUBT);
    assert_int_equal(judge(""), SERIES_DOUBT);
    assert_int_equal(judge("B"), SERIES_BEGINS);
}

// Whatever comes: a reading whose number is not the series' own is never taken as the same, and a
// series begins only with the second of two equal numbers in a row.
static void test_property(void **state)
{
    (void)state;
    static const char *const serials[] = {NULL, "", "A", "B", "C"};
    series_init(&series, "A");
    const char *before = NULL; // newest number that was read
    for (int i = 0; i < 200000; i++) {
        const char *serial = serials[random_between(0, 4)];
        char known[VALUE_TEXT_MAX];
        strcpy(known, series.serial);
        enum series_verdict verdict = judge(serial);
        bool number = serial != NULL && serial[0] != '\0';
        if (number && strcmp(serial, known) != 0)
            assert_true(verdict == SERIES_DOUBT || verdict == SERIES_BEGINS);
        if (verdict == SERIES_BEGINS) {
            assert_non_null(before);
            assert_string_equal(before, serial);
            assert_string_equal(series.serial, serial);
        }
        before = number ? serial : before;
    }
}

int main(void)
{
    random_start("test_record_series");
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_no_serial_number), cmocka_unit_test(test_learns_the_first),
        cmocka_unit_test(test_exchange),         cmocka_unit_test(test_one_damaged_number),
        cmocka_unit_test(test_number_not_read),  cmocka_unit_test(test_property),
    };
    return cmocka_run_group_tests(tests, set_up, NULL);
}
