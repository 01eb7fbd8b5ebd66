// From a pointer of the outbox to a message: topic, payload, and what it tells of.
#ifndef METERGATE_OFFICE_OUTBOX_H
#define METERGATE_OFFICE_OUTBOX_H

#include "office/feed.h"

#define OUTBOX_PAYLOAD_MAX (256 * 1024) // bytes; a longer message is reported as a gap, too-large
#define TOPIC_MAX 256

struct outbox_message {
    char topic[TOPIC_MAX];
    const char *schema;     // "summary/1"
    const char *lane;       // "live"
    struct buf payload;     // buf_init(…, OUTBOX_PAYLOAD_MAX) by the caller, used again and again
    int64_t from_ms, to_ms; // wall clock
};

// Renders the row that a pointer points at under the topics `base` ("PREFIX/GATEWAY"). 1 done, 0
// the row is not there, -1 the store failed. Whether the payload fitted: !payload.failed.
int outbox_render(struct store *store, const struct feed_origin *origin, const char *base,
                  const struct outbox_entry *entry, struct outbox_message *out, struct err *err);

#endif
