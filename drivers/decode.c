#include "drivers/decode.h"

#include "drivers/exact.h"

#include <assert.h>
#include <math.h>
#include <stdio.h>
#include <string.h>

// A number as it stood on the wire.
struct raw {
    bool is_float;
    bool negative;      // integers
    uint64_t magnitude; // integers
    double number;      // floats
};

// ---- words --------------------------------------------------------------------------------------

// Word `i` of a field, most significant first.
static uint16_t word_at(const struct image *image, const struct field *field, int i)
{
    bool last_first = field->order == ORDER_CDAB || field->order == ORDER_DCBA;
    bool swapped = field->order == ORDER_BADC || field->order == ORDER_DCBA;
    uint16_t word = image->words[field->place + (last_first ? field->words - 1 - i : i)];
    return (uint16_t)(swapped ? word >> 8 | word << 8 : word);
}

// All bits of a field of up to four words.
static uint64_t bits_of(const struct image *image, const struct field *field)
{
    assert(field->words <= 4);
    uint64_t bits = 0;
    for (int i = 0; i < field->words; i++)
        bits = bits << 16 | word_at(image, field, i);
    return bits;
}

static void set_signed(struct raw *raw, int64_t value)
{
    raw->negative = value < 0;
    raw->magnitude = value < 0 ? -(uint64_t)value : (uint64_t)value;
}

// False for a digit above 9.
static bool set_bcd(struct raw *raw, uint64_t bits, int digits)
{
    for (int i = digits - 1; i >= 0; i--) {
        uint64_t digit = bits >> (4 * i) & 0xF;
        if (digit > 9)
            return false;
        raw->magnitude = raw->magnitude * 10 + digit;
    }
    return true;
}

static double float_of(uint64_t bits, bool wide)
{
    if (wide) {
        double number = 0;
        memcpy(&number, &bits, sizeof number);
        return number;
    }
    uint32_t narrow_bits = (uint32_t)bits;
    float number = 0;
    memcpy(&number, &narrow_bits, sizeof number);
    return (double)number;
}

// WHY_NONE, or why the words are no number.
static uint16_t raw_of(const struct image *image, const struct field *field, struct raw *raw)
{
    uint64_t bits = bits_of(image, field);
    *raw = (struct raw){0};
    switch ((enum raw_type)field->type) {
    case RAW_U16:
    case RAW_U32:
    case RAW_U64: raw->magnitude = bits; break;
    case RAW_I16: set_signed(raw, (int16_t)bits); break;
    case RAW_I32: set_signed(raw, (int32_t)bits); break;
    case RAW_I64: set_signed(raw, (int64_t)bits); break;
    case RAW_BCD: return set_bcd(raw, bits, 4 * field->words) ? WHY_NONE : WHY_BAD_BCD;
    case RAW_F32:
    case RAW_F64:
        raw->is_float = true;
        raw->number = float_of(bits, field->type == RAW_F64);
        return isfinite(raw->number) ? WHY_NONE : WHY_NOT_A_NUMBER;
    case RAW_STRING: assert(!"a text is no number");
    }
    return WHY_NONE;
}

// ---- scaling ------------------------------------------------------------------------------------

// raw x scale x what the scale register says.
struct scaled {
    struct raw raw;
    struct decimal scale;
    bool has_factor;
    struct raw factor;
};

static uint16_t scaled_of(const struct profile *profile, const struct image *image,
                          const struct part *part, struct scaled *scaled)
{
    *scaled = (struct scaled){.scale = part->scale};
    uint16_t why = raw_of(image, &profile->fields[part->field], &scaled->raw);
    if (why != WHY_NONE || part->scale_field < 0)
        return why;
    why = raw_of(image, &profile->fields[part->scale_field], &scaled->factor);
    if (why != WHY_NONE || !part->scale_is_exponent) {
        scaled->has_factor = true;
        return why;
    }
    const struct raw *exponent = &scaled->factor;
    if (exponent->is_float || exponent->magnitude > 18)
        return WHY_OUT_OF_RANGE;
    int tens = (int)exponent->magnitude;
    scaled->scale.exponent += exponent->negative ? -tens : tens;
    return WHY_NONE;
}

// Multiplies a term by a number; a float by its mantissa and a power of two.
static void term_multiply(struct exact_term *term, int index, const struct raw *raw)
{
    if (!raw->is_float) {
        term->factor[index] = raw->magnitude;
        term->negative = term->negative != raw->negative;
        return;
    }
    int twos = 0;
    double fraction = frexp(fabs(raw->number), &twos);
    term->factor[index] = (uint64_t)ldexp(fraction, 53); // exact: a double has 53 bits
    term->twos += twos - 53;
    term->negative = term->negative != (raw->number < 0);
}

