"""Disks that are full, read-only, failing, or lose bytes: polls go on, nothing that was read is lost, it recovers without hands."""
import os
import random
import secrets
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).resolve().parent.parent / "fault"))

import fulldisk  # noqa: E402
from lib import fuxin
from lib.office import LANES
from lib.site import Site, office_plain
from lib.small_disk import SmallDisk
from lib.wait import wait_until

CHECKED = {"display_checked": "2026-11-20"}
EXIT_DISK = 70


@pytest.fixture
def disk(tmp_path):
    one = SmallDisk(tmp_path / "disk", 16)
    yield one
    one.close()


@pytest.fixture
def bus(meters):
    served = meters.tcp([1, 2])
    fuxin.count_up(served[1])
    fuxin.count_up(served[2])
    return served


def two_meters(bus, broker):
    site = Site(office=office_plain(broker)).link("hall", bus.url)
    return site.meter("one", "hall", 1, **CHECKED).meter("two", "hall", 2, **CHECKED)


def on_disk(gateway, disk):
    gateway.enter = disk.enter
    gateway.inside = disk.inside / "state"
    gateway.state = disk.outside / "state"


def wait_asked(bus, more=3):
    """Both meters are asked again, by their own account."""
    before = {unit: len(fuxin.served_totals(bus[unit])) for unit in (1, 2)}
    wait_until(lambda: all(len(fuxin.served_totals(bus[unit])) >= before[unit] + more for unit in (1, 2)), 60,
               "both meters are still asked")


def drain_and_stop(gateway, site):
    """Ends polling, and waits until the office has all that is stored."""
    gateway.stop()
    gateway.write(site.changed(lambda document: document.update(links=[], meters=[])))
    gateway.start()
    wait_until(lambda: all(gateway.queue()[lane]["waiting"] == 0 for lane in LANES), 60,
               lambda: f"the outbox drains: {gateway.queue()}")
    gateway.stop()


def assert_balance(gateway, bus, office, lost=1):
    """What the meters answered is what is stored (but for `lost` of each: one that was under way when the program was
    stopped) and what the office has."""
    readings = gateway.export("readings")
    for unit, meter in ((1, "one"), (2, "two")):
        totals = {total for _, total in fuxin.served_totals(bus[unit])}
        stored = [int(line["channels"]["volume_base"]["value"] * 10000) for line in readings
                  if line["meter"] == meter and line["channels"]["volume_base"]["value"] is not None]
        assert len(stored) == len(set(stored)) and set(stored) <= totals
        missing = sorted(totals - set(stored))
        assert len(missing) <= lost, f"{meter}: answered, not stored: {missing}"
        sent = {int(body["channels"]["volume_base"]["value"] * 10000) for body in office.of("reading", meter)
                if body["channels"]["volume_base"]["value"] is not None}
        assert sent >= set(stored)
    result = gateway.verify()
    assert result.status == 0, result.stdout


def test_full_disk_recovers_without_hands(bus, broker, office, gateway, disk):
    on_disk(gateway, disk)
    site = two_meters(bus, broker)
    gateway.write(site)
    gateway.start()
    office.wait_for("reading", "one", count=2)
    gateway.wait_status(lambda status: status["store"]["reserve"], 30, "the reserve is made")

    # Others fill the disk, and fill it again as often as something is freed: the store takes nothing any more, or
    # lives on in the space that its log and its file have.
    def is_full():
        disk.fill()
        status = gateway.status()["store"]
        return status["full"] and not status["reserve"]
    wait_until(is_full, 120, lambda: f"the disk is full: {gateway.status()['store']}")
    wait_asked(bus)
    disk.fill()
    wait_asked(bus)

    disk.clear()
    gateway.wait_status(lambda status: not status["store"]["error"] and status["store"]["waiting"] <= 4, 90,
                        "the store takes readings again")
    alert = office.wait_for("alert", "gateway", lambda body: body["kind"] == "store-full", deadline_s=60)[0]
    assert alert["state"] == "open" and "meter" not in alert and "link" not in alert, alert
    gateway.wait_status(lambda status: status["store"]["reserve"], 60, "the reserve is there again")
    drain_and_stop(gateway, site)
    assert_balance(gateway, bus, office)
    assert not office.holes() and not office.of("gap")


