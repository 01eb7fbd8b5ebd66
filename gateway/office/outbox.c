#include "office/outbox.h"

#include <stdio.h>

static void begin(struct outbox_message *out, struct writer *writer, const char *schema)
{
    out->schema = schema;
    buf_clear(&out->payload);
    writer_init(writer, &out->payload);
}

static void address(struct outbox_message *out, const char *base, const char *kind, const char *of)
{
    (void)snprintf(out->topic, sizeof out->topic, of ? "%s/%s/%s" : "%s/%s", base, kind, of);
}

static int render_reading(struct store *store, const struct feed_origin *origin, const char *base,
                          int64_t row, struct outbox_message *out, struct err *err)
{
    struct writer writer;
    struct stored_reading reading;
    int found = store_reading_get(store, row, &reading, err);
    if (found <= 0)
        return found;
    begin(out, &writer, "reading/1");
    feed_reading(&writer, origin, &reading);
    address(out, base, "reading", reading.meter);
    out->from_ms = reading.at_ms;
    out->to_ms = reading.at_ms;
    return 1;
}

static int render_period(struct store *store, const struct feed_origin *origin, const char *base,
                         const struct outbox_entry *entry, struct outbox_message *out,
                         struct err *err)
{
    struct writer writer;
    struct stored_period period;
    int found = store_period_get(store, entry->row, &period, err);
    if (found <= 0)
        return found;
    bool day = entry->kind == MESSAGE_DAY;
    bool month = entry->kind == MESSAGE_MONTH;
    begin(out, &writer, day ? "day/1" : month ? "month/1" : "summary/1");
    feed_period(&writer, origin, out->schema, &period);
    address(out, base, day ? "day" : month ? "month" : "summary", period.meter);
    out->from_ms = period.period.from_ms;
    out->to_ms = period.period.to_ms;
    return 1;
}

static int render_alert(struct store *store, const struct feed_origin *origin, const char *base,
                        int64_t row, struct outbox_message *out, struct err *err)
{
    struct writer writer;
    struct stored_alert alert;
    int found = store_alert_get(store, row, &alert, err);
    if (found <= 0)
        return found;
    begin(out, &writer, "alert/1");
    feed_alert(&writer, origin, &alert);
    // `gateway` is no meter's id: alerts of links go there.
    address(out, base, "alert", alert.change.of_link ? "gateway" : alert.change.subject);
    out->from_ms = alert.change.at_ms;
    out->to_ms = alert.change.at_ms;
    return 1;
}

static int render_gap(struct store *store, const struct feed_origin *origin, const char *base,
                      int64_t row, struct outbox_message *out, struct err *err)
{
    struct writer writer;
    struct stored_gap gap;
    int found = store_gap_get(store, row, &gap, err);
    if (found <= 0)
        return found;
    begin(out, &writer, "gap/1");
    feed_gap(&writer, origin, &gap);
    address(out, base, "gap", NULL);
    out->from_ms = gap.from_ms;
    out->to_ms = gap.to_ms;
    return 1;
}

static int render_audit(struct store *store, const struct feed_origin *origin, const char *base,
                        const struct outbox_entry *entry, struct outbox_message *out,
                        struct err *err)
{
    struct writer writer;
    struct audit_record record;
    int found = store_audit_get(store, entry->row, &record, err);
    if (found <= 0)
        return found;
    begin(out, &writer, "audit/1");
    feed_audit(&writer, origin, entry->lane, entry->seq, &record);
    address(out, base, "audit", NULL);
    out->from_ms = record.at_ms;
    out->to_ms = record.at_ms;
    return 1;
}

static int render_ledger(struct store *store, const struct feed_origin *origin, const char *base,
                         int64_t row, struct outbox_message *out, struct err *err)
{
    struct writer writer;
    struct stored_ledger ledger;
    int found = store_ledger_get(store, row, &ledger, err);
    if (found <= 0)
        return found;
    begin(out, &writer, "completeness/1");
    feed_ledger(&writer, origin, &ledger);
    address(out, base, "completeness", ledger.meter);
    out->from_ms = ledger.ledger.from_ms;
    out->to_ms = ledger.ledger.to_ms;
    return 1;
}

int outbox_render(struct store *store, const struct feed_origin *origin, const char *base,
                  const struct outbox_entry *entry, struct outbox_message *out, struct err *err)
{
    out->lane = lane_text(entry->lane);
    switch (entry->kind) {
    case MESSAGE_READING: return render_reading(store, origin, base, entry->row, out, err);
    case MESSAGE_SUMMARY:
    case MESSAGE_DAY:
    case MESSAGE_MONTH: return render_period(store, origin, base, entry, out, err);
    case MESSAGE_ALERT: return render_alert(store, origin, base, entry->row, out, err);
    case MESSAGE_GAP: return render_gap(store, origin, base, entry->row, out, err);
    case MESSAGE_AUDIT: return render_audit(store, origin, base, entry, out, err);
    case MESSAGE_COMPLETENESS: return render_ledger(store, origin, base, entry->row, out, err);
    case MESSAGE_EVENT: break; // nothing puts one into the outbox yet
    }
    return 0;
}
