"""Accounts, status and the control socket of the real program, and the claim through the real page."""
import json
import os
import pty
import re
import select
import socket
import stat
import struct
import subprocess

import pytest

from lib import control, fuxin
from lib.gateway import program, run
from lib.page_server import PageClient
from lib.ports import free_port, listens
from lib.site import Site
from lib.wait import wait_until

PASSWORD = "correct horse battery"
CODE = re.compile(r"\b([0-9A-HJKMNP-TV-Z]{4}(?:-[0-9A-HJKMNP-TV-Z]{4}){6})\b")


def user(state, *arguments, password=None):
    return run("user", *arguments, "--state", state, stdin=None if password is None else password + "\n")


def audit(state):
    return run("export", "audit", "--state", state, "--json").json_lines()


# --- accounts without a gateway ---

def test_accounts_under_the_lock(tmp_path):
    state = tmp_path / "state"
    state.mkdir()
    done = user(state, "add", "anna", "--role", "leader", password=PASSWORD)
    assert done.status == 0, done.stderr
    assert user(state, "add", "bert", "--role", "viewer", password="密码密码密码密码密码密码").status == 0
    listed = user(state, "list", "--json")
    assert json.loads(listed.stdout) == [{"name": "anna", "role": "leader"}, {"name": "bert", "role": "viewer"}]
    assert user(state, "list").stdout.split() == ["NAME", "ROLE", "anna", "leader", "bert", "viewer"]
    assert user(state, "passwd", "bert", password="another good one").status == 0
    again = user(state, "add", "anna", "--role", "viewer", password=PASSWORD)
    assert again.status == 1 and "already" in again.stderr
    last = user(state, "remove", "anna")
    assert last.status == 1 and "last leader" in last.stderr
    assert user(state, "remove", "bert").status == 0
    assert user(state, "remove", "bert").status == 1
    records = [(one["action"], one["subject"], one["result"]) for one in audit(state)]
    assert records == [("user-add", "anna", "done"), ("user-add", "bert", "done"), ("user-passwd", "bert", "done"),
                       ("user-add", "anna", "failed"), ("user-remove", "anna", "failed"),
                       ("user-remove", "bert", "done"), ("user-remove", "bert", "failed")]
    assert all(one["who"] == f"local:{os.geteuid()}" for one in audit(state))
    assert run("verify", "--state", state).status == 0
    # No password, in no form, in any file but as a salted hash.
    for path in state.iterdir():
        if path.is_file():
            assert PASSWORD.encode() not in path.read_bytes()


@pytest.mark.parametrize("arguments,password,status,part", [
    (("add", "bert", "--role", "viewer"), "short", 1, "12"),
    (("add", "bert", "--role", "viewer"), "x" * 129, 1, "128"),
    (("add", "bert", "--role", "viewer"), "x" * 3000, 1, "128"),
    (("add", "bert", "--role", "viewer"), None, 1, "stdin"),
    (("add", "bert", "--role", "king"), PASSWORD, 1, "leader"),
    (("add", "Bert", "--role", "viewer"), PASSWORD, 1, "a-z"),
    (("add", "office", "--role", "viewer"), PASSWORD, 1, "reserved"),
    (("add", "local:0", "--role", "viewer"), PASSWORD, 1, "a-z"),
    (("add", "bert"), PASSWORD, 2, "--role"),
    (("add", "--role", "viewer"), PASSWORD, 2, "name"),
    (("add", "a", "b", "--role", "viewer"), PASSWORD, 2, "too many"),
    (("list", "bert"), None, 2, "name"),
    (("passwd", "bert", "--role", "viewer"), PASSWORD, 2, "--role"),
    (("promote", "bert"), None, 2, "promote"),
    ((), None, 2, "add"),
    (("list", "--nonsense"), None, 2, "nonsense")])
def test_user_says_what_is_wrong(tmp_path, arguments, password, status, part):
    done = user(tmp_path, *arguments, password=password)
    assert done.status == status and part in done.stderr and done.stdout == "", done.stderr


