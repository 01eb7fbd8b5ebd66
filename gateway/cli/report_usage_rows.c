// Reports of a day, month or year as CSV and JSON.
#include "cli/csv.h"
#include "cli/report_usage.h"

#include <stdio.h>
#include <string.h>

#define OUTPUT_BYTES_MAX (16 * 1024 * 1024) // between two flushes; a meter has under 100 KiB

static void flush(struct buf *out)
{
    if (out->length > 0)
        (void)fwrite(out->data, 1, out->length, stdout);
    buf_clear(out);
}

// --- CSV ---

#define HEADER                                                                                     \
    "of,id,relation,span,slot,from,to,state,version,channel,start,end,volume,unit,quality,why,"    \
    "expected,"                                                                                    \
    "good,suspect,missing,known,unknown,peak,peak_from,load_factor,energy_mj"

struct row {
    const char *of, *id, *relation, *span;
    int slot; // -1: none
    int64_t from_ms, to_ms;
    const char *state;
    int version; // 0: none
    const char *channel;
};

static void csv_head(struct csv *csv, const struct row *row)
{
    csv_text(csv, row->of);
    csv_text(csv, row->id);
    csv_text(csv, row->relation);
    csv_text(csv, row->span);
    if (row->slot < 0)
        csv_nothing(csv);
    else
        csv_int(csv, row->slot);
    csv_time(csv, row->from_ms);
    csv_time(csv, row->to_ms);
    csv_text(csv, row->state);
    if (row->version == 0)
        csv_nothing(csv);
    else
        csv_int(csv, row->version);
    csv_text(csv, row->channel);
}

static void csv_known(struct csv *csv, bool known, int64_t micro)
{
    if (known)
        csv_micro(csv, micro);
    else
        csv_nothing(csv);
}

static void csv_quality(struct csv *csv, const char *channel, uint8_t quality, const char *why)
{
    csv_text(csv, report_usage_unit(channel));
    csv_text(csv, quality_text((enum quality)quality));
    csv_text(csv, why);
}

static void csv_reads(struct csv *csv, int64_t expected, int64_t good, int64_t suspect,
                      int64_t missing)
{
    csv_int(csv, expected);
    csv_int(csv, good);
    csv_int(csv, suspect);
    csv_int(csv, missing);
}

static void csv_nothings(struct csv *csv, int count)
{
    for (int i = 0; i < count; i++)
        csv_nothing(csv);
}

static void csv_hours(struct csv *csv, const struct usage_hours *hours)
{
    int load = usage_load_factor(hours);
    csv_int(csv, hours->known);
    csv_int(csv, hours->unknown);
    csv_known(csv, hours->known > 0, hours->peak_micro);
    if (hours->known > 0)
        csv_time(csv, hours->peak_from_ms);
    else
        csv_nothing(csv);
    csv_known(csv, load >= 0, INT64_C(100) * load);
}

static void csv_slots(struct csv *csv, struct row row, const char *span,
                      const struct usage_slot *slots, int count)
{
    row.span = span;
    row.version = 0;
    for (int i = 0; i < count; i++) {
        if (slots[i].known + slots[i].unknown == 0)
            continue;
        row.slot = i;
        csv_head(csv, &row);
        csv_nothings(csv, 2);
        csv_known(csv, slots[i].known > 0, slots[i].micro);
        csv_text(csv, report_usage_unit(row.channel));
        csv_nothings(csv, 6);
        csv_int(csv, slots[i].known);
        csv_int(csv, slots[i].unknown);
        csv_nothings(csv, 4);
        csv_end(csv);
    }
}

static void csv_part(struct csv *csv, const struct usage_entry *entry,
                     const struct usage_part *part)
{
    const struct usage *usage = &entry->usage[USAGE_NOW];
    for (int i = 0; i < usage->counter_count; i++) {
        const struct row row = {"meter",
                                entry->meter,
                                "this",
                                span_text(usage->part_span),
                                -1,
                                part->from_ms,
                                part->to_ms,
                                "closed",
                                part->version,
                                usage->counters[i].name};
        csv_head(csv, &row);
        csv_nothings(csv, 2);
        csv_known(csv, part->counters[i].known, part->counters[i].micro);
        csv_quality(csv, row.channel, part->counters[i].quality, "");
        csv_reads(csv, part->expected, part->good, part->suspect, part->missing);
        csv_nothings(csv, 6);
        csv_end(csv);
    }
}

