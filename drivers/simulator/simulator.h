// Runs a simulated site: one thread, one epoll, however many meters.
//
// stdout: one line {"link":ID,"url":URL,"meters":[…]} for each link, then {"ready":true,…}, then
// one line for each order that came on stdin.
#ifndef METERGATE_DRIVERS_SIMULATOR_SIMULATOR_H
#define METERGATE_DRIVERS_SIMULATOR_SIMULATOR_H

#include "drivers/simulator/frame_log.h"
#include "drivers/simulator/site.h"

#define SIMULATOR_CONNECTIONS_MAX 64 // on one port at once; one more is closed

// Until SIGTERM, SIGINT or the order `quit`; the end of stdin ends nothing. `log` may be NULL. -1
// when a link cannot be opened, or the machine gives no more descriptors or memory.
int simulator_run(struct site *site, struct frame_log *log, struct err *err);

#endif
