// Faults to order: what a simulated meter can do wrong, how often, and from when to when. Pure.
#ifndef METERGATE_DRIVERS_SIMULATOR_METER_FAULT_H
#define METERGATE_DRIVERS_SIMULATOR_METER_FAULT_H

#include "base/err.h"

#include <stdbool.h>
#include <stdint.h>

enum fault_kind {
    // of the reply
    FAULT_SILENCE,
    FAULT_LATE,           // after delay_ms, or between delay_ms and delay_max_ms
    FAULT_WRONG_UNIT,     // the reply of unit + 1
    FAULT_WRONG_FUNCTION, // the reply to another function
    FAULT_WRONG_COUNT,    // the byte count says one register less than was asked, and the data too
    FAULT_BAD_CRC,        // over TCP: one of the next three, at random
    FAULT_WRONG_TRANSACTION,
    FAULT_WRONG_PROTOCOL,
    FAULT_WRONG_LENGTH,
    FAULT_EXCEPTION,  // with `code`
    FAULT_TRUNCATED,  // `bytes` are missing at the end; 0: half of the frame
    FAULT_TRAILING,   // `bytes` too many
    FAULT_DRIP,       // one byte each delay_ms
    FAULT_ECHO,       // the request comes back before the reply
    FAULT_NOISE,      // `bytes` of the frame are changed, lost, doubled or put before it
    FAULT_DISCONNECT, // TCP: the connection is closed instead of a reply
    // of the values
    FAULT_JUMP,           // a channel stands `by` too high
    FAULT_FROZEN,         // the values of the first reply repeat
    FAULT_REVERSE,        // counters run backwards
    FAULT_NAN,            // floating fields are NaN, BCD digits bad, others not available
    FAULT_SWAPPED_SERIAL, // another meter's serial number
    FAULT_KIND_COUNT,
};

#define FAULT_CHANNEL_ALL (-1)
#define FAULT_DELAY_MAX_MS 600000
#define FAULT_BYTES_MAX 64

struct meter_fault {
    enum fault_kind kind;
    double probability; // of each reply; frozen and reverse know only always
    int64_t left;       // replies that it still spoils, -1 without bound
    int64_t start_ms;   // since the simulator's start
    int64_t end_ms;     // exclusive
    int delay_ms, delay_max_ms;
    int code;  // of an exception
    int bytes; // 0: the kind's default
    int channel;
    double by;
};

// By kind; NULL ends it.
extern const char *const fault_kind_names[];
// NULL where there is no such kind.
const char *fault_kind_name(int kind);
// -1 when there is no such kind; the message names all of them.
int fault_kind_parse(const char *name, enum fault_kind *out, struct err *err);
bool fault_is_of_values(enum fault_kind kind);

// A fault of that kind, always, from start_ms on, with the kind's defaults.
struct meter_fault fault_make(enum fault_kind kind, int64_t start_ms);

// Sets one option ("count", "5"): probability, count, start_s, end_s, for_s, delay_ms,
// delay_max_ms, code, bytes, by. The channel is the caller's: it knows the profile.
int fault_set_option(struct meter_fault *fault, const char *key, const char *value,
                     struct err *err);
// Options that contradict each other.
int fault_check(const struct meter_fault *fault, struct err *err);

bool fault_is_active(const struct meter_fault *fault, int64_t now_ms);
// Whether it strikes this reply; counts it. `random` is any evenly spread number.
bool fault_strikes(struct meter_fault *fault, int64_t now_ms, uint64_t random);
// It will never strike again.
bool fault_is_over(const struct meter_fault *fault, int64_t now_ms);

#endif
