"""`metergate read` against python3-pymodbus as the meter: every value of every shipped profile, on every kind of link.

What a value must be is worked out here from the profile's YAML and the words that were put into the meter.
"""
import json
import os
import random
import re
import time
from decimal import Decimal

import pytest
import yaml

from lib import registers as r
from lib import units
from lib.gateway import PROFILES, run
from lib.ports import free_port

PROFILE_NAMES = sorted(path.stem for path in PROFILES.glob("*.yaml"))
SEED = int(os.environ.get("SEED", time.time_ns() % 10**9))
COUNTER = re.compile("(reactive_)?energy_.*|volume_.*|water_volume|water_volume_reverse|heat_energy|cooling_energy|mass|"
                     "steam_mass")
EXACT = {"meter_clock", "water_volume_net", "balance"}
MOST = 9 * 10**12  # units of a counter


def random_words(dice, field, word_order=None):
    """(words, the exact number or text that they say) of a random plausible value."""
    order, kind = field.get("order"), field["type"]
    order = r.order_of(kind, word_order) if word_order else order
    if kind == "f32":
        value = dice.choice([0.0, dice.uniform(-400, 400), dice.uniform(0, 1), dice.uniform(1e4, 9e6)])
        return r.f32(value, order or "ABCD"), r.f32_exact(value)
    if kind == "f64":
        value = dice.uniform(0, 4e9)
        return r.f64(value, order or "ABCDEFGH"), Decimal(value)
    if kind.startswith("bcd"):
        value = dice.randrange(10 ** int(kind[3:]))
        return r.bcd(value, int(kind[3:])), Decimal(value)
    if kind.startswith("string"):
        value = "".join(dice.choice("ABCDEFGHJKLMN0123456789") for _ in range(dice.randrange(1, int(kind[6:]) + 1)))
        return r.words_of(value.encode().ljust(int(kind[6:]), b"\0")), value
    bits = int(kind[1:])
    low, high = (-2**(bits - 1), 2**(bits - 1)) if kind[0] == "i" else (0, 2**bits)
    limit = int(MOST / Decimal(str(field.get("scale", 1))))
    value = dice.randrange(max(low, -limit), min(high, limit))
    return r.integer(value, kind, order), Decimal(value)


class Image:
    """Random words for all fields of a profile, and what a correct reader makes of them."""

    def __init__(self, name, dice, word_order=None):
        self.word_order = word_order  # of every number of two or four registers, in place of the profile's
        self.profile = yaml.safe_load((PROFILES / f"{name}.yaml").read_text())
        self.dice = dice
        self.words = {}  # (function, register) -> words
        self.scales = {}  # (function, register) -> what a scale register multiplies by
        self.expected = {}  # channel -> (exact number, None where the meter has none, unit)
        self.units = {}
        for channel, entry in self.profile["channels"].items():
            self.take_channel(channel, entry)
        self.serial = None
        for entry in self.profile.get("identity", {}).values():
            self.serial = str(self.put(entry))
        self.status = set()
        self.take_status()

    def take_channel(self, channel, entry):
        total = Decimal(0)
        for part in entry.get("parts", [entry]):
            total += self.put(part) * Decimal(str(part.get("scale", 1))) * self.scale_of(part)
        unit = entry.get("unit", "1")
        if unit == "config":
            unit = self.units[channel] = units.configured(channel)
        canonical, factor, offset = units.canonical(unit)
        total = (total + Decimal(str(entry.get("offset", 0)))) * factor + offset
        if entry.get("not_available") and self.dice.random() < 0.2:
            first = entry.get("parts", [entry])[0]
            pattern = self.dice.choice(entry["not_available"])
            kind = f"u{16 * len(self.words[place_of(first)])}"
            order = r.order_of(kind, self.word_order) if self.word_order else first.get("order")
            self.words[place_of(first)] = r.integer(pattern, kind, order)
            total = None
        self.expected[channel] = (total, canonical)

    def take_status(self):
        held = {}
        for entry in self.profile.get("status", []):
            held.setdefault(place_of(entry), self.dice.randrange(2 ** int(entry.get("type", "u16")[1:])))
            bits = held[place_of(entry)] >> entry.get("bit", 0) & 2 ** entry.get("bits", 1) - 1
            if bits == entry.get("value", 1):
                self.status.add(entry["name"])
            kind = entry.get("type", "u16")
            order = r.order_of(kind, self.word_order) if self.word_order else entry.get("order")
            self.words[place_of(entry)] = r.integer(held[place_of(entry)], kind, order)

    def scale_of(self, part):
        """What a scale register multiplies by: a power of ten from -3 to 0, or a factor."""
        scale = part.get("scale_register")
        if scale is None:
            return Decimal(1)
        scale = {"register": scale} if isinstance(scale, int) else scale
        place = (scale.get("function", part.get("function", 3)), scale["register"])
        if place not in self.scales:
            kind = scale.get("type", "i16")
            is_factor = scale.get("meaning") == "factor"
            value = self.dice.randrange(1, 1000) if is_factor else self.dice.randrange(-3 if kind[0] == "i" else 0, 1)
            self.words[place] = r.integer(value, kind)
            self.scales[place] = Decimal(value) if is_factor else Decimal(10) ** value
        return self.scales[place]

    def put(self, entry):
        self.words[place_of(entry)], value = random_words(self.dice, entry, self.word_order)
        return value

    def options(self):
        return [text for channel, unit in self.units.items() for text in ("--units", f"{channel}={unit}")]

    def load(self, meter):
        is_enron = self.profile.get("limits", {}).get("register_size") == 4
        for (function, register), words in self.words.items():
            if is_enron and len(words) > 1:
                meter.wide[(function, register)] = words
            else:
                meter.put(function, register, words)

    def check(self, channels, quality, why):
        seen = dict(channels)
        if self.serial is not None:
            assert seen.pop("serial_number")["value"] == self.serial
        if "status" in self.profile:
            assert set(seen.pop("status")["value"]) == self.status
        assert set(seen) == set(self.expected)
        for name, (exact, unit) in self.expected.items():
            shown = seen[name]
            if exact is None:
                assert shown == {"value": None, "unit": unit, "quality": "missing", "why": "not-available"}, name
                continue
            assert (shown["unit"], shown["quality"], shown.get("why")) == (unit, quality, why), name
            if COUNTER.fullmatch(name):
                assert str(shown["value"]) == r.counter_text(exact), name
            elif name in EXACT:
                assert float(shown["value"]) == float(exact), name
            else:
                assert r.gauge_matches(str(shown["value"]), exact), (name, shown["value"], exact)


