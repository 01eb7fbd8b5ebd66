#include "odd_lines.h"

#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/tcp.h>
#include <pthread.h>
#include <sched.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <sys/timerfd.h>
#include <termios.h>
#include <time.h>
#include <unistd.h>

#define EVENTS_MAX 64
#define HIGH_FD 1100  // our descriptors go here: libmodbus can only use those below 1024
#define ASKED_MAX 512 // requests of a line that may be under way
#define LISTENER 0x10000
#define WAKE 0x20000
#define TIMER 0x30000

// Bytes to be sent, or a connection to be reset, at an instant.
struct waiting {
    int64_t at_us;
    uint64_t order; // of equals the first goes first
    int line;
    int generation; // of the connection
    bool reset;
    size_t length;
    uint8_t bytes[];
};

struct line {
    int fd;    // master, or connection; -1: none
    int other; // slave kept open, or listener
    int port;
    int generation;
    int64_t last_us; // ports: a stream keeps its order
    char device[64];
    uint64_t serial, random;
    atomic_llong asked_us[ASKED_MAX]; // by serial
    atomic_ullong asked_serial[ASKED_MAX];
    uint8_t bytes[512];
    size_t length;
};

struct odd_lines {
    int count;
    enum odd_kind kind;
    odd_behaviour *behaviour;
    void *context;
    pthread_t thread;
    atomic_bool stop;
    atomic_llong lag_us;
    int epoll, timer, wake[2];
    uint64_t order;
    int waiting_count, waiting_room;
    struct waiting **waiting; // a heap, soonest first
    struct line lines[];
};

static void must(bool done, const char *what)
{
    if (!done) {
        perror(what);
        abort();
    }
}

static bool is_tcp(const struct odd_lines *lines)
{
    return lines->kind == ODD_TCP;
}

static bool has_ports(const struct odd_lines *lines)
{
    return lines->kind != ODD_PTY;
}

static int64_t now_us(void)
{
    struct timespec now;
    (void)clock_gettime(CLOCK_MONOTONIC, &now);
    return (int64_t)now.tv_sec * 1000000 + now.tv_nsec / 1000;
}

// ---- what the registers hold --------------------------------------------------------------------

static uint64_t scramble(uint64_t x)
{
    x = (x ^ x >> 30) * UINT64_C(0xBF58476D1CE4E5B9);
    x = (x ^ x >> 27) * UINT64_C(0x94D049BB133111EB);
    return x ^ x >> 31;
}

static uint16_t code_word(int unit, int address, uint64_t serial)
{
    uint64_t code = (uint64_t)unit << 56 | (uint64_t)(address & ~3) << 40 | serial;
    return (uint16_t)(code >> (48 - 16 * (address & 3)));
}

static uint16_t float_word(int unit, int address, uint64_t serial)
{
    int place = (address - ODD_FLOATS) / 2;
    float value = (float)(100 + 7 * place + unit) + (float)(scramble(serial) % 16) / 64.0F;
    uint32_t bits = 0;
    memcpy(&bits, &value, sizeof bits);
    return (uint16_t)((address - ODD_FLOATS) % 2 == 0 ? bits >> 16 : bits);
}

static uint16_t bcd_word(int unit, int address, uint64_t serial)
{
    int place = (address - ODD_BCD) / 3;
    uint64_t number =
        (uint64_t)(unit % 100) * 10000000000 + (uint64_t)place * 100000000 + serial % 100000000;
    for (int i = (address - ODD_BCD) % 3; i < 2; i++)
        number /= 10000;
    unsigned word = 0;
    for (int digit = 0; digit < 4; digit++, number /= 10)
        word |= (unsigned)(number % 10) << (4 * digit);
    return (uint16_t)word;
}

uint16_t odd_word(int unit, int address, uint64_t serial)
{
    if (address < ODD_FLOATS)
        return code_word(unit, address, serial);
    if (address < ODD_BCD)
        return float_word(unit, address, serial);
    if (address < ODD_FLAGS)
        return bcd_word(unit, address, serial);
    return (uint16_t)scramble((uint64_t)address << 8 | (uint64_t)unit);
}

