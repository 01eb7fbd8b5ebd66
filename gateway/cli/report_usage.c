// metergate report day, month, year: collects the closed periods of all meters in one walk for each
// span, so that 500 meters and a month of hours take about as long as reading them.
#include "cli/report_usage.h"

#include "cli/cli.h"
#include "drivers/channel.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define NUMBERS 65536 // a meter's number in the store is below

const char *report_usage_span(const struct report *report)
{
    return report->span == 0 ? "year" : span_text(report->span);
}

bool report_usage_has_weekdays(const struct report *report)
{
    return report->span != SPAN_DAY;
}

const char *report_usage_unit(const char *channel)
{
    const struct channel *canonical = channel_find(channel);
    return canonical != NULL ? canonical->unit : "";
}

const char *report_usage_which(enum usage_which which)
{
    static const char *const names[] = {"this", "last", "year_ago"};
    return names[which];
}

bool report_usage_is_whole(const struct usage_sum *sum)
{
    return sum->known > 0 && sum->unknown == 0 && !sum->overflow;
}

const char *report_usage_change(bool known, int64_t now_micro, int64_t before_micro,
                                char text[static DECIMAL_TEXT_MAX])
{
    int64_t hundredths;
    if (!known || !usage_change(now_micro, before_micro, &hundredths))
        return "-";
    (void)micro_print(hundredths * 10000, text);
    return text;
}

const char *report_usage_counter_change(const struct usage_entry *entry, int counter,
                                        enum usage_which which, char text[static DECIMAL_TEXT_MAX])
{
    const struct usage_counter *now = &entry->usage[USAGE_NOW].counters[counter];
    const struct usage *before = &entry->usage[which];
    for (int i = 0; i < before->counter_count; i++)
        if (strcmp(before->counters[i].name, now->name) == 0)
            return report_usage_change(entry->usage[USAGE_NOW].closed && now->known &&
                                           before->closed && before->counters[i].known,
                                       now->volume_micro, before->counters[i].volume_micro, text);
    return "-";
}

const char *report_usage_site_change(const struct usage_sheet *sheet, int sum,
                                     enum usage_which which, char text[static DECIMAL_TEXT_MAX])
{
    const struct usage_total *now = &sheet->site[USAGE_NOW];
    const struct usage_total *before = &sheet->site[which];
    bool over = now->open == 0 && before->open == 0 && now->meters == before->meters;
    for (int i = 0; i < before->sum_count; i++)
        if (strcmp(before->sums[i].name, now->sums[sum].name) == 0)
            return report_usage_change(over && report_usage_is_whole(&now->sums[sum]) &&
                                           report_usage_is_whole(&before->sums[i]),
                                       now->sums[sum].micro, before->sums[i].micro, text);
    return "-";
}

static enum span part_span(const struct report *report)
{
    return report->span == SPAN_DAY     ? SPAN_HOUR
           : report->span == SPAN_MONTH ? SPAN_DAY
                                        : SPAN_MONTH;
}

static bool keep_meter(void *context, int number, const char *id, bool is_out)
{
    struct usage_sheet *sheet = context;
    const struct report *report = sheet->report;
    (void)is_out;
    if ((report->meter != NULL && strcmp(report->meter, id) != 0) || number >= NUMBERS)
        return true;
    if (sheet->count == sheet->room) {
        int room = sheet->room == 0 ? 16 : 2 * sheet->room;
        struct usage_entry *list = reallocarray(sheet->list, (size_t)room, sizeof *list);
        if (list == NULL) {
            sheet->failed = true;
            return false;
        }
        sheet->list = list;
        sheet->room = room;
    }
    struct usage_entry *entry = &sheet->list[sheet->count++];
    memset(entry, 0, sizeof *entry);
    entry->number = number;
    (void)snprintf(entry->meter, sizeof entry->meter, "%s", id);
    for (int i = 0; i < USAGE_WHICH_END; i++)
        usage_init(&entry->usage[i], &report->calendar, part_span(report), sheet->ranges[i].from_ms,
                   sheet->ranges[i].to_ms);
    return true;
}

static bool take_whole(void *context, int number, const struct period *period)
{
    const struct usage_sheet *sheet = context;
    if (sheet->of_number[number] != NULL)
        usage_add(&sheet->of_number[number]->usage[sheet->which], period, true);
    return true;
}

static bool take_part(void *context, int number, const struct period *period)
{
    struct usage_sheet *sheet = context;
    struct usage_entry *entry = sheet->of_number[number];
    if (entry == NULL)
        return true;
    struct usage *usage = &entry->usage[sheet->which];
    usage_add(usage, period, false);
    if (period->span != SPAN_HOUR || usage->main < 0)
        return true;
    const char *name = usage->counters[usage->main].name;
    if (sheet->site_counter[0] == '\0')
        (void)snprintf(sheet->site_counter, sizeof sheet->site_counter, "%s", name);
    if (strcmp(sheet->site_counter, name) == 0)
        usage_total_hour(&sheet->site[sheet->which], period, period_counter(period, name));
    return true;
}

static int walk(struct usage_sheet *sheet, enum span span, store_walk_visit *visit, struct err *err)
{
    const struct report *report = &sheet->ranges[sheet->which];
    int number = report->meter != NULL && sheet->count == 1 ? sheet->list[0].number : 0;
    return store_walk_periods(report->store, number, span, report->from_ms, report->to_ms, visit,
                              sheet, err);
}

