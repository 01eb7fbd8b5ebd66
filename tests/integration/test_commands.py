"""Signed commands from head office (contract, section 5), asked and answered over mosquitto: python3-cryptography signs,
python3-paho-mqtt sends. What is refused is counted and stands in the audit chain; what is executed is executed once."""
import base64
import json
import subprocess
import time

import paho.mqtt.client as mqtt
import pytest
from lib.cut_proxy import UP, CutProxy
from lib.gateway import run
from lib.head_office import RESPONSES, HeadOffice, Key, encode
from lib.schemas import Schemas
from lib.site import Site, office_plain
from lib.wait import wait_until

LISTEN_S = 40


@pytest.fixture
def key(tmp_path):
    return Key(tmp_path)


@pytest.fixture
def head(broker, key):
    one = HeadOffice(broker.port, key)
    yield one
    one.close()


@pytest.fixture
def site(broker, key):
    """No meter: only what head office asks is of interest."""
    return Site(office=office_plain(broker, command_key=str(key.public), unsubscribed="accept"))


@pytest.fixture
def listening(gateway, site):
    gateway.write(site)
    gateway.start()
    wait_listening(gateway)
    return gateway


def commands(gateway):
    return gateway.status()["office"]["commands"]


def wait_listening(gateway):
    gateway.wait_status(lambda status: status["office"]["commands"]["listening"], LISTEN_S, "commands are subscribed to")


def wait_refused(gateway, kind, count=1):
    gateway.wait_status(lambda status: status["office"]["commands"]["refused"][kind] >= count, 30, f"{count} x {kind}")


def audited(gateway, result):
    records = run("export", "audit", "--state", gateway.state, "--json").json_lines()
    return [record for record in records if record["who"] == "office" and record["result"] == result]


def test_a_command_is_executed_answered_and_audited(listening, head):
    answer = head.ask("status")
    assert answer["ok"] and answer["result"]["gateway"] == "site-042"
    assert answer["name"] == "status"
    assert head.answers[0].topic == RESPONSES
    found = commands(listening)
    assert found["executed"] == 1 and found["last"] and sum(found["refused"].values()) == 0
    assert [record["action"] for record in audited(listening, "done")] == ["status"]
    assert run("verify", "--state", listening.state).status == 0


def test_the_same_command_again_gets_the_stored_answer(listening, head, key):
    payload = key.sign(head.body("status"))
    first = head.ask_payload("status", payload)
    again = head.ask_payload("status", payload)
    assert first == again, "byte for byte what was answered first, its instant included"
    listening.kill()
    listening.start()
    wait_listening(listening)
    assert head.ask_payload("status", payload) == first
    assert len(audited(listening, "done")) == 1
    assert commands(listening)["repeated"] == 1


def test_answers_without_a_response_topic_go_to_reply(listening, head, key):
    head.send("status", key.sign(head.body("status")), response=None)
    assert head.wait_answers(1)[0].topic == "metergate/v1/site-042/reply"
    # A response topic that would pass for the feed, or is none.
    for count, topic in enumerate(("metergate/v1/site-042/state", "metergate/v1/site-042", "$SYS/x"), 2):
        head.send("status", key.sign(head.body("status")), response=topic)
        assert head.wait_answers(count)[count - 1].topic == "metergate/v1/site-042/reply", topic


def test_mqtt_3_asks_and_is_answered_on_reply(listening, broker, key):
    three = HeadOffice(broker.port, key, version=mqtt.MQTTv311)
    try:
        three.send("status", key.sign(three.body("status")))
        answer = three.wait_answers(1)[0]
        assert answer.topic == "metergate/v1/site-042/reply" and answer.body["ok"]
    finally:
        three.close()


