"""A full disk: polls go on, nothing that was read is lost, and it recovers without hands."""
import pytest

from lib import fuxin
from lib.office import LANES
from lib.site import Site, office_plain
from lib.small_disk import SmallDisk
from lib.wait import wait_until

CHECKED = {"display_checked": "2026-11-20"}


@pytest.fixture
def disk(tmp_path):
    one = SmallDisk(tmp_path / "disk", 16)
    yield one
    one.close()


def on_disk(gateway, disk):
    gateway.enter = disk.enter
    gateway.inside = disk.inside / "state"
    gateway.state = disk.outside / "state"



def test_full_disk_recovers_without_hands(meters, broker, office, gateway, disk):
    bus = meters.tcp([1, 2])
    for unit in (1, 2):
        fuxin.count_up(bus[unit])
    site = Site(office=office_plain(broker)).link("hall", bus.url)
    site.meter("one", "hall", 1, **CHECKED).meter("two", "hall", 2, **CHECKED)
    on_disk(gateway, disk)
    gateway.write(site)
    gateway.start()
    office.wait_for("reading", "one", count=2)
    gateway.wait_status(lambda status: status["store"]["reserve"], 30, "the reserve is made")

    # Others fill the disk, and fill it again as often as something is freed.
    def takes_nothing():
        disk.fill()
        status = gateway.status()
        return status if status["store"]["error"] and status["store"]["waiting"] >= 6 else None
    status = wait_until(takes_nothing, 120, lambda: f"the store takes nothing: {gateway.status()['store']}")
    assert "full" in status["store"]["error"] and not status["store"]["reserve"], status["store"]
    before = {unit: len(fuxin.served_totals(bus[unit])) for unit in (1, 2)}
    wait_until(lambda: all(len(fuxin.served_totals(bus[unit])) >= before[unit] + 3 for unit in (1, 2)), 30,
               "both meters are still asked")
    assert gateway.status()["store"]["waiting"] > status["store"]["waiting"]

    disk.clear()
    gateway.wait_status(lambda status: not status["store"]["error"] and status["store"]["waiting"] <= 4, 90,
                        "the store takes readings again")
    alert = office.wait_for("alert", "gateway", lambda body: body["kind"] == "store-full", deadline_s=60)[0]
    assert alert["state"] == "open" and "meter" not in alert and "link" not in alert, alert
    gateway.wait_status(lambda status: status["store"]["reserve"], 60, "the reserve is there again")
    gateway.stop()

    # The oracle: what the meters answered is what is stored and what the office has.
    gateway.write(site.changed(lambda document: document.update(links=[], meters=[])))
    gateway.start()
    wait_until(lambda: all(gateway.queue()[lane]["waiting"] == 0 for lane in LANES), 60,
               lambda: f"the outbox drains: {gateway.queue()}")
    gateway.stop()
    for unit, meter in ((1, "one"), (2, "two")):
        totals = {total for _, total in fuxin.served_totals(bus[unit])}
        stored = [int(line["channels"]["volume_base"]["value"] * 10000) for line in gateway.export("readings")
                  if line["meter"] == meter and line["channels"]["volume_base"]["value"] is not None]
        assert len(stored) == len(set(stored)) and set(stored) <= totals
        assert len(totals - set(stored)) <= 1, f"{meter}: answered, not stored: {sorted(totals - set(stored))}"
        sent = {int(body["channels"]["volume_base"]["value"] * 10000) for body in office.of("reading", meter)
                if body["channels"]["volume_base"]["value"] is not None}
        assert sent == set(stored)
    assert not office.holes() and not office.of("gap")
    assert gateway.verify().status == 0, gateway.verify().stdout
