// The completeness ledger against an own count: random histories with silences, missed polls, stops
// and kills, over gas days of 23, 24 and 25 hours.
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "recorder_fixture.h"

#include <inttypes.h>

static int64_t days[3]; // beginnings of a gas day of 23, 24 and 25 hours

static int group_set_up(void **state)
{
    (void)state;
    must(gas_calendar_init(&calendar, "Europe/Berlin", 360, &failure));
    start_ms = period_end(&calendar, SPAN_DAY, clock_floor_ms());
    // what comes before them in these tests is later than the build as well
    for (int64_t day = start_ms + 72 * HOUR; days[0] == 0 || days[1] == 0 || days[2] == 0;
         day = period_end(&calendar, SPAN_DAY, day)) {
        int64_t hours = (period_end(&calendar, SPAN_DAY, day) - day) / HOUR;
        assert_in_range(hours, 23, 25);
        if (days[hours - 23] == 0)
            days[hours - 23] = day;
    }
    return 0;
}

// --- lives ---

enum { OUTAGES_MAX = 64 };
static struct outage truth[OUTAGES_MAX]; // when no gateway ran
static int truth_count;

static int64_t newest_stored(void)
{
    int64_t newest;
    struct store *store = store_must_read();
    must(store_reading_newest(store, &newest, &failure));
    store_close(store);
    return newest;
}

// One life over stream[from..to), in a process of its own. Killed, or stopped at its end.
static void live(struct config *config, int64_t at_ms, int from, int to, bool killed, bool settled)
{
    pid_t child = fork();
    assert_true(child >= 0);
    if (child == 0) {
        clock_start(at_ms);
        struct recorder *recorder = recorder_must_start(config);
        offer_range(recorder, config, from, to);
        if (!killed || settled)
            settle(recorder);
        if (killed)
            (void)kill(getpid(), SIGKILL);
        recorder_stop(recorder);
        _exit(0);
    }
    int status = 0;
    assert_int_equal(waitpid(child, &status, 0), child);
    assert_true(killed ? WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL
                       : WIFEXITED(status) && WEXITSTATUS(status) == 0);
}

// Two of a kind that follow at once are one.
static void add_truth(int64_t from_ms, int64_t to_ms, uint16_t why)
{
    struct outage *last = truth_count > 0 ? &truth[truth_count - 1] : NULL;
    if (last != NULL && last->why == why && last->to_ms == from_ms)
        last->to_ms = to_ms;
    else
        truth[truth_count++] = (struct outage){from_ms, to_ms, why};
}

// Plays the stream with down times in it; what falls into them is never offered.
static void play(struct config *config, bool losses)
{
    int from = 0;
    int64_t at = T0;
    truth_count = 0;
    while (from < stream_count) {
        int to = from + (int)random_between(from == 0 ? 32 : 1, stream_count / 3 + 32);
        bool last = to >= stream_count || truth_count == OUTAGES_MAX;
        to = last ? stream_count : to;
        bool killed = !last && random_between(0, 1) == 0;
        live(config, at, from, to, killed, !losses || from == 0);
        int64_t end = stream[to - 1].at_ms > at ? stream[to - 1].at_ms : at;
        end = killed ? newest_stored() : end;
        end = end > at ? end : at; // killed before it kept anything
        from = last ? to : to + (int)random_between(0, stream_count / 8);
        from = from < stream_count - 8 ? from : stream_count - 8;
        from = last ? stream_count : from < to ? to : from;
        at = stream[from - 1].at_ms + 1;
        if (!last)
            add_truth(end, at, killed ? WHY_GATEWAY_DOWN : WHY_GATEWAY_STOPPED);
    }
}

// --- the own count ---

struct count {
    int64_t expected, good, suspect, missing, timeouts, unread, down;
};

struct found {
    const struct config *config;
    int meter;
    int64_t from_ms, to_ms;
    int count;
    int64_t due_ms[STREAM_MAX];
    enum quality worst[STREAM_MAX];
};
static struct found found;

