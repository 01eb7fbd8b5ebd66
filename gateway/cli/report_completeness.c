// metergate report completeness: the ledgers of a gas day as text, CSV or JSON. Of a day that is
// not over the hours that are.
#include "cli/cli.h"
#include "cli/csv.h"
#include "cli/report.h"

#include "office/feed.h"
#include "record/day_sheet.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define OUTPUT_BYTES_MAX (256 * 1024 * 1024)

// What is told of.
struct sheet {
    struct report *report;
    struct day_sheet day;
};

// --- text ---

static const int widths[] = {33, 18, 8, 8, 8, 8, 9, 25};

static const char *text_of(const struct sheet *sheet, const char *key)
{
    const char *text = catalogue_text(key, sheet->report->language);
    return text != NULL ? text : key;
}

static void print_filled(const struct sheet *sheet, const char *key, const struct slot *slots,
                         size_t count)
{
    struct buf line;
    buf_init(&line, 4096);
    catalogue_fill(&line, key, sheet->report->language, slots, count);
    (void)puts(line.data != NULL ? line.data : "");
    buf_release(&line);
}

static void print_head(const struct sheet *sheet)
{
    static const char *const keys[] = {"meter",   "hour",  "expected", "good", "suspect",
                                       "missing", "share", "index",    "why"};
    char from[20];
    char to[20];
    const struct report *report = sheet->report;
    print_filled(sheet, "report.completeness.title",
                 (struct slot[]){{"gateway", report->gateway}, {"date", report->date}}, 2);
    print_filled(sheet, "report.completeness.day",
                 (struct slot[]){{"from", report_time(report, report->from_ms, from)},
                                 {"to", report_time(report, report->to_ms, to)}},
                 2);
    (void)putchar('\n');
    for (size_t i = 0; i < sizeof keys / sizeof keys[0]; i++) {
        char key[40];
        (void)snprintf(key, sizeof key, "report.column.%s", keys[i]);
        if (i + 1 < sizeof keys / sizeof keys[0]) {
            report_cell(text_of(sheet, key), widths[i], i >= 2 && i <= 6);
            (void)putchar(' ');
        } else {
            (void)puts(text_of(sheet, key));
        }
    }
}

static void print_number(int64_t number, int column)
{
    printf("%*" PRId64 " ", widths[column], number);
}

static void print_counts(int64_t good, int64_t suspect, int64_t missing)
{
    int share = ledger_share(good + suspect, good + suspect + missing);
    print_number(good + suspect + missing, 2);
    print_number(good, 3);
    print_number(suspect, 4);
    print_number(missing, 5);
    if (good + suspect + missing > 0)
        printf("%*d.%02d ", widths[6] - 3, share / 100, share % 100);
    else
        printf("%*s ", widths[6], "-");
}

// "timeout 3, gateway-down 12": codes, so that a row stays short; the holes below say it in words.
static void print_reasons(const struct reasons *reasons)
{
    for (int i = 0; i < reasons->count; i++) {
        char code[WHY_TEXT_MAX];
        printf("%s%s %" PRIu32, i == 0 ? "" : ", ", why_text(reasons->list[i].why, code),
               reasons->list[i].count);
    }
    (void)putchar('\n');
}

static void print_index(const struct sheet *sheet, uint8_t index)
{
    char key[32];
    (void)snprintf(key, sizeof key, "quality.%s", quality_text((enum quality)index));
    report_cell(index == LEDGER_NO_INDEX ? "-" : text_of(sheet, key), widths[7], false);
    (void)putchar(' ');
}

static void print_total(const char *name, const char *what, const struct ledger_sum *sum)
{
    report_cell(name, widths[0], false);
    (void)putchar(' ');
    report_cell(what, widths[1], false);
    (void)putchar(' ');
    print_counts(sum->good, sum->suspect, sum->missing);
    char known[32];
    int hours = 0;
    for (int quality = 0; quality <= QUALITY_MISSING; quality++)
        hours += sum->hours[quality];
    (void)snprintf(known, sizeof known, "%d/%d", hours - sum->hours[QUALITY_MISSING], hours);
    report_cell(hours > 0 ? known : "-", widths[7], false);
    (void)putchar(' ');
    print_reasons(&sum->reasons);
}

