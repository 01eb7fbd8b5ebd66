// Equations and coefficients: ISO 12213-3, annex B; J. P. J. Michels, J. A. Schouten, Fortran of
// SGERG-88, 1991. Indices as there: 1 equivalent hydrocarbon, 2 N2, 3 CO2, 5 H2, 7 CO. Inside, the
// units are the standard's: bar, K, m3/kmol, MJ/kmol.
#include "gas/sgerg.h"

#include <math.h>
#include <stdbool.h>

#define PRESSURE_MAX_KPA 12000.0
#define TEMPERATURE_MIN_C (-23.0)
#define TEMPERATURE_MAX_C 65.0

#define KELVIN 273.15
#define GAS_CONSTANT 0.0831451   // m3 bar / (kmol K)
#define IDEAL_VOLUME 22.414097   // m3/kmol at 0 degC, 1.01325 bar
#define AIR_DENSITY 1.292923     // kg/m3 at 0 degC, 1.01325 bar
#define B_FIRST (-0.065)         // m3/kmol: where the search for B at 0 degC begins
#define HYDROCARBON_FIRST 1000.0 // MJ/kmol: where the search for the hydrocarbon begins
#define H2_HEAT 285.83           // MJ/kmol, combustion at 25 degC
#define CO_HEAT 282.98           //
#define CO_OF_H2 0.0964          // coke oven gas: what brings hydrogen brings carbon monoxide
#define SEARCH_STEPS_MAX 20      // of each of the two loops, as in the standard
#define DENSITY_TOLERANCE 1e-6   // kg/m3, as in the standard
#define HEATING_TOLERANCE 1e-4   // MJ/m3, as in the standard
#define NEWTON_STEPS_MAX 60
#define NEWTON_TOLERANCE 1e-14 // of the density

// a0 + a1 T + a2 T^2
static const double b11_h[3][3] = {{-4.254680e-01, 2.865000e-03, -4.620730e-06},
                                   {8.771180e-04, -5.562810e-06, 8.815100e-09},
                                   {-8.247470e-07, 4.314360e-09, -6.083190e-12}};
static const double b22[3] = {-1.446000e-01, 7.409100e-04, -9.119500e-07};
static const double b23[3] = {-3.396930e-01, 1.611760e-03, -2.044290e-06};
static const double b33[3] = {-8.683400e-01, 4.037600e-03, -5.165700e-06};
static const double b15[3] = {-5.212800e-02, 2.715700e-04, -2.500000e-07};
static const double b17[3] = {-6.872900e-02, -2.393810e-06, 5.181950e-07};
static const double b55[3] = {-1.105960e-03, 8.133850e-05, -9.872200e-08};
static const double b77[3] = {-1.308200e-01, 6.025400e-04, -6.443000e-07};
static const double b25[3] = {0.012, 0, 0};
static const double c111_h[3][3] = {{-3.024880e-01, 1.958610e-03, -3.163020e-06},
                                    {6.464220e-04, -4.228760e-06, 6.881570e-09},
                                    {-3.328050e-07, 2.231600e-09, -3.677130e-12}};
static const double c222[3] = {7.849800e-03, -3.989500e-05, 6.118700e-08};
static const double c223[3] = {5.520660e-03, -1.686090e-05, 1.571690e-08};
static const double c233[3] = {3.587830e-03, 8.066740e-06, -3.257980e-08};
static const double c333[3] = {2.051300e-03, 3.488800e-05, -8.370300e-08};
static const double c555[3] = {1.047110e-03, -3.648870e-06, 4.670950e-09};
static const double c117[3] = {7.367480e-03, -2.765780e-05, 3.430510e-08};
// (0.72 + 1.875e-5 (320 - T)^2), multiplied out
static const double b12_factor[3] = {0.72 + 1.875e-5 * 320 * 320, -2 * 320 * 1.875e-5, 1.875e-5};
#define B13_FACTOR (-0.865)
#define C12_FACTOR 0.92 // C112 and C122; rises by C12_SLOPE from 270 K
#define C12_SLOPE 0.0013
#define C13_FACTOR 0.92
#define C123_FACTOR 1.10
#define C115_FACTOR 1.2
#define HYDROCARBON_MASS (-2.709328) // kg/kmol of the hydrocarbon: this + slope x its heat
#define HYDROCARBON_MASS_SLOPE 0.021062199
#define N2_MASS 28.0135
#define CO2_MASS 44.010
#define H2_MASS 2.0159
#define CO_MASS 28.010

