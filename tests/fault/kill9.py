"""kill -9 at random moments under load: what was stored stays, what was sent has one content, nothing has a hole."""
import random
import threading
import time
from datetime import datetime, timedelta, timezone

from load import Load, wait_until

LOOK_BACK_S = 60  # how far back the witness reads while it works; longer than it ever pauses


class Witness:
    """Reads the store from outside, over and over, and keeps every reading that it once saw."""

    def __init__(self, load):
        self._load = load
        self._stop = threading.Event()
        self.seen = {}
        self.exports = 0
        self.fault = None
        self._thread = threading.Thread(target=self._work, name="witness", daemon=True)
        self._thread.start()

    def _work(self):
        while not self._stop.wait(0.1):
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


def run(folder, binary, kills, meters, seed, longest_s=2.5, say=print):
    """Returns the figures; fails on the first promise that is broken."""
    rng = random.Random(seed)
    load = Load(folder, binary, meters)
    witness = None
    began = time.monotonic()
    try:
        load.gateway.start()
        load.office.wait_for("reading", deadline_s=30)
        witness = Witness(load)
        for number in range(1, kills + 1):
            end = time.monotonic() + rng.uniform(0.02, longest_s)
            wait_until(lambda end=end: time.monotonic() >= end or not load.gateway.child.runs(), longest_s + 5,
                       "the moment of the kill", interval_s=0.003)
            load.gateway.kill()
            if number % 25 == 0:
                load.check_verify()
                say(f"  {number} kills, {len(load.received())} readings at the office, {witness.exports} exports")
            load.gateway.start(wait=False)
        load.gateway.wait_ready()
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
        return {"kills": kills, "stored": len(stored), "witnessed": len(witness.seen), "exports": witness.exports,
                "stored_lost": 0, "holes": 0, "replies_not_yet_stored": not_stored,
                "repeated_messages": len(load.office.messages) - len({(m.topic, m.payload)
                                                                      for m in load.office.messages}),
                "seconds": round(time.monotonic() - began)}
    finally:
        if witness:
            witness._stop.set()
        load.close()
