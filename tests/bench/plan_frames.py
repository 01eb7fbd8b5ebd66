#!/usr/bin/python3
"""What planning is worth, counted from frames on a wire: one poll of each shipped profile at 9600 Bd 8N1.

usage: plan_frames.py --build build [--profiles DIR]

One simulated bus (a pseudo-terminal that keeps the pace of 9600 Bd), one meter of each profile. `metergate read` asks as
the gateway would; then by hand what the obvious plan asks: one request for each contiguous run of needed
registers, as long as the meter bears, no value and no group cut. Both are counted in the simulator's own log: bytes at
10 bits, 3.5 characters of silence before and after each request, the meter's 20 ms (the same for both).
"""
import argparse
import json
import re
import subprocess
import struct
import sys
import tempfile
import time
from pathlib import Path

import serial
import yaml

HERE = Path(__file__).resolve().parent
ROOT = HERE.parent.parent
sys.path.insert(0, str(HERE.parent / "integration"))
sys.dont_write_bytecode = True

from lib.coded import Field, profile_fields  # noqa: E402
from lib.enron import crc16  # noqa: E402
from lib.simulator import Simulator  # noqa: E402

PROFILES = ROOT / "drivers/profiles"
BAUD, BITS = 9600, 10
SILENT_CHARACTERS = 2 * 3.5
SILENCE_S = 3.5 * BITS / BAUD
TURNAROUND_MS = 20
SAVED_BAR = 25  # percent


def open_units(binary, path):
    """A unit for each channel that leaves it to the meter's entry: the one that `read` proposes."""
    found = {}
    while True:
        given = [word for name, unit in found.items() for word in ("--units", f"{name}={unit}")]
        done = subprocess.run([binary, "read", "--link", "rtu:///dev/null", "--unit", "1", "--profile", path, *given],
                              capture_output=True, text=True, timeout=60, check=False)
        wanted = re.search(r"add --units (\w+)=([^ ,]+)", done.stderr)
        if not wanted or wanted[1] in found:
            return found
        found[wanted[1]] = wanted[2]


# --- the obvious plan --------------------------------------------------------------------------------------------

