#include "poll/meter_poll.h"

#include "poll/ask.h"

#include <stdlib.h>

#define SILENT_BLOCKS_MAX 2 // in a row without an answer, after which the meter is left alone
#define NARROW_ASKS_MAX 10  // requests in one poll to find what a meter refuses
// What is refused is asked again after a minute, since it may have been a mood of the meter's, then
// after ever longer, at most a day; and when the meter comes back, but not at each return.
#define REFUSED_FIRST_MS INT64_C(60000)
#define REFUSED_GROWTH 8
#define REFUSED_MOST_MS INT64_C(86400000)
#define REFUSED_LEAST_MS INT64_C(600000)
#define AWAY_POLLS 3 // polls without an answer, after which it was away

struct meter_poll {
    const struct meter *meter;
    struct link_cost cost;
    struct plan *plan;
    struct refusals *refusals; // what the plan leaves out; NULL: nothing
    int64_t learned_ms;        // boot clock: when the last of it was found
    int64_t narrow_from_ms;    // boot clock: nothing is looked into before
    bool tidied;               // tentative joins were dropped once
    bool learned;              // in the last poll: it may have left out what can be read
    int64_t again_ms;          // how long what is found next is left out
    int64_t answered_ns;       // boot clock: its last answer, 0 before the first
    struct doubt noise;        // how lately something came damaged
    int away;                  // polls in a row without an answer, up to AWAY_POLLS
};

// ---- refusals -----------------------------------------------------------------------------------

static void mark_refused(const struct meter_poll *poll, struct reading *reading)
{
    for (int i = 0; poll->refusals != NULL && i < poll->meter->profile->field_count; i++)
        if (poll->refusals->why[i] != WHY_NONE)
            reading->image.why[i] = poll->refusals->why[i];
}

static void forget(struct meter_poll *poll)
{
    struct plan *plan = plan_new(poll->meter->profile, &poll->cost);
    if (plan == NULL)
        return; // no memory: as before
    free(poll->plan);
    free(poll->refusals);
    poll->plan = plan;
    poll->refusals = NULL;
    poll->tidied = false;
}

static void grow_pause(struct meter_poll *poll)
{
    poll->again_ms *= REFUSED_GROWTH;
    if (poll->again_ms > REFUSED_MOST_MS)
        poll->again_ms = REFUSED_MOST_MS;
}

static void forget_old(struct meter_poll *poll, int64_t now_ms)
{
    if (poll->refusals == NULL || now_ms - poll->learned_ms < poll->again_ms)
        return;
    grow_pause(poll); // where it is refused again
    forget(poll);
}

// A meter that was away may have been mended, set up anew or exchanged.
static void note_answer(struct meter_poll *poll, bool replied, int64_t now_ms)
{
    if (!replied) {
        poll->away += poll->away < AWAY_POLLS ? 1 : 0;
        return;
    }
    if (poll->away == AWAY_POLLS && poll->refusals != NULL &&
        now_ms - poll->learned_ms >= REFUSED_LEAST_MS) {
        poll->again_ms = REFUSED_FIRST_MS;
        forget(poll);
    }
    poll->away = 0;
}

static void plan_anew(struct meter_poll *poll)
{
    struct plan *plan = plan_new_without(poll->meter->profile, &poll->cost, poll->refusals);
    if (plan == NULL)
        return; // no memory: as before, and what is refused then is found again
    free(poll->plan);
    poll->plan = plan;
}

// Plans anew without what was found. A meter that refuses everything is asked as before: one
// exception for each block shows that it is there, and later it is looked into again.
static void learn(struct meter_poll *poll, int64_t now_ms)
{
    if (refusals_are_all(poll->refusals, poll->meter->profile)) {
        poll->narrow_from_ms = now_ms + poll->again_ms;
        grow_pause(poll);
        forget(poll);
        return;
    }
    plan_anew(poll);
    poll->learned_ms = now_ms;
}

// Everything is answered: what was parted on the way to that may fit together, now that it is known
// what was refused. Tried once.
static void tidy(struct meter_poll *poll)
{
    if (poll->tidied || !refusals_drop_tentative(poll->refusals))
        return;
    poll->tidied = true;
    plan_anew(poll);
}

// ---- one poll -----------------------------------------------------------------------------------

// Asks for a block, and where it is refused for the parts of it. True when something was learned.
static bool read_block(struct meter_poll *poll, struct pass *pass, const struct plan_block *block,
                       int retries, int *asks_left, uint16_t *why)
{
    *why = ask_again(pass, block, retries);
    pass->refused = pass->refused || *why >= WHY_EXCEPTION;
    if (*why == WHY_UNCONFIRMED) // answered, and marked so
        *why = WHY_NONE;
    if (*why != WHY_NONE)
        refuse_fields(pass, block, *why);
    // After doubt an exception may be the late answer to another request.
    bool look = refusal_kind_of(*why) == REFUSAL_REGISTERS && !pass->doubt && *asks_left > 0 &&
                clock_boot_ms(pass->clock) >= poll->narrow_from_ms;
    return look && narrow_down(pass, block, asks_left, &poll->refusals);
}

