// Energy of a volume at base conditions: E = Vb x Hs (ISO 13443, ISO 6976). Pure.
#ifndef METERGATE_REPORT_ENERGY_H
#define METERGATE_REPORT_ENERGY_H

#include "base/err.h"
#include "gas/conversion.h"

#include <stdbool.h>
#include <stdint.h>

// The superior heating value of a m3 at the base conditions of `input`, in 10^-6 MJ/m3, rounded
// half to even. `heating_value_mj_m3` is of a m3 at metering_c and 101.325 kPa; it is divided by
// the base volume of such a m3 (T, p and, by SGERG-88, Z), so that at equal conditions it stays
// what it is. The temperature of combustion is whatever the value refers to. -1 outside the
// method's range.
int energy_heating_value(const struct conversion_input *input, double heating_value_mj_m3,
                         double metering_c, int64_t *micro_mj_m3, struct err *err);

// volume x heating value in 10^-6 MJ, exact but for one rounding, half to even. False when it has
// no room.
bool energy_of(int64_t volume_micro, int64_t micro_mj_m3, int64_t *micro_mj);

#endif
