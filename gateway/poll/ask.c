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

// Holds the words that just came against those that an earlier reply of this pass brought. Whether
// all of the block's fields are confirmed.
static bool confirm(struct pass *pass, const struct plan_block *block, const struct image *earlier,
                    int64_t earlier_ms)
{
    const uint8_t *fields = pass->plan->fields + block->field_first;
    struct image *image = &pass->reading->image;
    confirm_fields(pass->meter->profile, fields, block->field_count, earlier, image,
                   pass->reading->boot_ms - earlier_ms, pass->moved);
    for (int i = 0; i < block->field_count; i++)
        if (image->why[fields[i]] != WHY_NONE)
            return false;
    return true;
}

// A function of its own, so that the earlier words are not part of every request's stack.
__attribute__((noinline)) static uint16_t take_doubted(struct pass *pass,
                                                       const struct plan_block *block,
                                                       const struct request *request,
                                                       const struct reply *reply)
{
    struct image earlier = pass->reading->image;
    int64_t earlier_ms = pass->reading->boot_ms;
    take_words(pass, block, request, reply);
    return confirm(pass, block, &earlier, earlier_ms) ? WHY_NONE : WHY_UNCONFIRMED;
}

void refuse_fields(struct pass *pass, const struct plan_block *block, uint16_t why)
{
    struct image *image = &pass->reading->image;
    for (int i = 0; i < block->field_count; i++) {
        int index = pass->plan->fields[block->field_first + i];
        if (!why_is_doubt(image->why[index]))
            image->why[index] = why;
    }
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
    doubt_note(pass->noise, reply.why);
    if (reply.why == WHY_NONE && doubt_holds(pass->noise))
        return take_doubted(pass, block, &request, &reply);
    if (reply.why == WHY_NONE)
        take_words(pass, block, &request, &reply);
    else
        memcpy(pass->reading->detail, reply.detail, sizeof pass->reading->detail);
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
        uint16_t first = ask(pass, &parts[0], 0);
        bool came = first == WHY_NONE || first == WHY_UNCONFIRMED;
        *why = came ? ask(pass, &parts[1], 0) : first;
        *why = *why == WHY_NONE ? first : *why;
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
    int failures = 0;
    int doubted = 0;
    for (;;) {
        uint16_t why = ask_once(pass, block);
        if (why == WHY_NONE || why >= WHY_EXCEPTION)
            return why;
        if (why == WHY_UNCONFIRMED) {
            if (++doubted == CONFIRM_REPLIES_MAX)
                return why;
            continue;
        }
        bool lost = why == WHY_LINK_DOWN && !wire_is_open(pass->wire) && failures > 0;
        if (lost || ++failures > retries)
            return why;
    }
}
