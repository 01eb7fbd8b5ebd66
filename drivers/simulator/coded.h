// `values: coded`: every register says who was asked, where and when, so that a test can prove that
// a stored value is the right one. Pure. CODED_HELP is the exact rule, for --help and for the
// tests.
#ifndef METERGATE_DRIVERS_SIMULATOR_CODED_H
#define METERGATE_DRIVERS_SIMULATOR_CODED_H

#include "drivers/decode.h"

#define CODED_TICK_MS 100

#define CODED_HELP                                                                                 \
    "  tick   = whole tenths of a second since `started` of the ready line (Unix seconds)\n"       \
    "  key    = fnv1a64(meter id) ^ (unit << 56 | function << 48 | address << 32 | tick mod "      \
    "2^32)\n"                                                                                      \
    "  word   = low 16 bits of splitmix64(key)\n"                                                  \
    "A field of n registers takes the words of its n addresses, the first one most significant,\n" \
    "which then are made a valid value of its type (w0 is the first word):\n"                      \
    "  u16, u32         as they are          i16, i32   the sign bit cleared\n"                    \
    "  u64, i64         only the last two words (below 2^32), the others 0\n"                      \
    "  f32              0x44800000 | (bits & 0x007fffff)               1024 <= value < 2048\n"     \
    "  f64              0x4090000000000000 | (bits & 0x000fffff00000000), the same range\n"        \
    "  bcd              each digit = its four bits mod 10\n"                                       \
    "  string           each byte = 'A' + byte mod 26\n"                                           \
    "  coil, input      the lowest bit\n"                                                          \
    "and is put on the wire in the profile's order. Scale registers are not coded: a signed\n"     \
    "exponent is -3, a floating factor 0.5, any other 1 (factor) or 0 (exponent). A value that\n"  \
    "the profile calls not available has its lowest bit flipped.\n"

// The constant of a meter: FNV-1a, 64 bits, of its id.
uint64_t coded_who(const char *id);
uint16_t coded_word(uint64_t who, uint8_t unit, uint8_t function, uint16_t address, uint32_t tick);

// The raw bits of a field of at most four registers.
uint64_t coded_raw(const struct field *field, uint64_t who, uint8_t unit, uint32_t tick);

// Fills the whole image.
void coded_image(const struct profile *profile, uint64_t who, uint8_t unit, uint32_t tick,
                 struct image *image);

#endif
