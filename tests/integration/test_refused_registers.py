"""Meters with holes, served by pymodbus: a refused register costs its own value, and after one poll no request."""
import pytest

from lib import fuxin
from lib.site import Site, office_plain
from lib.wait import wait_until

TEMPERATURE = 26  # of the Fuxin totalizer: within its one request, registers 16 to 29


@pytest.fixture
def meter(meters, broker, gateway):
    bus = meters.tcp([1])
    fuxin.count_up(bus[1])
    document = Site(office=office_plain(broker))
    document.link("hall-1", bus.url, response_timeout_ms=500)
    document.meter("meter-1", "hall-1", 1, display_checked="2026-11-20")
    gateway.write(document)
    return bus[1]


def shapes(requests):
    return {(request.first, request.count) for request in requests}


def test_others_are_read(meter, office, gateway):
    meter.refused |= {(3, TEMPERATURE), (3, TEMPERATURE + 1)}
    gateway.start()
    office.wait_for("reading", "meter-1", count=5)
    # All others from the first poll on.
    for body in office.of("reading", "meter-1"):
        channels = body["channels"]
        assert channels["temperature"] == {"value": None, "unit": "degC", "quality": "missing", "why": "exception-2"}
        assert {name: value["quality"] for name, value in channels.items() if name != "temperature"} == dict.fromkeys(
            ("volume_base", "volume_measured", "flow_base", "flow_measured", "pressure"), "good")
    # Found in the first poll, and not asked for again.
    refused = [index for index, request in enumerate(meter.log) if request.words is None]
    assert refused and max(refused) < 12, meter.log
    assert shapes(meter.log[12:]) == {(16, 10), (28, 2)}
    assert "refuses 2 registers from 26 on of function 3 with exception 2" in gateway.stderr()


def test_asked_again_after_it_was_away(meter, office, gateway):
    """Not within ten minutes: a link that comes and goes must not bring the refused requests back each time."""
    meter.refused.add((3, TEMPERATURE))
    gateway.start()
    office.wait_for("reading", "meter-1", count=2)
    asked = len(meter.log)
    meter.silent = True
    wait_until(lambda: len(meter.log) >= asked + 5, 30, "it was asked in vain")
    meter.silent = False
    asked = len(meter.log)
    wait_until(lambda: len(meter.log) >= asked + 6, 30, "it is asked again")
    assert shapes(meter.log[asked:]) == {(16, 10), (28, 2)}


def test_meter_that_refuses_all(meter, office, gateway):
    """It answers, so it is there; its request stays whole, and brings everything as soon as it can."""
    meter.refused |= {(3, register) for register in range(16, 30)}
    gateway.start()
    office.wait_for("reading", "meter-1", count=3)
    assert {value["why"] for value in office.of("reading", "meter-1")[-1]["channels"].values()} == {"exception-2"}
    meter.refused.clear()
    asked = len(meter.log)
    office.wait_for("reading", "meter-1", where=lambda body: body["channels"]["temperature"]["quality"] == "good")
    assert shapes(meter.log[asked:]) == {(16, 14)}
