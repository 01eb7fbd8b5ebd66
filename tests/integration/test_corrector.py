"""A corrector that converts otherwise than its pressure and temperature say is found, an honest one is not.

pymodbus is the corrector; what it should count comes from another SGERG-88 (lib/sgerg.py). The hour passes on the wall
clock alone (lib/wall_clock.py).
"""
import math
import re

import pytest

from lib import fuxin
from lib import registers as r
from lib.sgerg import compressibility
from lib.site import Site, office_plain
from lib.wall_clock import WallClock

HOUR_MS = 3600000
CHINESE = re.compile("[\u4e00-\u9fff]")
KPA, CELSIUS = 401.5, 18.25
COUNTS = 1000  # of 0.0001 m3, at each read


def factor():
    """The default gas at 101.325 kPa and 20 degC."""
    z_base, z = (compressibility(40.66, 0.581, 0.006, 0, bar, celsius)
                 for bar, celsius in ((1.01325, 20), (KPA / 100, CELSIUS)))
    return KPA / 101.325 * 293.15 / (273.15 + CELSIUS) * z_base / z


def run_corrector(meter, converts):
    """Its counters advance with each read that covers them: base by `converts` of measured. What is returned may change it."""
    state = {"measured": 10 ** 7, "base": 4.0 * 10 ** 7, "converts": converts}
    fuxin.put(meter, pressure=KPA, temperature=CELSIUS)

    def step(one, function, first, count):
        if function == fuxin.FUNCTION and first <= 18 and first + count >= 26:
            state["measured"] += COUNTS
            state["base"] += COUNTS * state["converts"]
            one.put(fuxin.FUNCTION, 18, r.bcd(math.floor(state["base"]), 12))
            one.put(fuxin.FUNCTION, 23, r.bcd(state["measured"], 12))
    meter.before_read = step
    return state


def test_a_lying_corrector_is_found(tmp_path, meters, broker, office, gateway):
    bus = meters.tcp([1, 2, 3])
    lies = {"honest": 1.0, "high": 1.02, "low": 0.993}
    site = Site(office=office_plain(broker)).link("hall", bus.url, response_timeout_ms=500, retries=0)
    states = {}
    for unit, (meter, lie) in enumerate(lies.items(), 1):
        states[meter] = run_corrector(bus[unit], lie * factor())
        site.meter(meter, "hall", unit, display_checked="2026-11-20")
    clock = WallClock(tmp_path)
    gateway.write(site)
    gateway.environment = clock.followed()
    gateway.start()
    for meter in lies:
        office.wait_for("reading", meter, count=6, deadline_s=60)
    clock.step(HOUR_MS + 60000)
    opened = {meter: office.wait_for("alert", meter, lambda body: body["kind"] == "conversion-mismatch", deadline_s=60)[0]
              for meter in ("high", "low")}
    for meter, severity in (("high", "major"), ("low", "minor")):
        alert = opened[meter]
        assert (alert["state"], alert["severity"]) == ("open", severity), alert
        evidence = alert["evidence"]
        assert float(evidence["observed"]) == pytest.approx(lies[meter] * factor(), rel=2e-3)
        assert float(evidence["expected_low"]) == pytest.approx(0.995 * factor(), rel=1e-5)
        assert float(evidence["expected_high"]) == pytest.approx(1.005 * factor(), rel=1e-5)
        assert f"{factor():.4g}" in evidence["rule"]
        assert "corrector" in alert["text"]["en"]
        assert CHINESE.search(alert["text"]["zh"])
    # The honest one's hour has been judged as well, by its readings after the step.
    now = len(office.of("reading", "honest"))
    office.wait_for("reading", "honest", count=now + 3, deadline_s=60)
    assert not [body for body in office.of("alert", "honest") if body["kind"] == "conversion-mismatch"]
    found = {(alert.get("meter"), alert["severity"]) for alert in gateway.status()["alerts"]
             if alert["kind"] == "conversion-mismatch"}
    assert found == {("high", "major"), ("low", "minor")}
    states["honest"]["converts"] = 1.05 * factor()  # and it would have been found
    office.wait_for("reading", "honest", count=now + 10, deadline_s=60)
    clock.step(2 * HOUR_MS + 120000)
    office.wait_for("alert", "honest", lambda body: body["kind"] == "conversion-mismatch", deadline_s=60)
