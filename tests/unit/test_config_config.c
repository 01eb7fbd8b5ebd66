#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "config/config.h"

#include "property.h"

#include <math.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

static struct faults faults;
static char folder[64];
static struct config_search search = {folder};

static const char plain_profile[] = "model: Plain\n"
                                    "source: made for this test\n"
                                    "verified: true\n"
                                    "channels:\n"
                                    "  volume_measured: {register: 0, type: u32, unit: m3}\n";
static const char open_profile[] = "model: Units open\n"
                                   "source: made for this test\n"
                                   "channels:\n"
                                   "  volume_base: {register: 0, type: u32, unit: config}\n"
                                   "  flow_base: {register: 2, type: f32, unit: config}\n";

// The contract's example, with this test's profiles.
static const char contract[] =
    "gateway: {id: site-042, name: North Works, timezone: Asia/Shanghai, gas_day_start: "
    "\"06:00\"}\n"
    "gas:\n"
    "  base_pressure_kpa: 101.325\n"
    "  base_temperature_c: 20\n"
    "  method: sgerg88\n"
    "  heating_value_mj_m3: 40.66\n"
    "  relative_density: 0.581\n"
    "  co2_mol_percent: 0.6\n"
    "  h2_mol_percent: 0\n"
    "links:\n"
    "  - {id: hall-1, url: \"rtu:///dev/ttyS0?baud=9600&parity=N&stop=1\", response_timeout_ms: "
    "500, pause_ms: 0}\n"
    "  - {id: hall-2, url: \"tcp://127.0.0.1:1502\", retries: 3}\n"
    "meters:\n"
    "  - id: boiler-1\n"
    "    name: Boiler house 1\n"
    "    link: hall-1\n"
    "    unit: 1\n"
    "    profile: plain\n"
    "    display_checked: 2026-11-20\n"
    "    interval_s: 30\n"
    "    customer: \"100234\"\n"
    "    qmin_m3_h: 8\n"
    "    qmax_m3_h: 160\n"
    "  - id: line-2\n"
    "    link: hall-2\n"
    "    unit: 0\n"
    "    profile: open\n"
    "    units: {volume_base: l, flow_base: l/min}\n"
    "    gas: {method: fixed, compressibility_ratio: 0.998}\n"
    "  - {id: line-3, link: hall-2, unit: 255, profile: ./open.yaml, units: {flow_base: m3/h, "
    "volume_base: m3}}\n"
    "  - {id: line-4, link: hall-2, unit: 7, profile: open, units: {flow_base: l/min, "
    "volume_base: l}}\n"
    "office:\n"
    "  url: mqtts://mqtt.example.com:8883\n"
    "  ca: /etc/metergate/office-ca.pem\n"
    "  certificate: gateway.pem\n"
    "  key: /etc/metergate/gateway.key\n"
    "  prefix: metergate/v1\n"
    "  summary_minutes: 15\n"
    "  raw_readings: false\n"
    "  unsubscribed: accept\n"
    "  acknowledge: office\n"
    "  command_key: /etc/metergate/office-command.pub\n"
    "web: {listen: \"0.0.0.0:8443\"}\n"
    "store: {raw_days: 90, max_size_mb: 4096, commit_ms: 1000}\n"
    "detect: {over-range: {enabled: false}}\n"
    "grading: {policy: grading.yaml, customers: customers.csv}\n";

static void put(const char *name, const char *text)
{
    char path[128];
    (void)snprintf(path, sizeof path, "%s/%s", folder, name);
    FILE *file = fopen(path, "we");
    assert_non_null(file);
    assert_true(fputs(text, file) >= 0);
    assert_int_equal(fclose(file), 0);
}

static int set_up(void **state)
{
    (void)state;
    (void)snprintf(folder, sizeof folder, "/tmp/test_config.XXXXXX");
    if (mkdtemp(folder) == NULL)
        return -1;
    put("plain.yaml", plain_profile);
    put("open.yaml", open_profile);
    put("broken.yaml", "model: Broken\nsource: x\nchannels: {pressure: {register: 1}}\n");
    return 0;
}

static int tear_down(void **state)
{
    (void)state;
    static const char *const names[] = {"plain.yaml", "open.yaml", "broken.yaml", "site.yaml"};
    for (size_t i = 0; i < sizeof names / sizeof names[0]; i++) {
        char path[128];
        (void)snprintf(path, sizeof path, "%s/%s", folder, names[i]);
        (void)unlink(path);
    }
    return rmdir(folder);
}

