#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "config/config.h"
#include "config/profile_list.h"
#include "scan/scan.h"

#include "../support/scan_bus.h"
#include "property.h"

#include <jansson.h>
#include <stdlib.h>
#include <string.h>

#define MINUTE_NS INT64_C(60000000000)
#define UNITS 8

static struct scan_candidate candidates[SCAN_PROFILES_MAX];
static int candidate_count;
static const struct profile *profiles[SCAN_PROFILES_MAX];
static struct scan_bus bus;

static int load_profiles(void **state)
{
    (void)state;
    struct profile_list *list = calloc(1, sizeof *list);
    struct faults *faults = calloc(1, sizeof *faults);
    const struct link_url url = {.kind = LINK_RTU, .baud = 9600, .parity = 'N', .stop = 1};
    assert_non_null(list);
    assert_non_null(faults);
    profile_list_make(NULL, list);
    for (int i = 0; i < list->count && i < SCAN_PROFILES_MAX; i++) {
        struct profile *profile = NULL;
        struct link_cost cost;
        if (profile_load(list->names[i], NULL, NULL, &profile, faults) != 0)
            fail_msg("%s: %s", list->names[i], faults->list[0].message);
        link_cost_of(&url, 0, &cost);
        profiles[candidate_count] = profile;
        candidates[candidate_count++] = (struct scan_candidate){profile, plan_new(profile, &cost)};
    }
    free(faults);
    free(list);
    return candidate_count >= 4 ? 0 : -1;
}

static int free_profiles(void **state)
{
    (void)state;
    for (int i = 0; i < candidate_count; i++) {
        free(candidates[i].plan);
        profile_free((struct profile *)profiles[i]);
    }
    return 0;
}

// ---- the bus under test -------------------------------------------------------------------------

struct planned {
    int unit;
    const char *profile;
    const char *more; // further keys of the site file
};

static bool needs_units(const struct profile *profile, char *text, size_t size)
{
    size_t length = 0;
    for (int i = 0; i < profile->channel_count; i++) {
        const struct profile_channel *channel = &profile->channels[i];
        if (strcmp(channel->unit, "config") == 0)
            length +=
                (size_t)snprintf(text + length, size - length, "%s%s: %s", length > 0 ? ", " : "",
                                 channel->channel->name, channel->channel->unit);
    }
    return length > 0;
}

static const struct profile *profile_named(const char *name)
{
    for (int i = 0; i < candidate_count; i++)
        if (strcmp(profiles[i]->name, name) == 0)
            return profiles[i];
    fail_msg("no profile %s", name);
    return NULL;
}

static void start_bus(const struct scan_setting *setting, const struct planned *meters, int count)
{
    char text[8192];
    int length =
        snprintf(text, sizeof text,
                 "site: {seed: %d, utc_offset_min: 480}\nlinks:\n"
                 "  - {id: bus-1, type: rtu, baud: %d, parity: %c, stop: %d}\nmeters:\n",
                 (int)(random_u64() % 1000000), setting->baud, setting->parity, setting->stop);
    for (int i = 0; i < count; i++) {
        char units[512];
        bool open = needs_units(profile_named(meters[i].profile), units, sizeof units);
        length +=
            snprintf(text + length, sizeof text - (size_t)length,
                     "  - {id: m-%d, link: bus-1, unit: %d, profile: %s, capacity: 160, "
                     "pattern: constant, strict: true%s%s%s%s%s}\n",
                     meters[i].unit, meters[i].unit, meters[i].profile, open ? ", units: {" : "",
                     open ? units : "", open ? "}" : "", meters[i].more != NULL ? ", " : "",
                     meters[i].more != NULL ? meters[i].more : "");
    }
    scan_bus_start(&bus, text);
}

static struct scan *run_scan(const struct scan_options *options, int *seconds)
{
    struct scan *scan = scan_new(options, &bus.clock);
    struct scan_wire wire = scan_bus_wire(&bus);
    struct err err = {""};
    int64_t from_ns = bus.now_ns;
    int result = 1;
    assert_non_null(scan);
    while (result > 0 && bus.now_ns - from_ns < 60 * MINUTE_NS)
        result = scan_step(scan, &wire, &err);
    if (result != 0)
        fail_msg("the scan ended with %d: %s", result, err.text);
    *seconds = (int)((bus.now_ns - from_ns) / 1000000000);
    return scan;
}

static struct scan_options all_options(void)
{
    struct scan_options options = {.kind = LINK_RTU,
                                   .first_unit = 1,
                                   .last_unit = 247,
                                   .candidates = candidates,
                                   .candidate_count = candidate_count};
    scan_settings_all(profiles, candidate_count, &options.settings);
    return options;
}

