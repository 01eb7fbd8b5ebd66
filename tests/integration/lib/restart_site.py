"""A gateway that is killed and stays away over two full minutes, then comes back: what its summaries say of that time.

Runs from the start of the session, because it takes three boundaries.
"""
import threading
import time
from collections import namedtuple

import pytest

from . import fuxin
from .broker import Broker
from .gateway import Gateway
from .meter import Meters
from .office import Office
from .site import Site, office_plain
from .wait import wait_until

MINUTE_S = 60
DIES_AT_S, COMES_AT_S = 40, 15  # seconds of a minute
Restart = namedtuple("Restart", "gateway office first_missed wait_back")


def _next(second):
    """Unix time when a minute next shows this second."""
    now = time.time()
    return now + (second - now) % MINUTE_S


@pytest.fixture(scope="session")
def restart_site(tmp_path_factory):
    folder = tmp_path_factory.mktemp("restart")
    meters, broker = Meters(), Broker(folder)
    office = Office(broker.port)
    bus = meters.tcp([1])
    fuxin.count_up(bus[1])
    site = Site(office=office_plain(broker)).link("hall", bus.url).meter("one", "hall", 1, display_checked="2026-11-20")
    gateway = Gateway(folder, site).start()
    dies_at = _next(DIES_AT_S)
    if dies_at - time.time() < 8:
        dies_at += MINUTE_S  # some readings first
    first_missed = dies_at - DIES_AT_S + MINUTE_S
    back = first_missed + MINUTE_S + COMES_AT_S
    stop, faults = threading.Event(), []

    def die_and_come_back():
        try:
            if not stop.wait(dies_at - time.time()):
                gateway.kill()
                stop.wait(back - time.time())
                gateway.start()
        except Exception as error:  # told by the test
            faults.append(error)

    thread = threading.Thread(target=die_and_come_back, name="restart", daemon=True)
    thread.start()

    def wait_back():
        wait_until(lambda: not thread.is_alive(), 4 * MINUTE_S, "the gateway is back")
        assert not faults, faults

    yield Restart(gateway, office, int(first_missed * 1000 + 0.5), wait_back)
    stop.set()
    thread.join(60)
    try:
        gateway.stop()
        office.check()
    finally:
        office.close()
        broker.stop()
        meters.close()
