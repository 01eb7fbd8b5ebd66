#include "office/resend.h"

#include "base/log.h"
#include "office/inside.h"

#include <stdio.h>
#include <string.h>

#define TURN_MAX 20 // messages before what is more urgent is looked at again

void resend_begin(struct office *office)
{
    if (office->resend.active)
        lane_restart(&office->resend.window);
}

// --- requests ---

static void start(struct office *office, const struct stored_resend *job)
{
    struct resend *resend = &office->resend;
    *resend = (struct resend){.active = true, .job = *job};
    resend->save_ms = office_now(office) + RESEND_SAVE_MS;
    lane_init(&resend->window, job->lane, job->next - 1);
    log_info("office", "sends %lld to %lld of lane %s again (request %lld)", (long long)job->next,
             (long long)job->last, lane_text(job->lane), (long long)job->id);
}

void resend_tick(struct office *office)
{
    struct resend *resend = &office->resend;
    struct stored_resend job;
    struct err err;
    int found = resend->active ? store_resend_get(office->store, resend->job.id, &job, &err)
                               : store_resend_open(office->store, &job, &err);
    if (found < 0)
        log_warn("office", "requests to send again cannot be read: %s", err.text);
    if (found == 1 && !resend->active)
        start(office, &job);
    else if (found >= 0 && resend->active && (found == 0 || job.state != RESEND_OPEN))
        resend->dropped = true;
}

static int write_progress(struct store *store, void *argument, struct err *err)
{
    return store_resend_move(store, argument, err);
}

// False when the store takes nothing now.
static bool save(struct office *office)
{
    struct err err;
    office->resend.save_ms = office_now(office) + RESEND_SAVE_MS;
    if (recorder_run(office->settings.recorder, write_progress, &office->resend.job, &err) == 0)
        return true;
    log_warn("office", "the progress of sending again cannot be stored: %s", err.text);
    return false;
}

// --- what is gone ---

struct gone {
    struct stored_gap gaps[LANE_AHEAD_MAX + 1];
    int count;
    int64_t named;
};

static int name_gone(struct store *store, void *argument, struct err *err)
{
    struct gone *gone = argument;
    gone->named = 0;
    for (int i = 0; i < gone->count; i++)
        if (store_gap_expired(store, &gone->gaps[i], &gone->named, err) != 0)
            return -1;
    return 0;
}

static bool name_all(struct office *office, struct gone *gone)
{
    struct err err;
    if (gone->count == 0)
        return true;
    if (recorder_run(office->settings.recorder, name_gone, gone, &err) != 0) {
        log_error("office", "messages that are gone cannot be named: %s", err.text);
        office->store_retry_ms = office_now(office) + STORE_RETRY_MS;
        return false;
    }
    office->resend.job.expired += gone->named;
    return true;
}

// Of when a stored message tells; false when it cannot be read.
static bool times_of(struct office *office, const struct outbox_entry *entry, int64_t *from_ms,
                     int64_t *to_ms)
{
    struct err err;
    if (outbox_render(office->store, &office->origin, office->base, entry, &office->message,
                      &err) != 1)
        return false;
    *from_ms = office->message.from_ms;
    *to_ms = office->message.to_ms;
    return true;
}

// [first, last] is not stored: it tells of something between its neighbours.
static void add_gone(struct office *office, struct gone *gone, int64_t first, int64_t last,
                     int64_t until_ms)
{
    int64_t now = clock_wall_ms(office->settings.clock);
    int64_t from_ms = office->resend.told_ms;
    int64_t to_ms = until_ms != 0 ? until_ms : now;
    struct stored_gap *gap = &gone->gaps[gone->count++];
    *gap = (struct stored_gap){.lane = office->resend.job.lane,
                               .first = first,
                               .last = last,
                               .from_ms = from_ms < to_ms ? from_ms : to_ms,
                               .to_ms = to_ms,
                               .at_ms = now};
    (void)snprintf(gap->reason, sizeof gap->reason, "expired");
}

// The holes before, between and behind the entries of a page. `behind`: the first seq after it.
static void find_gone(struct office *office, const struct outbox_entry *entries, int count,
                      int64_t behind, struct gone *gone)
{
    int64_t expected = office->resend.window.handed + 1;
    for (int i = 0; i < count; i++) {
        int64_t from_ms = 0;
        int64_t to_ms = 0;
        bool hole = entries[i].seq > expected;
        bool beside = hole || (i + 1 < count ? entries[i + 1].seq : behind) > entries[i].seq + 1;
        if (beside)
            (void)times_of(office, &entries[i], &from_ms, &to_ms);
        if (hole)
            add_gone(office, gone, expected, entries[i].seq - 1, from_ms);
        office->resend.told_ms = to_ms != 0 ? to_ms : office->resend.told_ms;
        expected = entries[i].seq + 1;
    }
    if (expected < behind)
        add_gone(office, gone, expected, behind - 1, 0);
}

