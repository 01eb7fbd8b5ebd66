#include "record/outlook.h"

#include "base/decimal.h"
#include "drivers/channel.h"

#include <math.h>
#include <string.h>

#define FORMAT 1
#define HOUR_S 3600
#define GRAIN INT64_C(1000) // micro units: a thousandth

// --- making ---

void outlook_begin(struct outlook_work *work, const struct gas_calendar *calendar)
{
    work->calendar = calendar;
    work->channel[0] = '\0';
    work->begun = false;
}

static const struct period_channel *counter_of(const struct period *hour)
{
    static const char *const wanted[] = {"volume_base", "volume_measured"};
    for (unsigned i = 0; i < sizeof wanted / sizeof *wanted; i++) {
        const struct period_channel *counter = period_counter(hour, wanted[i]);
        if (counter != NULL)
            return counter;
    }
    for (int i = 0; i < hour->channel_count; i++)
        if (hour->channels[i].kind == CHANNEL_COUNTER)
            return &hour->channels[i];
    return NULL;
}

void outlook_hour(struct outlook_work *work, const struct period *hour)
{
    const struct period_channel *counter =
        work->begun ? period_counter(hour, work->channel) : counter_of(hour);
    if (counter == NULL)
        return;
    int64_t wall_s = wall_clock_s(work->calendar, hour->from_ms);
    if (!work->begun) {
        memcpy(work->channel, counter->name, sizeof work->channel);
        forecast_init(&work->forecast, HOUR_S, wall_s);
        work->begun = true;
    }
    int64_t micro;
    // what stands lower than before, or is the first part of an hour, tells no habit
    bool tells = period_delta(counter, &micro) && micro >= 0 && !hour->first;
    // -1: an hour that lies before the newest, after a change of the zone
    (void)forecast_push(&work->forecast, wall_s,
                        tells ? (double)micro / (double)MICRO_PER_UNIT : (double)NAN);
}

static int64_t grains(double value)
{
    double most = (double)MICRO_LIMIT / 2;
    double micro = fmin(fmax(value * (double)MICRO_PER_UNIT, -most), most);
    return (int64_t)llround(micro / (double)GRAIN) * GRAIN;
}

static struct outlook_part part_of(int64_t from_ms, int64_t to_ms, struct forecast_point point)
{
    return (struct outlook_part){from_ms, to_ms, grains(point.value), grains(point.low),
                                 grains(point.high)};
}

// How many slots after the newest an hour is, by the clock on the wall.
static int ahead_of(const struct outlook_work *work, int64_t from_ms)
{
    int64_t slots =
        (wall_clock_s(work->calendar, from_ms) - forecast_time(&work->forecast, 0)) / HOUR_S;
    return slots < 1 ? 1 : (int)slots;
}

static void make_hours(const struct outlook_work *work, struct outlook *out)
{
    const struct gas_calendar *calendar = work->calendar;
    int64_t end = period_end(calendar, SPAN_DAY, out->from_ms);
    int64_t from = out->from_ms;
    while (from < end && out->hour_count < OUTLOOK_HOURS_MAX) {
        int64_t to = period_end(calendar, SPAN_HOUR, from);
        struct forecast_point point =
            forecast_predict(&work->forecast, &work->point, ahead_of(work, from));
        out->hours[out->hour_count++] = part_of(from, to, point);
        from = to;
    }
}

// The sum of the hours that the day has, 23 to 25; its band is that of a day.
static struct outlook_part make_day(const struct outlook_work *work, int64_t from_ms)
{
    const struct gas_calendar *calendar = work->calendar;
    int64_t end = period_end(calendar, SPAN_DAY, from_ms);
    struct forecast_point day =
        forecast_total(&work->forecast, &work->mean, ahead_of(work, from_ms), 24);
    double sum = 0;
    for (int64_t from = from_ms; from < end; from = period_end(calendar, SPAN_HOUR, from))
        sum += forecast_predict(&work->forecast, &work->mean, ahead_of(work, from)).value;
    day.low = fmax(day.low + sum - day.value, 0);
    day.high += sum - day.value;
    day.value = sum;
    return part_of(from_ms, end, day);
}