// ---- what must have been found ------------------------------------------------------------------

static double truth_of(int unit, const char *channel)
{
    struct buf text;
    struct writer writer;
    struct sim_time now = scan_bus_time(&bus);
    buf_init(&text, 65536);
    writer_init(&writer, &text);
    sim_meter_print(&bus.site->meters[bus.link->meter_of_unit[unit]], &now, &writer);
    json_t *values = json_loads(text.data, 0, NULL);
    assert_non_null(values);
    json_t *value = json_object_get(values, channel);
    if (value != NULL && json_is_object(value))
        value = json_object_get(value, "value");
    double number = json_number_value(value);
    json_decref(values);
    buf_release(&text);
    return number;
}

// On a lossy line a value, or a meter, may be missing, but never be wrong.
static bool lossy;
static int missed;

static void expect_values(int unit, const struct profile *profile, const struct scan_result *result)
{
    int compared = 0;
    for (int i = 0; i < result->value_count; i++) {
        const struct channel *channel = profile->channels[i].channel;
        if (channel->kind != CHANNEL_COUNTER && channel->kind != CHANNEL_GAUGE)
            continue;
        const struct value *value = &result->values[i];
        if (lossy && !value->present)
            continue;
        double truth = truth_of(unit, channel->name); // a little later
        double read = channel->kind == CHANNEL_COUNTER ? (double)value->micro / 1e6 : value->number;
        double slack = 0.02 * (truth < 0 ? -truth : truth) + 1;
        if (!value->present || read < truth - slack || read > truth + slack)
            fail_msg("unit %d, %s: read %.9g, the meter holds %.9g", unit, channel->name, read,
                     truth);
        compared++;
    }
    assert_true(compared > 0);
}

static void expect_found(const struct scan *scan, const struct scan_setting *setting,
                         const struct planned *meters, int count)
{
    struct scan_setting found;
    assert_true(scan_setting_found(scan, &found));
    assert_true(scan_setting_equal(&found, setting));
    assert_true(scan_found_count(scan) == count || (lossy && scan_found_count(scan) < count));
    for (int i = 0; i < count; i++) {
        int index = 0;
        while (index < scan_found_count(scan) && scan_found_at(scan, index)->unit != meters[i].unit)
            index++;
        if (lossy && (index == scan_found_count(scan) ||
                      scan_found_at(scan, index)->result.fit_count == 0)) {
            missed++;
            continue;
        }
        if (index == scan_found_count(scan))
            fail_msg("unit %d was not found", meters[i].unit);
        const struct scan_result *result = &scan_found_at(scan, index)->result;
        assert_true(scan_found_at(scan, index)->identified);
        if (result->fit_count == 0)
            fail_msg("no profile fits unit %d (%s)", meters[i].unit, meters[i].profile);
        const struct scan_candidate *best_one =
            &scan_options_of(scan)->candidates[result->fits[0].profile];
        const char *best = best_one->profile->name;
        if (strcmp(best, meters[i].profile) != 0)
            fail_msg("unit %d is a %s, not a %s (%.1f bits, the next has %.1f)", meters[i].unit,
                     meters[i].profile, best, result->fits[0].bits,
                     result->fit_count > 1 ? result->fits[1].bits : 0.0);
        expect_values(meters[i].unit, best_one->profile, result);
    }
}

// ---- tests --------------------------------------------------------------------------------------

static void test_mixed_bus_in_three_minutes(void **state)
{
    (void)state;
    static const char *const names[] = {"fuxin-totalizer", "fd-tms", "eastron-sdm630",
                                        "siemens-pac2200"};
    static const struct scan_setting settings[] = {
        {9600, 'N', 1}, {9600, 'E', 1}, {9600, 'O', 2}, {9600, 'N', 2}};
    for (int round = 0; round < 4; round++) {
        struct planned meters[UNITS];
        for (int i = 0; i < UNITS; i++) // none among the likely units
            meters[i] = (struct planned){17 + (i * 29 + round * 7) % 231, names[i % 4], NULL};
        start_bus(&settings[round], meters, UNITS);
        struct scan_options options = all_options();
        int seconds = 0;
        struct scan *scan = run_scan(&options, &seconds);
        (void)fprintf(stderr, "8 meters at %d %c%d, no unit below 17: %d s, %d requests\n",
                      settings[round].baud, settings[round].parity, settings[round].stop, seconds,
                      bus.requests);
        expect_found(scan, &settings[round], meters, UNITS);
        assert_true(seconds < 180);
        scan_free(scan);
        scan_bus_stop(&bus);
    }
}