def test_usage(tmp_path):
    for command in ("user", "status"):
        shown = run(command, "--help")
        assert shown.status == 0 and "--state" in shown.stdout
        assert run(command, "list").status == 2
    nobody = run("status", "--state", tmp_path)
    assert nobody.status == 1 and "metergate run" in nobody.stderr and nobody.stdout == ""
    assert run("user", "list", "--state", tmp_path / "no").status == 1
    assert "hash" not in run("--help").stdout.split()


def test_a_password_is_not_shown_on_a_terminal(tmp_path):
    def type_in(*lines):
        """Runs the command on a terminal; types each line when it is asked for; returns status and the screen."""
        child, terminal = pty.fork()
        if child == 0:
            os.execv(program(), [str(program()), "user", "add", "anna", "--role", "leader", "--state", str(tmp_path)])
        screen, waiting = b"", list(lines)
        while True:
            if not select.select([terminal], [], [], 60)[0]:
                raise AssertionError(f"nothing more on the screen: {screen}")
            try:
                part = os.read(terminal, 1000)
            except OSError:
                break
            if not part:
                break
            screen += part
            asked = screen.count(b"Password: ") + screen.count(b"Once more: ")
            while waiting and asked > len(lines) - len(waiting):
                os.write(terminal, waiting.pop(0).encode() + b"\n")
        os.close(terminal)
        return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]), screen.decode()

    status, screen = type_in(PASSWORD, "something else 1")
    assert status == 1 and "not the same" in screen and "horse" not in screen
    status, screen = type_in(PASSWORD, PASSWORD)
    assert status == 0 and "anna is leader" in screen and "horse" not in screen


# --- with a gateway ---

@pytest.fixture
def running(gateway, meters):
    """A gateway with one meter that answers."""
    bus = meters.tcp([1])
    fuxin.put(bus[1])
    site = Site()
    site.document["gateway"]["name"] = "North Works"
    gateway.write(site.link("hall-1", bus.url).meter("boiler-1", "hall-1", 1, name="Boiler house"))
    return gateway.start()


def test_accounts_through_the_gateway(running):
    state = running.state
    assert user(state, "add", "anna", "--role", "leader", password=PASSWORD).status == 0
    assert json.loads(user(state, "list", "--json").stdout) == [{"name": "anna", "role": "leader"}]
    # Nobody else may write while it runs.
    socket_file = state / "control.sock"
    assert stat.S_IMODE(socket_file.stat().st_mode) == 0o660
    hidden = socket_file.rename(state / "elsewhere.sock")
    done = user(state, "remove", "anna")
    assert done.status == 1 and f"process {running.child.pid}" in done.stderr
    hidden.rename(socket_file)
    running.stop()
    assert not socket_file.exists()
    assert json.loads(user(state, "list", "--json").stdout) == [{"name": "anna", "role": "leader"}]


def test_status(running):
    state = running.state
    asked = run("status", "--state", state, "--json")
    assert asked.status == 0
    status = json.loads(asked.stdout)
    assert status["gateway"] == "site-042" and status["name"] == "North Works"
    assert [one["meter"] for one in status["meters"]] == ["boiler-1"]
    text = run("status", "--state", state)
    assert text.status == 0
    for part in ("site-042, North Works", "hall-1", "boiler-1", "Clock", "Store", "Office   none is configured"):
        assert part in text.stdout, text.stdout
    running.write("gateway: {id: site-042")
    running.reload()
    running.wait_status(lambda now: now["config"]["error"], 20, "the fault of the file shows")
    assert "NOT RELOADED" in run("status", "--state", state).stdout


def frames(state, *requests):
    """Sends requests over one connection, in one piece; yields the replies by id."""
    data = b"".join(struct.pack(">I", len(one)) + one for one in (json.dumps(r).encode() for r in requests))
    with socket.socket(socket.AF_UNIX) as connection:
        connection.settimeout(30)
        connection.connect(str(state / "control.sock"))
        connection.sendall(data)
        replies = {}
        for _ in requests:
            (length,) = struct.unpack(">I", control._exactly(connection, 4))
            reply = json.loads(control._exactly(connection, length))
            replies[reply["id"]] = reply
    return replies


