#include "drivers/simulator/encode.h"

#include <assert.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

__extension__ typedef __int128 i128;

#define BITS_PER_WORD 16
#define DIGITS_PER_WORD 4
#define EXPONENT_FINEST (-18) // of the common unit of a split counter

static bool order_reverses_words(enum word_order order)
{
    return order == ORDER_CDAB || order == ORDER_DCBA;
}

static bool order_swaps_bytes(enum word_order order)
{
    return order == ORDER_BADC || order == ORDER_DCBA;
}

// `index` counts from the most significant word.
static void put_word(const struct field *field, int index, uint16_t word, struct image *image)
{
    if (order_swaps_bytes(field->order))
        word = (uint16_t)(word << 8 | word >> 8);
    int at = order_reverses_words(field->order) ? field->words - 1 - index : index;
    image->words[field->place + at] = word;
}

void encode_raw(const struct profile *profile, int field, uint64_t raw, struct image *image)
{
    const struct field *to = &profile->fields[field];
    for (int i = 0; i < to->words; i++) {
        int shift = BITS_PER_WORD * (to->words - 1 - i);
        put_word(to, i, (uint16_t)(shift > 63 ? 0 : raw >> shift), image);
    }
}

void encode_string(const struct profile *profile, int field, const char *text, struct image *image)
{
    const struct field *to = &profile->fields[field];
    size_t length = strlen(text);
    for (int i = 0; i < to->words; i++) {
        size_t at = 2 * (size_t)i;
        unsigned high = at < length ? (uint8_t)text[at] : 0;
        unsigned low = at + 1 < length ? (uint8_t)text[at + 1] : 0;
        put_word(to, i, (uint16_t)(high << 8 | low), image);
    }
}

// ---- raw numbers --------------------------------------------------------------------------------

static bool type_is_float(enum raw_type type)
{
    return type == RAW_F32 || type == RAW_F64;
}

static i128 power_of_ten(int exponent)
{
    i128 power = 1;
    for (int i = 0; i < exponent; i++)
        power *= 10;
    return power;
}

// The largest integer that the field holds.
static i128 field_max(const struct field *field)
{
    switch ((enum raw_type)field->type) {
    case RAW_U16: return field->function <= 2 ? 1 : UINT16_MAX;
    case RAW_I16: return INT16_MAX;
    case RAW_U32: return UINT32_MAX;
    case RAW_I32: return INT32_MAX;
    case RAW_U64: return UINT64_MAX;
    case RAW_I64: return INT64_MAX;
    case RAW_BCD: return power_of_ten(DIGITS_PER_WORD * field->words) - 1;
    case RAW_F32:
    case RAW_F64:
    case RAW_STRING: break;
    }
    return 0;
}

static i128 field_min(const struct field *field)
{
    switch ((enum raw_type)field->type) {
    case RAW_I16: return INT16_MIN;
    case RAW_I32: return INT32_MIN;
    case RAW_I64: return INT64_MIN;
    default: return 0;
    }
}

static uint64_t bits_of_float(enum raw_type type, double number)
{
    if (type == RAW_F64) {
        uint64_t bits;
        memcpy(&bits, &number, sizeof bits);
        return bits;
    }
    float narrow = (float)number;
    uint32_t bits;
    memcpy(&bits, &narrow, sizeof bits);
    return bits;
}

static uint64_t bits_of_integer(const struct field *field, i128 number)
{
    if (field->type != RAW_BCD)
        return (uint64_t)number;
    uint64_t bits = 0;
    for (int digit = 0; digit < DIGITS_PER_WORD * field->words; digit++) {
        bits |= (uint64_t)(number % 10) << (4 * digit);
        number /= 10;
    }
    return bits;
}

uint64_t encode_scale_raw(const struct field *field, bool is_exponent)
{
    bool is_signed = field_min(field) < 0;
    if (is_exponent) {
        if (type_is_float(field->type))
            return bits_of_float(field->type, -3);
        return is_signed ? (uint64_t)(int64_t)-3 : 0;
    }
    return type_is_float(field->type) ? bits_of_float(field->type, 0.5) : 1;
}

// What encode_scale_raw means, as a decimal. The factor is a half, not a thousandth: a half is
// exact in binary.
static struct decimal scale_register_value(const struct field *field, bool is_exponent)
{
    bool is_fine = type_is_float(field->type) || (is_exponent && field_min(field) < 0);
    if (!is_fine)
        return (struct decimal){1, 0};
    return is_exponent ? (struct decimal){1, -3} : (struct decimal){5, -1};
}