static struct scan_setting random_setting(const struct scan_settings *settings)
{
    return settings->list[random_u64() % (uint64_t)settings->count];
}

// Any of the settings, any parity: found where a unit is among the likely ones.
static void test_any_setting(void **state)
{
    (void)state;
    struct scan_options options = all_options();
    for (int round = 0; round < 40; round++) {
        const struct scan_setting setting = random_setting(&options.settings);
        const struct planned meters[] = {
            {(int)random_between(1, SCAN_LOW_UNITS), "fuxin-totalizer", NULL},
            {(int)random_between(SCAN_LOW_UNITS + 1, 247), "eastron-sdm630", NULL}};
        start_bus(&setting, meters, 2);
        int seconds = 0;
        struct scan *scan = run_scan(&options, &seconds);
        expect_found(scan, &setting, meters, 2);
        scan_free(scan);
        scan_bus_stop(&bus);
    }
}

// A meter that answers after 800 ms, one that loses the first request after a rest, and quick ones:
// replies come while others are called, and over their requests.
static void test_slow_and_sleepy_meters(void **state)
{
    (void)state;
    const struct scan_setting setting = {9600, 'N', 1};
    const struct planned meters[] = {
        {3, "fuxin-totalizer", NULL},
        {9, "fd-tms", "reply_delay_ms: 800"},
        {20, "siemens-pac2200", "reply_delay_ms: 170"},
        {21, "eastron-sdm630", "sleep_after_s: 10"},
        {100, "fuxin-totalizer", "reply_delay_ms: 800, sleep_after_s: 10"}};
    start_bus(&setting, meters, 5);
    struct scan_options options = all_options();
    int seconds = 0;
    struct scan *scan = run_scan(&options, &seconds);
    expect_found(scan, &setting, meters, 5);
    (void)fprintf(stderr, "slow and sleepy meters: %d s, %d collisions\n", seconds, bus.collisions);
    scan_free(scan);
    scan_bus_stop(&bus);
}

static void test_only_a_slow_meter(void **state)
{
    (void)state;
    const struct scan_setting setting = {9600, 'E', 1};
    const struct planned meters[] = {{14, "fd-tms", "reply_delay_ms: 450"}};
    start_bus(&setting, meters, 1);
    struct scan_options options = all_options();
    int seconds = 0;
    struct scan *scan = run_scan(&options, &seconds);
    expect_found(scan, &setting, meters, 1);
    scan_free(scan);
    scan_bus_stop(&bus);
}

static void test_nobody_there(void **state)
{
    (void)state;
    const struct scan_setting setting = {300, 'N', 1}; // at which nobody asks
    const struct planned meters[] = {{1, "fuxin-totalizer", NULL}};
    start_bus(&setting, meters, 1);
    struct scan_options options = all_options();
    int seconds = 0;
    struct scan *scan = run_scan(&options, &seconds);
    struct scan_setting found;
    assert_false(scan_setting_found(scan, &found));
    assert_int_equal(scan_found_count(scan), 0);
    assert_int_equal(bus.requests, scan_order_total(&options.settings, 1, 247));
    (void)fprintf(stderr, "nobody at any of %d settings: %d s\n", options.settings.count, seconds);
    scan_free(scan);
    scan_bus_stop(&bus);
}

static void test_echo_and_refused_baud(void **state)
{
    (void)state;
    const struct scan_setting setting = {19200, 'E', 1};
    const struct planned meters[] = {{5, "fuxin-totalizer", NULL}};
    start_bus(&setting, meters, 1);
    bus.echo = true;
    bus.refused_baud = 9600;
    struct scan_options options = all_options();
    int seconds = 0;
    struct scan *scan = run_scan(&options, &seconds);
    expect_found(scan, &setting, meters, 1);
    assert_true(scan_has_echo(scan));
    assert_false(scan_has_other_master(scan));
    scan_free(scan);
    scan_bus_stop(&bus);
}

// Where the settings are known, nothing is searched; units that are known are not asked.
static void test_known_setting_and_units(void **state)
{
    (void)state;
    const struct scan_setting setting = {38400, 'N', 2};
    const struct planned meters[] = {{2, "fuxin-totalizer", NULL}, {7, "fd-tms", NULL}};
    start_bus(&setting, meters, 2);
    struct scan_options options = all_options();
    scan_settings_keep(&options.settings, &setting);
    assert_int_equal(options.settings.count, 1);
    options.last_unit = 10;
    options.skip[2] = true;
    int seconds = 0;
    struct scan *scan = run_scan(&options, &seconds);
    expect_found(scan, &setting, meters + 1, 1);
    assert_int_equal(bus.site->meters[0].requests, 0);
    scan_free(scan);
    scan_bus_stop(&bus);
}

