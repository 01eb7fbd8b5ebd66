"""SGERG-88 once more, for judging the program: a plain transcription of the standard (no prepared polynomials, the volume
by bisection) over the coefficients in tests/data/sgerg_coefficients.csv (J. P. J. Michels, J. A. Schouten, 1991)."""
import csv
import math
from pathlib import Path

DATA = Path(__file__).resolve().parents[2] / "data"
GAS_CONSTANT = 0.0831451


class Outside(Exception):
    """What the method does not cover."""


def _coefficients():
    with open(DATA / "sgerg_coefficients.csv", newline="", encoding="utf-8") as file:
        return {row["symbol"]: [float(row[name] or 0) for name in ("a0", "a1 (*T)", "a2 (*T^2)")]
                for row in csv.DictReader(file)}


Q = _coefficients()


def quadratic(symbol, t):
    a = Q[symbol]
    return a[0] + a[1] * t + a[2] * t ** 2


def second_virial(t, x1, x2, x3, x5, x7, heat):
    b11 = quadratic("BR11H0", t) + quadratic("BR11H1", t) * heat + quadratic("BR11H2", t) * heat ** 2
    b22, b33 = quadratic("BR22", t), quadratic("BR33", t)
    if b11 * b33 < 0:
        raise Outside
    b13 = Q["Z13"][0] * math.sqrt(b11 * b33)
    b12 = (Q["Z12"][0] + 1.875e-5 * (320 - t) ** 2) * (b11 + b22) / 2
    return (x1 ** 2 * b11 + 2 * x1 * x2 * b12 + 2 * x1 * x3 * b13 + x2 ** 2 * b22 + 2 * x2 * x3 * quadratic("BR23", t)
            + x3 ** 2 * b33 + x5 ** 2 * quadratic("BR55", t) + 2 * x1 * x5 * quadratic("BR15", t)
            + 2 * x2 * x5 * Q["B25"][0] + 2 * x1 * x7 * quadratic("BR17", t) + x7 ** 2 * quadratic("BR77", t))


def third_virial(t, x1, x2, x3, x5, x7, heat):
    c111 = quadratic("C0", t) + quadratic("C1", t) * heat + quadratic("C2", t) * heat ** 2
    c222, c333, c555 = quadratic("CR222", t), quadratic("CR333", t), quadratic("CR555", t)
    if min(c111, c222, c333, c555) < 0:
        raise Outside

    def root(*parts):
        return math.prod(parts) ** (1 / 3)
    y12 = Q["Y12"][0] + 0.0013 * (t - 270)
    c112, c122 = y12 * root(c111, c111, c222), y12 * root(c111, c222, c222)
    c113, c133 = Q["Y13"][0] * root(c111, c111, c333), Q["Y13"][0] * root(c111, c333, c333)
    c123, c115 = Q["Y123"][0] * root(c111, c222, c333), Q["Y115"][0] * root(c111, c111, c555)
    return (x1 ** 3 * c111 + 3 * x1 ** 2 * x2 * c112 + 3 * x1 ** 2 * x3 * c113 + 3 * x1 ** 2 * x5 * c115
            + 3 * x1 * x2 ** 2 * c122 + 6 * x1 * x2 * x3 * c123 + 3 * x1 * x3 ** 2 * c133 + x2 ** 3 * c222
            + 3 * x2 ** 2 * x3 * quadratic("CR223", t) + 3 * x2 * x3 ** 2 * quadratic("CR233", t) + x3 ** 3 * c333
            + x5 ** 3 * c555 + 3 * x1 ** 2 * x7 * quadratic("CR117", t))


def composition(heating_value, density, co2, h2):
    """Mole fractions of hydrocarbon, N2, CO2, H2, CO, and the hydrocarbon's MJ/kmol."""
    co, heat, wanted = 0.0964 * h2, 1000.0, density * Q["RHOA"][0]
    per_volume = 1 / (Q["VMN"][0] - 0.065)
    burnt = h2 * Q["H5"][0] + co * Q["H7"][0]
    for _ in range(20):
        def mass(at):
            ch = (heating_value - burnt * per_volume) / (at * per_volume)
            n2 = 1 - ch - co2 - h2 - co
            grams = (ch * (Q["GM1R0"][0] + Q["GM1R1"][0] * at) + n2 * Q["GM2"][0] + co2 * Q["GM3"][0]
                     + h2 * Q["GM5"][0] + co * Q["GM7"][0])
            return grams * per_volume, ch, n2
        for _ in range(20):
            here, ch, n2 = mass(heat)
            if abs(wanted - here) <= 1e-6:
                break
            heat += (wanted - here) / (mass(heat + 1)[0] - here)
        else:
            raise Outside
        per_volume = 1 / (Q["VMN"][0] + second_virial(273.15, ch, n2, co2, h2, co, heat))
        if abs(heating_value - (ch * heat + burnt) * per_volume) <= 1e-4:
            return ch, n2, co2, h2, co, heat
    raise Outside


def compressibility(heating_value, density, co2, h2, bar, celsius):
    """Z; Outside where the method's input, its result, or the pressure and temperature are beyond its range."""
    if not (0 <= bar <= 120 and -23 <= celsius <= 65 and 20 <= heating_value <= 48 and 0.55 <= density <= 0.9
            and 0 <= co2 <= 0.3 and 0 <= h2 <= 0.1 and 0.55 + 0.97 * co2 - 0.45 * h2 <= density):
        raise Outside
    x = composition(heating_value, density, co2, h2)
    if not -0.01 <= x[1] <= 0.5 or x[1] + co2 > 0.5 or 0.55 + 0.4 * x[1] + 0.97 * co2 - 0.45 * h2 > density:
        raise Outside
    t = celsius + 273.15
    b, c = second_virial(t, *x), third_virial(t, *x)
    if bar == 0:
        return 1.0
    ideal = bar / (GAS_CONSTANT * t)

    def pressure(density):  # over RT
        return density * (1 + b * density + c * density ** 2)
    low, step = 0.0, ideal / 500
    while pressure(low + step) < ideal:
        low += step
        if pressure(low + step) <= pressure(low):
            raise Outside  # the gas's branch ends below this pressure
    high = low + step
    for _ in range(100):
        middle = (low + high) / 2
        low, high = (middle, high) if pressure(middle) < ideal else (low, middle)
    z = ideal / high
    if high * abs(b + 2 * c * high) >= z:
        raise Outside  # the standard's search, v = RT/p Z(v), runs away from here
    return z
