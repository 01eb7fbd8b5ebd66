// What the files of the wire share. Nobody else includes this.
#ifndef METERGATE_DRIVERS_WIRE_INSIDE_H
#define METERGATE_DRIVERS_WIRE_INSIDE_H

#include "drivers/late.h"
#include "drivers/wire.h"

#include <modbus/modbus.h>
#include <stdatomic.h>
#include <sys/socket.h>

#define NS_PER_MS INT64_C(1000000)
#define WIRE_SLICE_NS (100 * NS_PER_MS) // how soon a wait notices wire_interrupt
// On a serial device the end of a silence is met by looking at the clock for so long before it: a
// sleep ends 30 to 100 us late. Costs at most this much of a core for each request: 0.8 % on a bus
// at 38400 Bd that is asked without a rest, nothing to speak of at a poll a second.
#define WIRE_SPIN_NS INT64_C(100000)
#define WIRE_PRIORITY 5 // real-time, far below the kernel's interrupt threads at 50

#define WIRE_SECOND_STAY_MS                                                                        \
    (INT64_C(10) * 60 * 1000) // on the second address, then the first is tried
#define WIRE_MUTE_MAX 3       // transactions without a byte: the other side may be half gone

struct wire {
    struct wire_settings settings;
    const struct clock *clock;
    struct wire_trace trace;
    modbus_t *context; // NULL while closed
    int fd;            // of the context, -1 while closed
    atomic_bool interrupted;
    int address;      // 0: url, 1: second_url
    int64_t moved_ns; // boot clock: connected there, or the first one tried again
    int listen_fd;    // for a modem that dials in, else -1
    char refused[96]; // why the newest caller was not taken
    int meter_pause_ms;
    int64_t char_ns;      // one character on a serial line that we know the speed of, else 0
    int64_t silence_ns;   // before each request
    int64_t last_byte_ns; // boot clock: last byte seen or sent
    int64_t looked_ns;    // boot clock: a socket was last asked whether it is still there
    uint16_t transaction; // of the last request over TCP
    struct late *late;    // serial kinds; NULL over TCP
    int64_t
        drain_from_ns;  // serial kinds: instant of the last error, 0 when there is none to get over
    uint8_t drain_unit; // whose transaction failed; 0 stands for all
    int mute;           // transactions since a byte came
};

// wire_open.c
int wire_refuse_fd(int fd, struct err *err);
int wire_adopt(struct wire *wire, modbus_t *context, struct err *err);
int wire_open_serial(struct wire *wire, struct err *err);

// wire_connect.c
// Connects to the address in use, then to the other one; or waits for the modem.
int wire_open_socket(struct wire *wire, struct err *err);
// On the second address for WIRE_SECOND_STAY_MS: connects to the first again where that works.
bool wire_try_first(struct wire *wire);
// Nothing comes over this connection: the next one goes to the other address.
void wire_leave_mute(struct wire *wire);
socklen_t wire_socket_address(const struct link_url *url, struct sockaddr_storage *out);
void wire_tune_socket(int fd);
// Makes a connected socket the wire's; closes it on failure.
int wire_adopt_socket(struct wire *wire, int fd, struct err *err);

// wire_modem.c
// Listens, and waits a response time-out for the modem.
int wire_open_modem(struct wire *wire, struct err *err);
// Takes a modem that has dialled in meanwhile in place of the connection that is open.
bool wire_take_modem(struct wire *wire);
// Takes the modem's heartbeats off the front of what has come.
void wire_skip_heartbeats(struct wire *wire);
// The length without the heartbeats that stand behind the first `size` bytes.
size_t wire_trim_heartbeats(const struct wire *wire, const uint8_t *bytes, size_t length,
                            size_t size);

// wire_device.c
// What a serial device needs beyond libmodbus: bytes at once, and RS-485 where the link says so.
int wire_device_prepare(int fd, const struct wire_settings *settings, struct err *err);

// wire_io.c
// Waits until the descriptor has bytes or `until_ns`; 1 readable, 0 time is up, -1 interrupted or
// the descriptor is broken.
int wire_wait(struct wire *wire, int64_t until_ns);
// Reads what is there: the number of bytes, 0 when there are none, -1 when the other side is gone.
long wire_read(struct wire *wire, uint8_t *bytes, size_t size);
// Sends a whole frame. -1 when the path is broken.
int wire_send(struct wire *wire, const uint8_t *bytes, size_t length);
void wire_show(const struct wire *wire, bool sent, const uint8_t *bytes, size_t length);
// Lets the calling thread's sleeps end when they should: the kernel adds 50 us to each by default,
// and on a busy machine milliseconds. Real-time scheduling where the process may have it (root,
// CAP_SYS_NICE, or a limit "rtprio" of WIRE_PRIORITY), else the thread goes on as it is.
void wire_sharpen_thread(void);
// Looks at the clock until the instant, where that is no further away than WIRE_SPIN_NS.
void wire_spin(const struct wire *wire, int64_t until_ns);
// Sleeps until an instant of the boot clock. -1 when interrupted.
int wire_sleep(struct wire *wire, int64_t until_ns);
void reply_fail(struct reply *reply, enum why why, const char *detail);

// One transaction over an open wire, from the silence before to the verdict.
void wire_tcp_transact(struct wire *wire, const struct request *request, int timeout_ms,
                       struct reply *reply);
void wire_serial_transact(struct wire *wire, const struct request *request, struct reply *reply);
void wire_serial_wake(struct wire *wire, const struct request *request, int wait_ms,
                      struct reply *reply);

#endif
