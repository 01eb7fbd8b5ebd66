// A simulated site: links and the meters on them, read from a site file.
//
//     site: {seed: 7, start: 2026-11-23T08:00:00+08:00, utc_offset_min: 480, holidays:
//     [2026-10-01]} links:
//       - {id: hall-1, type: tcp, port: 0}
//       - {id: bus-1, type: rtu, baud: 9600, parity: N, stop: 1, link: /tmp/bus-1}
//     meters:
//       - {id: boiler-1, link: hall-1, unit: 1, profile: fuxin-totalizer, capacity: 160}
//
// tests/sites/README.md is the reference; site_print_help prints the keys.
#ifndef METERGATE_DRIVERS_SIMULATOR_SITE_H
#define METERGATE_DRIVERS_SIMULATOR_SITE_H

#include "config/config.h"
#include "drivers/simulator/sim_meter.h"

#define SITE_TEXT_MAX (1024 * 1024) // bytes of the file
#define SITE_LINKS_MAX 4096
#define SITE_METERS_MAX 8192
#define SITE_UNITS 256

struct sim_link {
    char id[ID_SIZE];
    enum link_kind kind;
    char listen[64]; // TCP: address
    int port;        // TCP: 0 takes a free one
    int baud;        // 0: bytes leave at once
    int bits;        // of a character, with start, parity and stop
    char parity;
    int stop;
    char link[CONFIG_PATH_MAX];        // rtu: symbolic link to the pseudo-terminal, or ""
    int16_t meter_of_unit[SITE_UNITS]; // index in site.meters, -1 without
};

struct site {
    uint64_t seed;
    int64_t start_ms; // simulated wall clock at start
    struct model_calendar calendar;
    int link_count;
    struct sim_link *links;
    int meter_count;
    struct sim_meter *meters;
    int kind_count;
    struct sim_kind *kinds; // owns the profiles
};

struct site_options {
    struct config_search search;
    bool has_seed;
    uint64_t seed;
    int64_t wall_ms; // the start where the file gives none
    uint64_t random; // the seed where nobody gives one
};

// On success 0, and *out is the caller's (site_free). Else -1 and every fault is in `faults`.
int site_load(const char *path, const struct site_options *options, struct site **out,
              struct faults *faults);
void site_free(struct site *site); // NULL is fine

// Index of a meter by id, -1 without.
int site_meter_find(const struct site *site, const char *id);

// The keys of a site file, for --reference.
void site_print_reference(struct buf *out);

#endif
