// The values of a meter from one due poll: what the bus hands to the recorder.
#ifndef METERGATE_POLL_READING_H
#define METERGATE_POLL_READING_H

#include "base/writer.h"
#include "drivers/decode.h"

struct config;
struct meter;

// Made by reading_new, handed over by pointer, freed by whoever holds it last. Holds a reference of
// the configuration that its meter belongs to, so that a reload cannot pull the meter from under
// it.
struct reading {
    struct config *config;
    const struct meter *meter;
    int64_t
        due_ms;    // wall clock, Unix milliseconds: the due time that it answers; 0 for a test read
    int64_t at_ms; // wall clock: instant of the last good reply, else the due time
    int64_t boot_ms; // boot clock at the same instant
    bool answered;   // at least one request was answered well
    int64_t undated; // row that it was kept in before the clock was known; 0: none. The recorder's
    bool begins;     // another meter stands there since this reading; set by the recorder
    char detail[96]; // for a technician: what the last request that failed met, "" when none did
    struct image image;
    int value_count;       // == meter->profile->channel_count
    struct value values[]; // one for each channel of the profile
};

// NULL when memory is short. Takes a reference on the configuration (NULL for a meter outside any:
// `metergate read --link`); values start as missing, not polled.
struct reading *reading_new(struct config *config, const struct meter *meter);
void reading_free(struct reading *reading); // NULL is fine

// Marks every field and value as missing for one reason.
void reading_refuse(struct reading *reading, uint16_t why);

// Doubts every value that was read, for one reason (why_is_doubt).
void reading_doubt(struct reading *reading, uint16_t why);

// Adds {CHANNEL: {"value","unit","quality","why"}} of all channels; status bits by the profile's
// names.
void reading_print_channels(struct writer *writer, const struct reading *reading);

#endif
