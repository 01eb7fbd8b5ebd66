// Who is on a serial line, and how it is set: search, sweep, confirm (scan.h).
#include "scan/scan_inside.h"

#include <string.h>

#define NOISES_MAX 6      // at one setting or in one pass: further noise casts no suspicion
#define NOISE_BYTES 2     // fewer are a spike
#define CONFIRM_TRIES 2   // calls with each function of a unit that was heard
#define SUSPECT_MS 300    // for a unit that was not heard itself
#define QUIET_TRIES 3     // a line that does not fall silent is not waited for longer
#define SWEEP_MOST_MS 250 // a slower meter is heard while others are called

// ---- calls --------------------------------------------------------------------------------------

enum heard { HEARD_NOTHING, HEARD_FRAME, HEARD_NOISE };

static void hear_unit(struct scan *scan, int unit)
{
    bool wanted = unit >= scan->options.first_unit && unit <= scan->options.last_unit &&
                  !scan->options.skip[unit];
    if (wanted && (scan->state[unit] == UNIT_UNKNOWN || scan->state[unit] == UNIT_SUSPECT))
        scan->state[unit] = UNIT_HEARD;
}

static void suspect_recent(struct scan *scan)
{
    if (++scan->noises > NOISES_MAX)
        return;
    for (int i = 0; i < SCAN_SUSPECTS; i++) {
        int last = scan->recent[i];
        if (last > 0 && scan->state[last] == UNIT_UNKNOWN)
            scan->state[last] = UNIT_SUSPECT;
    }
}

// What was among the bytes that came; `unit`: whose frame the last one was. Noise casts suspicion
// on the units that were called last.
static enum heard listen(struct scan *scan, int *unit)
{
    enum scan_heard what = SCAN_HEARD_NOTHING;
    enum heard heard = HEARD_NOTHING;
    int whose = 0;
    *unit = -1;
    while ((what = scan_ear_take(&scan->ear, &whose)) != SCAN_HEARD_NOTHING) {
        if (what == SCAN_HEARD_ECHO && whose == scan->unit) {
            scan->echo = true;
        } else if (what == SCAN_HEARD_ECHO) {
            scan->other_master = true;
        } else {
            hear_unit(scan, whose);
            *unit = whose;
            heard = HEARD_FRAME;
        }
    }
    if (scan->ear.length < NOISE_BYTES)
        return heard;
    scan_ear_clear(&scan->ear);
    suspect_recent(scan);
    return heard == HEARD_FRAME ? heard : HEARD_NOISE;
}

static int line_gone(struct err *err)
{
    return err_set(err, "the serial line is gone: is the adapter still plugged in?");
}

// Calls a unit: does it answer anything at all?
static int call(struct scan *scan, const struct scan_wire *wire, int unit, uint8_t function,
                int listen_ms, struct err *err)
{
    const struct request request = {
        .unit = (uint8_t)unit, .function = function, .first = 0, .count = 1};
    scan->recent[scan->recent_next] = unit;
    scan->recent_next = (scan->recent_next + 1) % SCAN_SUSPECTS;
    scan->unit = unit;
    bool gone = wire->call(wire->context, &request, listen_ms, &scan->ear, &scan->answer_ms) != 0;
    return gone ? line_gone(err) : 0;
}

static int next_heard(const struct scan *scan)
{
    for (int unit = scan->options.first_unit; unit <= scan->options.last_unit; unit++)
        if (scan->state[unit] == UNIT_HEARD || scan->state[unit] == UNIT_SUSPECT)
            return unit;
    return -1;
}

// Asks again a unit that was heard, or may have been. True when it has answered.
static int confirm_unit(struct scan *scan, const struct scan_wire *wire, int unit, bool *answered,
                        struct err *err)
{
    int whose = 0;
    uint8_t function = scan->tries < CONFIRM_TRIES ? 3 : 4;
    int listen_ms = scan->state[unit] == UNIT_HEARD ? scan->options.confirm_ms : SUSPECT_MS;
    if (call(scan, wire, unit, function, listen_ms, err) != 0)
        return -1;
    bool heard = scan->state[unit] == UNIT_HEARD;
    enum heard what = listen(scan, &whose);
    *answered = what == HEARD_FRAME && whose == unit;
    scan->garbled[unit] = !*answered && (what == HEARD_NOISE || scan->garbled[unit]);
    scan->tries++;
    int most = heard || what == HEARD_NOISE ? 2 * CONFIRM_TRIES : CONFIRM_TRIES;
    if (*answered || scan->tries >= most) {
        scan->tries = 0;
        scan->state[unit] = *answered ? UNIT_FOUND : UNIT_NOT;
    }
    return 0;
}

// ---- search -------------------------------------------------------------------------------------

static void forget_units(struct scan *scan)
{
    memset(scan->state, UNIT_UNKNOWN, sizeof scan->state);
    memset(scan->recent, 0, sizeof scan->recent);
    memset(scan->garbled, 0, sizeof scan->garbled);
}

// Something was heard: asks who it was. The bus has this setting when it answers.
static int settle_search(struct scan *scan, const struct scan_wire *wire, int unit, struct err *err)
{
    bool answered = false;
    if (confirm_unit(scan, wire, unit, &answered, err) != 0)
        return -1;
    if (answered) {
        scan->settled = true;
        forget_units(scan);
        scan_enter(scan, SCAN_SWEEP, SCAN_SWEEP_PASSES * scan_unit_count(scan));
    }
    return 1;
}

