"""A gateway that is killed and stays away over two full minutes, then comes back: what its summaries say of that time.

Runs from the start of the session, because it takes three boundaries.
"""
import threading
import time
from collections import namedtuple
from contextlib import ExitStack

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


class Away:
    """Kills a gateway in the middle of a minute and starts it again after two boundaries, in a thread of its own."""

    def __init__(self, gateway):
        self._gateway = gateway
        self._stop, self._fault = threading.Event(), None
        self._dies_at = _next(DIES_AT_S)
        if self._dies_at - time.time() < 8:
            self._dies_at += MINUTE_S  # some readings first
        first_missed = self._dies_at - DIES_AT_S + MINUTE_S
        self._back_at = first_missed + MINUTE_S + COMES_AT_S
        self.first_missed_ms = int(first_missed * 1000 + 0.5)
        self._thread = threading.Thread(target=self._die_and_come_back, name="away", daemon=True)
        self._thread.start()

    def _die_and_come_back(self):
        try:
            if not self._stop.wait(self._dies_at - time.time()):
                self._gateway.kill()
                self._stop.wait(self._back_at - time.time())
                self._gateway.start()
        except Exception as error:  # told by the test
            self._fault = error

    def wait_back(self):
        wait_until(lambda: not self._thread.is_alive(), 4 * MINUTE_S, "the gateway is back")
        assert not self._fault, self._fault

    def stop(self):
        self._stop.set()
        self._thread.join(60)


@pytest.fixture(scope="session")
def restart_site(tmp_path_factory):
    folder = tmp_path_factory.mktemp("restart")
    with ExitStack() as parts:  # ends what was started, also when the rest cannot be
        meters = Meters()
        parts.callback(meters.close)
        broker = Broker(folder)
        parts.callback(broker.stop)
        office = Office(broker.port)
        parts.callback(office.close)
        bus = meters.tcp([1])
        fuxin.count_up(bus[1])
        site = Site(office=office_plain(broker)).link("hall", bus.url)
        gateway = Gateway(folder, site.meter("one", "hall", 1, display_checked="2026-11-20"))
        parts.callback(gateway.stop)
        gateway.start()
        away = Away(gateway)
        parts.callback(away.stop)
        yield Restart(gateway, office, away.first_missed_ms, away.wait_back)
        away.stop()
        gateway.stop()
        office.check()
