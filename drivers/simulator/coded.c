#include "drivers/simulator/coded.h"

#include "drivers/simulator/encode.h"
#include "drivers/simulator/site_model.h"

#define STRING_BYTES_MAX 64

uint64_t coded_who(const char *id)
{
    uint64_t hash = UINT64_C(0xCBF29CE484222325);
    for (; *id != '\0'; id++)
        hash = (hash ^ (uint8_t)*id) * UINT64_C(0x100000001B3);
    return hash;
}

uint16_t coded_word(uint64_t who, uint8_t unit, uint8_t function, uint16_t address, uint32_t tick)
{
    uint64_t what =
        (uint64_t)unit << 56 | (uint64_t)function << 48 | (uint64_t)address << 32 | tick;
    return (uint16_t)model_mix(who ^ what);
}

static uint64_t digits_only(uint64_t bits)
{
    uint64_t digits = 0;
    for (int shift = 0; shift < 64; shift += 4)
        digits |= (bits >> shift & 0xF) % 10 << shift;
    return digits;
}

static uint64_t make_valid(const struct field *field, uint64_t bits)
{
    if (field->function <= 2)
        return bits & 1;
    switch ((enum raw_type)field->type) {
    case RAW_I16: return bits & INT16_MAX;
    case RAW_I32: return bits & INT32_MAX;
    case RAW_U64:
    case RAW_I64: return bits & UINT32_MAX;
    case RAW_F32: return UINT64_C(0x44800000) | (bits & UINT64_C(0x007FFFFF));
    case RAW_F64: return UINT64_C(0x4090000000000000) | (bits & UINT64_C(0x000FFFFF00000000));
    case RAW_BCD: return digits_only(bits);
    case RAW_U16:
    case RAW_U32:
    case RAW_STRING: break;
    }
    return bits;
}

uint64_t coded_raw(const struct field *field, uint64_t who, uint8_t unit, uint32_t tick)
{
    uint64_t bits = 0;
    for (int i = 0; i < field->words; i++) {
        bits =
            bits << 16 | coded_word(who, unit, field->function, (uint16_t)(field->first + i), tick);
    }
    return make_valid(field, bits);
}

static void coded_string(const struct profile *profile, int index, uint64_t who, uint8_t unit,
                         uint32_t tick, struct image *image)
{
    const struct field *field = &profile->fields[index];
    char text[STRING_BYTES_MAX + 1];
    int length = 0;
    for (int i = 0; i < field->words && length < STRING_BYTES_MAX; i++) {
        uint16_t word = coded_word(who, unit, field->function, (uint16_t)(field->first + i), tick);
        text[length++] = (char)('A' + (word >> 8) % 26);
        text[length++] = (char)('A' + (word & 0xFF) % 26);
    }
    text[length] = '\0';
    encode_string(profile, index, text, image);
}

// A pattern that means "no such value" would hide what was asked.
static void avoid_not_available(const struct profile *profile, int channel, uint64_t who,
                                uint8_t unit, uint32_t tick, struct image *image)
{
    const struct profile_channel *of = &profile->channels[channel];
    if (of->part_count == 0)
        return;
    int field = of->parts[0].field;
    uint64_t raw = coded_raw(&profile->fields[field], who, unit, tick);
    for (int i = 0; i < of->not_available_count; i++)
        if (of->not_available[i] == raw)
            encode_raw(profile, field, raw ^ 1, image);
}

void coded_image(const struct profile *profile, uint64_t who, uint8_t unit, uint32_t tick,
                 struct image *image)
{
    for (int i = 0; i < profile->field_count; i++)
        if (profile->fields[i].type == RAW_STRING)
            coded_string(profile, i, who, unit, tick, image);
        else
            encode_raw(profile, i, coded_raw(&profile->fields[i], who, unit, tick), image);
    for (int i = 0; i < profile->channel_count; i++) {
        avoid_not_available(profile, i, who, unit, tick, image);
        encode_scale_registers(profile, i, image);
    }
}
