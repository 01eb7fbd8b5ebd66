#!/usr/bin/python3
"""Runs the unit tests (cmocka programs) and the integration tests (pytest) and adds up what they say.

Ends with one line "N passed, N failed, N skipped" and exits 1 when anything failed or nothing ran.

A test marked `timing` compares the program with the wall clock, on a machine that has other work. One that failed is run
once more, alone; what passes only then is counted as passed and named as unsteady. Every other failure stands.
"""
import argparse
import os
import random
import re
import subprocess
import sys
import tempfile
import xml.etree.ElementTree as ElementTree
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
SANITIZERS = {
    "ASAN_OPTIONS": "abort_on_error=1:detect_leaks=1:strict_string_checks=1",
    "UBSAN_OPTIONS": "print_stacktrace=1:halt_on_error=1",
    "LSAN_OPTIONS": f"suppressions={ROOT}/tests/lsan.supp:print_suppressions=0",
}
UNIT_LIMIT_S = 600  # of one unit test program
WORKERS = 2         # unit test programs side by side
AGAIN_MAX = 5       # tests that are run once more; where more failed it is no hiccup


class Count:
    def __init__(self):
        self.passed = self.failed = self.skipped = 0


def run_program(program, seed=None):
    """Runs one unit test program; its output and exit status."""
    environment = {**os.environ, **SANITIZERS, **({"SEED": str(seed)} if seed is not None else {})}
    try:
        result = subprocess.run([program], cwd=ROOT, capture_output=True, text=True, errors="replace",
                                timeout=UNIT_LIMIT_S, env=environment, check=False)
        return result.stdout + result.stderr, result.returncode
    except subprocess.TimeoutExpired as late:
        return f"{late}", -1


def find_programs(build, pattern):
    return [p for p in sorted((build / "unit").glob("test_*"))
            if p.suffix == "" and pattern in p.name
            and (ROOT / "tests/unit" / (p.name + ".c")).exists()]  # else left over from an older tree


def run_unit(build, pattern, count):
    """Two programs at a time: most of them wait for something."""
    programs = find_programs(build, pattern)
    with ThreadPoolExecutor(WORKERS) as pool:
        ended = zip(programs, pool.map(run_program, programs))
        tell_unit(ended, count)


def tell_unit(ended, count):
    for program, (output, status) in ended:
        passed = sum(int(n) for n in re.findall(r"\[  PASSED  \] (\d+) test", output))
        failed = sum(int(n) for n in re.findall(r"\[  FAILED  \].*?(\d+) test\(s\), listed", output))
        skipped = sum(int(n) for n in re.findall(r"\[  SKIPPED \] (\d+) test", output))
        if status != 0 and failed == 0:
            failed = 1
        if status == 0 and passed + skipped == 0:
            output, failed = output + "\nran no test\n", 1
        count.passed += passed
        count.failed += failed
        count.skipped += skipped
        print(f"{program.name}: {passed} passed, {failed} failed" + (f", {skipped} skipped" if skipped else ""),
              flush=True)
        if failed:
            print(output, flush=True)


def run_seeds(build, pattern, seeds, count):
    """Every unit test program that draws, with as many seeds: what one seed in hundreds shows is found here, and not
    on the day on which it is drawn. What fails can be repeated by the seed that stands beside it."""
    first = random.SystemRandom().randrange(1 << 40)
    draw = random.Random(first)
    programs = [p for p in find_programs(build, pattern)
                if "random_start(" in (ROOT / "tests/unit" / (p.name + ".c")).read_text(encoding="utf-8")]
    runs = [(program, draw.randrange(1 << 48)) for _ in range(seeds) for program in programs]
    print(f"{len(programs)} programs that draw, {seeds} seeds each, from {first}", flush=True)
    with ThreadPoolExecutor(WORKERS) as pool:
        ended = pool.map(lambda run: run_program(*run), runs)
        for (program, seed), (output, status) in zip(runs, ended):
            ran = re.search(r"\[  PASSED  \] [1-9]", output) is not None
            count.passed += status == 0 and ran
            if status != 0 or not ran:
                count.failed += 1
                print(f"SEED={seed} {program}: failed\n{output}", flush=True)


