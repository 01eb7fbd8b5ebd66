// forecast/1: what a meter is expected to take in the gas days to come.
#include "office/feed.h"

#include "drivers/channel.h"

static void add_parts(struct writer *writer, const char *key, const struct outlook_part *parts,
                      int count)
{
    writer_key(writer, key);
    writer_array(writer);
    for (int i = 0; i < count; i++) {
        writer_object(writer);
        writer_key_time(writer, "from", parts[i].from_ms);
        writer_key_time(writer, "to", parts[i].to_ms);
        writer_key_micro(writer, "value", parts[i].value);
        writer_key_micro(writer, "low", parts[i].low);
        writer_key_micro(writer, "high", parts[i].high);
        writer_end(writer);
    }
    writer_end(writer);
}

void feed_forecast(struct writer *writer, const struct feed_origin *origin,
                   const struct stored_outlook *stored)
{
    const struct outlook *outlook = &stored->outlook;
    const struct channel *channel = channel_find(outlook->channel);
    writer_object(writer);
    feed_head(writer, origin, "forecast/1", stored->lane, stored->seq);
    writer_key_time(writer, "at", stored->at_ms);
    writer_key_text(writer, "meter", stored->meter);
    writer_key_time(writer, "from", outlook->from_ms);
    writer_key_time(writer, "to", outlook->to_ms);
    writer_key_text(writer, "channel", outlook->channel);
    writer_key_text(writer, "unit", channel != NULL ? channel->unit : "");
    writer_key_int(writer, "known_hours", outlook->known);
    add_parts(writer, "hours", outlook->hours, outlook->hour_count);
    add_parts(writer, "days", outlook->days, OUTLOOK_DAYS);
    writer_end(writer);
}
