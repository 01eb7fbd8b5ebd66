#include "poll/reading.h"

#include "config/config.h"

#include <stdlib.h>

struct reading *reading_new(struct config *config, const struct meter *meter)
{
    int count = meter->profile->channel_count;
    struct reading *reading = calloc(1, sizeof *reading + (size_t)count * sizeof(struct value));
    if (reading == NULL)
        return NULL;
    reading->config = config != NULL ? config_ref(config) : NULL;
    reading->meter = meter;
    reading->value_count = count;
    reading_refuse(reading, WHY_NOT_POLLED);
    return reading;
}

void reading_free(struct reading *reading)
{
    if (reading == NULL)
        return;
    config_unref(reading->config);
    free(reading);
}

void reading_refuse(struct reading *reading, uint16_t why)
{
    for (int i = 0; i < reading->meter->profile->field_count; i++)
        reading->image.why[i] = why;
    for (int i = 0; i < reading->value_count; i++)
        reading->values[i] = (struct value){.quality = QUALITY_MISSING, .why = why};
}

void reading_doubt(struct reading *reading, uint16_t why)
{
    const struct meter *meter = reading->meter;
    for (int i = 0; i < meter->profile->field_count; i++)
        if (reading->image.why[i] == WHY_NONE)
            reading->image.why[i] = why;
    image_decode(meter->profile, &reading->image, meter->unverified, reading->values);
}

static void print_bits(struct writer *writer, const struct profile *profile, uint64_t bits)
{
    writer_array(writer);
    for (int i = 0; i < profile->status_count; i++)
        if ((bits >> i & 1) != 0)
            writer_text(writer, profile->status[i].name);
    writer_end(writer);
}

static void print_value(struct writer *writer, const struct profile *profile,
                        const struct channel *channel, const struct value *value)
{
    if (!value->present) {
        writer_null(writer);
        return;
    }
    switch (channel->kind) {
    case CHANNEL_COUNTER: writer_micro(writer, value->micro); break;
    case CHANNEL_GAUGE: writer_gauge(writer, value->number, false); break;
    case CHANNEL_EXACT: writer_gauge(writer, value->number, true); break;
    case CHANNEL_BITS: print_bits(writer, profile, value->bits); break;
    case CHANNEL_IDENTITY: writer_text(writer, value->text); break;
    }
}

void reading_print_channels(struct writer *writer, const struct reading *reading)
{
    const struct profile *profile = reading->meter->profile;
    writer_object(writer);
    for (int i = 0; i < reading->value_count; i++) {
        const struct channel *channel = profile->channels[i].channel;
        const struct value *value = &reading->values[i];
        writer_key(writer, channel->name);
        writer_object(writer);
        writer_key(writer, "value");
        print_value(writer, profile, channel, value);
        if (channel->unit[0] != '\0')
            writer_key_text(writer, "unit", channel->unit);
        writer_key_text(writer, "quality", quality_text((enum quality)value->quality));
        if (value->why != WHY_NONE) {
            char why[WHY_TEXT_MAX];
            writer_key_text(writer, "why", why_text(value->why, why));
        }
        writer_end(writer);
    }
    writer_end(writer);
}
