#include "record/period.h"

#include "config/config.h"
#include "record/counter.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

// A boundary waits at most 2 x interval + 60 s for its index, and a period is at least as long as
// the interval and a minute: so at most four stand open. At the bound (or without memory for one
// more) the oldest closes as if its time were up.
#define OPEN_MAX 6
#define OPEN_USUAL 2 // there is room for from the beginning: a meter that answers needs no more
#define WINDOW_MAX_MS 60000
#define GRACE_MS 60000

// What a boundary says of one counter.
struct index {
    bool resolved; // known, or known to be missing
    bool known;
    uint8_t quality;
    int64_t micro;
};

// A usable reading of a counter; at_ms 0: none yet. Quality missing: another meter began then, and
// has told no index.
struct point {
    int64_t at_ms;
    int64_t micro;
    uint8_t quality;
};

// One channel of an open period.
struct track {
    uint16_t start_why, why; // why the start is missing; of the newest unusable value
    union {
        struct { // counter
            struct index start, end;
            struct point last; // newest before the period's end
            bool exchanged, jump_known;
            int64_t jump_micro;
        };
        struct {             // gauge
            uint8_t quality; // worst of the usable values
            int64_t weight_ms;
            double weighted, min, max;
        };
    };
};

struct open_period {
    int64_t from_ms, to_ms;
    bool first, passed; // passed: a reading after the end was seen
    int64_t good, suspect;
    struct reasons reasons; // of those that were read, good or not
    struct track *tracks;
};

// One channel of the builder: a counter or a gauge of the profile.
struct source {
    int place; // in the reading's values
    const struct profile_channel *channel;
    bool is_counter;
    struct counter counter; // of a counter
    // newest usable value of a gauge, until the next reading tells how long it stood
    bool pending;
    double pending_value;
};

struct period_builder {
    struct schedule schedule;
    struct gas_calendar calendar;
    int64_t configured_ms;
    int64_t newest_ms, newest_due_ms; // of the readings fed
    bool begins;                      // another meter, since the next reading that is in order
    int source_count;
    struct source *sources; // behind the builder, and behind them the usual periods' tracks
    int open_count, open_room;
    struct open_period open[OPEN_MAX];         // tracks of the first open_room
    struct track *more[OPEN_MAX - OPEN_USUAL]; // of the room made later
};

// --- making ---

static int source_list(const struct meter *meter, struct source *sources)
{
    const struct profile *profile = meter->profile;
    int count = 0;
    for (int i = 0; i < profile->channel_count; i++) {
        const struct profile_channel *channel = &profile->channels[i];
        enum channel_kind kind = channel->channel->kind;
        if (kind == CHANNEL_COUNTER || kind == CHANNEL_GAUGE || kind == CHANNEL_EXACT) {
            sources[count] = (struct source){.place = i, .channel = channel};
            sources[count].is_counter = kind == CHANNEL_COUNTER;
            if (kind == CHANNEL_COUNTER)
                sources[count].counter = counter_of(meter, channel);
            count++;
        }
    }
    return count;
}

// How long a boundary waits for its index.
static int64_t wait_ms(const struct schedule *schedule)
{
    return 2 * schedule->interval_ms + GRACE_MS;
}

struct period_builder *period_builder_new(const struct meter *meter,
                                          const struct schedule *schedule,
                                          const struct gas_calendar *calendar,
                                          int64_t configured_ms)
{
    struct source sources[PROFILE_CHANNELS_MAX];
    int count = source_list(meter, sources);
    size_t sources_size = (size_t)count * sizeof sources[0];
    size_t tracks_size = OPEN_USUAL * (size_t)count * sizeof(struct track);
    struct period_builder *builder = calloc(1, sizeof *builder + sources_size + tracks_size);
    if (builder == NULL)
        return NULL;
    builder->schedule = *schedule;
    builder->calendar = *calendar;
    builder->configured_ms = configured_ms;
    builder->newest_ms = builder->newest_due_ms = INT64_MIN;
    builder->source_count = count;
    builder->sources = (struct source *)(builder + 1);
    memcpy(builder->sources, sources, sources_size);
    builder->open_room = OPEN_USUAL;
    struct track *tracks = (struct track *)(builder->sources + count);
    for (int i = 0; i < OPEN_USUAL; i++)
        builder->open[i].tracks = tracks + (ptrdiff_t)i * count;
    return builder;
}

