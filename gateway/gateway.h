// The gateway: owns every part, starts them in order, stops them in reverse, reloads.
#ifndef METERGATE_GATEWAY_H
#define METERGATE_GATEWAY_H

#include "base/writer.h"
#include "live.h"
#include "office/office.h"
#include "poll/bus.h"
#include "record/recorder.h"

struct gateway;

struct gateway_settings {
    const char *config_path;
    const char *directory; // state directory, made (0700) if it is not there
    struct config_search search;
    const struct clock *clock; // outlives the gateway
};

// Takes the lock, opens the store, starts recorder, office, buses and control socket. Faults of the
// configuration are printed to stderr as `check` does. NULL with a message on failure: then nothing
// of it runs.
struct gateway *gateway_start(const struct gateway_settings *settings, struct err *err);
// Stops polling, commits what waits, says goodbye to the office. NULL is fine.
void gateway_stop(struct gateway *gateway);

// Once a second: begins what had to wait for the store at the start.
void gateway_tend(struct gateway *gateway);

// Everything below is safe from every thread: what a command may ask of a running gateway.

// False while the disk has taken nothing since the start.
bool gateway_has_store(const struct gateway *gateway);
struct live *gateway_live(struct gateway *gateway);
struct recorder *gateway_recorder(struct gateway *gateway);
const char *gateway_directory(const struct gateway *gateway);
const struct clock *gateway_clock(const struct gateway *gateway);
// The configuration in force; the caller gives the reference back with config_unref.
struct config *gateway_config(struct gateway *gateway);

// Adds the status object: gateway, software, uptime, clock, links, meters, alerts, office, queue,
// store, disk, configuration.
void gateway_status_print(struct gateway *gateway, struct writer *writer);
// Adds the health of one link: counts of each meter, load, newest frames with their meaning. -1
// when there is no such link.
int gateway_bus_print(struct gateway *gateway, const char *link, struct writer *writer,
                      struct err *err);
// Adds all figures in Prometheus' text format 0.0.4.
#define GATEWAY_METRICS_MAX (3 * 1024 * 1024) // 4,000 meters on 900 links
void gateway_metrics_print(struct gateway *gateway, struct buf *out);
// One test reading of a meter in the running poll cycle. The reading is the caller's.
int gateway_read(struct gateway *gateway, const char *meter, struct wire_trace trace,
                 struct reading **out, struct err *err);
// Hands a task of low priority to the link's bus. -1 with a message when there is no such link, or
// its bus takes none.
int gateway_add_task(struct gateway *gateway, const char *link, const struct bus_task *task,
                     struct err *err);
// Where it seeks profiles.
struct config_search gateway_search(const struct gateway *gateway);
// Reads the configuration file again and applies what changed; links that did not change poll on
// untouched. A broken file, or one that only a restart can apply, changes nothing: -1, and the
// reason shows in status until a reload succeeds.
#define RELOAD_BY_SIGNAL "signal" // as who
int gateway_reload(struct gateway *gateway, const char *who, struct err *err);

#endif