// Every reply of one meter is spoilt, as where two meters have one number.
static void test_garbled_unit(void **state)
{
    (void)state;
    const struct scan_setting setting = {9600, 'N', 1};
    const struct planned meters[] = {{6, "fuxin-totalizer", NULL},
                                     {9, "fd-tms", "faults: [bad-crc]"}};
    start_bus(&setting, meters, 2);
    struct scan_options options = all_options();
    int seconds = 0;
    struct scan *scan = run_scan(&options, &seconds);
    expect_found(scan, &setting, meters, 1);
    assert_true(scan_is_garbled(scan, 9));
    assert_false(scan_is_garbled(scan, 6));
    scan_free(scan);
    scan_bus_stop(&bus);
}

// One reply in twenty comes late, is spoilt or does not come: nearly all is found all the same, and
// no profile or value is wrong.
static void test_bad_line(void **state)
{
    (void)state;
    static const char *const names[] = {"fuxin-totalizer", "fd-tms", "eastron-sdm630",
                                        "siemens-pac2200"};
    const char *faults = "faults: [{kind: late, probability: 0.02, delay_ms: 50, delay_max_ms: "
                         "1500}, {kind: noise, probability: 0.015}, {kind: silence, probability: "
                         "0.015}]";
    missed = 0;
    lossy = true;
    for (int round = 0; round < 20; round++) {
        struct scan_options options = all_options();
        const struct scan_setting setting = options.settings.list[round % options.settings.usual];
        struct planned meters[4];
        for (int i = 0; i < 4; i++)
            meters[i] =
                (struct planned){(int)random_between(1 + 50 * i, 50 + 50 * i), names[i], faults};
        start_bus(&setting, meters, 4);
        int seconds = 0;
        struct scan *scan = run_scan(&options, &seconds);
        expect_found(scan, &setting, meters, 4);
        scan_free(scan);
        scan_bus_stop(&bus);
    }
    lossy = false;
    (void)fprintf(stderr, "on a bad line %d of 80 meters were missed\n", missed);
    assert_true(missed <= 4);
}

// A meter of the profile's registers in another word order than the profile says.
static void test_word_order(void **state)
{
    (void)state;
    const struct scan_setting setting = {9600, 'N', 1};
    const struct planned meters[] = {{4, "eastron-sdm630", NULL}};
    int index = 0;
    while (strcmp(profiles[index]->name, "eastron-sdm630") != 0)
        index++;
    for (uint8_t order = 1; order <= ORDER_DCBA; order++) {
        static struct profile changed;
        changed = *profiles[index];
        for (int i = 0; i < changed.field_count; i++)
            changed.fields[i].order ^= order; // what the scan believes
        start_bus(&setting, meters, 1);
        struct scan_options options = all_options();
        const struct scan_candidate alone = {&changed, candidates[index].plan};
        options.candidates = (struct scan_candidate *)&alone;
        options.candidate_count = 1;
        int seconds = 0;
        struct scan *scan = run_scan(&options, &seconds);
        expect_found(scan, &setting, meters, 1);
        assert_int_equal(scan_found_at(scan, 0)->result.fits[0].order, order);
        scan_free(scan);
        scan_bus_stop(&bus);
    }
}

// ---- the parts ----------------------------------------------------------------------------------

static size_t make_reply(uint8_t frame[static FRAME_RTU_MAX], int unit)
{
    size_t length = 5;
    frame[0] = (uint8_t)unit;
    if (random_u64() % 2 == 0) {
        frame[1] = (uint8_t)(0x80 + random_between(1, 4));
        frame[2] = (uint8_t)random_between(1, 11);
    } else {
        frame[1] = (uint8_t)random_between(1, 4);
        frame[2] = (uint8_t)random_between(1, 20);
        for (int i = 0; i < frame[2]; i++)
            frame[3 + i] = (uint8_t)random_u64();
        length += frame[2];
    }
    uint16_t crc = frame_crc16(frame, length - 2);
    frame[length - 2] = (uint8_t)crc;
    frame[length - 1] = (uint8_t)(crc >> 8);
    return length;
}

