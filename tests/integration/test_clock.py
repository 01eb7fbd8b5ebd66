"""A wall clock that is set about under the running gateway. The oracle is what the meters served: each total names its reply."""
import time
from collections import Counter

from lib import fuxin
from lib.site import Site, office_plain
from lib.wait import wait_until
from lib.wall_clock import WallClock
from test_right_values import milliseconds

CHECKED = {"display_checked": "2026-11-20"}
HOUR_MS, YEAR_MS, MINUTE_MS = 3600000, 365 * 86400000, 60000
BACK_MS = 5000


def served(meter):
    return [total for _, total in fuxin.served_totals(meter)]


def wait_reads(bus, count):
    """Until every meter was asked so often again, whatever the clock says."""
    before = {unit: len(served(bus[unit])) for unit in (1, 2)}
    wait_until(lambda: all(len(served(bus[unit])) >= before[unit] + count for unit in before), 60,
               f"{count} further reads of each meter")


def stored_readings(gateway, meter):
    """(total, at, quality, why) in the order in which the meter was read."""
    found = []
    for body in gateway.export("readings", "--meter", meter):
        channel = body["channels"]["volume_base"]
        if channel["value"] is not None:
            found.append((int(channel["value"] * 10000), milliseconds(body["at"]), channel["quality"], channel.get("why")))
    return sorted(found)


def assert_each_reply_stored_once(bus, gateway, unit, meter):
    totals = [total for total, *_ in stored_readings(gateway, meter)]
    assert Counter(totals).most_common(1)[0][1] == 1, "a reply was stored twice"
    assert set(totals) <= set(served(bus[unit]))
    # A test read at the start is not stored; the very last may have been on its way at the end.
    lost = sorted(set(served(bus[unit])[:-1]) - set(totals))
    assert not [total for total in lost if total > min(totals)], f"replies that are not stored: {lost}"


def assert_marked_where_time_came_twice(gateway, meter):
    newest, marked = 0, 0
    readings = stored_readings(gateway, meter)
    assert len({at for _, at, _, _ in readings}) == len(readings), "an instant came twice"
    for total, at, quality, why in readings:
        if at <= newest:
            assert (quality, why) == ("suspect", "clock-back"), (total, at, newest)
            marked += 1
        else:
            assert (quality, why) == ("good", None), (total, at, newest)
            newest = at
    return marked


def assert_sums(gateway, bus, unit, meter):
    """No period twice, no volume twice, and none that falls between two periods."""
    periods = [body for body in gateway.export("periods", "--meter", meter)
               if milliseconds(body["to"]) - milliseconds(body["from"]) == MINUTE_MS]
    starts = [body["from"] for body in periods]
    assert len(set(starts)) == len(starts) and starts == sorted(starts)
    known = []
    for before, body in zip([None, *periods], periods):
        reads, channel = body["reads"], body["channels"]["volume_base"]
        assert reads["expected"] == reads["good"] + reads["suspect"] + reads["missing"], body
        assert before is None or (before["to"], before["channels"]["volume_base"]["end"]) == (body["from"], channel["start"])
        both = channel["start"] is not None and channel["end"] is not None
        assert channel["delta"] == (channel["end"] - channel["start"] if both else None), channel
        known += [index for index in (channel["start"], channel["end"]) if index is not None]
    assert known and known == sorted(known), "an index stands before an earlier one: volume would count twice"
    exact = [int(index * 10000) for index in known]
    assert exact[-1] <= max(served(bus[unit])) and exact[0] >= min(served(bus[unit]))
    return len(periods)


