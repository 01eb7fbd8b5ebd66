"""The way to the office in short: an hour without a broker, time compressed, a broker that accepts and closes, a wall
clock that is set while the broker is away."""
import os
import sys
import time
from pathlib import Path

from lib import fuxin
from lib.silent_resolver import SilentResolver
from lib.site import Site, office_plain
from lib.wait import wait_until
from lib.wall_clock import WallClock

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT / "tests" / "fault"))

import reconnects  # noqa: E402
import week  # noqa: E402

DAY_MS = 86400000
BACK_S = 60
NO_ANSWER = "mqtt.example.net"
RELEASE = Path(os.environ.get("METERGATE_RELEASE", ROOT / "build" / "metergate")).parent


def test_an_hour_without_a_broker_loses_nothing():
    figures = week.run(RELEASE, hours=1, meters=10)
    assert figures["offered"] > 600 and figures["backlog"] >= 630, figures
    assert figures["alerts"] >= 3 and figures["live_rows"] >= 1, figures


def test_a_broker_that_closes_leaves_nothing_behind():
    figures = reconnects.run(RELEASE, attempts=60)
    assert figures["attempts"] == 54, figures


def test_a_wall_clock_set_during_an_outage_does_not_delay_the_return(tmp_path, meters, broker, office, gateway):
    """paho waits by the wall clock: a day ahead or back while the broker is away must not hold us up."""
    bus = meters.tcp([1])
    fuxin.count_up(bus[1])
    clock = WallClock(tmp_path)
    gateway.environment = clock.followed()
    gateway.write(Site(office=office_plain(broker)).link("hall", bus.url).meter("one", "hall", 1))
    gateway.start()
    office.wait_for("reading", "one", count=2)
    for shift_ms in (DAY_MS, 0, -DAY_MS, 0):
        broker.stop()
        gateway.wait_status(lambda status: status["office"]["state"] != "online", 40, "the loss is seen")
        clock.step(shift_ms)
        broker.start()
        began, known = time.monotonic(), len(office.of("reading", "one"))
        gateway.wait_status(lambda status: status["office"]["state"] == "online", 2 * BACK_S, "online again")
        assert time.monotonic() - began <= BACK_S, f"back after {time.monotonic() - began:.0f} s"
        wait_until(lambda known=known: len(office.of("reading", "one")) >= known + 2, 30, "readings go on")
    wait_until(lambda: not office.holes(), 30, lambda: f"what is under way arrives: {office.holes()[:20]}")
    office.check()


def test_a_resolver_that_never_answers_holds_neither_polling_nor_the_end(tmp_path, meters, gateway):
    """paho looks the broker's name up with its lock held: without an end to that, nothing that waits for paho ends."""
    bus = meters.tcp([1])
    fuxin.count_up(bus[1])
    resolver = SilentResolver(tmp_path, NO_ANSWER)
    gateway.environment = resolver.environment()
    office = {"url": f"mqtts://{NO_ANSWER}:8883", "ca": "/etc/ssl/certs/ca-certificates.crt"}
    gateway.write(Site(office=office).link("hall", bus.url).meter("one", "hall", 1))
    gateway.start()
    wait_until(lambda: resolver.asked() >= 1, 30, "the name is looked up")
    known = len(gateway.export("readings"))
    wait_until(lambda: len(gateway.export("readings")) >= known + 3, 60, "polls go on")
    gateway.wait_status(lambda status: NO_ANSWER in (status["office"].get("error") or ""), 60, "the status names it")
    gateway.stop()
