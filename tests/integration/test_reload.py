"""SIGHUP: what changed restarts, what did not is not touched, and a broken file changes nothing."""
import pytest

from lib import fuxin
from lib import registers as r
from lib.gateway import PROFILES
from lib.site import Site, office_plain
from lib.wait import wait_until

pytestmark = pytest.mark.timing

CHECKED = {"display_checked": "2026-11-20"}


@pytest.fixture
def halls(meters):
    served = [meters.tcp([1, 2]) for _ in range(2)]
    for bus in served:
        fuxin.count_up(bus[1])
        fuxin.count_up(bus[2])
    return served


def two_halls(halls, broker):
    site = Site(office=office_plain(broker))
    for number, bus in enumerate(halls, 1):
        site.link(f"hall-{number}", bus.url, response_timeout_ms=200)
        site.meter(f"meter-{number}", f"hall-{number}", 1, **CHECKED)
    return site


def revision(gateway):
    return gateway.status()["config"]["revision"]


def reloaded(gateway, site):
    """Writes another configuration, asks for it by SIGHUP, waits until it is in force."""
    before = revision(gateway)
    gateway.write(site)
    gateway.reload()
    wait_until(lambda: revision(gateway) != before, 15, lambda: f"the new revision: {gateway.status()['configuration']}")


def rate(bus, unit, span_s=3):
    """Requests of a unit within the next seconds."""
    begin = len(bus[unit].log)
    start = bus[unit].log[-1].at
    wait_until(lambda: bus[unit].log[-1].at >= start + span_s, span_s + 5, "requests go on")
    return len(bus[unit].log) - begin


def test_a_changed_interval_touches_only_its_own_link(halls, broker, office, gateway):
    first, second = halls
    site = two_halls(halls, broker)
    gateway.write(site)
    gateway.start()
    office.wait_for("reading", "meter-1", count=2)
    office.wait_for("reading", "meter-2", count=2)
    kept = second.connections()
    assert kept
    reloaded(gateway, site.changed(lambda doc: doc["meters"][0].update(interval_s=2)))
    assert rate(first, 1, 6) <= 4
    assert rate(second, 1, 4) >= 4
    assert second.connections() == kept, "the other link's connection was touched"


@pytest.mark.parametrize("text, words", [
    ("gateway: {id: site-042\n", "site.yaml:2:1: "),
    ("gateway: {id: site-042, timezone: Asia/Shanghai}\nmeters:\n  - {id: x, link: nowhere, unit: 1, profile: fuxin-totalizer}\n",
     "meters[0].link"),
])
def test_a_broken_file_changes_nothing_and_is_named(halls, broker, office, gateway, text, words):
    gateway.write(two_halls(halls, broker))
    gateway.start()
    office.wait_for("reading", "meter-1", count=2)
    before, kept = revision(gateway), [bus.connections() for bus in halls]
    gateway.write(text)
    gateway.reload()
    status = gateway.wait_status(lambda status: status["config"]["error"], 15, "the fault shows in status")
    assert words in status["config"]["error"], status["config"]
    assert revision(gateway) == before and [bus.connections() for bus in halls] == kept
    count = len(office.of("reading", "meter-1"))
    office.wait_for("reading", "meter-1", count=count + 2)
    gateway.write(two_halls(halls, broker).changed(lambda doc: doc["gateway"].update(name="Mended")))
    gateway.reload()
    gateway.wait_status(lambda status: not status["config"]["error"], 15, "a good file clears the fault")


def test_a_new_meter_appears_and_a_removed_one_closes_its_alerts(halls, broker, office, gateway):
    first, second = halls
    site = two_halls(halls, broker)
    gateway.write(site)
    gateway.start()
    office.wait_for("reading", "meter-1", count=2)
    second[1].silent = True
    office.wait_for("alert", "meter-2", lambda body: body["state"] == "open", deadline_s=20)

    def change(document):
        document["meters"] = [document["meters"][0],
                              {"id": "meter-new", "link": "hall-1", "unit": 2, "profile": "fuxin-totalizer",
                               "interval_s": 1, **CHECKED}]
        document["links"].pop()

    reloaded(gateway, site.changed(change))
    new = office.wait_for("reading", "meter-new", lambda body: body["channels"]["volume_base"]["value"] is not None)[0]
    assert int(new["channels"]["volume_base"]["value"]) == 2 * 10**9 // 10**4, "the new meter is unit 2"
    closed = office.wait_for("alert", "meter-2", lambda body: body["state"] == "closed")[0]
    assert closed["reason"] == "removed"
    asked = len(second[1].log)
    count = len(office.of("reading", "meter-1"))
    office.wait_for("reading", "meter-1", count=count + 3)
    assert len(second[1].log) == asked and not second.connections(), "a removed link is left alone"
    assert gateway.export("readings", "--meter", "meter-2"), "history of a removed meter stays"
    assert "meter-2" not in str(office.of("meters")[-1]), "the retained list names it no more"


