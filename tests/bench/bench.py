#!/usr/bin/python3
"""Speed and size of `make bench`, each figure beside its limit, all measured in one run on this machine.

usage: bench.py --build build [--seconds 60] [--form default|raw] [--load-only]

First the load of 500 meters (load.py), then what planning is worth (plan_frames.py), how far forecasts are off
(forecast_mase.py), then a report of 500 meters
(reports.py), then the programs *_bench.
"""
import argparse
import os
import subprocess
import sys
from pathlib import Path

HERE = Path(__file__).resolve().parent
sys.path.insert(0, str(HERE.parent / "integration"))
sys.dont_write_bytecode = True

from forecast_mase import report_forecast  # noqa: E402
from load import FORMS, report_load  # noqa: E402
from plan_frames import report_plans  # noqa: E402
from reports import report_speed  # noqa: E402


class Table:
    """Rows of figure and limit; `missed` counts the bars that were not met."""

    def __init__(self):
        self.rows = []
        self.missed = 0

    def add(self, what, figure, limit="", met=None):
        mark = "" if met is None else "  ok" if met else "  MISSED"
        self.missed += met is False
        self.rows.append((what, figure, f"{limit}{mark}"))

    def print(self, title):
        widths = [max(len(row[i]) for row in self.rows) for i in range(3)]
        print(f"\n{title}")
        for row in self.rows:
            print("  " + "  ".join(cell.ljust(width) for cell, width in zip(row, widths)).rstrip())
        sys.stdout.flush()
        self.rows = []


def programs(build):
    """The benches of single parts: each is a program that prints its own figures beside its limits."""
    missed = 0
    for program in sorted((build / "tests/bench").glob("*_bench")):
        print(f"\n{program.name}", flush=True)
        missed += subprocess.run([program], check=False, timeout=600).returncode != 0
    return missed


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--build", type=Path, required=True, help="build folder with metergate and tests/bench/")
    parser.add_argument("--seconds", type=int, default=60, help="measured span of the gateway")
    parser.add_argument("--bare-seconds", type=int, default=20, help="measured span of each bare loop")
    parser.add_argument("--first-register", type=int, default=0, help="where the bare loop begins to read")
    parser.add_argument("--form", choices=list(FORMS), help="one form of the load only")
    parser.add_argument("--load-only", action="store_true", help="leave out the benches of single parts")
    arguments = parser.parse_args()
    table = Table()
    print(f"{os.cpu_count()} cores, {os.uname().machine}, Linux {os.uname().release}")
    report_load(arguments.build, arguments, table)
    missed = 0
    if not arguments.load_only:
        report_plans(arguments.build, table)
        report_forecast(arguments.build.resolve(), table)
        report_speed(table, arguments.build)
        table.print("report of a month")
        missed = programs(arguments.build)
    missed += table.missed
    print(f"\n{missed} bars missed" if missed else "\nall bars met")
    return 1 if missed else 0


if __name__ == "__main__":
    sys.exit(main())
