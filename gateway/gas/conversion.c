#include "gas/conversion.h"

#include <math.h>

#define KELVIN 273.15
#define REFERENCE_PRESSURE_KPA 101.325
#define FIXED_PRESSURE_MAX_KPA 50000.0
#define COMBUSTION_SLOPE 0.0001027 // 1/K: heating value over temperature of combustion (AGA 8)
#define REBASE_STEPS_MAX 20
#define REBASE_TOLERANCE 1e-13 // relative

static int check_range(const char *name, double value, double low, double high, struct err *err)
{
    if (value >= low && value <= high) // false for NaN
        return 0;
    return err_set(err, "%s %.10g is outside %g to %g", name, value, low, high);
}

static int check_fixed_state(const char *pressure, double pressure_kpa, const char *temperature,
                             double temperature_c, struct err *err)
{
    return check_range(pressure, pressure_kpa, 0, FIXED_PRESSURE_MAX_KPA, err) != 0
               ? -1
               : check_range(temperature, temperature_c, -100, 200, err);
}

static int init_sgerg(struct conversion *conversion, struct err *err)
{
    const struct conversion_input *input = &conversion->input;
    if (sgerg_init(&conversion->gas, &input->gas, err) != 0)
        return -1;
    if (sgerg_z(&conversion->gas, input->base_pressure_kpa, input->base_temperature_c,
                &conversion->z_base, err) != 0)
        return err_add(err, "base conditions");
    return 0;
}

static int init_fixed(struct conversion *conversion, struct err *err)
{
    const struct conversion_input *input = &conversion->input;
    conversion->z_base = (double)NAN;
    if (check_range("compressibility_ratio", input->compressibility_ratio, 0.5, 1.5, err) != 0)
        return -1;
    return check_fixed_state("base_pressure_kpa", input->base_pressure_kpa, "base_temperature_c",
                             input->base_temperature_c, err);
}

int conversion_init(struct conversion *out, const struct conversion_input *input, struct err *err)
{
    struct conversion conversion = {.input = *input};
    // a volume at no pressure has no size
    if (check_range("base_pressure_kpa", input->base_pressure_kpa, 1, FIXED_PRESSURE_MAX_KPA,
                    err) != 0)
        return -1;
    int result = input->method == CONVERSION_FIXED ? init_fixed(&conversion, err)
                                                   : init_sgerg(&conversion, err);
    if (result == 0)
        *out = conversion;
    return result;
}

int conversion_at(const struct conversion *conversion, double pressure_kpa, double temperature_c,
                  struct conversion_result *out, struct err *err)
{
    const struct conversion_input *input = &conversion->input;
    double z = (double)NAN;
    double ratio = input->compressibility_ratio;
    if (input->method == CONVERSION_FIXED) {
        if (check_fixed_state("pressure_kpa", pressure_kpa, "temperature_c", temperature_c, err) !=
            0)
            return -1;
    } else {
        if (sgerg_z(&conversion->gas, pressure_kpa, temperature_c, &z, err) != 0)
            return -1;
        ratio = z / conversion->z_base;
    }
    *out = (struct conversion_result){
        .z = z,
        .z_base = conversion->z_base,
        .factor = pressure_kpa / input->base_pressure_kpa * (input->base_temperature_c + KELVIN) /
                  (temperature_c + KELVIN) / ratio,
    };
    return 0;
}

int ambient_pressure(double altitude_m, double *out_kpa, struct err *err)
{
    if (check_range("altitude_m", altitude_m, -500, 1500, err) != 0)
        return -1;
    *out_kpa = 101.6 - 0.012 * altitude_m;
    return 0;
}

int heating_value_rebase(struct sgerg_input *gas, struct heating_reference from, struct err *err)
{
    if (check_range("temperature of combustion", from.combustion_c, 0, 30, err) != 0 ||
        check_range("temperature of metering", from.metering_c, 0, 30, err) != 0)
        return -1;
    double at_25 = gas->heating_value_mj_m3 * (1 + COMBUSTION_SLOPE * (from.combustion_c - 25));
    double ideal = at_25 * (from.metering_c + KELVIN) / KELVIN;
    struct sgerg_input search = *gas;
    // the last is a little more or less than `ideal`; the search must begin inside the range
    search.heating_value_mj_m3 = fmin(fmax(ideal, 20), 48);
    for (int i = 0; i < REBASE_STEPS_MAX; i++) {
        struct sgerg made;
        double z_metering;
        double z_0;
        if (sgerg_init(&made, &search, err) != 0 ||
            sgerg_z(&made, REFERENCE_PRESSURE_KPA, from.metering_c, &z_metering, err) != 0 ||
            sgerg_z(&made, REFERENCE_PRESSURE_KPA, 0, &z_0, err) != 0)
            return err_add(err, "heating value brought to 25/0");
        double next = ideal * z_metering / z_0;
        double change = fabs(next - search.heating_value_mj_m3);
        search.heating_value_mj_m3 = next;
        if (change <= REBASE_TOLERANCE * next)
            break;
    }
    *gas = search;
    return 0;
}