bool outlook_make(struct outlook_work *work, int64_t from_ms, struct outlook *out)
{
    if (!work->begun || !forecast_ready(&work->forecast))
        return false;
    forecast_learn(&work->forecast, false, &work->point);
    forecast_learn(&work->forecast, true, &work->mean);
    memset(out, 0, sizeof *out);
    memcpy(out->channel, work->channel, sizeof out->channel);
    out->from_ms = from_ms;
    out->known = work->point.known;
    make_hours(work, out);
    int64_t from = from_ms;
    for (int i = 0; i < OUTLOOK_DAYS; i++) {
        out->days[i] = make_day(work, from);
        from = out->days[i].to_ms;
    }
    out->to_ms = from;
    return true;
}

// --- as bytes ---

static void put_part(struct buf *out, const struct outlook_part *part)
{
    buf_add_varint(out, (uint64_t)(part->to_ms - part->from_ms));
    buf_add_varint(out, (uint64_t)(part->value / GRAIN));
    buf_add_varint(out, (uint64_t)((part->value - part->low) / GRAIN));
    buf_add_varint(out, (uint64_t)((part->high - part->value) / GRAIN));
}

void outlook_encode(const struct outlook *outlook, struct buf *out)
{
    size_t length = strlen(outlook->channel);
    buf_add_byte(out, FORMAT);
    buf_add_varint(out, length);
    buf_add(out, outlook->channel, length);
    buf_add_zigzag(out, outlook->from_ms);
    buf_add_varint(out, (uint64_t)outlook->known);
    buf_add_varint(out, (uint64_t)outlook->hour_count);
    for (int i = 0; i < outlook->hour_count; i++)
        put_part(out, &outlook->hours[i]);
    for (int i = 0; i < OUTLOOK_DAYS; i++)
        put_part(out, &outlook->days[i]);
}

static int64_t bounded(struct cursor *cursor, uint64_t most)
{
    uint64_t value = cursor_varint(cursor);
    cursor->failed = cursor->failed || value > most;
    return cursor->failed ? 0 : (int64_t)value;
}

// Returns where the next one begins.
static int64_t get_part(struct cursor *cursor, int64_t from_ms, struct outlook_part *out)
{
    const uint64_t most = MICRO_LIMIT / GRAIN / 2;
    out->from_ms = from_ms;
    out->to_ms = from_ms + bounded(cursor, UINT64_C(100) * 3600 * 1000);
    out->value = bounded(cursor, most) * GRAIN;
    out->low = out->value - bounded(cursor, most) * GRAIN;
    out->high = out->value + bounded(cursor, most) * GRAIN;
    return out->to_ms;
}

int outlook_decode(const void *bytes, size_t length, struct outlook *out)
{
    struct outlook read = {.hour_count = 0};
    struct cursor cursor = cursor_of(bytes, length);
    if (cursor_byte(&cursor) != FORMAT)
        return -1;
    size_t name = (size_t)bounded(&cursor, sizeof read.channel - 1);
    const uint8_t *text = cursor_bytes(&cursor, name);
    if (text != NULL)
        memcpy(read.channel, text, name);
    read.from_ms = cursor_zigzag(&cursor);
    cursor.failed = cursor.failed || read.from_ms < 0 || read.from_ms > INT64_MAX / 2;
    read.known = (int)bounded(&cursor, FORECAST_SLOTS);
    read.hour_count = (int)bounded(&cursor, OUTLOOK_HOURS_MAX);
    int64_t at = read.from_ms;
    for (int i = 0; i < read.hour_count && !cursor.failed; i++)
        at = get_part(&cursor, at, &read.hours[i]);
    at = read.from_ms;
    for (int i = 0; i < OUTLOOK_DAYS && !cursor.failed; i++)
        at = get_part(&cursor, at, &read.days[i]);
    read.to_ms = at;
    if (cursor.failed || cursor.at != cursor.end || channel_find(read.channel) == NULL)
        return -1;
    *out = read;
    return 0;
}
