"""Ways to a meter: its modem dials in, or it has a second address. pymodbus is the meter."""
import pytest

from lib import fuxin
from lib.gateway import run
from lib.modem import Modem
from lib.ports import free_port
from lib.site import Site, office_plain
from lib.wait import wait_until

pytestmark = pytest.mark.timing

CHECKED = {"display_checked": "2026-11-20"}


def is_good(body):
    return body["channels"]["volume_base"]["quality"] == "good"


def right_totals(office, bus, unit):
    """Every good total that the office has is one that the meter served."""
    served = {total for _, total in fuxin.served_totals(bus[unit])}
    got = [int(body["channels"]["volume_base"]["value"] * 10000) for body in office.of("reading", "one")
           if is_good(body)]
    assert got and set(got) <= served
    return got


def link_of(gateway):
    return gateway.status()["links"][0]


@pytest.mark.parametrize("scheme", ["tcp-listen", "rtu-over-tcp-listen"])
def test_modem_dials_in(meters, broker, office, gateway, scheme):
    bus = meters.tcp([3], rtu=scheme.startswith("rtu"))
    fuxin.count_up(bus[3])
    port = free_port()
    gateway.write(Site(office=office_plain(broker))
                  .link("hall", f"{scheme}://127.0.0.1:{port}", modem_hello="SIM-0042", modem_heartbeat="hex:FE01FE",
                        modem_address="127.0.0.1", response_timeout_ms=300)
                  .meter("one", "hall", 3, **CHECKED))
    gateway.start()
    stranger = Modem(port, bus, hello=b"SIM-0043")
    stranger.dial()
    office.wait_for("reading", "one", lambda body: not is_good(body), deadline_s=10)
    assert not bus[3].log, "somebody who said the wrong hello was asked"
    modem = Modem(port, bus, hello=b"SIM-0042", heartbeat=b"\xfe\x01\xfe")
    modem.dial()
    office.wait_for("reading", "one", is_good, count=3, deadline_s=20)
    # It loses its network and dials again, before the gateway knows.
    again = Modem(port, bus, hello=b"SIM-0042")
    again.dial()
    before = len([body for body in office.of("reading", "one") if is_good(body)])
    office.wait_for("reading", "one", is_good, count=before + 2, deadline_s=20)
    again.hang_up()
    wait_until(lambda: f"port {port}" in link_of(gateway)["error"], 20, "status says that nobody dials in")
    right_totals(office, bus, 3)


def test_second_address(meters, broker, office, gateway):
    first, second = meters.tcp([3]), meters.tcp([3])
    fuxin.count_up(first[3])
    fuxin.count_up(second[3])
    gateway.write(Site(office=office_plain(broker))
                  .link("hall", first.url, second_url=second.url, response_timeout_ms=300)
                  .meter("one", "hall", 3, **CHECKED))
    gateway.start()
    office.wait_for("reading", "one", is_good, count=2, deadline_s=20)
    assert first[3].log and not second[3].log
    assert link_of(gateway)["on_second"] is False
    meters.drop(first)
    before = len([body for body in office.of("reading", "one") if is_good(body)])
    office.wait_for("reading", "one", is_good, count=before + 2, deadline_s=20)
    assert second[3].log
    assert link_of(gateway)["on_second"] is True
    assert "on its second address" in run("status", "--state", gateway.state).stdout
    assert f"over its second address, {second.url}" in run("status", "--state", gateway.state, "--link", "hall").stdout
