#include "scan_bus.h"

#include <assert.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define SECOND_NS INT64_C(1000000000)
#define MS_NS INT64_C(1000000)
#define QUIET_NS (20 * MS_NS) // bytes have ended
#define BITS 11
#define START_NS (3600 * SECOND_NS)

static int64_t boot_ns(void *context)
{
    return ((struct scan_bus *)context)->now_ns;
}

static int64_t wall_ms(void *context)
{
    struct scan_bus *bus = context;
    return bus->site->start_ms + (bus->now_ns - START_NS) / MS_NS;
}

void scan_bus_start(struct scan_bus *bus, const char *site_yaml)
{
    char path[] = "/tmp/scan-bus-XXXXXX.yaml";
    int fd = mkstemps(path, 5);
    assert(fd >= 0 && write(fd, site_yaml, strlen(site_yaml)) == (ssize_t)strlen(site_yaml));
    (void)close(fd);
    struct faults *faults = calloc(1, sizeof *faults);
    assert(faults != NULL);
    const struct site_options options = {.wall_ms = INT64_C(1795442400000)};
    *bus = (struct scan_bus){.now_ns = START_NS, .last_byte_ns = START_NS};
    if (site_load(path, &options, &bus->site, faults) != 0) {
        faults_print(faults, stderr);
        abort();
    }
    (void)unlink(path);
    free(faults);
    bus->link = &bus->site->links[0];
    bus->clock = (struct clock){boot_ns, wall_ms, bus};
}

void scan_bus_stop(struct scan_bus *bus)
{
    site_free(bus->site);
}

struct sim_time scan_bus_time(const struct scan_bus *bus)
{
    int64_t since_ms = (bus->now_ns - START_NS) / MS_NS;
    return (struct sim_time){.since_start_ms = since_ms, .wall_ms = bus->site->start_ms + since_ms};
}

// ---- the meters ---------------------------------------------------------------------------------

static int64_t char_ns(const struct scan_bus *bus)
{
    return BITS * SECOND_NS / bus->setting.baud;
}

static bool is_heard_by_meters(const struct scan_bus *bus)
{
    return bus->setting.baud == bus->link->baud && bus->setting.parity == bus->link->parity &&
           bus->setting.stop == bus->link->stop;
}

// A request whose last byte leaves now.
static void meters_hear(struct scan_bus *bus, const uint8_t *frame, size_t length)
{
    struct ask ask;
    struct answer answer;
    int meter = bus->link->meter_of_unit[frame[0]];
    if (meter < 0 || !is_heard_by_meters(bus) ||
        ask_take(LINK_RTU, frame, length, true, &ask) != ASK_FRAME ||
        bus->pending_count == SCAN_BUS_PENDING)
        return;
    struct sim_time now = scan_bus_time(bus);
    answer_make(&bus->site->meters[meter], &ask, &now, &answer);
    if (answer.none)
        return;
    struct scan_bus_reply *reply = &bus->pending[bus->pending_count++];
    reply->begin_ns = bus->now_ns + 7 * char_ns(bus) / 2 + answer.delay_ms * MS_NS;
    reply->end_ns = reply->begin_ns + (int64_t)answer.length * char_ns(bus);
    reply->length = answer.length;
    memcpy(reply->bytes, answer.bytes, answer.length);
}

static void drop_pending(struct scan_bus *bus, int index)
{
    bus->pending_count--;
    memmove(&bus->pending[index], &bus->pending[index + 1],
            (size_t)(bus->pending_count - index) * sizeof bus->pending[0]);
}

// What is said over a reply spoils both. True where our request was spoilt.
static bool collide(struct scan_bus *bus, int64_t from_ns, int64_t to_ns)
{
    bool spoilt = false;
    for (int i = 0; i < bus->pending_count; i++) {
        struct scan_bus_reply *reply = &bus->pending[i];
        if (reply->end_ns <= from_ns || reply->begin_ns >= to_ns)
            continue;
        for (size_t at = 0; at < reply->length; at += 2)
            reply->bytes[at] ^= 0x5A;
        spoilt = true;
        bus->collisions++;
    }
    return spoilt;
}

