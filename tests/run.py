#!/usr/bin/python3
"""Runs the unit tests (cmocka programs) and the integration tests (pytest) and adds up what they say.

Ends with one line "N passed, N failed, N skipped" and exits 1 when anything failed or nothing ran.
"""
import argparse
import os
import re
import subprocess
import sys
import tempfile
import xml.etree.ElementTree as ElementTree
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
SANITIZERS = {
    "ASAN_OPTIONS": "abort_on_error=1:detect_leaks=1:strict_string_checks=1",
    "UBSAN_OPTIONS": "print_stacktrace=1:halt_on_error=1",
    "LSAN_OPTIONS": f"suppressions={ROOT}/tests/lsan.supp:print_suppressions=0",
}
UNIT_LIMIT_S = 300  # of one unit test program


class Count:
    def __init__(self):
        self.passed = self.failed = self.skipped = 0


def run_unit(build, pattern, count):
    programs = sorted(p for p in (build / "unit").glob("test_*") if p.suffix == "")
    for program in programs:
        if pattern and pattern not in program.name:
            continue
        if not (ROOT / "tests/unit" / (program.name + ".c")).exists():
            continue  # left over from an older tree
        try:
            result = subprocess.run([program], cwd=ROOT, capture_output=True, text=True, errors="replace",
                                    timeout=UNIT_LIMIT_S, env={**os.environ, **SANITIZERS}, check=False)
            output, status = result.stdout + result.stderr, result.returncode
        except subprocess.TimeoutExpired as late:
            output, status = f"{late}", -1
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


def run_pytest(build, release, pattern, count):
    folders = [str(ROOT / "tests" / name) for name in ("integration", "browser") if (ROOT / "tests" / name).is_dir()]
    with tempfile.TemporaryDirectory() as scratch:
        report = Path(scratch) / "report.xml"
        command = [sys.executable, "-m", "pytest", "-q", "--durations=10", "-p", "no:cacheprovider",
                   f"--junit-xml={report}", *folders]
        if pattern:
            command += ["-k", pattern]
        environment = {**os.environ, **SANITIZERS, "METERGATE": str(build / "metergate"),
                       "METERGATE_RELEASE": str(release / "metergate"), "PYTHONDONTWRITEBYTECODE": "1"}
        status = subprocess.run(command, cwd=ROOT, env=environment, check=False).returncode
        if not report.exists():
            print(f"pytest ended with {status} and wrote no report")
            count.failed += 1
            return
        for suite in ElementTree.parse(report).getroot().iter("testsuite"):
            tests, skipped = int(suite.get("tests")), int(suite.get("skipped"))
            failed = int(suite.get("failures")) + int(suite.get("errors"))
            count.passed += tests - failed - skipped
            count.failed += failed
            count.skipped += skipped
        if status not in (0, 5) and count.failed == 0:
            count.failed += 1


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--build", type=Path, required=True, help="sanitized build folder")
    parser.add_argument("--release", type=Path, required=True, help="release build folder")
    parser.add_argument("--unit", action="store_true", help="unit tests only")
    parser.add_argument("--integration", action="store_true", help="integration tests only")
    parser.add_argument("-k", default="", dest="pattern", help="only tests whose name holds this")
    arguments = parser.parse_args()
    count = Count()
    if not arguments.integration:
        run_unit(arguments.build.resolve(), arguments.pattern, count)
    if not arguments.unit:
        run_pytest(arguments.build.resolve(), arguments.release.resolve(), arguments.pattern, count)
    print(f"{count.passed} passed, {count.failed} failed, {count.skipped} skipped", flush=True)
    return 1 if count.failed or count.passed == 0 else 0


if __name__ == "__main__":
    sys.exit(main())
