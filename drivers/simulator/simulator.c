#include "drivers/simulator/simulator.h"

#include "base/clock.h"
#include "drivers/simulator/coded.h"
#include "drivers/simulator/due_heap.h"
#include "drivers/simulator/endpoint.h"
#include "drivers/simulator/order.h"

#include <errno.h>
#include <signal.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/signalfd.h>
#include <sys/socket.h>
#include <sys/timerfd.h>
#include <unistd.h>

#define MS_NS INT64_C(1000000)
#define SECOND_NS INT64_C(1000000000)
#define EVENTS_MAX 64
#define ANNOUNCE_MAX 65536

enum source_kind { SOURCE_SIGNAL, SOURCE_TIMER, SOURCE_ORDERS, SOURCE_PORT, SOURCE_SESSION };

// What an epoll event belongs to: the first member of its owner.
struct source {
    enum source_kind kind;
};

struct port {
    struct source source;
    struct endpoint endpoint;
};

// One client: a TCP connection, or the whole of a pseudo-terminal.
struct session {
    struct source source;
    struct endpoint *endpoint;
    int fd; // -1: closed, freed at the end of the turn
    struct line line;
    struct due due;
    struct session *next, *previous;
};

struct simulator {
    struct site *site;
    struct frame_log *log;
    int epoll_fd, timer_fd, signal_fd;
    struct source timer, signal, orders;
    struct port *ports;
    struct session *sessions;
    struct session *dead; // by `next`
    struct due_heap heap;
    int64_t armed_ns;
    int64_t boot_ns, wall_ns; // of the start
    struct sim_time now;
    int64_t now_ns;
    char order[ORDER_LINE_MAX];
    size_t order_length;
    bool order_too_long;
    struct buf text; // of a line to stdout
    bool stop;
};

// ---- time and output ----------------------------------------------------------------------------

static void read_time(struct simulator *simulator)
{
    simulator->now_ns = clock_boot_ns(&clock_system);
    int64_t since_ms = (simulator->now_ns - simulator->boot_ns) / MS_NS;
    simulator->now.since_start_ms = since_ms;
    simulator->now.wall_ms = simulator->site->start_ms + since_ms;
    simulator->now.tick = (uint32_t)(since_ms / CODED_TICK_MS);
}

static void print_line(struct simulator *simulator)
{
    (void)fwrite(simulator->text.data, 1, simulator->text.length, stdout);
    (void)fputc('\n', stdout);
    (void)fflush(stdout);
    buf_clear(&simulator->text);
}

static void log_frame(struct simulator *simulator, const struct session *session, const char *dir,
                      int meter, int unit, int64_t at_ns, const uint8_t *bytes, size_t length,
                      const char *fault)
{
    const struct frame_record record = {
        .wall_ns = simulator->wall_ns + (at_ns - simulator->boot_ns),
        .tick = simulator->now.tick,
        .link = session->endpoint->link->id,
        .unit = unit,
        .meter = meter >= 0 ? simulator->site->meters[meter].id : NULL,
        .dir = dir,
        .bytes = bytes,
        .length = length,
        .fault = fault,
    };
    frame_log_add(simulator->log, &record);
}

// ---- sessions -----------------------------------------------------------------------------------

static int watch(struct simulator *simulator, int fd, struct source *source)
{
    struct epoll_event event = {.events = EPOLLIN, .data.ptr = source};
    return epoll_ctl(simulator->epoll_fd, EPOLL_CTL_ADD, fd, &event);
}

static void close_session(struct simulator *simulator, struct session *session)
{
    if (session->fd < 0)
        return;
    (void)due_heap_set(&simulator->heap, &session->due, DUE_NEVER);
    line_release(&session->line);
    if (session->endpoint->link->kind != LINK_RTU) {
        close(session->fd); // epoll forgets it with that
        session->endpoint->connections--;
    }
    session->fd = -1;
    *(session->previous != NULL ? &session->previous->next : &simulator->sessions) = session->next;
    if (session->next != NULL)
        session->next->previous = session->previous;
    session->next = simulator->dead;
    simulator->dead = session;
}

