"""Reports of a day, month and year: what they add up is what `export periods` tells, added up here."""
import csv
import io
import json
import time
from collections import defaultdict
from datetime import datetime, timedelta, timezone
from decimal import Decimal
from pathlib import Path

import pytest

from lib import fuxin
from lib.gateway import run
from lib.site import Site
from lib.wait import wait_until
from lib.wall_clock import WallClock

SHANGHAI = timezone(timedelta(hours=8))
SEED = 20261123
LEAD_S = 6


def parsed(text):
    return json.loads(text, parse_float=Decimal, parse_int=Decimal)


def instant(text):
    return datetime.fromisoformat(text.replace("Z", "+00:00"))


@pytest.fixture(name="state", scope="module")
def filled(tmp_path_factory):
    """A store with two months and a bit of three meters, some of it estimated, missing, corrected, exchanged."""
    print(f"seed {SEED}")
    tool = Path(__file__).resolve().parents[2] / "build" / "tests" / "bench" / "report_store"
    folder = tmp_path_factory.mktemp("report") / "state"
    run(folder, 3, 2, SEED, binary=tool)
    return folder


@pytest.fixture(name="periods", scope="module")
def exported(state):
    """{(meter, span): {from: {channel: row}}} of the newest versions."""
    periods = defaultdict(lambda: defaultdict(dict))
    for row in csv.DictReader(io.StringIO(run("export", "periods", "--state", state).stdout)):
        if row["start"] or row["end"] or row["channel"].startswith("volume"):
            periods[row["meter"], row["span"]][row["from"]][row["channel"]] = row
    return periods


def number(text):
    return Decimal(text) if text else None


def oracle(periods, meter, name, first, last):
    """(volume, peak, when) of hours in [first, last), None in the sum where one of them is not known."""
    hours = sorted((at, number(row[name]["delta"])) for at, row in periods[meter, "hour"].items() if first <= at < last)
    known = [(volume, at) for at, volume in hours if volume is not None]
    peak = max(volume for volume, _ in known)
    return hours, sum(volume for volume, _ in known), peak, min(at for volume, at in known if volume == peak)


def check_meter(periods, told, first, last):
    meter = told["meter"]
    for name, counter in told["counters"].items():
        month = [row[name] for at, row in periods[meter, "month"].items() if at == first]
        days = [row[name] for at, row in sorted(periods[meter, "day"].items()) if first <= at < last]
        if month:
            assert counter["start"] == number(month[0]["start"]) and counter["end"] == number(month[0]["end"])
            assert counter["volume"] == number(month[0]["delta"])
            assert told["version"] == int(month[0]["version"]) and counter["quality"] == month[0]["quality"]
            assert [told["reads"][key] for key in ("expected", "good", "suspect", "missing")] == \
                [int(month[0][key]) for key in ("expected", "good", "suspect", "missing")]
        assert [part["volumes"][name] for part in told["parts"]] == [number(row["delta"]) for row in days]
        assert told["corrected"] == sum(int(row["version"]) > 1 for row in days)
        if all(row["delta"] for row in days):
            total = sum(number(row["delta"]) for row in days)
            if month:
                assert counter["volume"] == total, "the days add up to the month, to the last decimal"
    hours, total, peak, when = oracle(periods, meter, "volume_base", first, last)
    assert told["peak_hour"]["volume"] == peak and told["peak_hour"]["from"] == when
    assert told["hours"]["known"] == sum(volume is not None for _, volume in hours)
    assert told["hours"]["unknown"] == sum(volume is None for _, volume in hours)
    assert sum(slot["volume"] or 0 for slot in told["by_hour"]) == total
    for slot in told["by_hour"]:
        mine = [volume for at, volume in hours if instant(at).astimezone(SHANGHAI).hour == slot["hour"]]
        assert slot["volume"] == sum(volume for volume in mine if volume is not None)
        assert slot["unknown"] == mine.count(None)
    days = [(instant(at), number(row["volume_base"]["delta"])) for at, row in periods[meter, "day"].items()
            if first <= at < last]
    for slot in told["by_weekday"]:
        mine = [volume for at, volume in days if at.astimezone(SHANGHAI).weekday() == slot["weekday"]]
        assert slot["volume"] == sum(volume for volume in mine if volume is not None) if slot["known"] else not slot["volume"]
    load = total / sum(volume is not None for _, volume in hours) / peak
    assert abs(told["load_factor"] - load) <= Decimal("0.00005")
    return hours


