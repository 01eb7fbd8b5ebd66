#include "drivers/simulator/channel_source.h"

#include <math.h>
#include <stddef.h>
#include <string.h>

#define MICRO 1e6
#define POWER_FACTOR 0.92
#define REACTIVE 0.4259979 // per kW at that power factor
#define APPARENT (1 / POWER_FACTOR)
// How the load spreads over the three phases.
#define SHARE_L1 0.35
#define SHARE_L2 0.33
#define SHARE_L3 0.32
#define BALANCE_START 250000.0 // m3
#define ATMOSPHERE_KPA 101.325

enum source {
    FIXED,
    FLOW,      // x factor
    FLOW_BASE, // x factor
    PRESSURE,
    PRESSURE_GAUGE,
    TEMPERATURE,
    AIR_TEMPERATURE,
    COMPRESSIBILITY,
    CONVERSION,
    BATTERY,
    BALANCE,
    NET, // the total at line conditions, as an exact gauge
    CLOCK,
    VELOCITY,
    VOLTAGE,
    CURRENT,        // x factor: the share of the phase
    TOTAL_MEASURED, // x factor, in hundredths
    TOTAL_BASE,
};

struct row {
    const char *channel;
    enum source source;
    double factor;
};

static const struct row rows[] = {
    {"volume_base", TOTAL_BASE, 100},
    {"volume_measured", TOTAL_MEASURED, 100},
    {"volume_base_computed", TOTAL_BASE, 100},
    {"volume_disturbed", TOTAL_BASE, 0},
    {"volume_base_reverse", TOTAL_BASE, 0},
    {"flow_base", FLOW_BASE, 1},
    {"flow_measured", FLOW, 1},
    {"flow_base_reverse", FLOW_BASE, 0},
    {"mass", TOTAL_BASE, 78},
    {"mass_flow", FLOW_BASE, 0.78}, // natural gas, kg a cubic metre
    {"pressure", PRESSURE, 1},
    {"pressure_gauge", PRESSURE_GAUGE, 1},
    {"differential_pressure", FIXED, 12.5},
    {"atmospheric_pressure", FIXED, 101.325},
    {"temperature", TEMPERATURE, 1},
    {"air_temperature", AIR_TEMPERATURE, 1},
    {"compressibility_ratio", COMPRESSIBILITY, 1},
    {"conversion_factor", CONVERSION, 1},
    {"base_pressure", FIXED, 101.325},
    {"base_temperature", FIXED, 20},
    {"base_density", FIXED, 0.78},
    {"velocity", VELOCITY, 25},
    {"sound_velocity", FIXED, 430},
    {"battery", BATTERY, 1},
    {"balance", BALANCE, 1},
    {"voltage_l1", VOLTAGE, 230.4},
    {"voltage_l2", VOLTAGE, 231.1},
    {"voltage_l3", VOLTAGE, 229.7},
    {"voltage_average", VOLTAGE, 230.4},
    {"voltage_l1_l2", VOLTAGE, 399.7},
    {"voltage_l2_l3", VOLTAGE, 399.1},
    {"voltage_l3_l1", VOLTAGE, 398.5},
    {"current_l1", CURRENT, SHARE_L1},
    {"current_l2", CURRENT, SHARE_L2},
    {"current_l3", CURRENT, SHARE_L3},
    {"current_average", CURRENT, 1.0 / 3},
    {"power", FLOW, 1},
    {"power_l1", FLOW, SHARE_L1},
    {"power_l2", FLOW, SHARE_L2},
    {"power_l3", FLOW, SHARE_L3},
    {"reactive_power", FLOW, REACTIVE},
    {"reactive_power_l1", FLOW, REACTIVE *SHARE_L1},
    {"reactive_power_l2", FLOW, REACTIVE *SHARE_L2},
    {"reactive_power_l3", FLOW, REACTIVE *SHARE_L3},
    {"apparent_power", FLOW, APPARENT},
    {"apparent_power_l1", FLOW, APPARENT *SHARE_L1},
    {"apparent_power_l2", FLOW, APPARENT *SHARE_L2},
    {"apparent_power_l3", FLOW, APPARENT *SHARE_L3},
    {"power_factor", FIXED, POWER_FACTOR},
    {"power_factor_l1", FIXED, POWER_FACTOR},
    {"power_factor_l2", FIXED, POWER_FACTOR},
    {"power_factor_l3", FIXED, POWER_FACTOR},
    {"phase_angle", FIXED, 23.073918}, // acos of the power factor
    {"frequency", FIXED, 50.01},
    {"energy_import", TOTAL_MEASURED, 100},
    {"energy_import_l1", TOTAL_MEASURED, 35},
    {"energy_import_l2", TOTAL_MEASURED, 33},
    {"energy_import_l3", TOTAL_MEASURED, 32},
    {"energy_export", TOTAL_MEASURED, 0},
    {"energy_total", TOTAL_MEASURED, 100},
    {"reactive_energy_import", TOTAL_MEASURED, 42},
    {"reactive_energy_export", TOTAL_MEASURED, 0},
    {"reactive_energy_total", TOTAL_MEASURED, 42},
    {"water_volume", TOTAL_MEASURED, 100},
    {"water_volume_reverse", TOTAL_MEASURED, 0},
    {"water_volume_net", NET, 1},
    {"water_flow", FLOW, 1},
    {"water_flow_2", FLOW, 0.5},
    {"heat_energy", TOTAL_MEASURED, 100},
    {"cooling_energy", TOTAL_MEASURED, 0},
    {"heat_power", FLOW, 1},
    {"supply_temperature", FIXED, 85},
    {"return_temperature", FIXED, 55},
    {"temperature_3", FIXED, 70},
    {"temperature_4", FIXED, 21},
    {"steam_mass", TOTAL_MEASURED, 100},
    {"steam_flow", FLOW, 1},
    {"meter_clock", CLOCK, 1},
};