def test_signed_refusals_are_answered(listening, head, key):
    """Each with its reason, counted and audited; none of them moves the counter or is executed."""
    late = head.counter()
    assert head.ask("status")["ok"]
    cases = [("expired", {"expires_s": -1}), ("replayed", {"counter": late}), ("wrong-gateway", {"gateway": "site-043"}),
             ("malformed", {"counter": int(time.time() * 1000) + 48 * 3600_000}), ("malformed", {"counter": 0}),
             ("malformed", {"counter": -5}), ("malformed", {"expires": "10000-01-01T00:00:00Z"}), ("malformed", {"more": 1}),
             ("malformed", {"name": "live"}), ("malformed", {"arguments": 7})]
    for code, other in cases:
        answer = head.ask("status", **other)
        assert not answer["ok"] and answer["code"] == code, (code, other, answer)
    head.send("status", key.sign(head.body("status")), retain=True)
    wait_refused(listening, "retained")
    refused = commands(listening)["refused"]
    assert {kind: count for kind, count in refused.items() if count} == \
        {"expired": 1, "replayed": 1, "wrong-gateway": 1, "malformed": 7, "retained": 1}
    for kind, count in refused.items():
        assert len(audited(listening, kind)) == count, kind
    assert commands(listening)["executed"] == 1 and head.ask("status")["ok"]
    # The retained one comes again with each subscription, and is refused again.
    listening.stop()
    listening.start()
    wait_refused(listening, "retained")
    head.send("status", b"", retain=True)


def test_a_failed_command_is_answered_and_its_counter_is_used(listening, head, key):
    payload = key.sign(head.body("bus", {"link": "nowhere"}))
    answer = head.ask_payload("bus", payload)
    assert answer["code"] == "failed" and "nowhere" in answer["error"]
    assert head.ask_payload("bus", payload) == answer
    assert head.ask("no-such-thing")["code"] == "unknown"
    assert head.ask("bus", {"wrong": 1})["code"] == "arguments"
    for name in ("user-add", "user-passwd", "claim", "login", "reload"):
        assert head.ask(name)["code"] == "role", name
    assert run("verify", "--state", listening.state).status == 0


def test_without_a_key_commands_are_refused(gateway, head, site, key, tmp_path):
    gateway.write(site.changed(lambda document: document["office"].pop("command_key")))
    gateway.start()
    wait_listening(gateway)
    head.send("status", key.sign(head.body("status")))
    wait_refused(gateway, "no-key")
    # The key comes with a reload; one that is no key is named.
    broken = tmp_path / "broken.pub"
    broken.write_text("no key\n")
    gateway.write(site.changed(lambda document: document["office"].update(command_key=str(broken))))
    gateway.call("reload")
    wait_listening(gateway)
    head.send("status", key.sign(head.body("status")))
    wait_refused(gateway, "no-key", 2)
    assert "Ed25519" in commands(gateway)["error"]
    broken.write_bytes(key.public.read_bytes())
    assert head.ask("status")["ok"]
    assert commands(gateway)["error"] is None and not head.wait_answers(1)[1:]


def hostile(head, key):
    """Payloads that must not be executed, each with what becomes of it."""
    good = key.sign(head.body("status"))
    other = json.loads(good)
    strange = [(b"", "malformed"), (b"{", "malformed"), (b"null", "malformed"), (b"\x00" * 64, "malformed"), (b"\xff\xfe{}", "malformed"),
               (b"[" * 16000, "malformed"), (b'{"a":' * 2700, "malformed"), (b"x" * 16385, "oversized"), (b"{" + b" " * 1_000_000, "oversized"),
               (good.replace(b"command/1", b"command/2"), "malformed"), (good[:-1] + b',"x":1}', "malformed"),
               (good[:-1] + b',"body":"e30"}', "malformed")]
    for signature, kind in ((None, "unsigned"), ("", "unsigned"), ("AAAA", "malformed"), ("*" * 86, "malformed"),
                            (encode(bytes(64)), "unsigned"), (encode(bytes(63)), "malformed"), (encode(bytes(65)), "malformed"),
                            (other["signature"] + "=", "malformed"), (other["signature"][:-1], "malformed"), (7, "malformed")):
        changed = {**other, "signature": signature}
        if signature is None:
            del changed["signature"]
        strange.append((json.dumps(changed).encode(), kind))
    for body in ("", "A", "e3+", "====", base64.b64encode(b"\xff" * 30).decode(), "e30\u0000"):
        strange.append((json.dumps({**other, "body": body}).encode(), "malformed"))
    for body in (b"{}", b"[]", b"\x00", b"not json", b'{"gateway":' * 1000, head.body("status", counter=2 ** 63),
                 head.body("status", counter=1.5), head.body("status", counter="1"), head.body("status", expires=0),
                 head.body("status", arguments=None).replace(b"{}", b"null"), head.body("status", gateway="site-042\u0000"),
                 head.body("status").replace(b"}", b',"counter":1}')):
        strange.append((key.sign(body), "malformed"))
    return strange


