// Polling one meter: what is kept between two polls, and one poll. Used by the bus, in its thread,
// and by `metergate read`.
#ifndef METERGATE_POLL_METER_POLL_H
#define METERGATE_POLL_METER_POLL_H

#include "base/clock.h"
#include "drivers/wire.h"
#include "live.h"
#include "poll/cost.h"
#include "poll/reading.h"

struct meter_poll;

// Plans the meter's requests for a link. The meter must outlive it. NULL with a message when memory
// is short or a value of the profile fits no request.
struct meter_poll *meter_poll_new(const struct meter *meter, const struct link_cost *cost,
                                  struct err *err);
void meter_poll_free(struct meter_poll *poll); // NULL is fine

// Asks for all that the plan holds, over an open wire. A failed request is asked again up to
// `retries` times; a silent meter is left alone after its first block. Fills the reading's values,
// each with its quality; adds to the counters (NULL: nobody counts).
void meter_poll_read(struct meter_poll *poll, struct wire *wire, int retries,
                     const struct clock *clock, struct reading *reading,
                     struct live_link *counters);

// The same for a bus that others wait for: the first request is not asked again. When it gets
// nothing, the meter is left alone at once, and its next attempt is the bus's to arrange.
void meter_poll_try(struct meter_poll *poll, struct wire *wire, int retries,
                    const struct clock *clock, struct reading *reading, struct live_link *counters);

// Whether the last poll found out something of what the meter refuses. It asks for that in steps,
// so the next poll may give values that this one left out.
bool meter_poll_has_learned(const struct meter_poll *poll);

#endif
