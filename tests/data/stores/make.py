"""Makes a fixture of an earlier store: usage: make.py METERGATE OUT_FOLDER NAME

METERGATE is the program of the version, built from its commit. It polls simulated meters until two minutes are closed, one of which is
silent, with a broker that is not there, so that everything waits; then its store becomes SQL text, and what it exports itself
the CSV beside it.
"""
import csv
import json
import os
import sqlite3
import subprocess
import sys
import tempfile
from pathlib import Path

ROOT = Path(__file__).resolve().parents[3]
sys.path.insert(0, str(ROOT / "tests" / "integration"))

from lib import fuxin  # noqa: E402
from lib.meter import Meters  # noqa: E402
from lib.ports import free_port  # noqa: E402
from lib.site import Site  # noqa: E402
from lib.wait import wait_until  # noqa: E402

PERIODS = 2  # of a minute


def periods(program, state):
    done = subprocess.run([program, "export", "periods", "--state", state], capture_output=True, text=True, check=False)
    return len({(row["from"], row["to"]) for row in csv.DictReader(done.stdout.splitlines())})


def poll(program, folder):
    meters = Meters()
    bus = meters.tcp([1, 2, 3])
    for unit in (1, 2, 3):
        fuxin.count_up(bus[unit])
    bus[3].silent = True
    office = {"url": f"mqtt://127.0.0.1:{free_port()}", "summary_minutes": 1, "raw_readings": True}
    site = Site(office=office).link("hall", bus.url, response_timeout_ms=200)
    for unit, meter in ((1, "one"), (2, "two"), (3, "dead")):
        site.meter(meter, "hall", unit, interval_s=10, display_checked="2026-11-20")
    config, state = folder / "site.yaml", folder / "state"
    config.write_text(site.text())
    command = [program, "run", "--config", config, "--state", state, "--no-web", "--profiles", ROOT / "drivers" / "profiles"]
    gateway = subprocess.Popen(command, stderr=subprocess.DEVNULL)
    wait_until(lambda: periods(program, state) >= PERIODS, 300, "the minutes close", interval_s=2)
    subprocess.run([program, "user", "add", "ann", "--role", "leader", "--state", state], input="twelve letters\n", text=True,
                   check=True, stdout=subprocess.DEVNULL)
    gateway.terminate()
    gateway.wait(20)
    meters.close()
    return state


def main():
    program, out, name = Path(sys.argv[1]).resolve(), Path(sys.argv[2]), sys.argv[3]
    with tempfile.TemporaryDirectory() as folder:
        state = poll(program, Path(folder))
        for what in ("readings", "periods", "alerts", "audit"):
            done = subprocess.run([program, "export", what, "--state", state], check=True, capture_output=True)
            (out / f"{name}-{what}.csv").write_bytes(done.stdout)
        with sqlite3.connect(state / "metergate.db") as database:
            numbers = [(pragma, database.execute(f"PRAGMA {pragma}").fetchone()[0])
                       for pragma in ("application_id", "user_version")]
            lines = list(database.iterdump()) + [f"PRAGMA {pragma} = {number};" for pragma, number in numbers]
    (out / f"{name}.sql").write_text("\n".join(lines) + "\n")
    print(name, dict(numbers), os.stat(out / f"{name}.sql").st_size, "bytes")


main()