def test_start_on_a_read_only_disk(bus, broker, office, gateway, disk):
    """The last run was killed; the next one finds its disk read-only, polls, and keeps what it reads."""
    on_disk(gateway, disk)
    site = two_meters(bus, broker)
    gateway.write(site)
    gateway.start()
    office.wait_for("reading", "one", count=3)
    stream = gateway.status()["store"]["stream"]
    gateway.kill()
    disk.remount("ro")
    gateway.start()
    status = gateway.wait_status(lambda status: status["store"]["waiting"] >= 4, 60, "readings wait")
    assert status["store"]["open"] is False and "ead-only" in status["store"]["error"], status["store"]
    result = gateway.command("status", "--state", gateway.inside)
    assert result.status in (0, 1) and "TAKES NOTHING" in result.stdout, result.stdout + result.stderr
    assert gateway.call("alerts") == {"open": [], "recent": []}
    wait_asked(bus)

    disk.remount("rw")
    gateway.wait_status(lambda status: status["store"]["open"] and not status["store"]["error"]
                        and status["store"]["waiting"] <= 4, 90, "the store is open, and what waited is recorded")
    assert gateway.status()["store"]["stream"] == stream
    office.wait_for("alert", "gateway", lambda body: body["kind"] == "store-full", deadline_s=60)
    drain_and_stop(gateway, site)
    assert_balance(gateway, bus, office, lost=4)  # and those that the kill took
    assert not office.holes()


def test_a_day_on_a_disk_that_others_fill(tmp_path):
    """The short form of `make fault`'s fulldisk, on the release build."""
    seed = secrets.randbelow(10**9)
    print(f"seed {seed}")
    build = Path(os.environ.get("METERGATE_RELEASE", fulldisk.ROOT / "build" / "metergate")).parent
    figures = fulldisk.run(tmp_path, build, 24, 20, seed)
    assert figures["uncounted"] == 0 and figures["polls"] == 24 * 60 * 20, figures


def damage(path, rng):
    """Overwrites half of the pages, the first one spared, with noise."""
    with open(path, "r+b") as file:
        pages = file.seek(0, 2) // 4096
        for page in rng.sample(range(1, pages), pages // 2):
            file.seek(page * 4096)
            file.write(rng.randbytes(4096))


def test_damaged_store_is_put_aside(bus, broker, office, gateway):
    seed = secrets.randbelow(10**9)
    print(f"seed {seed}")
    gateway.write(two_meters(bus, broker))
    gateway.start()
    office.wait_for("reading", "one", count=3)
    old = gateway.status()["store"]["stream"]
    gateway.stop()
    path = gateway.state / "metergate.db"
    damage(path, random.Random(seed))
    damaged = path.read_bytes()
    gateway.start()
    status = gateway.wait_status(lambda status: status["store"]["readings"] >= 4, 60, "it records again")
    replaced = status["store_replaced"]
    assert status["store"]["stream"] != old and replaced, status["store"]
    assert (gateway.state / replaced["file"]).read_bytes() == damaged, "the old file is kept as it was"
    alert = office.wait_for("alert", "gateway", lambda body: body["kind"] == "store-replaced", deadline_s=60)[0]
    assert alert["stream"] == status["store"]["stream"] and alert["severity"] == "critical", alert
    assert replaced["stream"] in (None, old)
    assert (replaced["stream"] or "unknown") in alert["evidence"]["rule"]
    assert [line for line in gateway.export("audit") if line["action"] == "store-replaced"]
    gateway.stop()
    gateway.start()
    assert gateway.status()["store"]["stream"] == alert["stream"], "and it stays"
    gateway.stop()
    assert gateway.verify().status == 0


def strace_works(tmp_path):
    log = tmp_path / "strace.log"
    done = subprocess.run(["strace", "-f", "-o", log, "-e", "inject=fdatasync:error=EIO:when=1", "true"],
                          capture_output=True, check=False) if shutil.which("strace") else None
    return done is not None and done.returncode == 0


def end_by_the_disk(gateway, bus, tmp_path):
    """Starts the gateway on a disk that fails it soon; it has to end by itself, with the status that says so."""
    traced = strace_works(tmp_path)
    print("EIO at a sync, by strace" if traced else "a write that the kernel refuses, by a limit of the process")
    if traced:
        gateway.enter = ["strace", "-f", "-qq", "-o", tmp_path / "strace.log", "-e", "trace=fdatasync",
                         "-e", "inject=fdatasync:error=EIO:when=22+"]
    gateway.start(wait=False)
    if not traced:
        gateway.wait_ready(60)
        wait_asked(bus, more=1)
        subprocess.run(["prlimit", f"--pid={gateway.child.pid}", "--fsize=4096"], check=True)
    child = gateway.child
    wait_until(lambda: not child.runs(), 60, "the gateway ends")
    gateway.child, gateway.enter = None, []
    gateway.check_output(child)
    assert child.process.returncode == EXIT_DISK, child.stderr()[-2000:]
    assert (gateway.state / "metergate.db.doubt").exists()


def test_failing_disk_ends_the_run_and_the_next_one_goes_on(bus, broker, office, gateway, tmp_path):
    """Nothing is believed after an I/O error; what was stored stays."""
    site = two_meters(bus, broker)
    gateway.write(site)
    end_by_the_disk(gateway, bus, tmp_path)
    gateway.start()
    gateway.wait_status(lambda status: status["store"]["readings"] >= 2, 60, "it records again")
    assert gateway.status()["store_replaced"] is None
    drain_and_stop(gateway, site)
    # The end takes what was not committed yet.
    assert_balance(gateway, bus, office, lost=10)
    assert not office.holes()
