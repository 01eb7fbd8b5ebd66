#include "record/day_sheet.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static struct stored_ledger *add(struct day_sheet *sheet)
{
    if (sheet->count == sheet->room) {
        int room = sheet->room == 0 ? 16 : 2 * sheet->room;
        struct stored_ledger *list = reallocarray(sheet->list, (size_t)room, sizeof *list);
        if (list == NULL) {
            sheet->failed = true;
            return NULL;
        }
        sheet->list = list;
        sheet->room = room;
    }
    return &sheet->list[sheet->count++];
}

static bool keep_closed(void *context, const struct stored_ledger *ledger)
{
    struct stored_ledger *place = add(context);
    if (place != NULL)
        *place = *ledger;
    return place != NULL;
}

static bool keep_meter(void *context, int number, const char *id, bool is_out)
{
    struct day_sheet *sheet = context;
    (void)number;
    (void)is_out;
    if (sheet->meter != NULL && strcmp(sheet->meter, id) != 0)
        return true;
    for (int i = 0; i < sheet->closed; i++)
        if (strcmp(sheet->list[i].meter, id) == 0)
            return true;
    struct stored_ledger *place = add(sheet);
    if (place == NULL)
        return false;
    memset(place, 0, sizeof *place);
    (void)snprintf(place->meter, sizeof place->meter, "%s", id);
    return true;
}

struct hours {
    int count;
    struct period list[LEDGER_HOURS_MAX];
};

static bool keep_hour(void *context, const struct stored_period *period)
{
    struct hours *hours = context;
    hours->list[hours->count++] = period->period;
    return hours->count < LEDGER_HOURS_MAX;
}

static bool explain(void *context, const struct outage *outage)
{
    ledger_explain_evenly(context, outage);
    return true;
}

// The hours of a day that is not over, with the outages laid over them. Outside of them nothing is
// said: what was due there is not known without the meter's configuration.
static int fill_open(struct day_sheet *sheet, struct stored_ledger *place, struct hours *hours,
                     struct err *err)
{
    int number;
    if (store_meter_find(sheet->store, place->meter, &number, err) != 1)
        return -1;
    const struct schedule none = {.span = SPAN_HOUR};
    const struct ledger_meter meter = {&none, sheet->calendar, INT64_MAX};
    hours->count = 0;
    if (store_periods(sheet->store, place->meter, SPAN_HOUR, sheet->from_ms, sheet->to_ms,
                      keep_hour, hours, err) != 0)
        return -1;
    int64_t end = hours->count > 0 ? hours->list[hours->count - 1].to_ms : sheet->from_ms;
    ledger_make(&place->ledger, &meter, hours->list, hours->count, sheet->from_ms, end);
    for (int lane = LANE_ALERT; lane < LANES_END; lane++)
        place->lane_last[lane] = sheet->lanes[lane].last;
    return store_outages(sheet->store, number, sheet->from_ms, end, explain, &place->ledger, err);
}

static int collect_open(struct day_sheet *sheet, struct err *err)
{
    struct hours *hours = calloc(1, sizeof *hours);
    sheet->closed = sheet->count;
    int result = hours == NULL ? err_set(err, "out of memory")
                               : store_meters(sheet->store, keep_meter, sheet, err);
    int kept = sheet->closed;
    for (int i = sheet->closed; i < sheet->count && result == 0; i++) {
        result = fill_open(sheet, &sheet->list[i], hours, err);
        if (result == 0 && hours->count > 0)
            sheet->list[kept++] = sheet->list[i];
    }
    sheet->count = kept;
    free(hours);
    return result;
}

static bool keep_gap(void *context, const struct stored_gap *gap)
{
    struct day_sheet *sheet = context;
    sheet->gaps[sheet->gap_count++ % DAY_SHEET_GAPS_MAX] = *gap;
    return true;
}

int day_sheet_collect(struct day_sheet *sheet, struct err *err)
{
    for (enum lane lane = LANE_ALERT; lane < LANES_END; lane++)
        if (store_outbox_state(sheet->store, lane, &sheet->lanes[lane], err) != 0)
            return -1;
    if (store_ledgers(sheet->store, sheet->meter, sheet->from_ms, sheet->from_ms + 1, keep_closed,
                      sheet, err) != 0 ||
        collect_open(sheet, err) != 0 ||
        store_gaps(sheet->store, sheet->from_ms, sheet->to_ms, keep_gap, sheet, err) != 0)
        return -1;
    return sheet->failed ? err_set(err, "out of memory") : 0;
}

void day_sheet_release(struct day_sheet *sheet)
{
    free(sheet->list);
    sheet->list = NULL;
}

// --- reading ---

struct ledger_sum day_sheet_sum(const struct day_sheet *sheet)
{
    struct ledger_sum all = {.expected = 0};
    for (int i = 0; i < sheet->count; i++) {
        struct ledger_sum sum = ledger_sum(&sheet->list[i].ledger);
        all.expected += sum.expected;
        all.good += sum.good;
        all.suspect += sum.suspect;
        all.missing += sum.missing;
        reasons_merge(&all.reasons, &sum.reasons);
        for (int quality = 0; quality <= QUALITY_MISSING; quality++)
            all.hours[quality] += sum.hours[quality];
    }
    return all;
}

int day_sheet_gaps(const struct day_sheet *sheet)
{
    return sheet->gap_count < DAY_SHEET_GAPS_MAX ? (int)sheet->gap_count : DAY_SHEET_GAPS_MAX;
}

const struct stored_gap *day_sheet_gap(const struct day_sheet *sheet, int place)
{
    int64_t first = sheet->gap_count - day_sheet_gaps(sheet);
    return &sheet->gaps[(first + place) % DAY_SHEET_GAPS_MAX];
}
