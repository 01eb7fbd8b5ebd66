"""A gap in the series is read back from the meter's own log after the outage.

The gateway runs over an hour boundary, is killed, and comes back hours later by its wall clock (lib/wall_clock.c: only
that clock is shifted). The meter is pymodbus with a log of its own; what it held at each instant is known.
"""
import csv
import io
import json
import shutil
import time
from datetime import datetime, timedelta
from decimal import Decimal

import pytest
from lib.gateway import Gateway, run
from lib.log_meter import HOUR_S, PROFILE, SHANGHAI, LogMeter
from lib.meter import Meters
from lib.office import Office
from lib.ports import free_port
from lib.site import Site, office_plain
from lib.wait import wait_until
from lib.wall_clock import WallClock
from test_right_values import milliseconds

COUNT = Decimal("0.0001")
AWAY_S = 3 * HOUR_S + 600  # from the first boundary


def m3(counts):
    return counts * COUNT


class Outage:
    """A gateway that saw the boundary of 04:00 and comes back at 07:10: the gas day ended at 06:00."""

    def __init__(self, gateway, meters, first, clock):
        self.gateway, self.first, self.clock = gateway, first, clock
        self.bus = meters.tcp([1])
        self.meter = LogMeter(self.bus[1])

    def write(self, office):
        self.gateway.write(Site(office=office).link("hall", self.bus.url)
                           .meter("one", "hall", 1, profile=str(PROFILE), interval_s=3))

    def boundary(self, hours):
        return 1000 * (self.first + hours * HOUR_S)

    def set_clock(self, at):
        """The wall clocks of the meter and of the next gateway show `at`."""
        self.meter.shift_s = int(at - time.time())
        self.gateway.environment = self.clock.environment(self.meter.shift_s)

    def before(self, lead_s):
        """From so long before 04:00 on. Whether 04:00 was measured: a machine that is busy may miss it."""
        self.set_clock(self.first - lead_s)
        self.gateway.start()

        def closed():
            return [one for one in self.periods("hour") if milliseconds(one["to"]) == self.boundary(0)]
        first = wait_until(closed, lead_s + 60, "the hour of 04:00 closes")[0]["channels"]["volume_base"]
        self.gateway.kill()
        return first["quality"] == "good"

    def after(self):
        self.set_clock(self.first + AWAY_S)
        self.gateway.start()

    def periods(self, span):
        return [one for one in self.gateway.export("periods") if one["schema"] == "summary/1" and
                milliseconds(one["to"]) - milliseconds(one["from"]) == {"hour": 3600000, "minute": 60000}[span]]

    def hours(self):
        """{end: volume_base} of the hours of the gap."""
        return {milliseconds(one["to"]): one["channels"]["volume_base"] for one in self.periods("hour")
                if milliseconds(one["to"]) > self.boundary(0)}

    def backfill(self):
        status = self.gateway.status()["backfill"]
        return {**status, "last": status["last"] or ""}

    def wait_judged(self):
        wait_until(lambda: self.backfill()["last"], 60, lambda: f"the log is judged: {self.gateway.stderr()[-3000:]}")


@pytest.fixture(scope="module")
def killed(tmp_path_factory):
    """The state of a gateway that was killed after 04:00, and the instant of 04:00. Its office was never there."""
    folder = tmp_path_factory.mktemp("killed")
    four = (datetime.now(SHANGHAI) + timedelta(days=1)).replace(hour=4, minute=0, second=0, microsecond=0)
    meters = Meters()
    one = Outage(Gateway(folder, None), meters, int(four.timestamp()), WallClock(folder))
    try:
        one.write({"url": f"mqtt://127.0.0.1:{free_port()}", "summary_minutes": 1, "raw_readings": True})
        for lead_s in (8, 20, 60):
            if one.before(lead_s):
                break
            shutil.rmtree(one.gateway.state)
        else:
            pytest.fail("04:00 was never measured: the machine is too busy")
    finally:
        if one.gateway.child:
            one.gateway.stop()
        meters.close()
    return one


