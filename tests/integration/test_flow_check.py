"""A counter that does not advance as the meter's own flow says is found, one that does is not.

pymodbus is the meter: its totals follow from the time and its true flow. The hour passes on the wall clock alone
(lib/wall_clock.py), in steps with a poll each: shorter than the rest after which two readings do not follow on each
other, and more than the 30 that the rule wants.
"""
import re
import time

import pytest

from lib import fuxin
from lib import registers as r
from lib.site import Site, office_plain
from lib.wait import wait_until
from lib.wall_clock import WallClock

HOUR_MS, STEP_MS = 3600000, 105000
CHINESE = re.compile("[\u4e00-\u9fff]")
FLOW = 360.0  # m3/h, that gas takes through all of them


class Passed:
    """Time at the meters: ours, and what the gateway's clock was set ahead."""

    def __init__(self):
        self.start, self.shift_ms = time.monotonic(), 0

    def hours(self):
        return (time.monotonic() - self.start + self.shift_ms / 1000) / 3600


def run_meter(meter, passed, counts, shows):
    """Counts a share of what flows, and shows a share of the flow."""
    fuxin.put(meter, flow_measured=FLOW * shows, flow_base=0.0)

    def step(one, function, first, count):
        if function == fuxin.FUNCTION and first <= 23 and first + count >= 26:
            total = 1000 + FLOW * passed.hours() * counts
            one.put(fuxin.FUNCTION, 23, r.bcd(int(total * 10000), 12))
    meter.before_read = step


def of_kind(office, meter):
    return [body for body in office.of("alert", meter) if body["kind"] == "flow-mismatch"]


def test_a_counter_that_disagrees_with_its_flow_is_found(tmp_path, meters, broker, office, gateway):
    bus = meters.tcp([1, 2, 3])
    passed, clock = Passed(), WallClock(tmp_path)
    site = Site(office=office_plain(broker)).link("hall", bus.url, response_timeout_ms=500, retries=0)
    for unit, (meter, counts, shows) in enumerate((("honest", 1, 1), ("loses", 0.9, 1), ("dead", 1, 0)), 1):
        run_meter(bus[unit], passed, counts, shows)
        site.meter(meter, "hall", unit, display_checked="2026-11-20")
    gateway.write(site)
    gateway.environment = clock.followed()
    gateway.start()
    while passed.shift_ms < HOUR_MS + 2 * STEP_MS:
        polled = {unit: len(bus[unit].log) for unit in (1, 2, 3)}
        # One request covers all registers of this meter.
        wait_until(lambda: all(len(bus[unit].log) > polled[unit] for unit in polled), 60, "a poll of each meter")
        passed.shift_ms += STEP_MS
        clock.step(passed.shift_ms)
    loses = office.wait_for("alert", "loses", lambda body: body["kind"] == "flow-mismatch", deadline_s=60)[0]
    dead = office.wait_for("alert", "dead", lambda body: body["kind"] == "flow-mismatch", deadline_s=60)[0]
    assert (loses["state"], loses["severity"]) == ("open", "minor"), loses
    assert (dead["state"], dead["severity"]) == ("open", "major"), dead
    evidence = loses["evidence"]
    # The window is an hour and at most one step; what was counted in it is nine tenths of what flowed.
    due = float(evidence["expected_low"]) / 0.95
    assert FLOW <= due <= FLOW * (1 + 2 * STEP_MS / HOUR_MS), evidence
    assert float(evidence["observed"]) == pytest.approx(0.9 * due, rel=0.01), evidence
    assert evidence["unit"] == "m3"
    assert evidence["rule"].startswith("volume_measured by flow_measured"), evidence
    assert float(dead["evidence"]["expected_high"]) == 0
    assert "pulse" in loses["text"]["en"]
    assert CHINESE.search(loses["text"]["zh"])
    office.wait_for("reading", "honest", count=len(office.of("reading", "honest")) + 2, deadline_s=60)
    assert not of_kind(office, "honest")
