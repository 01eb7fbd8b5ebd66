#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "config/config.h"

#include "property.h"

#include <string.h>

static struct faults faults;

static const char fuxin[] =
    "model: Fuxin gas totalizer\n"
    "source: where the map was read\n"
    "verified: false\n"
    "medium: gas\n"
    "serial: {baud: 9600, parity: N, stop: 1}\n"
    "limits: {max_registers: 60, max_gap: 8, pause_ms: 0, wake_request: false}\n"
    "channels:\n"
    "  volume_base:     {register: 18, function: 3, type: bcd12, scale: 0.0001, unit: m3}\n"
    "  volume_measured: {register: 23, function: 3, type: bcd12, scale: 0.0001, unit: m3}\n"
    "  flow_base:       {register: 16, function: 3, type: f32, unit: m3/h}\n"
    "  flow_measured:   {register: 21, function: 3, type: f32, unit: m3/h}\n"
    "  temperature:     {register: 26, function: 3, type: f32, unit: degC}\n"
    "  pressure:        {register: 28, function: 3, type: f32, unit: kPa}\n"
    "together: [[18, 20], [23, 25]]\n";

// Every key of the grammar.
static const char complete[] =
    "model: All of it\n"
    "source: |\n"
    "  the grammar,\n"
    "  and nothing else\n"
    "verified: true\n"
    "medium: heat\n"
    "serial: {baud: 19200, parity: E, stop: 2}\n"
    "limits: {max_registers: 40, max_gap: 0, pause_ms: 20, wake_request: true}\n"
    "channels:\n"
    "  volume_base:\n"
    "    unit: config\n"
    "    offset: -0.5\n"
    "    not_available: [0xFFFFFFFF, 4294967294]\n"
    "    parts:\n"
    "      - {register: 6, type: u32, order: CDAB, scale_register: 100}\n"
    "      - {register: 8, type: u32, order: CDAB, scale: 1e-3,\n"
    "         scale_register: {register: 101, function: 4, type: u16, meaning: factor}}\n"
    "  volume_measured: {register: 20, type: f64, order: GHEFCDAB, unit: l}\n"
    "  temperature: {register: 0x10, function: 4, type: i16, scale: 0.1, unit: K}\n"
    "  pressure: {register: 17, type: bcd8, order: BADC, unit: bar}\n"
    "  power_factor: {register: 30, type: i16, scale: 0.001}\n"
    "  balance: {register: 31, type: i64, unit: m3}\n"
    "together:\n"
    "  - [6, 9]\n"
    "status:\n"
    "  - {register: 40, bit: 0, name: low-battery, severity: minor}\n"
    "  - {register: 40, bit: 15, name: tamper, severity: critical}\n"
    "  - {register: 3, function: 2, name: door}\n"
    "  - {register: 41, type: u32, order: CDAB, bit: 30, bits: 2, value: 3, name: valve-fault}\n"
    "  - {register: 41, type: u32, order: CDAB, bit: 30, bits: 2, value: 0, name: valve-open}\n"
    "identity:\n"
    "  serial_number: {register: 50, type: string10}\n"
    "archives:\n"
    "  - name: hours\n"
    "    span: hour\n"
    "    first_register: 1000\n"
    "    record_registers: 8\n"
    "    records: 720\n"
    "    order: newest-first\n"
    "    time: {offset: 0, type: bcd12}\n"
    "    channels: {volume_base: {offset: 4, type: u32, order: CDAB, scale: 0.01, unit: m3}}\n";

static struct profile *loaded(const char *path, const char *text)
{
    struct profile *profile = NULL;
    if (profile_load_text(path, text, strlen(text), &profile, &faults) != 0) {
        for (int i = 0; i < faults.count; i++) {
            print_error("%d:%d: %s: %s\n", faults.list[i].line, faults.list[i].column,
                        faults.list[i].path, faults.list[i].message);
        }
        fail();
    }
    assert_int_equal(faults.count, 0);
    return profile;
}

