#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "base/file.h"
#include "base/id.h"
#include "base/timetext.h"
#include "gas/gasday.h"
#include "gas/zone_file.h"
#include "poll/schedule.h"

#include "property.h"

#include <errno.h>
#include <ftw.h>
#include <inttypes.h>
#include <string.h>
#include <time.h>

#define HOUR_MS INT64_C(3600000)

static int64_t instant(const char *text)
{
    int64_t at = 0;
    assert_int_equal(time_parse(text, &at), 0);
    return at;
}

static struct gas_calendar calendar_of(const char *zone, int start_minutes)
{
    struct gas_calendar calendar;
    struct err err = {""};
    if (gas_calendar_init(&calendar, zone, start_minutes, &err) != 0)
        fail_msg("%s", err.text);
    return calendar;
}

// tz,start_hour_local,gas_day,start_utc,end_utc,hours,start_epoch,end_epoch
static void check_vector(char *line)
{
    char *rest = line;
    char *cell[8];
    for (int i = 0; i < 8; i++) {
        cell[i] = strsep(&rest, ",\n");
        assert_non_null(cell[i]);
    }
    struct gas_calendar calendar = calendar_of(cell[0], (int)strtol(cell[1], NULL, 10) * 60);
    int64_t from = 1000 * strtoll(cell[6], NULL, 10);
    int64_t to = 1000 * strtoll(cell[7], NULL, 10);
    assert_int_equal(to - from, strtoll(cell[5], NULL, 10) * HOUR_MS);
    for (int64_t at = from; at < to; at += to - from - 1) {
        assert_int_equal(period_start(&calendar, SPAN_DAY, at), from);
        assert_int_equal(period_end(&calendar, SPAN_DAY, at), to);
    }
    assert_int_equal(period_end(&calendar, SPAN_DAY, from - 1), from);
    assert_int_equal(period_start(&calendar, SPAN_DAY, to), to);
    // hours tile the gas day, whatever its length
    int hours = 0;
    for (int64_t at = from; at < to; at = period_end(&calendar, SPAN_HOUR, at)) {
        assert_int_equal(period_start(&calendar, SPAN_HOUR, at), at);
        hours++;
    }
    assert_int_equal(hours, strtol(cell[5], NULL, 10));
}

static void test_vectors(void **state)
{
    (void)state;
    FILE *file = fopen("tests/data/gasday_vectors.csv", "re");
    assert_non_null(file);
    char line[256];
    assert_non_null(fgets(line, sizeof line, file));
    int rows = 0;
    while (fgets(line, sizeof line, file) != NULL) {
        check_vector(line);
        rows++;
    }
    assert_int_equal(fclose(file), 0);
    assert_int_equal(rows, 33);
}

static void test_month(void **state)
{
    (void)state;
    struct gas_calendar calendar = calendar_of("Asia/Shanghai", 360);
    int64_t from = instant("2026-11-30T22:00:00Z");
    int64_t to = instant("2026-12-31T22:00:00Z");
    assert_int_equal(period_start(&calendar, SPAN_MONTH, from), from);
    assert_int_equal(period_end(&calendar, SPAN_MONTH, from), to);
    assert_int_equal(period_start(&calendar, SPAN_MONTH, to - 1), from);
    assert_int_equal(period_start(&calendar, SPAN_MONTH, from - 1),
                     instant("2026-10-31T22:00:00Z"));
    // March in Berlin is an hour shorter, October an hour longer
    calendar = calendar_of("Europe/Berlin", 360);
    from = instant("2026-03-01T05:00:00Z");
    assert_int_equal(period_end(&calendar, SPAN_MONTH, from), instant("2026-04-01T04:00:00Z"));
    from = instant("2026-10-01T04:00:00Z");
    assert_int_equal(period_end(&calendar, SPAN_MONTH, from), instant("2026-11-01T05:00:00Z"));
    // before 1970, and a leap day
    calendar = calendar_of("UTC", 0);
    assert_int_equal(period_end(&calendar, SPAN_MONTH, -1), 0);
    assert_int_equal(period_start(&calendar, SPAN_HOUR, -1), -HOUR_MS);
    assert_int_equal(period_end(&calendar, SPAN_MONTH, instant("2028-02-10T00:00:00Z")),
                     instant("2028-03-01T00:00:00Z"));
}

