// Reports of a day, month or year as text.
#include "cli/report_usage.h"

#include "base/decimal.h"

#include <assert.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

static const char *text_of(const struct report *report, const char *key)
{
    const char *text = catalogue_text(key, report->language);
    return text != NULL ? text : key;
}

static void print_filled(const struct report *report, const char *key, const struct slot *slots,
                         size_t count)
{
    struct buf line;
    buf_init(&line, 4096);
    catalogue_fill(&line, key, report->language, slots, count);
    (void)fputs(line.data != NULL ? line.data : "", stdout);
    buf_release(&line);
}

static void cell(const char *text, int width, bool right)
{
    report_cell(text, width, right);
    (void)putchar(' ');
}

// A dash where it is not known: nothing missing is a zero.
static const char *micro_or_dash(bool known, int64_t micro, char text[static DECIMAL_TEXT_MAX])
{
    if (known)
        (void)micro_print(micro, text);
    return known ? text : "-";
}

static const char *quality_word(const struct report *report, uint8_t quality)
{
    char key[32];
    (void)snprintf(key, sizeof key, "quality.%s", quality_text((enum quality)quality));
    const char *word = catalogue_text(key, report->language);
    return word != NULL ? word : quality_text((enum quality)quality);
}

static void print_head(const struct report *report)
{
    char key[40];
    char from[20];
    char to[20];
    (void)snprintf(key, sizeof key, "report.usage.title.%s", report_usage_span(report));
    print_filled(report, key, (struct slot[]){{"gateway", report->gateway}, {"date", report->date}},
                 2);
    (void)putchar('\n');
    print_filled(report, "report.completeness.day",
                 (struct slot[]){{"from", report_time(report, report->from_ms, from)},
                                 {"to", report_time(report, report->to_ms, to)}},
                 2);
    (void)fputs("\n\n", stdout);
}

// --- one line for each counter ---

static const struct {
    const char *key;
    int width;
    bool right;
} columns[] = {
    {"report.column.meter", 22, false},         {"report.usage.column.counter", 20, false},
    {"report.usage.column.start", 16, true},    {"report.usage.column.end", 16, true},
    {"report.usage.column.volume", 16, true},   {"report.usage.column.unit", 5, false},
    {"report.usage.column.energy", 16, true},   {"report.usage.column.last", 9, true},
    {"report.usage.column.year", 9, true},      {"report.usage.column.peak", 12, true},
    {"report.usage.column.peak_at", 16, false}, {"report.usage.column.load", 7, true},
    {"report.column.share", 8, true},
};
enum {
    METER,
    COUNTER,
    START,
    END,
    VOLUME,
    UNIT,
    ENERGY,
    LAST,
    YEAR,
    PEAK,
    PEAK_AT,
    LOAD,
    SHARE,
    COLUMNS
};

static void print_columns(const struct report *report)
{
    for (int i = 0; i < COLUMNS; i++)
        cell(text_of(report, columns[i].key), columns[i].width, columns[i].right);
    (void)puts(text_of(report, "report.usage.column.notes"));
}

static void put(int column, const char *text)
{
    cell(text, columns[column].width, columns[column].right);
}

static void put_share(int64_t came, int64_t expected)
{
    char text[16] = "-";
    int share = ledger_share(came, expected);
    if (expected > 0)
        (void)snprintf(text, sizeof text, "%d.%02d", share / 100, share % 100);
    put(SHARE, text);
}

// Peak hour, when, load factor.
static void put_hours(const struct report *report, const struct usage_hours *hours)
{
    char text[DECIMAL_TEXT_MAX];
    char at[20];
    int load = usage_load_factor(hours);
    put(PEAK, micro_or_dash(hours->known > 0, hours->peak_micro, text));
    put(PEAK_AT, hours->known > 0 ? report_time(report, hours->peak_from_ms, at) : "-");
    put(LOAD, micro_or_dash(load >= 0, INT64_C(100) * load, text));
}

struct notes {
    const struct report *report;
    int count;
};

static void note(struct notes *notes, const char *key, const struct slot *slots, size_t count)
{
    if (notes->count++ > 0)
        (void)fputs("; ", stdout);
    print_filled(notes->report, key, slots, count);
}

