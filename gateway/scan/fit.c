#include "scan/fit.h"

#include <assert.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define COUNT(array) ((int)(sizeof(array) / sizeof((array)[0])))
#define REFUSED_BITS 30       // where none of a profile's registers is answered
#define IMPLAUSIBLE_BITS (-6) // a number that such a channel cannot have
#define BROKEN_BITS (-9)      // words that are no number of that type
#define DEFAULT_BITS 2        // the line has the maker's default setting
#define ORDER_BITS 6          // evidence that another word order must bring
// Runs of registers that a profile names: what each says where most others are refused. They are
// not independent.
#define RUNS_MOST 6
#define RUN_SHARE 0.5
#define MICRO 1e6

// What a channel's value may plausibly be, in its canonical unit, by the beginning of its name; the
// first that fits holds. `bits`: what such a value says. Zero says nothing where it may be (no
// flow, no load) and speaks against the profile where it may not.
static const struct plausible {
    const char *channel;
    double least, most;
    double bits;
    bool zero;
} plausible[] = {
    {"pressure_gauge", -100, 20000, 3, true},
    {"pressure", 50, 20000, 6, false}, // kPa absolute: air on a mountain to a transport line
    {"atmospheric_pressure", 50, 110, 8, false},
    {"base_pressure", 90, 110, 8, false},
    {"base_temperature", 0, 30, 4, true},
    {"base_density", 0.05, 5, 4, false},
    {"temperature", -50, 120, 4, true},
    {"air_temperature", -60, 70, 4, true},
    {"supply_temperature", -30, 250, 4, true},
    {"return_temperature", -30, 250, 4, true},
    {"compressibility", 0.5, 1.5, 8, false},
    {"conversion", 0.3, 300, 4, false},
    {"velocity", -80, 80, 2, true},
    {"sound_velocity", 150, 2000, 6, false},
    {"battery", 0, 100, 2, true},
    {"voltage", 40, 50000, 5, true},
    {"current", -20000, 20000, 2, true},
    {"power_factor", -1.0001, 1.0001, 4, true},
    {"phase_angle", -360, 360, 2, true},
    {"frequency", 45, 66, 8, false},
    {"meter_clock", 946684800, 4102444800, 8, false}, // 2000 to 2100
    {"", -1e6, 1e6, 2, true},                         // flows, powers: anything but absurd
};
#define SMALLEST 1e-4 // a gauge nearer to zero than this is no measurement
#define COUNTER_MOST 1e10

// ---- reasons ------------------------------------------------------------------------------------

void scan_reason_add(struct scan_fit *fit, const char *key, int count, int of, const char *what)
{
    if (fit->reason_count == SCAN_REASONS_MAX)
        return;
    struct scan_reason *reason = &fit->reasons[fit->reason_count++];
    *reason = (struct scan_reason){.key = key, .count = count, .of = of};
    (void)snprintf(reason->what, sizeof reason->what, "%s", what);
}

void scan_reason_text(const struct scan_reason *reason, enum language language, struct buf *out)
{
    char count[16];
    char of[16];
    (void)snprintf(count, sizeof count, "%d", reason->count);
    (void)snprintf(of, sizeof of, "%d", reason->of);
    const struct slot slots[] = {{"count", count}, {"of", of}, {"what", reason->what}};
    catalogue_fill(out, reason->key, language, slots, COUNT(slots));
}

// A list of "channel value unit" that ends where the space does.
struct list {
    char text[160];
    int count;
};

static void list_add(struct list *list, const char *channel, const char *value, const char *unit)
{
    size_t length = strlen(list->text);
    size_t left = sizeof list->text - length;
    bool plain = unit[0] == '\0' || strcmp(unit, "1") == 0;
    int added = snprintf(list->text + length, left, "%s%s %s%s%s", list->count > 0 ? ", " : "",
                         channel, value, plain ? "" : " ", plain ? "" : unit);
    list->count++;
    if ((size_t)added >= left)
        list->text[length] = '\0'; // enough are named
}