// Half an hour of summer time: the gas day of the change has 23.5 or 24.5 hours, and its last hour
// only 30 minutes.
static void test_lord_howe(void **state)
{
    (void)state;
    struct gas_calendar calendar = calendar_of("Australia/Lord_Howe", 360);
    const struct {
        const char *from;
        int64_t half_hours;
    } days[] = {{"2026-04-03T19:00:00Z", 49}, {"2026-10-02T19:30:00Z", 47}};
    for (int i = 0; i < 2; i++) {
        int64_t from = instant(days[i].from);
        assert_int_equal(period_start(&calendar, SPAN_DAY, from), from);
        int64_t to = period_end(&calendar, SPAN_DAY, from);
        assert_int_equal(to - from, days[i].half_hours * HOUR_MS / 2);
        assert_int_equal(period_end(&calendar, SPAN_HOUR, to - 1), to);
        assert_int_equal(period_start(&calendar, SPAN_HOUR, to - 1), to - HOUR_MS / 2);
        assert_int_equal(period_start(&calendar, SPAN_15MIN, to - 1), to - HOUR_MS / 4);
        assert_int_equal(period_end(&calendar, SPAN_HOUR, to), to + HOUR_MS);
    }
}

// Samoa had no 30 December 2011: one gas day ends where the day after the next begins.
static void test_skipped_date(void **state)
{
    (void)state;
    struct gas_calendar calendar = calendar_of("Pacific/Apia", 360);
    int64_t from = instant("2011-12-29T16:00:00Z"); // 29th 06:00 at UTC-10
    assert_int_equal(period_start(&calendar, SPAN_DAY, from), from);
    // 18 hours until the jump at midnight; 31st 06:00 is at UTC+14
    int64_t jump = instant("2011-12-30T10:00:00Z");
    assert_int_equal(period_end(&calendar, SPAN_DAY, from), jump);
    assert_int_equal(period_start(&calendar, SPAN_DAY, jump), jump);
    assert_int_equal(period_end(&calendar, SPAN_DAY, jump), instant("2011-12-30T16:00:00Z"));
    assert_int_equal(period_end(&calendar, SPAN_MONTH, from), instant("2011-12-31T16:00:00Z"));
}

static void test_zone_names(void **state)
{
    (void)state;
    assert_true(zone_exists("Asia/Shanghai"));
    assert_true(zone_exists("Etc/GMT+8"));
    assert_true(zone_exists("America/Argentina/Buenos_Aires"));
    static const char *const bad[] = {
        "",        "Mars/Base",      "asia",     "Asia",      "/etc/zone", "../../etc/hosts",
        "Asia/..", ":Asia/Shanghai", "zone.tab", "right/UTC", "tzdata.zi", "CST-8 ",
    };
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        struct gas_calendar calendar = {77};
        struct err err = {""};
        assert_false(zone_exists(bad[i]));
        assert_int_equal(gas_calendar_init(&calendar, bad[i], 0, &err), -1);
        assert_non_null(strstr(err.text, "time zone"));
        assert_int_equal(calendar.start_minutes, 77);
    }
    struct gas_calendar calendar = {77};
    struct err err = {""};
    assert_int_equal(gas_calendar_init(&calendar, "UTC", 1440, &err), -1);
    assert_int_equal(gas_calendar_init(&calendar, "UTC", -1, &err), -1);
    assert_int_equal(calendar.start_minutes, 77);
}

// --- zone files ---

// The C library, which reads the zones by code of its own.
static void tell_c_library(const char *zone)
{
    assert_int_equal(setenv("TZ", zone, 1), 0);
    tzset();
}

static int64_t offset_at(int64_t at_s)
{
    time_t at = (time_t)at_s;
    struct tm local;
    assert_non_null(localtime_r(&at, &local));
    return local.tm_gmtoff;
}