def test_the_door_of_the_page(running):
    state = running.state
    commands = ["status", "bus", "live", "alerts", "read", "reload", "config-get", "audit", "user-list", "user-add",
                "user-remove", "user-passwd"]
    replies = frames(state, *({"id": i, "command": one, "door": "page"} for i, one in enumerate(commands)))
    assert {reply["code"] for reply in replies.values()} == {"session"}
    replies = frames(state, *({"id": i, "command": one} for i, one in enumerate(["session", "live", "audit"])))
    assert all(reply["ok"] for reply in replies.values())
    assert replies[0]["result"]["role"] == "leader"  # this very user
    refused = [one for one in replies[2]["result"] if one["result"] == "session"]
    assert sorted(one["action"] for one in refused) == sorted(commands)
    assert all(one["who"] == "page" for one in refused)


# --- the claim, through the real page ---

def start_with_page(gateway):
    port = free_port()
    gateway.web = True
    gateway.write(Site(web={"listen": f"127.0.0.1:{port}"}))
    gateway.start()
    wait_until(lambda: listens(port), 20, "the page listens")
    return PageClient(port, gateway.state)


def claim_code(gateway):
    return CODE.search(gateway.child.stderr() + gateway.child.stdout())


def test_claim_login_and_throttle(gateway):
    page, state = start_with_page(gateway), gateway.state
    code = wait_until(lambda: claim_code(gateway), 20, "the gateway prints its claim code")[1]
    assert page.call("claim-state")[2]["result"] == {"claimed": False}
    wrong = "0000" + code[4:] if not code.startswith("0000") else "1111" + code[4:]
    status, _, body = page.call("claim", {"code": wrong, "name": "anna", "password": PASSWORD})
    assert status == 403 and body["code"] == "denied"
    status, headers, body = page.call("claim", {"code": code.lower().replace("-", " "), "name": "anna",
                                                "password": PASSWORD})
    assert status == 200 and body["result"] == {"name": "anna", "role": "leader"}
    cookie = headers["set-cookie"].split(";")[0]
    assert page.call("status", cookie=cookie)[2]["result"]["gateway"] == "site-042"
    assert page.call("claim", {"code": code, "name": "eve", "password": PASSWORD})[0] == 403
    # A new password ends the session, and the new one opens another.
    assert user(state, "passwd", "anna", password="another good one").status == 0
    assert page.call("status", cookie=cookie)[0] == 401
    assert page.call("login", {"name": "anna", "password": PASSWORD})[0] == 403
    status, headers, _ = page.call("login", {"name": "anna", "password": "another good one"})
    assert status == 200
    # Ten tries a minute, of everybody together; who is in stays in.
    seen = [page.call("login", {"name": "nobody", "password": "guess guess guess"})[0] for _ in range(8)]
    assert seen[-1] == 429 and set(seen) == {403, 429}
    assert page.call("status", cookie=headers["set-cookie"].split(";")[0])[0] == 200
    done = [(one["action"], one["result"]) for one in audit(state) if one["who"] == "page"]
    assert ("claim", "denied") in done and ("claim", "done") in done and ("login", "throttled") in done
    assert code not in json.dumps(audit(state)) and "guess" not in json.dumps(audit(state))


def test_the_page_ends_with_its_gateway(gateway):
    page = start_with_page(gateway)
    gateway.kill()
    wait_until(lambda: not listens(page.port), 20, "the page ends")


def test_no_code_once_there_is_an_account(gateway):
    state = gateway.state
    state.mkdir()
    assert user(state, "add", "anna", "--role", "leader", password=PASSWORD).status == 0
    page = start_with_page(gateway)
    assert page.call("claim-state")[2]["result"] == {"claimed": True}
    assert not claim_code(gateway)
