#include "paced_line.h"

#include "drivers/frame.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <termios.h>
#include <time.h>
#include <unistd.h>

#define PRIORITY 60
#define REQUEST_SIZE 8
#define SPIN_NS 60000 // before an instant that must be met exactly
#define STOP_CHECK_MS 50
#define FIXED_BAUD 19200 // above it the silence is fixed
#define FIXED_NS 1750000

struct paced_line {
    struct paced_settings settings;
    double char_ns;
    int64_t silence_ns;
    int master, slave;
    dev_t device_number;
    char device[64];
    pthread_t thread;
    atomic_bool stop;
    atomic_llong mark_ns; // 0: none
    int64_t reply_end_ns; // 0: no reply yet
    int count, strays;
    struct paced_exchange list[PACED_EXCHANGES_MAX];
};

static int64_t now_ns(void)
{
    struct timespec now;
    (void)clock_gettime(CLOCK_MONOTONIC, &now);
    return (int64_t)now.tv_sec * 1000000000 + now.tv_nsec;
}

static void sleep_until(int64_t at_ns)
{
    struct timespec at = {.tv_sec = at_ns / 1000000000, .tv_nsec = at_ns % 1000000000};
    while (clock_nanosleep(CLOCK_MONOTONIC, TIMER_ABSTIME, &at, NULL) == EINTR)
        ;
}

static void meet(int64_t at_ns)
{
    sleep_until(at_ns - SPIN_NS);
    while (now_ns() < at_ns)
        ;
}

int64_t paced_silence_ns(int baud, int bits)
{
    return baud > FIXED_BAUD ? FIXED_NS : (INT64_C(3500000000) * bits + baud - 1) / baud;
}

// ---- the client's side --------------------------------------------------------------------------

void paced_mark(struct paced_line *line)
{
    atomic_store(&line->mark_ns, now_ns());
}

bool paced_owns(const struct paced_line *line, int fd)
{
    struct stat info;
    return fstat(fd, &info) == 0 && S_ISCHR(info.st_mode) && info.st_rdev == line->device_number;
}

// ---- requests -----------------------------------------------------------------------------------

// Waits for bytes, without looking for them again and again: under SCHED_FIFO that would hold up
// the kernel's own thread that brings them.
static size_t read_some(struct paced_line *line, uint8_t *bytes, size_t size)
{
    while (!atomic_load(&line->stop)) {
        struct pollfd poll_fd = {.fd = line->master, .events = POLLIN};
        (void)poll(&poll_fd, 1, STOP_CHECK_MS);
        ssize_t count = read(line->master, bytes, size);
        if (count > 0)
            return (size_t)count;
    }
    return 0;
}

static bool is_request(const uint8_t *bytes)
{
    uint16_t crc = (uint16_t)(bytes[6] | bytes[7] << 8);
    int count = bytes[4] << 8 | bytes[5];
    return (bytes[1] == 3 || bytes[1] == 4) && count >= 1 && count <= 125 &&
           frame_crc16(bytes, REQUEST_SIZE - 2) == crc;
}

// The next good request, and when its first bit was on the wire. False at the end.
static bool next_request(struct paced_line *line, uint8_t bytes[static REQUEST_SIZE],
                         int64_t *begin_ns)
{
    size_t length = 0;
    *begin_ns = 0;
    while (length < REQUEST_SIZE) {
        size_t count = read_some(line, bytes + length, REQUEST_SIZE - length);
        if (count == 0)
            return false;
        int64_t seen_ns = now_ns();
        int64_t mark_ns = atomic_exchange(&line->mark_ns, 0);
        if (length == 0)
            *begin_ns = mark_ns != 0 ? mark_ns : seen_ns;
        length += count;
        if (length == REQUEST_SIZE && !is_request(bytes)) {
            line->strays++;
            length = 0;
        }
    }
    return true;
}

// ---- replies ------------------------------------------------------------------------------------

static size_t make_reply(const uint8_t *request, uint8_t *reply)
{
    int first = request[2] << 8 | request[3];
    int count = request[4] << 8 | request[5];
    reply[0] = request[0];
    reply[1] = request[1];
    reply[2] = (uint8_t)(2 * count);
    for (int i = 0; i < count; i++) {
        reply[3 + 2 * i] = (uint8_t)((first + i) >> 8);
        reply[4 + 2 * i] = (uint8_t)(first + i);
    }
    size_t length = 3 + 2 * (size_t)count;
    uint16_t crc = frame_crc16(reply, length);
    reply[length] = (uint8_t)crc;
    reply[length + 1] = (uint8_t)(crc >> 8);
    return length + 2;
}

