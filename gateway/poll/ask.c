#include "poll/ask.h"

#include <stdio.h>
#include <string.h>

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

void refuse_fields(struct pass *pass, const struct plan_block *block, uint16_t why)
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

// A function of its own, so that the message's room is not part of every request's stack.
__attribute__((noinline)) static bool reopen(struct pass *pass)
{
    bool was_open = wire_is_open(pass->wire);
    struct err err;
    if (wire_open(pass->wire, &err) != 0) {
        (void)snprintf(pass->counters->error, sizeof pass->counters->error, "%.159s", err.text);
        (void)snprintf(pass->reading->detail, sizeof pass->reading->detail, "%.95s", err.text);
        return false;
    }
    pass->counters->reconnects += was_open ? 0 : 1;
    return true;
}

uint16_t ask(struct pass *pass, const struct plan_block *block, int extra)
{
    struct request request = request_of(pass, block, extra);
    if (!reopen(pass))
        return WHY_LINK_DOWN;
    int64_t start_ns = clock_boot_ns(pass->clock);
    struct reply reply;
    wire_transact(pass->wire, &request, &reply);
    pass->counters->busy_us += (clock_boot_ns(pass->clock) - start_ns) / 1000;
    count_reply(pass->counters, reply.why);
    pass->doubt = pass->doubt || (reply.why != WHY_NONE && reply.why < WHY_EXCEPTION);
    if (reply.why == WHY_NONE)
        take_words(pass, block, &request, &reply);
    else
        (void)snprintf(pass->reading->detail, sizeof pass->reading->detail, "%s", reply.detail);
    return reply.why;
}

bool may_ask(const struct pass *pass, const struct plan_block *block, int extra)
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

uint16_t ask_again(struct pass *pass, const struct plan_block *block, int retries)
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