static struct config *try(const char *text, size_t length)
{
    char path[128];
    struct config *config = NULL;
    (void)snprintf(path, sizeof path, "%s/site.yaml", folder);
    int result = config_load_text(path, text, length, &search, &config, &faults);
    assert_int_equal(result == 0, config != NULL);
    assert_int_equal(result == 0, faults.count == 0);
    return config;
}

static struct config *loaded(const char *text)
{
    struct config *config = try(text, strlen(text));
    if (config == NULL) {
        for (int i = 0; i < faults.count; i++) {
            print_error("%s:%d:%d: %s: %s\n", faults.list[i].file, faults.list[i].line,
                        faults.list[i].column, faults.list[i].path, faults.list[i].message);
        }
        fail();
    }
    return config;
}

static void check_contract(const struct config *config)
{
    assert_string_equal(config->gateway_id, "site-042");
    assert_string_equal(config->gateway_name, "North Works");
    assert_string_equal(config->timezone, "Asia/Shanghai");
    assert_int_equal(config->gas_day_start_minutes, 360);
    assert_int_equal(config->link_count, 2);
    assert_int_equal(config->links[0].url.baud, 9600);
    assert_int_equal(config->links[0].retries, 1);
    assert_int_equal(config->links[1].url.port, 1502);
    assert_int_equal(config->links[1].response_timeout_ms, 500);
    assert_int_equal(config->links[1].retries, 3);
    assert_int_equal(config->meter_count, 4);
    const struct meter *boiler = &config->meters[0];
    assert_string_equal(boiler->name, "Boiler house 1");
    assert_int_equal(boiler->link, 0);
    assert_int_equal(boiler->unit, 1);
    assert_int_equal(boiler->interval_s, 30);
    assert_string_equal(boiler->customer, "100234");
    assert_true(boiler->qmin_m3_h == 8 && boiler->qmax_m3_h == 160);
    assert_false(boiler->unverified);
    assert_int_equal(boiler->gas.method, GAS_SGERG88);
    const struct meter *line = &config->meters[1];
    assert_int_equal(line->link, 1);
    assert_int_equal(line->interval_s, 60);
    assert_true(isnan(line->qmin_m3_h) && isnan(line->qmax_m3_h));
    assert_true(line->unverified);
    assert_int_equal(line->gas.method, GAS_FIXED);
    assert_true(line->gas.compressibility_ratio == 0.998 && line->gas.base_temperature_c == 20);
    assert_true(isnan(boiler->gas.compressibility_ratio));
}

static void test_contract(void **state)
{
    (void)state;
    struct config *config = loaded(contract);
    check_contract(config);
    const struct meter *line = &config->meters[1];
    int volume = profile_channel_find(line->profile, "volume_base");
    assert_string_equal(line->units[volume], "l");
    assert_string_equal(line->profile->channels[volume].unit, "l");
    assert_int_equal(line->profile->channels[volume].conversion.factor.exponent, -3);
    assert_string_equal(config->meters[2].profile->channels[volume].unit, "m3");
    assert_ptr_equal(config->meters[3].profile, line->profile); // reads alike
    char certificate[128];
    (void)snprintf(certificate, sizeof certificate, "%s/gateway.pem", folder);
    assert_true(config->office.present);
    assert_string_equal(config->office.certificate, certificate);
    assert_string_equal(config->office.client_id, "site-042");
    assert_true(config->office.accept_unsubscribed);
    assert_true(config->office.keep_unconfirmed);
    assert_int_equal(config->office.summary_minutes, 15);
    assert_true(config->detect.no_answer && config->detect.link_down);
    assert_false(config->detect.over_range);
    assert_string_equal(config->text, contract);
    assert_int_equal(strspn(config->revision, "0123456789abcdef"), 16);
    assert_int_equal(config_meter_find(config, "line-3"), 2);
    assert_int_equal(config_meter_find(config, "line-9"), -1);
    assert_int_equal(config_link_find(config, "hall-2"), 1);
    assert_ptr_equal(config_ref(config), config);
    config_unref(config);
    assert_string_equal(config->web_listen, "0.0.0.0:8443");
    config_unref(config);
    config_unref(NULL);
}

