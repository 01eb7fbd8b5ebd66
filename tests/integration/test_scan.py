"""`metergate scan` on a bus nobody knows: meters, settings, profiles and values against the simulator's own account."""
import json
import os
import re
import secrets
import select
import signal
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from lib.gateway import PROFILES, Gateway, program, run
from lib.simulated import Simulated
from lib.wait import wait_until

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT / "tests" / "fault"))
import scan  # noqa: E402

pytestmark = pytest.mark.timing

SEED = int(os.environ.get("SEED", secrets.randbelow(10**9)))
TWO = {3: "fuxin-totalizer", 7: "eastron-sdm630"}


def site(folder, meters=None, baud=9600, stop=1, more=""):
    lines = "".join(f"  - {{id: m-{unit}, link: bus-1, unit: {unit}, profile: {profile}, capacity: 160, "
                    f"pattern: constant, strict: true{more}}}\n" for unit, profile in (meters or TWO).items())
    return Simulated(folder, "site: {seed: 3, utc_offset_min: 480}\nlinks:\n"
                     f"  - {{id: bus-1, type: rtu, baud: {baud}, parity: N, stop: {stop}}}\nmeters:\n{lines}")


def test_an_unknown_bus_is_found_identified_and_read_right(tmp_path):
    """The short form of `make fault`'s run: three meters of any profiles, at any of these settings."""
    print(f"SEED={SEED}")
    figures = scan.run(tmp_path, program(), SEED, meters=3, units=range(1, 11), bauds=(9600, 19200, 38400))
    assert figures["seconds"] < 90, figures


def test_only_what_the_url_says_is_tried(tmp_path):
    simulated = site(tmp_path, baud=19200)
    try:
        url = f"rtu://{simulated.device('bus-1')}?baud=9600&parity=N&stop=1"
        done = run("scan", "--link", url, "--units", "1-4", "--profiles", PROFILES)
        assert done.status == 1 and "0 meters found" in done.stdout
        assert "only 9600 8N1 is tried" in done.stderr and "--all-settings" in done.stderr
        done = run("scan", "--link", url, "--units", "3", "--profiles", PROFILES, "--all-settings", "--json")
        assert done.status == 0, done.stderr
        assert json.loads(done.stdout)["setting"]["baud"] == 19200
    finally:
        simulated.stop()


