"""The feed at a real broker: states, lanes, acknowledgement, TLS, reload."""

import pytest

from lib import fuxin
from lib.certificates import Authority
from lib.office import LANES, Office
from lib.ports import free_port
from lib.site import Site, office_plain
from lib.wait import wait_until

CHECKED = {"display_checked": "2026-11-20"}


def one_meter_site(bus, office):
    return Site(office=office).link("hall", bus.url).meter("one", "hall", 1, **CHECKED)


@pytest.fixture
def bus(meters):
    served = meters.tcp([1, 2])
    fuxin.count_up(served[1])
    fuxin.count_up(served[2])
    return served


def office_state(gateway):
    return gateway.status()["office"]["state"]


def waiting(gateway):
    """Messages that the outbox still holds."""
    queue = gateway.queue()
    return sum(queue[lane]["last"] - queue[lane]["acknowledged"] for lane in LANES)


def assert_complete(office, gateway):
    """Every (lane, seq) that the gateway has given out so far reaches the office: no hole, no repetition of another."""
    wait_until(lambda: waiting(gateway) <= 1, 30, lambda: f"the outbox drains: {gateway.status()['queue']}")
    queue = gateway.queue()
    for lane in LANES:
        wait_until(lambda lane=lane: set(range(1, queue[lane]["acknowledged"] + 1)) <= set(office.seqs(lane)), 20,
                   lambda lane=lane: f"{lane}: 1 to {queue[lane]['acknowledged']} at the office, which has "
                                     f"{len(office.seqs(lane))}")
    assert not office.holes()
    office.check()


def test_birth_and_will_are_retained_states(bus, broker, office, gateway):
    gateway.write(one_meter_site(bus, office_plain(broker)))
    gateway.start()
    birth = office.wait_for("state", where=lambda body: body["online"])[0]
    assert birth["config"]["revision"] and birth["clock"]["known"] is True
    named = office.wait_for("meters")[0]
    assert "one" in str(named)
    late = Office(broker.port)
    try:
        retained = late.wait_for("state")[0]
        assert retained["online"] is True
        assert [message.retain for message in late.messages if message.topic.endswith("/state")][0]
        assert late.wait_for("meters")
    finally:
        late.close()
    gateway.kill()
    office.wait_for("state", where=lambda body: not body["online"], deadline_s=60)
    after = Office(broker.port)
    try:
        assert after.wait_for("state")[0]["online"] is False, "the will is retained"
    finally:
        after.close()
    seen = len(office.of("state"))
    gateway.start()
    wait_until(lambda: any(body["online"] for body in office.of("state")[seen:]), 20, "online again")
    seen = len(office.of("state"))
    gateway.stop()
    wait_until(lambda: any(not body["online"] for body in office.of("state")[seen:]), 10,
               "a clean stop says offline itself")


def test_lanes_number_without_holes_over_a_restart(bus, broker, office, gateway):
    gateway.write(one_meter_site(bus, office_plain(broker)))
    gateway.start()
    office.wait_for("reading", "one", count=5)
    stream = office.of("reading", "one")[0]["stream"]
    gateway.stop()
    gateway.start()
    count = len(office.of("reading", "one"))
    office.wait_for("reading", "one", count=count + 5)
    assert_complete(office, gateway)
    assert {body["stream"] for body in office.of("reading", "one")} == {stream}
    assert set(office.seqs("live")), "readings made while the session is up are live"


def test_rows_made_without_a_session_are_backfill(bus, broker, gateway):
    broker.stop()
    gateway.write(one_meter_site(bus, office_plain(broker)))
    gateway.start()
    wait_until(lambda: gateway.queue()["backfill"]["last"] >= 4, 20, "readings wait in backfill")
    assert gateway.queue()["live"]["last"] == 0
    broker.start()
    office = Office(broker.port)
    try:
        office.wait_for("reading", "one", lambda body: body["lane"] == "live", deadline_s=60)
        assert_complete(office, gateway)
    finally:
        office.close()


def test_nothing_is_lost_while_nobody_subscribes(bus, broker, gateway):
    """PUBACK 0x10: the message stays, the state has a name, and all of it arrives once somebody listens."""
    gateway.write(one_meter_site(bus, office_plain(broker)))
    gateway.start()
    gateway.wait_status(lambda status: status["office"]["state"] == "no-subscriber", 30, "state no-subscriber")
    wait_until(lambda: waiting(gateway) >= 5, 20, "messages wait")
    office = Office(broker.port)
    try:
        office.wait_for("reading", "one", count=5, deadline_s=60)
        gateway.wait_status(lambda status: status["office"]["state"] == "online", 60, "state online")
        assert_complete(office, gateway)
        assert min(office.seqs("live") + office.seqs("backfill")) == 1
    finally:
        office.close()


