// Each shipped profile against whole frames: tests/data/frames/NAME.json, composed by a program
// that shares nothing with this one from values that were written down beside the map, and
// documented.json, frames as their makers' documents print them.
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "config/config.h"
#include "drivers/frame.h"
#include "poll/reading.h"

#include <dirent.h>
#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define PROFILES "drivers/profiles/"
#define FRAMES "tests/data/frames/"

static struct profile *load(const char *name)
{
    static struct faults faults;
    char path[200];
    (void)snprintf(path, sizeof path, "./" PROFILES "%s.yaml", name);
    struct profile *profile = NULL;
    faults.count = 0;
    if (profile_load(path, NULL, NULL, &profile, &faults) != 0) {
        fail_msg("%s:%d: %s: %s", path, faults.list[0].line, faults.list[0].path,
                 faults.list[0].message);
    }
    return profile;
}

static json_t *load_json(const char *name)
{
    char path[200];
    (void)snprintf(path, sizeof path, FRAMES "%s.json", name);
    json_error_t error;
    json_t *json = json_load_file(path, JSON_REJECT_DUPLICATES, &error);
    if (json == NULL)
        fail_msg("%s:%d: %s", path, error.line, error.text);
    return json;
}

// ---- frames into an image -----------------------------------------------------------------------

static size_t bytes_of(const char *hex, uint8_t bytes[static FRAME_RTU_MAX])
{
    size_t length = strlen(hex) / 2;
    assert_true(strlen(hex) % 2 == 0 && length <= FRAME_RTU_MAX);
    for (size_t i = 0; i < length; i++) {
        unsigned byte = 0;
        assert_int_equal(sscanf(hex + 2 * i, "%2x", &byte), 1);
        bytes[i] = (uint8_t)byte;
    }
    return length;
}

// The request of a golden frame; it must be, byte for byte, the one that this program would send.
static struct request request_of(const struct profile *profile, const char *hex)
{
    uint8_t golden[FRAME_RTU_MAX];
    uint8_t ours[FRAME_RTU_MAX];
    assert_int_equal(bytes_of(hex, golden), FRAME_RTU_REQUEST_SIZE);
    struct request request = {
        .unit = golden[0],
        .function = golden[1],
        .first = (uint16_t)(golden[2] << 8 | golden[3]),
        .count = (uint16_t)(golden[4] << 8 | golden[5]),
        .register_size = (uint8_t)profile->limits.register_size,
    };
    assert_int_equal(frame_rtu_request(&request, ours), FRAME_RTU_REQUEST_SIZE);
    assert_memory_equal(ours, golden, FRAME_RTU_REQUEST_SIZE);
    return request;
}

// Takes the fields that lie in one reply.
static void take_frame(const struct profile *profile, const json_t *exchange, struct image *image)
{
    struct request request =
        request_of(profile, json_string_value(json_object_get(exchange, "request")));
    uint8_t frame[FRAME_RTU_MAX];
    size_t length = bytes_of(json_string_value(json_object_get(exchange, "reply")), frame);
    struct reply reply;
    frame_rtu_judge(&request, frame, length, &reply);
    if (reply.why != WHY_NONE)
        fail_msg("%s: %s", profile->name, reply.detail);
    for (int i = 0; i < profile->field_count; i++) {
        const struct field *field = &profile->fields[i];
        int offset = field->first - request.first;
        if (field->function != request.function || offset < 0 ||
            offset + field_registers(field) > request.count)
            continue;
        int at = profile->limits.register_size == 4 ? 2 * offset : offset; // two words a register
        memcpy(image->words + field->place, reply.words + at, 2U * field->words);
        image->why[i] = WHY_NONE;
    }
}

// ---- what must be shown -------------------------------------------------------------------------

// The value as the feed prints it.
static void print_value(struct buf *out, const char *name, const json_t *value)
{
    bool is_text = channel_find(name)->kind == CHANNEL_IDENTITY;
    size_t index = 0;
    const json_t *item = NULL;
    if (json_is_array(value)) {
        buf_add_text(out, "[");
        json_array_foreach(value, index, item)
            buf_addf(out, "%s\"%s\"", index > 0 ? "," : "", json_string_value(item));
        buf_add_text(out, "]");
    } else if (json_is_null(value)) {
        buf_add_text(out, "null");
    } else {
        assert_true(json_is_string(value));
        buf_addf(out, is_text ? "\"%s\"" : "%s", json_string_value(value));
    }
}