static void print_ledger(const struct sheet *sheet, int number)
{
    const struct stored_ledger *stored = &sheet->day.list[number];
    char at[20];
    for (int i = 0; i < stored->ledger.hour_count; i++) {
        const struct ledger_hour *hour = &stored->ledger.hours[i];
        report_cell(stored->meter, widths[0], false);
        (void)putchar(' ');
        report_cell(report_time(sheet->report, hour->from_ms, at), widths[1], false);
        (void)putchar(' ');
        print_counts(hour->good, hour->suspect, hour->missing);
        print_index(sheet, hour->index);
        print_reasons(&hour->reasons);
    }
    struct ledger_sum sum = ledger_sum(&stored->ledger);
    bool open = number >= sheet->day.closed;
    print_total(stored->meter, text_of(sheet, open ? "report.completeness.open" : "report.total"),
                &sum);
    (void)putchar('\n');
}

static void print_hole(const struct sheet *sheet, const char *meter, const struct ledger_hole *hole)
{
    char from[20];
    char to[20];
    char count[24];
    char code[WHY_TEXT_MAX];
    char key[48];
    (void)snprintf(count, sizeof count, "%" PRId64, hole->missing);
    (void)snprintf(key, sizeof key, "report.completeness.done.%s",
                   hole->index == LEDGER_NO_INDEX ? "none"
                                                  : quality_text((enum quality)hole->index));
    const struct slot slots[] = {{"meter", meter},
                                 {"from", report_time(sheet->report, hole->from_ms, from)},
                                 {"to", report_time(sheet->report, hole->to_ms, to)},
                                 {"count", count},
                                 {"why", report_why(hole->why, sheet->report->language, code)},
                                 {"done", text_of(sheet, key)}};
    print_filled(
        sheet, hole->missing > 0 ? "report.completeness.hole" : "report.completeness.unknown-index",
        slots, sizeof slots / sizeof slots[0]);
}

static void print_holes(const struct sheet *sheet)
{
    bool any = false;
    for (int i = 0; i < sheet->day.count; i++) {
        struct ledger_hole hole = {.end = 0};
        while (ledger_hole(&sheet->day.list[i].ledger, hole.end, &hole)) {
            if (!any)
                (void)puts(text_of(sheet, "report.completeness.holes"));
            any = true;
            print_hole(sheet, sheet->day.list[i].meter, &hole);
        }
    }
    if (!any)
        (void)puts(text_of(sheet, "report.completeness.whole"));
}

struct outages_shown {
    const struct sheet *sheet;
    int64_t count;
};

static bool print_outage(void *context, const struct outage *outage)
{
    struct outages_shown *shown = context;
    const struct report *report = shown->sheet->report;
    char from[20];
    char to[20];
    char code[WHY_TEXT_MAX];
    if (shown->count++ == 0)
        printf("\n%s\n", text_of(shown->sheet, "report.completeness.outages"));
    if (shown->count > LEDGER_OUTAGES_MAX)
        return true;
    int64_t begin = outage->from_ms > report->from_ms ? outage->from_ms : report->from_ms;
    int64_t end = outage->to_ms < report->to_ms ? outage->to_ms : report->to_ms;
    print_filled(shown->sheet, "report.completeness.outage",
                 (struct slot[]){{"from", report_time(report, begin, from)},
                                 {"to", report_time(report, end, to)},
                                 {"why", report_why(outage->why, report->language, code)}},
                 3);
    return true;
}

static int print_outages(const struct sheet *sheet, struct err *err)
{
    const struct report *report = sheet->report;
    struct outages_shown shown = {sheet, 0};
    if (store_outages(report->store, 0, report->from_ms, report->to_ms, print_outage, &shown,
                      err) != 0)
        return -1;
    if (shown.count > LEDGER_OUTAGES_MAX) {
        char more[24];
        (void)snprintf(more, sizeof more, "%" PRId64, shown.count - LEDGER_OUTAGES_MAX);
        print_filled(sheet, "report.completeness.more", (struct slot[]){{"count", more}}, 1);
    }
    return 0;
}

