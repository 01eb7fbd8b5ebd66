#include "poll/meter_poll.h"

#include "config/config.h"
#include "poll/plan.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define SILENT_BLOCKS_MAX                                                                          \
    2 // blocks in a row without an answer, after which the meter is left alone

struct meter_poll {
    const struct meter *meter;
    struct plan *plan;
};

// One pass over a meter's blocks.
struct pass {
    struct wire *wire;
    const struct meter *meter;
    const struct plan *plan;
    const struct clock *clock;
    struct reading *reading;
    struct live_link *counters;
};

static void count_reply(struct live_link *counters, uint16_t why)
{
    counters->requests++;
    counters->replies += why == WHY_NONE ? 1 : 0;
    counters->timeouts += why == WHY_TIMEOUT ? 1 : 0;
    counters->crc_errors += why == WHY_CRC ? 1 : 0;
    counters->frame_errors += why == WHY_FRAME ? 1 : 0;
    counters->exceptions += why >= WHY_EXCEPTION ? 1 : 0;
}

static void take_words(struct pass *pass, const struct plan_block *block,
                       const struct request *request, const struct reply *reply)
{
    const struct profile *profile = pass->meter->profile;
    struct image *image = &pass->reading->image;
    for (int i = 0; i < block->field_count; i++) {
        int index = pass->plan->fields[block->field_first + i];
        const struct field *field = &profile->fields[index];
        int offset = (field->first - request->first) * (field->register_size == 4 ? 2 : 1);
        memcpy(image->words + field->place, reply->words + offset,
               field->words * sizeof image->words[0]);
        image->why[index] = WHY_NONE;
    }
    pass->reading->answered = true;
    pass->reading->at_ms = clock_wall_ms(pass->clock);
    pass->reading->boot_ms = clock_boot_ms(pass->clock);
}

static void refuse_fields(struct pass *pass, const struct plan_block *block, uint16_t why)
{
    for (int i = 0; i < block->field_count; i++)
        pass->reading->image.why[pass->plan->fields[block->field_first + i]] = why;
}

// A block with `extra` registers behind it that nobody needs.
static struct request request_of(const struct pass *pass, const struct plan_block *block, int extra)
{
    struct request request = plan_request(block);
    request.unit = (uint8_t)pass->meter->unit;
    request.count = (uint16_t)(block->count + extra);
    return request;
}

static uint16_t ask(struct pass *pass, const struct plan_block *block, int extra)
{
    struct request request = request_of(pass, block, extra);
    bool was_open = wire_is_open(pass->wire);
    struct err err;
    if (wire_open(pass->wire, &err) != 0) {
        (void)snprintf(pass->counters->error, sizeof pass->counters->error, "%.159s", err.text);
        (void)snprintf(pass->reading->detail, sizeof pass->reading->detail, "%.95s", err.text);
        return WHY_LINK_DOWN;
    }
    pass->counters->reconnects += was_open ? 0 : 1;
    int64_t start_ns = clock_boot_ns(pass->clock);
    struct reply reply;
    wire_transact(pass->wire, &request, &reply);
    pass->counters->busy_us += (clock_boot_ns(pass->clock) - start_ns) / 1000;
    count_reply(pass->counters, reply.why);
    if (reply.why == WHY_NONE)
        take_words(pass, block, &request, &reply);
    else
        (void)snprintf(pass->reading->detail, sizeof pass->reading->detail, "%s", reply.detail);
    return reply.why;
}

static bool may_ask(const struct pass *pass, const struct plan_block *block, int extra)
{
    int end = block->first + block->count + extra;
    if (block->count + extra > pass->meter->profile->limits.max_registers || end > UINT16_MAX + 1)
        return false;
    struct request request = request_of(pass, block, extra);
    if (frame_word_count(&request) > FRAME_WORDS_MAX)
        return false;
    return wire_may_ask(pass->wire, &request);
}

