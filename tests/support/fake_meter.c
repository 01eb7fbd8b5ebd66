#include "fake_meter.h"

#include "drivers/frame.h"

#include <arpa/inet.h>
#include <fcntl.h>
#include <poll.h>
#include <pthread.h>
#include <semaphore.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <termios.h>
#include <time.h>
#include <unistd.h>

#define CLIENTS_MAX 16
#define WAITING_MAX 64

// Bytes to be sent at an instant.
struct waiting {
    int64_t at_ms;
    int client;
    uint8_t bytes[FAKE_FRAME_MAX];
    size_t length;
    int drip_ms;
    bool hang_up;
};

struct client {
    int fd; // -1: free
    uint8_t bytes[FAKE_FRAME_MAX];
    size_t length;
};

struct fake_meter {
    enum fake_kind kind;
    fake_behaviour *behaviour;
    void *context;
    pthread_t thread;
    atomic_bool stop, unplug, plug_in;
    sem_t done; // an order to unplug or plug in was carried out
    int wake[2];
    int listener; // -1: none
    int slave;    // kept open: the terminal outlives each client, its name is nobody else's
    int port;
    char device[64];
    atomic_ullong ticks, connections;
    struct client clients[CLIENTS_MAX];
    int waiting_count;
    struct waiting waiting[WAITING_MAX];
};

static int64_t now_ms(void)
{
    struct timespec now;
    (void)clock_gettime(CLOCK_MONOTONIC, &now);
    return (int64_t)now.tv_sec * 1000 + now.tv_nsec / 1000000;
}

size_t fake_seal(uint8_t *frame, size_t length)
{
    uint16_t crc = frame_crc16(frame, length);
    frame[length] = (uint8_t)crc;
    frame[length + 1] = (uint8_t)(crc >> 8);
    return length + 2;
}

static void must(bool done, const char *what)
{
    if (!done) {
        perror(what);
        abort();
    }
}

// ---- replies ------------------------------------------------------------------------------------

uint16_t fake_word(int address, uint64_t tick)
{
    return (uint16_t)((unsigned)address << 8 | (tick & 0xFF));
}

static size_t put_words(uint8_t *at, const uint8_t *pdu, uint64_t tick)
{
    unsigned first = (unsigned)pdu[1] << 8 | pdu[2];
    unsigned count = (unsigned)pdu[3] << 8 | pdu[4];
    at[0] = pdu[0];
    at[1] = (uint8_t)(pdu[0] <= 2 ? (count + 7) / 8 : 2 * count);
    for (unsigned i = 0; i < at[1]; i++) {
        unsigned word = fake_word((int)(first + i / 2), tick);
        at[2 + i] = (uint8_t)(i % 2 == 0 ? word >> 8 : word);
    }
    return 2U + at[1];
}

static void make_answer(const struct fake_meter *fake, struct fake_answer *answer)
{
    const uint8_t *request = answer->request;
    if (fake->kind == FAKE_TCP) {
        memcpy(answer->frame, request, 7);
        size_t pdu = put_words(answer->frame + 7, request + 7, answer->tick);
        answer->frame[4] = (uint8_t)((pdu + 1) >> 8);
        answer->frame[5] = (uint8_t)(pdu + 1);
        answer->length = 7 + pdu;
    } else {
        answer->frame[0] = request[0];
        size_t pdu = put_words(answer->frame + 1, request + 1, answer->tick);
        answer->length = fake_seal(answer->frame, 1 + pdu);
    }
}

static void queue_answer(struct fake_meter *fake, int client, const struct fake_answer *answer)
{
    if ((answer->length == 0 && !answer->hang_up) || fake->waiting_count == WAITING_MAX)
        return;
    struct waiting *waiting = &fake->waiting[fake->waiting_count++];
    *waiting = (struct waiting){.at_ms = now_ms() + answer->delay_ms,
                                .client = client,
                                .length = answer->length,
                                .drip_ms = answer->drip_ms,
                                .hang_up = answer->hang_up};
    memcpy(waiting->bytes, answer->frame, answer->length);
}

static void close_client(struct fake_meter *fake, int client)
{
    if (fake->kind != FAKE_PTY) {
        struct linger linger = {.l_onoff = 1}; // a reset, not an orderly end
        (void)setsockopt(fake->clients[client].fd, SOL_SOCKET, SO_LINGER, &linger, sizeof linger);
    }
    close(fake->clients[client].fd);
    fake->clients[client].fd = -1;
    for (int i = fake->waiting_count - 1; i >= 0; i--)
        if (fake->waiting[i].client == client)
            fake->waiting[i] = fake->waiting[--fake->waiting_count];
}

