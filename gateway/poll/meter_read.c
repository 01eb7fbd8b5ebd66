#include "config/config.h"
#include "poll/bus.h"
#include "poll/plan.h"

#include <stdio.h>
#include <string.h>

#define SILENT_BLOCKS_MAX                                                                          \
    2 // blocks in a row without an answer, after which the meter is left alone

// One pass over a meter's blocks.
struct pass {
    struct wire *wire;
    const struct meter *meter;
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
        const struct field *field = &profile->fields[block->fields[i]];
        memcpy(image->words + field->place, reply->words + (field->first - request->first),
               field->words * sizeof image->words[0]);
        image->why[block->fields[i]] = WHY_NONE;
    }
    pass->reading->answered = true;
    pass->reading->at_ms = clock_wall_ms(pass->clock);
    pass->reading->boot_ms = clock_boot_ms(pass->clock);
}

static void refuse_fields(struct pass *pass, const struct plan_block *block, uint16_t why)
{
    for (int i = 0; i < block->field_count; i++)
        pass->reading->image.why[block->fields[i]] = why;
}

// Asks for a block with `extra` registers behind it that nobody needs.
static uint16_t ask(struct pass *pass, const struct plan_block *block, int extra)
{
    struct request request = {
        .unit = (uint8_t)pass->meter->unit,
        .function = block->function,
        .first = block->first,
        .count = (uint16_t)(block->count + extra),
    };
    bool was_open = wire_is_open(pass->wire);
    struct err err;
    if (wire_open(pass->wire, &err) != 0) {
        (void)snprintf(pass->counters->error, sizeof pass->counters->error, "%.159s", err.text);
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
    return reply.why;
}

static bool may_ask(const struct pass *pass, const struct plan_block *block, int extra)
{
    int end = block->first + block->count + extra;
    if (block->count + extra > pass->meter->profile->limits.max_registers || end > UINT16_MAX + 1)
        return false;
    struct request request = {
        .unit = (uint8_t)pass->meter->unit,
        .function = block->function,
        .first = block->first,
        .count = (uint16_t)(block->count + extra),
    };
    return wire_may_ask(pass->wire, &request);
}

// The same fields in two requests. False when there is no cut of which both may be asked.
static bool ask_in_two(struct pass *pass, const struct plan_block *block, uint16_t *why)
{
    for (int at = block->first + 1; at < block->first + block->count; at++) {
        struct plan_block parts[2];
        if (!plan_cut(pass->meter->profile, block, at, parts) || !may_ask(pass, &parts[0], 0) ||
            !may_ask(pass, &parts[1], 0))
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
static void read_blocks(struct pass *pass, const struct plan *plan, int retries)
{
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

void meter_read(struct wire *wire, const struct meter *meter, int retries,
                const struct clock *clock, struct reading *reading, struct live_link *counters)
{
    struct live_link unused = {0};
    struct pass pass = {wire, meter, clock, reading, counters != NULL ? counters : &unused};
    reading->answered = false;
    reading->at_ms = reading->due_ms != 0 ? reading->due_ms : clock_wall_ms(clock);
    reading->boot_ms = clock_boot_ms(clock);
    reading_refuse(reading, WHY_NOT_POLLED);
    struct plan plan;
    wire_set_pause(wire, meter->profile->limits.pause_ms);
    if (plan_make(meter->profile, &plan) == 0)
        read_blocks(&pass, &plan, retries);
    image_decode(meter->profile, &reading->image, meter->unverified, reading->values);
}