static void add_exact(struct exact *sum, const struct scaled *scaled, int unit_tens)
{
    int64_t mantissa = scaled->scale.mantissa;
    struct exact_term term = {
        .negative = mantissa < 0,
        .factor = {1, mantissa < 0 ? -(uint64_t)mantissa : (uint64_t)mantissa, 1},
        .tens = scaled->scale.exponent + unit_tens,
    };
    term_multiply(&term, 0, &scaled->raw);
    if (scaled->has_factor)
        term_multiply(&term, 2, &scaled->factor);
    exact_add(sum, &term);
}

static double number_of(const struct raw *raw)
{
    if (raw->is_float)
        return raw->number;
    return raw->negative ? -(double)raw->magnitude : (double)raw->magnitude;
}

// number x scale with one rounding more than needed at most: 217 x 0.1 is 217 / 10.
static double scale_number(double number, struct decimal scale)
{
    double product = number * (double)scale.mantissa;
    double power = 1;
    for (int i = scale.exponent < 0 ? -scale.exponent : scale.exponent; i > 0; i--)
        power *= 10;
    return scale.exponent < 0 ? product / power : product * power;
}

// ---- channels -----------------------------------------------------------------------------------

static void set_good(struct value *value)
{
    value->quality = QUALITY_GOOD;
    value->why = WHY_NONE;
    value->present = true;
}

static void set_bad(struct value *value, enum quality quality, uint16_t why)
{
    *value = (struct value){.quality = (uint8_t)quality, .why = why};
}

// The power of ten that a conversion is: a counter's unit is never anything else (contract, section
// 3).
static int conversion_tens(const struct unit_conversion *conversion)
{
    int tens = conversion->factor.exponent;
    for (int64_t mantissa = conversion->factor.mantissa; mantissa > 1; mantissa /= 10)
        tens++;
    return tens;
}

static void decode_counter(const struct profile_channel *channel, const struct scaled *scaled,
                           struct value *value)
{
    struct exact sum = {0};
    int tens = conversion_tens(&channel->conversion);
    for (int i = 0; i < channel->part_count; i++)
        add_exact(&sum, &scaled[i], tens);
    struct scaled offset = {.raw = {.magnitude = 1}, .scale = channel->offset};
    add_exact(&sum, &offset, tens);
    int64_t micro = 0;
    if (exact_round(&sum, &micro) != 0) {
        set_bad(value, QUALITY_SUSPECT, WHY_OUT_OF_RANGE);
        return;
    }
    set_good(value);
    value->micro = micro;
}

static void decode_gauge(const struct profile_channel *channel, const struct scaled *scaled,
                         struct value *value)
{
    double sum = 0;
    for (int i = 0; i < channel->part_count; i++) {
        double number = scale_number(number_of(&scaled[i].raw), scaled[i].scale);
        sum += scaled[i].has_factor ? number * number_of(&scaled[i].factor) : number;
    }
    sum += scale_number(1, channel->offset);
    sum =
        scale_number(sum, channel->conversion.factor) + scale_number(1, channel->conversion.offset);
    if (!isfinite(sum)) {
        set_bad(value, QUALITY_SUSPECT, WHY_OUT_OF_RANGE);
        return;
    }
    set_good(value);
    value->number = sum;
}

static bool matches_not_available(const struct profile *profile,
                                  const struct profile_channel *channel, const struct image *image)
{
    if (channel->not_available_count == 0)
        return false;
    uint64_t bits = bits_of(image, &profile->fields[channel->parts[0].field]);
    for (int i = 0; i < channel->not_available_count; i++)
        if (channel->not_available[i] == bits)
            return true;
    return false;
}

static void decode_number(const struct profile *profile, const struct profile_channel *channel,
                          const struct image *image, struct value *value)
{
    struct scaled scaled[PROFILE_PARTS_MAX];
    for (int i = 0; i < channel->part_count; i++) {
        uint16_t why = scaled_of(profile, image, &channel->parts[i], &scaled[i]);
        if (why != WHY_NONE) {
            set_bad(value, QUALITY_SUSPECT, why);
            return;
        }
    }
    if (strcmp(channel->unit, "config") == 0) // nobody has said what it counts
        set_bad(value, QUALITY_SUSPECT, WHY_OUT_OF_RANGE);
    else if (channel->channel->kind == CHANNEL_COUNTER)
        decode_counter(channel, scaled, value);
    else
        decode_gauge(channel, scaled, value);
}

static void decode_bits(const struct profile *profile, const struct image *image,
                        struct value *value)
{
    uint64_t bits = 0;
    for (int i = 0; i < profile->status_count; i++) {
        const struct profile_status *status = &profile->status[i];
        uint64_t word = bits_of(image, &profile->fields[status->field]);
        uint64_t held = word >> status->bit;
        bool set = status->width <= 1
                       ? (held & 1) != 0
                       : (held & ((UINT64_C(1) << status->width) - 1)) == status->value;
        bits |= (uint64_t)set << i;
    }
    set_good(value);
    value->bits = bits;
}

