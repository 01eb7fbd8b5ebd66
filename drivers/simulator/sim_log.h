// A simulated meter's own log: a record at the end of each hour or gas day, made by the model also
// while nobody asks. It keeps as many as the profile says and then drops the oldest.
//
// Its clock is right. A wall clock has the site's utc_offset_min and knows no summer time; its gas
// days begin at SIM_LOG_DAY_MINUTES.
#ifndef METERGATE_DRIVERS_SIMULATOR_SIM_LOG_H
#define METERGATE_DRIVERS_SIMULATOR_SIM_LOG_H

#include "drivers/profile.h"
#include "drivers/simulator/site_model.h"

#define SIM_LOG_DAY_MINUTES 360

struct sim_log;

// The log of one archive of a profile, empty. NULL when memory is short.
struct sim_log *sim_log_new(const struct profile *profile, int archive, int utc_offset_min);
void sim_log_free(struct sim_log *log); // NULL is fine

// The first end of a span after an instant.
int64_t sim_log_next_ms(const struct sim_log *log, int64_t after_ms);
// Closes the span that ends now, at state->at_ms; a log of increments has no record of its first
// one, which was not whole. `shift`: what is added to a counter of the
// profile, by its channels.
void sim_log_close(struct sim_log *log, const struct model_settings *settings,
                   const struct model_state *state, const int64_t *shift);

// Copies registers that all belong to the log; zeros in records that were never written. False when
// one of them does not belong to it.
bool sim_log_registers(const struct sim_log *log, uint8_t function, int first, int count,
                       uint16_t *words);

#endif