void period_builder_free(struct period_builder *builder)
{
    for (int i = 0; builder != NULL && i < OPEN_MAX - OPEN_USUAL; i++)
        free(builder->more[i]);
    free(builder);
}

// --- open periods ---

// How long after a boundary a reading is its index.
static int64_t window_ms(const struct period_builder *builder)
{
    int64_t interval = builder->schedule.interval_ms;
    return interval < WINDOW_MAX_MS ? interval : WINDOW_MAX_MS;
}

static struct open_period *newest_open(struct period_builder *builder)
{
    assert(builder->open_count > 0);
    return &builder->open[builder->open_count - 1];
}

// Makes room for one more period. False at the bound, and when memory is short.
static bool make_room(struct period_builder *builder)
{
    if (builder->open_room == OPEN_MAX)
        return false;
    struct track *tracks = calloc((size_t)builder->source_count + 1, sizeof *tracks);
    if (tracks == NULL)
        return false;
    builder->more[builder->open_room - OPEN_USUAL] = tracks;
    builder->open[builder->open_room++].tracks = tracks;
    return true;
}

// Appends the period that holds `at_ms`.
static struct open_period *open_append(struct period_builder *builder, int64_t at_ms)
{
    assert(builder->open_count < builder->open_room);
    struct open_period *open = &builder->open[builder->open_count++];
    struct track *tracks = open->tracks;
    memset(tracks, 0, (size_t)builder->source_count * sizeof *tracks);
    *open = (struct open_period){
        .from_ms = period_start(&builder->calendar, builder->schedule.span, at_ms),
        .to_ms = period_end(&builder->calendar, builder->schedule.span, at_ms),
        .tracks = tracks,
    };
    return open;
}

// Appends the period after the newest one: its last points are those of the one before.
static void open_next(struct period_builder *builder)
{
    const struct open_period *before = newest_open(builder);
    struct open_period *open = open_append(builder, before->to_ms);
    for (int i = 0; i < builder->source_count; i++)
        if (builder->sources[i].is_counter)
            open->tracks[i].last = before->tracks[i].last;
}

void period_builder_resume(struct period_builder *builder, const struct period *last)
{
    if (last == NULL)
        return;
    struct open_period *open = open_append(builder, last->to_ms);
    builder->newest_ms = builder->newest_due_ms = last->to_ms - 1;
    for (int i = 0; i < builder->source_count; i++) {
        const struct period_channel *channel =
            period_counter(last, builder->sources[i].channel->channel->name);
        struct track *track = &open->tracks[i];
        if (!builder->sources[i].is_counter)
            continue;
        track->start.resolved = true;
        track->start_why = WHY_NOT_POLLED;
        if (channel != NULL) {
            track->start.known = channel->end_known;
            track->start.quality = channel->end_quality;
            track->start.micro = channel->end_micro;
            track->start_why = channel->why;
            track->last =
                (struct point){channel->last_ms, channel->last_micro, channel->last_quality};
        }
    }
}

static int find_source(const struct period_builder *builder, const char *name)
{
    for (int i = 0; i < builder->source_count; i++)
        if (builder->sources[i].is_counter &&
            strcmp(builder->sources[i].channel->channel->name, name) == 0)
            return i;
    return -1;
}

bool period_builder_last(const struct period_builder *builder, const char *channel, int64_t *at_ms,
                         int64_t *micro, uint8_t *quality)
{
    int source = find_source(builder, channel);
    if (source < 0 || builder->open_count == 0)
        return false;
    const struct point *last = &builder->open[builder->open_count - 1].tracks[source].last;
    if (last->at_ms == 0 || last->quality == QUALITY_MISSING)
        return false;
    *at_ms = last->at_ms;
    *micro = last->micro;
    *quality = last->quality;
    return true;
}

void period_builder_amend(struct period_builder *builder, int64_t boundary_ms, const char *channel,
                          int64_t micro, uint8_t quality)
{
    int source = find_source(builder, channel);
    if (source < 0 || builder->open_count == 0 || builder->open[0].from_ms != boundary_ms ||
        builder->open[0].first)
        return;
    builder->open[0].tracks[source].start = (struct index){true, true, quality, micro};
}

// --- closing ---

