"""Random histories of a wall clock that is set about, of restarts and boots in 1970 (tests/unit/test_record_clock.c)."""
import os
import re
import subprocess
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
LIMIT_S = 3 * 3600


def run(build, histories, seed):
    """What the program counted. Raises with what it says where a promise was broken."""
    program = Path(build).resolve() / "unit" / "test_record_clock"
    subprocess.run(["make", "-s", f"BUILD={Path(build).resolve()}", str(program)], cwd=ROOT, check=True, timeout=LIMIT_S,
                   stdout=subprocess.DEVNULL)
    began = time.monotonic()
    done = subprocess.run([program], capture_output=True, text=True, timeout=LIMIT_S, check=False,
                          env={**os.environ, "HISTORIES": str(histories), "SEED": str(seed)})
    said = done.stdout + done.stderr
    figures = re.search(r"(\d+) histories: (\d+) readings, each once, (\d+) of them in time that came twice; (\d+) periods", said)
    assert done.returncode == 0 and figures, f"seed {seed}: {said[-4000:]}"
    names = ("histories", "readings", "twice", "periods")
    return {**dict(zip(names, map(int, figures.groups()))), "seconds": round(time.monotonic() - began)}
