// The outbox on its way out: alerts first, live before backfill, backfill paced by the delay of
// the broker's answers, so that what is urgent never stands behind a full pipe.
#include "office/inside.h"

#include "base/log.h"

#include <stdio.h>
#include <string.h>

#define TURN_MAX 50         // messages of a lane before the others are looked at again
#define BACKFILL_FIRST 20   // in flight, when a connection begins
#define DELAY_GOOD_MS 200   // answers faster than this: one more
#define DELAY_BAD_MS 500    // slower: half
#define SHRINK_EVERY_MS 500 // at most once in
#define PACKET_EXTRA 512    // topic, properties and header of a publish

void drain_begin(struct office *office)
{
    for (enum lane lane = LANE_ALERT; lane < LANES_END; lane++) {
        lane_restart(&office->lanes[lane]);
        office->exhausted[lane] = false;
    }
    resend_begin(office);
    office->backfill_window = BACKFILL_FIRST;
    office->backfill_shrunk_ms = office_now(office);
}

void drain_end(struct office *office)
{
    for (enum lane lane = LANE_ALERT; lane < LANES_END; lane++)
        lane_restart(&office->lanes[lane]);
    resend_begin(office);
    memset(office->direct, 0, sizeof office->direct);
    answers_end(office);
}

void drain_pace(struct office *office, int64_t delay_ms, int64_t now)
{
    if (delay_ms < DELAY_GOOD_MS && office->backfill_window < OFFICE_WINDOW_MAX) {
        office->backfill_window++;
    } else if (delay_ms > DELAY_BAD_MS && now - office->backfill_shrunk_ms >= SHRINK_EVERY_MS) {
        office->backfill_window = office->backfill_window > 1 ? office->backfill_window / 2 : 1;
        office->backfill_shrunk_ms = now;
    }
}

void drain_answer(struct office *office, const struct ring_event *event)
{
    struct lane_window *window = &office->lanes[event->lane];
    int64_t now = office_now(office);
    const struct slot_sent *slot = &window->slots[event->slot];
    if (slot->state != SLOT_FLIES)
        return;
    drain_pace(office, now - slot->sent_ms, now);
    bool accept = office->config->office.accept_unsubscribed;
    office->taken +=
        event->reason == PUBACK_TAKEN || (event->reason == PUBACK_NO_SUBSCRIBER && accept);
    lane_answer(window, event->slot, event->reason, accept, now);
}

// --- gaps ---

static int add_gap(struct store *store, void *argument, struct err *err)
{
    return store_gap_add(store, argument, err);
}

// The messages at the head of a lane that can never be sent become a gap, durable before the
// cursor passes them.
static void settle_gaps(struct office *office, struct lane_window *window)
{
    struct stored_gap gap;
    struct err err;
    while (office_now(office) >= office->store_retry_ms && lane_gap(window, &gap)) {
        gap.at_ms = clock_wall_ms(office->settings.clock);
        if (recorder_run(office->settings.recorder, add_gap, &gap, &err) != 0) {
            log_error("office", "a gap cannot be stored: %s", err.text);
            office->store_retry_ms = office_now(office) + STORE_RETRY_MS;
            return;
        }
        log_warn("office", "messages %lld to %lld of lane %s are set aside: %s",
                 (long long)gap.first, (long long)gap.last, lane_text(gap.lane), gap.reason);
        lane_gap_done(window, &gap);
        (void)lane_advance(window);
    }
}

void drain_settle(struct office *office)
{
    for (enum lane lane = LANE_ALERT; lane < LANES_END; lane++) {
        struct lane_window *window = &office->lanes[lane];
        int64_t before = window->acknowledged;
        (void)lane_advance(window);
        settle_gaps(office, window);
        if (window->acknowledged == before)
            continue;
        recorder_acknowledge(office->settings.recorder, lane, window->acknowledged);
        (void)pthread_mutex_lock(&office->mutex);
        office->status.acknowledged += (uint64_t)(window->acknowledged - before);
        office->status.lanes[lane].acknowledged = window->acknowledged;
        (void)pthread_mutex_unlock(&office->mutex);
    }
}

// --- handing out ---

static int flying(const struct office *office)
{
    int sum = office->resend.window.flying;
    for (enum lane lane = LANE_ALERT; lane < LANES_END; lane++)
        sum += office->lanes[lane].flying;
    return sum;
}

// How many messages may fly in all when one of this lane is added: live and alerts find room when
// backfill has taken all of its own.
static int limit(const struct office *office, enum lane lane)
{
    int window = office->window;
    int least = window < 1 ? window : 1;
    if (lane == LANE_ALERT)
        return window;
    if (lane == LANE_LIVE)
        return window - window / 16 > least ? window - window / 16 : least;
    int most = window - window / 8;
    most = office->backfill_window < most ? office->backfill_window : most;
    return most > least ? most : least;
}

bool drain_has_room(const struct office *office)
{
    return flying(office) < limit(office, LANE_BACKFILL);
}

// Reads the next pointers of a lane; false when there are none.
static bool refill(struct office *office, struct lane_window *window)
{
    struct err err;
    if (office->exhausted[window->lane] || !lane_hungry(window))
        return false;
    int count = store_outbox_next(office->store, window->lane, window->handed, window->ahead,
                                  LANE_AHEAD_MAX, &err);
    if (count < 0) {
        log_error("office", "the outbox cannot be read: %s", err.text);
        office->store_retry_ms = office_now(office) + STORE_RETRY_MS;
        count = 0;
    }
    window->ahead_at = 0;
    window->ahead_count = count;
    office->exhausted[window->lane] = count < LANE_AHEAD_MAX;
    return count > 0;
}

