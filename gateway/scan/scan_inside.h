// What the files of the scan share. Nobody else includes this.
#ifndef METERGATE_SCAN_SCAN_INSIDE_H
#define METERGATE_SCAN_SCAN_INSIDE_H

#include "scan/scan.h"

#define SCAN_FOUND_MAX 256
#define SCAN_SUSPECTS 8 // the last units called before noise
#define SCAN_SWEEP_PASSES 2
#define SCAN_TCP_UNITS 249 // 0, 255, 1 and 2 to 247

// What is known of a unit.
enum state {
    UNIT_UNKNOWN,
    UNIT_HEARD,   // a frame of its came
    UNIT_SUSPECT, // noise came about when it was called
    UNIT_FOUND,
    UNIT_NOT, // it was heard, but does not answer to its own question
};

struct scan {
    struct scan_options options;
    const struct clock *clock;
    enum scan_phase phase;
    struct scan_order order;
    struct scan_call next; // of the search
    bool has_next;
    bool left;    // the line was listened to before its setting is changed
    int setting;  // index that the line is open with, -1: closed, or TCP
    bool settled; // units answer at it
    bool opened;  // the line could be opened at least once
    bool timed;   // it was opened anew with the time-out for reading
    int done, total;
    int unit;                 // called last
    int answer_ms;            // of that call, -1 for none
    int slowest_ms;           // of the sweep
    int slowest_found_ms;     // of the units confirmed
    int heard_ms[SCAN_UNITS]; // answer to a call of the sweep, 0 without
    int pass;                 // of the sweep
    int tries;                // of a unit, or of the pending request
    int noises;               // since the setting or pass began
    uint8_t state[SCAN_UNITS];
    bool garbled[SCAN_UNITS];
    bool echo, other_master, ignores_unit;
    int recent[SCAN_SUSPECTS]; // units called last, a ring
    int recent_next;
    struct scan_ear ear;
    struct scan_unit *identifying;
    struct request pending, rest; // rest: the second part of one that was cut, count 0 for none
    bool is_pending;
    bool listen_due;                 // a reply got lost: it may still come
    int silent;                      // requests that the unit did not answer
    bool refuses;                    // it says so with an exception where it has no such register
    int waited_ms;                   // for its late replies
    bool extra_refused;              // it refuses registers that its profile does not name
    bool refused[SCAN_SETTINGS_MAX]; // the adapter cannot have them
    int found_count;
    struct scan_found *found[SCAN_FOUND_MAX];
};

// scan.c
void scan_enter(struct scan *scan, enum scan_phase phase, int total);
int scan_unit_count(const struct scan *scan);
// All zeros for an index that the list does not have.
const struct scan_setting *scan_setting_at(const struct scan *scan, int setting);
// Opens the line at a setting (an index; -1 over TCP).
int scan_open(struct scan *scan, const struct scan_wire *wire, int setting, struct err *err);
int scan_add_found(struct scan *scan, int unit, int answer_ms, struct err *err);

// One step of each phase, as scan_step.
int scan_search_step(struct scan *scan, const struct scan_wire *wire, struct err *err);
int scan_sweep_step(struct scan *scan, const struct scan_wire *wire, struct err *err);
int scan_confirm_step(struct scan *scan, const struct scan_wire *wire, struct err *err);
int scan_sweep_tcp_step(struct scan *scan, const struct scan_wire *wire, struct err *err);
int scan_identify_step(struct scan *scan, const struct scan_wire *wire, struct err *err);

#endif