@pytest.mark.parametrize("date", ["2025-10", "2025-11", "2025-12"])
def test_a_month_is_what_its_periods_are(state, periods, date):
    done = run("report", "month", "--state", state, "--date", date, "--json")
    assert done.status == 0, done.stderr
    report = parsed(done.stdout)
    assert instant(report["from"]).astimezone(SHANGHAI).strftime("%Y-%m-%d %H:%M") == f"{date}-01 06:00"
    assert [meter["meter"] for meter in report["meters"]] == ["meter-1", "meter-2", "meter-3"]
    together = defaultdict(list)
    for told in report["meters"]:
        for at, volume in check_meter(periods, told, report["from"], report["to"]):
            together[at].append(volume)
        assert told["closed"] == (date != "2025-12")
    site = report["site"]
    for name, counter in site["counters"].items():
        volumes = [told["counters"][name]["volume"] for told in report["meters"]]
        assert counter["volume"] == (None if None in volumes else sum(volumes))
    whole = {at: sum(volumes) for at, volumes in together.items() if None not in volumes}
    assert site["peak_hour"]["volume"] == max(whole.values())
    assert site["hours"]["known"] == len(whole) and site["hours"]["unknown"] == len(together) - len(whole)


def test_an_open_month_is_told_as_far_as_it_is(state, periods):
    report = parsed(run("report", "month", "--state", state, "--date", "2025-12", "--json").stdout)
    for told in report["meters"]:
        meter = told["meter"]
        day = [row["volume_base"] for at, row in periods[meter, "day"].items() if at >= report["from"]]
        hours = [row["volume_base"] for at, row in sorted(periods[meter, "hour"].items()) if at >= report["from"]]
        assert len(day) == 1 and len(hours) == 29 and told["until"] == hours[-1]["to"]
        assert told["counters"]["volume_base"]["start"] == number(day[0]["start"])
        assert told["counters"]["volume_base"]["end"] == number(hours[-1]["end"])
    text = run("report", "month", "--state", state, "--date", "2025-12", "--language", "en").stdout
    assert text.count("not over: up to 2025-12-02 11:00") == 3


def test_a_year_adds_months_days_and_hours(state, periods):
    report = parsed(run("report", "year", "--state", state, "--date", "2025", "--json").stdout)
    for told in report["meters"]:
        months = [row["volume_base"]["delta"] for _, row in sorted(periods[told["meter"], "month"].items())]
        assert [part["volumes"]["volume_base"] for part in told["parts"]] == [number(delta) for delta in months]
        hours = sorted(periods[told["meter"], "hour"].items())
        assert told["until"] == hours[-1][1]["volume_base"]["to"]
        assert told["counters"]["volume_base"]["end"] == number(hours[-1][1]["volume_base"]["end"])


def energy(told):
    volume = told["counters"]["volume_base"]["volume"]
    return None if volume is None else \
        (volume * told["heating_value_mj_m3"]).quantize(Decimal("0.000001"), rounding="ROUND_HALF_EVEN")


def test_energy_and_customers(state):
    """By the stored configuration: meter-3 has a gas of its own, customer 100 has two meters."""
    report = parsed(run("report", "month", "--state", state, "--date", "2025-11", "--json").stdout)
    meters = {told["meter"]: told for told in report["meters"]}
    assert meters["meter-1"]["heating_value_mj_m3"] == meters["meter-2"]["heating_value_mj_m3"] > \
        meters["meter-3"]["heating_value_mj_m3"]
    for told in meters.values():
        assert told["energy_mj"] == energy(told) and told["name"] == told["meter"].replace("meter-", "Meter ")
    energies = [energy(told) for told in meters.values()]
    assert report["site"]["energy_mj"] == (None if None in energies else sum(energies))
    of_customer = {"100": ["meter-1", "meter-2"], "101": ["meter-3"]}
    assert {one["customer"]: one["meters"] for one in report["customers"]} == {"100": 2, "101": 1}
    for one in report["customers"]:
        mine = [meters[meter] for meter in of_customer[one["customer"]]]
        for name, counter in one["counters"].items():
            volumes = [told["counters"][name]["volume"] for told in mine]
            assert counter["volume"] == (None if None in volumes else sum(volumes))
        energies = [energy(told) for told in mine]
        assert one["energy_mj"] == (None if None in energies else sum(energies))
        assert one["reads"]["expected"] == sum(told["reads"]["expected"] for told in mine)
    rows = list(csv.DictReader(io.StringIO(run("report", "month", "--state", state, "--date", "2025-11", "--csv").stdout)))
    assert all(None not in row and None not in row.values() for row in rows), "every row has all columns"
    for row in rows:
        if row["of"] == "meter" and row["span"] == "month" and row["relation"] == "this" and row["channel"] == "volume_base":
            assert number(row["energy_mj"]) == meters[row["id"]]["energy_mj"]