static void free_dead(struct simulator *simulator)
{
    while (simulator->dead != NULL) {
        struct session *session = simulator->dead;
        simulator->dead = session->next;
        free(session);
    }
}

static int open_session(struct simulator *simulator, struct endpoint *endpoint, int fd)
{
    struct session *session = calloc(1, sizeof *session);
    if (session == NULL)
        return -1;
    session->source.kind = SOURCE_SESSION;
    session->endpoint = endpoint;
    session->fd = fd;
    session->due.index = -1;
    line_init(&session->line, endpoint->link->kind, &endpoint->speed);
    if (watch(simulator, fd, &session->source) != 0) {
        free(session);
        return -1;
    }
    session->next = simulator->sessions;
    if (session->next != NULL)
        session->next->previous = session;
    simulator->sessions = session;
    return 0;
}

// How many of the bytes went; what a full pseudo-terminal does not take is lost, as on a wire. -1
// when the client is gone or does not read.
static int send_bytes(const struct session *session, const uint8_t *bytes, size_t length)
{
    if (session->endpoint->link->kind == LINK_RTU) {
        ssize_t written = write(session->fd, bytes, length);
        return written < 0 && errno != EAGAIN ? -1 : (int)length;
    }
    ssize_t sent = send(session->fd, bytes, length, MSG_NOSIGNAL | MSG_DONTWAIT);
    return sent == (ssize_t)length ? (int)length : -1;
}

// A frame is in the log before its last byte leaves: whoever has a reply finds it there.
static void log_reply(struct simulator *simulator, const struct session *session,
                      const struct waiting *waiting)
{
    int meter = waiting->meter;
    log_frame(simulator, session, "out", meter,
              meter >= 0 ? simulator->site->meters[meter].unit : -1, simulator->now_ns,
              waiting->answer.bytes, waiting->answer.length, waiting->answer.fault);
    frame_log_flush(simulator->log);
}

// Lets leave what is due, and notes when to come again.
static void serve_session(struct simulator *simulator, struct session *session)
{
    struct waiting *waiting = NULL;
    size_t length = 0;
    while ((waiting = line_ready(&session->line, simulator->now_ns, &length)) != NULL) {
        const uint8_t *bytes = waiting->answer.bytes + waiting->sent;
        bool complete = line_sent(waiting, length);
        if (complete)
            log_reply(simulator, session, waiting);
        if (send_bytes(session, bytes, length) < 0) {
            close_session(simulator, session);
            return;
        }
        if (complete)
            line_drop(&session->line, waiting);
    }
    int64_t due_ns = line_due_ns(&session->line, simulator->now_ns);
    if (due_heap_set(&simulator->heap, &session->due, due_ns) != 0)
        close_session(simulator, session);
}

// ---- requests -----------------------------------------------------------------------------------

static void take_request(struct simulator *simulator, struct session *session,
                         const struct ask *ask)
{
    struct answer answer;
    int meter = session->endpoint->link->meter_of_unit[ask->unit];
    log_frame(simulator, session, "in", meter, ask->unit, session->line.in_first_ns, ask->frame,
              ask->length, "");
    if (meter >= 0)
        answer_make(&simulator->site->meters[meter], ask, &simulator->now, &answer);
    else
        answer_absent(ask, &answer);
    int unit = ask->unit;
    line_used(&session->line, ask, simulator->now_ns);
    bool dropped = false;
    if (!answer.none)
        dropped = line_reply(&session->line, &answer, meter, simulator->now_ns) != 0;
    if (answer.none || dropped) {
        log_frame(simulator, session, "none", meter, unit, simulator->now_ns, NULL, 0,
                  dropped ? "too-many-waiting" : answer.fault);
    }
    if (answer.disconnect)
        close_session(simulator, session);
}

static void take_requests(struct simulator *simulator, struct session *session)
{
    struct ask ask;
    while (session->fd >= 0) {
        enum ask_found found = line_ask(&session->line, simulator->now_ns, &ask);
        if (found == ASK_MORE)
            break;
        if (found == ASK_FRAME) {
            take_request(simulator, session, &ask);
            continue;
        }
        log_frame(simulator, session, "in", -1, -1, session->line.in_first_ns, session->line.in,
                  ask.length, "");
        line_used(&session->line, &ask, simulator->now_ns);
        if (session->line.kind == LINK_TCP)
            close_session(simulator, session);
    }
    if (session->fd >= 0)
        serve_session(simulator, session);
}

