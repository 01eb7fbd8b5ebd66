// The newest values and counters of every meter and link, in memory: what the page and `status`
// show. Values come here from the bus at once, not from the commit. All functions are safe from
// every thread.
#ifndef METERGATE_LIVE_H
#define METERGATE_LIVE_H

#include "base/writer.h"
#include "config/config.h"
#include "poll/reading.h"

// Counters of one link since start.
struct live_link {
    bool open;       // device or connection is there
    bool on_second;  // over second_url
    char error[160]; // last reason why it is not
    uint64_t requests, replies, timeouts, crc_errors, frame_errors, exceptions, reconnects;
    uint64_t polls, late; // due polls done; done later than their tolerance
    uint64_t dropped;     // due polls for which the link had no time
    uint64_t refused;     // readings that the recorder had no room for
    int load_permille;    // of the link's time, that all due polls want
    bool overloaded;      // that is too much: `stretched` meters are polled less often
    int stretched;
    int64_t busy_us; // time spent in transactions
};

struct live;
struct live *live_new(void);
void live_free(struct live *live);

// Shows a configuration: meters and links that stay keep their values, others are dropped or appear
// empty.
void live_apply(struct live *live, struct config *config);

// A reading was made. Copies what it needs; the reading stays the caller's.
void live_reading(struct live *live, const struct reading *reading);
// Counters of a link (index in `config`); copies.
void live_link(struct live *live, const struct config *config, int link,
               const struct live_link *counters);
// Whose health is shown for a link from now on; takes a reference.
struct health;
void live_watch(struct live *live, const struct config *config, int link, struct health *health);
// Counters and health (a reference for the caller) of a link by id. False, and nothing given, when
// it is not shown or does not run.
bool live_link_get(struct live *live, const char *link, struct live_link *counters,
                   struct health **health);

// The serial number that a meter (index in `config`) told last. False, and `serial` untouched, when
// it told none.
bool live_serial(struct live *live, const struct config *config, int meter,
                 char serial[static VALUE_TEXT_MAX]);

// Adds an array of meters with their newest values, and of links with their counters.
// meters:
// [{"meter","name","link","unit","profile","at","answered","bus":{"requests",…},"channels":{NAME:{value,unit,quality,why}}}]
void live_print_meters(struct live *live, struct writer *writer);
void live_print_links(struct live *live, struct writer *writer);

#endif
