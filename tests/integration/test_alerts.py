"""The two first anomalies, from the wire to the office, the store and `status`."""
import re
from datetime import datetime

import pytest

from lib import fuxin
from lib import registers as r
from lib.site import Site, office_plain
from lib.wait import wait_until

pytestmark = pytest.mark.timing

CHECKED = {"display_checked": "2026-11-20"}
CHINESE = re.compile("[\u4e00-\u9fff]")


def seconds(text):
    return datetime.strptime(text, "%Y-%m-%dT%H:%M:%S.%fZ").timestamp()


def alerts(office, subject, kind, state=None):
    return [body for body in office.of("alert", subject)
            if body["kind"] == kind and (state is None or body["state"] == state)]


def assert_texts(alert):
    assert alert["text"]["en"] and not CHINESE.search(alert["text"]["en"]), alert["text"]
    assert CHINESE.search(alert["text"]["zh"]), alert["text"]


def exported_states(gateway, alert_id):
    return [line["state"] for line in gateway.export("alerts") if line["id"] == alert_id]


def open_alerts(gateway):
    """(subject, kind) of what is open, by `status`."""
    return {(alert.get("meter") or alert.get("link"), alert["kind"]) for alert in gateway.status()["alerts"]}


def start(gateway, office, broker, bus, *meters, timeout_ms=150):
    """A site with one link and the given (id, unit, keys) on it; waits until the office has a reading of each."""
    site = Site(office=office_plain(broker)).link("hall", bus.url, response_timeout_ms=timeout_ms, retries=0)
    for meter, unit, keys in meters:
        site.meter(meter, "hall", unit, **CHECKED, **keys)
    gateway.write(site)
    gateway.start()
    for meter, _, _ in meters:
        office.wait_for("reading", meter, lambda body: body["channels"]["volume_base"]["quality"] == "good")


def test_no_answer_opens_at_the_third_missed_due_time(meters, broker, office, gateway):
    bus = meters.tcp([1, 2])
    fuxin.count_up(bus[1])
    fuxin.count_up(bus[2])
    start(gateway, office, broker, bus, ("one", 1, {}), ("two", 2, {}))
    bus[1].silent = True
    opened = office.wait_for("alert", "one", lambda body: body["kind"] == "no-answer", deadline_s=15)[0]
    assert opened["state"] == "open"
    assert_texts(opened)
    missed = [body["at"] for body in office.wait_for("reading", "one", count=3, deadline_s=10, where=lambda body:
                                                     body["channels"]["volume_base"]["quality"] == "missing")]
    # Opened by the third in a row: not before it was due, and before the fourth was.
    assert seconds(missed[2]) <= seconds(opened["at"]) < seconds(missed[2]) + 1, (missed, opened)
    assert ("one", "no-answer") in open_alerts(gateway)
    assert ("two", "no-answer") not in open_alerts(gateway)
    bus[1].silent = False
    closed = office.wait_for("alert", "one", lambda body: body["state"] == "closed", deadline_s=15)[0]
    assert closed["id"] == opened["id"] and closed["since"] == opened["since"]
    first_good = office.wait_for("reading", "one", lambda body: body["at"] > missed[2] and
                                 body["channels"]["volume_base"]["quality"] == "good")[0]["at"]
    assert abs(seconds(closed["at"]) - seconds(first_good)) < 1
    assert len(alerts(office, "one", "no-answer", "open")) == 1
    assert exported_states(gateway, opened["id"])[-1] == "closed"
    assert not alerts(office, "two", "no-answer") and not alerts(office, "gateway", "link-down")
    assert ("one", "no-answer") not in open_alerts(gateway)


def test_two_missed_due_times_are_no_alert(meters, broker, office, gateway):
    bus = meters.tcp([1, 2])
    fuxin.count_up(bus[1])
    fuxin.count_up(bus[2])
    start(gateway, office, broker, bus, ("one", 1, {}), ("two", 2, {}))

    def missed():
        return [body["at"] for body in office.of("reading", "one")
                if body["channels"]["volume_base"]["quality"] == "missing"]

    for round_number in range(1, 3):  # twice, so that misses which are not in a row do not add up
        bus[1].silent = True
        asked = len(bus[1].log)
        wait_until(lambda: len(bus[1].log) >= asked + 2, 10, "two requests into the silence", interval_s=0.01)
        bus[1].silent = False
        wait_until(lambda: len(missed()) >= round_number, 10, "a missed reading")
        last = missed()[-1]
        office.wait_for("reading", "one", lambda body: body["at"] > last
                        and body["channels"]["volume_base"]["quality"] == "good")
    assert len(missed()) <= 4
    assert not alerts(office, "one", "no-answer")