@pytest.fixture
def outage(killed, gateway, meters, broker):
    shutil.copytree(killed.gateway.state, gateway.state, ignore=shutil.ignore_patterns("control.sock", "lock"))
    one = Outage(gateway, meters, killed.first, killed.clock)
    one.office = Office(broker.port)
    one.write(office_plain(broker))
    yield one
    one.office.close()
    one.office.check()


def test_a_gap_is_read_back(outage):
    outage.after()
    outage.wait_judged()
    hours = outage.hours()
    before = next(one["channels"]["volume_base"] for one in outage.periods("hour")
                  if milliseconds(one["to"]) == outage.boundary(0))
    assert before["quality"] == "good"
    assert sorted(hours) == [outage.boundary(i) for i in (1, 2, 3)]
    previous = before["end"]
    for end, hour in sorted(hours.items()):
        assert hour["start"] == previous, "a start is the end before it"
        assert hour["end"] == m3(LogMeter.index(end // 1000)), "exactly what the meter held"
        assert hour["delta"] == hour["end"] - hour["start"]
        assert (hour["quality"], hour["why"]) == ("archive", "read-back")
        previous = hour["end"]
    assert sum(hour["delta"] for hour in hours.values()) == m3(LogMeter.index(outage.boundary(3) // 1000)) - before["end"]
    # the gas day that ended in the gap
    day = next(one for one in outage.gateway.export("periods") if one["schema"] == "day/1" and
               milliseconds(one["to"]) == outage.boundary(2))
    assert day["version"] == 2 and day["channels"]["volume_base"]["end"] == m3(LogMeter.index(outage.boundary(2) // 1000))
    assert day["channels"]["volume_base"]["delta"] is not None
    # what was measured is as it was
    good = [one for one in outage.gateway.export("readings") if one["channels"]["volume_base"]["quality"] == "good"]
    assert len(good) >= 2
    for one in good:
        assert abs(one["channels"]["volume_base"]["value"] - m3(LogMeter.index(milliseconds(one["at"]) / 1000))) < 1
    verified = outage.gateway.verify()
    assert verified.status == 0, verified.stdout + verified.stderr


def test_the_office_gets_it_as_backfill(outage):
    outage.after()
    day = outage.office.wait_for("day", "one", lambda body: body["version"] == 2, deadline_s=60)[0]
    assert day["lane"] == "backfill" and day["replaces"]["lane"] in ("live", "backfill"), day
    first = next(body for body in outage.office.of("day", "one") if body["version"] == 1)
    assert (first["lane"], first["seq"]) == (day["replaces"]["lane"], day["replaces"]["seq"])
    assert (first["from"], first["to"]) == (day["from"], day["to"]) and first["channels"]["volume_base"]["end"] is None
    # the records themselves, at the boundaries
    rows = outage.office.wait_for("reading", "one",
                                  lambda body: body["channels"]["volume_base"]["quality"] == "archive", 30, 3)
    assert [milliseconds(row["at"]) for row in rows] == [outage.boundary(i) for i in (1, 2, 3)], "the oldest first"
    for row in rows:
        index = LogMeter.index(milliseconds(row["at"]) // 1000)
        assert row["lane"] == "backfill"
        assert row["channels"]["volume_base"]["value"] == m3(index)
        assert row["channels"]["volume_measured"]["value"] == Decimal(index // 100) / 100
        assert set(row["channels"]) == {"volume_base", "volume_measured", "pressure"}
    # minutes on both sides of each boundary have a second version
    second = outage.office.wait_for("summary", "one", lambda body: body["version"] == 2, 30, 6)
    for body in second:
        assert body["lane"] == "backfill"
        assert {milliseconds(body["from"]), milliseconds(body["to"])} & {outage.boundary(i) for i in (1, 2, 3)}


def test_a_restart_asks_once_and_changes_nothing(outage):
    outage.after()
    outage.wait_judged()
    before = outage.gateway.export("periods")
    outage.gateway.kill()
    asked = outage.meter.log_requests
    outage.set_clock(outage.meter.now())
    outage.gateway.start()
    wait_until(lambda: outage.bus[1].log[-1].at > time.time() - 1 and
               outage.gateway.status()["store"]["readings"] > 3, 30, "it polls again")
    known = {(one["schema"], one["from"], one["to"]): one for one in outage.gateway.export("periods")}
    for one in before:
        assert known[one["schema"], one["from"], one["to"]] == one
    assert outage.meter.log_requests == asked, "nothing is missing any more"


def test_killed_while_reading_back(outage):
    """Whatever was stored when it was killed, the next one ends with each hour exactly as the meter held it."""
    for asked in (1, 3):
        outage.set_clock(outage.first + AWAY_S if asked == 1 else outage.meter.now())
        outage.meter.log_requests = 0
        outage.gateway.start()
        wait_until(lambda: outage.meter.log_requests >= asked, 60, "it reads back")
        outage.gateway.kill()
        assert outage.gateway.verify().status == 0
    outage.set_clock(outage.meter.now())
    outage.gateway.start()
    wait_until(lambda: [hour["quality"] for hour in outage.hours().values()] == 3 * ["archive"], 60,
               lambda: f"the gap is filled: {outage.hours()}")
    hours = [hour for _, hour in sorted(outage.hours().items())]
    assert [hour["end"] for hour in hours] == [m3(LogMeter.index(outage.boundary(i) // 1000)) for i in (1, 2, 3)]
    assert [hour["start"] for hour in hours[1:]] == [hour["end"] for hour in hours[:-1]]
    assert sum(hour["delta"] for hour in hours) == hours[-1]["end"] - hours[0]["start"]
    assert outage.gateway.verify().status == 0


def test_a_log_that_is_an_hour_off_is_not_used(outage):
    outage.meter.log_late_s = HOUR_S
    outage.after()
    outage.wait_judged()
    assert outage.backfill()["filled"] == 0 and outage.backfill()["estimated"] > 0
    assert "does not agree" in outage.backfill()["last"]
    hours = outage.hours()
    previous = None
    for _, hour in sorted(hours.items()):
        assert hour["quality"] == "estimated" and hour["why"] == "interpolated", hour
        assert hour["delta"] > 0 and (previous is None or hour["start"] == previous)
        previous = hour["end"]
    # linear between the last reading before and the first one after: all hours alike, but for a reading's time
    deltas = [hour["delta"] for _, hour in sorted(hours.items())]
    assert max(deltas[1:]) - min(deltas[1:]) <= COUNT
    assert outage.gateway.verify().status == 0


def test_a_log_that_nothing_can_be_compared_with_waits(outage):
    """The hours are gone, and of gas days the site has not seen a boundary yet."""
    outage.meter.hours_kept = 0
    outage.after()
    wait_until(lambda: "after the next day" in outage.backfill()["last"], 60, lambda: f"{outage.backfill()}")
    assert outage.backfill()["filled"] == 0 and outage.backfill()["estimated"] == 0
    assert all(hour["end"] is None for hour in outage.hours().values())


def test_another_meter_gives_nothing(outage):
    outage.meter.serial = 418
    outage.after()
    wait_until(lambda: [one for one in outage.gateway.export("readings")[-5:]
                        if one["channels"]["volume_base"]["quality"] == "good" and
                        one["channels"]["serial_number"]["value"] == "418"], 30, "the other meter is believed")
    outage.wait_judged()
    assert "another meter" in outage.backfill()["last"]
    assert all(hour["end"] is None for hour in outage.hours().values())
    assert not [one for one in outage.gateway.export("readings") if one["channels"]["volume_base"]["quality"] == "archive"]


def sums(reasons, quality):
    return sum(one["count"] for one in reasons if one["quality"] == quality)


def test_the_ledger_names_the_gap(outage):
    """What the office is told of the gas day that ended in the gap, against the readings and plain arithmetic."""
    kept = [milliseconds(one["at"]) for one in outage.gateway.export("readings")]
    outage.after()
    body = outage.office.wait_for("completeness", "one", lambda one: one["index"]["archive"] > 0, deadline_s=60)[0]
    started = outage.first + AWAY_S
    day = next(one for one in outage.office.of("day", "one") if one["version"] == 2)
    assert (body["from"], body["to"], body["reads"]) == (day["from"], day["to"], day["reads"])
    assert body["lane"] == "backfill" and body["version"] == 2
    first = next(one for one in outage.office.of("completeness", "one") if one["version"] == 1)
    assert body["replaces"] == {"lane": first["lane"], "seq": first["seq"]}
    assert first["reads"] == body["reads"] and first["index"]["archive"] == 0 and first["feed"][first["lane"]] == first["seq"] - 1
    # its hours tile the day and add up to it
    hours = body["hours"]
    assert [hours[0]["from"], hours[-1]["to"]] == [body["from"], body["to"]] and len(hours) == 24
    assert all(one["to"] == other["from"] for one, other in zip(hours, hours[1:]))
    for key in ("expected", "good", "suspect", "missing"):
        assert sum(hour["reads"][key] for hour in hours) == body["reads"][key]
    for one in hours + [body]:
        reads = one["reads"]
        assert reads["expected"] == reads["good"] + reads["suspect"] + reads["missing"]
        assert (sums(one["reasons"], "missing"), sums(one["reasons"], "suspect")) == (reads["missing"], reads["suspect"])
    # the two hours of the day in which the gateway did not run, but for the seconds that it did
    for number, hour in enumerate(hours[-2:]):
        begin = outage.boundary(number)
        read = [at for at in kept if begin <= at < begin + 1000 * HOUR_S]
        assert hour["reads"]["expected"] == 1200, "every 3 s"
        assert hour["reads"]["good"] == len(read), (hour, len(read))
        down = next(one["count"] for one in hour["reasons"] if one["why"] == "gateway-down")
        assert down == 1200 - len(read), hour
        assert hour["index"] == "archive", "the log had it"
    assert all(hour["reads"]["expected"] == 0 and "index" not in hour for hour in hours[:-3]), "not configured yet"
    hole = body["holes"][-1]
    assert (hole["to"], hole["why"]) == (body["to"], "gateway-down") and hole["missing"] >= 2300
    # the outage itself, to the newest reading that was kept
    times = body["outages"]["times"]
    assert len(times) == 1 and times[0]["why"] == "gateway-down"
    assert milliseconds(times[0]["from"]) == max(kept) and times[0]["to"] == body["to"], "cut at the day's end"
    assert milliseconds(first["at"]) > 1000 * (started - 2)
    # the same by the command line
    date = datetime.fromtimestamp(milliseconds(body["from"]) / 1000, SHANGHAI).strftime("%Y-%m-%d")
    options = ("report", "completeness", "--state", str(outage.gateway.state), "--date", date)
    told = json.loads(run(*options, "--json").stdout, parse_float=Decimal)
    strip = {key: body[key] for key in body if key not in ("stream", "lane", "seq")}
    assert told["closed"] == [strip] and told["open"] == [] and told["reads"] == body["reads"]
    rows = list(csv.DictReader(io.StringIO(run(*options, "--csv").stdout)))
    assert [row["from"] for row in rows] == [hour["from"] for hour in hours]
    assert sum(int(row["missing"]) for row in rows) == body["reads"]["missing"]
    english = run(*options, "--lang", "en")
    assert english.status == 0 and "the gateway did not run" in english.stdout, english.stdout
    assert "Read back from the meter's own log" in english.stdout
    chinese = run(*options, "--meter", "one", "--lang", "zh")
    assert chinese.status == 0 and "网关未运行" in chinese.stdout and "已从仪表自身存档补读" in chinese.stdout
    assert run(*options[:-1], "2020-01-01").status == 1, "nothing of that day"
    verified = outage.gateway.verify()
    assert verified.status == 0, verified.stdout + verified.stderr
