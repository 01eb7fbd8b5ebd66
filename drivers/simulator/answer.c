#include "drivers/simulator/answer.h"

#include <stdio.h>
#include <string.h>

#define MBAP_SIZE 7
#define CRC_SIZE 2
#define REGISTERS_MAX 125
#define COILS_MAX SIM_WORDS_MAX
#define PDU_MAX 253
#define EXCEPTION_BIT 0x80

enum exception {
    EXCEPTION_FUNCTION = 1,
    EXCEPTION_ADDRESS = 2,
    EXCEPTION_COUNT = 3,
    EXCEPTION_NO_DEVICE = 11,
};

static uint16_t get_u16(const uint8_t *bytes)
{
    return (uint16_t)(bytes[0] << 8 | bytes[1]);
}

static void put_u16(uint8_t *bytes, unsigned number)
{
    bytes[0] = (uint8_t)(number >> 8);
    bytes[1] = (uint8_t)number;
}

// ---- requests -----------------------------------------------------------------------------------

static enum ask_found take_tcp(const uint8_t *bytes, size_t length, struct ask *out)
{
    if (length < MBAP_SIZE + 1)
        return ASK_MORE;
    size_t rest = get_u16(bytes + 4);
    if (get_u16(bytes + 2) != 0 || rest < 2 || rest > PDU_MAX + 1) {
        out->length = length;
        return ASK_GARBAGE;
    }
    if (length < MBAP_SIZE - 1 + rest)
        return ASK_MORE;
    *out = (struct ask){
        .kind = LINK_TCP,
        .transaction = get_u16(bytes),
        .unit = bytes[6],
        .pdu = bytes + MBAP_SIZE,
        .pdu_length = rest - 1,
        .frame = bytes,
        .length = MBAP_SIZE - 1 + rest,
    };
    return ASK_FRAME;
}

// Length of a request over a serial line by its function; 0 where only silence tells.
static size_t rtu_length(const uint8_t *bytes, size_t length)
{
    uint8_t function = bytes[1];
    if (function >= 1 && function <= 6)
        return 8;
    if (function == 15 || function == 16)
        return length > 6 ? 9 + (size_t)bytes[6] : FRAME_RTU_MAX;
    return 0;
}

static bool crc_is_right(const uint8_t *bytes, size_t length)
{
    uint16_t crc = frame_crc16(bytes, length - CRC_SIZE);
    return bytes[length - 2] == (uint8_t)crc && bytes[length - 1] == (uint8_t)(crc >> 8);
}

static enum ask_found take_rtu(enum link_kind kind, const uint8_t *bytes, size_t length,
                               bool silent, struct ask *out)
{
    if (length >= 4) {
        size_t expected = rtu_length(bytes, length);
        expected = expected == 0 && silent ? length : expected;
        if (expected >= 4 && expected <= length && crc_is_right(bytes, expected)) {
            *out = (struct ask){
                .kind = kind,
                .unit = bytes[0],
                .pdu = bytes + 1,
                .pdu_length = expected - 1 - CRC_SIZE,
                .frame = bytes,
                .length = expected,
            };
            return ASK_FRAME;
        }
    }
    out->length = length;
    return silent ? ASK_GARBAGE : ASK_MORE;
}

enum ask_found ask_take(enum link_kind kind, const uint8_t *bytes, size_t length, bool silent,
                        struct ask *out)
{
    out->length = 0;
    return kind == LINK_TCP ? take_tcp(bytes, length, out)
                            : take_rtu(kind, bytes, length, silent, out);
}

// ---- replies ------------------------------------------------------------------------------------

static size_t exception_pdu(uint8_t function, int code, uint8_t *pdu)
{
    pdu[0] = function | EXCEPTION_BIT;
    pdu[1] = (uint8_t)code;
    return 2;
}

static size_t registers_pdu(uint8_t function, const uint16_t *words, unsigned count, uint8_t *pdu)
{
    pdu[0] = function;
    pdu[1] = (uint8_t)(2 * count);
    for (unsigned i = 0; i < count; i++)
        put_u16(pdu + 2 + 2 * (size_t)i, words[i]);
    return 2 + 2 * (size_t)count;
}

static size_t coils_pdu(uint8_t function, const uint16_t *words, unsigned count, uint8_t *pdu)
{
    size_t bytes = (count + 7) / 8;
    memset(pdu, 0, 2 + bytes);
    pdu[0] = function;
    pdu[1] = (uint8_t)bytes;
    for (unsigned i = 0; i < count; i++)
        pdu[2 + i / 8] |= (uint8_t)((words[i] & 1) << i % 8);
    return 2 + bytes;
}