static bool keep_due(void *context, const struct stored_reading *reading)
{
    (void)context;
    if (reading->due_ms < found.from_ms || reading->due_ms >= found.to_ms)
        return true;
    found.due_ms[found.count] = reading->due_ms;
    found.worst[found.count++] = values_worst(reading->values, reading->value_count);
    return true;
}

static bool was_down(int64_t due)
{
    for (int i = 0; i < truth_count; i++)
        if (due >= truth[i].from_ms && due < truth[i].to_ms)
            return true;
    return false;
}

// Due times by plain steps through the hours' quarters (or the day), as the contract has them.
static struct count count_between(int64_t from_ms, int64_t to_ms, int64_t configured_ms)
{
    struct count count = {.expected = 0};
    struct schedule schedule = schedule_for(found.config, found.meter);
    for (int64_t start = from_ms; start < to_ms;
         start = period_end(&calendar, schedule.span, start)) {
        int64_t end = period_end(&calendar, schedule.span, start);
        for (int64_t due = start + schedule.phase_ms; due < end; due += schedule.interval_ms) {
            if (due < configured_ms)
                continue;
            int place = 0;
            while (place < found.count && found.due_ms[place] != due)
                place++;
            bool read = place < found.count;
            count.expected++;
            count.good += read && found.worst[place] == QUALITY_GOOD;
            count.suspect += read && found.worst[place] == QUALITY_SUSPECT;
            count.timeouts += read && found.worst[place] == QUALITY_MISSING;
            count.unread += !read;
            count.down += !read && was_down(due);
        }
    }
    count.missing = count.timeouts + count.unread;
    return count;
}

static int64_t missing_by(const struct reasons *reasons, uint16_t why)
{
    return reasons_of(reasons, QUALITY_MISSING, why);
}

static void check_hour(const struct ledger_hour *hour, int64_t configured_ms, bool exact)
{
    struct count count = count_between(hour->from_ms, hour->to_ms, configured_ms);
    int64_t down = missing_by(&hour->reasons, WHY_GATEWAY_DOWN) +
                   missing_by(&hour->reasons, WHY_GATEWAY_STOPPED);
    int64_t unread = down + missing_by(&hour->reasons, WHY_NOT_POLLED);
    int64_t reach = schedule_for(found.config, found.meter).interval_ms + 10 * MINUTE;
    int touching = 0; // a poll that was under way when an outage began may be counted as its own
    for (int i = 0; i < truth_count; i++)
        touching +=
            truth[i].from_ms < hour->to_ms + reach && truth[i].to_ms > hour->from_ms - reach;
    assert_int_equal(hour->good, count.good);
    assert_int_equal(hour->suspect, count.suspect);
    assert_int_equal(hour->missing, count.missing);
    assert_int_equal(missing_by(&hour->reasons, WHY_TIMEOUT), count.timeouts);
    assert_int_equal(unread, count.unread);
    assert_true(down >= count.down);
    if (exact) // nothing else was missed, and the poll under way when it ended is one of them
        assert_int_equal(down, count.unread);
    else
        assert_in_range(down, count.down, count.down + 2 * touching);
}

struct seen {
    int count;
    struct stored_ledger list[16];
    struct stored_period day;
};

static bool keep_ledger(void *context, const struct stored_ledger *ledger)
{
    struct seen *seen = context;
    assert_true(seen->count < 16);
    seen->list[seen->count++] = *ledger;
    return true;
}

static bool keep_day(void *context, const struct stored_period *period)
{
    ((struct seen *)context)->day = *period;
    return true;
}

