// The gateway's own messages: retained state and meters, direct health. Pure: figures in, text out.
#ifndef METERGATE_OFFICE_FEED_STATE_H
#define METERGATE_OFFICE_FEED_STATE_H

#include "config/config.h"
#include "office/feed.h"

struct feed_state {
    int64_t at_ms;
    bool online;
    const char *software;
    const char *boot; // id of this boot
    bool clock_known;
    const char *revision;                 // of the configuration
    const char *office;                   // office_state_text()
    struct outbox_state lanes[LANES_END]; // index: enum lane
};
void feed_state(struct writer *writer, const struct feed_origin *origin,
                const struct feed_state *state);

// Serial numbers are what the meters (by their index) said; `serial` is false for one that said
// none yet.
typedef bool feed_serial(void *context, int meter, char text[static VALUE_TEXT_MAX]);
void feed_meters(struct writer *writer, const struct feed_origin *origin, int64_t at_ms,
                 const struct config *config, feed_serial *serial, void *context);

struct feed_health {
    int64_t at_ms, uptime_s;
    int64_t memory_bytes;                 // resident
    int64_t store_bytes, disk_free_bytes; // database with its log; room on its disk
    uint64_t readings, rounds, refused;   // recorder
    int waiting;                          // readings not committed yet
    uint64_t published, acknowledged;     // office
    uint64_t reconnects;
    struct outbox_state lanes[LANES_END];
    const struct store_heads *heads; // NULL: the store cannot be read now
};
void feed_health(struct writer *writer, const struct feed_origin *origin,
                 const struct feed_health *health);

#endif
