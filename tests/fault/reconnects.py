"""A broker that accepts and closes, again and again: what the C program beside this file says of memory and descriptors."""
import json
import subprocess

LIMIT_S = 14400


def run(build, attempts):
    """Its figures. Raises with what it says when memory or descriptors grow."""
    program = build / "tests" / "fault" / "reconnects"
    assert program.exists(), f"{program} is not built: make tools"
    done = subprocess.run([program, str(attempts)], capture_output=True, text=True, timeout=LIMIT_S, check=False)
    assert done.returncode == 0, f"{done.stdout}{done.stderr[-2000:]}"
    return json.loads(done.stdout)
