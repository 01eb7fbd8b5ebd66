#include "gas/gasday.h"

#include "base/timetext.h"

#include <ctype.h>
#include <errno.h>
#include <fcntl.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#define SECONDS_PER_DAY INT64_C(86400)
#define ZONE_NAME_MAX 64
#define ZONE_FOLDER "/usr/share/zoneinfo"
// No zone is further from UTC than this since 1970 (+14 h, -12 h), with room to spare.
#define OFFSET_MAX_S INT64_C(57600)

// Which of the zones that were made the process's holds now; 0 before the first.
static atomic_uint zone_number;

// --- zones ---

// A name that stays inside the zone folder. "right/" zones count leap seconds, which Unix time does
// not.
static bool zone_name_is_sane(const char *name)
{
    size_t length = strnlen(name, ZONE_NAME_MAX);
    if (length == 0 || length == ZONE_NAME_MAX || isalpha((unsigned char)name[0]) == 0 ||
        strncmp(name, "right/", 6) == 0)
        return false;
    for (size_t i = 0; i < length; i++)
        if (isalnum((unsigned char)name[i]) == 0 && strchr("_+-/", name[i]) == NULL)
            return false;
    return true;
}

bool timezone_exists(const char *timezone)
{
    if (!zone_name_is_sane(timezone))
        return false;
    const char *folder = getenv("TZDIR");
    char path[512];
    int length =
        snprintf(path, sizeof path, "%s/%s", folder != NULL ? folder : ZONE_FOLDER, timezone);
    if (length < 0 || (size_t)length >= sizeof path)
        return false;
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0)
        return false;
    char magic[4];
    bool is_zone = read(fd, magic, sizeof magic) == sizeof magic && memcmp(magic, "TZif", 4) == 0;
    (void)close(fd);
    return is_zone;
}

int gas_calendar_init(struct gas_calendar *out, const char *timezone, int start_minutes,
                      struct err *err)
{
    if (start_minutes < 0 || start_minutes >= 24 * 60) {
        return err_set(err, "a gas day starts between 00:00 and 23:45, not at minute %d",
                       start_minutes);
    }
    if (!timezone_exists(timezone)) {
        return err_set(err,
                       "this machine has no time zone '%s': use a name like Asia/Shanghai, and "
                       "install the package tzdata",
                       timezone);
    }
    if (setenv("TZ", timezone, 1) != 0)
        return err_set(err, "cannot set the time zone '%s': %s", timezone, strerror(errno));
    tzset();
    (void)atomic_fetch_add(&zone_number, 1);
    out->start_minutes = start_minutes;
    return 0;
}

// --- local time ---

static int64_t floor_divide(int64_t a, int64_t b)
{
    return a / b - (a % b != 0 && (a ^ b) < 0 ? 1 : 0);
}

static int64_t local_offset_s(int64_t at_s)
{
    time_t at = (time_t)at_s;
    struct tm local;
    return localtime_r(&at, &local) != NULL ? (int64_t)local.tm_gmtoff : 0;
}

int64_t wall_clock_s(int64_t at_ms)
{
    int64_t at_s = floor_divide(at_ms, 1000);
    return at_s + local_offset_s(at_s);
}

// First instant in (low, high] whose offset is not that of `low`. There is one: high's differs.
static int64_t find_transition(int64_t low, int64_t high, int64_t offset)
{
    while (high - low > 1) {
        int64_t middle = low + (high - low) / 2;
        if (local_offset_s(middle) == offset)
            low = middle;
        else
            high = middle;
    }
    return high;
}

// The first instant at which the local clock shows `local_s` (seconds since 1970 as the clock on
// the wall counts them) or, where it jumps over that, has passed it. So a clock time that comes
// twice is its first, and the result never goes back when local_s grows. mktime promises neither.
static int64_t first_instant_s(int64_t local_s)
{
    int64_t low = local_s - OFFSET_MAX_S;
    int64_t high = local_s + OFFSET_MAX_S;
    int64_t before = local_offset_s(low);
    int64_t after = local_offset_s(high);
    if (before == after)
        return local_s - before;
    int64_t transition = find_transition(low, high, before);
    if (local_s - before < transition)
        return local_s - before;
    return local_s - after > transition ? local_s - after : transition;
}

// --- periods ---

// Start of the gas day of a civil date, given in days since 1970-01-01.
static int64_t day_start_ms(const struct gas_calendar *calendar, int64_t day)
{
    return 1000 * first_instant_s(day * SECONDS_PER_DAY + calendar->start_minutes * INT64_C(60));
}

struct range {
    int64_t from_ms, to_ms;
};

// The gas day that holds an instant. A date that a zone skipped (Samoa, 2011-12-30) is an empty
// day: the loops walk over it.
static struct range find_day(const struct gas_calendar *calendar, int64_t at_ms, int64_t *day_out)
{
    int64_t at_s = floor_divide(at_ms, 1000);
    int64_t day = floor_divide(at_s + local_offset_s(at_s) - calendar->start_minutes * INT64_C(60),
                               SECONDS_PER_DAY);
    while (day_start_ms(calendar, day) > at_ms)
        day--;
    struct range range = {day_start_ms(calendar, day), day_start_ms(calendar, day + 1)};
    while (range.to_ms <= at_ms) {
        day++;
        range.from_ms = range.to_ms;
        range.to_ms = day_start_ms(calendar, day + 1);
    }
    *day_out = day;
    return range;
}

