#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "cli/cli.h"

#include "pack_fixture.h"

#include <getopt.h>
#include <jansson.h>

static char output[65536]; // of the last command, stdout

// Runs a command with at most eight arguments after its name; returns its exit status.
static int command(int (*run)(int, char **), ...)
{
    static char name[] = "command";
    char *arguments[10] = {name};
    int count = 1;
    va_list list;
    va_start(list, run);
    while (count < 9 && (arguments[count] = va_arg(list, char *)) != NULL)
        count++;
    va_end(list);
    FILE *capture = tmpfile();
    assert_non_null(capture);
    (void)fflush(stdout);
    int kept = dup(STDOUT_FILENO);
    (void)dup2(fileno(capture), STDOUT_FILENO);
    optind = 0; // a fresh start of getopt
    int status = run(count, arguments);
    (void)fflush(stdout);
    (void)dup2(kept, STDOUT_FILENO);
    (void)close(kept);
    rewind(capture);
    size_t length = fread(output, 1, sizeof output - 1, capture);
    output[length] = '\0';
    (void)fclose(capture);
    return status;
}

// Words of 1.5 and 0.25 (flow 1.5, pressure 0.25 bar) and a counter of 123456789012 x 0.0001.
static const uint16_t known_words[] = {0x1234, 0x5678, 0x9012, 0x3FC0, 0x0000, 0x3E80, 0x0000};

static void make_store(void)
{
    struct store *store = store_must_open();
    struct meter *meter = fixture_meter("m1");
    int number;
    int decoder;
    int64_t configured_ms;
    char id[UUID_SIZE];
    must(store_round_begin(store, &failure));
    must(store_setting_put(store, "gateway", "site-042", &failure));
    must(store_meter(store, "m1", T0, &number, &configured_ms, &failure));
    must(store_decoder(store, meter, &decoder, &failure));
    for (int i = 0; i < 3; i++) {
        struct reading *reading = fixture_reading(meter, T0 + i * 1000);
        memset(&reading->image, 0, sizeof reading->image);
        memcpy(reading->image.words, known_words, sizeof known_words);
        for (int f = 0; i == 1 && f < meter->profile->field_count; f++)
            reading->image.why[f] = WHY_TIMEOUT;
        must(store_reading_add(store, number, decoder, reading, LANE_LIVE, &failure));
        free(reading);
    }
    must(store_reading_pack(store, &failure));
    struct period period = {.span = SPAN_15MIN,
                            .version = 1,
                            .from_ms = T0,
                            .to_ms = T0 + 900000,
                            .expected = 15,
                            .good = 14,
                            .missing = 1,
                            .reasons = {1, {{QUALITY_MISSING, WHY_TIMEOUT, 1}}},
                            .channel_count = 2};
    period.channels[0] = (struct period_channel){.name = "volume_base",
                                                 .kind = CHANNEL_COUNTER,
                                                 .start_known = true,
                                                 .end_known = true,
                                                 .start_micro = 1500000,
                                                 .end_micro = 4000001};
    period.channels[1] = (struct period_channel){.name = "pressure",
                                                 .kind = CHANNEL_GAUGE,
                                                 .weight_ms = 900000,
                                                 .min = 301.1,
                                                 .mean = 301.4,
                                                 .max = 301.9};
    must(store_period_add(store, number, &period, T0 + 900412, LANE_LIVE, MESSAGE_SUMMARY,
                          &failure));
    struct alert_change change = {.kind = ALERT_NO_ANSWER,
                                  .severity = SEVERITY_MAJOR,
                                  .state = ALERT_OPEN,
                                  .subject = "m1",
                                  .at_ms = T0,
                                  .since_ms = T0,
                                  .evidence = {.rule = "3 in a row, \"silent\"", .unit = "reads"}};
    must(store_alert_add(store, &change, true, id, &failure));
    must(store_audit_add(store, T0, "ann", "config.set", "m1", "done", "a,b\n\"c\"", &failure));
    must(store_round_commit(store, &failure));
    store_close(store);
    fixture_meter_free(meter);
}

