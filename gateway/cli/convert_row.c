#include "cli/convert_row.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#define VOLUME_MAX 9.2e12 // m3: a counter holds no more

const char *const convert_columns[CONVERT_COLUMNS] = {
    "method",
    "pressure_kpa",
    "temperature_c",
    "heating_value_mj_m3",
    "relative_density",
    "co2_mol_percent",
    "h2_mol_percent",
    "compressibility_ratio",
    "base_pressure_kpa",
    "base_temperature_c",
    "volume_measured",
};

static const char *const defaults[CONVERT_COLUMNS] = {
    [CONVERT_METHOD] = "sgerg88",
    [CONVERT_H2] = "0",
    [CONVERT_BASE_PRESSURE] = "101.325",
    [CONVERT_BASE_TEMPERATURE] = "20",
};

int convert_number(const char *name, const char *text, double *out, struct err *err)
{
    char *end;
    double number = strtod(text, &end);
    if (text[0] == '\0' || strspn(text, "+-.0123456789eE") != strlen(text) || *end != '\0' ||
        !isfinite(number))
        return err_set(err, "%s '%.40s' is no number; write it like 12.5", name, text);
    *out = number;
    return 0;
}

int heating_reference_parse(const char *text, struct heating_reference *out, struct err *err)
{
    char *end;
    struct heating_reference reference = {.combustion_c = strtod(text, &end)};
    const char *second = *end == '/' ? end + 1 : "";
    if (end != text && second[0] != '\0' && strspn(text, "0123456789./") == strlen(text)) {
        reference.metering_c = strtod(second, &end);
        if (*end == '\0') {
            *out = reference;
            return 0;
        }
    }
    return err_set(err, "'%.40s' is no reference; write COMBUSTION/METERING in degC, like 20/20",
                   text);
}

struct row {
    const char *const *texts;
};

static const char *text_of(const struct row *row, enum convert_column column)
{
    const char *text = row->texts[column];
    return text != NULL && text[0] != '\0' ? text : defaults[column];
}

static int number_of(const struct row *row, enum convert_column column, double *out,
                     struct err *err)
{
    const char *text = text_of(row, column);
    if (text == NULL)
        return err_set(err, "%s is missing", convert_columns[column]);
    return convert_number(convert_columns[column], text, out, err);
}

static int method_of(const struct row *row, enum conversion_method *out, struct err *err)
{
    const char *text = text_of(row, CONVERT_METHOD);
    if (strcmp(text, "sgerg88") == 0)
        *out = CONVERSION_SGERG88;
    else if (strcmp(text, "fixed") == 0)
        *out = CONVERSION_FIXED;
    else
        return err_set(err, "method '%.40s' is unknown; there are sgerg88 and fixed", text);
    return 0;
}

static int read_input(const struct row *row, struct conversion_input *input, struct err *err)
{
    memset(input, 0, sizeof *input);
    if (method_of(row, &input->method, err) != 0 ||
        number_of(row, CONVERT_BASE_PRESSURE, &input->base_pressure_kpa, err) != 0 ||
        number_of(row, CONVERT_BASE_TEMPERATURE, &input->base_temperature_c, err) != 0)
        return -1;
    if (input->method == CONVERSION_FIXED)
        return number_of(row, CONVERT_RATIO, &input->compressibility_ratio, err);
    struct sgerg_input *gas = &input->gas;
    if (number_of(row, CONVERT_HEATING_VALUE, &gas->heating_value_mj_m3, err) != 0 ||
        number_of(row, CONVERT_DENSITY, &gas->relative_density, err) != 0 ||
        number_of(row, CONVERT_CO2, &gas->co2_mol_percent, err) != 0)
        return -1;
    return number_of(row, CONVERT_H2, &gas->h2_mol_percent, err);
}

static bool same_input(const struct conversion_input *a, const struct conversion_input *b)
{
    return a->method == b->method && a->base_pressure_kpa == b->base_pressure_kpa &&
           a->base_temperature_c == b->base_temperature_c &&
           a->gas.heating_value_mj_m3 == b->gas.heating_value_mj_m3 &&
           a->gas.relative_density == b->gas.relative_density &&
           a->gas.co2_mol_percent == b->gas.co2_mol_percent &&
           a->gas.h2_mol_percent == b->gas.h2_mol_percent &&
           a->compressibility_ratio == b->compressibility_ratio;
}

// Most rows have the gas of the row before.
static int make_ready(struct converter *converter, const struct conversion_input *asked,
                      struct err *err)
{
    if (converter->ready && same_input(asked, &converter->asked))
        return 0;
    converter->ready = false;
    struct conversion_input input = *asked;
    bool at_25_0 = converter->reference.combustion_c == 25 && converter->reference.metering_c == 0;
    if (input.method == CONVERSION_SGERG88 && !at_25_0 &&
        heating_value_rebase(&input.gas, converter->reference, err) != 0)
        return -1;
    if (conversion_init(&converter->conversion, &input, err) != 0)
        return -1;
    converter->asked = *asked;
    converter->ready = true;
    return 0;
}

static int volume_of(const struct row *row, double *out, struct err *err)
{
    const char *text = text_of(row, CONVERT_VOLUME);
    double volume = (double)NAN;
    if (text != NULL) {
        if (convert_number(convert_columns[CONVERT_VOLUME], text, &volume, err) != 0)
            return -1;
        if (!(volume >= 0 && volume < VOLUME_MAX)) {
            return err_set(err, "%s %s is outside 0 to %g", convert_columns[CONVERT_VOLUME], text,
                           VOLUME_MAX);
        }
    }
    *out = volume;
    return 0;
}

int convert_row(struct converter *converter, const char *const texts[static CONVERT_COLUMNS],
                struct converted *out, struct err *err)
{
    const struct row row = {texts};
    struct conversion_input input;
    struct conversion_result result;
    double pressure = (double)NAN;
    double temperature = (double)NAN;
    double volume = (double)NAN;
    if (read_input(&row, &input, err) != 0 ||
        number_of(&row, CONVERT_PRESSURE, &pressure, err) != 0 ||
        number_of(&row, CONVERT_TEMPERATURE, &temperature, err) != 0 ||
        volume_of(&row, &volume, err) != 0 || make_ready(converter, &input, err) != 0 ||
        conversion_at(&converter->conversion, pressure + converter->ambient_kpa, temperature,
                      &result, err) != 0)
        return -1;
    *out = (struct converted){.z = result.z,
                              .z_base = result.z_base,
                              .factor = result.factor,
                              .volume_base = volume * result.factor};
    return 0;
}
