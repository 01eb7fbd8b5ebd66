"""Power cuts and faults of the disk under the store: what the C programs beside this file say of them."""
import json
import os
import subprocess
from pathlib import Path

LIMIT_S = 3 * 3600
STORES = Path(__file__).resolve().parents[1] / "data" / "stores"


def told(build, name, *arguments):
    """What a program prints. Raises with what it says where a promise was broken, or the harness was blind."""
    program = build / "tests" / "fault" / name
    assert program.exists(), f"{program} is not built: make tools"
    arguments = [str(argument) for argument in arguments]
    done = subprocess.run([program, *arguments], capture_output=True, text=True, timeout=LIMIT_S, check=False,
                          env={**os.environ, "METERGATE_STORES": str(STORES)})
    assert done.returncode == 0, f"{name} {' '.join(arguments)}: {done.stdout}{done.stderr}"
    return json.loads(done.stdout)


def cut(build, mode, cuts, seed):
    return told(build, "power_cut", cuts, seed, mode)


def fail(build, each, seed):
    """Each kind of fault at every `each`-th call."""
    return told(build, "io_fault", each, seed)


def run(build, cuts, seed, say=print):
    """As the product runs, with a cut in every call too; then worse than it runs, where loss and damage must show."""
    figures = {"full": cut(build, "full", cuts, seed)}
    say(f"  full: {figures['full']}")
    counts = {"every": max(1, cuts // 10_000), "killed": 1, "older": 1, "files": max(500, cuts // 10), "normal": max(1000, cuts // 50),
              "no-journal": max(300, cuts // 50), "lying": max(500, cuts // 50)}
    for mode, count in counts.items():
        figures[mode] = cut(build, mode, count, seed)
        say(f"  {mode}: {figures[mode]}")
    return figures
