"""Half-open links: the way to the broker goes silent both ways while the connections stay open, inside a PUBLISH, inside
a PUBACK, or while nothing is sent. Several gateways side by side; every other one over TLS."""
import random
import threading
import time

from load import Load, wait_until

from lib.certificates import Authority
from lib.cut_proxy import DOWN, UP, CutProxy

FOUND_S = 30          # the bar
QUIET_INTERVAL_S = 15
PUBLISH_BYTES = 3000  # a cut falls somewhere into the next three messages
PUBACK_BYTES = 40     # or into the next few answers
KINDS = (UP, DOWN, "idle")


class Side:
    """One gateway with a proxy of its own between it and its broker."""

    def __init__(self, folder, binary, meters, quiet, tls):
        folder.mkdir()
        self.quiet = quiet
        self.stored = self.repeated = 0
        authority = Authority(folder) if tls else None
        self.load = Load(folder, binary, meters, interval_s=QUIET_INTERVAL_S if quiet else 1, tls=authority)
        self.proxy = CutProxy(self.load.broker.tls_port if tls else self.load.broker.port)
        section = {"url": f"mqtt://127.0.0.1:{self.proxy.port}"}
        if tls:
            certificate, key = authority.sign("site-042", use="clientAuth")
            section = {"url": f"mqtts://localhost:{self.proxy.port}", "ca": str(authority.certificate),
                       "certificate": str(certificate), "key": str(key)}
        self.load.office_section(section)

    def online(self):
        return self.load.gateway.status()["office"]["state"] == "online"

    def cut(self, rng):
        """One cut; (kind, seconds until the gateway gave the connection up)."""
        kind = "idle" if self.quiet else rng.choice((UP, DOWN))
        wait_until(self.online, 90, "online before the cut")
        if kind == "idle":
            quiet_s = rng.uniform(0.2, 9)
            wait_until(lambda: self.proxy.quiet_s() >= quiet_s, 60, "the line is quiet")
            self.proxy.cut_now()
        else:
            self.proxy.cut_after(kind, rng.randrange(1, PUBLISH_BYTES if kind == UP else PUBACK_BYTES))
            self.proxy.wait_cut(30)
        connections = self.proxy.connections
        found_s = self.proxy.wait_found(3 * FOUND_S)
        wait_until(lambda: self.proxy.connections > connections and self.online(), 90, "online again")
        return kind, found_s

    def judge(self):
        """Everything that is stored is at the office, once, in order."""
        stored = self.load.finish()
        self.load.check_values(stored)
        self.load.check_office(stored)
        self.load.check_verify()
        events = [message for message in self.load.office.messages if message.body and "seq" in message.body]
        self.stored = len(stored)
        self.repeated = len(events) - len({(message.topic, message.payload) for message in events})

    def close(self):
        try:
            self.load.close()
        finally:
            self.proxy.close()


def share(count, sides):
    return [count // sides + (1 if side < count % sides else 0) for side in range(sides)]


def work(side, count, seed, found, faults):
    rng = random.Random(seed)
    try:
        side.load.gateway.start()
        for meter in side.load.by_id:
            side.load.office.wait_for("reading", meter, deadline_s=60)
        for _ in range(count):
            found.append(side.cut(rng))
        side.judge()
    except Exception as error:  # told in the main thread
        faults.append(error)


def run(folder, binary, cuts, seed, sides=10, meters=3, say=print):
    """Returns the figures; fails on the first promise that is broken."""
    found, faults, all_sides = [], [], []
    began = time.monotonic()
    try:
        for number in range(sides):
            all_sides.append(Side(folder / f"side-{number}", binary, meters, quiet=number % 3 == 2, tls=number % 2 == 1))
        threads = [threading.Thread(target=work, args=(side, count, seed + number, found, faults), daemon=True)
                   for number, (side, count) in enumerate(zip(all_sides, share(cuts, sides)))]
        for thread in threads:
            thread.start()
        told = 0
        while alive := [thread for thread in threads if thread.is_alive()]:
            alive[0].join(5)
            if len(found) - told >= 10:
                told = len(found)
                say(f"  {told} cuts, slowest found after {max(seconds for _, seconds in found):.1f} s")
        if faults:
            raise faults[0]
        slowest = {kind: round(max((seconds for of, seconds in found if of == kind), default=0), 1) for kind in KINDS}
        assert max(slowest.values()) <= FOUND_S, f"found after {slowest} s"
        return {"cuts": len(found), "kinds": {kind: sum(of == kind for of, _ in found) for kind in KINDS},
                "slowest_s": slowest, "median_s": round(sorted(seconds for _, seconds in found)[len(found) // 2], 1),
                "stored": sum(side.stored for side in all_sides), "lost": 0,
                "repeated": sum(side.repeated for side in all_sides),
                "seconds": round(time.monotonic() - began)}
    finally:
        for side in all_sides:
            side.close()
