#include "report/usage.h"

#include "base/decimal.h"

#include <string.h>

__extension__ typedef __int128 wide;

#define DAY_S 86400
#define CHANGE_MAX 100000000 // in 1/100 percent: a million percent says nothing any more
#define HOUR_MS INT64_C(3600000)

static uint8_t worse(uint8_t a, uint8_t b)
{
    return (uint8_t)quality_worst((enum quality)a, (enum quality)b);
}

void usage_init(struct usage *usage, const struct gas_calendar *calendar, enum span part_span,
                int64_t from_ms, int64_t to_ms)
{
    *usage = (struct usage){.calendar = calendar,
                            .from_ms = from_ms,
                            .to_ms = to_ms,
                            .part_span = part_span,
                            .reached_ms = from_ms,
                            .main = -1};
}

int usage_weekday(const struct gas_calendar *calendar, int64_t at_ms)
{
    int64_t second = wall_clock_s(calendar, at_ms);
    int64_t day = second / DAY_S - (second % DAY_S < 0);
    return (int)(((day + 3) % 7 + 7) % 7); // 1970-01-01 was a Thursday
}

static int hour_of_day(const struct gas_calendar *calendar, int64_t at_ms)
{
    int64_t second = wall_clock_s(calendar, at_ms) % DAY_S;
    return (int)((second + DAY_S) % DAY_S / 3600);
}

int usage_main_counter(const struct usage *usage)
{
    static const char *const names[] = {"volume_base", "volume_base_computed", "volume_measured"};
    for (size_t k = 0; k < sizeof names / sizeof names[0]; k++)
        for (int i = 0; i < usage->counter_count; i++)
            if (strcmp(usage->counters[i].name, names[k]) == 0)
                return i;
    return usage->counter_count > 0 ? 0 : -1;
}

// --- the whole ---

static struct usage_counter *counter_of(struct usage *usage, const char *name)
{
    for (int i = 0; i < usage->counter_count; i++)
        if (strcmp(usage->counters[i].name, name) == 0)
            return &usage->counters[i];
    if (usage->counter_count == USAGE_COUNTERS_MAX)
        return NULL;
    struct usage_counter *counter = &usage->counters[usage->counter_count++];
    memset(counter, 0, sizeof *counter);
    (void)strncpy(counter->name, name, sizeof counter->name - 1);
    counter->start_quality = counter->end_quality = QUALITY_MISSING;
    counter->jump_known = true;
    return counter;
}

static void counter_start(struct usage_counter *counter, const struct period_channel *channel)
{
    counter->start_known = channel->start_known;
    counter->start_quality = channel->start_quality;
    counter->start_micro = channel->start_micro;
}

static void counter_end(struct usage_counter *counter, const struct period_channel *channel)
{
    counter->end_known = channel->end_known;
    counter->end_quality = channel->end_quality;
    counter->end_micro = channel->end_micro;
    counter->quality = worse(counter->quality, channel->quality);
    if (channel->quality != QUALITY_GOOD)
        counter->why = channel->why;
    if (!channel->exchanged)
        return;
    counter->exchanged = true;
    counter->jump_known =
        counter->jump_known && channel->jump_known &&
        micro_add(counter->jump_micro, channel->jump_micro, &counter->jump_micro) == 0;
}

static void counter_close(const struct usage *usage, struct usage_counter *counter)
{
    counter->known =
        !usage->holes && counter->start_known && counter->end_known && counter->jump_known &&
        micro_subtract(counter->end_micro, counter->start_micro, &counter->volume_micro) == 0 &&
        micro_subtract(counter->volume_micro, counter->jump_micro, &counter->volume_micro) == 0;
}