def test_a_hostile_corpus_executes_nothing(listening, head, key):
    """Each kind is counted as what it is. At the pace at which commands are taken, so that none is dropped."""
    expected = {}
    for payload, kind in hostile(head, key):
        head.send("status", payload)
        expected[kind] = expected.get(kind, 0) + 1
        wait_refused(listening, kind, expected[kind])
    assert {kind: count for kind, count in commands(listening)["refused"].items() if count} == expected
    assert commands(listening)["executed"] == 0 and not audited(listening, "done")
    other = Key(listening.folder, "another")
    head.send("status", other.sign(head.body("status")))
    wait_refused(listening, "unsigned", expected["unsigned"] + 1)
    assert head.ask("status")["ok"]


def test_a_flood_is_counted_and_stops_nothing(listening, head, key, office):
    """2,000 commands at once: what is not looked at is counted as busy, and the next good one is still executed."""
    junk = key.sign(b"{}")
    for _ in range(2000):
        head._client.publish(f"{head.base}/command/status", junk, qos=1)
    wait_until(lambda: sum(commands(listening)["refused"].values()) >= 2000, 60, "all are counted")
    refused = commands(listening)["refused"]
    assert refused["busy"] > 0 and refused["malformed"] + refused["busy"] == 2000
    office.wait_for("state", where=lambda body: body["online"])
    assert head.ask("status", deadline_s=60)["ok"]
    assert len(audited(listening, "malformed")) + len(audited(listening, "busy")) <= 130


def test_an_answer_survives_the_end_of_the_process(broker, gateway, head, key, site):
    """Executed, and kill -9 before a byte of the answer is out: executed once, and answered after the restart."""
    proxy = CutProxy(broker.port)
    try:
        gateway.write(site.changed(lambda document: document["office"].update(url=f"mqtt://127.0.0.1:{proxy.port}")))
        gateway.start()
        wait_listening(gateway)
        head.ask("status")
        payload = key.sign(head.body("status"))
        proxy.cut_after(UP, 1)
        head.send("status", payload, b"the second")
        gateway.wait_status(lambda status: status["office"]["commands"]["executed"] == 2, 30, "it is executed")
        gateway.kill()
        assert len(head.answers) == 1, "nothing of its answer had gone out"
        gateway.start()
        answer = head.wait_answers(2, LISTEN_S)[1]
        assert answer.correlation == b"the second" and answer.body["ok"]
        wait_listening(gateway)
        assert head.ask_payload("status", payload) == answer.body
        assert len(audited(gateway, "done")) == 2
        assert commands(gateway)["executed"] == 0 and commands(gateway)["repeated"] == 1
    finally:
        gateway.stop()
        proxy.close()


def test_the_command_line_signs_for_head_office(listening, head, key, tmp_path):
    """What `metergate office sign` prints is what a gateway takes; keys as the README makes them, by openssl."""
    made = tmp_path / "made.pem"
    public = tmp_path / "made.pub"
    subprocess.run(["openssl", "genpkey", "-algorithm", "ed25519", "-out", made], check=True, capture_output=True)
    subprocess.run(["openssl", "pkey", "-in", made, "-pubout", "-out", public], check=True, capture_output=True)
    key.public.write_bytes(public.read_bytes())
    signed = run("office", "sign", "--key", made, "--gateway", "site-042", "--name", "audit", "--arguments", '{"limit": 2}',
                 "--expires", "60")
    assert signed.status == 0, signed.stderr
    assert Schemas().faults(json.loads(signed.stdout)) == []
    assert head.ask_payload("audit", signed.stdout.strip().encode())["ok"]
    for arguments, status in ((["--key", public], 1), (["--arguments", "[]"], 2), (["--arguments", "{"], 2), (["--gateway", "Site"], 2),
                              (["--expires", "0"], 2), (["--expires", "x"], 2), (["--name", "a b"], 2), (["--key", tmp_path / "none"], 1)):
        given = {"--key": made, "--gateway": "site-042", "--name": "status", "--arguments": "{}", "--expires": "60",
                 arguments[0]: arguments[1]}
        refused = run("office", "sign", *(part for pair in given.items() for part in pair))
        assert refused.status == status and refused.stderr and not refused.stdout, (arguments, refused.stderr)
