// Each shipped profile against whole frames. Fuxin's data and the FD TMS's temperature are those of
// their documents; all others were composed, with their values and check sums, by a program that
// shares nothing with this one.
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "base/file.h"
#include "config/config.h"
#include "drivers/frame.h"
#include "poll/plan.h"
#include "poll/reading.h"

#include <dirent.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define PROFILES "drivers/profiles/"

struct golden {
    int function, first, count;
    const char *frame;
};

struct channel_value {
    const char *name, *value, *unit; // value as JSON
};

static struct profile *load(const char *name)
{
    static struct faults faults;
    char path[200];
    (void)snprintf(path, sizeof path, PROFILES "%s.yaml", name);
    struct buf text;
    buf_init(&text, 100000);
    struct err err;
    assert_int_equal(file_read(path, &text, &err), 0);
    struct profile *profile = NULL;
    faults.count = 0;
    if (profile_load_text(path, text.data, text.length, &profile, &faults) != 0) {
        fail_msg("%s:%d: %s: %s", path, faults.list[0].line, faults.list[0].path,
                 faults.list[0].message);
    }
    buf_release(&text);
    return profile;
}

static void take_frame(const struct profile *profile, const struct plan *plan,
                       const struct plan_block *block, const struct golden *golden,
                       struct image *image)
{
    assert_int_equal(block->function, golden->function);
    assert_int_equal(block->first, golden->first);
    assert_int_equal(block->count, golden->count);
    uint8_t frame[FRAME_RTU_MAX];
    size_t length = 0;
    for (const char *at = golden->frame; *at != '\0'; at += 2) {
        unsigned byte = 0;
        assert_int_equal(sscanf(at, "%2x", &byte), 1);
        frame[length++] = (uint8_t)byte;
    }
    struct request request = {frame[0], (uint8_t)golden->function, (uint16_t)golden->first,
                              (uint16_t)golden->count};
    struct reply reply;
    frame_rtu_judge(&request, frame, length, &reply);
    if (reply.why != WHY_NONE)
        fail_msg("%s", reply.detail);
    for (int i = 0; i < block->field_count; i++) {
        int index = plan->fields[block->field_first + i];
        const struct field *field = &profile->fields[index];
        memcpy(image->words + field->place, reply.words + (field->first - block->first),
               2U * field->words);
        image->why[index] = WHY_NONE;
    }
}

static void expect_channels(const struct reading *reading, const struct channel_value *expected)
{
    struct buf out;
    buf_init(&out, 100000);
    struct writer writer;
    writer_init(&writer, &out);
    reading_print_channels(&writer, reading);
    int count = 0;
    for (; expected[count].name != NULL; count++) {
        const struct channel_value *row = &expected[count];
        char text[200];
        (void)snprintf(text, sizeof text, "\"%s\":{\"value\":%s,%s%s%s\"quality\":\"good\"}",
                       row->name, row->value, row->unit ? "\"unit\":\"" : "",
                       row->unit ? row->unit : "", row->unit ? "\"," : "");
        if (strstr(out.data, text) == NULL)
            fail_msg("%s is not in %s", text, out.data);
    }
    assert_int_equal(count, reading->value_count);
    buf_release(&out);
}

static void check(struct profile *profile, const struct golden *golden, int count,
                  const struct channel_value *expected)
{
    struct link_cost cost;
    link_cost_of(&(struct link_url){.kind = LINK_RTU, .baud = 9600, .parity = 'N', .stop = 1}, 0,
                 &cost);
    struct plan *plan = plan_new(profile, &cost);
    struct meter meter = {.profile = profile};
    struct reading *reading = reading_new(NULL, &meter);
    assert_non_null(plan);
    assert_int_equal(plan->block_count, count);
    for (int i = 0; i < count; i++)
        take_frame(profile, plan, &plan->blocks[i], &golden[i], &reading->image);
    image_decode(profile, &reading->image, false, reading->values);
    expect_channels(reading, expected);
    // Not compared by us with a display yet: nothing of it may be good without that.
    assert_false(profile->verified);
    reading_free(reading);
    free(plan);
    profile_free(profile);
}

