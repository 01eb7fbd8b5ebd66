"""The site of the bar "right values": every shipped profile on every kind of link, three meters with faults.

Runs from the start of the session, because its summaries need whole minutes.
"""
import random
from collections import namedtuple
from contextlib import ExitStack

import pytest

from . import fuxin
from . import registers as r
from .broker import Broker
from .gateway import Gateway
from .maps import MAPS
from .meter import Meters
from .office import Office
from .site import Site, office_plain

SEED = 20261123
PATIENCE_MS = 3000  # these meters share an interpreter with all other tests
# Entry of the table of what is on the site: quality and why are what every value of the meter must have.
Case = namedtuple("Case", "meter profile served quality why")
Values = namedtuple("Values", "gateway office cases faulty tcp")


def varying(meter, profile, rng):
    """Sets a meter's registers anew before every request: gauges wander, totals rise by what no float holds evenly."""
    table = MAPS[profile]

    def fields(step):
        made = {}
        for channel in table.channels.values():
            for part in channel.parts:
                if part.type == "bcd12":  # near 10^8 m3, where a float has lost its decimals
                    made[part.register] = r.bcd(999_999_000_000 + 7 * step + part.register, 12)
                elif part.type == "u16":
                    made[part.register] = [step >> (part.register & 1) & 1 | 0xFFFE]
                elif channel.kind == "identity":
                    made[part.register] = r.u32(3_000_000_001, part.order)
                elif part.type == "u32":
                    made[part.register] = r.u32(4_294_900_000 + step, part.order)
                elif part.type == "f64":
                    made[part.register] = r.f64(123_456_789_012.345 + 1.7 * step + part.register)
                elif channel.kind == "counter" and len(channel.parts) > 1:
                    made[part.register] = r.f32((step * 37 % 1000) / 1000, part.order)  # the decimal part of a total
                elif channel.kind == "counter":
                    made[part.register] = r.f32(54321.5 + 0.25 * step + part.register, part.order)
                else:
                    made[part.register] = r.f32(rng.uniform(1, 500) + part.register, part.order)
        return made

    state = {"step": 0}

    def before(one, _function, _first, _count):
        state["step"] += 1
        one.put_all(table.function, fields(state["step"]))

    meter.before_read = before


@pytest.fixture(scope="session")
def values_site(tmp_path_factory):
    folder = tmp_path_factory.mktemp("values")
    with ExitStack() as parts:  # ends what was started, also when the rest cannot be
        meters = Meters()
        parts.callback(meters.close)
        broker = Broker(folder)
        parts.callback(broker.stop)
        office = Office(broker.port)
        parts.callback(office.close)
        rng = random.Random(SEED)
        tcp, serial, over_tcp = meters.tcp(range(1, 9)), meters.serial([5]), meters.tcp([6], rtu=True)
        silent = meters.tcp([1])
        cases = [
            Case("fx", "fuxin-totalizer", tcp[1], "good", None),
            Case("fx-unverified", "fuxin-totalizer", tcp[2], "suspect", "unverified"),
            Case("tms", "fd-tms", tcp[3], "good", None),
            Case("sdm", "eastron-sdm630", tcp[4], "good", None),
            Case("pac", "siemens-pac2200", tcp[5], "good", None),
            Case("fx-serial", "fuxin-totalizer", serial[5], "good", None),
            Case("fx-over-tcp", "fuxin-totalizer", over_tcp[6], "good", None),
        ]
        for case in cases:
            varying(case.served, case.profile, rng)
        part, dead = tcp[7], silent[1]
        varying(part, "eastron-sdm630", rng)
        part.refused = {(4, 342)}
        dead.silent = True
        odd = tcp[8]
        fuxin.put(odd, flow_measured=float("nan"), temperature=float("-inf"))
        odd.put(fuxin.FUNCTION, 23, [0x1234, 0x5A78, 0x9012])  # a digit above 9
        checked = {"display_checked": "2026-11-20"}
        site = Site(office=office_plain(broker))
        for link, bus in (("tcp", tcp), ("serial", serial), ("over-tcp", over_tcp)):
            site.link(link, bus.url, response_timeout_ms=PATIENCE_MS)
        site.link("silent", silent.url, response_timeout_ms=200)
        site.meter("fx", "tcp", 1, **checked).meter("fx-unverified", "tcp", 2)
        site.meter("tms", "tcp", 3, "fd-tms", units={"flow_base": "m3/h", "volume_base": "m3"}, **checked)
        site.meter("sdm", "tcp", 4, "eastron-sdm630", **checked).meter("pac", "tcp", 5, "siemens-pac2200", **checked)
        site.meter("sdm-part", "tcp", 7, "eastron-sdm630", **checked)
        site.meter("fx-odd", "tcp", 8, **checked)
        site.meter("fx-serial", "serial", 5, **checked).meter("fx-over-tcp", "over-tcp", 6, **checked)
        site.meter("fx-silent", "silent", 1, **checked)
        gateway = Gateway(folder, site)
        parts.callback(gateway.stop)
        gateway.start()
        faulty = {"sdm-part": Case("sdm-part", "eastron-sdm630", part, None, None),
                  "fx-silent": Case("fx-silent", "fuxin-totalizer", dead, None, None),
                  "fx-odd": Case("fx-odd", "fuxin-totalizer", odd, None, None)}
        yield Values(gateway, office, cases, faulty, tcp)
        gateway.stop()
        office.check()