def place_of(entry):
    return entry.get("function", 3), entry["register"]


def result_of(done):
    return json.loads(done.stdout, parse_float=Decimal)


def open_link(meters, kind, unit=7):
    if kind == "rtu":
        return meters.serial([unit])
    return meters.tcp([unit], rtu=kind == "rtu-over-tcp")


def functions_sent(frames, tcp):
    """Function code of every frame that went out."""
    sent = [bytes.fromhex(frame["bytes"].replace(" ", "")) for frame in frames if frame["sent"]]
    assert sent
    return {frame[7 if tcp else 1] for frame in sent}


@pytest.mark.parametrize("kind", ["tcp", "rtu-over-tcp", "rtu"])
@pytest.mark.parametrize("profile", PROFILE_NAMES)
def test_every_value_is_exact(meters, profile, kind):
    print(f"SEED={SEED}")
    dice = random.Random(f"{SEED} {profile} {kind}")
    bus = open_link(meters, kind)
    for _ in range(3):
        image = Image(profile, dice)
        image.load(bus[7])
        bus[7].log.clear()
        done = run("read", "--link", bus.url, "--unit", 7, "--profile", profile, "--profiles", PROFILES, "--json",
                   "--frames", "--timeout", 800, *image.options())
        missing = any(exact is None for exact, _ in image.expected.values())
        assert done.status == (1 if missing else 0), done.stderr
        result = result_of(done)
        assert result["answered"] is True
        image.check(result["channels"], "suspect", "unverified")  # no profile is verified by us yet
        assert functions_sent(result["frames"], kind == "tcp") <= {1, 2, 3, 4}
        asked = {request.function for request in bus.log}
        assert asked == {function for function, _ in image.words}
        assert len([frame for frame in result["frames"] if frame["sent"]]) == len(bus.log)


@pytest.mark.parametrize("order", ["ABCD", "CDAB", "BADC", "DCBA"])
@pytest.mark.parametrize("profile", ["schneider-iem3000", "sick-flowsic500", "spirax-tva"])
def test_word_order_of_the_meter(meters, tmp_path, profile, order):
    """The order that is set in the meter is that of all its numbers, by option and by the meter's entry."""
    bus = meters.tcp([7])
    image = Image(profile, random.Random(f"{SEED} {profile} {order}"), order)
    image.load(bus[7])
    done = run("read", "--link", bus.url, "--unit", 7, "--profile", profile, "--profiles", PROFILES, "--json",
               "--word-order", order)
    assert done.status == 0, done.stderr
    image.check(result_of(done)["channels"], "suspect", "unverified")
    path = tmp_path / "site.yaml"
    path.write_text(SITE.format(url=bus.url) + f"  - {{id: odd, link: hall-1, unit: 7, profile: {profile}, "
                                               f"word_order: {order}, display_checked: 2026-11-20}}\n")
    path.write_text(path.read_text().replace("unit: 7, profile: fuxin-totalizer", "unit: 9, profile: fuxin-totalizer"))
    done = run("read", "--config", path, "--state", tmp_path / "none", "--profiles", PROFILES, "odd", "--json")
    assert done.status == 0, done.stderr
    image.check(result_of(done)["channels"], "good", None)