static bool compare_index(void *context, const struct stored_period *stored)
{
    const struct ledger *ledger = context;
    const struct period_channel *volume = period_counter(&stored->period, "volume_base");
    for (int i = 0; i < ledger->hour_count; i++) {
        if (ledger->hours[i].from_ms != stored->period.from_ms)
            continue;
        assert_int_equal(ledger->hours[i].to_ms, stored->period.to_ms);
        assert_int_equal(ledger->hours[i].index,
                         volume->end_known ? volume->end_quality : QUALITY_MISSING);
        return true;
    }
    fail_msg("an hour that the ledger does not have");
    return false;
}

static void check_outages(const struct ledger *ledger)
{
    int64_t count = 0;
    int64_t length = 0;
    for (int i = 0; i < truth_count; i++) {
        int64_t from = truth[i].from_ms > ledger->from_ms ? truth[i].from_ms : ledger->from_ms;
        int64_t to = truth[i].to_ms < ledger->to_ms ? truth[i].to_ms : ledger->to_ms;
        if (from >= to)
            continue;
        if (count < LEDGER_OUTAGES_MAX) {
            assert_int_equal(ledger->outages[count].from_ms, from);
            assert_int_equal(ledger->outages[count].to_ms, to);
            assert_int_equal(ledger->outages[count].why, truth[i].why);
        }
        count++;
        length += to - from;
    }
    assert_int_equal(ledger->outage_count, count);
    assert_int_equal(ledger->outage_ms, length);
}

// Holes and whole hours, taken together, are the day, and every missing read is in a hole.
static void check_holes(const struct ledger *ledger)
{
    struct ledger_hole hole = {.end = 0};
    int64_t missing = 0;
    int64_t whole = 0;
    int hours = 0;
    while (ledger_hole(ledger, hole.end, &hole)) {
        assert_true(hole.end > hole.first);
        assert_int_equal(hole.from_ms, ledger->hours[hole.first].from_ms);
        assert_int_equal(hole.to_ms, ledger->hours[hole.end - 1].to_ms);
        assert_true(hole.missing == 0 || hole.why != WHY_NONE);
        missing += hole.missing;
        hours += hole.end - hole.first;
    }
    for (int i = 0; i < ledger->hour_count; i++)
        whole += ledger->hours[i].missing == 0 && ledger->hours[i].index != QUALITY_MISSING;
    assert_int_equal(missing, ledger_sum(ledger).missing);
    assert_int_equal(hours + whole, ledger->hour_count);
}

static void compare_day(const struct period *day, const struct ledger_sum *sum)
{
    assert_int_equal(day->expected, sum->expected);
    assert_int_equal(day->good, sum->good);
    assert_int_equal(day->suspect, sum->suspect);
    assert_int_equal(day->missing, sum->missing);
}

static void check_day(struct store *store, const struct stored_ledger *stored, int64_t day_ms,
                      int64_t configured_ms, bool exact)
{
    const struct ledger *ledger = &stored->ledger;
    static struct seen seen;
    int64_t end = period_end(&calendar, SPAN_DAY, day_ms);
    struct schedule schedule = schedule_for(found.config, found.meter);
    bool hourly = schedule.interval_ms <= HOUR;
    assert_int_equal(ledger->from_ms, day_ms);
    assert_int_equal(ledger->to_ms, end);
    assert_int_equal(ledger->hour_count, hourly ? (end - day_ms) / HOUR : 1);
    found.from_ms = day_ms;
    found.to_ms = end;
    found.count = 0;
    must(store_readings(store, stored->meter, day_ms - HOUR, end + 3 * HOUR, keep_due, NULL,
                        &failure));
    int64_t at = day_ms;
    for (int i = 0; i < ledger->hour_count; i++) {
        assert_int_equal(ledger->hours[i].from_ms, at);
        at = ledger->hours[i].to_ms;
        check_hour(&ledger->hours[i], configured_ms, exact);
    }
    assert_int_equal(at, end);
    struct ledger_sum sum = ledger_sum(ledger);
    struct count count = count_between(day_ms, end, configured_ms);
    assert_int_equal(sum.expected, count.expected);
    assert_int_equal(sum.good, count.good);
    memset(&seen, 0, sizeof seen);
    must(store_periods(store, stored->meter, SPAN_DAY, day_ms, day_ms + 1, keep_day, &seen,
                       &failure));
    if (seen.day.row == 0) // not one reading until after it
        assert_int_equal(sum.missing, sum.expected);
    else
        compare_day(&seen.day.period, &sum);
    if (hourly && seen.day.row != 0)
        must(store_periods(store, stored->meter, SPAN_HOUR, day_ms, end, compare_index,
                           (void *)(uintptr_t)ledger, &failure));
    check_outages(ledger);
    check_holes(ledger);
}

