"""A Fuxin totalizer at the wire: what its registers say of given values (map: goosy/S7_SCL_Gen, FXGasFlow.scl)."""
from . import registers as r

PROFILE = "fuxin-totalizer"
FUNCTION = 3


def image(base_1e4, measured_1e4, flow_base, flow_measured, temperature, pressure):
    """Words by first register. Totals are counts of 0.0001 m3."""
    return {16: r.f32(flow_base), 18: r.bcd(base_1e4, 12), 21: r.f32(flow_measured), 23: r.bcd(measured_1e4, 12),
            26: r.f32(temperature), 28: r.f32(pressure)}


def put(meter, base_1e4=12345678901, measured_1e4=4567890123, flow_base=40.0, flow_measured=13.5, temperature=18.25,
        pressure=301.5):
    meter.put_all(FUNCTION, image(base_1e4, measured_1e4, flow_base, flow_measured, temperature, pressure))


def count_up(meter):
    """Makes the meter's base total rise by 0.0001 m3 with each request that covers it, so that a total names its reply.

    The unit is in the digits above: a total of another meter is seen at once.
    """
    put(meter)
    state = {"count": 0}

    def step(one, function, first, count):
        if function == FUNCTION and first <= 18 and first + count >= 21:
            state["count"] += 1
            one.put(FUNCTION, 18, r.bcd(one.unit * 10**9 + state["count"], 12))

    meter.before_read = step


def served_totals(meter):
    """Base totals (counts of 0.0001 m3) that went over the wire, in order, with the time of each."""
    found = []
    for request in meter.log:
        if request.words and request.function == FUNCTION and request.first <= 18 and \
                request.first + request.count >= 21:
            at = 18 - request.first
            found.append((request.at, int("".join(f"{word:04x}" for word in request.words[at:at + 3]))))
    return found