static void text_of_string(const struct image *image, const struct field *field, char *text)
{
    size_t length = 0;
    for (int i = 0; i < field->words && length + 2 < VALUE_TEXT_MAX; i++) {
        uint16_t word = word_at(image, field, i);
        text[length++] = (char)(word >> 8);
        text[length++] = (char)word;
    }
    text[length] = '\0';
    for (length = strlen(text); length > 0 && text[length - 1] == ' '; length--)
        text[length - 1] = '\0';
    for (char *at = text; *at != '\0'; at++)
        if ((unsigned char)*at < ' ' || *at == 0x7F)
            *at = '?';
}

// A number that names a meter is its digits: those of BCD with their leading zeros.
static uint16_t text_of_number(const struct image *image, const struct field *field, char *text)
{
    struct raw raw;
    uint16_t why = raw_of(image, field, &raw);
    if (why != WHY_NONE)
        return why;
    if (raw.is_float) {
        (void)snprintf(text, VALUE_TEXT_MAX, "%.17g", raw.number);
    } else {
        int width = field->type == RAW_BCD ? 4 * field->words : 1;
        (void)snprintf(text, VALUE_TEXT_MAX, "%s%0*llu", raw.negative ? "-" : "", width,
                       (unsigned long long)raw.magnitude);
    }
    return WHY_NONE;
}

static void decode_identity(const struct field *field, const struct image *image,
                            struct value *value)
{
    char text[VALUE_TEXT_MAX] = "";
    uint16_t why = WHY_NONE;
    if (field->type == RAW_STRING)
        text_of_string(image, field, text);
    else
        why = text_of_number(image, field, text);
    if (why != WHY_NONE) {
        set_bad(value, QUALITY_SUSPECT, why);
    } else if (text[0] == '\0') {
        set_bad(value, QUALITY_MISSING, WHY_NOT_AVAILABLE);
    } else {
        set_good(value);
        memcpy(value->text, text, sizeof text);
    }
}

// The graver of two reasons: nothing there before doubt, the first before the second.
static uint16_t graver(uint16_t a, uint16_t b)
{
    return a == WHY_NONE || (why_is_doubt(a) && b != WHY_NONE && !why_is_doubt(b)) ? b : a;
}

// Why a channel was not read or is doubted: the gravest reason of its fields.
static uint16_t why_of_fields(const struct profile *profile, const struct profile_channel *channel,
                              const struct image *image)
{
    uint16_t why = WHY_NONE;
    if (channel->channel->kind == CHANNEL_BITS) {
        for (int i = 0; i < profile->status_count; i++)
            why = graver(why, image->why[profile->status[i].field]);
        return why;
    }
    for (int i = 0; i < channel->part_count; i++) {
        const struct part *part = &channel->parts[i];
        why = graver(why, image->why[part->field]);
        if (part->scale_field >= 0)
            why = graver(why, image->why[part->scale_field]);
    }
    return why;
}

static void decode_channel(const struct profile *profile, const struct profile_channel *channel,
                           const struct image *image, struct value *value)
{
    uint16_t why = why_of_fields(profile, channel, image);
    if (why != WHY_NONE && !why_is_doubt(why)) {
        set_bad(value, QUALITY_MISSING, why);
        return;
    }
    enum channel_kind kind = channel->channel->kind;
    if (kind == CHANNEL_BITS)
        decode_bits(profile, image, value);
    else if (profile->fields[channel->parts[0].field].words <= 4 &&
             matches_not_available(profile, channel, image))
        set_bad(value, QUALITY_MISSING, WHY_NOT_AVAILABLE);
    else if (kind == CHANNEL_IDENTITY)
        decode_identity(&profile->fields[channel->parts[0].field], image, value);
    else
        decode_number(profile, channel, image, value);
    if (why != WHY_NONE && value->quality == QUALITY_GOOD) {
        value->quality = QUALITY_SUSPECT;
        value->why = why;
    }
}

void image_decode(const struct profile *profile, const struct image *image, bool unverified,
                  struct value *values)
{
    for (int i = 0; i < profile->channel_count; i++) {
        values[i] = (struct value){0};
        decode_channel(profile, &profile->channels[i], image, &values[i]);
        if (unverified && values[i].quality == QUALITY_GOOD) {
            values[i].quality = QUALITY_SUSPECT;
            values[i].why = WHY_UNVERIFIED;
        }
    }
}

enum quality values_worst(const struct value *values, int count)
{
    if (count == 0)
        return QUALITY_MISSING;
    enum quality worst = QUALITY_GOOD;
    for (int i = 0; i < count; i++)
        worst = quality_worst(worst, (enum quality)values[i].quality);
    return worst;
}
