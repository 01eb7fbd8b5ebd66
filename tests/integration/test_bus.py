"""A bus with bad meters on it, and a bus that is pulled out. The oracle is what the meters (pymodbus) were asked, and when."""
import time
from collections import Counter
from datetime import datetime

import pytest

from lib import fuxin
from lib.site import Site, office_plain
from lib.stalls import Stalls
from lib.wait import wait_until

pytestmark = pytest.mark.timing

CHECKED = {"display_checked": "2026-11-20"}
METERS, DEAD, DRIPPING = 30, 11, 23
INTERVAL_S, TIMEOUT_S = 5, 0.5
DRIP_S, DRIP_BYTES = 0.2, 6         # a byte now and then, for longer than the time-out
WATCHED_S = 30
# What one request to a bad meter may cost its neighbours: a time-out, and the silence after the last byte that drips.
COST_S = {DEAD: TIMEOUT_S, DRIPPING: (DRIP_BYTES - 1) * DRIP_S + TIMEOUT_S}
PILED_UP_S = METERS * 0.02          # the polls behind it, as fast as these meters answer
PAUSES_S = (0.5, 1, 2, 4, 8, 16, 32, 60)  # between the requests to a meter that does not answer


def polls(requests):
    """When each poll began: its further requests, and those asked again for the same due time, are left out."""
    starts = []
    for request in requests:
        if not starts or request.at - starts[-1] > INTERVAL_S / 2:
            starts.append(request.at)
    return starts


def excused_s(bus, earlier, later):
    """How late the bad meters may have made a poll between two instants: by what was asked of them, and no more."""
    asked = [(unit, request.at) for unit in COST_S for request in bus[unit].log]
    return PILED_UP_S + sum(COST_S[unit] for unit, at in asked if earlier - COST_S[unit] <= at <= later)


def seconds(text):
    return datetime.strptime(text, "%Y-%m-%dT%H:%M:%S.%f%z").timestamp()


def qualities(office, unit):
    return [body["channels"]["volume_base"]["quality"] for body in office.of("reading", f"m-{unit}")]


@pytest.fixture
def stalls():
    watch = Stalls()
    yield watch
    watch.stop()


def test_a_dead_and_a_dripping_meter_hurt_no_other(meters, broker, office, gateway, stalls):
    units = range(1, METERS + 1)
    wire = []  # when a request to the dead one came over it, whether its server then understood it or not

    def line(to_far, data):
        if to_far and data[0] == DEAD:
            wire.append(time.time())
        return [(to_far, data)]

    bus = meters.serial(units, baud=115200, line=line)
    site = Site(office=office_plain(broker)).link("hall", bus.url, response_timeout_ms=int(TIMEOUT_S * 1000),
                                                  retries=2)
    for unit in units:
        fuxin.put(bus[unit])
        site.meter(f"m-{unit}", "hall", unit, interval_s=INTERVAL_S, **CHECKED)
    bus[DEAD].silent = True
    bus[DRIPPING].drip_s, bus[DRIPPING].drip_bytes = DRIP_S, DRIP_BYTES
    gateway.write(site)
    gateway.start()
    healthy = [unit for unit in units if unit not in (DEAD, DRIPPING)]
    # The first request of each is the look at start; its first due time follows.
    wait_until(lambda: all(len(polls(bus[unit].log)) >= 2 for unit in healthy), 3 * INTERVAL_S, "each meter was polled")
    end = time.time() + WATCHED_S
    wait_until(lambda: time.time() >= end, WATCHED_S + 5, "the meters have been watched")
    for unit in healthy:
        starts = polls(bus[unit].log)[1:]
        late = [(later - earlier - INTERVAL_S, excused_s(bus, earlier, later) + stalls.between(earlier, later))
                for earlier, later in zip(starts, starts[1:])]
        assert len(late) >= WATCHED_S // INTERVAL_S - 1, f"unit {unit}: {late}"
        assert all(by <= excused for by, excused in late), f"unit {unit}: {late}"
        assert sum(by for by, _ in late) <= late[-1][1] + INTERVAL_S / 2, f"unit {unit} lost a due time: {late}"
    # A byte of the dripping meter falls into a reply now and then. Such a reply is asked for again, and from then on values
    # need a second one that agrees: where a byte falls into that, they are suspect.
    seen = Counter(quality for unit in healthy for quality in qualities(office, unit))
    assert seen["missing"] <= 0.01 * sum(seen.values()) and seen["good"] >= 0.95 * sum(seen.values()), seen
    for unit in (DEAD, DRIPPING):  # a poll and its retries, then single requests at pauses that grow
        asked = [request.at for request in bus[unit].log]
        pauses = [later - earlier for earlier, later in zip(asked[2:], asked[3:])]
        assert 3 <= len(pauses) <= 7, f"unit {unit}: {pauses}"
        assert all(pause >= least for pause, least in zip(pauses, PAUSES_S)), f"unit {unit}: {pauses}"
        # Every due time is a reading all the same.
        assert len(qualities(office, unit)) >= WATCHED_S // INTERVAL_S - 1
        assert set(qualities(office, unit)) == {"missing"}
    # Back: the next probe finds it.
    bus[DEAD].silent = False
    back = time.time()
    last, before = wire[-1], wire[-2]
    pause = 2 * (last - before) + 3
    wait_until(lambda: wire[-1] > back, 2 * pause, "a probe")
    found = next(at for at in wire if at > back)
    assert found - last <= pause + stalls.between(last, found), f"a probe {found - last:.1f} s after the one before"
    wait_until(lambda: "good" in qualities(office, DEAD), INTERVAL_S + 5, "a good reading")
    wait_until(lambda: len(polls([one for one in bus[DEAD].log if one.at >= found])) >= 2, INTERVAL_S + 5, "the next poll")