// However the bytes of replies are cut and mixed with noise of zeros, each unit is heard, in order.
static void test_ear_hears_every_reply(void **state)
{
    (void)state;
    static struct scan_ear ear;
    int chances = 0;
    for (int round = 0; round < 2000; round++) {
        int said[6];
        int count = (int)random_between(1, 6);
        int heard = 0;
        bool chance = false;
        scan_ear_clear(&ear);
        for (int i = 0; i < count; i++) {
            uint8_t frame[FRAME_RTU_MAX] = {0};
            said[i] = (int)random_between(1, 247);
            static const uint8_t noise[8];
            scan_ear_add(&ear, noise, (size_t)random_between(0, 8));
            size_t length = make_reply(frame, said[i]);
            size_t cut = (size_t)random_between(0, (int64_t)length);
            int unit = 0;
            scan_ear_add(&ear, frame, cut);
            chance = chance || (cut < length && scan_ear_take(&ear, &unit) != SCAN_HEARD_NOTHING);
            scan_ear_add(&ear, frame + cut, length - cut);
            while (scan_ear_take(&ear, &unit) == SCAN_HEARD_REPLY) {
                chance = chance || heard >= count || unit != said[heard];
                heard++;
            }
        }
        if (chance)
            chances++; // bytes within a reply had a good check sum
        else
            assert_int_equal(heard, count);
    }
    assert_true(chances < 20);
}

// Against a plain memory of all registers: what was given last, and what was refused.
static void test_words_remember(void **state)
{
    (void)state;
    static struct scan_words words;
    static uint16_t truth[64];
    static bool known[64];
    for (int round = 0; round < 500; round++) {
        memset(&words, 0, sizeof words);
        memset(known, 0, sizeof known);
        for (int i = 0; i < 20; i++) {
            struct request request = {.unit = 1,
                                      .function = 3,
                                      .first = (uint16_t)random_between(0, 50),
                                      .count = (uint16_t)random_between(1, 14)};
            struct reply reply = {.why = random_u64() % 4 == 0 ? WHY_EXCEPTION + 2 : WHY_NONE};
            for (int at = 0; at < request.count && reply.why == WHY_NONE; at++) {
                truth[request.first + at] = reply.words[at] = (uint16_t)random_u64();
                known[request.first + at] = true;
            }
            scan_words_add(&words, &request, &reply);
            struct request span = {.function = 3,
                                   .first = (uint16_t)random_between(0, 50),
                                   .count = (uint16_t)random_between(1, 14)};
            uint16_t out[14] = {0};
            bool all = true;
            for (int at = 0; at < span.count; at++)
                all = all && known[span.first + at];
            assert_int_equal(scan_words_find(&words, &span, out) == WHY_NONE, all);
            if (all)
                assert_memory_equal(out, truth + span.first, span.count * sizeof out[0]);
            span.function = 4;
            assert_int_equal(scan_words_find(&words, &span, out), SCAN_UNKNOWN);
        }
    }
}

// Every unit at every setting with function 3, each once; the makers' defaults come first.
static void test_order_is_complete(void **state)
{
    (void)state;
    static int asked[SCAN_SETTINGS_MAX][248];
    struct scan_settings settings;
    struct scan_order order;
    struct scan_call call;
    scan_settings_all(profiles, candidate_count, &settings);
    assert_true(settings.count >= 48);
    assert_int_equal(settings.list[0].baud, 9600);
    for (int round = 0; round < 50; round++) {
        int first = (int)random_between(1, 247);
        int last = (int)random_between(first, 247);
        memset(asked, 0, sizeof asked);
        scan_order_start(&order, first, last);
        while (scan_order_next(&order, &settings, &call))
            asked[call.setting][call.unit] += call.function == 3 ? 1 : 0;
        for (int i = 0; i < settings.count; i++)
            for (int unit = 0; unit < 248; unit++)
                assert_int_equal(asked[i][unit], unit >= first && unit <= last ? 1 : 0);
    }
    struct scan_setting wanted = {.baud = 19200};
    scan_settings_keep(&settings, &wanted);
    assert_int_equal(settings.count, 6);
    wanted = (struct scan_setting){.baud = 600, .parity = 'E'};
    scan_settings_keep(&settings, &wanted);
    assert_int_equal(settings.count, 2);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_mixed_bus_in_three_minutes),
        cmocka_unit_test(test_any_setting),
        cmocka_unit_test(test_slow_and_sleepy_meters),
        cmocka_unit_test(test_only_a_slow_meter),
        cmocka_unit_test(test_nobody_there),
        cmocka_unit_test(test_echo_and_refused_baud),
        cmocka_unit_test(test_known_setting_and_units),
        cmocka_unit_test(test_garbled_unit),
        cmocka_unit_test(test_bad_line),
        cmocka_unit_test(test_word_order),
        cmocka_unit_test(test_ear_hears_every_reply),
        cmocka_unit_test(test_words_remember),
        cmocka_unit_test(test_order_is_complete),
    };
    random_start("test_scan");
    return cmocka_run_group_tests(tests, load_profiles, free_profiles);
}
