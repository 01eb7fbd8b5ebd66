"""Commissioning: an unknown bus of mixed meters, scanned; what was found is held against the simulator's truth.

The oracle is the simulator's own account (`get`: what a meter shows, in canonical units) and the site file. The
pseudo-terminal tells the simulator what the client has set: its meters understand one baud rate and one number of stop
bits, and the replies take the wire's time. Parity does not exist on a pseudo-terminal (tests/unit/test_scan.c has it).
"""
import json
import random
import re
import subprocess
import sys
import time
from decimal import Decimal
from pathlib import Path

import yaml

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT / "tests" / "integration"))
from lib.coded import profile_fields  # noqa: E402
from lib.simulated import Simulated  # noqa: E402

PROFILES = ROOT / "drivers" / "profiles"
METERS, LIMIT_S = 8, 180
ALL_UNITS = range(1, 248)


def open_units(profile):
    """Channels whose unit the profile leaves to the meter, with the canonical one."""
    table = dict(re.findall(r'^\s*\{"(\w+)", "([^"]*)", CHANNEL_', (ROOT / "drivers" / "channel.c").read_text(), re.M))
    document = yaml.safe_load((PROFILES / f"{profile}.yaml").read_text())
    return {channel: table[channel] for channel, entry in document["channels"].items() if entry.get("unit") == "config"}


def may_be_strict(profile):
    """Whether every register of each group that must be read whole is one that the profile names."""
    document = yaml.safe_load((PROFILES / f"{profile}.yaml").read_text())
    fields, scales = profile_fields(PROFILES / f"{profile}.yaml")
    named = {field.first + i for field in fields for i in range(field.words)} | {
        entry if isinstance(entry, int) else entry["register"] for entry in scales}
    return all(register in named for first, last in document.get("together", []) for register in range(first, last + 1))


def site_text(meters, baud, stop, seed, dice):
    lines = [f"site: {{seed: {seed}, utc_offset_min: 480}}", "links:",
             f"  - {{id: bus-1, type: rtu, baud: {baud}, parity: N, stop: {stop}}}", "meters:"]
    for unit, profile in meters.items():
        units = open_units(profile)
        strict = "true" if may_be_strict(profile) and dice.random() < 0.6 else "false"
        more = ", units: {" + ", ".join(f"{name}: {unit_of}" for name, unit_of in units.items()) + "}" if units else ""
        lines.append(f"  - {{id: m-{unit}, link: bus-1, unit: {unit}, profile: {profile}, capacity: 6, "
                     f"pattern: constant, strict: {strict}, reply_delay_ms: {5 + unit % 20}{more}}}")
    return "\n".join(lines) + "\n"


def truth(simulated, meters):
    return {unit: simulated.must(f"get m-{unit}")["values"] for unit in meters}


def number(value):
    return value if isinstance(value, (int, Decimal)) else None


def compare(unit, channels, before, after):
    """Every number that was read lies between what the meter showed before and after, or near it."""
    compared = 0
    for name, value in channels.items():
        low, high = number(before.get(name)), number(after.get(name))
        if low is None or high is None:
            continue
        seen = number(value["value"])
        assert seen is not None, f"unit {unit}: {name} was not read: {value}"
        # A float register keeps 24 bits, and another register may be rounded.
        slack = max(abs(low), abs(high)) * Decimal("0.002") + Decimal("0.5")
        assert min(low, high) - slack <= seen <= max(low, high) + slack, \
            f"unit {unit}: {name} is {seen}, the meter showed {low} and then {high}"
        compared += 1
    assert compared > 0, f"unit {unit}: nothing could be compared"
    return compared


def scan(binary, simulated, units):
    command = [str(binary), "scan", "--link", f"rtu://{simulated.device('bus-1')}", "--profiles", str(PROFILES), "--json"]
    if units != ALL_UNITS:
        command += ["--units", f"{units[0]}-{units[-1]}"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=900, check=False)
    assert done.returncode == 0, done.stderr[-4000:]
    return json.loads(done.stdout, parse_float=Decimal), done.stderr


def run(folder, binary, seed, meters=METERS, units=ALL_UNITS, bauds=(9600,), profiles=None, say=print):
    """One bus. Returns its figures; fails where a meter is missed, mistaken or read wrong."""
    dice = random.Random(seed)
    names = profiles or sorted(path.stem for path in PROFILES.glob("*.yaml"))
    kinds = dice.sample(names, meters) if len(names) >= meters else [dice.choice(names) for _ in range(meters)]
    planned = dict(zip(sorted(dice.sample(list(units), meters)), kinds))
    baud, stop = dice.choice(bauds), dice.choice([1, 2])
    say(f"scan: {baud} baud, {stop} stop bits: {planned}")
    simulated = Simulated(folder, site_text(planned, baud, stop, seed, dice))
    try:
        before = truth(simulated, planned)
        begun = time.monotonic()
        result, progress = scan(binary, simulated, units)
        seconds = time.monotonic() - begun
        after = truth(simulated, planned)
        frames = simulated.frames()
    finally:
        simulated.stop()
    assert progress, "no progress was told"
    assert result["complete"] is True
    assert (result["setting"]["baud"], result["setting"]["stop"]) == (baud, stop), result["setting"]
    found = {unit["unit"]: unit for unit in result["units"]}
    assert set(found) == set(planned), f"found {sorted(found)}, there are {sorted(planned)}"
    values = 0
    for unit, profile in planned.items():
        fits = found[unit]["profiles"]
        assert fits and fits[0]["profile"] == profile, \
            f"unit {unit} is a {profile}: {[(fit['profile'], float(fit['bits'])) for fit in fits]}"
        assert fits[0]["reasons"], unit
        values += compare(unit, found[unit]["channels"], before[unit], after[unit])
    functions = {bytes.fromhex(frame["hex"])[1] for frame in frames if frame["dir"] == "in"}
    assert functions <= {1, 2, 3, 4}, functions
    return {"seconds": round(seconds, 1), "meters": len(found), "values": values, "requests": len(frames),
            "worst_share": float(min(found[unit]["profiles"][0]["share"] for unit in planned))}
