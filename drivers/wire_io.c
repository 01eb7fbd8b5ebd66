#include "drivers/wire_inside.h"

#include <errno.h>
#include <poll.h>
#include <sched.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

static int64_t earlier(int64_t a, int64_t b)
{
    return a < b ? a : b;
}

static struct timespec timespec_of(int64_t ns)
{
    return (struct timespec){.tv_sec = ns / 1000000000, .tv_nsec = ns % 1000000000};
}

int wire_wait(struct wire *wire, int64_t until_ns)
{
    for (;;) {
        int64_t left = until_ns - clock_boot_ns(wire->clock);
        if (left <= 0)
            return 0;
        if (atomic_load(&wire->interrupted))
            return -1;
        struct timespec slice = timespec_of(earlier(left, WIRE_SLICE_NS));
        struct pollfd poll_fd = {.fd = wire->fd, .events = POLLIN};
        int ready = ppoll(&poll_fd, 1, &slice, NULL);
        if (ready > 0) {
            // A serial device that was pulled out says that it has bytes, and then gives none. From
            // a socket what came before the end is still read.
            bool pulled =
                wire->settings.url.kind == LINK_RTU && (poll_fd.revents & (POLLHUP | POLLERR)) != 0;
            if (pulled || (poll_fd.revents & POLLIN) == 0)
                return -1;
            if (!wire->settings.url.listen)
                return 1;
            wire_skip_heartbeats(wire);
            if (poll(&poll_fd, 1, 0) > 0) // what is left is a reply, or the end
                return (poll_fd.revents & POLLIN) != 0 ? 1 : -1;
        }
        if (ready < 0 && errno != EINTR)
            return -1;
    }
}

void wire_sharpen_thread(void)
{
    const struct sched_param priority = {.sched_priority = WIRE_PRIORITY};
    (void)prctl(PR_SET_TIMERSLACK, 1, 0, 0, 0);
    // What this thread starts, it starts as an ordinary one.
    if (sched_getscheduler(0) == SCHED_OTHER)
        (void)sched_setscheduler(0, SCHED_RR | SCHED_RESET_ON_FORK, &priority);
}

void wire_spin(const struct wire *wire, int64_t until_ns)
{
    int64_t left = until_ns - clock_boot_ns(wire->clock);
    while (left > 0 && left <= WIRE_SPIN_NS)
        left = until_ns - clock_boot_ns(wire->clock);
}

int wire_sleep(struct wire *wire, int64_t until_ns)
{
    for (;;) {
        int64_t left = until_ns - clock_boot_ns(wire->clock);
        if (left <= 0)
            return 0;
        if (atomic_load(&wire->interrupted))
            return -1;
        struct timespec slice = timespec_of(earlier(left, WIRE_SLICE_NS));
        (void)clock_nanosleep(CLOCK_MONOTONIC, 0, &slice, NULL);
    }
}

long wire_read(struct wire *wire, uint8_t *bytes, size_t size)
{
    wire_skip_heartbeats(wire);
    ssize_t count = read(wire->fd, bytes, size);
    if (count > 0) {
        wire->last_byte_ns = clock_boot_ns(wire->clock);
        return count;
    }
    if (count < 0)
        return errno == EAGAIN || errno == EINTR ? 0 : -1;
    // A serial device says 0 when nothing is there; a socket when the other side has closed it.
    return wire->settings.url.kind == LINK_RTU ? 0 : -1;
}

int wire_send(struct wire *wire, const uint8_t *bytes, size_t length)
{
    // A request of a few bytes goes whole into an empty buffer: what does not fit means that the
    // ones before it are still there.
    ssize_t count = wire->settings.url.kind == LINK_RTU
                        ? write(wire->fd, bytes, length)
                        : send(wire->fd, bytes, length, MSG_NOSIGNAL);
    if (count != (ssize_t)length)
        return -1;
    wire->last_byte_ns = clock_boot_ns(wire->clock) + (int64_t)length * wire->char_ns;
    wire_show(wire, true, bytes, length);
    return 0;
}

void wire_show(const struct wire *wire, bool sent, const uint8_t *bytes, size_t length)
{
    if (wire->trace.frame != NULL && length > 0)
        wire->trace.frame(wire->trace.context, sent, bytes, length);
}

void reply_fail(struct reply *reply, enum why why, const char *detail)
{
    reply->why = (uint16_t)why;
    size_t length = strnlen(detail, sizeof reply->detail - 1);
    memcpy(reply->detail, detail, length);
    reply->detail[length] = '\0';
}
