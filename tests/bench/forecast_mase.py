#!/usr/bin/python3
"""How far forecasts are off, beside the best simple method in the same run.

usage: forecast_mase.py --build build [--data FOLDER] [--seed N]

FOLDER holds hourly meters, one CSV `timestamp,value` each. Without it, loads of industry are made from a seed: shifts,
a boiler, batches, a rotation that knows no week; each with new levels, stops, drift, gaps and a few wrong values.

MASE is the mean error by that of "as a week ago" on the history before. The simple methods: a day ago, a week ago, the
median and the mean of the last four weeks' same hours. Days left: a balance is what the next 1 to 7 days really use;
the error is how many days too early or late the forecast uses it up.
"""
import argparse
import csv
import datetime
import math
import random
import statistics
import subprocess
from pathlib import Path

HOUR = datetime.timedelta(hours=1)
WEEK = 168
HISTORY = 4380
DAYS = [24 * day for day in range(1, 8)]
BARS = {"point": (0.72, 0.75), "mean": 0.95}  # set on public meters: issue 5


def shape(kind, at, hours):
    day, hour = at.weekday(), at.hour
    return {
        "three shifts": 1 if day < 5 or (day == 5 and hour < 14) else 0.08,
        "two shifts": (1 if 6 <= hour < 22 else 0.05) if day < 5 else 0.03,
        "bakery": (1 if 1 <= hour < 9 else 0.1 if hour < 14 else 0) if day != 6 else 0,
        "kitchen": 0.2 + (10 <= hour < 13 or 17 <= hour < 20) if day else 0.02,
        "continuous": 1,
        "batches": 1.2 if hours % 9 < 5 else 0.1,
        "six-day rotation": 1 if hours // 24 % 6 < 4 else 0.1,
        "boiler": 1 if 5 <= hour < 20 and day < 6 else 0.5,
    }[kind]


def made_load(kind, seed):
    """A year of hours; None where a value is missing."""
    chance = random.Random(f"{seed} {kind}")
    base, level, stop, drift, weather = chance.uniform(50, 400), 1, 0, 0, 0
    begin, values = datetime.datetime(2025, 1, 1), []
    for i in range(8760):
        at = begin + HOUR * i
        level = chance.uniform(0.5, 1.4) if chance.random() < 1 / (24 * 60) else level
        stop = chance.randint(24, 24 * 9) if not stop and chance.random() < 1 / (24 * 70) else max(0, stop - 1)
        drift = 0.9 * drift + chance.gauss(0, 0.05)
        weather = 0.995 * weather + chance.gauss(0, 0.25)
        value = base * level * shape(kind, at, i) * math.exp(drift + chance.gauss(0, 0.08))
        if kind == "boiler":
            warmth = 10 - 12 * math.cos(2 * math.pi * (i / 24 - 15) / 365) + weather
            value *= max(0, 16 - warmth - 4 * math.sin(2 * math.pi * (at.hour - 9) / 24)) / 20
        value = 0 if stop else value * (chance.uniform(2, 6) if chance.random() < 0.001 else 1)
        values.append(None if chance.random() < 0.001 else round(value, 2))
    return begin, values


KINDS = ("three shifts", "two shifts", "bakery", "kitchen", "continuous", "batches", "six-day rotation", "boiler")


def read_load(path):
    rows = {}
    with open(path, encoding="utf-8", newline="") as file:
        for row in csv.DictReader(file):
            rows[datetime.datetime.fromisoformat(row["timestamp"])] = float(row["value"]) if row["value"] else None
    begin = min(rows)
    return begin, [rows.get(begin + HOUR * i) for i in range(int((max(rows) - begin) / HOUR) + 1)]


def repeat(history, lag):
    ahead = []
    for i in range(WEEK):
        at = len(history) + i - lag
        while at >= len(history) or (at >= 0 and history[at] is None):
            at -= lag
        ahead.append(history[at] if at >= 0 else 0)
    return ahead


def four_weeks(history, middle):
    ahead = []
    for i in range(WEEK):
        seen = [history[at] for at in range(len(history) + i - WEEK, len(history) - 4 * WEEK - 1, -WEEK) if at >= 0]
        seen = [value for value in seen[:4] if value is not None]
        ahead.append(middle(seen) if seen else 0)
    return ahead


