"""The site of the fault runs: meters that count their replies, a broker, an office that takes everything."""
import json
import logging
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent / "integration"))
sys.dont_write_bytecode = True

from lib import fuxin  # noqa: E402
from lib.broker import Broker  # noqa: E402
from lib.gateway import Gateway  # noqa: E402
from lib.meter import Meters  # noqa: E402
from lib.office import LANES, Office  # noqa: E402
from lib.site import Site, office_plain  # noqa: E402
from lib.wait import wait_until  # noqa: E402

UNITS_OF_A_LINK = 10


class Load:
    """Everything around the gateway; the gateway itself is started by the run."""

    def __init__(self, folder, binary, meter_count, interval_s=1, tls=None, commit_ms=1000):
        logging.getLogger("pymodbus").setLevel(logging.CRITICAL)
        self.folder = folder
        self.meters = Meters()
        self.broker = Broker(folder, tls=tls)
        self.office = Office(self.broker.port)
        self.by_id = {}
        site = Site(office=office_plain(self.broker), store={"commit_ms": commit_ms})
        for first in range(1, meter_count + 1, UNITS_OF_A_LINK):
            units = range(first, min(first + UNITS_OF_A_LINK, meter_count + 1))
            bus = self.meters.tcp(units)
            link = f"hall-{first // UNITS_OF_A_LINK + 1}"
            site.link(link, bus.url)
            for unit in units:
                fuxin.count_up(bus[unit])
                site.meter(f"meter-{unit}", link, unit, interval_s=interval_s, display_checked="2026-11-20")
                self.by_id[f"meter-{unit}"] = bus[unit]
        self._site = site
        self.gateway = Gateway(folder, site, binary=binary)

    def office_section(self, keys):
        """Before the gateway starts: another way to the office."""
        self._site.document["office"].update(keys)
        self.gateway.write(self._site)

    def close(self):
        try:
            if self.gateway.child:
                self.gateway.kill()
        finally:
            self.office.close()
            self.broker.stop()
            self.meters.close()

    # --- waiting ---

    def wait_drained(self, deadline_s):
        """All that has its number now is acknowledged, and at the office."""
        goal = self.gateway.queue()
        self.gateway.wait_status(
            lambda status: all(status["office"]["lanes"][lane]["acknowledged"] >= goal[lane]["last"] for lane in LANES),
            deadline_s, "the outbox drains")

    def finish(self, deadline_s=120):
        """Stops; starts once more with every meter removed, so that nothing new comes; waits until the office has
        all that is stored. Returns the stored readings."""
        self.gateway.stop()
        self.gateway.write(self._site.changed(lambda document: document.update(links=[], meters=[])))
        self.gateway.start()
        self.wait_drained(deadline_s)
        last = {lane: self.gateway.queue()[lane]["last"] for lane in LANES}
        wait_until(lambda: all(len(self.office.seqs(lane)) >= last[lane] for lane in LANES), deadline_s,
                   lambda: f"all of {last} at the office, holes: {self.office.holes()[:20]}")
        self.gateway.stop()
        return self.export()

    # --- the oracle ---

    @staticmethod
    def key(reading):
        return reading["meter"], reading["at"]

    @staticmethod
    def bare(reading):
        """A reading without its place in the feed, as the export has it."""
        return {name: value for name, value in reading.items() if name not in ("stream", "lane", "seq")}

    def export(self, *options):
        return {self.key(line): line for line in self.gateway.export("readings", *options)}

    def received(self):
        return {self.key(body): self.bare(body) for body in self.office.of("reading")}

    def total_of(self, reading):
        """The base total as a count of 0.0001 m3, None where it is missing."""
        value = reading["channels"]["volume_base"]["value"]
        return None if value is None else int(value * 10000)

    def check_values(self, readings):
        """Every stored total went over the wire from that very meter, and no reply became two readings.

        Returns how many replies became no reading: what the kills took before it was stored."""
        used = {}
        for (meter, at), reading in readings.items():
            total = self.total_of(reading)
            if total is None:
                continue
            assert (meter, total) not in used, f"{meter}: the reply {total} is stored at {used[meter, total]} and {at}"
            used[meter, total] = at
        served = {(name, total) for name, meter in self.by_id.items() for _, total in fuxin.served_totals(meter)}
        foreign = set(used) - served
        assert not foreign, f"stored, but never served: {sorted(foreign)[:5]}"
        return len(served) - len(used)

    def check_office(self, stored):
        """What the office has is what is stored: all of it, the same, in order, without holes."""
        received = self.received()
        lost = sorted(set(stored) - set(received))
        assert not lost, f"{len(lost)} stored readings never came to the office, first {lost[:5]}"
        invented = sorted(set(received) - set(stored))
        assert not invented, f"{len(invented)} readings at the office are not stored, first {invented[:5]}"
        differing = [key for key in stored if stored[key] != received[key]]
        assert not differing, f"{differing[0]}: {json.dumps(stored[differing[0]], default=str)} and " \
                              f"{json.dumps(received[differing[0]], default=str)}"
        assert not self.office.holes(), f"holes in seq: {self.office.holes()[:10]}"
        assert not self.office.of("gap"), "a gap was reported where nothing may be lost"
        self.office.check()

    def check_verify(self):
        result = self.gateway.verify()
        assert result.status == 0, f"verify: {result.stdout}{result.stderr}"
