// One lane of the outbox on its way to the broker: what was handed out, what came back, what goes
// next. Pure: times and answers in, decisions out.
//
// First appearances go in order of seq. What is answered out of order stays in the window until all
// before it is answered too: only then the cursor moves. A lane that is held (no subscriber, not
// authorised, quota) asks with one message at a time until one is taken.
#ifndef METERGATE_OFFICE_LANE_H
#define METERGATE_OFFICE_LANE_H

#include "office/office.h"

#define LANE_AHEAD_MAX 100       // pointers read from the outbox at once
#define LANE_RETRY_FIRST_MS 1000 // of a held lane; doubles up to
#define LANE_RETRY_LAST_MS 30000 // (contract, section 4)

// Reason codes of a PUBACK that this program tells apart (MQTT 5, 3.4.2.1).
enum {
    PUBACK_TAKEN = 0x00,
    PUBACK_NO_SUBSCRIBER = 0x10,
    PUBACK_TOPIC_INVALID = 0x90,
    PUBACK_PAYLOAD_INVALID = 0x99
};

enum slot_state {
    SLOT_WAITS,  // to be handed out (again)
    SLOT_FLIES,  // handed out, no answer yet
    SLOT_DONE,   // acknowledged, but something before it is not
    SLOT_REFUSED // never to be sent again: a gap
};
struct slot_sent {
    struct outbox_entry entry;
    enum slot_state state;
    const char *refusal;    // reason of the gap: "refused", "too-large", "row-missing"
    int64_t sent_ms;        // boot clock of the last handing out
    int64_t from_ms, to_ms; // wall clock: what it tells of, for a gap
};

struct lane_window {
    enum lane lane;
    int64_t acknowledged; // all up to here, in order
    int64_t handed;       // highest seq that ever entered the window
    int head, count;      // ring in `slots`, in order of seq
    int waiting, flying;
    bool proven;         // a message was taken since the connection began
    int hold;            // reason code that holds the lane, 0: none
    int retry_ms;        // back-off of the hold
    int64_t retry_at_ms; // boot clock: when a held lane asks again
    struct slot_sent slots[OFFICE_WINDOW_MAX];
    int ahead_at, ahead_count;
    struct outbox_entry ahead[LANE_AHEAD_MAX];
};

// An empty window behind `acknowledged`.
void lane_init(struct lane_window *window, enum lane lane, int64_t acknowledged);
// The connection began anew: whatever has no answer waits to be handed out again.
void lane_restart(struct lane_window *window);

// Index of the slot to hand out now, -1 when there is none; a new pointer of `ahead` enters the
// window when nothing older waits. -1 as well when `ahead` is empty: lane_hungry says so.
int lane_next(struct lane_window *window, int64_t now_ms);
// There is room for new pointers, and none is left in `ahead`.
bool lane_hungry(const struct lane_window *window);
// The slot was handed out.
void lane_sent(struct lane_window *window, int slot, int64_t now_ms);

// The broker answered. `accept`: 0x10 counts as acknowledged.
void lane_answer(struct lane_window *window, int slot, int reason, bool accept, int64_t now_ms);
// It cannot be sent at all.
void lane_refuse(struct lane_window *window, int slot, const char *refusal);

// Moves the cursor over everything that is done; true when it moved.
bool lane_advance(struct lane_window *window);
// The refused messages at the head of the window, as one gap. False when there are none.
bool lane_gap(const struct lane_window *window, struct stored_gap *gap);
// Their gap is durable.
void lane_gap_done(struct lane_window *window, const struct stored_gap *gap);

// Boot time of the oldest handing out without an answer, INT64_MAX when none flies.
int64_t lane_oldest_ms(const struct lane_window *window);
// When a held lane wants to be asked again, INT64_MAX when it is not held.
int64_t lane_deadline_ms(const struct lane_window *window);

#endif