def values_of(path, document):
    """(function, size of a register, first, end) of each value and of each group, as one that must be read whole."""
    wide = document.get("limits", {}).get("register_size", 2) == 4
    fields, scales = profile_fields(path)
    fields = fields + [Field(scale, "i16") for scale in scales]
    values = set()
    for field in fields:
        size = 4 if wide and field.words > 1 else 2
        values.add((field.function, size, field.first, field.first + field.words * 2 // size))
    for first, last in document.get("together", []):
        inside = {value for value in values if value[2] >= first and value[3] - 1 <= last}
        for kind in {value[:2] for value in inside}:
            of_kind = [value for value in inside if value[:2] == kind]
            values -= set(of_kind)
            values.add((*kind, min(value[2] for value in of_kind), max(value[3] for value in of_kind)))
    return sorted(values)


def obvious_requests(path):
    """(function, first, count, size of a register) of one request for each contiguous run, split where the meter bears no more."""
    document = yaml.safe_load(path.read_text())
    most = document.get("limits", {}).get("max_registers", 60)
    requests = []
    for function, size, first, end in values_of(path, document):
        last = requests[-1] if requests else None
        bound = min(most, 250 // size)
        if last and last[:2] == [function, size] and first <= last[3] and max(end, last[3]) - last[2] <= bound:
            last[3] = max(end, last[3])
        else:
            requests.append([function, size, first, end])
    return [(function, first, end - first, size) for function, size, first, end in requests]


# --- the wire ----------------------------------------------------------------------------------------------------

def site_of(profiles, units):
    rows = [f"links: [{{id: bus, type: rtu, baud: {BAUD}, parity: N, stop: 1, link: ./bus}}]", "meters:"]
    for unit, path in enumerate(profiles, 1):
        rows.append(f"  - {{id: meter-{unit}, link: bus, unit: {unit}, profile: {path.stem}, "
                    f"reply_delay_ms: {TURNAROUND_MS}, units: {json.dumps(units[path])}}}")
    return "\n".join(rows) + "\n"


def ask_planned(binary, url, unit, path, units):
    given = [word for name, to in units.items() for word in ("--units", f"{name}={to}")]
    done = subprocess.run([binary, "read", "--link", url, "--unit", str(unit), "--profile", path, "--timeout", "500",
                           "--json", *given], capture_output=True, text=True, timeout=60, check=False)
    channels = json.loads(done.stdout)["channels"] if done.stdout else {}
    if not channels or any(channel.get("why") == "timeout" for channel in channels.values()):
        raise SystemExit(f"{path.stem}: not read: {done.stderr}{done.stdout}")


def ask_obvious(device, unit, requests):
    """By hand: a client library would trip over registers of four bytes."""
    with serial.Serial(device, baudrate=BAUD, timeout=3) as line:
        for function, first, count, size in requests:
            time.sleep(2 * SILENCE_S)  # the line must have been silent
            frame = struct.pack(">BBHH", unit, function, first, count)
            line.write(frame + crc16(frame))
            data = (count + 7) // 8 if function <= 2 else count * size
            reply = line.read(3 + data + 2)
            if len(reply) != 5 + data or crc16(reply[:-2]) != reply[-2:]:
                raise SystemExit(f"unit {unit}: function {function}, {count} registers from {first}: {reply.hex()}")


class Log:
    """The simulator's log, read on from where it was."""

    def __init__(self, path):
        self._file = open(path, encoding="ascii")

    def next(self, wake=False):
        """(requests, ms on the wire, [(reckoned, measured) ms]) of the frames since the last call.

        Measured is each transaction but the first, from the end of one reply to the end of the next. `wake`: the first
        one only wakes the meter; who does not send it loses another, so it belongs to no plan."""
        frames = [json.loads(line) for line in self._file if line.endswith("\n")]
        sizes = {way: [len(frame["hex"]) // 2 for frame in frames if frame["dir"] == way] for way in ("in", "out")}
        assert len(sizes["in"]) == len(sizes["out"]) > 0, frames
        assert not any(frame["fault"] for frame in frames), frames
        reckoned = [(asked + answered + SILENT_CHARACTERS) * BITS * 1000 / BAUD + TURNAROUND_MS
                    for asked, answered in zip(sizes["in"], sizes["out"])][wake:]
        ends = [frame["t"] for frame in frames if frame["dir"] == "out"][wake:]
        measured = [1000 * (end - before) for before, end in zip(ends, ends[1:])]
        return len(reckoned), sum(reckoned), list(zip(reckoned[1:], measured))


def measure(build, shipped):
    """{profile: ((requests, ms) as planned, (requests, ms) of the obvious plan)}, and [(reckoned, measured) ms]."""
    profiles = sorted(shipped.glob("*.yaml"))
    binary = (build / "metergate").resolve()
    units = {path: open_units(binary, path) for path in profiles}
    with tempfile.TemporaryDirectory(prefix="metergate-plan-") as name:
        folder = Path(name)
        (folder / "site.yaml").write_text(site_of(profiles, units))
        simulator = Simulator(binary, folder / "site.yaml", folder, profiles=shipped,
                              options=["--log", folder / "frames.log"])
        try:
            url = simulator.links["bus"]
            device = url.removeprefix("rtu://").split("?")[0]
            log, found, measured = Log(folder / "frames.log"), {}, []
            for unit, path in enumerate(profiles, 1):
                limits = yaml.safe_load(path.read_text()).get("limits", {})
                pause = limits.get("pause_ms", 0)
                ask_planned(binary, url, unit, path, units[path])
                planned = log.next(wake=limits.get("wake_request", False))
                measured += planned[2] if pause == 0 else []
                ask_obvious(device, unit, obvious_requests(path))
                found[path.stem] = tuple((count, ms + count * pause) for count, ms, _ in (planned, log.next()))
            return found, measured
        finally:
            simulator.stop()


def report_plans(build, table, shipped=PROFILES):
    """Adds a row for each profile and the two bars."""
    found, measured = measure(build, shipped)
    for name, (planned, obvious) in found.items():
        table.add(name, f"{planned[0]:2} requests {planned[1]:6.1f} ms",
                  f"obvious {obvious[0]:2} requests {obvious[1]:6.1f} ms, {100 - 100 * planned[1] / obvious[1]:4.1f} % less",
                  planned[1] <= obvious[1] + 1e-6)
    saved = 100 - 100 * sum(p[1] for p, _ in found.values()) / sum(o[1] for _, o in found.values())
    table.add("all profiles", f"{saved:.1f} % less bus time", f"bar {SAVED_BAR} %", saved >= SAVED_BAR)
    reckoned, took = (sum(times) for times in zip(*measured))
    table.add("the reckoning itself", f"{took:.0f} ms on this bus", f"{reckoned:.0f} ms reckoned for the same "
              f"{len(measured)} transactions, {100 * took / reckoned - 100:+.1f} %")
    table.print(f"requests: bus time of one poll of each shipped profile at {BAUD} Bd 8N1, from the frames on the wire")


def main():
    from bench import Table  # the table of all benches
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--build", type=Path, required=True)
    parser.add_argument("--profiles", type=Path, default=PROFILES, help="folder of the profiles")
    arguments, table = parser.parse_args(), Table()
    report_plans(arguments.build, table, arguments.profiles.resolve())
    return 1 if table.missed else 0


if __name__ == "__main__":
    sys.exit(main())
