"""Units of the channels: what a meter's entry says where a profile leaves the unit open, and what a unit is in the
canonical one. Written from the contract, not from the program's table."""
from decimal import Decimal

# unit -> (canonical unit, factor, offset)
_CANONICAL = {
    "W": ("kW", "0.001", 0), "VA": ("kVA", "0.001", 0), "var": ("kvar", "0.001", 0), "Wh": ("kWh", "0.001", 0),
    "varh": ("kvarh", "0.001", 0), "bar": ("kPa", "100", 0), "mbar": ("kPa", "0.1", 0), "MPa": ("kPa", "1000", 0),
    "Pa": ("kPa", "0.001", 0), "l/h": ("m3/h", "0.001", 0), "m3/s": ("m3/h", "3600", 0), "l": ("m3", "0.001", 0),
    "t": ("kg", "1000", 0), "K": ("degC", "1", "-273.15"),
}
_CONFIGURED = {
    "volume_base": "m3", "volume_base_reverse": "m3", "volume_measured": "m3", "flow_base": "m3/h",
    "flow_base_reverse": "l/h", "flow_measured": "m3/h", "mass": "t", "mass_flow": "kg/h", "pressure": "bar",
    "differential_pressure": "mbar", "temperature": "degC", "velocity": "m/s", "base_density": "kg/m3",
    "water_volume": "l", "water_volume_reverse": "m3", "water_volume_net": "m3", "water_flow": "l/h",
    "water_flow_2": "m3/h", "heat_power": "W",
}


def configured(channel):
    """What is set in the meter."""
    return _CONFIGURED[channel]


def canonical(unit):
    """(canonical unit, factor, offset): value x factor + offset is the value in it."""
    name, factor, offset = _CANONICAL.get(unit, (unit, "1", 0))
    return name, Decimal(factor), Decimal(offset)
