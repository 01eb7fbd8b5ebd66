"""A process whose wall clock is hours away from ours, so that a test need not wait for an hour to pass."""
import os
import subprocess
from pathlib import Path

SOURCE = Path(__file__).resolve().with_suffix(".c")


class WallClock:
    """Builds the shim once; `environment(shift_s)` is what a process is started with."""

    def __init__(self, folder):
        self._library = folder / "wall_clock.so"
        subprocess.run([os.environ.get("CC", "gcc"), "-shared", "-fPIC", "-O2", "-o", str(self._library), str(SOURCE),
                        "-ldl"], check=True, capture_output=True)

    def environment(self, shift_s):
        # The sanitizer's library would like to be first; it comes second, and sees as much.
        options = os.environ.get("ASAN_OPTIONS", "")
        return {**os.environ, "LD_PRELOAD": str(self._library), "WALL_SHIFT_S": str(int(shift_s)),
                "ASAN_OPTIONS": (options + ":" if options else "") + "verify_asan_link_order=0"}
