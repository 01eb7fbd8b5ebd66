"""`metergate forecast` from outside: CSV in, CSV out, exit status by the contract (section 2)."""
import csv
import datetime
import io
import math

import pytest

from lib.gateway import run

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