static void csv_meter(struct csv *csv, const struct usage_sheet *sheet,
                      const struct usage_entry *entry, enum usage_which which)
{
    const struct usage *usage = &entry->usage[which];
    struct row row = {.of = "meter",
                      .id = entry->meter,
                      .relation = report_usage_which(which),
                      .span = report_usage_span(sheet->report),
                      .slot = -1,
                      .from_ms = usage->from_ms,
                      .to_ms = usage->closed ? usage->to_ms : usage->reached_ms,
                      .state = usage->closed ? "closed" : "open",
                      .version = usage->version};
    for (int i = 0; i < usage->counter_count; i++) {
        const struct usage_counter *counter = &usage->counters[i];
        char why[WHY_TEXT_MAX];
        row.channel = counter->name;
        csv_head(csv, &row);
        csv_known(csv, counter->start_known, counter->start_micro);
        csv_known(csv, counter->end_known, counter->end_micro);
        csv_known(csv, counter->known, counter->volume_micro);
        csv_quality(csv, counter->name, counter->quality,
                    counter->quality == QUALITY_GOOD ? "" : why_text(counter->why, why));
        csv_reads(csv, usage->expected, usage->good, usage->suspect, usage->missing);
        if (i == usage->main)
            csv_hours(csv, &usage->hours);
        else
            csv_nothings(csv, 5);
        int64_t micro_mj = 0;
        bool has_energy = i == usage->main && report_usage_energy(entry, which, &micro_mj);
        csv_known(csv, has_energy, micro_mj);
        csv_end(csv);
    }
    for (int i = 0; i < usage->part_count && which == USAGE_NOW; i++)
        csv_part(csv, entry, &usage->parts[i]);
    if (usage->main < 0)
        return;
    row.channel = usage->counters[usage->main].name;
    csv_slots(csv, row, "hour-of-day", usage->of_hour, 24);
    if (report_usage_has_weekdays(sheet->report))
        csv_slots(csv, row, "weekday", usage->of_weekday, 7);
}

// One counter of several meters: of a customer, or of all; `row` says whose.
static void csv_sum(struct csv *csv, const struct usage_total *total, const struct usage_sum *sum,
                    struct row *row, const struct usage_hours *hours, struct usage_energy energy)
{
    bool has_energy =
        strcmp(sum->name, "volume_base") == 0 && energy.known > 0 && energy.unknown == 0;
    row->slot = -1;
    row->state = total->open > 0 ? "open" : "closed";
    row->channel = sum->name;
    csv_head(csv, row);
    csv_nothings(csv, 2);
    csv_known(csv, report_usage_is_whole(sum), sum->micro);
    csv_quality(csv, sum->name, sum->unknown > 0 ? QUALITY_MISSING : sum->quality, "");
    csv_reads(csv, total->expected, total->good, total->suspect, total->missing);
    if (hours != NULL)
        csv_hours(csv, hours);
    else
        csv_nothings(csv, 5);
    csv_known(csv, has_energy, energy.micro_mj);
    csv_end(csv);
}

static void csv_site(struct csv *csv, const struct usage_sheet *sheet, enum usage_which which)
{
    const struct report *report = &sheet->ranges[which];
    const struct usage_total *site = &sheet->site[which];
    const struct usage_energy energy = report_usage_energies(sheet, NULL, which);
    for (int i = 0; i < site->sum_count; i++) {
        const struct usage_sum *sum = &site->sums[i];
        bool is_main = strcmp(sum->name, sheet->site_counter) == 0;
        struct row row = {.of = "site",
                          .id = report->gateway,
                          .relation = report_usage_which(which),
                          .span = report_usage_span(report),
                          .from_ms = report->from_ms,
                          .to_ms = report->to_ms};
        csv_sum(csv, site, sum, &row, is_main ? &site->hours : NULL, energy);
        if (is_main)
            csv_slots(csv, row, "hour-of-day", site->of_hour, 24);
        if (is_main && report_usage_has_weekdays(report))
            csv_slots(csv, row, "weekday", site->of_weekday, 7);
    }
}

static void csv_customers(struct csv *csv, const struct usage_sheet *sheet)
{
    const struct report *report = sheet->report;
    for (int k = 0; k < sheet->customer_count; k++) {
        const struct usage_customer *customer = &sheet->customers[k];
        const struct usage_total *total = &customer->total;
        const struct usage_energy energy =
            report_usage_energies(sheet, customer->account, USAGE_NOW);
        struct row row = {.of = "customer",
                          .id = customer->account,
                          .relation = report_usage_which(USAGE_NOW),
                          .span = report_usage_span(report),
                          .from_ms = report->from_ms,
                          .to_ms = report->to_ms};
        for (int i = 0; i < total->sum_count; i++)
            csv_sum(csv, total, &total->sums[i], &row, NULL, energy);
    }
}