static void one_history(int64_t day_ms, int interval_s, bool calm)
{
    static const int summaries[] = {1, 5, 15, 30, 60};
    struct config *config = config_make(METERS, interval_s, summaries[random_between(0, 4)]);
    static struct seen seen;
    static struct stored_ledger stored;
    assert_int_equal(folder_remove(NULL), 0);
    assert_int_equal(folder_make(NULL), 0);
    config->store_commit_ms = (int)random_between(100, 400000);
    config->office.raw_readings = random_between(0, 3) == 0;
    start_ms = day_ms - random_between(1, 4) * HOUR - random_between(0, HOUR);
    int64_t end = period_end(&calendar, SPAN_DAY, day_ms);
    int64_t after = 4 * HOUR + 3 * INT64_C(1000) * interval_s;
    stream_is_calm = calm;
    stream_make(config, T0, (int)((end + after - T0) / 1000 / interval_s * 5 / 4) + 1);
    play(config, !calm);
    struct store *store = store_must_read();
    for (int meter = 0; meter < METERS; meter++) {
        found.config = config;
        found.meter = meter;
        seen.count = 0;
        must(store_ledgers(store, config->meters[meter].id, day_ms, end, keep_ledger, &seen,
                           &failure));
        if (seen.count != 1)
            fail_msg(
                "%d ledgers of m%d, interval %d s, stream %lld to %lld h after the day, %d lives",
                seen.count, meter + 1, interval_s, (long long)(stream[0].at_ms - end) / HOUR,
                (long long)(stream[stream_count - 1].at_ms - end) / HOUR, truth_count + 1);
        stored = seen.list[0];
        assert_int_equal(stored.version, 1);
        assert_true(stored.seq > 0 && stored.lane_last[stored.lane] == stored.seq - 1);
        check_day(store, &stored, day_ms, T0, calm);
    }
    store_close(store);
    store_must_verify();
    config_drop(config);
}

static void test_random_histories(void **state)
{
    (void)state;
    static const int intervals[] = {120, 300, 900, 3600, 7200};
    for (int kind = 0; kind < 3; kind++)
        for (size_t i = 0; i < sizeof intervals / sizeof intervals[0]; i++)
            for (int calm = 0; calm < 2; calm++)
                one_history(days[kind], intervals[i], calm != 0);
}

// --- a meter that was out of the configuration ---

