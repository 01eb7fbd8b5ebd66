// Many lines side by side, pseudo-terminals or TCP ports (Modbus TCP, or RTU frames), whose meters
// answer as a test tells them: late, twice, in pieces, damaged. Check sums and replies are made
// here from the standard's text alone, not by the program's own code, so that both cannot err
// alike.
//
// What a register holds depends on unit, address and the number of the request on its line (its
// serial, from 1): odd_word() is the truth that a test holds the program to.
#ifndef METERGATE_TESTS_SUPPORT_ODD_LINES_H
#define METERGATE_TESTS_SUPPORT_ODD_LINES_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define ODD_FRAME_MAX 600 // of what is sent at once

// Registers from here on: 64-bit codes, four registers each, that tell unit, address and serial.
#define ODD_CODES 0
#define ODD_FLOATS 1000 // two registers each: an instrument's float that trembles
#define ODD_BCD 2000    // three registers each: a total of twelve digits that counts requests
#define ODD_FLAGS 3000  // one register each: status bits that stay

enum odd_kind { ODD_PTY, ODD_RTU_OVER_TCP, ODD_TCP };

struct odd_lines;

// One request as it came, and the right reply to it.
struct odd_request {
    struct odd_lines *lines;
    int line;
    uint64_t serial;
    int unit, function, first, count;
    uint8_t reply[ODD_FRAME_MAX];
    size_t length;
};

// In the meters' thread, for each request: answers by odd_send, or not at all.
typedef void odd_behaviour(void *context, const struct odd_request *request);

// `seed` makes odd_random repeat itself.
struct odd_lines *odd_start(int count, enum odd_kind kind, uint64_t seed, odd_behaviour *behaviour,
                            void *context);
void odd_stop(struct odd_lines *lines);
const char *odd_device(const struct odd_lines *lines, int line); // pty
int odd_port(const struct odd_lines *lines, int line);           // the others

// From a reader: the request with that serial goes out now.
void odd_asked(struct odd_lines *lines, int line, uint64_t serial);
// How late a request was seen, or something was sent, at the worst.
int odd_lag_ms(const struct odd_lines *lines);

// For the behaviour alone: sends bytes after a while. Over TCP only as long as the connection that
// the request came on is there, and never before what was to be sent earlier.
void odd_send(const struct odd_request *request, int64_t delay_us, const uint8_t *bytes,
              size_t length);
// Resets the connection (TCP) after a while.
void odd_reset(const struct odd_request *request, int64_t delay_us);
// 0 to below - 1, from the line's own row of numbers.
uint32_t odd_random(const struct odd_request *request, uint32_t below);

uint16_t odd_word(int unit, int address, uint64_t serial);
// The serial of the request behind that with serial `last`. Over TCP a request can be lost with its
// connection, so its transaction number counts.
uint64_t odd_next_serial(bool tcp, uint64_t last, const uint8_t *bytes);
// Puts the two bytes of check sum behind a frame and returns the new length.
size_t odd_seal(uint8_t *frame, size_t length);
// Whether these bytes are, by every check of the standard, the normal reply to the request; over
// TCP whether they begin with it.
bool odd_passes(const struct odd_request *request, const uint8_t *frame, size_t length);

#endif
