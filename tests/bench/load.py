"""The load row of `make bench`: 500 TCP meters x 20 registers at 1 s through the whole gateway (store, detection, feed to
mosquitto), beside a bare libmodbus loop that reads the same registers of the same simulated meters and does nothing with
them.

Two forms: the default feed (summaries of each minute and alerts), for which the bars are, and the one that sends every
reading as well. The bare loop runs before, between and behind them: each form is compared with the mean of the two beside
it, so that what else the machine does weighs on both.
"""
import json
import os
import re
import subprocess
import tempfile
import time
from pathlib import Path

from lib.broker import Broker
from lib.gateway import Gateway
from lib.simulator import Simulator
from lib.wait import wait_until

HERE = Path(__file__).resolve().parent
ROOT = HERE.parent.parent

ON_TIME_BAR = 100.0  # percent of polls
LATENESS_BAR_MS = 20  # 99 of 100 requests
CPU_BAR = 2.0         # times the bare loop's
MEMORY_BAR_MIB = 24   # resident, after the measured span
LATE_MS = 100         # a request that comes to a meter later than this after its due time is late (as in bare_modbus.c)
PERIOD_MS = 1000
FUNCTION, REGISTERS = 3, 20
TICKS = os.sysconf("SC_CLK_TCK")


def cpu_seconds(pid):
    """User and system time of a process so far."""
    fields = Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()
    return (int(fields[11]) + int(fields[12])) / TICKS


def memory_mib(pid):
    """(now, most) resident memory."""
    text = Path(f"/proc/{pid}/status").read_text()
    return tuple(int(re.search(rf"{name}:\s+(\d+)", text)[1]) / 1024 for name in ("VmRSS", "VmHWM"))


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
        figures["rss"], figures["rss_most"] = memory_mib(pids["gateway"])
        return figures | {"begin": begin, "end": end, "status": status}
    finally:
        gateway.stop()


def percentile(values, percent):
    return values[min(len(values) - 1, len(values) * percent // 100)] if values else float("nan")


def share_on_time(late, polls):
    return 100 * (1 - late / polls) if polls else 0.0


def per_thousand(seconds, polls):
    return 1000 * seconds / polls if polls else float("nan")


def mean_of(runs):
    """One bare loop made of two: sums, and the worse of the latenesses."""
    sums = {name: sum(run[name] for run in runs)
            for name in ("polls", "failures", "cpu_s", "elapsed_s", "simulator_cpu_s")}
    return sums | {name: max(run[name] for run in runs) for name in ("p50_us", "p99_us", "rss_kb")}


def report_time(table, gateway, bare, arrivals, meters, is_bar):
    lateness, counts = arrivals.lateness_ms(gateway["begin"], gateway["end"])
    seen = sum(counts.values())
    log_late = sum(1 for late in lateness if late > LATE_MS)
    due = meters * (gateway["end"] - gateway["begin"]) * 1000 / PERIOD_MS
    table.add("polls done, by the gateway", f"{gateway['polls']}", f"{due:.0f} were due")
    table.add("requests at the meters, by the simulator", f"{seen}", "the same, retries and gaps aside")
    # At both ends of the span a poll of each meter may fall to this side or that.
    shares = (("on time, by the gateway", share_on_time(gateway["late"] + max(0, due - gateway["polls"] - meters), due)),
              (f"on time, by the simulator (under {LATE_MS} ms)",
               share_on_time(log_late + max(0, due - seen - meters), due)))
    for what, share in shares:
        table.add(what, f"{share:.3f} %", f"bar {ON_TIME_BAR:.0f} %" if is_bar else "",
                  share >= ON_TIME_BAR if is_bar else None)
    p99 = percentile(lateness, 99)
    table.add("lateness p50 / p99, by the simulator", f"{percentile(lateness, 50):.1f} / {p99:.1f} ms",
              f"{f'bar p99 {LATENESS_BAR_MS} ms, ' if is_bar else ''}"
              f"bare loop {bare['p50_us'] / 1000:.1f} / {bare['p99_us'] / 1000:.1f} ms",
              p99 < LATENESS_BAR_MS if is_bar else None)


def report_cost(table, gateway, bare, seconds, is_bar):
    ours, theirs = per_thousand(gateway["gateway_cpu_s"], gateway["polls"]), per_thousand(bare["cpu_s"], bare["polls"])
    table.add("CPU per 1,000 polls", f"{ours:.3f} s, {ours / theirs:.2f} x the bare loop",
              f"{f'bar {CPU_BAR:.1f} x, ' if is_bar else ''}bare loop {theirs:.3f} s",
              ours / theirs < CPU_BAR if is_bar else None)
    table.add("CPU share of one core", f"{100 * gateway['gateway_cpu_s'] / seconds:.1f} %",
              f"bare loop {100 * bare['cpu_s'] / bare['elapsed_s']:.1f} %")
    table.add("memory resident now / most", f"{gateway['rss']:.1f} / {gateway['rss_most']:.1f} MiB",
              f"{f'bar {MEMORY_BAR_MIB} MiB, ' if is_bar else ''}bare loop {bare['rss_kb'] / 1024:.1f} MiB",
              gateway["rss"] < MEMORY_BAR_MIB if is_bar else None)
    table.add("time-outs, reconnects", f"{gateway['timeouts']}, {gateway['reconnects']}",
              f"bare loop {bare['failures']} failures")
    table.add("CPU share of simulator, of broker",
              f"{100 * gateway['simulator_cpu_s'] / seconds:.1f} %, {100 * gateway['broker_cpu_s'] / seconds:.1f} %",
              f"simulator beside the bare loop {100 * bare['simulator_cpu_s'] / bare['elapsed_s']:.1f} %")


FORMS = {"default": ("the default feed: summaries of each minute, alerts", False),
         "raw": ("every reading sent as well (raw_readings)", True)}


def run_form(build, arguments, simulator, folder, raw):
    folder.mkdir()
    broker = Broker(folder)
    try:
        return whole_gateway(build, simulator, broker, folder, arguments.seconds, raw)
    finally:
        broker.stop()


def report_load(build, arguments, table):
    """Measures the forms asked for and prints a table for each."""
    with tempfile.TemporaryDirectory(prefix="metergate-bench-") as name:
        folder = Path(name)
        log = folder / "frames.log"
        simulator = Simulator((build / "metergate").resolve(), ROOT / "tests/sites/load-500.yaml", folder,
                              options=["--log", log])
        try:
            meters = len(simulator.meters)
            before = bare_loop(build, simulator, arguments.first_register, arguments.bare_seconds)
            for form in [arguments.form] if arguments.form else FORMS:
                title, raw = FORMS[form]
                load = os.getloadavg()[0]
                gateway = run_form(build, arguments, simulator, folder / form, raw)
                after = bare_loop(build, simulator, arguments.first_register, arguments.bare_seconds)
                bare, before = mean_of([before, after]), after
                table.add("meters x registers", f"{meters} x {REGISTERS}",
                          f"{arguments.seconds} s, load average {load:.1f} before")
                report_time(table, gateway, bare, Arrivals(log), meters, not raw)
                report_cost(table, gateway, bare, arguments.seconds, not raw)
                table.print(f"load, {title}; beside a bare libmodbus loop before and behind it")
        finally:
            simulator.stop()
