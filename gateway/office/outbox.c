#include "office/outbox.h"

#include <stdio.h>
#include <string.h>

// One message that is rendered.
struct rendering {
    struct store *store;
    const struct feed_origin *origin;
    const char *base;
    const struct outbox_entry *entry;
    struct outbox_message *out;
    struct writer writer;
};

// Schema and topic: "KIND/1", BASE/KIND or BASE/KIND/OF, and the time that it tells of.
static void begin(struct rendering *rendering, const char *schema, const char *of, int64_t from_ms,
                  int64_t to_ms)
{
    struct outbox_message *out = rendering->out;
    int kind = (int)strcspn(schema, "/");
    out->schema = schema;
    out->from_ms = from_ms;
    out->to_ms = to_ms;
    (void)snprintf(out->topic, sizeof out->topic, of != NULL ? "%s/%.*s/%s" : "%s/%.*s",
                   rendering->base, kind, schema, of);
    buf_clear(&out->payload);
    writer_init(&rendering->writer, &out->payload);
}

static int render_reading(struct rendering *rendering, struct err *err)
{
    struct stored_reading reading;
    int found = store_reading_get(rendering->store, rendering->entry->row, &reading, err);
    if (found <= 0)
        return found;
    begin(rendering, "reading/1", reading.meter, reading.at_ms, reading.at_ms);
    feed_reading(&rendering->writer, rendering->origin, &reading);
    return 1;
}

static int render_period(struct rendering *rendering, struct err *err)
{
    struct stored_period period;
    int found = store_period_get(rendering->store, rendering->entry->row, &period, err);
    if (found <= 0)
        return found;
    const char *schema = rendering->entry->kind == MESSAGE_DAY     ? "day/1"
                         : rendering->entry->kind == MESSAGE_MONTH ? "month/1"
                                                                   : "summary/1";
    begin(rendering, schema, period.meter, period.period.from_ms, period.period.to_ms);
    feed_period(&rendering->writer, rendering->origin, schema, &period);
    return 1;
}

static int render_alert(struct rendering *rendering, struct err *err)
{
    struct stored_alert alert;
    int found = store_alert_get(rendering->store, rendering->entry->row, &alert, err);
    if (found <= 0)
        return found;
    // `gateway` is no meter's id: alerts of links go there.
    begin(rendering, "alert/1", alert.change.of_link ? "gateway" : alert.change.subject,
          alert.change.at_ms, alert.change.at_ms);
    feed_alert(&rendering->writer, rendering->origin, &alert);
    return 1;
}

static int render_gap(struct rendering *rendering, struct err *err)
{
    struct stored_gap gap;
    int found = store_gap_get(rendering->store, rendering->entry->row, &gap, err);
    if (found <= 0)
        return found;
    begin(rendering, "gap/1", NULL, gap.from_ms, gap.to_ms);
    feed_gap(&rendering->writer, rendering->origin, &gap);
    return 1;
}

static int render_audit(struct rendering *rendering, struct err *err)
{
    const struct outbox_entry *entry = rendering->entry;
    struct audit_record record;
    int found = store_audit_get(rendering->store, entry->row, &record, err);
    if (found <= 0)
        return found;
    begin(rendering, "audit/1", NULL, record.at_ms, record.at_ms);
    feed_audit(&rendering->writer, rendering->origin, entry->lane, entry->seq, &record);
    return 1;
}

static int render_ledger(struct rendering *rendering, struct err *err)
{
    struct stored_ledger ledger;
    int found = store_ledger_get(rendering->store, rendering->entry->row, &ledger, err);
    if (found <= 0)
        return found;
    begin(rendering, "completeness/1", ledger.meter, ledger.ledger.from_ms, ledger.ledger.to_ms);
    feed_ledger(&rendering->writer, rendering->origin, &ledger);
    return 1;
}

static int render_forecast(struct rendering *rendering, struct err *err)
{
    struct stored_outlook stored;
    int found = store_outlook_get(rendering->store, rendering->entry->row, &stored, err);
    if (found <= 0)
        return found;
    begin(rendering, "forecast/1", stored.meter, stored.outlook.from_ms, stored.outlook.to_ms);
    feed_forecast(&rendering->writer, rendering->origin, &stored);
    return 1;
}

int outbox_render(struct store *store, const struct feed_origin *origin, const char *base,
                  const struct outbox_entry *entry, struct outbox_message *out, struct err *err)
{
    struct rendering rendering = {
        .store = store, .origin = origin, .base = base, .entry = entry, .out = out};
    out->lane = lane_text(entry->lane);
    switch (entry->kind) {
    case MESSAGE_READING: return render_reading(&rendering, err);
    case MESSAGE_SUMMARY:
    case MESSAGE_DAY:
    case MESSAGE_MONTH: return render_period(&rendering, err);
    case MESSAGE_ALERT: return render_alert(&rendering, err);
    case MESSAGE_GAP: return render_gap(&rendering, err);
    case MESSAGE_AUDIT: return render_audit(&rendering, err);
    case MESSAGE_COMPLETENESS: return render_ledger(&rendering, err);
    case MESSAGE_FORECAST: return render_forecast(&rendering, err);
    case MESSAGE_EVENT: break; // nothing puts one into the outbox yet
    }
    return 0;
}