static void close_counter(const struct track *track, struct period_channel *out)
{
    out->start_known = track->start.known;
    out->end_known = track->end.known;
    out->start_quality = track->start.known ? track->start.quality : QUALITY_MISSING;
    out->end_quality = track->end.known ? track->end.quality : QUALITY_MISSING;
    out->start_micro = track->start.known ? track->start.micro : 0;
    out->end_micro = track->end.known ? track->end.micro : 0;
    out->exchanged = track->exchanged;
    out->jump_known = track->jump_known;
    out->jump_micro = track->jump_micro;
    out->last_ms = track->last.at_ms;
    out->last_micro = track->last.micro;
    out->last_quality = track->last.quality;
    out->why = track->why;
    if (out->end_known && !out->start_known && track->start_why != WHY_NONE)
        out->why = track->start_why;
}

static void close_gauge(const struct track *track, struct period_channel *out)
{
    out->weight_ms = track->weight_ms;
    out->why = track->why;
    if (track->weight_ms > 0) {
        out->quality = track->quality;
        out->min = track->min;
        out->mean = track->weighted / (double)track->weight_ms;
        out->max = track->max;
    }
}

static void close_reads(const struct period_builder *builder, const struct open_period *open,
                        struct period *out)
{
    int64_t from = open->from_ms > builder->configured_ms ? open->from_ms : builder->configured_ms;
    int64_t expected = schedule_count(&builder->schedule, &builder->calendar, from, open->to_ms);
    out->good = open->good;
    out->suspect = open->suspect;
    out->reasons = open->reasons;
    period_count(out, expected);
}

// Takes the time that a gauge's newest value stood, up to `until_ms`, into its period.
static void settle_gauges(struct period_builder *builder, int64_t until_ms)
{
    struct open_period *open = newest_open(builder);
    int64_t longest = builder->newest_ms + 2 * builder->schedule.interval_ms;
    int64_t end = until_ms < open->to_ms ? until_ms : open->to_ms;
    int64_t weight = (end < longest ? end : longest) - builder->newest_ms;
    for (int i = 0; i < builder->source_count; i++) {
        struct source *source = &builder->sources[i];
        struct track *track = &open->tracks[i];
        if (source->pending && weight > 0) {
            track->weighted += source->pending_value * (double)weight;
            track->weight_ms += weight;
        }
        source->pending = false;
    }
}

// Closes the oldest open period as it stands; what is not resolved is missing.
static void close_oldest(struct period_builder *builder, period_closed *closed, void *context)
{
    struct open_period oldest = builder->open[0];
    if (builder->open_count == 1) {
        settle_gauges(builder, oldest.to_ms);
        open_next(builder);
    }
    struct period period = {.span = builder->schedule.span,
                            .version = 1,
                            .from_ms = oldest.from_ms,
                            .to_ms = oldest.to_ms,
                            .first = oldest.first,
                            .channel_count = builder->source_count};
    struct open_period *next = &builder->open[1];
    for (int i = 0; i < builder->source_count; i++) {
        const struct source *source = &builder->sources[i];
        struct period_channel *out = &period.channels[i];
        struct track *track = &oldest.tracks[i];
        (void)strncpy(out->name, source->channel->channel->name, sizeof out->name - 1);
        out->kind = (uint8_t)source->channel->channel->kind;
        if (track->why == WHY_NONE)
            track->why = WHY_NOT_POLLED;
        if (source->is_counter) {
            close_counter(track, out);
            next->tracks[i].start = track->end;
            next->tracks[i].start.resolved = true;
            next->tracks[i].start_why = track->why;
        } else {
            close_gauge(track, out);
        }
    }
    close_reads(builder, &oldest, &period);
    period_judge(&period);
    builder->open_count--;
    int last = builder->open_room - 1;
    memmove(builder->open, builder->open + 1, (size_t)last * sizeof builder->open[0]);
    builder->open[last].tracks = oldest.tracks;
    closed(context, &period);
}

static bool is_complete(const struct period_builder *builder, const struct open_period *open)
{
    for (int i = 0; i < builder->source_count; i++)
        if (builder->sources[i].is_counter && !open->tracks[i].end.resolved)
            return false;
    return open->passed;
}

void period_builder_expire(struct period_builder *builder, int64_t now_ms, period_closed *closed,
                           void *context)
{
    while (period_builder_deadline(builder) <= now_ms)
        close_oldest(builder, closed, context);
}

