#!/usr/bin/python3
"""Speed and size of `make bench`, each figure beside its limit, all measured in one run on this machine.

usage: bench.py --build build [--seconds 60] [--summaries]

The load bar: 500 TCP meters x 20 registers at 1 s through the whole gateway (store, detection, feed to mosquitto), beside
a bare libmodbus loop that reads the same registers of the same simulated meters and does nothing with them.
"""
import argparse
import json
import os
import re
import subprocess
import sys
import tempfile
import time
from pathlib import Path

HERE = Path(__file__).resolve().parent
ROOT = HERE.parent.parent
sys.path.insert(0, str(HERE.parent / "integration"))
sys.dont_write_bytecode = True

from lib.broker import Broker  # noqa: E402
from lib.gateway import Gateway  # noqa: E402
from lib.simulator import Simulator  # noqa: E402
from lib.wait import wait_until  # noqa: E402
from plan_frames import report_plans  # noqa: E402

ON_TIME_BAR = 99.9  # percent of polls
LATE_MS = 100       # a request that comes to a meter later than this after its due time is late (as in bare_modbus.c)
PERIOD_MS = 1000
FUNCTION, REGISTERS = 3, 20
TICKS = os.sysconf("SC_CLK_TCK")


def cpu_seconds(pid):
    """User and system time of a process so far."""
    fields = Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()
    return (int(fields[11]) + int(fields[12])) / TICKS


def memory_mb(pid):
    """(now, most) resident memory."""
    text = Path(f"/proc/{pid}/status").read_text()
    return tuple(int(re.search(rf"{name}:\s+(\d+)", text)[1]) / 1024 for name in ("VmRSS", "VmHWM"))


class Table:
    """Rows of figure and limit; `missed` counts the bars that were not met."""

    def __init__(self):
        self.rows = []
        self.missed = 0

    def add(self, what, figure, limit="", met=None):
        mark = "" if met is None else "  ok" if met else "  MISSED"
        self.missed += met is False
        self.rows.append((what, figure, f"{limit}{mark}"))

    def print(self, title):
        widths = [max(len(row[i]) for row in self.rows) for i in range(3)]
        print(f"\n{title}")
        for row in self.rows:
            print("  " + "  ".join(cell.ljust(width) for cell, width in zip(row, widths)).rstrip())
        sys.stdout.flush()
        self.rows = []


class Arrivals:
    """When requests came to each simulated meter, from the simulator's own log of frames."""

    def __init__(self, path):
        self._path = path

    def lateness_ms(self, begin, end):
        """Lateness of each first request of a poll in [begin, end) Unix seconds, and how many there were.

        Due times of a meter are a second apart at a phase of its own, which is not known here: the earliest arrival
        within its second is taken for it, so that this is lateness against the meter's own best."""
        of_meter = {}
        with open(self._path, encoding="ascii") as log:
            for line in log:
                if '"dir":"in"' not in line:
                    continue
                frame = json.loads(line)
                if begin <= frame["t"] < end and frame["meter"]:
                    of_meter.setdefault(frame["meter"], []).append(frame["t"])
        late = []
        for times in of_meter.values():
            base = times[0]
            offsets = [(t - base + 0.5) % 1 - 0.5 for t in times]
            first = min(offsets)
            late += [(offset - first) * 1000 for offset in offsets]
        return sorted(late), {meter: len(times) for meter, times in of_meter.items()}


def registers_of(simulator):
    """For each meter (address, port, unit, first register), the meters of one port after one another."""
    for meter in simulator.meters:
        address, port = re.fullmatch(r"tcp://([0-9.]+):(\d+)", simulator.links[meter["link"]]).groups()
        yield address, port, meter["unit"]


def bare_loop(build, simulator, first, seconds):
    """The bare libmodbus loop over the same meters; its own account, and the simulator's CPU meanwhile."""
    lines = [f"{address} {port} {unit} {FUNCTION} {first} {REGISTERS}"
             for address, port, unit in registers_of(simulator)]
    before = cpu_seconds(simulator.child.pid)
    done = subprocess.run([build / "tests/bench/bare_modbus", str(seconds), str(PERIOD_MS)],
                          input="\n".join(lines) + "\n", capture_output=True, text=True, timeout=seconds + 60, check=True)
    figures = json.loads(done.stdout)
    figures["simulator_cpu_s"] = cpu_seconds(simulator.child.pid) - before
    return figures