SIMPLE = {
    "a day ago": lambda history: repeat(history, 24),
    "a week ago": lambda history: repeat(history, WEEK),
    "median of 4 weeks": lambda history: four_weeks(history, statistics.median),
    "mean of 4 weeks": lambda history: four_weeks(history, statistics.fmean),
}


def metergate(build, begin, history, *options):
    text = "timestamp,value\n" + "".join(
        f"{begin + HOUR * i},{value}\n" for i, value in enumerate(history) if value is not None)
    done = subprocess.run([build / "metergate", "forecast", "--horizon", str(WEEK), *options], input=text, text=True,
                          capture_output=True, timeout=60, check=True)
    ahead = [float(line.split(",")[1]) for line in done.stdout.splitlines()[1:]]
    assert len(ahead) == WEEK
    return ahead


def days_off(truth, ahead):
    """Mean over balances for 1 to 7 days, in days."""
    errors = []
    for hours in DAYS:
        balance, used, lasted = sum(value or 0 for value in truth[:hours]), 0, 0
        while lasted < WEEK and used + ahead[lasted] < balance:
            used += ahead[lasted]
            lasted += 1
        if lasted == WEEK:
            lasted = min(3 * WEEK, WEEK + (balance - used) / max(1e-9, sum(ahead) / WEEK))
        if balance > 0:
            errors.append(abs(lasted - hours) / 24)
    return errors


class Score:
    def __init__(self):
        self.day, self.week, self.left = [], [], []

    def add(self, history, truth, ahead):
        pairs = [abs(a - b) for a, b in zip(history[WEEK:], history) if a is not None and b is not None]
        scale = statistics.fmean(pairs)
        for out, hours in ((self.day, 24), (self.week, WEEK)):
            errors = [abs(a - b) for a, b in zip(truth[:hours], ahead) if a is not None]
            if errors and scale > 0:
                out.append(statistics.fmean(errors) / scale)
        self.left += days_off(truth, ahead)

    def figures(self):
        return statistics.fmean(self.day), statistics.fmean(self.week), statistics.fmean(self.left)


def measure(build, loads, every):
    scores = {name: Score() for name in (*SIMPLE, "point", "mean")}
    for begin, values in loads:
        for origin in range(HISTORY, len(values) - WEEK, every):
            history, truth = values[:origin], values[origin:origin + WEEK]
            for name, method in SIMPLE.items():
                scores[name].add(history, truth, method(history))
            scores["point"].add(history, truth, metergate(build, begin, history))
            scores["mean"].add(history, truth, metergate(build, begin, history, "--mean"))
    return {name: score.figures() for name, score in scores.items()}


def report_forecast(build, table, folder=None, seed=1):
    loads = [read_load(path) for path in sorted(folder.glob("*.csv"))] if folder else [
        made_load(kind, seed) for kind in KINDS]
    figures = measure(build, loads, 211 if folder else 633)
    best = [min(figures[name][i] for name in SIMPLE) for i in range(3)]
    day, week, left = figures["point"][0], figures["point"][1], figures["mean"][2]
    for i, (what, figure) in enumerate((("MASE, 24 h", day), ("MASE, 168 h", week), ("days left off, --mean", left))):
        bar = (*BARS["point"], BARS["mean"])[i]
        met = figure < best[i] and (folder is None or figure <= bar)
        limit = f"best simple {best[i]:.3f}" + (f", bar {bar}" if folder else "")
        table.add(what, f"{figure:.3f}, {figure / best[i]:.2f} x the best simple method", limit, met)
    table.print(f"forecast of {len(loads)} hourly meters " + (f"of {folder}" if folder else f"made here, seed {seed}"))


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--build", type=Path, required=True)
    parser.add_argument("--data", type=Path, help="folder of hourly meters")
    parser.add_argument("--seed", type=int, default=1, help="of the made loads")
    arguments = parser.parse_args()
    from bench import Table
    table = Table()
    report_forecast(arguments.build.resolve(), table, arguments.data, arguments.seed)
    return 1 if table.missed else 0


if __name__ == "__main__":
    raise SystemExit(main())