// The next piece of the whole: one that begins where the last one ended.
static void take(struct usage *usage, const struct period *period)
{
    bool begins = !usage->any;
    usage->holes =
        usage->holes || (period->from_ms > usage->reached_ms && !(begins && period->first));
    usage->any = true;
    usage->first = usage->first || period->first;
    usage->reached_ms = period->to_ms;
    usage->closed = period->to_ms >= usage->to_ms;
    usage->quality = worse(usage->quality, period->quality);
    usage->expected += period->expected;
    usage->good += period->good;
    usage->suspect += period->suspect;
    usage->missing += period->missing;
    for (int i = 0; i < usage->counter_count; i++)
        usage->counters[i].end_known = false; // unless this piece has it
    for (int i = 0; i < period->channel_count; i++) {
        const struct period_channel *channel = &period->channels[i];
        int before = usage->counter_count;
        struct usage_counter *counter =
            channel->kind == CHANNEL_COUNTER ? counter_of(usage, channel->name) : NULL;
        if (counter == NULL)
            continue;
        if (begins || (usage->counter_count > before && period->first))
            counter_start(counter, channel);
        counter_end(counter, channel);
    }
    for (int i = 0; i < usage->counter_count; i++)
        counter_close(usage, &usage->counters[i]);
    usage->main = usage_main_counter(usage);
}

// --- parts, hours, days ---

static void part_add(struct usage *usage, const struct period *period)
{
    if (usage->part_count == USAGE_PARTS_MAX)
        return; // a day, month or year has no more
    struct usage_part *part = &usage->parts[usage->part_count++];
    *part = (struct usage_part){.from_ms = period->from_ms,
                                .to_ms = period->to_ms,
                                .version = period->version,
                                .quality = period->quality,
                                .expected = period->expected,
                                .good = period->good,
                                .suspect = period->suspect,
                                .missing = period->missing};
    usage->corrected += period->version > 1;
    for (int i = 0; i < usage->counter_count; i++) {
        const struct period_channel *channel = period_counter(period, usage->counters[i].name);
        int64_t micro;
        part->counters[i].quality = QUALITY_MISSING;
        if (channel == NULL)
            continue;
        part->counters[i].quality = channel->quality;
        part->counters[i].known = period_delta(channel, &micro);
        if (part->counters[i].known)
            part->counters[i].micro = micro;
    }
}

static void slot_add(struct usage_slot *slot, bool known, int64_t micro)
{
    if (known && micro_add(slot->micro, micro, &slot->micro) == 0)
        slot->known++;
    else
        slot->unknown++;
}

// An hour of one meter, or of several together.
static void hours_add(struct usage_hours *hours, const struct usage_part *hour, bool known,
                      int64_t micro)
{
    hours->of_quality[known ? hour->quality : QUALITY_MISSING]++;
    if (!known || micro_add(hours->micro, micro, &hours->micro) != 0) {
        hours->unknown++;
        return;
    }
    hours->length_ms += hour->to_ms - hour->from_ms;
    if (hours->known++ == 0 || micro > hours->peak_micro) {
        hours->peak_micro = micro;
        hours->peak_from_ms = hour->from_ms;
        hours->peak_quality = hour->quality;
    }
}

void usage_add(struct usage *usage, const struct period *period, bool whole)
{
    if (period->from_ms >= usage->reached_ms)
        take(usage, period);
    if (whole) {
        usage->version = period->version;
        return;
    }
    if (period->span == usage->part_span)
        part_add(usage, period);
    if (usage->main < 0 || (period->span != SPAN_HOUR && period->span != SPAN_DAY))
        return;
    const struct period_channel *channel =
        period_counter(period, usage->counters[usage->main].name);
    int64_t micro = 0;
    bool known = channel != NULL && period_delta(channel, &micro);
    const struct usage_part place = {.from_ms = period->from_ms,
                                     .to_ms = period->to_ms,
                                     .quality =
                                         channel != NULL ? channel->quality : QUALITY_MISSING};
    if (period->span == SPAN_HOUR) {
        slot_add(&usage->of_hour[hour_of_day(usage->calendar, period->from_ms)], known, micro);
        hours_add(&usage->hours, &place, known, micro);
    } else {
        slot_add(&usage->of_weekday[usage_weekday(usage->calendar, period->from_ms)], known, micro);
    }
}

// n / d, rounded half to even; n not below 0, d above.
static int64_t divide_half_even(wide n, wide d)
{
    wide whole = n / d;
    wide twice = 2 * (n % d);
    whole += twice > d || (twice == d && whole % 2 != 0);
    return (int64_t)whole;
}

