#include "drivers/channel.h"

#include <string.h>

#define COUNT(array) (sizeof(array) / sizeof((array)[0]))

static const struct channel channels[] = {
    // gas
    {"volume_base", "m3", CHANNEL_COUNTER},
    {"volume_measured", "m3", CHANNEL_COUNTER},
    {"volume_base_computed", "m3", CHANNEL_COUNTER},
    {"volume_disturbed", "m3", CHANNEL_COUNTER},
    {"volume_base_reverse", "m3", CHANNEL_COUNTER},
    {"flow_base", "m3/h", CHANNEL_GAUGE},
    {"flow_measured", "m3/h", CHANNEL_GAUGE},
    {"flow_base_reverse", "m3/h", CHANNEL_GAUGE},
    {"mass", "kg", CHANNEL_COUNTER},
    {"mass_flow", "kg/h", CHANNEL_GAUGE},
    {"pressure", "kPa", CHANNEL_GAUGE},
    {"pressure_gauge", "kPa", CHANNEL_GAUGE}, // above that of the air, which `pressure` includes
    {"differential_pressure", "kPa", CHANNEL_GAUGE},
    {"atmospheric_pressure", "kPa", CHANNEL_GAUGE}, // as it is set in the meter
    {"temperature", "degC", CHANNEL_GAUGE},
    {"air_temperature", "degC", CHANNEL_GAUGE},
    {"compressibility_ratio", "1", CHANNEL_GAUGE},
    {"conversion_factor", "1", CHANNEL_GAUGE},
    {"base_pressure", "kPa", CHANNEL_GAUGE}, // the base conditions that are set in the meter
    {"base_temperature", "degC", CHANNEL_GAUGE},
    {"base_density", "kg/m3", CHANNEL_GAUGE},
    {"velocity", "m/s", CHANNEL_GAUGE},
    {"sound_velocity", "m/s", CHANNEL_GAUGE},
    {"battery", "%", CHANNEL_GAUGE},
    {"balance", "m3", CHANNEL_EXACT},
    // electricity
    {"voltage_l1", "V", CHANNEL_GAUGE},
    {"voltage_l2", "V", CHANNEL_GAUGE},
    {"voltage_l3", "V", CHANNEL_GAUGE},
    {"voltage_average", "V", CHANNEL_GAUGE}, // of the phases, to neutral
    {"voltage_l1_l2", "V", CHANNEL_GAUGE},
    {"voltage_l2_l3", "V", CHANNEL_GAUGE},
    {"voltage_l3_l1", "V", CHANNEL_GAUGE},
    {"current_l1", "A", CHANNEL_GAUGE},
    {"current_l2", "A", CHANNEL_GAUGE},
    {"current_l3", "A", CHANNEL_GAUGE},
    {"current_average", "A", CHANNEL_GAUGE},
    {"power", "kW", CHANNEL_GAUGE},
    {"power_l1", "kW", CHANNEL_GAUGE},
    {"power_l2", "kW", CHANNEL_GAUGE},
    {"power_l3", "kW", CHANNEL_GAUGE},
    {"reactive_power", "kvar", CHANNEL_GAUGE},
    {"reactive_power_l1", "kvar", CHANNEL_GAUGE},
    {"reactive_power_l2", "kvar", CHANNEL_GAUGE},
    {"reactive_power_l3", "kvar", CHANNEL_GAUGE},
    {"apparent_power", "kVA", CHANNEL_GAUGE},
    {"apparent_power_l1", "kVA", CHANNEL_GAUGE},
    {"apparent_power_l2", "kVA", CHANNEL_GAUGE},
    {"apparent_power_l3", "kVA", CHANNEL_GAUGE},
    {"power_factor", "1", CHANNEL_GAUGE},
    {"power_factor_l1", "1", CHANNEL_GAUGE},
    {"power_factor_l2", "1", CHANNEL_GAUGE},
    {"power_factor_l3", "1", CHANNEL_GAUGE},
    {"phase_angle", "deg", CHANNEL_GAUGE},
    {"frequency", "Hz", CHANNEL_GAUGE},
    {"energy_import", "kWh", CHANNEL_COUNTER},
    {"energy_import_l1", "kWh", CHANNEL_COUNTER},
    {"energy_import_l2", "kWh", CHANNEL_COUNTER},
    {"energy_import_l3", "kWh", CHANNEL_COUNTER},
    {"energy_export", "kWh", CHANNEL_COUNTER},
    {"energy_total", "kWh", CHANNEL_COUNTER}, // import + export
    {"reactive_energy_import", "kvarh", CHANNEL_COUNTER},
    {"reactive_energy_export", "kvarh", CHANNEL_COUNTER},
    {"reactive_energy_total", "kvarh", CHANNEL_COUNTER},
    // water, heat, steam
    {"water_volume", "m3", CHANNEL_COUNTER},
    {"water_volume_reverse", "m3", CHANNEL_COUNTER},
    {"water_volume_net", "m3", CHANNEL_EXACT}, // forward less reverse: it may fall
    {"water_flow", "m3/h", CHANNEL_GAUGE},
    {"water_flow_2", "m3/h", CHANNEL_GAUGE}, // of a meter with two flow sensors
    {"heat_energy", "kWh", CHANNEL_COUNTER},
    {"cooling_energy", "kWh", CHANNEL_COUNTER},
    {"heat_power", "kW", CHANNEL_GAUGE},
    {"supply_temperature", "degC", CHANNEL_GAUGE},
    {"return_temperature", "degC", CHANNEL_GAUGE},
    {"temperature_3", "degC", CHANNEL_GAUGE}, // further sensors of a heat meter
    {"temperature_4", "degC", CHANNEL_GAUGE},
    {"steam_mass", "kg", CHANNEL_COUNTER},
    {"steam_flow", "kg/h", CHANNEL_GAUGE},
    // of every medium
    {"status", "", CHANNEL_BITS},
    {"meter_clock", "s", CHANNEL_EXACT},
    {"serial_number", "", CHANNEL_IDENTITY},
};