int report_usage_csv(const struct usage_sheet *sheet)
{
    struct buf out;
    struct csv csv;
    buf_init(&out, OUTPUT_BYTES_MAX);
    csv_init(&csv, &out);
    (void)puts(HEADER);
    for (int i = 0; i < sheet->count && !out.failed; i++) {
        for (int which = 0; which < USAGE_WHICH_END; which++)
            csv_meter(&csv, sheet, &sheet->list[i], (enum usage_which)which);
        flush(&out);
    }
    if (sheet->report->meter == NULL)
        csv_customers(&csv, sheet);
    for (int which = 0; which < USAGE_WHICH_END && sheet->report->meter == NULL; which++)
        csv_site(&csv, sheet, (enum usage_which)which);
    flush(&out);
    int result = out.failed ? -1 : 0;
    buf_release(&out);
    return result;
}

// --- JSON ---

static void key_known(struct writer *writer, const char *key, bool known, int64_t micro)
{
    if (known)
        writer_key_micro(writer, key, micro);
    else
        writer_key_null(writer, key);
}

static void json_reads(struct writer *writer, int64_t expected, int64_t good, int64_t suspect,
                       int64_t missing)
{
    writer_key(writer, "reads");
    writer_object(writer);
    writer_key_int(writer, "expected", expected);
    writer_key_int(writer, "good", good);
    writer_key_int(writer, "suspect", suspect);
    writer_key_int(writer, "missing", missing);
    writer_end(writer);
}

static void json_slots(struct writer *writer, const char *key, const char *name,
                       const struct usage_slot *slots, int count)
{
    writer_key(writer, key);
    writer_array(writer);
    for (int i = 0; i < count; i++) {
        if (slots[i].known + slots[i].unknown == 0)
            continue;
        writer_object(writer);
        writer_key_int(writer, name, i);
        key_known(writer, "volume", slots[i].known > 0, slots[i].micro);
        writer_key_int(writer, "known", slots[i].known);
        writer_key_int(writer, "unknown", slots[i].unknown);
        writer_end(writer);
    }
    writer_end(writer);
}

static void json_hours(struct writer *writer, const struct report *report,
                       const struct usage_hours *hours, const struct usage_slot *of_hour,
                       const struct usage_slot *of_weekday)
{
    int load = usage_load_factor(hours);
    writer_key(writer, "peak_hour");
    if (hours->known > 0) {
        writer_object(writer);
        writer_key_time(writer, "from", hours->peak_from_ms);
        writer_key_micro(writer, "volume", hours->peak_micro);
        writer_key_text(writer, "quality", quality_text((enum quality)hours->peak_quality));
        writer_end(writer);
    } else {
        writer_null(writer);
    }
    key_known(writer, "load_factor", load >= 0, INT64_C(100) * load);
    writer_key(writer, "hours");
    writer_object(writer);
    writer_key_int(writer, "known", hours->known);
    writer_key_int(writer, "unknown", hours->unknown);
    for (int i = 0; i < USAGE_QUALITIES; i++)
        writer_key_int(writer, quality_text((enum quality)i), hours->of_quality[i]);
    writer_end(writer);
    json_slots(writer, "by_hour", "hour", of_hour, 24);
    if (report_usage_has_weekdays(report))
        json_slots(writer, "by_weekday", "weekday", of_weekday, 7);
}

static void json_counter(struct writer *writer, const struct usage_counter *counter)
{
    writer_key(writer, counter->name);
    writer_object(writer);
    key_known(writer, "start", counter->start_known, counter->start_micro);
    key_known(writer, "end", counter->end_known, counter->end_micro);
    key_known(writer, "volume", counter->known, counter->volume_micro);
    writer_key_text(writer, "unit", report_usage_unit(counter->name));
    writer_key_text(writer, "quality", quality_text((enum quality)counter->quality));
    if (counter->quality != QUALITY_GOOD) {
        char why[WHY_TEXT_MAX];
        writer_key_text(writer, "why", why_text(counter->why, why));
    }
    if (counter->exchanged)
        writer_key_bool(writer, "exchanged", true);
    writer_end(writer);
}

