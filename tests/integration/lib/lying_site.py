"""Simulated meters whose replies are wrong in every way a frame can be, on TCP and on a serial bus.

Runs from the start of the session, so that many frames have been damaged when its test looks.
"""
from collections import namedtuple
from contextlib import ExitStack

import pytest

from .broker import Broker
from .gateway import PROFILES, Gateway, program
from .office import Office
from .simulator import Simulator
from .site import Site, office_plain

TIMEOUT_MS = 200
LATE = f"{{kind: late, probability: 0.05, delay_ms: {TIMEOUT_MS + 50}, delay_max_ms: {4 * TIMEOUT_MS}}}"
EVERYWHERE = ("wrong-unit", "wrong-function", "wrong-count", "truncated", "trailing", "exception")
OF_LINK = {"tcp": (*EVERYWHERE, "wrong-transaction", "wrong-protocol", "wrong-length", "disconnect"),
           "bus": (*EVERYWHERE, "bad-crc", "noise", "echo", "silence")}
UNITS = 3
Lying = namedtuple("Lying", "gateway office log started units")


def site_text():
    lines = ["site: {seed: 20261123}", "links:", "  - {id: tcp, type: tcp}",
             "  - {id: bus, type: rtu, baud: 38400, parity: N, stop: 1, link: ./bus}", "meters:"]
    for link, kinds in OF_LINK.items():
        faults = ", ".join([*(f"{{kind: {kind}, probability: 0.04}}" for kind in kinds), LATE])
        lines += [f"  - {{id: {link}-{unit}, link: {link}, unit: {unit}, profile: fuxin-totalizer, values: coded, "
                  f"strict: true, faults: [{faults}]}}" for unit in range(1, UNITS + 1)]
    return "\n".join(lines) + "\n"


@pytest.fixture(scope="session")
def lying_site(tmp_path_factory):
    folder = tmp_path_factory.mktemp("lying")
    (folder / "sim.yaml").write_text(site_text())
    log = folder / "frames.log"
    with ExitStack() as parts:  # ends what was started, also when the rest cannot be
        broker = Broker(folder)
        parts.callback(broker.stop)
        office = Office(broker.port)
        parts.callback(office.close)
        simulator = Simulator(program(), folder / "sim.yaml", folder, profiles=PROFILES, options=["--log", log])
        parts.callback(simulator.stop)
        site = Site(office=office_plain(broker))
        for link, url in simulator.links.items():
            site.link(link, url, response_timeout_ms=TIMEOUT_MS)
        for meter in simulator.meters:
            site.meter(meter["meter"], meter["link"], meter["unit"], display_checked="2026-11-20")
        gateway = Gateway(folder, site)
        parts.callback(gateway.stop)
        gateway.start()
        units = {meter["meter"]: meter["unit"] for meter in simulator.meters}
        yield Lying(gateway, office, log, simulator.ready["started"], units)
        gateway.stop()
        office.check()
