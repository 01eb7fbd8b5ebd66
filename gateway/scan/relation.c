// Evidence from channels that belong together: chance does not make them agree.
#include "scan/fit.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

#define COUNT(array) ((int)(sizeof(array) / sizeof((array)[0])))
#define STEP_BACK_BITS (-15)
#define SAME_TOTAL_BITS 12
#define BASE_KPA 101.325 // the base of most meters; another one is within the tolerance
#define BASE_K 293.15
#define ZERO_C_K 273.15
#define NEAR_REGISTERS 16 // how far from a total its float is sought
#define NEAR_DIGITS 1000  // a total below this many units agrees with too much by chance

// |a - b| within a share of the larger.
static bool agree(double a, double b, double share)
{
    return fabs(a - b) <= share * fmax(fabs(a), fabs(b));
}

static void judge(struct scan_score *score, bool agrees, double good, double bad, const char *what)
{
    score->fit->bits += agrees ? good : bad;
    scan_reason_add(score->fit, agrees ? "scan.reason.related" : "scan.reason.unrelated", 0, 0,
                    what);
}

// ---- gas ----------------------------------------------------------------------------------------

static void relate_flows(struct scan_score *score)
{
    double base = scan_score_number(score, "flow_base");
    double line = scan_score_number(score, "flow_measured");
    double factor = scan_score_number(score, "conversion_factor");
    double pressure = scan_score_number(score, "pressure");
    double kelvin = scan_score_number(score, "temperature") + ZERO_C_K;
    if (!(fabs(base) > 0) || !(fabs(line) > 0))
        return; // also NaN
    if (factor > 0)
        judge(score, agree(base / line, factor, 0.05), 8, -3,
              "flow_base, flow_measured, conversion_factor");
    else if (pressure > 0 && kelvin > 0)
        judge(score, agree(base / line, pressure / BASE_KPA * BASE_K / kelvin, 0.2), 8, -3,
              "flow_base, flow_measured, pressure, temperature");
}

static void relate_factor(struct scan_score *score)
{
    double factor = scan_score_number(score, "conversion_factor");
    double pressure = scan_score_number(score, "pressure");
    double kelvin = scan_score_number(score, "temperature") + ZERO_C_K;
    if (factor > 0 && pressure > 0 && kelvin > 0)
        judge(score, agree(factor, pressure / BASE_KPA * BASE_K / kelvin, 0.2), 8, -3,
              "conversion_factor, pressure, temperature");
}

static void relate_volumes(struct scan_score *score)
{
    double base = scan_score_number(score, "volume_base");
    double line = scan_score_number(score, "volume_measured");
    if (base > 1 && line > 1)
        judge(score, base / line > 0.3 && base / line < 150, 3, -3, "volume_base, volume_measured");
}

// ---- electricity --------------------------------------------------------------------------------

static double sum_of(const struct scan_score *score, const char *channel)
{
    double sum = 0;
    for (int i = 1; i <= 3; i++) {
        char name[64];
        (void)snprintf(name, sizeof name, "%s_l%d", channel, i);
        sum += scan_score_number(score, name);
    }
    return sum;
}

static void relate_phases(struct scan_score *score, const char *channel)
{
    double total = scan_score_number(score, channel);
    double sum = sum_of(score, channel);
    char what[96];
    (void)snprintf(what, sizeof what, "%s, %s_l1 to _l3", channel, channel);
    if (fabs(total) > 0 && fabs(sum) > 0)
        judge(score, agree(total, sum, 0.02), 8, -3, what);
}

static void relate_phase_power(struct scan_score *score)
{
    double volts = scan_score_number(score, "voltage_l1");
    double amperes = scan_score_number(score, "current_l1");
    double power = scan_score_number(score, "power_l1");
    double factor = scan_score_number(score, "power_factor_l1");
    if (!(volts > 0) || !(fabs(amperes) > 0) || !(fabs(power) > 0))
        return;
    double apparent = volts * fabs(amperes) / 1000;
    if (fabs(factor) > 0)
        judge(score, agree(fabs(power), apparent * fabs(factor), 0.1), 8, -3,
              "voltage_l1, current_l1, power_l1, power_factor_l1");
    else
        judge(score, fabs(power) <= apparent * 1.1, 3, -3, "voltage_l1, current_l1, power_l1");
}