static void json_parts(struct writer *writer, const struct usage *usage)
{
    writer_key(writer, "parts");
    writer_array(writer);
    for (int i = 0; i < usage->part_count; i++) {
        const struct usage_part *part = &usage->parts[i];
        writer_object(writer);
        writer_key_time(writer, "from", part->from_ms);
        writer_key_time(writer, "to", part->to_ms);
        writer_key_int(writer, "version", part->version);
        writer_key_text(writer, "quality", quality_text((enum quality)part->quality));
        json_reads(writer, part->expected, part->good, part->suspect, part->missing);
        writer_key(writer, "volumes");
        writer_object(writer);
        for (int k = 0; k < usage->counter_count; k++)
            key_known(writer, usage->counters[k].name, part->counters[k].known,
                      part->counters[k].micro);
        writer_end(writer);
        writer_end(writer);
    }
    writer_end(writer);
}

static void json_alerts(struct writer *writer, const struct usage_sheet *sheet, const char *meter)
{
    writer_key(writer, "alerts");
    writer_array(writer);
    for (int i = 0; i < sheet->alert_count; i++) {
        const struct walked_alert *alert = &sheet->alerts[i];
        if (strcmp(alert->meter, meter) != 0)
            continue;
        writer_object(writer);
        writer_key_text(writer, "id", alert->id);
        writer_key_text(writer, "kind", alert_kind_text(alert->kind));
        writer_key_text(writer, "severity", alert_severity_text(alert->severity));
        writer_key_time(writer, "since", alert->since_ms);
        if (alert->closed)
            writer_key_time(writer, "closed", alert->closed_ms);
        writer_end(writer);
    }
    writer_end(writer);
}

// What the period told and the earlier ones have in common.
static void json_usage(struct writer *writer, const struct report *report,
                       const struct usage *usage)
{
    writer_key_bool(writer, "closed", usage->closed);
    writer_key_time(writer, "until", usage->reached_ms);
    if (usage->version > 0)
        writer_key_int(writer, "version", usage->version);
    writer_key_int(writer, "corrected", usage->corrected);
    writer_key_bool(writer, "begins", usage->first);
    writer_key_text(writer, "quality", quality_text((enum quality)usage->quality));
    json_reads(writer, usage->expected, usage->good, usage->suspect, usage->missing);
    writer_key(writer, "counters");
    writer_object(writer);
    for (int i = 0; i < usage->counter_count; i++)
        json_counter(writer, &usage->counters[i]);
    writer_end(writer);
    if (usage->main >= 0) {
        writer_key_text(writer, "counter", usage->counters[usage->main].name);
        json_hours(writer, report, &usage->hours, usage->of_hour, usage->of_weekday);
    }
}

static void json_range(struct writer *writer, const struct report *range)
{
    writer_key_text(writer, "date", range->date);
    writer_key_time(writer, "from", range->from_ms);
    writer_key_time(writer, "to", range->to_ms);
}

static void json_energy(struct writer *writer, const struct usage_entry *entry,
                        enum usage_which which)
{
    int64_t micro_mj = 0;
    bool known = report_usage_energy(entry, which, &micro_mj);
    key_known(writer, "energy_mj", known, micro_mj);
}

static void json_energies(struct writer *writer, const struct usage_sheet *sheet,
                          const char *customer, enum usage_which which)
{
    const struct usage_energy energy = report_usage_energies(sheet, customer, which);
    key_known(writer, "energy_mj", energy.known > 0 && energy.unknown == 0, energy.micro_mj);
}

static void json_meter(struct writer *writer, const struct usage_sheet *sheet,
                       const struct usage_entry *entry)
{
    writer_object(writer);
    writer_key_text(writer, "meter", entry->meter);
    if (entry->name[0] != '\0')
        writer_key_text(writer, "name", entry->name);
    if (entry->customer[0] != '\0')
        writer_key_text(writer, "customer", entry->customer);
    key_known(writer, "heating_value_mj_m3", entry->heating_known, entry->heating_micro);
    json_energy(writer, entry, USAGE_NOW);
    json_usage(writer, sheet->report, &entry->usage[USAGE_NOW]);
    json_parts(writer, &entry->usage[USAGE_NOW]);
    json_alerts(writer, sheet, entry->meter);
    for (int which = USAGE_LAST; which < USAGE_WHICH_END; which++) {
        if (!entry->usage[which].any)
            continue;
        writer_key(writer, report_usage_which((enum usage_which)which));
        writer_object(writer);
        json_range(writer, &sheet->ranges[which]);
        json_usage(writer, sheet->report, &entry->usage[which]);
        json_energy(writer, entry, (enum usage_which)which);
        writer_end(writer);
    }
    writer_end(writer);
}