def test_a_pulled_adapter_is_back_within_ten_seconds(meters, broker, office, gateway, tmp_path):
    """The device comes back under another name, behind the same link in /dev (F-26)."""
    device = tmp_path / "ttyUSB0"

    def plug_in():
        bus = meters.serial([1, 2], baud=19200)
        for unit in (1, 2):
            fuxin.put(bus[unit])
        device.symlink_to(bus.url[len("rtu://"):bus.url.index("?")])
        return bus

    bus = plug_in()
    site = Site(office=office_plain(broker)).link("hall", f"rtu://{device}?baud=19200&parity=N&stop=1", response_timeout_ms=300)
    for unit in (1, 2):
        site.meter(f"m-{unit}", "hall", unit, interval_s=2, **CHECKED)
    gateway.write(site)
    gateway.start()
    wait_until(lambda: all("good" in qualities(office, unit) for unit in (1, 2)), 15, "good readings")
    for _ in range(2):
        device.unlink()
        meters.unplug(bus)
        gateway.wait_status(lambda status: not status["links"][0]["open"], 10, "the link is said to be down")
        known = [len(office.of("reading", f"m-{unit}")) for unit in (1, 2)]
        wait_until(lambda: all(len(office.of("reading", f"m-{unit}")) >= known[unit - 1] + 3 for unit in (1, 2)), 20,
                   "three due times without the device")
        assert all(one["channels"]["volume_base"]["why"] == "link-down" for one in office.of("reading", "m-1")[known[0]:])
        bus = plug_in()
        back = time.time()
        wait_until(lambda: all(bus[unit].log for unit in (1, 2)), 12, "both are asked again")
        for unit in (1, 2):
            assert bus[unit].log[0].at - back <= 10, f"unit {unit}: {bus[unit].log[0].at - back:.1f} s after its return"
        gateway.wait_status(lambda status: status["links"][0]["open"], 5, "the link is said to be there")


def test_a_full_link_keeps_the_important_meters(meters, broker, office, gateway, stalls):
    """Eight meters a second, a fifth of a second each: 160 % of the link's time."""
    important, others = (1, 2), (3, 4, 5, 6, 7, 8)
    bus = meters.tcp([*important, *others])
    site = Site(office=office_plain(broker)).link("hall", bus.url, response_timeout_ms=3000)
    for unit in (*important, *others):
        fuxin.put(bus[unit])
        bus[unit].delay_s = 0.2
        site.meter(f"m-{unit}", "hall", unit, priority=5 if unit in important else 1, **CHECKED)
    gateway.write(site)
    gateway.start()
    status = gateway.wait_status(lambda now: now["links"][0]["overloaded"], 30, "the link says that it is full")
    assert status["links"][0]["load_permille"] > 1400 and 0 < status["links"][0]["stretched"] <= len(others)
    text = gateway.command("status", "--state", gateway.state).stdout
    assert "of its time" in text, text
    begin = time.time() + 2  # what had piled up is done
    wait_until(lambda: time.time() >= begin + 15, 20, "the meters have been watched")
    asked = {unit: [one.at for one in bus[unit].log if begin <= one.at <= begin + 15] for unit in (*important, *others)}
    for unit in important:
        gaps = [later - earlier - stalls.between(earlier, later) for earlier, later in zip(asked[unit], asked[unit][1:])]
        # A poll cannot be cut short: one that was begun delays the next by its 0.2 s.
        assert len(asked[unit]) >= 14 and max(gaps) < 1.5, f"unit {unit}: {gaps}"
        assert "missing" not in [one["channels"]["volume_base"]["quality"] for one in office.of("reading", f"m-{unit}")
                                 if seconds(one["at"]) > begin]
    for unit in others:
        assert 1 <= len(asked[unit]) <= 12, f"unit {unit}: asked {len(asked[unit])} times"
        reasons = {one["channels"]["volume_base"].get("why") for one in office.of("reading", f"m-{unit}")}
        assert "overload" in reasons, f"unit {unit}: {reasons}"
    # What the link cannot do is no silence of a meter.
    assert not office.of("alert"), office.of("alert")
    for unit in (*important, *others):
        bus[unit].delay_s = 0
    gateway.wait_status(lambda now: not now["links"][0]["overloaded"], 60, "the link has time again")