static void read_session(struct simulator *simulator, struct session *session)
{
    size_t size = 0;
    if (session->fd < 0)
        return; // closed earlier in this turn
    uint8_t *space = line_space(&session->line, &size);
    ssize_t length = read(session->fd, space, size);
    if (length > 0 && !endpoint_is_heard(session->endpoint))
        return; // garbage to every meter
    if (length > 0) {
        line_came(&session->line, (size_t)length, simulator->now_ns);
        take_requests(simulator, session);
    } else if (length == 0 || (errno != EAGAIN && errno != EINTR)) {
        if (session->endpoint->link->kind != LINK_RTU)
            close_session(simulator, session);
    }
}

static void accept_session(struct simulator *simulator, struct endpoint *endpoint)
{
    int fd = endpoint_accept(endpoint);
    if (fd < 0)
        return;
    if (endpoint->connections >= SIMULATOR_CONNECTIONS_MAX ||
        open_session(simulator, endpoint, fd) != 0) {
        close(fd);
        return;
    }
    endpoint->connections++;
}

static void serve_due(struct simulator *simulator)
{
    struct due *due = NULL;
    while ((due = due_heap_first(&simulator->heap)) != NULL && due->at_ns <= simulator->now_ns) {
        char *at = (char *)due;
        take_requests(simulator, (struct session *)(void *)(at - offsetof(struct session, due)));
    }
}

// ---- orders -------------------------------------------------------------------------------------

static void run_order(struct simulator *simulator)
{
    simulator->order[simulator->order_length] = '\0';
    if (simulator->order_too_long || strlen(simulator->order) != simulator->order_length) {
        buf_addf(&simulator->text,
                 "{\"ok\":false,\"order\":\"\",\"error\":\"an order is one line of at most %d "
                 "bytes without NUL\"}",
                 ORDER_LINE_MAX - 1);
    } else if (strspn(simulator->order, " \t\r") == simulator->order_length) {
        return;
    } else {
        simulator->stop =
            order_run(simulator->site, &simulator->now, simulator->order, &simulator->text) ||
            simulator->stop;
    }
    print_line(simulator);
}

static void take_order_bytes(struct simulator *simulator, const char *bytes, size_t length)
{
    for (size_t i = 0; i < length && !simulator->stop; i++) {
        if (bytes[i] == '\n') {
            run_order(simulator);
            simulator->order_length = 0;
            simulator->order_too_long = false;
        } else if (simulator->order_length < sizeof simulator->order - 1) {
            simulator->order[simulator->order_length++] = bytes[i];
        } else {
            simulator->order_too_long = true;
        }
    }
}

// False at the end of stdin.
static bool read_orders(struct simulator *simulator)
{
    char bytes[4096];
    ssize_t length = read(STDIN_FILENO, bytes, sizeof bytes);
    if (length > 0) {
        take_order_bytes(simulator, bytes, (size_t)length);
        return true;
    }
    return length < 0 && (errno == EINTR || errno == EAGAIN);
}

// A file cannot be watched: what it holds is read at once.
static void watch_orders(struct simulator *simulator)
{
    simulator->orders.kind = SOURCE_ORDERS;
    if (watch(simulator, STDIN_FILENO, &simulator->orders) != 0 && errno == EPERM) {
        while (!simulator->stop && read_orders(simulator)) {
        }
    }
}

// ---- start, loop, end ---------------------------------------------------------------------------

// A configuration must give the same units to the meter.
static void print_units(const struct sim_kind *kind, struct writer *writer)
{
    bool any = false;
    for (int i = 0; i < kind->profile->channel_count; i++) {
        if (kind->units[i][0] == '\0')
            continue;
        if (!any) {
            writer_key(writer, "units");
            writer_object(writer);
            any = true;
        }
        writer_key_text(writer, kind->profile->channels[i].channel->name, kind->units[i]);
    }
    if (any)
        writer_end(writer);
}

