// Anomaly rules over the readings of a site. Pure: explicit state, time and values handed in, no
// I/O, no allocation after start.
//
// Each rule opens at most one alert per meter (or link) and kind, and reports each change of it. A
// restart rebuilds the state: open alerts are given back with detect_restore, then recent readings
// are replayed with changes ignored.
#ifndef METERGATE_DETECT_DETECT_H
#define METERGATE_DETECT_DETECT_H

#include "base/writer.h"
#include "config/config.h"
#include "poll/reading.h"

enum alert_kind { ALERT_NO_ANSWER = 1, ALERT_LINK_DOWN = 2, ALERT_OVER_RANGE = 3, ALERT_KINDS };
enum alert_severity { SEVERITY_MINOR = 1, SEVERITY_MAJOR = 2, SEVERITY_CRITICAL = 3 };
enum alert_state { ALERT_OPEN = 1, ALERT_UPDATED = 2, ALERT_ACKNOWLEDGED = 3, ALERT_CLOSED = 4 };

const char *alert_kind_text(enum alert_kind kind); // "no-answer"
const char *alert_severity_text(enum alert_severity severity);
const char *alert_state_text(enum alert_state state);

// What was seen, what was expected, over which readings. NaN where a figure makes no sense.
struct evidence {
    double observed, expected_low, expected_high;
    char unit[8];
    char rule[64]; // the threshold in figures, "flow_measured > 1.2 x qmax"
    int64_t from_ms, to_ms;
    uint16_t why; // of a silent meter
};

// One change of one alert. Its text in both languages comes from the catalogue, by kind and state.
struct alert_change {
    enum alert_kind kind;
    enum alert_severity severity;
    enum alert_state state;
    bool of_link; // subject is a link, not a meter
    char subject[ID_SIZE];
    int64_t at_ms;    // of the change
    int64_t since_ms; // of the opening
    char reason[16];  // of a close: "" or "removed"
    struct evidence evidence;
};

typedef void detect_changed(void *context, const struct alert_change *change);

struct detect;
// For all meters of a configuration. NULL when memory is short. Keeps a reference of it.
struct detect *detect_new(struct config *config);
void detect_free(struct detect *detect);

// An alert that was open when the program stopped.
void detect_restore(struct detect *detect, const struct alert_change *open);
// One reading in order; `meter` index is that of the configuration detect was made with.
void detect_feed(struct detect *detect, int meter, const struct reading *reading,
                 detect_changed *changed, void *context);

// Whether over-range can watch this meter at all, and why not (for `check`): "" when it can.
const char *detect_over_range_off(const struct meter *meter);

#endif