@pytest.mark.parametrize("profile,answers", [("suto-s430", True), ("spirax-tva", False)])
def test_time_that_the_profile_asks_for(meters, profile, answers):
    """Without --timeout a meter gets the time that its profile says it takes."""
    bus = meters.tcp([7])
    image = Image(profile, random.Random(SEED))
    image.load(bus[7])
    bus[7].delay_s = 0.7
    done = run("read", "--link", bus.url, "--unit", 7, "--profile", profile, "--profiles", PROFILES, "--json",
               *image.options())
    assert done.status == (0 if answers else 1), done.stderr
    assert result_of(done)["answered"] is answers


SITE = """
gateway: {{id: read-test, timezone: Asia/Shanghai}}
links:
  - {{id: hall-1, url: "{url}", response_timeout_ms: 300}}
meters:
  - {{id: boiler-1, link: hall-1, unit: 7, profile: fuxin-totalizer, display_checked: 2026-11-20}}
  - {{id: oven-2, link: hall-1, unit: 8, profile: fd-tms, units: {{volume_base: m3, flow_base: m3/h}}}}
"""


@pytest.fixture
def site(meters, tmp_path):
    bus = meters.tcp([7, 8])
    path = tmp_path / "site.yaml"
    path.write_text(SITE.format(url=bus.url))

    def read(*arguments):
        return run("read", "--config", path, "--state", tmp_path / "no-gateway", "--profiles", PROFILES, *arguments)

    return bus, read


def test_configured_meter(site):
    bus, read = site
    image = Image("fuxin-totalizer", random.Random(SEED))
    image.load(bus[7])
    done = read("boiler-1", "--json")
    assert done.status == 0, done.stderr
    result = result_of(done)
    assert (result["meter"], result["profile"]) == ("boiler-1", "fuxin-totalizer")
    image.check(result["channels"], "good", None)  # its display was compared
    assert "suspect" not in done.stderr

    image = Image("fd-tms", random.Random(SEED))
    image.load(bus[8])
    done = read("oven-2", "--json")
    image.check(result_of(done)["channels"], "suspect", "unverified")
    assert "display_checked" in done.stderr


def test_text(site):
    bus, read = site
    bus[7].put(3, 18, r.bcd(123456789012, 12))
    bus[7].put(3, 23, r.bcd(12345686, 12))
    for register, value in ((16, 2.532), (21, 2.5), (26, 21.649), (28, 102.212)):
        bus[7].put(3, register, r.f32(value))
    done = read("boiler-1", "--frames")
    assert done.status == 0, done.stderr
    lines = done.stdout.splitlines()
    assert lines[0].startswith("> ") and lines[0].endswith("07 03 00 10 00 0E")
    assert lines[1].startswith("< ")
    rows = {line.split()[0]: line.split()[1:] for line in lines[3:]}
    assert rows["volume_base"] == ["12345678.9012", "m3", "good"]
    assert rows["volume_measured"] == ["1234.5686", "m3", "good"]
    assert rows["flow_base"] == ["2.532", "m3/h", "good"]
    assert rows["pressure"] == ["102.212", "kPa", "good"]
    assert "\x1b" not in done.stdout


def test_refused_registers(site):
    bus, read = site
    bus[8].refused.add((3, 50))  # the identity stands in a request of its own
    done = read("oven-2", "--json")
    assert done.status == 1
    channels = result_of(done)["channels"]
    assert channels["serial_number"] == {"value": None, "quality": "missing", "why": "exception-2"}
    assert channels["temperature"]["quality"] == "suspect"


def test_no_value_is_no_number(site):
    bus, read = site
    bus[7].put(3, 16, [0x7FC0, 0])
    bus[7].put(3, 18, [0x1234, 0x56A8, 0x9012])
    channels = result_of(read("boiler-1", "--json"))["channels"]
    assert channels["flow_base"] == {"value": None, "unit": "m3/h", "quality": "suspect", "why": "not-a-number"}
    assert channels["volume_base"] == {"value": None, "unit": "m3", "quality": "suspect", "why": "bad-bcd"}


def test_silent_meter(site):
    bus, read = site
    bus[8].silent = True
    began = time.monotonic()
    done = read("oven-2", "--json")
    assert done.status == 1
    result = result_of(done)
    assert result["answered"] is False
    assert {channel["why"] for channel in result["channels"].values()} == {"timeout"}
    assert len(bus[8].log) == 2  # asked again once, and then left alone
    assert time.monotonic() - began < 40  # two time-outs, and a process under sanitizers on a busy machine


