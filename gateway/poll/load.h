// How much of a link's time its meters need, before anything is polled. Pure, but for the memory of
// the plans that it makes and frees.
#ifndef METERGATE_POLL_LOAD_H
#define METERGATE_POLL_LOAD_H

#include "config/config.h"
#include "poll/cost.h"

// One poll of one meter.
struct meter_load {
    int requests;
    int64_t poll_ns; // all of them, when none has to be asked again
};

// All meters of a link.
struct link_load {
    int meters;
    double share;       // sum of poll time / interval; 1 is all of the link's time
    int64_t longest_ns; // the longest poll,
    int longest;        // of this meter (index in config.meters; -1 without meters)
    int late;           // meter that is late whenever it has to wait for the longest poll, -1: none
};

// What a transaction of the meter costs on its link.
void load_cost_of(const struct config_link *link, const struct meter *meter, struct link_cost *out);

// -1 when memory is short, or a value fits no request.
int load_of_meter(const struct config_link *link, const struct meter *meter,
                  struct meter_load *out);

// Earliest deadline first keeps every due time while `share` is below 1 (Liu and Layland 1973) and
// no poll, which nothing interrupts, is longer than a neighbour can wait. -1 as above.
int load_of_link(const struct config *config, int link, struct link_load *out);

// The lowest usual baud rate at which the meters need at most `share` of a serial link, 0 when none
// does.
int load_baud_needed(const struct config *config, int link, double share);

#endif