static void test_fuxin(void **state)
{
    (void)state;
    static const struct golden golden[] = {
        {3, 16, 14, "01031C40220C4A0000124311164020000012345686000041AD312742CC6C8BF8F2"},
    };
    static const struct channel_value expected[] = {
        {"volume_base", "1243.1116", "m3"},
        {"volume_measured", "12345686", "m3"},
        {"flow_base", "2.532", "m3/h"},
        {"flow_measured", "2.5", "m3/h"},
        {"temperature", "21.649", "degC"},
        {"pressure", "102.212", "kPa"},
        {NULL, NULL, NULL},
    };
    check(load("fuxin-totalizer"), golden, 1, expected);
}

static void test_fd_tms(void **state)
{
    (void)state;
    static const struct golden golden[] = {
        {3, 0, 22,
         "01032C600043180000000000000000D687001200013F5000000000BA4A41F8000000000000000000000000"
         "00010000C3A1"},
        {3, 50, 2, "010304B3C301342CCC"},
    };
    static const struct channel_value cubic_metres[] = {
        {"volume_base", "1234567.8125", "m3"},   {"flow_base", "152.375", "m3/h"},
        {"temperature", "31.09096", "degC"},     {"status", "[\"relay-low\"]", NULL},
        {"serial_number", "\"20231107\"", NULL}, {NULL, NULL, NULL},
    };
    static const struct channel_value litres[] = {
        {"volume_base", "1234.567813", "m3"},    {"flow_base", "9.1425", "m3/h"},
        {"temperature", "31.09096", "degC"},     {"status", "[\"relay-low\"]", NULL},
        {"serial_number", "\"20231107\"", NULL}, {NULL, NULL, NULL},
    };
    for (int i = 0; i < 2; i++) {
        struct profile *profile = load("fd-tms");
        int volume = profile_channel_find(profile, "volume_base");
        int flow = profile_channel_find(profile, "flow_base");
        struct err err;
        assert_int_equal(profile_set_unit(profile, volume, i == 0 ? "m3" : "l", &err), 0);
        assert_int_equal(profile_set_unit(profile, flow, i == 0 ? "m3/h" : "l/min", &err), 0);
        check(profile, golden, 2, i == 0 ? cubic_metres : litres);
    }
}

static void test_sdm630(void **state)
{
    (void)state;
    static const struct golden golden[] = {
        {4, 0, 36,
         "090448436733334366B33343680CCD40D6B85240CA8F5C40CD70A444BB900044AF080044B0800044C1C000"
         "44B6820044BA4200C3874000C3878000C38780003F77CED93F7581063F7295EA38D9"},
        {4, 52, 28,
         "0904384586C60000000000458CA10000000000C44B20003F753F7D00000000C185999A000000004247EB85"
         "468E750A41440000454E5C5200000000B791"},
        {4, 342, 10, "090414468E8D8A454E5C5245BEA0E145BD99A445BD99A26A77"},
    };
    static const struct channel_value expected[] = {
        {"energy_import", "18234.519531", "kWh"},
        {"energy_export", "12.25", "kWh"},
        {"reactive_energy_import", "3301.77002", "kvarh"},
        {"reactive_energy_export", "0", "kvarh"},
        {"energy_total", "18246.769531", "kWh"},
        {"reactive_energy_total", "3301.77002", "kvarh"},
        {"energy_import_l1", "6100.109863", "kWh"},
        {"energy_import_l2", "6067.205078", "kWh"},
        {"energy_import_l3", "6067.204102", "kWh"},
        {"power", "4.31275", "kW"},
        {"power_l1", "1.5005", "kW"},
        {"power_l2", "1.40025", "kW"},
        {"power_l3", "1.412", "kW"},
        {"apparent_power", "4.500125", "kVA"},
        {"apparent_power_l1", "1.55", "kVA"},
        {"apparent_power_l2", "1.460063", "kVA"},
        {"apparent_power_l3", "1.490063", "kVA"},
        {"reactive_power", "-0.8125", "kvar"},
        {"reactive_power_l1", "-0.2705", "kvar"},
        {"reactive_power_l2", "-0.271", "kvar"},
        {"reactive_power_l3", "-0.271", "kvar"},
        {"power_factor", "0.958", "1"},
        {"power_factor_l1", "0.968", "1"},
        {"power_factor_l2", "0.959", "1"},
        {"power_factor_l3", "0.9476", "1"},
        {"phase_angle", "-16.7", "deg"},
        {"frequency", "49.98", "Hz"},
        {"voltage_l1", "231.2", "V"},
        {"voltage_l2", "230.7", "V"},
        {"voltage_l3", "232.05", "V"},
        {"current_l1", "6.71", "A"},
        {"current_l2", "6.33", "A"},
        {"current_l3", "6.42", "A"},
        {NULL, NULL, NULL},
    };
    check(load("eastron-sdm630"), golden, 3, expected);
}

