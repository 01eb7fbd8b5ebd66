"""A reply that comes after its time-out must never become the value of another request, meter or moment."""
import os
import secrets
import sys
from pathlib import Path

from lib import fuxin
from lib.site import Site, office_plain
from lib.wait import wait_until

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT / "tests" / "fault"))
import late  # noqa: E402

CHECKED = {"display_checked": "2026-11-20"}
TIMEOUT_MS = 150


def now_and_then_late(meter):
    """Counts up, and answers after one or several time-outs now and then."""
    fuxin.count_up(meter)
    count, requests = meter.before_read, []

    def before(one, function, first, registers):
        requests.append(first)
        one.delay_s = (0, 0, 1.2, 1.9, 0, 4.5)[len(requests) % 6] * TIMEOUT_MS / 1000
        count(one, function, first, registers)

    meter.before_read = before
    return requests


def test_a_late_reply_is_nobodys_value(meters, broker, office, gateway):
    """Two like meters on each kind of link. The first answers too late now and then: RTU cannot tell whose reply that is."""
    halls = {"tcp": meters.tcp([1, 2]), "serial": meters.serial([1, 2], baud=115200),
             "over-tcp": meters.tcp([1, 2], rtu=True)}
    site = Site(office=office_plain(broker))
    requests = {}
    for link, bus in halls.items():
        requests[link] = now_and_then_late(bus[1])
        fuxin.count_up(bus[2])
        site.link(link, bus.url, response_timeout_ms=TIMEOUT_MS)
        site.meter(f"{link}-late", link, 1, **CHECKED).meter(f"{link}-good", link, 2, **CHECKED)
    gateway.write(site)
    gateway.start()
    wait_until(lambda: all(len(of_link) >= 24 for of_link in requests.values()), 60,
               lambda: f"24 requests of each late meter: { {link: len(many) for link, many in requests.items()} }")
    for link, bus in halls.items():
        for unit, meter in ((1, f"{link}-late"), (2, f"{link}-good")):
            office.wait_for("reading", meter, count=8)
            served = {total for _, total in fuxin.served_totals(bus[unit])}
            totals = [int(body["channels"]["volume_base"]["value"] * 10000) for body in office.of("reading", meter)
                      if body["channels"]["volume_base"]["value"] is not None]
            assert totals, f"{meter} was read at least once"
            assert set(totals) <= served, f"{meter}: {sorted(set(totals) - served)} were never served by it"
            assert len(totals) == len(set(totals)), f"{meter}: a reply became two readings"
        good = {body["channels"]["volume_base"]["quality"] for body in office.of("reading", f"{link}-good")}
        assert good == {"good"}, f"{link}: its neighbour suffered"


def test_many_reads_with_late_replies():
    """The short form of `make fault`'s million: late, twice, in pieces, exceptions, other units' replies. SEED=N repeats it."""
    seed = int(os.environ.get("SEED", secrets.randbelow(10**9)))
    print(f"seed {seed}")
    release = Path(os.environ.get("METERGATE_RELEASE", ROOT / "build" / "metergate"))
    figures = late.run(release.resolve().parent, 20000, seed, lines=40)
    assert figures["wrong"] == 0 and figures["reads"] >= 20000 and figures["late"] >= 800, figures
