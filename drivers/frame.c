#include "drivers/frame.h"

#include <assert.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

enum {
    MBAP_SIZE = 7, // transaction 2, protocol 2, length 2, unit 1
    CRC_SIZE = 2,
    EXCEPTION_BIT = 0x80,
    RTU_EXCEPTION_SIZE = 5,
};

static void put_u16(uint8_t *at, uint16_t value)
{
    at[0] = (uint8_t)(value >> 8);
    at[1] = (uint8_t)value;
}

static uint16_t get_u16(const uint8_t *at)
{
    return (uint16_t)(at[0] << 8 | at[1]);
}

uint16_t frame_crc16(const uint8_t *bytes, size_t length)
{
    uint16_t crc = 0xFFFF;
    for (size_t i = 0; i < length; i++) {
        crc ^= bytes[i];
        for (int bit = 0; bit < 8; bit++)
            crc = (uint16_t)((crc & 1) != 0 ? crc >> 1 ^ 0xA001 : crc >> 1);
    }
    return crc;
}

// ---- requests -----------------------------------------------------------------------------------

// The one place that writes a request: it knows no function that writes to a meter.
static void put_pdu(const struct request *request, uint8_t *at)
{
    assert(request->function >= 1 && request->function <= 4);
    assert(request->count >= 1 && frame_word_count(request) <= FRAME_WORDS_MAX);
    at[0] = request->function;
    put_u16(at + 1, request->first);
    put_u16(at + 3, request->count);
}

size_t frame_rtu_request(const struct request *request, uint8_t frame[static FRAME_RTU_MAX])
{
    frame[0] = request->unit;
    put_pdu(request, frame + 1);
    uint16_t crc = frame_crc16(frame, 6);
    frame[6] = (uint8_t)crc;
    frame[7] = (uint8_t)(crc >> 8);
    return FRAME_RTU_REQUEST_SIZE;
}

size_t frame_tcp_request(const struct request *request, uint16_t transaction,
                         uint8_t frame[static FRAME_MAX])
{
    put_u16(frame, transaction);
    put_u16(frame + 2, 0);
    put_u16(frame + 4, 6);
    frame[6] = request->unit;
    put_pdu(request, frame + MBAP_SIZE);
    return FRAME_TCP_REQUEST_SIZE;
}

int frame_word_count(const struct request *request)
{
    bool wide = request->register_size == 4 && request->function >= 3;
    return wide ? 2 * request->count : request->count;
}

size_t frame_data_size(const struct request *request)
{
    unsigned words = (unsigned)frame_word_count(request);
    return request->function <= 2 ? (words + 7) / 8 : 2 * words;
}

size_t frame_rtu_reply_size(const struct request *request)
{
    return 3 + frame_data_size(request) + CRC_SIZE;
}

// ---- replies ------------------------------------------------------------------------------------

__attribute__((format(printf, 2, 3))) static void refuse(struct reply *reply, const char *format,
                                                         ...)
{
    va_list arguments;
    va_start(arguments, format);
    (void)vsnprintf(reply->detail, sizeof reply->detail, format, arguments);
    va_end(arguments);
    reply->why = WHY_FRAME;
}

static bool unit_fits(const struct request *request, uint8_t unit, struct reply *reply)
{
    if (unit != request->unit) {
        refuse(reply, "unit %d answered, unit %d was asked", unit, request->unit);
        return false;
    }
    return true;
}

static void take_words(const struct request *request, const uint8_t *data, struct reply *reply)
{
    int count = frame_word_count(request);
    for (int i = 0; i < count; i++) {
        int bit = data[i / 8] >> i % 8 & 1;
        reply->words[i] = (uint16_t)(request->function <= 2 ? bit : get_u16(data + 2 * (size_t)i));
    }
    reply->why = WHY_NONE;
    reply->detail[0] = '\0';
}

// Function, byte count and length of a PDU of `length` bytes, whose unit is the right one already.
static void judge_pdu(const struct request *request, const uint8_t *pdu, size_t length,
                      struct reply *reply)
{
    if (pdu[0] == (request->function | EXCEPTION_BIT)) {
        if (length != 2 || pdu[1] == 0) {
            refuse(reply, "malformed exception reply of %zu bytes, code %d", length, pdu[1]);
            return;
        }
        reply->why = (uint16_t)(WHY_EXCEPTION + pdu[1]);
        (void)snprintf(reply->detail, sizeof reply->detail, "the meter refused with exception %d",
                       pdu[1]);
        return;
    }
    size_t expected = frame_data_size(request);
    if (pdu[0] != request->function)
        refuse(reply, "function %d answered, function %d was asked", pdu[0], request->function);
    else if (pdu[1] != expected)
        refuse(reply, "byte count %d, %zu were asked", pdu[1], expected);
    else if (length != 2 + expected)
        refuse(reply, "%zu data bytes, byte count says %zu", length - 2, expected);
    else
        take_words(request, pdu + 2, reply);
}

static bool is_echo(const struct request *request, const uint8_t *frame, size_t length)
{
    uint8_t sent[FRAME_RTU_MAX];
    size_t size = frame_rtu_request(request, sent);
    return length >= size && memcmp(frame, sent, size) == 0;
}

// A frame that ends early or late fails its CRC too: say what is wrong with its length where its
// head can be read.
static void refuse_crc(const struct request *request, const uint8_t *frame, size_t length,
                       struct reply *reply)
{
    bool head = frame[0] == request->unit && frame[1] == request->function &&
                frame[2] == frame_data_size(request);
    size_t expected = frame_rtu_reply_size(request);
    if (head && length != expected) {
        refuse(reply, "%zu bytes came, the reply has %zu", length, expected);
        return;
    }
    reply->why = WHY_CRC;
    (void)snprintf(reply->detail, sizeof reply->detail,
                   "check sum of a frame of %zu bytes is wrong", length);
}

void frame_rtu_judge(const struct request *request, const uint8_t *frame, size_t length,
                     struct reply *reply)
{
    if (length < RTU_EXCEPTION_SIZE) {
        refuse(reply, "only %zu bytes came, the shortest reply has 5", length);
        return;
    }
    // For some requests of bits the echo would pass as the reply.
    if (is_echo(request, frame, length)) {
        refuse(reply, "the request came back: the adapter echoes; set echo: true for the link");
        return;
    }
    uint16_t crc = (uint16_t)(frame[length - 2] | frame[length - 1] << 8);
    if (frame_crc16(frame, length - CRC_SIZE) != crc) {
        refuse_crc(request, frame, length, reply);
        return;
    }
    if (unit_fits(request, frame[0], reply))
        judge_pdu(request, frame + 1, length - 1 - CRC_SIZE, reply);
}

void frame_tcp_judge(const struct request *request, uint16_t transaction, const uint8_t *frame,
                     size_t length, struct reply *reply)
{
    if (length < MBAP_SIZE + 2)
        refuse(reply, "only %zu bytes came, the shortest reply has 9", length);
    else if (get_u16(frame) != transaction)
        refuse(reply, "transaction %d answered, %d was asked", get_u16(frame), transaction);
    else if (get_u16(frame + 2) != 0)
        refuse(reply, "protocol %d, Modbus is 0", get_u16(frame + 2));
    else if (get_u16(frame + 4) != length - 6)
        refuse(reply, "the header says %d bytes follow, %zu came", get_u16(frame + 4), length - 6);
    else if (unit_fits(request, frame[6], reply))
        judge_pdu(request, frame + MBAP_SIZE, length - MBAP_SIZE, reply);
}