static void list_add_number(struct list *list, const struct channel *channel, double number)
{
    char value[32];
    int digits = channel->kind == CHANNEL_COUNTER ? 12 : 6;
    (void)snprintf(value, sizeof value, "%.*g", digits, number);
    list_add(list, channel->name, value, channel->unit);
}

// ---- channels -----------------------------------------------------------------------------------

static const struct plausible *find_plausible(const char *channel)
{
    const struct plausible *row = plausible;
    while (strncmp(channel, row->channel, strlen(row->channel)) != 0)
        row++; // the last one fits every name
    return row;
}

static double value_number(const struct profile_channel *channel, const struct value *value)
{
    return channel->channel->kind == CHANNEL_COUNTER ? (double)value->micro / MICRO : value->number;
}

double scan_score_number(const struct scan_score *score, const char *channel)
{
    int index = profile_channel_find(score->profile, channel);
    if (index < 0 || !score->values[index].present)
        return NAN;
    return value_number(&score->profile->channels[index], &score->values[index]);
}

static const struct field *first_field(const struct scan_score *score,
                                       const struct profile_channel *channel)
{
    return &score->profile->fields[channel->parts[0].field];
}

// An integer of one or two registers is in range by chance more easily than a float.
static double weight_of(const struct field *field)
{
    switch ((enum raw_type)field->type) {
    case RAW_F32:
    case RAW_F64:
    case RAW_BCD: return 1;
    default: return field->words == 1 ? 0.4 : 0.7;
    }
}

static double gauge_bits(const struct field *field, const struct channel *channel, double number)
{
    const struct plausible *range = find_plausible(channel->name);
    if (number == 0)
        return range->zero ? 0 : IMPLAUSIBLE_BITS / 2.0;
    bool tiny = fabs(number) < SMALLEST;
    if (tiny || number < range->least || number > range->most)
        return IMPLAUSIBLE_BITS * weight_of(field);
    return range->bits * weight_of(field);
}

static double counter_bits(const struct field *field, double number)
{
    if (number == 0)
        return 0;
    if (number < 0 || number > COUNTER_MOST)
        return IMPLAUSIBLE_BITS;
    bool wide = field->words >= 4;
    switch ((enum raw_type)field->type) {
    case RAW_F32:
    case RAW_F64:
        if (number < SMALLEST)
            return IMPLAUSIBLE_BITS;
        return wide ? 8 : 3;
    case RAW_BCD: return field->words > 1 ? 6 : 1; // (10/16) for each digit that is not 0
    default: return wide ? 5 : 1;
    }
}

static double identity_bits(const struct field *field, const struct value *value)
{
    if (field->type != RAW_STRING)
        return strspn(value->text, "0") == strlen(value->text) ? 0 : 2;
    int odd = 0;
    for (const char *at = value->text; *at != '\0'; at++)
        odd += *at == '?' || (unsigned char)*at >= 0x80 ? 1 : 0;
    if (odd > 0)
        return BROKEN_BITS;
    return strlen(value->text) >= 4 ? 9 : 1;
}

// Alarms that are nearly all on are more likely some number.
static double status_bits(const struct profile *profile, const struct value *value)
{
    int on = __builtin_popcountll(value->bits);
    return profile->status_count >= 3 && 2 * on > profile->status_count ? -4 : 0;
}

static double absent_bits(const struct value *value)
{
    switch (value->why) {
    case WHY_NOT_AVAILABLE: return 1; // the meter's own pattern
    case WHY_NOT_A_NUMBER:
    case WHY_BAD_BCD:
    case WHY_OUT_OF_RANGE: return BROKEN_BITS;
    default: return 0; // not answered: counted with the registers
    }
}

static double channel_bits(const struct scan_score *score, int index)
{
    const struct profile_channel *channel = &score->profile->channels[index];
    const struct value *value = &score->values[index];
    if (!value->present)
        return absent_bits(value);
    switch (channel->channel->kind) {
    case CHANNEL_COUNTER:
        return counter_bits(first_field(score, channel), value_number(channel, value));
    case CHANNEL_BITS: return status_bits(score->profile, value);
    case CHANNEL_IDENTITY: return identity_bits(first_field(score, channel), value);
    default:
        return gauge_bits(first_field(score, channel), channel->channel,
                          value_number(channel, value));
    }
}

