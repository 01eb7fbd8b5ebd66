// What paho's threads report, for the office thread: a bounded ring and an eventfd. Callbacks of
// paho do nothing but ring_push.
#ifndef METERGATE_OFFICE_RING_H
#define METERGATE_OFFICE_RING_H

#include "base/err.h"

#include <pthread.h>
#include <stdbool.h>
#include <stdint.h>

#define RING_MAX 1024 // events; a further one is dropped and `overflow` says so
#define RING_TEXT_MAX 120

enum ring_kind {
    RING_CONNECTED,  // reason: of CONNACK; the figures below
    RING_REFUSED,    // connecting failed; reason of the broker, or 0 and text of the library
    RING_LOST,       // the connection ended; reason of the broker's DISCONNECT, or 0
    RING_ANSWER,     // PUBACK for (lane, slot)
    RING_UNSENT,     // (lane, slot) never went out
    RING_SUBSCRIBED, // SUBACK, also one that refuses: reason
    RING_ENDED       // our own disconnect is done
};
struct ring_event {
    enum ring_kind kind;
    uint32_t generation; // of the client handle that it came from
    int lane, slot;
    int reason;
    int receive_maximum, maximum_qos;
    int64_t packet_maximum; // bytes, 0: no limit
    bool retain;
    char text[RING_TEXT_MAX];
};

struct ring {
    pthread_mutex_t mutex;
    int fd; // eventfd, readable while something waits
    int head, count;
    int gather; // answers that wake the office thread
    bool overflow, woken, stop;
    struct ring_event events[RING_MAX];
};

int ring_init(struct ring *ring, struct err *err);
void ring_release(struct ring *ring);
void ring_push(struct ring *ring, const struct ring_event *event); // from any thread
void ring_wake(struct ring *ring, bool stop);                      // from any thread

// What came besides events since the last call.
struct ring_signals {
    bool overflow, woken, stop;
};
struct ring_signals ring_signals(struct ring *ring);
bool ring_pop(struct ring *ring, struct ring_event *event);
// Waits, at most so long, for `gather` answers, for any other event, or for a wake. With many
// messages in flight one answer is not worth a switch between threads.
void ring_wait(struct ring *ring, int timeout_ms, int gather);

#endif
