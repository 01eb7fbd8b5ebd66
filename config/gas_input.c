#include "config/gas_input.h"

#include <stdlib.h>
#include <string.h>

#define GIVEN_AT "25/0" // what SGERG-88 takes

struct heating_reference gas_reference(const struct config_gas *gas)
{
    char *slash; // "20/15" by the table's pattern
    struct heating_reference reference = {.combustion_c =
                                              strtod(gas->heating_value_reference, &slash)};
    reference.metering_c = *slash == '/' ? strtod(slash + 1, NULL) : 0;
    return reference;
}

int gas_input(const struct config_gas *gas, struct conversion_input *out, struct err *err)
{
    struct conversion_input input = {
        .method = gas->method == GAS_FIXED ? CONVERSION_FIXED : CONVERSION_SGERG88,
        .base_pressure_kpa = gas->base_pressure_kpa,
        .base_temperature_c = gas->base_temperature_c,
        .gas = {.heating_value_mj_m3 = gas->heating_value_mj_m3,
                .relative_density = gas->relative_density,
                .co2_mol_percent = gas->co2_mol_percent,
                .h2_mol_percent = gas->h2_mol_percent},
        .compressibility_ratio = gas->compressibility_ratio,
    };
    if (input.method == CONVERSION_SGERG88 && strcmp(gas->heating_value_reference, GIVEN_AT) != 0 &&
        heating_value_rebase(&input.gas, gas_reference(gas), err) != 0)
        return -1;
    *out = input;
    return 0;
}
