// A meter of the tests' own: a thread that answers Modbus requests on a TCP port, as RTU frames
// over TCP or on a pseudo-terminal, and misbehaves as ordered.
//
// Register `a` holds `(a & 0xFF) << 8 | tick & 0xFF` in the reply to request number `tick` (1, 2,
// 3 …): a word tells which register it is of and which request it answers.
#ifndef METERGATE_TESTS_SUPPORT_FAKE_METER_H
#define METERGATE_TESTS_SUPPORT_FAKE_METER_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum fake_kind { FAKE_TCP, FAKE_RTU_OVER_TCP, FAKE_PTY };

#define FAKE_FRAME_MAX 520

// What to do about one request; filled with the right reply, to be changed by the test.
struct fake_answer {
    uint64_t tick;
    const uint8_t *request; // as it came
    uint8_t frame[FAKE_FRAME_MAX];
    size_t length; // 0: stay silent
    int delay_ms;  // before it is sent; further requests are answered meanwhile
    int drip_ms;   // between bytes, 0: all at once
    bool hang_up;  // reset the connection after it
};

typedef void fake_behaviour(void *context, struct fake_answer *answer);

struct fake_meter;
// `behaviour` runs in the fake's thread for each request; NULL: always answer well.
struct fake_meter *fake_start(enum fake_kind kind, fake_behaviour *behaviour, void *context);
void fake_stop(struct fake_meter *fake);

int fake_port(const struct fake_meter *fake);           // TCP kinds
const char *fake_device(const struct fake_meter *fake); // pty
uint64_t fake_ticks(struct fake_meter *fake);           // requests seen
uint64_t fake_connections(struct fake_meter *fake);     // accepted, TCP kinds
// Drops connections and refuses further ones, or (pty) closes its side of the terminal. Returns
// when it is done; not to be called from a behaviour.
void fake_unplug(struct fake_meter *fake);
// Takes connections on its port again.
void fake_plug_in(struct fake_meter *fake);
// What register `address` holds in the reply to request `tick`.
uint16_t fake_word(int address, uint64_t tick);
// Puts two bytes of check sum behind an RTU frame; returns the new length.
size_t fake_seal(uint8_t *frame, size_t length);

#endif
