"""A process whose resolver never answers for one name."""
import os
import subprocess
from pathlib import Path

SOURCE = Path(__file__).resolve().with_suffix(".c")


class SilentResolver:
    """Builds the shim once; `environment()` is what a process is started with."""

    def __init__(self, folder, name):
        self._library = folder / "silent_resolver.so"
        self._file = folder / "silent_resolver.asked"
        self._name = name
        subprocess.run([os.environ.get("CC", "gcc"), "-shared", "-fPIC", "-O2", "-o", str(self._library), str(SOURCE),
                        "-ldl"], check=True, capture_output=True)

    def asked(self):
        """How often it was asked so far."""
        return len(self._file.read_text().split()) if self._file.exists() else 0

    def environment(self):
        # The sanitizer's library would like to be first; it comes second, and sees as much.
        options = os.environ.get("ASAN_OPTIONS", "")
        return {**os.environ, "LD_PRELOAD": str(self._library), "SILENT_NAME": self._name,
                "SILENT_FILE": str(self._file),
                "ASAN_OPTIONS": (options + ":" if options else "") + "verify_asan_link_order=0"}
