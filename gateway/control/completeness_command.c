// The ledger of a gas day for the page, and for head office: what was due of each meter, what came,
// and the holes.
#include "control/command.h"
#include "gateway.h"
#include "record/day_sheet.h"

#include <stdlib.h>

#define DAYS_BACK_MAX 4000
#define METERS_MAX 4000 // shown; the whole report is on the command line
#define HOLES_MAX 8     // shown of a meter; more are counted

static void add_hole(struct writer *result, const struct ledger_hole *hole)
{
    char code[WHY_TEXT_MAX];
    writer_object(result);
    writer_key_time(result, "from", hole->from_ms);
    writer_key_time(result, "to", hole->to_ms);
    writer_key_int(result, "missing", hole->missing);
    if (hole->missing > 0)
        writer_key_text(result, "why", why_text(hole->why, code));
    if (hole->index != LEDGER_NO_INDEX)
        writer_key_text(result, "index", quality_text((enum quality)hole->index));
    writer_end(result);
}

static void add_sum(struct writer *result, const struct ledger_sum *sum)
{
    writer_key_int(result, "expected", sum->expected);
    writer_key_int(result, "good", sum->good);
    writer_key_int(result, "suspect", sum->suspect);
    writer_key_int(result, "missing", sum->missing);
    writer_key_micro(result, "complete",
                     INT64_C(10000) * ledger_share(sum->good + sum->suspect, sum->expected));
}

static void add_meter(struct writer *result, const struct stored_ledger *stored, bool open)
{
    struct ledger_sum sum = ledger_sum(&stored->ledger);
    struct ledger_hole hole = {.end = 0};
    int count = 0;
    writer_object(result);
    writer_key_text(result, "meter", stored->meter);
    writer_key_bool(result, "open", open);
    add_sum(result, &sum);
    writer_key(result, "holes");
    writer_array(result);
    for (; ledger_hole(&stored->ledger, hole.end, &hole); count++)
        if (count < HOLES_MAX)
            add_hole(result, &hole);
    writer_end(result);
    writer_key_int(result, "hole_count", count);
    writer_end(result);
}

static bool add_outage(void *context, const struct outage *outage)
{
    struct writer *result = context;
    char code[WHY_TEXT_MAX];
    writer_object(result);
    writer_key_time(result, "from", outage->from_ms);
    writer_key_time(result, "to", outage->to_ms);
    writer_key_text(result, "why", why_text(outage->why, code));
    writer_end(result);
    return true;
}

static void add_gap(struct writer *result, const struct stored_gap *gap)
{
    writer_object(result);
    writer_key_text(result, "lane", lane_text(gap->lane));
    writer_key_int(result, "first", gap->first);
    writer_key_int(result, "last", gap->last);
    writer_key_text(result, "reason", gap->reason);
    writer_end(result);
}

static int print_sheet(const struct day_sheet *sheet, struct writer *result, struct err *err)
{
    struct ledger_sum all = day_sheet_sum(sheet);
    writer_object(result);
    writer_key_time(result, "from", sheet->from_ms);
    writer_key_time(result, "to", sheet->to_ms);
    add_sum(result, &all);
    writer_key(result, "meters");
    writer_array(result);
    for (int i = 0; i < sheet->count && i < METERS_MAX; i++)
        add_meter(result, &sheet->list[i], i >= sheet->closed);
    writer_end(result);
    writer_key(result, "outages");
    writer_array(result);
    if (store_outages(sheet->store, 0, sheet->from_ms, sheet->to_ms, add_outage, result, err) != 0)
        return COMMAND_FAILED;
    writer_end(result);
    writer_key(result, "gaps");
    writer_array(result);
    for (int i = 0; i < day_sheet_gaps(sheet); i++)
        add_gap(result, day_sheet_gap(sheet, i));
    writer_end(result);
    writer_key_int(result, "gap_count", sheet->gap_count);
    writer_end(result);
    return COMMAND_DONE;
}

// The gas day so many before the one that runs.
static int choose_day(const struct command_context *context, int days_back,
                      struct gas_calendar *calendar, struct day_sheet *sheet, struct err *err)
{
    struct config *config = gateway_config(context->gateway);
    int made = gas_calendar_init(calendar, config->timezone, config->gas_day_start_minutes, err);
    config_unref(config);
    if (made != 0)
        return COMMAND_FAILED;
    sheet->from_ms = period_start(calendar, SPAN_DAY, clock_wall_ms(context->clock));
    for (int i = 0; i < days_back; i++)
        sheet->from_ms = period_start(calendar, SPAN_DAY, sheet->from_ms - 1);
    sheet->to_ms = period_end(calendar, SPAN_DAY, sheet->from_ms);
    sheet->calendar = calendar;
    return COMMAND_DONE;
}

int command_completeness(struct command_context *context, const struct principal *who,
                         const json_t *arguments, struct writer *result, struct err *err)
{
    (void)who;
    int days_back = 1;
    struct gas_calendar calendar;
    int status = command_unpack(context, arguments, err, "{s?i !}", "days_back", &days_back);
    if (status != 0 || (status = command_need_gateway(context, err)) != 0)
        return status;
    if (days_back < 0 || days_back > DAYS_BACK_MAX) {
        (void)err_set(err, "days_back is 0 (the gas day that runs) to %d", DAYS_BACK_MAX);
        return COMMAND_ARGUMENTS;
    }
    struct day_sheet *sheet = calloc(1, sizeof *sheet);
    if (sheet == NULL)
        return err_set(err, "not enough memory for the ledgers of a day");
    status = choose_day(context, days_back, &calendar, sheet, err);
    if (status == COMMAND_DONE && command_reader_open(context, &sheet->store, err) != 0)
        status = COMMAND_FAILED;
    if (status == COMMAND_DONE) {
        status =
            day_sheet_collect(sheet, err) == 0 ? print_sheet(sheet, result, err) : COMMAND_FAILED;
        command_reader_close(context, sheet->store);
    }
    day_sheet_release(sheet);
    free(sheet);
    return status;
}
