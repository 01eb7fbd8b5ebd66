#include "cli/export_rows.h"

#include "cli/csv.h"
#include "office/feed.h"

#include <stdio.h>

static void begin(const struct exporter *exporter, struct csv *csv, struct writer *writer)
{
    buf_clear(exporter->line);
    csv_init(csv, exporter->line);
    writer_init(writer, exporter->line);
}

// Prints what the line holds; false stops the walk.
static bool end(struct exporter *exporter)
{
    struct buf *line = exporter->line;
    if (exporter->json)
        buf_add_byte(line, '\n');
    exporter->failed = line->failed || fwrite(line->data, 1, line->length, stdout) != line->length;
    return !exporter->failed;
}

static struct feed_origin origin_of(const struct exporter *exporter)
{
    return (struct feed_origin){.gateway = exporter->gateway, .stream = NULL};
}

// Names of the bits that are set, with ';' between.
static void add_bits(struct csv *csv, const struct profile *profile, uint64_t bits)
{
    struct buf names;
    buf_init(&names, PROFILE_STATUS_MAX * sizeof profile->status[0].name);
    buf_add_text(&names, "");
    for (int i = 0; i < profile->status_count; i++)
        if ((bits >> i & 1) != 0)
            buf_addf(&names, "%s%s", names.length > 0 ? ";" : "", profile->status[i].name);
    csv_text(csv, names.data == NULL ? "" : names.data);
    buf_release(&names);
}

static void add_value(struct csv *csv, const struct profile *profile, enum channel_kind kind,
                      const struct value *value)
{
    if (!value->present) {
        csv_nothing(csv);
        return;
    }
    switch (kind) {
    case CHANNEL_COUNTER: csv_micro(csv, value->micro); break;
    case CHANNEL_GAUGE: csv_gauge(csv, value->number, false); break;
    case CHANNEL_EXACT: csv_gauge(csv, value->number, true); break;
    case CHANNEL_BITS: add_bits(csv, profile, value->bits); break;
    case CHANNEL_IDENTITY: csv_text(csv, value->text); break;
    }
}

static void add_quality(struct csv *csv, uint8_t quality, uint16_t why)
{
    char text[WHY_TEXT_MAX];
    csv_text(csv, quality_text((enum quality)quality));
    csv_text(csv, quality == QUALITY_GOOD ? "" : why_text(why, text));
}

static void reading_rows(struct csv *csv, const struct stored_reading *reading)
{
    for (int i = 0; i < reading->value_count; i++) {
        const struct channel *channel = reading->profile->channels[i].channel;
        csv_text(csv, reading->meter);
        csv_time(csv, reading->at_ms);
        csv_text(csv, channel->name);
        add_value(csv, reading->profile, channel->kind, &reading->values[i]);
        csv_text(csv, channel->unit);
        add_quality(csv, reading->values[i].quality, reading->values[i].why);
        csv_end(csv);
    }
}

bool export_reading(void *context, const struct stored_reading *reading)
{
    struct exporter *exporter = context;
    struct csv csv;
    struct writer writer;
    struct feed_origin origin = origin_of(exporter);
    begin(exporter, &csv, &writer);
    if (exporter->json)
        feed_reading(&writer, &origin, reading);
    else
        reading_rows(&csv, reading);
    return end(exporter);
}

static void add_index(struct csv *csv, bool known, int64_t micro)
{
    if (known)
        csv_micro(csv, micro);
    else
        csv_nothing(csv);
}

// start, end, delta, min, mean, max: those that the channel has.
static void add_figures(struct csv *csv, const struct period_channel *channel)
{
    bool counter = channel->kind == CHANNEL_COUNTER;
    int64_t delta = 0;
    bool both = counter && period_delta(channel, &delta);
    add_index(csv, counter && channel->start_known, channel->start_micro);
    add_index(csv, counter && channel->end_known, channel->end_micro);
    add_index(csv, both, delta);
    const double gauges[] = {channel->min, channel->mean, channel->max};
    for (size_t i = 0; i < sizeof gauges / sizeof gauges[0]; i++)
        if (!counter && channel->weight_ms > 0)
            csv_gauge(csv, gauges[i], channel->kind == CHANNEL_EXACT);
        else
            csv_nothing(csv);
}