// Each byte appears when its last bit has come. The end is noted before the last byte is handed
// over: nobody can have seen it before.
static void send_reply(struct paced_line *line, int64_t begin_ns, const uint8_t *reply,
                       size_t length)
{
    for (size_t i = 0; i < length; i++) {
        int64_t at_ns = begin_ns + (int64_t)((double)(i + 1) * line->char_ns);
        bool last = i == length - 1;
        if (last)
            meet(at_ns);
        else
            sleep_until(at_ns);
        if (last)
            line->reply_end_ns = now_ns();
        (void)!write(line->master, reply + i, 1);
    }
}

static void *run(void *argument)
{
    struct paced_line *line = argument;
    uint8_t request[REQUEST_SIZE];
    int64_t begin_ns = 0;
    while (next_request(line, request, &begin_ns)) {
        uint8_t reply[256];
        size_t length = make_reply(request, reply);
        struct paced_exchange exchange = {
            .begin_ns = begin_ns,
            .silence_ns = line->reply_end_ns != 0 ? begin_ns - line->reply_end_ns : -1,
        };
        int64_t request_ns = (int64_t)(REQUEST_SIZE * line->char_ns);
        int64_t reply_ns = (int64_t)((double)length * line->char_ns);
        int64_t reply_begin_ns = begin_ns + request_ns + line->settings.turnaround_ns;
        exchange.limit_ns = request_ns + line->settings.turnaround_ns + reply_ns + line->silence_ns;
        send_reply(line, reply_begin_ns, reply, length);
        exchange.late_ns = line->reply_end_ns - (reply_begin_ns + reply_ns);
        if (line->count < PACED_EXCHANGES_MAX)
            line->list[line->count++] = exchange;
    }
    return NULL;
}

// ---- start and stop -----------------------------------------------------------------------------

static int open_terminal(struct paced_line *line)
{
    struct termios termios;
    struct stat info;
    line->master = posix_openpt(O_RDWR | O_NOCTTY | O_CLOEXEC | O_NONBLOCK);
    if (line->master < 0 || grantpt(line->master) != 0 || unlockpt(line->master) != 0 ||
        ptsname_r(line->master, line->device, sizeof line->device) != 0)
        return -1;
    line->slave = open(line->device, O_RDWR | O_NOCTTY | O_CLOEXEC); // a client may come and go
    if (line->slave < 0 || tcgetattr(line->slave, &termios) != 0 || fstat(line->slave, &info) != 0)
        return -1;
    line->device_number = info.st_rdev;
    cfmakeraw(&termios);
    return tcsetattr(line->slave, TCSANOW, &termios);
}

static int start_thread(struct paced_line *line)
{
    pthread_attr_t attributes;
    struct sched_param priority = {.sched_priority = PRIORITY};
    (void)pthread_attr_init(&attributes);
    (void)pthread_attr_setinheritsched(&attributes, PTHREAD_EXPLICIT_SCHED);
    (void)pthread_attr_setschedpolicy(&attributes, SCHED_FIFO);
    (void)pthread_attr_setschedparam(&attributes, &priority);
    int error = pthread_create(&line->thread, &attributes, run, line);
    (void)pthread_attr_destroy(&attributes);
    errno = error;
    return error == 0 ? 0 : -1;
}

struct paced_line *paced_start(const struct paced_settings *settings)
{
    struct paced_line *line = calloc(1, sizeof *line);
    if (line == NULL)
        return NULL;
    line->settings = *settings;
    line->char_ns = 1e9 * settings->bits / settings->baud;
    line->silence_ns = paced_silence_ns(settings->baud, settings->bits);
    line->master = line->slave = -1;
    if (open_terminal(line) == 0 && start_thread(line) == 0)
        return line;
    int error = errno;
    paced_free(line);
    errno = error;
    return NULL;
}

void paced_stop(struct paced_line *line)
{
    atomic_store(&line->stop, true);
    (void)pthread_join(line->thread, NULL);
}

void paced_free(struct paced_line *line)
{
    if (line->slave >= 0)
        close(line->slave);
    if (line->master >= 0)
        close(line->master);
    free(line);
}

const char *paced_device(const struct paced_line *line)
{
    return line->device;
}

int paced_exchanges(const struct paced_line *line, const struct paced_exchange **list)
{
    *list = line->list;
    return line->count;
}

int paced_strays(const struct paced_line *line)
{
    return line->strays;
}
