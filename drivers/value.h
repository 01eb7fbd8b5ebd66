// A value with its quality: what a meter said, and how far it may be believed.
#ifndef METERGATE_DRIVERS_VALUE_H
#define METERGATE_DRIVERS_VALUE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

// Worst last (contract, section 1). The numbers are stored: never change one.
enum quality {
    QUALITY_GOOD = 0,
    QUALITY_ARCHIVE = 1,
    QUALITY_MANUAL = 2,
    QUALITY_ESTIMATED = 3,
    QUALITY_SUSPECT = 4,
    QUALITY_MISSING = 5,
};

// Why a value is not good. The numbers are stored: never change one. 0x100 + code is a Modbus
// exception.
enum why {
    WHY_NONE = 0,
    WHY_TIMEOUT = 1,       // no reply in time
    WHY_CRC = 2,           // RTU check sum wrong
    WHY_FRAME = 3,         // reply of the wrong unit, function, length, transaction …
    WHY_LINK_DOWN = 4,     // serial device or TCP connection is not there
    WHY_UNVERIFIED = 5,    // profile not compared with a display yet
    WHY_STORE_FULL = 6,    // read, but could not be kept
    WHY_NOT_AVAILABLE = 7, // the meter's own "no such value" pattern
    WHY_NOT_A_NUMBER = 8,  // NaN or infinity from the wire
    WHY_BAD_BCD = 9,       // a digit above 9
    WHY_OUT_OF_RANGE = 10, // does not fit the range of its kind
    WHY_NOT_POLLED = 11,   // due while the gateway did not run, or the bus was late
    WHY_INTERPOLATED = 12, // estimated between its neighbours
    WHY_REVERSED = 13,     // a counter stands lower than before
    WHY_UNCONFIRMED = 14,  // read on a noisy line, and not read the same a second time
    WHY_EXCHANGED = 15,    // another serial number: not the meter that was there before
    WHY_OVERLOAD = 16,     // due, but the link had no time for it
    WHY_READ_BACK = 17,    // from the meter's own log, after an outage
    // why a read is missing, known only afterwards (record/ledger.h)
    WHY_GATEWAY_DOWN = 18,    // the gateway did not run, and nobody had stopped it
    WHY_GATEWAY_STOPPED = 19, // it was stopped
    WHY_NOT_CONFIGURED = 20,  // the meter was out of the configuration
    WHY_OTHER = 21,           // counted, but not told apart
    // read while the wall clock, set back, went over time that had been recorded already
    WHY_CLOCK_BACK = 22,
    WHY_EXCEPTION = 0x100,
};

// Whether words with this reason were read and are kept, but doubted: their values are suspect.
// With every other reason there are none.
static inline bool why_is_doubt(uint16_t why)
{
    return why == WHY_UNCONFIRMED || why == WHY_EXCHANGED || why == WHY_CLOCK_BACK;
}

#define WHY_TEXT_MAX 24
// "timeout", "exception-2" …; "" for WHY_NONE.
const char *why_text(uint16_t why, char text[static WHY_TEXT_MAX]);
const char *quality_text(enum quality quality); // "good" …
// The worse of two.
enum quality quality_worst(enum quality a, enum quality b);

#define VALUE_TEXT_MAX 33 // identity text with NUL

// `present` says that one of the union's members holds; which one, the channel's kind tells.
struct value {
    uint8_t quality; // enum quality
    bool present;
    uint16_t why; // enum why
    union {
        int64_t micro;             // counter
        double number;             // gauge, exact gauge
        uint64_t bits;             // bits: bit i is the profile's status[i]
        char text[VALUE_TEXT_MAX]; // identity
    };
};

// A number that may be reckoned with: good, or doubted only because its profile is unverified.
static inline bool value_is_usable(const struct value *value)
{
    return value->present && (value->quality == QUALITY_GOOD ||
                              (value->quality == QUALITY_SUSPECT && value->why == WHY_UNVERIFIED));
}

#endif
