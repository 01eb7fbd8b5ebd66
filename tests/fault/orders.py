"""kill -9 around signed commands: executed once, answered always, with one answer.

Each command is sent again, the same bytes, until it is answered, while the gateway is killed at random moments from
just before the command reaches it to well after its answer. Head office keeps the book: what it sent and what was said."""
import random
import sqlite3
import time

import load  # noqa: F401 - finds lib

from lib.broker import Broker
from lib.gateway import Gateway, run as run_command
from lib.head_office import HeadOffice, Key
from lib.site import Site, office_plain
from lib.wait import wait_until


def listening(gateway):
    status = gateway.ready()
    return status and status["office"]["commands"]["listening"]


def answers_to(head, counter):
    return [answer for answer in list(head.answers) if answer.body["counter"] == counter]


def ask_until_answered(gateway, head, name, payload, counter):
    """How often it had to be sent."""
    for tries in range(1, 20):
        wait_until(lambda: listening(gateway), 60, "commands are subscribed to")
        head.send(name, payload, str(counter).encode())
        end = time.monotonic() + 5
        wait_until(lambda end=end: answers_to(head, counter) or time.monotonic() >= end, 10, "an answer", interval_s=0.005)
        if answers_to(head, counter):
            return tries
    raise AssertionError(f"no answer to {counter} after {tries} tries")


def run(folder, binary, kills, seed, say=print):
    """Returns the figures; fails on the first promise that is broken."""
    rng = random.Random(seed)
    began = time.monotonic()
    broker = Broker(folder)
    head = HeadOffice(broker.port, Key(folder))
    gateway = Gateway(folder, Site(office=office_plain(broker, command_key=str(head.key.public))), binary)
    sent, tried, cut = [], 0, 0
    try:
        gateway.start()
        for number in range(1, kills + 1):
            wait_until(lambda: listening(gateway), 60, "commands are subscribed to")
            counter = head.counter()
            payload = head.key.sign(head.body("feed-acknowledge", {"stream": stream_of(gateway), "lane": "live", "seq": 0},
                                              expires_s=3600, counter=counter))
            sent.append(counter)
            head.send("feed-acknowledge", payload, str(counter).encode())
            end = time.monotonic() + rng.uniform(0, 0.15)
            wait_until(lambda end=end: time.monotonic() >= end, 10, "the moment of the kill", interval_s=0.0005)
            before = len(answers_to(head, counter))
            cut += before == 0
            gateway.kill()
            gateway.start(wait=False)
            if not before:
                tried += ask_until_answered(gateway, head, "feed-acknowledge", payload, counter)
            if number % 100 == 0:
                say(f"  {number} kills, {cut} before the answer was seen")
        gateway.wait_ready()
        gateway.stop()
        judge(gateway, head, sent)
        return {"kills": kills, "cut": cut, "tries": tried, "seconds": round(time.monotonic() - began, 1)}
    finally:
        gateway.stop()
        head.close()
        broker.stop()


def stream_of(gateway):
    store = sqlite3.connect(f"file:{gateway.state / 'metergate.db'}?mode=ro", uri=True)
    try:
        return store.execute("SELECT value FROM setting WHERE key = 'stream'").fetchone()[0]
    finally:
        store.close()


def judge(gateway, head, sent):
    """The audit chain has each command once, as done; whatever was answered twice was answered alike."""
    records = run_command("export", "audit", "--state", gateway.state, "--json", binary=gateway.binary).json_lines()
    done = [record for record in records if record["action"] == "feed-acknowledge" and record["result"] == "done"]
    assert len(done) == len(sent), f"{len(sent)} commands, {len(done)} executed"
    for counter in sent:
        said = {answer.payload for answer in answers_to(head, counter)}
        assert len(said) == 1, f"{counter} was answered {len(said)} times, each differently: {said}"
        assert answers_to(head, counter)[0].body["ok"], said
    assert run_command("verify", "--state", gateway.state, binary=gateway.binary).status == 0
