#include "record/ledger.h"

#include <string.h>

static int64_t later(int64_t a, int64_t b)
{
    return a > b ? a : b;
}

static int64_t earlier(int64_t a, int64_t b)
{
    return a < b ? a : b;
}

// --- making ---

// The entry that begins where the ones before it end, or the last one that reaches beyond `from`.
static struct ledger_hour *hour_at(struct ledger *ledger, int64_t from_ms, int64_t to_ms)
{
    struct ledger_hour *last =
        ledger->hour_count > 0 ? &ledger->hours[ledger->hour_count - 1] : NULL;
    if (last != NULL && last->to_ms > from_ms)
        return last;
    if (last != NULL && ledger->hour_count == LEDGER_HOURS_MAX) {
        last->to_ms = to_ms;
        return last;
    }
    struct ledger_hour *hour = &ledger->hours[ledger->hour_count++];
    *hour = (struct ledger_hour){.from_ms = from_ms, .to_ms = to_ms, .index = QUALITY_MISSING};
    return hour;
}

// Of what nothing is stored.
static void add_hole(struct ledger *ledger, const struct ledger_meter *meter, int64_t from_ms,
                     int64_t to_ms)
{
    while (from_ms < to_ms) {
        int64_t start = period_start(meter->calendar, SPAN_HOUR, from_ms);
        int64_t end = earlier(period_end(meter->calendar, SPAN_HOUR, from_ms), ledger->to_ms);
        struct ledger_hour *hour = hour_at(ledger, later(start, ledger->from_ms), end);
        int64_t until = earlier(end, to_ms);
        int64_t due = schedule_count(meter->schedule, meter->calendar,
                                     later(from_ms, meter->configured_ms), until);
        hour->missing += due;
        // before the meter was configured there is nothing to know
        hour->index = until <= meter->configured_ms ? LEDGER_NO_INDEX : QUALITY_MISSING;
        reasons_add(&hour->reasons, QUALITY_MISSING, WHY_NOT_POLLED, due);
        from_ms = until;
    }
}

uint8_t ledger_index(const struct period *period)
{
    int worst = -1;
    for (int i = 0; i < period->channel_count; i++) {
        const struct period_channel *channel = &period->channels[i];
        int quality = channel->end_known ? channel->end_quality : QUALITY_MISSING;
        if (channel->kind == CHANNEL_COUNTER && quality > worst)
            worst = quality;
    }
    return worst < 0 ? LEDGER_NO_INDEX : (uint8_t)worst;
}

static void add_part(struct ledger *ledger, const struct ledger_meter *meter,
                     const struct period *part)
{
    bool is_long = part->span > SPAN_HOUR;
    int64_t start =
        is_long ? part->from_ms : period_start(meter->calendar, SPAN_HOUR, part->from_ms);
    int64_t end = is_long ? part->to_ms : period_end(meter->calendar, SPAN_HOUR, part->from_ms);
    struct ledger_hour *hour =
        hour_at(ledger, later(start, ledger->from_ms), earlier(end, ledger->to_ms));
    hour->good += part->good;
    hour->suspect += part->suspect;
    hour->missing += part->missing;
    reasons_merge(&hour->reasons, &part->reasons);
    hour->index = ledger_index(part);
}

void ledger_make(struct ledger *out, const struct ledger_meter *meter, const struct period *parts,
                 int count, int64_t from_ms, int64_t to_ms)
{
    memset(out, 0, sizeof *out);
    out->from_ms = from_ms;
    out->to_ms = to_ms;
    int64_t at = from_ms;
    for (int i = 0; i < count; i++) {
        add_hole(out, meter, at, parts[i].from_ms);
        add_part(out, meter, &parts[i]);
        at = parts[i].to_ms;
    }
    add_hole(out, meter, at, to_ms);
    bool counts = count == 0;
    for (int i = 0; i < count; i++)
        counts = counts || ledger_index(&parts[i]) != LEDGER_NO_INDEX;
    for (int i = 0; i < out->hour_count && !counts; i++)
        out->hours[i].index = LEDGER_NO_INDEX;
}