static void check_value(const char *seen, const char *name, const json_t *expected)
{
    struct buf text;
    buf_init(&text, 4000);
    const char *unit = json_string_value(json_object_get(expected, "unit"));
    const char *quality = json_string_value(json_object_get(expected, "quality"));
    const char *why = json_string_value(json_object_get(expected, "why"));
    assert_non_null(channel_find(name));
    buf_addf(&text, "\"%s\":{\"value\":", name);
    print_value(&text, name, json_object_get(expected, "value"));
    if (unit != NULL)
        buf_addf(&text, ",\"unit\":\"%s\"", unit);
    buf_addf(&text, ",\"quality\":\"%s\"", quality != NULL ? quality : "good");
    if (why != NULL)
        buf_addf(&text, ",\"why\":\"%s\"", why);
    buf_add_text(&text, "}");
    if (strstr(seen, text.data) == NULL)
        fail_msg("%s is not in %s", text.data, seen);
    buf_release(&text);
}

static void check_values(const struct reading *reading, const json_t *golden)
{
    json_t *values = json_object_get(golden, "values");
    struct buf out;
    struct writer writer;
    buf_init(&out, 100000);
    writer_init(&writer, &out);
    reading_print_channels(&writer, reading);
    const char *name = NULL;
    json_t *expected = NULL;
    json_object_foreach(values, name, expected) check_value(out.data, name, expected);
    buf_release(&out);
    if (!json_is_true(json_object_get(golden, "partial")))
        assert_int_equal(json_object_size(values), reading->value_count);
}

// ---- one case -----------------------------------------------------------------------------------

// What the meter's entry in the configuration would say.
static void take_settings(struct profile *profile, const json_t *golden)
{
    const char *name = NULL;
    json_t *unit = NULL;
    const char *order = json_string_value(json_object_get(golden, "word_order"));
    struct err err;
    if (order != NULL)
        assert_true(profile_set_word_order(profile, (enum word_order)word_order_find(order)));
    json_object_foreach(json_object_get(golden, "units"), name, unit)
    {
        int channel = profile_channel_find(profile, name);
        if (channel < 0 || profile_set_unit(profile, channel, json_string_value(unit), &err) != 0)
            fail_msg("%s: %s cannot be in %s", profile->name, name, json_string_value(unit));
    }
}

static void check_case(const char *name, const json_t *golden)
{
    struct profile *profile = load(name);
    struct meter meter = {.profile = profile};
    take_settings(profile, golden);
    struct reading *reading = reading_new(NULL, &meter);
    assert_non_null(reading);
    json_t *frames = json_object_get(golden, "frames");
    size_t index = 0;
    const json_t *exchange = NULL;
    assert_true(json_array_size(frames) > 0);
    json_array_foreach(frames, index, exchange) take_frame(profile, exchange, &reading->image);
    image_decode(profile, &reading->image, false, reading->values);
    check_values(reading, golden);
    // Not compared by us with a display yet: nothing of it may be good without that.
    assert_false(profile->verified);
    reading_free(reading);
    profile_free(profile);
}

// ---- all ----------------------------------------------------------------------------------------

static void check_profile(const char *name)
{
    json_t *golden = load_json(name);
    json_t *cases = json_object_get(golden, "cases");
    size_t index = 0;
    const json_t *item = NULL;
    assert_true(json_array_size(cases) > 0);
    json_array_foreach(cases, index, item)
    {
        assert_false(json_is_true(json_object_get(item, "partial")));
        check_case(name, item);
    }
    json_decref(golden);
}

// A profile that is shipped without golden frames fails here.
static void test_every_profile(void **state)
{
    (void)state;
    DIR *folder = opendir(PROFILES);
    assert_non_null(folder);
    int count = 0;
    for (struct dirent *entry = readdir(folder); entry != NULL; entry = readdir(folder)) {
        size_t length = strlen(entry->d_name);
        if (length < 6 || strcmp(entry->d_name + length - 5, ".yaml") != 0)
            continue;
        char name[256];
        (void)snprintf(name, sizeof name, "%.*s", (int)length - 5, entry->d_name);
        check_profile(name);
        count++;
    }
    (void)closedir(folder);
    assert_true(count >= 4);
    print_message("%d profiles\n", count);
}

static void test_documented_frames(void **state)
{
    (void)state;
    json_t *golden = load_json("documented");
    size_t index = 0;
    const json_t *item = NULL;
    assert_true(json_array_size(json_object_get(golden, "cases")) > 0);
    json_array_foreach(json_object_get(golden, "cases"), index, item)
        check_case(json_string_value(json_object_get(item, "profile")), item);
    json_decref(golden);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_every_profile),
        cmocka_unit_test(test_documented_frames),
    };
    return cmocka_run_group_tests_name("drivers/profiles", tests, NULL, NULL);
}