def test_accepted_without_subscriber_counts_as_acknowledged(bus, broker, gateway):
    gateway.write(one_meter_site(bus, office_plain(broker, unsubscribed="accept")))
    gateway.start()
    gateway.wait_status(lambda status: sum(status["office"]["lanes"][lane]["acknowledged"] for lane in LANES) >= 3, 30,
                        "acknowledged although nobody listens")
    assert office_state(gateway) == "online"


def test_broker_restart_loses_nothing(bus, broker, office, gateway):
    gateway.write(one_meter_site(bus, office_plain(broker)))
    gateway.start()
    office.wait_for("reading", "one", count=3)
    broker.stop()
    gateway.wait_status(lambda status: status["office"]["state"] != "online", 40, "the loss of the broker is seen")
    held = gateway.queue()
    wait_until(lambda: waiting(gateway) >= 3, 20, "messages wait")
    broker.start()
    gateway.wait_status(lambda status: status["office"]["state"] == "online", 60, "online again")
    assert_complete(office, gateway)
    assert max(office.seqs("backfill"), default=0) >= held["backfill"]["last"]


# --- TLS ---

@pytest.fixture
def tls_office(tls_broker):
    one = Office(tls_broker.port)
    yield one
    one.close()
    one.check()


def tls_section(broker, host="localhost", ca=None, client=None):
    certificate, key = client or broker.authority.sign("site-042", use="clientAuth")
    return {"url": f"mqtts://{host}:{broker.tls_port}", "ca": str(ca or broker.authority.certificate),
            "certificate": str(certificate), "key": str(key), "summary_minutes": 1, "raw_readings": True}


def test_tls_with_client_certificate(bus, tls_broker, tls_office, gateway):
    gateway.write(one_meter_site(bus, tls_section(tls_broker)))
    gateway.start()
    tls_office.wait_for("reading", "one", count=2)


def assert_refused(gateway, office, *words):
    """Not online, one of the words in the reason, nothing published, and the meters are polled all the same."""
    status = gateway.wait_status(lambda status: any(word in (status["office"]["error"] or "").lower() for word in words),
                                 40, f"the reason names one of {words}")
    assert status["office"]["state"] != "online"
    gateway.wait_status(lambda status: status["office"]["lanes"]["backfill"]["last"] >= 2, 20, "readings are kept")
    assert not office.messages


def test_tls_refuses_another_ca(bus, tls_broker, tls_office, gateway, tmp_path):
    other = Authority(tmp_path, "other")
    gateway.write(one_meter_site(bus, tls_section(tls_broker, ca=other.certificate)))
    gateway.start()
    assert_refused(gateway, tls_office, "certificate", "verify")


def test_tls_refuses_a_certificate_of_another_host(bus, tls_broker, tls_office, gateway, tmp_path):
    """The broker's certificate is from the right CA, for another name than the one that the URL says."""
    wrong, key = tls_broker.authority.sign("wrong-host", "DNS:elsewhere.example.com")
    conf = tls_broker.folder / "mosquitto.conf"
    lines = [f"certfile {wrong}" if line.startswith("certfile") else f"keyfile {key}" if line.startswith("keyfile")
             else line for line in conf.read_text().splitlines()]
    conf.write_text("\n".join(lines) + "\n")
    tls_office.close()
    tls_broker.stop()
    tls_broker.start()
    gateway.write(one_meter_site(bus, tls_section(tls_broker)))
    gateway.start()
    listener = Office(tls_broker.port)
    try:
        assert_refused(gateway, listener, "host", "name", "certificate", "verify")
    finally:
        listener.close()


def test_wrong_port_then_the_right_one(bus, broker, office, gateway):
    """A dead office address is a state with a reason; mended by a reload, everything that waited arrives."""
    section = office_plain(broker)
    gateway.write(one_meter_site(bus, {**section, "url": f"mqtt://127.0.0.1:{free_port()}"}))
    gateway.start()
    gateway.wait_status(lambda status: status["office"]["state"] in ("offline", "connecting")
                        and status["office"]["error"], 30, "offline, with a reason")
    wait_until(lambda: waiting(gateway) >= 3, 20, "readings wait")
    gateway.write(one_meter_site(bus, section))
    gateway.reload()
    gateway.wait_status(lambda status: status["office"]["state"] == "online", 30, "online")
    assert_complete(office, gateway)
    assert 1 in office.seqs("backfill")