// ---- frames -------------------------------------------------------------------------------------

// Modbus over serial line V1.02, 6.2.2, bit by bit as its text says it.
static unsigned check_sum(const uint8_t *bytes, size_t length)
{
    unsigned crc = 0xFFFF;
    for (size_t i = 0; i < length; i++) {
        crc ^= bytes[i];
        for (int shift = 0; shift < 8; shift++) {
            unsigned lost = crc & 1U;
            crc >>= 1;
            if (lost != 0)
                crc ^= 0xA001U;
        }
    }
    return crc;
}

size_t odd_seal(uint8_t *frame, size_t length)
{
    unsigned crc = check_sum(frame, length);
    frame[length] = (uint8_t)(crc & 0xFF);
    frame[length + 1] = (uint8_t)(crc >> 8);
    return length + 2;
}

static size_t data_size(const struct odd_request *request)
{
    return request->function <= 2 ? (size_t)(request->count + 7) / 8 : 2 * (size_t)request->count;
}

static bool passes_tcp(const struct odd_request *request, const uint8_t *frame, size_t length)
{
    size_t data = data_size(request);
    if (length < data + 9 || frame[0] != request->reply[0] || frame[1] != request->reply[1])
        return false;
    return frame[2] == 0 && frame[3] == 0 && (size_t)(frame[4] << 8 | frame[5]) == data + 3 &&
           frame[6] == request->unit && frame[7] == request->function && frame[8] == data;
}

bool odd_passes(const struct odd_request *request, const uint8_t *frame, size_t length)
{
    if (is_tcp(request->lines))
        return passes_tcp(request, frame, length);
    size_t data = data_size(request);
    if (length != data + 5 || frame[0] != request->unit || frame[1] != request->function ||
        frame[2] != data)
        return false;
    return check_sum(frame, length - 2) == (unsigned)(frame[length - 2] | frame[length - 1] << 8);
}

static size_t put_pdu(const struct odd_request *request, uint8_t *at)
{
    size_t size = data_size(request);
    at[0] = (uint8_t)request->function;
    at[1] = (uint8_t)size;
    for (size_t i = 0; i < size; i++) {
        uint16_t word = odd_word(request->unit, request->first + (int)(i / 2), request->serial);
        at[2 + i] = (uint8_t)(i % 2 == 0 ? word >> 8 : word);
    }
    return 2 + size;
}

uint64_t odd_next_serial(bool tcp, uint64_t last, const uint8_t *bytes)
{
    uint64_t next = last + 1;
    uint16_t transaction = (uint16_t)(bytes[0] << 8 | bytes[1]);
    return tcp ? next + (uint16_t)(transaction - next) : next;
}

static void make_request(struct odd_lines *lines, int index, const uint8_t *bytes,
                         struct odd_request *request)
{
    const uint8_t *adu = bytes + (is_tcp(lines) ? 6 : 0);
    struct line *line = &lines->lines[index];
    line->serial = odd_next_serial(is_tcp(lines), line->serial, bytes);
    *request = (struct odd_request){.lines = lines,
                                    .line = index,
                                    .serial = line->serial,
                                    .unit = adu[0],
                                    .function = adu[1],
                                    .first = adu[2] << 8 | adu[3],
                                    .count = adu[4] << 8 | adu[5]};
    must(adu[1] >= 1 && adu[1] <= 4 && request->count >= 1 && request->count <= 125,
         "a request that reads nothing");
    if (is_tcp(lines)) {
        memcpy(request->reply, bytes, 7);
        size_t pdu = put_pdu(request, request->reply + 7);
        request->reply[4] = (uint8_t)((pdu + 1) >> 8);
        request->reply[5] = (uint8_t)(pdu + 1);
        request->length = 7 + pdu;
    } else {
        must(check_sum(bytes, 6) == (unsigned)(bytes[6] | bytes[7] << 8), "a damaged request");
        request->reply[0] = adu[0];
        request->length = odd_seal(request->reply, 1 + put_pdu(request, request->reply + 1));
    }
}