// Names the part of an outage that lies in the ledger's time; false when none does.
static bool name_outage(struct ledger *ledger, const struct outage *outage, struct outage *part)
{
    *part = (struct outage){later(outage->from_ms, ledger->from_ms),
                            earlier(outage->to_ms, ledger->to_ms), outage->why};
    if (part->to_ms <= part->from_ms)
        return false;
    if (ledger->outage_count < LEDGER_OUTAGES_MAX)
        ledger->outages[ledger->outage_count] = *part;
    ledger->outage_count++;
    ledger->outage_ms += part->to_ms - part->from_ms;
    return true;
}

void ledger_explain(struct ledger *ledger, const struct ledger_meter *meter,
                    const struct outage *outage)
{
    struct outage part;
    int64_t reach = outage->from_ms - meter->schedule->interval_ms + 1;
    if (!name_outage(ledger, outage, &part))
        return;
    for (int i = 0; i < ledger->hour_count; i++) {
        struct ledger_hour *hour = &ledger->hours[i];
        int64_t begin = later(later(reach, hour->from_ms), meter->configured_ms);
        int64_t end = earlier(part.to_ms, hour->to_ms);
        if (begin < end)
            reasons_move(&hour->reasons, WHY_NOT_POLLED, outage->why,
                         schedule_count(meter->schedule, meter->calendar, begin, end));
    }
}

void ledger_explain_evenly(struct ledger *ledger, const struct outage *outage)
{
    struct outage part;
    if (!name_outage(ledger, outage, &part))
        return;
    for (int i = 0; i < ledger->hour_count; i++) {
        struct ledger_hour *hour = &ledger->hours[i];
        int64_t length = hour->to_ms - hour->from_ms;
        int64_t in = earlier(part.to_ms, hour->to_ms) - later(part.from_ms, hour->from_ms);
        int64_t due = hour->good + hour->suspect + hour->missing;
        if (in > 0) // the poll that was under way when it began is one of them
            reasons_move(&hour->reasons, WHY_NOT_POLLED, outage->why, due * in / length + 1);
    }
}

// --- reading ---

struct ledger_sum ledger_sum(const struct ledger *ledger)
{
    struct ledger_sum sum = {.expected = 0};
    for (int i = 0; i < ledger->hour_count; i++) {
        const struct ledger_hour *hour = &ledger->hours[i];
        sum.good += hour->good;
        sum.suspect += hour->suspect;
        sum.missing += hour->missing;
        reasons_merge(&sum.reasons, &hour->reasons);
        if (hour->index <= QUALITY_MISSING)
            sum.hours[hour->index]++;
    }
    sum.expected = sum.good + sum.suspect + sum.missing;
    return sum;
}

static bool is_whole(const struct ledger_hour *hour)
{
    return hour->missing == 0 && hour->index != QUALITY_MISSING;
}

bool ledger_hole(const struct ledger *ledger, int from_hour, struct ledger_hole *out)
{
    int first = from_hour;
    while (first < ledger->hour_count && is_whole(&ledger->hours[first]))
        first++;
    if (first >= ledger->hour_count)
        return false;
    struct reasons reasons = {.count = 0};
    struct ledger_hole hole = {
        .from_ms = ledger->hours[first].from_ms, .first = first, .end = first};
    bool counted = false;
    while (hole.end < ledger->hour_count && !is_whole(&ledger->hours[hole.end])) {
        const struct ledger_hour *hour = &ledger->hours[hole.end++];
        hole.to_ms = hour->to_ms;
        hole.missing += hour->missing;
        reasons_merge(&reasons, &hour->reasons);
        if (hour->index != LEDGER_NO_INDEX && (!counted || hour->index > hole.index))
            hole.index = hour->index;
        counted = counted || hour->index != LEDGER_NO_INDEX;
    }
    hole.index = counted ? hole.index : LEDGER_NO_INDEX;
    hole.why = reasons_main(&reasons, QUALITY_MISSING);
    *out = hole;
    return true;
}

int ledger_share(int64_t part, int64_t whole)
{
    if (whole <= 0 || part >= whole)
        return 10000;
    return part <= 0 ? 0 : (int)((double)part / (double)whole * 10000);
}

// --- bytes ---

#define FORMAT 1
#define HOUR_MS INT64_C(3600000)
#define COUNT_MAX (INT64_MAX / 256) // so that sums of a ledger cannot overflow

