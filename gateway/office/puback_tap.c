#include "office/puback_tap.h"

#include <dlfcn.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/types.h>

#define PUBACK_TYPE 4
#define HEAD_MAX 3 // bytes of a PUBACK that matter: packet id, reason

// Where the reader is inside the stream of packets.
struct tap {
    bool on;
    bool in_body;
    uint8_t type;
    unsigned shift; // of the length's next seven bits
    uint32_t left;  // bytes of the body still to come
    unsigned taken; // bytes of it in `head`
    uint8_t head[HEAD_MAX];
    int packet_id, reason; // of the last PUBACK, 0 and -1 before
    bool length_begun;
};
static _Thread_local struct tap tap;
static atomic_uint heard;

void puback_tap_begin(void)
{
    tap = (struct tap){.on = true, .reason = -1};
}

int puback_tap_reason(int packet_id)
{
    int reason = tap.on && tap.packet_id == packet_id ? tap.reason : -1;
    tap.reason = -1;
    return reason;
}

unsigned puback_tap_heard(void)
{
    return atomic_load_explicit(&heard, memory_order_relaxed);
}

// MQTT 5, 3.4.2.1: a PUBACK without a reason means 0x00.
static void end_packet(void)
{
    if (tap.type == PUBACK_TYPE && tap.taken >= 2) {
        tap.packet_id = tap.head[0] << 8 | tap.head[1];
        tap.reason = tap.taken > 2 ? tap.head[2] : 0;
    }
    tap.in_body = false;
    tap.length_begun = false;
}

static void take_head(uint8_t byte)
{
    if (!tap.length_begun) {
        tap.type = byte >> 4;
        tap.length_begun = true;
        tap.shift = 0;
        tap.left = 0;
        tap.taken = 0;
        return;
    }
    tap.left |= (uint32_t)(byte & 0x7F) << tap.shift;
    tap.shift += 7;
    if (byte & 0x80 && tap.shift < 28)
        return;
    tap.in_body = true;
    if (tap.left == 0)
        end_packet();
}

static void follow(const uint8_t *bytes, size_t length)
{
    (void)atomic_fetch_add_explicit(&heard, 1, memory_order_relaxed);
    while (length > 0) {
        if (!tap.in_body) {
            take_head(*bytes++);
            length--;
            continue;
        }
        while (tap.taken < HEAD_MAX && tap.left > 0 && length > 0) {
            tap.head[tap.taken++] = *bytes++;
            tap.left--;
            length--;
        }
        size_t rest = length < tap.left ? length : tap.left;
        bytes += rest;
        length -= rest;
        tap.left -= (uint32_t)rest;
        if (tap.left == 0)
            end_packet();
    }
}

// --- the two functions that paho reads by ---

typedef ssize_t recv_function(int, void *, size_t, int);
typedef int ssl_read_function(void *, void *, int);
static recv_function *real_recv;
static ssl_read_function *real_ssl_read;

static void find_real(void)
{
    void *found = dlsym(RTLD_NEXT, "recv");
    memcpy(&real_recv, &found, sizeof found);
    found = dlsym(RTLD_NEXT, "SSL_read");
    memcpy(&real_ssl_read, &found, sizeof found);
    if (!real_recv)
        abort(); // the C library has it
}

static void find_real_once(void)
{
    static pthread_once_t once = PTHREAD_ONCE_INIT;
    (void)pthread_once(&once, find_real);
}

// Declared here and not by their headers: those may carry attributes and inline forms of their own.
ssize_t recv(int fd, void *bytes, size_t size, int flags);
int SSL_read(void *ssl, void *bytes, int size);

ssize_t recv(int fd, void *bytes, size_t size, int flags)
{
    find_real_once();
    ssize_t got = real_recv(fd, bytes, size, flags);
    if (tap.on && got > 0)
        follow(bytes, (size_t)got);
    return got;
}

int SSL_read(void *ssl, void *bytes, int size)
{
    find_real_once();
    if (!real_ssl_read)
        abort(); // whoever calls it has OpenSSL
    bool on = tap.on;
    tap.on = false; // what OpenSSL reads meanwhile is ciphertext
    int got = real_ssl_read(ssl, bytes, size);
    tap.on = on;
    if (on && got > 0)
        follow(bytes, (size_t)got);
    return got;
}
