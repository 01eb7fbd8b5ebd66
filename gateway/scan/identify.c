// Asks each unit what its profile needs, and asks again what got lost.
#include "scan/scan_inside.h"

#define RETRIES 2     // of a request while a unit is identified
#define SHAPES_MORE 4 // registers more, where a late reply could be taken for the answer
#define WAIT_STEP_MS 100
// Of one unit, for late replies; then what may not be asked counts as silent.
#define WAIT_MOST_MS 20000
// Requests without a reply, and none refused: from then on silence is this meter's refusal.
#define SILENT_NORMAL 3

// What to send for the pending request: itself, or where a late reply to an earlier attempt could
// be taken for its answer, the same with registers behind it that nobody needs. False: nothing now.
static bool shape(const struct scan *scan, const struct scan_wire *wire, struct request *request)
{
    *request = scan->pending;
    int most = scan->extra_refused ? 0 : SHAPES_MORE;
    for (int extra = 0; extra <= most; extra++) {
        request->count = (uint16_t)(scan->pending.count + extra);
        bool fits = request->count <= PROFILE_REQUEST_REGISTERS_MAX &&
                    request->first + request->count <= UINT16_MAX + 1;
        if (fits && wire->may_ask(wire->context, request))
            return true;
    }
    return false;
}

// The same registers in a longer request, or the first part of them; the rest is asked for later.
static bool reshape(struct scan *scan, const struct scan_wire *wire)
{
    struct request other;
    if (scan_unit_wider(scan->identifying, &scan->pending, &other) &&
        wire->may_ask(wire->context, &other)) {
        scan->pending = other;
        return true;
    }
    for (int count = scan->pending.count - 1; count > 0 && scan->rest.count == 0; count--) {
        other = scan->pending;
        other.count = (uint16_t)count;
        if (scan_unit_may_cut(scan->identifying, &other, other.first + count) &&
            wire->may_ask(wire->context, &other)) {
            scan->rest = scan->pending;
            scan->rest.first = (uint16_t)(other.first + count);
            scan->rest.count = (uint16_t)(scan->pending.count - count);
            scan->pending = other;
            return true;
        }
    }
    return false;
}

static bool try_again(const struct scan *scan, const struct reply *reply)
{
    if (reply->why == WHY_NONE || scan->tries > RETRIES)
        return false;
    if (reply->why == WHY_FRAME && scan->pending.register_size == 4)
        return false; // its registers have two bytes
    return reply->why != WHY_TIMEOUT || scan->refuses || scan->silent < SILENT_NORMAL;
}

static void take_reply(struct scan *scan, const struct reply *reply)
{
    scan->silent += reply->why == WHY_TIMEOUT ? 1 : 0;
    scan->refuses = scan->refuses || reply->why >= WHY_EXCEPTION;
    scan_unit_take(scan->identifying, &scan->pending, reply);
    scan->is_pending = reply->why == WHY_NONE && scan->rest.count > 0;
    scan->pending = scan->rest;
    scan->rest.count = 0;
    scan->tries = 0;
}

static int listen_late(struct scan *scan, const struct scan_wire *wire, int listen_ms,
                       struct err *err)
{
    if (wire->call(wire->context, NULL, listen_ms, &scan->ear, &scan->answer_ms) != 0)
        return err_set(err, "the serial line is gone: is the adapter still plugged in?");
    scan_ear_clear(&scan->ear);
    return 0;
}

// Nothing may be asked until late replies cannot come any more.
static int wait_late(struct scan *scan, const struct scan_wire *wire, struct err *err)
{
    struct reply none = {.why = WHY_TIMEOUT};
    if (scan->waited_ms >= WAIT_MOST_MS) {
        take_reply(scan, &none);
        return 1;
    }
    scan->waited_ms += WAIT_STEP_MS;
    return listen_late(scan, wire, WAIT_STEP_MS, err) != 0 ? -1 : 1;
}

// One attempt of the pending request.
static int ask_pending(struct scan *scan, const struct scan_wire *wire, struct err *err)
{
    struct request request;
    struct reply reply;
    if (!shape(scan, wire, &request) && (!reshape(scan, wire) || !shape(scan, wire, &request)))
        return wait_late(scan, wire, err);
    wire->transact(wire->context, &request, &reply);
    if (reply.why >= WHY_EXCEPTION && request.count != scan->pending.count) {
        scan->extra_refused = true; // for the registers behind: says nothing of the others
        return 1;
    }
    scan->tries++;
    if (reply.why == WHY_LINK_DOWN) {
        if (scan->tries > RETRIES)
            return err_set(err, "the link is gone: %s", reply.detail);
        return scan_open(scan, wire, scan->setting, err) != 0 ? -1 : 1;
    }
    // A late exception reply does not say to what: it must not be taken for the next one's.
    scan->listen_due = reply.why == WHY_TIMEOUT && (scan->refuses || scan->silent < SILENT_NORMAL);
    if (reply.why >= WHY_EXCEPTION || !try_again(scan, &reply))
        take_reply(scan, &reply);
    return 1;
}

static int begin_unit(struct scan *scan, struct err *err)
{
    const struct scan_found *found = scan->found[scan->done];
    scan->unit = found->unit;
    scan->silent = 0;
    scan->refuses = false;
    scan->waited_ms = 0;
    scan->extra_refused = false;
    scan->identifying = scan_unit_new(found->unit, scan_setting_at(scan, scan->setting),
                                      scan->options.candidates, scan->options.candidate_count);
    return scan->identifying != NULL ? 1 : err_set(err, "there is not enough memory for a unit");
}

static void end_unit(struct scan *scan)
{
    struct scan_found *found = scan->found[scan->done++];
    found->identified = true;
    found->result = *scan_unit_result(scan->identifying);
    scan_unit_free(scan->identifying);
    scan->identifying = NULL;
}

int scan_identify_step(struct scan *scan, const struct scan_wire *wire, struct err *err)
{
    if (scan->done == scan->found_count) {
        scan_enter(scan, SCAN_DONE, 0);
        return 0;
    }
    if (!scan->timed) {
        scan->timed = true;
        return scan_open(scan, wire, scan->setting, err) != 0 ? -1 : 1;
    }
    if (scan->listen_due) {
        scan->listen_due = false;
        return listen_late(scan, wire, scan->options.quiet_ms, err) != 0 ? -1 : 1;
    }
    if (scan->identifying == NULL)
        return begin_unit(scan, err);
    if (scan->is_pending)
        return ask_pending(scan, wire, err);
    switch (scan_unit_next(scan->identifying, &scan->pending)) {
    case SCAN_NEXT_ASK:
        scan->is_pending = true;
        scan->tries = 0;
        return ask_pending(scan, wire, err);
    case SCAN_NEXT_WORK: return 1;
    case SCAN_NEXT_DONE: end_unit(scan);
    }
    return 1;
}