// value x factor + offset = value in the canonical unit. Exact, but for those that have no finite
// decimal (m3/d, psi, degF, km/h): they stand with all the digits that fit.
struct unit {
    const char *name;
    const char *canonical;
    struct decimal factor;
    struct decimal offset;
};

static const struct unit units[] = {
    {"l", "m3", {1, -3}, {0, 0}},
    {"L", "m3", {1, -3}, {0, 0}},
    {"dm3", "m3", {1, -3}, {0, 0}},
    {"hl", "m3", {1, -1}, {0, 0}},
    {"km3", "m3", {1, 3}, {0, 0}},
    {"ft3", "m3", {28316846592, -12}, {0, 0}},
    {"m3/min", "m3/h", {60, 0}, {0, 0}},
    {"m3/s", "m3/h", {3600, 0}, {0, 0}},
    {"m3/d", "m3/h", {41666666666666667, -18}, {0, 0}},
    {"l/h", "m3/h", {1, -3}, {0, 0}},
    {"l/min", "m3/h", {6, -2}, {0, 0}},
    {"l/s", "m3/h", {36, -1}, {0, 0}},
    {"km3/h", "m3/h", {1, 3}, {0, 0}},
    {"ft3/h", "m3/h", {28316846592, -12}, {0, 0}},
    {"ft3/min", "m3/h", {169901079552, -11}, {0, 0}},
    {"Pa", "kPa", {1, -3}, {0, 0}},
    {"hPa", "kPa", {1, -1}, {0, 0}},
    {"MPa", "kPa", {1, 3}, {0, 0}},
    {"mbar", "kPa", {1, -1}, {0, 0}},
    {"bar", "kPa", {1, 2}, {0, 0}},
    {"atm", "kPa", {101325, -3}, {0, 0}},
    {"kgf/cm2", "kPa", {980665, -4}, {0, 0}},
    {"psi", "kPa", {689475729316836134, -17}, {0, 0}},
    {"K", "degC", {1, 0}, {-27315, -2}},
    {"degF", "degC", {555555555555555556, -18}, {-177777777777777778, -16}},
    {"%", "1", {1, -2}, {0, 0}},
    {"1", "%", {1, 2}, {0, 0}},
    {"km/h", "m/s", {277777777777777778, -18}, {0, 0}},
    {"ft/s", "m/s", {3048, -4}, {0, 0}},
    {"mV", "V", {1, -3}, {0, 0}},
    {"kV", "V", {1, 3}, {0, 0}},
    {"mA", "A", {1, -3}, {0, 0}},
    {"kA", "A", {1, 3}, {0, 0}},
    {"W", "kW", {1, -3}, {0, 0}},
    {"MW", "kW", {1, 3}, {0, 0}},
    {"var", "kvar", {1, -3}, {0, 0}},
    {"Mvar", "kvar", {1, 3}, {0, 0}},
    {"VA", "kVA", {1, -3}, {0, 0}},
    {"MVA", "kVA", {1, 3}, {0, 0}},
    {"mHz", "Hz", {1, -3}, {0, 0}},
    {"Wh", "kWh", {1, -3}, {0, 0}},
    {"MWh", "kWh", {1, 3}, {0, 0}},
    {"GWh", "kWh", {1, 6}, {0, 0}},
    {"varh", "kvarh", {1, -3}, {0, 0}},
    {"Mvarh", "kvarh", {1, 3}, {0, 0}},
    {"g", "kg", {1, -3}, {0, 0}},
    {"t", "kg", {1, 3}, {0, 0}},
    {"t/h", "kg/h", {1, 3}, {0, 0}},
    {"kg/min", "kg/h", {60, 0}, {0, 0}},
    {"kg/s", "kg/h", {3600, 0}, {0, 0}},
    {"g/m3", "kg/m3", {1, -3}, {0, 0}},
    {"g/l", "kg/m3", {1, 0}, {0, 0}},
    {"ms", "s", {1, -3}, {0, 0}},
};