void encode_scale_registers(const struct profile *profile, int channel, struct image *image)
{
    const struct profile_channel *of = &profile->channels[channel];
    for (int i = 0; i < of->part_count; i++) {
        int field = of->parts[i].scale_field;
        if (field >= 0) {
            bool is_exponent = of->parts[i].scale_is_exponent;
            encode_raw(profile, field, encode_scale_raw(&profile->fields[field], is_exponent),
                       image);
        }
    }
}

// ---- counters -----------------------------------------------------------------------------------

// mantissa x 10^exponent without trailing zeros.
struct product {
    i128 mantissa;
    int exponent;
};

static void multiply(struct product *product, struct decimal by)
{
    product->mantissa *= by.mantissa;
    product->exponent += by.exponent;
    while (product->mantissa != 0 && product->mantissa % 10 == 0) {
        product->mantissa /= 10;
        product->exponent++;
    }
}

// What one count of a part is worth, in the channel's canonical unit.
static struct product part_worth(const struct profile *profile, const struct profile_channel *of,
                                 const struct part *part)
{
    struct product worth = {1, 0};
    multiply(&worth, part->scale);
    multiply(&worth, of->conversion.factor);
    if (part->scale_field >= 0) {
        multiply(&worth, scale_register_value(&profile->fields[part->scale_field],
                                              part->scale_is_exponent));
    }
    return worth;
}

// product in units of 10^unit; -1 when that is no integer in range.
static int in_units(struct product product, int unit, i128 *out)
{
    if (product.mantissa == 0) {
        *out = 0;
        return 0;
    }
    int tens = product.exponent - unit;
    if (tens < 0 || tens > 37 || __builtin_mul_overflow(product.mantissa, power_of_ten(tens), out))
        return -1;
    return 0;
}

// The parts of a counter, largest worth first, in units of 10^unit.
struct split {
    int unit;
    int order[PROFILE_PARTS_MAX];
    i128 step[PROFILE_PARTS_MAX]; // by index of the part
    i128 offset;
};

static void sort_parts(const struct profile *profile, const struct profile_channel *of,
                       struct split *split)
{
    for (int i = 0; i < of->part_count; i++) {
        int at = i;
        for (; at > 0; at--) {
            int before = split->order[at - 1];
            bool before_is_float = type_is_float(profile->fields[of->parts[before].field].type);
            bool is_float = type_is_float(profile->fields[of->parts[i].field].type);
            bool goes_first =
                split->step[i] > split->step[before] ||
                (split->step[i] == split->step[before] && before_is_float && !is_float);
            if (!goes_first)
                break;
            split->order[at] = before;
        }
        split->order[at] = i;
    }
}

static int split_make(const struct profile *profile, const struct profile_channel *of,
                      struct split *split)
{
    struct product worths[PROFILE_PARTS_MAX];
    struct product offset = {1, 0};
    multiply(&offset, of->offset);
    multiply(&offset, of->conversion.factor);
    split->unit = offset.mantissa != 0 && offset.exponent < -6 ? offset.exponent : -6;
    for (int i = 0; i < of->part_count; i++) {
        worths[i] = part_worth(profile, of, &of->parts[i]);
        split->unit = worths[i].exponent < split->unit ? worths[i].exponent : split->unit;
    }
    if (split->unit < EXPONENT_FINEST || in_units(offset, split->unit, &split->offset) != 0)
        return -1;
    for (int i = 0; i < of->part_count; i++)
        if (in_units(worths[i], split->unit, &split->step[i]) != 0 || split->step[i] <= 0)
            return -1;
    sort_parts(profile, of, split);
    return 0;
}

static i128 floor_divide(i128 number, i128 by)
{
    i128 quotient = number / by;
    return number % by < 0 ? quotient - 1 : quotient;
}

// Raw bits of one part of `rest`; the last float takes what is left with its fraction. -1 when it
// does not fit.
static int take_part(const struct field *field, i128 step, bool last, i128 *rest, uint64_t *raw)
{
    i128 whole = floor_divide(*rest, step);
    if (type_is_float(field->type)) {
        double number = last ? (double)((long double)*rest / (long double)step) : (double)whole;
        *raw = bits_of_float(field->type, number);
        *rest -= whole * step;
        return 0;
    }
    // Where the rest is another part's: a full field hands the surplus on.
    if (!last && whole > field_max(field))
        whole = field_max(field);
    if (whole > field_max(field) || whole < field_min(field))
        return -1;
    *raw = bits_of_integer(field, whole);
    *rest -= whole * step;
    return 0;
}