static void relate_energies(struct scan_score *score)
{
    double in = scan_score_number(score, "energy_import");
    double out = scan_score_number(score, "energy_export");
    double total = scan_score_number(score, "energy_total");
    if (in > 0 && out >= 0 && total > 0)
        judge(score, agree(in + out, total, 0.01), 5, -2,
              "energy_import, energy_export, energy_total");
}

// ---- two readings -------------------------------------------------------------------------------

// A counter that is one did not step back from the first reading to the second.
static void relate_readings(struct scan_score *score)
{
    if (score->evidence->second == NULL)
        return;
    struct image image;
    struct value later[PROFILE_CHANNELS_MAX];
    scan_image(score->profile, score->evidence->second, &image);
    image_decode(score->profile, &image, false, later);
    int counters = 0;
    for (int i = 0; i < score->profile->channel_count; i++) {
        const struct channel *channel = score->profile->channels[i].channel;
        if (channel->kind != CHANNEL_COUNTER || !score->values[i].present || !later[i].present)
            continue;
        counters++;
        if (later[i].micro < score->values[i].micro) {
            score->fit->bits += STEP_BACK_BITS;
            scan_reason_add(score->fit, "scan.reason.back", 0, 0, channel->name);
            return;
        }
    }
    if (counters > 0)
        scan_reason_add(score->fit, "scan.reason.steady", counters, 0, "");
}

// ---- the same total in two forms ----------------------------------------------------------------

static double float_of(uint16_t high, uint16_t low)
{
    uint32_t bits = (uint32_t)high << 16 | low;
    float number = 0;
    memcpy(&number, &bits, sizeof number);
    return (double)number;
}

static uint16_t swapped(uint16_t word)
{
    return (uint16_t)(word << 8 | word >> 8);
}

// Whether two registers are the total as a float, in any order. A float keeps 24 bits.
static bool is_total(const uint16_t words[static 2], double total)
{
    const double forms[] = {float_of(words[0], words[1]), float_of(words[1], words[0]),
                            float_of(swapped(words[0]), swapped(words[1])),
                            float_of(swapped(words[1]), swapped(words[0]))};
    for (int i = 0; i < COUNT(forms); i++)
        if (isfinite(forms[i]) && agree(forms[i], total, 1e-6))
            return true;
    return false;
}

// The register at which the total stands as a float, -1 without.
static int find_float(const struct scan_score *score, const struct field *field, double total)
{
    int from = field->first - NEAR_REGISTERS;
    for (int at = from < 0 ? 0 : from; at <= field->first + NEAR_REGISTERS; at++) {
        const struct request span = {
            .function = field->function, .first = (uint16_t)at, .count = 2};
        uint16_t words[2];
        bool own = at + 1 >= field->first && at < field->first + field->words;
        if (!own && at < UINT16_MAX &&
            scan_words_find(score->evidence->words, &span, words) == WHY_NONE &&
            is_total(words, total))
            return at;
    }
    return -1;
}

// Totals that are no floats are sought as floats among the registers near them: many meters give
// both.
static void relate_forms(struct scan_score *score)
{
    for (int i = 0; i < score->profile->channel_count; i++) {
        const struct profile_channel *channel = &score->profile->channels[i];
        if (channel->channel->kind != CHANNEL_COUNTER || channel->part_count != 1)
            continue;
        const struct field *field = &score->profile->fields[channel->parts[0].field];
        double total = scan_score_number(score, channel->channel->name);
        if (field->type == RAW_F32 || field->type == RAW_F64 || field->register_size == 4 ||
            !(total > NEAR_DIGITS))
            continue;
        int at = find_float(score, field, total);
        if (at < 0)
            continue;
        score->fit->bits += SAME_TOTAL_BITS;
        scan_reason_add(score->fit, "scan.reason.same-total", at, 0, channel->channel->name);
    }
}

void scan_score_relations(struct scan_score *score)
{
    relate_flows(score);
    relate_factor(score);
    relate_volumes(score);
    relate_phases(score, "power");
    relate_phases(score, "reactive_power");
    relate_phase_power(score);
    relate_energies(score);
    relate_forms(score);
    relate_readings(score);
}