// Whether the request can be answered at all, before any register is looked up.
static int check_request(const struct sim_meter *meter, const struct ask *ask)
{
    uint8_t function = ask->pdu[0];
    if (function < 1 || function > 4)
        return EXCEPTION_FUNCTION;
    if (ask->pdu_length != 5)
        return EXCEPTION_COUNT;
    unsigned most = function <= 2 ? COILS_MAX : REGISTERS_MAX;
    const struct profile *profile = meter->kind->profile;
    if (meter->kind->strict && profile->limits.max_registers < most)
        most = profile->limits.max_registers;
    unsigned first = get_u16(ask->pdu + 1);
    unsigned count = get_u16(ask->pdu + 3);
    if (count == 0 || count > most)
        return EXCEPTION_COUNT;
    return first + count > 0x10000 ? EXCEPTION_ADDRESS : 0;
}

static size_t make_pdu(struct sim_meter *meter, const struct ask *ask, const struct sim_time *now,
                       const struct struck *struck, uint8_t *pdu)
{
    uint8_t function = ask->pdu[0];
    int code = check_request(meter, ask);
    uint16_t words[SIM_WORDS_MAX];
    unsigned count = 0;
    if (code == 0) {
        struct image image;
        sim_meter_image(meter, now, struck, &image);
        code = sim_meter_registers(meter, &image, function, get_u16(ask->pdu + 1),
                                   get_u16(ask->pdu + 3), words, &count);
        if (code == 0 && function >= 3 && count > REGISTERS_MAX)
            code = EXCEPTION_COUNT;
    }
    if (code == 0 && struck->of[FAULT_EXCEPTION] != NULL)
        code = struck->of[FAULT_EXCEPTION]->code;
    if (code != 0)
        return exception_pdu(function, code, pdu);
    if (struck->of[FAULT_WRONG_COUNT] != NULL && function >= 3) {
        words[1] = count > 1 ? words[1] : 0;
        count = count > 1 ? count - 1 : 2;
    }
    return function >= 3 ? registers_pdu(function, words, count, pdu)
                         : coils_pdu(function, words, count, pdu);
}

static uint8_t other_function(uint8_t function)
{
    switch (function & 0x7F) {
    case 3: return function + 1;
    case 4: return function - 1;
    default: return function ^ 3;
    }
}

static size_t wrap_rtu(uint8_t unit, const uint8_t *pdu, size_t pdu_length, uint8_t *frame)
{
    frame[0] = unit;
    memcpy(frame + 1, pdu, pdu_length);
    uint16_t crc = frame_crc16(frame, pdu_length + 1);
    frame[pdu_length + 1] = (uint8_t)crc;
    frame[pdu_length + 2] = (uint8_t)(crc >> 8);
    return pdu_length + 3;
}

static size_t wrap_tcp(uint16_t transaction, uint8_t unit, const uint8_t *pdu, size_t pdu_length,
                       uint8_t *frame)
{
    put_u16(frame, transaction);
    put_u16(frame + 2, 0);
    put_u16(frame + 4, (unsigned)pdu_length + 1);
    frame[6] = unit;
    memcpy(frame + MBAP_SIZE, pdu, pdu_length);
    return MBAP_SIZE + pdu_length;
}

void answer_absent(const struct ask *ask, struct answer *answer)
{
    *answer = (struct answer){.none = ask->kind != LINK_TCP};
    if (!answer->none) {
        uint8_t pdu[2];
        size_t length = exception_pdu(ask->pdu[0], EXCEPTION_NO_DEVICE, pdu);
        answer->length = wrap_tcp(ask->transaction, ask->unit, pdu, length, answer->bytes);
    }
}

// ---- damage -------------------------------------------------------------------------------------

static void insert(struct answer *answer, size_t at, uint8_t byte)
{
    memmove(answer->bytes + at + 1, answer->bytes + at, answer->length - at);
    answer->bytes[at] = byte;
    answer->length++;
}

static void make_noise(struct sim_meter *meter, int bytes, struct answer *answer)
{
    int count = bytes > 0 ? bytes : 1 + (int)(sim_meter_random(meter) % 4);
    for (int i = 0; i < count && answer->length > 1; i++) {
        uint64_t random = sim_meter_random(meter);
        size_t at = (size_t)(random >> 16) % answer->length;
        switch (random % 4) {
        case 0: answer->bytes[at] ^= (uint8_t)(1U << (random >> 8 & 7)); break;
        case 1:
            answer->length--;
            memmove(answer->bytes + at, answer->bytes + at + 1, answer->length - at);
            break;
        case 2: insert(answer, at, answer->bytes[at]); break;
        default: insert(answer, 0, (uint8_t)(random >> 8)); break;
        }
    }
}

// Which check fails over TCP, where there is no CRC.
static enum fault_kind header_fault(struct sim_meter *meter, const struct struck *struck)
{
    if (struck->of[FAULT_BAD_CRC] != NULL)
        return (enum fault_kind)(FAULT_WRONG_TRANSACTION + sim_meter_random(meter) % 3);
    for (int kind = FAULT_WRONG_TRANSACTION; kind <= FAULT_WRONG_LENGTH; kind++)
        if (struck->of[kind] != NULL)
            return (enum fault_kind)kind;
    return FAULT_KIND_COUNT;
}