static struct zone_change room[ZONE_CHANGES_MAX];

static size_t read_file(const char *zone, char *bytes, size_t size)
{
    char path[128];
    struct buf file;
    struct err err = {""};
    (void)snprintf(path, sizeof path, "/usr/share/zoneinfo/%s", zone);
    buf_init(&file, size);
    assert_int_equal(file_read(path, &file, &err), 0);
    size_t length = file.length;
    memcpy(bytes, file.data, length);
    buf_release(&file);
    return length;
}

// A file with the rule alone, in place of the 68 years that a table may hold.
static int read_rule(const char *rule, struct zone_table *table)
{
    char bytes[300] = {0};
    size_t length = 0;
    for (int i = 0; i < 2; i++) {
        static const uint8_t counts[] = {0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0,
                                         0, 0, 0, 0, 0, 0, 0, 1, 0, 0, 0, 4};
        memcpy(bytes + length, "TZif2", 5);
        memcpy(bytes + length + 20, counts, sizeof counts);
        length += 44 + 6 + 4; // one type, at UTC; its name
    }
    length += (size_t)snprintf(bytes + length, sizeof bytes - length, "\n%s\n", rule);
    return zone_file_read(bytes, length, table);
}

static void test_rules(void **state)
{
    (void)state;
    struct zone_table table = {0, room};
    static const char *const same[] = {
        // the C library takes a rule itself as its zone
        "CET-1CEST,M3.5.0,M10.5.0/3",           "EST5EDT,M3.2.0,M11.1.0",
        "<+1030>-10:30<+11>-11,M10.1.0,M4.1.0", "IST-2IDT,M3.4.4/26,M10.5.0",
        "<-02>2<-01>,M3.5.0/-1,M10.5.0/0",      "NZST-12NZDT,J268/2:30:15,94",
    };
    for (size_t i = 0; i < sizeof same / sizeof same[0]; i++) {
        assert_int_equal(read_rule(same[i], &table), 0);
        tell_c_library(same[i]);
        assert_true(table.count > 2 * 229);
        for (int k = 1; k < table.count && table.changes[k].at_s < INT64_C(4100000000); k++) {
            int64_t at_s = table.changes[k].at_s;
            assert_int_equal(offset_at(at_s), table.changes[k].offset_s);
            assert_int_equal(offset_at(at_s - 1),
                             k > 1 ? table.changes[k - 1].offset_s : offset_at(at_s - 1));
        }
    }
    assert_int_equal(read_rule("XXX3EDT4,0/0,J365/23", &table), 0); // summer time all the year
    assert_int_equal(table.count, 3);                               // until the years end
    assert_int_equal(table.changes[1].at_s, 3 * 3600);
    assert_int_equal(table.changes[1].offset_s, -4 * 3600);
    static const char *const bad[] = {"C",
                                      "CET",
                                      "CET-1CEST",
                                      "CET-1CEST,M3.5.0",
                                      "CET-1CEST,M13.5.0,M10.5.0",
                                      "CET-1CEST,M3.6.0,M10.5.0",
                                      "CET-1CEST,M3.5.7,M10.5.0/3",
                                      "CET-1CEST,J0,J9",
                                      "CET-168",
                                      "CET-1CEST,M3.5.0,M10.5.0/3x",
                                      "<+1-1",
                                      "CET-1:60",
                                      "CET-1CEST,M3.5.0,366",
                                      "CET-99999"};
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++)
        assert_int_equal(read_rule(bad[i], &table), -1);
}