@pytest.mark.parametrize("url,said", [
    ("tcp://127.0.0.1:{port}", "no connection to 127.0.0.1 port {port}: Connection refused"),
    ("rtu-over-tcp://127.0.0.1:{port}", "no connection to 127.0.0.1 port {port}"),
    ("rtu:///dev/no-such-adapter", "cannot open serial device /dev/no-such-adapter"),
    ("rtu:///dev/null", "/dev/null"),
])
def test_link_that_is_not_there(url, said):
    port = free_port()
    done = run("read", "--link", url.format(port=port), "--unit", 1, "--profile", "fuxin-totalizer", "--profiles",
               PROFILES)
    assert done.status == 1
    assert said.format(port=port) in done.stderr
    if "null" not in url:
        assert done.stdout == ""


@pytest.mark.parametrize("arguments,said", [
    ([], "say --config FILE METER, or --link URL"),
    (["boiler-1"], "say --config FILE METER"),
    (["--link", "tcp://127.0.0.1:502", "--unit", "1"], "say --config"),
    (["--link", "tcp://meter.example:502", "--unit", "1", "--profile", "fd-tms"], "meter.example"),
    (["--link", "tcp://127.0.0.1:502", "--unit", "256", "--profile", "fd-tms"], "--unit '256'"),
    (["--link", "rtu:///dev/ttyS0", "--unit", "0", "--profile", "fd-tms"], "1 to 247"),
    (["--link", "tcp://127.0.0.1:502", "--unit", "1", "--profile", "fd-tms", "--timeout", "20"], "--timeout '20'"),
    (["--link", "tcp://127.0.0.1:502", "--unit", "1", "--profile", "fd-tms"], "--units volume_base=m3"),
    (["--link", "tcp://127.0.0.1:502", "--unit", "1", "--profile", "fd-tms", "--units", "volume_base"],
     "CHANNEL=UNIT"),
    (["--link", "tcp://127.0.0.1:502", "--unit", "1", "--profile", "fd-tms", "--units", "volume_base=kPa"], "kPa"),
    (["--link", "tcp://127.0.0.1:502", "--unit", "1", "--profile", "fd-tms", "--units", "power=kW"], "no channel"),
    (["--link", "tcp://127.0.0.1:502", "--unit", "1", "--profile", "spirax-tva", "--word-order", "ACBD"], "ACBD"),
    (["--no-such"], "--no-such"),
    (["--unit"], "needs a value"),
])
def test_wrong_usage(arguments, said):
    done = run("read", "--profiles", PROFILES, *arguments)
    assert done.status == 2, (done.status, done.stderr)
    assert said in done.stderr
    assert "metergate read --help" in done.stderr
    assert done.stdout == ""


def test_unknown_names(site):
    _, read = site
    done = read("boiler-9")
    assert done.status == 2 and "no meter 'boiler-9'" in done.stderr
    done = run("read", "--link", "tcp://127.0.0.1:502", "--unit", 1, "--profile", "no-such", "--profiles", PROFILES)
    assert done.status == 1 and "no-such" in done.stderr


def test_help():
    done = run("read", "--help")
    assert done.status == 0 and done.stdout.startswith("usage: metergate read")


def test_through_the_running_gateway(meters, gateway):
    """The gateway holds the serial line: the reading goes between its polls, and nobody else gets at the line."""
    bus = meters.serial([7, 8])
    image = Image("fuxin-totalizer", random.Random(SEED))
    image.load(bus[7])
    Image("fd-tms", random.Random(SEED)).load(bus[8])
    gateway.write(SITE.format(url=bus.url))
    gateway.start()
    bus[7].log.clear()
    done = run("read", "--config", gateway.config, "--state", gateway.state, "boiler-1", "--json", "--frames")
    assert done.status == 0, done.stderr
    result = result_of(done)
    assert result["meter"] == "boiler-1"
    image.check(result["channels"], "good", None)
    assert functions_sent(result["frames"], tcp=False) == {3}
    assert bus[7].log

    done = run("read", "--config", gateway.config, "--state", gateway.state, "boiler-9")
    assert done.status == 1 and "boiler-9" in done.stderr
    done = run("read", "--link", bus.url, "--unit", 7, "--profile", "fuxin-totalizer", "--profiles", PROFILES)
    assert done.status == 1 and "in use by another program" in done.stderr
    # Without its gateway the same command opens the line itself.
    gateway.stop()
    done = run("read", "--config", gateway.config, "--state", gateway.state, "--profiles", PROFILES, "boiler-1",
               "--json")
    assert done.status == 0, done.stderr
    image.check(result_of(done)["channels"], "good", None)
