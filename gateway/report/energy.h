// Energy of a volume at base conditions: E = Vb x Hs (ISO 13443, ISO 6976). Pure.
#ifndef METERGATE_REPORT_ENERGY_H
#define METERGATE_REPORT_ENERGY_H

#include "base/err.h"
#include "gas/sgerg.h"

#include <stdbool.h>
#include <stdint.h>

// The superior heating value of a m3 at base conditions, in 10^-6 MJ/m3, rounded half to even. That
// of the gas refers to 0 degC and 101.325 kPa; it is divided by the base volume of such a m3 (T, p
// and, by SGERG-88, Z). The temperature of combustion stays 25 degC. -1 outside the method's range.
int energy_heating_value(const struct sgerg_input *gas, double base_pressure_kpa,
                         double base_temperature_c, int64_t *micro_mj_m3, struct err *err);

// volume x heating value in 10^-6 MJ, exact but for one rounding, half to even. False when it has
// no room.
bool energy_of(int64_t volume_micro, int64_t micro_mj_m3, int64_t *micro_mj);

#endif
