#include "office/lane.h"

#include <assert.h>
#include <stdio.h>
#include <string.h>

static int place(const struct lane_window *window, int at)
{
    return (window->head + at) % OFFICE_WINDOW_MAX;
}

void lane_init(struct lane_window *window, enum lane lane, int64_t acknowledged)
{
    *window =
        (struct lane_window){.lane = lane, .acknowledged = acknowledged, .handed = acknowledged};
}

void lane_restart(struct lane_window *window)
{
    for (int i = 0; i < window->count; i++) {
        struct slot_sent *slot = &window->slots[place(window, i)];
        if (slot->state == SLOT_FLIES)
            slot->state = SLOT_WAITS;
    }
    window->waiting += window->flying;
    window->flying = 0;
    window->proven = false;
    window->hold = 0;
    window->retry_ms = 0;
    window->retry_at_ms = 0;
}

static int first_waiting(const struct lane_window *window)
{
    for (int i = 0; i < window->count && window->waiting > 0; i++) {
        int at = place(window, i);
        if (window->slots[at].state == SLOT_WAITS)
            return at;
    }
    return -1;
}

static int take_ahead(struct lane_window *window)
{
    if (window->count == OFFICE_WINDOW_MAX || window->ahead_at == window->ahead_count)
        return -1;
    int at = place(window, window->count++);
    window->slots[at] =
        (struct slot_sent){.entry = window->ahead[window->ahead_at++], .state = SLOT_WAITS};
    window->waiting++;
    window->handed = window->slots[at].entry.seq;
    return at;
}

int lane_next(struct lane_window *window, int64_t now_ms)
{
    bool alone = window->hold != 0 || !window->proven;
    if (alone && window->flying > 0)
        return -1;
    if (window->hold != 0 && now_ms < window->retry_at_ms)
        return -1;
    int waiting = first_waiting(window);
    return waiting >= 0 ? waiting : take_ahead(window);
}

bool lane_hungry(const struct lane_window *window)
{
    return window->ahead_at == window->ahead_count && window->count < OFFICE_WINDOW_MAX;
}

void lane_sent(struct lane_window *window, int slot, int64_t now_ms)
{
    assert(window->slots[slot].state == SLOT_WAITS);
    window->slots[slot].state = SLOT_FLIES;
    window->slots[slot].sent_ms = now_ms;
    window->waiting--;
    window->flying++;
}

// Nothing before the slot waits: its answer speaks for the whole lane.
static bool leads(const struct lane_window *window, int slot)
{
    int waiting = first_waiting(window);
    return waiting < 0 || window->slots[slot].entry.seq < window->slots[waiting].entry.seq;
}

static void release(struct lane_window *window)
{
    window->hold = 0;
    window->retry_ms = 0;
    window->retry_at_ms = 0;
    window->proven = true;
}

// A hold begins with the first message that was not taken; further ones that flew beside it change
// nothing, the answer to the lane's next question doubles the back-off.
static void hold(struct lane_window *window, int reason, bool led, int64_t now_ms)
{
    if (window->hold != 0 && !led)
        return;
    bool again = window->hold != 0;
    window->retry_ms = again ? window->retry_ms * 2 : LANE_RETRY_FIRST_MS;
    if (window->retry_ms > LANE_RETRY_LAST_MS)
        window->retry_ms = LANE_RETRY_LAST_MS;
    window->retry_at_ms = now_ms + window->retry_ms;
    window->hold = reason;
}

// A refused gap message cannot become a gap: it waits like the others.
static bool is_refusal(const struct slot_sent *slot, int reason)
{
    return (reason == PUBACK_TOPIC_INVALID || reason == PUBACK_PAYLOAD_INVALID) &&
           slot->entry.kind != MESSAGE_GAP;
}

void lane_answer(struct lane_window *window, int slot, int reason, bool accept, int64_t now_ms)
{
    struct slot_sent *sent = &window->slots[slot];
    if (sent->state != SLOT_FLIES)
        return; // answered twice
    bool led = leads(window, slot);
    window->flying--;
    if (reason == PUBACK_TAKEN || (reason == PUBACK_NO_SUBSCRIBER && accept)) {
        sent->state = SLOT_DONE;
        if (led)
            release(window);
    } else if (is_refusal(sent, reason)) {
        sent->state = SLOT_REFUSED;
        sent->refusal = "refused";
        if (led)
            release(window);
    } else {
        sent->state = SLOT_WAITS;
        window->waiting++;
        hold(window, reason, led, now_ms);
    }
}

void lane_refuse(struct lane_window *window, int slot, const char *refusal)
{
    assert(window->slots[slot].state == SLOT_WAITS);
    window->slots[slot].state = SLOT_REFUSED;
    window->waiting--;
    window->slots[slot].refusal = refusal;
}

bool lane_advance(struct lane_window *window)
{
    int64_t before = window->acknowledged;
    while (window->count > 0 && window->slots[window->head].state == SLOT_DONE) {
        window->acknowledged = window->slots[window->head].entry.seq;
        window->head = place(window, 1);
        window->count--;
    }
    return window->acknowledged != before;
}

bool lane_gap(const struct lane_window *window, struct stored_gap *gap)
{
    const struct slot_sent *first = &window->slots[window->head];
    if (window->count == 0 || first->state != SLOT_REFUSED)
        return false;
    *gap = (struct stored_gap){.lane = window->lane,
                               .first = first->entry.seq,
                               .from_ms = first->from_ms,
                               .to_ms = first->to_ms};
    (void)snprintf(gap->reason, sizeof gap->reason, "%s", first->refusal);
    for (int i = 0; i < window->count; i++) {
        const struct slot_sent *slot = &window->slots[place(window, i)];
        if (slot->state != SLOT_REFUSED || strcmp(slot->refusal, first->refusal) != 0)
            break;
        gap->last = slot->entry.seq;
        gap->from_ms = slot->from_ms < gap->from_ms ? slot->from_ms : gap->from_ms;
        gap->to_ms = slot->to_ms > gap->to_ms ? slot->to_ms : gap->to_ms;
    }
    return true;
}

void lane_gap_done(struct lane_window *window, const struct stored_gap *gap)
{
    for (int i = 0; i < window->count; i++) {
        struct slot_sent *slot = &window->slots[place(window, i)];
        if (slot->entry.seq <= gap->last && slot->state == SLOT_REFUSED)
            slot->state = SLOT_DONE;
    }
}

int64_t lane_oldest_ms(const struct lane_window *window)
{
    int64_t oldest = INT64_MAX;
    for (int i = 0; i < window->count && window->flying > 0; i++) {
        const struct slot_sent *slot = &window->slots[place(window, i)];
        if (slot->state == SLOT_FLIES && slot->sent_ms < oldest)
            oldest = slot->sent_ms;
    }
    return oldest;
}

int64_t lane_deadline_ms(const struct lane_window *window)
{
    return window->hold != 0 && window->flying == 0 ? window->retry_at_ms : INT64_MAX;
}
