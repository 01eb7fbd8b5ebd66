"""One file that holds the state, taken while the gateway runs, and its way back: by the program's own exports and by SQLite."""
import csv
import datetime
import os
import shutil
import sqlite3
import stat

import pytest

from lib import fuxin
from lib.gateway import run
from lib.office import Office
from lib.site import Site, office_plain
from lib.wait import wait_until

CHECKED = {"display_checked": "2026-11-20"}
SETTLED = datetime.timedelta(seconds=3)  # what is older had been committed when the copy was whole


@pytest.fixture
def bus(meters):
    served = meters.tcp([1, 2])
    fuxin.count_up(served[1])
    fuxin.count_up(served[2])
    return served


def start_site(bus, broker, gateway):
    site = Site(office=office_plain(broker)).link("hall", bus.url)
    site.meter("one", "hall", 1, **CHECKED).meter("two", "hall", 2, **CHECKED)
    gateway.write(site)
    return gateway.start()


def settled(at):
    moment = datetime.datetime.fromisoformat(at.replace("Z", "+00:00")) - SETTLED
    return moment.strftime("%Y-%m-%dT%H:%M:%S.000Z")


def exported(state, until):
    """All four exports up to an instant, as a user gets them."""
    out = {}
    for what in ("readings", "periods", "alerts", "audit"):
        result = run("export", what, "--state", state, "--to", until)
        assert result.status == 0, result.stderr
        out[what] = result.stdout
    # A period may begin before the instant and be closed after it.
    rows = list(csv.DictReader(out["periods"].splitlines()))
    out["periods"] = [row for row in rows if row["at"] < until]
    return out


def backup_of(gateway, path):
    result = gateway.command("backup", path, "--state", gateway.state, "--json")
    assert result.status == 0, result.stderr
    return result.json_lines()[0]


def test_backup_while_running_comes_back_the_same(bus, broker, office, gateway, tmp_path):
    start_site(bus, broker, gateway)
    gateway.wait_status(lambda status: status["store"]["readings"] >= 16, 60, "16 readings")
    path = tmp_path / "site.backup"
    made = backup_of(gateway, path)
    assert stat.S_IMODE(os.stat(path).st_mode) == 0o600 and os.stat(path).st_size == made["bytes"]
    assert not list((gateway.state / "backups").iterdir()), "the copy on the gateway is gone when it was fetched"
    after = gateway.status()["store"]["readings"]
    gateway.wait_status(lambda status: status["store"]["readings"] > after + 8, 60, "polling goes on")

    # SQLite itself, not the program, opens it: whole, with what belongs to it, without what is secret.
    copy = tmp_path / "looked-at"
    shutil.copy(path, copy)
    with sqlite3.connect(copy) as database:
        assert database.execute("PRAGMA integrity_check").fetchone() == ("ok",)
        files = dict(database.execute("SELECT name, bytes FROM backup_file").fetchall())
    assert files["config.yaml"].decode() == gateway.config.read_text()
    assert "volume_base" in files["profiles/fuxin-totalizer.yaml"].decode()
    assert not any("key" in name for name in files), files.keys()

    # On another machine: an empty folder, no gateway.
    other = tmp_path / "other"
    result = run("restore", path, "--state", other, "--json")
    assert result.status == 0, result.stderr
    report = result.json_lines()[0]
    until = settled(made["at"])
    restored, original = exported(other, until), exported(gateway.state, until)
    assert restored == original
    assert restored["readings"].count("\n") > 20, "otherwise there was nothing to compare"
    assert (other / "restored" / "config.yaml").read_text() == gateway.config.read_text()
    verified = run("verify", "--state", other)
    assert verified.status == 0, verified.stdout
    assert report["old_stream"] == gateway.status()["store"]["stream"] != report["stream"]
    gateway.stop()
    # The same from a gateway that does not run.
    again = gateway.command("backup", tmp_path / "still.backup", "--state", gateway.state)
    assert again.status == 0 and "secret" in again.stdout, (again.stdout, again.stderr)
    assert not office.holes()


def test_restore_under_a_gateway_begins_a_new_stream(bus, broker, office, gateway, tmp_path):
    start_site(bus, broker, gateway)
    wait_until(lambda: len(office.of("reading")) >= 10, 60, "readings at the office")
    path = tmp_path / "site.backup"
    made = backup_of(gateway, path)
    more = len(office.of("reading"))
    wait_until(lambda: len(office.of("reading")) >= more + 6, 60, "readings that are not in the backup")
    old_stream = gateway.status()["store"]["stream"]

    refused = gateway.command("restore", path, "--state", gateway.state)
    assert refused.status == 1 and "--at-restart" in refused.stderr, refused.stderr
    broken = tmp_path / "broken.backup"
    broken.write_bytes(path.read_bytes()[:-1000])
    cut = gateway.command("restore", broken, "--state", gateway.state, "--at-restart")
    assert cut.status == 1 and "cut off" in cut.stderr, cut.stderr
    assert gateway.status()["store"]["restore_waits"] is False

    accepted = gateway.command("restore", path, "--state", gateway.state, "--at-restart", "--json")
    assert accepted.status == 0, accepted.stderr
    report = accepted.json_lines()[0]
    assert gateway.status()["store"]["restore_waits"] is True
    gateway.stop()
    office.check()
    second = Office(broker.port)
    try:
        gateway.start()
        store = gateway.status()["store"]
        assert store["stream"] == report["stream"] != old_stream
        assert store["restored"] == {"backup": made["at"], "old_stream": old_stream}
        told = second.wait_for("alert", "gateway", lambda body: body["kind"] == "store-restored", count=2)
        assert [body["state"] for body in told] == ["open", "closed"] and made["at"] in told[0]["text"]["en"], told
        gaps = second.wait_for("gap", where=lambda body: body["reason"] == "restored")
        wait_until(lambda: not second.holes() and len(second.of("reading")) > 6, 60,
                   lambda: f"no hole but those that a gap names: {second.holes()}, gaps {gaps}")
        streams = {body["stream"] for body in second.of("reading") + second.of("gap") + second.of("alert")}
        assert streams == {report["stream"]}, "nothing comes under the stream before"
        second.check()
    finally:
        second.close()
    assert (gateway.state / report["aside"] / "metergate.db").exists(), "the state before is kept"
    audit = gateway.export("audit")
    assert [row["action"] for row in audit].count("restore") == 1
    assert gateway.verify().status == 0, gateway.verify().stdout
