// What a simulated meter shows on each canonical channel: one table from the model's few quantities
// to all channels of all media. Pure.
#ifndef METERGATE_DRIVERS_SIMULATOR_CHANNEL_SOURCE_H
#define METERGATE_DRIVERS_SIMULATOR_CHANNEL_SOURCE_H

#include "drivers/simulator/site_model.h"

// The counter's reading in micro units of its channel. Channels that the table does not know stand
// still at 0.
int64_t source_counter(const char *channel, const struct model_state *state);

// A gauge's value in its channel's unit; 1 for channels that the table does not know.
double source_gauge(const char *channel, const struct model_settings *settings,
                    const struct model_state *state, const struct model_values *values,
                    int64_t at_ms);

// Whether the table knows the channel: a test walks all channels of drivers/channel.h.
bool source_knows(const char *channel);

#endif