int usage_load_factor(const struct usage_hours *hours)
{
    if (hours->known == 0 || hours->peak_micro <= 0 || hours->micro < 0 || hours->length_ms <= 0)
        return -1;
    // The mean of the hours is at most the peak, so the result is at most 10000 but for short
    // hours.
    wide mean = (wide)hours->micro * HOUR_MS * 10000;
    return (int)divide_half_even(mean, (wide)hours->peak_micro * hours->length_ms);
}

bool usage_change(int64_t now_micro, int64_t before_micro, int64_t *hundredths)
{
    if (before_micro <= 0)
        return false;
    wide change = ((wide)now_micro - before_micro) * 10000;
    bool less = change < 0;
    if (less)
        change = -change;
    if (change / before_micro > CHANGE_MAX)
        return false;
    int64_t rounded = divide_half_even(change, before_micro);
    *hundredths = less ? -rounded : rounded;
    return true;
}

// --- several meters ---

static void total_close_hour(struct usage_total *total)
{
    if (total->now_known + total->now_unknown == 0)
        return;
    const struct usage_part place = {
        .from_ms = total->now_ms, .to_ms = total->now_to_ms, .quality = total->now_quality};
    hours_add(&total->hours, &place, total->now_unknown == 0, total->now_micro);
    total->now_known = total->now_unknown = 0;
    total->now_micro = 0;
    total->now_quality = QUALITY_GOOD;
}

void usage_total_hour(struct usage_total *total, const struct period *hour,
                      const struct period_channel *counter)
{
    if (hour->from_ms != total->now_ms)
        total_close_hour(total);
    total->now_ms = hour->from_ms;
    total->now_to_ms = hour->to_ms;
    int64_t micro;
    if (counter == NULL || !period_delta(counter, &micro) ||
        micro_add(total->now_micro, micro, &total->now_micro) != 0) {
        total->now_unknown++;
        return;
    }
    total->now_known++;
    total->now_quality = worse(total->now_quality, counter->quality);
}

static struct usage_sum *sum_of(struct usage_total *total, const char *name)
{
    for (int i = 0; i < total->sum_count; i++)
        if (strcmp(total->sums[i].name, name) == 0)
            return &total->sums[i];
    if (total->sum_count == (int)(sizeof total->sums / sizeof total->sums[0]))
        return NULL;
    struct usage_sum *sum = &total->sums[total->sum_count++];
    (void)strncpy(sum->name, name, sizeof sum->name - 1);
    return sum;
}

static void slots_merge(struct usage_slot *sums, const struct usage_slot *parts, int count)
{
    for (int i = 0; i < count; i++) {
        if (micro_add(sums[i].micro, parts[i].micro, &sums[i].micro) == 0)
            sums[i].known += parts[i].known;
        else
            sums[i].unknown += parts[i].known;
        sums[i].unknown += parts[i].unknown;
    }
}

void usage_total_meter(struct usage_total *total, const struct usage *usage)
{
    total->meters++;
    total->expected += usage->expected;
    total->good += usage->good;
    total->suspect += usage->suspect;
    total->missing += usage->missing;
    total->corrected += usage->corrected > 0 || usage->version > 1;
    total->open += !usage->closed;
    total->quality = worse(total->quality, usage->quality);
    for (int i = 0; i < usage->counter_count; i++) {
        const struct usage_counter *counter = &usage->counters[i];
        struct usage_sum *sum = sum_of(total, counter->name);
        if (sum == NULL)
            continue;
        sum->known += counter->known;
        sum->unknown += !counter->known;
        if (!counter->known)
            continue;
        sum->quality = worse(sum->quality, counter->quality);
        sum->overflow = sum->overflow || micro_add(sum->micro, counter->volume_micro, &sum->micro);
    }
    if (usage->main < 0 || strcmp(usage->counters[usage->main].name, total->counter) != 0)
        return;
    slots_merge(total->of_hour, usage->of_hour, 24);
    slots_merge(total->of_weekday, usage->of_weekday, 7);
}

void usage_total_end(struct usage_total *total)
{
    total_close_hour(total);
}