static void score_channels(struct scan_score *score)
{
    struct list good = {0};
    struct list bad = {0};
    for (int i = 0; i < score->profile->channel_count; i++) {
        const struct channel *channel = score->profile->channels[i].channel;
        const struct value *value = &score->values[i];
        double bits = channel_bits(score, i);
        score->fit->bits += bits;
        bool number = channel->kind != CHANNEL_BITS && channel->kind != CHANNEL_IDENTITY;
        if (channel->kind == CHANNEL_IDENTITY && value->present && bits > 0)
            scan_reason_add(score->fit, "scan.reason.identity", 0, 0, value->text);
        else if (number && value->present && bits > 0)
            list_add_number(&good, channel, value_number(&score->profile->channels[i], value));
        else if (number && value->present && bits < 0)
            list_add_number(&bad, channel, value_number(&score->profile->channels[i], value));
        else if (bits < 0) {
            char why[WHY_TEXT_MAX];
            list_add(&bad, channel->name, why_text(value->why, why), "");
        }
    }
    if (good.count > 0)
        scan_reason_add(score->fit, "scan.reason.plausible", good.count, 0, good.text);
    if (bad.count > 0)
        scan_reason_add(score->fit, "scan.reason.implausible", bad.count, 0, bad.text);
}

// ---- registers ----------------------------------------------------------------------------------

static void score_registers(struct scan_score *score)
{
    struct scan_fit *fit = score->fit;
    char why[WHY_TEXT_MAX] = "";
    for (int i = 0; i < score->profile->field_count; i++) {
        const struct field *field = &score->profile->fields[i];
        fit->named += field->words;
        if (score->image->why[i] == WHY_NONE)
            fit->read += field->words;
        else if (why[0] == '\0')
            (void)why_text(score->image->why[i], why);
    }
    if (fit->named > fit->read) {
        fit->bits -= REFUSED_BITS * (double)(fit->named - fit->read) / fit->named;
        scan_reason_add(fit, "scan.reason.refused", fit->named - fit->read, fit->named, why);
    } else {
        scan_reason_add(fit, "scan.reason.answered", fit->read, fit->named, "");
    }
}

// Where a meter refuses most of what it is asked for, that it has just these registers says
// something.
static void score_choice(struct scan_score *score)
{
    int given = 0;
    int refused = 0;
    int runs = 0;
    scan_words_share(score->evidence->words, &given, &refused);
    const struct profile *profile = score->profile;
    for (int i = 0; i < profile->field_count; i++) {
        bool begins = score->image->why[i] == WHY_NONE;
        for (int j = 0; begins && j < profile->field_count; j++) {
            const struct field *before = &profile->fields[j];
            begins = before->function != profile->fields[i].function ||
                     before->first + field_registers(before) != profile->fields[i].first;
        }
        runs += begins ? 1 : 0;
    }
    runs = runs < RUNS_MOST ? runs : RUNS_MOST;
    if (refused > 0)
        score->fit->bits += RUN_SHARE * runs * log2((double)(given + refused + 1) / (given + 1));
}

static void score_setting(struct scan_score *score)
{
    const struct profile *profile = score->profile;
    const struct scan_setting setting = {profile->serial_baud, profile->serial_parity,
                                         profile->serial_stop};
    if (!profile->serial_baud_known || !scan_setting_equal(&setting, &score->evidence->setting))
        return;
    score->fit->bits += DEFAULT_BITS;
    scan_reason_add(score->fit, "scan.reason.default", 0, 0, "");
}

// ---- the profile as it is judged ----------------------------------------------------------------

void scan_image(const struct profile *profile, const struct scan_words *words, struct image *image)
{
    memset(image, 0, sizeof *image);
    for (int i = 0; i < profile->field_count; i++) {
        const struct field *field = &profile->fields[i];
        const struct request span = {.function = field->function,
                                     .register_size = field->register_size,
                                     .first = field->first,
                                     .count = (uint16_t)field_registers(field)};
        uint16_t why = scan_words_find(words, &span, image->words + field->place);
        image->why[i] = why == SCAN_UNKNOWN ? WHY_NOT_POLLED : why;
    }
}