static void damage_header(struct sim_meter *meter, const struct struck *struck,
                          struct answer *answer)
{
    uint8_t *frame = answer->bytes;
    switch (header_fault(meter, struck)) {
    case FAULT_WRONG_TRANSACTION: put_u16(frame, get_u16(frame) + 1U); break;
    case FAULT_WRONG_PROTOCOL: put_u16(frame + 2, 1); break;
    case FAULT_WRONG_LENGTH: put_u16(frame + 4, get_u16(frame + 4) + 2U); break;
    default: break;
    }
}

static void damage_frame(struct sim_meter *meter, const struct ask *ask,
                         const struct struck *struck, struct answer *answer)
{
    if (ask->kind == LINK_TCP)
        damage_header(meter, struck, answer);
    else if (struck->of[FAULT_BAD_CRC] != NULL)
        answer->bytes[answer->length - 1] ^= (uint8_t)(1U << sim_meter_random(meter) % 8);
    const struct meter_fault *fault = struck->of[FAULT_TRUNCATED];
    if (fault != NULL) {
        size_t lost = fault->bytes > 0 ? (size_t)fault->bytes : answer->length / 2;
        answer->length -= lost < answer->length ? lost : answer->length - 1;
    }
    fault = struck->of[FAULT_NOISE];
    if (fault != NULL)
        make_noise(meter, fault->bytes, answer);
    fault = struck->of[FAULT_TRAILING];
    for (int i = 0; fault != NULL && i < (fault->bytes > 0 ? fault->bytes : 2); i++)
        answer->bytes[answer->length++] = (uint8_t)sim_meter_random(meter);
    if (struck->of[FAULT_ECHO] != NULL) {
        memmove(answer->bytes + ask->length, answer->bytes, answer->length);
        memcpy(answer->bytes, ask->frame, ask->length);
        answer->length += ask->length;
    }
}

static void set_timing(struct sim_meter *meter, const struct struck *struck, struct answer *answer)
{
    const struct meter_fault *late = struck->of[FAULT_LATE];
    if (late != NULL) {
        int spread = late->delay_max_ms > late->delay_ms ? late->delay_max_ms - late->delay_ms : 0;
        answer->delay_ms +=
            late->delay_ms + (int)(sim_meter_random(meter) % (unsigned)(spread + 1));
    }
    if (struck->of[FAULT_DRIP] != NULL)
        answer->byte_ms = struck->of[FAULT_DRIP]->delay_ms;
}

static void name_faults(const struct struck *struck, struct answer *answer)
{
    size_t length = 0;
    for (int kind = 0; kind < FAULT_KIND_COUNT; kind++) {
        if (struck->of[kind] == NULL)
            continue;
        size_t left = sizeof answer->fault - length;
        int added = snprintf(answer->fault + length, left, "%s%s", length > 0 ? "+" : "",
                             fault_kind_name(kind));
        length += (size_t)added < left ? (size_t)added : left - 1;
    }
}

static bool is_asleep(const struct sim_meter *meter, const struct sim_time *now)
{
    return meter->kind->sleep_after_ms > 0 &&
           now->since_start_ms - meter->asked_ms > meter->kind->sleep_after_ms;
}

void answer_make(struct sim_meter *meter, const struct ask *ask, const struct sim_time *now,
                 struct answer *answer)
{
    struct struck struck;
    bool asleep = is_asleep(meter, now);
    *answer = (struct answer){.delay_ms = meter->kind->reply_delay_ms};
    meter->asked_ms = now->since_start_ms;
    meter->requests++;
    if (asleep) {
        answer->none = true;
        (void)snprintf(answer->fault, sizeof answer->fault, "asleep");
        return;
    }
    sim_meter_strike(meter, now, &struck);
    name_faults(&struck, answer);
    answer->none = struck.of[FAULT_SILENCE] != NULL;
    answer->disconnect = struck.of[FAULT_DISCONNECT] != NULL && ask->kind != LINK_RTU;
    answer->none = answer->none || struck.of[FAULT_DISCONNECT] != NULL;
    if (answer->none)
        return;
    uint8_t pdu[PDU_MAX + 2];
    size_t length = make_pdu(meter, ask, now, &struck, pdu);
    uint8_t unit = ask->unit;
    if (struck.of[FAULT_WRONG_UNIT] != NULL)
        unit++;
    if (struck.of[FAULT_WRONG_FUNCTION] != NULL)
        pdu[0] = other_function(pdu[0]);
    answer->length = ask->kind == LINK_TCP
                         ? wrap_tcp(ask->transaction, unit, pdu, length, answer->bytes)
                         : wrap_rtu(unit, pdu, length, answer->bytes);
    damage_frame(meter, ask, &struck, answer);
    set_timing(meter, &struck, answer);
    meter->replies++;
}
