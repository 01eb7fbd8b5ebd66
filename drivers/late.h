// Requests on a serial line whose replies may still come. A serial reply names its unit and
// function and tells how many bytes it has, and nothing else: not which register, not which
// request. A late one is taken for the answer to the next request of the same shape, and then one
// register's value is filed under another's name. So no request goes out while a reply of the very
// same shape may still be on its way: to the end of a window, also when one of that shape was seen
// meanwhile. That one may have come a second time (some converters ask again on their own), or in
// another meter's stead. Pure.
//
// What no master can tell on a serial line: a reply that was taken in time, and comes a second time
// while the next request of the same shape is out.
#ifndef METERGATE_DRIVERS_LATE_H
#define METERGATE_DRIVERS_LATE_H

#include "drivers/frame.h"

// Each entry costs at least one response time-out of 50 ms within a window of at least 3 s or 12
// time-outs, so this is never full; were it, nothing would be asked until the oldest is forgotten.
#define LATE_MAX 64
#define LATE_WINDOW_TIMEOUTS 12
#define LATE_WINDOW_LEAST_MS 3000

struct late_request {
    uint8_t unit, function;
    uint16_t data_size; // of its reply
    int64_t until_ns;
};

struct late {
    int64_t window_ns;
    int count;
    struct late_request list[LATE_MAX];
};

void late_init(struct late *late, int response_timeout_ms);
// A request was sent and its reply has not been seen.
void late_add(struct late *late, const struct request *request, int64_t now_ns);
// Whether a late reply could be taken for the answer to this request.
bool late_blocks(struct late *late, const struct request *request, int64_t now_ns);
// Whether any reply of that unit and function may still come.
bool late_expects(const struct late *late, const struct request *request);

// Length of the late reply that these bytes begin with: 0 when they do not begin with one, more
// than `length` when it is not whole yet.
size_t late_reply_size(const struct late *late, const uint8_t *bytes, size_t length);
// Whether that late reply is whole, with a good check sum.
bool late_reply_is_whole(const uint8_t *bytes, size_t size);

#endif
