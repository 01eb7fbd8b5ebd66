"""The broker is away for minutes: everything that was stored meanwhile is delivered after, in order per lane."""
import time

from load import LANES, Load, wait_until


def waiting(load):
    queue = load.gateway.queue()
    return sum(queue[lane]["last"] - queue[lane]["acknowledged"] for lane in LANES)


def run(folder, binary, minutes, meters, say=print, least=0):
    """At least so many minutes, until `least` messages wait. Returns the figures; fails on the first promise that is broken."""
    load = Load(folder, binary, meters)
    try:
        load.gateway.start()
        for meter in load.by_id:
            load.office.wait_for("reading", meter, deadline_s=60)
        load.broker.stop()
        began = time.monotonic()
        load.gateway.wait_status(lambda status: status["office"]["state"] != "online", 60, "the loss is seen")
        served = {name: len(meter.log) for name, meter in load.by_id.items()}
        seconds = minutes * 60
        wait_until(lambda: time.monotonic() - began >= seconds and waiting(load) >= least, 2 * seconds + 10, "the outage",
                   interval_s=0.5)
        seconds = time.monotonic() - began
        polled = {name: len(meter.log) - served[name] for name, meter in load.by_id.items()}
        slow = {name: count for name, count in polled.items() if count < (seconds - 10) * 0.9}
        assert not slow, f"polling suffered from the outage: {slow}"
        backlog = waiting(load)
        say(f"  {backlog} messages wait after {time.monotonic() - began:.0f} s")
        load.broker.start()
        back = time.monotonic()
        load.wait_drained(600)
        drained_s = time.monotonic() - back
        stored = load.finish()
        load.check_values(stored)
        load.check_office(stored)
        load.check_verify()
        return {"minutes": minutes, "meters": meters, "backlog": backlog, "stored": len(stored), "lost": 0,
                "out_of_order": 0, "drained_s": round(drained_s, 1)}
    finally:
        load.close()