def test_a_stop_prints_what_was_found_so_far(tmp_path):
    simulated = site(tmp_path)
    try:
        child = subprocess.Popen([program(), "scan", "--link", f"rtu://{simulated.device('bus-1')}?baud=9600&stop=1&parity=N",
                                  "--profiles", PROFILES, "--json"], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        wait_until(lambda: any(frame["hex"].startswith("06") for frame in simulated.frames()), 20, "unit 6 was called")
        child.send_signal(signal.SIGINT)
        stdout, stderr = child.communicate(timeout=60)
        assert child.returncode in (0, 1), stderr
        result = json.loads(stdout)
        assert result["complete"] is False
        assert 3 in result["heard"] + [unit["unit"] for unit in result["units"]]
    finally:
        simulated.stop()


def test_the_yaml_is_a_configuration(tmp_path):
    """What --yaml prints passes `check` and reads every value, once the gateway's own keys stand before it."""
    simulated = site(tmp_path)
    try:
        url = f"rtu://{simulated.device('bus-1')}?baud=9600&stop=1&parity=N"
        done = run("scan", "--link", url, "--units", "1-8", "--profiles", PROFILES, "--yaml")
        assert done.status == 0, done.stderr
        document = yaml.safe_load(done.stdout)
        assert [(meter["unit"], meter["profile"]) for meter in document["meters"]] == list(TWO.items())
        assert not any("display_checked" in meter for meter in document["meters"])
        path = tmp_path / "found.yaml"
        path.write_text("gateway: {id: found, timezone: Asia/Shanghai}\n" + done.stdout)
        checked = run("check", path, "--profiles", PROFILES)
        assert checked.status == 0, checked.stdout
        for meter in document["meters"]:
            reading = run("read", "--config", path, "--state", tmp_path / "none", "--profiles", PROFILES, meter["id"])
            assert reading.status == 0, reading.stdout + reading.stderr
    finally:
        simulated.stop()


def test_the_table_says_why(tmp_path):
    simulated = site(tmp_path)
    try:
        url = f"rtu://{simulated.device('bus-1')}?baud=9600&stop=1&parity=N"
        done = run("scan", "--link", url, "--units", "3-3", "--profiles", PROFILES)
        assert done.status == 0
        assert re.search(r"^ +3 +\d+ +\d+ %  fuxin-totalizer$", done.stdout, re.M), done.stdout
        assert "agree with each other" in done.stdout and "plausible: volume_base" in done.stdout
    finally:
        simulated.stop()


def test_tcp_units(meters):
    """A gateway with two units answers exceptions or nothing for the others; a meter that ignores the number is one."""
    bus = meters.tcp([1, 9])
    done = run("scan", "--link", bus.url, "--units", "0-12", "--profiles", PROFILES, "--timeout", 100, "--json")
    assert done.status == 0, done.stderr
    assert [unit["unit"] for unit in json.loads(done.stdout)["units"]] == [1, 9]


def test_wrong_usage():
    for arguments in ([], ["--link", "nonsense"], ["--link", "rtu:///dev/null", "--units", "5-2"],
                      ["--link", "rtu:///dev/null", "--units", "0-5"], ["--link", "rtu:///dev/null", "--json", "--yaml"]):
        assert run("scan", *arguments).status == 2, arguments
    done = run("scan", "--link", "rtu:///dev/not-there", "--profiles", PROFILES)
    assert done.status == 1 and "not there" in done.stderr


# ---- through the running gateway ---------------------------------------------------------------------------------------

GATEWAY = """
gateway: {{id: scan-test, timezone: Asia/Shanghai}}
links:
  - {{id: bus-1, url: "{url}", response_timeout_ms: 300}}
meters:
  - {{id: known-1, link: bus-1, unit: 2, profile: fuxin-totalizer, display_checked: 2026-11-20, interval_s: 1}}
  - {{id: known-2, link: bus-1, unit: 4, profile: eastron-sdm630, display_checked: 2026-11-20, interval_s: 2}}
"""
BUS = {2: "fuxin-totalizer", 4: "eastron-sdm630", 9: "siemens-pac2200", 15: "fuxin-totalizer"}


class Running:
    """A gateway that polls two of the four meters of a bus."""

    def __init__(self, folder, baud=9600):
        self.simulated = site(folder, BUS, baud=baud)
        try:
            self.url = self.simulated.links["bus-1"]["url"]
            self.gateway = Gateway(folder, GATEWAY.format(url=self.url)).start()
        except BaseException:
            self.simulated.stop()
            raise

    def stop(self):
        try:
            self.gateway.stop()
        finally:
            self.simulated.stop()

    def counters(self):
        (link,) = self.gateway.call("status")["links"]
        return link

    def readings(self):
        done = run("export", "readings", "--state", self.gateway.state, "--json")
        assert done.status == 0, done.stderr
        return done.json_lines()


@pytest.fixture
def running(tmp_path):
    one = Running(tmp_path)
    yield one
    one.stop()


def seconds_of(readings, meter):
    """The second in which each reading of a meter was due, with its quality."""
    return {reading["at"][:19]: reading["channels"] for reading in readings if reading["meter"] == meter}


def test_a_running_gateway_scans_between_its_polls(running):
    wait_until(lambda: len(running.readings()) >= 4, 30, "the gateway polls")
    polls = running.counters()
    done = run("scan", "--link", running.url.split("?")[0], "--state", running.gateway.state, "--units", "1-20", "--json")
    assert done.status == 0, done.stderr
    after = running.counters()
    result = json.loads(done.stdout)
    assert result["id"] == "bus-1" and result["complete"] is True
    found = {unit["unit"]: unit["profiles"][0]["profile"] for unit in result["units"]}
    assert found == {9: "siemens-pac2200", 15: "fuxin-totalizer"}  # units 2 and 4 are configured
    assert "sweep" in done.stderr or "identify" in done.stderr
    # Polls kept their due times: each second has its reading, whole and good.
    wait_until(lambda: len(running.readings()) >= 10, 30, "readings after the scan")
    one = sorted(seconds_of(running.readings(), "known-1").items())
    assert len(one) >= int(result["elapsed_s"]) - 1
    for at, channels in one:
        assert {value["quality"] for value in channels.values()} == {"good"}, (at, channels)
    # A busy machine may hold a poll up for the 100 ms from which it counts as late; a scan in the way would each time.
    assert after["late"] - polls["late"] <= 2 and after["polls"] - polls["polls"] >= 10, (polls, after)


def test_the_yaml_of_a_configured_link_has_only_meters(running):
    done = run("scan", "--link", running.url, "--state", running.gateway.state, "--units", "9", "--yaml")
    assert done.status == 0, done.stderr
    document = yaml.safe_load(done.stdout)
    assert list(document) == ["meters"]
    assert document["meters"] == [{"id": "bus-1-9", "link": "bus-1", "unit": 9, "profile": "siemens-pac2200"}]


def test_a_scan_of_the_gateway_is_cancelled(running):
    child = subprocess.Popen([program(), "scan", "--link", running.url, "--state", running.gateway.state, "--json"],
                             stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    wait_until(lambda: any(frame["hex"].startswith("0a") for frame in running.simulated.frames()), 30, "unit 10 was called")
    busy = run("scan", "--link", running.url, "--state", running.gateway.state)
    assert busy.status == 1 and "runs already" in busy.stderr
    child.send_signal(signal.SIGINT)
    stdout, stderr = child.communicate(timeout=60)
    result = json.loads(stdout)
    assert result["complete"] is False and 9 in result["heard"], (result, stderr)
    # Nothing of it goes on: only the polled units are asked.
    last = len(running.simulated.frames())

    def asked():
        return {frame["hex"][:2] for frame in running.simulated.frames()[last:]}

    wait_until(lambda: {"02", "04"} <= asked(), 20, "the gateway polls on")
    assert asked() == {"02", "04"}


def test_a_scan_of_a_full_link_ends_at_once(tmp_path):
    """A link without time gives a scan a turn once a minute; to end it does not wait for that."""
    running = Running(tmp_path, baud=600)
    try:
        wait_until(lambda: running.counters()["overloaded"], 90, "the link is full")
        child = subprocess.Popen([program(), "scan", "--link", running.url, "--state", running.gateway.state, "--json"],
                                 stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        wait_until(lambda: select.select([child.stderr], [], [], 0)[0], 20, "the gateway tells how far it is")
        child.send_signal(signal.SIGINT)
        stdout, _ = child.communicate(timeout=45)
        result = json.loads(stdout)
        assert result["complete"] is False and result["configured"] == [2, 4]
    finally:
        running.stop()


def test_who_hangs_up_ends_the_scan(running):
    child = subprocess.Popen([program(), "scan", "--link", running.url, "--state", running.gateway.state],
                             stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    wait_until(lambda: any(frame["hex"].startswith("03") for frame in running.simulated.frames()), 30, "unit 3 was called")
    child.kill()
    child.wait()
    wait_until(lambda: run("scan", "--link", running.url, "--state", running.gateway.state, "--units", "9",
                           "--quiet").status == 0, 20, "the next scan may begin")
