"""A month report of 500 meters from a store of 13 months, beside bare SQLite reading the same rows.

usage: reports.py --build build [--meters 500] [--seed 1]
"""
import argparse
import json
import os
import resource
import subprocess
import tempfile
import time
from datetime import datetime
from pathlib import Path

LIMIT_S = 2
RUNS = 5
MONTHS = 13
DATE = "2026-10"  # the thirteenth: beside the month before and that of a year before, 31 days each but for one


def milliseconds(text):
    return int(datetime.fromisoformat(text.replace("Z", "+00:00")).timestamp() * 1000)


def timed(command):
    """Wall and processor seconds of a command, and what it printed."""
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    begin = time.monotonic()
    done = subprocess.run(command, check=True, capture_output=True, text=True, timeout=600)
    wall = time.monotonic() - begin
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return wall, after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime, done.stdout


def report_speed(table, build, meters=500, seed=1):
    tool = build / "tests/bench/report_store"
    with tempfile.TemporaryDirectory(prefix="metergate-reports-") as folder:
        state = Path(folder) / "state"
        subprocess.run([tool, state, str(meters), str(MONTHS), str(seed)], check=True, timeout=3600)
        report = [build / "metergate", "report", "month", "--state", state, "--date", DATE]
        told = json.loads(timed([*report, "--json"])[2])
        assert len(told["meters"]) == meters, "all meters are in it"
        ranges = [told, told["site"]["last"], told["site"]["year_ago"]]
        bare = [tool, "--bare", state, *(str(milliseconds(one[key])) for one in ranges for key in ("from", "to"))]
        bare_ms, rows = [], 0
        walls, processor = [], []
        for _ in range(RUNS):  # in turns, so that both meet the same machine
            rows, _, took, _ = timed(bare)[2].split()
            bare_ms.append(float(took))
            wall, used, _ = timed([*report, "--json"])
            walls.append(wall)
            processor.append(used)
        wall, least = sorted(walls)[RUNS // 2], sorted(bare_ms)[RUNS // 2] / 1000
        size = os.path.getsize(state / "metergate.db") / 1e6
        table.add("store", f"{meters} meters, {MONTHS} months of periods, {size:.0f} MB, seed {seed}")
        table.add("month report with both comparisons, JSON", f"{wall:.2f} s, {sorted(processor)[RUNS // 2]:.2f} s of the processor",
                  f"under {LIMIT_S} s", wall < LIMIT_S)
        table.add("bare SQLite reads its rows", f"{least:.2f} s, {rows} rows", f"the report takes {wall / least:.1f} x that")


if __name__ == "__main__":
    from bench import Table
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--build", type=Path, required=True)
    parser.add_argument("--meters", type=int, default=500)
    parser.add_argument("--seed", type=int, default=1)
    arguments = parser.parse_args()
    figures = Table()
    report_speed(figures, arguments.build, arguments.meters, arguments.seed)
    figures.print("report of a month")