def test_steps_of_the_clock_lose_and_double_nothing(meters, broker, office, gateway, tmp_path):
    clock = WallClock(tmp_path)
    bus = meters.tcp([1, 2])
    fuxin.count_up(bus[1])
    fuxin.count_up(bus[2])
    site = Site(office=office_plain(broker)).link("hall", bus.url)
    gateway.write(site.meter("one", "hall", 1, **CHECKED).meter("two", "hall", 2, **CHECKED))
    gateway.environment = clock.followed()
    gateway.start()
    wait_reads(bus, 3)
    clock.step(HOUR_MS)
    wait_reads(bus, 3)
    clock.step(HOUR_MS - BACK_MS)  # back over time that was recorded
    wait_reads(bus, BACK_MS // 1000 + 2)
    shift = HOUR_MS - BACK_MS

    # Neither ten years ahead nor 1970 is believed: time goes on by the boot clock, polls too.
    for jump in (10 * YEAR_MS, -int(time.time() * 1000) + 5000):
        clock.step(jump)
        doubting = gateway.wait_status(lambda status: status["clock"]["doubted"] is not None, 20, "the clock is doubted")
        assert abs(milliseconds(doubting["clock"]["now"]) - (time.time() * 1000 + shift)) < 10000, doubting["clock"]
        wait_reads(bus, 2)
        clock.step(shift)
        gateway.wait_status(lambda status: status["clock"]["doubted"] is None, 20, "the clock is believed")
        wait_reads(bus, 2)

    # Ahead to just before a minute, so that a period closes over all of this.
    shift += MINUTE_MS - (int(time.time() * 1000) + shift) % MINUTE_MS - 3000 + 2 * HOUR_MS
    clock.step(shift)
    boundary = (int(time.time() * 1000) + shift) // MINUTE_MS * MINUTE_MS + MINUTE_MS
    office.wait_for("summary", "one", lambda body: milliseconds(body["to"]) == boundary, deadline_s=120)
    office.wait_for("summary", "two", lambda body: milliseconds(body["to"]) == boundary, deadline_s=120)
    gateway.stop()

    for unit, meter in ((1, "one"), (2, "two")):
        asked = [at for at, _ in fuxin.served_totals(bus[unit])]
        waits = sorted(later - sooner for sooner, later in zip(asked, asked[1:]))
        assert waits[len(waits) // 2] < 2 and waits[-1] < 30, waits[-5:]  # the least step is an hour
        assert_each_reply_stored_once(bus, gateway, unit, meter)
        assert assert_marked_where_time_came_twice(gateway, meter) >= BACK_MS // 1000 - 3
        assert assert_sums(gateway, bus, unit, meter) > 120
    steps = [row for row in gateway.export("audit") if row["action"] == "clock-step"]
    assert len(steps) == 3, steps
    assert [row["action"] for row in gateway.export("audit")].count("clock-doubt") == 4, "two doubts, and their ends"
    assert gateway.verify().status == 0, gateway.verify().stdout
    assert not office.holes()


def test_boot_in_1970_dates_afterwards(meters, broker, office, gateway, tmp_path):
    """No battery: polled at once, killed in between, dated to the instants at which the meters answered."""
    clock = WallClock(tmp_path)
    bus = meters.tcp([1, 2])
    fuxin.count_up(bus[1])
    fuxin.count_up(bus[2])
    site = Site(office=office_plain(broker)).link("hall", bus.url)
    gateway.write(site.meter("one", "hall", 1, **CHECKED).meter("two", "hall", 2, **CHECKED))
    gateway.environment = clock.followed()
    clock.step(60000 - int(time.time() * 1000))
    gateway.start()
    wait_reads(bus, 6)
    before = gateway.wait_status(lambda status: status["clock"]["undated"] >= 8, 30, "readings are kept undated")
    assert before["clock"]["known"] is False and before["store"]["readings"] == 0
    killed_at = time.time()
    gateway.kill()
    gateway.start()
    wait_reads(bus, 4)
    assert not office.of("reading") and not office.of("summary"), "nothing is sent before the time is known"
    clock.step(0)
    gateway.wait_status(lambda status: status["clock"]["known"] and status["clock"]["undated"] == 0, 30, "all are dated")
    wait_reads(bus, 3)
    office.wait_for("reading", "one", count=10)
    gateway.stop()
    for unit, meter in ((1, "one"), (2, "two")):
        answered = {total: at for at, total in fuxin.served_totals(bus[unit])}
        readings = stored_readings(gateway, meter)
        assert len({total for total, *_ in readings}) == len(readings), "a reply was stored twice"
        for total, at, quality, why in readings:
            assert (quality, why) == ("good", None)
        off = sorted(abs(at - answered[total] * 1000) for total, at, *_ in readings)
        assert off[len(off) // 2] < 500 and off[-1] < 5000, off  # a busy machine may hold a reply up
        stored = {total for total, *_ in readings}
        lost = [at for total, at in answered.items() if total not in stored and total >= min(stored)]
        # SIGKILL takes what came in the last commit_ms; the last reply of all may have been on its way.
        assert all(killed_at - 3 < at < killed_at + 0.5 for at in lost[:-1]), (lost, killed_at)
        assert len(lost) <= 5
    assert [row["action"] for row in gateway.export("audit")].count("dated") == 1
    assert gateway.verify().status == 0, gateway.verify().stdout
    assert not office.holes()
