// Anomaly rules over the readings of a site. Pure: explicit state, time and values handed in, no
// I/O, no allocation after start.
//
// Each rule opens at most one alert per meter (or link) and kind, and reports each change of it. A
// restart rebuilds the state: open alerts are given back with detect_restore, then the readings
// since detect_lookback_ms are fed with `changed` NULL.
//
// no-answer   a meter missed 3 due times in a row: minor; major 1 h after the opening, critical
//             after 24 h; closes at the first reading that answers. At most one opening and one
//             closing in four due times, however a meter flaps.
// link-down   every meter of a link with two or more is that silent: major, critical after 24 h.
//             Replaces their no-answer (closed with the reason link-down); closes when one of them
//             answers. Those that stay silent open theirs again, with their next missed due time.
// over-range  flow_measured, else flow_base / conversion_factor, above qmax for 5 minutes: major;
//             above 1.2 x qmax: at once, critical. `updated` when the severity rises; closes after
//             5 minutes below 0.95 x qmax. A reading without a flow changes nothing.
// meter-exchanged  another serial number (reading.begins): major; `updated` at each further one;
//             closes by itself after 24 h, when a gas day is counted by the new one.
// conversion-mismatch  over an hour or a day dVb/dVm of a corrector differs from the factor that
//             follows from its pressure and temperature and the configured gas by more than 0.5 %:
//             minor; 1 %: major (detect/corrector.h). Closes with the first such span that agrees,
//             of a day where a day opened it.
// flow-mismatch  over an hour or a day a counter advanced otherwise than the flow beside it says,
// by
//             more than 5 %: minor; 20 %: major (detect/flow_check.c). Closes like the one before.
// sensor-stuck  pressure or temperature unchanged to the last bit for 24 h while gas flowed: minor;
//             both: major (detect/stuck.c). Closes with the first other value.
// A rest without readings (without flows) of more than 5 minutes and 2 intervals ends a row of
// misses (a run above or below): nobody saw what was in between.
// Evidence: observed is the highest flow so far, or the minutes of silence.
#ifndef METERGATE_DETECT_DETECT_H
#define METERGATE_DETECT_DETECT_H

#include "base/writer.h"
#include "config/config.h"
#include "poll/reading.h"

enum alert_kind {
    ALERT_NO_ANSWER = 1,
    ALERT_LINK_DOWN = 2,
    ALERT_OVER_RANGE = 3,
    ALERT_METER_EXCHANGED = 4,
    // of the gateway itself: no rule over readings
    ALERT_STORE_FULL = 5,
    ALERT_STORE_REPLACED = 6,
    ALERT_STORE_RESTORED = 7,
    ALERT_CONVERSION_MISMATCH = 8, // of a meter, as what follows
    ALERT_FLOW_MISMATCH = 9,
    ALERT_SENSOR_STUCK = 10,
    ALERT_KINDS
};
enum alert_severity { SEVERITY_MINOR = 1, SEVERITY_MAJOR = 2, SEVERITY_CRITICAL = 3 };
enum alert_state { ALERT_OPEN = 1, ALERT_UPDATED = 2, ALERT_ACKNOWLEDGED = 3, ALERT_CLOSED = 4 };

#define ALERT_GATEWAY "gateway" // the subject of those: no meter's id, no link's

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
    char reason[16];  // of a close: "", "removed", or "link-down" that replaced it
    struct evidence evidence;
};

typedef void detect_changed(void *context, const struct alert_change *change);

struct detect;
// For all meters of a configuration. NULL when memory is short. Keeps a reference of it.
struct detect *detect_new(struct config *config);
void detect_free(struct detect *detect);

// An alert that was open when the program stopped. One that the configuration knows no more is
// ignored: see detect_watches.
void detect_restore(struct detect *detect, const struct alert_change *open);
// Whether the subject of an open alert is there and its rule watches it; otherwise the alert has to
// be closed as removed.
bool detect_watches(const struct detect *detect, const struct alert_change *open);
// How far before now the readings of a meter matter for alerts that are not open.
int64_t detect_lookback_ms(const struct meter *meter);

// One reading in order; `meter` index is that of the configuration detect was made with. `changed`
// NULL: a stored reading after a restart, no alert opens or closes.
void detect_feed(struct detect *detect, int meter, const struct reading *reading,
                 detect_changed *changed, void *context);

// Whether over-range can watch this meter at all, and why not (for `check`): "" when it can.
const char *detect_over_range_off(const struct meter *meter);
// Why conversion-mismatch cannot watch a meter that has both volumes: "" when it can, and for a
// meter that has not. A configuration that was loaded has a gas inside its method's range.
const char *detect_conversion_off(const struct meter *meter);
// The same of flow-mismatch and sensor-stuck.
const char *detect_flow_off(const struct meter *meter);
const char *detect_stuck_off(const struct meter *meter);

#endif