static void test_contract_profile(void **state)
{
    (void)state;
    struct profile *profile = loaded("folder/fuxin-totalizer.yaml", fuxin);
    assert_string_equal(profile->name, "fuxin-totalizer");
    assert_string_equal(profile->model, "Fuxin gas totalizer");
    assert_string_equal(profile->medium, "gas");
    assert_string_equal(profile->source, fuxin);
    assert_false(profile->verified);
    assert_true(profile->serial_baud_known);
    assert_int_equal(profile->serial_baud, 9600);
    assert_int_equal(profile->serial_parity, 'N');
    assert_int_equal(profile->channel_count, 6);
    assert_int_equal(profile->field_count, 6);
    assert_int_equal(profile->word_count, 3 + 3 + 2 + 2 + 2 + 2);
    assert_int_equal(profile->together_count, 2);
    assert_int_equal(profile->together[1].first, 23);
    assert_int_equal(profile->together[1].last, 25);
    const struct profile_channel *volume = &profile->channels[0];
    assert_ptr_equal(volume->channel, channel_find("volume_base"));
    assert_int_equal(volume->part_count, 1);
    assert_int_equal(volume->parts[0].scale.mantissa, 1);
    assert_int_equal(volume->parts[0].scale.exponent, -4);
    assert_int_equal(volume->parts[0].scale_field, -1);
    const struct field *field = &profile->fields[volume->parts[0].field];
    assert_int_equal(field->first, 18);
    assert_int_equal(field->function, 3);
    assert_int_equal(field->type, RAW_BCD);
    assert_int_equal(field->words, 3);
    assert_int_equal(profile_channel_find(profile, "pressure"), 5);
    assert_int_equal(profile_channel_find(profile, "power"), -1);
    profile_free(profile);
}

// Places in the image do not overlap and fill it.
static void check_places(const struct profile *profile)
{
    uint16_t next = 0;
    for (int i = 0; i < profile->field_count; i++) {
        assert_int_equal(profile->fields[i].place, next);
        next = (uint16_t)(next + profile->fields[i].words);
    }
    assert_int_equal(next, profile->word_count);
    assert_true(next <= PROFILE_WORDS_MAX);
}

static void test_complete_grammar(void **state)
{
    (void)state;
    struct profile *profile = loaded("complete.yaml", complete);
    check_places(profile);
    assert_true(profile->verified);
    assert_int_equal(profile->serial_stop, 2);
    assert_int_equal(profile->limits.max_registers, 40);
    assert_int_equal(profile->limits.max_gap, 0);
    assert_int_equal(profile->limits.pause_ms, 20);
    assert_true(profile->limits.wake_request);
    assert_int_equal(profile->channel_count, 8); // with status and serial number

    const struct profile_channel *volume = &profile->channels[0];
    assert_string_equal(volume->unit, "config");
    assert_int_equal(volume->part_count, 2);
    assert_int_equal(volume->offset.mantissa, -5);
    assert_int_equal(volume->offset.exponent, -1);
    assert_int_equal(volume->not_available_count, 2);
    assert_int_equal(volume->not_available[0], 0xFFFFFFFF);
    assert_int_equal(volume->not_available[1], 0xFFFFFFFE);
    assert_int_equal(profile->fields[volume->parts[0].field].order, ORDER_CDAB);
    const struct field *exponent = &profile->fields[volume->parts[0].scale_field];
    assert_true(volume->parts[0].scale_is_exponent);
    assert_int_equal(exponent->first, 100);
    assert_int_equal(exponent->type, RAW_I16);
    assert_int_equal(exponent->function, 3);
    const struct field *factor = &profile->fields[volume->parts[1].scale_field];
    assert_false(volume->parts[1].scale_is_exponent);
    assert_int_equal(factor->type, RAW_U16);
    assert_int_equal(factor->function, 4);

    assert_int_equal(profile->fields[profile->channels[1].parts[0].field].order, ORDER_CDAB);
    assert_int_equal(profile->channels[1].conversion.factor.exponent, -3);
    assert_int_equal(profile->fields[profile->channels[2].parts[0].field].first, 16);
    assert_string_equal(profile->channels[4].unit, "1");

    assert_int_equal(profile->status_count, 5);
    assert_int_equal(profile->status[1].width, 1);
    assert_int_equal(profile->status[3].width, 2);
    assert_int_equal(profile->status[3].value, 3);
    assert_int_equal(profile->fields[profile->status[3].field].order, ORDER_CDAB);
    assert_int_equal(profile->status[3].field, profile->status[4].field);
    assert_int_equal(profile->status[0].field, profile->status[1].field); // shared
    assert_int_equal(profile->status[1].bit, 15);
    assert_string_equal(profile->status[1].severity, "critical");
    assert_string_equal(profile->status[2].severity, "");
    assert_int_equal(profile->fields[profile->status[2].field].function, 2);
    assert_int_equal(profile->channels[6].channel->kind, CHANNEL_BITS);
    assert_int_equal(profile->channels[7].channel->kind, CHANNEL_IDENTITY);
    const struct field *serial = &profile->fields[profile->channels[7].parts[0].field];
    assert_int_equal(serial->type, RAW_STRING);
    assert_int_equal(serial->words, 5);

    assert_int_equal(profile->archive_count, 1);
    const struct profile_archive *archive = &profile->archives[0];
    assert_string_equal(archive->name, "hours");
    assert_int_equal(archive->records, 720);
    assert_int_equal(archive->time_type, RAW_BCD);
    assert_int_equal(archive->value_count, 1);
    assert_int_equal(archive->values[0].offset, 4);
    profile_free(profile);
}