def profile_of(meter):
    """The load meter's profile lies beside its site file; a path names it from anywhere."""
    beside = ROOT / "tests/sites" / f"{meter['profile']}.yaml"
    return str(beside) if beside.exists() else meter["profile"]


def configuration(simulator, broker, raw):
    lines = ["gateway: {id: bench, timezone: Asia/Shanghai}", "links:"]
    lines += [f"  - {json.dumps({'id': link, 'url': url})}" for link, url in simulator.links.items()]
    lines.append("meters:")
    for meter in simulator.meters:
        entry = {"id": meter["meter"], "link": meter["link"], "unit": meter["unit"], "profile": profile_of(meter),
                 "interval_s": PERIOD_MS // 1000, "display_checked": "2026-11-20", "qmax_m3_h": 100000}
        lines.append(f"  - {json.dumps(entry)}")
    office = {"url": broker.url, "summary_minutes": 1, "raw_readings": raw, "unsubscribed": "accept"}
    lines.append(f"office: {json.dumps(office)}")
    return "\n".join(lines) + "\n"


def counters(gateway):
    """Sums of the links' counters."""
    links = gateway.status()["links"]
    return {name: sum(link[name] for link in links) for name in ("polls", "late", "timeouts", "reconnects")}


def whole_gateway(build, simulator, broker, folder, seconds, raw):
    """The gateway over `seconds` after it has settled."""
    gateway = Gateway(folder, configuration(simulator, broker, raw), binary=(build / "metergate").resolve())
    gateway.start(wait=False)
    try:
        gateway.wait_ready(60)
        wait_until(lambda: counters(gateway)["polls"] >= 2 * len(simulator.meters), 30, "two polls of each meter")
        pids = {"gateway": gateway.child.pid, "simulator": simulator.child.pid, "broker": broker.pid()}
        cpu, before = {name: cpu_seconds(pid) for name, pid in pids.items()}, counters(gateway)
        begin = time.time()
        wait_until(lambda: time.time() >= begin + seconds, seconds + 10, "the measured span", interval_s=0.5)
        end, after = time.time(), counters(gateway)
        status = gateway.status()
        figures = {name: after[name] - before[name] for name in after}
        figures |= {f"{name}_cpu_s": cpu_seconds(pid) - cpu[name] for name, pid in pids.items()}
        figures["rss_mb"], figures["rss_most_mb"] = memory_mb(pids["gateway"])
        return figures | {"begin": begin, "end": end, "status": status}
    finally:
        gateway.stop()


def percentile(values, percent):
    return values[min(len(values) - 1, len(values) * percent // 100)] if values else float("nan")


def share_on_time(late, polls):
    return 100 * (1 - late / polls) if polls else 0.0


def per_thousand(seconds, polls):
    return 1000 * seconds / polls if polls else float("nan")


def report_load(table, bare, gateway, arrivals, meters, seconds):
    """The load bar's rows: gateway, limit (the bare loop of this run), ratio."""
    lateness, counts = arrivals.lateness_ms(gateway["begin"], gateway["end"])
    seen = sum(counts.values())
    log_late = sum(1 for late in lateness if late > LATE_MS)
    due = meters * (gateway["end"] - gateway["begin"]) * 1000 / PERIOD_MS
    gateway_share = share_on_time(gateway["late"] + max(0, due - gateway["polls"] - meters), due)
    table.add("meters x registers", f"{meters} x {REGISTERS}", f"{seconds} s")
    table.add("polls done, by the gateway", f"{gateway['polls']}", f"{due:.0f} were due")
    table.add("requests at the meters, by the simulator", f"{seen}", "the same, retries and gaps aside")
    table.add("on time, by the gateway", f"{gateway_share:.3f} %", f"bar {ON_TIME_BAR} %", gateway_share >= ON_TIME_BAR)
    log_share = share_on_time(log_late + max(0, due - seen - meters), due)
    table.add(f"on time, by the simulator (under {LATE_MS} ms)", f"{log_share:.3f} %", f"bar {ON_TIME_BAR} %",
              log_share >= ON_TIME_BAR)
    table.add("lateness p50 / p99, by the simulator",
              f"{percentile(lateness, 50):.1f} / {percentile(lateness, 99):.1f} ms",
              f"bare loop {bare['p50_us'] / 1000:.1f} / {bare['p99_us'] / 1000:.1f} ms")
    ours, theirs = per_thousand(gateway["gateway_cpu_s"], gateway["polls"]), per_thousand(bare["cpu_s"], bare["polls"])
    table.add("CPU per 1,000 polls", f"{ours:.3f} s", f"bare loop {theirs:.3f} s, ratio {ours / theirs:.2f}")
    table.add("CPU share of one core", f"{100 * gateway['gateway_cpu_s'] / seconds:.1f} %",
              f"bare loop {100 * bare['cpu_s'] / bare['elapsed_s']:.1f} %")
    table.add("memory now / most", f"{gateway['rss_mb']:.1f} / {gateway['rss_most_mb']:.1f} MB",
              f"bare loop {bare['rss_kb'] / 1024:.1f} MB")
    table.add("time-outs, reconnects", f"{gateway['timeouts']}, {gateway['reconnects']}",
              f"bare loop {bare['failures']} failures")
    table.add("simulator's CPU share of one core", f"{100 * gateway['simulator_cpu_s'] / seconds:.1f} %",
              f"beside the bare loop {100 * bare['simulator_cpu_s'] / bare['elapsed_s']:.1f} %")
    table.add("broker's CPU share of one core", f"{100 * gateway['broker_cpu_s'] / seconds:.1f} %")


def load(build, arguments, table):
    with tempfile.TemporaryDirectory(prefix="metergate-bench-") as name:
        folder = Path(name)
        log = folder / "frames.log"
        simulator = Simulator((build / "metergate").resolve(), ROOT / "tests/sites/load-500.yaml", folder,
                              options=["--log", log])
        try:
            first = arguments.first_register
            bare = bare_loop(build, simulator, first, arguments.bare_seconds)
            broker = Broker(folder)
            try:
                gateway = whole_gateway(build, simulator, broker, folder, arguments.seconds, not arguments.summaries)
            finally:
                broker.stop()
            report_load(table, bare, gateway, Arrivals(log), len(simulator.meters), arguments.seconds)
        finally:
            simulator.stop()
    table.print("load: the whole gateway (store, detection, feed to mosquitto"
                f"{'' if arguments.summaries else ' of every reading'}) beside a bare libmodbus loop")


def programs(build):
    """The benches of single parts: each is a program that prints its own figures beside its limits."""
    missed = 0
    for program in sorted((build / "tests/bench").glob("*_bench")):
        print(f"\n{program.name}", flush=True)
        missed += subprocess.run([program], check=False, timeout=600).returncode != 0
    return missed


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--build", type=Path, required=True, help="build folder with metergate and tests/bench/")
    parser.add_argument("--seconds", type=int, default=60, help="measured span of the gateway")
    parser.add_argument("--bare-seconds", type=int, default=30, help="measured span of the bare loop")
    parser.add_argument("--first-register", type=int, default=0, help="where the bare loop begins to read")
    parser.add_argument("--summaries", action="store_true", help="send summaries and alerts only, not every reading")
    arguments = parser.parse_args()
    table = Table()
    print(f"{os.cpu_count()} cores, {os.uname().machine}, Linux {os.uname().release}")
    load(arguments.build, arguments, table)
    report_plans(arguments.build, table)
    missed = table.missed + programs(arguments.build)
    print(f"\n{missed} bars missed" if missed else "\nall bars met")
    return 1 if missed else 0


if __name__ == "__main__":
    sys.exit(main())
