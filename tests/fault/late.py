"""Reads over many lines whose replies come late: what the C program beside this file says of them."""
import json
import subprocess

LINES = 200
TIMEOUT_MS = 50  # the shortest that a configuration may set
LIMIT_S = 3600


def run(build, reads, seed, lines=LINES):
    """Its figures. Raises with what it says when a value was wrong, or when the run put nothing to the test."""
    program = build / "tests" / "fault" / "late_replies"
    assert program.exists(), f"{program} is not built: make tools"
    done = subprocess.run([program, str(reads), str(lines), str(TIMEOUT_MS), str(seed)], capture_output=True, text=True,
                          timeout=LIMIT_S, check=False)
    assert done.returncode == 0, f"seed {seed}: {done.stdout}{done.stderr}"
    return json.loads(done.stdout)
