"""Gas days of every zone with daylight saving, 1970 to 2037, against Python's zoneinfo: no hour doubled or lost.

The product walks the days (tests/fault/gas_days.c); here each day that is not 24 hours long, each month and the number of days
are computed from zoneinfo alone: a gas day begins at the first instant at which the local clock shows its start, or has passed
it where the clock jumped over it.
"""
import hashlib
import random
import subprocess
import time
from datetime import date, datetime, timezone
from pathlib import Path
from zoneinfo import ZoneInfo, available_timezones

DAY = 86400
EPOCH = date(1970, 1, 1).toordinal()
LAST = (date(2038, 1, 1).toordinal() - EPOCH) * DAY
STARTS = [15 * quarter for quarter in range(96)]
FOLDER = Path("/usr/share/zoneinfo")


def offset_at(zone, instant):
    return int(datetime.fromtimestamp(instant, timezone.utc).astimezone(zone).utcoffset().total_seconds())


def changes_of(zone, step):
    """(instant, offset since then), found by looking each `step` seconds and then halving."""
    changes, at, offset = [], -2 * DAY, offset_at(zone, -2 * DAY)
    first = offset
    while at < LAST + 3 * DAY:
        following = offset_at(zone, at + step)
        if following != offset:
            low, high = at, at + step
            while high - low > 1:
                middle = (low + high) // 2
                low, high = (middle, high) if offset_at(zone, middle) == offset else (low, middle)
            changes.append((high, following))
            offset = following
        at += step
    return first, changes


def distinct_zones():
    """Names of zones that change their clocks in those years, one for each distinct content."""
    names = {}
    for name in sorted(available_timezones()):
        path = FOLDER / name
        if path.is_file() and not name.startswith(("right/", "posix/")) and name not in ("localtime", "posixrules"):
            names.setdefault(hashlib.sha256(path.read_bytes()).hexdigest(), name)
    return sorted(names.values())


class Calendar:
    """The gas days of one zone, from its changes."""

    def __init__(self, name, step):
        self.name = name
        self.first, self.changes = changes_of(ZoneInfo(name), step)

    def start_of(self, day, start_minutes):
        wall = day * DAY + start_minutes * 60
        begin, offset = -(1 << 62), self.first
        for at, following in self.changes + [(1 << 62, 0)]:
            instant = max(begin, wall - offset)
            if instant < at:
                return instant
            begin, offset = at, following
        raise AssertionError("no instant")

    def odd_days(self, start_minutes):
        """(from, to) of each gas day near a change that has not 24 hours, and how many days of no length there are."""
        near = sorted({(at + offset) // DAY + shift for at, offset in self.changes for shift in (-3, -2, -1, 0, 1, 2)})
        days = [(self.start_of(day, start_minutes), self.start_of(day + 1, start_minutes)) for day in near]
        return [(a, b) for a, b in days if b - a not in (0, DAY)], [a for a, b in days if a == b]


def expected_months(calendar, start_minutes):
    return [(calendar.start_of(date(year, month, 1).toordinal() - EPOCH, start_minutes),
             calendar.start_of(date(year + month // 12, month % 12 + 1, 1).toordinal() - EPOCH, start_minutes))
            for year in range(1970, 2039) for month in range(1, 13)]


def check(calendar, start_minutes, lines, figures):
    days = [tuple(map(int, line.split()[1:])) for line in lines if line.startswith("day ")]
    months = [tuple(map(int, line.split()[1:])) for line in lines if line.startswith("month ")]
    count = [int(line.split()[1]) for line in lines if line.startswith("days ")][0]
    place = f"{calendar.name}, {start_minutes} min"
    first = months[0][0] if not days else min(months[0][0], days[0][0])
    odd, empty = calendar.odd_days(start_minutes)
    odd = [(a, b) for a, b in odd if first <= a < LAST]
    told = [(a, b) for a, b, _, _ in days if b - a != DAY]
    assert told == odd, f"{place}: {sorted(set(told) ^ set(odd))[:4]}"
    for a, b, hours, quarters in days:
        assert (hours, quarters) == (-(-(b - a) // 3600), -(-(b - a) // 900)), f"{place}: {a} has {hours} h, {quarters} quarters"
    wanted = [month for month in expected_months(calendar, start_minutes) if first <= month[0] < LAST]
    assert months == wanted, f"{place}: months {sorted(set(months) ^ set(wanted))[:4]}"
    # The number of days between two instants that zoneinfo gives: none is left out or comes twice.
    begin = next(day for day in range(-2, 4) if calendar.start_of(day, start_minutes) == first)
    end = LAST // DAY - 2
    while calendar.start_of(end, start_minutes) < LAST:
        end += 1
    gone = len([at for at in empty if first <= at < LAST])
    assert count == end - begin - gone, f"{place}: {count} days, {end - begin - gone} expected"
    figures["odd_days"] += len(odd)
    figures["days"] += count
    figures["hours"] += sum(b - a for a, b in odd) / 3600 + (count - len(odd)) * 24


def walk(build, pairs):
    text = "".join(f"{name} {minutes}\n" for name, minutes in pairs)
    done = subprocess.run([build / "tests/fault/gas_days"], input=text, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return [block.splitlines() for block in done.stdout.split("zone ")[1:]]


def run(build, seed, zones=None, starts=96, step=3600, say=None):
    """`zones`: how many, drawn at random; None: all. `starts`: how many start times of each, drawn; 96: every one."""
    chance = random.Random(seed)
    names = distinct_zones()
    figures = {"zones": 0, "shifting": 0, "pairs": 0, "days": 0, "odd_days": 0, "hours": 0.0}
    began = time.monotonic()
    if zones is not None:
        always = [name for name in names if name in ("Europe/Berlin", "Australia/Lord_Howe", "America/New_York")]
        names = sorted(set(always + chance.sample(names, zones)))
    for name in names:
        calendar = Calendar(name, step)
        chosen = STARTS if starts >= len(STARTS) else sorted(chance.sample(STARTS, starts))
        blocks = walk(build, [(name, minutes) for minutes in chosen])
        assert len(blocks) == len(chosen)
        for minutes, block in zip(chosen, blocks):
            assert block[0] == f"{name} {minutes}"
            check(calendar, minutes, block[1:], figures)
        figures["zones"] += 1
        figures["shifting"] += bool(calendar.changes)
        figures["pairs"] += len(chosen)
        if say and figures["zones"] % 50 == 0:
            say(f"gasdays: {figures['zones']} of {len(names)} zones, {time.monotonic() - began:.0f} s")
    figures["seconds"] = round(time.monotonic() - began, 1)
    return figures