def test_link_down_replaces_no_answer_of_all_its_meters(meters, broker, office, gateway):
    bus = meters.tcp([1, 2])
    fuxin.count_up(bus[1])
    fuxin.count_up(bus[2])
    start(gateway, office, broker, bus, ("one", 1, {}), ("two", 2, {}))
    port = int(bus.url.rsplit(":", 1)[1])
    meters.drop(bus)
    down = office.wait_for("alert", "gateway", lambda body: body["kind"] == "link-down", deadline_s=20)[0]
    assert down["state"] == "open" and down["link"] == "hall" and "meter" not in down
    assert_texts(down)
    wait_until(lambda: open_alerts(gateway) == {("hall", "link-down")}, 10,
               lambda: f"only link-down is open; open are {open_alerts(gateway)}")
    for meter in ("one", "two"):
        opened, closed = (alerts(office, meter, "no-answer", state) for state in ("open", "closed"))
        assert len(opened) == len(closed) <= 1, f"{meter}: no-answer is open beside link-down"
    again = meters.tcp([1, 2], port=port)
    fuxin.count_up(again[1])
    fuxin.count_up(again[2])
    closed = office.wait_for("alert", "gateway", lambda body: body["state"] == "closed", deadline_s=40)[0]
    assert closed["id"] == down["id"]
    wait_until(lambda: not open_alerts(gateway), 10, lambda: f"nothing is open: {open_alerts(gateway)}")


def test_over_range_at_once_above_1_2_qmax(meters, broker, office, gateway):
    bus = meters.tcp([1, 2])
    fuxin.put(bus[1], flow_measured=119.9)
    fuxin.put(bus[2], flow_measured=119.9)
    start(gateway, office, broker, bus, ("one", 1, {"qmax_m3_h": 100}), ("free", 2, {}))
    office.wait_for("reading", "one", count=5, deadline_s=15)
    assert not office.of("alert"), "119.9 of 100 m3/h is for five minutes allowed"
    bus[1].put(fuxin.FUNCTION, 21, r.f32(121.5))
    bus[2].put(fuxin.FUNCTION, 21, r.f32(121.5))
    opened = office.wait_for("alert", "one", lambda body: body["kind"] == "over-range", deadline_s=10)[0]
    assert opened["state"] == "open"
    assert_texts(opened)
    # An alert may overtake the reading that caused it.
    first = office.wait_for("reading", "one", lambda body: float(body["channels"]["flow_measured"]["value"]) > 120)[0]["at"]
    assert abs(seconds(opened["at"]) - seconds(first)) < 1
    evidence = opened["evidence"]
    assert float(evidence["observed"]) == 121.5 and evidence["unit"] == "m3/h" and evidence["rule"]
    assert float(evidence["expected_high"]) in (100, 120), evidence
    # Ten more readings over the limit and back below it: still the one alert, open until 5 minutes have passed.
    count = len(office.of("reading", "one"))
    office.wait_for("reading", "one", count=count + 5, deadline_s=15)
    bus[1].put(fuxin.FUNCTION, 21, r.f32(10.0))
    count = len(office.of("reading", "one"))
    office.wait_for("reading", "one", count=count + 3, deadline_s=15)
    assert len(alerts(office, "one", "over-range", "open")) == 1
    assert not alerts(office, "one", "over-range", "closed")
    assert ("one", "over-range") in open_alerts(gateway)
    assert exported_states(gateway, opened["id"])[0] == "open"
    assert not alerts(office, "free", "over-range"), "a meter without qmax has no such rule"


def test_open_alert_survives_a_restart(meters, broker, office, gateway):
    bus = meters.tcp([1])
    fuxin.put(bus[1], flow_measured=150.0)
    start(gateway, office, broker, bus, ("one", 1, {"qmax_m3_h": 100}))
    opened = office.wait_for("alert", "one", lambda body: body["kind"] == "over-range", deadline_s=10)[0]
    gateway.kill()
    count = len(office.of("reading", "one"))
    gateway.start()
    office.wait_for("reading", "one", count=count + 3, deadline_s=20)
    assert [body["id"] for body in alerts(office, "one", "over-range", "open")] == [opened["id"]]
    assert ("one", "over-range") in open_alerts(gateway)