// ---- what waits to be sent ----------------------------------------------------------------------

static bool is_sooner(const struct waiting *a, const struct waiting *b)
{
    return a->at_us != b->at_us ? a->at_us < b->at_us : a->order < b->order;
}

static void swap(struct odd_lines *lines, int a, int b)
{
    struct waiting *other = lines->waiting[a];
    lines->waiting[a] = lines->waiting[b];
    lines->waiting[b] = other;
}

static void heap_add(struct odd_lines *lines, struct waiting *waiting)
{
    if (lines->waiting_count == lines->waiting_room) {
        lines->waiting_room = 2 * lines->waiting_room + 64;
        lines->waiting =
            reallocarray(lines->waiting, (size_t)lines->waiting_room, sizeof(struct waiting *));
        must(lines->waiting != NULL, "memory");
    }
    int at = lines->waiting_count++;
    lines->waiting[at] = waiting;
    for (; at > 0 && is_sooner(waiting, lines->waiting[(at - 1) / 2]); at = (at - 1) / 2)
        swap(lines, at, (at - 1) / 2);
}

static struct waiting *heap_take(struct odd_lines *lines)
{
    struct waiting *first = lines->waiting[0];
    int count = --lines->waiting_count;
    lines->waiting[0] = lines->waiting[count];
    for (int at = 0;;) {
        int least = at;
        for (int child = 2 * at + 1; child <= 2 * at + 2 && child < count; child++)
            if (is_sooner(lines->waiting[child], lines->waiting[least]))
                least = child;
        if (least == at)
            return first;
        swap(lines, at, least);
        at = least;
    }
}

static void add_waiting(const struct odd_request *request, int64_t delay_us, const uint8_t *bytes,
                        size_t length, bool reset)
{
    struct odd_lines *lines = request->lines;
    struct line *line = &lines->lines[request->line];
    int64_t at_us = now_us() + delay_us;
    if (has_ports(lines))
        at_us = line->last_us = at_us > line->last_us ? at_us : line->last_us;
    struct waiting *waiting = malloc(sizeof *waiting + length);
    must(waiting != NULL, "memory");
    *waiting = (struct waiting){.at_us = at_us,
                                .order = lines->order++,
                                .line = request->line,
                                .generation = line->generation,
                                .reset = reset,
                                .length = length};
    if (length > 0)
        memcpy(waiting->bytes, bytes, length);
    heap_add(lines, waiting);
}

void odd_send(const struct odd_request *request, int64_t delay_us, const uint8_t *bytes,
              size_t length)
{
    add_waiting(request, delay_us, bytes, length, false);
}

void odd_reset(const struct odd_request *request, int64_t delay_us)
{
    add_waiting(request, delay_us, NULL, 0, true);
}

uint32_t odd_random(const struct odd_request *request, uint32_t below)
{
    struct line *line = &request->lines->lines[request->line];
    line->random += UINT64_C(0x9E3779B97F4A7C15);
    return (uint32_t)((scramble(line->random) >> 32) * below >> 32);
}

// ---- the thread ---------------------------------------------------------------------------------

static void watch(struct odd_lines *lines, int fd, uint32_t what)
{
    struct epoll_event event = {.events = EPOLLIN, .data = {.u32 = what}};
    must(epoll_ctl(lines->epoll, EPOLL_CTL_ADD, fd, &event) == 0, "epoll_ctl");
}

static void hang_up(struct line *line, bool reset)
{
    if (line->fd < 0)
        return;
    struct linger linger = {.l_onoff = reset ? 1 : 0};
    (void)setsockopt(line->fd, SOL_SOCKET, SO_LINGER, &linger, sizeof linger);
    close(line->fd);
    line->fd = -1;
    line->generation++;
}

static void send_one(struct odd_lines *lines, struct waiting *waiting)
{
    struct line *line = &lines->lines[waiting->line];
    if (waiting->generation == line->generation && line->fd >= 0) {
        if (waiting->reset)
            hang_up(line, true);
        else if (has_ports(lines))
            (void)send(line->fd, waiting->bytes, waiting->length, MSG_NOSIGNAL);
        else
            (void)!write(line->fd, waiting->bytes, waiting->length);
    }
    free(waiting);
}

