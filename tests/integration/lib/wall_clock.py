"""A process whose wall clock is hours away from ours, so that a test need not wait for an hour to pass."""
import os
import struct
import subprocess
from pathlib import Path

SOURCE = Path(__file__).resolve().with_suffix(".c")


class WallClock:
    """Builds the shim once; `environment(shift_s)` is what a process is started with."""

    def __init__(self, folder):
        self._library = folder / "wall_clock.so"
        subprocess.run([os.environ.get("CC", "gcc"), "-shared", "-fPIC", "-O2", "-o", str(self._library), str(SOURCE),
                        "-ldl"], check=True, capture_output=True)

        self._file = folder / "wall_clock.shift"
        self.step(0)

    def step(self, shift_ms):
        """Sets the clock of every process with `followed()` to so many milliseconds from ours, at once."""
        with open(self._file, "r+b" if self._file.exists() else "wb") as file:
            file.write(struct.pack("=q", int(shift_ms)))

    def followed(self):
        """What a process is started with whose clock follows `step`."""
        return {**self.environment(0), "WALL_SHIFT_FILE": str(self._file)}

    def environment(self, shift_s):
        # The sanitizer's library would like to be first; it comes second, and sees as much.
        options = os.environ.get("ASAN_OPTIONS", "")
        return {**os.environ, "LD_PRELOAD": str(self._library), "WALL_SHIFT_S": str(int(shift_s)),
                "ASAN_OPTIONS": (options + ":" if options else "") + "verify_asan_link_order=0"}
