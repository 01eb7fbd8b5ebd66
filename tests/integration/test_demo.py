"""What `make run` starts, from outside: values on the page, a summary on the feed, and nothing left after Ctrl-C."""
import http.client
import json
import re
import signal
import ssl
import subprocess
import sys
from pathlib import Path

import pytest

from lib.demo_site import DEMO
from lib.gateway import program
from lib.process import Child
from lib.wait import wait_until

pytestmark = [pytest.mark.slow_start("demo_site"), pytest.mark.timing]



def children_of(pid):
    """All processes below one, by their pids."""
    parent = {}
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            try:
                fields = (entry / "stat").read_text().rsplit(")", 1)[1].split()
            except (FileNotFoundError, ProcessLookupError):
                continue
            parent[int(entry.name)] = int(fields[1])
    found, edge = set(), {pid}
    while edge:
        edge = {child for child, of in parent.items() if of in edge and child not in found}
        found |= edge
    return found


def runs(pid):
    return Path(f"/proc/{pid}/stat").exists() and Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0] != "Z"


class Page:
    """A browser's part: the page's API, with its session cookie. The certificate is the gateway's own."""

    def __init__(self, port):
        context = ssl.create_default_context()
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
        self._open = lambda: http.client.HTTPSConnection("127.0.0.1", port, timeout=10, context=context)
        self._cookie = None

    def get(self, path):
        connection = self._open()
        connection.request("GET", path)
        answer = connection.getresponse()
        return answer.status, answer.read().decode()

    def call(self, command, **arguments):
        connection = self._open()
        headers = {"Content-Type": "application/json", "X-Metergate": "page"}
        if self._cookie:
            headers["Cookie"] = self._cookie
        connection.request("POST", f"/api/{command}", json.dumps(arguments), headers)
        answer = connection.getresponse()
        if answer.getheader("Set-Cookie"):
            self._cookie = answer.getheader("Set-Cookie").split(";")[0]
        body = json.loads(answer.read())
        return answer.status, body.get("result"), body


def told(demo, pattern, deadline_s=60):
    """A group of what the demo printed."""
    def found():
        assert demo.runs(), f"the demo ended: {demo.stdout()}\n{demo.stderr()}"
        return re.search(pattern, demo.stdout())
    return wait_until(found, deadline_s, lambda: f"the demo prints {pattern}: {demo.stdout()}\n{demo.stderr()}")[1]


def test_values_are_on_the_page(demo_site):
    page = Page(int(told(demo_site, r"https://localhost:(\d+)")))
    code = told(demo_site, r"claim code[^\n]*?\b([0-9A-Z]{4}(?:-[0-9A-Z]{4})+)\b")
    status, html = page.get("/")
    assert status == 200 and "<html" in html.lower()
    assert page.call("live")[0] == 401, "nothing is shown without an account"
    assert page.call("claim", code="AAAA-AAAA-AAAA", name="eve", password="a long enough phrase")[0] != 200
    status, _, whole = page.call("claim", code=code, name="wang", password="a long enough phrase")
    assert status == 200, whole

    def answered():
        live = page.call("live")[1]
        good = {meter["meter"] for meter in live["meters"] if meter["answered"]}
        return live if {"boiler-1", "furnace-1", "power-1", "power-2"} <= good else None

    live = wait_until(answered, 40, lambda: f"values of all meters: {page.call('live')}")
    boiler = next(meter for meter in live["meters"] if meter["meter"] == "boiler-1")
    assert boiler["channels"]["flow_measured"]["value"] > 0
    assert boiler["channels"]["volume_base"]["quality"] == "good"
    assert page.call("claim", code=code, name="eve", password="a long enough phrase")[0] != 200, "the code works once"


def test_a_summary_of_each_meter_is_on_the_feed(demo_site):
    """mosquitto_sub, which the demo runs as head office, had one of each meter with a total."""
    for meter in ("boiler-1", "furnace-1", "power-1", "power-2"):
        assert "+" in told(demo_site, rf"summary {meter}: ([^\n]+ reads good)", deadline_s=200)


def test_the_printed_commands_work(demo_site):
    told(demo_site, r"(export readings)")
    for command in re.findall(r"(\S*metergate (?:status|export)[^\n]*)", demo_site.stdout()):
        done = subprocess.run(command, shell=True, capture_output=True, text=True, timeout=60, check=False)
        assert done.returncode == 0 and done.stdout, (command, done.stderr)


def test_ctrl_c_leaves_nothing(demo_site):
    told(demo_site, r"(https://localhost)")
    below = children_of(demo_site.pid)
    assert len(below) >= 5, "simulator, broker, subscriber, gateway, page"
    folder = Path(told(demo_site, r"configuration:\s+(\S+)/site.yaml"))
    assert folder.is_dir()
    assert demo_site.stop(signal.SIGINT, deadline_s=40) == 0, demo_site.stderr()
    left = [pid for pid in below if runs(pid)]
    names = [Path(f"/proc/{pid}/cmdline").read_bytes() for pid in left]
    assert not left, f"left behind: {names}"
    assert not folder.exists()
    assert "did not end cleanly" not in demo_site.stderr(), demo_site.stderr()


def test_a_signal_during_the_start_leaves_nothing(tmp_path):
    """The parts that had been started by then are ended as well."""
    demo = Child([sys.executable, DEMO, "--metergate", program()], tmp_path, "demo")
    seen = set()

    def started():
        seen.update(children_of(demo.pid))
        return len(seen) >= 2

    try:
        wait_until(started, 30, lambda: f"parts start: {demo.stderr()}", interval_s=0.005)
    finally:
        status = demo.stop(signal.SIGTERM, deadline_s=40)
    assert status == 0, demo.stderr()
    assert not [pid for pid in seen if runs(pid)]