// What a disk has done to a file: nothing is read beyond its end, and what is believed is in order.
static void test_damaged_files(void **state)
{
    (void)state;
    static char whole[65536];
    static const char *const names[] = {"Europe/Berlin", "America/New_York", "Africa/Casablanca",
                                        "UTC"};
    struct zone_table table = {0, room};
    for (int round = 0; round < 4000; round++) {
        size_t length = read_file(names[round % 4], whole, sizeof whole);
        int edits = (int)random_between(0, 3);
        for (int i = 0; i < edits; i++) {
            size_t at = (size_t)random_between(0, random_u64() % 2 == 0 ? 60 : (int64_t)length - 1);
            whole[at] = (char)random_u64();
        }
        size_t kept = random_u64() % 2 == 0 ? length : (size_t)random_between(0, (int64_t)length);
        char *bytes = malloc(kept + 1); // so that a byte too far is seen
        assert_non_null(bytes);
        memcpy(bytes, whole, kept);
        int result = zone_file_read(bytes, kept, &table);
        assert_true(result == 0 || edits > 0 || kept < length);
        for (int i = 1; result == 0 && i < table.count; i++)
            assert_true(table.changes[i].at_s > table.changes[i - 1].at_s);
        free(bytes);
    }
}

// --- every zone of the machine ---

// The slow way to a gas day's start: the first second at which the clock on the wall shows the
// start, or is past it. Walks in ever smaller steps; no change lasts less than a quarter hour.
static int64_t slow_day_start(int64_t day, int start_minutes)
{
    int64_t wall = day * 86400 + start_minutes * INT64_C(60);
    int64_t at = wall - INT64_C(15) * 3600;
    static const int64_t steps[] = {900, 60, 1};
    for (int i = 0; i < 3; i++) {
        while (at + offset_at(at) < wall)
            at += steps[i];
        at -= i < 2 ? steps[i] : 0;
    }
    return 1000 * at;
}

struct tally {
    int zones, shifting, changes;
};
static struct tally tally;

static void check_tiles(const struct gas_calendar *calendar, enum span span, int64_t from,
                        int64_t to)
{
    for (int64_t at = from; at < to;) {
        int64_t end = period_end(calendar, span, at);
        assert_int_equal(period_start(calendar, span, at), at);
        assert_true(end > at && end <= to);
        assert_true(end - at <= span_nominal_ms(span));
        assert_int_equal(period_start(calendar, span, end - 1), at);
        int64_t inside = random_between(at, end - 1);
        assert_int_equal(period_start(calendar, span, inside), at);
        assert_int_equal(period_end(calendar, span, inside), end);
        at = end;
    }
}

static void check_change(int64_t at_s, int start_minutes, const struct gas_calendar *calendar)
{
    int64_t day = (at_s + offset_at(at_s)) / 86400 - 1;
    int64_t from = slow_day_start(day, start_minutes);
    for (int i = 0; i < 3; i++) {
        day++;
        int64_t to = slow_day_start(day, start_minutes);
        assert_true(to >= from);
        if (to == from)
            continue; // a date that was skipped
        assert_int_equal(period_start(calendar, SPAN_DAY, from), from);
        assert_int_equal(period_end(calendar, SPAN_DAY, from), to);
        assert_int_equal(period_start(calendar, SPAN_DAY, to - 1), from);
        check_tiles(calendar, SPAN_HOUR, from, to);
        check_tiles(calendar, SPAN_15MIN, from, to);
        from = to;
    }
}

static void check_zone(const char *zone)
{
    static const int starts[] = {0, 90, 120, 150, 360, 540, 1425};
    int start = starts[random_between(0, 6)];
    struct gas_calendar calendar = calendar_of(zone, start);
    int changes = 0;
    tell_c_library(zone);
    for (int i = 0; i < 2; i++) { // the C library slows down with each zone that a process saw
        int64_t year = days_from_civil((int)random_between(1970, 2037), 1, 1) * 86400;
        int64_t offset = offset_at(year);
        for (int64_t at = year; at < year + INT64_C(366) * 86400; at += 86400) {
            if (offset_at(at) != offset) {
                offset = offset_at(at);
                check_change(at, start, &calendar);
                changes++;
            }
        }
    }
    tally.zones++;
    tally.shifting += changes > 0;
    tally.changes += changes;
}

static int visit_zone(const char *path, const struct stat *status, int kind, struct FTW *where)
{
    (void)status;
    (void)where;
    const char *zone = path + strlen("/usr/share/zoneinfo/");
    if (kind == FTW_F && strncmp(zone, "posix/", 6) != 0 && zone_exists(zone))
        check_zone(zone);
    return 0;
}