def test_a_changed_profile_file_is_taken_by_its_meters_alone(halls, broker, office, gateway):
    """The configuration's own text is the same; the map that it points to is not."""
    shipped = (PROFILES / "fuxin-totalizer.yaml").read_text()
    own = gateway.folder / "own.yaml"
    own.write_text(shipped)
    site = two_halls(halls, broker).changed(lambda doc: doc["meters"][0].update(profile="./own.yaml"))
    gateway.write(site)
    gateway.start()
    before = office.wait_for("reading", "meter-1")[0]["channels"]["volume_base"]["value"]
    kept = halls[1].connections()
    assert kept
    own.write_text(shipped.replace("volume_base:     {register: 18, function: 3, type: bcd12, scale: 0.0001",
                                   "volume_base:     {register: 18, function: 3, type: bcd12, scale: 0.01"))
    assert own.read_text() != shipped
    gateway.reload()
    office.wait_for("reading", "meter-1", lambda body: (body["channels"]["volume_base"]["value"] or 0) > 99 * before)
    assert halls[1].connections() == kept, "the other link's connection was touched"
    # What was stored by the old map is still read by it.
    oldest = gateway.export("readings", "--meter", "meter-1")[0]["channels"]["volume_base"]["value"]
    assert oldest == before


def test_a_changed_word_order_leaves_what_was_stored(halls, broker, office, gateway):
    """The meter's words are swapped and the entry says so; then both change: each reading keeps the order of its time."""
    meter = halls[0][1]
    meter.before_read = None
    meter.put(3, 0, r.f32(21.5, "CDAB"))

    def site(**entry):
        made = two_halls(halls, broker)
        return made.changed(lambda doc: doc["meters"][0].update(profile="./own.yaml", **entry))

    own = gateway.folder / "own.yaml"
    own.write_text("model: Swapped\nsource: this test\nverified: true\nchannels:\n"
                   "  temperature: {register: 0, function: 3, type: f32, unit: degC}\n")
    gateway.write(site(word_order="CDAB"))
    gateway.start()
    office.wait_for("reading", "meter-1", lambda body: body["channels"]["temperature"]["value"] == 21.5)
    kept = halls[1].connections()
    gateway.write(site(word_order="DCBA"))
    meter.put(3, 0, r.f32(-7.25, "DCBA"))
    gateway.reload()
    office.wait_for("reading", "meter-1", lambda body: body["channels"]["temperature"]["value"] == -7.25)
    assert halls[1].connections() == kept, "the other link's connection was touched"
    values = [reading["channels"]["temperature"]["value"] for reading in gateway.export("readings", "--meter", "meter-1")]
    assert [value for value in values if value is not None][0] == 21.5, "stored in the order of its time"
    assert values[-1] == -7.25


def test_office_taken_out_and_put_back(halls, broker, office, gateway):
    """Without `office` nothing enters the outbox; what was in it goes out when it is back, and no seq is lost."""
    site = two_halls(halls, broker)
    gateway.write(site)
    gateway.start()
    office.wait_for("reading", "meter-1", count=2)
    reloaded(gateway, site.changed(lambda doc: doc.pop("office")))
    assert gateway.status()["office"] is None
    office.wait_for("state", where=lambda body: not body["online"])
    stored = len(gateway.export("readings"))
    wait_until(lambda: len(gateway.export("readings")) >= stored + 4, 15, "readings are kept all the same")
    highest = {lane: max(office.seqs(lane), default=0) for lane in ("live", "backfill")}
    reloaded(gateway, site)
    count = len(office.of("reading", "meter-1"))
    office.wait_for("reading", "meter-1", count=count + 3)
    assert not office.holes()
    assert max(office.seqs("live")) > highest["live"]
    assert len(office.of("reading")) < len(gateway.export("readings")), "what was read without an office stays here"


def test_many_signals_at_once_do_no_harm(halls, broker, office, gateway):
    site = two_halls(halls, broker)
    gateway.write(site)
    gateway.start()
    office.wait_for("reading", "meter-1", count=2)
    kept = [bus.connections() for bus in halls]
    for _ in range(50):
        gateway.reload()
    count = len(office.of("reading", "meter-1"))
    office.wait_for("reading", "meter-1", count=count + 3)
    assert [bus.connections() for bus in halls] == kept


def test_another_gateway_id_needs_a_restart(halls, broker, office, gateway):
    site = two_halls(halls, broker)
    gateway.write(site)
    gateway.start()
    office.wait_for("reading", "meter-1", count=2)
    gateway.write(site.changed(lambda doc: doc["gateway"].update(id="other-site")))
    gateway.reload()
    status = gateway.wait_status(lambda status: status["config"]["error"], 15, "the reason shows in status")
    assert "restart" in status["config"]["error"] and "id" in status["config"]["error"]
    count = len(office.of("reading", "meter-1"))
    office.wait_for("reading", "meter-1", count=count + 2)