static void print_lanes(const struct sheet *sheet)
{
    printf("\n%s\n", text_of(sheet, "report.completeness.lanes"));
    for (int lane = LANE_ALERT; lane < LANES_END; lane++) {
        const struct outbox_state *state = &sheet->day.lanes[lane];
        char numbers[3][24];
        (void)snprintf(numbers[0], sizeof numbers[0], "%" PRId64, state->last);
        (void)snprintf(numbers[1], sizeof numbers[1], "%" PRId64, state->acknowledged);
        (void)snprintf(numbers[2], sizeof numbers[2], "%" PRId64,
                       state->last - state->acknowledged);
        print_filled(sheet, "report.completeness.lane",
                     (struct slot[]){{"lane", lane_text((enum lane)lane)},
                                     {"last", numbers[0]},
                                     {"acknowledged", numbers[1]},
                                     {"waiting", numbers[2]}},
                     4);
    }
}

static void print_gaps(const struct sheet *sheet)
{
    const struct day_sheet *day = &sheet->day;
    if (day->gap_count > 0)
        printf("\n%s\n", text_of(sheet, "report.completeness.gaps"));
    for (int i = 0; i < day_sheet_gaps(day); i++) {
        const struct stored_gap *gap = day_sheet_gap(day, i);
        char first[24];
        char last[24];
        char from[20];
        char to[20];
        (void)snprintf(first, sizeof first, "%" PRId64, gap->first);
        (void)snprintf(last, sizeof last, "%" PRId64, gap->last);
        const struct slot slots[] = {{"lane", lane_text(gap->lane)},
                                     {"first", first},
                                     {"last", last},
                                     {"from", report_time(sheet->report, gap->from_ms, from)},
                                     {"to", report_time(sheet->report, gap->to_ms, to)},
                                     {"reason", gap->reason}};
        print_filled(sheet, "report.completeness.gap", slots, sizeof slots / sizeof slots[0]);
    }
    if (day->gap_count > DAY_SHEET_GAPS_MAX) {
        char more[24];
        (void)snprintf(more, sizeof more, "%" PRId64, day->gap_count - DAY_SHEET_GAPS_MAX);
        print_filled(sheet, "report.completeness.more", (struct slot[]){{"count", more}}, 1);
    }
}

static int print_text(const struct sheet *sheet, struct err *err)
{
    print_head(sheet);
    for (int i = 0; i < sheet->day.count; i++)
        print_ledger(sheet, i);
    if (sheet->report->meter == NULL) {
        struct ledger_sum all = day_sheet_sum(&sheet->day);
        print_total(text_of(sheet, "report.site"), "", &all);
        (void)putchar('\n');
    }
    print_holes(sheet);
    if (print_outages(sheet, err) != 0)
        return -1;
    print_lanes(sheet);
    print_gaps(sheet);
    return 0;
}

// --- CSV and JSON ---

static void csv_reasons(struct csv *csv, const struct reasons *reasons)
{
    struct buf text;
    buf_init(&text, 4096);
    for (int i = 0; i < reasons->count; i++) {
        char code[WHY_TEXT_MAX];
        buf_addf(&text, "%s%s=%" PRIu32, i == 0 ? "" : ";", why_text(reasons->list[i].why, code),
                 reasons->list[i].count);
    }
    csv_text(csv, text.data != NULL ? text.data : "");
    buf_release(&text);
}

static int print_csv(const struct sheet *sheet, struct buf *out)
{
    struct csv csv;
    (void)puts("meter,from,to,expected,good,suspect,missing,index,reasons");
    for (int i = 0; i < sheet->day.count; i++) {
        const struct stored_ledger *stored = &sheet->day.list[i];
        for (int k = 0; k < stored->ledger.hour_count; k++) {
            const struct ledger_hour *hour = &stored->ledger.hours[k];
            buf_clear(out);
            csv_init(&csv, out);
            csv_text(&csv, stored->meter);
            csv_time(&csv, hour->from_ms);
            csv_time(&csv, hour->to_ms);
            csv_int(&csv, hour->good + hour->suspect + hour->missing);
            csv_int(&csv, hour->good);
            csv_int(&csv, hour->suspect);
            csv_int(&csv, hour->missing);
            if (hour->index == LEDGER_NO_INDEX)
                csv_nothing(&csv);
            else
                csv_text(&csv, quality_text((enum quality)hour->index));
            csv_reasons(&csv, &hour->reasons);
            csv_end(&csv);
            (void)fputs(out->data, stdout);
        }
    }
    return 0;
}