static void send_some(struct fake_meter *fake, int index)
{
    struct waiting *waiting = &fake->waiting[index];
    int client = waiting->client;
    size_t count = waiting->drip_ms > 0 && waiting->length > 1 ? 1 : waiting->length;
    int fd = fake->clients[client].fd;
    ssize_t sent = fake->kind == FAKE_PTY ? write(fd, waiting->bytes, count)
                                          : send(fd, waiting->bytes, count, MSG_NOSIGNAL);
    bool hang_up = waiting->hang_up;
    waiting->length -= count;
    memmove(waiting->bytes, waiting->bytes + count, waiting->length);
    waiting->at_ms += waiting->drip_ms;
    if (waiting->length > 0)
        return;
    fake->waiting[index] = fake->waiting[--fake->waiting_count];
    if (hang_up || (sent < 0 && fake->kind != FAKE_PTY))
        close_client(fake, client);
}

// Sends what is due; returns for how long there is nothing to send.
static int send_due(struct fake_meter *fake)
{
    int64_t wait_ms = 1000;
    for (int i = 0; i < fake->waiting_count;) {
        int64_t left = fake->waiting[i].at_ms - now_ms();
        if (left <= 0) {
            send_some(fake, i);
            i = 0;
            wait_ms = 1000;
            continue;
        }
        wait_ms = left < wait_ms ? left : wait_ms;
        i++;
    }
    return (int)wait_ms;
}

// ---- requests -----------------------------------------------------------------------------------

static void take_requests(struct fake_meter *fake, int index)
{
    struct client *client = &fake->clients[index];
    size_t size = fake->kind == FAKE_TCP ? FRAME_TCP_REQUEST_SIZE : FRAME_RTU_REQUEST_SIZE;
    while (client->fd >= 0 && client->length >= size) {
        struct fake_answer answer = {.request = client->bytes};
        answer.tick = atomic_fetch_add(&fake->ticks, 1) + 1;
        make_answer(fake, &answer);
        if (fake->behaviour != NULL)
            fake->behaviour(fake->context, &answer);
        queue_answer(fake, index, &answer);
        client->length -= size;
        memmove(client->bytes, client->bytes + size, client->length);
    }
}

static void read_client(struct fake_meter *fake, int index)
{
    struct client *client = &fake->clients[index];
    ssize_t count =
        read(client->fd, client->bytes + client->length, sizeof client->bytes - client->length);
    if (count > 0) {
        client->length += (size_t)count;
        take_requests(fake, index);
    } else if (fake->kind != FAKE_PTY) {
        close_client(fake, index);
    }
}

static void accept_client(struct fake_meter *fake)
{
    int fd = accept4(fake->listener, NULL, NULL, SOCK_CLOEXEC);
    for (int i = 0; fd >= 0 && i < CLIENTS_MAX; i++) {
        if (fake->clients[i].fd < 0) {
            fake->clients[i] = (struct client){.fd = fd};
            (void)atomic_fetch_add(&fake->connections, 1);
            return;
        }
    }
    if (fd >= 0)
        close(fd);
}

static void open_port(struct fake_meter *fake)
{
    struct sockaddr_in address = {.sin_family = AF_INET,
                                  .sin_port = htons((uint16_t)fake->port), // 0 at first: any
                                  .sin_addr = {.s_addr = htonl(INADDR_LOOPBACK)}};
    int on = 1;
    socklen_t size = sizeof address;
    fake->listener = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    (void)setsockopt(fake->listener, SOL_SOCKET, SO_REUSEADDR, &on, sizeof on);
    must(bind(fake->listener, (struct sockaddr *)&address, size) == 0, "bind");
    must(listen(fake->listener, CLIENTS_MAX) == 0, "listen");
    must(getsockname(fake->listener, (struct sockaddr *)&address, &size) == 0, "getsockname");
    fake->port = ntohs(address.sin_port);
}

static void pull_plug(struct fake_meter *fake)
{
    if (fake->listener >= 0) {
        close(fake->listener);
        fake->listener = -1;
    }
    for (int i = 0; i < CLIENTS_MAX; i++)
        if (fake->clients[i].fd >= 0)
            close_client(fake, i);
}