static bool has_order(const struct field *field)
{
    return field->words > 1 && field->type != RAW_BCD && field->type != RAW_STRING;
}

// The four orders are two independent swaps, of the words and of the bytes: bits of enum
// word_order.
static void change_order(struct profile *profile, uint8_t order)
{
    for (int i = 0; i < profile->field_count; i++)
        if (has_order(&profile->fields[i]))
            profile->fields[i].order ^= order;
}

const char *scan_order_name(const struct profile *profile)
{
    static const char *const names[] = {
        [ORDER_ABCD] = "ABCD", [ORDER_CDAB] = "CDAB", [ORDER_BADC] = "BADC", [ORDER_DCBA] = "DCBA"};
    for (int i = 0; i < profile->field_count; i++)
        if (has_order(&profile->fields[i]))
            return names[profile->fields[i].order];
    return "";
}

static void set_units(struct profile *profile)
{
    for (int i = 0; i < profile->channel_count; i++) {
        struct profile_channel *channel = &profile->channels[i];
        if (strcmp(channel->unit, "config") != 0)
            continue;
        (void)snprintf(channel->unit, sizeof channel->unit, "%s", channel->channel->unit);
        (void)channel_unit_conversion(channel->channel, channel->unit, &channel->conversion);
    }
}

struct profile *scan_fit_profile(const struct profile *profile, const struct scan_fit *fit)
{
    struct profile *copy = malloc(sizeof *copy);
    if (copy == NULL)
        return NULL;
    *copy = *profile;
    copy->source = NULL; // stays the original's
    copy->archives = NULL;
    copy->archive_count = 0;
    set_units(copy);
    change_order(copy, fit->order);
    return copy;
}

// ---- the whole ----------------------------------------------------------------------------------

// In one word order.
static void fit_order(const struct profile *profile, const struct scan_evidence *evidence,
                      uint8_t order, struct scan_fit *fit)
{
    *fit = (struct scan_fit){.order = order};
    struct image image;
    struct value values[PROFILE_CHANNELS_MAX];
    struct profile *judged = scan_fit_profile(profile, fit);
    if (judged == NULL)
        return; // without evidence
    scan_image(judged, evidence->words, &image);
    image_decode(judged, &image, false, values);
    struct scan_score score = {judged, evidence, &image, values, fit};
    if (order != 0) {
        fit->bits -= ORDER_BITS;
        scan_reason_add(fit, "scan.reason.order", 0, 0, scan_order_name(judged));
    }
    score_registers(&score);
    score_choice(&score);
    score_channels(&score);
    scan_score_relations(&score);
    score_setting(&score);
    free(judged);
}

static bool any_order(const struct profile *profile)
{
    for (int i = 0; i < profile->field_count; i++)
        if (has_order(&profile->fields[i]))
            return true;
    return false;
}

void scan_fit_make(const struct profile *profile, const struct scan_evidence *evidence,
                   struct scan_fit *fit)
{
    int index = fit->profile;
    fit_order(profile, evidence, 0, fit);
    struct scan_fit other;
    for (uint8_t order = 1; order <= ORDER_DCBA && any_order(profile) && fit->read > 0; order++) {
        fit_order(profile, evidence, order, &other);
        if (other.bits > fit->bits)
            *fit = other;
    }
    fit->profile = index;
}

static int compare(const void *a, const void *b)
{
    const struct scan_fit *left = a;
    const struct scan_fit *right = b;
    if (left->bits != right->bits)
        return left->bits < right->bits ? 1 : -1;
    return left->profile - right->profile;
}

void scan_fits_rank(struct scan_fit *fits, int count)
{
    if (count == 0)
        return;
    qsort(fits, (size_t)count, sizeof *fits, compare);
    double sum = exp2(SCAN_UNKNOWN_BITS - fits[0].bits);
    for (int i = 0; i < count; i++)
        sum += exp2(fits[i].bits - fits[0].bits);
    for (int i = 0; i < count; i++)
        fits[i].share = exp2(fits[i].bits - fits[0].bits) / sum;
}