// --- handing out ---

// Reads the next pointers; what is missing between them is named first. False when there are none.
static bool refill(struct office *office)
{
    struct resend *resend = &office->resend;
    struct lane_window *window = &resend->window;
    struct gone gone = {.count = 0};
    struct err err;
    if (resend->read || !lane_hungry(window))
        return false;
    int count = store_outbox_range(office->store, window->lane, window->handed + 1,
                                   resend->job.last, window->ahead, LANE_AHEAD_MAX, &err);
    if (count < 0) {
        log_error("office", "the outbox cannot be read: %s", err.text);
        office->store_retry_ms = office_now(office) + STORE_RETRY_MS;
        return false;
    }
    bool last = count < LANE_AHEAD_MAX;
    int64_t behind = last ? resend->job.last + 1 : window->ahead[count - 1].seq + 1;
    find_gone(office, window->ahead, count, behind, &gone);
    window->ahead_at = window->ahead_count = 0;
    if (!name_all(office, &gone))
        return false; // asked again
    window->ahead_count = count;
    resend->read = last;
    return count > 0;
}

// Whether the message tells of the time that was asked for.
static bool is_wanted(const struct stored_resend *job, const struct outbox_message *message)
{
    bool ends_after = message->to_ms > job->from_ms ||
                      (message->to_ms == job->from_ms && message->from_ms == message->to_ms);
    return job->to_ms == 0 || (message->from_ms < job->to_ms && ends_after);
}

// Renders and publishes one slot. False when not now.
static bool hand_out(struct office *office, int slot)
{
    struct lane_window *window = &office->resend.window;
    const struct outbox_entry *entry = &window->slots[slot].entry;
    int found = drain_render(office, entry);
    if (found < 0)
        return false;
    if (found == 0) {
        log_warn("office", "message %lld of lane %s is damaged: 'metergate verify' names it",
                 (long long)entry->seq, lane_text(window->lane));
    }
    if (found == 0 || drain_is_too_large(office) ||
        !is_wanted(&office->resend.job, &office->message)) {
        lane_refuse(window, slot, "skipped");
        return true;
    }
    return drain_publish(office, window, slot, true);
}

bool resend_step(struct office *office)
{
    struct resend *resend = &office->resend;
    int handed = 0;
    while (resend->active && !resend->dropped && handed < TURN_MAX &&
           office_now(office) >= office->store_retry_ms && drain_has_room(office)) {
        int slot = lane_next(&resend->window, office_now(office));
        if (slot < 0 && refill(office))
            slot = lane_next(&resend->window, office_now(office));
        if (slot < 0 || !hand_out(office, slot))
            break;
        handed++;
    }
    return handed == TURN_MAX;
}

// --- what came back ---

void resend_answer(struct office *office, int slot, int reason)
{
    struct resend *resend = &office->resend;
    int64_t now = office_now(office);
    if (!resend->active || resend->window.slots[slot].state != SLOT_FLIES)
        return;
    drain_pace(office, now - resend->window.slots[slot].sent_ms, now);
    lane_answer(&resend->window, slot, reason, office->config->office.accept_unsubscribed, now);
    if (resend->window.slots[slot].state == SLOT_DONE)
        resend->job.sent++;
}

// What was set aside at the head of the window is done with.
static void pass_skipped(struct lane_window *window)
{
    struct stored_gap skipped;
    (void)lane_advance(window);
    while (lane_gap(window, &skipped)) {
        lane_gap_done(window, &skipped);
        (void)lane_advance(window);
    }
}

void resend_settle(struct office *office)
{
    struct resend *resend = &office->resend;
    struct lane_window *window = &resend->window;
    if (!resend->active || office_now(office) < office->store_retry_ms)
        return;
    pass_skipped(window);
    bool all = resend->read && window->count == 0 && window->ahead_at == window->ahead_count;
    bool ends = all || (resend->dropped && window->flying == 0);
    resend->job.next = all ? resend->job.last + 1 : window->acknowledged + 1;
    resend->job.state = all ? RESEND_DONE : RESEND_OPEN;
    if (!ends && office_now(office) < resend->save_ms)
        return;
    bool saved = save(office);
    if (ends && saved) {
        log_info("office", "request %lld ends: %lld messages sent again, %lld are gone",
                 (long long)resend->job.id, (long long)resend->job.sent,
                 (long long)resend->job.expired);
        resend->active = false;
        resend_tick(office);
    } else if (ends) {
        office->store_retry_ms = office_now(office) + STORE_RETRY_MS;
    }
}
