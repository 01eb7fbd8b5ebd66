// Asking for one block of a plan. What the files of meter_poll share; nobody else includes this.
#ifndef METERGATE_POLL_ASK_H
#define METERGATE_POLL_ASK_H

#include "config/config.h"
#include "poll/confirm.h"
#include "poll/meter_poll.h"
#include "poll/plan.h"

// One pass over a meter's blocks.
struct pass {
    struct wire *wire;
    const struct meter *meter;
    const struct plan *plan;
    const struct clock *clock;
    struct reading *reading;
    struct live_link *counters;
    bool refused;        // a block was answered with an exception
    bool doubt;          // something was lost or damaged in this pass: a late reply may come
    struct doubt *noise; // the meter's, from pass to pass
    bool moved[PROFILE_FIELDS_MAX]; // counters that wait for a third reply
};

// Whether a block, with `extra` registers behind it that nobody needs, may be asked for: within the
// meter's limits, and of a shape that no late reply has.
bool may_ask(const struct pass *pass, const struct plan_block *block, int extra);
// One transaction. Takes the words of the block's fields into the reading where they come; returns
// why not otherwise, or WHY_UNCONFIRMED when they came and another reply has to agree with them.
uint16_t ask(struct pass *pass, const struct plan_block *block, int extra);
// Asks up to 1 + `retries` times, each time in a shape that a late reply cannot have; of a noisy
// meter until replies in a row agree, CONFIRM_REPLIES_MAX at most.
uint16_t ask_again(struct pass *pass, const struct plan_block *block, int retries);
// Marks the block's fields as not read, but for those of which there are doubted words.
void refuse_fields(struct pass *pass, const struct plan_block *block, uint16_t why);

// wake.c: sends the meter a request that it may lose, where it loses the first one after a rest.
// `answered_ns`: its last answer by the boot clock, 0 without one. What is lost here counts
// nowhere.
void wake_meter(struct pass *pass, int64_t answered_ns);

// narrow.c: a block was refused for its registers. Asks for smaller and smaller parts of it until
// it is known which are refused, at most *asks_left times; takes the words of the others. Adds what
// it found to *refusals (made when it is NULL). Returns whether something was added.
bool narrow_down(struct pass *pass, const struct plan_block *block, int *asks_left,
                 struct refusals **refusals);

#endif
