// State of the rules: one struct detect holds that of every meter and link. Inside detect/ only.
#ifndef METERGATE_DETECT_RULES_H
#define METERGATE_DETECT_RULES_H

#include "detect/detect.h"

#define MINUTE_MS INT64_C(60000)
#define HOUR_MS (60 * MINUTE_MS)
#define SILENT_MISSES 3
#define OVER_RANGE_HOLD_MS (5 * MINUTE_MS)

// One alert that is or may be open.
struct watch {
    bool open;
    enum alert_severity severity;
    int64_t since_ms, from_ms;
    int64_t restored_ms; // stored readings up to here are in the restored state already
};

// The newest misses in a row, oldest first. A function of the readings since detect_lookback_ms
// alone, so that a restart need not store it.
struct silence {
    int misses; // how many are kept
    int64_t at_ms[SILENT_MISSES];
    uint16_t why; // of the newest
};

struct flow_state {
    int64_t last_ms;                // newest flow, 0 before the first
    int64_t above_ms, below_ms;     // start of a run above qmax, below 0.95 x qmax; 0: none
    double peak;                    // since the run above began, or since the alert's from
    int measured, base, conversion; // places of the channels, -1 without
};

struct identity_state {
    char serial[VALUE_TEXT_MAX]; // newest usable one, "" before the first
    int64_t seen_ms;             // when; 0 before the first
    struct watch exchanged;
    char rule[64]; // of the newest exchange
    int64_t from_ms;
};

// See detect/flow_check.c.
#define FLOW_WINDOWS 2
#define FLOW_UNSEEN 5 // pairs with the largest differences, which a burst between polls explains

struct flow_window {
    int64_t from_ms, covered_ms;
    int pairs;
    int64_t counted;                               // micro m3
    double due;                                    // micro m3 by the flow
    double unsteady;                               // micro m3 that a moving flow leaves open
    double above[FLOW_UNSEEN], below[FLOW_UNSEEN]; // micro m3, largest first, of single pairs
};

struct flow_check {
    int flow, counter; // places of the channels, -1 without
    bool begun;        // the last_ ones hold a reading
    int64_t last_ms, last_total;
    double last_flow;
    struct flow_window windows[FLOW_WINDOWS];
    int opened_by; // window of the open alert
    struct watch watch;
};

// See detect/stuck.c.
#define STUCK_SENSORS 2 // pressure, temperature

struct stuck_sensor {
    int place; // of the channel, -1 without
    bool begun, stuck;
    double value;
    int64_t since_ms, flowed_ms;
    int readings; // of the run, up to what is needed
};

struct stuck_state {
    struct stuck_sensor sensors[STUCK_SENSORS];
    int counter;  // place of the channel, -1 without
    bool counted; // the last_ ones hold a reading
    int64_t last_ms, last_total;
    struct watch watch;
};

struct meter_state {
    struct silence silence;
    struct watch no_answer;
    struct flow_state flow;
    struct watch over_range;
    struct identity_state identity;
    struct corrector *corrector; // NULL where there is none, see detect/corrector.h
    struct flow_check flow_check;
    struct stuck_state stuck;
};

struct link_state {
    int meters, silent;
    struct watch down;
};

struct detect {
    struct config *config;
    struct link_state *links;
    struct meter_state *meters;
};

// Where a change goes; `changed` NULL: nowhere, and none is to be made.
struct outlet {
    detect_changed *changed;
    void *context;
};

// Fills in what every change has and hands it over: `state` of the watch at `at_ms`.
struct change_of {
    enum alert_kind kind;
    enum alert_state state;
    const char *subject;
    int64_t at_ms;
    const char *reason;
    struct evidence evidence;
};
void watch_report(struct watch *watch, const struct change_of *change, const struct outlet *outlet);

bool watch_skips(const struct watch *watch, int64_t at_ms, const struct outlet *outlet);
void watch_restore(struct watch *watch, const struct alert_change *open);

// The evidence of a silence that began at from_ms.
struct evidence silence_evidence(int64_t from_ms, int64_t to_ms, uint16_t why, const char *rule);

void no_answer_count(struct detect *detect, int meter, const struct reading *reading);
void no_answer_judge(struct detect *detect, int meter, const struct reading *reading,
                     const struct outlet *outlet);
void no_answer_restore(struct detect *detect, int meter, const struct alert_change *open);
void no_answer_replace(struct detect *detect, int meter, int64_t at_ms,
                       const struct outlet *outlet);
// A longer rest without what a rule looks at ends a row of misses, or a run of flows.
int64_t rest_limit_ms(const struct meter *meter);

void link_down_judge(struct detect *detect, int meter, const struct reading *reading,
                     const struct outlet *outlet);
void link_down_restore(struct detect *detect, int link, const struct alert_change *open);

void exchange_feed(struct detect *detect, int meter, const struct reading *reading,
                   const struct outlet *outlet);
void exchange_restore(struct detect *detect, int meter, const struct alert_change *open);

void flow_check_init(struct flow_check *check, const struct meter *meter);
void flow_check_feed(struct detect *detect, int meter, const struct reading *reading,
                     const struct outlet *outlet);
void flow_check_restore(struct detect *detect, int meter, const struct alert_change *open);

void stuck_init(struct stuck_state *my, const struct meter *meter);
void stuck_feed(struct detect *detect, int meter, const struct reading *reading,
                const struct outlet *outlet);
void stuck_restore(struct detect *detect, int meter, const struct alert_change *open);

void over_range_init(struct meter_state *state, const struct meter *meter);
void over_range_feed(struct detect *detect, int meter, const struct reading *reading,
                     const struct outlet *outlet);
void over_range_restore(struct detect *detect, int meter, const struct alert_change *open);

#endif
