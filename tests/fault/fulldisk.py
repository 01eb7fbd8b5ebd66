"""A week on a disk that others fill again and again, time compressed: what the C program beside this file says of it."""
import json
import subprocess
from pathlib import Path

LIMIT_S = 3600
DISK_MIB = 32
ROOT = Path(__file__).resolve().parents[2]
PROFILES = ROOT / "drivers" / "profiles"
SCRIPT = 'mount -t tmpfs -o size="$1"m,mode=0700 tmpfs "$0" && shift 1 && exec "$@"'


def run(folder, build, hours, meters, seed):
    """Its figures. Raises with what it says when a poll is uncounted, or the store did not recover."""
    program = build / "tests" / "fault" / "full_week"
    assert program.exists(), f"{program} is not built: make tools"
    disk = folder / "disk"
    disk.mkdir()
    done = subprocess.run(["unshare", "-Urm", "sh", "-c", SCRIPT, disk, str(DISK_MIB), program, str(hours), str(meters),
                           PROFILES, disk, str(seed)], capture_output=True, text=True, timeout=LIMIT_S, check=False)
    assert done.returncode == 0, f"{done.stdout}{done.stderr[-4000:]}"
    return json.loads(done.stdout)