int64_t period_builder_deadline(const struct period_builder *builder)
{
    return builder->open_count > 0 ? builder->open[0].to_ms + wait_ms(&builder->schedule)
                                   : INT64_MAX;
}

// --- readings ---

static bool has_index(const struct point *point)
{
    return point->at_ms != 0 && point->quality != QUALITY_MISSING;
}

// The end of a period, when the first usable value at or after it is `now`.
static struct index index_at(const struct period_builder *builder, const struct source *source,
                             const struct open_period *open, const struct point *before,
                             const struct point *now)
{
    struct index index = {.resolved = true, .quality = QUALITY_MISSING};
    if (now->at_ms < open->to_ms + window_ms(builder)) {
        index.known = true;
        index.quality = now->quality;
        index.micro = now->micro;
    } else if (has_index(before) && before->at_ms < open->to_ms &&
               now->at_ms < open->to_ms + wait_ms(&builder->schedule)) {
        index.known = true;
        index.quality =
            (uint8_t)quality_worst(QUALITY_ESTIMATED, quality_worst((enum quality)before->quality,
                                                                    (enum quality)now->quality));
        index.micro = counter_between(&source->counter, before->at_ms, before->micro, now->at_ms,
                                      now->micro, open->to_ms);
    }
    return index;
}

// Another meter: the first period that has no end yet goes over from one to the other, and nothing
// is interpolated between the two. `now` has quality missing where the new one tells no index yet.
static void exchange_counter(struct period_builder *builder, int number, const struct point *now)
{
    bool found = false;
    for (int i = 0; i < builder->open_count; i++) {
        struct track *track = &builder->open[i].tracks[number];
        if (track->end.resolved)
            continue;
        if (!found && track->last.at_ms >= now->at_ms)
            return; // resumed after a period that has this exchange in it
        if (!found) {
            int64_t jump = 0;
            bool known = has_index(now) && has_index(&track->last) &&
                         (!track->exchanged || track->jump_known) &&
                         micro_subtract(now->micro, track->last.micro, &jump) == 0 &&
                         micro_add(track->jump_micro, jump, &jump) == 0;
            track->exchanged = found = true;
            track->jump_known = known;
            track->jump_micro = known ? jump : 0;
        }
        track->last = *now;
    }
}

// The newest index before a reading: of another reading, or of the boundary that was told since.
static struct point newest_point(const struct open_period *open, const struct track *track)
{
    if (track->start.known && track->last.at_ms < open->from_ms)
        return (struct point){open->from_ms, track->start.micro, track->start.quality};
    return track->last;
}

static bool wraps(const struct source *source, const struct point *before, const struct point *now)
{
    return has_index(before) &&
           counter_wraps(&source->counter, before->micro, now->micro, now->at_ms - before->at_ms);
}

// The register began again at 0 in this period.
static void note_wrap(const struct source *source, struct track *track)
{
    if (track->exchanged && !track->jump_known)
        return; // what it counted is not known anyway
    if (micro_subtract(track->jump_micro, source->counter.range, &track->jump_micro) == 0)
        track->jump_known = true;
}

// The end of a period, when the counter may have begun again between its last reading and `now`.
// `wrap`: it did, and no earlier period has it; cleared when this one does.
static struct index end_at(const struct period_builder *builder, const struct source *source,
                           const struct open_period *open, struct track *track,
                           const struct point *now, bool *wrap)
{
    struct point before = track->last;
    if (wraps(source, &before, now))
        before.micro -= source->counter.range; // the line to `now` goes through 0
    struct index end = index_at(builder, source, open, &before, now);
    if (end.known && end.micro < 0 && before.micro < 0) {
        end.micro += source->counter.range;
    } else if (end.known && *wrap) {
        note_wrap(source, track);
        *wrap = false;
    }
    return end;
}

static void feed_counter(struct period_builder *builder, int number, const struct value *value,
                         int64_t at_ms)
{
    const struct source *source = &builder->sources[number];
    struct point now = {at_ms, value->micro, value->quality};
    int first = 0; // that waits for its end; the newest does
    while (builder->open[first].tracks[number].end.resolved)
        first++;
    struct open_period *open = &builder->open[first];
    struct point before = newest_point(open, &open->tracks[number]);
    bool wrap = wraps(source, &before, &now);
    for (; open->to_ms <= at_ms; open++)
        open->tracks[number].end =
            end_at(builder, source, open, &open->tracks[number], &now, &wrap);
    struct open_period *newest = newest_open(builder);
    struct track *track = &newest->tracks[number];
    if (wrap)
        note_wrap(source, track);
    track->last = now;
    if (newest->first && !track->start.resolved)
        track->start = (struct index){true, true, value->quality, value->micro};
}

