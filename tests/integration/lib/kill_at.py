"""A process that is killed in front of its n-th call that changes a file of one folder: exact, unlike a kill at a moment."""
from pathlib import Path

from .preload import Preload


class KillAt(Preload):
    """`environment(folder, number)` is what a process is started with."""

    def __init__(self, folder):
        super().__init__(folder, Path(__file__).resolve())

    def environment(self, folder, number):
        return self.variables(KILL_FOLDER=folder, KILL_AT=number)
