#!/usr/bin/python3
"""The long fault runs of `make fault`: each prints its figure, its bar and its seed, and exits 1 where the bar is missed.

usage: fault.py --build build [kill9 [--kills N] [--meters N] [--sides N] [--seed N] |
       killsys [--calls N] [--meters N] [--sides N] | outage [--minutes N] [--meters N] |
       late [--reads N] [--seed N] | damaged [--frames N] [--seed N] |
       scan [--buses N] [--seed N] | halfopen [--cuts N] [--sides N] [--seed N] | powercut [--power-cuts N] [--seed N] | iofault [--seed N] |
       orders [--order-kills N] [--seed N] | clock [--histories N] [--seed N] |
       week [--hours N] [--week-meters N] | fulldisk [--hours N] [--seed N] | reconnects [--attempts N] |
       tamper [--edits N] [--seed N] | gasdays | sums [--years N] [--seed N]]
"""
import argparse
import os
import secrets
import subprocess
import sys
import tempfile
import time
import traceback
from pathlib import Path

import clock
import damaged
import fulldisk
import gasdays
import halfopen
import kill9
import late
import orders
import outage
import powercut
import reconnects
import scan
import tamper
import week

WEEK_SHARE = 0.70  # of bare paho's rate with the same window


# Each run takes the program, the options, a seed of its own and an empty folder; what is not drawn needs no seed.


def tell_kills(name, figures, ending):
    print(f"{name}: {figures['stored_lost']} of {figures['witnessed']} witnessed readings lost (bar 0), "
          f"{figures['holes']} holes in seq (bar 0), verify clean (bar clean) after {figures['kills']} kills; "
          f"{figures['stored']} stored, {figures['replies_not_yet_stored']} replies not yet stored when a kill came, "
          f"{figures['repeated_messages']} messages came again with the same content, {figures['exports']} exports, "
          f"{figures['seconds']} s{ending}", flush=True)


