"""Fixtures of the integration tests: each makes its part and ends it, whatever the test did."""
import logging
import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).resolve().parent))
sys.dont_write_bytecode = True

from lib.broker import Broker  # noqa: E402
from lib.certificates import Authority  # noqa: E402
from lib.demo_site import demo_site  # noqa: E402, F401
from lib.frames import WALK  # noqa: E402
from lib.gateway import Gateway  # noqa: E402
from lib.lying_site import lying_site  # noqa: E402, F401
from lib.meter import Meters  # noqa: E402
from lib.office import Office  # noqa: E402
from lib.restart_site import restart_site  # noqa: E402, F401
from lib.values_site import values_site  # noqa: E402, F401

logging.getLogger("pymodbus").setLevel(logging.CRITICAL)  # a silent meter is on purpose here


def pytest_collection_modifyitems(items):
    """Tests that wait for real minutes go last: what they wait for starts with the session and runs beside the others."""
    items.sort(key=lambda item: (item.get_closest_marker("after_all") is not None,
                                 item.get_closest_marker("slow_start") is not None))
    for item in items:  # for tests/run.py
        item.user_properties.append(("id", item.nodeid))
        if item.get_closest_marker("timing"):
            item.user_properties.append(("timing", "yes"))


def pytest_configure(config):
    config.addinivalue_line("markers", "after_all: judges what the other tests of the session did")
    config.addinivalue_line("markers", "timing: compares with the wall clock; run once more, alone, where it failed")
    config.addinivalue_line("markers", "slow_start(fixture): needs a session fixture that takes minutes to have something")


@pytest.fixture(scope="session", autouse=True)
def started_first(request):
    """Starts the session fixtures of the tests that will come last."""
    wanted = {}
    for item in request.session.items:
        marker = item.get_closest_marker("slow_start")
        if marker:
            wanted[marker.args[0]] = None
    for name in wanted:
        try:
            request.getfixturevalue(name)
        except Exception:  # kept by pytest, and told by each test that asks for it
            continue


@pytest.fixture(scope="session", autouse=True)
def every_frame():
    """Whatever ran: no frame that the program sent was anything but a well-formed read."""
    yield WALK
    WALK.logs()
    assert not WALK.faults, "\n".join(WALK.faults[:20])


@pytest.fixture
def meters():
    served = Meters()
    yield served
    served.close()


@pytest.fixture
def broker(tmp_path):
    folder = tmp_path / "broker"
    folder.mkdir()
    one = Broker(folder)
    yield one
    one.stop()


@pytest.fixture
def tls_broker(tmp_path):
    folder = tmp_path / "broker"
    folder.mkdir()
    authority = Authority(folder)
    one = Broker(folder, tls=authority)
    one.authority = authority
    yield one
    one.stop()


@pytest.fixture
def office(broker):
    one = Office(broker.port)
    yield one
    one.close()
    one.check()


@pytest.fixture
def gateway(tmp_path):
    """Not started yet: the test writes its configuration and starts it."""
    folder = tmp_path / "gateway"
    folder.mkdir()
    one = Gateway(folder, None)
    yield one
    one.stop()