static double quadratic(const double a[static 3], double t)
{
    return a[0] + t * (a[1] + t * a[2]);
}

static void add_scaled(double *sum, const double a[static 3], double factor)
{
    for (int i = 0; i < 3; i++)
        sum[i] += factor * a[i];
}

// What depends on the composition alone.
static void gather(struct sgerg *gas)
{
    const struct sgerg_composition *x = &gas->composition;
    double heat = x->heating_value_mj_kmol;
    for (int i = 0; i < 3; i++) {
        gas->b11[i] = b11_h[0][i] + heat * (b11_h[1][i] + heat * b11_h[2][i]);
        gas->c111[i] = c111_h[0][i] + heat * (c111_h[1][i] + heat * c111_h[2][i]);
    }
    double ch = x->hydrocarbon;
    for (int i = 0; i < 5; i++)
        gas->b[i] = 0;
    add_scaled(gas->b, gas->b11, ch * ch);
    add_scaled(gas->b, b22, x->n2 * x->n2);
    add_scaled(gas->b, b23, 2 * x->n2 * x->co2);
    add_scaled(gas->b, b33, x->co2 * x->co2);
    add_scaled(gas->b, b55, x->h2 * x->h2);
    add_scaled(gas->b, b15, 2 * ch * x->h2);
    add_scaled(gas->b, b25, 2 * x->n2 * x->h2);
    add_scaled(gas->b, b17, 2 * ch * x->co);
    add_scaled(gas->b, b77, x->co * x->co);
    for (int i = 0; i < 3; i++)
        add_scaled(gas->b + i, b12_factor, ch * x->n2 * (gas->b11[i] + b22[i]));
    for (int i = 0; i < 3; i++)
        gas->c[i] = 0;
    add_scaled(gas->c, gas->c111, ch * ch * ch);
    add_scaled(gas->c, c222, x->n2 * x->n2 * x->n2);
    add_scaled(gas->c, c223, 3 * x->n2 * x->n2 * x->co2);
    add_scaled(gas->c, c233, 3 * x->n2 * x->co2 * x->co2);
    add_scaled(gas->c, c333, x->co2 * x->co2 * x->co2);
    add_scaled(gas->c, c555, x->h2 * x->h2 * x->h2);
    add_scaled(gas->c, c117, 3 * ch * ch * x->co);
}

// NaN where the hydrocarbon has no such coefficient: a heating value that no gas has.
static double second_virial(const struct sgerg *gas, double t)
{
    const double *b = gas->b;
    double radicand = quadratic(gas->b11, t) * quadratic(b33, t);
    double sum = b[0] + t * (b[1] + t * (b[2] + t * (b[3] + t * b[4])));
    const struct sgerg_composition *x = &gas->composition;
    return sum + 2 * x->hydrocarbon * x->co2 * B13_FACTOR * sqrt(radicand);
}