void ledger_encode(const struct ledger *ledger, struct buf *out)
{
    buf_add_byte(out, FORMAT);
    buf_add_zigzag(out, ledger->from_ms);
    buf_add_varint(out, (uint64_t)(ledger->to_ms - ledger->from_ms));
    buf_add_byte(out, (uint8_t)ledger->hour_count);
    for (int i = 0; i < ledger->hour_count; i++) {
        const struct ledger_hour *hour = &ledger->hours[i];
        buf_add_zigzag(out, hour->to_ms - hour->from_ms - HOUR_MS);
        buf_add_varint(out, (uint64_t)hour->good);
        buf_add_varint(out, (uint64_t)hour->suspect);
        buf_add_varint(out, (uint64_t)hour->missing);
        buf_add_byte(out, hour->index);
        reasons_encode(&hour->reasons, out);
    }
    buf_add_varint(out, (uint64_t)ledger->outage_count);
    buf_add_varint(out, (uint64_t)ledger->outage_ms);
    for (int i = 0; i < ledger->outage_count && i < LEDGER_OUTAGES_MAX; i++) {
        const struct outage *outage = &ledger->outages[i];
        buf_add_varint(out, (uint64_t)(outage->from_ms - ledger->from_ms));
        buf_add_varint(out, (uint64_t)(outage->to_ms - outage->from_ms));
        buf_add_varint(out, outage->why);
    }
}

static int64_t read_count(struct cursor *cursor)
{
    uint64_t count = cursor_varint(cursor);
    cursor->failed = cursor->failed || count > COUNT_MAX;
    return cursor->failed ? 0 : (int64_t)count;
}

static void decode_hour(struct cursor *cursor, int64_t from_ms, struct ledger_hour *out)
{
    int64_t over = cursor_zigzag(cursor);
    out->from_ms = from_ms;
    out->good = read_count(cursor);
    out->suspect = read_count(cursor);
    out->missing = read_count(cursor);
    out->index = cursor_byte(cursor);
    reasons_decode(cursor, &out->reasons);
    if (over <= -HOUR_MS || over > COUNT_MAX ||
        (out->index > QUALITY_MISSING && out->index != LEDGER_NO_INDEX) ||
        reasons_total(&out->reasons, QUALITY_SUSPECT) != out->suspect ||
        reasons_total(&out->reasons, QUALITY_MISSING) != out->missing ||
        __builtin_add_overflow(from_ms, HOUR_MS + over, &out->to_ms))
        cursor->failed = true;
}

static void decode_outages(struct cursor *cursor, struct ledger *out)
{
    out->outage_count = read_count(cursor);
    out->outage_ms = read_count(cursor);
    for (int i = 0; i < out->outage_count && i < LEDGER_OUTAGES_MAX && !cursor->failed; i++) {
        int64_t after = read_count(cursor);
        int64_t length = read_count(cursor);
        uint64_t why = cursor_varint(cursor);
        int64_t within = out->to_ms - out->from_ms;
        cursor->failed =
            cursor->failed || after > within || length > within - after || why > UINT16_MAX;
        if (!cursor->failed)
            out->outages[i] =
                (struct outage){out->from_ms + after, out->from_ms + after + length, (uint16_t)why};
    }
}

int ledger_decode(const void *bytes, size_t length, struct ledger *out)
{
    struct cursor cursor = cursor_of(bytes, length);
    struct ledger ledger = {.from_ms = 0};
    if (cursor_byte(&cursor) != FORMAT)
        return -1;
    ledger.from_ms = cursor_zigzag(&cursor);
    int64_t span = read_count(&cursor);
    ledger.hour_count = cursor_byte(&cursor);
    if (ledger.hour_count == 0 || ledger.hour_count > LEDGER_HOURS_MAX ||
        __builtin_add_overflow(ledger.from_ms, span, &ledger.to_ms))
        cursor.failed = true;
    int64_t at = ledger.from_ms;
    for (int i = 0; i < ledger.hour_count && !cursor.failed; i++) {
        decode_hour(&cursor, at, &ledger.hours[i]);
        at = ledger.hours[i].to_ms;
    }
    if (!cursor.failed && at == ledger.to_ms)
        decode_outages(&cursor, &ledger);
    if (cursor.failed || at != ledger.to_ms || cursor.at != cursor.end)
        return -1;
    *out = ledger;
    return 0;
}
