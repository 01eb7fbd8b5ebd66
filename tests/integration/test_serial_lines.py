"""Serial lines as they are: adapters that hear themselves, noise, meters that sleep; and several meters behind one endpoint
that need a pause. The meters are pymodbus, what the line does to their bytes is this file's."""
import json
import os
import random
import time

import pytest
import yaml

from lib import fuxin
from lib.gateway import PROFILES, run
from lib.site import Site, office_plain
from lib.wait import wait_until

pytestmark = pytest.mark.timing

SEED = int(os.environ.get("SEED", time.time_ns() % 10**9))
CHECKED = {"display_checked": "2026-11-20"}


def echoing(to_far, data):
    """The adapter hears what it sends."""
    return [(False, data), (True, data)] if to_far else [(False, data)]


class Noise:
    """One reply of four loses, doubles or changes a byte, or noise comes before it."""

    def __init__(self, dice, echo=False):
        self.dice, self.echo = dice, echo
        self.replies = 0

    def __call__(self, to_far, data):
        if to_far:
            return echoing(to_far, data) if self.echo else [(True, data)]
        self.replies += 1
        if self.replies % 4:
            return [(False, data)]
        at, noise = self.dice.randrange(len(data)), bytes(self.dice.randrange(256) for _ in range(self.dice.randrange(1, 6)))
        return [(False, self.dice.choice([
            data[:at] + data[at + 1:], data[:at] + data[at:at + 1] + data[at:], noise + data,
            data[:at] + bytes([data[at] ^ 1 << self.dice.randrange(8)]) + data[at + 1:]]))]


class Sleeper:
    """After a rest the first request is lost: it wakes the meter."""

    def __init__(self, rest_s):
        self.rest_s = rest_s
        self.last = 0
        self.lost = 0

    def __call__(self, to_far, data):
        now, before = time.monotonic(), self.last
        self.last = now
        if to_far and now - before >= self.rest_s:
            self.lost += 1
            return []
        return [(to_far, data)]


def read(url, *more):
    done = run("read", "--link", url, "--unit", 1, "--profile", "fuxin-totalizer", "--timeout", 1000, "--json", *more)
    return done, json.loads(done.stdout)


def test_an_echo_is_named_and_stripped(meters, tmp_path):
    bus = meters.serial([1], baud=115200, line=echoing)
    fuxin.put(bus[1])
    done, result = read(bus.url)
    assert done.status == 1 and not result["answered"], result
    assert "set echo: true" in result["detail"], result["detail"]
    done = run("read", "--link", bus.url, "--unit", 1, "--profile", "fuxin-totalizer")
    assert "set echo: true" in done.stdout, done.stdout

    done, result = read(bus.url, "--echo", "--frames")
    assert done.status == 0 and result["answered"] and "detail" not in result, result
    sent = [frame["bytes"] for frame in result["frames"] if frame["sent"]]
    heard = [frame["bytes"] for frame in result["frames"] if not frame["sent"]]
    assert sent and set(sent) <= set(heard), "each request came back"

    path = tmp_path / "site.yaml"
    path.write_text(Site().link("hall", bus.url, echo=True).meter("m", "hall", 1, **CHECKED).text())
    done = run("read", "--config", path, "m", "--state", tmp_path)
    assert done.status == 0, done.stdout


def test_echo_where_none_is(meters):
    bus = meters.serial([1], baud=115200)
    fuxin.put(bus[1])
    done, result = read(bus.url, "--echo")
    assert done.status == 1 and "nothing echoes here" in result["detail"], result
    done = run("read", "--link", "tcp://127.0.0.1:502", "--unit", 1, "--profile", "fd-tms", "--echo")
    assert done.status == 2 and "over TCP nothing echoes" in done.stderr


def test_rs485_where_the_driver_has_none(meters):
    """A pseudo-terminal's driver knows no RS-485."""
    bus = meters.serial([1], baud=115200)
    done = run("read", "--link", bus.url, "--unit", 1, "--profile", "fuxin-totalizer", "--rs485")
    assert done.status == 1
    assert "refuses RS-485 mode" in done.stderr and "take rs485: true out" in done.stderr, done.stderr
    done = run("read", "--link", "rtu-over-tcp://127.0.0.1:4001", "--unit", 1, "--profile", "fd-tms", "--rs485")
    assert done.status == 2 and "--rs485 is for a serial device" in done.stderr


