"""A week without a broker, time compressed: what the C program beside this file says of it."""
import json
import subprocess
from pathlib import Path

LIMIT_S = 3600
PROFILES = Path(__file__).resolve().parents[2] / "drivers" / "profiles"


def run(build, hours, meters):
    """Its figures. Raises with what it says when something was lost, uncounted, out of order or late."""
    program = build / "tests" / "fault" / "week"
    assert program.exists(), f"{program} is not built: make tools"
    done = subprocess.run([program, str(hours), str(meters), PROFILES], capture_output=True, text=True, timeout=LIMIT_S,
                          check=False)
    assert done.returncode == 0, f"{done.stdout}{done.stderr}"
    return json.loads(done.stdout)
