#include "scan/order.h"

#include <string.h>

#define COUNT(array) ((int)(sizeof(array) / sizeof((array)[0])))
#define COMMON_BAUD 9600
#define LOW_ROUNDS 3 // rounds of the low units
#define FUNCTION_ROUND 2
#define ROUNDS 6

// The usual ones first; the forms of the standard (8E1) and of most makers (8N1) before the rest.
static const int bauds[] = {9600, 19200, 38400, 4800, 2400, 115200, 57600, 1200};
static const struct {
    char parity;
    int stop;
} frames[] = {{'N', 1}, {'E', 1}, {'N', 2}, {'O', 1}, {'E', 2}, {'O', 2}};

bool scan_setting_equal(const struct scan_setting *a, const struct scan_setting *b)
{
    return a->baud == b->baud && a->parity == b->parity && a->stop == b->stop;
}

static void add(struct scan_settings *settings, struct scan_setting setting)
{
    for (int i = 0; i < settings->count; i++)
        if (scan_setting_equal(&settings->list[i], &setting))
            return;
    if (settings->count < SCAN_SETTINGS_MAX)
        settings->list[settings->count++] = setting;
}

static struct scan_setting default_of(const struct profile *profile)
{
    return (struct scan_setting){profile->serial_baud, profile->serial_parity,
                                 profile->serial_stop};
}

static int count_defaults(const struct profile *const *profiles, int count,
                          const struct scan_setting *setting)
{
    int found = 0;
    for (int i = 0; i < count; i++) {
        struct scan_setting other = default_of(profiles[i]);
        found += profiles[i]->serial_baud_known && scan_setting_equal(&other, setting) ? 1 : 0;
    }
    return found;
}

// The makers' defaults, those of most profiles first.
static void add_defaults(const struct profile *const *profiles, int count,
                         struct scan_settings *out)
{
    for (int most = count; most > 0; most--) {
        for (int i = 0; i < count; i++) {
            struct scan_setting setting = default_of(profiles[i]);
            if (profiles[i]->serial_baud_known && count_defaults(profiles, count, &setting) == most)
                add(out, setting);
        }
    }
}

void scan_settings_all(const struct profile *const *profiles, int profile_count,
                       struct scan_settings *out)
{
    *out = (struct scan_settings){0};
    add_defaults(profiles, profile_count, out);
    for (int i = 0; i < COUNT(frames); i++)
        add(out, (struct scan_setting){COMMON_BAUD, frames[i].parity, frames[i].stop});
    out->usual = out->count;
    for (int i = 0; i < COUNT(bauds); i++)
        for (int j = 0; j < COUNT(frames); j++)
            add(out, (struct scan_setting){bauds[i], frames[j].parity, frames[j].stop});
}

static bool is_wanted(const struct scan_setting *setting, const struct scan_setting *wanted)
{
    return (wanted->baud == 0 || wanted->baud == setting->baud) &&
           (wanted->parity == '\0' || wanted->parity == setting->parity) &&
           (wanted->stop == 0 || wanted->stop == setting->stop);
}

// A baud rate that nobody uses is tried all the same when it is asked for.
static void add_wanted(struct scan_settings *settings, const struct scan_setting *wanted)
{
    for (int i = 0; i < COUNT(frames); i++) {
        struct scan_setting setting = {wanted->baud, frames[i].parity, frames[i].stop};
        if (is_wanted(&setting, wanted))
            add(settings, setting);
    }
}

void scan_settings_keep(struct scan_settings *settings, const struct scan_setting *wanted)
{
    struct scan_settings kept = {0};
    for (int i = 0; i < settings->count; i++) {
        if (is_wanted(&settings->list[i], wanted)) {
            kept.list[kept.count++] = settings->list[i];
            kept.usual += i < settings->usual ? 1 : 0;
        }
    }
    if (kept.count == 0) {
        add_wanted(&kept, wanted);
        kept.usual = kept.count;
    }
    *settings = kept;
}

// ---- rounds -------------------------------------------------------------------------------------

static bool in_round(const struct scan_settings *settings, int round, int setting)
{
    bool usual = setting < settings->usual;
    bool common = settings->list[setting].baud == COMMON_BAUD;
    switch (round) {
    case 0:
    case FUNCTION_ROUND: return usual;
    case 1: return !usual;
    case 3: return usual && common;
    case 4: return usual && !common;
    default: return !usual;
    }
}

static int last_low(const struct scan_order *order)
{
    int last = order->first_unit + SCAN_LOW_UNITS - 1;
    return last < order->last_unit ? last : order->last_unit;
}

static int first_of_round(const struct scan_order *order)
{
    return order->round < LOW_ROUNDS ? order->first_unit : last_low(order) + 1;
}

static int last_of_round(const struct scan_order *order)
{
    return order->round < LOW_ROUNDS ? last_low(order) : order->last_unit;
}

void scan_order_start(struct scan_order *order, int first_unit, int last_unit)
{
    *order = (struct scan_order){
        .first_unit = first_unit, .last_unit = last_unit, .setting = -1, .unit = last_unit};
}

bool scan_order_next(struct scan_order *order, const struct scan_settings *settings,
                     struct scan_call *call)
{
    order->unit++;
    while (order->round < ROUNDS) {
        if (order->setting >= 0 && order->unit <= last_of_round(order)) {
            *call = (struct scan_call){order->setting, order->unit,
                                       order->round == FUNCTION_ROUND ? 4 : 3};
            return true;
        }
        do
            order->setting++;
        while (order->setting < settings->count &&
               !in_round(settings, order->round, order->setting));
        if (order->setting == settings->count) {
            order->setting = -1;
            order->round++;
        }
        order->unit = first_of_round(order);
    }
    return false;
}

int scan_order_total(const struct scan_settings *settings, int first_unit, int last_unit)
{
    struct scan_order order;
    struct scan_call call;
    int total = 0;
    scan_order_start(&order, first_unit, last_unit);
    while (scan_order_next(&order, settings, &call))
        total++;
    return total;
}
