// The register map of a meter model, as data. Loaded from YAML by config/profile_file.h; here is
// what it means.
//
// A profile is a list of fields (words on the wire) and of channels made of them. A field's words
// have a fixed place in the image, so that an image can be stored and decoded later, however its
// requests were planned.
#ifndef METERGATE_DRIVERS_PROFILE_H
#define METERGATE_DRIVERS_PROFILE_H

#include "base/decimal.h"
#include "drivers/channel.h"

#include <stdbool.h>
#include <stdint.h>

#define PROFILE_NAME_MAX 64
#define PROFILE_CHANNELS_MAX 48
#define PROFILE_FIELDS_MAX 96
#define PROFILE_WORDS_MAX 256
#define PROFILE_PARTS_MAX 4
#define PROFILE_STATUS_MAX 64
#define PROFILE_NOT_AVAILABLE_MAX 4
#define PROFILE_TOGETHER_MAX 32
#define PROFILE_ARCHIVES_MAX 4
#define PROFILE_ARCHIVE_CHANNELS_MAX 16
#define PROFILE_REQUEST_REGISTERS_MAX 125 // Modbus application protocol V1.1b3, 6.3 and 6.4

enum raw_type {
    RAW_U16,
    RAW_I16,
    RAW_U32,
    RAW_I32,
    RAW_U64,
    RAW_I64,
    RAW_F32,
    RAW_F64,
    RAW_BCD,    // four digits a register, `words` of them
    RAW_STRING, // two bytes a register, ends at a NUL or trailing spaces
};

// Order of the bytes on the wire; A is the most significant. For four registers the same four forms
// over eight bytes: ABCDEFGH, GHEFCDAB, BADCFEHG, HGFEDCBA.
enum word_order { ORDER_ABCD, ORDER_CDAB, ORDER_BADC, ORDER_DCBA };

// "ABCD" … by enum word_order, NULL at the end.
extern const char *const word_order_names[];
// The order of that name, -1 when there is none.
int word_order_find(const char *name);

struct field {
    uint16_t first;   // register address on the wire, from 0
    uint8_t function; // 1 to 4; with 1 and 2 (coils, discrete inputs) a field is one bit, kept in
                      // one word
    uint8_t words;    // in the image, two bytes each
    uint8_t register_size; // bytes of a register on the wire: 4 (Enron), anything else stands for 2
    uint16_t place;        // of its first word in the image
    uint8_t type;          // enum raw_type
    uint8_t order;         // enum word_order
};

// Registers that a field takes up on the wire.
static inline int field_registers(const struct field *field)
{
    return field->register_size == 4 ? field->words / 2 : field->words;
}

// The first register after a field.
static inline int field_end(const struct field *field)
{
    return field->first + field_registers(field);
}

// One addend of a channel: raw x scale (x what the scale register says).
struct part {
    uint8_t field; // index in profile.fields
    struct decimal scale;
    int scale_field;        // index in profile.fields of the scale register, -1 without
    bool scale_is_exponent; // its value is a power of ten; otherwise a factor
};

struct profile_channel {
    const struct channel *channel;
    uint8_t part_count; // their exact sum is the channel
    struct part parts[PROFILE_PARTS_MAX];
    struct decimal offset;             // added after scaling, in the profile's unit
    char unit[16];                     // the profile's unit; "config": the meter entry sets it
    struct unit_conversion conversion; // to the canonical unit; filled when the unit is known
    uint8_t not_available_count;
    uint64_t not_available[PROFILE_NOT_AVAILABLE_MAX]; // raw bits of the first part, most
                                                       // significant word first
};

// Set while its bits hold `value`; with a width of 0 or 1, while its bit is set.
struct profile_status {
    uint8_t field;
    uint8_t bit;   // 0 is the least significant
    uint8_t width; // bits from there on
    uint16_t value;
    char name[32];
    char severity[10]; // "minor", "major", "critical" or ""
};

// First and last register, of one function, that must be read in one request.
struct profile_together {
    uint16_t first, last;
};

struct profile_limits {
    uint16_t max_registers; // in one request; default 60
    uint16_t max_gap;       // unused registers that may be read over; default 8
    int pause_ms;           // silence that the meter needs before a request; default 0
    int reply_ms;           // longest time that the meter takes to answer; 0: not known
    bool wake_request;      // the meter loses the first request after a rest
    int wake_after_s;       // of so long; default 5
    int wake_wait_ms;       // from that request to the next; default 200
    int register_size;      // bytes of a register: 2, or 4 (Enron Modbus: one number for each value
                            // of 32 bits; those of 16 bits keep registers of two bytes)
};

enum archive_span { ARCHIVE_HOUR, ARCHIVE_DAY };

// One value of an archive's record: raw x scale, `offset` registers after the record's first.
struct archive_value {
    const struct channel *channel;
    uint16_t offset;
    uint8_t words;
    uint8_t type;   // enum raw_type
    uint8_t order;  // enum word_order
    bool increment; // of a counter: what the span added, not the index at its end
    struct decimal scale;
    char unit[16];
    struct unit_conversion conversion;
};

// The meter's own log of closed hours or days: `records` records of `record_registers` registers
// each. A record is of one span: its indices stand at the span's end. drivers/archive.h reads it.
struct profile_archive {
    char name[32];
    enum archive_span span;
    uint8_t function; // 3 or 4
    uint16_t first_register;
    uint16_t record_registers;
    uint16_t records;
    bool oldest_first;
    uint16_t time_offset;
    uint8_t time_type;  // RAW_U32: Unix seconds; RAW_BCD of 3 words: YYMMDDhhmmss by the meter
    uint8_t time_order; // enum word_order
    bool time_is_start; // it names the span's start, not its end
    bool time_is_utc;   // else by the wall clock of the gateway's time zone
    int value_count;
    struct archive_value values[PROFILE_ARCHIVE_CHANNELS_MAX];
};

// `channels` ends with the status set and the identity where the profile has them: `status` is one
// channel of kind CHANNEL_BITS with part_count 0, over all status bits.
struct profile {
    char name[PROFILE_NAME_MAX]; // file name without ".yaml"
    char model[64];
    char medium[16];
    bool verified;
    uint8_t serial_baud_known;
    int serial_baud;
    char serial_parity;
    int serial_stop;
    struct profile_limits limits;
    uint8_t field_count;
    struct field fields[PROFILE_FIELDS_MAX];
    uint16_t word_count; // of the image
    uint8_t channel_count;
    struct profile_channel channels[PROFILE_CHANNELS_MAX];
    uint8_t status_count;
    struct profile_status status[PROFILE_STATUS_MAX];
    uint8_t together_count;
    struct profile_together together[PROFILE_TOGETHER_MAX];
    int archive_count;
    struct profile_archive *archives;
    char *source; // the YAML text it was loaded from: stored with readings, so that they can be
                  // decoded later
};

// Gives every number of two or four registers another order of its bytes, those of identity, status
// and archives as well: where the order is set in the meter. False when the profile has no such
// number.
bool profile_set_word_order(struct profile *profile, enum word_order order);

// What one count of a part of a counter is worth, micro units; 0 where that cannot be told: a
// float, or a scale that the meter itself tells.
int64_t profile_count_worth(const struct profile *profile, const struct profile_channel *channel,
                            const struct part *part);
// The same of the counter: of its last part; 1 where that cannot be told, or is more than 10^6.
int64_t profile_resolution(const struct profile *profile, const struct profile_channel *channel);

// Index in `channels`, -1 when the profile has no such channel.
int profile_channel_find(const struct profile *profile, const char *name);

#endif