static void wait_for_work(struct fake_meter *fake)
{
    struct pollfd polls[CLIENTS_MAX + 2] = {{.fd = fake->wake[0], .events = POLLIN},
                                            {.fd = fake->listener, .events = POLLIN}};
    for (int i = 0; i < CLIENTS_MAX; i++)
        polls[2 + i] = (struct pollfd){.fd = fake->clients[i].fd, .events = POLLIN};
    (void)poll(polls, CLIENTS_MAX + 2, send_due(fake));
    if (polls[0].revents != 0) {
        uint8_t byte = 0;
        (void)!read(fake->wake[0], &byte, 1);
    }
    if ((polls[1].revents & POLLIN) != 0)
        accept_client(fake);
    for (int i = 0; i < CLIENTS_MAX; i++)
        if (fake->clients[i].fd >= 0 && polls[2 + i].revents != 0)
            read_client(fake, i);
}

static void carry_out(struct fake_meter *fake, void (*order)(struct fake_meter *))
{
    order(fake);
    must(sem_post(&fake->done) == 0, "sem_post");
}

static void *run(void *argument)
{
    struct fake_meter *fake = argument;
    while (!atomic_load(&fake->stop)) {
        wait_for_work(fake);
        if (atomic_exchange(&fake->unplug, false))
            carry_out(fake, pull_plug);
        if (atomic_exchange(&fake->plug_in, false))
            carry_out(fake, open_port);
    }
    pull_plug(fake);
    return NULL;
}

// ---- start and stop -----------------------------------------------------------------------------

static void open_terminal(struct fake_meter *fake)
{
    int master = posix_openpt(O_RDWR | O_NOCTTY | O_CLOEXEC);
    must(master >= 0 && grantpt(master) == 0 && unlockpt(master) == 0, "posix_openpt");
    must(ptsname_r(master, fake->device, sizeof fake->device) == 0, "ptsname");
    fake->slave = open(fake->device, O_RDWR | O_NOCTTY | O_CLOEXEC);
    struct termios termios;
    must(tcgetattr(fake->slave, &termios) == 0, "tcgetattr");
    cfmakeraw(&termios);
    must(tcsetattr(fake->slave, TCSANOW, &termios) == 0, "tcsetattr");
    fake->clients[0] = (struct client){.fd = master};
}

struct fake_meter *fake_start(enum fake_kind kind, fake_behaviour *behaviour, void *context)
{
    struct fake_meter *fake = calloc(1, sizeof *fake);
    must(fake != NULL, "calloc");
    fake->kind = kind;
    fake->behaviour = behaviour;
    fake->context = context;
    fake->listener = -1;
    fake->slave = -1;
    for (int i = 0; i < CLIENTS_MAX; i++)
        fake->clients[i].fd = -1;
    must(pipe2(fake->wake, O_CLOEXEC | O_NONBLOCK) == 0, "pipe");
    if (kind == FAKE_PTY)
        open_terminal(fake);
    else
        open_port(fake);
    must(sem_init(&fake->done, 0, 0) == 0, "sem_init");
    must(pthread_create(&fake->thread, NULL, run, fake) == 0, "pthread_create");
    // On a busy machine too it answers in time, where it may.
    (void)pthread_setschedparam(fake->thread, SCHED_RR, &(struct sched_param){.sched_priority = 6});
    return fake;
}

static void wake(struct fake_meter *fake)
{
    (void)!write(fake->wake[1], "", 1);
}

void fake_unplug(struct fake_meter *fake)
{
    atomic_store(&fake->unplug, true);
    wake(fake);
    must(sem_wait(&fake->done) == 0, "sem_wait");
}

void fake_plug_in(struct fake_meter *fake)
{
    atomic_store(&fake->plug_in, true);
    wake(fake);
    must(sem_wait(&fake->done) == 0, "sem_wait");
}

void fake_stop(struct fake_meter *fake)
{
    atomic_store(&fake->stop, true);
    wake(fake);
    (void)pthread_join(fake->thread, NULL);
    (void)sem_destroy(&fake->done);
    if (fake->slave >= 0)
        close(fake->slave);
    close(fake->wake[0]);
    close(fake->wake[1]);
    free(fake);
}

int fake_port(const struct fake_meter *fake)
{
    return fake->port;
}

const char *fake_device(const struct fake_meter *fake)
{
    return fake->device;
}

uint64_t fake_ticks(struct fake_meter *fake)
{
    return atomic_load(&fake->ticks);
}

uint64_t fake_connections(struct fake_meter *fake)
{
    return atomic_load(&fake->connections);
}
