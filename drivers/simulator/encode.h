// From values to words of the wire: the inverse of drivers/decode.h, for simulated meters and for
// tests. Pure.
#ifndef METERGATE_DRIVERS_SIMULATOR_ENCODE_H
#define METERGATE_DRIVERS_SIMULATOR_ENCODE_H

#include "base/err.h"
#include "drivers/decode.h"

// Puts the raw bits of one field into the image, in the field's word order: an integer in two's
// complement, the IEEE bits of f32 and f64, BCD digits as hexadecimal nibbles.
void encode_raw(const struct profile *profile, int field, uint64_t raw, struct image *image);
// Bytes of a RAW_STRING field: cut to its size, filled up with NUL.
void encode_string(const struct profile *profile, int field, const char *text, struct image *image);

// The raw bits that the simulator gives a scale register: 10^-3 where it is an exponent that can be
// negative, a half where it is a floating factor, else 1. Channels that share the register agree.
uint64_t encode_scale_raw(const struct field *field, bool is_exponent);

// Puts what encode_scale_raw says into the channel's scale registers, where it has some.
void encode_scale_registers(const struct profile *profile, int channel, struct image *image);

// Puts a channel's value (in the channel's canonical unit) into the image, and its scale registers.
// Counters are cut to the meter's resolution, gauges rounded. -1, and the image untouched, when the
// fields cannot hold the value; NaN and infinity need a floating field.
int encode_counter(const struct profile *profile, int channel, int64_t micro, struct image *image,
                   struct err *err);
int encode_gauge(const struct profile *profile, int channel, double number, struct image *image,
                 struct err *err);
// Bit i of `bits` is profile->status[i]; other bits of the fields are cleared.
void encode_status(const struct profile *profile, uint64_t bits, struct image *image);
// A number field takes the digits of the text.
int encode_identity(const struct profile *profile, int channel, const char *text,
                    struct image *image, struct err *err);

// Where the counter rolls over to zero, in micro units; 0 where it never does within the range of a
// counter.
int64_t encode_counter_span(const struct profile *profile, int channel);

#endif