static const struct row *row_find(const char *channel)
{
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++)
        if (strcmp(rows[i].channel, channel) == 0)
            return &rows[i];
    return NULL;
}

bool source_knows(const char *channel)
{
    return row_find(channel) != NULL;
}

int64_t source_counter(const char *channel, const struct model_state *state)
{
    const struct row *row = row_find(channel);
    if (row == NULL || (row->source != TOTAL_BASE && row->source != TOTAL_MEASURED))
        return 0;
    int64_t micro = row->source == TOTAL_BASE ? state->base.micro : state->measured.micro;
    int64_t share = (int64_t)row->factor;
    return micro / 100 * share + micro % 100 * share / 100;
}

double source_gauge(const char *channel, const struct model_settings *settings,
                    const struct model_state *state, const struct model_values *values,
                    int64_t at_ms)
{
    const struct row *row = row_find(channel);
    if (row == NULL)
        return 1;
    double flow = (double)values->flow_measured_micro / MICRO;
    double sag = 3 * values->work; // volts, under load
    switch (row->source) {
    case FIXED: return row->factor;
    case FLOW: return flow * row->factor;
    case FLOW_BASE: return (double)values->flow_base_micro / MICRO * row->factor;
    case PRESSURE: return values->pressure_kpa;
    case PRESSURE_GAUGE: return values->pressure_kpa - ATMOSPHERE_KPA;
    case TEMPERATURE: return values->temperature_c;
    case AIR_TEMPERATURE: return values->air_temperature_c;
    case COMPRESSIBILITY: return values->compressibility_ratio;
    case CONVERSION: return values->conversion_factor;
    case BATTERY: return values->battery_percent;
    case BALANCE: {
        double left = BALANCE_START - (double)(state->base.micro - state->base_start) / MICRO;
        return left > 0 ? left : 0;
    }
    case CLOCK: return floor((double)at_ms / 1000);
    case NET: return floor((double)state->measured.micro / 1000) / 1000;
    case VELOCITY: return settings->capacity > 0 ? row->factor * flow / settings->capacity : 0;
    case VOLTAGE: return row->factor - sag;
    case CURRENT: return flow * APPARENT * row->factor * 1000 / (230.4 - sag);
    case TOTAL_MEASURED:
    case TOTAL_BASE: break;
    }
    return 1;
}
