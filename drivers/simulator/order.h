// Orders at run time: one line in, one JSON line out.
#ifndef METERGATE_DRIVERS_SIMULATOR_ORDER_H
#define METERGATE_DRIVERS_SIMULATOR_ORDER_H

#include "drivers/simulator/site.h"

#define ORDER_LINE_MAX 1024
#define ORDER_REPLY_MAX 16384

#define ORDER_HELP                                                                                 \
    "  fault METER KIND [PROBABILITY] [KEY=VALUE]...\n"                                            \
    "                   from now on; keys: probability, count, start_s, end_s (since the start), " \
    "for_s,\n"                                                                                     \
    "                   delay_ms, delay_max_ms, code, bytes, channel, by\n"                        \
    "  clear METER [KIND]\n"                                                                       \
    "  set METER CHANNEL VALUE       a gauge stands still, a counter goes on from there; flow, "   \
    "pressure\n"                                                                                   \
    "                   and temperature act on what depends on them\n"                             \
    "  unset METER CHANNEL\n"                                                                      \
    "  serial METER TEXT             another serial number: the meter was exchanged\n"             \
    "  get METER                     what it would show now, without faults\n"                     \
    "  stats METER                   requests, replies, faults\n"                                  \
    "  quit\n"                                                                                     \
    "METER is an id, or * for all (not with get).\n"

// Runs one order. `line` is changed. The answer goes to `reply`: {"ok":true,"order":…} or
// {"ok":false,"order":…,"error":…}. True when the order was to quit.
bool order_run(struct site *site, const struct sim_time *now, char *line, struct buf *reply);

#endif
