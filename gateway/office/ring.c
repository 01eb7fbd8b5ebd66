#include "office/ring.h"

#include <errno.h>
#include <poll.h>
#include <string.h>
#include <sys/eventfd.h>
#include <unistd.h>

int ring_init(struct ring *ring, struct err *err)
{
    int fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    if (fd < 0)
        return err_set(err, "office: no eventfd: %s", strerror(errno));
    *ring = (struct ring){.fd = fd};
    (void)pthread_mutex_init(&ring->mutex, NULL);
    return 0;
}

void ring_release(struct ring *ring)
{
    (void)close(ring->fd);
    (void)pthread_mutex_destroy(&ring->mutex);
}

// A counter that is full is readable all the same.
static void notify(const struct ring *ring)
{
    uint64_t one = 1;
    ssize_t written = write(ring->fd, &one, sizeof one);
    (void)written;
}

void ring_push(struct ring *ring, const struct ring_event *event)
{
    (void)pthread_mutex_lock(&ring->mutex);
    if (ring->count < RING_MAX)
        ring->events[(ring->head + ring->count++) % RING_MAX] = *event;
    else
        ring->overflow = true;
    bool wanted = event->kind != RING_ANSWER || ring->count == ring->gather || ring->overflow;
    (void)pthread_mutex_unlock(&ring->mutex);
    if (wanted)
        notify(ring);
}

void ring_wake(struct ring *ring, bool stop)
{
    (void)pthread_mutex_lock(&ring->mutex);
    bool first = !ring->woken || stop;
    ring->woken = true;
    ring->stop = ring->stop || stop;
    (void)pthread_mutex_unlock(&ring->mutex);
    if (first)
        notify(ring);
}

struct ring_signals ring_signals(struct ring *ring)
{
    (void)pthread_mutex_lock(&ring->mutex);
    struct ring_signals signals = {ring->overflow, ring->woken, ring->stop};
    ring->overflow = false;
    ring->woken = false;
    (void)pthread_mutex_unlock(&ring->mutex);
    return signals;
}

bool ring_pop(struct ring *ring, struct ring_event *event)
{
    (void)pthread_mutex_lock(&ring->mutex);
    bool any = ring->count > 0;
    if (any) {
        *event = ring->events[ring->head];
        ring->head = (ring->head + 1) % RING_MAX;
        ring->count--;
    }
    (void)pthread_mutex_unlock(&ring->mutex);
    return any;
}

void ring_wait(struct ring *ring, int timeout_ms, int gather)
{
    (void)pthread_mutex_lock(&ring->mutex);
    ring->gather = gather;
    bool enough = ring->count >= gather;
    (void)pthread_mutex_unlock(&ring->mutex);
    if (enough)
        timeout_ms = 0;
    struct pollfd waits = {.fd = ring->fd, .events = POLLIN};
    if (poll(&waits, 1, timeout_ms) > 0) {
        uint64_t count;
        ssize_t got = read(ring->fd, &count, sizeof count);
        (void)got; // nonblocking: another reader does not exist
    }
}