static void test_not_configured(void **state)
{
    (void)state;
    static struct seen seen;
    struct config *config = config_make(2, 300, 15);
    start_ms = days[1] - HOUR;
    int64_t end = period_end(&calendar, SPAN_DAY, days[1]);
    stream_is_calm = true;
    stream_make(config, T0, (int)((end + 2 * HOUR - T0) / 300000));
    clock_start(T0);
    struct recorder *recorder = recorder_must_start(config);
    struct config *without = config_make(1, 300, 15); // m1 alone
    int64_t left = days[1] + 5 * HOUR + 7 * MINUTE;
    int64_t back = days[1] + 9 * HOUR + 22 * MINUTE;
    int from = 0;
    for (int step = 0; step < 3; step++) {
        int64_t until = step == 0 ? left : step == 1 ? back : INT64_MAX;
        for (; from < stream_count && stream[from].at_ms < until; from++)
            if (step != 1 || stream[from].meter == 0)
                offer_range(recorder, step == 1 ? without : config, from, from + 1);
        settle(recorder);
        atomic_store(&wall_ms, until < INT64_MAX ? until : atomic_load(&wall_ms));
        if (step < 2)
            must(recorder_apply(recorder, step == 0 ? without : config, &failure));
    }
    recorder_stop(recorder);
    struct store *store = store_must_read();
    seen.count = 0;
    must(store_ledgers(store, "m2", days[1], end, keep_ledger, &seen, &failure));
    assert_int_equal(seen.count, 1);
    const struct ledger *ledger = &seen.list[0].ledger;
    struct ledger_sum sum = ledger_sum(ledger);
    struct schedule schedule = schedule_for(config, 1);
    int64_t out = 0; // due times in [left, back)
    for (int64_t due = days[1] + schedule.phase_ms; due < back; due += 300000)
        out += due >= left;
    assert_int_equal(sum.expected, 288);
    assert_int_equal(sum.missing, out);
    assert_int_equal(missing_by(&sum.reasons, WHY_NOT_CONFIGURED), out);
    assert_int_equal(ledger->outage_count, 1);
    assert_int_equal(ledger->outages[0].from_ms, left);
    assert_int_equal(ledger->outages[0].to_ms, back);
    struct ledger_hole hole;
    assert_true(ledger_hole(ledger, 0, &hole));
    assert_int_equal(hole.from_ms, days[1] + 5 * HOUR);
    assert_int_equal(hole.to_ms, days[1] + 10 * HOUR);
    assert_int_equal(hole.why, WHY_NOT_CONFIGURED);
    assert_false(ledger_hole(ledger, hole.end, &hole));
    seen.count = 0;
    must(store_ledgers(store, "m1", days[1], end, keep_ledger, &seen, &failure));
    assert_int_equal(ledger_sum(&seen.list[0].ledger).missing, 0);
    store_close(store);
    store_must_verify();
    config_drop(config);
    config_drop(without);
}

// --- a gateway that was configured and then did not run ---

static void test_unread_days(void **state)
{
    (void)state;
    static struct seen seen;
    struct config *config = config_make(1, 300, 15);
    start_ms = days[1] - 51 * HOUR;
    clock_start(T0);
    recorder_stop(recorder_must_start(config));
    stream_is_calm = true;
    stream_make(config, days[1] + HOUR, 300);
    live(config, days[1] + HOUR, 0, stream_count, false, true);
    struct store *store = store_must_read();
    seen.count = 0;
    must(store_ledgers(store, "m1", 0, INT64_MAX, keep_ledger, &seen, &failure));
    assert_int_equal(seen.count,
                     4); // the rest of a day, two days, and the one with 23 hours of reads
    static const int64_t expected[] = {3 * 12, 288, 288, 288};
    static const int64_t missing[] = {3 * 12, 288, 288, 12};
    for (int i = 0; i < seen.count; i++) {
        const struct ledger *ledger = &seen.list[i].ledger;
        struct ledger_sum sum = ledger_sum(ledger);
        struct ledger_hole hole;
        assert_int_equal(sum.expected, expected[i]);
        assert_int_equal(sum.missing, missing[i]);
        assert_int_equal(missing_by(&sum.reasons, WHY_GATEWAY_STOPPED), missing[i]);
        assert_true(ledger_hole(ledger, 0, &hole));
        assert_int_equal(hole.from_ms, i == 0 ? T0 : ledger->from_ms);
        assert_int_equal(hole.to_ms, i == 3 ? ledger->from_ms + HOUR : ledger->to_ms);
        assert_int_equal(hole.missing, missing[i]);
        assert_int_equal(i == 0 ? 0 : seen.list[i - 1].ledger.to_ms - ledger->from_ms, 0);
    }
    store_close(store);
    store_must_verify();
    // by age, once the office has them; the newest one stays
    store = store_must_open();
    must(store_round_begin(store, &failure));
    assert_int_equal(store_ledger_retain(store, INT64_MAX, 100, &failure), 0);
    for (int lane = LANE_ALERT; lane < LANES_END; lane++) {
        struct outbox_state outbox;
        must(store_outbox_state(store, (enum lane)lane, &outbox, &failure));
        must(store_outbox_acknowledge(store, (enum lane)lane, outbox.last, &failure));
    }
    assert_int_equal(store_ledger_retain(store, days[1], 2, &failure), 2);
    assert_int_equal(store_ledger_retain(store, INT64_MAX, 100, &failure), 1);
    must(store_round_commit(store, &failure));
    store_close(store);
    store_must_verify();
    config_drop(config);
}