static void print_meter(const struct sim_meter *meter, struct writer *writer)
{
    writer_object(writer);
    writer_key_text(writer, "meter", meter->id);
    writer_key_int(writer, "unit", meter->unit);
    writer_key_text(writer, "profile", meter->kind->profile->name);
    print_units(meter->kind, writer);
    if (meter->kind->word_order[0] != '\0')
        writer_key_text(writer, "word_order", meter->kind->word_order);
    writer_end(writer);
}

static void announce(struct simulator *simulator, const struct endpoint *endpoint)
{
    struct writer writer;
    char url[ENDPOINT_URL_MAX];
    const struct sim_link *link = endpoint->link;
    endpoint_url(endpoint, url);
    writer_init(&writer, &simulator->text);
    writer_object(&writer);
    writer_key_text(&writer, "link", link->id);
    writer_key_text(&writer, "url", url);
    if (link->link[0] != '\0')
        writer_key_text(&writer, "path", link->link);
    writer_key(&writer, "meters");
    writer_array(&writer);
    for (int unit = 0; unit < SITE_UNITS; unit++)
        if (link->meter_of_unit[unit] >= 0)
            print_meter(&simulator->site->meters[link->meter_of_unit[unit]], &writer);
    writer_end(&writer);
    writer_end(&writer);
    print_line(simulator);
}

static void announce_ready(struct simulator *simulator)
{
    const struct site *site = simulator->site;
    struct writer writer;
    char started[48];
    int length = snprintf(started, sizeof started, "%lld.%06lld",
                          (long long)(simulator->wall_ns / SECOND_NS),
                          (long long)(simulator->wall_ns % SECOND_NS / 1000));
    writer_init(&writer, &simulator->text);
    writer_object(&writer);
    writer_key_bool(&writer, "ready", true);
    writer_key_int(&writer, "seed", (int64_t)site->seed);
    writer_key(&writer, "started");
    writer_raw(&writer, started, (size_t)length);
    writer_key_time(&writer, "simulated", site->start_ms);
    writer_key_int(&writer, "links", site->link_count);
    writer_key_int(&writer, "meters", site->meter_count);
    writer_end(&writer);
    print_line(simulator);
}

static int open_links(struct simulator *simulator, struct err *err)
{
    const struct site *site = simulator->site;
    for (int i = 0; i < site->link_count; i++) {
        struct port *port = &simulator->ports[i];
        port->source.kind = SOURCE_PORT;
        if (endpoint_open(&port->endpoint, &site->links[i], err) != 0)
            return -1;
        int result = site->links[i].kind == LINK_RTU
                         ? open_session(simulator, &port->endpoint, port->endpoint.fd)
                         : watch(simulator, port->endpoint.fd, &port->source);
        if (result != 0)
            return err_set(err, "link %s: %s", site->links[i].id, strerror(errno));
    }
    for (int i = 0; i < site->link_count; i++)
        announce(simulator, &simulator->ports[i].endpoint);
    return 0;
}

static void arm_timer(struct simulator *simulator)
{
    const struct due *first = due_heap_first(&simulator->heap);
    int64_t at_ns = first != NULL ? first->at_ns : 0;
    if (at_ns == simulator->armed_ns)
        return;
    struct itimerspec when = {.it_value = {at_ns / SECOND_NS, at_ns % SECOND_NS}};
    (void)timerfd_settime(simulator->timer_fd, TFD_TIMER_ABSTIME, &when, NULL);
    simulator->armed_ns = at_ns;
}

static void handle_event(struct simulator *simulator, struct source *source)
{
    uint64_t expired;
    switch (source->kind) {
    case SOURCE_SIGNAL: simulator->stop = true; break;
    case SOURCE_TIMER:
        if (read(simulator->timer_fd, &expired, sizeof expired) > 0)
            simulator->armed_ns = 0;
        break;
    case SOURCE_ORDERS:
        if (!read_orders(simulator))
            (void)epoll_ctl(simulator->epoll_fd, EPOLL_CTL_DEL, STDIN_FILENO, NULL);
        break;
    case SOURCE_PORT: accept_session(simulator, &((struct port *)(void *)source)->endpoint); break;
    case SOURCE_SESSION: read_session(simulator, (struct session *)(void *)source); break;
    }
}