// Listens without asking. `heard`: something came.
static int listen_only(struct scan *scan, const struct scan_wire *wire, int listen_ms, bool *heard,
                       struct err *err)
{
    int whose = 0;
    if (wire->call(wire->context, NULL, listen_ms, &scan->ear, &scan->answer_ms) != 0)
        return line_gone(err);
    *heard = listen(scan, &whose) != HEARD_NOTHING;
    return 0;
}

// Replies of slow meters are still on their way when a setting is left.
static int leave_setting(struct scan *scan, const struct scan_wire *wire, struct err *err)
{
    bool heard = false;
    scan->left = true;
    int listen_ms =
        scan->setting < scan->options.settings.usual ? SCAN_LEAVE_USUAL_MS : SCAN_LEAVE_MS;
    return listen_only(scan, wire, listen_ms, &heard, err) != 0 ? -1 : 1;
}

static bool all_refused(const struct scan *scan)
{
    for (int i = 0; i < scan->options.settings.count; i++)
        if (!scan->refused[i])
            return false;
    return true;
}

static int search_next(struct scan *scan, const struct scan_wire *wire, struct err *err)
{
    int whose = 0;
    const struct scan_call *next = &scan->next;
    if (next->setting != scan->setting) {
        forget_units(scan);
        scan->left = false;
        // An adapter need not know every baud rate; where none can be opened that is a fault.
        if (scan_open(scan, wire, next->setting, err) != 0) {
            scan->has_next = false;
            scan->refused[next->setting] = true;
            return all_refused(scan) ? -1 : 1;
        }
    }
    scan->has_next = false;
    if (call(scan, wire, next->unit, next->function, SCAN_LISTEN_MS, err) != 0)
        return -1;
    (void)listen(scan, &whose);
    return 1;
}

int scan_search_step(struct scan *scan, const struct scan_wire *wire, struct err *err)
{
    int heard = next_heard(scan);
    if (heard >= 0)
        return settle_search(scan, wire, heard, err);
    bool more = scan->has_next;
    while (!scan->has_next &&
           (more = scan_order_next(&scan->order, &scan->options.settings, &scan->next))) {
        scan->done++;
        scan->has_next = !scan->options.skip[scan->next.unit] && !scan->refused[scan->next.setting];
    }
    bool leaves = scan->setting >= 0 && (!more || scan->next.setting != scan->setting);
    if (leaves && !scan->left)
        return leave_setting(scan, wire, err);
    if (more)
        return search_next(scan, wire, err);
    scan_enter(scan, SCAN_DONE, 0);
    return 0;
}

// ---- sweep --------------------------------------------------------------------------------------

static int sweep_listen_ms(const struct scan *scan)
{
    int ms = scan->slowest_ms * 3 / 2 + 10;
    ms = ms > SWEEP_MOST_MS ? SWEEP_MOST_MS : ms;
    return ms > scan->options.sweep_ms ? ms : scan->options.sweep_ms;
}

// The next unit to be called in this pass, -1 at its end.
static int next_silent(struct scan *scan)
{
    for (int unit = scan->unit + 1; unit <= scan->options.last_unit; unit++) {
        scan->done = scan->pass * scan_unit_count(scan) + unit - scan->options.first_unit + 1;
        bool open = scan->state[unit] == UNIT_UNKNOWN || scan->state[unit] == UNIT_SUSPECT;
        if (open && !scan->options.skip[unit])
            return unit;
    }
    return -1;
}

int scan_sweep_step(struct scan *scan, const struct scan_wire *wire, struct err *err)
{
    int whose = 0;
    bool late = false;
    if (scan->setting < 0 && scan_open(scan, wire, 0, err) != 0)
        return -1;
    int unit = next_silent(scan);
    if (unit >= 0) {
        if (call(scan, wire, unit, scan->pass == 0 ? 3 : 4, sweep_listen_ms(scan), err) != 0)
            return -1;
        if (listen(scan, &whose) != HEARD_FRAME || whose != unit)
            return 1;
        scan->heard_ms[unit] = scan->answer_ms;
        if (scan->answer_ms > scan->slowest_ms)
            scan->slowest_ms = scan->answer_ms;
        return 1;
    }
    // What is on its way comes in before anybody is asked twice.
    if (listen_only(scan, wire, scan->options.quiet_ms, &late, err) != 0)
        return -1;
    if (late && scan->tries++ < QUIET_TRIES)
        return 1;
    scan->tries = 0;
    scan->unit = scan->options.first_unit - 1;
    scan->noises = 0;
    if (++scan->pass == SCAN_SWEEP_PASSES)
        scan_enter(scan, SCAN_CONFIRM, 0);
    return 1;
}

// ---- confirm ------------------------------------------------------------------------------------

int scan_confirm_step(struct scan *scan, const struct scan_wire *wire, struct err *err)
{
    int unit = next_heard(scan);
    bool answered = false;
    if (unit < 0) {
        scan_enter(scan, SCAN_IDENTIFY, scan->found_count);
        return 1;
    }
    if (confirm_unit(scan, wire, unit, &answered, err) != 0)
        return -1;
    if (answered) {
        scan->done++;
        if (scan_add_found(scan, unit, scan->answer_ms, err) != 0)
            return -1;
    }
    return 1;
}
