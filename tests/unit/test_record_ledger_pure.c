// The completeness ledger by itself, without a recorder: its bytes, its share, and what explains a
// hole where the meter's schedule is not known.
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "record/ledger.h"

#include "property.h"

#include <string.h>

#define HOUR INT64_C(3600000)
#define FROM_MAX INT64_C(4000000000000) // 2096

// --- bytes ---

static void random_ledger(struct ledger *out)
{
    memset(out, 0, sizeof *out);
    out->from_ms = out->to_ms = random_between(0, FROM_MAX);
    out->hour_count = (int)random_between(1, LEDGER_HOURS_MAX);
    for (int i = 0; i < out->hour_count; i++) {
        struct ledger_hour *hour = &out->hours[i];
        hour->from_ms = out->to_ms;
        hour->to_ms = hour->from_ms + random_between(1, 24 * HOUR);
        hour->good = random_between(0, 4000);
        hour->index = (uint8_t)random_between(0, 6);
        hour->index = hour->index == 6 ? LEDGER_NO_INDEX : hour->index;
        for (int k = (int)random_between(0, 20); k > 0; k--)
            reasons_add(&hour->reasons, (enum quality)random_between(4, 5),
                        (uint16_t)random_between(1, 300), random_between(0, 50));
        hour->suspect = reasons_total(&hour->reasons, QUALITY_SUSPECT);
        hour->missing = reasons_total(&hour->reasons, QUALITY_MISSING);
        out->to_ms = hour->to_ms;
    }
    out->outage_count = random_between(0, LEDGER_OUTAGES_MAX + 5);
    for (int i = 0; i < out->outage_count && i < LEDGER_OUTAGES_MAX; i++) {
        int64_t from = random_between(out->from_ms, out->to_ms);
        out->outages[i] = (struct outage){from, random_between(from, out->to_ms),
                                          (uint16_t)random_between(0, 400)};
        out->outage_ms += out->outages[i].to_ms - from;
    }
}

static void test_bytes(void **state)
{
    (void)state;
    struct buf bytes;
    struct buf again;
    static struct ledger ledger;
    static struct ledger back;
    buf_init(&bytes, 65536);
    buf_init(&again, 65536);
    for (int round = 0; round < 2000; round++) {
        random_ledger(&ledger);
        buf_clear(&bytes);
        buf_clear(&again);
        ledger_encode(&ledger, &bytes);
        assert_int_equal(ledger_decode(bytes.data, bytes.length, &back), 0);
        ledger_encode(&back, &again);
        assert_int_equal(again.length, bytes.length);
        assert_memory_equal(again.data, bytes.data, bytes.length);
        assert_int_equal(ledger_sum(&back).expected, ledger_sum(&ledger).expected);
        size_t cut = (size_t)random_between(0, (int64_t)bytes.length - 1);
        assert_int_equal(ledger_decode(bytes.data, cut, &back), -1);
        // damaged: refused, or a ledger whose figures add up
        bytes.data[random_between(0, (int64_t)bytes.length - 1)] ^=
            (char)(1 << random_between(0, 7));
        if (ledger_decode(bytes.data, bytes.length, &back) == 0) {
            for (int i = 0; i < back.hour_count; i++)
                assert_int_equal(reasons_total(&back.hours[i].reasons, QUALITY_MISSING),
                                 back.hours[i].missing);
        }
    }
    buf_release(&bytes);
    buf_release(&again);
}

static void test_share(void **state)
{
    (void)state;
    assert_int_equal(ledger_share(0, 0), 10000); // nothing was expected
    assert_int_equal(ledger_share(1440, 1440), 10000);
    assert_int_equal(ledger_share(9999999, 10000000), 9999); // never rounded up to 100 %
    assert_int_equal(ledger_share(1, 3), 3333);
    assert_int_equal(ledger_share(0, 10), 0);
}

// Without the meter's schedule: an hour of 60 polls, 40 of which nobody made; the gateway was away
// for half of it.
static void test_explained_evenly(void **state)
{
    (void)state;
    static struct ledger ledger;
    ledger = (struct ledger){.to_ms = 2 * HOUR, .hour_count = 2};
    for (int i = 0; i < 2; i++) {
        struct ledger_hour *hour = &ledger.hours[i];
        *hour = (struct ledger_hour){
            .from_ms = i * HOUR, .to_ms = (i + 1) * HOUR, .good = 20, .missing = 40};
        reasons_add(&hour->reasons, QUALITY_MISSING, WHY_NOT_POLLED, 40);
    }
    const struct outage away = {HOUR / 2, HOUR, WHY_GATEWAY_DOWN};
    const struct outage later = {3 * HOUR, 4 * HOUR, WHY_GATEWAY_STOPPED};
    ledger_explain_evenly(&ledger, &away);
    ledger_explain_evenly(&ledger, &later);
    assert_int_equal(ledger.outage_count, 1);
    assert_int_equal(ledger.outage_ms, HOUR / 2);
    const struct reasons *reasons = &ledger.hours[0].reasons;
    assert_int_equal(reasons_of(reasons, QUALITY_MISSING, WHY_GATEWAY_DOWN), 31);
    assert_int_equal(reasons_of(reasons, QUALITY_MISSING, WHY_NOT_POLLED), 9);
    assert_int_equal(reasons_of(&ledger.hours[1].reasons, QUALITY_MISSING, WHY_NOT_POLLED), 40);
    // no more than what nobody polled
    const struct outage whole = {0, 2 * HOUR, WHY_GATEWAY_STOPPED};
    ledger_explain_evenly(&ledger, &whole);
    assert_int_equal(reasons_of(&ledger.hours[1].reasons, QUALITY_MISSING, WHY_GATEWAY_STOPPED),
                     40);
    assert_int_equal(reasons_total(reasons, QUALITY_MISSING), 40);
}

int main(void)
{
    random_start("test_record_ledger_pure");
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_bytes),
        cmocka_unit_test(test_share),
        cmocka_unit_test(test_explained_evenly),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
