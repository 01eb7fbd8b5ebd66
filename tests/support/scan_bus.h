// A serial bus of simulated meters on virtual time, for the scan: meters answer at their own baud
// rate, parity and stop bits only, replies take the line's time, late ones come while others are
// called, and what is said at once by two is noise.
#ifndef METERGATE_TESTS_SUPPORT_SCAN_BUS_H
#define METERGATE_TESTS_SUPPORT_SCAN_BUS_H

#include "drivers/late.h"
#include "drivers/simulator/answer.h"
#include "drivers/simulator/site.h"
#include "scan/scan.h"

#define SCAN_BUS_PENDING 16

struct scan_bus_reply {
    int64_t begin_ns, end_ns;
    size_t length;
    uint8_t bytes[ANSWER_MAX];
};

struct scan_bus {
    struct site *site;
    const struct sim_link *link;
    struct clock clock; // virtual
    int64_t now_ns, last_byte_ns;
    struct scan_setting setting; // that the line is open with
    int timeout_ms;
    bool echo;        // the adapter hears what it sends
    int refused_baud; // that the adapter cannot have
    struct late late;
    int pending_count;
    struct scan_bus_reply pending[SCAN_BUS_PENDING];
    int opens, requests, collisions;
};

// The site has one link. Fails the test where it cannot be loaded.
void scan_bus_start(struct scan_bus *bus, const char *site_yaml);
void scan_bus_stop(struct scan_bus *bus);
struct scan_wire scan_bus_wire(struct scan_bus *bus);
struct sim_time scan_bus_time(const struct scan_bus *bus);

#endif