// --- verify ---

static void see_fault(void *context, const char *text)
{
    buf_addf(context, "%s\n", text);
}

static void test_damage_is_named(void **state)
{
    (void)state;
    static const struct {
        const char *sql, *said;
    } damages[] = {
        {"DELETE FROM ledger WHERE id = (SELECT max(id) FROM ledger WHERE meter = 1)",
         "its row is not there"},
        {"UPDATE ledger SET lane = NULL, seq = NULL WHERE id = (SELECT max(id) FROM ledger);"
         "DELETE FROM outbox WHERE kind = 8 AND row = (SELECT max(id) FROM ledger)",
         "and no gap says why"},
        {"UPDATE ledger SET body = x'00' WHERE id = 2", "cannot be read"},
        {"UPDATE ledger SET body = (SELECT body FROM ledger WHERE id = 1)"
         " WHERE id = (SELECT max(id) FROM ledger WHERE meter = 1)",
         "not the one that its row names"},
        {"UPDATE ledger SET body = (SELECT body FROM ledger AS o WHERE o.meter = 1"
         " AND o.from_ms = ledger.from_ms) WHERE meter = 2",
         "its hour"},
        {"UPDATE ledger SET version = 2 WHERE id = 1", "does not replace"},
        {"UPDATE outage SET to_ms = 5", "ends before it begins"},
        {"UPDATE period SET body = (SELECT body FROM period AS o WHERE o.span = 6 AND o.meter = 1"
         " AND o.from_ms = period.from_ms) WHERE span = 6 AND meter = 2",
         "but its day has"},
    };
    static char good[4 * 1024 * 1024];
    struct config *config = config_make(2, 300, 15);
    start_ms = days[1] - HOUR;
    stream_is_calm = false;
    stream_make(config, T0, 2 * 288 + 40);
    truth_count = 0;
    live(config, T0, 0, stream_count / 2, false, true);
    live(config, stream[stream_count / 2 + 20].at_ms, stream_count / 2 + 21, stream_count, false,
         true);
    store_must_verify();
    size_t length = file_get(good, sizeof good);
    for (size_t i = 0; i < sizeof damages / sizeof damages[0]; i++) {
        struct buf seen;
        buf_init(&seen, 1024 * 1024);
        file_put(good, length);
        sql_run(damages[i].sql);
        struct store *store = store_must_read();
        int faults = store_verify(store, see_fault, &seen, &failure);
        store_close(store);
        if (faults <= 0 || strstr(seen.data, damages[i].said) == NULL)
            fail_msg("%s: %d faults, '%s'", damages[i].sql, faults, seen.data);
        buf_release(&seen);
    }
    config_drop(config);
}

int main(void)
{
    random_start("test_record_ledger");
#define IN_FOLDER(test) cmocka_unit_test_setup_teardown(test, folder_make, folder_remove)
    const struct CMUnitTest tests[] = {
        IN_FOLDER(test_random_histories),
        IN_FOLDER(test_not_configured),
        IN_FOLDER(test_unread_days),
        IN_FOLDER(test_damage_is_named),
    };
    return cmocka_run_group_tests(tests, group_set_up, NULL);
}