bool drain_is_too_large(const struct office *office)
{
    const struct buf *payload = &office->message.payload;
    return payload->failed || (office->packet_maximum > 0 &&
                               (int64_t)payload->length + PACKET_EXTRA > office->packet_maximum);
}

int drain_render(struct office *office, const struct outbox_entry *entry)
{
    struct err err;
    int found =
        outbox_render(office->store, &office->origin, office->base, entry, &office->message, &err);
    if (found >= 0)
        return found;
    log_error("office", "message %lld of lane %s cannot be read: %s", (long long)entry->seq,
              lane_text(entry->lane), err.text);
    office->store_retry_ms = office_now(office) + STORE_RETRY_MS;
    return -1;
}

bool drain_publish(struct office *office, struct lane_window *window, int slot, bool replay)
{
    const struct outbox_message *message = &office->message;
    const struct session_message out = {.topic = message->topic,
                                        .payload = message->payload.data,
                                        .length = message->payload.length,
                                        .schema = message->schema,
                                        .lane = message->lane,
                                        .replay = replay};
    if (session_publish(&office->session, &out, replay ? SESSION_RESEND : (int)window->lane,
                        slot) != 0) {
        connection_lost(office, "the connection to the broker ended: nothing can be sent");
        return false;
    }
    lane_sent(window, slot, office_now(office));
    return true;
}

// Renders and publishes one slot. True: done, or set aside; false: not now.
static bool hand_out(struct office *office, struct lane_window *window, int slot)
{
    const struct outbox_message *message = &office->message;
    struct slot_sent *sent = &window->slots[slot];
    int found = drain_render(office, &sent->entry);
    if (found < 0)
        return false;
    if (found == 0 || drain_is_too_large(office)) {
        lane_refuse(window, slot, found == 0 ? "row-missing" : "too-large");
        return true;
    }
    sent->from_ms = message->from_ms;
    sent->to_ms = message->to_ms;
    return drain_publish(office, window, slot, false);
}

// Hands out of one lane until its limit, its end or TURN_MAX. True when it stopped at TURN_MAX.
static bool drain_lane(struct office *office, enum lane lane, bool *idle)
{
    struct lane_window *window = &office->lanes[lane];
    uint64_t sent = 0;
    *idle = false;
    store_view_begin(office->store);
    for (int i = 0; i < TURN_MAX && flying(office) < limit(office, lane); i++) {
        int slot = lane_next(window, office_now(office));
        if (slot < 0 && refill(office, window))
            slot = lane_next(window, office_now(office));
        if (slot < 0) {
            *idle = true;
            break;
        }
        if (!hand_out(office, window, slot))
            break;
        sent++;
    }
    store_view_end(office->store);
    (void)pthread_mutex_lock(&office->mutex);
    office->status.published += sent;
    (void)pthread_mutex_unlock(&office->mutex);
    return sent == TURN_MAX;
}

bool drain_step(struct office *office)
{
    bool more = false;
    for (enum lane lane = LANE_ALERT; lane < LANES_END && office->phase == PHASE_UP; lane++) {
        bool idle = false;
        if (office_now(office) < office->store_retry_ms)
            return false;
        more = drain_lane(office, lane, &idle) || more;
        if (!idle)
            return more; // what is more urgent has not gone out yet
    }
    return (office->phase == PHASE_UP && resend_step(office)) || more;
}

int64_t drain_oldest_ms(const struct office *office)
{
    int64_t oldest = answers_oldest_ms(office);
    for (enum lane lane = LANE_ALERT; lane < LANES_END; lane++) {
        int64_t of_lane = lane_oldest_ms(&office->lanes[lane]);
        oldest = of_lane < oldest ? of_lane : oldest;
    }
    int64_t again = lane_oldest_ms(&office->resend.window);
    oldest = again < oldest ? again : oldest;
    for (int i = 0; i < DIRECT_END; i++)
        if (office->direct[i].flies && office->direct[i].sent_ms < oldest)
            oldest = office->direct[i].sent_ms;
    return oldest;
}

#define GATHER_SHARE 4 // of what flies

int drain_gather(const struct office *office)
{
    int few = flying(office) / GATHER_SHARE;
    return few > 1 ? few : 1;
}

int64_t drain_deadline_ms(const struct office *office)
{
    int64_t deadline = lane_deadline_ms(&office->resend.window);
    for (enum lane lane = LANE_ALERT; lane < LANES_END; lane++) {
        int64_t of_lane = lane_deadline_ms(&office->lanes[lane]);
        deadline = of_lane < deadline ? of_lane : deadline;
    }
    return deadline;
}

enum office_state drain_state(const struct office *office, char *error, size_t size)
{
    enum office_state state = OFFICE_ONLINE;
    error[0] = '\0';
    for (enum lane lane = LANE_ALERT; lane < LANES_END; lane++) {
        int hold = office->lanes[lane].hold;
        if (hold == 0 || state == OFFICE_REFUSED)
            continue;
        if (hold == PUBACK_NO_SUBSCRIBER) {
            state = OFFICE_NO_SUBSCRIBER;
            (void)snprintf(
                error, size,
                "nobody at the broker is subscribed to the messages of lane %s under %s/",
                lane_text(lane), office->base);
        } else {
            state = OFFICE_REFUSED;
            char text[REASON_TEXT_MAX];
            (void)snprintf(error, size, "the broker does not take the messages of lane %s: %s",
                           lane_text(lane), reason_text(hold, text));
        }
    }
    return state;
}