static void test_smallest(void **state)
{
    (void)state;
    struct config *config = loaded("gateway: {id: a, timezone: UTC}");
    assert_int_equal(config->link_count, 0);
    assert_int_equal(config->gas_day_start_minutes, 360);
    assert_true(config->gas.base_pressure_kpa == 101.325 && config->gas.base_temperature_c == 20);
    assert_false(config->office.present);
    assert_string_equal(config->office.prefix, "metergate/v1");
    assert_string_equal(config->web_listen, "0.0.0.0:8443");
    assert_int_equal(config->store_raw_days, 90);
    assert_int_equal(config->store_max_size_mb, 4096);
    assert_int_equal(config->store_commit_ms, 1000);
    assert_true(config->detect.over_range);
    config_unref(config);
}

// JSON is the same document.
static void test_json(void **state)
{
    (void)state;
    struct config *config = loaded(
        "{\"gateway\":{\"id\":\"site-042\",\"timezone\":\"UTC\",\"gas_day_start\":\"23:45\",\n"
        "\t\"name\":\"\\u5317\\/\\u5382\"},\"links\":[{\"id\":\"l\",\"url\":\"tcp://[::1]:502\"}],"
        "\"meters\":[{\"id\":\"m\",\"link\":\"l\",\"unit\":7,\"profile\":\"plain\"}]}");
    assert_string_equal(config->gateway_name, "北/厂");
    assert_int_equal(config->gas_day_start_minutes, 23 * 60 + 45);
    assert_string_equal(config->links[0].url.address, "::1");
    config_unref(config);
}

// The table says what a scalar is, not YAML.
static void test_typed_by_the_table(void **state)
{
    (void)state;
    struct config *config = loaded("\xEF\xBB\xBFgateway: {id: 42, timezone: UTC, name: no, "
                                   "gas_day_start: 06:15}\r\n"
                                   "store: {raw_days: \"7\", commit_ms: 0x64}\r\n"
                                   "gas: {base_temperature_c: 1.5e1}\r\n"
                                   "web: {listen: '127.0.0.1:1'}\r\n");
    assert_string_equal(config->gateway_id, "42");
    assert_string_equal(config->gateway_name, "no");
    assert_int_equal(config->gas_day_start_minutes, 375);
    assert_int_equal(config->store_raw_days, 7);
    assert_int_equal(config->store_commit_ms, 100);
    assert_true(config->gas.base_temperature_c == 15);
    config_unref(config);
}

static void test_load_file(void **state)
{
    (void)state;
    char path[128];
    struct config *config = NULL;
    (void)snprintf(path, sizeof path, "%s/site.yaml", folder);
    assert_int_equal(config_load(path, &search, &config, &faults), -1);
    assert_int_equal(faults.count, 1);
    assert_non_null(strstr(faults.list[0].message, "cannot be opened"));
    put("site.yaml", contract);
    assert_int_equal(config_load(path, &search, &config, &faults), 0);
    check_contract(config);
    config_unref(config);
}

// Meters that read alike share a profile; another word order is another profile.
static void test_word_order(void **state)
{
    (void)state;
    static const char meters[] =
        "gateway: {id: a, timezone: UTC}\n"
        "links: [{id: bus, url: \"tcp://127.0.0.1:1\"}]\n"
        "meters:\n"
        "  - {id: m1, link: bus, unit: 1, profile: plain}\n"
        "  - {id: m2, link: bus, unit: 2, profile: plain, word_order: CDAB}\n"
        "  - {id: m3, link: bus, unit: 3, profile: plain, word_order: DCBA}\n"
        "  - {id: m4, link: bus, unit: 4, profile: plain, word_order: CDAB}\n";
    static const char *const orders[] = {"", "CDAB", "DCBA", "CDAB"};
    static const enum word_order wanted[] = {ORDER_ABCD, ORDER_CDAB, ORDER_DCBA, ORDER_CDAB};
    struct config *config = loaded(meters);
    for (int i = 0; i < 4; i++) {
        const struct meter *meter = &config->meters[i];
        assert_string_equal(meter->word_order, orders[i]);
        for (int j = 0; j < meter->profile->field_count; j++)
            if (meter->profile->fields[j].words == 2)
                assert_int_equal(meter->profile->fields[j].order, wanted[i]);
    }
    assert_ptr_equal(config->meters[1].profile, config->meters[3].profile);
    assert_ptr_not_equal(config->meters[0].profile, config->meters[1].profile);
    config_unref(config);
}

// The text with `from` replaced by `to`.
static struct config *changed(const char *from, const char *to)
{
    static char text[sizeof contract + 256];
    const char *at = strstr(contract, from);
    assert_non_null(at);
    (void)snprintf(text, sizeof text, "%.*s%s%s", (int)(at - contract), contract, to,
                   at + strlen(from));
    return loaded(text);
}