def pytest_run(targets, options, environment):
    """Runs pytest; its exit status, and of each test its id, how it ended, and whether it is marked `timing`."""
    with tempfile.TemporaryDirectory() as scratch:
        report = Path(scratch) / "report.xml"
        command = [sys.executable, "-m", "pytest", "-q", "--durations=10", "-p", "no:cacheprovider",
                   f"--junit-xml={report}", *options, *targets]
        status = subprocess.run(command, cwd=ROOT, env=environment, check=False).returncode
        if not report.exists():
            print(f"pytest ended with {status} and wrote no report")
            return status, {}
        ends, names = {}, {}
        for case in ElementTree.parse(report).getroot().iter("testcase"):
            key = (case.get("classname"), case.get("name"))  # a test and its fixtures' end may be two entries
            notes = {one.get("name"): one.get("value") for one in case.iter("property")}
            names.setdefault(key, notes.get("id", "::".join(key)))
            broke = case.find("error") is not None  # in a fixture: the office's own checks, a sanitizer's report
            end = "failed" if broke or case.find("failure") is not None else \
                  "skipped" if case.find("skipped") is not None else "passed"
            before, timing = ends.get(key, (end, "timing" in notes))
            ends[key] = ("failed" if "failed" in (before, end) else end, timing and not broke)
        ends = {names[key]: end for key, end in ends.items()}
        return status, ends


def run_pytest(build, release, pattern, count):
    folders = [str(ROOT / "tests" / name) for name in ("integration", "browser") if (ROOT / "tests" / name).is_dir()]
    environment = {**os.environ, **SANITIZERS, "METERGATE": str(build / "metergate"),
                   "METERGATE_RELEASE": str(release / "metergate"), "PYTHONDONTWRITEBYTECODE": "1"}
    status, ends = pytest_run(folders, ["-k", pattern] if pattern else [], environment)
    again = [name for name, (end, timing) in ends.items() if end == "failed" and timing]
    if 0 < len(again) <= AGAIN_MAX:
        print(f"once more, alone: {' '.join(again)}", flush=True)
        _, second = pytest_run(again, [], environment)
        for name in again:
            if second.get(name, ("failed",))[0] == "passed":
                ends[name] = ("passed", True)
                print(f"unsteady: {name} passed only when it ran alone", flush=True)
    found = [end for end, _ in ends.values()]
    count.passed += found.count("passed")
    count.failed += found.count("failed")
    count.skipped += found.count("skipped")
    if not ends or (status not in (0, 1, 5) and "failed" not in found):
        count.failed += 1


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--build", type=Path, required=True, help="sanitized build folder")
    parser.add_argument("--release", type=Path, required=True, help="release build folder")
    parser.add_argument("--unit", action="store_true", help="unit tests only")
    parser.add_argument("--integration", action="store_true", help="integration tests only")
    parser.add_argument("-k", default="", dest="pattern", help="only tests whose name holds this")
    parser.add_argument("--seeds", type=int, default=0, metavar="N",
                        help="instead: each unit test program that draws, with N seeds of its own")
    arguments = parser.parse_args()
    count = Count()
    if arguments.seeds > 0:
        run_seeds(arguments.build.resolve(), arguments.pattern, arguments.seeds, count)
        print(f"{count.passed} passed, {count.failed} failed, {count.skipped} skipped", flush=True)
        return 1 if count.failed or count.passed == 0 else 0
    if not arguments.integration:
        run_unit(arguments.build.resolve(), arguments.pattern, count)
    if not arguments.unit:
        run_pytest(arguments.build.resolve(), arguments.release.resolve(), arguments.pattern, count)
    print(f"{count.passed} passed, {count.failed} failed, {count.skipped} skipped", flush=True)
    return 1 if count.failed or count.passed == 0 else 0


if __name__ == "__main__":
    sys.exit(main())
