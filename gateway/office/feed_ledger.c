// The ledger of a gas day as a message (README, Completeness).
#include "office/feed.h"

static void add_reads(struct writer *writer, int64_t good, int64_t suspect, int64_t missing)
{
    writer_key(writer, "reads");
    writer_object(writer);
    writer_key_int(writer, "expected", good + suspect + missing);
    writer_key_int(writer, "good", good);
    writer_key_int(writer, "suspect", suspect);
    writer_key_int(writer, "missing", missing);
    writer_end(writer);
}

static void add_why(struct writer *writer, uint16_t why)
{
    char text[WHY_TEXT_MAX];
    writer_key_text(writer, "why", why_text(why, text));
}

static void add_reasons(struct writer *writer, const struct reasons *reasons)
{
    writer_key(writer, "reasons");
    writer_array(writer);
    for (int i = 0; i < reasons->count; i++) {
        const struct reason *reason = &reasons->list[i];
        writer_object(writer);
        writer_key_text(writer, "quality", quality_text((enum quality)reason->quality));
        add_why(writer, reason->why);
        writer_key_int(writer, "count", reason->count);
        writer_end(writer);
    }
    writer_end(writer);
}

static void add_times(struct writer *writer, int64_t from_ms, int64_t to_ms)
{
    writer_key_time(writer, "from", from_ms);
    writer_key_time(writer, "to", to_ms);
}

static void add_index(struct writer *writer, uint8_t index)
{
    if (index != LEDGER_NO_INDEX)
        writer_key_text(writer, "index", quality_text((enum quality)index));
}

static void add_hours(struct writer *writer, const struct ledger *ledger)
{
    writer_key(writer, "hours");
    writer_array(writer);
    for (int i = 0; i < ledger->hour_count; i++) {
        const struct ledger_hour *hour = &ledger->hours[i];
        writer_object(writer);
        add_times(writer, hour->from_ms, hour->to_ms);
        add_reads(writer, hour->good, hour->suspect, hour->missing);
        add_reasons(writer, &hour->reasons);
        add_index(writer, hour->index);
        writer_end(writer);
    }
    writer_end(writer);
}

static void add_holes(struct writer *writer, const struct ledger *ledger)
{
    struct ledger_hole hole = {.end = 0};
    writer_key(writer, "holes");
    writer_array(writer);
    while (ledger_hole(ledger, hole.end, &hole)) {
        writer_object(writer);
        add_times(writer, hole.from_ms, hole.to_ms);
        writer_key_int(writer, "missing", hole.missing);
        if (hole.missing > 0)
            add_why(writer, hole.why);
        add_index(writer, hole.index);
        writer_end(writer);
    }
    writer_end(writer);
}

static void add_outages(struct writer *writer, const struct ledger *ledger)
{
    writer_key(writer, "outages");
    writer_object(writer);
    writer_key_int(writer, "count", ledger->outage_count);
    writer_key(writer, "seconds");
    writer_micro(writer, ledger->outage_ms * 1000);
    writer_key(writer, "times");
    writer_array(writer);
    for (int i = 0; i < ledger->outage_count && i < LEDGER_OUTAGES_MAX; i++) {
        writer_object(writer);
        add_times(writer, ledger->outages[i].from_ms, ledger->outages[i].to_ms);
        add_why(writer, ledger->outages[i].why);
        writer_end(writer);
    }
    writer_end(writer);
    writer_end(writer);
}

static void add_sums(struct writer *writer, const struct ledger *ledger)
{
    struct ledger_sum sum = ledger_sum(ledger);
    add_reads(writer, sum.good, sum.suspect, sum.missing);
    writer_key(writer, "complete");
    writer_micro(writer, INT64_C(10000) * ledger_share(sum.good + sum.suspect, sum.expected));
    add_reasons(writer, &sum.reasons);
    writer_key(writer, "index");
    writer_object(writer);
    for (enum quality quality = QUALITY_GOOD; quality <= QUALITY_MISSING; quality++)
        writer_key_int(writer, quality_text(quality), sum.hours[quality]);
    writer_end(writer);
}

void feed_ledger(struct writer *writer, const struct feed_origin *origin,
                 const struct stored_ledger *stored)
{
    const struct ledger *ledger = &stored->ledger;
    writer_object(writer);
    feed_head(writer, origin, "completeness/1", stored->lane, stored->seq);
    writer_key_time(writer, "at", stored->at_ms);
    writer_key_text(writer, "meter", stored->meter);
    writer_key_int(writer, "version", stored->version);
    if (stored->version > 1 && stored->replaces_lane != 0) {
        writer_key(writer, "replaces");
        writer_object(writer);
        writer_key_text(writer, "lane", lane_text(stored->replaces_lane));
        writer_key_int(writer, "seq", stored->replaces_seq);
        writer_end(writer);
    }
    add_times(writer, ledger->from_ms, ledger->to_ms);
    add_sums(writer, ledger);
    add_hours(writer, ledger);
    add_holes(writer, ledger);
    add_outages(writer, ledger);
    writer_key(writer, "feed");
    writer_object(writer);
    for (enum lane lane = LANE_ALERT; lane < LANES_END; lane++)
        writer_key_int(writer, lane_text(lane), stored->lane_last[lane]);
    writer_end(writer);
    writer_end(writer);
}
