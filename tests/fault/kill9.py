"""kill -9 at random moments under load: what was stored stays, what was sent has one content, nothing has a hole."""
import random
import signal
import threading
import time
from concurrent.futures import ProcessPoolExecutor
from datetime import datetime, timedelta, timezone

from load import Load, wait_until

from lib.kill_at import KillAt

LIFE_S = 1.4          # of one of several gateways, at most
CALL_DEADLINE_S = 120  # for a call to come
LOOK_BACK_S = 60  # how far back the witness reads while it works; longer than it ever pauses


class Witness:
    """Reads the store from outside, over and over, and keeps every reading that it once saw."""

    def __init__(self, load, pause_s):
        self._load = load
        self._pause_s = pause_s
        self._stop = threading.Event()
        self.seen = {}
        self.exports = 0
        self.fault = None
        self._thread = threading.Thread(target=self._work, name="witness", daemon=True)
        self._thread.start()

    def _work(self):
        while not self._stop.wait(self._pause_s):
            since = datetime.now(timezone.utc) - timedelta(seconds=LOOK_BACK_S)
            try:
                if not (self._load.gateway.state / "metergate.db").exists():
                    continue
                self.look(since.strftime("%Y-%m-%dT%H:%M:%S.000Z"))
            except AssertionError as error:
                self.fault = error
                return

    def look(self, since):
        for key, line in self._load.export("--from", since).items():
            assert self.seen.setdefault(key, line) == line, f"{key} changed: {self.seen[key]} and {line}"
        self.exports += 1

    def stop(self):
        self._stop.set()
        self._thread.join(120)
        assert not self._thread.is_alive()
        if self.fault:
            raise self.fault


def at_random(longest_s):
    """Kills at any moment of a life of at most `longest_s`. A way to kill takes the load, the number of the life and the
    run's chance; the gateway is dead when it returns."""
    def kill(load, _number, rng):
        load.gateway.start(wait=False)
        end = time.monotonic() + rng.uniform(0.02, longest_s)
        wait_until(lambda: time.monotonic() >= end or not load.gateway.child.runs(), longest_s + 5, "the moment of the kill",
                   interval_s=0.003)
        load.gateway.kill()
    return kill


def at_calls(folder, numbers):
    """Kills life n in front of its numbers[n]-th call that changes a file of its state folder."""
    shim = KillAt(folder)

    def kill(load, number, _rng):
        load.gateway.environment = shim.environment(load.gateway.state, numbers[number])
        load.gateway.start(wait=False)
        load.gateway.environment = None
        child, load.gateway.child = load.gateway.child, None
        try:
            wait_until(lambda: not child.runs(), CALL_DEADLINE_S, f"call {numbers[number]} of a life")
        finally:
            child.process.kill()
        load.gateway.check_output(child)
        assert child.process.returncode == -signal.SIGKILL, f"it ended with {child.process.returncode}: {child.stderr()[-3000:]}"
    return kill


WITNESSED_LEAST = 5  # readings, or nothing was put to the test
MOST_LIVES = 20  # for each kill that was asked for, until the witness has seen enough


def run(folder, binary, kills, meters, seed, kill=None, witness_s=0.1, verify_each=25, commit_ms=1000, say=print,
        witnessed=0):
    """Kills until it has killed `kills` times and its witness has seen `witnessed` readings. Returns the figures; fails on
    the first promise that is broken."""
    kill = kill or at_random(2.5)
    rng = random.Random(seed)
    load = Load(folder, binary, meters, commit_ms=commit_ms)
    witness = None
    began = time.monotonic()
    try:
        load.gateway.start()
        load.office.wait_for("reading", deadline_s=30)
        load.gateway.kill()
        witness = Witness(load, witness_s)
        killed = 0
        while killed < kills or len(witness.seen) < witnessed:
            assert killed < MOST_LIVES * kills, f"{killed} lives, and only {len(witness.seen)} readings seen"
            kill(load, killed, rng)
            killed += 1
            if killed % verify_each == 0:
                load.check_verify()
                say(f"  {killed} kills, {len(load.received())} readings at the office, {witness.exports} exports")
        load.gateway.start()
        wait_until(lambda: witness.fault or len(witness.seen) >= WITNESSED_LEAST, 120, "the witness has seen readings")
        witness.stop()
        load.wait_drained(300)
        stored = load.finish()
        vanished = sorted(set(witness.seen) - set(stored))
        assert not vanished, f"{len(vanished)} readings that were exported once are gone, first {vanished[:5]}"
        changed = [key for key in witness.seen if witness.seen[key] != stored[key]]
        assert not changed, f"{len(changed)} readings changed, first {changed[:3]}"
        not_stored = load.check_values(stored)
        load.check_office(stored)
        load.check_verify()
        return {"kills": killed, "stored": len(stored), "witnessed": len(witness.seen), "exports": witness.exports,
                "stored_lost": 0, "holes": 0, "replies_not_yet_stored": not_stored,
                "repeated_messages": len(load.office.messages) - len({(m.topic, m.payload)
                                                                      for m in load.office.messages}),
                "seconds": round(time.monotonic() - began)}
    finally:
        if witness:
            witness._stop.set()
        load.close()


def silent(_text):
    pass


def one_side(folder, binary, kills, meters, seed, calls):
    """`calls`: of which calls to kill in front, None: at random moments."""
    folder.mkdir()
    way = at_random(LIFE_S) if calls is None else at_calls(folder, calls)
    try:
        return run(folder, binary, kills, meters, seed, way, witness_s=2, verify_each=200, commit_ms=100, say=silent)
    except BaseException as error:
        raise AssertionError(f"{kills} kills, {meters} meters, seed {seed}, calls {calls}: {error}") from error


def sides_run(folder, binary, shares, meters, seed, say):
    """Several gateways side by side, each with its own meters, broker, office and witness: short lives that commit often.
    `shares`: for each of them (kills, calls)."""
    began = time.monotonic()
    with ProcessPoolExecutor(len(shares)) as pool:
        waiting = [pool.submit(one_side, folder / f"side-{side}", binary, kills, meters, seed + side, calls)
                   for side, (kills, calls) in enumerate(shares)]
        figures = []
        for future in waiting:
            figures.append(future.result())
            say(f"  {figures[-1]}")
    total = {name: sum(one[name] for one in figures) for name in figures[0]}
    total["seconds"] = round(time.monotonic() - began)
    return total


def run_sides(folder, binary, kills, meters, seed, sides, say=print):
    shares = [(kills // sides + (side < kills % sides), None) for side in range(sides)]
    return sides_run(folder, binary, shares, meters, seed, say)


def run_calls(folder, binary, last, meters, sides, say=print, each=1):
    """A kill in front of every `each`-th call up to `last`: of a start on what the kill before has left, and of the
    rounds after it."""
    calls = [list(range(1 + side * each, last + 1, each * sides)) for side in range(sides)]
    return sides_run(folder, binary, [(len(share), share) for share in calls], meters, 0, say)