static void note_lag(struct odd_lines *lines, int64_t from_us)
{
    int64_t lag_us = now_us() - from_us;
    if (lag_us > atomic_load(&lines->lag_us))
        atomic_store(&lines->lag_us, lag_us);
}

static void send_due(struct odd_lines *lines)
{
    while (lines->waiting_count > 0 && lines->waiting[0]->at_us <= now_us()) {
        note_lag(lines, lines->waiting[0]->at_us);
        send_one(lines, heap_take(lines));
    }
    struct itimerspec at = {0};
    if (lines->waiting_count > 0) {
        at.it_value.tv_sec = lines->waiting[0]->at_us / 1000000;
        at.it_value.tv_nsec = lines->waiting[0]->at_us % 1000000 * 1000;
    }
    must(timerfd_settime(lines->timer, TFD_TIMER_ABSTIME, &at, NULL) == 0, "timerfd_settime");
}

static void take_bytes(struct odd_lines *lines, int index)
{
    struct line *line = &lines->lines[index];
    if (line->fd < 0)
        return;
    ssize_t count = read(line->fd, line->bytes + line->length, sizeof line->bytes - line->length);
    if (count <= 0) {
        if (has_ports(lines) && (count == 0 || errno != EAGAIN))
            hang_up(line, false);
        return;
    }
    line->length += (size_t)count;
    size_t size = is_tcp(lines) ? 12 : 8;
    while (line->length >= size) {
        struct odd_request request;
        make_request(lines, index, line->bytes, &request);
        // The reader may not have said yet that it asked: then there is no lag.
        if (atomic_load(&line->asked_serial[request.serial % ASKED_MAX]) == request.serial)
            note_lag(lines, atomic_load(&line->asked_us[request.serial % ASKED_MAX]));
        line->length -= size;
        memmove(line->bytes, line->bytes + size, line->length);
        lines->behaviour(lines->context, &request);
    }
}

