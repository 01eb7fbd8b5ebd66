// One simulated meter: its model, its faults, and what its registers hold at an instant.
#ifndef METERGATE_DRIVERS_SIMULATOR_SIM_METER_H
#define METERGATE_DRIVERS_SIMULATOR_SIM_METER_H

#include "base/id.h"
#include "base/writer.h"
#include "drivers/decode.h"
#include "drivers/simulator/meter_fault.h"
#include "drivers/simulator/sim_log.h"
#include "drivers/simulator/site_model.h"

#define METER_FAULTS_MAX 16 // at once; one more is refused

// What meters of one entry of the site file have in common.
struct sim_kind {
    struct profile *profile;
    bool strict;                          // registers that the profile does not name are refused
    bool coded;                           // values: coded
    char units[PROFILE_CHANNELS_MAX][16]; // that the profile leaves to the meter, else ""
    const char *word_order;               // in place of the profile's; "" without
    int reply_delay_ms;                   // the meter's own thinking time
    int sleep_after_ms;                   // > 0: the first request after so long a rest is lost
};

struct sim_meter {
    char id[ID_SIZE];
    char serial_number[VALUE_TEXT_MAX];
    uint8_t unit;
    const struct sim_kind *kind;
    struct model_settings settings;
    struct model_state state;
    uint64_t who;    // coded_who of the id
    uint64_t random; // state of the meter's own random numbers
    int fault_count;
    struct meter_fault faults[METER_FAULTS_MAX];
    // By channel of the profile.
    int64_t shift[PROFILE_CHANNELS_MAX];        // added to a counter: it was set by an order
    double ordered[PROFILE_CHANNELS_MAX];       // a gauge that was set; NaN: by the model
    struct sim_log *logs[PROFILE_ARCHIVES_MAX]; // NULL: it keeps none
    bool has_frozen;
    struct image frozen;
    int64_t asked_ms;                   // last request, since start
    uint64_t requests, replies, struck; // for `stats`
};

// Two times: since the simulator's start (faults, ticks), and the simulated wall clock.
struct sim_time {
    int64_t since_start_ms;
    int64_t wall_ms;
    uint32_t tick; // since_start_ms / CODED_TICK_MS
};

// Faults that strike one reply: the first of each kind, and all of values, as they have channels.
struct struck {
    const struct meter_fault *of[FAULT_KIND_COUNT];
    int value_count;
    const struct meter_fault *values[METER_FAULTS_MAX];
};

// `micro` counters at start, base and measured.
void sim_meter_init(struct sim_meter *meter, const char *id, uint8_t unit,
                    const struct sim_kind *kind, const struct model_settings *settings,
                    int64_t wall_ms, int64_t base_micro, int64_t measured_micro);

// Begins the logs that the profile has, with what they would hold had the meter run for
// `before_ms` already; its counters stay as they are. -1 when memory is short. Before any fault.
#define SIM_LOG_BEFORE_MAX_H 168
int sim_meter_open_logs(struct sim_meter *meter, int64_t before_ms, struct err *err);
void sim_meter_close_logs(struct sim_meter *meter);

uint64_t sim_meter_random(struct sim_meter *meter);

int sim_meter_add_fault(struct sim_meter *meter, const struct meter_fault *fault,
                        const struct sim_time *now, struct err *err);
// Takes away all faults, or those of one kind (-1: all), from now on. Returns how many.
int sim_meter_clear_faults(struct sim_meter *meter, const struct sim_time *now, int kind);

// Sets a channel from now on; NaN gives it back to the model. Flow, pressure and temperature act on
// what depends on them; a counter goes on from its new value.
int sim_meter_set(struct sim_meter *meter, const struct sim_time *now, const char *channel,
                  double number, struct err *err);

// Which faults strike the reply that is made now.
void sim_meter_strike(struct sim_meter *meter, const struct sim_time *now, struct struck *struck);

// Brings the meter to `now` and gives its registers, with the faults of values that strike.
void sim_meter_image(struct sim_meter *meter, const struct sim_time *now,
                     const struct struck *struck, struct image *image);

#define SIM_WORDS_MAX 2000 // coils; registers are fewer

// Words of `count` registers (or coils, one each) of a function: one for each register, two where
// the profile's registers have four bytes (a request over both kinds is refused). Returns 0 or the
// exception code.
int sim_meter_registers(const struct sim_meter *meter, const struct image *image, uint8_t function,
                        uint16_t first, uint16_t count, uint16_t words[static SIM_WORDS_MAX],
                        unsigned *word_count);

// {"channel": value …} of what the meter holds now, in canonical units, faults left out.
void sim_meter_print(struct sim_meter *meter, const struct sim_time *now, struct writer *writer);

#endif
