// One row of `metergate convert`: from texts to figures, by the contract's section 6.
#ifndef METERGATE_CLI_CONVERT_ROW_H
#define METERGATE_CLI_CONVERT_ROW_H

#include "gas/conversion.h"

#include <stdbool.h>

// What goes in, in the order of the contract.
enum convert_column {
    CONVERT_METHOD,
    CONVERT_PRESSURE,
    CONVERT_TEMPERATURE,
    CONVERT_HEATING_VALUE,
    CONVERT_DENSITY,
    CONVERT_CO2,
    CONVERT_H2,
    CONVERT_RATIO,
    CONVERT_BASE_PRESSURE,
    CONVERT_BASE_TEMPERATURE,
    CONVERT_VOLUME,
    CONVERT_COLUMNS
};
extern const char *const convert_columns[CONVERT_COLUMNS]; // "method" …

// How all rows are read, and the gas of the newest one, made ready.
struct converter {
    struct heating_reference reference; // of the heating values
    double ambient_kpa;                 // added to each pressure; 0: they are absolute
    bool ready;
    struct conversion_input asked; // what `conversion` was made of
    struct conversion conversion;
};

struct converted {
    double z, z_base, factor; // NaN where the method knows none
    double volume_base;       // NaN without volume_measured
};

// "25/0", combustion/metering. -1 when it is not such a text.
int heating_reference_parse(const char *text, struct heating_reference *out, struct err *err);
// A finite decimal number: no other letters than an exponent's. -1 names the column.
int convert_number(const char *name, const char *text, double *out, struct err *err);
// `texts` by column; NULL or "" where nothing is known: method is then sgerg88, base conditions
// 101.325 kPa and 20 degC, hydrogen 0; the other figures that the method needs are an error.
int convert_row(struct converter *converter, const char *const texts[static CONVERT_COLUMNS],
                struct converted *out, struct err *err);

#endif
