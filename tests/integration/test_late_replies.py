"""A reply that comes after its time-out must never become the value of another request, meter or moment."""
import pytest

from lib import fuxin
from lib.site import Site, office_plain
from lib.wait import wait_until

CHECKED = {"display_checked": "2026-11-20"}
TIMEOUT_MS = 150


@pytest.mark.parametrize("kind", ["tcp", "serial", "rtu-over-tcp"])
def test_a_late_reply_is_nobodys_value(meters, broker, office, gateway, kind):
    """Two like meters on one link. The first answers too late, now and then: RTU cannot tell whose reply that is."""
    bus = {"tcp": lambda: meters.tcp([1, 2]), "serial": lambda: meters.serial([1, 2], baud=115200),
           "rtu-over-tcp": lambda: meters.tcp([1, 2], rtu=True)}[kind]()
    for unit in (1, 2):
        fuxin.count_up(bus[unit])
    late = {"count": 0}
    count = bus[1].before_read

    def now_and_then_late(meter, function, first, registers):
        late["count"] += 1
        meter.delay_s = (0, 0, 1.2, 1.9, 0, 4.5)[late["count"] % 6] * TIMEOUT_MS / 1000
        count(meter, function, first, registers)

    bus[1].before_read = now_and_then_late
    site = Site(office=office_plain(broker)).link("hall", bus.url, response_timeout_ms=TIMEOUT_MS)
    site.meter("one", "hall", 1, **CHECKED).meter("two", "hall", 2, **CHECKED)
    gateway.write(site)
    gateway.start()
    wait_until(lambda: late["count"] >= 24 and len(office.of("reading", "two")) >= 8, 60,
               lambda: f"24 requests of the late meter: {late['count']}, {len(office.of('reading', 'two'))}")
    for unit, meter in ((1, "one"), (2, "two")):
        served = {total for _, total in fuxin.served_totals(bus[unit])}
        totals = [int(body["channels"]["volume_base"]["value"] * 10000) for body in office.of("reading", meter)
                  if body["channels"]["volume_base"]["value"] is not None]
        assert totals, f"{meter} was read at least once"
        assert set(totals) <= served, f"{meter}: {sorted(set(totals) - served)} were never served by it"
        assert len(totals) == len(set(totals)), f"{meter}: a reply became two readings"
    assert {body["channels"]["volume_base"]["quality"] for body in office.of("reading", "two")} == {"good"}