static void note_count(struct notes *notes, const char *key, int64_t count)
{
    char number[24];
    (void)snprintf(number, sizeof number, "%" PRId64, count);
    if (count > 0)
        note(notes, key, (struct slot[]){{"count", number}}, 1);
}

// Hours that are not as they were measured: what is estimated is counted.
static void note_hours(struct notes *notes, const struct usage_hours *hours)
{
    for (int i = QUALITY_ARCHIVE; i < USAGE_QUALITIES; i++) {
        char number[24];
        (void)snprintf(number, sizeof number, "%d", hours->of_quality[i]);
        if (hours->of_quality[i] > 0)
            note(notes, "report.usage.note.hours",
                 (struct slot[]){{"count", number},
                                 {"quality", quality_word(notes->report, (uint8_t)i)}},
                 2);
    }
}

static void note_counter(struct notes *notes, const struct usage *usage,
                         const struct usage_counter *counter)
{
    char code[WHY_TEXT_MAX];
    if (counter->quality != QUALITY_GOOD)
        note(notes, "report.usage.note.quality",
             (struct slot[]){{"quality", quality_word(notes->report, counter->quality)},
                             {"why", report_why(counter->why, notes->report->language, code)}},
             2);
    if (usage->holes)
        note(notes, "report.usage.note.holes", NULL, 0);
    else if (!counter->known && counter->quality == QUALITY_GOOD)
        note(notes, "report.usage.note.unknown", NULL, 0);
}

static void note_meter(struct notes *notes, const struct usage_entry *entry)
{
    const struct usage *usage = &entry->usage[USAGE_NOW];
    char text[24];
    char at[20];
    if (!usage->closed)
        note(notes, "report.usage.note.open",
             (struct slot[]){{"until", report_time(notes->report, usage->reached_ms, at)}}, 1);
    if (!entry->heating_known)
        note(notes, "report.usage.note.no-energy", NULL, 0);
    if (usage->first)
        note(notes, "report.usage.note.begins", NULL, 0);
    (void)snprintf(text, sizeof text, "%d", usage->version);
    if (usage->version > 1)
        note(notes, "report.usage.note.version", (struct slot[]){{"version", text}}, 1);
    note_count(notes, "report.usage.note.corrected", usage->corrected);
    note_hours(notes, &usage->hours);
    for (int kind = 1; kind < ALERT_KINDS; kind++) {
        (void)snprintf(text, sizeof text, "%d", entry->alerts_of_kind[kind]);
        if (entry->alerts_of_kind[kind] > 0)
            note(notes, "report.usage.note.alerts",
                 (struct slot[]){{"kind", alert_kind_text((enum alert_kind)kind)}, {"count", text}},
                 2);
    }
}

static void print_meter(const struct report *report, const struct usage_entry *entry)
{
    const struct usage *usage = &entry->usage[USAGE_NOW];
    char text[DECIMAL_TEXT_MAX];
    for (int i = 0; i < usage->counter_count; i++) {
        const struct usage_counter *counter = &usage->counters[i];
        struct notes notes = {.report = report};
        put(METER, entry->meter);
        put(COUNTER, counter->name);
        put(START, micro_or_dash(counter->start_known, counter->start_micro, text));
        put(END, micro_or_dash(counter->end_known, counter->end_micro, text));
        put(VOLUME, micro_or_dash(counter->known, counter->volume_micro, text));
        put(UNIT, report_usage_unit(counter->name));
        int64_t micro_mj = 0;
        bool has_energy = report_usage_energy(entry, USAGE_NOW, &micro_mj);
        put(ENERGY, i == usage->main ? micro_or_dash(has_energy, micro_mj, text) : "");
        put(LAST, report_usage_counter_change(entry, i, USAGE_LAST, text));
        put(YEAR, report_usage_counter_change(entry, i, USAGE_YEAR_AGO, text));
        if (i == usage->main) {
            put_hours(report, &usage->hours);
            put_share(usage->good + usage->suspect, usage->expected);
        } else {
            for (int k = PEAK; k < COLUMNS; k++)
                put(k, "");
        }
        note_counter(&notes, usage, counter);
        if (i == usage->main)
            note_meter(&notes, entry);
        (void)putchar('\n');
    }
    if (usage->counter_count == 0) {
        struct notes notes = {.report = report};
        put(METER, entry->meter);
        for (int k = COUNTER; k < SHARE; k++)
            put(k, k == COUNTER || k == UNIT ? "" : "-");
        put_share(usage->good + usage->suspect, usage->expected);
        note(&notes, "report.usage.note.no-counter", NULL, 0);
        note_meter(&notes, entry);
        (void)putchar('\n');
    }
}

