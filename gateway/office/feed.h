// The feed's messages as JSON (contract, section 4). Pure: rows in, text out.
#ifndef METERGATE_OFFICE_FEED_H
#define METERGATE_OFFICE_FEED_H

#include "base/catalogue.h"
#include "base/writer.h"
#include "store/store.h"

// What every message says of its origin.
struct feed_origin {
    const char *gateway;
    const char *stream; // NULL: leave stream, lane and seq out (exports)
};

// The first keys of every message: schema, gateway and, for rows with a lane, stream, lane, seq.
void feed_head(struct writer *writer, const struct feed_origin *origin, const char *schema,
               enum lane lane, int64_t seq);

void feed_reading(struct writer *writer, const struct feed_origin *origin,
                  const struct stored_reading *reading);
// schema summary/1, day/1 or month/1 by `schema`.
void feed_period(struct writer *writer, const struct feed_origin *origin, const char *schema,
                 const struct stored_period *period);
void feed_alert(struct writer *writer, const struct feed_origin *origin,
                const struct stored_alert *alert);
// `lane` and `seq` are those of the message itself, as in every event; the hole is
// {of_lane, first, last}.
void feed_gap(struct writer *writer, const struct feed_origin *origin,
              const struct stored_gap *gap);
// A record of the audit chain as its head: number, hash and instant.
void feed_audit(struct writer *writer, const struct feed_origin *origin, enum lane lane,
                int64_t seq, const struct audit_record *record);
// completeness/1: the ledger of a gas day.
void feed_ledger(struct writer *writer, const struct feed_origin *origin,
                 const struct stored_ledger *stored);
// forecast/1: the next gas days of a meter.
void feed_forecast(struct writer *writer, const struct feed_origin *origin,
                   const struct stored_outlook *stored);
// Adds {"value":…,"unit":…,"quality":…,"why":…} of one channel; status bits by the profile's names.
void feed_value(struct writer *writer, const struct profile *profile,
                const struct profile_channel *channel, const struct value *value);
// The alert's text in a language, from the catalogue.
void feed_alert_text(struct buf *out, enum language language, const struct alert_change *change);

#endif
