"""A process whose wall clock is hours away from ours, so that a test need not wait for an hour to pass."""
import struct
from pathlib import Path

from .preload import Preload


class WallClock(Preload):
    """`environment(shift_s)` is what a process is started with."""

    def __init__(self, folder):
        super().__init__(folder, Path(__file__).resolve())
        self._file = folder / "wall_clock.shift"
        self.step(0)

    def step(self, shift_ms):
        """Sets the clock of every process with `followed()` to so many milliseconds from ours, at once."""
        with open(self._file, "r+b" if self._file.exists() else "wb") as file:
            file.write(struct.pack("=q", int(shift_ms)))

    def followed(self):
        """What a process is started with whose clock follows `step`."""
        return self.variables(WALL_SHIFT_S=0, WALL_SHIFT_FILE=self._file)

    def environment(self, shift_s):
        return self.variables(WALL_SHIFT_S=int(shift_s))
