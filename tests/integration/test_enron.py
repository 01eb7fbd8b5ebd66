"""Enron Modbus: one register number for each value of 32 bits, against a meter on a raw socket, and against the simulator."""
import json
import os
import random
import struct
import time
from decimal import Decimal

import pytest

from lib import registers as r
from lib.enron import EnronMeter
from lib.gateway import run
from lib.simulated import Raw, Simulated

SEED = int(os.environ.get("SEED", time.time_ns() % 10**9))

PROFILE = """
model: A flow computer with Enron registers
source: this test
verified: true
limits: {register_size: 4, max_gap: 0}
channels:
  volume_base:     {register: 5001, type: u32, scale: 0.1, unit: m3}
  volume_measured: {register: 5002, type: u32, order: CDAB, unit: m3}
  pressure:        {register: 7003, type: f32, unit: kPa}
  temperature:     {register: 7004, type: f32, unit: degC}
  flow_base:       {register: 7006, type: f32, unit: m3/h}
  flow_measured:   {register: 7005, type: f32, order: DCBA, unit: m3/h}
  battery:         {register: 3001, type: u16, unit: "%"}
together: [[5001, 5002]]
"""


@pytest.fixture(params=[False, True], ids=["tcp", "rtu-over-tcp"])
def meter(request):
    served = EnronMeter(unit=9, rtu=request.param)
    yield served
    served.close()


def packed(words):
    return struct.pack(f">{len(words)}H", *words)


def read(meter, folder, *more):
    path = folder / "enron.yaml"
    path.write_text(PROFILE)
    done = run("read", "--link", meter.url, "--unit", 9, "--profile", path, "--timeout", 1000, "--json", *more)
    return done, json.loads(done.stdout, parse_float=Decimal, parse_int=Decimal)


def test_numbers_of_four_bytes(meter, tmp_path):
    print(f"SEED={SEED}")
    dice = random.Random(SEED)
    base, measured, battery = dice.randrange(2**32), dice.randrange(2**32), dice.randrange(101)
    gauges = {name: dice.uniform(-100, 4000) for name in ("pressure", "temperature", "flow_base", "flow_measured")}
    meter.put(3001, struct.pack(">H", battery))
    meter.put(5001, struct.pack(">I", base))
    meter.put(5002, packed(r.u32(measured, "CDAB")))
    for number, name, order in ((7003, "pressure", "ABCD"), (7004, "temperature", "ABCD"),
                                (7005, "flow_measured", "DCBA"), (7006, "flow_base", "ABCD")):
        meter.put(number, packed(r.f32(gauges[name], order)))
    done, result = read(meter, tmp_path)
    assert done.status == 0, done.stderr
    channels = result["channels"]
    assert all(channel["quality"] == "good" for channel in channels.values()), channels
    assert channels["volume_base"]["value"] == Decimal(base) / 10
    assert channels["volume_measured"]["value"] == measured
    assert channels["battery"]["value"] == battery
    for name, value in gauges.items():
        assert r.gauge_matches(str(channels[name]["value"]), r.f32_exact(value)), name
    assert sorted(meter.log) == [(3, 3001, 1), (3, 5001, 2), (3, 7003, 4)]


def test_one_number_is_missing(meter, tmp_path):
    for number in (5001, 5002, 7003, 7004, 7005, 7006):
        meter.put(number, bytes(4))
    done, result = read(meter, tmp_path)
    assert done.status == 1
    assert result["channels"]["battery"] == {"value": None, "unit": "%", "quality": "missing", "why": "exception-2"}
    assert result["channels"]["flow_base"]["quality"] == "good"


def test_simulated_meter_has_them_too(tmp_path):
    """By hand: four numbers of 4 bytes, an exception over both sizes, 16 bits where the value has 16."""
    path = tmp_path / "enron.yaml"
    path.write_text(PROFILE)
    simulated = Simulated(tmp_path, "links: [{id: tcp, type: tcp}]\nmeters:\n"
                          f"  - {{id: flow-1, link: tcp, unit: 9, profile: {json.dumps(str(path))}, strict: true}}\n")
    raw = Raw(simulated.port("tcp"), rtu=False)
    try:
        simulated.must("set flow-1 pressure 301.5")
        simulated.must("set flow-1 temperature -12.25")
        reply = raw.ask(9, first=7003, count=2)
        assert reply[7:] == bytes([3, 8]) + struct.pack(">ff", 301.5, -12.25)
        assert raw.ask(9, first=3001, count=1)[7:9] == bytes([3, 2])
        assert raw.ask(9, first=5003, count=1)[7:] == bytes([0x83, 2])
        assert raw.ask(9, first=7003, count=63)[7:] == bytes([0x83, 3])
    finally:
        raw.close()
        assert simulated.stop() == 0