static void test_every_zone(void **state)
{
    (void)state;
    assert_int_equal(nftw("/usr/share/zoneinfo", visit_zone, 8, FTW_PHYS), 0);
    print_message("%d zones, %d with changes in the sampled years, %d changes checked\n",
                  tally.zones, tally.shifting, tally.changes);
    assert_true(tally.zones > 300);
    assert_true(tally.shifting > 80);
}

// --- spans ---

static void test_spans(void **state)
{
    (void)state;
    const struct {
        int summary_minutes, interval_s;
        int count;
        enum span spans[SPANS_MAX];
        int reported;
    } rows[] = {
        {15, 60, 4, {SPAN_15MIN, SPAN_HOUR, SPAN_DAY, SPAN_MONTH}, SPAN_15MIN},
        {1, 1, 5, {SPAN_1MIN, SPAN_15MIN, SPAN_HOUR, SPAN_DAY, SPAN_MONTH}, SPAN_1MIN},
        {5, 60, 5, {SPAN_5MIN, SPAN_15MIN, SPAN_HOUR, SPAN_DAY, SPAN_MONTH}, SPAN_5MIN},
        {30, 60, 5, {SPAN_15MIN, SPAN_30MIN, SPAN_HOUR, SPAN_DAY, SPAN_MONTH}, SPAN_30MIN},
        {60, 900, 4, {SPAN_15MIN, SPAN_HOUR, SPAN_DAY, SPAN_MONTH}, SPAN_HOUR},
        {5, 301, 4, {SPAN_15MIN, SPAN_HOUR, SPAN_DAY, SPAN_MONTH}, SPAN_15MIN},
        {15, 901, 3, {SPAN_HOUR, SPAN_DAY, SPAN_MONTH}, SPAN_HOUR},
        {30, 1800, 4, {SPAN_30MIN, SPAN_HOUR, SPAN_DAY, SPAN_MONTH}, SPAN_30MIN},
        {15, 3600, 3, {SPAN_HOUR, SPAN_DAY, SPAN_MONTH}, SPAN_HOUR},
        {15, 3601, 2, {SPAN_DAY, SPAN_MONTH}, 0},
        {15, 86400, 2, {SPAN_DAY, SPAN_MONTH}, 0},
        {15, 86401, 1, {SPAN_MONTH}, 0},
        {15, 31 * 86400, 1, {SPAN_MONTH}, 0},
    };
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        enum span spans[SPANS_MAX];
        int count = spans_of_meter(rows[i].summary_minutes, rows[i].interval_s, spans);
        assert_int_equal(count, rows[i].count);
        for (int k = 0; k < count; k++)
            assert_int_equal(spans[k], rows[i].spans[k]);
        assert_int_equal(span_reported(rows[i].summary_minutes, rows[i].interval_s),
                         rows[i].reported);
    }
    static const int minutes[] = {1, 5, 15, 30, 60};
    for (int i = 0; i < 5; i++)
        assert_int_equal(span_nominal_ms(span_of_minutes(minutes[i])), minutes[i] * 60000);
    assert_string_equal(span_text(SPAN_1MIN), "1min");
    assert_string_equal(span_text(SPAN_MONTH), "month");
}

// --- due times ---

static void test_grid(void **state)
{
    (void)state;
    struct gas_calendar calendar = calendar_of("Asia/Shanghai", 360);
    struct schedule schedule = {SPAN_15MIN, 420000, 250}; // 7 minutes: 0, 7 and 14
    int64_t from = instant("2026-11-23T08:00:00Z");
    static const int64_t due[] = {250, 420250, 840250, 900250, 1320250};
    int64_t at = from - 1;
    for (int i = 0; i < 5; i++) {
        at = schedule_next(&schedule, &calendar, at);
        assert_int_equal(at - from, due[i]);
    }
    assert_int_equal(schedule_next(&schedule, &calendar, from + 250), from + 420250);
    assert_int_equal(schedule_next(&schedule, &calendar, from + 249), from + 250);
    assert_int_equal(schedule_count(&schedule, &calendar, from, from + 900000), 3);
    assert_int_equal(schedule_count(&schedule, &calendar, from + 250, from + 251), 1);
    assert_int_equal(schedule_count(&schedule, &calendar, from + 251, from + 420250), 0);
    assert_int_equal(schedule_count(&schedule, &calendar, from, from), 0);
    assert_int_equal(schedule_count(&schedule, &calendar, from + 5, from), 0);
}