// NaN like second_virial.
static double third_virial(const struct sgerg *gas, double t)
{
    const struct sgerg_composition *x = &gas->composition;
    double pure[4] = {quadratic(gas->c111, t), quadratic(c222, t), quadratic(c333, t),
                      quadratic(c555, t)};
    for (int i = 0; i < 4; i++)
        if (!(pure[i] >= 0))
            return (double)NAN;
    double ch = cbrt(pure[0]);
    double n2 = cbrt(pure[1]);
    double co2 = cbrt(pure[2]);
    double h2 = cbrt(pure[3]);
    double x1 = x->hydrocarbon;
    double with_n2 = x1 * x->n2 * ch * n2 * (x1 * ch + x->n2 * n2);
    double with_co2 = x1 * x->co2 * ch * co2 * (x1 * ch + x->co2 * co2);
    return quadratic(gas->c, t) + 3 * (C12_FACTOR + C12_SLOPE * (t - 270)) * with_n2 +
           3 * C13_FACTOR * with_co2 + 6 * C123_FACTOR * x1 * x->n2 * x->co2 * ch * n2 * co2 +
           3 * C115_FACTOR * x1 * x1 * x->h2 * ch * ch * h2;
}

// The shares that give the heating value with a hydrocarbon of `heat`, and their density.
static double density_of(struct sgerg_composition *x, double heating_value, double heat,
                         double molar_density)
{
    double burnt = x->h2 * H2_HEAT + x->co * CO_HEAT;
    x->heating_value_mj_kmol = heat;
    x->hydrocarbon = (heating_value - burnt * molar_density) / (heat * molar_density);
    x->n2 = 1 - x->hydrocarbon - x->co2 - x->h2 - x->co;
    double mass = x->hydrocarbon * (HYDROCARBON_MASS + HYDROCARBON_MASS_SLOPE * heat) +
                  x->n2 * N2_MASS + x->co2 * CO2_MASS + x->h2 * H2_MASS + x->co * CO_MASS;
    return mass * molar_density;
}

// Inner loop: the hydrocarbon whose gas has the density too. false when there is none.
static bool match_density(struct sgerg_composition *x, double heating_value, double density,
                          double molar_density)
{
    double heat = x->heating_value_mj_kmol;
    for (int i = 0; i < SEARCH_STEPS_MAX; i++) {
        struct sgerg_composition beside = *x;
        double next = density_of(&beside, heating_value, heat + 1, molar_density);
        double here = density_of(x, heating_value, heat, molar_density);
        if (fabs(density - here) <= DENSITY_TOLERANCE)
            return true;
        heat += (density - here) / (next - here);
    }
    return false;
}

// Outer loop: the molar volume at 0 degC follows from B, which follows from the composition.
static bool find_composition(struct sgerg *gas, const struct sgerg_input *input)
{
    struct sgerg_composition *x = &gas->composition;
    *x = (struct sgerg_composition){.co2 = input->co2_mol_percent / 100,
                                    .h2 = input->h2_mol_percent / 100,
                                    .co = CO_OF_H2 * input->h2_mol_percent / 100,
                                    .heating_value_mj_kmol = HYDROCARBON_FIRST};
    double hs = input->heating_value_mj_m3;
    double molar_density = 1 / (IDEAL_VOLUME + B_FIRST);
    for (int i = 0; i < SEARCH_STEPS_MAX; i++) {
        if (!match_density(x, hs, input->relative_density * AIR_DENSITY, molar_density))
            return false;
        gather(gas);
        molar_density = 1 / (IDEAL_VOLUME + second_virial(gas, KELVIN));
        double heat =
            (x->hydrocarbon * x->heating_value_mj_kmol + x->h2 * H2_HEAT + x->co * CO_HEAT) *
            molar_density;
        if (fabs(hs - heat) <= HEATING_TOLERANCE)
            return true;
    }
    return false;
}

// ---- what the method allows ---------------------------------------------------------------------

static int check_range(const char *name, double value, double low, double high, struct err *err)
{
    if (value >= low && value <= high) // false for NaN
        return 0;
    return err_set(err, "%s %.10g is outside %g to %g, the range of SGERG-88", name, value, low,
                   high);
}