// A line of a sum over meters: of the site, or (account) of a customer.
static void print_sum(const struct usage_sheet *sheet, const struct usage_total *total, int number,
                      const char *account)
{
    const struct report *report = sheet->report;
    const struct usage_sum *sum = &total->sums[number];
    const struct usage_energy energy = report_usage_energies(sheet, account, USAGE_NOW);
    bool main = strcmp(sum->name, sheet->site_counter) == 0;
    char text[DECIMAL_TEXT_MAX];
    put(METER, account != NULL ? account : text_of(report, "report.site"));
    put(COUNTER, sum->name);
    put(START, "");
    put(END, "");
    put(VOLUME, micro_or_dash(report_usage_is_whole(sum), sum->micro, text));
    put(UNIT, report_usage_unit(sum->name));
    put(ENERGY,
        main ? micro_or_dash(energy.known > 0 && energy.unknown == 0, energy.micro_mj, text) : "");
    put(LAST, account != NULL ? "" : report_usage_site_change(sheet, number, USAGE_LAST, text));
    put(YEAR, account != NULL ? "" : report_usage_site_change(sheet, number, USAGE_YEAR_AGO, text));
    if (main && account == NULL)
        put_hours(report, &total->hours);
    else
        for (int k = PEAK; k < SHARE; k++)
            put(k, "");
    if (main)
        put_share(total->good + total->suspect, total->expected);
    else
        put(SHARE, "");
}

static void note_sum(struct notes *notes, const struct usage_sum *sum)
{
    char known[24];
    char all[24];
    char text[DECIMAL_TEXT_MAX];
    (void)snprintf(known, sizeof known, "%d", sum->known);
    (void)snprintf(all, sizeof all, "%d", sum->known + sum->unknown);
    if (sum->unknown > 0)
        note(notes, "report.usage.note.part",
             (struct slot[]){{"known", known},
                             {"all", all},
                             {"volume", micro_or_dash(!sum->overflow, sum->micro, text)}},
             3);
}

static void print_total(const struct usage_sheet *sheet, const struct usage_total *total,
                        const char *account)
{
    for (int i = 0; i < total->sum_count; i++) {
        struct notes notes = {.report = sheet->report};
        print_sum(sheet, total, i, account);
        if (account != NULL && i == 0)
            note(&notes, "report.usage.note.customer", NULL, 0);
        note_sum(&notes, &total->sums[i]);
        if (strcmp(total->sums[i].name, sheet->site_counter) == 0) {
            note_count(&notes, "report.usage.note.site.open", total->open);
            note_count(&notes, "report.usage.note.site.corrected", total->corrected);
            if (account == NULL)
                note_hours(&notes, &total->hours);
        }
        (void)putchar('\n');
    }
}

// --- use by hour of the day and by weekday ---

// The slots of the period told and of the earlier ones; NULL: there is no such period.
static void print_slots(const struct usage_sheet *sheet, const char *title, const char *prefix,
                        const struct usage_slot *const slots[static USAGE_WHICH_END], int count)
{
    const struct report *report = sheet->report;
    char text[DECIMAL_TEXT_MAX];
    assert(slots[USAGE_NOW] != NULL);
    (void)putchar('\n');
    cell(text_of(report, title), 30, false);
    for (int which = 0; which < USAGE_WHICH_END; which++)
        if (slots[which] != NULL)
            cell(sheet->ranges[which].date, 18, true);
    (void)putchar('\n');
    for (int i = 0; i < count; i++) {
        char name[48];
        int unknown = slots[USAGE_NOW][i].unknown;
        if (slots[USAGE_NOW][i].known + unknown == 0)
            continue;
        if (prefix == NULL)
            (void)snprintf(name, sizeof name, "%02d:00", i);
        else
            (void)snprintf(name, sizeof name, "%s.%d", prefix, i);
        cell(prefix == NULL ? name : text_of(report, name), 30, false);
        for (int which = 0; which < USAGE_WHICH_END; which++)
            if (slots[which] != NULL)
                cell(micro_or_dash(slots[which][i].known > 0, slots[which][i].micro, text), 18,
                     true);
        (void)snprintf(text, sizeof text, "%d", unknown);
        if (unknown > 0)
            print_filled(report, "report.usage.slot.unknown", (struct slot[]){{"count", text}}, 1);
        (void)putchar('\n');
    }
}

