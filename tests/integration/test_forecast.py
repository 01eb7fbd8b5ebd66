"""`metergate forecast` from outside: CSV in, CSV out, exit status by the contract (section 2)."""
import csv
import datetime
import io
import math
from pathlib import Path

import pytest

from lib import fuxin
from lib.gateway import run
from lib.office import Office
from lib.site import Site, office_plain
from lib.wall_clock import WallClock

HOUR = datetime.timedelta(hours=1)
MONDAY = datetime.datetime(2025, 3, 3)


def series(values, step=HOUR, start=MONDAY):
    return "timestamp,value\n" + "".join(f"{start + step * i},{value}\n" for i, value in enumerate(values))


def forecast(text, horizon=24, *options):
    done = run("forecast", "--horizon", horizon, *options, stdin=text)
    assert (done.status, done.stderr) == (0, ""), done.stderr
    rows = list(csv.DictReader(io.StringIO(done.stdout)))
    assert len(rows) == horizon
    return rows


def profile(at):
    """Two shifts on weekdays, a little on Saturday, nothing on Sunday."""
    if at.weekday() == 6:
        return 0
    return (40 + at.hour) if 6 <= at.hour < 22 and at.weekday() < 5 else 3


def week_of(start, hours):
    return [profile(start + HOUR * i) for i in range(hours)]


@pytest.mark.parametrize("options", [(), ("--mean",)])
def test_a_weekly_habit_is_forecast_exactly(options):
    hours = 8 * 168 + 37
    rows = forecast(series(week_of(MONDAY, hours)), 200, *options)
    for i, row in enumerate(rows):
        at = MONDAY + HOUR * (hours + i)
        assert row["timestamp"] == str(at)
        assert math.isclose(float(row["forecast"]), profile(at), abs_tol=1e-4), row


@pytest.mark.parametrize("value", [0, 17.25])
def test_a_constant_stays(value):
    assert {float(row["forecast"]) for row in forecast(series([value] * 400))} == {value}


def test_days_and_quarter_hours():
    day = datetime.timedelta(days=1)
    rows = forecast(series([100, 100, 100, 100, 100, 20, 0] * 10, day), 7)
    assert [float(row["forecast"]) for row in rows] == [100, 100, 100, 100, 100, 20, 0]
    assert rows[0]["timestamp"] == str(MONDAY + 70 * day)
    quarter = datetime.timedelta(minutes=15)
    rows = forecast(series([i % 96 for i in range(21 * 96)], quarter), 96)
    assert [round(float(row["forecast"]), 3) for row in rows] == list(range(96))


def test_gaps_in_every_form():
    values = week_of(MONDAY, 8 * 168)
    lines = series(values).splitlines()
    lines[100] = lines[100].split(",")[0] + ","
    lines[200] = lines[200].split(",")[0] + ",nan"
    lines[300] = lines[300].split(",")[0] + ",NaN"
    del lines[400:450]
    rows = forecast("\r\n".join(lines) + "\r\n", 168)
    assert [round(float(row["forecast"]), 3) for row in rows] == values[:168]


def test_daylight_saving_of_local_time():
    """Clocks in Madrid: no 02:00 on 2025-03-30, two on 2025-10-26; the habit is one of the wall clock."""
    for begin, night, twice in ((datetime.datetime(2025, 1, 6), datetime.datetime(2025, 3, 30, 2), False),
                                (datetime.datetime(2025, 8, 4), datetime.datetime(2025, 10, 26, 2), True)):
        lines = ["timestamp,value"]
        for i in range(16 * 168):
            at = begin + HOUR * i
            row = f"{at},{profile(at)}"
            lines += [] if at == night and not twice else [row, row] if at == night else [row]
        rows = forecast("\n".join(lines) + "\n", 168)
        assert [round(float(row["forecast"]), 3) for row in rows] == week_of(begin, 168)


def test_a_band_holds_the_forecast():
    values = [value * (1 + 0.2 * math.sin(i * 12.9898)) for i, value in enumerate(week_of(MONDAY, 6 * 168))]
    for row in forecast(series(values), 168, "--band", "--mean"):
        assert 0 <= float(row["low"]) <= float(row["forecast"]) <= float(row["high"])
    assert any(float(row["low"]) < float(row["high"]) for row in forecast(series(values), 24, "--band"))


GOOD = series(week_of(MONDAY, 48))


@pytest.mark.parametrize("text,said", [
    ("", "no forecast"),
    ("timestamp,value\n", "no forecast"),
    (series([1]), "no forecast"),
    (series([1] * 23), "at least a day"),
    (series([""] * 100), "at least a day"),
    ("time,volume\n", "line 1"),
    (GOOD.replace("2025-03-04 05:00:00", "2025-03-04 05:17:00"), "spaced"),
    (GOOD + f"{MONDAY + HOUR * 48 + HOUR / 2},1\n", "line 50: not evenly spaced"),
    (GOOD + f"{MONDAY},1\n", "line 50: not later than the row before"),
    (GOOD + f"{MONDAY + HOUR * 47},1\n" * 2, "line 51: not later than the row before"),
    (GOOD + f"{MONDAY + HOUR * 48},many\n", "line 50: the value is no number"),
    (GOOD + "yesterday,1\n", "line 50: no time"),
    (GOOD + "2025-02-30 00:00:00,1\n", "line 50: no time"),
    (GOOD + "1" * 400 + "\n", "line 50: longer"),
    (GOOD + "nothing\n", "line 50: a row is timestamp,value"),
    (series([1] * 400, HOUR / 60), "60 s apart"),
    (series([1] * 40, HOUR * 48), "172800 s apart"),
])
def test_input_at_fault_is_named_and_gives_no_rows(text, said):
    done = run("forecast", "--horizon", 24, stdin=text)
    assert (done.status, done.stdout) == (1, "")
    assert said in done.stderr, done.stderr


