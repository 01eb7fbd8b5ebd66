#include "scan/scan_inside.h"

#include <stdlib.h>

#define TIMEOUT_LEAST_MS 300
#define TIMEOUT_MOST_MS 3000

const char *scan_phase_text(enum scan_phase phase)
{
    switch (phase) {
    case SCAN_SEARCH: return "search";
    case SCAN_SWEEP: return "sweep";
    case SCAN_CONFIRM: return "confirm";
    case SCAN_IDENTIFY: return "identify";
    case SCAN_DONE: return "done";
    }
    return "done";
}

static bool is_serial(const struct scan *scan)
{
    return scan->options.kind != LINK_TCP;
}

int scan_unit_count(const struct scan *scan)
{
    return scan->options.last_unit - scan->options.first_unit + 1;
}

struct scan *scan_new(const struct scan_options *options, const struct clock *clock)
{
    struct scan *scan = calloc(1, sizeof *scan);
    if (scan == NULL)
        return NULL;
    scan->options = *options;
    scan->clock = clock;
    scan->setting = -1;
    if (scan->options.sweep_ms == 0)
        scan->options.sweep_ms = SCAN_SWEEP_MS;
    if (scan->options.confirm_ms == 0)
        scan->options.confirm_ms = SCAN_CONFIRM_MS;
    if (scan->options.quiet_ms == 0)
        scan->options.quiet_ms = SCAN_QUIET_MS;
    scan_order_start(&scan->order, options->first_unit, options->last_unit);
    if (is_serial(scan) && options->settings.count > 1) {
        scan->phase = SCAN_SEARCH;
        scan->total = scan_order_total(&options->settings, options->first_unit, options->last_unit);
    } else {
        scan->phase = SCAN_SWEEP;
        scan->unit = options->first_unit - 1;
        scan->total = is_serial(scan) ? SCAN_SWEEP_PASSES * scan_unit_count(scan) : SCAN_TCP_UNITS;
    }
    return scan;
}

void scan_free(struct scan *scan)
{
    if (scan == NULL)
        return;
    for (int i = 0; i < scan->found_count; i++)
        free(scan->found[i]);
    scan_unit_free(scan->identifying);
    free(scan);
}

void scan_enter(struct scan *scan, enum scan_phase phase, int total)
{
    scan->phase = phase;
    scan->done = 0;
    scan->total = total;
    scan->tries = 0;
    scan->noises = 0;
    scan->unit = scan->options.first_unit - 1;
}

// ---- the line -----------------------------------------------------------------------------------

static int identify_timeout(const struct scan *scan)
{
    if (!is_serial(scan))
        return scan->options.timeout_ms;
    int ms = 3 * scan->slowest_found_ms + 100;
    ms = ms < TIMEOUT_LEAST_MS ? TIMEOUT_LEAST_MS : ms;
    return ms > TIMEOUT_MOST_MS ? TIMEOUT_MOST_MS : ms;
}

const struct scan_setting *scan_setting_at(const struct scan *scan, int setting)
{
    static const struct scan_setting none;
    return setting >= 0 && setting < scan->options.settings.count
               ? &scan->options.settings.list[setting]
               : &none;
}

int scan_open(struct scan *scan, const struct scan_wire *wire, int setting, struct err *err)
{
    if (wire->open(wire->context, scan_setting_at(scan, setting), identify_timeout(scan),
                   scan->echo, err) != 0)
        return -1;
    scan->opened = true;
    scan->setting = setting;
    scan->noises = 0;
    scan_ear_clear(&scan->ear);
    return 0;
}

int scan_add_found(struct scan *scan, int unit, int answer_ms, struct err *err)
{
    struct scan_found *found = calloc(1, sizeof *found);
    if (found == NULL)
        return err_set(err, "there is not enough memory for what was found");
    found->unit = unit;
    // The quicker of two answers: one may have been held up.
    int before_ms = scan->heard_ms[unit];
    found->answer_ms = before_ms > 0 && before_ms < answer_ms ? before_ms : answer_ms;
    int at = scan->found_count++;
    for (; at > 0 && scan->found[at - 1]->unit > unit; at--)
        scan->found[at] = scan->found[at - 1];
    scan->found[at] = found;
    scan->state[unit] = UNIT_FOUND;
    if (found->answer_ms > scan->slowest_found_ms)
        scan->slowest_found_ms = found->answer_ms;
    return 0;
}

// ---- the whole ----------------------------------------------------------------------------------

int scan_step(struct scan *scan, const struct scan_wire *wire, struct err *err)
{
    switch (scan->phase) {
    case SCAN_SEARCH: return scan_search_step(scan, wire, err);
    case SCAN_SWEEP:
        return is_serial(scan) ? scan_sweep_step(scan, wire, err)
                               : scan_sweep_tcp_step(scan, wire, err);
    case SCAN_CONFIRM: return scan_confirm_step(scan, wire, err);
    case SCAN_IDENTIFY: return scan_identify_step(scan, wire, err);
    case SCAN_DONE: break;
    }
    return 0;
}

void scan_progress(const struct scan *scan, struct scan_progress *out)
{
    *out = (struct scan_progress){.phase = scan->phase,
                                  .done = scan->done,
                                  .total = scan->total,
                                  .setting = *scan_setting_at(scan, scan->setting),
                                  .unit = scan->unit,
                                  .found = scan->found_count};
}

bool scan_setting_found(const struct scan *scan, struct scan_setting *out)
{
    if (scan->found_count == 0 && !scan->settled)
        return false;
    *out = *scan_setting_at(scan, scan->setting);
    return out->baud != 0;
}

int scan_found_count(const struct scan *scan)
{
    return scan->found_count;
}

const struct scan_found *scan_found_at(const struct scan *scan, int index)
{
    return index >= 0 && index < scan->found_count ? scan->found[index] : NULL;
}

bool scan_is_heard(const struct scan *scan, int unit)
{
    return scan->state[unit] == UNIT_HEARD;
}

bool scan_is_garbled(const struct scan *scan, int unit)
{
    return scan->garbled[unit];
}

bool scan_has_echo(const struct scan *scan)
{
    return scan->echo;
}

bool scan_has_other_master(const struct scan *scan)
{
    return scan->other_master;
}

bool scan_ignores_unit(const struct scan *scan)
{
    return scan->ignores_unit;
}

const struct scan_options *scan_options_of(const struct scan *scan)
{
    return &scan->options;
}
