"""A process that is killed in front of its n-th call that changes a file of one folder: exact, unlike a kill at a moment."""
import os
import subprocess
from pathlib import Path

SOURCE = Path(__file__).resolve().with_suffix(".c")


class KillAt:
    """Builds the shim once; `environment(folder, number)` is what a process is started with."""

    def __init__(self, folder):
        self._library = folder / "kill_at.so"
        subprocess.run([os.environ.get("CC", "gcc"), "-shared", "-fPIC", "-O2", "-o", str(self._library), str(SOURCE),
                        "-ldl"], check=True, capture_output=True)

    def environment(self, folder, number):
        # The sanitizer's library would like to be first; it comes second, and sees as much.
        options = os.environ.get("ASAN_OPTIONS", "")
        return {**os.environ, "LD_PRELOAD": str(self._library), "KILL_FOLDER": str(folder), "KILL_AT": str(number),
                "ASAN_OPTIONS": (options + ":" if options else "") + "verify_asan_link_order=0"}