static void test_link_equal(void **state)
{
    (void)state;
    static const struct {
        const char *from, *to;
        bool first_equal, second_equal;
    } changes[] = {
        {"North Works", "South Works", true, true},
        {"retries: 3", "retries: 2", true, false},
        {"baud=9600", "baud=4800", false, true},
        {"interval_s: 30", "interval_s: 31", false, true},
        {"name: Boiler house 1", "name: Boiler house 2", false, true},
        {"volume_base: l,", "volume_base: m3,", true, false},
        {"profile: plain", "profile: plain\n    word_order: CDAB", false, true},
        {"qmax_m3_h: 160", "qmax_m3_h: 161", false, true},
        {"co2_mol_percent: 0.6", "co2_mol_percent: 0.7", false, false},
        {"display_checked: 2026-11-20\n    interval_s", "interval_s", false, true},
        {"link: hall-1", "link: hall-2", false, false},
        {"summary_minutes: 15", "summary_minutes: 5", false, false}, // moves the due times
    };
    struct config *config = loaded(contract);
    for (size_t i = 0; i < sizeof changes / sizeof changes[0]; i++) {
        struct config *other = changed(changes[i].from, changes[i].to);
        bool first = config_link_equal(config, 0, other, 0);
        bool second = config_link_equal(config, 1, other, 1);
        if (first != changes[i].first_equal || second != changes[i].second_equal) {
            print_error("%s -> %s: %d %d\n", changes[i].from, changes[i].to, first, second);
            fail();
        }
        config_unref(other);
    }
    config_unref(config);
}

// ---- faults -------------------------------------------------------------------------------------

static void check_fault(const char *text, size_t length, int line, int column, const char *path,
                        const char *message)
{
    assert_null(try(text, length));
    int kept = faults.count < FAULTS_MAX ? faults.count : FAULTS_MAX;
    for (int i = 0; i < kept; i++) {
        const struct fault *fault = &faults.list[i];
        if (fault->line == line && fault->column == column && strcmp(fault->path, path) == 0 &&
            strstr(fault->message, message) != NULL)
            return;
        print_error("%d:%d: %s: %s\n", fault->line, fault->column, fault->path, fault->message);
    }
    print_error("not among them: %d:%d: %s: %s\n", line, column, path, message);
    fail();
}

static void test_broken_text(void **state)
{
    (void)state;
    static const char nul[] = "gateway: {id: a, timezone: UTC, name: \"x\\0y\"}";
    check_fault("gateway: \xff", 10, 1, 10, "", "not UTF-8");
    check_fault("# \xe5\x8c\x97\n\xc0\x80: 1", 9, 2, 1, "", "0xC0 is not UTF-8");
    check_fault("a: \xed\xa0\x80", 6, 1, 4, "", "not UTF-8");
    check_fault("a: \xf0\x9f", 5, 1, 4, "", "not UTF-8");
    check_fault("", 0, 1, 1, "", "the file is empty");
    check_fault("# nothing\n", 10, 1, 1, "", "the file is empty");
    check_fault("gateway: {id: a\x01}", 17, 1, 16, "", "not YAML");
    check_fault(nul, sizeof nul - 1, 1, 39, "gateway.name", "NUL");
    check_fault("- 1", 3, 1, 1, "", "a configuration is a map");
    char deep[200];
    memset(deep, '[', sizeof deep);
    check_fault(deep, sizeof deep, 1, 17, "[0][0][0][0][0][0][0][0][0][0][0][0][0][0][0]",
                "allowed: 16 levels");
}