static void feed_gauge(struct period_builder *builder, int number, const struct value *value)
{
    struct source *source = &builder->sources[number];
    struct track *track = &newest_open(builder)->tracks[number];
    bool is_first = track->weight_ms == 0;
    track->quality = is_first ? value->quality
                              : (uint8_t)quality_worst((enum quality)track->quality,
                                                       (enum quality)value->quality);
    track->min = is_first || value->number < track->min ? value->number : track->min;
    track->max = is_first || value->number > track->max ? value->number : track->max;
    source->pending = true;
    source->pending_value = value->number;
}

// An unusable value: every period that still waits for this channel may be missing because of it.
static void feed_unusable(struct period_builder *builder, int number, const struct value *value)
{
    for (int i = 0; i < builder->open_count; i++)
        builder->open[i].tracks[number].why = value->why;
}

// The worst quality of a reading's values, and why: that of the first value of it.
static enum quality worst_of(const struct reading *reading, uint16_t *why)
{
    enum quality worst = values_worst(reading->values, reading->value_count);
    *why = WHY_NOT_POLLED; // no channels
    for (int i = reading->value_count - 1; i >= 0; i--)
        if (reading->values[i].quality == worst)
            *why = reading->values[i].why;
    return worst;
}

static void count_read(struct period_builder *builder, const struct reading *reading)
{
    int64_t due = reading->due_ms;
    if (due <= builder->newest_due_ms || due < builder->configured_ms)
        return;
    builder->newest_due_ms = due;
    uint16_t why;
    enum quality worst = worst_of(reading, &why);
    for (int i = 0; i < builder->open_count; i++) {
        struct open_period *open = &builder->open[i];
        if (due >= open->from_ms && due < open->to_ms) {
            open->good += worst <= QUALITY_MANUAL;
            open->suspect += worst == QUALITY_ESTIMATED || worst == QUALITY_SUSPECT;
            if (worst > QUALITY_MANUAL)
                reasons_add(&open->reasons, worst, why, 1);
        }
    }
}

// Opens periods until the newest one holds `at_ms`; what is overdue by then closes.
static void reach(struct period_builder *builder, int64_t at_ms, period_closed *closed,
                  void *context)
{
    if (builder->open_count == 0)
        open_append(builder, at_ms)->first = true;
    period_builder_expire(builder, at_ms, closed, context);
    while (newest_open(builder)->to_ms <= at_ms) {
        if (builder->open_count == builder->open_room && !make_room(builder))
            close_oldest(builder, closed, context);
        open_next(builder);
    }
}

void period_builder_feed(struct period_builder *builder, const struct reading *reading,
                         period_closed *closed, void *context)
{
    int64_t at = reading->at_ms;
    bool begun = builder->open_count > 0;
    builder->begins = builder->begins || reading->begins;
    if (at <= builder->newest_ms || (begun && at < newest_open(builder)->from_ms)) {
        count_read(builder, reading); // the clock went back, or the timer has closed its period
        return;
    }
    if (begun)
        settle_gauges(builder, at);
    reach(builder, at, closed, context);
    builder->newest_ms = at;
    count_read(builder, reading);
    for (int i = 0; i < builder->source_count; i++) {
        const struct source *source = &builder->sources[i];
        const struct value *value = &reading->values[source->place];
        bool usable = value_is_usable(value);
        if (builder->begins && source->is_counter) {
            struct point now = {at, usable ? value->micro : 0,
                                usable ? value->quality : QUALITY_MISSING};
            exchange_counter(builder, i, &now);
        }
        if (!usable)
            feed_unusable(builder, i, value);
        else if (source->is_counter)
            feed_counter(builder, i, value, at);
        else
            feed_gauge(builder, i, value);
    }
    builder->begins = false;
    for (int i = 0; i < builder->open_count; i++)
        builder->open[i].passed = builder->open[i].to_ms <= at;
    while (is_complete(builder, &builder->open[0]))
        close_oldest(builder, closed, context);
}
