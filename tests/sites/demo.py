#!/usr/bin/python3
"""The demo site of `make run`: simulated meters, a broker with a subscriber, the gateway and its page.

usage: demo.py --metergate build/metergate [--for SECONDS]

Needs nothing but Python, mosquitto and openssl. Ctrl-C (or SIGTERM, SIGHUP) ends all of it in reverse order.
"""
import argparse
import json
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path

HERE = Path(__file__).resolve().parent
sys.path.insert(0, str(HERE.parent / "integration"))
sys.dont_write_bytecode = True

from lib import control  # noqa: E402
from lib.broker import Broker  # noqa: E402
from lib.certificates import Authority  # noqa: E402
from lib.ports import free_port  # noqa: E402
from lib.process import Child  # noqa: E402
from lib.simulator import Simulator  # noqa: E402
from lib.wait import wait_until  # noqa: E402

GATEWAY = "demo-site"
WEB_PORT = 8443
TOPICS = f"metergate/v1/{GATEWAY}/#"
# What the simulator does not say of its meters: name, customer, and the limits at line conditions.
KNOWN = {
    "boiler-1": {"name": "Boiler house 1 / 1号锅炉房", "customer": "100234", "qmin_m3_h": 8, "qmax_m3_h": 160},
    "boiler-2": {"name": "Boiler house 2 / 2号锅炉房", "customer": "100234", "qmin_m3_h": 8, "qmax_m3_h": 160},
    "furnace-1": {"name": "Annealing furnace / 退火炉", "customer": "100871",
                  "units": {"flow_base": "m3/h", "volume_base": "m3"}},
    "power-1": {"name": "Hall 1 power / 1号厂房电表"},
    "power-2": {"name": "Hall 2 power / 2号厂房电表"},
}


class Ended(Exception):
    """Somebody asked for the end while the parts were being started."""


def web_port():
    """8443, or a free port where somebody has it."""
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", WEB_PORT))
            return WEB_PORT
        except OSError:
            port = free_port()
            print(f"Port {WEB_PORT} is taken on this machine: the page is on {port}.")
            return port


def configuration(simulator, broker, authority, port):
    """The gateway's file: JSON is YAML, and quotes what needs it."""
    certificate, key = authority.sign(GATEWAY, use="clientAuth")
    lines = ["# Written by tests/sites/demo.py",
             "gateway: {id: %s, name: Demo site, timezone: Asia/Shanghai, gas_day_start: \"06:00\"}" % GATEWAY, "links:"]
    lines += [f"  - {json.dumps({'id': link, 'url': url})}" for link, url in simulator.links.items()]
    lines.append("meters:")
    for meter in simulator.meters:
        entry = {"id": meter["meter"], "link": meter["link"], "unit": meter["unit"], "profile": meter["profile"],
                 "interval_s": 5, "display_checked": "2026-11-20", **KNOWN.get(meter["meter"], {})}
        lines.append(f"  - {json.dumps(entry, ensure_ascii=False)}")
    office = {"url": f"mqtts://localhost:{broker.tls_port}", "ca": str(authority.certificate),
              "certificate": str(certificate), "key": str(key), "summary_minutes": 1}
    lines += [f"office: {json.dumps(office)}", f"web: {json.dumps({'listen': f'127.0.0.1:{port}'})}"]
    return "\n".join(lines) + "\n"


class Subscriber:
    """mosquitto_sub as head office: a short line for each summary and alert."""

    def __init__(self, port):
        self._process = subprocess.Popen(
            ["mosquitto_sub", "-h", "127.0.0.1", "-p", str(port), "-V", "mqttv5", "-t", TOPICS, "-q", "1"],
            stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, text=True, start_new_session=True)
        self._thread = threading.Thread(target=self._print, daemon=True)
        self._thread.start()

    @property
    def pid(self):
        return self._process.pid

    def runs(self):
        return self._process.poll() is None

    def _print(self):
        for line in self._process.stdout:
            text = short_line(json.loads(line))
            if text:
                print(text, flush=True)

    def stop(self):
        self._process.terminate()
        self._process.wait(10)
        self._thread.join(10)


