"""Register maps of the shipped profiles as their makers' documents state them, written down a second time.

The program's own profiles are not read here: a wrong address, order or scale in one of them shows as a difference.
"""
import struct
from collections import namedtuple
from decimal import Decimal

from . import registers as r

Part = namedtuple("Part", "register type order scale")
Channel = namedtuple("Channel", "kind unit parts")
Map = namedtuple("Map", "function channels")

WORDS = {"u16": 1, "f32": 2, "u32": 2, "f64": 4, "bcd12": 3}
ORDER_OF_BYTES = {"AB": (0, 1), "ABCD": (0, 1, 2, 3), "CDAB": (2, 3, 0, 1), "ABCDEFGH": tuple(range(8))}


def _counter(unit, *parts):
    return Channel("counter", unit, parts)


def _gauge(register, unit, order="ABCD", scale="1"):
    return Channel("gauge", unit, (Part(register, "f32", order, Decimal(scale)),))


def _f32_total(register, unit):
    return _counter(unit, Part(register, "f32", "ABCD", Decimal(1)))


# github goosy/S7_SCL_Gen, example/FXGasFlow.scl
FUXIN = Map(3, {
    "volume_base": _counter("m3", Part(18, "bcd12", "", Decimal("0.0001"))),
    "volume_measured": _counter("m3", Part(23, "bcd12", "", Decimal("0.0001"))),
    "flow_base": _gauge(16, "m3/h"),
    "flow_measured": _gauge(21, "m3/h"),
    "temperature": _gauge(26, "degC"),
    "pressure": _gauge(28, "kPa"),
})

# FD TMS installation and operation manual, appendix 1: low word first; units are set in the meter
FD_TMS = Map(3, {
    "flow_base": _gauge(0, "m3/h", "CDAB"),
    "volume_base": _counter("m3", Part(6, "u32", "CDAB", Decimal(1)), Part(8, "f32", "CDAB", Decimal(1))),
    "temperature": _gauge(12, "degC", "CDAB"),
    "status": Channel("bits", None, (Part(20, "u16", "AB", "relay-low"), Part(21, "u16", "AB", "relay-high"))),
    "serial_number": Channel("identity", None, (Part(50, "u32", "CDAB", Decimal(1)),)),
})

# github volkszaehler/mbmd, meters/rs485/sdm.go
SDM630 = Map(4, {
    **{f"voltage_l{n}": _gauge(2 * n - 2, "V") for n in (1, 2, 3)},
    **{f"current_l{n}": _gauge(2 * n + 4, "A") for n in (1, 2, 3)},
    **{f"power_l{n}": _gauge(2 * n + 10, "kW", scale="0.001") for n in (1, 2, 3)},
    **{f"apparent_power_l{n}": _gauge(2 * n + 16, "kVA", scale="0.001") for n in (1, 2, 3)},
    **{f"reactive_power_l{n}": _gauge(2 * n + 22, "kvar", scale="0.001") for n in (1, 2, 3)},
    **{f"power_factor_l{n}": _gauge(2 * n + 28, "1") for n in (1, 2, 3)},
    "power": _gauge(52, "kW", scale="0.001"),
    "apparent_power": _gauge(56, "kVA", scale="0.001"),
    "reactive_power": _gauge(60, "kvar", scale="0.001"),
    "power_factor": _gauge(62, "1"),
    "phase_angle": _gauge(66, "deg"),
    "frequency": _gauge(70, "Hz"),
    "energy_import": _f32_total(72, "kWh"),
    "energy_export": _f32_total(74, "kWh"),
    "reactive_energy_import": _f32_total(76, "kvarh"),
    "reactive_energy_export": _f32_total(78, "kvarh"),
    "energy_total": _f32_total(342, "kWh"),
    "reactive_energy_total": _f32_total(344, "kvarh"),
    **{f"energy_import_l{n}": _f32_total(344 + 2 * n, "kWh") for n in (1, 2, 3)},
})

# github volkszaehler/mbmd, meters/rs485/pac2200.go: energies are raw Wh in 64-bit floats
PAC2200 = Map(4, {
    **{f"voltage_l{n}": _gauge(2 * n - 1, "V") for n in (1, 2, 3)},
    **{f"current_l{n}": _gauge(2 * n + 11, "A") for n in (1, 2, 3)},
    **{f"power_l{n}": _gauge(2 * n + 23, "kW", scale="0.001") for n in (1, 2, 3)},
    **{f"power_factor_l{n}": _gauge(2 * n + 35, "1") for n in (1, 2, 3)},
    "apparent_power": _gauge(63, "kVA", scale="0.001"),
    "power": _gauge(65, "kW", scale="0.001"),
    "reactive_power": _gauge(67, "kvar", scale="0.001"),
    "power_factor": _gauge(69, "1"),
    "frequency": _gauge(46, "Hz"),
    "energy_import": _counter("kWh", Part(801, "f64", "ABCDEFGH", Decimal("0.001"))),
    "energy_export": _counter("kWh", Part(809, "f64", "ABCDEFGH", Decimal("0.001"))),
})

MAPS = {"fuxin-totalizer": FUXIN, "fd-tms": FD_TMS, "eastron-sdm630": SDM630, "siemens-pac2200": PAC2200}


def registers_of(channel):
    return [register for part in channel.parts for register in range(part.register, part.register + WORDS[part.type])]


def _raw(part, words):
    """The exact number in one field; `words`: {register: word}."""
    data = struct.pack(f">{WORDS[part.type]}H", *(words[part.register + i] for i in range(WORDS[part.type])))
    if part.type == "bcd12":
        return Decimal(data.hex())  # a digit above 9 fails here: no test serves one
    data = bytes(data[i] for i in ORDER_OF_BYTES[part.order])
    return Decimal(struct.unpack({"u16": ">H", "f32": ">f", "u32": ">I", "f64": ">d"}[part.type], data)[0])


def decode(channel, words):
    """What the channel is, exactly: a counter as the contract rounds it, a gauge with all that the wire carried, the
    names of the bits that are set (each part's name stands for bit 0 of its register), the text of an identity."""
    if channel.kind == "bits":
        return [part.scale for part in channel.parts if int(_raw(part, words)) & 1]
    if channel.kind == "identity":
        return str(_raw(channel.parts[0], words))
    total = sum((_raw(part, words) * part.scale for part in channel.parts), Decimal(0))
    return r.counter(total) if channel.kind == "counter" else total
