// The gateway: owns every part, starts them in order, stops them in reverse, reloads.
#ifndef METERGATE_GATEWAY_H
#define METERGATE_GATEWAY_H

#include "base/writer.h"
#include "live.h"
#include "office/office.h"
#include "poll/bus.h"
#include "record/recorder.h"

struct gateway;

// Everything that a command may ask of a running gateway. Safe from every thread.

struct live *gateway_live(struct gateway *gateway);
struct recorder *gateway_recorder(struct gateway *gateway);
const char *gateway_directory(const struct gateway *gateway);
const struct clock *gateway_clock(const struct gateway *gateway);
// The configuration in force; the caller gives the reference back with config_unref.
struct config *gateway_config(struct gateway *gateway);

// Adds the status object: gateway, software, uptime, clock, links, meters, office, queue, store,
// disk, configuration.
void gateway_status_print(struct gateway *gateway, struct writer *writer);
// One test reading of a meter in the running poll cycle. The reading is the caller's.
int gateway_read(struct gateway *gateway, const char *meter, struct wire_trace trace,
                 struct reading **out, struct err *err);
// Reads the configuration file again and applies what changed. A broken file changes nothing; the
// reason shows in status.
int gateway_reload(struct gateway *gateway, const char *who, struct err *err);

#endif