// Of a meter, or (NULL) of the site.
static void print_use(const struct usage_sheet *sheet, const struct usage_entry *entry)
{
    const struct usage_slot *of_hour[USAGE_WHICH_END];
    const struct usage_slot *of_weekday[USAGE_WHICH_END];
    for (int which = 0; which < USAGE_WHICH_END; which++) {
        bool any = entry != NULL ? entry->usage[which].any : sheet->site[which].meters > 0;
        of_hour[which] = entry != NULL ? entry->usage[which].of_hour : sheet->site[which].of_hour;
        of_weekday[which] =
            entry != NULL ? entry->usage[which].of_weekday : sheet->site[which].of_weekday;
        if (!any)
            of_hour[which] = of_weekday[which] = NULL;
    }
    print_slots(sheet, "report.usage.by-hour", NULL, of_hour, 24);
    if (report_usage_has_weekdays(sheet->report))
        print_slots(sheet, "report.usage.by-weekday", "weekday", of_weekday, 7);
}

// --- the parts and alerts of one meter ---

static void print_parts(const struct report *report, const struct usage *usage)
{
    printf("\n%s\n", text_of(report, "report.usage.parts"));
    cell(text_of(report, "report.column.hour"), 16, false);
    for (int k = 0; k < usage->counter_count; k++)
        cell(usage->counters[k].name, 20, true);
    cell(text_of(report, "report.column.share"), 8, true);
    (void)puts(text_of(report, "report.usage.column.notes"));
    for (int i = 0; i < usage->part_count; i++) {
        const struct usage_part *part = &usage->parts[i];
        struct notes notes = {.report = report};
        char text[DECIMAL_TEXT_MAX];
        char at[20];
        cell(report_time(report, part->from_ms, at), 16, false);
        for (int k = 0; k < usage->counter_count; k++)
            cell(micro_or_dash(part->counters[k].known, part->counters[k].micro, text), 20, true);
        put_share(part->good + part->suspect, part->expected);
        if (part->quality != QUALITY_GOOD)
            (void)fputs(quality_word(report, part->quality), stdout);
        notes.count = part->quality != QUALITY_GOOD;
        (void)snprintf(text, sizeof text, "%d", part->version);
        if (part->version > 1)
            note(&notes, "report.usage.note.version", (struct slot[]){{"version", text}}, 1);
        (void)putchar('\n');
    }
}

static void print_alerts(const struct usage_sheet *sheet)
{
    const struct report *report = sheet->report;
    if (sheet->alert_count > 0)
        printf("\n%s\n", text_of(report, "report.usage.alerts"));
    for (int i = 0; i < sheet->alert_count; i++) {
        const struct walked_alert *alert = &sheet->alerts[i];
        char since[20];
        char closed[20];
        printf("%s  %s  ", report_time(report, alert->since_ms, since),
               alert->closed ? report_time(report, alert->closed_ms, closed)
                             : text_of(report, "report.usage.alert.open"));
        printf("%s  %s\n", alert_severity_text(alert->severity), alert_kind_text(alert->kind));
    }
}

int report_usage_text(const struct usage_sheet *sheet)
{
    const struct report *report = sheet->report;
    print_head(report);
    print_columns(report);
    for (int i = 0; i < sheet->count; i++)
        print_meter(report, &sheet->list[i]);
    if (report->meter == NULL) {
        for (int i = 0; i < sheet->customer_count; i++)
            print_total(sheet, &sheet->customers[i].total, sheet->customers[i].account);
        print_total(sheet, &sheet->site[USAGE_NOW], NULL);
        if (sheet->site_counter[0] != '\0')
            print_use(sheet, NULL);
        return 0;
    }
    print_parts(report, &sheet->list[0].usage[USAGE_NOW]);
    if (sheet->list[0].usage[USAGE_NOW].main >= 0)
        print_use(sheet, &sheet->list[0]);
    print_alerts(sheet);
    return 0;
}
