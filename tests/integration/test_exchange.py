"""A meter is exchanged: its serial number is another one. Never a step in the series of the meter before."""
from decimal import Decimal

from lib import registers as r
from lib.site import Site, office_plain

PROFILE = """
model: Corrector with a serial number
source: this test
verified: true
medium: gas
channels:
  volume_base: {register: 0, function: 3, type: u32, scale: 0.01, unit: m3}
  pressure:    {register: 2, function: 3, type: f32, unit: kPa}
identity:
  serial_number: {register: 10, function: 3, type: u32}
"""


def put(meter, serial, volume_1e2, pressure=301.5):
    meter.put_all(3, {0: r.u32(volume_1e2), 2: r.f32(pressure), 10: r.u32(serial)})


def channels(body):
    return {name: (channel["value"], channel["quality"], channel.get("why"))
            for name, channel in body["channels"].items()}


def is_of(serial):
    return lambda body: body["channels"]["serial_number"]["value"] == str(serial) and \
        body["channels"]["volume_base"]["quality"] == "good"


def exchanges(office):
    return [body for body in office.of("alert", "one") if body["kind"] == "meter-exchanged"]


def test_another_meter_is_an_alert_and_a_new_series(meters, broker, office, gateway, tmp_path):
    (tmp_path / "corrector.yaml").write_text(PROFILE, encoding="utf-8")
    bus = meters.tcp([1])
    put(bus[1], 70001, 912345678)
    gateway.write(Site(office=office_plain(broker)).link("hall", bus.url)
                  .meter("one", "hall", 1, profile=str(tmp_path / "corrector.yaml")))
    gateway.start()
    office.wait_for("reading", "one", is_of(70001), count=3, deadline_s=20)
    assert not exchanges(office)

    put(bus[1], 70002, 150)
    office.wait_for("reading", "one", is_of(70002), count=2, deadline_s=20)
    after = [channels(body) for body in office.of("reading", "one")
             if body["channels"]["serial_number"]["value"] == "70002"]
    assert after[0] == {"volume_base": (1.5, "suspect", "exchanged"), "pressure": (301.5, "suspect", "exchanged"),
                        "serial_number": ("70002", "suspect", "exchanged")}
    assert all(quality == "good" for body in after[1:] for _, quality, _ in body.values()), after
    opened = office.wait_for("alert", "one", lambda body: body["kind"] == "meter-exchanged", deadline_s=10)[0]
    assert (opened["state"], opened["severity"]) == ("open", "major")
    assert opened["evidence"]["rule"] == "serial_number 70002, before 70001"
    assert "70002" in opened["text"]["en"] and "70002" in opened["text"]["zh"]

    # Exchanged again while nobody looked: the number is remembered.
    gateway.stop()
    put(bus[1], 70003, 99)
    seen = len(office.of("reading", "one"))
    gateway.start()
    office.wait_for("reading", "one", is_of(70003), count=1, deadline_s=20)
    first = next(channels(body) for body in office.of("reading", "one")[seen:]
                 if body["channels"]["serial_number"]["value"] == "70003")
    assert first["volume_base"] == (Decimal("0.99"), "suspect", "exchanged")
    updated = office.wait_for("alert", "one", lambda body: body["state"] == "updated", deadline_s=10)[0]
    assert updated["id"] == opened["id"]
    assert len(exchanges(office)) == 2

    # What was kept reads back as it was sent.
    stored = [channels(line) for line in gateway.export("readings")]
    doubted = [line for line in stored if line["volume_base"][1:] == ("suspect", "exchanged")]
    assert [line["volume_base"][0] for line in doubted] == [Decimal("1.5"), Decimal("0.99")]