static void json_ledgers(struct writer *writer, const struct sheet *sheet, const char *key,
                         int first, int end)
{
    const struct feed_origin origin = {.gateway = sheet->report->gateway};
    writer_key(writer, key);
    writer_array(writer);
    for (int i = first; i < end; i++)
        feed_ledger(writer, &origin, &sheet->day.list[i]);
    writer_end(writer);
}

static void json_lanes(struct writer *writer, const struct sheet *sheet)
{
    writer_key(writer, "lanes");
    writer_object(writer);
    for (int lane = LANE_ALERT; lane < LANES_END; lane++) {
        writer_key(writer, lane_text((enum lane)lane));
        writer_object(writer);
        writer_key_int(writer, "last", sheet->day.lanes[lane].last);
        writer_key_int(writer, "acknowledged", sheet->day.lanes[lane].acknowledged);
        writer_key_int(writer, "confirmed", sheet->day.lanes[lane].confirmed);
        writer_end(writer);
    }
    writer_end(writer);
}

static void json_gaps(struct writer *writer, const struct sheet *sheet)
{
    const struct feed_origin origin = {.gateway = sheet->report->gateway};
    writer_key(writer, "gaps");
    writer_array(writer);
    for (int i = 0; i < day_sheet_gaps(&sheet->day); i++)
        feed_gap(writer, &origin, day_sheet_gap(&sheet->day, i));
    writer_end(writer);
    writer_key_int(writer, "gap_count", sheet->day.gap_count);
}

static int print_json(const struct sheet *sheet, struct buf *out)
{
    struct writer writer;
    struct ledger_sum all = day_sheet_sum(&sheet->day);
    writer_init(&writer, out);
    writer_object(&writer);
    writer_key_text(&writer, "gateway", sheet->report->gateway);
    writer_key_text(&writer, "date", sheet->report->date);
    writer_key_time(&writer, "from", sheet->report->from_ms);
    writer_key_time(&writer, "to", sheet->report->to_ms);
    writer_key(&writer, "reads");
    writer_object(&writer);
    writer_key_int(&writer, "expected", all.expected);
    writer_key_int(&writer, "good", all.good);
    writer_key_int(&writer, "suspect", all.suspect);
    writer_key_int(&writer, "missing", all.missing);
    writer_end(&writer);
    writer_key_micro(&writer, "complete",
                     INT64_C(10000) * ledger_share(all.good + all.suspect, all.expected));
    json_ledgers(&writer, sheet, "closed", 0, sheet->day.closed);
    json_ledgers(&writer, sheet, "open", sheet->day.closed, sheet->day.count);
    json_lanes(&writer, sheet);
    json_gaps(&writer, sheet);
    writer_end(&writer);
    if (out->failed)
        return -1;
    (void)puts(out->data);
    return 0;
}

static int print(const struct sheet *sheet)
{
    struct err err = {.text = "out of memory"};
    struct buf out;
    buf_init(&out, OUTPUT_BYTES_MAX);
    int result = 0;
    switch (sheet->report->form) {
    case REPORT_TEXT: result = print_text(sheet, &err); break;
    case REPORT_CSV: result = print_csv(sheet, &out); break;
    case REPORT_JSON: result = print_json(sheet, &out); break;
    }
    buf_release(&out);
    if (result != 0)
        return cli_problem("report", "%s", err.text);
    if (fflush(stdout) != 0 || ferror(stdout) != 0)
        return cli_problem("report", "it could not be written: is there room for it?");
    return EXIT_DONE;
}

int report_completeness(struct report *report)
{
    struct err err;
    struct sheet sheet = {.report = report,
                          .day = {.store = report->store,
                                  .calendar = &report->calendar,
                                  .meter = report->meter,
                                  .from_ms = report->from_ms,
                                  .to_ms = report->to_ms}};
    int status;
    if (day_sheet_collect(&sheet.day, &err) != 0)
        status = cli_problem("report", "%s", err.text);
    else if (sheet.day.count == 0)
        status = cli_problem("report", "%s", text_of(&sheet, "report.completeness.none"));
    else
        status = print(&sheet);
    if (status == EXIT_DONE && store_damaged(report->store) > 0)
        status =
            cli_problem("report", "%lld damaged rows were left out; 'metergate verify' names them",
                        (long long)store_damaged(report->store));
    day_sheet_release(&sheet.day);
    return status;
}
