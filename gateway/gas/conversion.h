// Volume conversion: Vb = Vm x C, C = p/pb x Tb/T x Zb/Z with p absolute (EN 12405-1, PTZ). Pure,
// no allocation; any thread.
//
// Z and Zb come from SGERG-88, or their ratio is fixed. Outside the method's range there is a named
// error and no number. With the fixed ratio: absolute pressure 0 to 50000 kPa, -100 to 200 degC.
#ifndef METERGATE_GAS_CONVERSION_H
#define METERGATE_GAS_CONVERSION_H

#include "gas/sgerg.h"

#include <stdint.h>

enum conversion_method { CONVERSION_SGERG88, CONVERSION_FIXED };

// Temperatures that a heating value refers to, degC: of combustion and of the volume (ISO 13443).
struct heating_reference {
    double combustion_c, metering_c;
};

struct conversion_input {
    enum conversion_method method;
    double base_pressure_kpa, base_temperature_c;
    struct sgerg_input gas;       // with CONVERSION_SGERG88; heating value at 25/0
    double compressibility_ratio; // Z/Zb, with CONVERSION_FIXED: 0.5 to 1.5
};

// Made ready once for a gas and its base conditions.
struct conversion {
    struct conversion_input input;
    struct sgerg gas;
    double z_base;
};

struct conversion_result {
    double z, z_base; // NaN with CONVERSION_FIXED: only their ratio is known
    double factor;    // C
};

// -1 when the gas or the base conditions are outside the method's range.
int conversion_init(struct conversion *out, const struct conversion_input *input, struct err *err);
// At an absolute pressure. -1 outside the method's range.
int conversion_at(const struct conversion *conversion, double pressure_kpa, double temperature_c,
                  struct conversion_result *out, struct err *err);

// Air pressure where a gauge sensor stands, kPa: 101.6 - 0.012 x altitude (DVGW G 685). -1 outside
// -500 to 1500 m, where the straight line is no longer the air.
int ambient_pressure(double altitude_m, double *out_kpa, struct err *err);

// A heating value brought to combustion at 25 degC and volume at 0 degC, 101.325 kPa: gas.
// heating_value_mj_m3 is read at `from` and replaced; the rest describes the gas. -1 outside 0 to
// 30 degC, or where no SGERG-88 gas has that heating value.
int heating_value_rebase(struct sgerg_input *gas, struct heating_reference from, struct err *err);

#endif