static void period_rows(struct csv *csv, const struct stored_period *stored)
{
    const struct period *period = &stored->period;
    for (int i = 0; i < period->channel_count; i++) {
        const struct period_channel *channel = &period->channels[i];
        const struct channel *canonical = channel_find(channel->name);
        csv_text(csv, stored->meter);
        csv_text(csv, span_text(period->span));
        csv_time(csv, period->from_ms);
        csv_time(csv, period->to_ms);
        csv_int(csv, period->version);
        csv_time(csv, stored->at_ms);
        csv_text(csv, channel->name);
        add_figures(csv, channel);
        csv_text(csv, canonical == NULL ? "" : canonical->unit);
        add_quality(csv, channel->quality, channel->why);
        csv_int(csv, period->expected);
        csv_int(csv, period->good);
        csv_int(csv, period->suspect);
        csv_int(csv, period->missing);
        csv_end(csv);
    }
}

bool export_period(void *context, const struct stored_period *period)
{
    struct exporter *exporter = context;
    struct csv csv;
    struct writer writer;
    struct feed_origin origin = origin_of(exporter);
    begin(exporter, &csv, &writer);
    if (exporter->json) {
        feed_period(&writer, &origin,
                    period->period.span == SPAN_MONTH ? "month/1"
                    : period->period.span == SPAN_DAY ? "day/1"
                                                      : "summary/1",
                    period);
    } else {
        period_rows(&csv, period);
    }
    return end(exporter);
}

static void alert_row(struct csv *csv, const struct stored_alert *alert)
{
    const struct alert_change *change = &alert->change;
    const struct evidence *evidence = &change->evidence;
    csv_text(csv, alert->id);
    csv_time(csv, change->at_ms);
    csv_time(csv, change->since_ms);
    csv_text(csv, change->subject);
    csv_text(csv, change->of_link ? "link" : "meter");
    csv_text(csv, alert_kind_text(change->kind));
    csv_text(csv, alert_severity_text(change->severity));
    csv_text(csv, alert_state_text(change->state));
    csv_text(csv, change->reason);
    csv_gauge(csv, evidence->observed, false);
    csv_gauge(csv, evidence->expected_low, false);
    csv_gauge(csv, evidence->expected_high, false);
    csv_text(csv, evidence->unit);
    csv_text(csv, evidence->rule);
    csv_time(csv, evidence->from_ms);
    csv_time(csv, evidence->to_ms);
    csv_end(csv);
}

bool export_alert(void *context, const struct stored_alert *alert)
{
    struct exporter *exporter = context;
    struct csv csv;
    struct writer writer;
    struct feed_origin origin = origin_of(exporter);
    begin(exporter, &csv, &writer);
    if (exporter->json)
        feed_alert(&writer, &origin, alert);
    else
        alert_row(&csv, alert);
    return end(exporter);
}

static void audit_object(struct writer *writer, const struct audit_record *record)
{
    writer_object(writer);
    writer_key_int(writer, "number", record->number);
    writer_key_time(writer, "at", record->at_ms);
    writer_key_text(writer, "who", record->who);
    writer_key_text(writer, "action", record->action);
    writer_key_text(writer, "subject", record->subject);
    writer_key_text(writer, "result", record->result);
    writer_key_text(writer, "detail", record->detail);
    writer_key_text(writer, "hash", record->hash);
    writer_end(writer);
}

static void audit_row(struct csv *csv, const struct audit_record *record)
{
    csv_int(csv, record->number);
    csv_time(csv, record->at_ms);
    csv_text(csv, record->who);
    csv_text(csv, record->action);
    csv_text(csv, record->subject);
    csv_text(csv, record->result);
    csv_text(csv, record->detail);
    csv_text(csv, record->hash);
    csv_end(csv);
}

bool export_audit(void *context, const struct audit_record *record)
{
    struct exporter *exporter = context;
    struct csv csv;
    struct writer writer;
    begin(exporter, &csv, &writer);
    if (exporter->json)
        audit_object(&writer, record);
    else
        audit_row(&csv, record);
    return end(exporter);
}