static int run_loop(struct simulator *simulator, struct err *err)
{
    while (!simulator->stop) {
        struct epoll_event events[EVENTS_MAX];
        arm_timer(simulator);
        int count = epoll_wait(simulator->epoll_fd, events, EVENTS_MAX, -1);
        if (count < 0 && errno != EINTR)
            return err_set(err, "waiting for requests failed: %s", strerror(errno));
        read_time(simulator);
        for (int i = 0; i < count && !simulator->stop; i++)
            handle_event(simulator, events[i].data.ptr);
        read_time(simulator);
        serve_due(simulator);
        free_dead(simulator);
        frame_log_flush(simulator->log);
    }
    return 0;
}

// The signals that end the program become events; a background process reads no terminal.
static int watch_signals(struct simulator *simulator)
{
    sigset_t signals;
    sigemptyset(&signals);
    sigaddset(&signals, SIGTERM);
    sigaddset(&signals, SIGINT);
    (void)sigprocmask(SIG_BLOCK, &signals, NULL);
    (void)signal(SIGTTIN, SIG_IGN);
    (void)signal(SIGPIPE, SIG_IGN);
    simulator->signal.kind = SOURCE_SIGNAL;
    simulator->signal_fd = signalfd(-1, &signals, SFD_CLOEXEC | SFD_NONBLOCK);
    return simulator->signal_fd < 0 ? -1
                                    : watch(simulator, simulator->signal_fd, &simulator->signal);
}

static int start(struct simulator *simulator, struct err *err)
{
    struct rlimit files;
    if (getrlimit(RLIMIT_NOFILE, &files) == 0) {
        files.rlim_cur = files.rlim_max; // no libmodbus and no select here: any number will do
        (void)setrlimit(RLIMIT_NOFILE, &files);
    }
    (void)prctl(PR_SET_TIMERSLACK, 1UL, 0UL, 0UL, 0UL);
    simulator->timer.kind = SOURCE_TIMER;
    simulator->ports = calloc((size_t)simulator->site->link_count + 1, sizeof *simulator->ports);
    simulator->epoll_fd = epoll_create1(EPOLL_CLOEXEC);
    simulator->timer_fd = timerfd_create(CLOCK_BOOTTIME, TFD_CLOEXEC | TFD_NONBLOCK);
    if (simulator->ports == NULL || simulator->epoll_fd < 0 || simulator->timer_fd < 0 ||
        watch(simulator, simulator->timer_fd, &simulator->timer) != 0 ||
        watch_signals(simulator) != 0)
        return err_set(err, "the simulator cannot start: %s", strerror(errno));
    for (int i = 0; i < simulator->site->link_count; i++)
        simulator->ports[i].endpoint.fd = -1;
    return open_links(simulator, err);
}

static void stop(struct simulator *simulator)
{
    while (simulator->sessions != NULL)
        close_session(simulator, simulator->sessions);
    free_dead(simulator);
    for (int i = 0; simulator->ports != NULL && i < simulator->site->link_count; i++)
        endpoint_close(&simulator->ports[i].endpoint);
    int descriptors[] = {simulator->signal_fd, simulator->timer_fd, simulator->epoll_fd};
    for (size_t i = 0; i < sizeof descriptors / sizeof descriptors[0]; i++)
        if (descriptors[i] >= 0)
            close(descriptors[i]);
    due_heap_release(&simulator->heap);
    buf_release(&simulator->text);
    free(simulator->ports);
}

int simulator_run(struct site *site, struct frame_log *log, struct err *err)
{
    struct simulator simulator = {
        .site = site, .log = log, .epoll_fd = -1, .timer_fd = -1, .signal_fd = -1};
    simulator.boot_ns = clock_boot_ns(&clock_system);
    simulator.wall_ns = clock_wall_ms(&clock_system) * MS_NS;
    buf_init(&simulator.text, ANNOUNCE_MAX);
    int result = start(&simulator, err);
    if (result == 0) {
        announce_ready(&simulator);
        read_time(&simulator);
        watch_orders(&simulator);
        result = run_loop(&simulator, err);
    }
    stop(&simulator);
    return result;
}
