#include "office/feed.h"

#include <math.h>

// Rows that never entered the outbox (exports, lane 0) have no
// stream, lane and seq.
void feed_head(struct writer *writer, const struct feed_origin *origin, const char *schema,
               enum lane lane, int64_t seq)
{
    writer_key_text(writer, "schema", schema);
    writer_key_text(writer, "gateway", origin->gateway);
    if (origin->stream && lane != 0) {
        writer_key_text(writer, "stream", origin->stream);
        writer_key_text(writer, "lane", lane_text(lane));
        writer_key_int(writer, "seq", seq);
    }
}

// Quality, and `why` where it is not good.
static void add_quality(struct writer *writer, uint8_t quality, uint16_t why)
{
    writer_key_text(writer, "quality", quality_text(quality));
    if (quality != QUALITY_GOOD && why != WHY_NONE) {
        char text[WHY_TEXT_MAX];
        writer_key_text(writer, "why", why_text(why, text));
    }
}

static void add_bits(struct writer *writer, const struct profile *profile, uint64_t bits)
{
    writer_array(writer);
    for (int i = 0; i < profile->status_count; i++)
        if (bits >> i & 1)
            writer_text(writer, profile->status[i].name);
    writer_end(writer);
}

static void add_value(struct writer *writer, const struct profile *profile, enum channel_kind kind,
                      const struct value *value)
{
    if (!value->present) {
        writer_null(writer);
        return;
    }
    switch (kind) {
    case CHANNEL_COUNTER: writer_micro(writer, value->micro); break;
    case CHANNEL_GAUGE: writer_gauge(writer, value->number, false); break;
    case CHANNEL_EXACT: writer_gauge(writer, value->number, true); break;
    case CHANNEL_BITS: add_bits(writer, profile, value->bits); break;
    case CHANNEL_IDENTITY: writer_text(writer, value->text); break;
    }
}

void feed_value(struct writer *writer, const struct profile *profile,
                const struct profile_channel *channel, const struct value *value)
{
    writer_object(writer);
    writer_key(writer, "value");
    add_value(writer, profile, channel->channel->kind, value);
    if (channel->channel->unit[0] != '\0') // status and serial number have none
        writer_key_text(writer, "unit", channel->channel->unit);
    add_quality(writer, value->quality, value->why);
    writer_end(writer);
}

void feed_reading(struct writer *writer, const struct feed_origin *origin,
                  const struct stored_reading *reading)
{
    writer_object(writer);
    feed_head(writer, origin, "reading/1", reading->lane, reading->seq);
    writer_key_text(writer, "meter", reading->meter);
    writer_key_time(writer, "at", reading->at_ms);
    writer_key(writer, "channels");
    writer_object(writer);
    for (int i = 0; i < reading->value_count; i++) {
        const struct profile_channel *channel = &reading->profile->channels[i];
        writer_key(writer, channel->channel->name);
        feed_value(writer, reading->profile, channel, &reading->values[i]);
    }
    writer_end(writer);
    writer_end(writer);
}

static void add_index(struct writer *writer, const char *key, bool known, int64_t micro)
{
    writer_key(writer, key);
    if (known)
        writer_micro(writer, micro);
    else
        writer_null(writer);
}

static void add_counter(struct writer *writer, const struct period_channel *channel)
{
    int64_t delta = 0;
    bool known = period_delta(channel, &delta);
    add_index(writer, "start", channel->start_known, channel->start_micro);
    add_index(writer, "end", channel->end_known, channel->end_micro);
    add_index(writer, "delta", known, delta);
}

// Without one good reading there is nothing to say of a gauge: three nulls.
static void add_gauge(struct writer *writer, const struct period_channel *channel)
{
    bool exact = channel->kind == CHANNEL_EXACT;
    bool any = channel->weight_ms > 0;
    writer_key_gauge(writer, "min", any ? channel->min : (double)NAN, exact);
    writer_key_gauge(writer, "mean", any ? channel->mean : (double)NAN, exact);
    writer_key_gauge(writer, "max", any ? channel->max : (double)NAN, exact);
}