static int check_input(const struct sgerg_input *input, struct err *err)
{
    if (check_range("heating_value_mj_m3", input->heating_value_mj_m3, 20, 48, err) != 0 ||
        check_range("relative_density", input->relative_density, 0.55, 0.90, err) != 0 ||
        check_range("co2_mol_percent", input->co2_mol_percent, 0, 30, err) != 0 ||
        check_range("h2_mol_percent", input->h2_mol_percent, 0, 10, err) != 0)
        return -1;
    double least = 0.55 + 0.0097 * input->co2_mol_percent - 0.0045 * input->h2_mol_percent;
    if (input->relative_density < least) {
        return err_set(err,
                       "relative_density %.10g is below %.6g, the least with this co2_mol_percent "
                       "and h2_mol_percent (SGERG-88)",
                       input->relative_density, least);
    }
    return 0;
}

static int check_composition(const struct sgerg_composition *x, const struct sgerg_input *input,
                             struct err *err)
{
    if (!(x->n2 >= -0.01 && x->n2 <= 0.5)) {
        return err_set(err,
                       "the nitrogen that follows from heating value and density, %.4g mol %%, is "
                       "outside -1 to 50, the range of SGERG-88",
                       100 * x->n2);
    }
    if (x->n2 + x->co2 > 0.5) {
        return err_set(err,
                       "nitrogen and co2_mol_percent together, %.4g mol %%, are above 50, the "
                       "range of SGERG-88",
                       100 * (x->n2 + x->co2));
    }
    double least = 0.55 + 0.4 * x->n2 + 0.97 * x->co2 - 0.45 * x->h2;
    if (input->relative_density < least) {
        return err_set(err,
                       "relative_density %.10g is below %.6g, the least with the nitrogen that "
                       "follows from the heating value (SGERG-88)",
                       input->relative_density, least);
    }
    return 0;
}

int sgerg_init(struct sgerg *out, const struct sgerg_input *input, struct err *err)
{
    if (check_input(input, err) != 0)
        return -1;
    struct sgerg gas;
    if (!find_composition(&gas, input)) {
        return err_set(err,
                       "no gas has heating_value_mj_m3 %.10g with relative_density %.10g and the "
                       "given shares (SGERG-88)",
                       input->heating_value_mj_m3, input->relative_density);
    }
    if (check_composition(&gas.composition, input, err) != 0)
        return -1;
    *out = gas;
    return 0;
}

// ---- a state ------------------------------------------------------------------------------------

// Z of p = RT (r + B r^2 + C r^3) by Newton's method on the molar density r. It begins at the ideal
// gas and stays on the branch that begins there. NaN where that branch ends below the pressure, or
// B or C is NaN; and where the gas is so dense that the standard's own search, v = RT/p Z(v), would
// run away from the solution: there the standard's program has no result, and so the method has
// none.
static double solve(double pressure_bar, double t, double b, double c)
{
    double ideal = pressure_bar / (GAS_CONSTANT * t);
    double density = ideal;
    for (int i = 0; i < NEWTON_STEPS_MAX; i++) {
        double slope = 1 + density * (2 * b + 3 * c * density);
        if (!(slope > 0))
            break;
        double step = (ideal - density * (1 + density * (b + c * density))) / slope;
        density += step;
        if (fabs(step) > NEWTON_TOLERANCE * ideal)
            continue;
        double z = 1 + density * (b + c * density);
        return density * fabs(b + 2 * c * density) < z ? z : (double)NAN;
    }
    return (double)NAN;
}

int sgerg_z(const struct sgerg *gas, double pressure_kpa, double temperature_c, double *z,
            struct err *err)
{
    if (check_range("pressure_kpa", pressure_kpa, 0, PRESSURE_MAX_KPA, err) != 0 ||
        check_range("temperature_c", temperature_c, TEMPERATURE_MIN_C, TEMPERATURE_MAX_C, err) != 0)
        return -1;
    double t = temperature_c + KELVIN;
    double result = solve(pressure_kpa / 100, t, second_virial(gas, t), third_virial(gas, t));
    if (!(result > 0)) {
        return err_set(
            err, "at pressure_kpa %.10g and temperature_c %.10g this gas is too dense for SGERG-88",
            pressure_kpa, temperature_c);
    }
    *z = result;
    return 0;
}