static void accept_one(struct odd_lines *lines, int index)
{
    struct line *line = &lines->lines[index];
    int fd = accept4(line->other, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK);
    if (fd < 0)
        return;
    take_bytes(lines, index); // requests that came before the old connection was given up
    hang_up(line, false);
    int on = 1;
    line->fd = fcntl(fd, F_DUPFD_CLOEXEC, HIGH_FD);
    must(line->fd >= 0, "descriptors");
    close(fd);
    (void)setsockopt(line->fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
    line->generation++;
    line->last_us = 0;
    line->length = 0;
    watch(lines, line->fd, (uint32_t)index);
}

static void *run(void *argument)
{
    struct odd_lines *lines = argument;
    (void)pthread_setname_np(pthread_self(), "odd lines");
    // Hundreds of readers must not make the meters slower than they are meant to be. Where that is
    // not allowed odd_lag_ms shows what came of it.
    struct sched_param priority = {.sched_priority = 1};
    (void)pthread_setschedparam(pthread_self(), SCHED_FIFO, &priority);
    while (!atomic_load(&lines->stop)) {
        struct epoll_event events[EVENTS_MAX];
        int count = epoll_wait(lines->epoll, events, EVENTS_MAX, -1);
        for (int i = 0; i < count; i++) {
            uint32_t what = events[i].data.u32;
            uint64_t ticks = 0;
            if (what == TIMER)
                (void)!read(lines->timer, &ticks, sizeof ticks);
            else if (what != WAKE && what >= LISTENER)
                accept_one(lines, (int)(what - LISTENER));
            else if (what != WAKE)
                take_bytes(lines, (int)what);
        }
        send_due(lines);
    }
    return NULL;
}

// ---- start and stop -----------------------------------------------------------------------------

static void open_terminal(struct line *line)
{
    int master = posix_openpt(O_RDWR | O_NOCTTY | O_CLOEXEC);
    must(master >= 0 && grantpt(master) == 0 && unlockpt(master) == 0, "posix_openpt");
    must(ptsname_r(master, line->device, sizeof line->device) == 0, "ptsname");
    int slave = open(line->device, O_RDWR | O_NOCTTY | O_CLOEXEC);
    struct termios termios;
    must(slave >= 0 && tcgetattr(slave, &termios) == 0, "tcgetattr");
    cfmakeraw(&termios);
    must(tcsetattr(slave, TCSANOW, &termios) == 0, "tcsetattr");
    line->fd = fcntl(master, F_DUPFD_CLOEXEC, HIGH_FD);
    line->other = fcntl(slave, F_DUPFD_CLOEXEC, HIGH_FD);
    must(line->fd >= 0 && line->other >= 0 && fcntl(line->fd, F_SETFL, O_NONBLOCK) == 0,
         "descriptors");
    close(master);
    close(slave);
}

static void open_port(struct line *line)
{
    struct sockaddr_in address = {.sin_family = AF_INET,
                                  .sin_addr = {.s_addr = htonl(INADDR_LOOPBACK)}};
    socklen_t size = sizeof address;
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    must(bind(fd, (struct sockaddr *)&address, size) == 0 && listen(fd, 8) == 0, "listen");
    must(getsockname(fd, (struct sockaddr *)&address, &size) == 0, "getsockname");
    line->port = ntohs(address.sin_port);
    line->fd = -1;
    line->other = fcntl(fd, F_DUPFD_CLOEXEC, HIGH_FD);
    must(line->other >= 0, "descriptors");
    close(fd);
}

struct odd_lines *odd_start(int count, enum odd_kind kind, uint64_t seed, odd_behaviour *behaviour,
                            void *context)
{
    struct odd_lines *lines = calloc(1, sizeof *lines + (size_t)count * sizeof lines->lines[0]);
    must(lines != NULL, "memory");
    lines->count = count;
    lines->kind = kind;
    lines->behaviour = behaviour;
    lines->context = context;
    lines->epoll = epoll_create1(EPOLL_CLOEXEC);
    lines->timer = timerfd_create(CLOCK_MONOTONIC, TFD_CLOEXEC | TFD_NONBLOCK);
    must(pipe2(lines->wake, O_CLOEXEC | O_NONBLOCK) == 0, "pipe");
    watch(lines, lines->timer, TIMER);
    watch(lines, lines->wake[0], WAKE);
    for (int i = 0; i < count; i++) {
        struct line *line = &lines->lines[i];
        line->random = scramble(seed + 1) ^ scramble((uint64_t)i + 1);
        bool port = has_ports(lines);
        if (port)
            open_port(line);
        else
            open_terminal(line);
        watch(lines, port ? line->other : line->fd, (uint32_t)(port ? LISTENER + i : i));
    }
    must(pthread_create(&lines->thread, NULL, run, lines) == 0, "pthread_create");
    return lines;
}

void odd_stop(struct odd_lines *lines)
{
    atomic_store(&lines->stop, true);
    (void)!write(lines->wake[1], "", 1);
    (void)pthread_join(lines->thread, NULL);
    for (int i = 0; i < lines->count; i++) {
        if (lines->lines[i].fd >= 0)
            close(lines->lines[i].fd);
        close(lines->lines[i].other);
    }
    for (int i = 0; i < lines->waiting_count; i++)
        free(lines->waiting[i]);
    free(lines->waiting);
    close(lines->epoll);
    close(lines->timer);
    close(lines->wake[0]);
    close(lines->wake[1]);
    free(lines);
}

void odd_asked(struct odd_lines *lines, int line, uint64_t serial)
{
    atomic_store(&lines->lines[line].asked_us[serial % ASKED_MAX], now_us());
    atomic_store(&lines->lines[line].asked_serial[serial % ASKED_MAX], serial);
}

int odd_lag_ms(const struct odd_lines *lines)
{
    return (int)(atomic_load(&lines->lag_us) / 1000);
}

const char *odd_device(const struct odd_lines *lines, int line)
{
    return lines->lines[line].device;
}

int odd_port(const struct odd_lines *lines, int line)
{
    return lines->lines[line].port;
}