static void json_total(struct writer *writer, const struct usage_sheet *sheet,
                       const struct usage_total *site)
{
    writer_key_int(writer, "meters", site->meters);
    writer_key_int(writer, "open", site->open);
    writer_key_int(writer, "corrected", site->corrected);
    writer_key_text(writer, "quality", quality_text((enum quality)site->quality));
    json_reads(writer, site->expected, site->good, site->suspect, site->missing);
    writer_key(writer, "counters");
    writer_object(writer);
    for (int i = 0; i < site->sum_count; i++) {
        const struct usage_sum *sum = &site->sums[i];
        writer_key(writer, sum->name);
        writer_object(writer);
        key_known(writer, "volume", report_usage_is_whole(sum), sum->micro);
        key_known(writer, "volume_known", sum->known > 0 && !sum->overflow, sum->micro);
        writer_key_int(writer, "known", sum->known);
        writer_key_int(writer, "unknown", sum->unknown);
        writer_key_text(writer, "unit", report_usage_unit(sum->name));
        writer_key_text(writer, "quality", quality_text((enum quality)sum->quality));
        writer_end(writer);
    }
    writer_end(writer);
    if (sheet->site_counter[0] != '\0')
        writer_key_text(writer, "counter", sheet->site_counter);
}

static void json_site(struct writer *writer, const struct usage_sheet *sheet)
{
    writer_key(writer, "site");
    writer_object(writer);
    json_total(writer, sheet, &sheet->site[USAGE_NOW]);
    if (sheet->site_counter[0] != '\0')
        json_hours(writer, sheet->report, &sheet->site[USAGE_NOW].hours,
                   sheet->site[USAGE_NOW].of_hour, sheet->site[USAGE_NOW].of_weekday);
    json_energies(writer, sheet, NULL, USAGE_NOW);
    for (int which = USAGE_LAST; which < USAGE_WHICH_END; which++) {
        if (sheet->site[which].meters == 0)
            continue;
        writer_key(writer, report_usage_which((enum usage_which)which));
        writer_object(writer);
        json_range(writer, &sheet->ranges[which]);
        json_total(writer, sheet, &sheet->site[which]);
        if (sheet->site_counter[0] != '\0')
            json_hours(writer, sheet->report, &sheet->site[which].hours, sheet->site[which].of_hour,
                       sheet->site[which].of_weekday);
        json_energies(writer, sheet, NULL, (enum usage_which)which);
        writer_end(writer);
    }
    writer_end(writer);
}

static void json_customers(struct writer *writer, const struct usage_sheet *sheet)
{
    writer_key(writer, "customers");
    writer_array(writer);
    for (int i = 0; i < sheet->customer_count; i++) {
        const struct usage_customer *customer = &sheet->customers[i];
        writer_object(writer);
        writer_key_text(writer, "customer", customer->account);
        json_total(writer, sheet, &customer->total);
        json_energies(writer, sheet, customer->account, USAGE_NOW);
        writer_end(writer);
    }
    writer_end(writer);
}

int report_usage_json(const struct usage_sheet *sheet)
{
    const struct report *report = sheet->report;
    struct buf out;
    struct writer writer;
    buf_init(&out, OUTPUT_BYTES_MAX);
    writer_init(&writer, &out);
    writer_object(&writer);
    writer_key_text(&writer, "report", report_usage_span(report));
    writer_key_text(&writer, "gateway", report->gateway);
    json_range(&writer, report);
    writer_key(&writer, "meters");
    writer_array(&writer);
    for (int i = 0; i < sheet->count && !out.failed; i++) {
        json_meter(&writer, sheet, &sheet->list[i]);
        flush(&out);
    }
    writer_end(&writer);
    if (sheet->configured_ms != 0)
        writer_key_time(&writer, "configured", sheet->configured_ms);
    if (report->meter == NULL)
        json_customers(&writer, sheet);
    if (report->meter == NULL)
        json_site(&writer, sheet);
    writer_end(&writer);
    buf_add_byte(&out, '\n');
    flush(&out);
    int result = out.failed ? -1 : 0;
    buf_release(&out);
    return result;
}