@pytest.mark.parametrize("echo", [False, True], ids=["silent adapter", "echoing adapter"])
def test_noise_becomes_no_value(meters, broker, office, gateway, echo):
    """A quarter of all replies damaged: a total is one that the meter said, or none; the bus comes back each time."""
    print(f"SEED={SEED}")
    noise = Noise(random.Random(SEED), echo)
    bus = meters.serial([1, 2], baud=115200, line=noise)
    site = Site(office=office_plain(broker)).link("hall", bus.url, response_timeout_ms=100, retries=2, echo=echo)
    for unit in (1, 2):
        fuxin.count_up(bus[unit])
        site.meter(f"m{unit}", "hall", unit, **CHECKED)
    gateway.write(site)
    gateway.start()
    for unit in (1, 2):
        office.wait_for("reading", f"m{unit}", count=12)
    assert noise.replies >= 24, "the meters' replies came over this line"
    for unit in (1, 2):
        served = {total for _, total in fuxin.served_totals(bus[unit])}
        values = [body["channels"]["volume_base"] for body in office.of("reading", f"m{unit}")]
        totals = [int(value["value"] * 10000) for value in values if value["value"] is not None]
        assert len(totals) >= 6, f"m{unit} was read most of the time: {values}"
        assert set(totals) <= served, f"m{unit}: {sorted(set(totals) - served)} were never served by it"


def profile(folder, name, **limits):
    """The totalizer's profile with other limits."""
    document = yaml.safe_load((PROFILES / "fuxin-totalizer.yaml").read_text())
    document["limits"].update(limits)
    path = folder / f"{name}.yaml"
    path.write_text(yaml.safe_dump(document))
    return str(path)


def test_a_sleeping_meter_costs_no_time_out(meters, gateway, tmp_path):
    """Two meters that lose the first request after a rest, on a bus each; one profile knows that. Its polls meet no time-out."""
    knows = profile(tmp_path, "sleeper", wake_request=True, wake_after_s=1, wake_wait_ms=100)
    site, sleepers, buses = Site(), {}, {}
    for link, name in (("woken", knows), ("asked", "fuxin-totalizer")):
        sleepers[link] = Sleeper(rest_s=1.2)
        buses[link] = meters.serial([1], baud=115200, line=sleepers[link])
        fuxin.put(buses[link][1])
        site.link(link, buses[link].url, response_timeout_ms=500, retries=1)
        site.meter(f"{link}-m", link, 1, profile=name, interval_s=2, **CHECKED)
    gateway.write(site)
    gateway.start()
    wait_until(lambda: all(sleeper.lost >= 4 for sleeper in sleepers.values()), 40,
               lambda: f"each meter woke four times: { {link: sleeper.lost for link, sleeper in sleepers.items()} }")
    status = gateway.wait_status(lambda status: all(link["polls"] >= 4 for link in status["links"]), 20, "four polls")
    links = {link["link"]: link for link in status["links"]}
    assert links["woken"]["timeouts"] == 0, links["woken"]
    assert links["asked"]["timeouts"] >= 3, f"the meter does sleep: {links['asked']}"
    wakes = [request for request in buses["woken"][1].log if request.count not in (4, 14)]
    assert all(request.count < 4 for request in wakes), "what wakes is short, and of a shape of its own"


def test_a_pause_for_each_meter_behind_one_endpoint(meters, gateway, tmp_path):
    """Three meters on one TCP port; two need a rest of the line before they are asked, one does not."""
    pauses = {1: 120, 2: 0, 3: 60}
    bus = meters.tcp(list(pauses))
    site = Site().link("hall", bus.url, response_timeout_ms=800)
    for unit, pause_ms in pauses.items():
        fuxin.put(bus[unit])
        name = profile(tmp_path, f"pause-{unit}", pause_ms=pause_ms, max_gap=0, max_registers=3)
        site.meter(f"m{unit}", "hall", unit, profile=name, interval_s=1, **CHECKED)
    gateway.write(site)
    gateway.start()
    wait_until(lambda: all(len(bus[unit].log) >= 20 for unit in pauses), 40, "twenty requests of each meter")
    assert len(bus.connections()) == 1, "one connection carries them all"
    log = bus.log
    gaps = {unit: [] for unit in pauses}
    for before, request in zip(log, log[1:]):
        gaps[request.unit].append(1000 * (request.at - before.at))
    for unit, pause_ms in pauses.items():
        assert min(gaps[unit]) >= pause_ms - 1, f"unit {unit} was asked {min(gaps[unit]):.1f} ms after another request"
    assert min(gaps[2]) < 60, "who needs no pause gets none"
    link = gateway.status()["links"][0]
    assert link["timeouts"] == link["reconnects"] == 0, link
    for request in log:
        assert request.words is not None, "each meter answers for itself"