static void send(struct scan_bus *bus, const struct request *request, struct scan_ear *ear)
{
    uint8_t frame[FRAME_RTU_MAX];
    size_t length = frame_rtu_request(request, frame);
    int64_t from_ns = bus->last_byte_ns + 7 * char_ns(bus) / 2;
    from_ns = from_ns > bus->now_ns ? from_ns : bus->now_ns;
    int64_t to_ns = from_ns + (int64_t)length * char_ns(bus);
    bool spoilt = collide(bus, from_ns, to_ns);
    bus->now_ns = to_ns;
    bus->last_byte_ns = to_ns;
    bus->requests++;
    if (bus->echo && ear != NULL)
        scan_ear_add(ear, frame, length);
    if (!spoilt)
        meters_hear(bus, frame, length);
}

// The reply that is on the wire first and begins before `until_ns`, -1 without.
static int first_reply(const struct scan_bus *bus, int64_t until_ns)
{
    int first = -1;
    for (int i = 0; i < bus->pending_count; i++)
        if (bus->pending[i].begin_ns < until_ns &&
            (first < 0 || bus->pending[i].begin_ns < bus->pending[first].begin_ns))
            first = i;
    return first;
}

static void pass_reply(struct scan_bus *bus, const struct scan_bus_reply *reply)
{
    bus->now_ns = reply->end_ns > bus->now_ns ? reply->end_ns : bus->now_ns;
    bus->last_byte_ns = bus->now_ns;
}

// ---- the wire -----------------------------------------------------------------------------------

static int bus_open(void *context, const struct scan_setting *setting, int timeout_ms, bool echo,
                    struct err *err)
{
    (void)echo; // transactions here have none
    struct scan_bus *bus = context;
    if (setting->baud == bus->refused_baud)
        return err_set(err, "this adapter does not know %d baud", setting->baud);
    bus->setting = *setting;
    bus->timeout_ms = timeout_ms;
    bus->opens++;
    bus->now_ns += 50 * MS_NS;
    late_init(&bus->late, timeout_ms);
    return 0;
}

static int bus_call(void *context, const struct request *request, int listen_ms,
                    struct scan_ear *ear, int *answer_ms)
{
    struct scan_bus *bus = context;
    if (request != NULL)
        send(bus, request, ear);
    int64_t from_ns = bus->now_ns;
    int64_t until_ns = from_ns + listen_ms * MS_NS;
    *answer_ms = -1;
    for (int i = first_reply(bus, until_ns); i >= 0; i = first_reply(bus, until_ns)) {
        if (*answer_ms < 0)
            *answer_ms = (int)((bus->pending[i].begin_ns - from_ns) / MS_NS);
        pass_reply(bus, &bus->pending[i]);
        scan_ear_add(ear, bus->pending[i].bytes, bus->pending[i].length);
        drop_pending(bus, i);
        until_ns = bus->now_ns + QUIET_NS;
    }
    bus->now_ns = until_ns > bus->now_ns ? until_ns : bus->now_ns;
    return 0;
}

static bool bus_may_ask(void *context, const struct request *request)
{
    struct scan_bus *bus = context;
    return !late_blocks(&bus->late, request, bus->now_ns);
}

static bool fits(const struct request *request, const struct scan_bus_reply *reply)
{
    bool exception = reply->length == 5 && reply->bytes[1] == (request->function | 0x80);
    return reply->bytes[0] == request->unit &&
           (exception || reply->length == frame_rtu_reply_size(request));
}

static void bus_transact(void *context, const struct request *request, struct reply *reply)
{
    struct scan_bus *bus = context;
    *reply = (struct reply){.why = WHY_TIMEOUT};
    send(bus, request, NULL);
    int64_t sent_ns = bus->now_ns;
    int64_t until_ns = sent_ns + bus->timeout_ms * MS_NS;
    for (int i = first_reply(bus, until_ns); i >= 0; i = first_reply(bus, until_ns)) {
        struct scan_bus_reply came = bus->pending[i];
        drop_pending(bus, i);
        pass_reply(bus, &came);
        if (!fits(request, &came))
            continue;
        frame_rtu_judge(request, came.bytes, came.length, reply);
        reply->elapsed_us = (bus->now_ns - sent_ns) / 1000;
        return;
    }
    bus->now_ns = until_ns > bus->now_ns ? until_ns : bus->now_ns;
    late_add(&bus->late, request, bus->now_ns);
}

struct scan_wire scan_bus_wire(struct scan_bus *bus)
{
    return (struct scan_wire){bus_open, bus_call, bus_may_ask, bus_transact, bus};
}