static void add_period_channel(struct writer *writer, const struct period_channel *channel)
{
    const struct channel *canonical = channel_find(channel->name);
    writer_key(writer, channel->name);
    writer_object(writer);
    if (channel->kind == CHANNEL_COUNTER)
        add_counter(writer, channel);
    else
        add_gauge(writer, channel);
    if (canonical != NULL)
        writer_key_text(writer, "unit", canonical->unit);
    add_quality(writer, channel->quality, channel->why);
    writer_end(writer);
}

static void add_replaces(struct writer *writer, const struct stored_period *period)
{
    writer_key(writer, "replaces");
    writer_object(writer);
    writer_key_text(writer, "lane", lane_text(period->replaces_lane));
    writer_key_int(writer, "seq", period->replaces_seq);
    writer_end(writer);
}

static void add_reads(struct writer *writer, const struct period *period)
{
    writer_key(writer, "reads");
    writer_object(writer);
    writer_key_int(writer, "expected", period->expected);
    writer_key_int(writer, "good", period->good);
    writer_key_int(writer, "suspect", period->suspect);
    writer_key_int(writer, "missing", period->missing);
    writer_end(writer);
}

// The period's own `why` is that of the first channel of its quality.
static uint16_t period_why(const struct period *period)
{
    for (int i = 0; i < period->channel_count; i++)
        if (period->channels[i].quality == period->quality && period->channels[i].why != WHY_NONE)
            return period->channels[i].why;
    return WHY_NONE;
}

void feed_period(struct writer *writer, const struct feed_origin *origin, const char *schema,
                 const struct stored_period *stored)
{
    const struct period *period = &stored->period;
    writer_object(writer);
    feed_head(writer, origin, schema, stored->lane, stored->seq);
    writer_key_time(writer, "at", stored->at_ms);
    writer_key_text(writer, "meter", stored->meter);
    writer_key_int(writer, "version", period->version);
    if (period->version > 1 && stored->replaces_lane != 0)
        add_replaces(writer, stored);
    writer_key_time(writer, "from", period->from_ms);
    writer_key_time(writer, "to", period->to_ms);
    add_reads(writer, period);
    add_quality(writer, period->quality, period_why(period));
    writer_key(writer, "channels");
    writer_object(writer);
    for (int i = 0; i < period->channel_count; i++)
        add_period_channel(writer, &period->channels[i]);
    writer_end(writer);
    writer_key(writer, "alerts");
    writer_array(writer);
    for (int i = 0; i < stored->alert_count; i++)
        writer_text(writer, stored->alerts[i]);
    writer_end(writer);
    writer_end(writer);
}

void feed_gap(struct writer *writer, const struct feed_origin *origin, const struct stored_gap *gap)
{
    writer_object(writer);
    feed_head(writer, origin, "gap/1", LANE_ALERT, gap->seq);
    writer_key_time(writer, "at", gap->at_ms);
    // `lane` above is the lane of this message itself: the hole's lane needs a name of its own.
    writer_key_text(writer, "of_lane", lane_text(gap->lane));
    writer_key_int(writer, "first", gap->first);
    writer_key_int(writer, "last", gap->last);
    writer_key_text(writer, "reason", gap->reason);
    writer_key_time(writer, "from", gap->from_ms);
    writer_key_time(writer, "to", gap->to_ms);
    writer_end(writer);
}

void feed_audit(struct writer *writer, const struct feed_origin *origin, enum lane lane,
                int64_t seq, const struct audit_record *record)
{
    writer_object(writer);
    feed_head(writer, origin, "audit/1", lane, seq);
    writer_key_time(writer, "at", record->at_ms);
    writer_key_int(writer, "number", record->number);
    writer_key_text(writer, "hash", record->hash);
    writer_end(writer);
}
