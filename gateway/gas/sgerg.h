// SGERG-88, the compressibility of natural gas from its heating value, its relative density and
// its shares of carbon dioxide and hydrogen: ISO 12213-3. Pure, no allocation; any thread.
//
// What depends on the gas alone (its equivalent composition and the coefficients that follow) is
// found once by sgerg_init; a state then costs two polynomials, four roots and some Newton steps.
//
// Range of the method: absolute pressure 0 to 12000 kPa, -23 to 65 degC, heating value 20 to 48
// MJ/m3, relative density 0.55 to 0.90, CO2 0 to 30 mol %, H2 0 to 10 mol %; the nitrogen that
// follows -1 to 50 mol %. Outside there is a named error and no number. Pipeline gas up to 100 bar:
// within 0.1 % of GERG-2008; between 100 and 120 bar differences of up to 0.36 % are seen.
#ifndef METERGATE_GAS_SGERG_H
#define METERGATE_GAS_SGERG_H

#include "base/err.h"

// As a chromatograph or the supplier's bill says it.
struct sgerg_input {
    double heating_value_mj_m3; // superior; combustion at 25 degC, volume at 0 degC, 101.325 kPa
    double relative_density;    // at 0 degC, 101.325 kPa
    double co2_mol_percent, h2_mol_percent;
};

struct sgerg_composition { // mole fractions of the equivalent gas; CO goes with H2
    double hydrocarbon, n2, co2, h2, co;
    double heating_value_mj_kmol; // of the equivalent hydrocarbon
};

// A gas made ready. The members after `composition` are the method's own: polynomials in T.
struct sgerg {
    struct sgerg_composition composition;
    double b[5];    // second virial coefficient, m3/kmol, but for the hydrocarbon with CO2
    double b11[3];  // hydrocarbon
    double c[3];    // third virial coefficient, m6/kmol2, but for what is mixed by roots
    double c111[3]; // hydrocarbon
};

// -1 when an input is outside the method's range, is no number, or the inputs contradict each
// other (no gas has this heating value with this density).
int sgerg_init(struct sgerg *out, const struct sgerg_input *input, struct err *err);

// Z at an absolute pressure. -1 outside the range, or where the gas is too dense for the method.
int sgerg_z(const struct sgerg *gas, double pressure_kpa, double temperature_c, double *z,
            struct err *err);

#endif