static void test_pac2200(void **state)
{
    (void)state;
    static const struct golden golden[] = {
        {4, 1, 6, "01040C4365E6664366199A436666665E8D"},
        {4, 13, 6, "01040C41F8CCCD41F3333341EEF5C3F982"},
        {4, 25, 6, "01040C45DAC20045D4800045D1620096FE"},
        {4, 37, 6, "01040C3F7AE1483F7851EC3F7A64C32933"},
        {4, 46, 2, "0104044248147B20C9"},
        {4, 63, 8, "01041046A4100046A02900458709003F79DB237DDF"},
        {4, 801, 4, "01040841CD6F3458C0000056FA"},
        {4, 809, 4, "01040840938840000000009C73"},
    };
    static const struct channel_value expected[] = {
        {"energy_import", "987654.3215", "kWh"},
        {"energy_export", "1.250062", "kWh"}, // 1.2500625, half to even
        {"power", "20.5005", "kW"},
        {"power_l1", "7.00025", "kW"},
        {"power_l2", "6.8", "kW"},
        {"power_l3", "6.70025", "kW"},
        {"apparent_power", "21", "kVA"},
        {"reactive_power", "4.321125", "kvar"},
        {"power_factor", "0.976", "1"},
        {"power_factor_l1", "0.98", "1"},
        {"power_factor_l2", "0.97", "1"},
        {"power_factor_l3", "0.9781", "1"},
        {"frequency", "50.02", "Hz"},
        {"voltage_l1", "229.9", "V"},
        {"voltage_l2", "230.1", "V"},
        {"voltage_l3", "230.4", "V"},
        {"current_l1", "31.1", "A"},
        {"current_l2", "30.4", "A"},
        {"current_l3", "29.87", "A"},
        {NULL, NULL, NULL},
    };
    check(load("siemens-pac2200"), golden, 8, expected);
}

// A profile that is shipped has a test here.
static void test_every_profile_is_tested(void **state)
{
    (void)state;
    static const char *const tested[] = {"fuxin-totalizer.yaml", "fd-tms.yaml",
                                         "eastron-sdm630.yaml", "siemens-pac2200.yaml"};
    DIR *folder = opendir(PROFILES);
    assert_non_null(folder);
    size_t found = 0;
    for (struct dirent *entry = readdir(folder); entry != NULL; entry = readdir(folder)) {
        bool known = entry->d_name[0] == '.';
        for (size_t i = 0; i < sizeof tested / sizeof tested[0]; i++) {
            bool same = strcmp(entry->d_name, tested[i]) == 0;
            known = known || same;
            found += same ? 1 : 0;
        }
        if (!known)
            fail_msg("%s has no golden frames", entry->d_name);
    }
    (void)closedir(folder);
    assert_int_equal(found, sizeof tested / sizeof tested[0]);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_fuxin),
        cmocka_unit_test(test_fd_tms),
        cmocka_unit_test(test_sdm630),
        cmocka_unit_test(test_pac2200),
        cmocka_unit_test(test_every_profile_is_tested),
    };
    return cmocka_run_group_tests_name("drivers/profiles", tests, NULL, NULL);
}
