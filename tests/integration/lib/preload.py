"""A library of one C file that a process loads before the C library."""
import os
import subprocess


class Preload:
    """Built once, from the C file of the same name as the Python file `source`, into `folder`."""

    def __init__(self, folder, source):
        self._library = folder / f"{source.stem}.so"
        subprocess.run([os.environ.get("CC", "gcc"), "-shared", "-fPIC", "-O2", "-o", str(self._library),
                        str(source.with_suffix(".c")), "-ldl"], check=True, capture_output=True)

    def variables(self, **told):
        """The environment of a process with it: ours, and what the library is told."""
        # The sanitizer's library would like to be first; it comes second, and sees as much.
        options = os.environ.get("ASAN_OPTIONS", "")
        return {**os.environ, "LD_PRELOAD": str(self._library), **{name: str(value) for name, value in told.items()},
                "ASAN_OPTIONS": (options + ":" if options else "") + "verify_asan_link_order=0"}
