"""A bus with bad meters on it, and a bus that is pulled out. The oracle is what the meters (pymodbus) were asked, and when."""
import time

from lib import fuxin
from lib.site import Site, office_plain
from lib.wait import wait_until

CHECKED = {"display_checked": "2026-11-20"}
METERS, DEAD, DRIPPING = 30, 11, 23
INTERVAL_S, TIMEOUT_S = 5, 0.5
DRIP_S = 0.2                        # between two bytes: a reply takes longer than an interval
WATCHED_S = 30
# How late a healthy meter may be asked: after one request that gets nothing, one that a byte of the dripping meter fell
# into, and the polls that piled up behind them.
TOLERANCE_S = 2 * TIMEOUT_S + METERS * 0.012
PAUSES_S = (0.5, 1, 2, 4, 8, 16, 32, 60)  # between the requests to a meter that does not answer


def polls(requests):
    """When each poll began: its further requests, and those asked again for the same due time, are left out."""
    starts = []
    for request in requests:
        if not starts or request.at - starts[-1] > INTERVAL_S / 2:
            starts.append(request.at)
    return starts


def qualities(office, unit):
    return [body["channels"]["volume_base"]["quality"] for body in office.of("reading", f"m-{unit}")]


def test_a_dead_and_a_dripping_meter_hurt_no_other(meters, broker, office, gateway):
    units = range(1, METERS + 1)
    bus = meters.serial(units, baud=115200)
    site = Site(office=office_plain(broker)).link("hall", bus.url, response_timeout_ms=int(TIMEOUT_S * 1000))
    for unit in units:
        fuxin.put(bus[unit])
        site.meter(f"m-{unit}", "hall", unit, interval_s=INTERVAL_S, **CHECKED)
    bus[DEAD].silent = True
    bus[DRIPPING].drip_s = DRIP_S
    gateway.write(site)
    gateway.start()
    healthy = [unit for unit in units if unit not in (DEAD, DRIPPING)]
    # The first request of each is the look at start; its first due time follows.
    wait_until(lambda: all(len(polls(bus[unit].log)) >= 2 for unit in healthy), 3 * INTERVAL_S, "each meter was polled")
    end = time.time() + WATCHED_S
    wait_until(lambda: time.time() >= end, WATCHED_S + 5, "the meters have been watched")
    for unit in healthy:
        starts = polls(bus[unit].log)[1:]
        gaps = [later - earlier for earlier, later in zip(starts, starts[1:])]
        assert len(gaps) >= WATCHED_S // INTERVAL_S - 1, f"unit {unit}: {gaps}"
        assert max(gaps) <= INTERVAL_S + TOLERANCE_S, f"unit {unit}: {gaps}"
        assert set(qualities(office, unit)) == {"good"}, f"unit {unit}: {qualities(office, unit)}"
    for unit in (DEAD, DRIPPING):  # a poll and its retry, then single requests at pauses that grow
        asked = [request.at for request in bus[unit].log]
        pauses = [later - earlier for earlier, later in zip(asked[1:], asked[2:])]
        assert 3 <= len(pauses) <= 7, f"unit {unit}: {pauses}"
        assert all(pause >= least for pause, least in zip(pauses, PAUSES_S)), f"unit {unit}: {pauses}"
        # Every due time is a reading all the same.
        assert len(qualities(office, unit)) >= WATCHED_S // INTERVAL_S - 1
        assert set(qualities(office, unit)) == {"missing"}
    # Back: the next probe finds it.
    bus[DEAD].silent = False
    back = time.time()
    last, before = bus[DEAD].log[-1].at, bus[DEAD].log[-2].at
    pause = 2 * (last - before) + 3
    wait_until(lambda: bus[DEAD].log[-1].at > back, pause, f"a probe at most {pause:.1f} s after the one before")
    found = next(request.at for request in bus[DEAD].log if request.at > back)
    wait_until(lambda: "good" in qualities(office, DEAD), INTERVAL_S + 5, "a good reading")
    wait_until(lambda: len(polls([one for one in bus[DEAD].log if one.at >= found])) >= 2, INTERVAL_S + 5, "the next poll")