static void test_readings(void **state)
{
    (void)state;
    make_store();
    assert_int_equal(command(export_main, "readings", "--state", folder, NULL), EXIT_DONE);
    assert_string_equal(output, "meter,at,channel,value,unit,quality,why\n"
                                "m1,2026-11-23T08:00:00.000Z,volume_base,12345678.9012,m3,good,\n"
                                "m1,2026-11-23T08:00:00.000Z,flow_base,1.5,m3/h,good,\n"
                                "m1,2026-11-23T08:00:00.000Z,pressure,25,kPa,good,\n"
                                "m1,2026-11-23T08:00:01.000Z,volume_base,,m3,missing,timeout\n"
                                "m1,2026-11-23T08:00:01.000Z,flow_base,,m3/h,missing,timeout\n"
                                "m1,2026-11-23T08:00:01.000Z,pressure,,kPa,missing,timeout\n"
                                "m1,2026-11-23T08:00:02.000Z,volume_base,12345678.9012,m3,good,\n"
                                "m1,2026-11-23T08:00:02.000Z,flow_base,1.5,m3/h,good,\n"
                                "m1,2026-11-23T08:00:02.000Z,pressure,25,kPa,good,\n");
    // [from, to)
    assert_int_equal(command(export_main, "readings", "--state", folder, "--from",
                             "2026-11-23T08:00:01Z", "--to", "2026-11-23T08:00:02Z", NULL),
                     EXIT_DONE);
    assert_non_null(strstr(output, "08:00:01"));
    assert_null(strstr(output, "08:00:00"));
    assert_null(strstr(output, "08:00:02"));
}

static void test_readings_as_json(void **state)
{
    (void)state;
    make_store();
    assert_int_equal(
        command(export_main, "readings", "--state", folder, "--meter", "m1", "--json", NULL),
        EXIT_DONE);
    int lines = 0;
    for (char *line = output; *line != '\0'; lines++) {
        char *end = strchr(line, '\n');
        assert_non_null(end);
        *end = '\0';
        json_t *object = json_loads(line, JSON_REJECT_DUPLICATES, NULL);
        assert_non_null(object);
        assert_string_equal(json_string_value(json_object_get(object, "schema")), "reading/1");
        assert_string_equal(json_string_value(json_object_get(object, "gateway")), "site-042");
        assert_string_equal(json_string_value(json_object_get(object, "meter")), "m1");
        assert_null(json_object_get(object, "stream"));
        assert_null(json_object_get(object, "lane"));
        assert_null(json_object_get(object, "seq"));
        assert_int_equal(json_object_size(json_object_get(object, "channels")), 3);
        json_decref(object);
        line = end + 1;
    }
    assert_int_equal(lines, 3);
}

static void test_periods_alerts_audit(void **state)
{
    (void)state;
    make_store();
    assert_int_equal(command(export_main, "periods", "--state", folder, NULL), EXIT_DONE);
    assert_non_null(strstr(output, "\nm1,15min,2026-11-23T08:00:00.000Z,2026-11-23T08:15:00.000Z,1,"
                                   "2026-11-23T08:15:00.412Z,volume_base,1.5,4.000001,2.500001,,,,"
                                   "m3,good,,15,14,0,1\n"));
    assert_non_null(strstr(output, ",pressure,,,,301.1,301.4,301.9,kPa,good,,15,14,0,1\n"));
    assert_int_equal(command(export_main, "alerts", "--state", folder, NULL), EXIT_DONE);
    assert_non_null(strstr(output, "no-answer,major,open,,0,0,0,reads,"
                                   "\"3 in a row, \"\"silent\"\"\","));
    assert_int_equal(command(export_main, "audit", "--state", folder, NULL), EXIT_DONE);
    assert_non_null(strstr(output, "\n1,2026-11-23T08:00:00.000Z,ann,config.set,m1,done,"
                                   "\"a,b\n\"\"c\"\"\","));
    assert_int_equal(command(export_main, "audit", "--json", "--state", folder, NULL), EXIT_DONE);
    json_t *object = json_loads(output, JSON_REJECT_DUPLICATES, NULL);
    assert_non_null(object);
    assert_string_equal(json_string_value(json_object_get(object, "detail")), "a,b\n\"c\"");
    json_decref(object);
}