def short_line(message):
    """One line for a person, None for what is not worth one."""
    kind = message.get("schema")
    if kind == "summary/1":
        totals = [f"{name} {entry['delta']:+} {entry['unit']}" for name, entry in message["channels"].items()
                  if entry.get("delta") is not None][:2]
        reads = message["reads"]
        return (f"  {message['at'][11:19]}Z summary {message['meter']}: {', '.join(totals) or 'no total known'}, "
                f"{reads['good']} of {reads['expected']} reads good")
    if kind == "alert/1":
        who = message.get("meter") or message.get("link")
        return f"  {message['at'][11:19]}Z ALERT   {who}: {message['kind']} {message['state']}: {message['text']['en']}"
    return None


class Demo:
    """Starts the parts in order; `stop` ends them in reverse."""

    def __init__(self, binary, folder, ended):
        self.binary = binary
        self.ended = ended  # set by a signal: looked at between the parts, so that each is started whole or not
        self.folder = folder
        self.state = folder / "state"
        self.parts = []  # (name, part)

    def add(self, name, part):
        self.parts.append((name, part))
        if self.ended.is_set():
            raise Ended
        return part

    def start(self):
        authority = Authority(self.folder)
        simulator = self.add("simulator", Simulator(self.binary, HERE / "demo.yaml", self.folder))
        broker = self.add("broker", Broker(self.folder, tls=authority))
        port = web_port()
        config = self.folder / "site.yaml"
        config.write_text(configuration(simulator, broker, authority, port))
        self.add("subscriber", Subscriber(broker.port))
        gateway = self.add("gateway", Child([self.binary, "run", "--config", config, "--state", self.state],
                                            self.folder, "gateway"))
        self.wait_ready(gateway)
        self.explain(broker, port, gateway)

    def wait_ready(self, gateway):
        def answers():
            if not gateway.runs():
                raise AssertionError(f"the gateway ended:\n{gateway.stderr()}")
            try:
                return control.call(self.state, "status")
            except (OSError, ValueError):
                return None
        wait_until(answers, 20, lambda: f"the gateway answers; it says:\n{gateway.stderr()}")

    def claim(self, gateway):
        """The code that the gateway printed for the first account."""
        def found():
            for line in (gateway.stderr() + gateway.stdout()).splitlines():
                if "claim" in line.lower():
                    return line.split("claim code: ", 1)[-1]
            return None
        return wait_until(found, 20, lambda: f"the gateway prints its claim code; it says:\n{gateway.stderr()}")

    def explain(self, broker, port, gateway):
        print(f"""
metergate runs on a demo site. Ctrl-C ends it.

  the page:            https://localhost:{port}   (its certificate is the gateway's own: accept it once)
  its claim code:      {self.claim(gateway)}
  what is measured:    {self.binary} status --state {self.state}
  head office's feed:  mosquitto_sub -h 127.0.0.1 -p {broker.port} -t '{TOPICS}' -v
  readings as CSV:     {self.binary} export readings --state {self.state}
  configuration:       {self.folder / 'site.yaml'}
  messages of parts:   {self.folder}/*.err

What head office gets (a summary of each meter a minute after the next full minute, alerts at once):""", flush=True)

    def watch(self):
        """Fails when a part has ended by itself."""
        for name, part in self.parts:
            child = getattr(part, "child", part)
            if hasattr(child, "runs") and not child.runs():
                said = child.stderr() if hasattr(child, "stderr") else ""
                raise AssertionError(f"the {name} has ended:\n{said[-3000:]}")

    def stop(self):
        for name, part in reversed(self.parts):
            try:
                part.stop()
            except (AssertionError, OSError, subprocess.SubprocessError) as error:
                print(f"the {name} did not end cleanly: {error}", file=sys.stderr)
        self.parts = []


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--metergate", type=Path, required=True, help="the program")
    parser.add_argument("--for", type=float, dest="seconds", help="end by itself after so many seconds")
    arguments = parser.parse_args()
    ended = threading.Event()
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, lambda *_: ended.set())
    folder = Path(tempfile.mkdtemp(prefix="metergate-demo-"))
    demo = Demo(arguments.metergate.resolve(), folder, ended)
    status = 0
    try:
        demo.start()
        until = time.monotonic() + arguments.seconds if arguments.seconds else float("inf")
        while time.monotonic() < until and not ended.wait(0.5):
            demo.watch()
    except Ended:
        pass
    except AssertionError as error:
        print(error, file=sys.stderr)
        status = 1
    print("\nending the demo ...", flush=True)
    demo.stop()
    shutil.rmtree(folder, ignore_errors=True)
    return status


if __name__ == "__main__":
    sys.exit(main())