// The same fields in two requests. False when there is no cut of which both may be asked.
static bool ask_in_two(struct pass *pass, const struct plan_block *block, uint16_t *why)
{
    for (int at = block->first + 1; at < block->first + block->count; at++) {
        struct plan_block parts[2];
        if (!plan_cut(pass->plan, pass->meter->profile, block, at, parts) ||
            !may_ask(pass, &parts[0], 0) || !may_ask(pass, &parts[1], 0))
            continue;
        *why = ask(pass, &parts[0], 0);
        if (*why == WHY_NONE)
            *why = ask(pass, &parts[1], 0);
        return true;
    }
    return false;
}

// Asks for a block once, in a shape that a late reply to an earlier request cannot have.
static uint16_t ask_once(struct pass *pass, const struct plan_block *block)
{
    if (may_ask(pass, block, 0))
        return ask(pass, block, 0);
    uint16_t why = WHY_TIMEOUT;
    if (ask_in_two(pass, block, &why))
        return why;
    // What may be read over may be read behind; where the meter has nothing there it refuses, and
    // that says nothing of the block itself.
    for (int extra = 1; extra <= pass->meter->profile->limits.max_gap; extra++) {
        if (may_ask(pass, block, extra)) {
            why = ask(pass, block, extra);
            return why >= WHY_EXCEPTION ? WHY_TIMEOUT : why;
        }
    }
    return WHY_TIMEOUT; // held back until no late reply is possible any more
}

static uint16_t ask_again(struct pass *pass, const struct plan_block *block, int retries)
{
    uint16_t why = WHY_NONE;
    for (int i = 0; i <= retries; i++) {
        why = ask_once(pass, block);
        bool lost = why == WHY_LINK_DOWN && !wire_is_open(pass->wire) && i > 0;
        if (why == WHY_NONE || why >= WHY_EXCEPTION || lost)
            break;
    }
    return why;
}

// A meter that is silent must not cost the bus a time-out for each of its blocks.
static void read_blocks(struct pass *pass, int retries)
{
    const struct plan *plan = pass->plan;
    int silent = 0;
    uint16_t given_up = WHY_NONE;
    for (int i = 0; i < plan->block_count; i++) {
        const struct plan_block *block = &plan->blocks[i];
        if (given_up != WHY_NONE) {
            refuse_fields(pass, block, given_up);
            continue;
        }
        bool wake = i == 0 && pass->meter->profile->limits.wake_request;
        uint16_t why = ask_again(pass, block, retries + (wake ? 1 : 0));
        if (why != WHY_NONE)
            refuse_fields(pass, block, why);
        silent = why == WHY_TIMEOUT ? silent + 1 : 0;
        bool leave = silent >= SILENT_BLOCKS_MAX || (silent > 0 && i == 0) || why == WHY_LINK_DOWN;
        given_up = leave ? why : WHY_NONE;
    }
}

struct meter_poll *meter_poll_new(const struct meter *meter, const struct link_cost *cost,
                                  struct err *err)
{
    struct meter_poll *poll = calloc(1, sizeof *poll);
    if (poll == NULL) {
        (void)err_set(err, "no memory for the plan of %s", meter->id);
        return NULL;
    }
    poll->meter = meter;
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
    free(poll);
}

void meter_poll_read(struct meter_poll *poll, struct wire *wire, int retries,
                     const struct clock *clock, struct reading *reading, struct live_link *counters)
{
    const struct meter *meter = poll->meter;
    struct live_link unused = {0};
    struct pass pass = {wire,  meter,   poll->plan,
                        clock, reading, counters != NULL ? counters : &unused};
    reading->answered = false;
    reading->detail[0] = '\0';
    reading->at_ms = reading->due_ms != 0 ? reading->due_ms : clock_wall_ms(clock);
    reading->boot_ms = clock_boot_ms(clock);
    reading_refuse(reading, WHY_NOT_POLLED);
    wire_set_pause(wire, meter->profile->limits.pause_ms);
    read_blocks(&pass, retries);
    image_decode(meter->profile, &reading->image, meter->unverified, reading->values);
}
