"""Damaged replies on many lines: what the C program beside this file says of them."""
import json
import subprocess

LINES = 400
TIMEOUT_MS = 20
LIMIT_S = 3 * 3600


def run(build, frames, seed, lines=LINES):
    """Its figures. Raises with what it says when something was believed that should not be, or the run was blind."""
    program = build / "tests" / "fault" / "damaged_frames"
    assert program.exists(), f"{program} is not built: make tools"
    done = subprocess.run([program, str(frames), str(lines), str(TIMEOUT_MS), str(seed)], capture_output=True, text=True,
                          timeout=LIMIT_S, check=False)
    assert done.returncode == 0, f"seed {seed}: {done.stdout}{done.stderr}"
    return json.loads(done.stdout)
