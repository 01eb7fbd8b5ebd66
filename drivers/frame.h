// Modbus frames: building read requests and judging replies. Pure: bytes in, verdict out.
// Source: Modbus application protocol V1.1b3; Modbus over serial line V1.02; Modbus messaging on
// TCP/IP V1.0b.
//
// metergate contains no Modbus write function: a request with another function code than 1 to 4 is
// our own bug.
#ifndef METERGATE_DRIVERS_FRAME_H
#define METERGATE_DRIVERS_FRAME_H

#include "drivers/value.h"

#include <stddef.h>

#define FRAME_MAX 260     // TCP: MBAP 7 + PDU 253
#define FRAME_RTU_MAX 256 // unit 1 + PDU 253 + CRC 2
#define FRAME_WORDS_MAX 125
#define FRAME_DATA_MAX (2 * FRAME_WORDS_MAX)
#define FRAME_RTU_REQUEST_SIZE 8
#define FRAME_TCP_REQUEST_SIZE 12

struct request {
    uint8_t unit;     // 1 to 247 (TCP: 0 and 255 as well, many gateways want them)
    uint8_t function; // 1 to 4
    uint16_t first;
    uint16_t count; // 1 to 125 registers (of four bytes: 1 to 62), 1 to 125 bits
    uint8_t
        register_size; // bytes of a register in the reply: 4 (Enron), anything else stands for 2
};

// Words of two bytes in the reply to a request; of bits, one word each.
int frame_word_count(const struct request *request);

// What came of a request. why is WHY_NONE, WHY_TIMEOUT, WHY_CRC, WHY_FRAME, WHY_LINK_DOWN or
// WHY_EXCEPTION + code.
struct reply {
    uint16_t why;
    uint16_t words[FRAME_WORDS_MAX]; // registers, or one bit each; only where why is WHY_NONE
    int64_t elapsed_us;              // from the last byte sent to the last byte received
    char detail[96];                 // for the technician: what was wrong with the frame
};

// Length of the frame written.
size_t frame_rtu_request(const struct request *request, uint8_t frame[static FRAME_RTU_MAX]);
size_t frame_tcp_request(const struct request *request, uint16_t transaction,
                         uint8_t frame[static FRAME_MAX]);

// Bytes of data in the reply to a request, and of the whole reply on a serial line.
size_t frame_data_size(const struct request *request);
size_t frame_rtu_reply_size(const struct request *request);

// Judges a whole reply: unit, function, byte count, length and CRC (RTU), or transaction, protocol,
// length, unit, function, byte count (TCP). Fills words, why and detail; elapsed_us is the
// caller's.
void frame_rtu_judge(const struct request *request, const uint8_t *frame, size_t length,
                     struct reply *reply);
void frame_tcp_judge(const struct request *request, uint16_t transaction, const uint8_t *frame,
                     size_t length, struct reply *reply);

uint16_t frame_crc16(const uint8_t *bytes, size_t length);

#endif
