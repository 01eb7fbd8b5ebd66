"""The ledger of a gas day whose last seconds a gateway sees: silence, exceptions, and no broker, by pymodbus.

Only the wall clock of the gateway is shifted, so that the day ends soon. What each poll met is counted twice: from the
raw readings, and from what the meter was told to do at that time.
"""
import time
from collections import Counter
from datetime import datetime, timedelta

import pytest

from lib import fuxin
from lib.log_meter import SHANGHAI
from lib.office import Office
from lib.site import Site, office_plain
from lib.wait import wait_until
from lib.wall_clock import WallClock
from test_right_values import milliseconds

pytestmark = pytest.mark.timing

LEAD_S = 14
QUALITIES = ("good", "archive", "manual", "estimated", "suspect", "missing")


def worst(reading):
    """(quality, why) of a poll: of its worst channel, the first one of it."""
    channels = list(reading["channels"].values())
    quality = max((channel["quality"] for channel in channels), key=QUALITIES.index)
    return quality, next((channel.get("why") for channel in channels if channel["quality"] == quality), None)


def reasons(hour):
    return Counter({(one["quality"], one["why"]): one["count"] for one in hour["reasons"]})


def test_why_reads_are_missing(meters, broker, gateway, tmp_path):
    bus = meters.tcp([1, 2])
    for unit in (1, 2):
        fuxin.count_up(bus[unit])
    end = (datetime.now(SHANGHAI) + timedelta(days=1)).replace(hour=6, minute=0, second=0, microsecond=0).timestamp()
    shift = int(end - LEAD_S - time.time())
    boundary = int(1000 * end)
    gateway.environment = WallClock(tmp_path).environment(shift)
    site = Site(office=office_plain(broker, summary_minutes=15)).link("hall", bus.url, response_timeout_ms=150, retries=0)
    for unit, name in enumerate(("one", "two"), 1):
        site.meter(name, "hall", unit, display_checked="2026-11-20")
    gateway.write(site)
    broker.stop()  # no office until all is over: it must make no difference
    gateway.start()

    def wait_for_the_clock(lead_s):
        wait_until(lambda: time.time() + shift >= end - lead_s, 60, "the time passes")
    wait_for_the_clock(LEAD_S - 4)
    silent_from = time.time() + shift
    bus[1].silent = True
    wait_for_the_clock(LEAD_S - 8)
    bus[1].silent = False
    silent_to = time.time() + shift
    bus[1].refused = {(3, register) for register in range(0, 200)}
    wait_for_the_clock(LEAD_S - 11)
    bus[1].refused = set()
    wait_until(lambda: [one for one in gateway.export("periods") if one["schema"] == "day/1"][1:], 60, "the gas day closes")
    broker.start()
    office = Office(broker.port)
    try:
        for name in ("one", "two"):
            check_day(gateway, office, name, boundary)
        kinds = reasons(office.of("completeness", "one")[0]["hours"][-1])
        assert kinds["missing", "timeout"] >= 1 and kinds["missing", "exception-2"] >= 1, kinds
        timeouts = [milliseconds(one["at"]) for one in gateway.export("readings", "--meter", "one")
                    if worst(one) == ("missing", "timeout") and milliseconds(one["at"]) < boundary]
        assert all(1000 * (silent_from - 1.5) <= at <= 1000 * (silent_to + 1.5) for at in timeouts), "while it was silent"
        assert gateway.verify().status == 0
    finally:
        office.close()
    office.check()


def check_day(gateway, office, name, boundary):
    body = office.wait_for("completeness", name, deadline_s=60)[0]
    day = office.wait_for("day", name, deadline_s=60)[0]
    assert (body["from"], body["to"], body["reads"]) == (day["from"], day["to"], day["reads"])
    assert milliseconds(body["to"]) == boundary and body["version"] == 1 and "replaces" not in body
    assert body["feed"][body["lane"]] == body["seq"] - 1
    hour = body["hours"][-1]
    assert hour["reads"] == body["reads"], "the gateway came in the last hour"
    # the same polls, counted from the raw readings; one each second since it was configured
    polls = Counter(worst(one) for one in gateway.export("readings", "--meter", name)
                    if milliseconds(one["at"]) < boundary)
    told = reasons(hour)
    for (quality, why), count in polls.items():
        if quality != "good":
            assert told[quality, why] == count, (told, polls)
    assert hour["reads"]["good"] == polls["good", None]
    unread = sum(told.values()) - sum(count for (quality, _), count in polls.items() if quality != "good")
    assert unread == told["missing", "not-polled"] - polls["missing", "not-polled"], (told, polls)
    assert hour["reads"]["expected"] == sum(polls.values()) + unread and unread <= 5, "while it started"
    # what the page is told
    shown = gateway.call("completeness", {"days_back": 1})
    assert (shown["from"], shown["to"], shown["gap_count"]) == (body["from"], body["to"], 0)
    row = next(one for one in shown["meters"] if one["meter"] == name)
    assert {key: row[key] for key in body["reads"]} == body["reads"] and not row["open"]
    assert row["hole_count"] == len(body["holes"]) and [one["missing"] for one in row["holes"]] == [
        one["missing"] for one in body["holes"]]