const struct channel *channel_find(const char *name)
{
    for (size_t i = 0; i < COUNT(channels); i++)
        if (strcmp(channels[i].name, name) == 0)
            return &channels[i];
    return NULL;
}

const struct channel *channel_at(int index)
{
    return index >= 0 && (size_t)index < COUNT(channels) ? &channels[index] : NULL;
}

static bool unit_fits(const struct channel *channel, const struct unit *unit)
{
    bool power_of_ten = unit->factor.mantissa == 1 && unit->offset.mantissa == 0;
    return strcmp(unit->canonical, channel->unit) == 0 &&
           (channel->kind != CHANNEL_COUNTER || power_of_ten);
}

int channel_unit_conversion(const struct channel *channel, const char *unit,
                            struct unit_conversion *out)
{
    if (channel->unit[0] == '\0')
        return -1; // bits and identity have no unit
    if (strcmp(unit, channel->unit) == 0) {
        *out = (struct unit_conversion){{1, 0}, {0, 0}};
        return 0;
    }
    for (size_t i = 0; i < COUNT(units); i++) {
        if (strcmp(units[i].name, unit) == 0 && unit_fits(channel, &units[i])) {
            *out = (struct unit_conversion){units[i].factor, units[i].offset};
            return 0;
        }
    }
    return -1;
}

const char *channel_unit_at(const struct channel *channel, int index)
{
    if (channel->unit[0] == '\0' || index < 0)
        return NULL;
    if (index == 0)
        return channel->unit;
    for (size_t i = 0; i < COUNT(units); i++)
        if (unit_fits(channel, &units[i]) && --index == 0)
            return units[i].name;
    return NULL;
}
