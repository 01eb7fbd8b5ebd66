// Scanning a link: which units answer, at which serial settings, and what they are. A machine of
// small steps, one transaction each, so that it can run by itself (`metergate scan`), between the
// polls of a running gateway, or in a test on virtual time over an injected wire. Owns no thread.
//
// A serial line:
//   1. search   every unit at every setting (scan/order.h) until one answers;
//   2. sweep    all units at that setting, with function 3, then those that were silent with
//               function 4, each given SCAN_SWEEP_MS to begin its reply. A slower meter is heard
//               while others are called: its reply names it;
//   3. confirm  each unit that was heard is asked again and given SCAN_CONFIRM_MS: only an answer
//               to its own question counts. So are the last units that were called before noise;
//   4. identify each unit by the profiles (scan/unit.h).
// A meter that takes longer than SCAN_LISTEN_MS is still heard in the search, up to 0.5 s after the
// last call at a usual setting and 0.15 s at another.
//
// The two passes of the sweep at 9600 baud take 2 x 247 x (9 + 4 + 60) ms = 36 s.
//
// Over TCP a unit is asked and waited for, 0, 255 and 1 first; there is no search.
#ifndef METERGATE_SCAN_SCAN_H
#define METERGATE_SCAN_SCAN_H

#include "base/clock.h"
#include "base/err.h"
#include "base/writer.h"
#include "drivers/link_url.h"
#include "scan/ear.h"
#include "scan/unit.h"

#define SCAN_SWEEP_MS 60
#define SCAN_CONFIRM_MS 1000
#define SCAN_QUIET_MS 1000 // after the calls, before values are read: late replies come in here
// Before a setting of the search is left: the usual ones (order.h), and the others.
#define SCAN_LEAVE_USUAL_MS 500
#define SCAN_LEAVE_MS 150
#define SCAN_UNITS 256

// The link. Over a serial line `open` sets baud rate, parity and stop bits anew.
struct scan_wire {
    // `timeout_ms` is for the transactions that follow; `echo`: the adapter hears its own requests.
    // -1 with a message when it cannot be opened so.
    int (*open)(void *context, const struct scan_setting *setting, int timeout_ms, bool echo,
                struct err *err);
    // Sends a request (NULL: sends nothing) and listens: for `listen_ms` from its end until bytes
    // come, then until they end. What was heard, before and after, goes to the ear. *answer_ms:
    // when the first byte came, -1 where none did. -1 when the line is gone.
    int (*call)(void *context, const struct request *request, int listen_ms, struct scan_ear *ear,
                int *answer_ms);
    // As wire_may_ask and wire_transact.
    bool (*may_ask)(void *context, const struct request *request);
    void (*transact)(void *context, const struct request *request, struct reply *reply);
    void *context;
};

struct scan_options {
    enum link_kind kind;
    int first_unit, last_unit;
    struct scan_settings settings; // to try; empty where the link has none (TCP)
    int sweep_ms;                  // 0: SCAN_SWEEP_MS
    int confirm_ms, quiet_ms;      // 0: SCAN_CONFIRM_MS, SCAN_QUIET_MS
    int timeout_ms;                // over TCP, of each request
    bool skip[SCAN_UNITS];         // units that are known already: not asked
    struct scan_candidate *candidates;
    int candidate_count;
};

enum scan_phase {
    SCAN_SEARCH,
    SCAN_SWEEP,
    SCAN_CONFIRM,
    SCAN_IDENTIFY,
    SCAN_DONE,
};
const char *scan_phase_text(enum scan_phase phase); // "search" …

struct scan_progress {
    enum scan_phase phase;
    int done, total;             // calls of the phase, or units
    struct scan_setting setting; // that is tried or was found
    int unit;                    // that is asked now
    int found;                   // units confirmed so far
};

struct scan_found {
    int unit;
    int answer_ms;   // from the end of a call to the beginning of the reply
    bool identified; // `result` holds
    struct scan_result result;
};

struct scan;
// Takes a copy of the options; the candidates must outlive it. NULL when memory is short.
struct scan *scan_new(const struct scan_options *options, const struct clock *clock);
void scan_free(struct scan *scan); // NULL is fine

// One transaction at most. 1: call again. 0: done. -1 with a message: the link cannot be used.
int scan_step(struct scan *scan, const struct scan_wire *wire, struct err *err);

void scan_progress(const struct scan *scan, struct scan_progress *out);
// The setting that units answered at; false while none has (or over TCP).
bool scan_setting_found(const struct scan *scan, struct scan_setting *out);
int scan_found_count(const struct scan *scan);
// In order of the unit; NULL beyond the last.
const struct scan_found *scan_found_at(const struct scan *scan, int index);
// Units that were heard but not asked again yet, where the scan was stopped.
bool scan_is_heard(const struct scan *scan, int unit);
// Units from which only noise came: two meters with that number, or a bad line.
bool scan_is_garbled(const struct scan *scan, int unit);
// The adapter hears its own requests.
bool scan_has_echo(const struct scan *scan);
// Somebody else asks on this line.
bool scan_has_other_master(const struct scan *scan);
// TCP: every unit number gets the same answers, so only one was looked at.
bool scan_ignores_unit(const struct scan *scan);
const struct scan_options *scan_options_of(const struct scan *scan);

#endif