// The order that is set in the meter is that of archives, status and identity as well.
static void test_word_order_of_the_meter(void **state)
{
    (void)state;
    struct profile *profile = loaded("complete.yaml", complete);
    assert_true(profile_set_word_order(profile, ORDER_DCBA));
    int changed = 0;
    for (int i = 0; i < profile->field_count; i++) {
        const struct field *field = &profile->fields[i];
        bool number = field->type != RAW_STRING && (field->words == 2 || field->words == 4);
        assert_int_equal(field->order, number ? ORDER_DCBA : ORDER_ABCD);
        changed += number ? 1 : 0;
    }
    assert_int_equal(changed, 6);
    assert_int_equal(profile->archives[0].values[0].order, ORDER_DCBA);
    assert_int_equal(profile->archives[0].time_order, ORDER_ABCD); // three registers of digits
    profile_free(profile);
}

static void test_units_of_the_meter(void **state)
{
    (void)state;
    struct profile *profile = loaded("complete.yaml", complete);
    struct err err;
    assert_int_equal(profile_set_unit(profile, 0, "ft3", &err), -1);
    assert_non_null(strstr(err.text, "allowed: m3"));
    assert_int_equal(profile_set_unit(profile, 1, "m3", &err), -1);
    assert_non_null(strstr(err.text, "itself"));
    assert_int_equal(profile_set_unit(profile, 0, "l", &err), 0);
    assert_string_equal(profile->channels[0].unit, "l");
    assert_int_equal(profile->channels[0].conversion.factor.exponent, -3);
    profile_free(profile);
}

// Damaged profiles never crash; what is accepted is whole.
static void test_mutations(void **state)
{
    (void)state;
    static const char *const pieces[] = {
        "[",     "]",    "{",     "}",    ": ",   ",",   "\n",     "  ",       "-",
        "0",     "9",    "65535", "1e-3", "&a ",  "*a",  "!!str ", "<<",       "\"",
        "'",     "\t",   "\xff",  "\xc3", "null", "f64", "CDAB",   "register", "parts",
        "---\n", "%TAG", "#",     "|",    ">",    "?",   "config"};
    int accepted = 0;
    for (int i = 0; i < 6000; i++) {
        char text[sizeof complete + 256];
        const char *seed = i % 2 == 0 ? fuxin : complete;
        size_t length = strlen(seed);
        memcpy(text, seed, length + 1);
        for (int64_t changes = random_between(1, 4); changes > 0; changes--) {
            size_t at = (size_t)random_between(0, (int64_t)length - 1);
            if (random_between(0, 2) == 0) { // remove
                size_t cut = (size_t)random_between(1, 20);
                cut = cut < length - at ? cut : length - at;
                memmove(text + at, text + at + cut, length - at - cut + 1);
                length -= cut;
            } else { // insert
                const char *piece =
                    pieces[random_between(0, (int64_t)(sizeof pieces / sizeof pieces[0]) - 1)];
                size_t added = strlen(piece);
                memmove(text + at + added, text + at, length - at + 1);
                memcpy(text + at, piece, added);
                length += added;
            }
        }
        struct profile *profile = NULL;
        if (profile_load_text("mutated.yaml", text, length, &profile, &faults) != 0) {
            assert_null(profile);
            assert_true(faults.count > 0);
            continue;
        }
        accepted++;
        assert_int_equal(faults.count, 0);
        check_places(profile);
        assert_true(profile->channel_count > 0);
        for (int j = 0; j < profile->channel_count; j++) {
            const struct profile_channel *channel = &profile->channels[j];
            assert_non_null(channel->channel);
            assert_true(channel->part_count > 0 || channel->channel->kind == CHANNEL_BITS);
            for (int k = 0; k < channel->part_count; k++) {
                assert_in_range(channel->parts[k].field, 0, profile->field_count - 1);
                assert_in_range(channel->parts[k].scale_field + 1, 0, profile->field_count);
            }
        }
        profile_free(profile);
    }
    print_message("%d of 6000 damaged profiles still mean something\n", accepted);
    assert_true(accepted > 0 && accepted < 5000);
}

int main(void)
{
    random_start("test_config_profile");
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_contract_profile),   cmocka_unit_test(test_complete_grammar),
        cmocka_unit_test(test_units_of_the_meter), cmocka_unit_test(test_word_order_of_the_meter),
        cmocka_unit_test(test_mutations),
    };
    return cmocka_run_group_tests_name("config/profile", tests, NULL, NULL);
}