def test_a_month_beside_the_one_before(state, periods):
    report = parsed(run("report", "month", "--state", state, "--date", "2025-11", "--json").stdout)
    before = parsed(run("report", "month", "--state", state, "--date", "2025-10", "--json").stdout)
    for told, last in zip(report["meters"], before["meters"]):
        assert told["last"]["date"] == "2025-10" and "year_ago" not in told, "nothing is stored of a year ago"
        for key in ("counters", "peak_hour", "load_factor", "hours", "by_hour", "by_weekday", "reads", "version"):
            assert told["last"][key] == last[key], key
    for key in ("counters", "peak_hour", "by_hour", "by_weekday"):
        assert report["site"]["last"][key] == before["site"][key]
    for slot in report["site"]["by_hour"]:
        mine = [volume for meter in ("meter-1", "meter-2", "meter-3")
                for at, volume in oracle(periods, meter, "volume_base", report["from"], report["to"])[0]
                if instant(at).astimezone(SHANGHAI).hour == slot["hour"]]
        assert slot["volume"] == sum(volume for volume in mine if volume is not None) and slot["unknown"] == mine.count(None)
    text = run("report", "month", "--state", state, "--date", "2025-11", "--language", "en").stdout
    for told in report["meters"]:
        now, last = (one["counters"]["volume_base"]["volume"] for one in (told, told["last"]))
        line = next(line for line in text.splitlines() if line.startswith(told["meter"]))
        if now is not None and last is not None:
            change = ((now - last) * 100 / last).quantize(Decimal("0.01"), rounding="ROUND_HALF_EVEN").normalize()
            assert f" {change:f} " in line, (change, line)


def test_csv_has_the_same_figures(state):
    report = parsed(run("report", "month", "--state", state, "--date", "2025-11", "--json").stdout)
    rows = list(csv.DictReader(io.StringIO(run("report", "month", "--state", state, "--date", "2025-11", "--csv").stdout)))
    for told in report["meters"]:
        mine = [row for row in rows if row["id"] == told["meter"] and row["relation"] == "this"]
        whole = {row["channel"]: row for row in mine if row["span"] == "month"}
        for name, counter in told["counters"].items():
            for key, column in (("start", "start"), ("end", "end"), ("volume", "volume")):
                assert number(whole[name][column]) == counter[key]
        days = [number(row["volume"]) for row in mine if row["span"] == "day" and row["channel"] == "volume_base"]
        assert days == [part["volumes"]["volume_base"] for part in told["parts"]]
    assert [row["of"] for row in rows if row["span"] == "month" and row["relation"] == "this"].count("site") == 2
    assert {row["relation"] for row in rows} == {"this", "last"}


def test_both_languages_and_wrong_usage(state):
    chinese = run("report", "day", "--state", state, "--date", "2025-11-05", "--meter", "meter-2", "--language", "zh")
    assert chinese.status == 0 and "燃气日报 2025-11-05" in chinese.stdout and "meter-1" not in chinese.stdout
    assert run("report", "month", "--state", state, "--date", "2019-01").status == 1
    assert run("report", "month", "--state", state, "--date", "2025-13").status == 2
    assert run("report", "day", "--state", state, "--date", "2025-11").status == 2
    assert run("report", "day", "--state", state, "--meter", "nobody").status == 1


def test_beside_a_running_gateway(meters, gateway, tmp_path):
    """The hour that closes while the gateway runs is in the report, and the day is told as not over."""
    bus = meters.tcp([1])
    fuxin.count_up(bus[1])
    # By the gateway's clock some seconds are left of an hour in the middle of a gas day: tomorrow's, because no clock
    # is believed that is before the build.
    end = (datetime.now(SHANGHAI) + timedelta(days=1)).replace(hour=15, minute=0, second=0, microsecond=0)
    shift = int(end.timestamp() - LEAD_S - time.time())
    gateway.environment = WallClock(tmp_path).environment(shift)
    gateway.write(Site().link("hall", bus.url).meter("one", "hall", 1, display_checked="2026-11-20"))
    gateway.start()

    def closed():
        return [row for row in csv.DictReader(io.StringIO(run("export", "periods", "--state", gateway.state).stdout))
                if row["span"] == "hour" and row["channel"] == "volume_base"]
    hour = wait_until(closed, 90, "an hour closes")[0]
    report = parsed(run("report", "day", "--state", gateway.state, "--date", end.strftime("%Y-%m-%d"), "--json").stdout)
    told = report["meters"][0]
    assert told["begins"] and not told["closed"]
    assert told["parts"][0]["volumes"]["volume_base"] == number(hour["delta"])
    assert told["counters"]["volume_base"]["start"] == number(hour["start"])