// The day that was asked for last. Each due time asks for one, nearly always the same, and the C
// library takes a lock and reads the zone's rule for every instant. A change is odd while the day
// is written; who meets it, or meets another change behind the day than before it, does without.
static struct {
    atomic_uint change;
    atomic_uint zone;
    atomic_int start_minutes;
    _Atomic int64_t day, from_ms, to_ms; // empty before the first
} known;

static bool recall_day(const struct gas_calendar *calendar, int64_t at_ms, struct range *range,
                       int64_t *day)
{
    unsigned change = atomic_load(&known.change);
    bool fits = known.zone == zone_number && known.start_minutes == calendar->start_minutes;
    *day = known.day;
    *range = (struct range){known.from_ms, known.to_ms};
    return fits && at_ms >= range->from_ms && at_ms < range->to_ms && change % 2 == 0 &&
           change == atomic_load(&known.change);
}

static void remember_day(const struct gas_calendar *calendar, const struct range *range,
                         int64_t day, unsigned zone)
{
    unsigned change = atomic_load(&known.change);
    if (change % 2 != 0 || !atomic_compare_exchange_strong(&known.change, &change, change + 1))
        return; // another thread writes its own
    known.zone = zone;
    known.start_minutes = calendar->start_minutes;
    known.day = day;
    known.from_ms = range->from_ms;
    known.to_ms = range->to_ms;
    atomic_store(&known.change, change + 2);
}

static struct range day_of(const struct gas_calendar *calendar, int64_t at_ms, int64_t *day_out)
{
    struct range range;
    if (recall_day(calendar, at_ms, &range, day_out))
        return range;
    unsigned zone = zone_number;
    range = find_day(calendar, at_ms, day_out);
    remember_day(calendar, &range, *day_out, zone);
    return range;
}

static struct range month_of(const struct gas_calendar *calendar, int64_t at_ms)
{
    int64_t gas_day = 0;
    (void)day_of(calendar, at_ms, &gas_day);
    int year;
    int month;
    int day;
    civil_from_days(gas_day, &year, &month, &day);
    int64_t first = days_from_civil(year, month, 1);
    int64_t next =
        month == 12 ? days_from_civil(year + 1, 1, 1) : days_from_civil(year, month + 1, 1);
    return (struct range){day_start_ms(calendar, first), day_start_ms(calendar, next)};
}

static struct range period_of(const struct gas_calendar *calendar, enum span span, int64_t at_ms)
{
    if (span == SPAN_MONTH)
        return month_of(calendar, at_ms);
    int64_t gas_day = 0;
    struct range day = day_of(calendar, at_ms, &gas_day);
    if (span == SPAN_DAY)
        return day;
    int64_t length = span_nominal_ms(span);
    int64_t from = at_ms - (at_ms - day.from_ms) % length;
    int64_t to = from + length;
    return (struct range){from, to < day.to_ms ? to : day.to_ms};
}

int64_t period_start(const struct gas_calendar *calendar, enum span span, int64_t at_ms)
{
    return period_of(calendar, span, at_ms).from_ms;
}

int64_t period_end(const struct gas_calendar *calendar, enum span span, int64_t at_ms)
{
    return period_of(calendar, span, at_ms).to_ms;
}

// --- spans ---

static const struct {
    const char *text;
    int64_t minutes;
} spans_known[] = {
    [SPAN_1MIN] = {"1min", 1},
    [SPAN_5MIN] = {"5min", 5},
    [SPAN_15MIN] = {"15min", 15},
    [SPAN_30MIN] = {"30min", 30},
    [SPAN_HOUR] = {"hour", 60},
    [SPAN_DAY] = {"day", 24L * 60},
    [SPAN_MONTH] = {"month", 30L * 24 * 60},
};

int64_t span_nominal_ms(enum span span)
{
    return spans_known[span].minutes * 60000;
}

const char *span_text(enum span span)
{
    return spans_known[span].text;
}

enum span span_of_minutes(int minutes)
{
    for (enum span span = SPAN_1MIN; span < SPAN_HOUR; span++)
        if (spans_known[span].minutes >= minutes)
            return span;
    return SPAN_HOUR;
}

int spans_of_meter(int summary_minutes, int interval_s, enum span spans[static SPANS_MAX])
{
    enum span summary = span_of_minutes(summary_minutes);
    int count = 0;
    for (enum span span = SPAN_1MIN; span <= SPAN_MONTH; span++) {
        bool wanted = span == summary || span == SPAN_15MIN || span >= SPAN_HOUR;
        // A month is kept whatever the interval: something must tile the time of every meter.
        bool long_enough =
            span == SPAN_MONTH || span_nominal_ms(span) >= interval_s * INT64_C(1000);
        if (wanted && long_enough)
            spans[count++] = span;
    }
    return count;
}

enum span span_reported(int summary_minutes, int interval_s)
{
    enum span spans[SPANS_MAX];
    int count = spans_of_meter(summary_minutes, interval_s, spans);
    for (int i = 0; i < count && spans[i] <= SPAN_HOUR; i++)
        if (spans[i] >= span_of_minutes(summary_minutes))
            return spans[i];
    return (enum span)0;
}