def run_kill9(binary, arguments, seed, folder):
    meters = max(1, arguments.meters // arguments.sides)
    print(f"kill9: {arguments.kills} kills of {arguments.sides} gateways side by side, {meters} meters x 1 s each, seed {seed}",
          flush=True)
    figures = kill9.run_sides(folder, binary, arguments.kills, meters, seed, arguments.sides, say=say)
    tell_kills("kill9", figures, f", seed {seed}")


def run_killsys(binary, arguments, seed, folder):
    meters = max(1, arguments.meters // arguments.sides)
    print(f"killsys: a kill in front of each of the first {arguments.calls} calls of a life that change a file of the state "
          f"folder, {arguments.sides} gateways side by side, {meters} meters x 1 s each", flush=True)
    figures = kill9.run_calls(folder, binary, arguments.calls, meters, arguments.sides, say=say)
    tell_kills("killsys", figures, "")


def run_outage(binary, arguments, seed, folder):
    print(f"outage: broker away {arguments.minutes} minutes, {arguments.meters} meters x 1 s", flush=True)
    figures = outage.run(folder, binary, arguments.minutes, arguments.meters, say=say)
    print(f"outage: {figures['lost']} of {figures['stored']} readings lost (bar 0), {figures['out_of_order']} out of order "
          f"(bar 0); {figures['backlog']} waited, drained in {figures['drained_s']} s", flush=True)


def run_late(binary, arguments, seed, folder):
    print(f"late: {arguments.reads} reads on {late.LINES} lines, 5 % late up to 10 time-outs, seed {seed}", flush=True)
    figures = late.run(binary.parent, arguments.reads, seed)
    print(f"late: {figures['wrong']} wrong (bar 0) of {figures['reads']} reads, {figures['late']} replies late; "
          f"{figures['good_share']:.0%} of the values good, {figures['reads_per_s']} reads/s; bare libmodbus believed "
          f"{figures['bare_wrong']} wrong ones of {figures['bare_reads']} beside it; seed {seed}", flush=True)


def run_damaged(binary, arguments, seed, folder):
    print(f"damaged: {arguments.frames} damaged frames on {damaged.LINES} lines, seed {seed}", flush=True)
    figures = damaged.run(binary.parent, arguments.frames, seed)
    frames = {kind: figures[f"damaged_{kind}"] for kind in ("serial", "rtu_over_tcp", "tcp")}
    print(f"damaged: {figures['believed_failing']} that fail a check believed (bar 0), {figures['wrong_otherwise']} values of "
          f"another request (bar 0); {frames} in {figures['seconds']} s", flush=True)
    for name, text in (("by_chance", "passed the CRC by chance"), ("helped", "were helped past it")):
        ends = figures[name]
        print(f"damaged: {sum(ends.values())} {text}: {ends['good']} called good (bar 1 % of both), {ends['suspect']} suspect, "
              f"{ends['discarded']} gone after a second reply, {ends['refused']} refused all the same", flush=True)
    print(f"damaged: seed {seed}", flush=True)


def run_scan(binary, arguments, seed, folder):
    slowest = 0
    for bus in range(arguments.buses):
        of_bus = folder / str(bus)
        of_bus.mkdir()
        figures = scan.run(of_bus, binary, seed + bus, say=say)
        slowest = max(slowest, figures["seconds"])
        print(f"scan: {figures['meters']} meters found, identified and {figures['values']} values read right in "
              f"{figures['seconds']} s at 9600 baud (bar {scan.LIMIT_S}), {figures['requests']} frames, least share "
              f"{figures['worst_share']:.0%}, seed {seed + bus}", flush=True)
    assert slowest < scan.LIMIT_S, f"the slowest took {slowest} s"


def run_halfopen(binary, arguments, seed, folder):
    print(f"halfopen: {arguments.cuts} cuts on {arguments.sides} gateways side by side, seed {seed}", flush=True)
    figures = halfopen.run(folder, binary, arguments.cuts, seed, arguments.sides, say=say)
    print(f"halfopen: {figures['cuts']} cuts {figures['kinds']}, found after at most {figures['slowest_s']} s (bar "
          f"{halfopen.FOUND_S}), median {figures['median_s']} s; {figures['lost']} of {figures['stored']} readings lost "
          f"(bar 0), {figures['repeated']} messages came again; {figures['seconds']} s, seed {seed}", flush=True)


def run_powercut(binary, arguments, seed, folder):
    print(f"powercut: {arguments.power_cuts} cuts, seed {seed}", flush=True)
    modes = powercut.run(binary.parent, arguments.power_cuts, seed, say=say)
    full, normal, lying = modes["full"], modes["normal"], modes["lying"]
    print(f"powercut: {full['lost']} times acknowledged rows lost (bar 0), {full['damaged']} damaged (bar 0), {full['unseen']} "
          f"with a hole or a mixture (bar 0) in {full['cuts'] + full['second_cuts']} cuts, {full['second_cuts']} of them while "
          f"recovering, and {modes['every']['cuts']} in every single call of a script; {full['seconds']} s", flush=True)
    print(f"powercut: killed in front of every single call of a script instead: {modes['killed']['failures']} of "
          f"{modes['killed']['cuts']} lost or damaged anything (bar 0)", flush=True)
    older = modes["older"]
    print(f"powercut: while a store of each earlier version is brought up to date, in every single call: {older['failures']} of "
          f"{older['cuts'] + older['second_cuts']} lost or damaged anything (bar 0), {older['runs']} versions", flush=True)
    print(f"powercut: configuration, key and certificate files: {modes['files']['damaged']} of {modes['files']['cuts']} cuts left "
          f"neither the old nor the new one (bar 0)", flush=True)
    print(f"powercut: the harness sees: with synchronous=NORMAL {normal['lost'] / normal['cuts']:.0%} of the cuts lose rows (bar "
          f"50 %), without a journal {(modes['no-journal']['damaged'] + modes['no-journal']['unseen']) / modes['no-journal']['cuts']:.0%} "
          f"leave damage (bar 10 %)", flush=True)
    print(f"powercut: on a disk that lies {lying['damaged']} of {lying['cuts']} cuts left damage that was found, {lying['lost']} an "
          f"older state, whole, {lying['anew']} a new store, {lying['unseen']} a mixture that nothing found (bar 0.5 %); seed {seed}",
          flush=True)


def run_clock(binary, arguments, seed, folder):
    print(f"clock: {arguments.histories} histories of steps, restarts and boots in 1970, seed {seed}", flush=True)
    figures = clock.run(binary.parent, arguments.histories, seed)
    print(f"clock: 0 of {figures['readings']} readings lost, doubled or under another's instant (bar 0), {figures['twice']} in "
          f"time that came twice, all of them marked and no other (bar all); 0 of {figures['periods']} periods twice or with an "
          f"index that falls (bar 0); {figures['histories']} histories in {figures['seconds']} s, seed {seed}", flush=True)


def run_iofault(binary, arguments, seed, folder):
    print(f"iofault: each kind of fault at every call, seed {seed}", flush=True)
    figures = powercut.fail(binary.parent, 1, seed)
    print(f"iofault: {figures['failures']} of {figures['cases']} faults of the disk took what was acknowledged, or left a store "
          f"that does not start clean (bar 0); {figures['went_on']} went on after an error, {figures['ended']} ended with the "
          f"store's exit status, {figures['gave_up']} could not start on that disk; {figures['seconds']} s, seed {seed}", flush=True)


def run_orders(binary, arguments, seed, folder):
    print(f"orders: {arguments.order_kills} kills around signed commands, seed {seed}", flush=True)
    figures = orders.run(folder, binary, arguments.order_kills, seed, say=say)
    print(f"orders: {figures['kills']} commands, each executed once and answered alike (bar all); {figures['cut']} kills came "
          f"before the answer was seen, {figures['tries']} were sent again; {figures['seconds']} s, seed {seed}", flush=True)


def run_week(binary, arguments, seed, folder):
    print(f"week: {arguments.hours} h without a broker, {arguments.week_meters} meters x 60 s, time compressed; nothing is "
          "drawn", flush=True)
    figures = week.run(binary.parent, arguments.hours, arguments.week_meters)
    print(f"week: {figures['lost']} of {figures['offered']} readings lost (bar 0), {figures['holes']} holes, {figures['gaps']} "
          f"gaps, {figures['repeated']} came again, {figures['summaries']} quarter hours right; {figures['backlog']} messages "
          f"drained in {figures['drained_s']} s", flush=True)
    print(f"week: over TLS {figures['rate']} messages/s, bare paho {figures['bare_rate']}: {figures['share']:.0%} (bar "
          f"{WEEK_SHARE:.0%}); {figures['alerts']} alerts meanwhile, slowest {figures['slowest_alert_s']} s (bar 5), "
          f"{figures['live_rows']} live rows, slowest {figures['slowest_live_s']} s (bar 5)", flush=True)
    assert figures["share"] >= WEEK_SHARE, "the drain is too slow"


def run_reconnects(binary, arguments, seed, folder):
    print(f"reconnects: {arguments.attempts} attempts at a broker that accepts and closes; nothing is drawn", flush=True)
    figures = reconnects.run(binary.parent, arguments.attempts)
    print(f"reconnects: {figures['slope_bytes']} bytes of memory an attempt (bar 1024), {figures['more_files']} more files (bar 3), "
          f"{figures['more_threads']} more threads (bar 3) over {figures['attempts']} attempts, {figures['resident_kb']} kB resident, "
          f"{figures['attempts_per_s']} attempts/s", flush=True)


def run_fulldisk(binary, arguments, seed, folder):
    print(f"fulldisk: {arguments.hours} h, 20 meters x 60 s, a disk that others fill, time compressed, seed {seed}", flush=True)
    figures = fulldisk.run(folder, binary.parent, arguments.hours, 20, seed)
    print(f"fulldisk: {figures['uncounted']} of {figures['polls']} polls uncounted (bar 0): {figures['kept']} kept, "
          f"{figures['store_full']} missing, store-full; {figures['spells']} times full, {figures['full_minutes']} minutes in all, "
          f"{figures['longest_minutes']} at once; {figures['removed_early']} rows made room, {figures['messages_dropped']} messages "
          f"dropped, each named by a gap; verify clean; recovered without hands; {figures['seconds']} s, seed {seed}", flush=True)


def run_tamper(binary, arguments, seed, folder):
    print(f"tamper: {arguments.edits} random SQL edits, seed {seed}", flush=True)
    figures = tamper.run(folder, binary, binary.parent / "tests/fault/tamper_store", arguments.edits, arguments.edits // 5,
                         seed, say=say)
    print(f"tamper: {figures['missed']} of {figures['edits']} edits not found (bar 0): {figures['counts']}; {figures['flips_told']} of "
          f"{figures['flips']} bit flips found, {figures['flips_unused']} in bytes that hold nothing, 0 crashes; {figures['clean']} "
          f"untouched stores clean; {figures['rate']} edits/s on {figures['bytes'] // 1024} KiB, seed {seed}", flush=True)
    assert figures["missed"] == 0


def run_gasdays(binary, arguments, seed, folder):
    print("gasdays: every zone, every start of the gas day, 1970 to 2037; nothing is drawn", flush=True)
    figures = gasdays.run(binary.parent, 0, say=say)
    print(f"gasdays: 0 of {figures['hours']:.0f} hours doubled or lost (bar 0) in {figures['zones']} zones of distinct rules, "
          f"{figures['shifting']} of which change their clocks, x 96 starts; {figures['odd_days']} of {figures['days']} gas days "
          f"have not 24 h; {figures['seconds']} s", flush=True)


def run_sums(binary, arguments):
    seed = seed_of(arguments)
    print(f"sums: {arguments.years} years of one meter with random faults, seed {seed}", flush=True)
    began = time.monotonic()
    done = subprocess.run([binary.parent / "unit/test_record_sums"], capture_output=True, text=True, check=False,
                          env={**os.environ, "SEED": str(seed), "YEARS": str(arguments.years)})
    years = [line for line in done.stdout.splitlines() if "the law held" in line]
    assert done.returncode == 0 and len(years) == arguments.years, done.stdout[-2000:] + done.stderr[-2000:]
    print(f"sums: the counters' advance is the sum of their periods in {len(years)} of {arguments.years} years (bar all), the last: "
          f"{years[-1]}; {time.monotonic() - began:.0f} s, seed {seed}", flush=True)


def say(text):
    print(text, flush=True)


RUNS = {"kill9": run_kill9, "killsys": run_killsys, "outage": run_outage, "late": run_late, "damaged": run_damaged, "scan": run_scan,
        "halfopen": run_halfopen, "powercut": run_powercut, "iofault": run_iofault,
        "orders": run_orders, "clock": run_clock, "reconnects": run_reconnects, "fulldisk": run_fulldisk,
        "week": run_week, "tamper": run_tamper, "gasdays": run_gasdays, "sums": run_sums}


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--build", type=Path, required=True, help="build folder with metergate")
    parser.add_argument("run", nargs="?", choices=RUNS, help="one run alone; all without it")
    parser.add_argument("--kills", type=int, default=10_000)
    parser.add_argument("--calls", type=int, default=600)
    parser.add_argument("--meters", type=int, default=50)
    parser.add_argument("--minutes", type=float, default=10)
    parser.add_argument("--reads", type=int, default=1_000_000)
    parser.add_argument("--frames", type=int, default=10_000_000)
    parser.add_argument("--buses", type=int, default=3)
    parser.add_argument("--cuts", type=int, default=100)
    parser.add_argument("--sides", type=int, default=10)
    parser.add_argument("--power-cuts", type=int, default=100_000)
    parser.add_argument("--histories", type=int, default=2000)
    parser.add_argument("--order-kills", type=int, default=500)
    parser.add_argument("--hours", type=int, default=168)
    parser.add_argument("--attempts", type=int, default=10_000)
    parser.add_argument("--edits", type=int, default=10_000)
    parser.add_argument("--years", type=int, default=500)
    parser.add_argument("--week-meters", type=int, default=100)
    parser.add_argument("--seed", type=int, help="of what is random in a run; drawn and printed without it")
    arguments = parser.parse_args()
    binary = (arguments.build / "metergate").resolve()
    failed = []
    for name in [arguments.run] if arguments.run else RUNS:
        try:
            seed = arguments.seed if arguments.seed is not None else secrets.randbelow(10**9)
            with tempfile.TemporaryDirectory(prefix=f"metergate-{name}-") as folder:
                RUNS[name](binary, arguments, seed, Path(folder))
        except Exception:  # each run is told, whatever the others did
            traceback.print_exc()
            failed.append(name)
    for name in failed:
        print(f"{name}: FAILED")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
