"""After the broker has a message: head office asks for it again, and says what its own database has. The office fixture
compares every repetition with what came first under the same lane and seq, byte for byte."""
import json

import pytest
from lib import fuxin
from lib.gateway import run
from lib.head_office import HeadOffice, Key
from lib.site import Site, office_plain
from lib.wait import wait_until


@pytest.fixture
def head(broker, tmp_path):
    one = HeadOffice(broker.port, Key(tmp_path))
    yield one
    one.close()


@pytest.fixture
def site(meters, broker, head):
    served = meters.tcp([1])
    fuxin.count_up(served[1])
    office = office_plain(broker, command_key=str(head.key.public))
    return Site(office=office).link("hall", served.url).meter("one", "hall", 1, display_checked="2026-11-20")


def replays(office, lane, seq):
    return sum(1 for message in list(office.messages) if message.properties.get("replay") == "1"
               and message.body.get("lane") == lane and message.body.get("seq") == seq)


def wait_listening(gateway):
    gateway.wait_status(lambda status: status["office"]["commands"]["listening"], 40, "commands are subscribed to")


def wait_live(office, count):
    wait_until(lambda: len(office.seqs("live")) >= count, 60, lambda: f"{count} live messages, there are {office.seqs('live')}")


def wait_done(gateway, job):
    def done():
        found = [one for one in gateway.status()["office"]["resends"] if one["id"] == job]
        return found[0] if found and found[0]["state"] == "done" else None
    return wait_until(done, 60, lambda: f"resend {job}: {gateway.status()['office']['resends']}")


def test_a_range_comes_again_with_the_same_bytes(site, office, head, gateway):
    gateway.write(site)
    gateway.start()
    wait_listening(gateway)
    wait_live(office, 8)
    for round_ in (1, 2):
        answer = head.ask("resend", {"lane": "live", "first": 2, "last": 5})
        assert answer["ok"], answer
        (job,) = answer["result"]["resends"]
        assert (job["lane"], job["first"], job["last"], job["stored"]) == ("live", 2, 5, 4)
        found = wait_done(gateway, job["id"])
        assert (found["sent"], found["expired"], found["next"], found["who"]) == (4, 0, 6, "office")
        wait_until(lambda: all(replays(office, "live", seq) == round_ for seq in (2, 3, 4, 5)), 20, "each came again")
        assert replays(office, "live", 1) == replays(office, "live", 6) == 0
    # By time, from the command line: what tells of the instant of one reading.
    reading = next(body for body in office.of("reading", "one") if (body["lane"], body["seq"]) == ("live", 3))
    told = run("resend", "--state", gateway.state, "--lane", "live", "--from", reading["at"], "--to", "2099-01-01T00:00:00Z", "--json")
    assert told.status == 0, told.stderr
    (job,) = json.loads(told.stdout)["resends"]
    assert job["first"] == 3
    wait_done(gateway, job["id"])
    wait_until(lambda: replays(office, "live", 3) == 3, 20, "the reading came again")
    assert replays(office, "live", 2) == 2
    for arguments in (["--lane", "live", "--first", "1", "--last", "200000"], ["--lane", "live", "--first", "100000", "--last", "100001"],
                      ["--cancel", "77"], ["--from", "2026-01-02", "--to", "2026-01-01"]):
        assert run("resend", "--state", gateway.state, *arguments).status == (0 if "200000" in arguments else 1), arguments
    for arguments in (["--lane", "live"], ["--first", "1", "--last", "2"], ["--first", "0", "--last", "2", "--lane", "live"], ["--to", "x"]):
        assert run("resend", "--state", gateway.state, *arguments).status == 2, arguments
    for arguments in ({}, {"lane": "fast", "first": 1, "last": 2}, {"lane": "live", "first": 2, "last": 1}, {"lane": "live", "first": -1, "last": 1},
                      {"lane": "live", "from": "x", "to": "y"}, {"lane": "live", "first": 1, "last": 2, "from": reading["at"]}):
        assert head.ask("resend", arguments)["code"] == "arguments", arguments
    office.check()
    gateway.stop()
    assert run("verify", "--state", gateway.state).status == 0


def test_a_resend_survives_the_end_of_the_process(site, office, head, gateway):
    """kill -9 as soon as it is executed, whether its answer is out or not: kept once, done, and answered."""
    gateway.write(site)
    gateway.start()
    wait_listening(gateway)
    wait_live(office, 4)
    payload = head.key.sign(head.body("resend", {"lane": "live", "first": 1, "last": 3}))
    head.send("resend", payload, b"again")
    gateway.wait_status(lambda status: status["office"]["commands"]["executed"] == 1, 30, "it is executed")
    gateway.kill()
    gateway.start()
    answer = head.wait_answers(1, 60, lambda answer: answer.correlation == b"again")[0]
    done = wait_done(gateway, answer.body["result"]["resends"][0]["id"])
    assert (done["sent"], done["expired"]) == (3, 0), done
    wait_listening(gateway)
    assert head.ask_payload("resend", payload) == answer.body
    assert len(gateway.status()["office"]["resends"]) == 1
    wait_until(lambda: all(replays(office, "live", seq) >= 1 for seq in (1, 2, 3)), 20,
               lambda: f"each came again: {[replays(office, 'live', seq) for seq in (1, 2, 3)]}, {done}")
    office.check()


def test_head_office_says_what_it_has(site, office, head, gateway):
    gateway.write(site.changed(lambda document: document["office"].update(acknowledge="office")))
    gateway.start()
    wait_listening(gateway)
    wait_live(office, 4)
    stream = office.of("reading", "one")[0]["stream"]
    answer = head.ask("feed-acknowledge", {"stream": stream, "lane": "live", "seq": 3})
    assert answer["ok"] and answer["result"]["confirmed"] == 3
    assert head.ask("feed-acknowledge", {"stream": stream, "lane": "live", "seq": 2})["result"]["confirmed"] == 3
    gateway.wait_status(lambda status: status["office"]["lanes"]["live"]["confirmed"] == 3, 20, "status says it")
    for wrong in ({"stream": "6f1c2a34-5b6d-4e7f-8a9b-0c1d2e3f4a5b", "lane": "live", "seq": 3}, {"stream": stream, "lane": "live", "seq": 10**9}):
        assert head.ask("feed-acknowledge", wrong)["code"] == "failed"
    for wrong in ({"stream": stream, "lane": "live"}, {"stream": stream, "lane": "x", "seq": 1}, {"stream": stream, "lane": "live", "seq": -1}):
        assert head.ask("feed-acknowledge", wrong)["code"] == "arguments"
    gateway.stop()
    gateway.start()
    gateway.wait_status(lambda status: status["office"]["lanes"]["live"]["confirmed"] == 3, 30, "it is kept")
    office.wait_for("state", where=lambda body: body["queue"]["live"]["confirmed"] == 3)
    office.check()
