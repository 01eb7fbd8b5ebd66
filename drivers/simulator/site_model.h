// The physics of one simulated meter: an industrial day, pressure and temperature that belong
// together, counters that integrate the flow exactly. Pure: settings, state and time in, values
// out.
//
// The flow is constant within each second of the wall clock and a function of (settings, second)
// alone, so that values do not depend on how often somebody asks, and a counter's advance between
// two instants is the exact sum of flow x time.
#ifndef METERGATE_DRIVERS_SIMULATOR_SITE_MODEL_H
#define METERGATE_DRIVERS_SIMULATOR_SITE_MODEL_H

#include <stdbool.h>
#include <stdint.h>

enum pattern {
    PATTERN_TWO_SHIFT,  // 06:00 to 22:00 with breaks; one short shift on Saturday; base load else
    PATTERN_CONTINUOUS, // a furnace: day and night, weekends too
    PATTERN_HEATING,    // follows the air temperature
    PATTERN_CONSTANT,   // exactly load x capacity
    PATTERN_OFF,        // no flow at all
};

#define MODEL_HOLIDAYS_MAX 64

struct model_calendar {
    int utc_offset_min;
    int holiday_count;
    int64_t holidays[MODEL_HOLIDAYS_MAX]; // days since 1970-01-01, local
};

struct model_settings {
    uint64_t seed; // of this meter
    enum pattern pattern;
    double capacity; // qmax at line conditions, m3/h; for other media their rate, such as kW
    double load;     // share of the capacity at full work
    double supply_kpa;
    double base_pressure_kpa;
    double base_temperature_c;
    const struct model_calendar *calendar;
};

// A counter: micro units, and what is still below one of them, in micro units x ms / h.
struct model_counter {
    int64_t micro;
    int64_t rest;
};

struct model_state {
    int64_t started_ms;
    int64_t at_ms; // the counters stand at this instant
    struct model_counter measured;
    struct model_counter base;
    int64_t base_start; // micro units, at started_ms
    bool reverse;       // the counters run backwards
    // Set by an order; NaN: by the model.
    double flow_measured;
    double pressure_kpa;
    double temperature_c;
};

struct model_values {
    double work; // share of full work, 0 to about 1
    int64_t flow_measured_micro;
    int64_t flow_base_micro; // flow_measured x conversion factor
    double pressure_kpa;     // absolute
    double temperature_c;
    double air_temperature_c;
    double compressibility_ratio;
    double conversion_factor;
    double battery_percent;
};

void model_start(struct model_state *state, int64_t at_ms, int64_t volume_measured_micro,
                 int64_t volume_base_micro);
// The instantaneous values of the second that holds `at_ms`.
void model_values(const struct model_settings *settings, const struct model_state *state,
                  int64_t at_ms, struct model_values *out);
// Brings the counters to `to_ms`. A time before state->at_ms changes nothing: time does not go
// back. More than MODEL_CATCH_UP_MS at once are left out (the simulator was stopped).
#define MODEL_CATCH_UP_MS (7 * INT64_C(86400000))
void model_advance(const struct model_settings *settings, struct model_state *state, int64_t to_ms);

// A number that depends on all of its arguments, evenly spread (splitmix64).
uint64_t model_mix(uint64_t number);

#endif