@pytest.mark.parametrize("arguments", [(), ("--horizon", "0"), ("--horizon", "x"), ("--horizon", "10001"), ("--horizon",),
                                       ("--horizon", "5", "file.csv"), ("--horizon", "5", "--median")])
def test_wrong_usage(arguments):
    done = run("forecast", *arguments, stdin=GOOD)
    assert (done.status, done.stdout) == (2, "")
    assert "--help" in done.stderr


def test_help():
    done = run("forecast", "--help")
    assert done.status == 0 and "--horizon" in done.stdout and "--mean" in done.stdout


# --- on the feed ---

SHANGHAI = datetime.timezone(datetime.timedelta(hours=8))
SEED = 20261124
METERS = 2
FROM_YEAR, FROM_MONTH = 2025, 10  # of report_store


def newest_gas_day():
    """Where the newest gas day ends that report_store closes, and the full months that it writes: until the next month begins,
    then a day and five hours."""
    local = datetime.datetime.now(SHANGHAI) - 6 * HOUR
    months = (local.year - FROM_YEAR) * 12 + local.month - FROM_MONTH + 1
    year, month = divmod(FROM_YEAR * 12 + FROM_MONTH - 1 + months, 12)
    return datetime.datetime(year, month + 1, 2, 6, tzinfo=SHANGHAI), months


def local_time(text):
    return datetime.datetime.fromisoformat(text.replace("Z", "+00:00")).astimezone(SHANGHAI)


def stored_hours(state, meter, end):
    """{local time: what base volume advanced, None where that is not known}, of the 85 days before."""
    hours = {}
    exported = run("export", "periods", "--state", state, "--meter", meter).stdout
    for row in csv.DictReader(io.StringIO(exported)):
        at = local_time(row["from"])
        if row["span"] == "hour" and row["channel"] == "volume_base" and end - 85 * 24 * HOUR <= at < end:
            hours[at] = row["delta"]  # versions ascend: the newest stays
    return hours


def by_command(hours, horizon, *options):
    text = "timestamp,value\n" + "".join(f"{at:%Y-%m-%d %H:%M:%S},{value}\n" for at, value in sorted(hours.items()))
    return [float(row["forecast"]) for row in forecast(text, horizon, *options)]


def test_a_gas_day_that_has_closed_is_followed_by_its_forecast(tmp_path, meters, broker, gateway):
    """From stored hours of months; what is sent is what the command tells of the same hours, exported."""
    end, months = newest_gas_day()
    tool = Path(__file__).resolve().parents[2] / "build" / "tests" / "bench" / "report_store"
    print(f"seed {SEED}, {months} months, the day until {end}")
    run(gateway.state, METERS, months, SEED, binary=tool)
    bus = meters.tcp(range(1, METERS + 1))
    site = Site("bench", office=office_plain(broker)).link("hall", bus.url)
    for unit in range(1, METERS + 1):
        fuxin.count_up(bus[unit])
        site.meter(f"meter-{unit}", "hall", unit, display_checked="2026-11-20")
    expected = {f"meter-{unit}": stored_hours(gateway.state, f"meter-{unit}", end) for unit in range(1, METERS + 1)}
    assert all(len(hours) == 85 * 24 for hours in expected.values())
    ahead = end + 5 * HOUR + HOUR / 6 - datetime.datetime.now(SHANGHAI)
    gateway.environment = WallClock(tmp_path).environment(ahead.total_seconds())
    gateway.write(site)
    office = Office(broker.port, gateway="bench")
    gateway.start()
    for meter, hours in expected.items():
        (told,) = office.wait_for("forecast", meter, deadline_s=60)
        assert (told["channel"], told["unit"]) == ("volume_base", "m3")
        assert told["known_hours"] == sum(1 for value in sorted(hours.items())[-2016:] if value[1] != "")
        parts = told["hours"]
        assert [local_time(part["from"]) for part in parts] == [end + i * HOUR for i in range(24)]
        for part, value in zip(parts, by_command(hours, 24)):
            assert part["low"] <= part["value"] <= part["high"]
            assert abs(float(part["value"]) - value) <= 0.001, (meter, part, value)
        means = by_command(hours, 7 * 24, "--mean")
        for i, day in enumerate(told["days"]):
            assert local_time(day["from"]) == end + 24 * i * HOUR and day["low"] <= day["value"] <= day["high"]
            assert abs(float(day["value"]) - sum(means[24 * i:24 * i + 24])) <= 0.01, (meter, day)
    gateway.stop()
    gateway.start()  # and once is enough
    known = len(office.of("reading"))
    office.wait_for("reading", count=known + 4, deadline_s=60)
    assert len(office.of("forecast")) == METERS
    gateway.stop()
    assert run("verify", "--state", gateway.state).status == 0
    office.close()
    office.check()
