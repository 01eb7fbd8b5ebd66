// The gas of a meter as volume conversion takes it.
#ifndef METERGATE_CONFIG_GAS_INPUT_H
#define METERGATE_CONFIG_GAS_INPUT_H

#include "config/config.h"
#include "gas/conversion.h"

// What its heating value refers to.
struct heating_reference gas_reference(const struct config_gas *gas);

// The heating value brought from heating_value_reference to 25/0. -1 when no gas of the method has
// these properties; conversion_init says the rest.
int gas_input(const struct config_gas *gas, struct conversion_input *out, struct err *err);

#endif