// Meters of one site spread over the second; a phase never changes from one version to the next.
static void test_phase(void **state)
{
    (void)state;
    int tenth[10] = {0};
    for (int i = 0; i < 500; i++) {
        char id[ID_SIZE];
        (void)snprintf(id, sizeof id, "boiler-%d", i);
        int64_t phase = schedule_phase_ms(id, 60000);
        assert_true(phase >= 0 && phase < 1000);
        assert_true(schedule_phase_ms(id, 100) >= 0 && schedule_phase_ms(id, 100) < 100);
        assert_int_equal(schedule_phase_ms(id, 1000), phase);
        tenth[phase / 100]++;
    }
    for (int i = 0; i < 10; i++)
        assert_in_range(tenth[i], 25, 75);
    assert_int_equal(schedule_phase_ms("boiler-1", 60000), 504);
}

// schedule_count is the number of steps that schedule_next takes, over changes of the clock too.
static void test_count_is_next(void **state)
{
    (void)state;
    static const char *const zones[] = {"Europe/Berlin", "Australia/Lord_Howe", "Pacific/Apia",
                                        "Asia/Shanghai", "America/Chicago",     "Africa/Monrovia"};
    static const char *const around[] = {"2026-03-28T12:00:00Z", "2026-04-04T12:00:00Z",
                                         "2011-12-30T00:00:00Z", "2026-07-01T00:00:00Z",
                                         "2026-11-01T00:00:00Z", "1972-01-07T00:00:00Z"};
    for (int round = 0; round < 400; round++) {
        int zone = (int)random_between(0, 5);
        struct gas_calendar calendar = calendar_of(zones[zone], (int)random_between(0, 95) * 15);
        static const int64_t lengths[] = {60, 300, 900, 1800, 3600, 86400, 2592000};
        int span = (int)random_between(0, 6);
        int64_t interval = random_between(1 + lengths[span] / 400, lengths[span]) * 1000;
        struct schedule schedule = {(enum span)(span + 1), interval,
                                    random_between(0, (interval < 1000 ? interval : 1000) - 1)};
        int64_t from = instant(around[zone]) + random_between(-86400000, 86400000);
        int64_t to = from + random_between(0, interval * 500);
        int64_t count = 0;
        int64_t last = from - 1;
        for (int64_t at = schedule_next(&schedule, &calendar, from - 1); at < to;
             at = schedule_next(&schedule, &calendar, at)) {
            assert_true(at > last);
            assert_true(at - period_start(&calendar, schedule.span, at) >= schedule.phase_ms);
            last = at;
            count++;
        }
        assert_int_equal(schedule_count(&schedule, &calendar, from, to), count);
        int64_t middle = random_between(from, to);
        assert_int_equal(schedule_count(&schedule, &calendar, from, middle) +
                             schedule_count(&schedule, &calendar, middle, to),
                         count);
    }
}

int main(void)
{
    random_start("test_gas_gasday");
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_vectors),    cmocka_unit_test(test_month),
        cmocka_unit_test(test_lord_howe),  cmocka_unit_test(test_skipped_date),
        cmocka_unit_test(test_zone_names), cmocka_unit_test(test_every_zone),
        cmocka_unit_test(test_rules),      cmocka_unit_test(test_damaged_files),
        cmocka_unit_test(test_spans),      cmocka_unit_test(test_grid),
        cmocka_unit_test(test_phase),      cmocka_unit_test(test_count_is_next),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
