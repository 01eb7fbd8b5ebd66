#include "office/feed_state.h"

static void add_queue(struct writer *writer, const struct outbox_state lanes[static LANES_END])
{
    writer_key(writer, "queue");
    writer_object(writer);
    for (enum lane lane = LANE_ALERT; lane < LANES_END; lane++) {
        writer_key(writer, lane_text(lane));
        writer_object(writer);
        writer_key_int(writer, "last", lanes[lane].last);
        writer_key_int(writer, "acknowledged", lanes[lane].acknowledged);
        writer_key_int(writer, "confirmed", lanes[lane].confirmed);
        writer_end(writer);
    }
    writer_end(writer);
}

void feed_state(struct writer *writer, const struct feed_origin *origin,
                const struct feed_state *state)
{
    writer_object(writer);
    feed_head(writer, origin, "state/1", 0, 0);
    writer_key_time(writer, "at", state->at_ms);
    writer_key_bool(writer, "online", state->online);
    writer_key_text(writer, "software", state->software);
    writer_key_text(writer, "boot", state->boot);
    writer_key(writer, "clock");
    writer_object(writer);
    writer_key_bool(writer, "known", state->clock_known);
    writer_end(writer);
    writer_key(writer, "config");
    writer_object(writer);
    writer_key_text(writer, "revision", state->revision);
    writer_end(writer);
    writer_key(writer, "office");
    writer_object(writer);
    writer_key_text(writer, "state", state->office);
    writer_end(writer);
    add_queue(writer, state->lanes);
    writer_end(writer);
}

static void add_meter(struct writer *writer, const struct config *config, const struct meter *meter,
                      const char *serial)
{
    const struct profile *profile = meter->profile;
    writer_object(writer);
    writer_key_text(writer, "meter", meter->id);
    writer_key_text(writer, "name", meter->name);
    writer_key_text(writer, "link", config->links[meter->link].id);
    writer_key_text(writer, "profile", profile->name);
    writer_key_text(writer, "model", profile->model);
    writer_key_bool(writer, "verified", !meter->unverified);
    writer_key_int(writer, "interval_s", meter->interval_s);
    writer_key_text(writer, "serial_number", serial);
    writer_key(writer, "channels");
    writer_object(writer);
    for (int i = 0; i < profile->channel_count; i++) {
        const struct channel *channel = profile->channels[i].channel;
        writer_key(writer, channel->name);
        writer_object(writer);
        if (channel->unit[0] != '\0')
            writer_key_text(writer, "unit", channel->unit);
        writer_end(writer);
    }
    writer_end(writer);
    writer_end(writer);
}

void feed_meters(struct writer *writer, const struct feed_origin *origin, int64_t at_ms,
                 const struct config *config, feed_serial *serial, void *context)
{
    writer_object(writer);
    feed_head(writer, origin, "meters/1", 0, 0);
    writer_key_time(writer, "at", at_ms);
    writer_key(writer, "meters");
    writer_array(writer);
    for (int i = 0; i < config->meter_count; i++) {
        char text[VALUE_TEXT_MAX];
        bool told = serial(context, i, text);
        add_meter(writer, config, &config->meters[i], told ? text : NULL);
    }
    writer_end(writer);
    writer_end(writer);
}

// null where the store cannot be read now.
static void add_heads(struct writer *writer, const struct store_heads *heads)
{
    if (heads == NULL) {
        writer_null(writer);
        return;
    }
    writer_object(writer);
    for (int i = 0; i < heads->count; i++) {
        writer_key(writer, heads->list[i].name);
        writer_object(writer);
        writer_key_int(writer, "number", heads->list[i].number);
        writer_key_text(writer, "hash", heads->list[i].hash);
        writer_end(writer);
    }
    writer_end(writer);
}

void feed_health(struct writer *writer, const struct feed_origin *origin,
                 const struct feed_health *health)
{
    writer_object(writer);
    feed_head(writer, origin, "health/1", 0, 0);
    writer_key_time(writer, "at", health->at_ms);
    writer_key_int(writer, "uptime_s", health->uptime_s);
    writer_key_int(writer, "memory_bytes", health->memory_bytes);
    writer_key_int(writer, "store_bytes", health->store_bytes);
    writer_key_int(writer, "disk_free_bytes", health->disk_free_bytes);
    writer_key(writer, "recorder");
    writer_object(writer);
    writer_key_int(writer, "readings", (int64_t)health->readings);
    writer_key_int(writer, "rounds", (int64_t)health->rounds);
    writer_key_int(writer, "refused", (int64_t)health->refused);
    writer_key_int(writer, "waiting", health->waiting);
    writer_end(writer);
    writer_key(writer, "office");
    writer_object(writer);
    writer_key_int(writer, "published", (int64_t)health->published);
    writer_key_int(writer, "acknowledged", (int64_t)health->acknowledged);
    writer_key_int(writer, "reconnects", (int64_t)health->reconnects);
    writer_end(writer);
    add_queue(writer, health->lanes);
    writer_key(writer, "heads");
    add_heads(writer, health->heads);
    writer_end(writer);
}