static bool keep_alert(void *context, const struct walked_alert *alert)
{
    struct usage_sheet *sheet = context;
    if (sheet->alert_count == sheet->alert_room) {
        int room = sheet->alert_room == 0 ? 64 : 2 * sheet->alert_room;
        struct walked_alert *list = reallocarray(sheet->alerts, (size_t)room, sizeof *list);
        if (list == NULL) {
            sheet->failed = true;
            return false;
        }
        sheet->alerts = list;
        sheet->alert_room = room;
    }
    sheet->alerts[sheet->alert_count++] = *alert;
    return true;
}

// Drops meters of which nothing is stored, and counts the alerts of the others.
static void settle(struct usage_sheet *sheet)
{
    int kept = 0;
    for (int i = 0; i < sheet->count; i++)
        if (sheet->list[i].usage[USAGE_NOW].any)
            sheet->list[kept++] = sheet->list[i];
    sheet->count = kept;
    for (int k = 0; k < sheet->alert_count; k++) {
        const struct walked_alert *alert = &sheet->alerts[k];
        for (int i = 0; i < sheet->count; i++) {
            struct usage_entry *entry = &sheet->list[i];
            if (strcmp(entry->meter, alert->meter) != 0)
                continue;
            entry->alerts++;
            if (alert->kind > 0 && alert->kind < ALERT_KINDS)
                entry->alerts_of_kind[alert->kind]++;
        }
    }
    for (int which = 0; which < USAGE_WHICH_END; which++) {
        memcpy(sheet->site[which].counter, sheet->site_counter, sizeof sheet->site_counter);
        for (int i = 0; i < sheet->count; i++)
            if (sheet->list[i].usage[which].any)
                usage_total_meter(&sheet->site[which], &sheet->list[i].usage[which]);
        usage_total_end(&sheet->site[which]);
    }
}

static int collect_periods(struct usage_sheet *sheet, struct err *err)
{
    enum span span = sheet->report->span;
    bool done = (span == 0 || walk(sheet, span, take_whole, err) == 0) &&
                (span != 0 || walk(sheet, SPAN_MONTH, take_part, err) == 0) &&
                (span == SPAN_DAY || walk(sheet, SPAN_DAY, take_part, err) == 0) &&
                walk(sheet, SPAN_HOUR, take_part, err) == 0;
    return done ? 0 : -1;
}

static void choose_ranges(struct usage_sheet *sheet)
{
    sheet->ranges[USAGE_NOW] = *sheet->report;
    sheet->is_compared[USAGE_NOW] = true;
    sheet->is_compared[USAGE_LAST] = report_range_last(sheet->report, &sheet->ranges[USAGE_LAST]);
    sheet->is_compared[USAGE_YEAR_AGO] =
        report_range_year_ago(sheet->report, &sheet->ranges[USAGE_YEAR_AGO]);
}

static int collect(struct usage_sheet *sheet, struct err *err)
{
    struct report *report = sheet->report;
    sheet->of_number = calloc(NUMBERS, sizeof(struct usage_entry *));
    if (sheet->of_number == NULL)
        return err_set(err, "out of memory");
    if (store_meters(report->store, keep_meter, sheet, err) != 0)
        return -1;
    for (int i = 0; i < sheet->count; i++)
        sheet->of_number[sheet->list[i].number] = &sheet->list[i];
    for (int which = 0; which < USAGE_WHICH_END; which++) {
        sheet->which = (enum usage_which)which;
        if (sheet->is_compared[which] && collect_periods(sheet, err) != 0)
            return -1;
    }
    if (store_walk_alerts(report->store, report->meter, report->from_ms, report->to_ms, keep_alert,
                          sheet, err) != 0)
        return -1;
    settle(sheet);
    if (report_usage_configure(sheet, err) < 0)
        return -1;
    return sheet->failed ? err_set(err, "out of memory") : 0;
}

static int print(const struct usage_sheet *sheet)
{
    int result = 0;
    switch (sheet->report->form) {
    case REPORT_TEXT: result = report_usage_text(sheet); break;
    case REPORT_CSV: result = report_usage_csv(sheet); break;
    case REPORT_JSON: result = report_usage_json(sheet); break;
    }
    if (result != 0)
        return cli_problem("report", "out of memory");
    if (fflush(stdout) != 0 || ferror(stdout) != 0)
        return cli_problem("report", "it could not be written: is there room for it?");
    return EXIT_DONE;
}

int report_usage(struct report *report)
{
    struct err err;
    struct usage_sheet sheet = {.report = report};
    int status;
    choose_ranges(&sheet);
    if (collect(&sheet, &err) != 0)
        status = cli_problem("report", "%s", err.text);
    else if (sheet.count == 0)
        status = cli_problem("report", "%s", catalogue_text("report.usage.none", report->language));
    else
        status = print(&sheet);
    if (status == EXIT_DONE && store_damaged(report->store) > 0)
        status =
            cli_problem("report", "%lld damaged rows were left out; 'metergate verify' names them",
                        (long long)store_damaged(report->store));
    free(sheet.of_number);
    free(sheet.customers);
    free(sheet.list);
    free(sheet.alerts);
    return status;
}