static void test_wrong_usage(void **state)
{
    (void)state;
    make_store();
    assert_int_equal(command(export_main, NULL), EXIT_USAGE);
    assert_int_equal(command(export_main, "readings", NULL), EXIT_USAGE);
    assert_int_equal(command(export_main, "soup", "--state", folder, NULL), EXIT_USAGE);
    assert_int_equal(command(export_main, "readings", "alerts", "--state", folder, NULL),
                     EXIT_USAGE);
    assert_int_equal(command(export_main, "readings", "--state", folder, "--from", "noon", NULL),
                     EXIT_USAGE);
    assert_int_equal(command(export_main, "readings", "--state", folder, "--colour", NULL),
                     EXIT_USAGE);
    assert_int_equal(command(export_main, "audit", "--state", folder, "--meter", "m1", NULL),
                     EXIT_USAGE);
    assert_int_equal(command(export_main, "readings", "--state", folder, "--meter", "m9", NULL),
                     EXIT_PROBLEM);
    assert_int_equal(command(export_main, "readings", "--state", "/nowhere", NULL), EXIT_PROBLEM);
    assert_int_equal(command(export_main, "--help", NULL), EXIT_DONE);
    assert_non_null(strstr(output, "usage: metergate export"));
    assert_int_equal(command(verify_main, NULL), EXIT_USAGE);
    assert_int_equal(command(verify_main, "--state", "/nowhere", NULL), EXIT_PROBLEM);
    assert_int_equal(command(verify_main, "--help", NULL), EXIT_DONE);
}

static void test_a_damaged_row_shows_in_the_status(void **state)
{
    (void)state;
    make_store();
    reading_change(1, short_words);
    assert_int_equal(command(export_main, "readings", "--state", folder, NULL), EXIT_PROBLEM);
    assert_null(strstr(output, "08:00:00"));
    assert_non_null(strstr(output, "08:00:02"));
}

static void test_verify(void **state)
{
    (void)state;
    make_store();
    assert_int_equal(command(verify_main, "--state", folder, NULL), EXIT_DONE);
    assert_string_equal(output, "0 faults\n");
    reading_change(2, NULL);
    assert_int_equal(command(verify_main, "--state", folder, NULL), EXIT_PROBLEM);
    assert_non_null(strstr(output, "lane live has no message 2"));
    // Its number, what its segment counted, and the chain.
    assert_non_null(strstr(output, "\n4 faults\n"));
    assert_int_equal(command(verify_main, "--state", folder, "--json", NULL), EXIT_PROBLEM);
    json_t *object = json_loads(output, JSON_REJECT_DUPLICATES, NULL);
    assert_non_null(object);
    assert_int_equal(json_integer_value(json_object_get(object, "count")), 4);
    assert_int_equal(json_array_size(json_object_get(object, "faults")), 4);
    json_decref(object);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
#define IN_FOLDER(test) cmocka_unit_test_setup_teardown(test, folder_make, folder_remove)
        IN_FOLDER(test_readings),
        IN_FOLDER(test_readings_as_json),
        IN_FOLDER(test_periods_alerts_audit),
        IN_FOLDER(test_wrong_usage),
        IN_FOLDER(test_a_damaged_row_shows_in_the_status),
        IN_FOLDER(test_verify),
    };
    random_start("test_cli_export");
    return cmocka_run_group_tests_name("cli/export", tests, NULL, NULL);
}