// A meter that is silent must not cost the bus a time-out for each of its blocks, one that is busy
// or behind a converter without a path not a request for each; nor, `once`, more than one when it
// does not answer at all.
static void read_blocks(struct meter_poll *poll, struct pass *pass, int retries, bool once)
{
    const struct plan *plan = pass->plan;
    int asks_left = NARROW_ASKS_MAX;
    int silent = 0;
    bool learned = false;
    uint16_t given_up = WHY_NONE;
    for (int i = 0; i < plan->block_count; i++) {
        const struct plan_block *block = &plan->blocks[i];
        if (given_up != WHY_NONE) {
            refuse_fields(pass, block, given_up);
            continue;
        }
        int block_retries = once && i == 0 ? 0 : retries;
        uint16_t why = WHY_NONE;
        if (read_block(poll, pass, block, block_retries, &asks_left, &why))
            learned = true;
        silent = why == WHY_TIMEOUT ? silent + 1 : 0;
        bool first_lost =
            i == 0 && (silent > 0 || (once && why != WHY_NONE && why < WHY_EXCEPTION));
        bool later = refusal_kind_of(why) == REFUSAL_BUSY || refusal_kind_of(why) == REFUSAL_PATH;
        bool leave = silent >= SILENT_BLOCKS_MAX || first_lost || later || why == WHY_LINK_DOWN;
        given_up = leave ? why : WHY_NONE;
    }
    poll->learned = learned;
    if (learned)
        learn(poll, clock_boot_ms(pass->clock));
    else if (!pass->refused && !pass->doubt && poll->refusals == NULL)
        poll->again_ms = REFUSED_FIRST_MS; // it has everything
    else if (!pass->refused && !pass->doubt)
        tidy(poll);
}

static void read_meter(struct meter_poll *poll, struct wire *wire, int retries, bool once,
                       const struct clock *clock, struct reading *reading,
                       struct live_link *counters)
{
    const struct meter *meter = poll->meter;
    struct live_link unused = {0};
    forget_old(poll, clock_boot_ms(clock));
    struct pass pass = {.wire = wire,
                        .meter = meter,
                        .plan = poll->plan,
                        .clock = clock,
                        .reading = reading,
                        .counters = counters != NULL ? counters : &unused,
                        // A late exception may be the answer to the lost request of before.
                        .doubt = poll->away > 0,
                        .noise = &poll->noise};
    reading->answered = false;
    reading->detail[0] = '\0';
    reading->at_ms = reading->due_ms != 0 ? reading->due_ms : clock_wall_ms(clock);
    reading->boot_ms = clock_boot_ms(clock);
    reading_refuse(reading, WHY_NOT_POLLED);
    mark_refused(poll, reading);
    wire_set_pause(wire, meter->profile->limits.pause_ms);
    wake_meter(&pass, poll->answered_ns);
    read_blocks(poll, &pass, retries, once);
    bool replied = reading->answered || pass.refused;
    if (replied)
        poll->answered_ns = clock_boot_ns(clock);
    note_answer(poll, replied, clock_boot_ms(clock));
    image_decode(meter->profile, &reading->image, meter->unverified, reading->values);
}

void meter_poll_read(struct meter_poll *poll, struct wire *wire, int retries,
                     const struct clock *clock, struct reading *reading, struct live_link *counters)
{
    read_meter(poll, wire, retries, false, clock, reading, counters);
}

void meter_poll_try(struct meter_poll *poll, struct wire *wire, int retries,
                    const struct clock *clock, struct reading *reading, struct live_link *counters)
{
    read_meter(poll, wire, retries, true, clock, reading, counters);
}

bool meter_poll_has_learned(const struct meter_poll *poll)
{
    return poll->learned;
}

// ---- making it ----------------------------------------------------------------------------------

struct meter_poll *meter_poll_new(const struct meter *meter, const struct link_cost *cost,
                                  struct err *err)
{
    struct meter_poll *poll = calloc(1, sizeof *poll);
    if (poll == NULL) {
        (void)err_set(err, "no memory for the plan of %s", meter->id);
        return NULL;
    }
    poll->meter = meter;
    poll->cost = *cost;
    poll->again_ms = REFUSED_FIRST_MS;
    poll->plan = plan_new(meter->profile, cost);
    if (poll->plan == NULL) {
        (void)err_set(err, "no memory for the plan of %s, or a value of %s fits no request",
                      meter->id, meter->profile_name);
        meter_poll_free(poll);
        return NULL;
    }
    return poll;
}

void meter_poll_free(struct meter_poll *poll)
{
    if (poll == NULL)
        return;
    free(poll->plan);
    free(poll->refusals);
    free(poll);
}