int encode_counter(const struct profile *profile, int channel, int64_t micro, struct image *image,
                   struct err *err)
{
    const struct profile_channel *of = &profile->channels[channel];
    struct split split = {0};
    if (split_make(profile, of, &split) != 0)
        return err_set(err, "%s: no counter can be encoded with these scales", of->channel->name);
    i128 rest = (i128)micro * power_of_ten(-6 - split.unit) - split.offset;
    uint64_t raw[PROFILE_PARTS_MAX];
    for (int i = 0; i < of->part_count; i++) {
        int part = split.order[i];
        const struct field *field = &profile->fields[of->parts[part].field];
        if (take_part(field, split.step[part], i == of->part_count - 1, &rest, &raw[part]) != 0)
            return err_set(err, "%s: the value does not fit its registers", of->channel->name);
    }
    for (int i = 0; i < of->part_count; i++)
        encode_raw(profile, of->parts[i].field, raw[i], image);
    encode_scale_registers(profile, channel, image);
    return 0;
}

int64_t encode_counter_span(const struct profile *profile, int channel)
{
    const struct profile_channel *of = &profile->channels[channel];
    struct split split = {0};
    if (split_make(profile, of, &split) != 0)
        return 0;
    int top = split.order[0];
    const struct field *field = &profile->fields[of->parts[top].field];
    i128 span = 0;
    if (type_is_float(field->type) ||
        __builtin_mul_overflow(field_max(field) + 1, split.step[top], &span))
        return 0;
    span /= power_of_ten(-6 - split.unit);
    return span > MICRO_LIMIT ? 0 : (int64_t)span;
}

// ---- gauges -------------------------------------------------------------------------------------

static int gauge_raw(const struct field *field, double number, uint64_t *raw)
{
    if (type_is_float(field->type)) {
        *raw = bits_of_float(field->type, number);
        return 0;
    }
    long double rounded = roundl((long double)number);
    if (!isfinite(number) || rounded > (long double)field_max(field) ||
        rounded < (long double)field_min(field))
        return -1;
    *raw = bits_of_integer(field, (i128)rounded);
    return 0;
}

static double product_to_double(struct product product)
{
    return (double)((long double)product.mantissa * powl(10, product.exponent));
}

int encode_gauge(const struct profile *profile, int channel, double number, struct image *image,
                 struct err *err)
{
    const struct profile_channel *of = &profile->channels[channel];
    struct product offset = {1, 0};
    multiply(&offset, of->offset);
    multiply(&offset, of->conversion.factor);
    double rest = number - decimal_to_double(of->conversion.offset) - product_to_double(offset);
    uint64_t raw[PROFILE_PARTS_MAX];
    for (int i = 0; i < of->part_count; i++) {
        const struct field *field = &profile->fields[of->parts[i].field];
        double worth = product_to_double(part_worth(profile, of, &of->parts[i]));
        double count = rest / worth;
        if (i < of->part_count - 1 && isfinite(count))
            count = floor(count);
        if (gauge_raw(field, count, &raw[i]) != 0)
            return err_set(err, "%s: %g does not fit its register", of->channel->name, number);
        rest -= isfinite(count) ? count * worth : 0;
    }
    for (int i = 0; i < of->part_count; i++)
        encode_raw(profile, of->parts[i].field, raw[i], image);
    encode_scale_registers(profile, channel, image);
    return 0;
}

// ---- status and identity ------------------------------------------------------------------------

// Bits of one field's value: of every status of it that is set.
static uint64_t status_bits(const struct profile *profile, int field, uint64_t bits)
{
    uint64_t held = 0;
    for (int i = 0; i < profile->status_count; i++) {
        const struct profile_status *status = &profile->status[i];
        if (status->field == field && (bits >> i & 1) != 0)
            held |= (uint64_t)(status->width <= 1 ? 1 : status->value) << status->bit;
    }
    return held;
}

void encode_status(const struct profile *profile, uint64_t bits, struct image *image)
{
    for (int i = 0; i < profile->status_count; i++) {
        int field = profile->status[i].field;
        encode_raw(profile, field, status_bits(profile, field, bits), image);
    }
}

int encode_identity(const struct profile *profile, int channel, const char *text,
                    struct image *image, struct err *err)
{
    const struct profile_channel *of = &profile->channels[channel];
    int index = of->parts[0].field;
    const struct field *field = &profile->fields[index];
    if (field->type == RAW_STRING) {
        encode_string(profile, index, text, image);
        return 0;
    }
    char digits[VALUE_TEXT_MAX];
    size_t count = 0;
    for (const char *at = text; *at != '\0' && count < sizeof digits - 1; at++)
        if (*at >= '0' && *at <= '9')
            digits[count++] = *at;
    digits[count] = '\0';
    uint64_t number = strtoull(digits, NULL, 10);
    if (type_is_float(field->type) || count > 18 || number > (uint64_t)field_max(field))
        return err_set(err, "%s: '%s' does not fit its register", of->channel->name, text);
    encode_raw(profile, index, bits_of_integer(field, (i128)number), image);
    return 0;
}