static void test_bounds(void **state)
{
    (void)state;
    static char text[2000000];
    int length = snprintf(text, sizeof text, "a:");
    for (int i = 0; i <= 256; i++)
        length += snprintf(text + length, sizeof text - (size_t)length, "\n k%d: 1", i);
    check_fault(text, (size_t)length, 258, 2, "a.k256", "allowed: 256");
    length = snprintf(text, sizeof text, "a: [");
    for (int i = 0; i < 262143; i++)
        length += snprintf(text + length, sizeof text - (size_t)length, "1,");
    check_fault(text, (size_t)length, 1, 5 + 2 * 262142, "a", "allowed: 262144");
    length = snprintf(text, sizeof text, "gateway: {id: a, timezone: UTC}\nlinks:\n");
    for (int i = 0; i < 901; i++) {
        length += snprintf(text + length, sizeof text - (size_t)length,
                           "- {id: l%d, url: \"tcp://127.0.0.1:%d\"}\n", i, i + 1);
    }
    check_fault(text, (size_t)length, 3, 1, "links", "at most 900");
    length = snprintf(text, sizeof text, "gateway: {id: a, timezone: UTC}\nmeters:\n");
    for (int i = 0; i < 500; i++)
        length += snprintf(text + length, sizeof text - (size_t)length, "- {}\n");
    check_fault(text, (size_t)length, 3, 3, "meters[0].id", "missing");
    assert_int_equal(faults.count, 2000); // all are counted, FAULTS_MAX are kept
    static struct buf large;
    buf_init(&large, SIZE_MAX / 2);
    while (large.length <= CONFIG_TEXT_MAX)
        buf_add_text(&large, "#23456789012345678901234567890123456789012345678901234567890123\n");
    check_fault(large.data, large.length, 0, 0, "", "allowed: 8388608");
    buf_release(&large);
}

static void test_broken_profile(void **state)
{
    (void)state;
    static const char text[] = "gateway: {id: a, timezone: UTC}\n"
                               "links: [{id: l, url: \"tcp://127.0.0.1\"}]\n"
                               "meters:\n"
                               "- {id: m, link: l, unit: 1, profile: broken}\n"
                               "- {id: n, link: l, unit: 2, profile: broken}\n";
    check_fault(text, sizeof text - 1, 4, 38, "meters[0].profile", "has 2 faults");
    check_fault(text, sizeof text - 1, 5, 38, "meters[1].profile", "as told above");
    assert_int_equal(faults.count, 4);
    assert_non_null(strstr(faults.list[2].file, "/broken.yaml")); // after those of the file
    assert_int_equal(faults.list[2].line, 3);
    assert_int_equal(faults.list[2].column, 22);
}

// Damaged texts never crash; what is accepted is a complete configuration.
static void test_mutations(void **state)
{
    (void)state;
    static const char *const pieces[] = {
        "[",   "]",     "{",  "}",   ": ",   ",",  "\n",     "  ",     "- ",   "0",     "9",
        "-",   "&a ",   "*a", "!x ", "<<: ", "\"", "'",      "\t",     "\xff", "\xc3",  "null",
        "...", "---\n", "#",  "|",   ">",    "? ", "hall-1", "line-2", "id",   "units", "true"};
    int accepted = 0;
    for (int i = 0; i < 4000; i++) {
        char text[sizeof contract + 256];
        size_t length = sizeof contract - 1;
        memcpy(text, contract, sizeof contract);
        for (int64_t changes = random_between(1, 3); changes > 0; changes--) {
            size_t at = (size_t)random_between(0, (int64_t)length - 1);
            if (random_between(0, 2) == 0) { // remove
                size_t cut = (size_t)random_between(1, 30);
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
        struct config *config = try(text, length);
        if (config == NULL)
            continue;
        accepted++;
        assert_true(id_is_valid(config->gateway_id));
        assert_true(config->timezone[0] != '\0');
        for (int j = 0; j < config->meter_count; j++) {
            const struct meter *meter = &config->meters[j];
            assert_true(id_is_valid(meter->id));
            assert_in_range(meter->link, 0, config->link_count - 1);
            assert_in_range(meter->unit, 0, 255);
            assert_in_range(meter->interval_s, 1, 86400);
            assert_non_null(meter->profile);
            for (int k = 0; k < meter->profile->channel_count; k++)
                assert_string_not_equal(meter->profile->channels[k].unit, "config");
        }
        config_unref(config);
    }
    print_message("%d of 4000 damaged configurations still mean something\n", accepted);
    assert_true(accepted > 0 && accepted < 3500);
}

int main(void)
{
    random_start("test_config_config");
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_contract),   cmocka_unit_test(test_smallest),
        cmocka_unit_test(test_json),       cmocka_unit_test(test_typed_by_the_table),
        cmocka_unit_test(test_load_file),  cmocka_unit_test(test_link_equal),
        cmocka_unit_test(test_word_order), cmocka_unit_test(test_broken_text),
        cmocka_unit_test(test_bounds),     cmocka_unit_test(test_broken_profile),
        cmocka_unit_test(test_mutations),
    };
    return cmocka_run_group_tests_name("config/config", tests, set_up, tear_down);
}
